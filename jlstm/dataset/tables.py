"""Columns by name: those that go in, those that should come out, and what they hold.

A table gives its columns as they are stored; `numbers` and `words` make floats or
labels of them and refuse what is neither. No column is ever guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..errors import InputError

MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "nat", "<na>"))
"""What stands, in any case, where a value is missing."""
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2}")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
SAY_WHICH = "name the columns to use: data.inputs and data.targets"
SHOWN = 30


class Table(NamedTuple):
    """Columns of one length.

    Arguments:
        name: the file, or what else the table is called in an error.
        names: of the columns; "1", "2", ... where the file has no heading.
        column: the values of a column by its index, of any dtype.
        lines: the line of the file that each row is from; empty for other tables.
        headed: whether the names stand in the file.
        before: rows of the file before the first one here.
        written: the values of a column as text; None where one is missing.
    """

    name: str
    names: tuple[str, ...]
    column: Callable[[int], np.ndarray]
    lines: Sequence[int] = ()
    headed: bool = True
    before: int = 0
    written: Callable[[int], Sequence[str | None]] | None = None

    def place(self, row: int, column: int) -> str:
        """Where a value stands, `line 17, column 'flow'`."""
        where = (
            f"line {self.lines[row]}"
            if len(self.lines)
            else f"row {self.before + row + 1}"
        )
        return f"{where}, column '{self.names[column]}'"

    def listed(self) -> str:
        """The names of the columns, for an error."""
        more = len(self.names) - SHOWN
        text = ", ".join(self.names[:SHOWN]) or "no columns"
        return f"{text} and {more} more" if more > 0 else text


def is_frame(value: Any) -> bool:
    """Whether it is a data frame, of pandas or of a library like it."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def from_frame(frame: Any, name: str) -> Table:
    """A table of a data frame; its index is no column."""
    values = np.asarray(frame.to_numpy())
    names = tuple(str(column) for column in frame.columns)
    return Table(name, names, lambda k: values[:, k])


def choose(
    table: Table,
    inputs: Sequence[str],
    targets: Sequence[str],
    width: int,
    answers: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Which columns go in and which should come out, as indices.

    Without any names the last columns are the targets and all before them the inputs.
    With names of one kind the other is all the rest, in the order of the table.

    Arguments:
        table: the table.
        inputs: names of columns, or none.
        targets: names of columns, or none.
        width: how many inputs there must be.
        answers: how many targets there may be.

    Raises:
        InputError: there is no such column, or they are not as many as the network
            has inputs and outputs.
    """
    ins, outs = ([find(table, name) for name in group] for group in (inputs, targets))
    every = range(len(table.names))
    rest = [k for k in every if k not in ins and k not in outs]
    if not inputs and not targets:
        ins, outs = rest[:width], rest[width:]
    elif not inputs:
        ins = rest
    elif not targets:
        outs = rest
    for group in (ins, outs):
        if twice := {table.names[k] for k in group if group.count(k) > 1}:
            raise InputError("a column twice", file=table.name, found=", ".join(twice))
    if len(ins) != width or len(outs) not in answers:
        raise InputError(
            "the columns do not fit the network",
            file=table.name,
            found=f"{len(every)} columns: {table.listed()}",
            expected=f"{width} inputs and {' or '.join(map(str, answers))} targets",
            do=f"{SAY_WHICH}"
            + (f" (now {len(ins)} and {len(outs)})" if inputs or targets else ""),
        )
    return ins, outs


def find(table: Table, name: str) -> int:
    """The index of the one column of a name.

    Raises:
        InputError: there is none, or there are several.
    """
    if (count := table.names.count(name)) == 1:
        return table.names.index(name)
    numbered = name.isdecimal() and table.headed
    raise InputError(
        f"{count} columns are called '{name}'" if count else f"no column '{name}'",
        file=table.name,
        found=table.listed(),
        expected="a name of one column",
        do="columns go by number only in files without a heading" if numbered else None,
    )


def numbers(table: Table, k: int) -> np.ndarray:
    """A column as doubles `(rows,)`, NaN where a value is missing.

    Raises:
        InputError: there is text or a date in it.
    """
    values = np.ma.asarray(table.column(k))
    if values.dtype.kind in "fiub":
        return np.ma.filled(values.astype(np.float64), np.nan)
    if values.dtype.kind in "mM":
        _refuse_dates(table, k, values[0] if len(values) else values.dtype)
    found = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if isinstance(value, Real | Decimal | np.bool_):
            found[row] = float(value)
        elif not is_missing(value):
            _refuse_value(table, row, k, value)
    return found


def words(table: Table, k: int) -> np.ndarray:
    """A column as it is stored, for labels `(rows,)`: text or whole numbers.

    Raises:
        InputError: it holds dates.
    """
    values = np.asarray(table.column(k))
    if values.dtype.kind in "mM":
        _refuse_dates(table, k, values[0] if len(values) else values.dtype)
    return values


def is_missing(value: Any) -> bool:
    """Whether a value says that there is none: blank, NaN, NA, None, NaT."""
    return str(value).strip().lower() in MISSING


def _refuse_dates(table: Table, k: int, value: Any) -> NoReturn:
    raise InputError(
        "a column of dates, not of numbers",
        file=table.name,
        place=f"column '{table.names[k]}'",
        found=value,
        do=SAY_WHICH,
    )


def _refuse_value(table: Table, row: int, k: int, value: Any) -> NoReturn:
    text = str(value)
    if not isinstance(value, str | bytes) or DATE.match(text):
        kind = "a date" if DATE.match(text) else f"a {type(value).__name__}"
    else:
        kind = "text"
    do = SAY_WHICH
    if DECIMAL_COMMA.fullmatch(text.strip()):
        do = "write decimal points, not commas"
    elif row == 0 and not table.headed:
        do = "the first line is a heading only if none of its cells is a number"
    raise InputError(
        f"{kind} in a column that should hold numbers",
        file=table.name,
        place=table.place(row, k),
        found=repr(text[:60]),
        do=do,
    )
