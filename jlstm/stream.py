"""One time step at a time: a network together with the state it is in."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from .errors import InputError, Unsupported
from .kernels.engines import ENGINES
from .network import Network, State, init_state, precision, step
from .packing import packed
from .plan import NoPlan, Plan


class Stream:
    """Run a network on a signal that arrives step by step.

        y_t, s_t = step(net, s_{t-1}, x_t)

    The stream keeps `s`; the network is never changed. `T` calls of `step` give what
    `predict` gives on the `T` steps at once, to rounding.

    This is MATLAB's

        [net, y] = predictAndUpdateState(net, x)        or        [y, net.State] = ...

    There the updated network is a *new value* that must be assigned back to the network
    that the next call uses. The common mistake is to store it under another name,
    `[net, y] = predictAndUpdateState(trainedNet, x)` in a loop, or to drop it: every
    step then starts from the same state, as if each signal had one step. So does
    `predict(net, x(:, t))` in a loop. A `Stream` cannot be used that way: `step` moves
    the state on, and nothing but `reset` and `restore` moves it back.

    Several streams over one network do not copy its weights: `fork` makes another one,
    and `streams=N` runs N signals through one call.

    Arguments:
        net: the network; the weights are packed and put on the device here, once.
        state: where to start; the initial state by default. `net.saved` continues where
            a saved network stood (None there means that it stood at its initial state).
        streams: run that many signals side by side; `step` then takes and returns a
            leading axis of that length, and `state` may have it as well.
        engine: "cpu" runs a step as one call of the C++ kernel, which takes one signal
            and common layers; "xla" compiles any network; "auto" is the faster that
            takes it. They agree to rounding.

    Raises:
        InputError: a layer needs the whole sequence at once, the state does not fit, or
            double precision is off while the parameters are double.
        Unsupported: the engine "cpu" was asked for and does not run this, or "gpu",
            which runs no single steps.
    """

    def __init__(
        self,
        net: Network,
        state: State | None = None,
        *,
        streams: int | None = None,
        engine: str = "auto",
    ) -> None:
        self._dtype = precision(net)
        self._streams = streams
        self._shapes = {name: net.layers[name].shape() for name in net.inputs}
        self._one_shape = _one_shape(self._shapes, streams)
        zero = {
            name: np.zeros((*shape.space, shape.channels), self._dtype)
            for name, shape in self._shapes.items()
        }
        jax.eval_shape(step, net, init_state(net), zero)  # raises where it cannot step
        self._net = net
        self._outline = init_state(net)
        self._plan = _plan(net, streams, engine)
        if self._plan is None:
            # Copied first: JAX may otherwise go on reading memory of NumPy.
            bare = jax.tree.map(np.array, net.replace(saved=None))
            self._net = packed(jax.device_put(bare))
            self._weights, structure = jax.tree.flatten(self._net)
            self._structure = jax.tree.structure(self._outline)
            self._advance, self._advance_far = _compiled(
                structure, self._structure, streams is not None
            )
            if streams is not None:
                zero = {name: np.stack([x] * streams) for name, x in zero.items()}
        self._initial = self._fitting(self._outline)
        self._state = self._copied(
            self._initial if state is None else self._fitting(state)
        )
        if self._plan is None:
            # Compile now, so that the first step takes no longer than the others.
            self._advance(self._weights, self._initial, [*zero.values()])

    def step(self, x: Any) -> Any:
        """Take one time step.

        Arguments:
            x: `(features,)`; a tuple in the order of `net.inputs`, or a dict by name,
                where there are several inputs. With `streams=N`, `(N, features)`.

        Returns:
            `y (outputs,)`, a tuple where there are several outputs; with `streams=N`,
            `(N, outputs)`. NumPy arrays from the C++ kernel, else JAX's.

        Raises:
            InputError: the input does not fit; the state stays as it was.
        """
        if self._plan is None:
            # A copy, so that the caller may fill the same buffer again at once.
            xs = [x.copy()] if self._fits(x) else [*self._as_input(x).values()]
            self._state, y = self._advance(self._weights, self._state, xs)
            return y
        y = np.empty(self._plan.outputs, self._dtype)
        self._plan.step(self._flat(x), self._state, y)
        return self._plan.split(y)

    def step_many(self, x: Any) -> Any:
        """Take the next `T` time steps at once.

        Arguments:
            x: `(T, features)`, or several inputs as in `step`; with `streams=N`,
                `(T, N, features)`.

        Returns:
            `y (T, outputs)`, or `(T, N, outputs)`; a tuple for several outputs.

        Raises:
            InputError: the input does not fit; the state stays as it was.
        """
        if self._plan is not None and self._fits(x, many=True):
            return self._run(self._plan, x)
        xs = self._as_input(x, many=True)
        if self._plan is None:
            far = self._advance_far
            self._state, y = far(self._weights, self._state, [*xs.values()])
            return y
        flat = [np.asarray(a).reshape(len(a), -1) for a in xs.values()]
        return self._run(self._plan, np.concatenate(flat, axis=1))

    def _run(self, plan: Plan, x: np.ndarray) -> Any:
        y = np.empty((len(x), plan.outputs), self._dtype)
        plan.run(np.ascontiguousarray(x), self._state, y)
        return plan.split(y)

    def reset(self) -> None:
        """Return to the initial state of the network, as MATLAB's `resetState`."""
        self._state = self._copied(self._initial)

    @property
    def state(self) -> State:
        """The state after the last step, by layer; also what `predict` takes."""
        if self._plan is None:
            return jax.tree.unflatten(self._structure, self._state)
        return self._plan.state(self._state)

    def snapshot(self) -> State:
        """The present state, to come back to; later steps do not change it."""
        return self.state

    def restore(self, snapshot: State) -> None:
        """Continue from a state that `snapshot` or `predict` returned.

        Raises:
            InputError: the state of another network.
        """
        self._state = self._fitting(snapshot)

    def fork(self) -> Stream:
        """Another stream over the same weights, independent, in the same state."""
        other = object.__new__(Stream)
        other.__dict__.update(self.__dict__)
        other._state = self._copied(self._state)
        return other

    def __copy__(self) -> Stream:
        # The kernel writes into the state: two streams may not share it.
        return self.fork()

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.fork()

    def __repr__(self) -> str:
        many = "" if self._streams is None else f", streams={self._streams}"
        return f"Stream({self._net!r}{many})"

    def _flat(self, x: Any) -> np.ndarray:
        """The inputs of a step side by side."""
        if self._fits(x) and x.flags.c_contiguous:
            return x
        return np.concatenate([np.ravel(a) for a in self._as_input(x).values()])

    def _fits(self, x: Any, many: bool = False) -> bool:
        """Whether `x` is a step as it is computed, so that nothing need be checked.

        With `many`, whether it is several.
        """
        return (
            type(x) is np.ndarray
            and x.dtype == self._dtype
            and x.shape[many:] == self._one_shape
        )

    @staticmethod
    def _copied(state: Any) -> Any:
        """A state that steps may overwrite: those of JAX never are."""
        return state.copy() if isinstance(state, np.ndarray) else state

    def _as_input(self, x: Any, many: bool = False) -> dict[str, Any]:
        names = tuple(self._shapes)
        if len(names) == 1 and not isinstance(x, dict):
            x = {names[0]: x}
        elif isinstance(x, tuple | list) and len(x) == len(names):
            x = dict(zip(names, x, strict=True))
        if not isinstance(x, dict) or set(x) != set(names):
            raise InputError(
                "the network has other inputs",
                found=", ".join(x) if isinstance(x, dict) else type(x).__name__,
                expected=f"a tuple or a dict of {', '.join(names)}",
            )
        found = {name: self._as_array(name, x[name], many) for name in names}
        if len({len(a) for a in found.values()}) > 1 and many:
            raise InputError(
                "the inputs have different numbers of steps",
                found={name: len(a) for name, a in found.items()},
            )
        return found

    def _as_array(self, name: str, x: Any, steps: bool = False) -> Any:
        place = f"input '{name}'"
        if isinstance(x, Tracer):
            raise InputError(
                "a stream keeps its state outside of compiled functions",
                place=place,
                do="inside jit, vmap or grad use jlstm.step and carry the state",
            )
        try:
            x = x if isinstance(x, jax.Array) else np.asarray(x)
            real = not np.iscomplexobj(x)
            # A copy, so that the caller may fill the same buffer again at once; and of
            # one precision, so that all kinds of numbers meet the same compiled step.
            x = x.astype(self._dtype) if real else x
        except (TypeError, ValueError) as error:
            raise InputError(
                "not an array of numbers", place=place, found=str(error)
            ) from None
        if not real:
            raise InputError("complex input", place=place, expected="real numbers")
        shape = self._shapes[name]
        many = () if self._streams is None else (self._streams,)
        expected = (*many, *shape.space, shape.channels)
        if x.shape[steps:] != expected or x.ndim != len(expected) + steps:
            raise InputError(
                "the input does not fit the network",
                place=place,
                found=f"shape {x.shape}",
                expected=("time", *expected) if steps else expected,
                do="step takes one time step, step_many several, predict a sequence",
            )
        return x

    def _fitting(self, state: State) -> Any:
        """A state as it is kept: checked, copied, in the engine's form."""
        leaves, structure = jax.tree.flatten(dict(state))
        like, expected = jax.tree.flatten(self._outline)
        many = () if self._streams is None else (self._streams,)
        shapes = [np.shape(leaf) for leaf in leaves]
        fits = structure == expected and all(
            shape in (leaf.shape, (*many, *leaf.shape))
            for shape, leaf in zip(shapes, like, strict=True)
        )
        if not fits:
            raise InputError(
                "the state does not fit the network",
                found=jax.tree.map(np.shape, dict(state)),
                expected=jax.tree.map(np.shape, self._outline),
            )
        # A copy: JAX may otherwise go on reading the memory of a NumPy array.
        copies = [
            np.array(np.broadcast_to(leaf, (*many, *same.shape)), self._dtype)
            for leaf, same in zip(leaves, like, strict=True)
        ]
        if self._plan is None:
            return jax.device_put(copies)
        return self._plan.flat(jax.tree.unflatten(structure, copies))


