"""A recurrence as `lax.scan`: the engine that always works, and the reference."""

from __future__ import annotations

from typing import Any

import jax
from jax import lax

from ..pytree import Array


def unroll(
    layer: Any,
    state: Any,
    x: Array,
    length: Array | None = None,
    mask: Array | None = None,
    *,
    reverse: bool = False,
) -> tuple[Any, dict[str, Array]]:
    """Run a recurrent layer over `x (time, features)`.

    The input projection of all steps is one matrix product; only the recurrent one
    is left inside the loop. After the first `length` steps, where that is given, the
    state stands still: before it moves, in the reverse direction. It stands still as
    well where `mask (time, 1)` is 0.

    Returns:
        the state after the last step, and every signal of the cell over time:
        `{"h": (time, hidden), ...}`. What the caller does not use, XLA removes.
    """
    packed = layer.pack()
    z = layer.project(packed, x)
    if length is None and mask is None:
        return lax.scan(
            lambda carry, z_t: layer.cell(packed, z_t, carry), state, z, reverse=reverse
        )
    still = jax.numpy.zeros(x.shape[0], bool)
    if length is not None:
        still |= jax.numpy.arange(x.shape[0], dtype=length.dtype) >= length
    if mask is not None:
        still |= mask[:, 0] == 0

    def step(carry: Any, now: Any) -> tuple[Any, dict[str, Array]]:
        stays, z_t = now
        return stand_still(stays, carry, *layer.cell(packed, z_t, carry))

    return lax.scan(step, state, (still, z), reverse=reverse)


def stand_still(
    stays: Array, old: Any, new: Any, signals: dict[str, Array]
) -> tuple[Any, dict[str, Array]]:
    """The old state where `stays`, else the new one; so its parts among the signals."""
    kept = jax.tree.map(lambda a, b: jax.numpy.where(stays, a, b), old, new)
    return kept, signals | kept._asdict()


def batch(
    layer: Any, state: Any, x: Array, length: Array | None = None, *, reverse: bool
) -> tuple[Any, Array]:
    """The outputs `(B, T, P)` for `x (B, T, C)`, a state with an axis `B` in front."""

    def one(state: Any, x: Array, length: Array | None) -> tuple[Any, Array]:
        after, signals = unroll(layer, state, x, length, reverse=reverse)
        return after, signals["h"]

    if x.shape[0] == 1:
        # One sequence multiplies vectors, not matrices of one column.
        first = jax.tree.map(lambda a: a[0], (state, x, length))
        return jax.tree.map(lambda a: a[None], one(*first))
    return jax.vmap(one)(state, x, length)
