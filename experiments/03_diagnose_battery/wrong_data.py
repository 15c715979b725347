"""Mistakes made on what goes into a network and on what comes out of it.

INPUT maps `x (T, C)`, OUTPUT maps `y`; which of them apply to a network is in
`wrong_cases_data.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from wrong_layers import Array, target
from wrong_plan import Wrong


def shifted(a: Array, steps: int, fill: Any) -> Array:
    """Row t is `a[t - steps]`; rows that are not there repeat the edge or hold zeros
    or the values `fill`."""
    if isinstance(fill, str) and fill == "roll":
        return np.roll(a, steps, axis=0)
    source = np.arange(len(a)) - steps
    found = a[np.clip(source, 0, len(a) - 1)]
    if not isinstance(fill, str) or fill == "zero":
        values = 0.0 if isinstance(fill, str) else fill
        found[(source < 0) | (source >= len(a))] = values
    return found


def _standardised(
    x: Array, statistics: str, instead: bool = False, among: Array | None = None
) -> Array:
    """By the statistics of `among`; `instead` concerns the input layer, not `x`."""
    of = x if among is None else among
    kind = statistics.removeprefix("own-").removeprefix("all-")
    if kind in ("sample", "population"):
        return (x - of.mean(0)) / of.std(0, ddof=int(kind == "sample"))
    unit = (x - of.min(0)) / (of.max(0) - of.min(0))
    return unit if kind == "minmax" else 2 * unit - 1


def _padded(x: Array, side: str, steps: int, value: Any = 0.0, **_: Any) -> Array:
    block = np.empty((steps, *x.shape[1:]))
    block[:] = value
    return np.concatenate([block, x] if side == "left" else [x, block])


def _dropped(x: Array, first: int = 0, last: int = 0) -> Array:
    return x[first : len(x) - last]


def _fixed(
    x: Array, length: int, side: str = "", cut: str = "", value: Any = 0.0
) -> Array:
    if len(x) > length:
        return x[-length:] if cut == "left" else x[:length]
    return _padded(x, side, length - len(x), value)


def _memory_order(x: Array, read: str) -> Array:
    if read == "columns":
        return x.ravel("C").reshape(x.shape, order="F")
    return x.ravel("F").reshape(x.shape, order="C")


def _frozen(x: Array, step: str) -> Array:
    return np.repeat(x[:1] if step == "first" else x[-1:], len(x), axis=0)


INPUT: dict[str, Callable[..., Array]] = {
    "standardised": _standardised,
    "input-affine": lambda x, slope, offset: slope * x + offset,
    "features-reversed": lambda x: x[:, ::-1],
    "features-permuted": lambda x, order: x[:, list(order)],
    "input-memory-order": _memory_order,
    "transposed": lambda x: x.T,
    "time-reversed": lambda x: x[::-1],
    "time-shift": lambda x, steps, fill="edge": shifted(x, steps, fill),
    "input-frozen": _frozen,
    "steps-dropped": _dropped,
    "padding": _padded,
    "fixed-length": _fixed,
}
"""In the order in which they are applied."""

OUTPUT: dict[str, Callable[..., Array]] = {
    "output-reversed": lambda y: y[::-1],
    "output-shift": lambda y, steps, fill="edge": shifted(y, steps, fill),
    "columns-permuted": lambda y, order: y[..., list(order)],
    "output-affine": lambda y, slope, offset: (
        np.asarray(slope) * y + np.asarray(offset)
    ),
}
"""In the order in which they are applied."""


# --- parameters that speak of the input layer, or of other sequences ------------------


def neutral(entry: dict[str, Any]) -> Array:
    """The step of input that an input layer with these fields turns into zeros."""
    kind = entry["normalization"]
    if kind in ("zscore", "zerocenter"):
        return np.array(entry["mean"], float)
    if kind.startswith("rescale"):
        low, high = target(entry)
        unit = (0 - low) / (high - low)
        return entry["minimum"] + unit * (entry["maximum"] - entry["minimum"])
    return np.zeros(())


def settled(wrong: Wrong, entry: dict[str, Any], together: Sequence[Array]) -> Wrong:
    """The mistake with numbers in place of such words.

    `entry` are the fields of the input layer, `together` the values of all sequences.
    """
    parameters = dict(wrong.parameters)
    for key in ("fill", "value"):
        if parameters.get(key) == "neutral":
            parameters[key] = neutral(entry)
    if parameters.get("statistics", "").startswith("all-"):
        parameters["among"] = np.concatenate(list(together))
    return wrong._replace(parameters=parameters)
