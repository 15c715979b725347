"""The judge of `jlstm.diagnose`: what several sequences and normalisations add."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import recordings
import torch
import wrong
from recordings import FEATURES, HIDDEN, PLAIN, SECOND, signal
from wrong import Wrong

from jlstm import layers as L
from jlstm.network import Network

STACK = recordings.draw()
LENGTHS = (9, 5, 12, 7, 7)
MEAN, STD = np.float32([1, -2, 0.5, 3]), np.float32([0.5, 2, 1.5, 0.75])
LOW, HIGH = np.float32([-3, -1, -2, 0]), np.float32([2, 4, 1, 3])
SCORED: dict[str, Any] = dict(normalization="zscore", mean=MEAN, std=STD)
CENTRED: dict[str, Any] = dict(normalization="zerocenter", mean=MEAN)
UNIT: dict[str, Any] = dict(normalization="rescale-zero-one", minimum=LOW, maximum=HIGH)
BOTH_SIGNS = UNIT | {"normalization": "rescale-symmetric"}
OTHER_RANGE = UNIT | {"target": (-0.5, 1.5)}
XS = [MEAN + STD * signal(n, seed=n + k) for k, n in enumerate(LENGTHS)]


def unit(x: np.ndarray) -> np.ndarray:
    return (x - LOW) / (HIGH - LOW)


NORMAL = {
    "none": ({}, lambda x: x),
    "scored": (SCORED, lambda x: (x - MEAN.astype(float)) / STD),
    "centred": (CENTRED, lambda x: x - MEAN),
    "unit": (UNIT, unit),
    "both signs": (BOTH_SIGNS, lambda x: 2 * unit(x) - 1),
    "other range": (OTHER_RANGE, lambda x: 2 * unit(x) - 0.5),
}


def net(mode: str = "last", **settings: Any) -> Network:
    return Network.build(
        {
            "in": L.Input((FEATURES,), **settings),
            "one": recordings.layer(PLAIN, STACK.first),
            "two": recordings.layer(PLAIN, STACK.second, output_mode=mode),
            "fc": L.FullyConnected(*STACK.dense),
        }
    )


def answer(x: np.ndarray) -> np.ndarray:
    """What torch makes of normalised input, at every step."""
    for w, width in ((STACK.first, HIDDEN), (STACK.second, SECOND)):
        zero = np.zeros(width)
        x = oracles.torch_run(PLAIN, [w], x, zero, zero)[0]
    weights, bias = (np.asarray(a, float) for a in STACK.dense)
    return x @ weights.T + bias


def check(settings: dict, given: list, name: str, **parameters: Any) -> None:
    """The last answers to what the layers are given, after the input layer."""
    mistakes = [Wrong(name, (), parameters)]
    ys = wrong.forward_many(net(**settings), XS, mistakes)
    right = [answer(x)[-1] for x in given]
    np.testing.assert_allclose(ys, right, rtol=0, atol=1e-12)
    if name not in ("sequences-reordered", "padding", "fixed-length"):
        alone = wrong.forward(net(**settings), XS[0], mistakes)
        if not parameters.get("statistics", "").startswith("all"):
            np.testing.assert_array_equal(alone, ys[0])
    plain = np.array(wrong.forward_many(net(**settings), XS))
    assert np.abs(plain - right).max() > 1e-3


@pytest.mark.parametrize("kind", NORMAL)
def test_the_input_layer_is_the_formula(kind):
    settings, normal = NORMAL[kind]
    ys = wrong.forward_many(net(**settings), XS)
    right = [answer(normal(x))[-1] for x in XS]
    np.testing.assert_allclose(ys, right, rtol=0, atol=1e-12)


STATISTICS = {
    "own-sample": lambda x, _: (x - x.mean(0)) / x.std(0, unbiased=True),
    "own-population": lambda x, _: (x - x.mean(0)) / x.std(0, unbiased=False),
    "minmax": lambda x, _: (x - x.amin(0)) / (x.amax(0) - x.amin(0)),
    "minmax-symmetric": lambda x, _: (
        (2 * x - x.amin(0) - x.amax(0)) / (x.amax(0) - x.amin(0))
    ),
    "all-sample": lambda x, a: (x - a.mean(0)) / a.std(0, unbiased=True),
    "all-population": lambda x, a: (x - a.mean(0)) / a.std(0, unbiased=False),
    "all-minmax": lambda x, a: (x - a.amin(0)) / (a.amax(0) - a.amin(0)),
}


@pytest.mark.parametrize("statistics", STATISTICS)
def test_standardised_by_own_statistics(statistics):
    every = torch.cat([torch.as_tensor(x) for x in XS])
    formula = STATISTICS[statistics]
    own = [formula(torch.as_tensor(x), every).numpy() for x in XS]
    for kind in ("scored", "unit"):
        settings, normal = NORMAL[kind]
        twice = [normal(x) for x in own]
        check(settings, twice, "standardised", statistics=statistics)
        check(settings, own, "standardised", statistics=statistics, instead=True)


def test_half_a_normalisation():
    mean, std = MEAN.astype(float), STD.astype(float)
    low, high = LOW.astype(float), HIGH.astype(float)
    for settings, form, formula in (
        (SCORED, "mean-only", lambda x: x - mean),
        (SCORED, "std-only", lambda x: x / std),
        (SCORED, "variance", lambda x: (x - mean) / (std * std)),
        (SCORED, "multiplied", lambda x: (x - mean) * std),
        (UNIT, "symmetric", lambda x: (2 * x - low - high) / (high - low)),
        (BOTH_SIGNS, "zero-one", lambda x: (x - low) / (high - low)),
    ):
        given = [formula(x) for x in XS]
        check(settings, given, "normalisation-partial", form=form)


def zeros(rows: int) -> np.ndarray:
    return np.zeros((rows, FEATURES))


@pytest.mark.parametrize("kind", [kind for kind in NORMAL if kind != "none"])
def test_zeros_after_the_normalisation(kind):
    settings, normal = NORMAL[kind]
    ins = [normal(x) for x in XS]
    late = [np.concatenate([zeros(2), x[:-2]]) for x in ins]
    check(settings, late, "time-shift", steps=2, fill="neutral")
    early = [np.concatenate([x[1:], zeros(1)]) for x in ins]
    check(settings, early, "time-shift", steps=-1, fill="neutral")
    for side in ("left", "right"):
        neutral = {"side": side, "value": "neutral"}
        longer = [_filled(x, len(x) + 3, side) for x in ins]
        check(settings, longer, "padding", steps=3, **neutral)
        mates = [_filled(x, 12, side) for x in ins]
        check(settings, mates, "padding", steps=0, mates=True, **neutral)
        check(settings, mates, "fixed-length", length=12, **neutral)
        cut = [_filled(x, 8, side)[-8:] for x in ins]
        check(settings, cut, "fixed-length", length=8, cut="left", **neutral)


def _filled(x: np.ndarray, steps: int, side: str, value: Any = 0.0) -> np.ndarray:
    missing = [np.full(FEATURES, value)] * (steps - len(x))
    return np.array([*missing, *x] if side == "left" else [*x, *missing])


@pytest.mark.parametrize("cut", ["left", "right"])
def test_all_of_one_length(cut):
    settings, normal = NORMAL["scored"]

    def rows(x: np.ndarray, length: int) -> np.ndarray:
        while len(x) > length:
            x = np.delete(x, 0 if cut == "left" else -1, axis=0)
        return x

    shortest = [normal(rows(x, 5)) for x in XS]
    check(settings, shortest, "fixed-length", length=5, cut=cut)
    for side, value in (("left", 0.0), ("right", 0.0), ("right", -1.0)):
        given = [normal(_filled(rows(x, 8), 8, side, value)) for x in XS]
        fill = {"side": side, "value": value}
        check(settings, given, "fixed-length", length=8, cut=cut, **fill)
        given = [normal(_filled(x, 15, side, value)) for x in XS]
        check(settings, given, "fixed-length", length=15, **fill)


def test_numbers_filled_in_the_other_way():
    settings, normal = NORMAL["scored"]
    columns, rows = [], []
    for x in XS:
        by_step = iter([v for step in x for v in step])
        a = np.empty_like(x)
        for c in range(FEATURES):
            for t in range(len(x)):
                a[t, c] = next(by_step)
        by_feature = iter([x[t, c] for c in range(FEATURES) for t in range(len(x))])
        rows.append(normal(np.array([[next(by_feature) for _ in step] for step in x])))
        columns.append(normal(a))
    check(settings, columns, "input-memory-order", read="columns")
    check(settings, rows, "input-memory-order", read="rows")


def test_sequences_of_another_order():
    settings, normal = NORMAL["scored"]
    order = (0, 4, 1, 3, 2)
    given = [normal(XS[k]) for k in order]
    check(settings, given, "sequences-reordered", order=order)
    mixed = Wrong("sequences-reordered", (), {"order": order})
    padding = {"side": "left", "steps": 0, "value": 0.0, "mates": True}
    mates = Wrong("padding", (), padding)
    longest = [normal(_filled(XS[k], 12, "left")) for k in order]
    for pair in ([mixed, mates], [mates, mixed]):
        ys = wrong.forward_many(net(**settings), XS, pair)
        right = [answer(x)[-1] for x in longest]
        np.testing.assert_allclose(ys, right, rtol=0, atol=1e-12)
    with pytest.raises(NotImplementedError, match="sequences-reordered"):
        wrong.forward(net(), XS[0], [mixed])


def test_one_step_for_all():
    settings, normal = NORMAL["scored"]
    for step, k in (("first", 0), ("last", -1)):
        given = [normal(np.array([x[k] for _ in x])) for x in XS]
        check(settings, given, "input-frozen", step=step)


# --- which of them apply --------------------------------------------------------------


def listed(network: Network, *lengths: int) -> set[str]:
    cases = wrong.applicable(network, *lengths)
    found = {str(case) for case in cases}
    assert len(found) == len(cases)
    return found


def test_mistakes_of_input_are_listed_where_they_apply():
    scored, plain = listed(net(**SCORED), *LENGTHS), listed(net(), *LENGTHS)
    both = {f"normalisation-partial form={form}" for form in ("variance", "std-only")}
    neutral = {case for case in scored if "neutral" in case}
    instead = {case for case in scored if "instead=True" in case}
    assert both <= scored and len(neutral) > 8 and len(instead) == 7
    assert not any("partial" in c or "neutral" in c or "instead=" in c for c in plain)
    assert {f"standardised statistics={s}" for s in STATISTICS} <= scored & plain
    assert sum("fixed-length" in case for case in scored) == 10
    # Text order is the order of numbers up to nine.
    assert sum("reordered" in case for case in scored) == 3
    assert {"input-frozen step=last", "input-memory-order read=rows"} <= plain
    many = listed(net(), *[7] * 11)
    assert "sequences-reordered order=(0, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8)" in many
    assert "sequences-reordered order=(0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)" in many
    assert not any("fixed-length" in case or "mates" in case for case in many)
    alone = listed(net(**SCORED), 9)
    assert not any("all-" in c or "reordered" in c or "fixed" in c for c in alone)
    once = listed(net(**SCORED), 1, 1)
    assert not any("frozen" in case or "memory-order read" in case for case in once)
    timed = listed(net("sequence"), *LENGTHS)
    assert not any("fixed-length" in c or "reordered" in c for c in timed)
    assert "input-memory-order read=rows" in timed
    forms = [
        {case for case in listed(net(**s), 9) if "partial" in case}
        for s in (UNIT, BOTH_SIGNS, OTHER_RANGE, CENTRED)
    ]
    name = "normalisation-partial form="
    assert forms == [{f"{name}symmetric"}, {f"{name}zero-one"}, set(), set()]


@pytest.mark.parametrize("kind", ["none", "scored", "unit"])
def test_every_listed_mistake_of_many_sequences_changes_an_answer(kind):
    settings, _ = NORMAL[kind]
    network = net(**settings)
    right = np.array(wrong.forward_many(network, XS))
    cases = [c for c in wrong.applicable(network, *LENGTHS) if not c.layers]
    # Whatever is done to weights, and to the output, has its own test.
    for case in cases:
        y = np.array(wrong.forward_many(network, XS, [case]))
        assert y.shape == right.shape
        assert not np.abs(y - right).max() < 1e-6, case
    together = 0
    rng = np.random.default_rng(2)
    for k, j in rng.choice(len(cases), size=(150, 2)):
        a, b = cases[k], cases[j]
        assert wrong.compatible(a, b) == wrong.compatible(b, a)
        if wrong.compatible(a, b):
            one, two = (wrong.forward_many(network, XS, p) for p in ([a, b], [b, a]))
            np.testing.assert_array_equal(one, two, err_msg=f"{a}, {b}")
            together += 1
    assert together > 20


def test_which_mistakes_of_input_are_not_compatible():
    late = Wrong("time-shift", (), {"steps": 1, "fill": "neutral"})
    zero = Wrong("time-shift", (), {"steps": 1, "fill": "zero"})
    omitted = Wrong("normalisation-omitted", (), {})
    assert wrong.compatible(zero, omitted) and not wrong.compatible(late, omitted)
    mixed = Wrong("sequences-reordered", (), {"order": (1, 0)})
    stale = Wrong("start-state", ("one",), {"from": "previous-sequence"})
    again = Wrong("start-state", ("one",), {"from": "previous-run"})
    assert wrong.compatible(mixed, again) and not wrong.compatible(mixed, stale)
