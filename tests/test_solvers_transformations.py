"""L-BFGS and transformations of the user's own, against exact solutions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from solver_reference import (
    EPOCH,
    FACTORS,
    FC,
    IN,
    OUTPUTS,
    H,
    assert_equal,
    network,
    parameters,
    recorded,
    reference,
    run,
)

from jlstm.config import FineTuneConfig
from jlstm.network import Factors
from jlstm.training.solvers import rules, solver

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
