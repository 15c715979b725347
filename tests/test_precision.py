"""The precision of a network from the precisions of its arrays."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from jlstm import layers as L
from jlstm.errors import Unsupported
from jlstm.formats.precision import one_precision
from jlstm.network import Network


def network(weights: Any, bias: Any, mean: Any = np.float64) -> Network:
    """Arrays that single precision holds exactly, of these types."""
    statistics: dict[str, Any] = {
        "mean": np.full(3, 0.5, mean),
        "std": np.full(3, 2.0, mean),
    }
    dense = L.FullyConnected(np.full((2, 3), 0.25, weights), np.full(2, 1.5, bias))
    entry = L.Input((3,), normalization="zscore", **statistics)
    return Network.build({"in": entry, "fc": dense})


def kinds(net: Network) -> set[str]:
    return {str(leaf.dtype) for leaf in jax.tree.leaves(net)}


@pytest.mark.parametrize(("arrays", "single", "wanted"), [
    (("f4", "f4", "f8"), False, "float32"),
    (("f8", "f8", "f4"), False, "float64"),
    (("f4", "f8", "f8"), False, "float32"),
    (("f8", "f8", "f8"), True, "float32"),
    (("f4", "f4", "f4"), True, "float32"),
])  # fmt: skip
def test_parameters_decide_and_statistics_follow(arrays, single, wanted):
    net, words = one_precision(network(*arrays), single)
    assert kinds(net) == {wanted} and words == ""


def test_digits_that_are_lost_are_told():
    net = network("f8", "f8").astype(np.float64)
    odd = L.FullyConnected(np.full((2, 3), 0.1), np.zeros(2))
    layers = {**net.layers, "fc": odd}
    found, words = one_precision(net.replace(layers=layers), True)
    assert kinds(found) == {"float32"} and "double precision" in words


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_numbers_that_single_precision_does_not_hold(value):
    odd = L.FullyConnected(np.full((2, 3), value), np.zeros(2))
    net = network("f8", "f8")
    net = net.replace(layers={**net.layers, "fc": odd})
    with pytest.raises(Unsupported, match="too large") as caught:
        one_precision(net, True)
    assert caught.value.place == ".layers['fc'].weights"
    assert kinds(one_precision(net, False)[0]) == {"float64"}


def test_what_is_not_finite_stays():
    odd = L.FullyConnected(np.full((2, 3), np.inf), np.full(2, np.nan))
    net = network("f8", "f8")
    found, _ = one_precision(net.replace(layers={**net.layers, "fc": odd}), True)
    layer: Any = found.layers["fc"]
    assert np.all(np.isinf(layer.weights)) and np.all(np.isnan(layer.bias))
