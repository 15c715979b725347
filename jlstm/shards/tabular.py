"""Sequences out of a table: rows of one sequence lie together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..dataset.blocks import Use, read_blocks
from ..dataset.kinds import Raw, Want
from ..dataset.reading import only_answer
from ..dataset.tables import Table, is_missing, numbers, words
from ..errors import InputError
from .kinds import Ask, Columns, Item


class _Piece(NamedTuple):
    """Some rows of a sequence: its name, where they begin, inputs and targets."""

    name: str
    row: int
    x: np.ndarray
    y: np.ndarray


def read(path: Path, want: Want, ask: Ask) -> Iterator[Item]:
    """The sequences of a .csv, .tsv, .txt or .parquet file.

    A column says which sequence a row is of; without it the file is one sequence.

    Raises:
        InputError: columns that do not fit; a sequence that comes back after another
            one; text or a number that is not finite, by row and column.
    """
    columns, labelled = None, False

    def use(table: Table) -> Use:
        nonlocal columns, labelled
        columns = Columns.of(table, ask, want)
        labelled = 0 < len(columns.targets) < want.y.channels
        # One label may stand for the scores of all classes.
        numeric = columns.inputs + ([] if labelled else columns.targets)
        names = () if columns.sequence is None else (columns.sequence,)
        return Use(tuple(numeric), tuple(columns.targets) if labelled else (), names)

    held: list[_Piece] = []
    seen: set[str] = set()
    table = None
    for table in read_blocks(path, use):
        assert columns is not None
        for piece in _pieces(table, columns, labelled, path.name):
            if held and piece.name != held[0].name:
                yield _joined(held, table.names, columns, want, ask)
                held = []
            if not held:
                _new(piece, seen, table, columns)
            held.append(piece)
    if not held or table is None or columns is None:
        raise InputError("there are no rows", file=path)
    yield _joined(held, table.names, columns, want, ask)


def _pieces(
    table: Table, columns: Columns, labelled: bool, file: str
) -> Iterator[_Piece]:
    x = np.stack([numbers(table, k) for k in columns.inputs], axis=1)
    if labelled:
        y = words(table, columns.targets[0])
    elif columns.targets:
        y = np.stack([numbers(table, k) for k in columns.targets], axis=1)
    else:
        y = np.empty((len(x), 0))
    if columns.sequence is None or table.written is None:
        yield _Piece(file, table.before, x, y)
        return
    names = np.array(table.written(columns.sequence), object)
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist()]
    for a, b in zip(starts, [*starts[1:], len(x)], strict=True):
        yield _Piece(names[a], table.before + a, x[a:b], y[a:b])


def _new(piece: _Piece, seen: set[str], table: Table, columns: Columns) -> None:
    """Refuse a sequence without a name, or one that was there before."""
    if columns.sequence is None:
        return
    place = table.place(piece.row - table.before, columns.sequence)
    if is_missing(piece.name) or not str(piece.name).strip():
        raise InputError("a row that is of no sequence", place=place)
    if piece.name in seen:
        raise InputError(
            "a sequence comes back after another one",
            place=place,
            found=repr(piece.name),
            expected="all rows of a sequence one after the other",
            do="sort the file by sequence and step",
        )
    seen.add(piece.name)


def _joined(
    held: list[_Piece], names: tuple[str, ...], columns: Columns, want: Want, ask: Ask
) -> Item:
    first = held[0].row
    x, y = (
        parts[0] if len(parts) == 1 else np.concatenate(parts)
        for parts in ([p.x for p in held], [p.y for p in held])
    )
    name = held[0].name

    def place(part: str, at: tuple[int, ...]) -> str:
        chosen = columns.inputs if part == "x" else columns.targets
        k = chosen[at[1]] if len(at) > 1 and at[1] < len(chosen) else chosen[0]
        within = f"sequence '{name}', " if columns.sequence is not None else ""
        return f"{within}row {first + (at[0] if at else 0) + 1}, column '{names[k]}'"

    if columns.targets and not want.y.time:
        y = only_answer(y, lambda row, k: place("y", (row, k)), want)
    return ask.item(Raw(name, x, y, place, ""), want)
