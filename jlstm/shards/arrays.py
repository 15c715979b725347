"""Sequences out of arrays: those of NumPy, HDF5 and MATLAB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .. import recording
from ..dataset.arrays import places
from ..dataset.kinds import Raw, Want
from ..dataset.variables import arranged, from_variables
from ..errors import Ambiguous, InputError
from .kinds import Ask, Item

INPUT, LENGTHS = "x", "lengths"
"""What arrays are called, where nothing else is said."""


def read_numpy(path: Path, want: Want, ask: Ask) -> Iterator[Item]:
    """The sequences of a .npz or .npy file.

    `x` holds one, `(time, features)`, or several, `(sequences, time, features)`; with
    `lengths`, which says how many steps each takes, one after the other. Without `x`
    every array is a sequence.

    Raises:
        InputError: not such a file, no such array, or shapes that do not fit.
    """
    try:
        loaded = np.load(
            path, mmap_mode="r" if path.suffix.lower() == ".npy" else None,
            allow_pickle=False,
        )  # fmt: skip
        if isinstance(loaded, np.ndarray):
            yield from from_mapping(path.name, {INPUT: loaded}, want, ask)
            return
        with closing(loaded):
            yield from from_mapping(path.name, loaded, want, ask)
    except InputError:
        raise
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise InputError("not a NumPy file", file=path, found=error) from None


def read_hdf5(path: Path, want: Want, ask: Ask) -> Iterator[Item]:
    """The sequences of an HDF5 file, read slice by slice.

    Datasets at its root are as arrays in `read_numpy`; otherwise every group is a
    sequence and holds `x`.

    Raises:
        InputError: not such a file, no such dataset, or shapes that do not fit.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            # By name: there may be a million, and what is open takes memory.
            kinds = {str(name): file.get(name, getclass=True) for name in file}
            held = {n: file[n] for n, kind in kinds.items() if kind is h5py.Dataset}
            groups = [n for n, kind in kinds.items() if kind is h5py.Group]
            if held and groups:
                raise InputError(
                    "datasets and groups beside each other: which are the sequences?",
                    file=path,
                    found=", ".join([*held, *groups][:10]),
                )
            if held:
                yield from from_mapping(path.name, held, want, ask)
            called = _one(ask.inputs, "input") or INPUT
            target = _one(ask.targets, "target")
            for name in groups:
                group = file[name]
                x = _taken(group, called, f"{name}/")[()]
                y = x if target is None else _taken(group, target, f"{name}/")[()]
                where = places((called, target or ""), want, f"group '{name}', ")
                yield ask.item(Raw(name, x, _text(y), where, str(path)), want)
            if not held and not groups:
                raise InputError("there is nothing in it", file=path)
    except OSError as error:
        raise InputError("not an HDF5 file", file=path, found=error) from None


def read_mat(path: Path, want: Want, ask: Ask) -> Iterator[Item]:
    """The sequences of a variable of a MAT file: a matrix, or a cell array of them.

    Raises:
        InputError, Ambiguous: no such variable; a square matrix.
    """
    if ask.targets:
        if not ask.inputs:
            raise InputError("which variable goes in?", file=path, do="--inputs NAME")
        for raw in from_variables(path, want, ask.data):
            yield ask.item(raw, want)
        return
    called = _one(ask.inputs, "input")
    found = recording.read(f"{path}:{called}" if called else str(path))
    if any(isinstance(array, tuple) for array in found):
        raise InputError("class labels, not numbers", file=path, place=called)
    for k, x in enumerate(arranged(found, want.x, None), 1):
        single = len(found) == 1
        where = places((called or "", ""), want, "" if single else f"sequence {k}, ")
        name = path.name if single else f"{path.name}[{k}]"
        yield ask.item(Raw(name, x, x, where, str(path)), want)


