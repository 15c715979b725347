"""Mistakes in what goes in, and in what is made of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from remedy_case import CROWD, PLAIN, SEVERAL, SQUARE, Case, Swap, World
from remedy_world import same

POPULATION: Swap = (
    "sigma = train.std(axis=0, ddof=1)",
    "sigma = train.std(axis=0)",
    "sigma = std(train, 0, 2);",
    "sigma = std(train, 1, 2);",
)
RESCALED: Swap = (
    "mu = train.mean(axis=0)\nsigma = train.std(axis=0, ddof=1)"
    "\n# ...\nx = (x - mu) / sigma",
    "low, high = train.min(axis=0), train.max(axis=0)"
    "\n# ...\nx = (x - low) / (high - low)",
    "mu = mean(train, 2);\nsigma = std(train, 0, 2);\n% ...\nx = (x - mu)./sigma;",
    "low = min(train, [], 2);  high = max(train, [], 2);"
    "\n% ...\nx = (x - low)./(high - low);",
)
SYMMETRIC: Swap = (
    "x = (x - low) / (high - low)",
    "x = 2 * (x - low) / (high - low) - 1",
    "x = (x - low)./(high - low);",
    "x = 2*(x - low)./(high - low) - 1;",
)
AS_NUMBERS: Swap = (
    "X = recording",
    "numbers = recording.ravel()\nX = numbers.reshape(T, C)",
    "X = recording;",
    "numbers = recording(:);\nX = reshape(numbers, C, T);",
)
BY_FEATURE: Swap = (
    "X = recording",
    'numbers = recording.T.ravel()\nX = numbers.reshape(T, C, order="F")',
    "X = recording;",
    "numbers = recording'(:);\nX = reshape(numbers, T, C)';",
)
BY_HAND: Swap = (
    "X = recording",
    "X = (recording - mu) / sigma",
    "X = recording;",
    "X = (recording - mu)./sigma;",
)
BY_HAND_BEFORE: Swap = (
    BY_HAND[0] + "\n# ...\nx = X[t]\nx = (x - mu) / sigma",
    BY_HAND[1] + "\n# ...\nx = X[t]",
    BY_HAND[2] + "\n% ...\nx = X(:,t);\nx = (x - mu)./sigma;",
    BY_HAND[3] + "\n% ...\nx = X(:,t);",
)


def _unit(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    return (x - by.min(0)) / (by.max(0) - by.min(0))


def _late(x: np.ndarray, k: int, fill: str) -> np.ndarray:
    """Rows moved by k steps, forward or back."""
    moved = np.roll(x, k, 0)
    rows = slice(0, k) if k > 0 else slice(k, None)
    edge = x[0] if k > 0 else x[-1]
    if fill != "roll":
        moved[rows] = edge if fill == "edge" else 0.0
    return moved


def given(name: str, change: Callable, parameters: Mapping = {}, **more) -> Case:
    """A mistake that changes the recording before anything else."""
    return Case(name, lambda d: d.regression(change(d.x)), parameters, **more)


def padded(wide: Any, **parameters) -> Case:
    """A mistake of nets that return the last step."""

    def wrong(d: World) -> np.ndarray:
        value = parameters.get("value", 0.0)
        return d.last(np.pad(d.x, (wide, (0, 0)), constant_values=value))

    return Case("padding", wrong, parameters, main="last", right=lambda d: d.last())


# --- scaling --------------------------------------------------------------------------


def _statistics() -> list[Case]:
    """Scaled by statistics of the recording, before the normalisation or instead."""
    cases = []
    for whole, names in (
        (False, ("own-sample", "own-population", "minmax", "minmax-symmetric")),
        (True, ("all-sample", "all-population", "all-minmax")),
    ):
        for name in names:

            def by_hand(d: World, whole: bool = whole, name: str = name) -> np.ndarray:
                of = np.vstack([d.longer, d.x]) if whole else d.x
                if "minmax" in name:
                    unit = (d.x - of.min(0)) / (of.max(0) - of.min(0))
                    return 2 * unit - 1 if "symmetric" in name else unit
                centred = of - sum(of) / len(of)
                n = len(of) - ("sample" in name)
                return (d.x - sum(of) / len(of)) / np.sqrt(sum(centred**2) / n)

            cases += [
                Case("standardised", lambda d, f=by_hand: d.regression(f(d)),
                     {"statistics": name}),
                Case("standardised", lambda d, f=by_hand: d.regression(scaled=f(d)),
                     {"statistics": name, "instead": True}),
            ]  # fmt: skip
    return cases


def _partial() -> list[Case]:
    forms: dict[str, Callable] = {
        "mean-only": lambda x, m, s: x - m,
        "std-only": lambda x, m, s: x / s,
        "variance": lambda x, m, s: (x - m) / (s * s),
        "multiplied": lambda x, m, s: (x - m) * s,
    }
    cases = []
    for form, change in forms.items():

        def wrong(d: World, change: Callable = change) -> np.ndarray:
            m, s = d.train.mean(0), d.train.std(0, ddof=1)
            return d.regression(scaled=change(d.x, m, s))

        cases.append(Case("normalisation-partial", wrong, {"form": form}))

    def unit(d: World) -> np.ndarray:
        return d.regression(scaled=_unit(d.x, d.train))

    def symmetric(d: World) -> np.ndarray:
        return d.regression(scaled=2 * _unit(d.x, d.train) - 1)

    return [
        *cases,
        Case("normalisation-partial", symmetric, {"form": "symmetric"}, right=unit,
             swaps=(RESCALED,)),
        Case("normalisation-partial", unit, {"form": "zero-one"}, right=symmetric,
             swaps=(RESCALED, SYMMETRIC)),
    ]  # fmt: skip


# --- length ---------------------------------------------------------------------------


def neutral(d: World, rows: int) -> np.ndarray:
    """What the normalisation turns into zeros."""
    return np.tile(d.train.mean(0), (rows, 1))


def _moved_by_hand(k: int) -> Case:
    def wrong(d: World) -> np.ndarray:
        rows = neutral(d, abs(k))
        return d.regression(np.vstack([rows, d.x[:-k]] if k > 0 else [d.x[-k:], rows]))

    return Case(
        "time-shift", wrong, {"steps": k, "fill": "neutral"}, swaps=(BY_HAND_BEFORE,)
    )


def _padded_by_hand(side: str, rows: int, **parameters) -> Case:
    def wrong(d: World) -> np.ndarray:
        parts = [d.x, neutral(d, rows)]
        return d.last(d.scaled(np.vstack(parts if side == "right" else parts[::-1])))

    parameters |= {"side": side, "value": "neutral"}
    return Case("padding", wrong, parameters, main="last", swaps=(BY_HAND,),
                right=lambda d: d.last(d.scaled(d.x)))  # fmt: skip


def _fixed(length: int, cut: str, side: str, value: Any = 0.0) -> Case:
    """Sequences of 10 and of 7 steps brought to one length."""
    by_hand = value == "neutral"

    def brought(d: World, x: np.ndarray) -> np.ndarray:
        rows = range(len(x) - length, len(x)) if cut == "left" else range(length)
        if len(x) > length:
            return x[list(rows)]
        missing = length - len(x)
        more = neutral(d, missing) if by_hand else np.full((missing, d.C), value)
        return np.vstack([more, x] if side == "left" else [x, more])

    def numbers(d: World, change: Callable) -> np.ndarray:
        return d.answers([(d.scaled if by_hand else same)(change(x))
                          for x in d.sequences])  # fmt: skip

    parameters = {"length": length} | ({"cut": cut} if cut else {})
    parameters |= {"side": side, "value": value} if side else {}
    return Case(
        "fixed-length",
        lambda d: numbers(d, lambda x: brought(d, x)),
        parameters,
        right=lambda d: numbers(d, same),
        main="answers",
        swaps=(BY_HAND,) if by_hand else (),
    )


def _fixed_cases() -> list[Case]:
    ends = ("left", "right")
    return [
        *(_fixed(6, cut, "") for cut in ends),
        *(_fixed(12, "", side, v) for side in ends for v in (0.0, "neutral")),
        *(_fixed(8, cut, side, v) for cut in ends for side in ends
          for v in (0.0, "neutral")),
        _fixed(8, "right", "right", -1.5),
    ]  # fmt: skip


# --- order ----------------------------------------------------------------------------


def _sequences(world: World, order: tuple[int, ...], **more) -> Case:
    return Case(
        "sequences-reordered",
        lambda d: d.answers([d.sequences[k] for k in order]),
        {"order": order},
        right=lambda d: d.answers(),
        main="answers",
        world=world,
        **more,
    )


def _long_order() -> Case:
    order = (3, 1, 0, 2, 5, 4, 6, 7, 8, 11, 9, 10)
    named: Swap = (
        "recordings = sequences",
        f"order = {list(order)}\nrecordings = sequences",
        "recordings = sequences;",
        f"order = [{' '.join(str(k + 1) for k in order)}];\nrecordings = sequences;",
    )
    return _sequences(CROWD, order, swaps=(named,))


def _refilled(x: np.ndarray, read: str) -> np.ndarray:
    """Number for number, by a list."""
    T, C = x.shape
    new = np.empty((T, C))
    for k in range(T * C):
        by_step, by_feature = (k // C, k % C), (k % T, k // T)
        out, into = (
            (by_step, by_feature) if read == "columns" else (by_feature, by_step)
        )
        new[into] = x[out]
    return new


INPUTS = [
    Case("normalisation-omitted", lambda d: d.regression(scaled=d.x)),
    Case("normalisation-twice",
         lambda d: d.regression(scaled=d.scaled(d.scaled(d.x)))),
    *_partial(),
    *_statistics(),
    given("input-affine", lambda x: 1.8 * x - 32.5, {"slope": 1.8, "offset": -32.5}),
    Case("std-ddof", lambda d: d.regression(scaled=d.scaled(d.x, d.train.std(0))),
         {"factor": (8 / 9) ** 0.5, "n": 9}),
    Case("std-ddof", lambda d: d.regression(),
         {"factor": (9 / 8) ** 0.5, "n": 9}, swaps=(POPULATION,),
         right=lambda d: d.regression(scaled=d.scaled(d.x, d.train.std(0)))),
    given("time-reversed", lambda x: np.flip(x, 0)),
    given("features-reversed", lambda x: np.flip(x, 1)),
    given("features-permuted", lambda x: np.stack([x.T[2], x.T[0], x.T[1]], 1),
          {"order": [2, 0, 1]}),
    given("transposed", np.transpose, world=SQUARE),
    given("input-memory-order", lambda x: _refilled(x, "columns"),
          {"read": "columns"}, swaps=(AS_NUMBERS,)),
    given("input-memory-order", lambda x: _refilled(x, "rows"), {"read": "rows"},
          swaps=(BY_FEATURE,)),
    _sequences(SEVERAL, (2, 0, 3, 1)),
    _sequences(PLAIN, (1, 0)),
    _sequences(CROWD, (0, 9, 10, 11, 1, 2, 3, 4, 5, 6, 7, 8)),
    _sequences(CROWD, tuple(range(12))[::-1]),
    _sequences(CROWD, (*range(1, 12), 0)),
    _sequences(CROWD, (10, 11, *range(10))),
    _long_order(),
    given("input-frozen", lambda x: np.tile(x[0], (len(x), 1)), {"step": "first"}),
    given("input-frozen", lambda x: np.tile(x[-1], (len(x), 1)), {"step": "last"}),
    *(
        given("time-shift", lambda x, k=k, fill=fill: _late(x, k, fill),
              {"steps": k, "fill": fill})
        for k in (2, -1) for fill in ("zero", "edge", "roll")
    ),
    _moved_by_hand(2),
    _moved_by_hand(-1),
    padded((3, 0), side="left", steps=3),
    padded((0, 2), side="right", steps=2, value=-1.5),
    padded((3, 0), side="left", steps=3, mates=True),
    padded((0, 3), side="right", steps=3, mates=True),
    *(
        _padded_by_hand(side, n, **which)
        for side in ("left", "right")
        for n, which in ((2, {"steps": 2}), (3, {"mates": True}))
    ),
    *_fixed_cases(),
    Case("steps-dropped", lambda d: d.last(d.x[2:]), {"first": 2}, main="last",
         right=lambda d: d.last()),
    Case("steps-dropped", lambda d: d.last(d.x[:6]), {"last": 1}, main="last",
         right=lambda d: d.last()),
]  # fmt: skip

OUTPUTS = [
    Case("output-affine", lambda d: 2.5 * d.regression() - 1,
         {"slope": 2.5, "offset": -1.0}),
    Case("output-affine",
         lambda d: np.stack([2 * d.regression()[:, 0] + 1, -d.regression()[:, 1]], 1),
         {"slope": np.array([2.0, -1.0]), "offset": [1.0, 0.0]}),
    Case("output-shift", lambda d: _late(d.regression(), 2, "edge"), {"steps": 2}),
    Case("output-shift", lambda d: _late(d.regression(), -1, "edge"), {"steps": -1}),
    Case("output-reversed", lambda d: np.flip(d.regression(), 0)),
    Case("columns-permuted",
         lambda d: np.stack([d.regression()[:, j] for j in (3, 0, 1, 2)], 1),
         {"order": (3, 0, 1, 2)}, world=SQUARE),
    Case("first-instead-of-last", lambda d: d.last(pick=lambda h: h[0]), main="last",
         right=lambda d: d.last()),
    Case("max-instead-of-last",
         lambda d: d.last(pick=lambda h: -np.sort(-h, axis=0)[0]), main="last",
         right=lambda d: d.last()),
    Case("mean-instead-of-last", lambda d: d.last(pick=lambda h: sum(h) / len(h)),
         main="last", right=lambda d: d.last()),
]  # fmt: skip
