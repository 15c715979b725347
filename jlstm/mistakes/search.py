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
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from . import outputs
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
from .inputs import sequences_reordered
from .lengths import one_answer
from .scaling import Scaling
from .screening import (
    agreeing,
    compatible,
    likely,
    may_be,
    once,
    parameters_key,
    ranked,
    shows,
)
from .trial import Mistake, Trial, in_single
from .workbench import Mistakes, Scored, Tick, Workbench

SINGLE_ROWS = 256
PAIR_ROWS = 4
PAIR_NUMBERS = 4
PAIR_SECONDS = 60.0
LASTING = 8
LATER_ROWS = (8, 32, 128)
KEPT = 24
BATCH = 2048
PART, FITTED_PART = 0.1, 0.02
"""An explanation leaves at most this part of the difference."""


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
        self.bench = Workbench(base, observed, tick)
        self.scaling = Scaling(self.bench)
        self.singles = singles
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
        alone, combined = self._quick_singles(plain)
        stages: list[Callable[[], Iterable[Scored]]] = [
            lambda: alone,
            self._scaled,
        ]
        if max_mistakes == 1:
            self.tried[2] = 0
        elif plain.level in ("", "bfloat16"):
            stages += [
                lambda: combined,
                self._continued,
                self._pairs,
                self._scaled_pairs,
            ]
        for stage in stages:
            judged = self._judge(sorted(stage(), key=lambda s: s.score), plain)
            good = [j for j in judged if self._explains(j, plain)]
            self.rejected += [j for j in judged if not self._explains(j, plain)]
            proven = [j for j in good if self._proven(j)]
            if proven:
                proven = ranked(proven + self._plainer(ranked(proven)[0], plain))
                return Outcome(plain, proven, [], [], self.tried)
            weak += [j for j in good if j not in proven and j.level == "single"]
            nearest += judged
        nearest.sort(key=lambda j: j.rms)
        return Outcome(plain, [], ranked(weak), nearest[:5], self.tried)

    def _scaled(self) -> list[Scored]:
        found = self.scaling.alone()
        self.tried[1] += len(found)
        if self.judge.right.first_bad is not None:
            early = [scored.mistakes for scored in self.scaling.early]
            runs = self.bench.evaluate(early, None, "scaling of the input")
            first = self.judge.right.first_bad
            self._note_lasting(early, runs, first, self.bench.observed)
        return found

    def _scaled_pairs(self) -> list[Scored]:
        shown = [m for m in self.singles if shows(m, PAIR_ROWS)]
        found = self.scaling.beside(shown)
        self.tried[2] += len(found)
        return found

    # --- judging ----------------------------------------------------------------------

    def _judge(self, scored: list[Scored], plain: Judgement) -> list[Judgement]:
        """The best of them in full; more as long as they keep explaining."""
        judged: list[Judgement] = []
        scored = once(scored)
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
        """Whether it leaves nothing but rounding, or else little, and that is noise."""
        if judged.rms > (FITTED_PART if judged.fitted else PART) * plain.rms:
            return False
        if judged.level == "single":
            return True
        # Where rounding may be all there is, a line would be fitted to the rounding.
        fair = not (plain.level and judged.fitted)
        return fair and judged.level in ("half", "close") and judged.noisy

    def _plainer(self, best: Judgement, plain: Judgement) -> list[Judgement]:
        """The same with a mistake that needs no number to be fitted, if there is one.

        An output moved by just minus the bias of the last layer is a missing bias.
        """
        if not best.fitted:
            return []
        found: list[Mistakes] = []
        for mistake in best.mistakes:
            if not mistake.fitted:
                continue
            others = tuple(m for m in best.mistakes if m is not mistake)
            found += [
                (*others, m)
                for m in self.singles
                if m.paired and all(m.goes_with(other) for other in others)
            ]
        scored = self.bench.look(found, SINGLE_ROWS, "plainer explanations")
        scored.sort(key=lambda s: s.score)
        judged = self.judge.judge([s.mistakes for s in scored[:KEPT]])
        limit = 3 * best.rms + 1e-13
        return [j for j in judged if self._explains(j, plain) and j.rms <= limit]

    def _proven(self, judged: Judgement) -> bool:
        tried = self.tried[1] if len(judged.mistakes) == 1 else sum(self.tried.values())
        price = math.log2(max(tried, 2)) + MARGIN_BITS
        return judged.bits >= price + BITS_A_NUMBER * judged.fitted

    # --- singles ----------------------------------------------------------------------

    def _quick_singles(self, plain: Judgement) -> tuple[list[Scored], list[Scored]]:
        """Every single mistake; and those together with one of output."""
        upto = SINGLE_ROWS if self.bench.observed.causal else None
        observed = self.bench.observed.first(len(self.bench.observed.values), upto)
        every = self.bench.observed.values
        steps = min(len(v[name]) for v in every for name in observed.outputs)
        whole = upto is None or steps <= upto
        first = plain.first_bad if self.bench.timed else None
        chosen = [m for m in self.singles if may_be(m, first)]
        candidates: list[Mistakes] = [(), *((m,) for m in chosen)]
        found = self.bench.evaluate(candidates, upto, "single mistakes")
        # The second time, because the first one compiles.
        start = time.perf_counter()
        self.bench.evaluate(candidates[:ROWS], upto, "single mistakes")
        self.seconds_each = (time.perf_counter() - start) / ROWS
        self._note_lasting(candidates, found, first, observed)
        late = list(outputs.in_time(steps)) if whole else []
        near = [m for m in late if abs(m.parameters.get("steps", 0)) <= 3]
        alone, combined = [], []
        for mistakes, (trial, values) in zip(candidates, found, strict=True):
            if (other := self._regrouped(mistakes, values, observed)) is not None:
                (combined if mistakes else alone).append(other)
            rare = any(not m.paired for m in mistakes)
            for extra in (None, *(() if rare else late if not mistakes else near)):
                if extra is not None and not compatible((*mistakes, extra)):
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

    def _regrouped(
        self, mistakes: Mistakes, values: list[Values], observed: Observation
    ) -> Scored | None:
        """The order of sequences, of which each has one answer, by their answers."""
        if len(values) < 3 or not one_answer(self.bench.base):
            return None
        # What exploded is far from everything, but a distance must be a number.
        theirs, mine = (
            np.clip(
                np.nan_to_num(
                    [np.concatenate([v[n].ravel() for n in v]) for v in some]
                ),
                -outputs.FAR,
                outputs.FAR,
            )
            for some in (observed.values, values)
        )
        _, found = linear_sum_assignment(cdist(theirs, mine))
        order = tuple(map(int, found))
        mistake = sequences_reordered(order)
        if order == tuple(range(len(order))) or not compatible((*mistakes, mistake)):
            return None
        points = score(errors([values[k] for k in order], observed))
        return Scored(points, (*mistakes, mistake))

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
                agreeing(mine[name], theirs[name], observed.scale[name])
                for mine, theirs in zip(values, observed.values, strict=True)
                for name in observed.outputs
            ]
            if len(mistakes) == 1 and min(agree) > first:
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
            (function,) = mistake.change(self.bench.base._replace(after=())).after
            changed = [v | {name: function(v[name])} for v in values]
            yield (mistake,), score(errors(changed, observed))

    # --- pairs ------------------------------------------------------------------------

    def _continued(self) -> list[Scored]:
        """Single mistakes that are right for some steps, and what may come after them.

        A state that is reset every 10 steps shows at step 11 only.
        """
        if not self.bench.timed:
            return []
        pairs: dict[int, list[Mistakes]] = {}
        for mistake, first in self.lasting[:LASTING]:
            rows = next((n for n in LATER_ROWS if n > first + 2), SINGLE_ROWS)
            for other in self.singles:
                if mistake.goes_with(other) and may_be(other, first):
                    pairs.setdefault(rows, []).append((mistake, other))
        found: list[Scored] = []
        for rows, some in pairs.items():
            self.tried[2] += len(some)
            found += self.bench.look(some, rows, "what comes later")
        return found

    def _pairs(self) -> list[Scored]:
        """All pairs of mistakes that are about different things."""
        timed = self.bench.timed
        upto = PAIR_ROWS if timed else None
        sequences = len(self.bench.observed.values)
        if not timed:
            # A few numbers are enough for a quick look.
            each = self.bench.observed.size // max(sequences, 1)
            sequences = min(sequences, max(1, -(-PAIR_NUMBERS // max(each, 1))))
        eligible = [m for m in self.singles if shows(m, upto)]
        pairs = sorted(self._combined(eligible), key=likely)
        each = self.seconds_each * sequences / len(self.bench.observed.values)
        if each * len(pairs) > PAIR_SECONDS and not timed:
            # The less likely of them only as long as there is time.
            least = sum(likely(pair) == 0 for pair in pairs)
            pairs = pairs[: max(least, int(PAIR_SECONDS / each))]
        pairs.sort(key=parameters_key)
        observed = self.bench.observed.first(sequences, upto)
        double = self.bench.base._replace(runs=self.bench.base.runs[:sequences])
        base = in_single(double)
        best: list[Scored] = []
        for k in range(0, len(pairs), BATCH):
            self.bench.tick("pairs of mistakes", k, len(pairs))
            part = pairs[k : k + BATCH]
            trials = self.bench.trials(part, base)
            found = evaluate(trials, observed.names, upto=upto, single=True)
            # Inputs that are normalised wrongly may be too large for single precision.
            large = [k for k, values in enumerate(found) if not _finite(values)]
            again = self.bench.trials([part[k] for k in large], double)
            for k, values in zip(
                large, evaluate(again, observed.names, upto=upto), strict=True
            ):
                found[k] = values
            for pair, values in zip(part, found, strict=True):
                best.append(Scored(score(errors(values, observed)), pair))
            best.sort(key=lambda s: s.score)
            best = best[: 10 * KEPT]
        self.bench.tick("pairs of mistakes", len(pairs), len(pairs))
        self.tried[2] += len(pairs)
        pairs = [scored.mistakes for scored in best]
        return self.bench.look(pairs, SINGLE_ROWS, "the best pairs")

    def _combined(self, mistakes: list[Mistake]) -> list[Mistakes]:
        return [p for p in itertools.combinations(mistakes, 2) if p[0].goes_with(p[1])]


def _finite(values: list[Values]) -> bool:
    return all(np.all(np.isfinite(a)) for one in values for a in one.values())
