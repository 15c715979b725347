"""The engine "xla" for cells whose gates take one product: `lax.scan`, well laid out.

    z_t = K [h_{t-1}; x_t; 1]          state_t = respond(z_t, state_{t-1})

What XLA makes of it on a CPU depends on the layout (measured there, see `_layout`): one
product a step, over a copy of the step's input, is faster than adding projections that
were made before, for these are read from memory inside what should be fast arithmetic.
What takes no state (the input's part of a GRU's candidate) is a product of its own.

On the way back only `dz_t` and `dh_{t-1}` are made inside the loop; the gradient of `K`
is one product over all steps and sequences after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim

from ..pytree import Array
from . import slopes
from .products import dot, stacked

WIDE = 1 << 13
"""So many numbers of a state make sequences worth laying side by side."""
LARGE = 2 << 20
"""Bytes of `K` beyond which a single sequence has its inputs projected beforehand."""


@dataclasses.dataclass(frozen=True)
class Loop:
    """An engine of `recurrence` on every platform, for layers that have a `joint`."""

    keeps: int
    platform = None
    kept_axis = 1

    @classmethod
    def of(cls, layer: Any) -> Loop | None:
        """The engine of a layer; None where the way back is not written out."""
        cell = slopes.written(layer)
        if cell is None or not layer.joins:
            return None
        return cls(len(cell.keeps))

    def kept(self, *operands: Any, spec: Any) -> list[jax.ShapeDtypeStruct]:
        """Signals over time that `run` keeps for `backward`."""
        x, _, state, _ = spec.parts(operands)
        size = (x.shape[1], x.shape[0], state.h.shape[-1])
        return [jax.ShapeDtypeStruct(size, x.dtype)] * self.keeps

    def run(self, *operands: Any, spec: Any, keep: bool) -> list[Any]:
        """`[ys, *state]`, and what is kept."""
        x, length, state, layer = spec.parts(operands)
        blocks = layer.joint()
        layout = _layout(x, blocks, keep, len(state))
        start = jax.tree.map(layout.state, state)
        product, given = layout.product(blocks, layout.sequence(x))
        names = slopes.CELLS[tuple(layer.gates)].keeps if keep else ()

        def step(state: Any, now: Any) -> tuple[Any, Any]:
            t, given = now
            gates = product(state.h, given)
            after, signals = layer.respond(gates, state)
            if length is not None:
                still = layout.still(t, length)
                after = jax.tree.map(lambda a, b: jnp.where(still, a, b), state, after)
            signals |= {"product": gates[-1]} | after._asdict()
            return after, (after.h, [signals[name] for name in names])

        steps = jnp.arange(x.shape[1], dtype="int32")
        scan = _written if layout.written else lax.scan
        after, (ys, kept) = scan(step, start, (steps, given), reverse=spec.reverse)
        after = [layout.states(a) for a in jax.tree.leaves(after)]
        # Kept in rows, whatever the number of sequences is on the way back.
        kept = [a.reshape(a.shape[0], x.shape[0], a.shape[-1]) for a in kept]
        return [layout.sequences(ys), *after, *kept]

    def backward(self, *operands: Any, spec: Any, which: tuple[bool, ...]) -> list[Any]:
        """The gradients of those operands that are asked for."""
        x, length, state, layer = spec.parts(operands)
        ys, *rest = operands[spec.count :]
        kept, (dys, *dstate) = rest[: self.keeps], rest[self.keeps :]
        blocks, unjoin = jax.vjp(lambda layer: layer.joint(), layer)
        layout = _layout(x, blocks, True, len(state))
        width = state.h.shape[-1]
        matrix = stacked(blocks)
        cell = slopes.CELLS[tuple(layer.gates)]
        signals = dict(zip(cell.keeps, map(layout.rows, kept), strict=True))
        start = jax.tree.map(layout.state, state)
        before = _shifted(layout.sequence(ys), start.h, spec.reverse)
        earlier = [before]
        if len(start) > 1:
            earlier.append(_shifted(signals["c"], start.c, spec.reverse))
        recurrent = matrix[:, :width]

        def step(after: Any, now: Any) -> tuple[Any, Any]:
            t, dy, signals, earlier = now
            after = (after[0] + dy, *after[1:])
            dz, direct = cell.back(layer, signals, earlier, after)
            dz = jnp.concatenate(dz, axis=-1)
            if length is not None:
                still = layout.still(t, length)
                dz = jnp.where(still, jnp.zeros_like(dz), dz)
                direct = jax.tree.map(
                    lambda a, b: jnp.where(still, a, b), after, direct
                )
            return (direct[0] + dot(dz, recurrent), *direct[1:]), dz

        steps = jnp.arange(x.shape[1], dtype="int32")
        end = tuple(map(layout.state, dstate))
        now = (steps, layout.sequence(dys), signals, tuple(earlier))
        first, dz = lax.scan(step, end, now, reverse=not spec.reverse)
        found: dict[int, Any] = {
            spec.rows - len(first) + k: layout.states(a) for k, a in enumerate(first)
        }
        if which[0]:
            inputs = dot(dz, matrix[:, width : width + x.shape[-1]])
            found[0] = layout.sequences(inputs)
        if any(which[spec.rows :]):
            if length is not None:
                # Nothing times what lies beyond the end may still be no number.
                alive = jnp.arange(x.shape[1], dtype="int32") < length[:, None]
                x = jnp.where(alive[:, :, None], x, jnp.zeros_like(x))
            joined = jnp.concatenate([before, _with_one(layout.sequence(x))], axis=-1)
            flat = [a.reshape(-1, a.shape[-1]) for a in (dz, joined)]
            joint = jnp.split(dot(flat[0].T, flat[1]), len(blocks))
            joint = [a[:, -b.shape[1] :] for a, b in zip(joint, blocks, strict=True)]
            gradients = jax.tree.leaves(unjoin(tuple(joint))[0])
            found |= {spec.rows + k: a for k, a in enumerate(gradients)}
        return [found[k] for k, wanted in enumerate(which) if wanted]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a batch lies in memory inside the loop.

    Arguments:
        batch: the axis of the sequences in a step: 0, rows `(B, H)`; 1, columns
            `(H, B)`; None, one sequence and no axis, `(H,)`.
        ahead: whether inputs are projected before the loop.
        written: whether the loop is `_written`.
    """

    batch: int | None
    ahead: bool = False
    written: bool = False

    @property
    def features(self) -> int:
        """The axis of the features in a step."""
        return 0 if self.batch == 1 else -1

    def sequence(self, a: Array) -> Array:
        """`(B, T, F)` with time in front."""
        return a[0] if self.batch is None else jnp.moveaxis(a, 0, 1 + self.batch)

    def sequences(self, a: Array) -> Array:
        """`sequence` undone."""
        return a[None] if self.batch is None else jnp.moveaxis(a, 1 + self.batch, 0)

    def state(self, a: Array) -> Array:
        """`(B, F)` as it lies inside."""
        return a[0] if self.batch is None else jnp.moveaxis(a, 0, self.batch)

    def states(self, a: Array) -> Array:
        """`state` undone."""
        return a[None] if self.batch is None else jnp.moveaxis(a, self.batch, 0)

    def rows(self, a: Array) -> Array:
        """`(T, B, F)`, as it is kept, with one sequence without its axis."""
        return a[:, 0] if self.batch is None else a

    def still(self, t: Array, length: Array) -> Array:
        """Where the state stands still at step `t`."""
        if self.batch is None:
            return t >= length[0]
        return jnp.expand_dims(t >= length, self.features)

    def product(
        self, blocks: Sequence[Array], x: Array
    ) -> tuple[Callable[[Array, Any], list[Any]], Any]:
        """`product(h, given_t)` of a step, one for each block, and what is given.

        A block without columns for the state takes the input alone.
        """
        x = _with_one(x, self.features)
        own = x.shape[1 if self.batch == 1 else -1]
        alone = [block.shape[1] == own for block in blocks]
        of_both, of_input = (
            [block for block, a in zip(blocks, alone, strict=True) if a == which]
            for which in (False, True)
        )
        both = self._times(of_both)
        inputs = self._times(of_input) if of_input else lambda x: []

        def step(h: Array, x: Array) -> list[Any]:
            parts = (
                iter(both(jnp.concatenate([h, x], self.features))),
                iter(inputs(x)),
            )
            return [next(parts[a]) for a in alone]

        if not self.ahead:
            return step, x
        ahead = self._times([block[:, -own:] for block in blocks])(x)
        recurrent = self._times([block[:, :-own] for block in of_both])

        def add(h: Array, given: list[Any]) -> list[Any]:
            parts = iter(recurrent(h))
            return [
                z if a else z + next(parts) for z, a in zip(given, alone, strict=True)
            ]

        return add, ahead

    def _times(self, blocks: Sequence[Array]) -> Callable[[Array], list[Any]]:
        """The products of blocks with something that has its features in their axis."""
        count, axis = len(blocks), self.features
        if self.batch == 1:
            matrix = jnp.concatenate(blocks)
            return lambda a: jnp.split(dot(matrix, a), count, axis)
        # Turned block by block: XLA takes twice as long to compile the whole turned.
        turned = jnp.concatenate([block.T for block in blocks], axis=1)
        return lambda a: jnp.split(dot(a, turned), count, axis)


