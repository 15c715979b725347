"""Mistakes with numbers that must be fitted: the scale of what goes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from . import fitting, outputs
from .inputs import reordered
from .ordering import order_of_features
from .scales import affine as input_affine
from .scales import spread_changed
from .trial import LENGTH, Mistake
from .workbench import Mistakes, Scored, Workbench

FIT_ROWS = 24
FULL_ROWS = 1500
EARLY_ROWS = 6
KEPT = 24
BRIEF = 19
"""Starting points beside another mistake: the first of them, the likely ones."""


class Family(NamedTuple):
    """A mistake with numbers to be fitted: starting points, and the mistake."""

    starts: tuple[tuple[float, ...], ...]
    make: Callable[[np.ndarray], Mistakes]


class Scaling:
    """Fits what no list can hold, alone or beside each of many other mistakes."""

    def __init__(self, bench: Workbench):
        self.bench = bench
        self.early: list[Scored] = []
        """The scale that fits the first steps alone: another mistake may come later."""

    def alone(self) -> list[Scored]:
        """Slope and offset of the input; the deviation it is divided by."""
        self.bench.tick("scaling of the input", 0, 1)
        if self.bench.timed:
            self.early = self._scaled_inputs([()], self._slopes(), early=True)[:1]
        found = [
            *self._scaled_inputs([()], self._slopes())[:1],
            *self._scaled_inputs([()], self._spreads())[:1],
            *self._reordered(),
        ]
        return found

    def beside(self, mistakes: Sequence[Mistake]) -> list[Scored]:
        """Scaled inputs together with scaled outputs, or with any other mistake."""
        what = "scaled inputs with another mistake"
        self.bench.tick(what, 0, 1)
        others: list[Mistakes] = [
            (m,)
            for m in mistakes
            if m.stage < LENGTH and "x values" not in m.touches
        ]  # fmt: skip
        seen = self.bench.observed
        steps = min(len(v[seen.outputs[0]]) for v in seen.values)
        late: list[Mistakes] = [
            (m,)
            for m in (*outputs.in_time(steps), *outputs.orders(self._width()))
            if abs(m.parameters.get("steps", 0)) <= 3
        ]
        found = self._scaled_inputs([()], self._slopes(), free_output=True)[:1]
        for family in (self._slopes(), self._spreads()):
            found += self._scaled_inputs(others, family)
            found += self._scaled_inputs(late, family, whole=True)
        self.bench.tick(what, 1, 1)
        return found

    def _width(self) -> int:
        return self.bench.observed.values[0][self.bench.observed.outputs[0]].shape[1]

    def _slopes(self) -> Family:
        """Slope and offset of the input."""
        if any(x.ndim != 2 for run in self.bench.base.runs for x in run.x.values()):
            return Family((), lambda p: ())
        return Family(
            tuple(map(tuple, self._affine_starts())),
            lambda p: (input_affine(p[0], p[1]),),
        )

    def _spreads(self) -> Family:
        """A standard deviation with N in place of N - 1, or the other way round."""
        base = self.bench.base
        layers = [base.wired.layers[name] for name in base.runs[0].x]
        if not all(getattr(layer, "std", None) is not None for layer in layers):
            return Family((), lambda p: ())

        def make(p: np.ndarray) -> Mistakes:
            factor = float(p[0])
            return (spread_changed(self.bench.base, factor, _count(factor)),)

        return Family(((1.01,), (0.99,), (1.2,), (0.8,)), make)

    def _scaled_inputs(
        self,
        others: list[Mistakes],
        family: Family,
        *,
        free_output: bool = False,
        whole: bool = False,
        early: bool = False,
    ) -> list[Scored]:
        """The best parameters of a family beside each of the other mistakes."""
        if not (family.starts and others):
            return []
        if self.bench.observed.size < 5 + 2 * free_output:
            return []
        brief = len(others) > 1
        timed = self.bench.timed
        upto = FIT_ROWS if timed and not whole else None
        grid = np.array(family.starts)
        grid = grid[: BRIEF if brief else None]
        problems = [(other, p) for other in others for p in grid]
        cost = fitting.residuals(
            self.bench.trials,
            [(*other, *family.make(p)) for other, p in problems],
            self.bench.observed, upto, free_output=free_output,
        )  # fmt: skip
        cost = np.sqrt((cost**2).mean(1)).reshape(len(others), len(grid))
        chosen = np.argsort(cost, 1)[:, : 2 if brief else 8]
        rows = [(k, p) for k, picked in enumerate(chosen) for p in grid[picked]]
        # First a short fit of all, then a long one of the best.
        order, left = np.arange(0), np.zeros(0)
        rounds = [(8, upto, KEPT), (fitting.ITERATIONS, FULL_ROWS, 0)]
        if early:
            rounds = [(fitting.ITERATIONS, EARLY_ROWS, 1)]
        for iterations, length, keep in rounds:
            points, left = fitting.fit(
                self.bench.trials,
                lambda j, p, rows=tuple(rows): (*others[rows[j][0]], *family.make(p)),
                np.array([p for _, p in rows]), self.bench.observed,
                upto=length, free_output=free_output, iterations=iterations,
            )  # fmt: skip
            order = np.argsort(left)[: keep or len(left)]
            rows = [(rows[j][0], points[j]) for j in order]
        found = []
        for (k, p), j in zip(rows, order, strict=True):
            mistakes: Mistakes = (*others[k], *family.make(p))
            if free_output:
                mistakes = self._with_line(mistakes)
            found.append(Scored(float(np.log10(left[j] + 1e-15)), mistakes))
        return found

    def _reordered(self) -> list[Scored]:
        """An order of many features."""
        bench = self.bench

        def tick() -> None:
            bench.tick("order of the features", 0, 1)

        order = order_of_features(bench.base, bench.observed, bench.timed, tick)
        if order is None:
            return []
        return bench.look([(reordered(order),)], FULL_ROWS, "order of the features")

    def _affine_starts(self) -> np.ndarray:
        """Slopes and offsets on a grid, and those that statistics of x suggest."""
        x = np.concatenate([a for run in self.bench.base.runs for a in run.x.values()])
        mean, std = float(x.mean()), float(x.std()) or 1.0
        slopes = (0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0, 30.0, -1.0)
        starts = [(slope, 0.0) for slope in slopes]
        starts += [(1 / std, -mean / std), (std, mean), (1.0, mean), (1.0, -mean)]
        starts += [(slope, (1 - slope) * mean) for slope in (0.1, 0.3, 0.5, 2.0, 3.0)]
        starts += [
            (slope, offset * std)
            for slope in slopes
            for offset in (-3.0, -1.0, 1.0, 3.0)
        ]
        return np.array(starts)

    def _with_line(self, mistakes: Mistakes) -> Mistakes:
        """The candidate with the best line through its output."""
        (trial, values), *_ = self.bench.evaluate([mistakes], FULL_ROWS, "fitting")
        (name, *_) = self.bench.observed.outputs
        observed = self.bench.observed.first(len(self.bench.observed.values), FULL_ROWS)
        del trial
        line = outputs.affine(
            [v[name] for v in values], [v[name] for v in observed.values]
        )
        return (*mistakes, line) if line is not None else mistakes


def _count(factor: float) -> int | None:
    """The n for which a standard deviation is off by sqrt((n - 1) / n), if any."""
    ratio = factor**2 if factor < 1 else 1 / factor**2
    if not 0.4 < ratio < 1 - 1e-9:
        return None
    n = 1 / (1 - ratio)
    return round(n) if n < 1e5 and abs(n - round(n)) < 0.02 * max(1, n * 1e-3) else None
