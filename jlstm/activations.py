"""Elementwise functions, under the names that MATLAB and the papers give them.

Every function maps an array to an array of the same shape and dtype, and takes its
constants as keywords, so that one table serves the recurrent layers and the
activation layers alike.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .errors import Unsupported
from .pytree import Array


@jax.custom_jvp
def tanh(x: Array) -> Array:
    """Hyperbolic tangent, in single precision to 1.3 units in the last place.

    XLA's own is off by up to 4.5 of them on CPU, and a recurrence adds such errors up
    (measured in `experiments/10_tanh_precision`). Near zero an odd polynomial,
    elsewhere `1 - 2 / (exp(2|x|) + 1)`; coefficients from Moshier's Cephes library
    (`tanhf`, https://www.netlib.org/cephes/).
    """
    if x.dtype != jnp.float32:
        return jnp.tanh(x)
    z = x * x
    series = x + x * z * jnp.polyval(jnp.asarray(_TANH_SERIES, x.dtype), z)
    magnitude = jnp.abs(x)
    tail = jnp.copysign(1 - 2 / (jnp.exp(2 * magnitude) + 1), x)
    return jnp.where(magnitude < 0.625, series, tail)


@tanh.defjvp
def _tanh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = tanh(*primals)
    return y, (1 - y * y) * tangents[0]


_TANH_SERIES = (
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
)


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
    # Not jnp.clip, whose slope at the corners is a half.
    return jnp.where(x <= 0, 0.0, jnp.where(x >= ceiling, ceiling, x))


def elu(x: Array, alpha: float = 1.0) -> Array:
    """`x` where positive, `alpha (exp(x) - 1)` elsewhere."""
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0.0, x)))


def gelu(x: Array) -> Array:
    """`x/2 (1 + erf(x / sqrt 2))`."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: Array) -> Array:
    """`x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`."""
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "identity": lambda x: x,
    "tanh": tanh,
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
