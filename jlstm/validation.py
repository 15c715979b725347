"""What comes out of a comparison: where two runs of a network differ, and by how much."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

LEVELS = ("double", "single", "half")
"""Precisions, the finest first."""
HALF_LIMIT = 0.01
"""A difference above this part of the signal is not called one of half precision."""
ROWS = 8


@dataclasses.dataclass(frozen=True)
class Difference:
    """One array of numbers compared with its recorded counterpart.

    Steps count from 0 in fields and from 1 in words.

    Arguments:
        name: the output, "fc[2]" for one of several columns, or the layer.
        max_abs: largest absolute difference; infinite where either side is not finite.
        max_rel: that divided by the largest recorded value.
        step: where the difference is largest, measured in tolerances.
        tolerance: what is accepted there.
        excess: the difference there divided by that; in agreement it is at most 1.
        first_bad_step: the first step with a difference above its tolerance.
        growth: largest difference of the last quarter of the steps, divided by that of
            the first quarter; None for fewer than 8 steps.
        level: the finest precision whose rounding explains every difference, or None.
        nonfinite: how many values are NaN or infinite, on either side.
    """

    name: str
    max_abs: float
    max_rel: float
    step: int
    tolerance: float
    excess: float
    first_bad_step: int | None
    growth: float | None
    level: str | None
    nonfinite: int

    @property
    def ok(self) -> bool:
        """Whether every difference is within its tolerance."""
        return self.first_bad_step is None


def compare(
    name: str,
    ours: np.ndarray,
    recorded: np.ndarray,
    tolerance: np.ndarray,
    levels: dict[str, np.ndarray],
) -> Difference:
    """Compare two arrays `(time, columns)`.

    Arguments:
        name: what is compared.
        ours, recorded: the numbers.
        tolerance: what is accepted, of the same shape.
        levels: what rounding explains in each precision, the finest first.
    """
    finite = np.isfinite(ours) & np.isfinite(recorded)
    with np.errstate(invalid="ignore"):
        error = np.where(finite, abs(ours - recorded), np.inf)
        excess = error / tolerance
    step, column = np.unravel_index(np.argmax(excess), excess.shape)
    bad = np.flatnonzero((excess > 1).any(axis=1))
    scale = abs(recorded[np.isfinite(recorded)]).max(initial=0.0)
    largest = float(error.max())
    levels = levels | {"half": np.minimum(levels["half"], HALF_LIMIT * scale)}
    return Difference(
        name=name,
        max_abs=largest,
        max_rel=largest / scale if scale else largest and math.inf,
        step=int(step),
        tolerance=float(tolerance[step, column]),
        excess=float(excess[step, column]),
        first_bad_step=int(bad[0]) if bad.size else None,
        growth=_growth(error.max(axis=1)),
        level=next((k for k, limit in levels.items() if np.all(error <= limit)), None),
        nonfinite=int(np.sum(~finite)),
    )


def _growth(error: np.ndarray) -> float | None:
    quarter = len(error) // 4
    if quarter < 2:
        return None
    first, last = error[:quarter].max(), error[-quarter:].max()
    if not first:
        return math.inf if last else 1.0
    return float(last / first) if math.isfinite(first) else None


@dataclasses.dataclass(frozen=True)
class Labels:
    """Class labels compared: `agree` of `total`; the first wrong one from 0."""

    agree: int
    total: int
    first_bad: int | None


@dataclasses.dataclass(frozen=True)
class Sequence:
    """One of several sequences, in short."""

    index: int
    steps: int
    max_abs: float | None
    excess: float
    first_bad_step: int | None


@dataclasses.dataclass(frozen=True)
class Validation:
    """Whether a network reproduces recorded numbers; `str()` is one screen.

    Of several sequences the worst is the one reported, and all are in `per_sequence`.
    Steps count from 0 in fields and from 1 in words.

    Arguments:
        ok: everything is within its tolerance.
        verdict: the finding in words.
        precision: the precision computed in and judged by, "single" or "double".
        steps: time steps of the reported sequence.
        max_abs, max_rel, tolerance, first_bad_step, growth: of the worst output; see
            `Difference`. None where only labels were compared.
        max_abs_double: the largest difference of the run in double precision.
        per_output: one `Difference` for each output column.
        per_layer: one for each recorded layer, in the order of computation.
        first_bad_layer: the first of those that differs.
        per_sequence: all sequences, where there are several.
        labels: how many class labels agree, where labels were recorded.
        blind_from: the first step from which rounding alone may reach a tenth of the
            signal, so that agreement proves nothing there.
        predicted, recorded: the outputs of the reported sequence.
    """

    ok: bool
    verdict: str
    precision: str
    steps: int
    max_abs: float | None
    max_rel: float | None
    tolerance: float | None
    first_bad_step: int | None
    growth: float | None
    max_abs_double: float | None
    per_output: tuple[Difference, ...] = ()
    per_layer: tuple[Difference, ...] = ()
    first_bad_layer: str | None = None
    per_sequence: tuple[Sequence, ...] = ()
    labels: Labels | None = None
    blind_from: int | None = None
    predicted: tuple[np.ndarray, ...] = dataclasses.field(default=(), repr=False)
    recorded: tuple[np.ndarray, ...] = dataclasses.field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON; NaN and infinity become None."""
        fields = dataclasses.asdict(
            dataclasses.replace(self, predicted=(), recorded=())
        )
        del fields["predicted"], fields["recorded"]
        return _finite(fields)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _lines(v: Validation) -> list[str]:
    lines = [("ok    " if v.ok else "FAILS ") + v.verdict]
    if v.per_output:
        worst = max(v.per_output, key=lambda d: d.excess)
        lines += [
            f"  largest difference   {v.max_abs:.2e}, {v.max_rel:.1e} of the signal",
            f"  rounding explains    {worst.tolerance:.2e} at step {worst.step + 1} "
            f"of {v.steps}, where the difference is {worst.excess:.2g} times that",
        ]
        if v.max_abs_double is not None:
            lines.append(f"  computed in double   {v.max_abs_double:.2e}")
        if v.growth is not None:
            lines.append(
                f"  growth               {v.growth:.2g}x, last quarter to first"
            )
    if v.labels is not None:
        lines.append(
            f"  labels               {v.labels.agree} of {v.labels.total} agree"
        )
    lines += _table("layer", v.per_layer)
    lines += _table("output", v.per_output if len(v.per_output) > 1 else ())
    return lines + _sequences(v.per_sequence)


