"""The sequences that were predicted worst, whole, so that they can be drawn."""

from __future__ import annotations

import heapq
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DamagedFile, InputError
from ..formats.native import write_whole
from .rows import badness

MOST_STEPS = 2000
MOST_INPUTS = 4
"""So many features of the inputs are kept to be drawn."""


class Signal(NamedTuple):
    """What is drawn of an array over time.

    Arguments:
        steps: `(points,)`, ascending; where the sequence was thinned the beginning and
            the middle of each bin.
        values: `(points, columns)`; where it was thinned the smallest and the largest
            value of each bin, in the order in which they come.
    """

    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, values: Any) -> Signal:
        """That of an array `(time, columns)`, of 2,000 points at most."""
        # A view would keep all of the batch that it is a part of.
        values = np.array(values, float)
        time = len(values)
        if time <= MOST_STEPS:
            return cls(np.arange(time), values)
        # Halves of bins tell in which order the two extremes of a bin come.
        halves = np.arange(MOST_STEPS) * time // MOST_STEPS
        low, high = (f.reduceat(values, halves, axis=0) for f in (np.fmin, np.fmax))
        rising = high[1::2] >= high[::2]
        low, high = np.fmin(low[::2], low[1::2]), np.fmax(high[::2], high[1::2])
        pairs = np.where(rising, low, high), np.where(rising, high, low)
        return cls(halves, np.stack(pairs, axis=1).reshape(MOST_STEPS, -1))


class Entry(NamedTuple):
    """A sequence and its scores.

    Arguments:
        row: what `sequence_row` tells.
        signals: by name: `y`, `target`; `low` and `high`, the band of an ensemble;
            inputs as `x1`, `x2` and so on. Of classes over time `y` and `target` are
            numbers of classes from 0, and `y` has in a second column the score of the
            true class.
    """

    row: dict[str, Any]
    signals: dict[str, Signal]


@dataclass
class Worst:
    """The worst sequences of those that it was shown, whatever the order.

    Arguments:
        count: how many are kept.
        entries: those, the worst first; see `rows.badness` for what that is.
    """

    count: int = 10
    entries: tuple[Entry, ...] = ()

    def add(
        self, row: Mapping[str, Any], x: Any, y: Any, target: Any, band: Any = None
    ) -> None:
        """Show it a sequence.

        Arguments:
            row: what `sequence_row` says of it.
            x: the input `(time, features)`, or several as a tuple, list or dict.
            y, target: as `sequence_row` took them.
            band: two arrays like `y`, the lower and the upper edge of an ensemble.
        """
        place = badness(dict(row))
        full = len(self.entries) >= self.count
        if place is None or (
            full and (not self.entries or place >= _place(self.entries[-1]))
        ):
            return
        entry = Entry(dict(row), _signals(x, y, target, band, "accuracy" in row))
        self._keep((*self.entries, entry))

    def merge(self, other: Worst) -> Worst:
        """Those of both; ties are broken by name."""
        found = Worst(max(self.count, other.count))
        found._keep((*self.entries, *other.entries))
        return found

    def _keep(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(heapq.nsmallest(self.count, entries, key=_place))

    def save(self, path: str | Path) -> None:
        """Write them as one .npz file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        arrays: dict[str, np.ndarray] = {}
        rows = []
        for k, (row, signals) in enumerate(self.entries):
            rows.append({"row": row, "signals": list(signals)})
            for name, (steps, values) in signals.items():
                arrays[f"{k}/{name}/steps"], arrays[f"{k}/{name}/values"] = (
                    steps,
                    values,
                )
        about = json.dumps({"count": self.count, "entries": rows})
        arrays["about"] = np.array(about)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Worst:
        """Read what `save` wrote.

        Raises:
            InputError: the file cannot be read.
            DamagedFile: it is not what `save` wrote.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(
                "the file cannot be read", file=path, found=error.strerror or error
            ) from None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                entries = [
                    _entry(file, k, one) for k, one in enumerate(about["entries"])
                ]
                return cls(int(about["count"]), tuple(entries))
        except Exception as error:  # zipfile and NumPy raise a dozen kinds
            raise DamagedFile("no worst sequences", file=path, found=error) from None


def _entry(file: Mapping[str, Any], k: int, about: Mapping[str, Any]) -> Entry:
    def signal(name: str) -> Signal:
        return Signal(*(file[f"{k}/{name}/{part}"] for part in Signal._fields))

    return Entry(about["row"], {name: signal(name) for name in about["signals"]})


def _place(entry: Entry) -> tuple[int, float, str]:
    return badness(entry.row) or (9, math.inf, "")


def _signals(
    x: Any, y: Any, target: Any, band: Any, classes: bool
) -> dict[str, Signal]:
    y, target = (np.atleast_2d(np.asarray(a, float)) for a in (y, target))
    if classes and len(y) > 1:
        y, target = _labels(y, target)
    found = {"y": Signal.of(y), "target": Signal.of(target)}
    if band is not None and not (classes and len(y) > 1):
        edges = (np.atleast_2d(np.asarray(edge, float)) for edge in band)
        found |= dict(zip(("low", "high"), map(Signal.of, edges), strict=True))
    left = MOST_INPUTS
    for k, one in enumerate(_inputs(x), 1):
        # Images and single values have no curve.
        if np.ndim(one) == 2 and left:
            found[f"x{k}"] = Signal.of(np.asarray(one)[:, :left])
            left -= found[f"x{k}"].values.shape[1]
    return found


def _labels(y: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes by number, NaN for none; beside the predicted the score of the true."""
    known = (target >= 0).all(axis=1) & (target > 0).any(axis=1)
    silent = np.isnan(y).any(axis=1)
    true = target.argmax(axis=1)
    score = np.where(known, y[np.arange(len(y)), true], np.nan)
    taken = np.where(silent, np.nan, y.argmax(axis=1))
    return np.stack([taken, score], axis=1), np.where(known, true, np.nan)[:, None]


def _inputs(x: Any) -> Iterable[Any]:
    if isinstance(x, Mapping):
        return x.values()
    return x if isinstance(x, list | tuple) else () if x is None else (x,)
