"""Fully connected layers, normalisation, softmax and output layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matlab_files import EMPTY, MatlabOpaque, categorical, cell, flag, number

from .base import Rng, affine, layer, learnable, normal, positive


def dense(
    rng: Rng, name: str, inputs: int, outputs: int, version: int = 3,
    image: tuple[int, ...] = (), **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 1 to 3; with `image` the weights keep its axes, H x W x C x N."""
    weights = normal(rng, outputs, inputs, scale=1 / np.sqrt(inputs))
    if image:
        weights = weights.T.reshape(*image, outputs, order="F")
        while weights.shape[-1] == 1 and weights.ndim > 2:
            weights = weights[..., 0]
    struct = {
        "InputSize": EMPTY if version == 3 else number(*(image or (inputs,))),
        "OutputSize": number(outputs) if version == 3 else number(1, 1, outputs),
        "Weights": learnable(weights, 1 + (version >= 3)),
        "Bias": learnable(normal(rng, outputs, 1), 1 + (version >= 3), decay=0.0),
    }
    return layer("FullyConnectedLayer", name, version, **struct | fields)


def batch_normalization(
    rng: Rng, name: str, channels: int, version: int = 3, space: int = 0
) -> MatlabOpaque:
    """Struct versions 1 to 3; parameters as images have them, 1 x 1 x C, or C x 1."""
    shape = (*(1,) * space, channels) if space > 1 else (channels, 1)
    struct: dict[str, Any] = {"Epsilon": number(3e-3), "NumChannels": number(channels)}
    if version >= 2:
        struct["ChannelDim"] = number(space + 1)
    struct |= {
        "TrainedMean": normal(rng, *shape),
        "TrainedVariance": positive(rng, *shape),
    }
    if version >= 3:
        struct |= {
            "MeanDecay": number(0.1),
            "VarianceDecay": number(0.1),
            "IsMovingAverageMode": flag(True),
        }
    struct["NumTrainingSamples"] = number(40)
    struct |= affine(rng, shape, 1 + (version >= 2))
    return layer("BatchNormalizationLayer", name, version, **struct)


def normalization(
    rng: Rng, kind: str, name: str, channels: int, **fields: Any
) -> MatlabOpaque:
    """A layer, group or instance normalisation."""
    struct: dict[str, Any] = {"Epsilon": number(2e-3), "NumChannels": number(channels)}
    struct |= affine(rng, (channels, 1))
    return layer(f"{kind}NormalizationLayer", name, **struct | fields)


def softmax(name: str, version: int = 4) -> MatlabOpaque:
    fields: dict[str, Any] = {"ChannelDim": number(1)} if version > 2 else {}
    if version != 1:
        fields["VectorFormat"] = flag(True)
    return layer("SoftmaxLayer", name, version, **fields)


def regression(name: str, names: Sequence[str] = ("Response",)) -> MatlabOpaque:
    return layer(
        "RegressionOutputLayer", name, 2, ResponseNames=cell(names),
        ObservationDim=number(2),
    )  # fmt: skip


def classification(
    name: str,
    names: Sequence[str],
    codes: Sequence[int] | None = None,
    version: int = 4,
) -> MatlabOpaque:
    """Struct versions 1, 3 and 4; score k belongs to `names[codes[k] - 1]`."""
    if version == 1:
        return layer(
            "ClassificationOutputLayer", name, OutputSize=number(1, 1, len(names)),
            ClassNames=cell(names),
        )  # fmt: skip
    codes = codes or range(1, len(names) + 1)
    fields: dict[str, Any] = {
        "ObservationDim": number(2),
        "NumClasses": number(len(codes)),
        "Categories": categorical(names, codes),
    }
    if version >= 4:
        fields["ClassWeights"] = EMPTY
    return layer("ClassificationOutputLayer", name, version, **fields)