def from_mapping(
    file: str, arrays: Mapping[str, Any], want: Want, ask: Ask
) -> Iterator[Item]:
    """The sequences in arrays by name; each is sliced, or read whole, once.

    Raises:
        InputError: no such array, or shapes that do not fit one another.
        Ambiguous: several arrays, and none is called `x`.
    """
    target = _one(ask.targets, "target")
    others = [n for n in arrays if n not in (target, LENGTHS, ask.sequence)]
    called = _one(ask.inputs, "input")
    if called is None and (INPUT in others or len(others) == 1):
        called = INPUT if INPUT in others else others[0]
    if called is None:
        if target is not None or len(others) != len(arrays) or not others:
            raise Ambiguous(
                "which array goes in?", found=", ".join(arrays), do="--inputs NAME"
            )
        for name in others:
            where = places((name, ""), want)
            x = np.asarray(arrays[name])
            yield ask.item(Raw(name, x, x, where, file), want)
        return
    x = _taken(arrays, called)
    y = None if target is None else _taken(arrays, target)
    lengths = None if LENGTHS not in arrays else np.asarray(arrays[LENGTHS])
    names = None
    if ask.sequence is not None:
        named = _text(np.asarray(_taken(arrays, ask.sequence)))
        names = [str(name) for name in np.ravel(named)]
    spans = _spans(x, lengths, want)
    if spans is None:
        _check([x], None, names, False, len(x))
        y = np.asarray(x if y is None else _text(np.asarray(y)))
        where = places((called, target or ""), want)
        yield ask.item(
            Raw(names[0] if names else file, np.asarray(x), y, where, file), want
        )
        return
    _check(spans, y, names, lengths is not None and want.y.time, len(x))
    for k, span in enumerate(spans):
        name = names[k] if names else f"{file}[{k + 1}]"
        where = places((called, target or ""), want, f"sequence {k + 1}, ")
        at = span if lengths is not None and want.y.time else k
        yield ask.item(
            Raw(name, x[span], x if y is None else _text(y[at]), where, file), want
        )


def _spans(x: Any, lengths: np.ndarray | None, want: Want) -> Sequence[Any] | None:
    """Where each sequence lies along the first axis; None where there is but one."""
    several = x.ndim == len(want.tail) + 2
    if lengths is None:
        return range(len(x)) if several else None
    if several or lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise InputError(
            f"'{LENGTHS}' does not fit the sequences",
            found=f"{lengths.dtype} of shape {lengths.shape}, for {x.shape}",
            expected="whole numbers, for sequences one after the other: (steps, "
            "features)",
        )
    if lengths.sum() != len(x) or (lengths < 0).any():
        raise InputError(
            f"'{LENGTHS}' does not add up to the steps that are there",
            found=int(lengths.sum()),
            expected=len(x),
        )
    ends = np.cumsum(lengths).tolist()
    return [slice(a, b) for a, b in pairwise([0, *ends])]


def _check(
    spans: Sequence[Any], y: Any, names: list[str] | None, beside: bool, steps: int
) -> None:
    for what, found, expected in (
        ("target", y, steps if beside else len(spans)),
        ("name", names, len(spans)),
    ):
        if found is not None and len(found) != expected:
            raise InputError(
                f"not one {what} for each {'step' if beside else 'sequence'}",
                found=len(found),
                expected=expected,
            )


def _one(names: tuple[str, ...], what: str) -> str | None:
    if len(names) > 1:
        raise InputError(
            f"one array holds every {what}", found=", ".join(names), expected="one name"
        )
    return names[0] if names else None


def _taken(arrays: Any, name: str, place: str = "") -> Any:
    if name not in arrays:
        raise InputError(
            f"no array '{place}{name}'", found=", ".join([*arrays][:10]) or "none"
        )
    return arrays[name]


def _text(array: Any) -> Any:
    """HDF5 gives text as bytes."""
    if np.asarray(array).dtype.kind not in "SO":
        return array
    words = [v.decode() if isinstance(v, bytes) else v for v in np.ravel(array)]
    return np.array(words, object).reshape(np.shape(array))
