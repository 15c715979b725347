"""Convolutions along time or over space."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import layers as L
from ...layers.windows import PAD_MODES
from ...pytree import Shape
from ..fields import Fields
from .learnable import learnable, vector
from .registry import Built, reader
from .windows import axis, not_over_time, padding1, padding2, padding_value, pair

SIZES = (
    "FilterSize", "NumChannels", "NumFilters", "NumChannelsPerGroup",
    "NumFiltersPerGroup", "PaddingSize",
)  # fmt: skip
"""Settings that the weights repeat."""


def _parameters(
    f: Fields, axes: int
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, float, float]]]:
    """Weights `(*sizes, channels, filters)`, bias, factors.

    MATLAB drops trailing axes of length one; groups, where there are any, are the last
    axis of the weights and vary slowest among the filters.
    """
    parameter = learnable(f, "Weights")
    bias, factors = vector(f, "Bias")
    f.ignore(*SIZES)
    sizes = (*parameter.array.shape, *(1,) * (axes + 1))[: axes + 1]
    filters, rest = divmod(parameter.array.size, int(np.prod(sizes)))
    if rest or filters != bias.size:
        f.refuse("Weights", f"shape {parameter.array.shape}", f"{bias.size} filters")
    weights = parameter.array.reshape(*sizes, filters, order="F")
    return weights, bias, factors + parameter.factors(".weights")


@reader("Convolution1DLayer")
def _convolution1(f: Fields, inputs: list[Shape]) -> Built:
    weights, bias, factors = _parameters(f, 1)
    along = axis(f, inputs)
    if along == "space":
        not_over_time(f, "ConvolveOverTime")
    f.ignore("ConvolveOverTime")
    layer = L.Convolution1D(
        weights,
        bias,
        stride=f.integers("Stride", default=(1,))[0],
        dilation=f.integers("DilationFactor", default=(1,))[0],
        padding=padding1(f),
        padding_value=padding_value(f, *PAD_MODES),
        axis=along,
    )
    return Built(layer, factors=factors)


def _over_images(f: Fields, groups: int) -> Built:
    weights, bias, factors = _parameters(f, 2)
    not_over_time(f, "ConvolveOverTime")
    layer = L.Convolution2D(
        weights,
        bias,
        stride=pair(f, "Stride", (1, 1)),
        dilation=pair(f, "DilationFactor", (1, 1)),
        padding=padding2(f),
        padding_value=padding_value(f, *PAD_MODES),
        groups=groups,
    )
    return Built(layer, factors=factors)


@reader("Convolution2DLayer")
def _convolution2(f: Fields, inputs: list[Shape]) -> Built:
    return _over_images(f, 1)


@reader("GroupedConvolution2DLayer")
def _grouped_convolution2(f: Fields, inputs: list[Shape]) -> Built:
    groups: Any = f.take("NumGroups")
    if groups == "channel-wise":
        return _over_images(f, inputs[0].channels)
    return _over_images(f, f.integers("NumGroups")[0])
