"""Recordings, what two networks predict for them, and how good that is."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from .config import Data
from .dataset import Recording, recorded
from .metrics import summary
from .network import Network, Origin, predict


class Prediction(NamedTuple):
    """A recording and what was predicted for it.

    Arguments:
        recording: what went in and what should have come out; its weights are 0 where
            nothing is scored, the washout included.
        before: the answer of the imported network, in the shape and units of
            `recording.y`.
        after: the answer of the network that is returned.
    """

    recording: Recording
    before: np.ndarray
    after: np.ndarray

    @property
    def target(self) -> np.ndarray:
        """What should have come out; NaN where nothing is scored."""
        return np.where(self.recording.weights > 0, self.recording.y, np.nan)


def predicted(
    before: Network, after: Network, part: list[Recording], data: Data
) -> tuple[Prediction, ...]:
    """What both networks answer to whole recordings, in the units of those.

    The first `data.washout` steps are not scored, where there are more.
    """
    washout = data.washout
    both = [net.replace(origin=Origin(), saved=None) for net in (before, after)]
    found = []
    for one in part:
        weights = one.weights.copy()
        if not one.answers_once and len(weights) > washout:
            weights[:washout] = 0
        answers = [np.asarray(predict(net, one.x)) for net in both]
        whole = one._replace(y=recorded(one.y, data), weights=weights)
        found.append(Prediction(whole, *(recorded(y, data) for y in answers)))
    return tuple(found)


def measured(
    some: tuple[Prediction, ...], which: Literal["before", "after"], classes: bool
) -> dict[str, float]:
    """Metrics of all these predictions together."""
    ys = [getattr(one, which) for one in some]
    return summary(ys, [one.target for one in some], classes=classes)


def confusion(some: tuple[Prediction, ...], which: str, count: int) -> np.ndarray:
    """How often class `row` was taken for class `column`: `(classes, classes)`.

    Steps without a class are left out, and so are scores that are NaN.
    """
    found = np.zeros((count, count), int)
    for one in some:
        target, scores = np.atleast_2d(one.target), np.atleast_2d(getattr(one, which))
        known = (target >= 0).all(axis=1) & (target > 0).any(axis=1)
        known &= ~np.isnan(scores).any(axis=1)
        pair = target[known].argmax(axis=1), scores[known].argmax(axis=1)
        np.add.at(found, pair, 1)
    return found


def units_hint(some: tuple[Prediction, ...], data: Data) -> str:
    """Words for targets that are what the imported network answers, in other units.

    So it is where `target = before * a + b` leaves less than a third of the error, with
    a correlation above 0.9, for every output. Empty otherwise. What `data` says of
    units is in the answer.
    """
    y, target = (
        np.concatenate([np.atleast_2d(a) for a in arrays]).astype(float)
        for arrays in ([p.before for p in some], [p.target for p in some])
    )
    fits = []
    for mine, theirs in zip(y.T, target.T, strict=True):
        seen = np.isfinite(mine) & np.isfinite(theirs)
        mine, theirs = mine[seen], theirs[seen]
        if mine.size < 8 or not (np.ptp(mine) and np.ptp(theirs)):
            return ""
        scale, offset = np.polyfit(mine, theirs, 1)
        left, error = theirs - scale * mine - offset, theirs - mine
        if (
            left.std() > 0.4 * theirs.std()
            or left.std() > np.sqrt(np.mean(error**2)) / 3
        ):
            return ""
        fits.append((scale, offset))
    zero, one = (recorded(np.full(len(fits), v), data) for v in (0.0, 1.0))
    slopes, shifts = np.array(fits).T
    known = slopes * (one - zero), slopes * zero + shifts
    # An offset may be much larger than what varies: it needs more digits.
    scales, offsets = (", ".join(f"{v:.{n}g}" for v in column)
                       for column, n in zip(known, (6, 10), strict=True))  # fmt: skip
    return (
        "targets look like the output of the imported network in other units: try "
        f"data.target_scale = [{scales}], data.target_offset = [{offsets}]"
    )
