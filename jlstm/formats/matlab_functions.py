"""Elementwise functions that MATLAB has no layer for, as the code of a functionLayer.

The description of such a layer says which function it is, and so it is read again:

    functionLayer(@(x) max(x, 0) + 0.7 * (exp(min(x, 0)) - 1), ...
        'Description', 'jlstm: elu(0.7)')

Only functions that a dlarray has are used. Source: MathWorks, List of Functions with
dlarray Support.
"""

from __future__ import annotations

import re
from typing import Any

from ..activations import complete, parse
from ..errors import Unsupported
from ..layers import Activation, Clip, Layer

MARK = "jlstm: "
CLIP = re.compile(r"clip\((\S+), (\S+)\)")
SOFTPLUS = "(log(1 + exp(-abs(x))) + max(x, 0))"
EXPONENTIAL = "(exp(min(x, 0)) - 1)"
FORMULAS = {
    "identity": "x",
    "tanh": "tanh(x)",
    "sigmoid": "1 ./ (1 + exp(-x))",
    "relu": "max(x, 0)",
    "hard-sigmoid": "max(0, min(1, {0} * x + {1}))",
    "softsign": "x ./ (1 + abs(x))",
    "leaky-relu": "max(x, 0) + {0} * min(x, 0)",
    "clipped-relu": "min(max(x, 0), {0})",
    "thresholded-relu": "x .* (x > {0})",
    "elu": f"max(x, 0) + {{0}} * {EXPONENTIAL}",
    "selu": f"1.0507009873554805 * (max(x, 0) + 1.6732632423543772 * {EXPONENTIAL})",
    "celu": "max(x, 0) + {0} * (exp(min(x, 0) / {0}) - 1)",
    "swish": "x ./ (1 + exp(-x))",
    "hard-swish": "x .* max(0, min(1, x / 6 + 0.5))",
    "mish": f"x .* tanh{SOFTPLUS}",
    "softplus": SOFTPLUS,
    "log-sigmoid": "-(log(1 + exp(-abs(x))) - min(x, 0))",
    "scaled-tanh": "{0} * tanh({1} * x)",
    "affine": "{0} * x + {1}",
    "exponential": "exp(x)",
    "log": "log(x)",
    "sqrt": "sqrt(x)",
    "square": "x .^ 2",
    "abs": "abs(x)",
    "reciprocal": "1 ./ x",
}


def written(spec: str) -> str:
    """The formula of an activation in MATLAB, of `x`.

    Raises:
        Unsupported: none is known.
    """
    name, constants = complete(spec)
    if name not in FORMULAS:
        raise Unsupported("no formula in MATLAB for this function", found=spec)
    return FORMULAS[name].format(*map(_number, constants))


def clipped(lower: float | None, upper: float | None) -> tuple[str, str]:
    """The formula of bounds, and how they are described."""
    formula = "x"
    if lower is not None:
        formula = f"max({formula}, {_number(lower)})"
    if upper is not None:
        formula = f"min({formula}, {_number(upper)})"
    return formula, f"clip({lower!r}, {upper!r})"


def _number(value: Any) -> str:
    text = repr(float(value)).replace("inf", "Inf").replace("nan", "NaN")
    return f"({text})" if text.startswith("-") else text


def described(spec: str) -> str:
    """The description of a layer that computes a function."""
    return MARK + spec


def layer_of(description: object) -> Layer | None:
    """The layer that a description speaks of; None where it is not one of jlstm.

    Raises:
        Unsupported: it is one of jlstm, and speaks of no function that is known.
    """
    if not isinstance(description, str) or not description.startswith(MARK):
        return None
    spec = description.removeprefix(MARK)
    found = CLIP.fullmatch(spec)
    if found is None:
        return Activation(*parse(spec))
    try:
        bounds = [None if end == "None" else float(end) for end in found.groups()]
    except ValueError:
        raise Unsupported("not the bounds of a layer", found=spec) from None
    return Clip(*bounds)
