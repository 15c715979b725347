"""Quantiles of a million scores in bounded memory.

Scores are counted in bins whose edges are powers of 1.02, the same ones everywhere, so
that counts are merged by adding them. A quantile is told to 1 % of itself. Source:
Masson, Rim & Lee 2019, DDSketch, PVLDB 12(12).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DamagedFile

BASE = 1.02
"""A bin ends at so many times its beginning: its middle is within 1 % of all in it."""
LAST = round(30 * math.log(10) / math.log(BASE))
"""Numbers below 1e-30 and above 1e30 are in the outermost bins: 7,000 bins at most."""


@dataclass(frozen=True)
class Sketch:
    """How many of some numbers, none of them negative, are in which bin.

    Arguments:
        counts: by bin; bin k ends at `BASE**k`.
        zeros, infinite, undefined: numbers that are 0, infinite, NaN.
        low, high: the smallest and the largest that is defined; inf and -inf for none.
    """

    counts: Counter[int] = field(default_factory=Counter)
    zeros: int = 0
    infinite: int = 0
    undefined: int = 0
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, values: np.ndarray) -> Sketch:
        """That of some numbers `(count,)`."""
        known = values[~np.isnan(values)]
        inside = known[(known > 0) & (known < np.inf)]
        bins = np.ceil(np.log(inside) / math.log(BASE)).clip(-LAST, LAST).astype(int)
        found, counts = np.unique(bins, return_counts=True)
        infinite = int(np.isposinf(known).sum())
        return cls(
            Counter(dict(zip(found.tolist(), counts.tolist(), strict=True))),
            # Rounding makes a distance of 0 a little negative.
            zeros=known.size - inside.size - infinite,
            infinite=infinite,
            undefined=values.size - known.size,
            low=max(0.0, float(known.min())) if known.size else math.inf,
            high=max(0.0, float(known.max())) if known.size else -math.inf,
        )

    def merge(self, other: Sketch) -> Sketch:
        """That of both."""
        return Sketch(
            self.counts + other.counts,
            self.zeros + other.zeros,
            self.infinite + other.infinite,
            self.undefined + other.undefined,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    @property
    def defined(self) -> int:
        """How many of the numbers are not NaN."""
        return self.zeros + self.counts.total() + self.infinite

    def quantile(self, share: float, upper: bool = False) -> float:
        """The number with this share of the others below it, within 1 %.

        It is one of the numbers, the lower one or else the `upper` one where the share
        falls between two: NumPy's methods "lower" and "higher". NaN where there is no
        number; the smallest and the largest one are exact.
        """
        if not self.defined:
            return math.nan
        place = share * (self.defined - 1)
        place = math.ceil(place - 1e-9) if upper else math.floor(place + 1e-9)
        if place <= 0 or place >= self.defined - 1:
            return self.low if place <= 0 else self.high
        passed = self.zeros
        if place < passed:
            return 0.0
        for k, count in sorted(self.counts.items()):
            passed += count
            if place < passed:
                middle = 2 * BASE**k / (1 + BASE)
                return min(max(middle, self.low), self.high)
        return math.inf

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """The middles of the bins with something in them, ascending, and how much.

        What is 0 or infinite is in none.
        """
        both = np.array(sorted(self.counts.items()), float).reshape(-1, 2)
        return 2 * BASE ** both[:, 0] / (1 + BASE), both[:, 1].astype(int)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        bins = sorted(self.counts)
        return {
            "bins": bins,
            "counts": [self.counts[k] for k in bins],
            "zeros": self.zeros,
            "infinite": self.infinite,
            "undefined": self.undefined,
            "range": [self.low, self.high] if self.defined else [],
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Sketch:
        """What `to_dict` wrote.

        Raises:
            DamagedFile: it wrote something else.
        """
        counts = Counter(dict(zip(given["bins"], given["counts"], strict=True)))
        others = [given[key] for key in ("zeros", "infinite", "undefined")]
        numbers = [*counts, *counts.values(), *others]
        if not all(type(number) is int for number in numbers):
            raise DamagedFile("counts of scores that are no whole numbers")
        low, high = map(float, given["range"] or (math.inf, -math.inf))
        return cls(counts, *others, low, high)
