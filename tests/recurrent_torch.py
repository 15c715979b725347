"""One recurrent layer over a batch in float64, from the equations, by torch's autograd.

Gates are lists in the order i f g o, or r z n. A row stands still from its length on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

LSTM, GRU_AFTER, GRU_BEFORE = range(3)

STATE = (torch.tanh, lambda v: v / (1 + v.abs()), torch.relu)
GATE = (torch.sigmoid, lambda v: torch.clamp(0.2 * v + 0.5, 0, 1))


class Case(NamedTuple):
    """A layer's arguments, float64."""

    x: np.ndarray
    length: np.ndarray
    h0: np.ndarray
    c0: np.ndarray
    w: list[np.ndarray]
    r: list[np.ndarray]
    b: list[np.ndarray]
    rb: list[np.ndarray]


class Layer(NamedTuple):
    """What is not an array."""

    kind: int = LSTM
    state: int = 0
    gate: int = 0
    reverse: bool = False


def random_case(
    rng: np.random.Generator, layer: Layer, sizes: tuple[int, ...], ragged: bool
) -> Case:
    """Weights of trained scale; `sizes` are batch, time, inputs, units."""
    batch, time, inputs, units = sizes
    gates = 4 if layer.kind == LSTM else 3

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) * 0.5

    return Case(
        normal(batch, time, inputs),
        (rng.integers(0, time + 1, batch) if ragged else np.full(batch, time)).astype(
            np.int32
        ),
        normal(batch, units),
        normal(batch, units),
        [normal(units, inputs) for _ in range(gates)],
        [normal(units, units) / max(1, units / 8) ** 0.5 for _ in range(gates)],
        [normal(units) for _ in range(gates)],
        [normal(units) for _ in range(gates)] if layer.kind == GRU_AFTER else [],
    )


def _step(layer: Layer, case, h, c, x):
    state, gate = STATE[layer.state], GATE[layer.gate]
    z = [x @ w.T + b for w, b in zip(case.w, case.b, strict=True)]
    if layer.kind == LSTM:
        i, f, g, o = (a + h @ r.T for a, r in zip(z, case.r, strict=True))
        c = gate(f) * c + gate(i) * state(g)
        return gate(o) * state(c), c
    if layer.kind == GRU_AFTER:
        p = [h @ r.T + b for r, b in zip(case.r, case.rb, strict=True)]
        r, u = gate(z[0] + p[0]), gate(z[1] + p[1])
        n = state(z[2] + r * p[2])
    else:
        r, u = gate(z[0] + h @ case.r[0].T), gate(z[1] + h @ case.r[1].T)
        n = state(z[2] + (r * h) @ case.r[2].T)
    return (1 - u) * n + u * h, c


def forward(layer: Layer, case):
    """`ys, h, c` of tensors."""
    h, c = case.h0, case.c0
    time = case.x.shape[1]
    ys = [h] * time
    for t in reversed(range(time)) if layer.reverse else range(time):
        live = (t < case.length)[:, None]
        h_new, c_new = _step(layer, case, h, c, case.x[:, t])
        h, c = torch.where(live, h_new, h), torch.where(live, c_new, c)
        ys[t] = h
    empty = h.new_zeros((h.shape[0], 0, h.shape[1]))
    return (torch.stack(ys, 1) if time else empty), h, c


def tensors(case: Case) -> Case:
    """Leaves that remember their gradients."""

    def leaf(a):
        if isinstance(a, list):
            return [leaf(each) for each in a]
        if a.dtype == np.int32:
            return torch.tensor(a)
        return torch.tensor(a, requires_grad=True)

    return Case(*map(leaf, case))


def gradients(layer: Layer, case: Case, dys, dh, dc):
    """Results, and the gradients of x, h0, [c0], weights and biases, as arrays."""
    leaves = tensors(case)
    results = forward(layer, leaves)
    total = sum(
        (a * torch.tensor(d)).sum() for a, d in zip(results, (dys, dh, dc), strict=True)
    )
    total.backward()
    wanted = [leaves.x, leaves.h0, *([leaves.c0] if layer.kind == LSTM else [])]
    wanted += [*leaves.w, *leaves.r, *leaves.b, *leaves.rb]
    found = [np.zeros(a.shape) if a.grad is None else a.grad.numpy() for a in wanted]
    return [a.detach().numpy() for a in results], found
