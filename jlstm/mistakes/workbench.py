"""What every stage of the search needs: trials from mistakes, runs from trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .bench import Values, evaluate
from .evidence import Observation, errors, score
from .trial import PARAMETERS, Mistake, Trial, compose

Mistakes = tuple[Mistake, ...]
Tick = Callable[[str, int, int], None]


class Scored(NamedTuple):
    """A candidate after a quick look."""

    score: float
    mistakes: Mistakes


class Workbench:
    """The network as it is, its input, and what was observed."""

    def __init__(self, base: Trial, observed: Observation, tick: Tick | None = None):
        self.base = base
        self.observed = observed
        self.tick = tick or (lambda what, done, total: None)

    def evaluate(
        self, candidates: Sequence[Mistakes], upto: int | None, what: str
    ) -> list[tuple[Trial, list[Values]]]:
        """Run candidates, those with the same parameters side by side."""
        trials = self.trials(candidates)
        total = sum(len(trial.runs) for trial in trials)
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self.tick(what, done, total)

        found = evaluate(trials, self.observed.names, upto=upto, tick=tick)
        return list(zip(trials, found, strict=True))

    def trials(
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

    @property
    def timed(self) -> bool:
        """Whether the first steps can be looked at alone: every step has its output."""
        names = self.observed.outputs
        return self.observed.causal and all(n in self.base.wired.timed for n in names)

    def look(self, pairs: list[Mistakes], upto: int, what: str) -> list[Scored]:
        """Scores of candidates, run for longer."""
        rows = upto if self.observed.causal else None
        found = self.evaluate(pairs, rows, what)
        observed = self.observed.first(len(self.observed.values), rows)
        return [
            Scored(score(errors(values, observed)), pair)
            for pair, (_, values) in zip(pairs, found, strict=True)
        ]
