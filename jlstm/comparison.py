"""Two arrays of numbers over time: how far apart, where, since when."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

HALF_LIMIT = 0.005
"""A difference above this part of the signal is not called one of half precision."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One array of numbers compared with its recorded counterpart.

    Steps count from 0 in fields and from 1 in words.

    Arguments:
        name: the output, "fc[2]" for one of several columns, or the layer.
        max_abs: largest absolute difference; infinite where either side is not finite.
        max_rel: that divided by the largest recorded value.
        step: where the difference is largest, measured in tolerances.
        tolerance: what is accepted there.
        excess: the difference there divided by that; in agreement it is at most 1.
        first_bad_step: the first step with a difference above its tolerance.
        growth: largest difference of the last quarter of the steps, divided by that of
            the first quarter; None for fewer than 8 steps.
        level: the finest precision whose rounding explains every difference, or None.
        nonfinite: how many values are NaN or infinite, on either side.
    """

    name: str
    max_abs: float
    max_rel: float
    step: int
    tolerance: float
    excess: float
    first_bad_step: int | None
    growth: float | None
    level: str | None
    nonfinite: int

    @property
    def ok(self) -> bool:
        """Whether every difference is within its tolerance."""
        return self.first_bad_step is None


def compare(
    name: str,
    ours: np.ndarray,
    recorded: np.ndarray,
    tolerance: np.ndarray,
    levels: dict[str, np.ndarray],
) -> Difference:
    """Compare two arrays `(time, columns)`.

    Arguments:
        name: what is compared.
        ours, recorded: the numbers.
        tolerance: what is accepted, of the same shape.
        levels: what rounding explains in each precision, the finest first.
    """
    finite = np.isfinite(ours) & np.isfinite(recorded)
    with np.errstate(invalid="ignore"):
        error = np.where(finite, abs(ours - recorded), np.inf)
        # A tolerance that is not finite excuses nothing.
        excess = np.where(np.isfinite(error + tolerance), error / tolerance, np.inf)
    step, column = np.unravel_index(np.argmax(excess), excess.shape)
    bad = np.flatnonzero((excess > 1).any(axis=1))
    scale = abs(recorded[np.isfinite(recorded)]).max(initial=0.0)
    largest = float(error.max())
    levels = levels | {"half": np.minimum(levels["half"], HALF_LIMIT * scale)}
    return Difference(
        name=name,
        max_abs=largest,
        max_rel=largest / scale if scale else largest and math.inf,
        step=int(step),
        tolerance=float(tolerance[step, column]),
        excess=float(excess[step, column]),
        first_bad_step=int(bad[0]) if bad.size else None,
        growth=_growth(error.max(axis=1)),
        level=next((k for k, limit in levels.items() if _within(error, limit)), None),
        nonfinite=int(np.sum(~finite)),
    )


def _within(error: np.ndarray, limit: np.ndarray) -> bool:
    return bool(np.all((error <= limit) & np.isfinite(error)))


def _growth(error: np.ndarray) -> float | None:
    quarter = len(error) // 4
    if quarter < 2:
        return None
    first, last = error[:quarter].max(), error[-quarter:].max()
    if not first:
        return math.inf if last else 1.0
    return float(last / first) if math.isfinite(first) else None
