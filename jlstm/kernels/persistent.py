"""A recurrence as one kernel that keeps R on the chip, in Pallas for NVIDIA GPUs.

    program (group, slice) of a grid: some sequences, some units of H
        its rows of R go into registers, once
        for every step
            z += R h                   its units, for each of its sequences
            h, c of its units          by `cells`
            wait for the other slices of the group, whose part of h it needs next

No unit of H is recomputed and no row of R read again: what travels between the programs
is h, through the second level cache. The way back is the same loop with R transposed,
dz in place of h.

Why Triton's lowering and products by multiplication and sum: tensor cores take float32
factors only rounded to TF32, and Triton's exact matrix product wants its operands in
shared memory at each step, while a plain sum over a tile leaves that tile in registers
and works for float64 as well. Mosaic's lowering has cluster barriers, but a cluster of
16 blocks holds no R of 512 units in float32, and it runs on Hopper and later only.

Programs wait for each other by a counter in memory, which works only where all of them
run at the same time: a grid is never larger than the number of multiprocessors, and two
such kernels must not start side by side, as they might under CUDA's multi-process
service. Where that cannot be relied on (`persistent=False`) every step is a launch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from . import programs
from .cells import SLOTS
from .programs import Loop

WARPS = 8
THREADS = 32 * WARPS
REGISTERS = 32_768
"""32-bit registers of a multiprocessor that R may take: half of all."""


def spread(
    batch: int, hidden: int, item: int, cores: int, most: int = 1 << 30
) -> tuple[int, ...] | None:
    """`rows, units, groups, slices`; None where R does not fit on the chip.

    Arguments:
        batch: B.
        hidden: H, a power of two.
        item: bytes of a number.
        cores: multiprocessors.
        most: units of a program at most.
    """
    units = min(most, hidden, REGISTERS * 4 // item // (SLOTS * hidden))
    slices = hidden // units if units else cores + 1
    if slices > cores:
        return None
    groups = min(batch, cores // slices)
    rows = pl.next_power_of_2(pl.cdiv(batch, groups))
    return rows, units, pl.cdiv(batch, rows), slices


def forward(
    loop: Loop, lengths: Any, weights: Any, z: Any, h: Any, c: Any
) -> tuple[Any, Any, Any, Any]:
    """All steps.

    Arguments:
        loop: how.
        lengths: `(B,)`; the state stands still in steps after them.
        weights: R of the slots, `(4, H, H)`; zero where there is no product.
        z: `(B, T, slots, H)`, the sums without `R h`; see `cells`.
        h: `(B, H)`, the state.
        c: `(B, H)`, the cell; of a GRU anything.

    Returns:
        in place of `z` what is kept, the outputs `(B, T, H)`, `h` and `c` at the end.
    """
    batch, time, _, hidden = z.shape
    ys = jnp.zeros((batch, time, hidden), z.dtype)
    both = jnp.stack([h, h])
    given = (lengths, _arranged(weights, 1, loop))
    kept, ys, both, c = _launch(
        programs.forward, loop, "forward", given, (z, ys, both, c)
    )
    return kept, ys, both[time % 2], c


def backward(
    loop: Loop,
    lengths: Any,
    weights: Any,
    dys: Any,
    kept: Any,
    ys: Any,
    start: Any,
    dh: Any,
    dc: Any,
) -> tuple[Any, Any, Any]:
    """The way back of all steps.

    Arguments:
        loop: how.
        lengths: as in `forward`.
        weights: as in `forward`.
        dys: `(B, T, H)`, slopes of the outputs.
        kept: `(B, T, kept, H)`, what `forward` left.
        ys: `(B, T, H)`, the outputs.
        start: `(B, H)`, the first cell, of a GRU the first h.
        dh: `(B, H)`, slopes of the last state.
        dc: the same of the cell.

    Returns:
        `dz (B, T, 4, H)`, and the slopes of the first state and cell but for what
        comes to the state through R from the first step.
    """
    batch, time, hidden = ys.shape
    dz = jnp.zeros((batch, time, SLOTS, hidden), ys.dtype)
    weights = _arranged(weights.swapaxes(1, 2), SLOTS, loop)
    given = (lengths, weights, dys, kept, ys, start)
    made = (dz, jnp.zeros_like(dh), dh, dc)
    dz, _, dh, dc = _launch(programs.backward, loop, "backward", given, made)
    return dz, dh, dc


def _arranged(weights: Any, factors: int, loop: Loop) -> Any:
    """`(slots, H, H)` to `(H, J, slots, L)`, the columns being J times L.

    A thread reads 16 bytes at once. All threads of a program lie along its units and L,
    so that sums over J stay in a thread, and those over L in a few of them: a large L
    costs exchanges between threads, a small one makes more threads read the same
    `factors` vectors.
    """
    slots, hidden, _ = weights.shape
    wide = THREADS * 16 * factors // weights.dtype.itemsize
    L = min(hidden, max(1, wide // loop.units))
    parts = weights.reshape(slots, hidden, hidden // L, L)
    return parts.transpose(1, 2, 0, 3)


def _launch(
    body: Callable[..., None], loop: Loop, name: str, given: Any, made: Any
) -> Any:
    """Run a kernel over its buffers `made`, once or step by step."""
    counter = jnp.zeros(loop.groups, "int32")
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*made, counter)]
    call = pl.pallas_call(
        functools.partial(body, loop),
        out_shape=shapes,
        grid=(loop.groups, loop.slices),
        input_output_aliases={1 + len(given) + k: k for k in range(len(shapes))},
        compiler_params=plgpu.CompilerParams(num_warps=WARPS, num_stages=1),
        interpret=loop.interpret,
        name=f"jlstm_{loop.kind}_{name}",
    )
    if loop.persistent:
        return call(jnp.zeros(1, "int32"), *given, *made, counter)[:-1]
    return lax.fori_loop(
        np.int32(0),
        np.int32(loop.time),
        lambda k, now: tuple(call(k[None], *given, *now)),
        (*made, counter),
    )[:-1]
