"""Derivatives of a network: as a linear system at one point, and over a whole signal.

They are `jax.jacobian` of `step` and `jax.grad` of `predict`, with names, units and
checks. For what they do not offer, use these on `step` and `predict`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from .equilibrium import equilibrium, flat
from .errors import InputError
from .layers import Embedding
from .network import (
    Network,
    Origin,
    State,
    as_inputs,
    init_state,
    precision,
    predict,
    step,
)
from .statespace import StateSpace as StateSpace


def linearize(net: Network, x0: Any, state0: Any = None) -> StateSpace:
    """The network as a linear discrete-time system at one operating point.

        s[t+1] = F(s[t], x[t])      A = dF/ds    B = dF/dx
        y[t]   = G(s[t], x[t])      C = dG/ds    D = dG/dx

    `(s[t+1], y[t]) = step(net, s[t], x[t])`: the output is that of the same step, and
    of a layer that returns the last step only it is the last one so far.
    Inputs are in the units of the user; the normalisation of the input layer is part of
    F and G. Where a function has a kink, the derivative is one number between the
    slopes of its sides: 0 for ReLU at 0 and where a clipped ReLU begins to clip.

    Arguments:
        net: the network; derivatives are computed in its precision.
        x0: the input, `(features,)`; a tuple or a dict where there are several.
        state0: the state before the step, by layer: `stream.state`, `net.saved`, or
            what `predict(..., return_state=True)` returns. None is the initial state,
            which is seldom an equilibrium. "equilibrium" is the state in which the
            network comes to rest, from its initial state, if `x0` is held.

    Returns:
        a `StateSpace`; print it.

    Raises:
        InputError: a layer needs the whole sequence; the input is an index or does not
            fit; values or derivatives are not finite; there is no equilibrium.
    """
    _require_steps(net)
    net = _bare(net)
    xs = _finite_inputs(net, x0, whole=False)
    state = _operating_state(net, xs, state0)
    found = {name: np.asarray(a) for name, a in _derivatives(net, state, xs).items()}
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise InputError(
                "a derivative is not finite at this operating point",
                place=name,
                found=f"{np.sum(~np.isfinite(array))} of {array.size} numbers",
                do="see jl.audit(net); a constant feature cannot be normalised",
            )
    y0 = jax.eval_shape(step, net, state, xs)[1]
    y0 = y0 if isinstance(y0, tuple) else (y0,)
    return StateSpace(
        **found,
        state0=jax.tree.map(np.asarray, state),
        state_names=_state_names(net),
        input_names=names_of((name, xs[name].shape) for name in net.inputs),
        output_names=names_of(
            (ref, y.shape) for ref, y in zip(net.outputs, y0, strict=True)
        ),
    )


def sensitivity(
    net: Network,
    x: Any,
    output: int = 0,
    at: int | None = None,
    *,
    state: State | None = None,
) -> Any:
    """How one output at one step depends on every input at every step.

        S[k, j] = d y[at, output] / d x[k, j]

    in output units per input unit; the normalisation of the input layer is part of it.
    To first order a change `dx` of the signal moves that output by `sum(S * dx)`. After
    step `at` it is 0, unless a layer looks ahead.

    Arguments:
        net: the network, of one output layer; also one that needs the whole sequence.
        x: `(time, features)`, as `predict` takes it.
        output: column of the output, from 0.
        at: step of the output, from 0, or from the end if negative; the last one by
            default. None for a network that returns its last step only.
        state: where to start; the initial state by default.

    Returns:
        an array of the shape of `x`; a tuple of them where there are several inputs.

    Raises:
        InputError: no such output or step, several output layers, an input that is an
            index, does not fit or is not finite.
    """
    _require_numbers(net)
    if len(net.outputs) != 1:
        raise InputError(
            "the network has several output layers",
            found=", ".join(net.outputs),
            expected="one",
            do="differentiate the one you mean: jax.grad of a function of jl.predict",
        )
    net = _bare(net)
    xs = _finite_inputs(net, x, whole=True)
    shape = jax.eval_shape(predict, net, xs).shape
    timed = net.shapes[net.outputs[0]].time
    if not timed and at is not None:
        raise InputError("the network returns its last step only", found=f"at={at!r}")
    steps, columns = (shape[0], shape[1:]) if timed else (1, shape)
    row = _index("at", -1 if at is None else at, steps, low=-steps)
    column = _index("output", output, int(np.prod(columns)), low=0)
    found = _gradient(net, xs, _as_state(net, state), row % steps, column)
    slopes = tuple(np.asarray(found[name]) for name in net.inputs)
    return slopes[0] if len(slopes) == 1 else slopes


@jax.jit
def _derivatives(net: Network, state: State, xs: dict[str, Any]) -> dict[str, Any]:
    """All matrices and the operating point, flat, as one compiled program."""
    s0, as_state = flat(net, state)
    x0, as_list = ravel_pytree([xs[name] for name in net.inputs])
    n = len(s0)

    def joint(z: Any) -> Any:
        x = dict(zip(net.inputs, as_list(z[n:]), strict=True))
        after, y = step(net, as_state(z[:n]), x)
        both = jnp.concatenate([flat(net, after)[0], ravel_pytree(y)[0]])
        return both, both

    z0 = jnp.concatenate([s0, x0])
    # One pass for each column forward, one for each row backward.
    rows = len(jax.eval_shape(joint, z0)[0])
    jacobian = jax.jacfwd if len(z0) <= rows else jax.jacrev
    J, value = jacobian(joint, has_aux=True)(z0)
    return {
        "A": J[:n, :n], "B": J[:n, n:], "C": J[n:, :n], "D": J[n:, n:],
        "s0": z0[:n], "x0": x0, "s1": value[:n], "y0": value[n:],
    }  # fmt: skip


@jax.jit
def _gradient(net: Network, xs: Any, state: State, row: Any, column: Any) -> Any:
    timed = net.shapes[net.outputs[0]].time

    def one(xs: Any) -> Any:
        y = predict(net, xs, state=state)
        return y.reshape(y.shape[0] if timed else 1, -1)[row, column]

    return jax.grad(one)(xs)


def _bare(net: Network) -> Network:
    """What derivatives depend on, in one precision."""
    dtype = precision(net)
    if dtype not in (np.float32, np.float64):
        raise InputError(
            "derivatives need single or double precision",
            found=dtype,
            do="use net.astype('float32')",
        )
    return net.replace(origin=Origin(), factors=(), saved=None).astype(dtype)


def _operating_state(net: Network, xs: dict[str, Any], state0: Any) -> State:
    if not isinstance(state0, str):
        return _as_state(net, state0)
    if state0 != "equilibrium":
        raise InputError(
            "not a state",
            found=repr(state0),
            expected='"equilibrium", None, or a state by layer',
        )

    def tangent(state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = _derivatives(net, state, xs)
        A, s0, s1 = (np.asarray(found[name]) for name in ("A", "s0", "s1"))
        return A, s0, s1

    return equilibrium(net, xs, tangent)


def _as_state(net: Network, state: Any) -> State:
    """The state given, or the initial one, in the precision of the network."""
    start = init_state(net)
    if state is None:
        return start
    if not isinstance(state, Mapping):
        raise InputError(
            "not a state",
            found=type(state).__name__,
            expected="a state by layer, or None",
        )
    state = dict(state)
    _refuse_tracers(state)
    found, expected = jax.tree.map(np.shape, (state, start))
    if found != expected or jax.tree.structure(state) != jax.tree.structure(start):
        raise InputError(
            "the state does not fit the network", found=found, expected=expected
        )
    cast = jax.tree.map(lambda a, b: np.asarray(a, b.dtype), state, start)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(cast)):
        raise InputError("the state is not finite")
    return cast


def _finite_inputs(net: Network, x: Any, *, whole: bool) -> dict[str, Any]:
    _refuse_tracers(x)
    xs = as_inputs(net, x, whole=whole)
    for name, value in xs.items():
        if not np.isfinite(value).all():
            raise InputError("the input is not finite", place=f"input '{name}'")
    return xs


def _refuse_tracers(tree: Any) -> None:
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree)):
        raise InputError(
            "this returns NumPy arrays, so it is not for compiled functions",
            do="inside jit, vmap or grad use jax.jacobian of jl.step or jl.predict",
        )


def _require_steps(net: Network) -> None:
    _require_numbers(net)
    for name, layer in net.layers.items():
        if layer.needs_whole_sequence:
            raise InputError(
                "a network is a system in discrete time only if every step follows "
                "from the one before",
                place=f"layer '{name}'",
                found=f"{layer!r}, which needs the whole sequence at once",
                do="jl.sensitivity differentiates the answer to a whole sequence",
            )


def _require_numbers(net: Network) -> None:
    for name, layer in net.layers.items():
        if isinstance(layer, Embedding):
            raise InputError(
                "nothing can be differentiated by an index",
                place=f"layer '{name}'",
                found=repr(layer),
                do="differentiate by its vectors: jax.grad with respect to net.layers",
            )


def _index(name: str, value: Any, size: int, *, low: int) -> int:
    try:
        index = operator.index(value)
    except TypeError:
        index = None
    # JAX would take the nearest that exists.
    if index is None or isinstance(value, bool) or not low <= index < size:
        raise InputError(
            f"no such {name}",
            found=f"{name}={value!r}",
            expected=f"a whole number from {low} to {size - 1}",
        )
    return index


def _state_names(net: Network) -> tuple[str, ...]:
    return names_of(
        (f"{name}{jax.tree_util.keystr(path)}", leaf.shape)
        for name in net.recurrent
        for path, leaf in jax.tree_util.tree_leaves_with_path(net.initial[name])
    )


def names_of(arrays: Any) -> tuple[str, ...]:
    """A name for every number: "fc[2]", "image[1,3]"; places count from 1."""
    return tuple(
        f"{name}[{','.join(str(k + 1) for k in place)}]"
        for name, shape in arrays
        for place in np.ndindex(*shape)
    )
