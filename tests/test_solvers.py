"""Solvers, against their formulas in NumPy on MATLAB's arrays, and against torch.

The reference knows nothing of gates: it holds whole 4H x C arrays as MATLAB does, with
a factor for every row.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import networks
import numpy as np
import optax
import pytest
import torch

from jlstm import layers as L
from jlstm.config import FineTuneConfig
from jlstm.errors import InputError
from jlstm.formats._gates import matlab_arrays
from jlstm.network import Factors, Network
from jlstm.recurrent import GRU, Bidirectional, Recurrent
from jlstm.training.schedules import learn_rate
from jlstm.training.solvers import Rules, rules, solver

C, H, OUTPUTS, STEPS, EPOCH = 3, 5, 2, 300, 7

GATES = "ifgo"
IN, FC = ".layers['lstm']", ".layers['fc']"
ARRAYS = {
    "InputWeights": [f"{IN}.{gate}.input_weights" for gate in GATES],
    "RecurrentWeights": [f"{IN}.{gate}.recurrent_weights" for gate in GATES],
    "Bias": [f"{IN}.{gate}.bias" for gate in GATES],
    "Weights": [f"{FC}.weights"],
    "FCBias": [f"{FC}.bias"],
}
# Rates and L2 by path: a gate that is frozen, one that is not regularised, a bias that
# is, a last layer that learns faster.
FACTORS = [
    Factors(f"{IN}.i.input_weights", 0.5, 1.0),
    Factors(f"{IN}.o.recurrent_weights", 1.0, 0.0),
    Factors(f"{IN}.g.recurrent_weights", 0.0, 1.0),
    Factors(f"{IN}.f.bias", 2.0, 3.0),
    Factors(f"{FC}.weights", 10.0, 0.25),
    Factors(f"{FC}.bias", 0.0, 1.0),
]


def network(rng, factors=()):
    dense = L.FullyConnected(
        networks.normal(rng, OUTPUTS, H), networks.normal(rng, OUTPUTS)
    )
    layers = {"in": L.Input((C,)), "lstm": networks.lstm(rng, H, C), "fc": dense}
    return Network.build(layers, factors=factors)


def parameters(net, dtype="f8"):
    leaves, _ = jax.tree_util.tree_flatten_with_path(net.layers)
    return {
        ".layers" + jax.tree_util.keystr(path): np.asarray(leaf, dtype)
        for path, leaf in leaves
    }


def recorded(rng, params, steps=STEPS):
    """Gradients from 1e-6 to 1e2, as they differ in a network and in time."""
    scales = {p: 10 ** rng.uniform(-3, 1, a.shape) for p, a in params.items()}
    return [
        {
            p: scales[p] * 10 ** rng.uniform(-3, 1) * rng.normal(size=a.shape)
            for p, a in params.items()
        }
        for _ in range(steps)
    ]


def run(transformation, params, gradients):
    """Parameters after all gradients; `scan` also checks that no type drifts."""

    def step(carry, g):
        params, state = carry
        updates, state = transformation.update(g, state, params)
        return (optax.apply_updates(params, updates), state), None

    params = {path: jnp.asarray(a) for path, a in params.items()}
    stacked = jax.tree.map(lambda *g: jnp.asarray(np.stack(g)), *gradients)
    start = params, transformation.init(params)
    # Compiled in a hurry: there are many of these, and none runs for long.
    quick = {"xla_backend_optimization_level": 0}
    scan = jax.jit(lambda c, g: jax.lax.scan(step, c, g), compiler_options=quick)
    (params, _), _ = scan(start, stacked)
    return params


# --- the reference --------------------------------------------------------------------


def joined(values):
    """By MATLAB's array, all gates above one another; factors become arrays too."""
    return {
        name: np.concatenate([values[p] for p in ps]) for name, ps in ARRAYS.items()
    }


def rows(params, by_path, default):
    """A factor for every number."""
    return joined({p: np.full(a.shape, by_path.get(p, default(p)))
                   for p, a in params.items()})  # fmt: skip