def _table(title: str, rows: tuple[Difference, ...]) -> list[str]:
    if not rows:
        return []
    kept = sorted(rows, key=lambda d: -d.excess)[:ROWS]
    shown = [row for row in rows if row in kept]
    width = max(len(title), *(len(row.name) for row in shown))
    lines = [f"  {title:<{width}}  max abs   accepted  first bad step"]
    for row in shown:
        step = "-" if row.first_bad_step is None else row.first_bad_step + 1
        lines.append(
            f"  {row.name:<{width}}  {row.max_abs:.2e}  {row.tolerance:.2e}  {step}"
        )
    if len(rows) > len(shown):
        lines.append(f"  and {len(rows) - len(shown)} that differ less")
    return lines


def _sequences(rows: tuple[Sequence, ...]) -> list[str]:
    if not rows:
        return []
    bad = [row for row in rows if row.first_bad_step is not None]
    lines = [f"  sequences            {len(rows) - len(bad)} of {len(rows)} agree"]
    for row in sorted(bad, key=lambda s: -s.excess)[:4]:
        step = (row.first_bad_step or 0) + 1
        size = "another label" if row.max_abs is None else f"{row.max_abs:.2e}"
        lines.append(
            f"    number {row.index + 1}: {size}, from step {step} of {row.steps}"
        )
    return lines
