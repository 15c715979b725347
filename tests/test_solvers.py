"""Solvers, against their formulas in NumPy on MATLAB's arrays, and against torch."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from solver_reference import (
    EPOCH,
    FACTORS,
    FORMS,
    METHODS,
    assert_equal,
    joined,
    network,
    parameters,
    recorded,
    reference,
    run,
)

from jlstm.config import FineTuneConfig
from jlstm.training.solvers import rules, solver

# --- all together ---------------------------------------------------------------------


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
