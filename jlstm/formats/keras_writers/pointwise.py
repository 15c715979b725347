"""Dense layers, activations, normalisations, and layers that do nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import layers as L
from ...activations import parse, spell
from .registry import FUNCTIONS as KERAS_FUNCTIONS
from .registry import Place, Tensor, writer

FUNCTIONS: dict[str, tuple[tuple[str, tuple[float, ...]], ...]] = {
    "identity": (("linear", ()),),
    "tanh": (("tanh", ()),),
    "sigmoid": (("sigmoid", ()),),
    "softsign": (("softsign", ()),),
    "softplus": (("softplus", ()),),
    "relu": (("relu", ()),),
    "elu": (("elu", ()), ("elu", (1.0,))),
    "selu": (("selu", ()),),
    "celu": (("celu", ()), ("celu", (1.0,))),
    "gelu": (("gelu", ()),),
    "swish": (("silu", ()),),
    "hard-swish": (("hard_silu", ()),),
    "mish": (("mish", ()),),
    "exponential": (("exponential", ()),),
    "log-sigmoid": (("log_sigmoid", ()),),
    "leaky-relu": (("leaky_relu", (0.2,)),),
    "clipped-relu": (("relu6", (6.0,)),),
    "hard-sigmoid": (("hard_sigmoid", (1 / 6, 0.5)), ("hard_sigmoid", (1 / 6,))),
}
"""The words of Keras 3 for functions, each with the constants that it stands for."""


def word(spec: str) -> str | None:
    """Keras's word for a function with its constants; None where it has none."""
    name, given = parse(spec)
    for found, constants in FUNCTIONS.get(name, ()):
        # A constant that went through single precision is the same constant.
        pair = [np.asarray(c, np.float32) for c in (given, constants)]
        if np.array_equal(pair[0], pair[1]):
            return found
    return None


@writer(L.FullyConnected, mask="pass")
def _fully_connected(layer: L.FullyConnected, place: Place) -> Tensor:
    (x,) = place.inputs
    if layer.flatten:
        x = flattened(place, x, "column-major", part="flat")
    outputs = layer.weights.shape[0]
    return place.add(
        "Dense",
        x,
        weights={"": [np.asarray(layer.weights).T, np.asarray(layer.bias)]},
        units=outputs,
        activation="linear",
        use_bias=True,
    )


@writer(L.Flatten)
def _flatten(layer: L.Flatten, place: Place) -> Tensor:
    (x,) = place.inputs
    return flattened(place, x, layer.order)


def flattened(place: Place, x: Tensor, order: str, part: str = "") -> Tensor:
    """The axes of space and channels laid out as one; see `jlstm.layers.dense`."""
    shape = place.input_shapes[0]
    lead = int(shape.time)
    if order == "column-major" and shape.space:
        axes = [*range(lead), *reversed(range(lead, len(x.sizes)))]
        turned = tuple(x.sizes[axis] for axis in axes)
        dims = [axis + 1 for axis in axes]
        x = place.add("Permute", x, part="permute", sizes=turned, dims=dims)
    target = (*(-1,) * lead, shape.features)
    sizes = (*(None,) * lead, shape.features)
    return place.add("Reshape", x, part=part, sizes=sizes, target_shape=list(target))


# --- activations ----------------------------------------------------------------------


LAYERS: dict[str, tuple[str, str, float]] = {
    "leaky-relu": ("LeakyReLU", "negative_slope", 0.01),
    "elu": ("ELU", "alpha", 1.0),
    "clipped-relu": ("ReLU", "max_value", math.nan),
    "thresholded-relu": ("ReLU", "threshold", 1.0),
}
"""Layers for functions with a constant: class, the constant, and its default."""


@writer(L.Activation, mask="pass")
def _activation(layer: L.Activation, place: Place) -> Tensor:
    (x,) = place.inputs
    spec = spell(layer.name, *layer.constants)
    if found := word(spec):
        return place.add("Activation", x, activation=found)
    constants = tuple(map(float, layer.constants))
    if layer.name in LAYERS:
        class_name, name, default = LAYERS[layer.name]
        (value,) = constants or (default,)
        setting: dict[str, Any] = {name: value}
        return place.add(class_name, x, **setting)
    if layer.name == "affine":
        scale, offset = (*constants, 0.0)[:2]
        return place.add("Rescaling", x, scale=scale, offset=offset)
    place.refuse(spec, "it has no name for this function with these constants")


