"""How far answers are from the exact ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LIMIT = 1e-4
"""An error beyond it is no rounding: the contestant computes something else."""


def error(
    kind: str, found: Mapping[str, Any], exact: Mapping[str, np.ndarray]
) -> float:
    """The error of a contestant.

    Of predictions the largest absolute difference; of training the largest difference
    of a gradient, as a share of the largest number in it, for the worst array.
    Infinite where something is missing, of another shape or no number.
    """
    if set(found) != set(exact):
        return np.inf
    worst = 0.0
    for name, right in exact.items():
        given = np.asarray(found[name], float)
        if given.shape != right.shape or not np.all(np.isfinite(given)):
            return np.inf
        off = np.abs(given - right).max(initial=0.0)
        scale = np.abs(right).max(initial=0.0) if kind == "training" else 1.0
        worst = max(worst, float(off / scale if scale else np.where(off, np.inf, 0.0)))
    return worst
