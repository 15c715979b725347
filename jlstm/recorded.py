"""Recorded numbers and labels beside what a network returns: do they fit at all?

Nothing is transposed, cut or broadcast here. A record of another shape is refused with
the reading that would fit, for the caller to confirm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from .errors import InputError
from .network import Network
from .verdict import Labels

MAX_DECIMALS = 7


class Case(NamedTuple):
    """One sequence and what was recorded for it, by output and by layer.

    `labels` are the names of classes instead of scores.
    """

    x: Any
    outputs: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    layers: dict[str, np.ndarray]

    @property
    def kind(self) -> tuple:
        """Cases of one kind are computed together."""
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(self.x))
        return shapes, tuple(self.outputs), tuple(self.layers)


def cases(net: Network, x: Any, expected: Any, layers: Any) -> list[Case]:
    """One case a sequence; a list of inputs needs a list of records.

    Raises:
        InputError: another number of records than of sequences or of outputs, labels
            for a network without classes.
    """
    if not isinstance(x, list):
        return [_case(net, x, expected, layers or {})]
    if not x:
        raise InputError("no sequences", expected="at least one")
    records = {"expected": expected, "layers": layers or [{}] * len(x)}
    for name, value in records.items():
        given = _listed(value)
        if len(given) != len(x):
            raise InputError(
                f"x is a list of {len(x)} sequences, so {name} must be one too",
                found=f"{len(given)} records" if given else type(value).__name__,
                expected=f"{len(x)} records",
                do="for a single sequence pass an array, not a list",
            )
        records[name] = given
    found = []
    for number, (one, record, inner) in enumerate(
        zip(x, *records.values(), strict=True), 1
    ):
        try:
            found.append(_case(net, one, record, inner))
        except InputError as error:
            raise error.within(place=f"sequence {number}") from None
    return found


def _listed(value: Any) -> list[Any]:
    """The items of a list, an array or a table column; none of anything else."""
    if isinstance(value, str | Mapping):
        return []
    try:
        return list(value)
    except TypeError:
        return []


def _case(net: Network, x: Any, expected: Any, layers: Mapping[str, Any]) -> Case:
    if isinstance(x, Mapping):
        x = {name: _numbers(f"input '{name}'", value) for name, value in x.items()}
    elif isinstance(x, tuple):
        x = tuple(_numbers("x", value) for value in x)
    else:
        x = _numbers("x", x)
    records = expected if len(net.outputs) > 1 else (expected,)
    if not isinstance(records, tuple | list) or len(records) != len(net.outputs):
        raise InputError(
            "a record for every output of the network is needed",
            found=type(expected).__name__,
            expected=f"a tuple for {', '.join(net.outputs)}",
        )
    outputs, labels = {}, {}
    for ref, record in zip(net.outputs, records, strict=True):
        place, shape = f"recorded '{ref}'", net.shapes[ref]
        array = _array(place, record)
        coded = array.dtype.kind in "iu" and bool(net.classes)
        if array.dtype.kind in "USO" or (
            coded and array.ndim == shape.time + len(shape.space)
        ):
            labels[ref] = _names(net, ref, array)
        else:
            outputs[ref] = _numbers(place, array)
    inner = {name: _numbers(f"recorded '{name}'", a) for name, a in layers.items()}
    return Case(x, outputs, labels, inner)


def _array(place: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError("not an array", place=place, found=str(error)) from None


def _numbers(place: str, value: Any) -> np.ndarray:
    array = _array(place, value)
    if array.dtype.kind not in "fiub":
        raise InputError("not real numbers", place=place, found=f"{array.dtype} array")
    return array


def _names(net: Network, ref: str, array: np.ndarray) -> np.ndarray:
    """Labels as class names; numbers only where the classes are called so."""
    place, classes = f"recorded '{ref}'", net.classes
    if not classes:
        raise InputError(
            "class labels for a network that does not name its classes",
            place=place,
            found=array.ravel()[:3],
            do="compare its scores; or numbers of the shape that predict returns",
        )
    names = np.array([str(label) for label in array.ravel()]).reshape(array.shape)
    if unknown := set(names.ravel()) - set(classes):
        raise InputError(
            "labels that are not classes of the network",
            place=place,
            found=", ".join(sorted(unknown)[:5]),
            expected=", ".join(classes),
            do="pass names: numbers count from 0 in some programs and from 1 in others"
            if array.dtype.kind in "iu"
            else None,
        )
    return names


def judge_labels(net: Network, ref: str, scores: Any, names: np.ndarray) -> Labels:
    """Compare the classes of largest score `(time?, classes)` with recorded names."""
    found = np.array(net.classes)[np.argmax(scores, axis=-1)]
    if found.shape != names.shape:
        raise InputError(
            "another number of labels than of predictions",
            place=f"recorded '{ref}'",
            found=f"shape {names.shape}",
            expected=f"shape {found.shape}",
        )
    wrong = np.flatnonzero(np.atleast_1d(found != names))
    return Labels(
        found.size - wrong.size, found.size, int(wrong[0]) if wrong.size else None
    )


def fit(name: str, recorded: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The record as numbers of the shape that the network returns.

    Axes of length one may be missing at the end, `(time,)` for `(time, 1)`, or lead,
    `(1, outputs)` for `(outputs,)`: the values are the same in the same order.

    Raises:
        InputError: another shape, with a hint at what it looks like.
    """
    same = recorded.shape in (shape, (1, *shape)) or (
        shape[-1:] == (1,) and recorded.shape == shape[:-1]
    )
    if same and (recorded.shape != (1, *shape) or len(shape) == 1):
        return recorded.reshape(shape).astype(np.float64)
    raise InputError(
        "the record does not have the shape of what the network returns",
        place=f"recorded '{name}'",
        found=f"shape {recorded.shape}",
        expected=f"shape {shape}",
        do=_hint(recorded.shape, shape),
    )


def _hint(found: tuple[int, ...], want: tuple[int, ...]) -> str | None:
    if found == want[::-1] or (len(want) == 1 and found == (*want, 1)):
        return "this looks like features x time, as MATLAB stores it: pass expected.T"
    if len(want) > 1 and found == want[1:]:
        return "this looks like one step: the network returns all of them"
    if len(want) == 1 and found[-1:] == want:
        return (
            "this looks like all steps, and the network returns only the last; for "
            "several sequences pass lists"
        )
    if len(found) == len(want) + 1 and found[1:] == want:
        return "this looks like a batch: pass lists of sequences and of records"
    if len(found) == len(want) and found[1:] == want[1:]:
        return "pass input and record of the same steps"
    return None


def decimals(recorded: np.ndarray) -> int | None:
    """To how many decimals numbers were written, where it is few; None otherwise."""
    values = recorded[np.isfinite(recorded)].astype(np.float64)
    for count in range(2, MAX_DECIMALS):
        rounded = np.round(values, count)
        if np.all(abs(values - rounded) <= 2.0**-22 * abs(values)):
            return count
    return None
