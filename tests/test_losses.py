"""The losses against torch, against numbers MathWorks prints, against differences."""

from functools import partial

import jax
import jax.numpy as jnp
import loss_cases
import numpy as np
import pytest
from loss_cases import DELTA, R, T, by_torch, config, network, scorer, softmax

from jlstm.errors import InputError
from jlstm.network import predict
from jlstm.training.losses import loss

NAMES = ("half-mse", "mse", "mae", "huber", "cross-entropy", "nse")


@pytest.fixture
def case(rng):
    """y, target and weights of a sequence, scale: errors on both sides of DELTA."""
    return partial(loss_cases.case, rng)


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_is_averaged_over_steps_and_not_over_outputs(double, case, name):
    y, target, weights, scale = case(name)
    expected = by_torch(name, y, target, scale) / T
    found = scorer(name)(y, target, weights, scale)
    assert found.shape == () and found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_per_sequence_is_summed_over_outputs(double, case, name):
    y, target, weights, scale = case(name, (R,))
    target = np.eye(R)[1] if name == "cross-entropy" else target
    expected = by_torch(name, y[None], target[None], scale)
    for reduction in ("mean", "sum"):
        score = scorer(name, "last", time_reduction=reduction)
        found = score(y, target, weights, scale)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_sum_is_as_many_times_larger_as_steps_are_scored(double, case, name):
    y, target, weights, scale = case(name)
    weights[2:4] = 0
    kept = [k for k in range(T) if k not in (2, 3)]
    expected = by_torch(name, y[kept], target[kept], scale)
    total = scorer(name, time_reduction="sum")(y, target, weights, scale)
    mean = scorer(name)(y, target, weights, scale)
    np.testing.assert_allclose(total, expected, rtol=1e-12)
    np.testing.assert_allclose(mean, expected / (T - 2), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_weights_multiply_and_a_step_counts_if_any_output_is_scored(
    double, rng, case, name
):
    y, target, _, scale = case(name)
    weights = rng.uniform(0.2, 3.0, size=(T, R))
    weights[0] = 0
    weights[1, 1:] = 0
    weights[4, 2] = 0
    single = np.array(
        [
            [
                _element(name, y[t, r], target[t, r], scale[r]) * weights[t, r]
                for r in range(R)
            ]
            for t in range(T)
        ]
    )
    found = scorer(name)(y, target, weights, scale)
    np.testing.assert_allclose(found, single.sum() / (T - 1), rtol=1e-12)


def _element(name, y, t, scale):
    e = abs(y - t)
    return {
        "half-mse": e * e / 2,
        "mse": e * e,
        "mae": e,
        "huber": e * e / 2 if e <= DELTA else DELTA * e - DELTA**2 / 2,
        "cross-entropy": -t * np.log(abs(y)),  # scores are positive
        "nse": (e / (scale + 0.1)) ** 2,
    }[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_are_those_of_differences(double, rng, case, name, reduction):
    y, target, weights, scale = case(name)
    weights = rng.uniform(0.2, 3.0, size=(T, R))
    weights[3] = 0
    score = scorer(name, time_reduction=reduction)
    gradient = jax.grad(score)(y, target, weights, scale)
    h = 1e-6
    for t in range(T):
        for r in range(R):
            step = np.zeros((T, R))
            step[t, r] = h
            up, down = (score(y + s * step, target, weights, scale) for s in (1, -1))
            slope = float(up - down) / (2 * h)
            assert abs(float(gradient[t, r]) - slope) < 1e-7, (t, r)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("filler", [np.nan, np.inf, 1e30])
def test_what_is_not_scored_does_not_exist(double, case, name, filler):
    y, target, weights, scale = case(name)
    weights[1], weights[5, 0] = 0, 0
    score = scorer(name)
    clean = jax.value_and_grad(score)(y, target, weights, scale)
    for spoilt in ("y", "target", "both"):
        a, b = y.copy(), target.copy()
        for array in ([a] if spoilt != "target" else []) + (
            [b] if spoilt != "y" else []
        ):
            array[1], array[5, 0] = filler, filler
        value, gradient = jax.value_and_grad(score)(a, b, weights, scale)
        assert value == clean[0]
        np.testing.assert_array_equal(gradient, clean[1])
    np.testing.assert_array_equal(clean[1][1], 0)


def test_an_output_that_was_never_measured_has_no_scale_and_no_gradient(double, case):
    y, target, weights, scale = case("nse")
    target[:, 1], weights[:, 1], scale[1] = np.nan, 0, np.nan
    value, gradient = jax.value_and_grad(scorer("nse"))(y, target, weights, scale)
    expected = by_torch("nse", y[:, ::2], target[:, ::2], scale[::2]) / T
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert np.isfinite(gradient).all() and not gradient[:, 1].any()


def test_gradients_reach_the_parameters_past_nan_targets(double, rng):
    net = network(width=R).astype("f8")
    x, target = rng.normal(size=(T, 2)), rng.normal(size=(T, R))
    weights = np.ones((T, R))
    target[2], weights[2] = np.nan, 0

    def total(layers, target):
        y = predict(net.replace(layers=layers), x)
        return score(y, target, weights)

    score = loss(config("half-mse"), net)
    found = jax.grad(total)(net.layers, target)
    expected = jax.grad(total)(net.layers, np.nan_to_num(target, nan=3.0))
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["sequence", "last"])
def test_nothing_scored_is_a_loss_of_zero(case, name, mode):
    shape = (T, R) if mode == "sequence" else (R,)
    y = case(name, shape)[0].astype("f4")
    nothing = np.full(shape, np.nan, "f4"), np.zeros(shape, "f4"), np.nan
    value, gradient = jax.value_and_grad(scorer(name, mode))(y, *nothing)
    assert value == 0 and not gradient.any()


def test_batches_are_vmapped_and_compiled_with_a_mask_of_any_kind(case):
    score = scorer("half-mse")
    batch = [np.stack(a) for a in zip(*(case("mse") for _ in range(4)), strict=True)]
    y, target, _, _ = (a.astype("f4") for a in batch)
    mask = np.ones((4, T, R), bool)
    mask[2, 4:] = False
    found = jax.jit(jax.vmap(lambda *a: score(*a)))(y, target, mask)
    assert found.dtype == np.float32
    lengths = [T, T, 4, T]
    expected = [
        0.5 * np.sum((y[k, :n] - target[k, :n]).astype("f8") ** 2) / n
        for k, n in enumerate(lengths)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def uniform(*sizes):
    """MATLAB's `rand` right after its start: the same Mersenne twister, by column."""
    stream = np.random.RandomState(5489)
    return [stream.rand(*size) for size in sizes]


class TestNumbersOfMathWorks:
    """What the reference pages dlarray.mse, .l2loss, .l1loss, .crossentropy print."""

    def test_mse_is_half_the_sum_over_one_observation(self, double):
        (y,) = uniform((36,))
        found = scorer("half-mse", "last", 36)(y, np.ones(36), np.ones(36))
        assert round(float(found), 4) == 5.2061

    @pytest.mark.parametrize(("name", "printed"), [("mse", 1.4748), ("mae", 3.1679)])
    def test_ten_responses_and_twelve_observations(self, double, name, printed):
        y, target = uniform((12, 10), (12, 10))
        ones = np.ones((12, 10))
        found = scorer(name, width=10)(y, target, ones)
        assert round(float(found), 4) == printed
        each = jax.vmap(scorer(name, "last", 10))(y, target, ones)
        assert round(float(each.mean()), 4) == printed

    def test_crossentropy_of_ten_classes_and_twelve_observations(self, double):
        y, draws = uniform((12, 10), (12,))
        target = np.eye(10)[np.ceil(10 * draws).astype(int) - 1]
        score = scorer("cross-entropy", width=10)
        found = score(softmax(y), target, np.ones((12, 10)))
        assert round(float(found), 4) == 2.3343


class TestCertainty:
    """Cross-entropy where a score is 0, or close to it."""

    @pytest.mark.parametrize("kind", ["f4", "f8"])
    def test_scores_are_bounded_by_the_resolution_of_their_precision(
        self, double, kind
    ):
        eps = np.finfo(kind).eps
        score = scorer("cross-entropy", "last")
        one, ones = np.array([0, 1, 0], kind), np.ones(R, kind)
        for low in (0.0, eps / 8):
            y = np.array([1 - low, low, 0], kind)
            value, gradient = jax.value_and_grad(score)(y, one, ones)
            np.testing.assert_allclose(value, -np.log(float(eps)), rtol=1e-6)
            # MATLAB's: -t over the bounded score, not the 0 of a clipped logarithm.
            np.testing.assert_allclose(gradient, [0, -1 / eps, 0], rtol=1e-6)
        above = np.array([0.5, 4 * eps, 0], kind)
        value = score(above, one, ones)
        np.testing.assert_allclose(value, -np.log(4 * float(eps)), rtol=1e-6)

    def test_a_padded_step_counts_and_adds_nothing(self, double, case):
        y, target, weights, scale = case("cross-entropy")
        target[5:] = 0
        expected = by_torch("cross-entropy", y[:5], target[:5], scale) / T
        found = scorer("cross-entropy")(y, target, weights)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


class TestRefusals:
    def test_a_target_that_would_broadcast(self):
        score = scorer("mse", width=1)
        y, column = np.ones((T, 1), "f4"), np.ones(T, "f4")
        for given in ((y, column, y), (y, y, column), (y, y[:1], y)):
            with pytest.raises(InputError, match="same shape"):
                score(*given)

    def test_a_batch(self, case):
        batch = np.ones((4, T, R), "f4")
        with pytest.raises(InputError, match=r"jax\.vmap"):
            scorer("mse")(batch, batch, batch)
        with pytest.raises(InputError, match=r"jax\.vmap"):
            scorer("mse", "last")(batch[0], batch[0], batch[0])

    def test_a_scale_of_another_length(self, case):
        y, target, weights, _ = case("nse")
        with pytest.raises(InputError, match="scale"):
            scorer("nse")(*(jnp.float32(a) for a in (y, target, weights)), np.ones(T))
