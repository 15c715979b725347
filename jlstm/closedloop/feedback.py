"""Which output becomes which input: the wires of a closed loop."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..linearization import names_of
from ..network import Network
from ..pytree import Array


@dataclasses.dataclass(frozen=True)
class Feedback:
    """How the next input is made of the last output; hashable, so it is compiled in.

        x[t, inputs[j]] = scale[outputs[j]] y[t-1, outputs[j]] + offset[outputs[j]]
        x[t, others]    = u[t]

    or, where there is a rule, `x[t] = rule(y[t-1], x[t-1])`, with `u[t]` as a third
    argument where something is exogenous. All inputs of the network side by side are
    `x (features,)`, all its outputs `y (outputs,)`.

    Arguments:
        input_names, output_names: "input[1]", "fc[1]", as `linearize` has them.
        inputs, outputs: places from 0: which input is fed back, and from which output.
        rule: the caller's function.
        note: what the caller left open, and what was done.
    """

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    rule: Callable[..., Any] | None = None
    note: str = ""

    @property
    def others(self) -> tuple[int, ...]:
        """Places of the inputs that are not fed back."""
        fed = set(self.inputs)
        return tuple(k for k in range(len(self.input_names)) if k not in fed)

    def following(
        self, y: Array, x: Array, u: Array, scale: Array, offset: Array
    ) -> Array:
        """The next input `(features,)`, of the last output, the last input, and `u`."""
        if self.rule is not None:
            return _ruled(self.rule, y, x, u)
        chosen = np.asarray(self.outputs)
        fed = y[chosen] * scale[chosen] + offset[chosen]
        # Where each input stands among those that are fed back and the others.
        place = np.argsort([*self.inputs, *self.others])
        return jnp.concatenate([fed, u])[place]

    def words(self, scaled: bool) -> str:
        """What goes where, in one line."""
        if self.rule is not None:
            return f"x = {getattr(self.rule, '__name__', 'rule')}(y, x)"
        pairs = zip(self.inputs, self.outputs, strict=True)
        wires = [f"{self.output_names[k]} -> {self.input_names[j]}" for j, k in pairs]
        how = "times scale, plus offset" if scaled else "unscaled"
        return "; ".join(filter(None, [listed(wires), self.note, how]))


def feedback_of(net: Network, given: Any, exogenous: bool) -> Feedback:
    """The wires that the caller asked for.

    Raises:
        InputError: nothing is fed back, it is not clear what, or it is not there.
    """
    shapes = net.shapes
    ins, outs = (
        names_of((ref, (*shapes[ref].space, shapes[ref].channels)) for ref in refs)
        for refs in (net.inputs, net.outputs)
    )
    names = Feedback(ins, outs)
    if given is None:
        return _implied(net, names, exogenous)
    if callable(given):
        return dataclasses.replace(names, rule=given)
    if not isinstance(given, Mapping):
        raise InputError(
            "not a feedback",
            found=type(given).__name__,
            expected="{input: output}, or a function (y, x) -> next x",
        )
    if not given:
        raise InputError(
            "nothing is fed back",
            found="{}",
            do="jl.predict runs a network on inputs that are all known",
        )
    inputs = tuple(_place("input", key, names.input_names) for key in given)
    if len(set(inputs)) < len(inputs):
        raise InputError("an input is fed back twice", found=listed([*given]))
    outputs = tuple(_place("output", v, names.output_names) for v in given.values())
    return dataclasses.replace(names, inputs=inputs, outputs=outputs)


def _implied(net: Network, names: Feedback, exogenous: bool) -> Feedback:
    """Every output back as the input of the same place, where nothing is left over."""
    ins, outs = names.input_names, names.output_names
    if len(ins) != len(outs) or exogenous or net.classes:
        found = f"inputs {listed(ins)}; outputs {listed(outs)}"
        found += "; exogenous inputs" if exogenous else ""
        found += "; the outputs are scores of classes" if net.classes else ""
        raise InputError(
            "which output is fed back as which input?",
            found=found,
            do="feedback={input: output}, or a function (y, x) -> next x",
        )
    every = tuple(range(len(ins)))
    return dataclasses.replace(names, inputs=every, outputs=every, note="in this order")


def _place(what: str, key: Any, names: tuple[str, ...]) -> int:
    if key in names:
        return names.index(key)
    try:
        place = -1 if isinstance(key, bool) else operator.index(key)
    except TypeError:
        place = -1
    if not 0 <= place < len(names):
        raise InputError(
            f"the network has no such {what}",
            place="feedback",
            found=repr(key),
            expected=f"0 to {len(names) - 1}, or one of {listed(names)}",
        )
    return place


def listed(names: Sequence[Any], most: int = 8) -> str:
    """Names for an error: the first few."""
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")


def _ruled(rule: Callable[..., Any], y: Array, x: Array, u: Array) -> Array:
    found = jnp.asarray(rule(y, x, u) if u.shape[0] else rule(y, x))
    if found.shape != x.shape or jnp.iscomplexobj(found):
        raise InputError(
            "the feedback does not return an input of the network",
            found=f"{found.dtype} of shape {found.shape}",
            expected=f"shape {x.shape}, all inputs of a step side by side",
        )
    return found.astype(x.dtype)


def scaling(
    wires: Feedback, scale: Any, offset: Any, dtype: Any
) -> tuple[Array, Array]:
    """Factor and shift of every output, `(outputs,)` each.

    Raises:
        InputError: other numbers of them, or a function that should scale itself.
    """
    if wires.rule is not None and (scale is not None or offset is not None):
        raise InputError(
            "scale and offset belong to a dict of feedback",
            found="a function",
            do="scale inside the function",
        )
    count = len(wires.output_names)
    found = []
    for name, value, default in (("scale", scale, 1.0), ("offset", offset, 0.0)):
        array = numbers(name, default if value is None else value, dtype)
        if array.shape not in ((), (count,)):
            raise InputError(
                "not one number for each output",
                place=name,
                found=f"shape {array.shape}",
                expected=f"({count},), or one number for all",
            )
        found.append(jnp.broadcast_to(array, (count,)))
    return found[0], found[1]


def numbers(name: str, given: Any, dtype: Any) -> Array:
    """Real numbers in the precision of a network; a list of arrays is stacked.

    Raises:
        InputError: they are none.
    """
    try:
        if isinstance(given, list | tuple):
            given = jnp.stack([numbers(name, one, dtype) for one in given])
        array = given if isinstance(given, Array) else np.asarray(given)
        if array.dtype.kind not in "iub" and not jnp.issubdtype(
            array.dtype, jnp.floating
        ):
            raise TypeError(f"dtype {array.dtype}")
        # A copy: JAX may otherwise go on reading memory that the caller fills anew.
        return jnp.array(array, dtype)
    except (TypeError, ValueError) as error:
        raise InputError(
            "not an array of numbers", place=name, found=f"{error!s:.100}"
        ) from None
