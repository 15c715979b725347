"""LSTM, BiLSTM, GRU and their projected forms, with their states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...errors import Unsupported
from ...pytree import Shape
from ...recurrent import (
    GATE_ACTIVATIONS,
    GRU,
    LSTM,
    RESET_MODES,
    STATE_ACTIVATIONS,
    Bidirectional,
    BidirectionalState,
    GRUState,
    LSTMState,
)
from .. import _gates
from ..fields import Fields, numeric
from ..matfile import MatObject
from .learnable import factors, learnable
from .registry import Built, reader

ARRAYS = {
    "InputWeights": "input_weights",
    "RecurrentWeights": "recurrent_weights",
    "Bias": "bias",
}
PROJECTORS = {
    "InputProjector": "input_projector",
    "OutputProjector": "output_projector",
}


class Common(NamedTuple):
    """What all recurrent layers share.

    `arrays` are packed, rows as in the file; `factors` are `(learn rates, L2)` for each
    of them, one number a gate.
    """

    settings: dict[str, Any]
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray]
    factors: list[tuple[list[float], list[float]]]
    hidden: int


def _common(
    f: Fields, inputs: list[Shape], gates: int, states: int, biases: int = 1
) -> Common:
    """Read what is the same in all of them: `gates` packed gates, `biases` for each."""
    hidden = f.integers("NumHiddenUnits", "OutputSize")[0]
    parameters = {name: learnable(f, name) for name in ARRAYS}
    input_weights, recurrent_weights, bias = (p.array for p in parameters.values())
    arrays = (input_weights, recurrent_weights, bias.reshape(-1))
    _check_shapes(f, arrays, gates, hidden, biases)
    found = [
        (
            _per_gate(f, f"{name}LearnRateFactor", parameter.learn_rate, gates),
            _per_gate(f, f"{name}L2Factor", parameter.l2, gates),
        )
        for name, parameter in parameters.items()
    ]
    settings = {
        "state_activation": _choice(f, "StateActivationFunction", STATE_ACTIVATIONS),
        "gate_activation": _choice(f, "GateActivationFunction", GATE_ACTIVATIONS),
        "output_mode": _output_mode(f),
    }
    _check_state_inputs(f, inputs, states)
    f.ignore("InputSize", "InputProjectorSize", "OutputProjectorSize")
    return Common(settings, arrays, found, hidden)


def _choice(f: Fields, name: str, known: tuple[str, ...]) -> str:
    value = f.text(name, default=known[0])
    if value not in known:
        f.refuse(name, value, ", ".join(known))
    return value


def _output_mode(f: Fields) -> str:
    mode = f.text("OutputMode", default=None)
    sequence = f.flag("ReturnSequence", default=True)
    if mode is None:
        mode = "sequence" if sequence else "last"
    if mode not in ("sequence", "last"):
        f.refuse("OutputMode", mode, "sequence or last")
    return mode


def _check_shapes(
    f: Fields, arrays: tuple[np.ndarray, ...], gates: int, hidden: int, biases: int
) -> None:
    rows = gates * hidden
    for name, array in zip(ARRAYS, arrays[:2], strict=False):
        if array.ndim != 2 or array.shape[0] != rows:
            f.refuse(name, f"shape {array.shape}", f"{rows} rows: {gates} x {hidden}")
    width = arrays[1].shape[1]
    if width != hidden and "OutputProjector" not in f:
        f.refuse("RecurrentWeights", f"{width} columns", f"{hidden} hidden units")
    if arrays[2].size != biases * rows:
        f.refuse("Bias", f"{arrays[2].size} values", biases * rows)


def _check_state_inputs(f: Fields, inputs: list[Shape], states: int) -> None:
    """With state inputs, the state must come from somewhere; without, it must not."""
    wanted = states if f.flag("HasStateInputs", default=False) else 0
    f.ignore("HasStateOutputs")
    if inputs and len(inputs) != 1 + wanted:
        f.refuse(
            "HasStateInputs",
            f"{len(inputs) - 1} connected state inputs",
            f"{wanted}: an input of the network cannot be a state",
        )


def _per_gate(f: Fields, name: str, factor: Any, gates: int) -> list[float]:
    """A training factor for each gate; MATLAB repeats them for every row of a gate.

    Factors that fit no gate fall back to their defaults, with a notice: no prediction
    depends on them, further training does.
    """
    values = np.ravel(factor).astype(float)
    if values.size == 1:
        return [float(values[0])] * gates
    if values.size % gates == 0:
        blocks = values.reshape(gates, -1)
        if np.all(blocks == blocks[:, :1]):
            return [float(v) for v in blocks[:, 0]]
    f.notices.append(f"{name} fits no gate and is read as its default")
    return [0.0 if name == "BiasL2Factor" else 1.0] * gates


def _gate_factors(
    prefix: str, gates: tuple[str, ...], found: list, block: int = 0
) -> list[tuple[str, float, float]]:
    """Per-gate factors by path; `block` picks a direction."""
    own = slice(block * len(gates), (block + 1) * len(gates))
    return [
        entry
        for name, (rates, decays) in zip(ARRAYS.values(), found, strict=True)
        for gate, rate, decay in zip(gates, rates[own], decays[own], strict=True)
        for entry in factors(f"{prefix}.{gate}.{name}", rate, decay)
    ]


def _projectors(f: Fields, common: Common, built: list) -> dict[str, np.ndarray]:
    """The projectors there are; their factors are added to `built`."""
    found = {}
    sides = {"InputProjector": (None, 0), "OutputProjector": (common.hidden, 1)}
    for name, key in PROJECTORS.items():
        if name in f:
            parameter = learnable(f, name)
            rows, weights = sides[name][0], common.arrays[sides[name][1]]
            shape = parameter.array.shape
            if shape[1:] != weights.shape[1:] or rows not in (None, shape[0]):
                f.refuse(name, f"shape {shape}", f"{rows or 'C'} x {weights.shape[1]}")
            found[key] = parameter.array
            built += parameter.factors(f".{key}")
    return found


# --- states ---------------------------------------------------------------------------


def _states(
    f: Fields, names: tuple[str, ...], width: int
) -> tuple[Any, Any, list[str]]:
    """Initial and current values of "HiddenState", "CellState": flat, or None."""
    initial, saved, notices = [], [], []
    for name in names:
        # R2017b called the hidden state OutputState.
        old = name.replace("Hidden", "Output")
        start = f.take(f"Initial{name}", f"Initial{old}", default=None)
        now = f.take(name, old, default=None)
        held = now.values if isinstance(now, MatObject) else now
        now = held["Value"] if isinstance(held, dict) and "Value" in held else now
        initial.append(_state(f, f"Initial{name}", start, width))
        try:
            saved.append(_state(f, name, now, width))
        except Unsupported as error:
            # The weights are there, and predictions start from the initial state.
            notices.append(f"its saved state is left out: {error.summary}")
            saved.append(None)
        if initial[-1] is not None and initial[-1].ndim > 1:
            f.refuse(f"Initial{name}", initial[-1].shape, f"{width} values")
        if saved[-1] is not None and saved[-1].ndim > 1:
            notices.append(
                f"its saved state belongs to {saved[-1].shape[1]} sequences at once "
                "and is left out"
            )
            saved[-1] = None
    start = None if any(v is None for v in initial) else tuple(initial)
    now = None if any(v is None for v in saved) else tuple(saved)
    return start, now, notices[:1]


def _state(f: Fields, name: str, value: Any, width: int) -> np.ndarray | None:
    """A state `(H,)`, or `(H, N)` of N sequences that differ."""
    if value is None:
        return None
    array = numeric(value, f"{f.place}.{name}")
    if array.size == 0:
        return None
    if array.size == width:
        return array.reshape(width).copy()
    if array.shape[0] != width:
        f.refuse(name, f"shape {array.shape}", f"{width} values")
    columns = array.reshape(width, -1)
    return columns[:, 0].copy() if np.all(columns == columns[:, :1]) else columns


# --- layers ---------------------------------------------------------------------------


@reader("LSTMLayer", "LSTMProjectedLayer")
def _lstm(f: Fields, inputs: list[Shape]) -> Built:
    common = _common(f, inputs, 4, 2)
    found = _gate_factors("", _gates.MATLAB_LSTM, common.factors)
    layer = LSTM(
        **_gates.split(*common.arrays, _gates.MATLAB_LSTM),
        **_projectors(f, common, found),
        **common.settings,
    )
    start, now, notices = _states(f, ("HiddenState", "CellState"), common.hidden)
    return Built(
        layer,
        LSTMState(*start) if start else None,
        LSTMState(*now) if now else None,
        found,
        notices,
    )


@reader("GRULayer", "GRUProjectedLayer")
def _gru(f: Fields, inputs: list[Shape]) -> Built:
    mode = _choice(f, "ResetGateMode", RESET_MODES)
    biases = 2 if mode == "recurrent-bias-after-multiplication" else 1
    common = _common(f, inputs, 3, 1, biases)
    found = _gate_factors("", _gates.MATLAB_GRU, common.factors)
    layer = GRU(
        **_gates.split(*common.arrays, _gates.MATLAB_GRU),
        **_projectors(f, common, found),
        reset_mode=mode,
        **common.settings,
    )
    start, now, notices = _states(f, ("HiddenState",), common.hidden)
    return Built(
        layer,
        GRUState(*start) if start else None,
        GRUState(*now) if now else None,
        found,
        notices,
    )


@reader("BiLSTMLayer")
def _bilstm(f: Fields, inputs: list[Shape]) -> Built:
    if f.flag("HasStateInputs", default=False):
        f.refuse("HasStateInputs", True, "false in a bidirectional layer")
    common = _common(f, inputs, 8, 2)
    hidden = common.hidden
    mode = common.settings.pop("output_mode")
    halves, found = [], []
    for block, name in enumerate(("forward", "backward")):
        rows = slice(block * 4 * hidden, (block + 1) * 4 * hidden)
        weights, recurrent_weights, bias = (array[rows] for array in common.arrays)
        gates = _gates.split(weights, recurrent_weights, bias, _gates.MATLAB_LSTM)
        halves.append(LSTM(**gates, **common.settings))
        found += _gate_factors(f".{name}", _gates.MATLAB_LSTM, common.factors, block)
    start, now, notices = _states(f, ("HiddenState", "CellState"), 2 * hidden)

    def halve(state: Any) -> Any:
        if state is None:
            return None
        ahead = LSTMState(*(s[:hidden] for s in state))
        return BidirectionalState(ahead, LSTMState(*(s[hidden:] for s in state)))

    layer = Bidirectional(*halves, output_mode=mode)
    return Built(layer, halve(start), halve(now), found, notices)
