"""Tables out of files: text, Parquet and netCDF, all read alike."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import Ambiguous, InputError
from .tables import Table, is_missing

NEVER_WRITTEN = 9.969209968386869e36
"""What the netCDF library leaves where floats were never written."""


def read_table(path: str | Path) -> Table:
    """A table from a .csv, .tsv, .txt, .parquet or .nc file.

    Text has a heading where no cell of its first line is a number; its cells are
    separated by semicolons, tabs, commas or blanks, whichever the first line has, in
    this order. A netCDF file gives its variables along its longest axis and no other,
    with fill values, scale and offset undone; the axis itself is no column.

    Raises:
        InputError: no such file, no table, or the library for it is not installed.
        Ambiguous: the first line may be a heading as well as numbers.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise InputError("no kind of table", file=path, expected=", ".join(READERS))
    if not path.is_file():
        raise InputError("no such file", file=path)
    return READERS[path.suffix.lower()](path)


def _text(path: Path) -> Table:
    return next(text_blocks(path))


def text_blocks(path: Path, rows: int | None = None) -> Iterator[Table]:
    """The tables that a text file is made of, so many rows each; all by default.

    Raises:
        InputError, Ambiguous: as in `read_table`.
    """
    cells = _cells(path)
    line, first = next(cells, (0, []))
    if not first:
        raise InputError("the file is empty", file=path)
    headed = any(first) and not any(map(_is_number, first))
    width = len(first)
    if width > 2 and first in ([str(k + s) for k in range(width)] for s in (0, 1)):
        raise Ambiguous(
            "the first line may be numbers or the numbers of the columns",
            file=path,
            found=", ".join(first),
            do="write names into the first line",
        )
    names = tuple(first if headed else map(str, range(1, width + 1)))
    left = cells if headed else chain([(line, first)], cells)
    before = 0
    while block := list(islice(left, rows)):
        for here, row in block:
            if len(row) != width:
                raise InputError(
                    "not a table: lines differ in their number of cells",
                    file=path,
                    place=f"line {here}",
                    found=f"{len(row)} cells",
                    expected=f"{width}, as in line {line}",
                )
        yield _text_table(path, names, block, headed, before)
        before += len(block)
    if not before:
        raise InputError("only a heading, no numbers", file=path, found=first[:5])


