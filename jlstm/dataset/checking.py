"""Whether what was read fits the network: shapes, finite numbers, labels."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ..config import Data
from ..errors import InputError
from . import units
from .kinds import Raw, Recording, Want
from .tables import is_missing

UNDEFINED = "<undefined>"
"""A categorical value of MATLAB that is none."""


def finish(raw: Raw, want: Want, data: Data) -> Recording:
    """The recording in the precision of the network, once it is known to fit it.

    Raises:
        InputError: shapes or kinds of numbers that do not fit; a label that is no
            class; a number that is not finite, where only targets may be NaN.
    """
    x = finish_input(raw, want)
    y = _fitted_target(raw, len(x), want, data)
    with np.errstate(over="ignore"):
        y = y.astype(want.dtype)
    missing = np.isnan(y)
    bad = missing | np.isinf(y) if data.nan == "refuse" else np.isinf(y)
    if bad.any():
        at = tuple(int(k) for k in np.argwhere(bad)[0])
        raise InputError(
            f"a target that is not a finite number of {want.dtype.name}",
            place=raw.place("y", at),
            found=y[at],
            do='data.nan = "mask" leaves steps out whose target is missing'
            if missing.any()
            else None,
        )
    return Recording(raw.name, x, y, (~missing).astype(want.dtype))


def finish_input(raw: Raw, want: Want) -> np.ndarray:
    """The input of a recording in the precision of the network; `raw.y` is not read.

    Raises:
        InputError: a shape that does not fit; a number that is not finite.
    """
    x = _fitted_input(raw, want)
    with np.errstate(over="ignore"):
        x = x.astype(want.dtype)
    if not np.isfinite(x).all():
        at = tuple(int(k) for k in np.argwhere(~np.isfinite(x))[0])
        raise InputError(
            f"an input that is not a finite number of {want.dtype.name}",
            place=raw.place("x", at),
            found=raw.x.reshape(x.shape)[at],
            do="fill the gap, or cut the recording there: only targets may be missing",
        )
    return x


def _fitted_input(raw: Raw, want: Want) -> np.ndarray:
    x, tail = raw.x, want.tail
    if x.dtype.kind not in "fiub":
        raise InputError("inputs that are not real numbers", found=f"{x.dtype} array")
    if x.ndim == 1 and tail == (1,):
        x = x[:, None]
    if x.shape[1:] != tail or x.ndim != len(tail) + 1:
        turned = x.ndim == 2 and x.shape[:1] == tail
        raise InputError(
            "the input does not fit the network",
            found=f"shape {x.shape}",
            expected=str(want.x),
            do="this looks like features x time, as MATLAB has it: pass x.T"
            if turned
            else None,
        )
    if len(x) < want.least:
        raise InputError(
            "the sequence is too short",
            found=f"{len(x)} steps",
            expected=f"at least {want.least}",
        )
    return x


def _fitted_target(raw: Raw, steps: int, want: Want, data: Data) -> np.ndarray:
    y, outputs = raw.y, want.y.channels
    axes = (steps,) if want.y.time else ()
    text = y.dtype.kind in "USO"
    if want.labelled and (data.target_scale or data.target_offset):
        raise InputError(
            "labels have no units",
            place="data",
            found="target_scale or target_offset",
            do="leave them out",
        )
    if text and not want.labelled:
        raise InputError(
            "targets that are not numbers, for a network that names no classes",
            found=f"{y.ravel()[:3]}",
        )
    if text or (want.labelled and y.shape in (axes, (*axes, 1))):
        if y.shape not in (axes, (*axes, 1)):
            raise InputError(
                "not one label for each step"
                if want.y.time
                else "the network answers once per sequence: one label is needed",
                found=f"{y.size} labels",
                expected=f"{steps if want.y.time else 1}",
            )
        return _one_hot(y.reshape(axes), raw, want)
    if y.dtype.kind not in "fiub":
        raise InputError("targets that are not real numbers", found=f"{y.dtype} array")
    if outputs == 1 and y.shape == axes:
        y = y[..., None]
    if not axes and y.shape == (1, outputs):
        y = y[0]
    if y.shape != (*axes, outputs):
        raise InputError(
            "the targets do not fit what the network returns",
            found=f"shape {y.shape}",
            expected=f"shape {(*axes, outputs)}",
            do="this looks like outputs x time, as MATLAB has it: pass y.T"
            if y.shape == (outputs, *axes)
            else None,
        )
    return units.answers(y, data) if data.target_scale or data.target_offset else y


def _one_hot(labels: np.ndarray, raw: Raw, want: Want) -> np.ndarray:
    """Labels as rows of 0 and 1 in score order; a missing one is a row of NaN."""
    index = {name: k for k, name in enumerate(want.classes)}
    found = np.zeros((*labels.shape, len(index)))
    for at, label in np.ndenumerate(labels):
        name = _class_name(label)
        if name in index:
            found[(*at, index[name])] = 1
        elif name == UNDEFINED or is_missing(name):
            found[at] = np.nan
        else:
            raise InputError(
                "a label that is no class of the network",
                place=raw.place("y", (*at, 0)),
                found=repr(name),
                expected=", ".join(index),
            )
    return found


def _class_name(label: Any) -> str:
    """Text as it is; whole numbers without a decimal point, as classes are called."""
    if isinstance(label, Real) and not isinstance(label, bool):
        number = float(label)
        return str(int(number)) if number.is_integer() else str(label)
    return str(label).strip()
