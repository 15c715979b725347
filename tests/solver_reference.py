"""What solvers should do to a small network, in NumPy and float64.

The reference knows nothing of gates: it holds whole 4H x C arrays as MATLAB does, with
a factor for every row.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import networks
import numpy as np
import optax

from jlstm import layers as L
from jlstm.network import Factors, Network

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
