"""Products of matrices in full precision, and what they are made of."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from ..pytree import Array


def dot(a: Array, b: Array) -> Array:
    """Matrix product in the full precision of its operands.

    Accelerators otherwise round float32 factors to TF32 or bfloat16, which costs
    three decimal digits and would break the equality with the original network.
    """
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def transform(weights: Array, x: Array) -> Array:
    """`W x` for one vector `(K,)`, or for each row of `(time, K)`.

    A vector is multiplied from the right: XLA on the CPU would otherwise transpose the
    weights anew at every step.
    """
    return dot(weights, x) if x.ndim == 1 else dot(x, weights.T)


def stacked(blocks: Sequence[Array]) -> Array:
    """One matrix of blocks of rows, zeros in front of those with fewer columns."""
    width = max(block.shape[1] for block in blocks)
    return jnp.concatenate(
        [jnp.pad(block, [(0, 0), (width - block.shape[1], 0)]) for block in blocks]
    )
