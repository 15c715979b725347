"""Tallies: merged in any order they are what NumPy says of all values together."""

from __future__ import annotations

import functools
import itertools
import json
import math

import numpy as np
import pytest

from jlstm import metrics as M
from jlstm.errors import DamagedFile, InputError
from jlstm.tally import Tally, row_columns, sequence_row, tallied
from jlstm.tally import density as D
from jlstm.tally.sketch import Sketch

K, C = 3, 4


def ragged(rng, count=60, mean=0.0, spread=1.0, longest=40):
    """Sequences of K outputs, with holes in their targets."""
    y, t = [], []
    for steps in rng.integers(1, longest, size=count):
        t.append(mean + spread * rng.normal(size=(steps, K)))
        y.append(t[-1] + 0.3 * spread * rng.normal(size=(steps, K)))
        t[-1][rng.random(t[-1].shape) < 0.1] = np.nan
    return y, t


def labelled(rng, count=50):
    y = [rng.dirichlet(np.ones(C), size=n) for n in rng.integers(1, 20, size=count)]
    t = [np.eye(C)[rng.integers(C, size=len(a))] for a in y]
    for one in t[::3]:
        one[0] = 0
    return y, t


def merged(parts, order):
    return functools.reduce(Tally.merge, [parts[k] for k in order])


def groupings(rng, parts):
    """One by one, backwards, shuffled, and as a tree of random shape."""
    count = len(parts)
    yield from (
        merged(parts, order)
        for order in (range(count), range(count)[::-1], rng.permutation(count))
    )
    left = list(parts)
    while len(left) > 1:
        one, other = (left.pop(rng.integers(len(left))) for _ in range(2))
        left.append(one.merge(other))
    yield left[0]


def formulas(y, t):
    """One output, in extended precision, from the equations."""
    kept = ~np.isnan(t)
    y, t = y[kept].astype(np.longdouble), t[kept].astype(np.longdouble)
    error, away, away_y = y - t, t - t.mean(), y - y.mean()
    r = (away * away_y).sum() / np.sqrt((away**2).sum() * (away_y**2).sum())
    alpha = np.sqrt((away_y**2).sum() / (away**2).sum())
    beta = y.mean() / t.mean()
    nse = 1 - (error**2).sum() / (away**2).sum()
    return {
        "rmse": np.sqrt((error**2).mean()),
        "mae": abs(error).mean(),
        "nse": nse,
        "r2": nse,
        "kge": 1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2),
    }


@pytest.mark.parametrize(("mean", "spread"), [(3, 1), (1e6, 1e-3), (-2e-9, 5e-12)])
def test_any_grouping_gives_the_formulas_on_all_values(rng, mean, spread):
    y, t = ragged(rng, mean=mean, spread=spread)
    parts = [Tally.of(*both) for both in zip(y, t, strict=True)]
    values = np.concatenate(y), np.concatenate(t)
    expected = [formulas(values[0][:, k], values[1][:, k]) for k in range(K)]
    every = [Tally.of(y, t), *groupings(rng, parts)]
    for tally in every:
        found = tally.summary()
        for k, key in itertools.product(range(K), expected[0]):
            value = found["outputs"][k][key]
            assert value == pytest.approx(float(expected[k][key]), rel=1e-12), key
        for key, value in M.summary(y, t).items():
            assert found["all"][key] == pytest.approx(value, rel=1e-12)
        assert found["scored"] == np.sum(~np.isnan(values[1]))
        assert (found["sequences"], found["steps"]) == (len(y), len(values[0]))
        # What is counted is the same to the last one.
        assert tally.scores == every[0].scores
        for mine, first in zip(tally.density, every[0].density, strict=True):
            assert mine.level == first.level
            np.testing.assert_array_equal(mine.cells, first.cells)
            np.testing.assert_array_equal(mine.counts, first.counts)


def test_single_steps_have_moments_only_together(rng):
    """All of the variance is between the parts."""
    y, t = ragged(rng, count=300, mean=1e6, spread=1e-3, longest=2)
    expected = formulas(np.concatenate(y)[:, 0], np.concatenate(t)[:, 0])
    for tally in groupings(
        rng, [Tally.of(a[0], b[0]) for a, b in zip(y, t, strict=True)]
    ):
        found = tally.summary()["outputs"][0]
        for key, value in expected.items():
            assert found[key] == pytest.approx(float(value), rel=1e-12), key
        assert math.isnan(tally.summary()["sequences_all"]["nse"]["median"])


