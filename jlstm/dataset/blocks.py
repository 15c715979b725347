"""Tables in blocks of rows, for files that are larger than memory.

Text is read by pyarrow where that is installed and understands it, which takes a tenth
of the time, and otherwise as `files` reads it; the numbers are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .files import (
    arrow_table,
    opened_parquet,
    parsed,
    read_table,
    separator,
    text_blocks,
)
from .tables import MISSING, Table, find

ROWS = 1 << 16
"""Rows of a block."""
BYTES = 1 << 22
"""What pyarrow reads of a text file at once."""


class Use(NamedTuple):
    """Columns by index: which are read, and as what.

    Arguments:
        numbers: are read as numbers.
        labels: are read as they are stored, text or numbers.
        names: are read as text.
    """

    numbers: tuple[int, ...]
    labels: tuple[int, ...] = ()
    names: tuple[int, ...] = ()

    @property
    def every(self) -> list[int]:
        """All that are read, in the order of the file."""
        return sorted({*self.numbers, *self.labels, *self.names})


def read_blocks(
    path: Path, use: Callable[[Table], Use], rows: int = ROWS
) -> Iterator[Table]:
    """The rows of a file in tables, one after the other; a netCDF file is one table.

    Arguments:
        path: the file.
        use: which columns are read, of a table that has the names alone.
        rows: of a table, at most.

    Raises:
        InputError, Ambiguous: as `files.read_table`, when the reading comes to it.
    """
    return READERS[path.suffix.lower()](path, use, rows)


def _netcdf(path: Path, use: Callable[[Table], Use], rows: int) -> Iterator[Table]:
    table = read_table(path)
    use(table)
    yield table


def _parquet(path: Path, use: Callable[[Table], Use], rows: int) -> Iterator[Table]:
    with opened_parquet(path) as (file, names):
        head = Table(str(path), tuple(names.values()), _nothing)
        wanted = [head.names[k] for k in use(head).every]
        for name in wanted:
            find(head, name)  # which refuses one that several columns have
        before = 0
        for batch in file.iter_batches(
            batch_size=rows, columns=wanted, use_threads=False
        ):
            order = batch.schema.get_field_index  # they come as the file has them
            yield arrow_table(
                path, names, lambda k, b=batch, o=order: b.column(o(names[k])), before
            )
            before += batch.num_rows


def _text(path: Path, use: Callable[[Table], Use], rows: int) -> Iterator[Table]:
    head = next(text_blocks(path, 1))
    chosen = use(head._replace(column=_nothing))
    done = 0
    try:
        for table in _quickly(path, head, chosen):
            yield table
            done = table.before + len(table.column(chosen.every[0]))
        return
    except _NotQuickly:
        pass
    # Something is unusual: the slow way reads it, or knows what to say of it.
    for table in text_blocks(path, rows):
        end = table.before + len(table.lines)
        if end > done:
            yield _from(table, max(0, done - table.before))


class _NotQuickly(Exception):
    """The file is not one that pyarrow reads as `files` does."""


def _quickly(path: Path, head: Table, use: Use) -> Iterator[Table]:
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        from pyarrow import csv  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise _NotQuickly from None
    with path.open(encoding="utf-8-sig", newline="") as file:
        mark = separator(file)
        skipped = head.lines[0] - 1
        open_quote = "".join(islice(file, skipped)).count('"') % 2
    if mark is None or open_quote:
        raise _NotQuickly
    names = [str(k) for k in range(len(head.names))]
    kinds = {str(k): pyarrow.float64() for k in use.numbers}
    kinds |= {str(k): pyarrow.string() for k in (*use.labels, *use.names)}
    before = 0
    try:
        reader = csv.open_csv(
            path,
            csv.ReadOptions(
                use_threads=False,
                block_size=BYTES,
                skip_rows=skipped,
                column_names=names,
            ),
            csv.ParseOptions(delimiter=mark, newlines_in_values=True),
            csv.ConvertOptions(
                column_types=kinds,
                include_columns=[str(k) for k in use.every],
                null_values=sorted({w for m in MISSING for w in _spellings(m)}),
                strings_can_be_null=False,
            ),
        )
        order = {k: at for at, k in enumerate(use.every)}
        for batch in reader:
            if batch.num_rows:
                yield _arrow_text(path, head, use, order, batch, before)
                before += batch.num_rows
    except (pyarrow.ArrowException, UnicodeDecodeError):
        raise _NotQuickly from None


def _arrow_text(
    path: Path, head: Table, use: Use, order: dict[int, int], batch: Any, before: int
) -> Table:
    def written(k: int) -> list[str]:
        return [cell.strip() for cell in batch.column(order[k]).to_pylist()]

    def column(k: int) -> np.ndarray:
        if k in use.numbers:
            return batch.column(order[k]).to_numpy(zero_copy_only=False)
        return parsed(written(k))

    return Table(str(path), head.names, column, (), head.headed, before, written)


def _spellings(word: str) -> Sequence[str]:
    return word, word.upper(), word.capitalize(), "NaN", "NaT"


def _from(table: Table, start: int) -> Table:
    """The table without its first rows."""
    if not start:
        return table
    written = table.written
    return table._replace(
        column=lambda k: table.column(k)[start:],
        lines=table.lines[start:],
        before=table.before + start,
        written=None if written is None else lambda k: written(k)[start:],
    )


def _nothing(k: int) -> np.ndarray:
    raise InputError("only names so far", found=f"column {k + 1}")


READERS = {
    ".csv": _text,
    ".tsv": _text,
    ".txt": _text,
    ".parquet": _parquet,
    ".nc": _netcdf,
}
"""How blocks are read, by the suffix of the file."""
