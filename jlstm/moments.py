"""What is known of predictions and targets once they are gone: sums that can be merged.

A measure is a function of a few sums over all values. They are taken about centres,
as plain sums of squares lose all digits where the mean is large; parts whose centres
differ are merged by Chan, Golub & LeVeque 1983, Algorithms for computing the sample
variance, The American Statistician 37(3), here for any number of parts at once:

    d_k = c_k - C,   M = sum_k (M_k + w_k d_k^2) - (sum_k w_k d_k)^2 / sum_k w_k

A centre is a float and an offset from it, so that the mean has twice as many digits as
its centre: the distance between two means of 1e6 is known as well as that of two of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Sums of each output, arrays `(outputs,)`, or `(outputs, parts)`.

    Arguments:
        weight: the sum of the weights; without weights how many values are scored.
        y_center, y_offset: their sum is the mean of the predictions.
        t_center, t_offset: that of the targets.
        yy, tt, ty: second moments about those means, and the co-moment.
        squared, absolute: the sums of (y - t)^2 and |y - t|.
        y_low, y_high, t_low, t_high: extremes; inf and -inf where nothing is scored.
    """

    weight: np.ndarray
    y_center: np.ndarray
    y_offset: np.ndarray
    t_center: np.ndarray
    t_offset: np.ndarray
    yy: np.ndarray
    tt: np.ndarray
    ty: np.ndarray
    squared: np.ndarray
    absolute: np.ndarray
    y_low: np.ndarray
    y_high: np.ndarray
    t_low: np.ndarray
    t_high: np.ndarray

    @property
    def constant(self) -> np.ndarray:
        """Whether the target is; not by its variance, which rounding keeps from 0."""
        return self.t_low == self.t_high

    def by_output(self) -> dict[str, np.ndarray]:
        """Every measure of each output, NaN where it is not defined."""
        with np.errstate(all="ignore"):
            return {
                name: np.where(self.weight > 0, measure(self), np.nan)
                for name, measure in MEASURES.items()
            }

    def over_all(self) -> dict[str, np.ndarray]:
        """Every measure of all outputs together: the first axis is gone.

        Those in the unit of the target pool all values; the others are means over the
        outputs of which something is scored.
        """
        some = self.weight > 0
        whole = Moments(*(np.sum(a, axis=0, where=some) for a in self[:10]), *self[10:])
        with np.errstate(all="ignore"):
            return {
                name: (
                    np.where(some.any(axis=0), MEASURES[name](whole), np.nan)
                    if name in POOLED
                    else np.sum(each, axis=0, where=some) / np.sum(some, axis=0)
                )
                for name, each in self.by_output().items()
            }


def moments(
    y: np.ndarray, target: np.ndarray, weights: np.ndarray, lengths: np.ndarray
) -> Moments:
    """The sums of sequences that lie one after the other: `(outputs, sequences)`.

    Arguments:
        y, target, weights: `(steps, outputs)` of all sequences. Targets that are NaN
            and values of weight 0 are left out.
        lengths: the steps of each sequence; may be 0.
    """
    scored = ((weights > 0) & ~np.isnan(target)).T
    # In rows of time: NumPy sums those pairwise.
    w, y, t = (np.where(scored, a.T, 0.0) for a in (weights, y, target))
    weight = _sums(w, lengths)
    some = np.where(weight > 0, weight, 1)
    with np.errstate(all="ignore"):
        y_center, t_center = (_sums(w * a, lengths) / some for a in (y, t))
        error = y - t
        y_low, y_high = _extremes(y, scored, lengths)
        t_low, t_high = _extremes(t, scored, lengths)
        # What is left out is multiplied by 0 and must not be far away.
        y, t = (
            np.where(scored, a - np.repeat(c, lengths, axis=1), 0.0)
            for a, c in ((y, y_center), (t, t_center))
        )
        wy, wt = w * y, w * t
        y_sum, t_sum = _sums(wy, lengths), _sums(wt, lengths)
        y_offset, t_offset = y_sum / some, t_sum / some
        return Moments(
            weight, y_center, y_offset, t_center, t_offset,
            _sums(wy * y, lengths) - y_sum * y_offset,
            _sums(wt * t, lengths) - t_sum * t_offset,
            _sums(wy * t, lengths) - y_sum * t_offset,
            _sums(w * error**2, lengths), _sums(w * abs(error), lengths),
            y_low, y_high, t_low, t_high,
        )  # fmt: skip


