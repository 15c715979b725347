"""Mistakes in what goes in: scaling, orientation, time, padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from typing import Any

import numpy as np

from ..layers import Input
from .cells import FUNCTIONS
from .trial import (
    LENGTH,
    RUNNING,
    TIME,
    VALUES,
    Mistake,
    Run,
    Trial,
    with_input,
    with_switch,
)

MOST_SHIFT = 20
MOST_PADDING = 64
LIKELY = (*range(1, 13), 15, 16, 20, 24, 32)


def inputs(trial: Trial) -> Iterator[Mistake]:
    """All mistakes in the input of a network, simple ones first."""
    for name, layer in trial.wired.layers.items():
        if isinstance(layer, Input):
            several = sum(isinstance(x, Input) for x in trial.wired.layers.values()) > 1
            yield from _normalisation(name, layer, (name,) if several else ())
    yield from _own_statistics(trial)
    xs = [next(iter(run.x.values())) for run in trial.runs]
    if len(trial.runs[0].x) > 1 or any(x.ndim != 2 for x in xs):
        return
    yield from _columns(xs[0].shape[1])
    steps = min(len(x) for x in xs)
    if steps < 2:
        return
    yield _made("time-reversed", {}, TIME, lambda x: x[::-1], "time")
    if all(x.shape[0] == x.shape[1] for x in xs):
        yield _made("transposed", {}, TIME, np.transpose, "time columns")
    for k in _shifts(steps):
        for fill in ("zero", "edge", "roll"):
            yield _made(
                "time-shift", {"steps": k, "fill": fill}, TIME, shifted(k, fill),
                "time", common=abs(k) <= 2, paired=abs(k) <= 5,
            )  # fmt: skip
    yield from _padded(trial)
    yield from _dropped(trial, steps)


def _made(
    name: str,
    parameters: dict[str, Any],
    stage: int,
    change: Callable[[np.ndarray], np.ndarray],
    aspect: str,
    *,
    common: bool = True,
    paired: bool = True,
    layer: str | None = None,
) -> Mistake:
    return Mistake(
        name,
        (layer,) if layer else (),
        parameters,
        stage,
        with_input(change, layer),
        frozenset(f"x {part}" for part in aspect.split()),
        common,
        paired,
    )


# --- scaling --------------------------------------------------------------------------


def _normalisation(
    name: str, layer: Input, layers: tuple[str, ...]
) -> Iterator[Mistake]:
    if layer.normalization == "none":
        return
    omitted = with_switch([name], instead=FUNCTIONS.index("identity"))
    yield Mistake(
        "normalisation-omitted", layers, {}, RUNNING, omitted, frozenset({"x values"})
    )

    def again(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return normalised(layer, x)

    yield _made(
        "normalisation-twice", {}, VALUES, again, "values",
        layer=name if layers else None,
    )  # fmt: skip


def normalised(layer: Input, x: np.ndarray) -> np.ndarray:
    """What the input layer makes of `x`, in NumPy."""
    return np.asarray(layer(x))  # only arithmetic: NumPy in, NumPy out


def _own_statistics(trial: Trial) -> Iterator[Mistake]:
    """Standardised by the statistics of this very input, for one or all sequences."""
    if any(x.ndim != 2 for run in trial.runs for x in run.x.values()):
        return

    def by_sample(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(0)) / x.std(0, ddof=1)

    def by_population(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(0)) / x.std(0)

    def minmax(x: np.ndarray) -> np.ndarray:
        return (x - x.min(0)) / np.ptp(x, axis=0)

    ways = {
        "own-sample": by_sample,
        "own-population": by_population,
        "minmax": minmax,
        "minmax-symmetric": lambda x: 2 * minmax(x) - 1,
    }
    if all(len(x) > 1 for run in trial.runs for x in run.x.values()):
        for statistics, change in ways.items():
            yield _made(
                "standardised", {"statistics": statistics}, VALUES, _quiet(change),
                "values",
            )  # fmt: skip


def _quiet(change: Callable[[np.ndarray], np.ndarray]) -> Any:
    def apply(x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return change(x)

    return apply


def affine(slope: float, offset: float) -> Mistake:
    """The network was given `slope x + offset`."""
    return Mistake(
        "input-affine",
        (),
        {"slope": float(slope), "offset": float(offset)},
        VALUES,
        with_input(lambda x: slope * x + offset),
        frozenset({"x values"}),
        fitted=2,
    )


def spread_changed(trial: Trial, factor: float, n: int | None) -> Mistake:
    """The input layer divides by `factor` times its standard deviation."""

    def change(trial: Trial) -> Trial:
        runs = []
        for run in trial.runs:
            x = dict(run.x)
            for name in x:
                mean = np.asarray(trial.wired.layers[name].mean)
                x[name] = mean + (x[name] - mean) / factor
            runs.append(run._replace(x=x))
        return trial._replace(runs=tuple(runs))

    parameters = {"factor": float(factor)} | ({"n": n} if n else {})
    return Mistake(
        "std-ddof", (), parameters, VALUES, change, frozenset({"x values"}), fitted=1
    )


# --- order ----------------------------------------------------------------------------


def _columns(features: int) -> Iterator[Mistake]:
    if features < 2:
        return
    backwards = tuple(range(features))[::-1]
    yield _made("features-reversed", {}, TIME, lambda x: x[:, ::-1], "columns")
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
    return _made(
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


def shifted(k: int, fill: str) -> Callable[[np.ndarray], np.ndarray]:
    """Delayed by k steps, or early by -k, the gap filled."""

    def change(x: np.ndarray) -> np.ndarray:
        moved = np.roll(x, k, axis=0)
        gap = slice(0, k) if k > 0 else slice(k, None)
        if fill == "zero":
            moved[gap] = 0
        elif fill == "edge":
            moved[gap] = x[0] if k > 0 else x[-1]
        return moved

    return change


# --- length ---------------------------------------------------------------------------


def _padded(trial: Trial) -> Iterator[Mistake]:
    """Rows of zeros before or after, that a mini-batch may have brought."""
    ahead = [
        Mistake(
            "padding", (), {"side": side, "steps": n, "value": 0.0}, LENGTH,
            padded(side, [n] * len(trial.runs)), frozenset({"x length", "start"}),
            common=n in LIKELY, paired=n in LIKELY,
        )
        for n in range(1, MOST_PADDING + 1)
        for side in ("left", "right")
        if side == "left" or _sees_the_end(trial)
    ]  # fmt: skip
    lengths = [run.end for run in trial.runs]
    if len(set(lengths)) > 1:
        missing = [max(lengths) - n for n in lengths]
        for side in ("right", "left"):
            if side == "left" or _sees_the_end(trial):
                yield Mistake(
                    "padding", (), {"side": side, "mates": True, "value": 0.0}, LENGTH,
                    padded(side, missing), frozenset({"x length", "start"}),
                )  # fmt: skip
    yield from ahead
    # A pad of another value is rarer, so it is tried only where rows of zeros fail.
    for mistake in ahead:
        side, n = mistake.parameters["side"], mistake.parameters["steps"]
        for value in (-1.0, 1.0):
            yield Mistake(
                "padding", (), {"side": side, "steps": n, "value": value}, LENGTH,
                padded(side, [n] * len(trial.runs), value),
                frozenset({"x length", "start"}), common=False, paired=n in (1, 5, 10),
            )  # fmt: skip


def _sees_the_end(trial: Trial) -> bool:
    """Whether rows after the end change what was observed."""
    return not trial.wired.stepwise or not (
        set(trial.wired.outputs) <= set(trial.wired.timed)
    )


def padded(side: str, counts: list[int], value: float = 0.0) -> Any:
    """Rows of `value` before or after each sequence."""

    def pad(run: Run, count: int) -> Run:
        rows = ((count, 0), (0, 0)) if side == "left" else ((0, count), (0, 0))
        x = {
            name: np.pad(a[run.begin : run.end], rows, constant_values=value)
            for name, a in run.x.items()
        }
        ahead = count if side == "left" else 0
        end, at = run.end - run.begin + count, run.at - run.begin + ahead
        return run._replace(x=x, begin=0, end=end, at=at)

    def change(trial: Trial) -> Trial:
        # A quick look may take the first sequences only.
        runs = zip(trial.runs, counts, strict=False)
        return trial._replace(runs=tuple(pad(run, count) for run, count in runs))

    return change


def _dropped(trial: Trial, steps: int) -> Iterator[Mistake]:
    """The first or the last steps were not run, where one answer is given for all."""
    if set(trial.wired.outputs) & set(trial.wired.timed):
        return
    for k in range(1, min(10, steps - 1) + 1):
        for end in ("first", "last"):

            def change(trial: Trial, k: int = k, end: str = end) -> Trial:
                runs = [
                    run._replace(begin=run.begin + k)
                    if end == "first"
                    else run._replace(end=run.end - k)
                    for run in trial.runs
                ]
                return trial._replace(runs=tuple(runs))

            yield Mistake(
                "steps-dropped", (), {end: k}, LENGTH, change,
                frozenset({"x length"}), common=k <= 2,
            )  # fmt: skip