def test_classes(rng):
    y, t = labelled(rng)
    truth, scores = np.concatenate(t), np.concatenate(y)
    known = truth.sum(axis=1) > 0
    true, taken = truth[known].argmax(1), scores[known].argmax(1)
    table = np.array(
        [[np.sum((true == i) & (taken == j)) for j in range(C)] for i in range(C)]
    )
    entropy = -np.log(scores[known][np.arange(len(true)), true]).mean()
    parts = [Tally.of(a, b, classes=True) for a, b in zip(y, t, strict=True)]
    for tally in (Tally.of(y, t, classes=True), *groupings(rng, parts)):
        found = tally.summary(["a", "b", "c", "d"])
        assert found["confusion"] == table.tolist()
        assert found["all"]["accuracy"] == pytest.approx(
            (true == taken).mean(), rel=1e-12
        )
        assert found["all"]["cross_entropy"] == pytest.approx(entropy, rel=1e-12)
        assert found["scored"] == known.sum()
        second = found["classes"][1]
        assert second["name"] == "b" and second["scored"] == table[1].sum()
        assert second["recall"] == pytest.approx(table[1, 1] / table[1].sum())
        assert second["precision"] == pytest.approx(table[1, 1] / table[:, 1].sum())


def test_scores_that_are_nan_are_wrong_and_counted(rng):
    y, t = labelled(rng)
    y[1][:] = np.nan
    found = Tally.of(y, t, classes=True).summary()
    assert found["all"]["accuracy"] == pytest.approx(M.accuracy(y, t), rel=1e-12)
    assert math.isnan(found["all"]["cross_entropy"])
    assert found["steps_not_finite"] == len(y[1]) and found["sequences_not_finite"] == 1
    assert np.sum(found["confusion"]) + len(y[1]) == found["scored"]


@pytest.mark.parametrize("classes", [False, True])
def test_json_and_back_to_the_last_bit(rng, classes):
    y, t = labelled(rng) if classes else ragged(rng, mean=1e6, spread=1e-3)
    y[0][0, 0] = np.nan
    y[3][0, 1] = np.inf
    if not classes:
        for one in t:
            one[:, 2] = np.nan
    tally = Tally.of(y, t, classes)
    text = json.dumps(tally.to_dict(), allow_nan=False)
    back = Tally.from_dict(json.loads(text))
    assert json.dumps(back.to_dict(), allow_nan=False) == text
    assert repr(back.summary()) == repr(tally.summary())
    assert repr(back.merge(tally).summary()) == repr(tally.merge(tally).summary())


def test_a_tally_that_was_altered_is_refused(rng):
    good = Tally.of(*ragged(rng)).to_dict()

    def changed(*path, value):
        given = json.loads(json.dumps(good))
        place = given
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return given

    for given in (
        {}, [], None,
        changed("sequences", value="many"),
        changed("sums", "weight", value=[1.0]),
        changed("sums", "tt", value=None),
        changed("scores", "nse", value=[]),
        changed("scores", "nse", 0, "counts", value=[]),
        changed("scores", "rmse", 0, "zeros", value=1.5),
        changed("density", 0, "counts", value=[1]),
        changed("density", 0, "target", value=[0.5]),
    ):  # fmt: skip
        with pytest.raises(DamagedFile):
            Tally.from_dict(given)


def test_a_prediction_that_is_nan_makes_the_measures_nan_and_is_counted(rng):
    y, t = ragged(rng)
    t[5][:] = 1.0
    y[5][-1, 0] = np.nan
    t[6][0], y[6][0] = np.nan, np.nan  # not scored
    found = Tally.of(y, t).summary()
    assert math.isnan(found["all"]["nse"]) and math.isnan(found["outputs"][0]["rmse"])
    kept = formulas(np.concatenate(y)[:, 1], np.concatenate(t)[:, 1])
    assert found["outputs"][1]["nse"] == pytest.approx(float(kept["nse"]), rel=1e-12)
    assert found["sequences_not_finite"] == 1
    assert found["outputs"][0]["sequences"]["rmse"]["undefined"] == 1


