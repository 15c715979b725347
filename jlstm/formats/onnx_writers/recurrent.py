"""LSTM, GRU and RNN by the operators of that name, with their states.

`X (time, batch, C)` gives `Y (time, directions, batch, H)` and the last states
`(directions, batch, H)`. A state that a layer of one direction starts from is an input
of the graph with a default of one example, repeated over the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...activations import complete
from ...graph import PORTS
from ...recurrent import GRU, LSTM, RNN, Bidirectional, Recurrent
from .. import _gates
from .registry import Place, StateInput, writer


class Kind(NamedTuple):
    """What ONNX calls a layer, and its order of the gates."""

    op: str
    order: tuple[str, ...]
    parts: tuple[str, ...]
    """The parts of the state, as jlstm names them."""


KINDS: dict[type, Kind] = {
    LSTM: Kind("LSTM", _gates.ONNX_LSTM, ("h", "c")),
    GRU: Kind("GRU", _gates.ONNX_GRU, ("h",)),
    RNN: Kind("RNN", _gates.RNN_ORDER, ("h",)),
}

FUNCTIONS: dict[str, tuple[str, int]] = {
    "tanh": ("Tanh", 0),
    "sigmoid": ("Sigmoid", 0),
    "relu": ("Relu", 0),
    "softsign": ("Softsign", 0),
    "softplus": ("Softplus", 0),
    "hard-sigmoid": ("HardSigmoid", 2),
    "affine": ("Affine", 2),
    "scaled-tanh": ("ScaledTanh", 2),
    "leaky-relu": ("LeakyRelu", 1),
    "thresholded-relu": ("ThresholdedRelu", 1),
    "elu": ("Elu", 1),
}
"""ONNX's names of the functions inside these operators, and how many constants they
take: alpha, then beta. The lists of constants hold only those that are taken."""


@writer(LSTM, GRU, RNN)
def _one_direction(layer: Recurrent, place: Place) -> str:
    return _recurrent(layer, [layer], place)


@writer(Bidirectional)
def _both_directions(layer: Bidirectional, place: Place) -> str:
    halves = [layer.forward, layer.backward]
    for what, found in (
        ("kind", [type(half).__name__ for half in halves]),
        ("number of hidden units", [half.hidden_size for half in halves]),
        ("setting", [_settings(half) for half in halves]),
        ("peephole", [getattr(half, "peephole", None) is None for half in halves]),
    ):
        if found[0] != found[1]:
            place.refuse(
                f"{found[0]} forwards, {found[1]} backwards",
                f"both directions of an operator have one {what}",
            )
    return _recurrent(layer, halves, place)


def _settings(layer: Any) -> dict[str, Any]:
    """The attributes that serve all directions."""
    found: dict[str, Any] = {}
    if layer.clip is not None:
        found["clip"] = float(layer.clip)
    if getattr(layer, "coupled", False):
        found["input_forget"] = 1
    if isinstance(layer, GRU) and layer.reset_mode != "before-multiplication":
        found["linear_before_reset"] = 1
    return found


def _check(layer: Any, place: Place) -> None:
    """Refuse what the operators do not have."""
    if layer.masked:
        place.refuse("a mask", "the operators know lengths, not masks")
    for field in ("input_projector", "output_projector", "projection"):
        if getattr(layer, field, None) is not None:
            place.refuse(field, "the operators have no projections")
    if getattr(layer, "cell_clip", None) is not None:
        place.refuse(f"cell clip {layer.cell_clip:g}", "the cell cannot be bounded")


def _recurrent(layer: Any, halves: list[Any], place: Place) -> str:
    for one in (layer, *halves):
        _check(one, place)
    kind = KINDS[type(halves[0])]
    x = place.inputs[0]
    shape = place.input_shapes[0]
    if not shape.time:
        # A feature vector is a sequence of one step.
        x = place.call("Unsqueeze", x, place.sizes("step", 0))
    start = _start(kind, x, len(halves), place)
    weights = _weights(kind, halves, place)
    peephole = _peephole(halves, place)
    given = [x, *weights, "", *start, *peephole]
    outputs = place.calls(
        kind.op,
        *given,
        outputs=1 + len(kind.parts),
        hidden_size=halves[0].hidden_size,
        direction="forward" if len(halves) == 1 else "bidirectional",
        **_functions(kind, halves, place),
        **_settings(halves[0]),
    )
    # Readers look for the name of the layer at its operator.
    place.graph.calls[-1] = place.graph.calls[-1]._replace(name=place.name)
    y, *ends = outputs if len(halves) == 2 else _named(kind, outputs, place)
    for port, end in zip(PORTS, ends, strict=False):
        place.graph.values[f"{place.name}/{port}"] = _port(place, end, port)
    if layer.output_mode == "last" or not shape.time:
        return _merged(layer, ends[0], 0, place)
    return _merged(layer, y, 1, place)


def _start(kind: Kind, x: str, directions: int, place: Place) -> list[str]:
    """The states to start from, `(directions, batch, H)`.

    Those of two directions are constants, and left out where they are zero.
    """
    brought = place.inputs[1:]
    if brought:
        axes = place.sizes("directions", 0)
        return [place.call("Unsqueeze", value, axes) for value in brought]
    state = place.net.initial[place.name]
    parts = [state] if directions == 1 else list(state)
    defaults = {
        part: np.stack([np.asarray(getattr(p, part)) for p in parts])[:, None]
        for part in kind.parts
    }
    if directions == 2 and not any(np.any(array) for array in defaults.values()):
        return [""] * len(defaults)
    one = place.sizes("one", 1)
    batch = place.call("Shape", x, start=1, end=2)
    sizes = place.call("Concat", one, batch, one, axis=0)
    found = []
    for part, default in defaults.items():
        if directions == 2:
            found.append(place.call("Expand", place.array(f"{part}0", default), sizes))
            continue
        name = place.graph.reserve(f"{place.name}_{part}0")
        place.graph.arrays[name] = default
        place.graph.state_inputs.append(StateInput(name, place.name))
        found.append(place.call("Expand", name, sizes))
    return found


def _weights(kind: Kind, halves: list[Any], place: Place) -> list[str]:
    """W, R and B, one direction above the other."""
    blocks = [_gates.join(half, kind.order) for half in halves]
    biases = [
        np.concatenate(
            [
                block.bias,
                np.zeros_like(block.bias)
                if block.recurrent_bias is None
                else block.recurrent_bias,
            ]
        )
        for block in blocks
    ]
    return [
        place.array("W", np.stack([block.input_weights for block in blocks])),
        place.array("R", np.stack([block.recurrent_weights for block in blocks])),
        place.array("B", np.stack(biases)),
    ]


def _peephole(halves: list[Any], place: Place) -> list[str]:
    found = [getattr(half, "peephole", None) for half in halves]
    if found[0] is None:
        return []
    rows = [
        np.concatenate([np.asarray(getattr(p, gate)) for gate in _gates.ONNX_PEEPHOLE])
        for p in found
    ]
    return [place.array("P", np.stack(rows))]


def _functions(kind: Kind, halves: list[Any], place: Place) -> dict[str, Any]:
    """The activation functions of all directions, with their constants."""
    names, alphas, betas = [], [], []
    for half in halves:
        specs = [half.state_activation]
        if kind.op != "RNN":
            specs = [half.gate_activation, *specs]
        if kind.op == "LSTM":
            specs.append(half.output_activation or half.state_activation)
        for spec in specs:
            name, constants = complete(spec)
            if name == "identity":
                name, constants = "affine", (1.0, 0.0)
            if name not in FUNCTIONS:
                place.refuse(spec, "the operator has no such activation function")
            word, count = FUNCTIONS[name]
            names.append(word)
            alphas += constants[: min(count, 1)]
            betas += constants[1:count]
    found: dict[str, Any] = {"activations": names}
    if alphas:
        found["activation_alpha"] = alphas
    if betas:
        found["activation_beta"] = betas
    return found


def _named(kind: Kind, outputs: list[str], place: Place) -> list[str]:
    """The outputs, the last states under the names that the graph puts them out by."""
    names = [outputs[0]]
    state = place.net.initial[place.name]
    for word in kind.parts:
        names.append(place.graph.reserve(f"{place.name}_{word}n"))
        place.graph.state_outputs.append((names[-1], len(getattr(state, word))))
    operator = place.graph.calls[-1]
    place.graph.calls[-1] = operator._replace(outputs=tuple(names))
    return names


def _port(place: Place, end: str, port: str) -> str:
    """A last state as other layers take it, `(batch, H)`, if any does."""
    ref = f"{place.name}/{port}"
    used = {ref for node in place.net.graph for ref in node.inputs}
    if ref not in used | set(place.net.outputs):
        return end
    return place.call("Squeeze", end, place.sizes("directions", 0))


def _merged(layer: Any, y: str, axis: int, place: Place) -> str:
    """The directions along `axis` made one, by the rule of the layer."""
    if not isinstance(layer, Bidirectional):
        return place.call("Squeeze", y, place.sizes("directions", axis))
    if layer.merge == "concat":
        order = (0, 2, 1, 3) if axis else (1, 0, 2)
        y = place.transpose(y, *order)
        return place.reshape(y, *(0,) * (axis + 1), layer.output_size)
    ahead, behind = (
        place.call("Gather", y, place.array("direction", np.int64(k)), axis=axis)
        for k in (0, 1)
    )
    if layer.merge == "mul":
        return place.call("Mul", ahead, behind)
    total = place.call("Add", ahead, behind)
    if layer.merge == "sum":
        return total
    return place.call("Mul", total, place.number("half", 0.5))
