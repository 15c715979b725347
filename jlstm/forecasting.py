"""A network in closed loop: its outputs come back as its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .closedloop.feedback import feedback_of, scaling
from .closedloop.forecast import Forecast as Forecast
from .closedloop.loop import by_name, closed, opened
from .closedloop.past import exogenous_of, past_of, whole
from .errors import InputError
from .evaluating.members import QUANTILES, as_members, bare, levels
from .network import Network, State, init_state, step
from .pytree import Array


def forecast(
    net: Network | Sequence[Network],
    history: Any,
    steps: int,
    *,
    feedback: Any = None,
    exogenous: Any = None,
    starts: Any = None,
    scale: Any = None,
    offset: Any = None,
    state: Any = None,
    engine: str = "auto",
    quantiles: Sequence[float] = QUANTILES,
) -> Forecast:
    """Continue a signal: run over its history, then feed the network its own outputs.

        s[t], y[t] = step(net, s[t-1], x[t])     t = 0, ..., T-1      x is the history
        x[t]       = feedback of y[t-1]          t = T, ..., T+steps-1
        s[t], y[t] = step(net, s[t-1], x[t])

    The rows of the answer are `y[T], ..., y[T+steps-1]`: what the network says *at*
    step t. Of a network that was trained to predict the next step, as in MATLAB's
    example, `y[t]` is a forecast of step t+1; its forecast of step T is `.last`, and
    its forecasts of the steps T, ..., T+steps-1 are the inputs fed back, `.inputs`.

    Arguments:
        net: a network that can take single steps; or a list of them, an ensemble of one
            architecture. Every member is fed with its own outputs.
        history: `(time, features)`, as `predict` takes it, T of at least 1; or a list
            of histories, of any lengths, for a forecast after each.
        steps: of the closed loop.
        feedback: a dict `{input: output}`, places from 0 or names such as "input[1]"
            and "fc[1]"; or a function `(y, x) -> next x` of the last output
            `(outputs,)` and the last input `(features,)`, compiled by JAX, called with
            the row of `exogenous` as well where that is given. None: output k becomes
            input k, where there are as many. Several inputs or outputs count side by
            side.
        exogenous: `(steps, others)`, the inputs that are not fed back in the order of
            the features, at the steps T, ..., T+steps-1; of a list of histories a list.
        starts: forecasts from within the one history, a rolling origin: a `range` of
            values of T, or a whole number k, every k-th step for which the recording
            goes on for `steps`. Exogenous inputs are then those of the recording, or
            `(time, others)` beside it, or `(origins, steps, others)`.
        scale, offset: numbers, or one for each output: what is fed back is
            `scale * output + offset`. For networks whose outputs are standardised and
            whose inputs are not. 1 and 0 by default; nothing is guessed.
        state: where the history starts, as in `predict`; a list of an ensemble.
        engine: what runs recurrent layers over the history, as in `predict`.
        quantiles: of the members.

    Returns:
        a `Forecast`: `.mean (steps, outputs)`, `.std`, `.quantiles`, `.members`; where
        there are several origins or histories, they are a leading axis.

    Raises:
        InputError: a layer needs the whole sequence at once; it is not clear what is
            fed back; exogenous inputs are missing, too many, or of another length.
    """
    nets = as_members(net)
    first, single = nets[0], isinstance(net, Network)
    _require_steps(first)
    steps, asked = whole("steps", steps), levels(quantiles)
    past = past_of(first, history, starts, steps)
    wires = feedback_of(first, feedback, exogenous is not None)
    u = exogenous_of(wires, exogenous, past, steps)
    by = scaling(wires, scale, offset, past.x.dtype)
    begin = _states(nets, state, single, past.x)
    body = _stacked([bare(member) for member in nets], single)
    start = _stacked(begin, single)
    standing = opened(
        body, start, past.x, past.lengths, cut=past.cut, single=single, engine=engine
    )
    state, inputs, members = closed(
        body, standing, u, by, wires=wires, steps=steps, single=single
    )
    last = standing.y
    if single:
        members, inputs, last, state = jax.tree.map(
            lambda a: jnp.expand_dims(a, int(past.several)),
            (members, inputs, last, state),
        )
    return Forecast(
        members,
        inputs,
        last,
        state,
        origins=past.origins,
        levels=asked,
        fed=wires.words(scale is not None or offset is not None),
        fed_inputs=wires.inputs or wires.others,
        names=wires.output_names,
    )


def _stacked(trees: list[Any], single: bool) -> Any:
    """One tree, with an axis of members where there are to be any."""
    if single:
        return trees[0]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _require_steps(net: Network) -> None:
    for name, layer in net.layers.items():
        if layer.needs_whole_sequence:
            raise InputError(
                "a closed loop goes step by step",
                place=f"layer '{name}'",
                found=f"{layer!r}, which needs the whole sequence at once",
                do="train a network of layers that look back only",
            )
    for name in net.inputs:
        if not net.layers[name].shape().time:
            raise InputError(
                "a closed loop goes step by step",
                place=f"input '{name}'",
                found="a network that takes one vector and no sequence",
            )


def _states(nets: list[Network], state: Any, single: bool, x: Array) -> list[State]:
    """Where each member starts, in its precision."""
    if state is None:
        return [init_state(net) for net in nets]
    given = [state] if single else state
    if not isinstance(given, list | tuple) or len(given) != len(nets):
        raise InputError(
            "not one state for each network",
            found=type(state).__name__,
            expected=f"a list of {len(nets)}",
        )
    for one in given:
        if not isinstance(one, Mapping):
            raise InputError(
                "not a state", found=type(one).__name__, expected="a state by layer"
            )
    zero = by_name(nets[0], jnp.zeros(x.shape[-1], x.dtype))
    for net, one in zip(nets, given, strict=True):
        jax.eval_shape(partial(step, net), dict(one), zero)  # refuses what does not fit
    return [
        jax.tree.map(lambda a, b: jnp.asarray(a, b.dtype), dict(one), init_state(net))
        for net, one in zip(nets, given, strict=True)
    ]
