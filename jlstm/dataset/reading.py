"""Recordings out of files, folders, data frames and arrays, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import Data
from ..errors import InputError, JlstmError
from . import tables
from .arrays import from_pair, is_pair
from .checking import finish
from .files import READERS, read_table
from .kinds import Raw, Recording, Want
from .variables import VARIABLES, from_variables

if TYPE_CHECKING:
    from ..network import Network


def recordings(
    source: Any, net: Network, data: Data, *, beside: str | Path | None = None
) -> list[Recording]:
    """The recordings in files, data frames or arrays, checked against the network.

    Arguments:
        source: a file, a folder of files (in the order of their names; files of other
            kinds are passed over), a data frame, a pair `(x, y)` of arrays, or a list
            of any of these. None takes the variables out of `beside`.

            .csv .tsv .txt .parquet .nc, data frame: one recording; see
            `jlstm.dataset.tables` for how columns are found. A network that answers
            once per sequence needs the same answer in every row that has one.

            .mat: `data.inputs` and `data.targets` name variables, one of each, `C x T`
            or `T x C`, whichever fits, or a cell array of these; or one vector for each
            input or output. Answers once per sequence are N rows. Labels may be
            categorical, string or cellstr arrays, or a cell array of them.

            .npz and pairs: `(time, features)` and `(time, outputs)`, `(outputs,)` or
            labels; with one axis more in front, several recordings.
        net: a network of one input, over time, and one output of vectors.
        data: which columns or variables; whether NaN in targets is refused.
        beside: the MAT file that a source of None means.

    Raises:
        InputError: a source that does not fit the network; text or a number that is
            not finite, by file, row and column, where only targets may be NaN.
        Ambiguous: a square matrix of a MAT file, or a heading that may be numbers.
    """
    want = wanted(net)
    found = []
    for number, item in enumerate(_items(source, beside), 1):
        for raw in _raw(item, number, want, data):
            try:
                found.append(finish(raw, want, data))
            except JlstmError as error:
                raise error.within(file=raw.source) from None
    return found


def wanted(net: Network) -> Want:
    """What a network asks of recordings.

    Raises:
        InputError: it has several inputs or outputs, or no time.
    """
    shapes = net.shapes
    for what, names in (("input", net.inputs), ("output", net.outputs)):
        if len(names) != 1:
            raise InputError(
                f"only networks of one {what} are for recordings",
                found=", ".join(names),
            )
    x, y = shapes[net.inputs[0]], shapes[net.outputs[0]]
    if not x.time or y.space:
        raise InputError(
            "only networks from sequences to vectors are for recordings",
            found=f"{x} to {y}",
        )
    least = max(1, getattr(net.layers[net.inputs[0]], "min_length", 1))
    return Want(x, y, tuple(net.classes), np.dtype(net.dtype), least)


def _items(source: Any, beside: Any) -> list[Any]:
    """Paths, frames and pairs."""
    source = beside if source is None else source
    if isinstance(source, str | os.PathLike):
        return _files(Path(source))
    if tables.is_frame(source) or is_pair(source):
        return [source]
    if not isinstance(source, list | tuple) or not len(source):
        raise InputError(
            "nothing that holds recordings",
            found=("an empty " if isinstance(source, list | tuple) else "")
            + type(source).__name__,
            expected="a file, a folder, a data frame, a pair (x, y), or a list of them",
        )
    items: list[Any] = []
    for number, item in enumerate(source, 1):
        if isinstance(item, str | os.PathLike):
            items += _files(Path(item))
        elif tables.is_frame(item) or is_pair(item):
            items.append(item)
        else:
            raise InputError(
                "a list holds recordings",
                place=f"recording {number}",
                found=type(item).__name__,
                expected="a file, a data frame, or a pair (x, y)",
            )
    return items


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    kinds = (*READERS, *VARIABLES)
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in kinds)
    if not found:
        raise InputError("no recordings in it", file=path, expected=", ".join(kinds))
    return found


def _raw(item: Any, number: int, want: Want, data: Data) -> list[Raw]:
    if isinstance(item, Path):
        if item.suffix.lower() in VARIABLES:
            return from_variables(item, want, data)
        return [_from_table(read_table(item), want, data)]
    if tables.is_frame(item):
        table = tables.from_frame(item, f"table {number}")
        return [_from_table(table, want, data)]
    return from_pair(item, f"recording {number}", want)


def _from_table(table: tables.Table, want: Want, data: Data) -> Raw:
    if want.x.space:
        raise InputError(
            "a table holds vectors, and the network takes images",
            file=table.name,
            do="pass arrays: a pair (x, y), or an .npz file",
        )
    answers = (want.y.channels, 1) if want.labelled else (want.y.channels,)
    ins, outs = tables.choose(
        table, data.inputs, data.targets, want.x.channels, answers
    )
    x = np.stack([tables.numbers(table, k) for k in ins], axis=1)
    if len(outs) < want.y.channels:
        y = tables.words(table, outs[0])
    else:
        y = np.stack([tables.numbers(table, k) for k in outs], axis=1)

    def place(part: str, at: tuple[int, ...]) -> str:
        if part == "x":
            return table.place(at[0], ins[at[1]])
        if not want.y.time:
            return f"column '{table.names[outs[at[0] if at and len(outs) > 1 else 0]]}'"
        return table.place(at[0], outs[at[1] if len(outs) > 1 else 0])

    if not want.y.time:
        y = only_answer(y, lambda row, k: table.place(row, outs[k]), want, table.name)
    return Raw(Path(table.name).name, x, y, place, table.name)


def only_answer(
    y: np.ndarray, place: Callable[[int, int], str], want: Want, source: str = ""
) -> np.ndarray:
    """The answer that every row gives, `(outputs,)` or a label.

    Raises:
        InputError: rows differ; `place` says where, of a row and a column.
    """
    found = []
    for k, column in enumerate(y.reshape(len(y), -1).T):
        there = (
            ~np.isnan(column)
            if column.dtype.kind == "f"
            else _there(column, want.classes)
        )
        given = np.flatnonzero(there)
        others = given[column[given] != column[given[0]]] if len(given) else given
        if len(others):
            other = int(others[0])
            raise InputError(
                "the network answers once per sequence and the rows differ",
                file=source,
                place=place(other, k),
                found=column[other],
                expected=f"{column[given[0]]}, as {place(int(given[0]), k)}",
            )
        found.append(column[given[0]] if len(given) else np.nan)
    answer = np.array(found, y.dtype if y.dtype.kind == "f" else object)
    return answer if y.ndim > 1 else answer[0:1].reshape(())


def _there(column: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    # A class may be called "none".
    return np.array([v in classes or not tables.is_missing(v) for v in column], bool)
