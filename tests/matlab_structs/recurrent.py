"""Recurrent layers of every struct version, and their projected forms."""

from __future__ import annotations

from typing import Any

import numpy as np
from matlab_files import EMPTY, MatlabOpaque, flag, number, thing

from .base import Rng, layer, learnable, normal


def _packed(
    rng: Rng, rows: int, inputs: int, hidden: int, version: int, biases: int = 1
) -> dict[str, Any]:
    scale = 1.5 / np.sqrt(hidden)
    return {
        "InputWeights": learnable(normal(rng, rows, inputs, scale=0.7), version),
        "RecurrentWeights": learnable(normal(rng, rows, hidden, scale=scale), version),
        "Bias": learnable(normal(rng, biases * rows, 1, scale=0.5), version, decay=0.0),
    }


def _state(name: str, value: Any, version: int) -> dict[str, Any]:
    struct = {"Value": value, "Remember": flag(True)}
    if version == 1:
        # R2017b kept objects here, and called the hidden state the output state.
        kind = "nnet.internal.cnn.layer.dynamic.TrainingDynamicParameter"
        old = name.replace("Hidden", "Output")
        return {old: thing(kind, struct), f"Initial{name}": value}
    return {name: struct, f"Initial{name}": value}


def _activations(state: str, gate: str) -> dict[str, Any]:
    return {"StateActivationFunction": state, "GateActivationFunction": gate}


def lstm(
    rng: Rng, name: str, inputs: int, hidden: int, version: int = 5, *,
    last: bool = False, state: str = "tanh", gate: str = "sigmoid",
    state_inputs: bool = False, state_outputs: bool = False, kind: str = "LSTMLayer",
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 1 to 5; a bilstm has one less with the same fields."""
    both = kind == "BiLSTMLayer"
    age = version + both
    directions = 2 if both else 1
    struct: dict[str, Any] = {"InputSize": number(inputs)}
    struct["OutputSize" if age == 1 else "NumHiddenUnits"] = number(hidden)
    struct["ReturnSequence"] = flag(not last)
    if age >= 3:
        struct |= _activations(state, gate)
    if age >= 5:
        struct["HasStateInputs"] = flag(state_inputs)
        struct["HasStateOutputs"] = flag(state_outputs)
    struct |= _packed(rng, 4 * directions * hidden, inputs, hidden, 1 + (age >= 4))
    zero = np.zeros((directions * hidden, 1), np.float32)
    for part in ("CellState", "HiddenState"):
        struct |= _state(part, EMPTY if state_inputs else zero, age)
    return layer(kind, name, version, **struct | fields)


def bilstm(
    rng: Rng, name: str, inputs: int, hidden: int, version: int = 4, **more: Any
) -> MatlabOpaque:
    """Struct versions 1 to 4."""
    return lstm(rng, name, inputs, hidden, version, kind="BiLSTMLayer", **more)


def gru(
    rng: Rng, name: str, inputs: int, hidden: int, version: int = 2, *,
    last: bool = False, mode: str = "after-multiplication", state: str = "tanh",
    gate: str = "sigmoid", state_inputs: bool = False, state_outputs: bool = False,
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 1 and 2."""
    struct: dict[str, Any] = {
        "InputSize": number(inputs),
        "NumHiddenUnits": number(hidden),
        "ReturnSequence": flag(not last),
        "ResetGateMode": mode,
        **_activations(state, gate),
    }
    if version >= 2:
        struct["HasStateInputs"] = flag(state_inputs)
        struct["HasStateOutputs"] = flag(state_outputs)
    biases = 2 if mode.startswith("recurrent-bias") else 1
    struct |= _packed(rng, 3 * hidden, inputs, hidden, 2, biases)
    zero = EMPTY if state_inputs else np.zeros((hidden, 1), np.float32)
    struct |= _state("HiddenState", zero, 2)
    return layer("GRULayer", name, version, **struct | fields)


def projected(
    rng: Rng, kind: str, name: str, inputs: int, hidden: int, ranks: tuple[int, int],
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """An lstmProjectedLayer or gruProjectedLayer of two ranks: input, output."""
    gates = {"LSTMProjectedLayer": 4, "GRUProjectedLayer": 3}[kind]
    rows = gates * hidden
    struct: dict[str, Any] = {
        "InputSize": number(inputs),
        "NumHiddenUnits": number(hidden),
        "OutputProjectorSize": number(ranks[1]),
        "InputProjectorSize": number(ranks[0]),
        "ReturnSequence": flag(True),
        **_activations("tanh", "sigmoid"),
        "HasStateInputs": flag(False),
        "HasStateOutputs": flag(False),
        "InputWeights": learnable(normal(rng, rows, ranks[0])),
        "RecurrentWeights": learnable(normal(rng, rows, ranks[1], scale=0.6)),
        "Bias": learnable(normal(rng, rows, 1, scale=0.5), decay=0.0),
        "InputProjector": learnable(normal(rng, inputs, ranks[0], scale=0.5)),
        "OutputProjector": learnable(normal(rng, hidden, ranks[1], scale=0.5)),
    }
    zero = np.zeros((hidden, 1), np.float32)
    for part in ("CellState", "HiddenState")[4 - gates :]:
        struct |= _state(part, zero, 5)
    return layer(kind, name, **struct | fields)