def test_a_constant_target_stays_constant_when_merged(rng):
    value = np.full((37, 1), 0.1)
    parts = [Tally.of(rng.normal(size=(37, 1)), value) for _ in range(9)]
    for tally in groupings(rng, parts):
        found = tally.summary()["all"]
        assert math.isnan(found["nse"]) and math.isnan(found["kge"])
        assert math.isfinite(found["rmse"])


def test_kling_gupta_of_a_mean_that_is_zero_up_to_rounding(rng):
    half = rng.normal(size=(50, 1))
    target = np.concatenate([half, -half])
    parts = [Tally.of(a + 1, a) for a in np.array_split(target, 7)]
    for tally in groupings(rng, parts):
        assert math.isnan(tally.summary()["all"]["kge"])


def test_nothing_scored_is_no_error():
    y = [np.ones((4, 2)), np.ones((0, 2)), np.ones((1, 2))]
    t = [a * np.nan for a in y]
    t[2][0] = 2.0
    tally = Tally.of(y[:2], t[:2])
    found = tally.summary()
    assert (found["sequences"], found["sequences_scored"], found["scored"]) == (2, 0, 0)
    assert all(math.isnan(value) for value in found["all"].values())
    both = tally.merge(Tally.of(y[2], t[2])).summary()
    assert both["all"]["rmse"] == 1 and both["sequences_scored"] == 1
    row = sequence_row("empty", y[1], t[1])
    assert (row["steps"], row["scored"]) == (0, 0) and math.isnan(row["rmse"])
    assert Tally.of(y[1], t[1]).steps == 0
    empty = Tally.of(y[:2], [a * 0 for a in y[:2]], classes=True)
    assert empty.scored == 0 and math.isnan(empty.summary()["all"]["accuracy"])


def test_tallies_of_different_outputs_are_refused():
    one = Tally.of(np.eye(2), np.eye(2))
    for other in (Tally.of(np.eye(3), np.eye(3)), Tally.of(np.eye(2), np.eye(2), True)):
        with pytest.raises(InputError, match="different predictions"):
            one.merge(other)
    with pytest.raises(InputError, match="as many names"):
        one.summary(["a"])


def test_rows_are_the_measures_of_each_sequence(rng):
    y, t = ragged(rng, count=20, longest=9)
    names = [str(k) for k in range(20)]
    tally, rows = tallied(names, y, t, outputs=["u", "v", "w"])
    assert tally.to_dict() == Tally.of(y, t).to_dict()
    for name, a, b, row in zip(names, y, t, rows, strict=True):
        assert list(row) == row_columns(K, outputs=["u", "v", "w"])
        assert (row["sequence"], row["steps"]) == (name, len(a))
        assert repr(row) == repr(sequence_row(name, a, b, outputs=["u", "v", "w"]))
        if row["scored"]:
            assert row["rmse"] == pytest.approx(np.sqrt(np.nanmean((a - b) ** 2)))
            assert row["nse"] == pytest.approx(M.nse(a, b), rel=1e-12, nan_ok=True)
        if np.sum(~np.isnan(b[:, 1])) > 2:
            expected = float(formulas(a[:, 1], b[:, 1])["nse"])
            assert row["v_nse"] == pytest.approx(expected, rel=1e-11)
    assert list(sequence_row("a", y[0][:, :1], t[0][:, :1])) == row_columns(1)
    for twice in (["u", "u", "w"], ["u", "v"]):
        with pytest.raises(InputError, match="a name of its own"):
            sequence_row("a", np.ones((2, K)), np.ones((2, K)), outputs=twice)
    y, t = labelled(rng)
    row = sequence_row("a", y[1], t[1], classes=True)
    assert list(row) == row_columns(C, classes=True)
    assert row["accuracy"] == pytest.approx(np.mean(y[1].argmax(1) == t[1].argmax(1)))
    assert type(row["scored"]) is int and type(row["accuracy"]) is float


