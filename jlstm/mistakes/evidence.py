"""How well a trial explains what was observed, and how much that proves.

A candidate is judged at four levels. It is *exact* where the difference is within what
rounding in single precision explains; the rounding is measured on the mistaken run
itself, by disturbing its parameters (`jlstm.rounding`), because a mistake may make a
network forget or amplify its errors. Coarser levels stand for half precision and
bfloat16. And a candidate is *close* where the difference has the size of noise that is
small beside what it explains.

That a fit is good proves nothing if many mistakes were tried on few numbers. So the
explained numbers are counted in bits, log2 of how much nearer each number came than
without the mistake, and must outweigh log2 of the number of mistakes tried. Scores that
are all 0 or 1 hold no more than labels do.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..network import Network
from ..rounding import FACTOR, ROUNDOFF, RUNS, disturb
from .bench import Values, evaluate
from .engine import wire
from .trial import Mistake, Trial, compose

LEVELS = {"single": ROUNDOFF["single"], "half": ROUNDOFF["half"], "bfloat16": 2.0**-8}
CAPS = {"single": np.inf, "half": 0.005, "bfloat16": 0.05}
"""A difference above this part of the signal is not called one of that precision."""
NOISE = 5e-3
"""A fit is close where it leaves at most this part of the signal."""
WHITE = 0.5
"""Noise and rounded numbers are correlated less than this from step to step."""
MIDDLE = 0.1
"""and their median is at least this part of their root mean square."""
FAINT = 3e-4
"""Where correlation cannot be measured, noise is at most this part of the signal."""
CHAOS = 0.01
"""Where rounding moves the network by this part of the signal nothing is compared"""
LEAST_ROWS = 8
"""after so many steps."""
MARGIN_BITS = 5.0
BITS_A_NUMBER = 16.0
"""What a fitted number costs: about so many bits of it were chosen."""
SURE = 1e-6
"""Scores that are 0 or 1 to this are labels."""
FLOOR, CEILING = 1e-12, 1e3


@dataclasses.dataclass(frozen=True)
class Observation:
    """What was observed: outputs and layers by name, for each sequence."""

    values: tuple[Values, ...]
    outputs: tuple[str, ...]
    causal: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Outputs, then layers."""
        return tuple(self.values[0])

    @functools.cached_property
    def scale(self) -> dict[str, np.ndarray]:
        """The size of each column: its spread, or where it is constant its value."""
        found = {}
        for name in self.names:
            every = np.concatenate([v[name] for v in self.values])
            spread = every.std(0) if len(every) > 1 else np.zeros(every.shape[1])
            size = np.abs(every).max(0)
            spread = np.where(spread > 1e-6 * size, spread, size)
            # A column that never moves is measured by the others.
            found[name] = np.maximum(spread, 1e-3 * spread.max(initial=0)) + 1e-30
        return found

    @property
    def size(self) -> int:
        """How many numbers were observed."""
        return sum(a.size for values in self.values for a in values.values())

    @functools.cached_property
    def information(self) -> float:
        """How many bits it can hold: few where scores are nothing but labels."""
        rows = [v[name] for v in self.values for name in v]
        sure = [
            a.shape[1] > 1 and np.all(abs(a.max(1) - 1) < SURE) and a.min() > -SURE
            and np.all(abs(a.sum(1) - 1) < SURE)
            for a in rows
        ]  # fmt: skip
        if not all(sure):
            return np.inf
        return sum(len(a) * float(np.log2(a.shape[1])) for a in rows)

    def first(self, sequences: int, rows: int | None) -> Observation:
        """A part of it for a quick look."""
        part = tuple(
            {name: a[:rows] for name, a in values.items()}
            for values in self.values[:sequences]
        )
        return dataclasses.replace(self, values=part)


def apply_after(
    trial: Trial, values: Values, outputs: Sequence[str]
) -> tuple[Values, bool]:
    """The outputs as they were treated afterwards; whether rows are missing."""
    if not trial.after:
        return values, False
    partial = any(getattr(function, "partial", False) for function in trial.after)
    found = dict(values)
    for name in outputs:
        for function in trial.after:
            found[name] = function(found[name])
    return found, partial


def errors(
    found: Sequence[Values], observed: Observation, *, partial: bool = False
) -> np.ndarray:
    """All differences in one row, in units of the size of their column."""
    scale = observed.scale
    rows = []
    for mine, theirs in zip(found, observed.values, strict=False):
        for name, record in theirs.items():
            with np.errstate(invalid="ignore", over="ignore"):
                error = np.abs(mine[name] - record) / scale[name]
            if partial and name in observed.outputs:
                error = error[np.isfinite(error).all(1)]
            rows.append(error.ravel())
    error = np.concatenate(rows)
    return np.where(np.isfinite(error), np.minimum(error, CEILING), CEILING)


