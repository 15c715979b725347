"""The measures against formulas written out in NumPy, and torch where it has them."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jlstm import metrics as M
from jlstm.errors import InputError

NUMBERS = (M.rmse, M.nrmse, M.mae, M.r2, M.nse, M.kge, M.fit)
CLASSES = (M.accuracy, M.cross_entropy)
N, K = 40, 3


@pytest.fixture
def case(rng):
    """Three outputs of very different level and spread, predicted badly."""
    target = rng.normal(size=(N, K)) * [1, 30, 0.02] + [2, -50, 0.1]
    y = 0.8 * target + rng.normal(size=(N, K)) * [0.5, 5, 0.01] + [0.3, 9, 0]
    return y, target


@pytest.fixture
def scores(rng):
    y = rng.dirichlet(np.ones(K), size=N)
    return y, np.eye(K)[rng.integers(K, size=N)]


def oracle(name, y, t):
    """One output, from the equation of its source."""
    e = t - y
    if name == "nrmse":
        return np.linalg.norm(e) / np.linalg.norm(t - t.mean())
    if name == "fit":
        return 100 * (1 - np.linalg.norm(e) / np.linalg.norm(t - t.mean()))
    if name in ("nse", "r2"):
        return 1 - e.dot(e) / ((t - t.mean()) ** 2).sum()
    if name == "kge":
        r = np.corrcoef(y, t)[0, 1]
        alpha, beta = y.std() / t.std(), y.mean() / t.mean()
        return 1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2)
    raise KeyError(name)


@pytest.mark.parametrize("name", ["nrmse", "fit", "nse", "r2", "kge"])
def test_measures_by_output_follow_their_sources(case, name):
    y, t = case
    each = [oracle(name, y[:, k], t[:, k]) for k in range(K)]
    found = getattr(M, name)(y, t)
    assert type(found) is float
    assert found == pytest.approx(np.mean(each), rel=1e-12)
    for k in range(K):
        one = getattr(M, name)(y[:, k : k + 1], t[:, k : k + 1])
        assert one == pytest.approx(each[k], rel=1e-12)


def test_errors_in_the_unit_of_the_target_are_torchs(case):
    y, t = case
    a, b = map(torch.tensor, case)
    mse = torch.nn.functional.mse_loss(a, b).item()
    assert M.rmse(y, t) == pytest.approx(math.sqrt(mse), rel=1e-12)
    mae = torch.nn.functional.l1_loss(a, b).item()
    assert M.mae(y, t) == pytest.approx(mae, rel=1e-12)
    assert type(M.rmse(y, t)) is type(M.mae(y, t)) is float


def test_gupta_components_by_hand():
    """A prediction that is twice the target: r 1, alpha 2, beta 2."""
    t = np.array([[1.0], [2.0], [4.0]])
    assert M.kge(2 * t, t) == pytest.approx(1 - math.sqrt(2), rel=1e-12)
    assert M.kge(t + 7 / 3, t) == pytest.approx(0, abs=1e-12)  # only beta, 2
    assert M.nse(np.full_like(t, 7 / 3), t) == pytest.approx(0, abs=1e-12)
    assert M.fit(np.full_like(t, 7 / 3), t) == pytest.approx(0, abs=1e-12)


def test_classes_are_torchs(scores):
    y, t = scores
    truth = torch.tensor(t.argmax(1))
    nll = torch.nn.functional.nll_loss(torch.tensor(y).log(), truth).item()
    assert M.cross_entropy(y, t) == pytest.approx(nll, rel=1e-12)
    hits = sum(int(np.flatnonzero(t[k])[0] == np.argsort(y[k])[-1]) for k in range(N))
    assert 0 < hits < N
    assert M.accuracy(y, t) == pytest.approx(hits / N, rel=1e-12)


@pytest.mark.parametrize("measure", NUMBERS)
def test_what_is_perfect(case, measure):
    _, t = case
    best = {"rmse": 0, "mae": 0, "nrmse": 0, "fit": 100}.get(measure.__name__, 1)
    assert measure(t, t) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("measure", NUMBERS)
def test_sequences_are_pooled_and_not_averaged(case, measure):
    y, t = case
    cuts = [5, 12]
    parts = measure(np.split(y, cuts), tuple(np.split(t, cuts)))
    assert parts == pytest.approx(measure(y, t), rel=1e-12)
    rows = measure(list(y), list(t))  # an answer per sequence
    assert rows == pytest.approx(measure(y, t), rel=1e-12)


@pytest.mark.parametrize("measure", (*NUMBERS, *CLASSES))
def test_weights_count_like_repetitions_and_zeros_and_nans_not_at_all(
    case, scores, rng, measure
):
    y, t = scores if measure in CLASSES else case
    repeats = rng.integers(0, 4, size=N)
    repeats[:4] = [0, 1, 2, 3]
    expected = measure(np.repeat(y, repeats, axis=0), np.repeat(t, repeats, axis=0))
    weights = np.repeat(repeats[:, None], K, axis=1)
    assert measure(y, t, weights) == pytest.approx(expected, rel=1e-10)
    assert measure(y, t, 0.1 * weights) == pytest.approx(expected, rel=1e-10)
    spoilt, holes = y.copy(), t.copy()
    spoilt[repeats == 0] = np.nan
    assert measure(spoilt, t, weights) == pytest.approx(expected, rel=1e-10)
    holes[repeats == 0] = np.nan
    weights[repeats == 0] = 1
    assert measure(y, holes, weights) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["nrmse", "fit", "nse", "r2", "kge"])
def test_a_hole_in_one_output_leaves_the_others_alone(case, name):
    y, t = case
    holes = t.copy()
    holes[7:15, 1] = np.nan
    kept = np.r_[0:7, 15:N]
    each = [oracle(name, y[:, k], t[:, k]) for k in (0, 2)]
    each.append(oracle(name, y[kept, 1], t[kept, 1]))
    assert getattr(M, name)(y, holes) == pytest.approx(np.mean(each), rel=1e-12)
    holes[:, 1] = np.nan
    found = getattr(M, name)(y, holes)
    assert found == pytest.approx(np.mean(each[:2]), rel=1e-12)


def test_a_hole_in_one_output_leaves_the_unit_measures_their_mean(case):
    y, t = case
    holes = t.copy()
    holes[7:15, 1] = np.nan
    e = (y - holes)[~np.isnan(holes)]
    assert M.rmse(y, holes) == pytest.approx(math.sqrt(e.dot(e) / e.size), rel=1e-12)
    assert M.mae(y, holes) == pytest.approx(abs(e).sum() / e.size, rel=1e-12)


@pytest.mark.parametrize("measure", (M.nrmse, M.fit, M.nse, M.r2, M.kge))
def test_a_constant_target_has_no_relative_measure(case, measure):
    y, t = (a[:37].copy() for a in case)
    t[:, 2] = 0.1
    assert np.mean(t[:, 2]) != 0.1, "rounding no longer hides that it is constant"
    assert math.isnan(measure(y, t))
    assert math.isfinite(M.rmse(y, t)) and math.isfinite(M.mae(y, t))


def test_kling_gupta_needs_a_correlation_and_a_mean(case):
    y, t = (a[:37] for a in case)
    assert math.isnan(M.kge(np.full_like(y, 0.1), t))
    balanced = np.array([[-1.0], [1.0], [-2.0], [2.0]])
    assert math.isnan(M.kge(balanced + 1, balanced))
    assert math.isfinite(M.nse(balanced + 1, balanced))


@pytest.mark.parametrize("measure", NUMBERS)
def test_a_network_that_has_diverged_is_not_excused(case, measure):
    y, t = case
    for value, allowed in ((np.nan, "nan"), (np.inf, "nan inf -inf")):
        bad = y.copy()
        bad[3, 1] = value
        assert str(measure(bad, t)) in allowed.split()


def test_scores_that_are_nan_are_wrong(scores):
    y, t = scores
    right = y.argmax(1) == t.argmax(1)
    bad = y.copy()
    bad[right] = np.nan
    assert M.accuracy(bad, t) == 0
    assert math.isnan(M.cross_entropy(bad, t))


def test_steps_without_a_class_are_left_out(scores):
    y, t = scores
    padded = np.vstack([t, np.zeros((5, K)), [[np.nan, 1, 0]]])
    longer = np.vstack([y, np.full((6, K), 1 / K)])
    for measure in CLASSES:
        assert measure(longer, padded) == pytest.approx(measure(y, t), rel=1e-12)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_the_bound_of_cross_entropy_is_that_of_the_precision(kind):
    y, t = np.array([[1, 0]], kind), np.array([[0, 1]], kind)
    expected = -math.log(np.finfo(kind).eps)
    assert M.cross_entropy(y, t) == pytest.approx(expected, rel=1e-6)
    assert M.cross_entropy([y], [t]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("measure", (*NUMBERS, *CLASSES))
def test_arrays_of_jax_are_measured_in_double_precision(case, scores, measure):
    y, t = scores if measure in CLASSES else case
    y, t = y.astype("f4"), t.astype("f4")
    expected = measure(y.astype("f8"), t.astype("f8"))
    found = measure(jnp.asarray(y), [jnp.asarray(t)][0])
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_summary_has_what_makes_sense(case, scores):
    weights = np.ones((N, K))
    weights[:9] = 0
    numbers = M.summary(*case, weights)
    assert list(numbers) == ["rmse", "nrmse", "mae", "r2", "nse", "kge", "fit"]
    y, t = (a[9:] for a in case)
    assert numbers["rmse"] == pytest.approx(np.sqrt(np.mean((y - t) ** 2)), rel=1e-12)
    kges = [oracle("kge", y[:, k], t[:, k]) for k in range(K)]
    assert numbers["kge"] == pytest.approx(np.mean(kges), rel=1e-12)
    classes = M.summary(*scores, classes=True)
    assert list(classes) == ["accuracy", "cross_entropy"]
    hits = scores[0].argmax(1) == scores[1].argmax(1)
    assert classes["accuracy"] == pytest.approx(hits.mean(), rel=1e-12)


@pytest.mark.parametrize("measure", (*NUMBERS, *CLASSES))
class TestRefusals:
    def test_shapes_that_differ(self, measure):
        a = np.ones((4, 2))
        for y, t, w in (
            (a, a[:3], None),
            (a, a.T, None),
            (a, a, a[:, :1]),
            ([a, a], [a], None),
            ([a, a[:3]], [a[:3], a], None),
        ):
            with pytest.raises(InputError, match="same shape"):
                measure(y, t, w)

    def test_sequences_of_different_outputs(self, measure):
        parts = [np.ones((4, 2)), np.ones((4, 3))]
        with pytest.raises(InputError, match="differ in their outputs"):
            measure(parts, parts)

    def test_nothing_left(self, measure):
        a = np.ones((4, 2))
        for t, w in ((a * np.nan, None), (a, a * 0)):
            with pytest.raises(InputError, match="nothing is left"):
                measure(a, t, w)
        with pytest.raises(InputError, match="no sequence"):
            measure([], [])
        with pytest.raises(InputError, match="nothing is left"):
            measure(a[:0], a[:0])

    def test_what_could_be_read_in_two_ways(self, measure):
        for shape in ((), (5,), (2, 5, 3)):
            with pytest.raises(InputError, match="no sequence"):
                measure(np.ones(shape), np.ones(shape))

    def test_weights_that_are_none(self, measure):
        a = np.eye(2)
        for weight in (-1, np.nan):
            with pytest.raises(InputError, match="negative or NaN"):
                measure(a, a, np.full((2, 2), weight))

    def test_what_is_no_number(self, measure):
        with pytest.raises(InputError, match="not numbers"):
            measure(np.array([["a", "b"]]), np.ones((1, 2)))
