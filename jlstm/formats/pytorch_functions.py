"""The elementwise functions as torch writes them.

`{x}` stands for what they take, `{0}` and `{1}` for their constants.
"""

from __future__ import annotations

import math

from ..activations import complete
from ..errors import Unsupported

FUNCTIONS = {
    "identity": "{x}",
    "tanh": "torch.tanh({x})",
    "sigmoid": "torch.sigmoid({x})",
    "hard-sigmoid": "({0} * {x} + {1}).clamp(0, 1)",
    "softsign": "F.softsign({x})",
    "relu": "torch.relu({x})",
    "leaky-relu": "F.leaky_relu({x}, {0})",
    "clipped-relu": "{x}.clamp(0, {0})",
    "thresholded-relu": "F.threshold({x}, {0}, 0.0)",
    "elu": "F.elu({x}, {0})",
    "selu": "F.selu({x})",
    "celu": "F.celu({x}, {0})",
    "gelu": "F.gelu({x})",
    "gelu-tanh": 'F.gelu({x}, approximate="tanh")',
    "swish": "F.silu({x})",
    "hard-swish": "F.hardswish({x})",
    "mish": "F.mish({x})",
    # Torch takes x itself above a threshold; at 20 that shows in double precision.
    "softplus": "F.softplus({x}, threshold=40.0)",
    "log-sigmoid": "F.logsigmoid({x})",
    "scaled-tanh": "{0} * torch.tanh({1} * {x})",
    "affine": "({0} * {x} + {1})",
    "exponential": "torch.exp({x})",
    "log": "torch.log({x})",
    "sqrt": "torch.sqrt({x})",
    "square": "torch.square({x})",
    "abs": "torch.abs({x})",
    "reciprocal": "torch.reciprocal({x})",
}


def written(spec: str, x: str = "x") -> str:
    """A function of `x` in torch's words.

    Arguments:
        spec: as `activations.activation` takes it.
        x: the name of what it takes.

    Raises:
        Unsupported: no such function there.
    """
    name, constants = complete(spec)
    if name not in FUNCTIONS:
        raise Unsupported("PyTorch is not given this function", found=name)
    if not all(map(math.isfinite, constants)):
        raise Unsupported("a constant that is no number", found=spec)
    return FUNCTIONS[name].format(*map(repr, constants), x=x)


def function(spec: str) -> str:
    """The same as a function of one argument."""
    return f"lambda x: {written(spec)}"
