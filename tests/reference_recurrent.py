"""The recurrent layers of MATLAB in NumPy, float64: one loop a cell, one line a gate.

Part of the judge, like reference_layers.py: sequences are `(C, T)`, weights lie as the
file has them, rows grouped by gate: i f g o, or r z n; forward above backward.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from reference_layers import (
    Fields,
    Signal,
    hard_sigmoid,
    learnable,
    relu,
    sigmoid,
    softsign,
)

STATE_FUNCTIONS = {"tanh": np.tanh, "softsign": softsign, "relu": relu}
GATE_FUNCTIONS = {"sigmoid": sigmoid, "hard-sigmoid": hard_sigmoid}


def lstm(p: Fields, W, R, b, X: np.ndarray, h, c) -> dict[str, np.ndarray]:
    """Every signal over time, `(H, T)` each, by letter."""
    state = STATE_FUNCTIONS[p.get("StateActivationFunction", "tanh")]
    gate = GATE_FUNCTIONS[p.get("GateActivationFunction", "sigmoid")]
    H = h.size
    names = ("i", "f", "g", "o", "c", "h")
    over_time: dict[str, list] = {name: [] for name in names}
    for t in range(X.shape[1]):
        z = W @ X[:, t] + R @ h + b
        i = gate(z[:H])
        f = gate(z[H : 2 * H])
        g = state(z[2 * H : 3 * H])
        o = gate(z[3 * H :])
        c = f * c + i * g
        h = o * state(c)
        for name, value in zip(names, (i, f, g, o, c, h), strict=True):
            over_time[name].append(value)
    return {name: np.stack(values, 1) for name, values in over_time.items()}


def gru(p: Fields, W, R, b, X: np.ndarray, h, c=None) -> dict[str, np.ndarray]:
    """Every signal over time, `(H, T)` each, by letter; it has no use for `c`."""
    state = STATE_FUNCTIONS[p.get("StateActivationFunction", "tanh")]
    gate = GATE_FUNCTIONS[p.get("GateActivationFunction", "sigmoid")]
    mode = p.get("ResetGateMode", "after-multiplication")
    H = h.size
    b, b_R = b[: 3 * H], (b[3 * H :] if b.size > 3 * H else np.zeros(3 * H))
    over_time: dict[str, list] = {name: [] for name in "rznh"}
    for t in range(X.shape[1]):
        x = W @ X[:, t] + b
        r = gate(x[:H] + R[:H] @ h + b_R[:H])
        z = gate(x[H : 2 * H] + R[H : 2 * H] @ h + b_R[H : 2 * H])
        if mode == "before-multiplication":
            n = state(x[2 * H :] + R[2 * H :] @ (r * h))
        else:
            n = state(x[2 * H :] + r * (R[2 * H :] @ h + b_R[2 * H :]))
        h = (1 - z) * n + z * h
        for name, value in zip("rznh", (r, z, n, h), strict=True):
            over_time[name].append(value)
    return {name: np.stack(values, 1) for name, values in over_time.items()}


RECURRENT: dict[str, tuple[Callable, int]] = {
    "LSTMLayer": (lstm, 1),
    "BiLSTMLayer": (lstm, 2),
    "GRULayer": (gru, 1),
    "LSTMProjectedLayer": (lstm, 1),
    "GRUProjectedLayer": (gru, 1),
}


def recurrent(
    kind: str, p: Fields, x: Signal, h: np.ndarray, c: np.ndarray
) -> tuple[Signal, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Run a recurrent layer: its output, final h and c, and its inner signals."""
    direction, directions = RECURRENT[kind]
    W, R = learnable(p, "InputWeights"), learnable(p, "RecurrentWeights")
    if "InputProjector" in p:
        W = W @ learnable(p, "InputProjector").T
    if "OutputProjector" in p:
        R = R @ learnable(p, "OutputProjector").T
    b = learnable(p, "Bias").ravel()
    parts, inner = [], {}
    for d in range(directions):
        W_d, R_d, b_d, h_d, c_d = (
            np.split(v, directions)[d] for v in (W, R, b, h, c)
        )  # fmt: skip
        X = x.values[:, ::-1] if d else x.values
        run = direction(p, W_d, R_d, b_d, X, h_d, c_d)
        end = (run["h"][:, -1], run.get("c", run["h"])[:, -1])
        prefix = ("forward.", "backward.")[d] if directions == 2 else ""
        for name, values in run.items():
            inner[prefix + name] = values[:, ::-1] if d else values
        parts.append((inner[prefix + "h"], *end))
    h_T, c_T = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
    if bool(np.ravel(p.get("ReturnSequence", True))[0]):
        y = Signal(np.concatenate([part[0] for part in parts]), x.timed)
    else:
        # Where each direction ends is the last step it has seen, not the last column.
        y = Signal(h_T.reshape(-1, 1), False)
    return y, h_T, c_T, inner
