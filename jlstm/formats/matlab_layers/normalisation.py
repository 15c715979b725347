"""Normalisation by statistics, and fixed scales."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import layers as L
from ...pytree import Shape
from ..fields import Fields
from .learnable import vector
from .registry import Built, reader

OLD_LAYER_NORMALISATION = (
    "layer normalisation was saved before R2023a, where the statistics run over time "
    "as well; newer releases of MATLAB may answer differently"
)


def _affine(f: Fields) -> tuple[dict[str, Any], list]:
    """Scale, offset and epsilon, and the training factors of the first two."""
    scale, first = vector(f, "Scale")
    offset, second = vector(f, "Offset")
    f.ignore("NumChannels")
    epsilon = f.number("Epsilon", default=1e-5)
    return {"scale": scale, "offset": offset, "epsilon": epsilon}, first + second


@reader("BatchNormalizationLayer")
def _batch_normalization(f: Fields, inputs: list[Shape]) -> Built:
    affine, factors = _affine(f)
    mean, variance = f.numbers("TrainedMean"), f.numbers("TrainedVariance")
    f.ignore("MeanDecay", "VarianceDecay", "IsMovingAverageMode", "NumTrainingSamples")
    f.ignore("BatchNormalizationStatistics", "MeanInitializer", "VarianceInitializer")
    layer = L.BatchNormalization(mean=mean, variance=variance, **affine)
    return Built(layer, factors=factors)


@reader("LayerNormalizationLayer")
def _layer_normalization(f: Fields, inputs: list[Shape]) -> Built:
    affine, factors = _affine(f)
    x = inputs[0] if inputs else Shape(True, (), affine["scale"].size)
    dimension = f.text("OperationDimension", default="batch-excluded")
    if dimension not in ("auto", "channel-only", "spatial-channel", "batch-excluded"):
        f.refuse("OperationDimension", dimension, "auto, channel-only, spatial-channel")
    over = {"channel-only": "channels", "spatial-channel": "spatial-channels"}
    if dimension == "auto":
        dimension = "spatial-channel" if len(x.space) > 1 else "channel-only"
    if dimension == "batch-excluded" and not x.time:
        dimension = "spatial-channel"
    layer = L.LayerNormalization(
        over=over.get(dimension, "time-channels"), space=len(x.space), **affine
    )
    old = "OperationDimension" not in f and layer.over == "time-channels"
    return Built(layer, None, None, factors, [OLD_LAYER_NORMALISATION] if old else [])


@reader("GroupNormalizationLayer")
def _group_normalization(f: Fields, inputs: list[Shape]) -> Built:
    affine, factors = _affine(f)
    groups = f.take("NumGroups")
    known = {"all-channels": 1, "channel-wise": affine["scale"].size}
    if not isinstance(groups, str):
        groups = f.integers("NumGroups")[0]
    elif groups not in known:
        f.refuse("NumGroups", groups, ", ".join(known))
    layer = L.GroupNormalization(groups=known.get(groups, groups), **affine)
    return Built(layer, factors=factors)


@reader("InstanceNormalizationLayer")
def _instance_normalization(f: Fields, inputs: list[Shape]) -> Built:
    affine, factors = _affine(f)
    return Built(L.InstanceNormalization(**affine), factors=factors)


# --- fixed scales ---------------------------------------------------------------------


@reader(
    "ScalingLayer", "rl.layer.ScalingLayer", "nnet.onnx.layer.ElementwiseAffineLayer"
)
def _scaling(f: Fields, inputs: list[Shape]) -> Built:
    x = inputs[0] if inputs else Shape(True, (), 1)
    arrays = {}
    for key, names, neutral in (
        ("scale", ("Scale",), 1.0),
        ("offset", ("Offset", "Bias"), 0.0),
    ):
        value = f.array(*names, default=None)
        used = f.flag(f"Do{key.capitalize()}", default=True)
        if value is None or not used:
            value = np.full((1, 1), neutral, np.float32)
        arrays[key] = _per_step(f, names[0], value, x)
    return Built(L.Scaling(**arrays))


def _per_step(f: Fields, name: str, value: np.ndarray, x: Shape) -> np.ndarray:
    """An array as MATLAB broadcasts it, against `(*space, channels)`."""
    if value.dtype.kind != "f":
        f.refuse(name, f"an array of {value.dtype}", "single or double")
    if value.size == 1:
        return value.reshape(1).copy()
    size = (*x.space, x.channels)
    shape = value.shape + (1,) * (len(size) - value.ndim)
    extra = shape[len(size) :]
    if any(n != 1 for n in extra):
        f.refuse(name, f"shape {value.shape}", f"one that broadcasts to {size}")
    return value.reshape(shape[: len(size)]).copy()
