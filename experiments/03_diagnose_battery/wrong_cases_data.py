"""What can be wrong with the input of a network, and with its output."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from wrong_data import neutral
from wrong_layers import target
from wrong_plan import Plan, Wrong
from wrong_run import probe

OWN = ("own-sample", "own-population", "minmax", "minmax-symmetric")
ALL = ("all-sample", "all-population", "all-minmax")
FIXED = 4


def input_cases(
    plan: Plan, lengths: Sequence[int], rng: np.random.Generator
) -> Iterator[Wrong]:
    entries = [layer.fields for layer in plan.of_kind("Input").values()]
    widths, steps = {entry["size"][-1] for entry in entries}, min(lengths)
    yield from _normalisation(entries, steps)
    for slope, offset in ((2.0, 0.0), (0.5, 0.1), (-1.0, 0.0), (1.0, -0.3)):
        yield Wrong("input-affine", (), {"slope": slope, "offset": offset})
    vectors = all(len(entry["size"]) == 1 and entry["time"] for entry in entries)
    if vectors and min(widths) > 1:
        yield Wrong("features-reversed", (), {})
    if vectors and len(entries) == 1 and min(widths) > 2:
        for order in _permutations(min(widths), rng):
            yield Wrong("features-permuted", (), {"order": order})
    if not plan.timed[plan.outputs[0]]:
        for order in _sequence_orders(len(lengths), rng):
            yield Wrong("sequences-reordered", (), {"order": order})
    if steps == 1 or not all(entry["time"] for entry in entries):
        return
    yield from _standardised(entries, len(lengths))
    if vectors and widths == set(lengths):
        yield Wrong("transposed", (), {})
    elif vectors and min(widths) > 1:
        # Of a square array both are the transpose.
        for read in ("columns", "rows"):
            yield Wrong("input-memory-order", (), {"read": read})
    yield Wrong("time-reversed", (), {})
    for step in ("first", "last"):
        yield Wrong("input-frozen", (), {"step": step})
    fills = ("zero", "edge", *_neutral(entries))
    for k, fill in itertools.product((1, 2, -1), fills):
        if abs(k) < steps:
            yield Wrong("time-shift", (), {"steps": k, "fill": fill})
    yield from _longer_or_shorter(plan, lengths)
    if not plan.timed[plan.outputs[0]]:
        yield from _fixed_lengths(entries, lengths, rng)


def _neutral(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    """The word, where it does not mean zero."""
    return ("neutral",) * any(np.any(neutral(entry)) for entry in entries)


def _normalisation(entries: list[dict[str, Any]], steps: int) -> Iterator[Wrong]:
    kinds = {entry["normalization"] for entry in entries}
    if kinds != {"none"}:
        yield Wrong("normalisation-omitted", (), {})
        yield Wrong("normalisation-twice", (), {})
    forms = []
    scored = [entry for entry in entries if entry["normalization"] == "zscore"]
    if any(np.any(entry["std"] != 1) for entry in scored):
        forms += ["mean-only", "variance", "multiplied"]
    if any(np.any(entry["mean"]) for entry in scored):
        forms.append("std-only")
    plain = {e["normalization"] for e in entries if _default_target(e)}
    forms += ["symmetric"] * ("rescale-zero-one" in plain)
    forms += ["zero-one"] * ("rescale-symmetric" in plain)
    for form in forms:
        yield Wrong("normalisation-partial", (), {"form": form})
    if scored:
        for n, power in itertools.product((steps, 10 * steps), (0.5, -0.5)):
            factor = ((n - 1) / n) ** power if n > 1 else 1.0
            if factor != 1:
                yield Wrong("std-ddof", (), {"factor": factor, "n": n})


def _default_target(entry: dict[str, Any]) -> bool:
    plain = entry | {"target": None}
    return entry["normalization"].startswith("rescale") and target(entry) == target(
        plain
    )


def _standardised(entries: list[dict[str, Any]], sequences: int) -> Iterator[Wrong]:
    normalised = any(entry["normalization"] != "none" for entry in entries)
    for statistics in OWN + ALL * (sequences > 1):
        yield Wrong("standardised", (), {"statistics": statistics})
        if normalised:
            both = {"statistics": statistics, "instead": True}
            yield Wrong("standardised", (), both)


def _longer_or_shorter(plan: Plan, lengths: Sequence[int]) -> Iterator[Wrong]:
    timed, steps = plan.timed[plan.outputs[0]], min(lengths)
    words = _neutral([layer.fields for layer in plan.of_kind("Input").values()])
    for side in ("left", "right"):
        if side == "right" and timed and _causal(plan):
            continue
        plain = ((1, 0.0), (5, 0.0), (10, 0.0), (10, -1.0))
        for count, value in (*plain, *itertools.product((1, 10), words)):
            padding = {"side": side, "steps": count, "value": value}
            yield Wrong("padding", (), padding)
        for value in (0.0, *words) if steps < max(lengths) else ():
            padding = {"side": side, "steps": 0, "value": value, "mates": True}
            yield Wrong("padding", (), padding)
    if not timed:
        for end, count in itertools.product(("first", "last"), (1, 3)):
            if count < steps:
                yield Wrong("steps-dropped", (), {end: count})


def _fixed_lengths(
    entries: list[dict[str, Any]], lengths: Sequence[int], rng: np.random.Generator
) -> Iterator[Wrong]:
    """To the shortest of them, to one in between, to more than the longest: to the
    longest is a padding to the length of the mates."""
    shortest, longest = min(lengths), max(lengths)
    values = (0.0, *_neutral(entries))
    sides = [
        {"side": side, "value": value}
        for side, value in itertools.product(("left", "right"), values)
    ]
    cuts = [{"cut": cut} for cut in ("left", "right")]
    between = sorted({*lengths} - {shortest, longest})
    goals = {shortest, longest + 5, *between[len(between) // 2 :][:1]}
    for length in sorted(goals) if shortest < longest else ():
        fill = sides if length > shortest else [{}]
        pairs = list(itertools.product(fill, cuts if length < longest else [{}]))
        for k in rng.permutation(len(pairs))[:FIXED]:
            yield Wrong(
                "fixed-length", (), {"length": length, **pairs[k][0], **pairs[k][1]}
            )


def _sequence_orders(count: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Files sorted as text, from 1 and from 0; one too far; backwards; anyhow."""
    plain = tuple(range(count))
    orders = [
        tuple(sorted(plain, key=lambda k: str(k + 1))),
        tuple(sorted(plain, key=str)),
        plain[1:] + plain[:1],
        plain[::-1],
        tuple(int(k) for k in rng.permutation(count)),
    ]
    yield from dict.fromkeys(order for order in orders if order != plain)


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
    width = probe(plan)[plan.outputs[0]].shape[-1]
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
    sizes = [entry.fields["size"] for entry in plan.of_kind("Input").values()]
    if alone and sizes == [(width,)]:
        yield Wrong("closed-loop", (), {})
        for after in sorted({2, steps // 2, steps - 1}):
            if 1 < after < steps:
                yield Wrong("closed-loop", (), {"after": after})
