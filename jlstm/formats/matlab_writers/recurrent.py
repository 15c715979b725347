"""LSTM, BiLSTM, GRU and their projected forms, with their states."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...recurrent import GRU, LSTM, Bidirectional
from .. import _gates
from ..matlab_layers.recurrent import ARRAYS, PROJECTORS
from .registry import Parameter, Place, Written, writer

STATES = {"HiddenState": "h", "CellState": "c"}


def _parameters(layer: Any, prefixes: tuple[str, ...]) -> dict[str, Parameter]:
    """Packed arrays; one path a gate, of both directions where there are two."""
    arrays = _gates.matlab_arrays(layer)
    inner = getattr(layer, "forward", layer)
    order = _gates.MATLAB_LSTM if isinstance(inner, LSTM) else _gates.MATLAB_GRU
    found = {
        name: Parameter(
            arrays[name], tuple(f"{p}.{gate}.{key}" for p in prefixes for gate in order)
        )
        for name, key in ARRAYS.items()
    }
    for name, key in PROJECTORS.items():
        if name in arrays:
            found[name] = Parameter(arrays[name], (f".{key}",))
    return found


def _settings(layer: Any) -> dict[str, Any]:
    return {
        "StateActivationFunction": layer.state_activation,
        "GateActivationFunction": layer.gate_activation,
    }


def _states(place: Place, parts: Any) -> dict[str, Any]:
    """The initial and the current state as columns; `parts` splits off directions."""
    name = place.node.name
    start = place.net.initial[name]
    now = start if place.net.saved is None else place.net.saved[name]
    return {
        key: {
            word: np.concatenate([np.asarray(getattr(p, field)) for p in parts(state)])[
                :, None
            ]
            for word, field in STATES.items()
            if hasattr(parts(state)[0], field)
        }
        for key, state in (("initial", start), ("current", now))
    }


def _one_direction(layer: Any, place: Place, word: str) -> Written:
    projectors = [getattr(layer, key) for key in PROJECTORS.values()]
    if sum(p is not None for p in projectors) == 1:
        place.refuse("one projector", "a projected layer has two")
    projected = projectors[0] is not None
    settings = {"OutputMode": layer.output_mode, **_settings(layer)}
    if isinstance(layer, GRU):
        settings["ResetGateMode"] = layer.reset_mode
    flags = {}
    if len(place.node.inputs) > 1:
        flags["HasStateInputs"] = True
    if place.gives_state:
        flags["HasStateOutputs"] = True
    since = {"lstm": "R2017b", "gru": "R2020a"}[word]
    if flags:
        since = "R2021b"
    arguments: tuple[int, ...] = (layer.hidden_size,)
    if projected:
        since = {"lstm": "R2022b", "gru": "R2023b"}[word]
        arguments += (projectors[1].shape[-1], projectors[0].shape[-1])
    middle = "Projected" if projected else ""
    return Written(
        f"{word.upper()}{middle}Layer",
        f"{word}{middle}Layer",
        since,
        arguments,
        settings=settings | flags,
        parameters=_parameters(layer, ("",)),
        properties={
            "NumHiddenUnits": layer.hidden_size,
            "InputSize": layer.input_size,
        },
        **_states(place, lambda state: [state]),
    )


@writer(LSTM)
def _lstm(layer: LSTM, place: Place) -> Written:
    if layer.peephole is not None:
        place.refuse("peephole weights", "it has no peephole connections")
    return _one_direction(layer, place, "lstm")


@writer(GRU)
def _gru(layer: GRU, place: Place) -> Written:
    return _one_direction(layer, place, "gru")


@writer(Bidirectional)
def _bilstm(layer: Bidirectional, place: Place) -> Written:
    halves = (layer.forward, layer.backward)
    for half in halves:
        if not isinstance(half, LSTM):
            place.refuse(
                f"two directions of {type(half).__name__}", "bilstmLayer is of LSTMs"
            )
        if half.peephole is not None or half.input_projector is not None:
            place.refuse(repr(half), "bilstmLayer has neither peepholes nor projectors")
        if half.output_projector is not None:
            place.refuse(repr(half), "bilstmLayer has no projectors")
    if _settings(halves[0]) != _settings(halves[1]):
        place.refuse(repr(halves), "bilstmLayer has one activation for both directions")
    if halves[0].hidden_size != halves[1].hidden_size:
        place.refuse(
            f"{halves[0].hidden_size} and {halves[1].hidden_size} hidden units",
            "both directions of bilstmLayer have as many",
        )
    return Written(
        "BiLSTMLayer",
        "bilstmLayer",
        "R2018a",
        (layer.hidden_size,),
        settings={"OutputMode": layer.output_mode, **_settings(halves[0])},
        parameters=_parameters(layer, (".forward", ".backward")),
        properties={
            "NumHiddenUnits": layer.hidden_size,
            "InputSize": layer.input_size,
        },
        **_states(place, lambda state: [state.forward, state.backward]),
    )
