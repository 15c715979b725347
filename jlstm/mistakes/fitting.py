"""Numbers of a mistake that must be fitted: slopes, offsets, factors.

Levenberg-Marquardt from several starting points at once; derivatives are differences,
in double precision, of runs that go through the engine in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .bench import evaluate
from .evidence import Observation, apply_after
from .trial import Mistake, Trial

ITERATIONS = 25
NUDGE = 1e-6

Make = Callable[[int, np.ndarray], tuple[Mistake, ...]]
"""The mistakes of problem k with these parameters."""
Compose = Callable[[Sequence[tuple[Mistake, ...]]], list[Trial]]


def residuals(
    compose: Compose, candidates: Sequence[tuple[Mistake, ...]], observed: Observation,
    upto: int | None, *, free_output: bool,
) -> np.ndarray:  # fmt: skip
    """Differences in units of the signal, a row a candidate.

    With `free_output` the outputs may be scaled and shifted: the best line is taken
    out first.
    """
    trials = compose(candidates)
    found = evaluate(trials, observed.names, upto=upto)
    part = observed.first(len(observed.values), upto)
    scale = part.scale
    rows = []
    for trial, sequences in zip(trials, found, strict=True):
        row = []
        for name in part.names:
            mine = [
                apply_after(trial, v, part.outputs)[0][name] / scale[name]
                for v in sequences
            ]
            theirs = [v[name] / scale[name] for v in part.values]
            y, o = np.concatenate(mine).ravel(), np.concatenate(theirs).ravel()
            if free_output and name in part.outputs and np.all(np.isfinite(y)):
                basis = np.stack([y, np.ones_like(y)], 1)
                fitted, *_ = np.linalg.lstsq(basis, o, rcond=None)
                y = basis @ fitted
            gap = y - o
            if any(getattr(function, "partial", False) for function in trial.after):
                gap = np.where(np.isnan(gap), 0, gap)  # rows that are not compared
            row.append(gap)
        rows.append(np.concatenate(row))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.stack(rows), nan=1e3, posinf=1e3, neginf=-1e3)


def fit(
    compose: Compose,
    make: Make,
    starts: np.ndarray,
    observed: Observation,
    *,
    upto: int | None = None,
    free_output: bool = False,
    iterations: int = ITERATIONS,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the parameters of a mistake from each of the starting points.

    Arguments:
        compose: mistakes to trials.
        make: the mistakes of problem k with parameters `(K,)`.
        starts: `(N, K)`, one row a problem.
        observed: what to come near to.
        upto: only the first steps.
        free_output: see `residuals`.
        iterations: at most so many.

    Returns:
        parameters `(N, K)` and the root mean square of what is left `(N,)`.
    """
    points = np.array(starts, float)
    count, width = points.shape
    damping = np.full(count, 1e-3)

    def run(rows: np.ndarray, each: int = 1) -> np.ndarray:
        candidates = [make(k // each, row) for k, row in enumerate(rows)]
        return residuals(compose, candidates, observed, upto, free_output=free_output)

    now = run(points)
    cost = (now**2).mean(1)
    for _ in range(iterations):
        nudges = NUDGE * np.maximum(np.abs(points), 1e-2)
        near = np.repeat(points[:, None], width, 1)
        near[:, range(width), range(width)] += nudges
        slopes = run(near.reshape(-1, width), width).reshape(count, width, -1)
        slopes = (slopes - now[:, None]) / nudges[:, :, None]
        proposed = points.copy()
        for k in range(count):
            normal = slopes[k] @ slopes[k].T
            right = slopes[k] @ now[k]
            normal = normal + damping[k] * np.diag(np.diag(normal) + 1e-12)
            proposed[k] -= np.linalg.lstsq(normal, right, rcond=None)[0]
        then = run(proposed)
        better = (then**2).mean(1)
        won = better < cost
        moved = np.where(won, np.abs(cost - better) / (cost + 1e-300), 0)
        points[won], now[won], cost[won] = proposed[won], then[won], better[won]
        damping = np.where(won, damping / 10, damping * 10)
        settled = (~won & (damping > 1e6)) | (won & (moved < 1e-9)) | (cost < 1e-28)
        if settled.all():
            break
    return points, np.sqrt(cost)
