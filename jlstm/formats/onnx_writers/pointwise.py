"""Inputs, activations, and layers that do nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ... import layers as L
from ...activations import complete, spell
from ...layers.inputs import TARGETS
from .registry import Place, writer

# --- inputs ---------------------------------------------------------------------------


@writer(L.Input)
def _input(layer: L.Input, place: Place) -> str:
    """The operations of the normalisation, one by one, right at the input.

    A range is computed in the graph from the two statistics, which so keep their bits.
    """
    x = place.name
    if layer.mean is not None:
        x = place.call("Sub", x, place.array("mean", layer.mean))
    if layer.std is not None:
        x = place.call("Div", x, place.array("std", layer.std))
    if layer.minimum is not None:
        low, high = map(float, layer.target or TARGETS[layer.normalization])
        minimum = place.array("minimum", layer.minimum)
        maximum = place.array("maximum", layer.maximum)
        x = place.call("Sub", x, minimum)
        x = place.call("Div", x, place.call("Sub", maximum, minimum))
        if high - low != 1:
            x = place.call("Mul", x, place.number("span", high - low))
        if low != 0:
            x = place.call("Add", x, place.number("low", low))
    return x


# --- activations ----------------------------------------------------------------------


def _operator(op: str, *words: str) -> Callable[..., str]:
    """One operator that computes the function; its constants are attributes."""

    def write(place: Place, x: str, *constants: float) -> str:
        return place.call(op, x, **dict(zip(words, constants, strict=True)))

    return write


def _clipped(place: Place, x: str, ceiling: float) -> str:
    return place.call("Clip", x, place.number("zero", 0), place.number("top", ceiling))


def _gelu(place: Place, x: str) -> str:
    # The operator Gelu came with opset 20.
    scaled = place.call("Div", x, place.number("root", math.sqrt(2)))
    bell = place.call("Add", place.call("Erf", scaled), place.number("one", 1))
    return _halved(place, place.call("Mul", x, bell))


def _gelu_tanh(place: Place, x: str) -> str:
    cube = place.call("Pow", x, place.number("three", 3))
    bent = place.call("Mul", cube, place.number("cubic", 0.044715))
    inner = place.call(
        "Mul",
        place.call("Add", x, bent),
        place.number("slope", math.sqrt(2 / math.pi)),
    )
    bell = place.call("Add", place.call("Tanh", inner), place.number("one", 1))
    return _halved(place, place.call("Mul", x, bell))


def _halved(place: Place, x: str) -> str:
    return place.call("Mul", x, place.number("half", 0.5))


def _scaled_tanh(place: Place, x: str, alpha: float, beta: float) -> str:
    inner = place.call("Mul", x, place.number("beta", beta))
    return place.call("Mul", place.call("Tanh", inner), place.number("alpha", alpha))


def _affine(place: Place, x: str, scale: float, offset: float) -> str:
    scaled = place.call("Mul", x, place.number("scale", scale))
    return place.call("Add", scaled, place.number("offset", offset))


ACTIVATIONS: dict[str, Callable[..., str]] = {
    "identity": _operator("Identity"),
    "tanh": _operator("Tanh"),
    "sigmoid": _operator("Sigmoid"),
    "hard-sigmoid": _operator("HardSigmoid", "alpha", "beta"),
    "softsign": _operator("Softsign"),
    "relu": _operator("Relu"),
    "leaky-relu": _operator("LeakyRelu", "alpha"),
    "clipped-relu": _clipped,
    "thresholded-relu": _operator("ThresholdedRelu", "alpha"),
    "elu": _operator("Elu", "alpha"),
    "selu": _operator("Selu"),
    "celu": _operator("Celu", "alpha"),
    "gelu": _gelu,
    "gelu-tanh": _gelu_tanh,
    "swish": lambda place, x: place.call("Mul", x, place.call("Sigmoid", x)),
    "hard-swish": _operator("HardSwish"),
    # The operator Mish came with opset 18.
    "mish": lambda place, x: place.call("Mul", x, place.chain(x, "Softplus", "Tanh")),
    "softplus": _operator("Softplus"),
    "log-sigmoid": lambda place, x: place.chain(x, "Neg", "Softplus", "Neg"),
    "scaled-tanh": _scaled_tanh,
    "affine": _affine,
    "exponential": _operator("Exp"),
    "log": _operator("Log"),
    "sqrt": _operator("Sqrt"),
    "square": lambda place, x: place.call("Mul", x, x),
    "abs": _operator("Abs"),
    "reciprocal": _operator("Reciprocal"),
}


@writer(L.Activation)
def _activation(layer: L.Activation, place: Place) -> str:
    name, constants = complete(spell(layer.name, *layer.constants))
    if name not in ACTIVATIONS:
        place.refuse(layer.name, "there is no operator for this function")
    return ACTIVATIONS[name](place, *place.inputs, *constants)


@writer(L.Clip)
def _clip(layer: L.Clip, place: Place) -> str:
    # An input that is left out has an empty name.
    low, high = (
        "" if bound is None else place.number(word, bound)
        for word, bound in (("lower", layer.lower), ("upper", layer.upper))
    )
    return place.call("Clip", *place.inputs, low, high)


@writer(L.ErrorFunction)
def _error_function(layer: L.ErrorFunction, place: Place) -> str:
    return place.call("Erf", *place.inputs)


@writer(L.PReLU)
def _prelu(layer: L.PReLU, place: Place) -> str:
    return place.call("PRelu", *place.inputs, place.array("alpha", layer.alpha))


@writer(L.Softmax)
def _softmax(layer: L.Softmax, place: Place) -> str:
    op = "LogSoftmax" if layer.logarithm else "Softmax"
    return place.call(op, *place.inputs, axis=-1)


# --- nothing at prediction ------------------------------------------------------------


@writer(L.Dropout)
def _dropout(layer: L.Dropout, place: Place) -> str:
    ratio = place.array("ratio", np.float32(layer.probability))
    return place.call("Dropout", *place.inputs, ratio)


@writer(L.Identity, L.Regression, L.Classification)
def _identity(layer: L.Layer, place: Place) -> str:
    return place.call("Identity", *place.inputs)
