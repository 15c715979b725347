"""Recordings out of arrays, one or several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from .kinds import Raw, Want
from .tables import is_frame


def is_pair(value: Any) -> bool:
    """Two things that are no recordings themselves."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and not isinstance(value[0], tuple | str | os.PathLike)
    )


def from_pair(pair: Any, name: str, want: Want) -> list[Raw]:
    """What a pair `(x, y)` of arrays holds."""
    x, y = (_array(f"{part} of {name}", a) for part, a in zip("xy", pair, strict=True))
    return from_arrays(name, x, y, want)


def from_arrays(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    want: Want,
    source: str = "",
    called: tuple[str, str] = ("x", "y"),
) -> list[Raw]:
    """One recording, or one for each item of the axis that is too many."""
    source = source or name
    if x.ndim != len(want.tail) + 2:
        return [Raw(name, x, y, places(called, want), source)]
    if y.ndim < 1 or len(y) != len(x):
        raise InputError(
            "not one target for each sequence",
            file=source,
            found=f"shapes {x.shape} and {y.shape}",
            expected="as many along the first axis",
        )
    return [
        Raw(f"{name}[{k}]", a, b, places(called, want, f"sequence {k}, "), source)
        for k, (a, b) in enumerate(zip(x, y, strict=True), 1)
    ]


def places(
    called: tuple[str, str], want: Want, start: str = ""
) -> Callable[[str, tuple[int, ...]], str]:
    """How the place of a number in arrays is called, counted from 1."""

    def place(part: str, at: tuple[int, ...]) -> str:
        axes = ["step", *["position"] * (len(at) - 2), "feature"]
        if part == "y":
            axes = ["step", "output"] if want.y.time else ["output"]
        where = [f"{axis} {k + 1}" for axis, k in zip(axes, at, strict=False)]
        return start + ", ".join([called[part == "y"], *where])

    return place


def _array(place: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value.to_numpy() if is_frame(value) else value)
    except ValueError as error:
        raise InputError(
            "not one array",
            place=place,
            found=error,
            do="for several recordings pass a list of pairs (x, y)",
        ) from None
    if np.ma.isMaskedArray(value):
        return np.ma.filled(value.astype(np.float64), np.nan)
    return array
