"""The state in which a network comes to rest while its input is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .errors import InputError
from .network import Network, State, step
from .statespace import STILL, standstill

LONGEST = 10_000
"""Steps for which the input is held."""
WATCHED = 600
"""Steps that are looked at where the state has not come to rest by then."""
CORRECTIONS = 10
RETURNED = 0.01
"""Part of its range within which a state has come back to where it was."""

Tangent = Callable[[State], tuple[np.ndarray, np.ndarray, np.ndarray]]


def flat(net: Network, state: State) -> tuple[Any, Callable[[Any], State]]:
    """A state as one vector, layers in topological order, and the way back."""
    names = net.recurrent
    vector, back = ravel_pytree([state[name] for name in names])
    # Without any layer there is nothing to tell the precision.
    vector = vector.astype(net.dtype)
    return vector, lambda vector: dict(zip(names, back(vector), strict=True))


def equilibrium(net: Network, xs: dict[str, Any], tangent: Tangent) -> State:
    """Hold an input, from the initial state, until the state stands still.

        s* = F(s*, x0)

    Steps find the equilibrium that this network goes to; Newton's method,
    `s + (I - A)^-1 (F(s) - s)`, then removes what slow modes leave. Where the state is
    still on its way after 10,000 steps, Newton's equilibrium is taken if it is stable
    and the state has been coming nearer to it throughout.

    Arguments:
        net: the network.
        xs: the input held, by name.
        tangent: of a state `A`, the state and the state after a step, flat.

    Raises:
        InputError: there is none, with what the state does instead.
    """
    if not net.recurrent:
        return {}
    state, steps = _hold(net, net.initial, xs)
    if _is_finite(state):
        A, s, s1 = tangent(state)
        # Where large states feed small ones, rounding may keep these moving.
        if int(steps) < LONGEST or np.all(abs(s1 - s) <= standstill(s, A)):
            return _corrected(net, state, tangent)[0]
    if int(steps) == 1:
        return dict(net.initial)  # nothing can be computed: the derivatives say so
    path = np.asarray(_watch(net, state, xs), np.float64)
    if np.isfinite(path).all():
        resting, A = _corrected(net, state, tangent)
        if _approaches(path, A, *tangent(resting)[1:]):
            return resting
    raise InputError(
        "the network does not come to rest while this input is held",
        found=_motion(path),
        expected=f"a state that stands still within {LONGEST:,} steps",
        do="give a state of your own, or state0=None for the initial one",
    )


@jax.jit
def _hold(net: Network, state: State, xs: Any) -> tuple[State, Any]:
    """Step until every state stands still, one is not finite, or time is over."""

    def moving(carry: Any) -> Any:
        k, _, roundings = carry
        return (k < LONGEST) & (roundings > STILL)  # false where it is NaN

    def onwards(carry: Any) -> Any:
        k, before, _ = carry
        after, _ = step(net, before, xs)
        s, s1 = flat(net, before)[0], flat(net, after)[0]
        move = jnp.abs(s1 - s) / jnp.maximum(1, jnp.abs(s1))
        return k + 1, after, move.max(initial=0) / jnp.finfo(s.dtype).eps

    endless = jnp.full((), jnp.inf, net.dtype)
    start = (0, jax.tree.map(jnp.asarray, state), endless)
    steps, state, _ = jax.lax.while_loop(moving, onwards, start)
    return state, steps


@jax.jit
def _watch(net: Network, state: State, xs: Any) -> Any:
    """The flat state over some more steps, `(time, states)`."""

    def onwards(state: State, _: None) -> Any:
        after, _ = step(net, state, xs)
        return after, flat(net, after)[0]

    return jax.lax.scan(onwards, state, length=WATCHED)[1]


def _is_finite(state: State) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def _corrected(
    net: Network, state: State, tangent: Tangent
) -> tuple[State, np.ndarray]:
    """Newton's method as long as it halves the motion; the best state, and A there."""
    A, s, s1 = tangent(state)
    back = flat(net, state)[1]
    scale = standstill(s, A)
    for _ in range(CORRECTIONS):
        try:
            shift = np.linalg.solve(np.eye(len(s)) - A, s1 - s)
        except np.linalg.LinAlgError:
            break
        if not np.isfinite(shift).all():
            break
        trial = back((s + shift).astype(s.dtype))
        there = tangent(trial)
        if not _size((there[2] - there[1]) / scale) < 0.5 * _size((s1 - s) / scale):
            break
        state, (A, s, s1) = trial, there
    return state, A


def _approaches(
    path: np.ndarray, A: np.ndarray, resting: np.ndarray, after: np.ndarray
) -> bool:
    """Whether a path leads to a state that is at rest and attracts."""
    if np.any(abs(after - resting) > standstill(resting, A)):
        return False
    away = np.linalg.norm(path - resting, axis=1)[:: WATCHED // 6]
    return _size(np.linalg.eigvals(A)) < 1 and bool(np.all(np.diff(away) < 0))


def _size(vector: np.ndarray) -> float:
    return float(abs(vector).max(initial=0.0))


def _motion(path: np.ndarray) -> str:
    """What a state does that does not stand still, in words."""
    if not np.isfinite(path).all():
        return "the state grows beyond all bounds"
    spread = np.ptp(path, axis=0)
    apart = abs(path - path[0]).max(axis=1) > RETURNED * spread.max()
    back = np.flatnonzero(~apart & np.logical_or.accumulate(apart))
    if back.size:
        return f"the state oscillates: after {back[0]} steps it is back, to 1 %"
    steps = np.diff(path[:, spread.argmax()])
    verb = "drifts" if abs(np.sign(steps).sum()) == len(steps) else "moves"
    return f"after {LONGEST:,} steps it still {verb}, by {abs(steps).max():.1e} a step"
