"""The main job on an embedded default: load, prove, go wrong, stream, differentiate.

The network has the architecture of the question that started jlstm, an LSTM, ReLU,
LSTM, ReLU, fully connected network extracted by hand
(https://www.mathworks.com/matlabcentral/answers/2068661). It was trained by
`experiments/00_demo_network` on two simulated tanks; its golden outputs were computed
by torch in double precision.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import formats
from .formats import matlab_arrays
from .golden import Golden
from .inspection import describe
from .network import Network, predict
from .plots import comparison
from .stream import Stream
from .validation import self_test


class Section(NamedTuple):
    """One part of the demonstration: a heading, its text, its figures for scripts."""

    title: str
    text: str
    figures: dict[str, Any]


def load_demo() -> tuple[Network, Golden]:
    """The embedded network and its golden vectors."""
    data = files("jlstm") / "data"
    with as_file(data / "demo.mat") as mat, as_file(data / "demo.toml") as toml:
        net, golden = formats.read(mat, layers=toml)
    return net, golden[0]


def sections() -> Iterator[Section]:
    """The demonstration, part by part as it is computed."""
    net, golden = load_demo()
    yield Section("load", describe(net), {})
    yield _proof(net, golden)
    yield _wrong_formula(net, golden)
    yield _streaming(net, golden)
    yield _gradient(net, golden)


def _proof(net: Network, golden: Golden) -> Section:
    verdict = self_test(net, golden)
    return Section("validate", str(verdict), {"max_abs": verdict.max_abs})


def shared_state_formula(net: Network, x: np.ndarray) -> dict[str, np.ndarray]:
    """The formula of the question, with its mistake: one `h, c` pair for both layers.

    Every line of it is right but one: layer 2 takes what layer 1 has just written for
    its own past, and layer 1 finds the state of layer 2 at the next step.

    Returns:
        the outputs of `lstm_1`, `lstm_2` and `fc` at every step, in double precision.
    """
    entry: Any = net.layers["input"]
    fc: Any = net.layers["fc"]
    cells = [_packed(net.layers[name]) for name in ("lstm_1", "lstm_2")]
    h = c = np.zeros(cells[0][1].shape[1])
    found: dict[str, list[np.ndarray]] = {"lstm_1": [], "lstm_2": [], "fc": []}
    for x_t in (x - np.asarray(entry.mean)) / np.asarray(entry.std):
        signal = x_t
        for name, (w, r, b) in zip(("lstm_1", "lstm_2"), cells, strict=True):
            i, f, g, o = np.split(w @ signal + r @ h + b, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
            found[name].append(h)
            signal = np.maximum(h, 0)
        found["fc"].append(np.asarray(fc.weights) @ signal + np.asarray(fc.bias))
    return {name: np.array(values) for name, values in found.items()}


def _packed(layer: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    arrays = matlab_arrays(layer)
    w, r, b = (
        arrays[key].astype(float)
        for key in ("InputWeights", "RecurrentWeights", "Bias")
    )
    return w, r, b[:, 0]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _wrong_formula(net: Network, golden: Golden) -> Section:
    wrong = shared_state_formula(net, np.asarray(golden.inputs[0], float))
    error = {
        name: np.abs(wrong[name] - golden.layers[name]).max(axis=1)
        for name in ("lstm_1", "lstm_2")
    }
    final = np.abs(wrong["fc"] - golden.outputs[0])
    spread = float(np.std(golden.outputs[0]))
    figures = {
        "lstm_1_first_step": float(error["lstm_1"][0]),
        "lstm_2_first_step": float(error["lstm_2"][0]),
        "lstm_1_largest": float(error["lstm_1"].max()),
        "output_largest": float(final.max()),
    }
    text = (
        "The loop of the question keeps one h, c pair for both layers:\n"
        "            first step   largest   (max abs error)\n"
        f"  lstm_1     {error['lstm_1'][0]:9.1e}   {error['lstm_1'].max():7.3f}\n"
        f"  lstm_2     {error['lstm_2'][0]:9.1e}   {error['lstm_2'].max():7.3f}\n"
        f"  output     {final[0].max():9.1e}   {final.max():7.3f}   (the output itself "
        f"varies by {spread:.2f})\n"
        "Layer 1 is exact at the first step and layer 2 is already wrong: it took the\n"
        "state that layer 1 had just written for its own. Keep h1, c1 and h2, c2."
    )
    return Section("the formula that goes wrong", text, figures)


def _streaming(net: Network, golden: Golden) -> Section:
    x = np.asarray(golden.inputs[0], net.dtype)
    whole = np.asarray(predict(net, x))
    stream = Stream(net)
    steps = []
    start = time.perf_counter()
    for x_t in x:
        steps.append(np.asarray(stream.step(x_t)))
    each = (time.perf_counter() - start) / len(x)
    gap = float(np.abs(np.array(steps) - whole).max())
    text = (
        f"{len(x)} calls of stream.step, {1e6 * each:.0f} us each here; largest "
        f"difference from predict on the whole sequence {gap:.1e}"
    )
    return Section("stream", text, {"gap": gap, "seconds_per_step": each})


def _gradient(net: Network, golden: Golden) -> Section:
    x = jnp.asarray(golden.inputs[0], net.dtype)

    def last_level(x: jax.Array) -> jax.Array:
        return predict(net, x)[-1, 0]

    slope = np.asarray(jax.grad(last_level)(x))
    with jax.enable_x64(True):
        exact, wide = np.asarray(x, float), net.astype(np.float64)
        nudge = np.zeros_like(exact)
        nudge[-10:, 0] = 1e-4
        rise = predict(wide, exact + nudge)[-1, 0] - predict(wide, exact - nudge)[-1, 0]
        measured = float(rise) / 2e-4
    computed = float(slope[-10:, 0].sum())
    text = (
        "the last level of tank 1 against the pump voltage of the last 10 steps:\n"
        f"  jax.grad {computed:+.6f} cm/V, finite differences in double {measured:+.6f}"
    )
    return Section(
        "differentiate", text, {"gradient": computed, "differences": measured}
    )


def picture(path: str | Path) -> None:
    """Draw the network, the recorded output and the formula that goes wrong."""
    net, golden = load_demo()
    comparison(
        path,
        predict(net, golden.inputs[0]),
        golden.outputs[0],
        others={"one h, c pair": shared_state_formula(net, golden.inputs[0])["fc"]},
        title="levels of two tanks, cm: the network and a formula with shared state",
    )


NEXT = """\
your own network    jlstm inspect net.mat
the proof           jlstm validate net.mat --input X --expected YPred
other numbers?      jlstm diagnose net.mat --input X --observed Y
its numbers         jlstm predict net.mat --input x.csv --output y.csv
more training       jlstm finetune net.mat --data train.csv --out runs/pump
in Python           import jlstm as jl; net = jl.load("net.mat"); y = jl.predict(net, x)
no luck?            jlstm matlab-script > jlstm_export.m   (run once in MATLAB)"""