class TestSketch:
    @pytest.mark.parametrize("share", [0, 0.003, 0.05, 0.5, 0.731, 0.95, 1])
    def test_quantiles_are_exact_to_one_per_cent(self, rng, share):
        values = np.exp(rng.normal(size=3001) * 4)
        values[:40] = 0
        parts = [Sketch.of(part) for part in np.array_split(values, 13)]
        rng.shuffle(parts)
        sketch = functools.reduce(Sketch.merge, parts)
        for upper, method in ((False, "lower"), (True, "higher")):
            expected = np.quantile(values, share, method=method)
            assert sketch.quantile(share, upper) == pytest.approx(expected, rel=0.01)
        for end, exact in ((0, values.min()), (1, values.max())):
            assert sketch.quantile(end) == exact

    def test_what_is_no_number(self):
        sketch = Sketch.of(np.array([np.nan, 1.0, np.inf, np.inf]))
        assert (sketch.defined, sketch.undefined, sketch.infinite) == (3, 1, 2)
        assert sketch.quantile(1) == sketch.quantile(0.5) == math.inf
        assert sketch.quantile(0) == 1
        assert math.isnan(Sketch().quantile(0.5))

    def test_it_is_bounded(self, rng):
        sketch = Sketch.of(10.0 ** rng.uniform(-300, 300, size=20_000))
        assert len(sketch.counts) <= 7000

    def test_the_summary_turns_scores_back(self, rng):
        y, t = ragged(rng, count=200)
        nse = [M.nse(a, b) for a, b in zip(y, t, strict=True) if len(a) > 9]
        pairs = [(a, b) for a, b in zip(y, t, strict=True) if len(a) > 9]
        found = Tally.of(*map(list, zip(*pairs, strict=True))).summary()
        spread = found["sequences_all"]["nse"]
        for key, share in (("q05", 0.05), ("median", 0.5), ("q95", 0.95)):
            expected = np.quantile(nse, share, method="lower")
            assert 1 - spread[key] == pytest.approx(1 - expected, rel=0.011)
        assert spread["min"] == pytest.approx(min(nse), rel=1e-12)
        assert spread["max"] == pytest.approx(max(nse), rel=1e-12)


class TestDensity:
    def test_squares_hold_what_lies_in_them(self, rng):
        t = rng.normal(size=5000) * 7
        y = t + rng.normal(size=5000)
        found = D.Density.of(t, y, np.full(5000, 30.0))
        assert found.counts.sum() == 5000 and D.MOST / 8 < len(found.counts) <= D.MOST
        low = np.ldexp(found.cells.astype(float), found.level)
        high = low + 2.0**found.level
        for (a, b), (c, d), count in zip(low, high, found.counts, strict=True):
            assert count == np.sum((t >= a) & (t < c) & (y >= b) & (y < d))

    def test_any_grouping_gives_the_same(self, rng):
        t = np.exp(rng.normal(size=9000) * 3) * rng.choice([-1, 1], size=9000)
        y = t * rng.normal(1, 0.2, size=9000)
        t[:500] = y[:500] = 0
        far = np.full(9000, np.inf)
        whole = D.Density.of(t, y, far)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(9000)
            cuts = np.sort(order[:30])
            parts = [D.Density.of(t[k], y[k], far[k]) for k in np.split(order, cuts)]
            found = functools.reduce(D.Density.merge, parts)
            assert found.level == whole.level
            np.testing.assert_array_equal(found.cells, whole.cells)
            np.testing.assert_array_equal(found.counts, whole.counts)

    def test_what_has_no_square_is_counted(self):
        t = np.array([1.0, 2, 3, np.nan, 4])
        y = np.array([1.0, np.nan, 1e30, 1, -np.inf])
        found = D.Density.of(t, y, np.full(5, 4.0))
        assert (found.counts.sum(), found.beyond) == (1, 3)

    def test_long_sequences_are_counted_at_evenly_spaced_steps(self):
        steps = np.arange(1000.0)[:, None]
        found = Tally.of(steps, steps).density[0]
        assert found.counts.sum() == D.PER_SEQUENCE
        values = np.sort(np.ldexp(found.cells[:, 0].astype(float), found.level))
        assert values[0] == 0 and np.ptp(np.diff(values)) <= 1
