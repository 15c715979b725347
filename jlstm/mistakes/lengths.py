"""Mistakes in the length of what goes in: padded, cut, steps left out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from .scales import neutral
from .trial import LENGTH, Mistake, Run, Trial

MOST_PADDING = 64
LIKELY = (*range(1, 13), 15, 16, 20, 24, 32)
ROUND = (
    10, 16, 20, 25, 30, 32, 40, 50, 60, 64, 75, 80, 96, 100, 120, 128, 144, 150,
    168, 180, 192, 200, 240, 250, 256, 300, 365, 400, 500, 512, 1000, 1024,
)  # fmt: skip
"""Lengths to which people cut or pad."""
MOST_DROPPED = 10
MOST_CUTS = 32


Value = tuple[Any, Any]
"""What pads: as it is called, and the number or row of numbers itself."""


def lengths(trial: Trial) -> Iterator[Mistake]:
    """All mistakes in the length of the input, simple ones first."""
    values: list[Value] = [(0.0, 0.0)]
    if (zero := neutral(trial)) is not None:
        values.append(("neutral", zero))
    yield from _padded(trial, values)
    if one_answer(trial):
        yield from _dropped(trial)
        yield from _fixed(trial, values)


def one_answer(trial: Trial) -> bool:
    """Whether every sequence has one answer, not one for each step."""
    return not set(trial.wired.outputs) & set(trial.wired.timed)


def _length_mistake(
    name: str, parameters: dict[str, Any], change: Any, **flags: bool
) -> Mistake:
    touches = frozenset({"x length", "start"})
    return Mistake(name, (), parameters, LENGTH, change, touches, **flags)


# --- padding --------------------------------------------------------------------------


def _padded(trial: Trial, values: list[Value]) -> Iterator[Mistake]:
    """Rows of zeros before or after, that a mini-batch may have brought."""
    sees_the_end = not trial.wired.stepwise or one_answer(trial)
    sides = ("left", "right") if sees_the_end else ("left",)
    count = len(trial.runs)
    ends = [run.end for run in trial.runs]
    missing = [max(ends) - n for n in ends]
    if any(missing):
        for side, (said, value) in product(sides[::-1], values):
            yield _length_mistake(
                "padding", {"side": side, "mates": True, "value": said},
                padded(side, missing, value),
            )  # fmt: skip

    def rows(side: str, n: int, one: Value, **flags: bool) -> Mistake:
        said, value = one
        parameters = {"side": side, "steps": n, "value": said}
        change = padded(side, [n] * count, value)
        return _length_mistake("padding", parameters, change, **flags)

    every = list(product(range(1, MOST_PADDING + 1), sides))
    for one in values:
        for n, side in every:
            yield rows(side, n, one, common=n in LIKELY, paired=n in LIKELY)
    # A pad of another value is rarer, so it is tried only where rows of zeros fail.
    for (n, side), number in product(every, (-1.0, 1.0)):
        often = n in (1, 5, 10)
        yield rows(side, n, (number, number), common=False, paired=often)


def padded(side: str, counts: list[int], value: Any = 0.0) -> Any:
    """Rows of `value` before or after each sequence."""

    def change(trial: Trial) -> Trial:
        # A quick look may take the first sequences only.
        runs = zip(trial.runs, counts, strict=False)
        return trial._replace(
            runs=tuple(_pad(run, side, count, value) for run, count in runs)
        )

    return change


def _pad(run: Run, side: str, count: int, value: Any) -> Run:
    x = {}
    for name, whole in run.x.items():
        a = whole[run.begin : run.end]
        rows = np.broadcast_to(np.asarray(value, a.dtype), (count, *a.shape[1:]))
        x[name] = np.concatenate([rows, a] if side == "left" else [a, rows])
    ahead = count if side == "left" else 0
    end, at = run.steps + count, run.at - run.begin + ahead
    return run._replace(x=x, begin=0, end=end, at=at)


# --- steps left out -------------------------------------------------------------------


def _dropped(trial: Trial) -> Iterator[Mistake]:
    """The first or the last steps were not run."""
    steps = min(run.steps for run in trial.runs)
    for k in range(1, min(MOST_DROPPED, steps - 1) + 1):
        for end in ("first", "last"):

            def change(trial: Trial, k: int = k, end: str = end) -> Trial:
                runs = [_cut(run, k, end == "first") for run in trial.runs]
                return trial._replace(runs=tuple(runs))

            yield _length_mistake("steps-dropped", {end: k}, change, common=k <= 2)


def _cut(run: Run, count: int, first: bool) -> Run:
    if first:
        return run._replace(begin=run.begin + count)
    return run._replace(end=run.end - count)


def _fixed(trial: Trial, values: list[Value]) -> Iterator[Mistake]:
    """All sequences cut or padded to one length, by some function for mini-batches."""
    found = sorted({run.steps for run in trial.runs})
    shortest, longest = found[0], found[-1]
    to = {n for n in ROUND if n <= 2 * longest}
    if shortest < longest:
        to |= set(found[:MOST_CUTS]) | {longest + n for n in range(1, MOST_PADDING + 1)}
    else:  # fewer steps and rows than these are listed by themselves
        to -= set(range(longest - MOST_DROPPED, longest + MOST_PADDING + 1))
    for length in sorted(to - {longest}):
        cuts = ("left", "right") if length < longest else ("",)
        pads = product(("left", "right"), values) if length > shortest else [("", None)]
        for (side, value), cut in product(pads, cuts):
            parameters: dict[str, Any] = {"length": length}
            if value is not None:
                parameters |= {"side": side, "value": value[0]}
            if cut:
                parameters["cut"] = cut
            likely = length in ROUND or length - longest in LIKELY
            likely = likely and (not (side and cut) or side == cut)
            yield _length_mistake(
                "fixed-length", parameters, fixed(length, side, cut, value),
                common=likely, paired=likely,
            )  # fmt: skip


def fixed(length: int, side: str, cut: str, value: Value | None) -> Any:
    """Every sequence of the same length."""

    def one(run: Run) -> Run:
        steps = run.steps
        if steps > length:
            return _cut(run, steps - length, cut == "left")
        return _pad(run, side, length - steps, value[1] if value else 0.0)

    return lambda trial: trial._replace(runs=tuple(map(one, trial.runs)))
