"""The outcome of a search in words: what explains the numbers, what else might."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .finding import Diagnosis, Finding, describe
from .layers import Dropout
from .mistakes import PRECISIONS, Mistake, Trial
from .mistakes.bench import evaluate
from .mistakes.evidence import Judgement, Observation
from .mistakes.parameters import round_to
from .mistakes.search import Outcome, Search
from .mistakes.trial import compose
from .network import Network

TIE = 3.0
"""Two explanations are tied unless one leaves this many times less than the other."""
MOST_FINDINGS = 12


class Explanation:
    """Turns the outcome of a search into a diagnosis."""

    def __init__(
        self,
        net: Network,
        base: Trial,
        seen: Observation,
        search: Search,
    ):
        self.net, self.base, self.seen, self.search = net, base, seen, search
        self.compared: list[int] = search.judge.horizon or []
        self.steps = sum(self.compared)

    @property
    def _amount(self) -> str:
        """How much was observed, in words."""
        if any(name in self.base.wired.timed for name in self.seen.outputs):
            return _steps(self.steps)
        count = len(self.seen.values)
        return f"{count} sequence{'' if count == 1 else 's'}"

    def write(self, max_mistakes: int) -> Diagnosis:
        """Search and say what came of it."""
        plain = self.search.judge.right
        if plain.level == "single":
            return self._agree(plain)
        if (coarse := self._precision(plain)) is not None:
            return coarse
        late = self._unknown_start(plain)
        if late is not None:
            max_mistakes = 1  # two would have to make the ends meet
        outcome = self.search.run(max_mistakes)
        if outcome.accepted:
            return self._explained(outcome)
        if plain.level and (plain.level != "bfloat16" or self._rounded(plain)):
            return self._make(
                "precision", plain,
                f"the numbers agree to {_LEVEL_WORDS[plain.level]}, and no mistake "
                "explains what is left",
                notes=() if plain.noisy or self.steps < 16 else (_SMOOTH,),
            )  # fmt: skip
        if late is not None:
            return late
        if outcome.weak:
            return self._undecidable(outcome)
        return self._unexplained(outcome)

    def _make(
        self, verdict: str, plain: Judgement, summary: str, **more: Any
    ) -> Diagnosis:
        fields: dict[str, Any] = dict(
            findings=(), tied=0, separate_by="", facts=self._facts(plain)
        )
        fields |= more
        whole = sum(max(map(len, values.values())) for values in self.seen.values)
        if self.steps < whole:
            grown = _GROWN.format(compared=self.steps, whole=whole)
            fields["notes"] = (*fields.get("notes", ()), grown)
        return Diagnosis(
            verdict, summary, max_abs=plain.max_abs, steps=self.steps,
            tried=sum(self.search.tried.values()), **fields,
        )  # fmt: skip

    def _agree(self, plain: Judgement) -> Diagnosis:
        return self._make(
            "agree", plain,
            "these agree: the numbers are those of the network, to single precision "
            f"(largest difference {plain.max_abs:.1e} over {self._amount})",
            facts=(),
            notes=(_ONE_STEP,) if max(run.steps for run in self.base.runs) == 1 else (),
        )  # fmt: skip

    def _precision(self, plain: Judgement) -> Diagnosis | None:
        """Rounded parameters or numbers written to few decimals."""
        unit = self.search.judge.written
        if unit is not None and plain.max_abs <= 0.6 * unit:
            return self._make(
                "precision", plain,
                "the numbers agree as far as they were written, to "
                f"{-round(math.log10(unit))} decimals",
            )  # fmt: skip
        for judged in self.search.judge.rounded:
            if judged.level == "single" and judged.rms < 0.05 * plain.rms:
                finding = self._finding(judged)
                return self._make(
                    "precision", plain,
                    f"the observed numbers are what this network gives when "
                    f"{finding.words}: largest difference {judged.max_abs:.1e}",
                    findings=(finding,), tied=1,
                )  # fmt: skip
        return None

    def _rounded(self, plain: Judgement) -> bool:
        """Whether the observed numbers look as if they had been rounded."""
        every = np.concatenate(
            [a.ravel() for values in self.seen.values for a in values.values()]
        )
        return plain.noisy or any(
            np.array_equal(round_to(every, kind), every) for kind in PRECISIONS
        )

    def _finding(self, judged: Judgement) -> Finding:
        remedies = tuple(describe(m, self.net) for m in judged.mistakes)
        first = self.seen.outputs[0]
        outputs = tuple(v[first] for v in judged.values if first in v)
        return Finding(
            judged.mistakes, judged.max_abs, judged.rms, judged.level, remedies, outputs
        )

    def _explained(self, outcome: Outcome) -> Diagnosis:
        best = outcome.accepted[0]
        limit = TIE * best.rms + 1e-13
        tied = [j for j in outcome.accepted if j.rms <= limit and _alike(j, best)]
        tied.sort(key=lambda j: (j.fitted, self._rank(j)))
        # The same with more numbers to fit is no other explanation.
        if any(not j.fitted for j in tied):
            tied = [j for j in tied if not j.fitted]
        seen: list[list[str]] = []
        for judged in list(tied):
            names = [mistake.name for mistake in judged.mistakes]
            if judged.fitted and names in seen:
                tied.remove(judged)
            seen.append(names)
        tied = tied[:MOST_FINDINGS]
        findings = tuple(self._finding(j) for j in tied)
        first = findings[0]
        summary = (
            f"the observed numbers are what this network gives when {first.words}; "
            f"largest difference {first.max_abs:.1e} over {self._amount}, "
            f"{outcome.plain.max_abs:.2g} without "
            f"{'it' if len(best.mistakes) == 1 else 'them'}"
        )
        if best.level != "single":
            summary += f"; this is {_LEVEL_WORDS[best.level]}, not single precision"
        others = [j for j in outcome.accepted if j not in tied]
        return self._make(
            "explained" if len(tied) == 1 else "tied", outcome.plain, summary,
            findings=findings, tied=len(tied),
            separate_by=self._separate(tied) if len(tied) > 1 else "",
            nearest=self._next(others, tied),
        )  # fmt: skip

    def _rank(self, judged: Judgement) -> int:
        order = {id(m): k for k, m in enumerate(self.search.singles)}
        return max((order.get(id(m), 0) for m in judged.mistakes), default=0)

    def _next(
        self, others: list[Judgement], tied: list[Judgement]
    ) -> tuple[tuple[str, float], ...]:
        """The next best explanation, of those that were judged."""
        seen = [*others, *self.search.rejected]
        seen = [j for j in seen if j not in tied]
        seen.sort(key=lambda j: j.rms)
        return tuple((self._finding(j).words, j.max_abs) for j in seen[:1])

    def _separate(self, tied: list[Judgement]) -> str:
        """Which measurement tells explanations apart that give the same numbers."""
        candidates = [j.mistakes for j in tied]
        names = tuple(n for n in self.net.recurrent if n not in self.seen.names)
        lead = "These give the same numbers. "
        trials = [compose(self.base, mistakes) for mistakes in candidates]
        if names and self.base.wired.stepwise:
            found = evaluate(trials, names)
            for name in names:
                if _differ([v[0][name] for v in found]):
                    return lead + (
                        f"The output of {name} would tell them apart: pass "
                        f"layers={{'{name}': ...}}."
                    )
        for words, runs in self._probes():
            probe = self.base._replace(runs=runs)
            found = evaluate(
                [compose(probe, mistakes) for mistakes in candidates], self.net.outputs
            )
            if any(
                _differ([run[name] for run in runs])
                for runs in zip(*found, strict=True)
                for name in self.net.outputs
            ):
                return lead + f"{words} would tell them apart."
        return lead + (
            "For this network they are the same computation, as far as one input shows."
        )

    def _probes(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Other inputs, as many as there are: a mistake may concern all of them."""
        rng = np.random.default_rng(1)

        def other(a: np.ndarray) -> np.ndarray:
            return a.mean(0) + a.std(0) * rng.normal(size=a.shape) + rng.normal()

        return [
            (
                words,
                tuple(
                    run._replace(x={name: new(a) for name, a in run.x.items()})
                    for run in self.base.runs
                ),
            )
            for words, new in (
                ("An input of zeros", np.zeros_like),
                ("Another input", other),
            )
        ]

    def _unknown_start(self, plain: Judgement) -> Diagnosis | None:
        """The difference dies out: the run started from a state that is not known."""
        if not self.seen.causal or not self.net.recurrent:
            return None
        good = [
            np.all([ok.all(1) for ok in part.values()], axis=0)[:end]
            for part, end in zip(plain.ok, self.compared, strict=True)
            if len({len(ok) for ok in part.values()}) == 1
        ]
        if len(good) != len(plain.ok) or any(g.size < 8 for g in good):
            return None
        settled = [int(np.flatnonzero(~g)[-1]) + 1 if not g.all() else 0 for g in good]
        if any(
            g.size - s < max(4, 0.2 * g.size)
            for g, s in zip(good, settled, strict=True)
        ):
            return None
        if any(g[:s].mean() > 0.5 for g, s in zip(good, settled, strict=True) if s):
            return None
        mistake = Mistake(
            "start-state", self.net.recurrent, {"from": "unknown"}, fitted=0
        )
        judged = Judgement((mistake,), "single", plain.rms, plain.max_abs, 0.0, None)
        finding = self._finding(judged)
        return self._make(
            "explained", plain,
            f"the observed numbers are what this network gives when {finding.words}: "
            f"they differ at first and agree to single precision from step "
            f"{max(settled) + 1} on",
            findings=(finding,), tied=1,
            notes=("pass states=... to try states that you know of",),
        )  # fmt: skip

    def _undecidable(self, outcome: Outcome) -> Diagnosis:
        count = self.seen.size
        findings = tuple(self._finding(j) for j in outcome.weak[:MOST_FINDINGS])
        return self._make(
            "undecidable", outcome.plain,
            f"{count} observed number{'s' if count > 1 else ''} cannot decide between "
            f"{sum(self.search.tried.values())} candidates: {len(outcome.weak)} of "
            "them fit. Observe more steps, more sequences or the output of a layer.",
            findings=findings, tied=len(findings),
        )  # fmt: skip

    def _visible_from(self, plain: Judgement) -> int:
        """The first step with a difference that is not small beside the largest."""
        name = self.seen.outputs[0]
        found = []
        for mine, theirs in zip(plain.values, self.seen.values, strict=True):
            far = abs(mine[name] - theirs[name][: len(mine[name])]).max(axis=1)
            found.append(int(np.argmax(far > 0.02 * far.max(initial=0))))
        return min(found)

    def _unexplained(self, outcome: Outcome) -> Diagnosis:
        tried = self.search.tried
        nearest = tuple(
            (self._finding(j).words, j.max_abs) for j in outcome.best[:3] if j.mistakes
        )
        families = sorted({m.name for m in self.search.singles})
        return self._make(
            "unexplained", outcome.plain,
            f"nothing in the catalogue explains the numbers: {tried[1]} single "
            "mistakes" + (f" and {tried[2]} pairs" if tried[2] else "")
            + " were made, and none gives them",
            nearest=nearest,
            notes=(
                "ruled out, alone" + (" and in pairs" if tried[2] else "")
                + f": {', '.join(families)}",
                "the output of a layer would narrow it down: pass layers={name: ...}",
                *([_DROPPING] if self._drops() else []),
            ),
        )  # fmt: skip

    def _drops(self) -> bool:
        return any(
            isinstance(layer, Dropout) and layer.probability > 0
            for layer in self.net.layers.values()
        )

    def _facts(self, plain: Judgement) -> tuple[str, ...]:
        """What can be said before any hypothesis."""
        facts = []
        if plain.first_bad is None:
            return ()
        timed = any(n in self.base.wired.timed for n in self.seen.outputs)
        if timed and self.steps > 1:
            visible = self._visible_from(plain)
            if plain.first_bad == 0 < visible:
                facts.append(f"seen: up to step {visible} the numbers hardly differ")
            elif plain.first_bad > 0:
                facts.append(
                    "seen: the first step agrees and the next does not: what is "
                    "carried from step to step is wrong, not what comes in"
                    if plain.first_bad == 1
                    else f"seen: the numbers agree up to step {plain.first_bad}"
                )
            else:
                facts.append("seen: the numbers differ from the first step on")
        layers = [n for n in self.seen.names if n not in self.seen.outputs]
        if layers:
            bad = [n for n in layers if not all(p[n].all() for p in plain.ok)]
            good = [n for n in layers if n not in bad]
            words = f"seen: of the observed layers {', '.join(bad) or 'none'} differ"
            facts.append(words + (f", {', '.join(good)} agree" if good else ""))
        return tuple(facts)


