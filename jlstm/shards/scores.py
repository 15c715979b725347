"""Errors of the answers, where there are targets: the one place that counts them.

Of each shard `scores/SHARD.parquet` holds a row a sequence and `scores/SHARD.npz` the
worst of them; its tally goes into its record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..formats.native import placing, writing
from .kinds import Item
from .manifest import Evaluation, Folder
from .results import Layout, require_pyarrow

ROWS = 1 << 14
"""Sequences of a row group of `scores/SHARD.parquet`."""
TALLY = "tally"
"""Where the tally of a shard stands in its record."""


class Scores:
    """The errors of one shard, as its sequences come.

    Arguments:
        folder: of the run.
        shard: its name.
        layout: the columns of the answers.
        worst: how many sequences are kept to be drawn.
    """

    def __init__(self, folder: Folder, shard: str, layout: Layout, worst: int) -> None:
        self._folder, self._shard, self._layout = folder, shard, layout
        self._tally: Any = None
        self._worst: Any = None
        self._count = worst
        self._rows: list[dict[str, Any]] = []
        self._open = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> Scores:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, items: list[Item], found: np.ndarray, counts: list[int]) -> None:
        """Score some sequences.

        Arguments:
            items: the sequences, with their targets.
            found: the rows of their answers, one after the other.
            counts: how many are of each.
        """
        if not items or items[0].y is None:
            return
        from ..tally import Worst, tallied

        ends = np.cumsum(counts).tolist()
        spans = [slice(b - n, b) for b, n in zip(ends, counts, strict=True)]
        mean, *bands = self._parts(found)
        layout = self._layout
        ys = [mean[s] if layout.over_time else mean[s.start] for s in spans]
        tally, rows = tallied(
            [item.name for item in items], ys, [item.y for item in items],
            bool(layout.classes), layout.outputs,
        )  # fmt: skip
        self._tally = tally if self._tally is None else self._tally.merge(tally)
        self._worst = self._worst or Worst(self._count)
        for item, y, row, span in zip(items, ys, rows, spans, strict=True):
            band = [b[span] for b in bands] if layout.over_time and bands else None
            self._worst.add(row, item.x, y, item.y, band)
        self._rows += rows
        while len(self._rows) >= ROWS:
            self._write(ROWS)

    def save(self) -> dict[str, Any] | None:
        """Put the files in place; the tally as it goes into the record."""
        if self._tally is None:
            return None
        if self._rows:
            self._write(len(self._rows))
        with writing(self._path(".parquet")):
            self._writer.close()
        self._open.close()
        self._worst.save(self._path(".npz"))
        return self._tally.to_dict()

    def _parts(self, found: np.ndarray) -> list[np.ndarray]:
        """The means and, of an ensemble, the lowest and the highest quantile."""
        layout, width = self._layout, len(self._layout.outputs)
        parts = [found[:, :width]]
        if layout.quantiles and len(layout.quantiles) > 1:
            order = np.argsort(layout.quantiles)
            starts = [(2 + int(k)) * width for k in (order[0], order[-1])]
            parts += [found[:, a : a + width] for a in starts]
        return parts

    def _write(self, count: int) -> None:
        pa = require_pyarrow()
        some, self._rows = self._rows[:count], self._rows[count:]
        table = pa.Table.from_pylist(some)
        if self._writer is None:
            file = self._open.enter_context(placing(self._path(".parquet")))
            self._writer = pa.parquet.ParquetWriter(file, table.schema)
            # Where that fails there is an error already, and nothing is kept.
            self._open.enter_context(suppress(OSError))
            self._open.callback(self._writer.close)
        with writing(self._path(".parquet")):
            self._writer.write_table(table)

    def _path(self, suffix: str) -> Path:
        return self._folder.score(self._shard, suffix)


def pooled(folder: Folder, evaluation: Evaluation) -> tuple[Any, Any] | None:
    """The tally and the worst sequences of all shards; None where none is scored."""
    from ..tally import Tally, Worst

    tally, worst = None, Worst(evaluation.options.worst)
    for record in folder.records(evaluation):
        if record[TALLY] is not None:
            one = Tally.from_dict(record[TALLY])
            tally = one if tally is None else tally.merge(one)
            worst = worst.merge(Worst.load(folder.score(record["shard"], ".npz")))
    return None if tally is None else (tally, worst)


def rows(folder: Folder, evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """The scores of every sequence, in the order of the shards."""
    parquet = require_pyarrow().parquet
    for record in folder.records(evaluation):
        path = folder.score(record["shard"], ".parquet")
        if record[TALLY] is not None:
            with parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=ROWS):
                    yield from batch.to_pylist()


def report(
    folder: Folder, evaluation: Evaluation, summary: dict[str, Any], layout: Layout
) -> dict[str, Any] | None:
    """The measures over all sequences, `metrics.json`, pictures and `report.html`.

    None where nothing had a target; a measure that is not defined is None.
    """
    if (found := pooled(folder, evaluation)) is None:
        return None
    from ..report.evaluation import without_nan, write_report

    tally, worst = found
    outline = summary | msgspec.to_builtins(evaluation)
    outline |= {
        "shards": summary["shards"],
        "title": f"Evaluation of {Path(evaluation.source).name}",
        "data": evaluation.source,
        "outputs": list(layout.outputs),
        "seconds": summary["seconds_of_work"],
        "table": "scores/*.parquet",
    }
    write_report(folder.out, outline, tally, worst, rows(folder, evaluation))
    return without_nan(tally.summary(layout.outputs)["all"])