def _text_table(
    path: Path,
    names: tuple[str, ...],
    block: list[tuple[int, list[str]]],
    headed: bool,
    before: int,
) -> Table:
    lines = [line for line, _ in block]
    return Table(
        str(path),
        names,
        lambda k: parsed([row[k] for _, row in block]),
        lines,
        headed,
        before,
        lambda k: [row[k] for _, row in block],
    )


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of each line that is not blank, and its cells."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            mark = separator(file)
            if mark is None:
                numbered = ((k, line.split()) for k, line in enumerate(file, 1))
            else:
                reader = csv.reader(file, delimiter=mark)
                numbered = ((reader.line_num, row) for row in reader)
            for k, row in numbered:
                # A row of nothing but separators is a step whose values are missing.
                if len(row) > 1 or "".join(row).strip():
                    yield k, [cell.strip() for cell in row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("not a text table", file=path, found=error) from None


def separator(file: TextIO) -> str | None:
    """What separates the cells of a text file; None for blanks."""
    first = next((line for line in file if line.strip()), "")
    file.seek(0)
    bare = re.sub('"[^"]*"', "", first)
    return next((mark for mark in ";\t," if mark in bare), None)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def parsed(cells: Sequence[str]) -> np.ndarray:
    """Doubles where every cell is a number or missing, the text of all otherwise."""
    filled = ["nan" if is_missing(cell) else cell for cell in cells]
    try:
        # Python would read 1_000 as a number; no table means that.
        if not any("_" in cell for cell in filled):
            return np.array(filled, np.float64)
    except ValueError:
        pass
    return np.array(
        [float(c) if _is_number(c) and "_" not in c else c for c in cells], object
    )


def _parquet(path: Path) -> Table:
    with opened_parquet(path) as (file, names):
        table = file.read()
        return arrow_table(path, names, table.column)


@contextmanager
def opened_parquet(path: Path) -> Iterator[tuple[Any, dict[int, str]]]:
    """A Parquet file, and the names of its columns by their place in it.

    Raises:
        InputError: it is none, also where that is found out while it is open; pyarrow
            is not installed.
    """
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise lacking(path, "pyarrow", "parquet") from None
    try:
        # Little by little: a row group may be larger than memory.
        with parquet.ParquetFile(path, buffer_size=1 << 20) as file:
            # pandas keeps the index of a frame beside the columns.
            names = {
                k: name
                for k, name in enumerate(file.schema_arrow.names)
                if not name.startswith("__index_level_")
            }
            yield file, names
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError("not a Parquet file", file=path, found=error) from None


def arrow_table(
    path: Path, names: Mapping[int, str], column: Callable[[int], Any], before: int = 0
) -> Table:
    """A table of columns that pyarrow holds.

    Arguments:
        path: the file.
        names: of the columns, by their places in the file.
        column: a column by its place in the file.
        before: rows of the file before these.
    """
    places = list(names)

    def values(k: int) -> np.ndarray:
        found = column(places[k])
        if hasattr(found.type, "index_type"):  # a dictionary: words by their number
            found = found.cast(found.type.value_type)
        return found.to_numpy(zero_copy_only=False)

    def written(k: int) -> list[str | None]:
        return column(places[k]).cast("string").to_pylist()

    return Table(
        str(path), tuple(names.values()), values, before=before, written=written
    )


def _netcdf(path: Path) -> Table:
    try:
        import h5netcdf  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise lacking(path, "h5netcdf", "netcdf") from None
    try:
        with h5netcdf.File(path, "r") as file:
            sizes = {name: len(axis) for name, axis in file.dimensions.items()}
            flat = {
                name: variable.dimensions[0]
                for name, variable in file.variables.items()
                if len(variable.dimensions) == 1 and name not in sizes
            }
            axis = max(flat.values(), key=sizes.__getitem__, default="")
            names = tuple(name for name, along in flat.items() if along == axis)
    except OSError as error:
        raise InputError("not a netCDF-4 file", file=path, found=error) from None
    if not names:
        raise InputError(
            "no variable of one axis, so no column",
            file=path,
            do="write one variable over time for each column",
        )

    def held(k: int, how: Callable[[Any], Any]) -> Any:
        with h5netcdf.File(path, "r") as file:
            return how(file.variables[names[k]])

    return Table(
        str(path),
        names,
        lambda k: held(k, unpacked),
        written=lambda k: held(k, spelled),
    )


def unpacked(variable: Any, where: Any = ...) -> np.ndarray:
    """The values of a netCDF variable by its attributes, NaN where it is filled."""
    values = np.asarray(variable[where])
    if values.dtype.kind not in "fiu":
        return np.array(
            [v.decode() if isinstance(v, bytes) else v for v in values.ravel()], object
        )
    attributes = variable.attrs
    if " since " in str(attributes.get("units", "")):
        return np.zeros(len(values), "datetime64[s]")  # refused where it is asked for
    filled = np.zeros(values.shape, bool)
    for name in ("_FillValue", "missing_value"):
        if name in attributes:
            filled |= np.isin(values, attributes[name])
    if values.dtype.kind == "f":
        filled |= values == values.dtype.type(NEVER_WRITTEN)
    scale, offset = (
        np.float64(np.ravel(attributes.get(name, default))[0])
        for name, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    return np.where(filled, np.nan, values * scale + offset)


def spelled(variable: Any) -> list[str | None]:
    """The values of a netCDF variable as text, None where it is filled."""
    given = np.asarray(variable[...])
    whole = given.dtype.kind in "iu"  # not all of which a double holds
    return [
        None if is_missing(value) else str(raw if whole and value == raw else value)
        for value, raw in zip(unpacked(variable), given, strict=True)
    ]


def lacking(path: Path, library: str, extra: str) -> InputError:
    """The refusal of a file for which a library is not installed."""
    return InputError(
        f"reading {path.suffix} needs {library}, which is not installed",
        file=path,
        do=f"pip install 'jlstm[{extra}]'",
    )


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _text,
    ".tsv": _text,
    ".txt": _text,
    ".parquet": _parquet,
    ".nc": _netcdf,
}
"""How a table is read, by the suffix of its file."""
