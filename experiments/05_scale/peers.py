"""One contestant over many ragged sequences, in a process of its own.

    python experiments/05_scale/peers.py NAME COUNT SHORTEST LONGEST [CALLS]

Prints a line of JSON: the seconds of each call, the first of them from nothing but the
network and the sequences; and sums of the answers, by which contestants are compared.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jlstm.demo import load_demo

BATCH = 512
"""Sequences that torch packs together: of 64, 128, 256 and 512 the last was best."""


def sequences(count: int, shortest: int, longest: int) -> list[np.ndarray]:
    """As many sequences, of lengths spread evenly between the two."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(shortest, longest + 1, count)
    return [rng.standard_normal((n, 3), np.float32) for n in lengths.tolist()]


def jlstm(net):
    """`jl.evaluate`."""
    from jlstm.evaluation import Evaluator

    made, told = [], {}

    def run(xs):
        if not made:
            made.append(Evaluator(net))
        answers = made[0](xs)
        told["note"] = f"{made[0].compilations} compiled"
        return answers

    return run, told


def loop(net):
    """A plain loop over a jitted `predict`, which is compiled for every length."""
    import jax

    from jlstm import predict

    one = jax.jit(lambda net, x: predict(net, x))
    net, told = net.replace(origin=type(net.origin)(), saved=None), {}

    def run(xs):
        answers = [np.asarray(one(net, x)) for x in xs]
        told["note"] = f"{len(set(map(len, xs)))} lengths"
        return answers

    return run, told


def torch_packed(net):
    """torch's LSTM over packed sequences, the longest first."""
    import torch
    from torch.nn.utils.rnn import pack_sequence, unpack_sequence

    from jlstm.bench.series import series

    parts, told = series(net), {}
    assert parts is not None
    calls = []
    for part in parts:
        arrays = {k: torch.tensor(np.asarray(a)) for k, a in part.arrays.items()}
        if part.kind == "lstm":
            calls.append(_torch_lstm(torch, arrays))
        else:
            calls.append(_pointwise(torch, part.kind, arrays))

    def run(xs):
        order = sorted(range(len(xs)), key=lambda k: -len(xs[k]))
        answers: list = [None] * len(xs)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                some = order[start : start + BATCH]
                packed = pack_sequence([torch.from_numpy(xs[k]) for k in some])
                for call in calls:
                    packed = call(packed)
                for k, y in zip(some, unpack_sequence(packed), strict=True):
                    answers[k] = y.numpy()
        told["note"] = f"batches of {BATCH}"
        return answers

    return run, told


def _torch_lstm(torch, arrays):
    hidden, features = arrays["R"].shape[1], arrays["W"].shape[1]
    layer = torch.nn.LSTM(features, hidden)
    names = {"W": "weight_ih_l0", "R": "weight_hh_l0", "b": "bias_ih_l0"}
    for name, a in arrays.items():
        layer.get_parameter(names[name]).data = a
    layer.bias_hh_l0.data.zero_()
    return lambda packed: layer(packed)[0]


def _pointwise(torch, kind, arrays):
    functions = {
        "centre": lambda x: (x - arrays["m"]) * arrays["s"],
        "relu": torch.relu,
        "fc": lambda x: torch.nn.functional.linear(x, arrays["W"], arrays["b"]),
    }
    return lambda packed: packed._replace(data=functions[kind](packed.data))


def onnxruntime(net):
    """onnxruntime on the file that jlstm writes: a call a sequence, all cores busy."""
    import onnxruntime

    import jlstm as jl

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        jl.save(net, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # calls side by side are quicker than threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    (given,) = session.get_inputs()
    rank = len(given.shape)

    def one(x):
        fed = x.reshape(len(x), *[1] * (rank - 2), x.shape[1])
        return np.asarray(session.run(None, {given.name: fed})[0]).reshape(len(x), -1)

    cores, told = len(os.sched_getaffinity(0)), {}

    def run(xs):
        with ThreadPoolExecutor(cores) as pool:
            return list(pool.map(one, xs))

    return run, told


CONTESTANTS = {
    "jlstm": jlstm,
    "torch, packed": torch_packed,
    "onnxruntime": onnxruntime,
    "jitted loop": loop,
}


def main(name, count, shortest, longest, calls="2"):
    net, _ = load_demo()
    xs = sequences(int(count), int(shortest), int(longest))
    seconds, answers = [], []
    run, about = None, {}
    for _ in range(int(calls)):
        start = time.perf_counter()
        if run is None:
            run, about = CONTESTANTS[name](net)
        answers = run(xs)
        seconds.append(time.perf_counter() - start)
    told = {
        "seconds": seconds,
        "steps": sum(map(len, xs)),
        "note": about.get("note", ""),
        "sums": [float(np.sum(y, dtype=np.float64)) for y in answers[:200]],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
