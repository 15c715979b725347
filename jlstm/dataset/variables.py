"""Recordings out of the variables of MAT files and NumPy files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..config import Data
from ..errors import Ambiguous, InputError, JlstmError
from .arrays import from_arrays, places
from .kinds import Raw, Want

VARIABLES = (".mat", ".npz")
"""Suffixes of the files that hold variables."""


def from_variables(path: Path, want: Want, data: Data) -> list[Raw]:
    """What the variables that `data` names hold, of a .mat or an .npz file.

    Raises:
        InputError: no such file or variable, or shapes that do not fit one another.
        Ambiguous: a square matrix of a MAT file.
    """
    if not path.is_file():
        raise InputError("no such file", file=path)
    called = (", ".join(data.inputs), ", ".join(data.targets))
    if path.suffix.lower() == ".npz":
        x, y = (_beside(group, str(path)) for group in _from_npz(path, data))
        return from_arrays(path.name, x, y, want, str(path), called)
    inputs, targets = _from_mat(path, data)
    xs = _matlab_inputs(inputs, want, str(path), called[0])
    try:
        ys = _matlab_targets(targets, xs, want, str(path))
    except JlstmError as error:
        raise error.within(file=path, place=called[1]) from None
    single = len(xs) == 1
    return [
        Raw(
            path.name if single else f"{path.name}[{k}]",
            x,
            np.asarray(y),
            places(called, want, "" if single else f"sequence {k}, "),
            str(path),
        )
        for k, (x, y) in enumerate(zip(xs, ys, strict=True), 1)
    ]


def _need_names(path: Path, data: Data, names: Sequence[str]) -> None:
    if not data.inputs or not data.targets:
        raise InputError(
            "which variables go in, and which should come out?",
            file=path,
            found=", ".join(names),
            do="set data.inputs and data.targets",
        )


def _from_npz(path: Path, data: Data) -> list[list[np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            _need_names(path, data, list(arrays))
            groups = (data.inputs, data.targets)
            return [[arrays[name] for name in group] for group in groups]
    except KeyError as error:
        raise InputError("no such array", file=path, found=error.args[0]) from None
    except JlstmError:
        raise
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise InputError("not a NumPy file", file=path, found=error) from None


def _from_mat(path: Path, data: Data) -> list[list[list[Any]]]:
    """For each variable, inputs then targets: arrays or labels of its sequences."""
    from ..formats.lookup import lookup
    from ..formats.matfile import MatFile

    file = MatFile(path)
    _need_names(path, data, file.names)
    groups = (data.inputs, data.targets)
    try:
        return [[_sequences(lookup(file, n), n) for n in group] for group in groups]
    except JlstmError as error:
        raise error.within(file=path) from None


def _sequences(value: Any, name: str) -> list[Any]:
    """What a variable holds for each sequence: an array, or a tuple of labels."""
    from ..formats.fields import numeric, strings
    from ..formats.matfile import Cell

    if (labels := strings(value)) is not None:
        return [labels]
    if not isinstance(value, Cell):
        return [numeric(value, name)]
    found = [strings(item) for item in value]
    if any(item is None for item in found):
        return [numeric(item, f"{name}{{{k}}}") for k, item in enumerate(value, 1)]
    return found


def _beside(arrays: Sequence[Any], source: str) -> np.ndarray:
    """One array, or several vectors as its columns."""
    if len(arrays) == 1:
        return arrays[0]
    flat = [np.ravel(array) for array in arrays]
    shapes = [np.shape(array) for array in arrays]
    vectors = all(
        a.size == max(s, default=1) for a, s in zip(flat, shapes, strict=True)
    )
    if not vectors or len({a.size for a in flat}) != 1:
        raise InputError(
            "several variables side by side must be vectors of one length",
            file=source,
            found=", ".join(map(str, shapes)),
        )
    return np.stack(flat, axis=1)


def _by_sequence(values: list[list[Any]], source: str) -> list[tuple[Any, ...]]:
    """For each sequence what every variable holds for it."""
    counts = {len(sequences) for sequences in values}
    if len(counts) != 1:
        raise InputError(
            "the variables have different numbers of sequences",
            file=source,
            found=", ".join(map(str, sorted(counts))),
        )
    return list(zip(*values, strict=True))


def _matlab_inputs(
    values: list[list[Any]], want: Want, source: str, called: str
) -> list[Any]:
    found = [_beside(parts, source) for parts in _by_sequence(values, source)]
    try:
        # Vectors side by side are (time, features) already.
        return arranged(found, want.x, None) if len(values) == 1 else found
    except JlstmError as error:
        raise error.within(file=source, place=called) from None


def arranged(arrays: list[Any], shape: Any, steps: list[int] | None) -> list[Any]:
    """Arrays of one variable; where a square leaves it open the others settle it."""
    from .. import recording

    known = steps or [None] * len(arrays)

    def lay(layout: recording.Layout) -> list[Any]:
        return [
            recording.arrange(a, shape, layout, k)
            for a, k in zip(arrays, known, strict=True)
        ]

    try:
        return lay("auto")
    except Ambiguous as error:
        fitting = []
        for layout in ("time-features", "features-time"):
            with suppress(JlstmError):
                fitting.append(lay(layout))
        if len(fitting) == 1:
            return fitting[0]
        error.do = "save it as (time, features) in an .npz file: a square says nothing"
        raise


def _matlab_targets(
    values: list[list[Any]], xs: list[Any], want: Want, source: str
) -> list[Any]:
    from .. import recording

    count, once = len(xs), not want.y.time
    beside = len(values) > 1
    found = (
        [_beside(parts, source) for parts in _by_sequence(values, source)]
        if beside
        else values[0]
    )
    if len(found) == 1 and count > 1 and once:
        (only,) = found
        if isinstance(only, tuple):
            return recording.per_sequence(only, count)
        coded = want.labelled and np.size(only) == count
        return list(np.ravel(only)) if coded else recording.rows(only, count)
    if len(found) != count:
        raise InputError(
            "not one target for each sequence",
            found=f"{len(found)}",
            expected=f"a cell array of {count}" + (f" or {count} rows" if once else ""),
        )
    if beside:
        return found
    steps = [len(x) for x in xs]
    if all(
        isinstance(y, tuple) or (want.labelled and np.size(y) in (k, 1))
        for y, k in zip(found, steps, strict=True)
    ):
        return [np.ravel(np.asarray(y)) for y in found]
    return arranged(found, want.y, None if once else steps)
