"""Elementwise functions, under the names that MATLAB and the papers give them.

Every function maps an array to an array of the same shape and dtype, and takes its
constants as keywords, so that one table serves the recurrent layers and the
activation layers alike.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from .errors import Unsupported


def hard_sigmoid(x: Array) -> Array:
    """`clip(0.2 x + 0.5, 0, 1)`: MATLAB and Keras 2; Keras 3 has slope 1/6."""
    return jnp.clip(0.2 * x + 0.5, 0.0, 1.0)


def softsign(x: Array) -> Array:
    """`x / (1 + |x|)`."""
    return x / (1.0 + jnp.abs(x))


def leaky_relu(x: Array, scale: float = 0.01) -> Array:
    """`x` where positive, `scale * x` elsewhere."""
    return jnp.where(x > 0, x, scale * x)


def clipped_relu(x: Array, ceiling: float) -> Array:
    """`min(max(x, 0), ceiling)`."""
    return jnp.clip(x, 0.0, ceiling)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """`x` where positive, `alpha (exp(x) - 1)` elsewhere."""
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0.0)))


def gelu(x: Array) -> Array:
    """`x/2 (1 + erf(x / sqrt 2))`."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: Array) -> Array:
    """`x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`."""
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "identity": lambda x: x,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "hard-sigmoid": hard_sigmoid,
    "softsign": softsign,
    "relu": jax.nn.relu,
    "leaky-relu": leaky_relu,
    "clipped-relu": clipped_relu,
    "elu": elu,
    "gelu": gelu,
    "gelu-tanh": gelu_tanh,
    "swish": jax.nn.silu,
    "softplus": jax.nn.softplus,
}


def activation(name: str, among: tuple[str, ...] | None = None) -> Callable[..., Array]:
    """Look a function up by name.

    Raises:
        Unsupported: no such name, or not one of `among`.
    """
    if name not in (among or ACTIVATIONS):
        raise Unsupported(
            "unknown activation function",
            found=repr(name),
            expected=", ".join(among or ACTIVATIONS),
        )
    return ACTIVATIONS[name]
