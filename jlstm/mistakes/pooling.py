"""What a layer passes on of its outputs, with every wrong choice."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from ..pytree import Array
from .cells import SWITCH


def pool(before: Any, y: Array, active: Array, t: Array) -> Any:
    """The first of the outputs so far, their mean and the largest."""
    first, mean, largest = before
    first = jnp.where(t == 0, y, first)
    count = (jnp.maximum(t, 0) + 1).astype(y.dtype)
    mean = jnp.where(active, mean + (y - mean) / count, mean)
    largest = jnp.where(active, jnp.where(t == 0, y, jnp.maximum(largest, y)), largest)
    return first, mean, largest


def choose(code: Array, last: Array, averages: Any) -> Array:
    """The last output, or what a switch says."""
    pooled = code[SWITCH["pooled"]]
    for k, other in enumerate(averages, 1):
        last = jnp.where(pooled == k, other, last)
    return last


def pooled_whole(
    h: Array, inside: Array, begin: Array, end: Array
) -> tuple[Array, ...]:
    """The first of the outputs, their mean and the largest."""
    largest = jnp.where(inside[:, None], h, -jnp.inf).max(0)
    mean = jnp.sum(jnp.where(inside[:, None], h, 0), 0)
    first = lax.dynamic_index_in_dim(h, begin, keepdims=False)
    return first, mean / (end - begin).astype(h.dtype), largest


def side_by_side(code: Array, ahead: Array, back: Array) -> Array:
    """The outputs of both directions, joined as a switch says."""
    way = code[SWITCH["halves"]]
    y = jnp.concatenate([ahead, back], -1)
    in_turn = jnp.stack([ahead, back], -1).reshape(y.shape)
    without = jnp.concatenate([ahead, jnp.zeros_like(back)], -1)
    others = (jnp.concatenate([back, ahead], -1), in_turn, without)
    for k, other in enumerate(others, 1):
        y = jnp.where(way == k, other, y)
    return y
