"""What a closed loop answered: all members, their mean, spread and quantiles."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..pytree import Array, pytree, static

SHOWN = 8
"""Outputs on the screen, at most."""


@pytree
class Forecast:
    """Outputs of a network that was fed with its own; `str()` is one screen.

    A leading axis, "forecasts" below, is there where there are several: one for each
    origin of `starts`, or one for each history. A single network is one member.

    Arguments:
        members: `([forecasts,] members, steps, outputs)`, `y[T], ..., y[T+steps-1]` of
            every network, in its own units.
        inputs: `([forecasts,] members, steps, features)`, what each was fed with:
            `x[T], ..., x[T+steps-1]`, in units of the input. What was fed back is here
            a forecast of the input signal itself, to be held against a recording of
            it, row by row.
        last: `([forecasts,] members, outputs)`, `y[T-1]`, the answer to the last step
            of the history, which is fed back first.
        state: after the last step, by layer; axes `([forecasts,] members, ...)` lead.
        origins: `T` of every forecast: how many steps of its history went before.
        levels: of the quantiles.
        fed: what is fed back to where, in words.
        fed_inputs: places from 0 of the inputs that come from outputs; all of them
            where a function makes them.
        names: of the outputs, "fc[1]".
    """

    members: Array
    inputs: Array
    last: Array
    state: dict[str, Any]
    origins: tuple[int, ...] = static()
    levels: tuple[float, ...] = static()
    fed: str = static()
    fed_inputs: tuple[int, ...] = static()
    names: tuple[str, ...] = static()

    @property
    def mean(self) -> Array:
        """Mean of the members, `([forecasts,] steps, outputs)`; of one its answer."""
        return jnp.mean(self.members, axis=-3)

    @property
    def std(self) -> Array:
        """Standard deviation of the members (n - 1); 0 of a single one."""
        if self.members.shape[-3] == 1:
            return jnp.zeros_like(self.mean)
        return jnp.std(self.members, axis=-3, ddof=1)

    @property
    def quantiles(self) -> Array:
        """`(levels, [forecasts,] steps, outputs)`, between members linearly."""
        levels = jnp.asarray(self.levels, self.members.dtype)
        return jnp.quantile(self.members, levels, axis=-3)

    def beside(self, recording: Any) -> np.ndarray:
        """What was recorded at the steps of each forecast, `([forecasts,] steps, ...)`.

        Arguments:
            recording: `(time, ...)`, counted as the history: inputs to hold `inputs`
                against, or targets for `members`. NaN stands after its end.
        """
        rows = np.asarray(recording, float)
        steps = self.members.shape[-2]
        tail = np.full((steps, *rows.shape[1:]), np.nan)
        rows = np.concatenate([rows, tail])
        begin = np.minimum(self.origins, len(rows) - steps)
        found = rows[begin[:, None] + np.arange(steps)]
        return found if self.members.ndim > 3 else found[0]

    def __repr__(self) -> str:
        return f"Forecast(members {self.members.shape}, fed back: {self.fed})"

    def __str__(self) -> str:
        if isinstance(self.members, Tracer):
            return repr(self)
        return "\n".join(_lines(self))


def errors_ahead(found: Forecast, recording: Any) -> tuple[np.ndarray, np.ndarray]:
    """How far forecasts from several origins are off, by steps ahead.

    Arguments:
        found: forecasts from within the recording.
        recording: `(time, features)`.

    Returns:
        the root mean square over the origins of what was fed back less what was
        recorded, `(steps, fed back)`; and that of holding the last recorded value.
    """
    fed = list(found.fed_inputs)
    x = np.asarray(recording, float)
    recorded = found.beside(x[:, fed])
    held = x[np.asarray(found.origins) - 1][:, None, fed]
    guesses = np.asarray(found.inputs, float)[..., fed].mean(axis=-3), held
    squares = [np.ma.masked_invalid((guess - recorded) ** 2) for guess in guesses]
    ours, holding = (np.ma.sqrt(a.mean(axis=0)).filled(np.nan) for a in squares)
    return ours, holding


def _lines(found: Forecast) -> list[str]:
    *many, count, steps, outputs = found.members.shape
    nets = "one network" if count == 1 else f"{count} networks"
    lines = [
        f"Forecast: {steps} steps in closed loop, {nets}, {_beginning(found, many)}",
        f"  fed back  {found.fed}",
    ]
    y = np.asarray(found.members, np.float64).reshape(-1, steps, outputs)
    last = np.asarray(found.last, np.float64).reshape(-1, outputs)
    ends = ("y[T-1]", "y[T]", f"y[T+{steps - 1}]")
    lines.append(
        f"  {'output':<14}" + "".join(f"{h:>12}" for h in (*ends, "lowest", "highest"))
        + (f"{'spread':>12}" if count > 1 else "")
    )  # fmt: skip
    with np.errstate(invalid="ignore", over="ignore"):
        spread = np.asarray(found.std, np.float64).reshape(-1, steps, outputs)
        for k, name in enumerate(found.names[:SHOWN]):
            one = y[..., k]
            values = [last[:, k].mean(), one[:, 0].mean(), one[:, -1].mean()]
            values += [one.min(), one.max()]
            values += [spread[:, -1, k].mean()] if count > 1 else []
            lines.append(f"  {name:<14}" + "".join(f"{v:>12.5g}" for v in values))
    if outputs > SHOWN:
        lines.append(f"  and {outputs - SHOWN} more outputs")
    if count > 1:
        lines.append("  spread    standard deviation of the networks at the last step")
    if not np.isfinite(y).all():
        at = int(np.argmin(np.isfinite(y).all(axis=(0, 2))))
        lines.append(f"  NOT FINITE from y[T+{at}] on: the loop, or what it was given")
    return lines


def _beginning(found: Forecast, many: list[int]) -> str:
    if not many:
        return f"T = {found.origins[0]} steps of history"
    low, high = min(found.origins), max(found.origins)
    between = f"{low}" if low == high else f"{low} to {high}"
    return f"{math.prod(many)} forecasts, T = {between}, means over them"
