"""The ways to read MATLAB's weight arrays, and the run of a network by each of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

import jlstm as jl


class Reading(NamedTuple):
    """Which row belongs to which gate.

    Arguments:
        order: the gates as they follow each other, such as "ifgo".
        grouped: all units of a gate together (gate k, unit u in row k H + u);
            otherwise all gates of a unit together (row 4 u + k).
        transposed: every gate's recurrent block is transposed as well.
    """

    order: str
    grouped: bool
    transposed: bool

    def __str__(self) -> str:
        rows = "grouped" if self.grouped else "interleaved"
        return f"{' '.join(self.order)}, {rows}" + ", R transposed" * self.transposed


def every() -> Iterator[Reading]:
    """24 orders, grouped and interleaved, R as it is and transposed: 96."""
    for order in permutations("ifgo"):
        for grouped in (True, False):
            for transposed in (False, True):
                yield Reading("".join(order), grouped, transposed)


MATLAB = Reading("ifgo", grouped=True, transposed=False)


def rows_of(reading: Reading, gate: str, hidden: int) -> np.ndarray:
    """The rows, from 0, of a gate's units 1, 2, ... H."""
    k = reading.order.index(gate)
    if reading.grouped:
        return k * hidden + np.arange(hidden)
    return k + 4 * np.arange(hidden)


def gates(layer: Any, reading: Reading) -> dict[str, tuple[np.ndarray, ...]]:
    """W, R, b of every gate, taken from the 4H x ... arrays as the reading says."""
    arrays = jl.matlab_arrays(layer)
    w, r, b = (
        arrays[name].astype(float)
        for name in ("InputWeights", "RecurrentWeights", "Bias")
    )
    hidden = r.shape[1]
    found = {}
    for gate in "ifgo":
        rows = rows_of(reading, gate, hidden)
        recurrent = r[rows].T if reading.transposed else r[rows]
        found[gate] = w[rows], recurrent, b[rows, 0]
    return found


def run(net: jl.Network, x: np.ndarray, reading: Reading) -> np.ndarray:
    """The network by a reading; `x (sequences, time, features)`, double precision."""
    signal: Any = np.asarray(x, float)
    for node in net.graph:
        layer: Any = net.layers[node.name]
        kind = type(layer).__name__
        if kind == "LSTM":
            signal = lstm(signal, gates(layer, reading), layer.output_mode)
        elif kind == "FullyConnected":
            weights = np.asarray(layer.weights, float)
            signal = signal @ weights.T + np.asarray(layer.bias, float)
        elif kind == "Activation" and layer.name == "relu":
            signal = np.maximum(signal, 0)
        elif kind == "Input" and layer.normalization == "zscore":
            signal = (signal - np.asarray(layer.mean)) / np.asarray(layer.std)
        elif kind not in (
            "Input",
            "Dropout",
            "Softmax",
            "Regression",
            "Classification",
        ):
            raise ValueError(f"{node.name}: {kind} is not computed here")
    return signal


def lstm(x: np.ndarray, weights: Any, output_mode: str) -> np.ndarray:
    """Zero initial state, tanh and sigmoid."""
    before = {k: x @ w.T + b for k, (w, _, b) in weights.items()}
    recurrent = np.concatenate([r for _, r, _ in weights.values()]).T
    h = c = np.zeros((len(x), recurrent.shape[0]))
    outputs = []
    for t in range(x.shape[1]):
        back = dict(zip(weights, np.split(h @ recurrent, 4, axis=1), strict=True))
        z = {k: before[k][:, t] + back[k] for k in weights}
        c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
        h = sigmoid(z["o"]) * np.tanh(c)
        outputs.append(h)
    return h if output_mode == "last" else np.stack(outputs, axis=1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    # Wrong readings may drive z far out: exp must not overflow.
    return 0.5 + 0.5 * np.tanh(0.5 * x)
