"""One step of a cell and its way back, elementwise, for engines that run whole loops.

The products with the weights are made elsewhere. A step takes the sums `z` of four
slots, which are `W x + b` and, in those of `Cell.products`, `R h` added:

    LSTM    z_i, z_f, z_g, z_o                     all with R h
    GRU     z_r, z_z, W_n x + b_n, R_n h + b_Rn    the third without

and leaves what the way back wants in their place. The equations are those of
`recurrent.LSTM` and `recurrent.GRU`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

SLOTS = 4
Function = Callable[[Any], Any]


class Pair(NamedTuple):
    """A function, and its derivative told by its value."""

    value: Function
    slope: Function


STATE = {
    "tanh": Pair(lax.tanh, lambda y: 1 - y * y),
    "softsign": Pair(lambda x: x / (1 + abs(x)), lambda y: (1 - abs(y)) * (1 - abs(y))),
    "relu": Pair(
        lambda x: jnp.maximum(x, 0), lambda y: jnp.where(y > 0, 1, 0).astype(y.dtype)
    ),
}
GATE = {
    "sigmoid": Pair(lambda x: 1 / (1 + lax.exp(-x)), lambda y: y * (1 - y)),
    "hard-sigmoid": Pair(
        lambda x: jnp.minimum(jnp.maximum(0.2 * x + 0.5, 0), 1),
        lambda y: jnp.where((y > 0) & (y < 1), 0.2, 0).astype(y.dtype),
    ),
}


def lstm(
    z: Sequence[Any], h: Any, c: Any, state: Pair, gate: Pair
) -> tuple[Any, Any, list[Any]]:
    """`h', c'` and what is kept: `i, f, g, o, c'`."""
    i, f, g, o = gate.value(z[0]), gate.value(z[1]), state.value(z[2]), gate.value(z[3])
    c = f * c + i * g
    return o * state.value(c), c, [i, f, g, o, c]


def lstm_back(
    kept: Sequence[Any],
    before: Any,
    dh: Any,
    dc: Any,
    state: Pair,
    gate: Pair,
    leave: Pair | None = None,
) -> tuple[list[Any], Any, Any]:
    """Slopes of the four sums, and of `h` and `c` besides those through `R`.

    `before` is the cell of the step before; `leave` is the function on the cell where
    that is not `state`.
    """
    i, f, g, o, c = kept
    leave = leave or state
    left = leave.value(c)
    dc = dc + dh * o * leave.slope(left)
    dz = [
        dc * g * gate.slope(i),
        dc * before * gate.slope(f),
        dc * i * state.slope(g),
        dh * left * gate.slope(o),
    ]
    return dz, jnp.zeros_like(dh), dc * f


def gru(
    z: Sequence[Any], h: Any, c: Any, state: Pair, gate: Pair
) -> tuple[Any, Any, list[Any]]:
    """`h'` and what is kept: `r, z, n, R_n h + b_Rn`; there is no cell."""
    r, update = gate.value(z[0]), gate.value(z[1])
    n = state.value(z[2] + r * z[3])
    return (1 - update) * n + update * h, c, [r, update, n, z[3]]


def gru_back(
    kept: Sequence[Any], before: Any, dh: Any, dc: Any, state: Pair, gate: Pair
) -> tuple[list[Any], Any, Any]:
    """As `lstm_back`; `before` is the output of the step before."""
    r, update, n, product = kept
    dn = dh * (1 - update) * state.slope(n)
    dz = [
        dn * product * gate.slope(r),
        dh * (before - n) * gate.slope(update),
        dn,
        dn * r,
    ]
    return dz, dh * update, dc


class Cell(NamedTuple):
    """What a kernel knows of a kind of layer."""

    products: tuple[int, ...]
    """The slots that `R h` is added to, in the order of the gates."""
    kept: int
    """How many numbers a unit keeps for the way back, the slots first."""
    step: Callable[..., tuple[Any, Any, list[Any]]]
    back: Callable[..., tuple[list[Any], Any, Any]]


CELLS = {
    "lstm": Cell((0, 1, 2, 3), 5, lstm, lstm_back),
    "gru": Cell((0, 1, 3), 4, gru, gru_back),
}
