"""Predicted against target as counts in squares: a picture of any number of values.

The squares are those of a grid of width 2^level through 0, the same grid everywhere;
four of one level are one of the next. The level is the finest at which at most `MOST`
squares have something in them. It grows with the data, so that parts, whatever they
are, are merged to what all data would have given.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DamagedFile

MOST = 2048
PER_SEQUENCE = 128
"""Of longer sequences so many steps are counted, evenly spaced."""
BITS = 30
"""Squares on each side of 0, as a power of 2: an index is below 2^30."""
EMPTY = -1100
"""The level of zeros, which are in one square of any width."""
FAR = 2.0**20


@dataclass(frozen=True)
class Density:
    """How many pairs of a target and its prediction are in which square.

    Arguments:
        level: a square is 2^level wide.
        cells: `(squares, 2)`: square `(i, j)` begins at target `i 2^level` and
            prediction `j 2^level`.
        counts: `(squares,)`.
        beyond: how many pairs are in no square: the prediction is not finite, or more
            than 2^20 times as large as all targets of its sequence.
    """

    level: int
    cells: np.ndarray
    counts: np.ndarray
    beyond: int = 0

    @classmethod
    def of(cls, target: np.ndarray, y: np.ndarray, largest: np.ndarray) -> Density:
        """That of values `(count,)`.

        Arguments:
            target, y: the values.
            largest: by value the largest target of its sequence, in magnitude.
        """
        given = ~np.isnan(target)
        bound = np.where(largest > 0, FAR * largest, np.inf)
        with np.errstate(invalid="ignore"):
            kept = given & np.isfinite(y) & np.isfinite(target) & (abs(y) <= bound)
        pairs = np.stack([target[kept], y[kept]], axis=1)
        extent = abs(pairs).max(initial=0.0)
        level = int(np.frexp(extent)[1]) - BITS if extent else EMPTY
        cells = np.floor(np.ldexp(pairs, -level)).astype(np.int64)
        beyond = int(given.sum() - kept.sum())
        return _thinned(level, cells, np.ones(len(cells), np.int64), beyond)

    def merge(self, other: Density) -> Density:
        """That of both."""
        level = max(self.level, other.level)
        return _thinned(
            level,
            np.concatenate([_wider(one, level) for one in (self, other)]),
            np.concatenate([self.counts, other.counts]),
            self.beyond + other.beyond,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "level": self.level,
            "target": self.cells[:, 0].tolist(),
            "predicted": self.cells[:, 1].tolist(),
            "counts": self.counts.tolist(),
            "beyond": self.beyond,
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Density:
        """What `to_dict` wrote.

        Raises:
            DamagedFile: it wrote something else.
        """
        cells = np.array([given["target"], given["predicted"]]).T
        counts = np.array(given["counts"])
        if counts.size == 0:
            cells, counts = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
        if cells.shape != (*counts.shape, 2) or {
            a.dtype.kind for a in (cells, counts)
        } != {"i"}:
            raise DamagedFile("squares of a density that are none")
        return cls(int(given["level"]), cells, counts, int(given["beyond"]))


def _wider(one: Density, level: int) -> np.ndarray:
    # Beyond 63 a shift is undefined; all indices are 0 or -1 long before.
    return one.cells >> min(level - one.level, 62)


def _thinned(level: int, cells: np.ndarray, counts: np.ndarray, beyond: int) -> Density:
    """The finest grid from this level on that has few enough squares."""
    more = 0
    if len(cells) > MOST:
        more = bisect_left(
            range(BITS + 1), True, key=lambda k: _distinct(cells >> k) <= MOST
        )
    keys, place = np.unique(_keys(cells >> more), return_inverse=True)
    total = np.bincount(place, counts, keys.size).astype(np.int64)
    level = level + more if keys.size else EMPTY
    cells = np.stack([keys >> 32, (keys & 0xFFFFFFFF) - 2**31], axis=1)
    return Density(level, cells, total, beyond)


def _distinct(cells: np.ndarray) -> int:
    # np.unique takes ten times as long: it hashes.
    keys = np.sort(_keys(cells))
    return 1 + int(np.count_nonzero(keys[1:] != keys[:-1]))


def _keys(cells: np.ndarray) -> np.ndarray:
    """Both indices of a square as one number."""
    return cells[:, 0] * 2**32 + (cells[:, 1] + 2**31)