def thresholded(g, method, threshold):
    if method == "absolute-value":
        return {
            name: np.sign(a) * np.minimum(np.abs(a), threshold) for name, a in g.items()
        }
    if method == "l2norm":
        out = {}
        for name, a in g.items():
            norm = math.sqrt((a**2).sum())
            out[name] = a * (threshold / norm) if norm > threshold else a
        return out
    if method == "global-l2norm":
        norm = math.sqrt(sum((a**2).sum() for a in g.values()))
        return {
            name: a * (threshold / norm) if norm > threshold else a
            for name, a in g.items()
        }
    assert method is None
    return g


def rate_of(schedule, rate, k, epochs):
    if schedule == "piecewise":
        return rate * 0.3 ** ((k // EPOCH) // 5)
    if schedule == "cosine":
        return rate * (1 + math.cos(math.pi * k / (epochs * EPOCH))) / 2
    return rate


def step_of(form, g, p, memory, lr, k, decay):
    """The change of an array of parameters at step k = 1, 2, ...; SPEC of MATLAB."""
    m, v = memory
    if form in ("adam matlab", "adam exact", "adamw exact"):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        if form == "adam matlab":
            correction = math.sqrt(1 - 0.999**k) / (1 - 0.9**k)
            change = -lr * correction * m / (np.sqrt(v) + 1e-8)
        else:
            change = -lr * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        change = change - lr * decay * p if form == "adamw exact" else change
    elif form in ("rmsprop matlab", "rmsprop exact"):
        v = 0.9 * v + 0.1 * g**2
        change = -lr * g / (np.sqrt(v) + 1e-8)
    elif form == "sgdm matlab":
        m = 0.9 * m - lr * g
        change = m
    else:
        assert form == "sgdm exact"
        m = 0.9 * m + g
        change = -lr * m
    return change, (m, v)


def reference(
    params, gradients, form, *, rate, l2=0.0, decay=0.0, method=None, threshold=1.0,
    schedule="none", epochs=50, factors=(),
):  # fmt: skip
    rates = rows(params, {f.path: f.learn_rate for f in factors}, lambda p: 1.0)
    given = {f.path: f.l2 for f in factors}
    decays = rows(params, given, lambda p: 0.0 if "bias" in p else 1.0)
    p = joined(params)
    memory = {name: (np.zeros_like(a), np.zeros_like(a)) for name, a in p.items()}
    for k, gradient in enumerate(gradients):
        g = joined(gradient)
        g = {n: np.where(rates[n] == 0, 0.0, g[n] + l2 * decays[n] * p[n]) for n in g}
        g = thresholded(g, method, threshold)
        now = rate_of(schedule, rate, k, epochs)
        for name in p:
            change, memory[name] = step_of(
                form, g[name], p[name], memory[name], now * rates[name], k + 1,
                decay * decays[name],
            )  # fmt: skip
            p[name] = p[name] + change
    return p


def assert_equal(found, wanted):
    found = joined({path: np.asarray(a) for path, a in found.items()})
    for name, array in wanted.items():
        assert np.isfinite(array).all()
        np.testing.assert_allclose(found[name], array, 1e-10, 1e-12, err_msg=name)


# --- all together ---------------------------------------------------------------------

FORMS = {
    "adam matlab": 1e-3,
    "rmsprop matlab": 1e-3,
    "sgdm matlab": 1e-2,
    "adam exact": 1e-3,
    "adamw exact": 1e-3,
    "rmsprop exact": 1e-3,
    "sgdm exact": 1e-2,
}
METHODS = ("l2norm", "global-l2norm", "absolute-value")


def compare(rng, form, *, method=None, schedule="none", factors=(), l2=None):
    """One configuration over the whole record."""
    name, semantics = form.split()
    net = network(rng, factors)
    params = parameters(net)
    gradients = recorded(rng, params)
    config = FineTuneConfig(
        solver=name, semantics=semantics, l2_regularization=l2, weight_decay=0.03,
        learn_rate_schedule=schedule, learn_rate_drop_factor=0.3,
        learn_rate_drop_period=5, max_epochs=50,
        gradient_threshold=method and 1.0,
        gradient_threshold_method=method or "l2norm",
    )  # fmt: skip
    default = 1e-4 if semantics == "matlab" else 0.0
    wanted = reference(
        params, gradients, form, rate=FORMS[form], decay=0.03,
        l2=default if l2 is None else l2, method=method, schedule=schedule,
        factors=factors,
    )  # fmt: skip
    transformation = solver(config, rules(net, params), EPOCH)
    assert_equal(run(transformation, params, gradients), wanted)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("form", "method"),
    [(form, "l2norm") for form in FORMS]
    + [(f"{s} matlab", m) for s in ("adam", "rmsprop", "sgdm") for m in METHODS[1:]],
)
def test_threshold_l2_factors_and_drops_together(rng, form, method):
    compare(rng, form, method=method, schedule="piecewise", factors=FACTORS, l2=0.07)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("form", FORMS)
def test_defaults(rng, form):
    compare(rng, form)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("form", ["adam matlab", "sgdm matlab", "sgdm exact"])
def test_rate_along_a_cosine(rng, form):
    compare(rng, form, schedule="cosine")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("method", METHODS)
def test_threshold_of_an_array_without_factors(rng, method):
    compare(rng, "sgdm matlab", method=method)


@pytest.mark.usefixtures("double")
def test_own_decay_factors_and_epsilon(rng):
    net = network(rng)
    params = parameters(net)
    gradients = recorded(rng, params, 40)
    for name, group, options in (
        ("adam", {"betas": (0.7, 0.95), "eps": 1e-3}, {"gradient_decay_factor": 0.7}),
        ("rmsprop", {"alpha": 0.95, "eps": 1e-3}, {}),
    ):
        config = FineTuneConfig(
            solver=name, epsilon=1e-3, squared_gradient_decay_factor=0.95, **options
        )
        transformation = solver(config, rules(net, params), EPOCH)
        wanted = with_torch(name, params, gradients, lambda k: 1e-3, **group)
        assert_close(run(transformation, params, gradients), wanted)


# --- torch ----------------------------------------------------------------------------

TORCH = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgdm": torch.optim.SGD,
}


