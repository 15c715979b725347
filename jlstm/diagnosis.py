"""Why do the numbers differ? Which mistake on this network produces them?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from .errors import InputError
from .finding import Diagnosis as Diagnosis
from .finding import Finding, describe
from .mistakes import Mistake, Trial, catalogue, precisions
from .mistakes.bench import Values, evaluate
from .mistakes.evidence import Judge, Judgement, Observation
from .mistakes.search import FULL_ROWS, Outcome, Search
from .mistakes.trial import compose, right
from .network import Network, State, as_inputs
from .recorded import Case, cases, decimals, fit
from .recurrent import Bidirectional, Recurrent
from .rounding import as_columns

TIE = 3.0
"""Two explanations are tied unless one leaves this many times less than the other."""
MOST_FINDINGS = 12


def diagnose(
    net: Network,
    x: Any,
    observed: Any,
    *,
    states: State | Collection[State] | None = None,
    layers: Mapping[str, Any] | Collection[Mapping[str, Any]] | None = None,
    max_mistakes: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> Diagnosis:
    """Find the mistake that explains numbers which disagree with a network.

    The observed numbers are explained by a mistake where the network, run with that
    mistake, gives the same numbers up to rounding. Every mistake of the catalogue is
    made in turn, then every two of them together; slopes, offsets, permutations and
    lengths are found with them.

    Arguments:
        net: the network as it should be.
        x: what went in, `(time, features)`, as `predict` takes it; a *list* is several
            sequences.
        observed: what came out where it went wrong, of the shape that `predict`
            returns; a list where x is one. Class labels instead of scores can be
            ranked but prove nothing.
        states: states that the wrong run may have started from.
        layers: observed outputs of layers or of inner signals by name, which tell
            apart what the output alone cannot: `{"lstm_1": (time, hidden)}`.
        max_mistakes: 1 or 2 mistakes at once.
        progress: called as `progress(what, done, total)`.

    Returns:
        a `Diagnosis`; print it.

    Raises:
        InputError: shapes or names that do not fit, or values that are not finite.
    """
    if max_mistakes not in (1, 2):
        raise InputError("mistakes at once", found=max_mistakes, expected="1 or 2")
    todo = cases(net, x, observed, layers)
    for number, case in enumerate(todo, 1):
        try:
            as_inputs(net.astype(np.float32), case.x, whole=True)
        except InputError as error:
            if len(todo) > 1:
                error.place = f"sequence {number}, {error.place}"
            raise
        _require_finite(net, case)
    base = right(net, [case.x for case in todo], None)
    every = catalogue(base, saved=net.saved, given=_listed_states(states))
    if any(case.labels for case in todo):
        return _ranked_by_labels(net, base, todo, every)
    seen = _observation(net, base, todo)
    search = Search(
        Judge(net, base, seen, FULL_ROWS, precisions()), base, seen, every, progress
    )
    return _Report(net, base, seen, search, todo).write(max_mistakes)


def _listed_states(states: Any) -> tuple[State, ...]:
    if states is None:
        return ()
    return (dict(states),) if isinstance(states, Mapping) else tuple(states)


def _require_finite(net: Network, case: Case) -> None:
    given = case.x if isinstance(case.x, tuple | Mapping) else (case.x,)
    if not isinstance(given, Mapping):
        given = dict(zip(net.inputs, given, strict=True))
    _refuse_gaps("the input", given, "leave these steps out")
    flat = [
        str(k + 1)
        for a in given.values()
        if np.ndim(a) == 2 and len(a) > 1
        for k in np.flatnonzero(np.ptp(np.asarray(a, float), axis=0) == 0)
    ]
    hint = "a NaN in a recurrent network never goes away again: look at its first step"
    if flat:
        hint = (
            f"feature {', '.join(flat)} of the input is constant: dividing by its "
            "standard deviation, which is 0, gives NaN"
        )
    _refuse_gaps("the observation", case.outputs | case.layers, hint)


def _refuse_gaps(what: str, arrays: Mapping[str, Any], hint: str) -> None:
    for name, array in arrays.items():
        bad = ~np.isfinite(np.asarray(array, float))
        if bad.any():
            first = np.argwhere(bad)[0] + 1
            raise InputError(
                f"{what} holds values that are not finite",
                place=f"'{name}'",
                found=f"{int(bad.sum())} of {bad.size}, the first in row {first[0]}",
                expected="finite numbers",
                do=hint,
            )


def _observation(net: Network, base: Trial, todo: list[Case]) -> Observation:
    """What was observed, in the shape of what the network returns."""
    names = tuple(net.outputs) + tuple(todo[0].layers)
    if unknown := [n for case in todo for n in case.layers if n not in names]:
        raise InputError(
            "not the same layers were observed for every sequence", found=unknown[0]
        )
    shapes = net.shapes
    values: list[Values] = []
    for case, run in zip(todo, base.runs, strict=True):
        one: Values = {}
        for name, record in (case.outputs | case.layers).items():
            want = _shape(net, shapes, name, run.end)
            timed = shapes[name].time if name in shapes else True
            one[name] = as_columns(fit(name, record, want), timed)
        values.append(one)
    return Observation(tuple(values), net.outputs, base.wired.stepwise)


def _shape(net: Network, shapes: Any, name: str, steps: int) -> tuple[int, ...]:
    """The shape of an output, of a layer, or of an inner signal such as "lstm_1.c"."""
    if name in shapes:
        shape = shapes[name]
        return (*((steps,) if shape.time else ()), *shape.space, shape.channels)
    owner, _, signal = name.partition(".")
    layer = net.layers.get(owner)
    if isinstance(layer, Bidirectional):
        way, _, signal = signal.partition(".")
        layer = getattr(layer, way, None)
    if isinstance(layer, Recurrent) and signal in layer.signals:
        return (steps, layer.hidden_size)
    raise InputError(
        "no such layer or signal",
        found=name,
        expected=", ".join([*net.shapes, *(f"{n}.h" for n in net.recurrent)]),
    )


# --- the report -----------------------------------------------------------------------


class _Report:
    """Turns the outcome of a search into a diagnosis."""

    def __init__(
        self,
        net: Network,
        base: Trial,
        seen: Observation,
        search: Search,
        todo: list[Case],
    ):
        self.net, self.base, self.seen, self.search = net, base, seen, search
        self.steps = sum(max(len(a) for a in values.values()) for values in seen.values)
        self.written = [decimals(a) for case in todo for a in case.outputs.values()]

    def write(self, max_mistakes: int) -> Diagnosis:
        """Search and say what came of it."""
        plain = self.search.judge.right
        if plain.level == "single":
            return self._agree(plain)
        if (coarse := self._precision(plain)) is not None:
            return coarse
        outcome = self.search.run(max_mistakes)
        if outcome.accepted:
            return self._explained(outcome)
        if plain.level:
            return self._make(
                "precision", plain,
                f"the numbers agree to {_LEVEL_WORDS[plain.level]}, and no mistake "
                "explains what is left",
            )  # fmt: skip
        if (late := self._unknown_start(plain)) is not None:
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
        return Diagnosis(
            verdict, summary, max_abs=plain.max_abs, steps=self.steps,
            tried=sum(self.search.tried.values()), **fields,
        )  # fmt: skip

    def _agree(self, plain: Judgement) -> Diagnosis:
        return self._make(
            "agree", plain,
            "these agree: the numbers are those of the network, to single precision "
            f"(largest difference {plain.max_abs:.1e} over {_steps(self.steps)})",
            facts=(),
        )  # fmt: skip

    def _precision(self, plain: Judgement) -> Diagnosis | None:
        """Rounded parameters or numbers written to few decimals."""
        written = [w for w in self.written if w is not None]
        if written and plain.max_abs <= 0.6 * 10.0 ** -min(written):
            return self._make(
                "precision", plain,
                f"the numbers agree as far as they were written, to {min(written)} "
                "decimals",
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

    def _finding(self, judged: Judgement) -> Finding:
        remedies = tuple(describe(m, self.net) for m in judged.mistakes)
        return Finding(
            judged.mistakes, judged.max_abs, judged.rms, judged.level, remedies
        )

    def _explained(self, outcome: Outcome) -> Diagnosis:
        best = outcome.accepted[0]
        limit = TIE * best.rms + 1e-13
        tied = [j for j in outcome.accepted if j.rms <= limit and _alike(j, best)]
        tied.sort(key=lambda j: (j.fitted, self._rank(j)))
        # The same with more numbers to fit is no other explanation.
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
            f"largest difference {first.max_abs:.1e} over {_steps(self.steps)}, "
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
        names = tuple(
            n for n in self.net.recurrent if n not in self.seen.names
        )  # their outputs
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
            if any(_differ([v[0][n] for v in found]) for n in self.net.outputs):
                return lead + f"{words} would tell them apart."
        return lead + (
            "For this network they are the same computation, as far as one input shows."
        )

    def _probes(self) -> list[tuple[str, tuple[Any, ...]]]:
        run = self.base.runs[0]
        zero = {name: np.zeros_like(a) for name, a in run.x.items()}
        rng = np.random.default_rng(1)
        other = {
            name: a.mean(0) + a.std(0) * rng.normal(size=a.shape) + rng.normal()
            for name, a in run.x.items()
        }
        return [
            ("An input of zeros", (run._replace(x=zero),)),
            ("Another input", (run._replace(x=other),)),
        ]

    def _unknown_start(self, plain: Judgement) -> Diagnosis | None:
        """The difference dies out: the run started from a state that is not known."""
        if not self.seen.causal or not self.net.recurrent:
            return None
        good = [
            np.all([ok.all(1) for ok in part.values()], axis=0)
            for part in plain.ok
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

    def _unexplained(self, outcome: Outcome) -> Diagnosis:
        tried = self.search.tried
        nearest = tuple(
            (self._finding(j).words, j.max_abs) for j in outcome.best[:3] if j.mistakes
        )
        families = sorted({m.name for m in self.search.singles})
        return self._make(
            "unexplained", outcome.plain,
            f"nothing in the catalogue explains the numbers: {tried[1]} single "
            f"mistakes and {tried[2]} pairs were made, and none gives them",
            nearest=nearest,
            notes=(
                "ruled out, alone" + (" and in pairs" if tried[2] else "")
                + f": {', '.join(families)}",
                "the output of a layer would narrow it down: pass layers={name: ...}",
            ),
        )  # fmt: skip

    def _facts(self, plain: Judgement) -> tuple[str, ...]:
        """What can be said before any hypothesis."""
        facts = []
        if plain.first_bad is None:
            return ()
        timed = any(n in self.base.wired.timed for n in self.seen.outputs)
        if timed and self.steps > 1:
            if plain.first_bad > 0:
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


# --- labels ---------------------------------------------------------------------------


def _ranked_by_labels(
    net: Network, base: Trial, todo: list[Case], every: list[Mistake]
) -> Diagnosis:
    """Labels prove nothing, but they rank."""
    single = [m for m in every if m.common]
    trials = [base, *(compose(base, [m]) for m in single)]
    found = evaluate(trials, net.outputs)
    classes = np.array(net.classes)
    total, agree = 0, np.zeros(len(trials), int)
    for s, case in enumerate(todo):
        for ref, names in case.labels.items():
            names = np.atleast_1d(names)
            total += names.size
            for k, values in enumerate(found):
                scores = np.nan_to_num(values[s][ref], nan=-np.inf)
                agree[k] += int((classes[scores.argmax(-1)] == names).sum())
    order = np.argsort(-agree[1:], kind="stable")
    best = [k for k in order[:MOST_FINDINGS] if agree[k + 1] > agree[0]]
    findings = tuple(
        Finding(
            (single[k],), float("nan"), float("nan"), "labels",
            (describe(single[k], net),),
        )
        for k in best
    )  # fmt: skip
    words = (
        f"labels prove nothing: the network as it is keeps {agree[0]} of {total}, and "
        f"{int((agree[1:] >= agree[1:].max()).sum())} mistakes keep "
        f"{agree[1:].max()}. Compare scores"
    )
    return Diagnosis(
        "undecidable", words, findings, len(findings), "", float("nan"), total,
        len(trials), notes=("the findings are ranked by labels alone",),
    )  # fmt: skip
