"""What is known of scores of classes once they are gone: counts that can be merged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .moments import segments


class Hits(NamedTuple):
    """Sums of sequences, arrays `(sequences,)`; plain sums merge them.

    Arguments:
        scored: how many steps have a class.
        weight: the sum of their weights.
        right: that of those whose highest score is that of the true class.
        entropy: the weighted sum of the cross-entropies, in nats.
        silent: steps with a class and a score that is NaN, which are wrong.
        confusion: `(classes, classes + 1)` of all sequences together: how often class
            `row` was taken for class `column`; the last column is for scores of NaN.
    """

    scored: np.ndarray
    weight: np.ndarray
    right: np.ndarray
    entropy: np.ndarray
    silent: np.ndarray
    confusion: np.ndarray

    def measures(self) -> dict[str, np.ndarray]:
        """Accuracy and cross-entropy, NaN where nothing is scored."""
        with np.errstate(all="ignore"):
            return {
                "accuracy": self.right / self.weight,
                "cross_entropy": self.entropy / self.weight,
            }

    def merged(self) -> Hits:
        """One of all sequences: arrays `()`."""
        return Hits(*(a.sum(axis=-1) for a in self[:5]), self.confusion)


def hits(
    y: np.ndarray, target: np.ndarray, weights: np.ndarray, lengths: np.ndarray,
    eps: float,
) -> Hits:  # fmt: skip
    """The sums of sequences that lie one after the other.

    A step of which any target is NaN or all are 0 has no class and is left out; it
    weighs as much as the largest weight of its classes.

    Arguments:
        y, target, weights: `(steps, classes)` of all sequences, targets one-hot.
        lengths: the steps of each sequence; may be 0.
        eps: scores below it count as it in the logarithm.
    """
    weight = weights.max(axis=1)
    # A comparison with NaN is False.
    known = (target >= 0).all(axis=1) & (target > 0).any(axis=1) & (weight > 0)
    weight = np.where(known, weight, 0.0)
    silent = known & np.isnan(y).any(axis=1)
    taken, true = y.argmax(axis=1), target.argmax(axis=1)
    count = target.shape[1]
    taken = np.where(silent, count, taken)
    entropy = -np.sum(target * np.log(np.maximum(y, eps)), axis=1)
    rows = np.stack([
        known, weight, weight * (taken == true),
        weight * np.where(known, entropy, 0.0), silent,
    ])  # fmt: skip
    pairs = (true * (count + 1) + taken)[known]
    confusion = np.bincount(pairs, minlength=count * (count + 1))
    return Hits(
        *segments(np.add, rows, lengths, 0.0),
        confusion=confusion.reshape(count, count + 1),
    )
