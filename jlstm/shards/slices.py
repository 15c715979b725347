"""Sequences out of netCDF: over time alone, or over sequences and time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset.files import lacking, spelled, unpacked
from ..dataset.kinds import Raw, Want
from ..dataset.tables import Table, numbers, words
from ..errors import InputError
from . import tabular
from .kinds import Ask, Item, check_count

LENGTHS = ("lengths", "length")
NUMBERS = 1 << 22
"""Numbers of all variables that are read at once."""


def read(path: Path, want: Want, ask: Ask) -> Iterator[Item]:
    """The sequences of a netCDF file.

    Variables over one axis are the columns of one table. Variables over two, those of
    sequences and of time, hold one sequence a row, of as many steps as the variable
    `lengths` says, or of all.

    Raises:
        InputError: no such file or variable, or shapes that do not fit.
    """
    try:
        import h5netcdf  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise lacking(path, "h5netcdf", "netcdf") from None
    try:
        with h5netcdf.File(path, "r") as file:
            variables = dict(file.variables)
            chosen = ask.inputs or tuple(variables)
            if any(n in variables and variables[n].ndim == 2 for n in chosen):
                yield from _rows(path, variables, want, ask)
                return
    except OSError as error:
        raise InputError("not a netCDF-4 file", file=path, found=error) from None
    yield from tabular.read(path, want, ask)


def _rows(
    path: Path, variables: dict[str, Any], want: Want, ask: Ask
) -> Iterator[Item]:
    inputs = ask.inputs or tuple(
        n for n, v in variables.items() if v.ndim == 2 and n not in ask.targets
    )
    for name in (*inputs, *ask.targets, *([ask.sequence] if ask.sequence else [])):
        if name not in variables:
            raise InputError(f"no variable '{name}'", found=", ".join(variables))
    check_count(len(inputs), len(ask.targets), ", ".join(inputs), want)
    axes = variables[inputs[0]].dimensions
    _same_axes(variables, inputs, axes)
    _same_axes(variables, ask.targets, axes if want.y.time else axes[:1])
    count, steps = variables[inputs[0]].shape
    lengths = _lengths(variables, axes[0], count, steps)
    names = [f"{path.name}[{k}]" for k in range(1, count + 1)]
    if ask.sequence:
        _same_axes(variables, (ask.sequence,), axes[:1])
        names = [_named(v, ask.sequence) for v in spelled(variables[ask.sequence])]
    labelled = 0 < len(ask.targets) < want.y.channels
    rows = max(1, NUMBERS // max(1, steps * (len(inputs) + len(ask.targets))))
    every = (*inputs, *ask.targets)
    for start in range(0, count, rows):
        some = slice(start, min(count, start + rows))
        held = [_held(variables[name], some) for name in every]
        for k in range(some.start, some.stop):
            columns = [
                a[k - start][: lengths[k]]
                if a.ndim > 1
                else a[k - start : k - start + 1]
                for a in held
            ]
            yield _item(
                Table(str(path), every, columns.__getitem__),
                names[k], k, len(inputs), labelled, want, ask,
            )  # fmt: skip


def _item(
    table: Table, name: str, k: int, width: int, labelled: bool, want: Want, ask: Ask
) -> Item:
    x = np.stack([numbers(table, c) for c in range(width)], axis=1)
    outs = range(width, len(table.names))
    y = None
    if labelled:
        y = words(table, width)
    elif ask.targets:
        y = np.stack([numbers(table, c) for c in outs], axis=1)
    if y is not None and not want.y.time:
        y = y[0]

    def place(part: str, at: tuple[int, ...]) -> str:
        c = at[-1] if part == "x" else width + (at[-1] if at and not labelled else 0)
        step = f", step {at[0] + 1}" if part == "x" or want.y.time else ""
        return f"sequence {k + 1}{step}, variable '{table.names[c]}'"

    y = np.asarray(y) if y is not None else x
    return ask.item(Raw(name, x, y, place, table.name), want)


def _named(name: str | None, variable: str) -> str:
    if name is None:
        raise InputError("a sequence without a name", place=f"variable '{variable}'")
    return name


def _held(variable: Any, some: slice) -> np.ndarray:
    values = unpacked(variable, some)
    if values.dtype == object:
        return values.reshape(-1, *variable.shape[1:])
    return values


def _same_axes(
    variables: dict[str, Any], names: tuple[str, ...], axes: tuple[str, ...]
) -> None:
    for name in names:
        if variables[name].dimensions != axes:
            raise InputError(
                "variables over different axes",
                place=f"variable '{name}'",
                found=", ".join(variables[name].dimensions),
                expected=", ".join(axes),
            )


def _lengths(variables: dict[str, Any], axis: str, count: int, steps: int) -> list[int]:
    name = next((n for n in LENGTHS if n in variables), None)
    if name is None:
        return [steps] * count
    found = np.asarray(variables[name][...])
    good = variables[name].dimensions == (axis,) and found.dtype.kind in "iu"
    if not good or (found < 0).any() or (found > steps).any():
        raise InputError(
            "not the numbers of steps",
            place=f"variable '{name}'",
            found=f"{found.dtype} over {', '.join(variables[name].dimensions)}",
            expected=f"whole numbers up to {steps} over {axis}",
        )
    return found.tolist()