def _one_shape(shapes: dict[str, Any], streams: int | None) -> tuple[int, ...] | None:
    """The shape of a step of the one input, if there is only one."""
    if len(shapes) != 1:
        return None
    (shape,) = shapes.values()
    return (*(() if streams is None else (streams,)), *shape.space, shape.channels)


def _plan(net: Network, streams: int | None, engine: str) -> Plan | None:
    if engine not in ENGINES:
        raise InputError(
            "no such engine", found=repr(engine), expected=", ".join(ENGINES)
        )
    if engine == "xla":
        return None
    if engine == "gpu":
        raise Unsupported(
            "the engine 'gpu' runs whole sequences",
            found="a stream of single steps",
            do="engine='xla' steps on a GPU as well",
        )
    try:
        if streams is not None:
            raise NoPlan("several streams")
        return Plan(net)
    except NoPlan as why:
        if engine == "auto":
            return None
        raise Unsupported(
            "the engine 'cpu' does not step this network",
            found=str(why),
            do="engine='xla' takes every network, 'auto' picks the faster that does",
        ) from None


@functools.cache
def _compiled(net: Any, state: Any, many: bool) -> tuple[Any, Any]:
    """A step and several, compiled once for all networks of these structures.

    They take and return lists of arrays: taking trees apart would cost a fifth of the
    time of a step.
    """

    def one(weights: Any, parts: Any, xs: Any) -> Any:
        x = xs[0] if len(xs) == 1 else tuple(xs)
        before = jax.tree.unflatten(state, parts)
        after, y = step(jax.tree.unflatten(net, weights), before, x)
        return jax.tree.leaves(after), y

    advance = jax.vmap(one, in_axes=(None, 0, 0)) if many else one

    def far(weights: Any, parts: Any, xs: Any) -> Any:
        return jax.lax.scan(lambda s, x: advance(weights, s, x), parts, xs)

    return jax.jit(advance), jax.jit(far)
