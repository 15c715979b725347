"""Elementwise functions, under the names that MATLAB and the papers give them.

Every function maps an array to an array of the same shape and dtype. Constants follow
the array, so that one table serves the recurrent layers, which name a function with its
constants in one word ("leaky-relu(0.3)"), and the activation layers alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from inspect import Parameter, signature

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


def hard_sigmoid(x: Array, slope: float = 0.2, offset: float = 0.5) -> Array:
    """`clip(slope x + offset, 0, 1)`: 0.2 in MATLAB and Keras 2, 1/6 in Keras 3."""
    return jnp.clip(slope * x + offset, 0.0, 1.0)


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


def selu(x: Array) -> Array:
    """`scale elu(x, alpha)` with the two constants of Klambauer et al. 2017."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def celu(x: Array, alpha: float = 1.0) -> Array:
    """`x` where positive, `alpha (exp(x / alpha) - 1)` elsewhere."""
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0.0, x) / alpha))


def mish(x: Array) -> Array:
    """`x tanh(log(1 + exp(x)))`."""
    return x * tanh(jax.nn.softplus(x))


def affine(x: Array, scale: float, offset: float = 0.0) -> Array:
    """`scale x + offset`."""
    return scale * x + offset


def scaled_tanh(x: Array, alpha: float, beta: float) -> Array:
    """`alpha tanh(beta x)`."""
    return alpha * tanh(beta * x)


def thresholded_relu(x: Array, alpha: float = 1.0) -> Array:
    """`x` where greater than `alpha`, 0 elsewhere."""
    return jnp.where(x > alpha, x, 0.0)


def hard_swish(x: Array) -> Array:
    """`x clip(x / 6 + 1/2, 0, 1)`."""
    return x * jnp.clip(x / 6 + 0.5, 0.0, 1.0)


# Functions of JAX are wrapped: their signatures say more than is meant here.
ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "identity": lambda x: x,
    "tanh": tanh,
    "sigmoid": lambda x: jax.nn.sigmoid(x),
    "hard-sigmoid": hard_sigmoid,
    "softsign": softsign,
    "relu": lambda x: jax.nn.relu(x),
    "leaky-relu": leaky_relu,
    "clipped-relu": clipped_relu,
    "thresholded-relu": thresholded_relu,
    "elu": elu,
    "selu": selu,
    "celu": celu,
    "gelu": gelu,
    "gelu-tanh": gelu_tanh,
    "swish": lambda x: jax.nn.silu(x),
    "hard-swish": hard_swish,
    "mish": mish,
    "softplus": lambda x: jax.nn.softplus(x),
    "log-sigmoid": lambda x: jax.nn.log_sigmoid(x),
    "scaled-tanh": scaled_tanh,
    "affine": affine,
    "exponential": lambda x: jnp.exp(x),
    "log": lambda x: jnp.log(x),
    "sqrt": lambda x: jnp.sqrt(x),
    "square": lambda x: jnp.square(x),
    "abs": lambda x: jnp.abs(x),
    "reciprocal": lambda x: 1.0 / x,
}

SPEC = re.compile(r"([a-z][a-z-]*)(?:\(([^()]*)\))?")


@cache
def activation(spec: str) -> Callable[[Array], Array]:
    """Look a function up: its name, with its constants behind it where it has any.

    Arguments:
        spec: such as "tanh", "leaky-relu(0.3)", "hard-sigmoid(0.16666667, 0.5)".

    Raises:
        Unsupported: no such function, or constants that it does not take.
    """
    name, constants = parse(spec)
    function = ACTIVATIONS[name]
    if not constants:
        return function
    return lambda x: function(x, *constants)


def parse(spec: str) -> tuple[str, tuple[float, ...]]:
    """The name of a function and its constants, in the order that it takes them.

    Raises:
        Unsupported: no such function, or constants that it does not take.
    """
    match = SPEC.fullmatch(spec) if isinstance(spec, str) else None
    if match is None or match[1] not in ACTIVATIONS:
        raise Unsupported(
            "unknown activation function",
            found=repr(spec),
            expected=", ".join(ACTIVATIONS),
        )
    try:
        constants = tuple(float(c) for c in match[2].split(",")) if match[2] else ()
    except ValueError:
        constants = None
    least, most = _arity(match[1])
    if constants is None or not least <= len(constants) <= most:
        raise Unsupported(
            "constants that this function does not take",
            found=repr(spec),
            expected=f"{least} to {most} numbers" if most else f"{match[1]} alone",
        )
    return match[1], constants


def spell(name: str, *constants: float) -> str:
    """A function with its constants in one word, as `activation` takes it.

    Raises:
        Unsupported: as `parse`.
    """
    spec = name
    if constants:
        spec = f"{name}({', '.join(repr(float(c)) for c in constants)})"
    parse(spec)
    return spec


def complete(spec: str) -> tuple[str, tuple[float, ...]]:
    """The name of a function and all of its constants, also those left out.

    Raises:
        Unsupported: as `parse`.
    """
    name, given = parse(spec)
    missing = _arity(name)[1] - len(given)
    return name, given + defaults(name)[len(defaults(name)) - missing :]


def defaults(name: str) -> tuple[float, ...]:
    """The constants of a function that may be left out; they are its last ones."""
    values = [c.default for c in _constants(name)]
    return tuple(float(v) for v in values if v is not Parameter.empty)


def _constants(name: str) -> list[Parameter]:
    return [*signature(ACTIVATIONS[name]).parameters.values()][1:]


def _arity(name: str) -> tuple[int, int]:
    """The least and the greatest number of constants that a function takes."""
    most = len(_constants(name))
    return most - len(defaults(name)), most