def with_torch(name, params, gradients, rate, *, decay=lambda p: 0.0, **options):
    tensors = {p: torch.tensor(a, requires_grad=True) for p, a in params.items()}
    groups = [{"params": [t], "weight_decay": decay(p)} for p, t in tensors.items()]
    if name == "sgdm":
        options["momentum"] = 0.9
    if name == "rmsprop":
        options.setdefault("alpha", 0.9)
    optimiser = TORCH[name](groups, lr=1.0, **options)
    for k, gradient in enumerate(gradients):
        for group in optimiser.param_groups:
            group["lr"] = rate(k)
        for path, t in tensors.items():
            t.grad = torch.tensor(gradient[path])
        optimiser.step()
    return {path: t.detach().numpy() for path, t in tensors.items()}


def assert_close(found, wanted):
    for path, array in wanted.items():
        np.testing.assert_allclose(found[path], array, 1e-10, 1e-12, err_msg=path)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", TORCH)
def test_exact_solvers_equal_torch(rng, name):
    # torch decays biases as well, so here they have factor 1.
    net = network(rng)
    params = parameters(net)
    gradients = recorded(rng, params)
    ones = rules(net, params)._replace(l2=dict.fromkeys(params, 1.0))
    config = FineTuneConfig(
        solver=name, initial_learn_rate=0.004, learn_rate_schedule="piecewise",
        learn_rate_drop_period=20, weight_decay=0.05,
        l2_regularization=0.0 if name == "adamw" else 0.05,
    )  # fmt: skip
    wanted = with_torch(
        name, params, gradients, lambda k: 0.004 * 0.1 ** (k // (20 * EPOCH)),
        decay=lambda p: 0.05,
    )  # fmt: skip
    assert_close(run(solver(config, ones, EPOCH), params, gradients), wanted)


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


# --- lbfgs and other transformations --------------------------------------------------


def ridge(rng, weights):
    """A bad-conditioned regression with L2 on the weights, and its exact solution."""
    x = rng.normal(size=(40, H)) * [0.3, 1, 2, 5, 10]
    y = rng.normal(size=(40, OUTPUTS)) + x.sum(1, keepdims=True)

    def loss(params, scale):
        error = x @ params[f"{FC}.weights"].T + params[f"{FC}.bias"] - y
        return scale * jnp.mean(jnp.square(error))

    design = np.concatenate([x, np.ones((40, 1))], 1)
    penalty = np.diag([1.0] * H + [0.0])
    # mean over 80 numbers: gradient 2/80 A'(Aw - y) + 0.03 w = 0
    left = 2 / 80 * design.T @ design + 0.03 * penalty
    solution = np.linalg.solve(left, 2 / 80 * design.T @ y)
    return loss, solution


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("given", [None, "its own"])
def test_lbfgs_finds_the_minimum_with_l2(rng, given):
    net = network(rng, [Factors(f"{IN}.f.bias", 0.0, 1.0)])
    arrays = parameters(net)
    paths = [f"{FC}.weights", f"{FC}.bias", f"{IN}.f.bias"]
    params = {p: jnp.asarray(arrays[p]) for p in paths}
    loss, solution = ridge(rng, params)
    config = FineTuneConfig(solver="lbfgs", l2_regularization=0.03)
    transformation = solver(
        config, rules(net, paths), 1, transformation=given and optax.lbfgs()
    )
    state = transformation.init(params)

    @jax.jit
    def step(params, state, scale):
        value, grad = jax.value_and_grad(loss)(params, scale)
        updates, state = transformation.update(
            grad, state, params, value=value, grad=grad, value_fn=loss, scale=scale
        )
        return optax.apply_updates(params, updates), state

    for _ in range(60):
        params, state = step(params, state, 1.0)
    assert step._cache_size() == 1
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    np.testing.assert_allclose(params[paths[0]], solution[:H].T, 1e-7)
    np.testing.assert_allclose(params[paths[1]], solution[H], 1e-7)
    assert np.array_equal(params[paths[2]], arrays[paths[2]])


@pytest.mark.usefixtures("double")
def test_any_transformation_comes_after_l2_and_threshold(rng):
    net = network(rng, FACTORS)
    params = parameters(net)
    gradients = recorded(rng, params, 50)
    config = FineTuneConfig(
        solver="adamw", semantics="matlab", l2_regularization=0.07,
        gradient_threshold=1.0,
    )  # fmt: skip
    own = optax.sgd(0.02, momentum=0.9)
    transformation = solver(config, rules(net, params), EPOCH, transformation=own)
    wanted = reference(
        params, gradients, "sgdm exact", rate=0.02, l2=0.07, method="l2norm",
        factors=FACTORS,
    )  # fmt: skip
    assert_equal(run(transformation, params, gradients), wanted)


@pytest.mark.usefixtures("double")
def test_a_line_search_is_told_the_same_objective(rng):
    told: dict[str, Any] = {}

    def update(updates, state, params=None, **extra):
        told.update(extra, updates=updates, at=extra["value_fn"](params))
        return updates, state

    spy = optax.GradientTransformationExtraArgs(lambda params: (), update)
    net = network(rng, FACTORS)
    params = parameters(net)
    gradient = recorded(rng, params, 1)[0]
    config = FineTuneConfig(l2_regularization=0.07)
    transformation = solver(config, rules(net, params), 1, transformation=spy)
    transformation.update(
        gradient, transformation.init(params), params,
        value=2.0, grad=gradient, value_fn=lambda p: float(len(p)),
    )  # fmt: skip
    factors = rules(net, params)
    trained = {p for p in params if factors.learn_rate[p]}
    assert set(told["grad"]) == trained < set(params)
    penalty = 0.0
    for path in trained:
        strength, p = 0.07 * factors.l2[path], params[path]
        penalty += 0.5 * strength * (p**2).sum()
        for which in ("grad", "updates"):
            np.testing.assert_allclose(
                told[which][path], gradient[path] + strength * p, 1e-13
            )
    np.testing.assert_allclose(told["value"], 2 + penalty, 1e-13)
    np.testing.assert_allclose(told["at"], len(params) + penalty, 1e-13)


# --- as a program ---------------------------------------------------------------------

ALL: list[dict[str, Any]] = [
    dict(zip(("solver", "semantics"), form.split(), strict=True)) for form in FORMS
]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("options", ALL, ids=lambda o: "-".join(o.values()))
def test_the_state_is_arrays_that_resume_exactly(rng, options):
    net = network(rng, FACTORS)
    params = parameters(net)
    config = FineTuneConfig(learn_rate_schedule="cosine", **options)
    transformation = solver(config, rules(net, params), EPOCH)

    @jax.jit
    def step(params, state, gradient):
        updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    straight = {p: jnp.asarray(a) for p, a in params.items()}
    state = transformation.init(straight)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    resumed = straight
    leaves, structure = jax.tree.flatten(state)
    for gradient in recorded(rng, params, 5):
        gradient = jax.device_put(gradient)
        with jax.transfer_guard("disallow"):
            straight, state = step(straight, state, gradient)
        # As a checkpoint does: everything to memory of the host and back.
        again = jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])
        resumed, again = step(resumed, jax.device_put(again), gradient)
        leaves = jax.tree.leaves(again)
    assert step._cache_size() == 1
    frozen = {f.path for f in FACTORS if f.learn_rate == 0}
    for path, array in straight.items():
        assert (path in str(structure)) == (path not in frozen)
        assert np.array_equal(array, resumed[path])
        assert np.array_equal(array, params[path]) == (path in frozen)