def score(error: np.ndarray) -> float:
    """The mean order of magnitude of the differences: the lower the better."""
    if not error.size:
        return float(np.log10(CEILING))
    return float(np.log10(np.maximum(error, FLOOR)).mean())


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """A candidate and what became of it.

    Arguments:
        mistakes: the candidate; none for the network as it is.
        level: "single", "half", "bfloat16", "close" or "".
        rms: of the differences, as part of the signal.
        max_abs: the largest difference.
        bits: how much of the observation it explains; see the module.
        first_bad: the first step that is not explained to single precision.
        noisy: what it leaves looks like noise, or like numbers written to few digits.
        values: what the candidate gives, for each sequence.
        ok: by sequence and name, where it is within single precision.
    """

    mistakes: tuple[Mistake, ...]
    level: str
    rms: float
    max_abs: float
    bits: float
    first_bad: int | None
    noisy: bool = False
    values: tuple[Values, ...] = dataclasses.field(default=(), repr=False)
    ok: tuple[dict[str, np.ndarray], ...] = dataclasses.field(default=(), repr=False)

    @property
    def fitted(self) -> int:
        """Numbers that were fitted."""
        return sum(mistake.fitted for mistake in self.mistakes)


class Judge:
    """Judges candidates against an observation, with the tolerance of each."""

    def __init__(
        self,
        net: Network,
        base: Trial,
        observed: Observation,
        most: int,
        precisions: Sequence[Mistake] = (),
        written: float | None = None,
    ):
        rng = np.random.default_rng(0)
        single = net.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            nets = [disturb(single, rng) for _ in range(RUNS)]
        self.noisy = [base._replace(wired=wire(other)) for other in nets]
        self.base = base
        self.observed = observed
        self.most = most
        self.written = written
        """The last digit to which outputs were written, if to few decimals."""
        self.plain: np.ndarray | None = None
        self.horizon: list[int] | None = None
        """The steps of each sequence that are compared: all, unless rounding grows."""
        self.right, *self.rounded = self.judge([(), *((m,) for m in precisions)])

    def judge(self, candidates: Sequence[tuple[Mistake, ...]]) -> list[Judgement]:
        """Run each candidate in full, and disturbed, and say how well it explains."""
        trials = []
        for mistakes in candidates:
            trials += [compose(one, mistakes) for one in (self.base, *self.noisy)]
        found = evaluate(trials, self.observed.names, upto=self.most)
        each = len(self.noisy) + 1
        judged = []
        for k, mistakes in enumerate(candidates):
            part = slice(each * k, each * (k + 1))
            judged.append(self._one(mistakes, trials[part], found[part]))
        return judged

    def _one(
        self, mistakes: tuple[Mistake, ...], trials: list[Trial], found: list[Any]
    ) -> Judgement:
        observed = self.observed.first(len(self.observed.values), self.most)
        runs = []
        partial = False
        for trial, sequences in zip(trials, found, strict=True):
            pairs = [apply_after(trial, v, observed.outputs) for v in sequences]
            runs.append([values for values, _ in pairs])
            partial = any(part for _, part in pairs)
        scale = observed.scale
        size = {
            name: np.max([abs(v[name]).max(initial=0) for v in observed.values])
            for name in observed.names
        }
        error, relative, tolerance = [], [], {level: [] for level in LEVELS}
        oks = []
        if self.horizon is None:
            self.horizon = self._horizon(runs, observed)
        for s, record in enumerate(observed.values):
            good = {}
            for name, theirs in record.items():
                mine = runs[0][s][name]
                with np.errstate(invalid="ignore", over="ignore"):
                    spread = np.max(
                        [abs(run[s][name] - mine) for run in runs[1:]], axis=0
                    )
                    far = abs(mine - theirs)
                spread = _so_far(spread, observed.causal)
                keep = np.ones(len(mine), bool)
                if partial and name in observed.outputs:
                    keep = np.isfinite(mine).all(1)
                keep[self.horizon[s] :] = False
                good[name] = np.zeros(theirs.shape, bool)
                for level, u in LEVELS.items():
                    limit = FACTOR * spread * (u / LEVELS["single"])
                    limit = limit + FACTOR * u * (abs(mine) + scale[name])
                    limit = np.minimum(limit, CAPS[level] * size[name])
                    tolerance[level].append(limit[keep].ravel())
                    if level == "single":
                        with np.errstate(invalid="ignore"):
                            good[name] = (far <= limit) | ~keep[:, None]
                error.append(far[keep].ravel())
                relative.append((far / scale[name])[keep].ravel())
            oks.append(good)
        return self._judgement(
            mistakes,
            np.concatenate(error),
            np.concatenate(relative),
            {level: np.concatenate(parts) for level, parts in tolerance.items()},
            tuple(runs[0]),
            tuple(oks),
        )

    @staticmethod
    def _horizon(runs: list[list[Values]], observed: Observation) -> list[int]:
        """Where rounding has grown to a good part of the signal, as chaos makes it."""
        found = []
        for s, record in enumerate(observed.values):
            steps = max(map(len, record.values()))
            for name in record if observed.causal else ():
                mine = runs[0][s][name]
                with np.errstate(invalid="ignore", over="ignore"):
                    spread = [abs(run[s][name] - mine) for run in runs[1:]]
                    part = np.max(spread, axis=0) / observed.scale[name]
                lost = ~(part.max(axis=1) <= CHAOS)
                if len(mine) > 1 and lost.any():
                    steps = min(steps, max(LEAST_ROWS, int(np.argmax(lost))))
            found.append(steps)
        return found

    def _judgement(
        self,
        mistakes: tuple[Mistake, ...],
        error: np.ndarray,
        relative: np.ndarray,
        tolerance: dict[str, np.ndarray],
        values: tuple[Values, ...],
        oks: tuple[dict[str, np.ndarray], ...],
    ) -> Judgement:
        bad = ~np.isfinite(error)
        error = np.where(bad, np.inf, error)
        relative = np.where(bad, CEILING, relative)
        level = ""
        for name, limit in tolerance.items():
            if error.size and np.all(error <= limit):
                level = name
                break
        rms = float(np.sqrt(np.mean(np.minimum(relative, CEILING) ** 2)))
        if not mistakes:
            self.plain = relative
            size = max(
                float(np.abs(a).max()) for v in self.observed.values for a in v.values()
            )
            if not level and error.size and np.all(error <= 1e-3 * size):
                level = "close"
        bits = 0.0
        if mistakes and self.plain is not None:
            before = float(np.sqrt(np.mean(np.minimum(self.plain, CEILING) ** 2)))
            noise = np.maximum(rms, 1e-16)
            near = np.maximum(relative, noise / 4)
            start = self.plain if self.plain.size == relative.size else before
            gain = np.log2(np.maximum(start, 1e-16) / near)
            bits = float(np.clip(gain, -20, 30).sum())
            bits = min(bits, self.observed.information)
            if not level and rms <= NOISE:
                level = "close"
        first = [
            int(np.flatnonzero(~good.all(1))[0])
            for part in oks
            for good in part.values()
            if not good.all()
        ]
        finite = error[np.isfinite(error)]
        largest = float(error.max(initial=0.0)) if finite.size == error.size else np.inf
        noisy = self._noisy(values, rms)
        if self.written is not None and largest <= 0.6 * self.written:
            level, noisy = level or "close", True
        return Judgement(
            mistakes, level, rms, largest, bits, min(first, default=None),
            noisy, values, oks,
        )  # fmt: skip

    def _noisy(self, values: tuple[Values, ...], rms: float) -> bool:
        """Whether neighbouring differences have nothing to do with each other."""
        products, squares = 0.0, 0.0
        gaps: list[np.ndarray] = []
        scale = self.observed.scale
        for mine, theirs, end in zip(
            values, self.observed.values, self.horizon or (), strict=True
        ):
            for name, record in theirs.items():
                if len(record) < 8:
                    continue
                here = slice(min(len(mine[name]), end))
                with np.errstate(invalid="ignore", over="ignore"):
                    gap = (mine[name][here] - record[here]) / scale[name]
                # What exploded is no noise, and its square no number.
                gap = np.clip(gap[np.isfinite(gap).all(1)], -CEILING, CEILING)
                products += float((gap[1:] * gap[:-1]).sum())
                squares += float((gap**2).sum())
                gaps.append(abs(gap).ravel())
        count = sum(map(len, gaps))
        if count < 16:
            return rms <= FAINT
        middle = float(np.median(np.concatenate(gaps)))
        spread_out = middle**2 >= MIDDLE**2 * squares / count
        return abs(products) <= WHITE * squares and spread_out


def _so_far(spread: np.ndarray, causal: bool) -> np.ndarray:
    spread = np.where(np.isnan(spread), 0, spread)
    if causal:
        return np.maximum.accumulate(spread, axis=0)
    return np.broadcast_to(spread.max(0, keepdims=True), spread.shape)
