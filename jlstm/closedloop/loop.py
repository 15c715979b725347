"""What is compiled: histories in open loop, then one scan in closed loop."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..evaluating.slots import goes_on
from ..forward import forward
from ..network import Network, State, step
from ..packing import packed
from ..pytree import Array
from .feedback import Feedback


class Standing(NamedTuple):
    """Where a network stands: its state, its last input and its last output, flat."""

    state: State
    x: Array
    y: Array


@partial(jax.jit, static_argnames=("cut", "single", "engine"))
def opened(
    net: Network,
    state: State,
    x: Array,
    lengths: Array | None,
    *,
    cut: tuple[int, int, int] | None,
    single: bool,
    engine: str,
) -> Standing:
    """Where the history ends; axes of forecasts and of members in front."""

    def one(net: Network, state: State, x: Array, length: Array | None) -> Standing:
        if cut is None:
            return _run(net, state, x, length, engine)
        first, distance, count = cut
        head = _run(net, state, x[:first], None, engine)

        def piece(state: State, x: Array) -> tuple[State, Standing]:
            there = _run(net, state, x, None, engine)
            return there.state, there

        rest = x[first : first + (count - 1) * distance]
        rest = rest.reshape(count - 1, distance, x.shape[1])
        _, later = jax.lax.scan(piece, head.state, rest)
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), head, later)

    members = one
    if not single:
        members = jax.vmap(one, (0, 0, None, None), out_axes=int(cut is not None))
    if lengths is None:
        return members(net, state, x, None)
    return jax.vmap(members, (None, None, 0, 0))(net, state, x, lengths)


def _run(net: Network, state: State, x: Array, length: Any, engine: str) -> Standing:
    """A history in open loop."""
    if not goes_on(net):
        return _run_by_steps(net, state, x, length)
    xs = by_name(net, x)
    after, values, _ = forward(net, xs, state, length=length, engine=engine)
    end = (x.shape[0] if length is None else length) - 1

    def at(array: Array) -> Array:
        return jax.lax.dynamic_index_in_dim(array, end, keepdims=False)

    shapes = net.shapes
    ys = [at(values[ref]) if shapes[ref].time else values[ref] for ref in net.outputs]
    return Standing(after, at(x), _flat(ys, x.dtype))


def _run_by_steps(net: Network, state: State, x: Array, length: Any) -> Standing:
    """Step by step: where a layer takes what another one says last, that differs."""
    once, shapes = packed(net), net.shapes
    width = sum(shapes[ref].features for ref in net.outputs)

    def take(before: Standing, given: tuple[Array, Array]) -> tuple[Standing, None]:
        number, x = given
        after = _stepped(once, before.state, x)
        if length is not None:
            after = jax.tree.map(partial(jnp.where, number < length), after, before)
        return after, None

    begin = Standing(state, x[0], jnp.zeros(width, x.dtype))
    return jax.lax.scan(take, begin, (jnp.arange(x.shape[0], dtype="int32"), x))[0]


def _stepped(once: Network, state: State, x: Array) -> Standing:
    """A step of a packed network."""
    state, y = step(once, state, by_name(once, x))
    return Standing(state, x, _flat(y if isinstance(y, tuple) else (y,), x.dtype))


@partial(jax.jit, static_argnames=("wires", "steps", "single"))
def closed(
    net: Network,
    standing: Standing,
    u: Array,
    by: tuple[Array, Array],
    *,
    wires: Feedback,
    steps: int,
    single: bool,
) -> tuple[State, Array, Array]:
    """State, inputs and outputs of the closed loop: one scan, whatever it is over."""

    def one(net: Network, standing: Standing, u: Array) -> tuple[State, Array, Array]:
        once = packed(net)

        def turn(before: Standing, u: Array) -> tuple[Standing, tuple[Array, Array]]:
            x = wires.following(before.y, before.x, u, *by)
            after = _stepped(once, before.state, x)
            return after, (x, after.y)

        after, (xs, ys) = jax.lax.scan(turn, standing, u, length=steps)
        return after.state, xs, ys

    members = one if single else jax.vmap(one, (0, 0, None))
    if u.ndim == 2:
        return members(net, standing, u)
    return jax.vmap(members, (None, 0, 0))(net, standing, u)


def by_name(net: Network, x: Array) -> dict[str, Array]:
    """Inputs by name of `x (..., features)`, in which they lie side by side."""
    found, begin = {}, 0
    for name in net.inputs:
        shape = net.layers[name].shape()
        part = x[..., begin : begin + shape.features]
        found[name] = part.reshape(*x.shape[:-1], *shape.space, shape.channels)
        begin += shape.features
    return found


def _flat(ys: Any, dtype: Any) -> Array:
    return jnp.concatenate([y.ravel().astype(dtype) for y in ys])
