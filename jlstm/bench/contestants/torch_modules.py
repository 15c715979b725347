"""PyTorch: the module that jlstm writes, and the same network built time first.

Streaming is tried with cells as well, which torch runs with less ado than a sequence of
one step.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from ...errors import JlstmError
from ..job import LEARN_RATE, Job
from ..series import Part, Series
from . import Variant, threads

POINTWISE = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def variants(job: Job, option: str) -> Iterator[Variant]:
    """The modules, each by several numbers of threads."""
    for name, variant in KINDS[job.kind](job, option == "compiled"):
        for count in job.threads:
            yield _threaded(variant._replace(name=f"{name}, {threads(count)}"), count)


def _threaded(variant: Variant, count: int) -> Variant:
    def within(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            if torch.get_num_threads() != count:
                torch.set_num_threads(count)
            return call()

        return run

    answers = variant.answers and within(variant.answers)
    return variant._replace(run=within(variant.run), answers=answers)


def _modules(job: Job) -> Iterator[tuple[str, Any, bool]]:
    """Names, modules `x -> y`, and whether time comes first."""
    refusals = []
    try:
        yield "time first", Net(job.series), True
    except JlstmError as error:
        refusals.append(error)
    try:
        yield "batch first", First(_written(job)), False
    except JlstmError as error:
        refusals.append(error)
    if len(refusals) == 2:
        raise refusals[-1]


def _written(job: Job) -> Any:
    """The module beside the file of the weights."""
    path = job.file(".pt")
    module = runpy.run_path(str(path.with_name("net_module.py")))
    return module["load"](path)


def _inference(job: Job, compiled: bool) -> Iterator[tuple[str, Variant]]:
    for name, module, time_first in _modules(job):
        if compiled and not time_first:
            continue
        module.eval()
        call = torch.compile(module) if compiled else module
        x = torch.from_numpy(job.x)
        x = x.transpose(0, 1).contiguous() if time_first else x

        def run(call: Any = call, x: Any = x) -> Any:
            with torch.inference_mode():
                return call(x)

        def answers(run: Any = run, time_first: bool = time_first) -> dict[str, Any]:
            y = run()
            y = y.transpose(0, 1) if time_first and y.dim() == 3 else y
            return {"y": y.numpy()}

        yield name, Variant(name, run, answers)


def _streaming(job: Job, compiled: bool) -> Iterator[tuple[str, Variant]]:
    with suppress(JlstmError):
        yield "cells", _stepwise(Cells(job.series), lambda y: y[0], job.x[0])
    yield "layers", _stepwise(Steps(_written(job)), lambda y: y.reshape(-1), job.x[0])


def _stepwise(module: Any, flat: Callable[[Any], Any], x: np.ndarray) -> Variant:
    """Steps from NumPy to NumPy, the state carried over from run to run."""
    module.eval()
    state: Any = None

    def run() -> list[np.ndarray]:
        nonlocal state
        outputs = []
        with torch.inference_mode():
            for x_t in x:
                y, state = module(torch.from_numpy(x_t), state)
                outputs.append(flat(y).numpy())
        return outputs

    def answers() -> dict[str, Any]:
        nonlocal state
        state = None
        return {"y": np.stack(run())[None]}

    return Variant("", run, answers, len(x))


def _training(job: Job, compiled: bool) -> Iterator[tuple[str, Variant]]:
    # Gradients are compared in the form of a series.
    parts = job.series
    for name, settings in (("fused Adam", {"fused": True}), ("Adam", {})):
        if compiled and name == "Adam":
            continue
        yield name, _trained(job, Net(parts), settings, compiled)


def _trained(job: Job, net: Net, settings: Any, compiled: bool) -> Variant:
    net.train()
    call = torch.compile(net) if compiled else net
    adam = torch.optim.Adam(net.parameters(), lr=LEARN_RATE, **settings)
    start = {name: a.clone() for name, a in net.state_dict().items()}
    x, target = torch.from_numpy(job.x), torch.from_numpy(job.target)
    x = x.transpose(0, 1).contiguous()
    if target.dim() == 3:
        target = target.transpose(0, 1).contiguous()

    def slopes() -> Any:
        adam.zero_grad(set_to_none=True)
        error = call(x) - target
        loss = error.square().sum() / (error.numel() // error.shape[-1])
        loss.backward()

    def run() -> None:
        slopes()
        adam.step()

    def answers() -> dict[str, Any]:
        net.load_state_dict(start)
        slopes()
        return net.slopes()

    return Variant("", run, answers)


KINDS = {"inference": _inference, "streaming": _streaming, "training": _training}


# --- modules --------------------------------------------------------------------------


class First(nn.Module):
    """A module of the answer alone, without the state."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        """`x (batch, time, C)`."""
        return self.module(x)[0]


class Steps(First):
    """A module of single steps."""

    def forward(self, x: Any, state: Any = None) -> Any:
        """`x (C,)` to the answer and the state."""
        return self.module(x[None], state)


class Net(nn.Module):
    """A series of torch's own layers, time first."""

    def __init__(self, parts: Series) -> None:
        super().__init__()
        self.parts = parts
        self.layers = nn.ModuleList(map(_layer, parts))

    def forward(self, x: Any) -> Any:
        """`x (time, batch, C)`."""
        for part, layer in zip(self.parts, self.layers, strict=True):
            x = layer(x)
            if isinstance(x, tuple):
                y, end = x
                h = end[0] if isinstance(end, tuple) else end
                x = h.transpose(0, 1).flatten(1) if part.last else y
        return x

    def slopes(self) -> dict[str, Any]:
        """The gradients of the series."""
        found = {}
        pairs: Any = zip(self.parts, self.layers, strict=True)
        for k, (part, layer) in enumerate(pairs):
            for name, owner in NAMES.get(part.kind, {}).items():
                found[f"{k}.{name}"] = getattr(layer, owner).grad.cpu().numpy().copy()
            if part.kind == "gru":
                bias = layer.bias_hh_l0.grad.cpu().numpy()
                found[f"{k}.bn"] = bias[-part.hidden :].copy()
        return found


