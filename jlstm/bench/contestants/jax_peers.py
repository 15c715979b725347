"""What the other JAX libraries have in common: functions of a pytree of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..job import LEARN_RATE, Job
from . import Variant


class Peer(NamedTuple):
    """A network in another library.

    Arguments:
        weights: a pytree of arrays.
        apply: `(weights, x (batch, time, C)) -> y`.
        state: what the first step of a stream starts from.
        step: `(weights, state, x (C,)) -> (state, y (O,))`.
        named: gradients as a pytree like `weights` to gradients by name.
    """

    weights: Any
    apply: Callable[[Any, Any], Any]
    state: Callable[[], Any]
    step: Callable[[Any, Any, Any], tuple[Any, Any]]
    named: Callable[[Any], dict[str, Any]]


def variants(job: Job, peer: Peer) -> Iterator[Variant]:
    """The job by jitted functions, the weights an argument or compiled in."""
    return KINDS[job.kind](job, peer)


def _ways(peer: Peer, function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    yield "jit", partial(jax.jit(function), jax.device_put(peer.weights))
    yield "weights compiled in", jax.jit(partial(function, peer.weights))


def _inference(job: Job, peer: Peer) -> Iterator[Variant]:
    x = jnp.asarray(job.x)
    for name, call in _ways(peer, peer.apply):
        yield Variant(
            name,
            lambda call=call: call(x).block_until_ready(),
            lambda call=call: {"y": np.asarray(call(x))},
        )


def _streaming(job: Job, peer: Peer) -> Iterator[Variant]:
    x = job.x[0]
    for name, call in _ways(peer, peer.step):
        yield stepwise(name, call, peer.state, x)


def stepwise(
    name: str, call: Callable[..., Any], start: Callable[[], Any], x: np.ndarray
) -> Variant:
    """Steps from NumPy to NumPy, the state carried over from run to run."""
    state = start()

    def run() -> list[np.ndarray]:
        nonlocal state
        outputs = []
        for x_t in x:
            state, y = call(state, x_t)
            outputs.append(np.asarray(y))
        return outputs

    def answers() -> dict[str, Any]:
        nonlocal state
        state = start()
        return {"y": np.stack(run())[None]}

    return Variant(name, run, answers, len(x))


def _training(job: Job, peer: Peer) -> Iterator[Variant]:
    solver = optax.adam(LEARN_RATE)
    x, target = jnp.asarray(job.x), jnp.asarray(job.target)

    def loss(weights: Any) -> Any:
        error = peer.apply(weights, x) - target
        return jnp.sum(jnp.square(error)) / (error.size // error.shape[-1])

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(weights: Any, state: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(weights)
        updates, state = solver.update(slopes, state, weights)
        return optax.apply_updates(weights, updates), state, value

    weights: Any = jax.tree.map(jnp.array, peer.weights)
    state: Any = solver.init(weights)

    def run() -> None:
        nonlocal weights, state
        weights, state, value = step(weights, state)
        jax.block_until_ready((weights, state, value))

    def answers() -> dict[str, Any]:
        return peer.named(jax.jit(jax.grad(loss))(peer.weights))

    yield Variant("jit, donated", run, answers)


KINDS = {"inference": _inference, "streaming": _streaming, "training": _training}
