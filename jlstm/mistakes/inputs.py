"""Mistakes in what goes in: the order of features, steps and sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, permutations
from typing import Any

import numpy as np

from .lengths import lengths, one_answer
from .scales import neutral, scales
from .trial import TIME, Mistake, Trial, of_input

MOST_SHIFT = 20


def inputs(trial: Trial) -> Iterator[Mistake]:
    """All mistakes in the input of a network, simple ones first."""
    yield from scales(trial)
    yield from _sequences(trial)
    xs = [next(iter(run.x.values())) for run in trial.runs]
    if len(trial.runs[0].x) > 1 or any(x.ndim != 2 for x in xs):
        return
    yield from _columns(xs[0].shape[1])
    steps = min(len(x) for x in xs)
    if steps < 2:
        return
    yield from _times(trial, xs, steps)
    yield from lengths(trial)


def _sequences(trial: Trial) -> Iterator[Mistake]:
    """The sequences in another order, such as that of file names sorted as text."""
    count = len(trial.runs)
    if count < 2 or not one_answer(trial):
        return
    whole = tuple(range(count))
    found = {tuple(sorted(whole, key=lambda k: str(k + first))) for first in (0, 1)}
    found |= {whole[::-1], (*whole[1:], 0), (count - 1, *whole[:-1])}
    for order in sorted(found - {whole}):
        yield sequences_reordered(order)


@cache  # the search finds orders that are listed too: they are one candidate
def sequences_reordered(order: tuple[int, ...]) -> Mistake:
    """Sequence j was given what belongs to sequence `order[j]`."""

    def change(trial: Trial) -> Trial:
        return trial._replace(runs=tuple(trial.runs[k] for k in order))

    return Mistake(
        "sequences-reordered", (), {"order": order}, TIME, change,
        frozenset({"x sequences", "start"}), common=False, paired=False,
    )  # fmt: skip


def _times(trial: Trial, xs: list[np.ndarray], steps: int) -> Iterator[Mistake]:
    """Steps and memory in another order."""
    yield of_input("time-reversed", {}, TIME, lambda x: x[::-1], "time")
    if all(x.shape[0] == x.shape[1] for x in xs):
        yield of_input("transposed", {}, TIME, np.transpose, "time columns")
    elif xs[0].shape[1] > 1:
        for read, (out, back) in {"columns": "CF", "rows": "FC"}.items():
            yield of_input(
                "input-memory-order", {"read": read}, TIME, _refilled(out, back),
                "time columns",
            )  # fmt: skip
    for step, k in (("first", 0), ("last", -1)):
        yield of_input(
            "input-frozen", {"step": step}, TIME,
            lambda x, k=k: np.broadcast_to(x[k], x.shape), "time",
        )  # fmt: skip
    fills: dict[str, Any] = {"zero": 0.0, "edge": None, "roll": None}
    if (zero := neutral(trial)) is not None:
        fills["neutral"] = zero
    for k in _shifts(steps):
        for fill, value in fills.items():
            yield of_input(
                "time-shift", {"steps": k, "fill": fill}, TIME, shifted(k, fill, value),
                "time", common=abs(k) <= 2, paired=abs(k) <= 5,
            )  # fmt: skip


def _refilled(out: Any, back: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: x.ravel(out).reshape(x.shape, order=back)


# --- order ----------------------------------------------------------------------------


def _columns(features: int) -> Iterator[Mistake]:
    if features < 2:
        return
    backwards = tuple(range(features))[::-1]
    yield of_input("features-reversed", {}, TIME, lambda x: x[:, ::-1], "columns")
    orders: list[tuple[int, ...]] = []
    if features <= 4:
        orders = list(permutations(range(features)))
    else:
        whole = tuple(range(features))
        orders = [(*whole[k:], *whole[:k]) for k in (1, features - 1)]
        if features <= 20:
            orders += [swapped(whole, a, b) for a, b in combinations(whole, 2)]
    for order in orders:
        if order not in (tuple(range(features)), backwards):
            yield reordered(order, common=features <= 3, paired=features <= 4)


def reordered(
    order: tuple[int, ...], *, common: bool = False, paired: bool = False
) -> Mistake:
    """Feature j was given what belongs to feature `order[j]`."""
    return of_input(
        "features-permuted", {"order": order}, TIME, _taken(order), "columns",
        common=common, paired=paired,
    )  # fmt: skip


def swapped(whole: tuple[int, ...], a: int, b: int) -> tuple[int, ...]:
    """An order with the places a and b exchanged."""
    changed = list(whole)
    changed[a], changed[b] = whole[b], whole[a]
    return tuple(changed)


def _taken(order: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: x[:, list(order)]


def _shifts(steps: int) -> list[int]:
    most = min(MOST_SHIFT, steps // 3)
    return [sign * k for k in range(1, most + 1) for sign in (1, -1)]


def shifted(k: int, fill: str, value: Any = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """Delayed by k steps, or early by -k, the gap filled."""

    def change(x: np.ndarray) -> np.ndarray:
        moved = np.roll(x, k, axis=0)
        gap = slice(0, k) if k > 0 else slice(k, None)
        if fill == "edge":
            moved[gap] = x[0] if k > 0 else x[-1]
        elif fill != "roll":
            moved[gap] = value
        return moved

    return change
