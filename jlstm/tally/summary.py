"""All figures of a tally, as plain numbers by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..hits import Hits
from .rows import PERFECT
from .sketch import Sketch

if TYPE_CHECKING:
    from .tallying import Tally

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def summarized(tally: Tally, names: list[str]) -> dict[str, Any]:
    """What `Tally.summary` returns."""
    counts = {
        "sequences": tally.sequences,
        "sequences_scored": tally.scored,
        "sequences_not_finite": tally.broken,
        "steps": tally.steps,
    }
    *each_spread, spread = (
        {key: _quantiles(key, sketches[k]) for key, sketches in tally.scores.items()}
        for k in (*range(len(tally.density)), -1)
    )
    if isinstance(tally.sums, Hits):
        return counts | _of_classes(tally.sums, names) | {"sequences_all": spread}
    each = tally.sums.by_output()
    return counts | {
        "scored": int(tally.sums.weight.sum()),
        "all": {key: float(value) for key, value in tally.sums.over_all().items()},
        "sequences_all": spread,
        "outputs": [
            {"name": name, "scored": int(tally.sums.weight[k])}
            | {key: float(values[k]) for key, values in each.items()}
            | {"sequences": each_spread[k]}
            for k, name in enumerate(names)
        ],
    }


def _quantiles(key: str, sketch: Sketch) -> dict[str, Any]:
    def value(share: float) -> float:
        if key not in PERFECT:
            return sketch.quantile(share)
        return PERFECT[key] - sketch.quantile(1 - share, upper=True)

    found: dict[str, Any] = {"min": value(0.0)}
    found |= {name: value(share) for name, share in QUANTILES.items()}
    found |= {"max": value(1.0), "defined": sketch.defined}
    return found | {"undefined": sketch.undefined}


def _of_classes(sums: Hits, names: list[str]) -> dict[str, Any]:
    whole = {key: float(value) for key, value in sums.measures().items()}
    right, true, taken = (
        np.diag(sums.confusion), sums.confusion.sum(axis=1), sums.confusion.sum(axis=0),
    )  # fmt: skip

    def share(some: int, all_: int) -> float:
        return some / all_ if all_ else math.nan

    return {
        "scored": int(sums.scored),
        "steps_not_finite": int(sums.silent),
        "all": whole,
        "classes": [
            {
                "name": name,
                "scored": int(true[k]),
                "recall": share(int(right[k]), int(true[k])),
                "precision": share(int(right[k]), int(taken[k])),
            }
            for k, name in enumerate(names)
        ],
        "confusion": sums.confusion[:, :-1].tolist(),
    }