_LEVEL_WORDS = {
    "single": "single precision",
    "half": "half precision (1e-3), as float16, TF32 or rounded numbers would give",
    "bfloat16": "bfloat16 precision (1e-2)",
    "close": "a small part of the signal, as noise or coarse rounding would give",
}


_SMOOTH = (
    "what is left changes smoothly from step to step; rounding scatters, so a small "
    "mistake is likely that the catalogue does not have"
)
_DROPPING = (
    "the network has dropout, which draws at random if it is left on: run twice, and "
    "if the numbers change from run to run, switch it off (training=False, eval())"
)
_GROWN = (
    "rounding grows in this network until it is as large as the signal: only the first "
    "{compared} of {whole} steps were compared, the others are not the same twice"
)
_ONE_STEP = (
    "one step says nothing about recurrent weights, forget gates and states: observe "
    "more of them"
)


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _alike(a: Judgement, b: Judgement) -> bool:
    return len(a.mistakes) == len(b.mistakes) and a.level == b.level


def _differ(values: list[np.ndarray]) -> bool:
    """Whether every one of them differs visibly from the first."""
    scale = abs(values[0]).max(initial=0) + 1e-30
    return all(
        other.shape != values[0].shape or abs(other - values[0]).max() > 1e-4 * scale
        for other in values[1:]
    )
