"""Convolution and pooling."""

from __future__ import annotations

from typing import Any

from matlab_files import MatlabOpaque, flag, number

from .base import Rng, layer, learnable, normal


def convolution1(
    rng: Rng, name: str, size: int, channels: int, filters: int, **fields: Any
) -> MatlabOpaque:
    struct = {
        "FilterSize": number(size),
        "NumChannels": number(channels),
        "NumFilters": number(filters),
        "Stride": number(1),
        "DilationFactor": number(1),
        "PaddingMode": "manual",
        "PaddingSize": number(0, 0),
        "PaddingValue": number(0),
        "Weights": learnable(normal(rng, size, channels, filters, scale=0.5)),
        "Bias": learnable(normal(rng, 1, filters), decay=0.0),
    }
    return layer("Convolution1DLayer", name, **struct | fields)


def convolution2(
    rng: Rng, name: str, size: tuple[int, int], channels: int, filters: int,
    version: int = 8, **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 2 to 5 and 8."""
    weights = normal(rng, *size, channels, filters, scale=0.5)
    struct: dict[str, Any] = {
        "FilterSize": number(*size),
        "NumChannels": number(channels),
        "NumFilters": number(filters),
        "Stride": number(1, 1),
    }
    if version == 2:
        struct["Padding"] = number(0, 0)
    else:
        struct |= {"PaddingMode": "manual", "PaddingSize": number(0, 0, 0, 0)}
    if version >= 4:
        struct["DilationFactor"] = number(1, 1)
    if version >= 8:
        struct["PaddingValue"] = number(0)
    age = 1 + (version >= 5)
    struct["Weights"] = learnable(weights, age)
    struct["Bias"] = learnable(normal(rng, 1, 1, filters), age, decay=0.0)
    if version >= 8:
        struct |= {
            "ConvolveOverTime": flag(False),
            "DistributeOverTime": flag(True),
            "ConvolutionDimIdx": number(1, 2),
            "CudnnGPUAlgoForward": number(-1),
        }
    return layer("Convolution2DLayer", name, version, **struct | fields)


def grouped_convolution2(
    rng: Rng, name: str, size: tuple[int, int], per_group: tuple[int, int], groups: Any,
    count: int, **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """`per_group`: channels and filters of each of `count` groups."""
    struct = {
        "FilterSize": number(*size),
        "NumGroups": groups,
        "NumChannelsPerGroup": number(per_group[0]),
        "NumFiltersPerGroup": number(per_group[1]),
        "Stride": number(1, 1),
        "DilationFactor": number(1, 1),
        "PaddingMode": "manual",
        "PaddingSize": number(0, 0, 0, 0),
        "Weights": learnable(normal(rng, *size, *per_group, count)),
        "Bias": learnable(normal(rng, 1, 1, per_group[1], count), decay=0.0),
    }
    return layer("GroupedConvolution2DLayer", name, **struct | fields)


def pooling(kind: str, name: str, *size: int, version: int = 3, **fields: Any):
    """A Max- or AveragePooling1D- or 2DLayer, without padding, of stride 1."""
    axes = len(size)
    struct = {
        "PoolSize": number(*size),
        "Stride": number(*(1,) * axes),
        "PaddingMode": "manual",
        "PaddingSize": number(*(0,) * 2 * axes),
    }
    if axes == 2 and kind == "Max" and version >= 3:
        struct |= {
            "HasUnpoolingOutputs": flag(False),
            "PoolOverTime": flag(False),
            "DistributeOverTime": flag(True),
            "PoolingDimIdx": number(1, 2),
        }
    return layer(f"{kind}Pooling{axes}DLayer", name, version, **struct | fields)
