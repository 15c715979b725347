"""What one program of `persistent` does, on the way and on the way back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from .cells import CELLS, GATE, SLOTS, STATE, Pair

TILE = 512
"""Elements that are in one elementwise pass of a program."""
ZERO = np.int32(0)


@dataclasses.dataclass(frozen=True)
class Loop:
    """How a recurrence is spread over a GPU; all sizes are powers of two.

    Arguments:
        kind: one of `CELLS`.
        state: name of the state's function.
        gate: name of the gates' function.
        time: T.
        rows: sequences of a program.
        units: units of a program.
        groups: programs along the batch.
        slices: programs along H.
        reverse: from the last step to the first.
        keep: what the way back wants is kept.
        persistent: all steps in one launch.
        interpret: by JAX on any device, for tests.
    """

    kind: str
    state: str
    gate: str
    time: int
    rows: int
    units: int
    groups: int
    slices: int
    reverse: bool
    keep: bool
    persistent: bool = True
    interpret: bool = False

    @property
    def tile(self) -> int:
        """Sequences in one elementwise pass."""
        return max(1, min(self.rows, TILE // self.units))

    @property
    def functions(self) -> tuple[Pair, Pair]:
        """Those of the state and of the gates."""
        return STATE[self.state], GATE[self.gate]


def forward(loop: Loop, first: Any, lengths: Any, weights: Any, *buffers: Any) -> None:
    """The loop of one program; the buffers are in and out at once, only out is used."""
    z, ys, hs, c, counter = buffers[len(buffers) // 2 :]
    cell, (state, gate) = CELLS[loop.kind], loop.functions
    program = Program(loop, pl.program_id(0), pl.program_id(1))
    units, some_slots = program.units, pl.ds(0, SLOTS)
    tile = weights[units]
    _, place = _places(tile.shape, 1)

    def step(k: Any) -> None:
        t = loop.time - 1 - k if loop.reverse else k

        def multiply(b: Any) -> None:
            h = program.fresh(hs, (k % 2, b, place))
            sums = jnp.sum(jnp.sum(tile * h, axis=1), axis=2)
            z[b, t, some_slots, units] += sums.T

        def gates(some: Any) -> None:
            old_h, old_c = hs[k % 2, some, units], c[some, units]
            sums = [z[some, t, slot, units] for slot in range(SLOTS)]
            h, new_c, kept = cell.step(sums, old_h, old_c, state, gate)
            alive = (t < lengths[some])[:, None]
            # Small tiles are held by several threads: all have read before one writes.
            program.together()
            h, new_c = jnp.where(alive, h, old_h), jnp.where(alive, new_c, old_c)
            if loop.keep:
                # The last of five is the cell, which stands still as well.
                kept = [*kept[:SLOTS], *([new_c] if cell.kept > SLOTS else [])]
                for slot, value in enumerate(kept):
                    z[some, t, slot, units] = value
            ys[some, t, units] = h
            hs[(k + 1) % 2, some, units] = h
            c[some, units] = new_c

        program.each_row(multiply)
        program.together()
        program.each_tile(gates)

    program.all_steps(first[0], step, counter)


def backward(
    loop: Loop,
    first: Any,
    lengths: Any,
    weights: Any,
    dys: Any,
    kept: Any,
    ys: Any,
    start: Any,
    *buffers: Any,
) -> None:
    """The way back of one program; `start` is the first cell, of a GRU the first h."""
    dz, through, dh, dc, counter = buffers[len(buffers) // 2 :]
    cell, (state, gate) = CELLS[loop.kind], loop.functions
    program = Program(loop, pl.program_id(0), pl.program_id(1))
    units, last = program.units, loop.time - 1
    tile = weights[units]
    slots, places = _places(tile.shape, SLOTS)

    def step(k: Any) -> None:
        t = k if loop.reverse else last - k
        after = jnp.maximum(t - 1, 0) if loop.reverse else jnp.minimum(t + 1, last)
        before = jnp.minimum(t + 1, last) if loop.reverse else jnp.maximum(t - 1, 0)

        def multiply(b: Any) -> None:
            slopes = program.fresh(dz, (b, after, slots, places))
            sums = jnp.sum(jnp.sum(jnp.sum(tile * slopes, axis=1), axis=1), axis=1)
            through[b, units] = jnp.where(k > 0, sums, 0)

        def gates(some: Any) -> None:
            slope, slope_c = through[some, units] + dh[some, units], dc[some, units]
            slope = slope + dys[some, t, units]
            values = [kept[some, t, slot, units] for slot in range(cell.kept)]
            held = (
                kept[some, before, SLOTS, units]
                if cell.kept > SLOTS
                else ys[some, before, units]
            )
            held = jnp.where(k < last, held, start[some, units])
            slopes, more, more_c = cell.back(values, held, slope, slope_c, state, gate)
            alive = (t < lengths[some])[:, None]
            program.together()
            for slot, value in enumerate(slopes):
                dz[some, t, slot, units] = jnp.where(alive, value, 0)
            dh[some, units] = jnp.where(alive, more, slope)
            dc[some, units] = jnp.where(alive, more_c, slope_c)

        program.each_row(multiply)
        program.together()
        program.each_tile(gates)

    program.all_steps(first[0], step, counter)


@dataclasses.dataclass(frozen=True)
class Program:
    """One program of the grid: `group` of sequences, `slice` of units."""

    loop: Loop
    group: Any
    slice: Any

    @property
    def units(self) -> Any:
        """Its units of H."""
        return pl.ds(self.slice * self.loop.units, self.loop.units)

    def fresh(self, ref: Any, place: tuple[Any, ...]) -> Any:
        """What others wrote: past the first level cache, which would not know."""
        if self.loop.interpret:
            return ref[place]
        return plgpu.load(ref.at[place], volatile=True)

    def each_row(self, do: Callable[[Any], None]) -> None:
        """Do something for every one of its sequences."""
        first = self.group * self.loop.rows
        _times(self.loop.rows, lambda b: do(first + b))

    def each_tile(self, do: Callable[[Any], None]) -> None:
        """Do something for all of its sequences, many at once."""
        first, count = self.group * self.loop.rows, self.loop.tile
        _times(self.loop.rows // count, lambda k: do(pl.ds(first + k * count, count)))

    def all_steps(self, first: Any, step: Callable[[Any], None], counter: Any) -> None:
        """All steps, or in a launch of its own the one that is `first`."""

        def one(k: Any) -> None:
            step(first + k)
            if self.loop.persistent:
                self.wait(counter, (k + 1) * self.loop.slices)

        _times(self.loop.time if self.loop.persistent else 1, one)

    def together(self) -> None:
        """All of its threads come here, and see what the others wrote."""
        if not self.loop.interpret:
            plgpu.debug_barrier()

    def wait(self, counter: Any, count: Any) -> None:
        """Go on when programs of this group have come here `count` times in all."""
        self.together()
        if self.loop.slices == 1:
            return
        plgpu.atomic_add(counter, self.group, np.int32(1))
        # Additions of nothing are reads that no cache answers.
        lax.while_loop(
            lambda seen: seen < count,
            lambda _: plgpu.atomic_add(counter, self.group, ZERO),
            jnp.int32(0),
        )
        self.together()


def _places(tile: tuple[int, ...], slots: int) -> tuple[Any, Any]:
    """Slot and place of the factors of a tile, `(units, J, slots, L)` each.

    For every unit anew, so that a thread reads what it multiplies, and nothing has to
    be moved between threads before.
    """
    size = (*tile[:2], slots, tile[3])
    j, slot, within = (lax.broadcasted_iota(np.int32, size, axis) for axis in (1, 2, 3))
    return slot, j * np.int32(tile[3]) + within


def _times(count: int, do: Callable[[Any], None]) -> None:
    lax.fori_loop(ZERO, np.int32(count), lambda k, _: do(k), None)