def merged(parts: Moments) -> Moments:
    """One of all: the last axis is gone. The order of the parts does not matter."""
    weight = parts.weight.sum(axis=-1)
    some = np.where(weight > 0, weight, 1)
    with np.errstate(all="ignore"):
        y_center, y_away = _about(parts.weight, some, parts.y_center, parts.y_offset)
        t_center, t_away = _about(parts.weight, some, parts.t_center, parts.t_offset)
        y_each, t_each = parts.weight * y_away, parts.weight * t_away
        y_sum, t_sum = y_each.sum(axis=-1), t_each.sum(axis=-1)
        y_offset, t_offset = y_sum / some, t_sum / some
        return Moments(
            weight, y_center, y_offset, t_center, t_offset,
            (parts.yy + y_each * y_away).sum(axis=-1) - y_sum * y_offset,
            (parts.tt + t_each * t_away).sum(axis=-1) - t_sum * t_offset,
            (parts.ty + y_each * t_away).sum(axis=-1) - y_sum * t_offset,
            parts.squared.sum(axis=-1), parts.absolute.sum(axis=-1),
            parts.y_low.min(axis=-1), parts.y_high.max(axis=-1),
            parts.t_low.min(axis=-1), parts.t_high.max(axis=-1),
        )  # fmt: skip


def _about(weight: Any, total: Any, center: Any, offset: Any) -> tuple[Any, Any]:
    """A centre for all parts, and how far the mean of each is from it."""
    common = (weight * center).sum(axis=-1) / total
    away = (center - common[..., None]) + offset
    return common, np.where(weight > 0, away, 0.0)


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return segments(np.add, values, lengths, 0.0)


def _extremes(
    values: np.ndarray, scored: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    low = np.where(scored, values, np.inf)
    high = np.where(scored, values, -np.inf)
    return (
        segments(np.minimum, low, lengths, np.inf),
        segments(np.maximum, high, lengths, -np.inf),
    )


def segments(
    function: np.ufunc, values: np.ndarray, lengths: np.ndarray, empty: float
) -> np.ndarray:
    """A reduction of each sequence in rows `(rows, steps)`: `(rows, sequences)`."""
    found = np.full((len(values), len(lengths)), empty)
    kept = np.flatnonzero(lengths)
    if kept.size:
        # reduceat takes an empty sequence for the first step of the next.
        starts = (np.cumsum(lengths) - lengths)[kept]
        found[:, kept] = function.reduceat(values, starts, axis=1)
    return found


# --- measures -------------------------------------------------------------------------


def _rmse(m: Moments) -> np.ndarray:
    return np.sqrt(m.squared / m.weight)


def _mae(m: Moments) -> np.ndarray:
    return m.absolute / m.weight


def _nrmse(m: Moments) -> np.ndarray:
    return np.where(m.constant, np.nan, np.sqrt(m.squared / m.tt))


def _nse(m: Moments) -> np.ndarray:
    return np.where(m.constant, np.nan, 1 - m.squared / m.tt)


def _fit(m: Moments) -> np.ndarray:
    return 100 * (1 - _nrmse(m))


def _kge(m: Moments) -> np.ndarray:
    center_y, center = m.y_center + m.y_offset, m.t_center + m.t_offset
    # A mean of 0 is one up to the rounding of the values that cancel in it.
    zero = abs(center) <= ZERO * np.maximum(abs(m.t_low), abs(m.t_high))
    undefined = m.constant | zero | (m.y_low == m.y_high)
    spread, spread_y = np.sqrt(m.tt), np.sqrt(m.yy)
    r, alpha, beta = m.ty / (spread * spread_y), spread_y / spread, center_y / center
    distance = np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2)
    return np.where(undefined, np.nan, 1 - distance)


ZERO = 2.0**-50
MEASURES: dict[str, Callable[[Moments], np.ndarray]] = {
    "rmse": _rmse,
    "nrmse": _nrmse,
    "mae": _mae,
    "r2": _nse,
    "nse": _nse,
    "kge": _kge,
    "fit": _fit,
}
"""Every measure of numbers, for each output."""
POOLED = ("rmse", "mae")
"""Measures in the unit of the target: over all outputs they are those of all values."""