def _layout(x: Array, blocks: Sequence[Array], keep: bool, parts: int) -> Layout:
    """The fastest layout on a CPU with AVX-512; elsewhere all are much alike.

    On the way back everything is in rows, for there products are over all of them.
    `parts` are those of the state: where it is the output alone, it is `_written`.
    A program that is exported may leave sizes open.
    """
    if x.shape[0] == 1:
        return Layout(None, sum(block.nbytes for block in blocks) > LARGE)
    if keep or any(map(is_symbolic_dim, x.shape)):
        return Layout(0)
    if parts == 1:
        return Layout(0, written=True)
    return Layout(1 if x.shape[0] * blocks[0].shape[0] >= WIDE else 0)


def _written(
    step: Callable[..., Any], start: Any, xs: Any, *, reverse: bool
) -> tuple[Any, Any]:
    """`lax.scan` of a state that is nothing but the output, kept where that is written.

    XLA splits the arithmetic of a step over threads, at 20 us a step, where it counts
    much of it, but not where its results go to a place in a larger array.
    """
    count = xs[0].shape[0]
    first, last = (count, 0) if reverse else (0, count)
    old, new = (1, 0) if reverse else (0, 1)
    places = jnp.zeros((count + 1, *start.h.shape), start.h.dtype)
    places = places.at[first].set(start.h)

    def write(places: Array, now: Any) -> tuple[Array, None]:
        t = now[0]
        before = lax.dynamic_index_in_dim(places, t + old, keepdims=False)
        # Read once: XLA would copy all places if it read one where it writes another.
        before = type(start)(lax.optimization_barrier(before))
        after = step(before, now)[0].h
        return lax.dynamic_update_index_in_dim(places, after, t + new, 0), None

    places, _ = lax.scan(write, places, xs, reverse=reverse)
    ys = places[:-1] if reverse else places[1:]
    return type(start)(places[last]), (ys, [])


def _with_one(x: Array, features: int = -1) -> Array:
    """`[x; 1]` at every step."""
    axis = 1 if features == 0 else -1
    # Made from x, so that it lies on the devices where x does.
    one = jnp.ones_like(lax.slice_in_dim(x, 0, 1, axis=axis))
    return jnp.concatenate([x, one], axis=axis)


def _shifted(a: Array, start: Array, reverse: bool) -> Array:
    """What was there before every step, from what was there after it."""
    parts = [a[1:], start[None]] if reverse else [start[None], a[:-1]]
    return jnp.concatenate(parts) if a.shape[0] else a
