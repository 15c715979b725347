"""What `validate` found, in numbers and in words."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from typing import Any

import numpy as np

from .comparison import Difference

LEVELS = ("double", "single", "half")
"""Precisions, the finest first."""
ROWS = 8


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

    def __bool__(self) -> bool:
        """Whether they agree, so that `assert validate(...)` means what it says."""
        return self.ok

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
    words = ("ok: " if v.ok else "DIFFERS: ") + v.verdict
    lines = textwrap.wrap(words, 84, subsequent_indent="  ", break_on_hyphens=False)
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
                f"  error over time      last quarter {v.growth:.2g} times the first"
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
    lines = [f"  {title:<{width}}  max abs   of tolerance  first bad step"]
    for row in shown:
        step = "-" if row.first_bad_step is None else row.first_bad_step + 1
        lines.append(
            f"  {row.name:<{width}}  {row.max_abs:.2e}  {row.excess:<12.2g}  {step}"
        )
    if len(rows) > len(shown):
        lines.append(f"  and {len(rows) - len(shown)} that differ less")
    return lines


def _sequences(rows: tuple[Sequence, ...]) -> list[str]:
    if not rows:
        return []
    bad = [row for row in rows if row.first_bad_step is not None]
    lines = [f"  sequences that agree {len(rows) - len(bad)} of {len(rows)}"]
    for row in sorted(bad, key=lambda s: -s.excess)[:4]:
        size = "another label" if row.max_abs is None else f"{row.max_abs:.2e}"
        since = f", from step {(row.first_bad_step or 0) + 1} of {row.steps}"
        lines.append(
            f"    number {row.index + 1}: {size}{since if row.steps > 1 else ''}"
        )
    return lines


def verdict(
    outputs: tuple[Difference, ...],
    layers: tuple[Difference, ...],
    labels: Labels | None,
    *,
    given: float | None = None,
    blind_from: int | None = None,
    decimals: int | None = None,
) -> str:
    """The finding in one sentence.

    Arguments:
        outputs, layers, labels: what was compared.
        given: the tolerance of the caller, if any.
        blind_from: see `Validation`.
        decimals: to how many the recorded numbers were written, if to few.
    """
    parts = []
    if labels is not None:
        parts.append(
            f"{labels.agree} of {labels.total} labels agree, which is weak proof: on a "
            "real network five wrong computations kept 94 to 99 % of them"
        )
    if every := (*layers, *outputs):
        parts.append(_numbers(every, given))
        largest = max(d.max_abs for d in every)
        if not all(d.ok for d in every) and decimals is not None:
            parts.append(_written(decimals, largest))
    agree = [d.name for d in layers]
    if bad := [d.name for d in layers if not d.ok]:
        agree = agree[: agree.index(bad[0])]
        text = f"the first recorded layer that differs is {bad[0]}"
        parts.append(text + (f", {', '.join(agree)} agree" if agree else ""))
    if blind_from is not None:
        parts.append(
            f"from step {blind_from + 1} on rounding alone may reach a tenth of the "
            "signal, and agreement there proves nothing"
        )
    return "; ".join(part for part in parts if part)


def _numbers(every: tuple[Difference, ...], given: float | None) -> str:
    level = _coarsest(every)
    bad = [d.first_bad_step for d in every if d.first_bad_step is not None]
    if count := sum(d.nonfinite for d in every):
        return (
            f"differs structurally from step {min(bad) + 1}: {count} values are NaN or "
            "infinite on one side or on both"
        )
    if given is not None:
        largest = max(d.max_abs for d in every)
        size = f"{level} precision" if level else "no rounding"
        return (
            f"the largest difference, {largest:.2e}, is "
            f"{'above' if bad else 'within'} the given tolerance {given:g}; "
            f"it has the size of {size}"
        )
    if not bad:
        return f"agrees to {level} precision"
    if level == "half":
        return (
            "agrees to half precision (1e-3) only: float16 or TF32 arithmetic, rounded "
            "weights, or slightly other statistics of the data explain it"
        )
    if level is not None:
        return f"agrees to {level} precision only"
    return f"differs structurally from step {min(bad) + 1}"


def _coarsest(every: tuple[Difference, ...]) -> str | None:
    found = [LEVELS.index(d.level) for d in every if d.level is not None]
    return LEVELS[max(found)] if len(found) == len(every) else None


def _written(decimals: int, largest: float) -> str:
    unit = 10.0**-decimals
    if largest > 0.6 * unit:
        return ""
    return (
        f"no recorded number has more than {decimals} decimals, which explains "
        f"{unit / 2:.0e}: tolerance={0.6 * unit:.0e} accepts that"
    )
