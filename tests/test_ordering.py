"""An order of many features is found from what the network makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from networks import lstm, normal
from recordings import signal
from wrong import Wrong, forward_many

import jlstm as jl
from jlstm import layers as L
from jlstm.network import Network

pytestmark = pytest.mark.usefixtures("quick_steps")


def regression(rng: np.random.Generator, features: int) -> Network:
    outputs = features - 2
    return Network.build(
        {
            "in": L.Input((features,)),
            "one": lstm(rng, 9, features),
            "fc": L.FullyConnected(normal(rng, outputs, 9), normal(rng, outputs)),
        }
    )


def scores(rng: np.random.Generator, features: int) -> Network:
    return Network.build(
        {
            "in": L.Input((features,)),
            "one": lstm(rng, 9, features, output_mode="last"),
            "fc": L.FullyConnected(normal(rng, 5, 9), normal(rng, 5)),
            "softmax": L.Softmax(),
        }
    )


@pytest.mark.parametrize(
    ("make", "features", "lengths"),
    [(regression, 16, (40,)), (regression, 6, (12, 9)), (scores, 7, (15, 12, 15, 9))],
    ids=["16-features", "two-sequences", "scores"],
)
def test_an_order_of_many_features_is_found(make, features, lengths):
    rng = np.random.default_rng(11)
    net = make(rng, features)
    xs = [rng.normal(size=(steps, features)) for steps in lengths]
    order = tuple(int(k) for k in rng.permutation(features))
    wrong = Wrong("features-permuted", (), {"order": order})
    d = jl.diagnose(net, xs, forward_many(net, xs, [wrong]), max_mistakes=1)
    assert d.verdict == "explained", d
    (mistake,) = d.findings[0].mistakes
    assert mistake.name == "features-permuted"
    assert tuple(mistake.parameters["order"]) == order


@pytest.mark.parametrize("order", [(4, 2, 6, 0, 5, 1, 3), (6, 5, 4, 3, 2, 1, 0)])
def test_sequences_in_another_order_are_found(order):
    rng = np.random.default_rng(3)
    net = scores(rng, 3)
    xs = [signal(8 + k, 3) * (1 + 0.2 * k) for k in range(7)]
    wrong = Wrong("sequences-reordered", (), {"order": order})
    d = jl.diagnose(net, xs, forward_many(net, xs, [wrong]), max_mistakes=1)
    assert d.verdict == "explained", d
    (mistake,) = d.findings[0].mistakes
    assert mistake.name == "sequences-reordered"
    assert tuple(mistake.parameters["order"]) == order


def test_an_order_that_ties_with_another_mistake_is_told_apart_by_an_input():
    rng = np.random.default_rng(3)
    net = scores(rng, 3)
    x = signal(8, 3)
    xs = [x, x[::-1]]
    y = forward_many(net, xs)
    d = jl.diagnose(net, xs, y[::-1], max_mistakes=1)
    names = {mistake.name for f in d.findings for mistake in f.mistakes}
    assert (d.verdict, names) == ("tied", {"sequences-reordered", "time-reversed"})
    assert "Another input would tell them apart" in d.separate_by
