"""How a recurrence is executed. `lax.scan` always works; faster engines plug in here.

A recurrent layer describes itself to an engine by three methods:

    packed = layer.pack()                      # once per call, never per step
    z = layer.project(packed, x)               # everything that needs no state
    state, signals = layer.cell(packed, z_t, state)
"""

from __future__ import annotations

from typing import Any

import jax
from jax import lax

from ..pytree import Array


def dot(a: Array, b: Array) -> Array:
    """Matrix product in the full precision of its operands.

    Accelerators otherwise round float32 factors to TF32 or bfloat16, which costs
    three decimal digits and would break the equality with the original network.
    """
    return jax.numpy.matmul(a, b, precision=lax.Precision.HIGHEST)


def transform(weights: Array, x: Array) -> Array:
    """`W x` for one vector `(K,)`, or for each row of `(time, K)`.

    A vector is multiplied from the right: XLA on the CPU would otherwise transpose the
    weights anew at every step.
    """
    return dot(weights, x) if x.ndim == 1 else dot(x, weights.T)


def unroll(
    layer: Any,
    state: Any,
    x: Array,
    *,
    reverse: bool = False,
    length: Array | None = None,
) -> tuple[Any, dict[str, Array]]:
    """Run a recurrent layer over `x (time, features)`.

    The input projection of all steps is one matrix product; only the recurrent one
    is left inside the loop. After the first `length` steps, where that is given, the
    state stands still: before it moves, in the reverse direction.

    Returns:
        the state after the last step, and every signal of the cell over time:
        `{"h": (time, hidden), ...}`. What the caller does not use, XLA removes.
    """
    packed = layer.pack()
    z = layer.project(packed, x)
    if length is None:
        return lax.scan(
            lambda carry, z_t: layer.cell(packed, z_t, carry), state, z, reverse=reverse
        )

    def step(carry: Any, now: Any) -> tuple[Any, dict[str, Array]]:
        t, z_t = now
        new, signals = layer.cell(packed, z_t, carry)
        kept = jax.tree.map(lambda a, b: jax.numpy.where(t < length, a, b), new, carry)
        return kept, signals

    steps = jax.numpy.arange(len(x), dtype=length.dtype)
    return lax.scan(step, state, (steps, z), reverse=reverse)
