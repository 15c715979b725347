"""The search: the network as it is, every single mistake, every pair.

Singles are run in full, pairs only over the first few steps where the network is
causal; what comes near is judged with its own tolerance (`evidence.py`). Mistakes of
output are fitted to whatever a run gives, so a pair with one of them costs no run. What
has numbers to be fitted comes last.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from . import fitting, outputs
from .bench import ROWS, Values, evaluate
from .evidence import (
    BITS_A_NUMBER,
    MARGIN_BITS,
    Judge,
    Judgement,
    Observation,
    apply_after,
    errors,
    score,
)
from .inputs import affine as input_affine
from .inputs import reordered, spread_changed, swapped
from .trial import LENGTH, PARAMETERS, Mistake, Trial, compose, in_single

SINGLE_ROWS = 256
PAIR_ROWS = 4
PAIR_NUMBERS = 4
PAIR_SECONDS = 60.0
MOST_REORDERED = 40
LASTING = 8
LASTING_ERROR = 1e-5
FIT_ROWS = 24
FULL_ROWS = 1500
KEPT = 24
BATCH = 2048

Mistakes = tuple[Mistake, ...]
Tick = Callable[[str, int, int], None]


class Outcome(NamedTuple):
    """What the search came to.

    Arguments:
        plain: the network without a mistake.
        accepted: candidates that explain the observation, the best first.
        weak: candidates that fit it as well but are not proven by so few numbers.
        best: what came nearest, where nothing explains it.
        tried: how many candidates there were, by number of mistakes.
    """

    plain: Judgement
    accepted: list[Judgement]
    weak: list[Judgement]
    best: list[Judgement]
    tried: dict[int, int]


class Scored(NamedTuple):
    """A candidate after a quick look."""

    score: float
    mistakes: Mistakes


class Family(NamedTuple):
    """A mistake with numbers to be fitted: starting points, and the mistake."""

    starts: tuple[tuple[float, ...], ...]
    make: Callable[[np.ndarray], Mistakes]


class Search:
    """One search: a network, its input, what was observed, the catalogue."""

    def __init__(
        self,
        judge: Judge,
        base: Trial,
        observed: Observation,
        singles: Sequence[Mistake],
        tick: Tick | None = None,
    ):
        self.judge = judge
        self.base = base
        self.observed = observed
        self.singles = singles
        self.tick = tick or (lambda what, done, total: None)
        self.tried: dict[int, int] = {1: 0, 2: 0}
        self.rejected: list[Judgement] = []
        self.lasting: list[tuple[Mistake, int]] = []
        self.seconds_each = 0.0

    def run(self, max_mistakes: int) -> Outcome:
        """Look for the fewest mistakes that explain what was observed."""
        plain = self.judge.right
        if plain.level == "single":
            return Outcome(plain, [], [], [], self.tried)
        nearest: list[Judgement] = []
        weak: list[Judgement] = []
        close: list[Judgement] = []
        alone, combined = self._quick_singles(plain)
        stages: list[Callable[[], Iterable[Scored]]] = [
            lambda: alone,
            self._fitted,
        ]
        if max_mistakes > 1 and not plain.level:
            stages += [
                lambda: combined,
                self._continued,
                self._pairs,
                self._fitted_pairs,
            ]
        for stage in stages:
            judged = self._judge(sorted(stage(), key=lambda s: s.score), plain)
            good = [j for j in judged if self._explains(j, plain)]
            self.rejected += [j for j in judged if not self._explains(j, plain)]
            proven = [j for j in good if self._proven(j)]
            if any(j.level == "single" for j in proven):
                exact = [j for j in proven if j.level == "single"]
                if not close or exact[0].rms < 0.01 * close[0].rms:
                    return Outcome(plain, _ranked(proven), [], [], self.tried)
            # What leaves more than rounding may be half of the truth: look on.
            close = _ranked(close + proven)
            close = [j for j in close if len(j.mistakes) == len(close[0].mistakes)]
            weak += [j for j in good if j not in proven]
            nearest += judged
        if close:
            return Outcome(plain, close, [], [], self.tried)
        nearest.sort(key=lambda j: j.rms)
        return Outcome(plain, [], _ranked(weak), nearest[:5], self.tried)

    # --- judging ----------------------------------------------------------------------

    def _judge(self, scored: list[Scored], plain: Judgement) -> list[Judgement]:
        """The best of them in full; more as long as they keep explaining."""
        judged: list[Judgement] = []
        for k in range(0, min(len(scored), 4 * KEPT), KEPT):
            part = scored[k : k + KEPT]
            if k and part[0].score > scored[0].score + 2:
                break
            now = self.judge.judge([candidate.mistakes for candidate in part])
            judged += now
            if not any(self._explains(j, plain) for j in now):
                break
        return judged

    def _explains(self, judged: Judgement, plain: Judgement) -> bool:
        if plain.level:  # as it is the network agrees to half precision
            return judged.level == "single" and judged.rms <= 0.02 * plain.rms
        return bool(judged.level) and judged.rms <= 0.1 * plain.rms

    def _proven(self, judged: Judgement) -> bool:
        tried = self.tried[1] if len(judged.mistakes) == 1 else sum(self.tried.values())
        price = math.log2(max(tried, 2)) + MARGIN_BITS
        return judged.bits >= price + BITS_A_NUMBER * judged.fitted

    # --- singles ----------------------------------------------------------------------

    def _quick_singles(self, plain: Judgement) -> tuple[list[Scored], list[Scored]]:
        """Every single mistake; and those together with one of output."""
        upto = SINGLE_ROWS if self.observed.causal else None
        observed = self.observed.first(len(self.observed.values), upto)
        steps = min(len(v[n]) for v in self.observed.values for n in observed.outputs)
        whole = upto is None or steps <= upto
        first = plain.first_bad if self._timed() else None
        chosen = [m for m in self.singles if _may_be(m, first)]
        candidates: list[Mistakes] = [(), *((m,) for m in chosen)]
        found = self._evaluate(candidates, upto, "single mistakes")
        # The second time, because the first one compiles.
        start = time.perf_counter()
        self._evaluate(candidates[:ROWS], upto, "single mistakes")
        self.seconds_each = (time.perf_counter() - start) / ROWS
        self._note_lasting(candidates, found, first, observed)
        late = list(outputs.in_time(steps)) if whole else []
        near = [m for m in late if abs(m.parameters.get("steps", 0)) <= 3]
        alone, combined = [], []
        for mistakes, (trial, values) in zip(candidates, found, strict=True):
            rare = any(not m.paired for m in mistakes)
            for extra in (None, *(() if rare else late if not mistakes else near)):
                if extra is not None and not _compatible((*mistakes, extra)):
                    continue
                full = len(mistakes) + (extra is not None) > 1
                for final, points in self._variants(
                    trial, values, observed, extra, full
                ):
                    every = (*mistakes, *([extra] if extra else []), *final)
                    if len(every) == 1:
                        alone.append(Scored(points, every))
                    elif len(every) == 2:
                        combined.append(Scored(points, every))
        self.tried[1] += len(alone)
        self.tried[2] += len(combined)
        combined.sort(key=lambda s: s.score)
        return alone, combined[: 4 * KEPT]

    def _note_lasting(
        self,
        candidates: list[Mistakes],
        found: list[tuple[Trial, list[Values]]],
        first: int | None,
        observed: Observation,
    ) -> None:
        """Mistakes that explain some more steps than none does, the longest first."""
        if first is None:
            return
        for mistakes, (_, values) in zip(candidates, found, strict=True):
            agree = [
                _agreeing(mine[name], theirs[name], observed.scale[name])
                for mine, theirs in zip(values, observed.values, strict=True)
                for name in observed.outputs
            ]
            if len(mistakes) == 1 and min(agree) > max(first, 1):
                self.lasting.append((mistakes[0], min(agree)))
        self.lasting.sort(key=lambda pair: -pair[1])

    def _variants(
        self,
        trial: Trial,
        values: list[Values],
        observed: Observation,
        extra: Mistake | None,
        full: bool,
    ) -> Iterable[tuple[Mistakes, float]]:
        """The run itself, and with what a fitted mistake of output makes of it."""
        if extra is not None:
            trial = extra.change(trial)
        pairs = [apply_after(trial, v, observed.outputs) for v in values]
        values, partial = [v for v, _ in pairs], any(p for _, p in pairs)
        yield (), score(errors(values, observed, partial=partial))
        if full or partial or len(observed.outputs) != 1:
            return
        (name,) = observed.outputs
        y = [v[name] for v in values]
        record = [v[name] for v in observed.values]
        for make in (outputs.affine, outputs.by_column, outputs.permuted):
            mistake = make(y, record)
            if mistake is None or any(
                not mistake.goes_with(m) for m in ([extra] if extra else [])
            ):
                continue
            (function,) = mistake.change(self.base._replace(after=())).after
            changed = [v | {name: function(v[name])} for v in values]
            yield (mistake,), score(errors(changed, observed))

    def _evaluate(
        self, candidates: Sequence[Mistakes], upto: int | None, what: str
    ) -> list[tuple[Trial, list[Values]]]:
        """Run candidates, those with the same parameters side by side."""
        trials = self._trials(candidates)
        total = sum(len(trial.runs) for trial in trials)
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self.tick(what, done, total)

        found = evaluate(trials, self.observed.names, upto=upto, tick=tick)
        return list(zip(trials, found, strict=True))

    def _trials(
        self, candidates: Sequence[Mistakes], base: Trial | None = None
    ) -> list[Trial]:
        """Composed trials; equal sets of parameters are one object."""
        base = base or self.base
        made: dict[tuple[int, ...], Trial] = {}
        trials = []
        for mistakes in candidates:
            weights = [m for m in mistakes if m.stage == PARAMETERS]
            rest = [m for m in mistakes if m.stage != PARAMETERS]
            key = tuple(sorted(id(m) for m in weights))
            if key not in made:
                made[key] = compose(base, weights)
            trials.append(compose(made[key], rest))
        return trials

    # --- pairs ------------------------------------------------------------------------

    def _continued(self) -> list[Scored]:
        """Single mistakes that are right for some steps, and what may come after them.

        A state that is reset every 10 steps shows at step 11 only.
        """
        if not self._timed():
            return []
        pairs = []
        for mistake, first in self.lasting[:LASTING]:
            for other in self.singles:
                if mistake.goes_with(other) and _may_be(other, first):
                    pairs.append((mistake, other))
        self.tried[2] += len(pairs)
        return self._look(pairs, SINGLE_ROWS, "what comes later")

    def _pairs(self) -> list[Scored]:
        """All pairs of mistakes that are about different things."""
        timed = self.observed.causal and self._timed()
        upto = PAIR_ROWS if timed else None
        sequences = len(self.observed.values)
        if not timed:
            # A few numbers are enough for a quick look.
            each = self.observed.size // max(sequences, 1)
            sequences = min(sequences, max(1, -(-PAIR_NUMBERS // max(each, 1))))
        eligible = [m for m in self.singles if _shows(m, upto)]
        pairs = self._combined(eligible)
        if self.seconds_each * len(pairs) > PAIR_SECONDS and not timed:
            pairs = self._combined([m for m in eligible if m.common])
        pairs.sort(key=_parameters_key)
        observed = self.observed.first(sequences, upto)
        base = in_single(self.base)
        base = base._replace(runs=base.runs[:sequences])
        best: list[Scored] = []
        for k in range(0, len(pairs), BATCH):
            self.tick("pairs of mistakes", k, len(pairs))
            part = pairs[k : k + BATCH]
            trials = self._trials(part, base)
            found = evaluate(trials, observed.names, upto=upto, single=True)
            for pair, values in zip(part, found, strict=True):
                best.append(Scored(score(errors(values, observed)), pair))
            best.sort(key=lambda s: s.score)
            best = best[: 10 * KEPT]
        self.tick("pairs of mistakes", len(pairs), len(pairs))
        self.tried[2] += len(pairs)
        return self._look([s.mistakes for s in best], SINGLE_ROWS, "the best pairs")

    def _combined(self, mistakes: list[Mistake]) -> list[Mistakes]:
        return [p for p in itertools.combinations(mistakes, 2) if p[0].goes_with(p[1])]

    def _timed(self) -> bool:
        return all(name in self.base.wired.timed for name in self.observed.outputs)

    def _look(self, pairs: list[Mistakes], upto: int, what: str) -> list[Scored]:
        """Scores of candidates, run for longer."""
        rows = upto if self.observed.causal else None
        found = self._evaluate(pairs, rows, what)
        observed = self.observed.first(len(self.observed.values), rows)
        return [
            Scored(score(errors(values, observed)), pair)
            for pair, (_, values) in zip(pairs, found, strict=True)
        ]

    # --- fitted numbers ---------------------------------------------------------------

    def _fitted(self) -> list[Scored]:
        """Slope and offset of the input; the deviation it is divided by."""
        self.tick("scaling of the input", 0, 1)
        found = [
            *self._scaled_inputs([()], self._slopes())[:1],
            *self._scaled_inputs([()], self._spreads())[:1],
            *self._reordered(),
        ]
        self.tried[1] += len(found)
        return found

    def _fitted_pairs(self) -> list[Scored]:
        """Scaled inputs together with scaled outputs, or with any other mistake."""
        what = "scaled inputs with another mistake"
        self.tick(what, 0, 1)
        others: list[Mistakes] = [
            (m,)
            for m in self.singles
            if m.paired and m.stage < LENGTH and "x values" not in m.touches
            and _shows(m, PAIR_ROWS)
        ]  # fmt: skip
        steps = min(len(v[self.observed.outputs[0]]) for v in self.observed.values)
        late: list[Mistakes] = [
            (m,)
            for m in (*outputs.in_time(steps), *outputs.orders(self._width()))
            if abs(m.parameters.get("steps", 0)) <= 3
        ]
        found = self._scaled_inputs([()], self._slopes(), free_output=True)[:1]
        for family in (self._slopes(), self._spreads()):
            found += self._scaled_inputs(others, family)
            found += self._scaled_inputs(late, family, whole=True)
        self.tick(what, 1, 1)
        self.tried[2] += len(found)
        return found

    def _width(self) -> int:
        return self.observed.values[0][self.observed.outputs[0]].shape[1]

    def _slopes(self) -> Family:
        """Slope and offset of the input."""
        if any(x.ndim != 2 for run in self.base.runs for x in run.x.values()):
            return Family((), lambda p: ())
        return Family(
            tuple(map(tuple, self._affine_starts())),
            lambda p: (input_affine(p[0], p[1]),),
        )

    def _spreads(self) -> Family:
        """A standard deviation with N in place of N - 1, or the other way round."""
        layers = [self.base.wired.layers[name] for name in self.base.runs[0].x]
        if not all(getattr(layer, "std", None) is not None for layer in layers):
            return Family((), lambda p: ())

        def make(p: np.ndarray) -> Mistakes:
            factor = float(p[0])
            return (spread_changed(self.base, factor, _count(factor)),)

        return Family(((1.01,), (0.99,), (1.2,), (0.8,)), make)

    def _scaled_inputs(
        self,
        others: list[Mistakes],
        family: Family,
        *,
        free_output: bool = False,
        whole: bool = False,
    ) -> list[Scored]:
        """The best parameters of a family beside each of the other mistakes."""
        if not (family.starts and others):
            return []
        if self.observed.size < 5 + 2 * free_output:
            return []
        brief = len(others) > 1
        timed = self.observed.causal and self._timed()
        upto = FIT_ROWS if timed and not whole else None
        grid = np.array(family.starts)
        grid = grid[:: 3 if brief and len(grid) > 9 else 1]
        problems = [(other, p) for other in others for p in grid]
        cost = fitting.residuals(
            self._trials,
            [(*other, *family.make(p)) for other, p in problems],
            self.observed, upto, free_output=free_output,
        )  # fmt: skip
        cost = np.sqrt((cost**2).mean(1)).reshape(len(others), len(grid))
        chosen = np.argsort(cost, 1)[:, : 2 if brief else 8]
        rows = [(k, p) for k, picked in enumerate(chosen) for p in grid[picked]]
        # First a short fit of all, then a long one of the best.
        order, left = np.arange(0), np.zeros(0)
        rounds = [(8, upto, KEPT), (fitting.ITERATIONS, FULL_ROWS, 0)]
        for iterations, length, keep in rounds:
            points, left = fitting.fit(
                self._trials,
                lambda j, p, rows=tuple(rows): (*others[rows[j][0]], *family.make(p)),
                np.array([p for _, p in rows]), self.observed,
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
        """An order of many features, found by one exchange of two after the other."""
        xs = [a for run in self.base.runs for a in run.x.values()]
        if len(self.base.runs[0].x) > 1 or any(x.ndim != 2 for x in xs):
            return []
        width = xs[0].shape[1]
        if not 4 < width <= MOST_REORDERED:
            return []
        upto = FIT_ROWS if self.observed.causal and self._timed() else None
        order = tuple(range(width))
        exchanges = list(itertools.combinations(range(width), 2))
        best = math.inf
        for _ in range(2 * width):
            self.tick("order of the features", 0, 1)
            tried = [swapped(order, a, b) for a, b in exchanges]
            cost = (
                fitting.residuals(
                    self._trials, [(reordered(one),) for one in tried], self.observed,
                    upto, free_output=False,
                )
                ** 2
            ).mean(1)  # fmt: skip
            k = int(np.argmin(cost))
            if cost[k] >= best:
                break
            best, order = float(cost[k]), tried[k]
        return [Scored(math.log10(math.sqrt(best) + 1e-15), (reordered(order),))]

    def _affine_starts(self) -> np.ndarray:
        """Slopes and offsets on a grid, and those that statistics of x suggest."""
        x = np.concatenate([a for run in self.base.runs for a in run.x.values()])
        mean, std = float(x.mean()), float(x.std()) or 1.0
        starts = [
            (slope, offset * std)
            for slope in (0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0, 30.0, -1.0)
            for offset in (-3.0, -1.0, 0.0, 1.0, 3.0)
        ]
        starts += [(1 / std, -mean / std), (std, mean), (1.0, mean), (1.0, -mean)]
        starts += [(slope, (1 - slope) * mean) for slope in (0.1, 0.3, 0.5, 2.0, 3.0)]
        return np.array(starts)

    def _with_line(self, mistakes: Mistakes) -> Mistakes:
        """The candidate with the best line through its output."""
        (trial, values), *_ = self._evaluate([mistakes], FULL_ROWS, "fitting")
        (name, *_) = self.observed.outputs
        observed = self.observed.first(len(self.observed.values), FULL_ROWS)
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


def _agreeing(mine: np.ndarray, theirs: np.ndarray, scale: np.ndarray) -> int:
    """How many steps agree, from the first on."""
    with np.errstate(invalid="ignore"):
        good = np.all(abs(mine - theirs) <= LASTING_ERROR * scale, axis=1)
    return good.size if good.all() else int(np.argmin(good))


def _may_be(mistake: Mistake, first: int | None) -> bool:
    """Cheap reasons against a mistake, from the step at which differences begin."""
    if mistake.name != "state-reset" or mistake.parameters["every"] == 1:
        return True
    if first is None:
        return True
    return mistake.common or first - 3 <= mistake.parameters["every"] <= first


def _shows(mistake: Mistake, rows: int | None) -> bool:
    """Whether a mistake is looked for in pairs: where it shows in so many steps."""
    if mistake.name == "state-reset":
        every = mistake.parameters["every"]
        return every < rows if rows is not None else every == 1 or mistake.common
    return mistake.paired or mistake.common


def _compatible(mistakes: Mistakes) -> bool:
    return all(a.goes_with(b) for a, b in itertools.combinations(mistakes, 2))


def _parameters_key(pair: Mistakes) -> tuple[int, ...]:
    return tuple(sorted(id(m) for m in pair if m.stage == PARAMETERS))


def _ranked(judged: list[Judgement]) -> list[Judgement]:
    """The finest level first, then the nearest."""
    levels = ("single", "close", "half", "bfloat16")
    return sorted(judged, key=lambda j: (levels.index(j.level), j.rms))
