"""Fully connected layers, activations, normalisations, and layers that do nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import layers as L
from ...activations import spell
from .. import matlab_functions
from .registry import Expression, Parameter, Place, Written, per_channel, writer

ACTIVATIONS = {
    "relu": ("ReLULayer", "reluLayer", "R2016a", None),
    "tanh": ("TanhLayer", "tanhLayer", "R2019a", None),
    "sigmoid": ("SigmoidLayer", "sigmoidLayer", "R2020b", None),
    "swish": ("SwishLayer", "swishLayer", "R2021a", None),
    "softplus": ("SoftplusLayer", "softplusLayer", "R2020a", None),
    "leaky-relu": ("LeakyReLULayer", "leakyReluLayer", "R2017b", "Scale"),
    "clipped-relu": ("ClippedReLULayer", "clippedReluLayer", "R2017b", "Ceiling"),
    "elu": ("ELULayer", "eluLayer", "R2019a", "Alpha"),
}
"""Class, constructor, release, and the property that holds the constant, if any."""

GELU = {"gelu": "none", "gelu-tanh": "tanh"}
OPERATIONS = {
    "channels": "channel-only",
    "spatial-channels": "spatial-channel",
    "time-channels": "batch-excluded",
}


@writer(L.FullyConnected)
def _fully_connected(layer: L.FullyConnected, place: Place) -> Written:
    outputs, features = layer.weights.shape
    return Written(
        "FullyConnectedLayer",
        "fullyConnectedLayer",
        "R2019a",
        (outputs,),
        parameters={
            "Weights": Parameter(np.asarray(layer.weights), (".weights",)),
            "Bias": Parameter(np.asarray(layer.bias)[:, None], (".bias",)),
        },
        properties={"OutputSize": outputs, "InputSize": features},
    )


# --- activations ----------------------------------------------------------------------


@writer(L.Activation)
def _activation(layer: L.Activation, place: Place) -> Written:
    if layer.name in GELU and not layer.constants:
        settings = {"Approximation": GELU[layer.name]}
        return Written("GELULayer", "geluLayer", "R2022b", settings=settings)
    if layer.name == "softsign" and not layer.constants:
        function = Expression("@(x) x ./ (1 + abs(x))")
        return Written("SoftsignLayer", "functionLayer", "R2021b", (function,))
    kind, call, since, word = ACTIVATIONS.get(layer.name, ("", "", "", None))
    if not kind or len(layer.constants) != (word is not None):
        spec = spell(layer.name, *layer.constants)
        return _function(matlab_functions.written(spec), spec)
    constants = tuple(map(float, layer.constants))
    properties = {} if word is None else {word: constants[0]}
    return Written(kind, call, since, constants, properties=properties)


def _function(formula: str, spec: str) -> Written:
    """A functionLayer, whose description says what it computes."""
    return Written(
        "FunctionLayer",
        "functionLayer",
        "R2021b",
        (Expression(f"@(x) {formula}"),),
        settings={"Description": matlab_functions.described(spec)},
    )


@writer(L.Clip)
def _clip(layer: L.Clip, place: Place) -> Written:
    bounds = [
        None if bound is None else float(bound) for bound in (layer.lower, layer.upper)
    ]
    formula, spec = matlab_functions.clipped(*bounds)
    return _function(formula, spec)


@writer(L.PReLU)
def _prelu(layer: L.PReLU, place: Place) -> Written:
    array = np.asarray(layer.alpha)
    if array.ndim != 1:
        place.refuse(f"alpha of shape {array.shape}", "it holds one number a channel")
    alpha = Parameter(per_channel(array, place.space), (".alpha",))
    return Written("PReLULayer", "preluLayer", "R2024a", parameters={"Alpha": alpha})


@writer(L.Softmax)
def _softmax(layer: L.Softmax, place: Place) -> Written:
    if layer.logarithm:
        place.refuse("log-softmax", "it has no layer for this function")
    return Written("SoftmaxLayer", "softmaxLayer")


@writer(L.Dropout)
def _dropout(layer: L.Dropout, place: Place) -> Written:
    share = float(layer.probability)
    return Written(
        "DropoutLayer", "dropoutLayer", arguments=(share,),
        properties={"Probability": share},
    )  # fmt: skip


@writer(L.Identity)
def _identity(layer: L.Identity, place: Place) -> Written:
    return Written("IdentityLayer", "identityLayer", "R2024b")


# --- normalisations -------------------------------------------------------------------


def _affine(layer: Any, place: Place) -> dict[str, Any]:
    """What all of them have: epsilon, and a scale and an offset for each channel."""
    return {
        "settings": {"Epsilon": float(layer.epsilon)},
        "parameters": {
            word: Parameter(per_channel(array, place.space), (f".{word.lower()}",))
            for word, array in (("Scale", layer.scale), ("Offset", layer.offset))
        },
    }


@writer(L.BatchNormalization)
def _batch(layer: L.BatchNormalization, place: Place) -> Written:
    return Written(
        "BatchNormalizationLayer",
        "batchNormalizationLayer",
        "R2019a",
        arrays={
            "TrainedMean": per_channel(layer.mean, place.space),
            "TrainedVariance": per_channel(layer.variance, place.space),
        },
        **_affine(layer, place),
    )


@writer(L.LayerNormalization)
def _layer(layer: L.LayerNormalization, place: Place) -> Written:
    affine = _affine(layer, place)
    affine["settings"]["OperationDimension"] = OPERATIONS[layer.over]
    return Written(
        "LayerNormalizationLayer", "layerNormalizationLayer", "R2023a", **affine
    )


@writer(L.GroupNormalization)
def _group(layer: L.GroupNormalization, place: Place) -> Written:
    return Written(
        "GroupNormalizationLayer",
        "groupNormalizationLayer",
        "R2020b",
        (layer.groups,),
        properties={"NumGroups": layer.groups},
        **_affine(layer, place),
    )


@writer(L.InstanceNormalization)
def _instance(layer: L.InstanceNormalization, place: Place) -> Written:
    return Written(
        "InstanceNormalizationLayer",
        "instanceNormalizationLayer",
        "R2021a",
        **_affine(layer, place),
    )


@writer(L.Scaling)
def _scaling(layer: L.Scaling, place: Place) -> Written:
    scale, offset = (
        array.reshape(-1, 1) if array.ndim < 2 else array
        for array in (np.asarray(layer.scale), np.asarray(layer.offset))
    )
    if 1 not in (scale.size, offset.size) and scale.shape != offset.shape:
        place.refuse(
            f"scale {scale.shape}, offset {offset.shape}", "both are of one size there"
        )
    return Written(
        "ScalingLayer",
        "scalingLayer",
        "R2019a",
        arrays={"Scale": scale},
        properties={"Offset": offset},
        # Called Bias before R2025a.
        options={Expression("offset_word()"): Expression("p.Offset")},
    )
