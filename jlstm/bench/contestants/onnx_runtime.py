"""onnxruntime, every optimisation on, inputs and outputs bound to fixed memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import onnxruntime as ort

from ...errors import JlstmError
from ..job import Job
from . import Variant, onnx_graph, threads


def variants(job: Job, option: str) -> Iterator[Variant]:
    """The file that jlstm writes and a graph of fixed sizes, by numbers of threads."""
    job.require_single()
    models: dict[str, Any] = {}
    with suppress(JlstmError):
        models["fixed graph"] = _fixed(job)
    if not models or ".onnx" not in job.refused:
        models["file"] = str(job.file(".onnx"))
    run = _streaming if job.kind == "streaming" else _inference
    for name, model in models.items():
        for count in job.threads:
            yield run(job, f"{name}, {threads(count)}", _session(model, count))


def _fixed(job: Job) -> bytes:
    streaming = job.kind == "streaming"
    steps = 1 if streaming else job.steps
    return onnx_graph.encoded(job.series, len(job.x), steps, streaming)


def _session(model: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _bound(session: Any, held: dict[str, np.ndarray]) -> Callable[[], Any]:
    """A call of the session over arrays that stay where they are."""
    binding = session.io_binding()
    outputs = {end.name for end in session.get_outputs()}
    for name, a in held.items():
        bind = binding.bind_output if name in outputs else binding.bind_input
        bind(name, "cpu", 0, np.float32, a.shape, a.ctypes.data)
    for name in outputs - set(held):
        binding.bind_output(name)

    def call() -> None:
        session.run_with_iobinding(binding)

    return call


def _inference(job: Job, name: str, session: Any) -> Variant:
    x = np.ascontiguousarray(job.x.swapaxes(0, 1))  # time first
    entry, end = session.get_inputs()[0].name, session.get_outputs()[0].name
    (first,) = session.run([end], {entry: x})
    y = np.empty_like(first)
    call = _bound(session, {entry: x, end: y})

    def answers() -> dict[str, Any]:
        call()
        return {"y": (y.swapaxes(0, 1) if y.ndim == x.ndim else y).copy()}

    return Variant(name, call, answers)


def _streaming(job: Job, name: str, session: Any) -> Variant:
    """Steps from NumPy to NumPy; the states in two places, read and written in turn."""
    entry, end = session.get_inputs()[0].name, session.get_outputs()[0].name
    widths = {state.name: state.shape[-1] for state in session.get_outputs()[1:]}
    ends = list(widths)
    # h0 of the file is named as hn, s0_0 of the fixed graph as s0_n.
    starts = [f"{name[:-1]}0" for name in ends]
    sides = [[np.zeros((1, 1, w), np.float32) for w in widths.values()] for _ in "ab"]
    x = np.zeros((1, 1, *job.x.shape[2:]), np.float32)
    given = {entry: x} | dict(zip(starts, sides[0], strict=True))
    y = np.empty_like(session.run([end], given)[0])
    calls = [
        _bound(
            session,
            {entry: x, end: y}
            | dict(zip(starts, sides[k], strict=True))
            | dict(zip(ends, sides[1 - k], strict=True)),
        )
        for k in range(2)
    ]
    turn = 0

    def run() -> list[np.ndarray]:
        nonlocal turn
        outputs = []
        for x_t in job.x[0]:
            x[0, 0] = x_t
            calls[turn]()
            turn = 1 - turn
            outputs.append(y.ravel().copy())
        return outputs

    def answers() -> dict[str, Any]:
        for state in sides[turn]:
            state[:] = 0
        return {"y": np.stack(run())[None]}

    return Variant(name, run, answers, job.steps)
