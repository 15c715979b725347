"""Which array has which factor and rate, and what solvers refuse."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest
from solver_reference import (
    EPOCH,
    FACTORS,
    FC,
    IN,
    network,
    parameters,
)

from jlstm import layers as L
from jlstm.config import FineTuneConfig
from jlstm.errors import InputError
from jlstm.formats._gates import matlab_arrays
from jlstm.network import Factors, Network
from jlstm.recurrent import GRU, Bidirectional, Recurrent
from jlstm.training.schedules import learn_rate
from jlstm.training.solvers import Rules, rules, solver

# --- rules ----------------------------------------------------------------------------


def test_arrays_are_joined_as_in_matlab(rng):
    net = networks.rich(rng)
    half = Bidirectional(networks.lstm(rng, 4, 5), networks.lstm(rng, 4, 5))
    net = net.replace(layers={**net.layers, "pair": half})
    params = parameters(net, "f4")
    found = rules(net, params)
    assert sorted(p for group in found.joined for p in group) == sorted(params)
    sizes = []
    for name, layer in net.layers.items():
        if isinstance(layer, Recurrent):
            arrays = matlab_arrays(layer)
            groups = [g for g in found.joined if g[0].startswith(f".layers[{name!r}]")]
            sums = sorted(sum(float(np.sum(params[p])) for p in g) for g in groups)
            wanted = [float(np.sum(a)) for a in arrays.values()]
            if getattr(layer, "peephole", None) is not None:
                wanted += [float(np.sum(layer.peephole.i))] * 3
            np.testing.assert_allclose(sums, sorted(wanted), 1e-4)
            sizes += [len(groups)]
    assert sizes == [3 + 3, 3 + 2, 3, 3, 3]
    assert len(params) - sum(map(len, found.joined)) == 0


def test_both_biases_of_a_gru_are_one_array(rng):
    net = networks.rich(rng)
    paths = [p for p in parameters(net) if "grü" in p]
    groups = rules(net, paths).joined
    bias = {f".layers['grü'].{g}.{b}bias" for g in "rzn" for b in ("", "recurrent_")}
    assert bias in [set(group) for group in groups]


def test_only_trained_parameters_are_joined(rng):
    paths = [f"{IN}.f.input_weights", f"{FC}.weights", f"{IN}.o.input_weights"]
    found = rules(network(rng, FACTORS), paths)
    assert found.joined == ((paths[0], paths[2]), (paths[1],))
    assert found.learn_rate == dict(zip(paths, (1.0, 10.0, 1.0), strict=True))
    assert found.l2 == dict(zip(paths, (1.0, 0.25, 1.0), strict=True))


def test_default_factors_are_those_of_matlab(rng):
    def vector(n):
        return networks.normal(rng, n)

    biased = [
        dataclasses.replace(gate, recurrent_bias=vector(4))
        for gate in networks.gates(rng, 3, 4, 3)
    ]
    gru = GRU(*biased, reset_mode="recurrent-bias-after-multiplication")
    layers = {
        "in": L.Input((3,)),
        "gru": gru,
        "ln": L.LayerNormalization(vector(4), vector(4)),
        "fc": L.FullyConnected(networks.normal(rng, 2, 4), vector(2)),
    }
    net = Network.build(layers, factors=[Factors(".layers['gru'].z.bias", 0.5, 2.0)])
    found = rules(net, parameters(net))
    assert found.l2 == {
        path: {"bias": 0.0, "recurrent_bias": 0.0}.get(path.split(".")[-1], 1.0)
        for path in parameters(net)
    } | {".layers['gru'].z.bias": 2.0, ".layers['gru'].z.recurrent_bias": 2.0}
    assert found.l2[".layers['ln'].offset"] == found.l2[".layers['ln'].scale"] == 1
    rates = {path: rate for path, rate in found.learn_rate.items() if rate != 1}
    assert rates == {
        ".layers['gru'].z.bias": 0.5,
        ".layers['gru'].z.recurrent_bias": 0.5,
    }
    attention = ".layers['a'].query_bias", ".layers['a'].query_weights"
    assert list(rules(net, attention).l2.values()) == [0.0, 1.0]


# --- schedules ------------------------------------------------------------------------


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("schedule", "steps", "wanted"),
    [
        ("none", (0, 5, 10**6), (0.4, 0.4, 0.4)),
        # 3 steps an epoch, a drop by 0.1 every 2 epochs.
        ("piecewise", (0, 5, 6, 11, 12, 18), (0.4, 0.4, 0.04, 0.04, 0.004, 0.0004)),
        # 4 epochs, so 12 steps to 0.
        ("cosine", (0, 4, 6, 8, 12, 99), (0.4, 0.3, 0.2, 0.1, 0.0, 0.0)),
    ],
)
def test_rates_by_hand(schedule, steps, wanted):
    config = FineTuneConfig(
        initial_learn_rate=0.4, learn_rate_schedule=schedule,
        learn_rate_drop_period=2, max_epochs=4,
    )  # fmt: skip
    rate = learn_rate(config, 3)
    found = [float(jax.jit(rate)(jnp.asarray(k, jnp.int32))) for k in steps]
    np.testing.assert_allclose(found, wanted, 1e-12, 1e-16)


@pytest.mark.parametrize(("name", "rate"), [("sgdm", 0.01), ("rmsprop", 0.001)])
def test_default_rates(name, rate):
    assert float(learn_rate(FineTuneConfig(solver=name), 1)(0)) == np.float32(rate)


def test_an_epoch_has_a_step():
    with pytest.raises(InputError, match="epoch without a step"):
        learn_rate(FineTuneConfig(), 0)


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"solver": "adamw", "semantics": "matlab"}, "no adamw"),
        ({"solver": "lbfgs", "gradient_threshold": 1.0}, "by itself"),
        ({"solver": "lbfgs", "initial_learn_rate": 1.0}, "by itself"),
        ({"solver": "lbfgs", "learn_rate_schedule": "cosine"}, "by itself"),
    ],
)
def test_options_that_contradict_each_other(rng, options, words):
    net = network(rng)
    with pytest.raises(InputError, match=words):
        solver(FineTuneConfig(**options), rules(net, parameters(net)), EPOCH)


def test_lbfgs_has_no_rates_by_parameter(rng):
    net = network(rng, FACTORS)
    with pytest.raises(InputError, match="by itself"):
        solver(FineTuneConfig(solver="lbfgs"), rules(net, parameters(net)), 1)


def test_something_is_trained(rng):
    net = network(rng, FACTORS)
    with pytest.raises(InputError, match="nothing is left"):
        solver(FineTuneConfig(), rules(net, [f"{FC}.bias"]), 1)
    with pytest.raises(InputError, match="nothing is left"):
        solver(FineTuneConfig(), Rules({}, {}, ()), 1)


def test_parameters_are_those_of_the_rules(rng):
    net = network(rng)
    params = parameters(net, "f4")
    transformation = solver(FineTuneConfig(), rules(net, params), 1)
    state = transformation.init(params)
    fewer = {p: a for p, a in params.items() if p != f"{FC}.bias"}
    with pytest.raises(InputError, match=r"fc.*bias"):
        transformation.init(fewer)
    with pytest.raises(InputError, match="other parameters"):
        transformation.update(fewer, state, params)
    with pytest.raises(InputError, match="third argument"):
        transformation.update(params, state)
