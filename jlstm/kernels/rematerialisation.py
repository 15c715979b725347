"""Rematerialisation: a run of which only the states between chunks of steps are kept.

The way back through T steps wants the signals of all of them. Where only the states
between chunks of K steps are kept, it runs each chunk again and has the signals of one:
T/K states and K steps of signals, fewest for K near sqrt(T). What it costs is one more
run forward. The input of every step and its slope, and the outputs and theirs, remain.

Source: Chen, Xu, Zhang, Guestrin 2016, Training Deep Nets with Sublinear Memory Cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..pytree import Array

Run = Callable[[Any, Array, Array | None, Array | None], tuple[Any, dict[str, Array]]]
"""`(state, x, length, mask) -> (state, signals)`, as `kernels.scan` without options."""


def rematerialised(run: Run, *, reverse: bool) -> Run:
    """`run` with the same answers, which keeps the states between chunks alone.

    Arguments:
        run: over `x (time, features)`, from the last step to the first if `reverse`.
        reverse: as `run` goes.
    """

    def chunked(
        state: Any, x: Array, length: Array | None, mask: Array | None
    ) -> tuple[Any, dict[str, Array]]:
        total = x.shape[0]
        steps = math.isqrt(total)
        if steps < 2:
            return run(state, x, length, mask)
        count = -(-total // steps)
        if count * steps > total and length is None:
            # The state stands still in what fills the last chunk.
            length = jnp.int32(total)

        def chunk(state: Any, now: Any) -> tuple[Any, dict[str, Array]]:
            first, x, mask = now
            left = None if length is None else jnp.clip(length - first, 0, steps)
            return run(state, x, left, mask)

        kind = "int32" if length is None else length.dtype
        firsts = steps * jnp.arange(count, dtype=kind)
        now = firsts, _cut(x, count, steps), _cut(mask, count, steps)
        # Inside a scan nothing merges the second run with the first.
        again = jax.checkpoint(chunk, prevent_cse=False)
        after, signals = lax.scan(again, state, now, reverse=reverse)
        return after, {name: _joined(a, total) for name, a in signals.items()}

    return chunked


def _cut(a: Array | None, count: int, steps: int) -> Array | None:
    """`(time, ...)` as `(count, steps, ...)`, filled with the last step again.

    Zeros might be nothing that a layer has a derivative at.
    """
    if a is None:
        return None
    a = jnp.asarray(a)
    short = count * steps - len(a)
    if short:
        a = jnp.concatenate([a, jnp.repeat(a[-1:], short, axis=0)])
    return a.reshape(count, steps, *a.shape[1:])


def _joined(a: Array, total: int) -> Array:
    """The first `total` of `(count, steps, ...)` as `(time, ...)`."""
    return a.reshape(-1, *a.shape[2:])[:total]
