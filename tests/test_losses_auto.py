"""Which loss a network's end asks for, and what several outputs add up to."""

from functools import partial

import loss_cases
import networks
import numpy as np
import pytest
from loss_cases import R, T, by_torch, config, network, softmax

from jlstm import layers as L
from jlstm.errors import InputError
from jlstm.network import Network, Node
from jlstm.training.losses import loss, loss_names


@pytest.fixture
def case(rng):
    """y, target and weights of a sequence, scale: errors on both sides of DELTA."""
    return partial(loss_cases.case, rng)


class TestAuto:
    @pytest.mark.parametrize(
        "ends",
        [
            (L.Softmax(),),
            (L.Softmax(), L.Classification(("a", "b", "c"))),
            (L.Softmax(), L.Identity("unfold"), L.Dropout(), L.Classification()),
            (L.Softmax(), L.Indexing1D("last"), L.Classification()),
        ],
    )
    def test_scores_of_a_softmax_are_classes(self, ends):
        net = network(*ends)
        assert loss_names(config(), net) == ("cross-entropy",)
        assert loss_names(config("cross-entropy"), net) == ("cross-entropy",)
        assert loss_names(config("mse"), net) == ("mse",)

    @pytest.mark.parametrize(
        "ends",
        [
            (),
            (L.Regression(),),
            (L.Classification(),),
            (L.Softmax(), L.Activation("relu")),
            (L.Softmax(), L.FullyConnected(np.eye(R, dtype="f4"), np.zeros(R, "f4"))),
        ],
    )
    def test_the_rest_are_numbers_and_refuse_cross_entropy(self, ends):
        net = network(*ends)
        assert loss_names(config(), net) == ("half-mse",)
        with pytest.raises(InputError, match="softmax") as error:
            loss(config("cross-entropy"), net)
        assert net.outputs[0] in str(error.value)

    def test_a_softmax_that_ends_in_a_regression_may_be_either(self):
        net = network(L.Softmax(), L.Regression())
        assert loss_names(config(), net) == ("half-mse",)
        assert loss_names(config("cross-entropy"), net) == ("cross-entropy",)

    def test_a_state_is_no_softmax(self):
        rng = np.random.default_rng(2)
        net = Network.build(
            {"in": L.Input((2,)), "lstm": networks.lstm(rng, 4, 2)},
            outputs=["lstm/hidden"],
        )
        assert loss_names(config(), net) == ("half-mse",)
        y, target = rng.normal(size=(2, 4)).astype("f4")
        found = loss(config(), net)(y, target, np.ones(4, "f4"))
        np.testing.assert_allclose(found, ((y - target) ** 2).sum() / 2, rtol=1e-6)

    def test_it_is_the_loss_that_is_computed(self, double, case):
        y, target, weights, scale = case("cross-entropy")
        classes = loss(config(), network(L.Softmax()))(y, target, weights)
        numbers = loss(config(), network())(y, target, weights)
        np.testing.assert_allclose(
            classes, by_torch("cross-entropy", y, target, scale) / T, rtol=1e-12
        )
        np.testing.assert_allclose(
            numbers, by_torch("half-mse", y, target, scale) / T, rtol=1e-12
        )


class TestSeveralOutputs:
    """A network that returns three numbers at every step, and a class at the end."""

    @pytest.fixture
    def net(self):
        rng = np.random.default_rng(3)
        layers = {
            "in": L.Input((2,)),
            "lstm": networks.lstm(rng, 4, 2),
            "numbers": L.FullyConnected(
                networks.normal(rng, R, 4), networks.normal(rng, R)
            ),
            "last": L.Indexing1D("last"),
            "scores": L.FullyConnected(
                networks.normal(rng, R, 4), networks.normal(rng, R)
            ),
            "softmax": L.Softmax(),
        }
        graph = [
            Node("in", ()), Node("lstm", ("in",)), Node("numbers", ("lstm",)),
            Node("last", ("lstm",)), Node("scores", ("last",)),
            Node("softmax", ("scores",)),
        ]  # fmt: skip
        return Network.build(layers, graph, outputs=["numbers", "softmax"])

    def test_losses_add_up_each_over_its_own_steps(self, double, net, case):
        assert loss_names(config(), net) == ("half-mse", "cross-entropy")
        y, target, weights, scale = case("mse")
        weights[3:] = 0
        scores, one = softmax(np.array([0.3, -1.0, 0.5])), np.eye(R)[2]
        found = loss(config(), net)((y, scores), (target, one), (weights, np.ones(R)))
        first = by_torch("half-mse", y[:3], target[:3], scale) / 3
        np.testing.assert_allclose(found, first - np.log(scores[2]), rtol=1e-12)

    def test_each_output_has_its_scale(self, double, net, case):
        y, target, weights, scale = case("nse")
        end, answer, ones, spread = case("nse", (R,))
        found = loss(config("nse"), net)(
            (y, end), (target, answer), (weights, ones), (scale, spread)
        )
        first = by_torch("nse", y, target, scale) / T
        second = by_torch("nse", end, answer, spread)
        np.testing.assert_allclose(found, first + second, rtol=1e-12)

    def test_one_without_a_softmax_refuses_cross_entropy_for_all(self, net):
        with pytest.raises(InputError, match="numbers"):
            loss(config("cross-entropy"), net)

    def test_one_array_for_two_outputs_is_refused(self, net, case):
        y, target, weights, _ = case("mse")
        with pytest.raises(InputError, match="several outputs"):
            loss(config(), net)(y, target, weights)
