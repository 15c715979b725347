"""Mistakes made on what goes into a network and on what comes out of it.

INPUT maps `x (T, C)`, OUTPUT maps `y`; then which of them apply to a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from wrong_changes import Wrong
from wrong_layers import Array, Plan
from wrong_run import run


def shifted(a: Array, steps: int, fill: str) -> Array:
    """Row t is `a[t - steps]`; rows that are not there repeat the edge or are zero."""
    if fill == "roll":
        return np.roll(a, steps, axis=0)
    source = np.arange(len(a)) - steps
    found = a[np.clip(source, 0, len(a) - 1)]
    if fill == "zero":
        found[(source < 0) | (source >= len(a))] = 0
    return found


def _standardised(x: Array, statistics: str) -> Array:
    if statistics.startswith("own"):
        return (x - x.mean(0)) / x.std(0, ddof=int(statistics == "own-sample"))
    unit = (x - x.min(0)) / (x.max(0) - x.min(0))
    return unit if statistics == "minmax" else 2 * unit - 1


def _padded(x: Array, side: str, steps: int, value: float = 0.0, **_: Any) -> Array:
    block = np.full((steps, *x.shape[1:]), float(value))
    return np.concatenate([block, x] if side == "left" else [x, block])


def _dropped(x: Array, first: int = 0, last: int = 0) -> Array:
    return x[first : len(x) - last]


INPUT: dict[str, Callable[..., Array]] = {
    "standardised": _standardised,
    "input-affine": lambda x, slope, offset: slope * x + offset,
    "features-reversed": lambda x: x[:, ::-1],
    "features-permuted": lambda x, order: x[:, list(order)],
    "transposed": lambda x: x.T,
    "time-reversed": lambda x: x[::-1],
    "time-shift": lambda x, steps, fill="edge": shifted(x, steps, fill),
    "steps-dropped": _dropped,
    "padding": _padded,
}
"""In the order in which they are applied."""

OUTPUT: dict[str, Callable[..., Array]] = {
    "output-reversed": lambda y: y[::-1],
    "output-shift": lambda y, steps, fill="edge": shifted(y, steps, fill),
    "columns-permuted": lambda y, order: y[..., list(order)],
    "output-affine": lambda y, slope, offset: (
        np.asarray(slope) * y + np.asarray(offset)
    ),
}
"""In the order in which they are applied."""


# --- which of them apply --------------------------------------------------------------


def input_cases(
    plan: Plan, steps: int, sequences: int, rng: np.random.Generator
) -> Iterator[Wrong]:
    entries = [layer.fields for layer in plan.of_kind("Input").values()]
    widths = {entry["size"][-1] for entry in entries}
    if any(e["normalization"] != "none" for e in entries):
        yield Wrong("normalisation-omitted", (), {})
        yield Wrong("normalisation-twice", (), {})
    if any(e["normalization"] == "zscore" for e in entries):
        for n, power in itertools.product((steps, 10 * steps), (0.5, -0.5)):
            factor = ((n - 1) / n) ** power if n > 1 else 1.0
            if factor != 1:
                yield Wrong("std-ddof", (), {"factor": factor, "n": n})
    for slope, offset in ((2.0, 0.0), (0.5, 0.1), (-1.0, 0.0), (1.0, -0.3)):
        yield Wrong("input-affine", (), {"slope": slope, "offset": offset})
    vectors = all(len(entry["size"]) == 1 and entry["time"] for entry in entries)
    if vectors and min(widths) > 1:
        yield Wrong("features-reversed", (), {})
    if vectors and len(entries) == 1 and min(widths) > 2:
        for order in _permutations(min(widths), rng):
            yield Wrong("features-permuted", (), {"order": order})
    if steps == 1 or not all(entry["time"] for entry in entries):
        return
    for statistics in ("own-sample", "own-population", "minmax", "minmax-symmetric"):
        yield Wrong("standardised", (), {"statistics": statistics})
    if vectors and widths == {steps}:
        yield Wrong("transposed", (), {})
    yield Wrong("time-reversed", (), {})
    for k, fill in itertools.product((1, 2, -1), ("zero", "edge")):
        if abs(k) < steps:
            yield Wrong("time-shift", (), {"steps": k, "fill": fill})
    yield from _longer_or_shorter(plan, steps, sequences)


def _longer_or_shorter(plan: Plan, steps: int, sequences: int) -> Iterator[Wrong]:
    timed = plan.timed[plan.outputs[0]]
    for side in ("left", "right"):
        if side == "right" and timed and _causal(plan):
            continue
        for count, value in ((1, 0.0), (5, 0.0), (10, 0.0), (10, -1.0)):
            padding = {"side": side, "steps": count, "value": value}
            yield Wrong("padding", (), padding)
        if sequences > 1:
            padding = {"side": side, "steps": 0, "value": 0.0, "mates": True}
            yield Wrong("padding", (), padding)
    if not timed:
        for end, count in itertools.product(("first", "last"), (1, 3)):
            if count < steps:
                yield Wrong("steps-dropped", (), {end: count})


def _causal(plan: Plan) -> bool:
    """Whether no layer looks ahead, so that steps behind a sequence are not seen."""
    averages = plan.of_kind("LayerNormalization").values()
    return all(len(unit.cells) == 1 for unit in plan.units.values()) and not any(
        layer.fields["over"] == "time-channels" for layer in averages
    )


def _permutations(width: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """A few orders, neither the right one nor its reverse."""
    plain = tuple(range(width))
    found = {plain, plain[::-1]}
    for _ in range(3):
        order = tuple(int(k) for k in rng.permutation(width))
        if order not in found:
            found.add(order)
            yield order


def output_cases(plan: Plan, steps: int, rng: np.random.Generator) -> Iterator[Wrong]:
    entries = plan.of_kind("Input")
    xs = {
        name: np.zeros((1,) * entry.fields["time"] + tuple(entry.fields["size"]))
        for name, entry in entries.items()
    }
    with np.errstate(all="ignore"):
        width = run(plan, xs, plan.initial).values[plan.outputs[0]].shape[-1]
    for slope, offset in ((2.0, 1.0), (0.5, 0.0), (1.0, -0.7)):
        yield Wrong("output-affine", (), {"slope": slope, "offset": offset})
    if width > 1:
        slope, offset = rng.uniform(0.5, 2, width), rng.normal(size=width)
        each = {"slope": slope.tolist(), "offset": offset.tolist()}
        yield Wrong("output-affine", (), each)
        yield Wrong("columns-permuted", (), {"order": tuple(range(width))[::-1]})
        for order in _permutations(width, rng):
            yield Wrong("columns-permuted", (), {"order": order})
    units = plan.units.values()
    if steps > 1 and any(unit.last for unit in units):
        yield Wrong("first-instead-of-last", (), {})
        yield Wrong("mean-instead-of-last", (), {})
    if steps == 1 or not plan.timed[plan.outputs[0]]:
        return
    yield Wrong("output-reversed", (), {})
    for k, fill in itertools.product((1, 2, -1), ("edge", "zero", "roll")):
        if abs(k) < steps:
            yield Wrong("output-shift", (), {"steps": k, "fill": fill})
    alone = all(len(unit.cells) == 1 for unit in units)
    if alone and [e.fields["size"] for e in entries.values()] == [(width,)]:
        yield Wrong("closed-loop", (), {})
