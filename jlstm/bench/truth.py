"""What the answers are held against: the same network in double precision.

The loss of training is the mean over sequences and steps of the squared error, summed
over outputs. Its gradient comes from JAX's own derivative of `lax.scan`, without any of
the faster engines.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..network import Network, init_state, predict, step
from ..training.parameters import parameters, with_parameters
from .series import series, trained

Answers = dict[str, np.ndarray]


def exact(net: Network, kind: str, x: np.ndarray, target: np.ndarray) -> Answers:
    """The answers in double precision: "y", or the gradients by name.

    Arguments:
        net: the network.
        kind: of the workload.
        x: `(batch, time, features)`.
        target: of training.
    """
    net = jax.tree.map(np.asarray, net).astype(np.float64)
    with jax.enable_x64(True):
        x = x.astype(np.float64)
        if kind == "training":
            return gradients_of(net, _slopes(net, x, target.astype(np.float64)))
        return {"y": np.asarray((_steps if kind == "streaming" else _answer)(net, x))}


@jax.jit
def _answer(net: Network, x: Any) -> Any:
    return jax.vmap(lambda one: predict(net, one, engine="xla"))(x)


@jax.jit
def _steps(net: Network, x: Any) -> Any:
    def one(x: Any) -> Any:
        return jax.lax.scan(partial(step, net), init_state(net), x)[1]

    return jax.vmap(one)(x)


@jax.jit
def _slopes(net: Network, x: Any, target: Any) -> Any:
    def loss(arrays: Any) -> Any:
        error = _answer(with_parameters(net, arrays), x) - target
        return jnp.sum(jnp.square(error)) / (error.size // error.shape[-1])

    return jax.grad(loss)({k: jnp.asarray(a) for k, a in parameters(net).items()})


def gradients_of(net: Network, slopes: Any) -> Answers:
    """Gradients by key path, in the form of a series where the network is one."""
    arrays: Any = {path: np.asarray(a) for path, a in slopes.items()}
    parts = series(with_parameters(jax.tree.map(np.asarray, net), arrays))
    return arrays if parts is None else trained(parts)