@writer(L.Clip)
def _clip(layer: L.Clip, place: Place) -> Tensor:
    (x,) = place.inputs
    low, high = (None if v is None else float(v) for v in (layer.lower, layer.upper))
    if low is not None and high is not None:
        return place.operation("Clip", x, x_min=low, x_max=high)
    if low is None and high is None:
        return place.add("Identity", x)
    name = "Minimum" if low is None else "Maximum"
    return place.operation(name, x, operand=high if low is None else low)


@writer(L.ErrorFunction)
def _error_function(layer: L.ErrorFunction, place: Place) -> Tensor:
    return place.operation("Erf", *place.inputs, module=KERAS_FUNCTIONS)


@writer(L.PReLU, mask="pass")
def _prelu(layer: L.PReLU, place: Place) -> Tensor:
    (x,), (shape,) = place.inputs, place.input_shapes
    alpha = np.asarray(layer.alpha)
    if alpha.ndim > len(shape.space) + 1:
        place.refuse(f"alpha of shape {alpha.shape}", "it has one number a channel")
    step = (1,) * (len(shape.space) + 1 - alpha.ndim) + alpha.shape
    whole = (*(1,) * shape.time, *step)
    shared = [axis + 1 for axis, length in enumerate(whole) if length == 1]
    return place.add(
        "PReLU", x, weights={"": [alpha.reshape(whole)]}, shared_axes=shared
    )


@writer(L.Softmax, mask="pass")
def _softmax(layer: L.Softmax, place: Place) -> Tensor:
    # Not the layer of this name, which would multiply a mask into the channels.
    found = "log_softmax" if layer.logarithm else "softmax"
    return place.add("Activation", *place.inputs, activation=found)


# --- nothing at prediction ------------------------------------------------------------


@writer(L.Dropout, mask="pass")
def _dropout(layer: L.Dropout, place: Place) -> Tensor:
    return place.add("Dropout", *place.inputs, rate=float(layer.probability))


@writer(L.Identity, L.Regression, L.Classification, mask="pass")
def _identity(layer: L.Layer, place: Place) -> Tensor:
    return place.add("Identity", *place.inputs)


# --- normalisations -------------------------------------------------------------------


@writer(L.Scaling, mask="pass")
def _scaling(layer: L.Scaling, place: Place) -> Tensor:
    # Python's numbers hold those of either precision exactly.
    return place.add(
        "Rescaling",
        *place.inputs,
        scale=np.asarray(layer.scale).tolist(),
        offset=np.asarray(layer.offset).tolist(),
    )


@writer(L.BatchNormalization, mask="pass")
def _batch(layer: L.BatchNormalization, place: Place) -> Tensor:
    fields = ("scale", "offset", "mean", "variance")
    return place.add(
        "BatchNormalization",
        *place.inputs,
        weights={"": [np.asarray(getattr(layer, field)) for field in fields]},
        axis=-1,
        epsilon=float(layer.epsilon),
    )


def _scale_and_offset(layer: Any) -> dict[str, list[np.ndarray]]:
    return {"": [np.asarray(layer.scale), np.asarray(layer.offset)]}


@writer(L.LayerNormalization, mask="pass")
def _layer(layer: L.LayerNormalization, place: Place) -> Tensor:
    (x,), (shape,) = place.inputs, place.input_shapes
    if layer.over == "time-channels" and shape.time:
        place.refuse(f"over {layer.over}", "it normalises no axis of any length")
    if layer.over != "channels" and shape.space:
        place.refuse(f"over {layer.over}", "it has a scale for every place in space")
    return place.add(
        "LayerNormalization",
        x,
        weights=_scale_and_offset(layer),
        axis=-1,
        epsilon=float(layer.epsilon),
    )


@writer(L.GroupNormalization, L.InstanceNormalization)
def _group(
    layer: L.GroupNormalization | L.InstanceNormalization, place: Place
) -> Tensor:
    return place.add(
        "GroupNormalization",
        *place.inputs,
        weights=_scale_and_offset(layer),
        groups=getattr(layer, "groups", -1),
        axis=-1,
        epsilon=float(layer.epsilon),
    )
