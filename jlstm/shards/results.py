"""The answers to the sequences of a shard, as a Parquet file.

    sequence  string     as the shard calls it
    step      int64      from 0; not where the network answers once per sequence
    y1, ...   float      one column an output, by the names of classes where there are
    y1_std    float      of an ensemble: standard deviation of its members (n - 1)
    y1_q05    float      of an ensemble: a quantile, in percent
    label     string     of a classifier: the class of the largest score

The bytes follow from the answers alone: row groups are of fixed size, whatever came
together in one window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import InputError
from ..formats.native import placing, writing

GROUP = 1 << 17
"""Rows of a row group."""
OWN = ("sequence", "step", "label")


class Layout(NamedTuple):
    """The columns of a file of answers.

    Arguments:
        outputs: what the network's outputs are called.
        classes: the classes that they are scores of, or none.
        over_time: whether there is an answer a step.
        quantiles: those of an ensemble; None for a single network.
        dtype: of the answers.
    """

    outputs: tuple[str, ...]
    classes: tuple[str, ...]
    over_time: bool
    quantiles: tuple[float, ...] | None
    dtype: np.dtype

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of numbers: outputs, spread, quantiles."""
        if self.quantiles is None:
            return self.outputs
        kinds = ["", "_std", *(f"_q{_percent(q)}" for q in self.quantiles)]
        return tuple(f"{name}{kind}" for kind in kinds for name in self.outputs)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in their order."""
        step = ("step",) if self.over_time else ()
        label = ("label",) if self.classes else ()
        return ("sequence", *step, *self.columns, *label)

    def rows(self, answers: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
        """The answers to some sequences as rows, and how many rows each takes.

        Arguments:
            answers: `(time, outputs)` or `(outputs,)`; of an ensemble with an axis of
                members in front.
        """
        time = self.quantiles is not None
        if not self.over_time:
            answers = [np.expand_dims(a, time * 1) for a in answers]
        counts = [a.shape[time * 1] for a in answers]
        every = np.concatenate(answers, axis=time * 1)
        if self.quantiles is None:
            return every, counts
        from ..evaluation import spread

        found = spread(every, self.quantiles)
        return np.concatenate([found.mean, found.std, *found.quantiles], 1), counts


def require_pyarrow() -> Any:
    """pyarrow, with which answers are written.

    Raises:
        InputError: it is not installed.
    """
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "answers are written as Parquet, and pyarrow is not installed",
            do="pip install 'jlstm[parquet]'",
        ) from None
    return pyarrow


class Results:
    """A file of answers that is being written.

    Arguments:
        file: where to.
        path: what the file is called in an error.
        layout: its columns.
    """

    def __init__(self, file: BinaryIO, path: Path, layout: Layout) -> None:
        pa = require_pyarrow()
        kinds = {"sequence": pa.string(), "step": pa.int64(), "label": pa.string()}
        number = pa.from_numpy_dtype(layout.dtype)
        self._schema = pa.schema([(n, kinds.get(n, number)) for n in layout.names])
        self._pa, self._layout, self._path = pa, layout, path
        self._file = _Hashed(file)
        self._writer = pa.parquet.ParquetWriter(
            pa.PythonFile(self._file, mode="w"),
            self._schema,
            compression="zstd",
            use_dictionary=["sequence", "label"],
            column_encoding={"step": "DELTA_BINARY_PACKED"} if layout.over_time else {},
        )
        self._names: list[str] = []
        self._parts: list[np.ndarray] = []
        self._counts: list[int] = []
        self._skipped = 0
        self._held = 0

    def add(self, names: Sequence[str], rows: np.ndarray, counts: list[int]) -> None:
        """More rows: the sequences that they are of, and how many are of each."""
        self._names += names
        self._counts += counts
        self._parts.append(rows)
        self._held += len(rows)
        while self._held >= GROUP:
            self._write(GROUP)

    def close(self) -> str:
        """Write the rest; the SHA-256 of the whole file."""
        if self._held:
            self._write(self._held)
        with writing(self._path):
            self._writer.close()
        return self._file.digest.hexdigest()

    def abandon(self) -> None:
        """Write nothing more, not even when the writer is thrown away."""
        self._file.dropped = True
        self._writer.close()

    def _write(self, count: int) -> None:
        parts = self._parts
        every = parts[0] if len(parts) == 1 else np.concatenate(parts)
        rows, rest = every[:count], every[count:]
        ends = np.cumsum(self._counts) - self._skipped
        taken = int(np.searchsorted(ends, count))  # sequences that end before the cut
        codes = np.searchsorted(ends, np.arange(count), side="right")
        begins = np.concatenate([[-self._skipped], ends[:-1]])
        columns = self._columns(rows, codes, np.arange(count) - begins[codes])
        with writing(self._path):
            self._writer.write_table(
                self._pa.table(columns, schema=self._schema), row_group_size=count
            )
        if taken < len(ends) and ends[taken] == count:
            taken += 1
        begin = int(begins[taken]) if taken < len(ends) else count
        self._skipped = count - begin
        self._names, self._counts = self._names[taken:], self._counts[taken:]
        self._parts, self._held = [rest] if len(rest) else [], len(rest)

    def _columns(self, rows: np.ndarray, codes: Any, steps: Any) -> dict[str, Any]:
        pa, layout = self._pa, self._layout
        last = int(codes[-1]) + 1
        found = {"sequence": _repeated(pa, codes, self._names[:last])}
        if layout.over_time:
            found["step"] = pa.array(steps.astype(np.int64))
        for k, name in enumerate(layout.columns):
            found[name] = pa.array(np.ascontiguousarray(rows[:, k]))
        if layout.classes:
            best = rows[:, : len(layout.classes)].argmax(axis=1)
            found["label"] = _repeated(pa, best, layout.classes)
        return found


@contextmanager
def writing_results(path: Path, layout: Layout) -> Iterator[Results]:
    """A file of answers, in place at the end when all went well."""
    with placing(path) as file:
        results = Results(file, path, layout)
        try:
            yield results
        except BaseException:
            results.abandon()
            raise


class _Hashed:
    """A file that is written from the beginning to the end, and its hash."""

    closed = dropped = False

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        if self.dropped:
            return len(data)
        self.digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Who opened the file closes it."""

    def writable(self) -> bool:
        return True


def _repeated(pa: Any, codes: np.ndarray, words: Sequence[str]) -> Any:
    indices = pa.array(codes.astype(np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(words))).cast("string")


def _percent(quantile: float) -> str:
    whole, dot, rest = f"{100 * quantile:.6g}".partition(".")
    return whole.zfill(2) + dot + rest