class Cells(nn.Module):
    """A series of cells, for single steps."""

    def __init__(self, parts: Series) -> None:
        super().__init__()
        if any(part.kind == "bilstm" for part in parts):
            raise JlstmError("two directions have no steps")
        self.layers = nn.ModuleList(
            _cell(part) if part.kind in ("lstm", "gru") else _layer(part)
            for part in parts
        )

    def forward(self, x: Any, states: Any = None) -> Any:
        """`x (C,)` to the answer `(1, O)` and the states."""
        x, after = x[None], []
        for k, layer in enumerate(self.layers):
            state = None if states is None else states[k]
            if isinstance(layer, nn.LSTMCell | nn.GRUCell):
                state = layer(x, state)
                x = state[0] if isinstance(state, tuple) else state
            else:
                x = layer(x)
            after.append(state)
        return x, after


class Centre(nn.Module):
    """The normalisation of the input."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        for name, array in part.arrays.items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, x: Any) -> Any:
        """`(x - m) s`."""
        return (x - self.m) * self.s


ENDS = {"W": "weight_ih", "R": "weight_hh", "b": "bias_ih"}
ONE = {name: f"{owner}_l0" for name, owner in ENDS.items()}
BOTH = {f"f{name}": owner for name, owner in ONE.items()}
BOTH |= {f"b{name}": f"{owner}_reverse" for name, owner in ONE.items()}
NAMES = {"lstm": ONE, "gru": ONE, "bilstm": BOTH, "fc": {"W": "weight", "b": "bias"}}
"""Torch's names of the arrays of a series."""
LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "bilstm": nn.LSTM}


def _layer(part: Part) -> Any:
    if part.kind in POINTWISE:
        return POINTWISE[part.kind]()
    if part.kind == "centre":
        return Centre(part)
    if part.kind == "fc":
        module: Any = nn.Linear(*reversed(part.arrays["W"].shape))
    else:
        features = next(a.shape[1] for n, a in part.arrays.items() if n.endswith("W"))
        both = part.kind == "bilstm"
        module = LAYERS[part.kind](features, part.hidden, bidirectional=both)
    return _filled(module, part, NAMES[part.kind], "bias_hh_l0")


def _cell(part: Part) -> Any:
    kind = nn.GRUCell if part.kind == "gru" else nn.LSTMCell
    module = kind(part.arrays["W"].shape[1], part.hidden)
    return _filled(module, part, ENDS, "bias_hh")


def _filled(module: Any, part: Part, names: dict[str, str], other: str) -> Any:
    """The module with the arrays of a part; its second biases zero, but for a GRU's."""
    module = module.to(torch.from_numpy(next(iter(part.arrays.values()))).dtype)
    with torch.no_grad():
        for name, array in module.named_parameters():
            if name.startswith("bias_hh"):
                array.zero_()
        for name, owner in names.items():
            getattr(module, owner).copy_(torch.from_numpy(part.arrays[name]))
        if part.kind == "gru":
            end = torch.from_numpy(part.arrays["bn"])
            getattr(module, other)[-part.hidden :].copy_(end)
    return module