@pytest.mark.parametrize(
    ("form", "double"),
    [(form, False) for form in FORMS]
    + [("adam matlab", True), ("adamw exact", True), ("sgdm exact", True)],
)
def test_single_precision_stays_and_is_as_good_as_it_can(rng, form, double):
    name, semantics = form.split()
    net = network(rng, FACTORS)
    params = parameters(net, "f4")
    gradients = [
        {p: g.astype("f4") for p, g in gradient.items()}
        for gradient in recorded(rng, params, 20)
    ]
    config = FineTuneConfig(
        learn_rate_schedule="piecewise", learn_rate_drop_factor=0.3,
        learn_rate_drop_period=1, gradient_threshold=1.0, weight_decay=0.03,
        l2_regularization=0.07, solver=name, semantics=semantics,
    )  # fmt: skip
    with jax.enable_x64(double):
        found = run(solver(config, rules(net, params), 5 * EPOCH), params, gradients)
    assert {a.dtype for a in found.values()} == {np.dtype("f4")}
    wide = [{p: g.astype("f8") for p, g in step.items()} for step in gradients]
    wanted = reference(
        {p: a.astype("f8") for p, a in params.items()}, wide, form, rate=FORMS[form],
        decay=0.03, l2=0.07, method="l2norm", schedule="piecewise", factors=FACTORS,
    )  # fmt: skip
    whole = joined({p: np.asarray(a) for p, a in found.items()})
    for array, right in ((whole[key], wanted[key]) for key in wanted):
        np.testing.assert_allclose(array, right, 3e-6, 3e-6)


def test_the_first_steps_of_adam_have_all_digits_of_single_precision(rng):
    net = network(rng)
    params = {p: np.zeros_like(a) for p, a in parameters(net, "f4").items()}
    config = FineTuneConfig(semantics="matlab", l2_regularization=0.0)
    transformation = solver(config, rules(net, params), EPOCH)
    state = transformation.init(params)
    gradient = {p: np.full_like(a, 0.5) for p, a in params.items()}
    for k in (1, 2, 3):
        updates, state = transformation.update(gradient, state, params)
        m, v = 0.5 * (1 - 0.9**k), 0.25 * (1 - 0.999**k)
        wanted = -1e-3 * math.sqrt(1 - 0.999**k) / (1 - 0.9**k) * m / math.sqrt(v)
        for change in updates.values():
            np.testing.assert_allclose(change, wanted, 2e-6)


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
