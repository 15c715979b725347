"""Mistakes in what is done with the output, found by fitting rather than by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..layers import Softmax
from .cells import FUNCTIONS
from .inputs import MOST_SHIFT
from .trial import OUTPUT, Mistake, Trial, with_switch

MOST_COLUMNS = 64
FAR = 1e100
"""What exploded to more than this has no line through it: its square is no number."""

Columns = list[np.ndarray]
"""One output of every sequence, `(time, columns)`."""


def _done(
    name: str,
    parameters: dict[str, Any],
    function: Callable[[np.ndarray], np.ndarray],
    aspect: str,
    *,
    fitted: int = 0,
    common: bool = True,
) -> Mistake:
    def change(trial: Trial) -> Trial:
        return trial._replace(after=(*trial.after, function))

    touches = frozenset(f"y {part}" for part in aspect.split())
    return Mistake(name, (), parameters, OUTPUT, change, touches, common, fitted=fitted)


def whole(trial: Trial) -> Iterator[Mistake]:
    """Mistakes of output that need all steps of it."""
    last = trial.wired.outputs[0]
    inputs = {node.name: node.inputs for node in trial.wired.graph}
    while not isinstance(trial.wired.layers[last], Softmax) and len(inputs[last]) == 1:
        last = inputs[last][0]
    if isinstance(trial.wired.layers[last], Softmax) and last in trial.wired.timed:
        left_out = with_switch([last], instead=FUNCTIONS.index("identity"))

        def change(trial: Trial) -> Trial:
            trial = left_out(trial)
            return trial._replace(after=(*trial.after, _softmax_over_time))

        touches = frozenset({f"instead:{last}", "y values"})
        yield Mistake("softmax-over-time", (last,), {}, OUTPUT, change, touches)


def _softmax_over_time(y: np.ndarray) -> np.ndarray:
    e = np.exp(y - y.max(0))
    return e / e.sum(0)


def in_time(steps: int) -> Iterator[Mistake]:
    """Outputs in another order of time."""
    if steps < 2:
        return
    yield _done("output-reversed", {}, lambda y: y[::-1], "time")
    for k in range(1, min(MOST_SHIFT, steps // 3) + 1):
        for sign in (1, -1):
            yield _done("output-shift", {"steps": sign * k}, _shifted(sign * k), "time")


def orders(width: int) -> Iterator[Mistake]:
    """All other orders of a few columns."""
    if 1 < width <= 4:
        for order in list(permutations(range(width)))[1:]:
            yield _reordered(list(order))


def _reordered(taken: list[int]) -> Mistake:
    return _done(
        "columns-permuted", {"order": tuple(taken)}, lambda y: y[:, taken], "columns"
    )


def _shifted(k: int) -> Callable[[np.ndarray], np.ndarray]:
    """Rows that were not computed become NaN and are not compared."""

    def change(y: np.ndarray) -> np.ndarray:
        moved = np.roll(y, k, axis=0)
        moved[slice(0, k) if k > 0 else slice(k, None)] = np.nan
        return moved

    change.partial = True  # pyright: ignore[reportFunctionMemberAccess]
    return change


def affine(y: Columns, observed: Columns) -> Mistake | None:
    """`slope y + offset` by least squares, one slope for all columns."""
    a, b = np.concatenate(y).ravel(), np.concatenate(observed).ravel()
    if a.size < 5 or not _sane(a) or _constant(b):
        return None
    slope, offset = _line(a, b)
    return scaled(slope, offset)


def by_column(y: Columns, observed: Columns) -> Mistake | None:
    """`slope y + offset` by least squares, for each column by itself."""
    a, b = np.concatenate(y), np.concatenate(observed)
    if len(a) < 5 or a.shape[1] < 2 or not _sane(a) or _constant(b):
        return None
    lines = [_line(a[:, k], b[:, k]) for k in range(a.shape[1])]
    return scaled(np.array([s for s, _ in lines]), np.array([o for _, o in lines]))


def _sane(y: np.ndarray) -> bool:
    return bool(np.all(abs(y) < FAR))


def _constant(record: np.ndarray) -> bool:
    """Whether there is nothing that a line could explain."""
    return float(record.std(0).max()) <= 1e-6 * float(abs(record).max())


def scaled(slope: Any, offset: Any) -> Mistake:
    """Outputs times a slope plus an offset."""
    parameters = {"slope": _plain(slope), "offset": _plain(offset)}
    return _done(
        "output-affine", parameters, lambda y: slope * y + offset, "values",
        fitted=2 * np.size(slope),
    )  # fmt: skip


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else tuple(map(float, value))


def _line(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    centred = a - a.mean()
    spread = centred @ centred
    slope = float(centred @ (b - b.mean()) / spread) if spread > 0 else 1.0
    return slope, float(b.mean() - slope * a.mean())


def permuted(y: Columns, observed: Columns) -> Mistake | None:
    """The order of columns that fits best, if it is another one."""
    a, b = np.concatenate(y), np.concatenate(observed)
    width = a.shape[1]
    if not 1 < width <= MOST_COLUMNS or not _sane(a):
        return None
    distance = (a**2).sum(0)[None] + (b**2).sum(0)[:, None] - 2 * b.T @ a
    _, order = linear_sum_assignment(distance)
    if np.array_equal(order, np.arange(width)):
        return None
    return _reordered([int(k) for k in order])
