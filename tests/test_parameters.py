"""Parameters by name: chosen by patterns, put back unchanged, corrected by low rank."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from networks import gru, lstm, normal, rich

import jlstm as jl
from jlstm import layers as L
from jlstm.errors import InputError
from jlstm.network import Network
from jlstm.recurrent import Bidirectional
from jlstm.training.parameters import (
    chosen,
    low_rank,
    matrices,
    merged,
    parameters,
    with_parameters,
)


@pytest.fixture(scope="module")
def net() -> Network:
    rng = np.random.default_rng(1)
    statistics = {"mean": normal(rng, 3), "std": np.abs(normal(rng, 3))}
    return Network.build(
        {
            "in": L.Input((3,), normalization="zscore", **statistics),
            "both": Bidirectional(lstm(rng, 4, 3), lstm(rng, 4, 3)),
            "gru[1]": gru(rng, 5, 8),
            "fc": L.FullyConnected(normal(rng, 2, 5), normal(rng, 2)),
        }
    )


def test_parameters_are_all_arrays_but_statistics_and_states(net):
    found = parameters(net)
    assert len(found) == 2 * 4 * 3 + 3 * 3 + 2
    assert ".layers['both'].backward.g.recurrent_weights" in found
    assert not any("mean" in path or "std" in path for path in found)
    assert found[".layers['fc'].bias"] is net.layers["fc"].bias


def test_arrays_are_put_back_where_they_belong(net):
    changed = {path: a + 1 for path, a in parameters(net).items() if ".f." in path}
    new = with_parameters(net, changed)
    np.testing.assert_array_equal(
        new.layers["both"].forward.f.bias, net.layers["both"].forward.f.bias + 1
    )
    assert parameters(new).keys() == parameters(net).keys()
    for path, a in parameters(new).items():
        assert (a is parameters(net)[path]) == (path not in changed)
    assert new.layers["in"].mean is net.layers["in"].mean


def test_everything_of_a_rich_network_has_a_name():
    net = rich(np.random.default_rng(0))
    with_same = with_parameters(net, parameters(net))
    for a, b in zip(jax.tree.leaves(net), jax.tree.leaves(with_same), strict=True):
        assert a is b


@pytest.mark.parametrize(
    ("only", "freeze", "expected"),
    [
        (["layers['fc'].*"], [], {".layers['fc'].weights", ".layers['fc'].bias"}),
        ([".layers['fc'].bias"], [], {".layers['fc'].bias"}),
        (["layers['gru[1]'].r.*"], ["*.bias", "*.recurrent_weights"],
         {".layers['gru[1]'].r.input_weights"}),
        (["*['fc'].?ias"], [], {".layers['fc'].bias"}),
    ],
)  # fmt: skip
def test_patterns_choose(net, only, freeze, expected):
    assert set(chosen(net, only, freeze)) == expected


def test_everything_is_trained_by_default(net):
    assert chosen(net) == tuple(parameters(net))


@pytest.mark.parametrize(
    ("only", "freeze", "words"),
    [
        (["layers['fd'].*"], [], "matches no parameter"),
        ([], ["*.biass"], "matches no parameter"),
        (["*.bias"], ["*.bias"], "every parameter is frozen"),
        ([], ["*"], "every parameter is frozen"),
    ],
)
def test_patterns_that_choose_nothing_are_refused(net, only, freeze, words):
    with pytest.raises(InputError, match=words):
        chosen(net, only, freeze)


def test_arrays_that_fit_nowhere_are_refused(net):
    with pytest.raises(InputError, match="no such parameter"):
        with_parameters(net, {".layers['fc'].wrong": np.zeros(2)})
    with pytest.raises(InputError, match="no such parameter"):
        with_parameters(net, {".layers['fc'].bias": np.zeros(3)})


def test_a_low_rank_correction_is_a_b_of_the_joined_gates(net, double):
    net = net.astype("f8")
    some = matrices(net, chosen(net))
    assert len(some) == 6
    start = low_rank(net, some, 2, seed=3)
    base = parameters(net)
    same = merged(base, start, some)
    for path, array in same.items():
        np.testing.assert_array_equal(array, base[path])
    rng = np.random.default_rng(2)
    moved = {k: a + rng.normal(size=a.shape) for k, a in start.items()}
    found = merged(base, moved, some)
    name = ".layers['gru[1]'].recurrent_weights"
    change = moved[f"{name}.lora_a"] @ moved[f"{name}.lora_b"]
    assert np.linalg.matrix_rank(change) == 2
    joined = np.concatenate(
        [getattr(net.layers["gru[1]"], g).recurrent_weights for g in "rzn"]
    )
    ours = [found[f".layers['gru[1]'].{g}.recurrent_weights"] for g in "rzn"]
    np.testing.assert_allclose(np.concatenate(ours), joined + change, atol=1e-14)
    jl.predict(with_parameters(net, found), np.zeros((4, 3)))


def test_only_whole_matrices_of_that_rank_are_corrected(net):
    with pytest.raises(InputError, match="no matrix to correct"):
        matrices(net, chosen(net, ["layers['gru[1]'].r.*"]))
    with pytest.raises(InputError, match="no matrix to correct"):
        matrices(net, chosen(net), 99)
    names = {matrix.name for matrix in matrices(net, chosen(net), 5)}
    # W of `both` has 3 columns and R has 4: they are trained themselves.
    assert names == {
        ".layers['gru[1]'].input_weights", ".layers['gru[1]'].recurrent_weights"
    }  # fmt: skip
