"""Histories, origins and exogenous inputs: what the caller gave, as arrays."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..network import Network, as_inputs
from ..pytree import Array
from .feedback import Feedback, listed, numbers


class Past(NamedTuple):
    """The histories as arrays.

    Arguments:
        x: `(time, features)`, or `(histories, time, features)`, zeros after the ends.
        lengths: of several histories.
        origins: how many steps go before each forecast.
        cut: first origin, distance and number, where there are several in one history.
    """

    x: Array
    lengths: Array | None
    origins: tuple[int, ...]
    cut: tuple[int, int, int] | None

    @property
    def several(self) -> bool:
        """Whether there is an axis of forecasts."""
        return self.lengths is not None or self.cut is not None


def past_of(net: Network, history: Any, starts: Any, steps: int) -> Past:
    """What goes before the forecasts.

    Raises:
        InputError: a history does not fit the network, or no forecast starts in it.
    """
    if isinstance(history, list):
        return _several(net, history, starts)
    x = _side_by_side(net, history)
    if starts is None:
        return Past(x, None, (len(x),), None)
    origins = _origins(starts, len(x), steps)
    return Past(x, None, tuple(origins), (origins[0], origins.step, len(origins)))


def _several(net: Network, histories: list[Any], starts: Any) -> Past:
    if starts is not None or not histories:
        raise InputError(
            "starts are of one recording" if histories else "no history",
            found=f"a list of {len(histories)} histories",
        )
    xs = []
    for number, one in enumerate(histories, 1):
        try:
            xs.append(_side_by_side(net, one))
        except InputError as error:
            raise error.within(place=f"history {number}") from None
    lengths = tuple(len(x) for x in xs)
    padded = [jnp.pad(x, ((0, max(lengths) - len(x)), (0, 0))) for x in xs]
    return Past(jnp.stack(padded), jnp.asarray(lengths, "int32"), lengths, None)


def _side_by_side(net: Network, history: Any) -> Array:
    """All inputs of a history, `(time, features)`."""
    xs = as_inputs(net, history, whole=True)
    lengths = {name: len(xs[name]) for name in net.inputs}
    if len(set(lengths.values())) > 1:
        raise InputError("the inputs have different numbers of steps", found=lengths)
    flat = [xs[name].reshape(lengths[name], -1) for name in net.inputs]
    return jnp.concatenate(flat, axis=1)


def _origins(starts: Any, time: int, steps: int) -> range:
    if isinstance(starts, range):
        found = starts
    else:
        every = whole("starts", starts)
        found = range(every, time - steps + 1, every)
    if not found or found.step < 1 or found[0] < 1 or found[-1] > time:
        raise InputError(
            "no steps to start from",
            place="starts",
            found=f"{starts!r} in {time} steps of history, to forecast {steps}",
            expected=f"a range of whole numbers from 1 to {time}, or a distance",
        )
    return found


def whole(name: str, value: Any) -> int:
    """A whole number from 1 on.

    Raises:
        InputError: it is none.
    """
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise InputError("not a whole number from 1 on", place=name, found=repr(value))
    return count


def exogenous_of(wires: Feedback, given: Any, past: Past, steps: int) -> Array:
    """`([forecasts,] steps, others)`: of width 0 where nothing is exogenous.

    Raises:
        InputError: they are missing, too many, or of another length.
    """
    lead = (len(past.origins),) if past.several else ()
    ruled = wires.rule is not None
    width = None if ruled else len(wires.others)
    if given is None and not width:
        return jnp.zeros((*lead, steps, 0), past.x.dtype)
    if given is None and past.cut is not None:
        return _windows(past.x[:, list(wires.others)], past.origins, steps)
    u = None if given is None else numbers("exogenous", given, past.x.dtype)
    if u is not None and 0 not in u.shape and width in (None, u.shape[-1]):
        if u.shape[:-1] == (*lead, steps):
            return u
        if past.cut is not None and u.shape[:-1] == past.x.shape[:-1]:
            return _windows(u, past.origins, steps)
    found = "none" if u is None else f"shape {u.shape}"
    if width == 0:
        raise InputError("every input is fed back", place="exogenous", found=found)
    names = [wires.input_names[k] for k in wires.others]
    expected = ", ".join(map(str, (*lead, steps, "others" if ruled else width)))
    raise InputError(
        "the inputs that are not fed back are needed for every step",
        place="exogenous",
        found=found,
        expected=f"({expected})" + ("" if ruled else f": {listed(names)}"),
    )


def _windows(u: Array, origins: tuple[int, ...], steps: int) -> Array:
    """The `steps` rows of a recording from every origin on."""
    if origins[-1] + steps > len(u):
        raise InputError(
            "the recording ends before the last forecast does",
            place="starts",
            found=f"{len(u)} steps, and {steps} to forecast from {origins[-1]}",
            expected=f"starts up to {len(u) - steps}",
        )
    return u[np.asarray(origins)[:, None] + np.arange(steps)]
