"""Convolutions, pooling, and picking one step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import layers as L
from .registry import Parameter, Place, Written, writer

OVER_TIME = "R2021b"


def _padding(layer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The padding as properties, and as the constructor takes it."""
    if isinstance(layer.padding, str):
        return {"PaddingMode": layer.padding}, {"Padding": layer.padding}
    sides = tuple(int(n) for n in np.ravel(layer.padding))
    shown = {"PaddingMode": "manual", "PaddingSize": sides}
    return shown, {"Padding": sides} if any(sides) else {}


def _padding_value(layer: Any) -> dict[str, Any]:
    value = layer.padding_value
    if not isinstance(value, str):
        value = float(value)
    return {} if value == 0 else {"PaddingValue": value}


# --- convolutions ---------------------------------------------------------------------


def _convolution(
    layer: Any,
    kind: str,
    call: str,
    since: str,
    arguments: tuple[Any, ...],
    **sizes: Any,
) -> Written:
    shown, options = _padding(layer)
    weights = np.asarray(layer.weights)
    space = weights.ndim - 2
    bias = np.asarray(layer.bias).reshape(*(1,) * space, -1)
    if layer.groups != 1:
        # The groups are the last axis in MATLAB; the filters of one are beside each
        # other.
        *lead, filters = weights.shape
        shape = (*lead, filters // layer.groups, layer.groups)
        weights = weights.reshape(shape, order="F")
        bias = np.asarray(layer.bias).reshape(*(1,) * space, *shape[-2:], order="F")
    return Written(
        kind,
        call,
        since,
        arguments,
        settings={
            "Stride": layer.stride,
            "DilationFactor": layer.dilation,
            **_padding_value(layer),
        },
        parameters={
            "Weights": Parameter(weights, (".weights",)),
            "Bias": Parameter(bias, (".bias",)),
        },
        properties=shown | sizes,
        options=options,
    )


@writer(L.Convolution1D)
def _convolution1(layer: L.Convolution1D, place: Place) -> Written:
    size, _, filters = layer.weights.shape
    if layer.groups != 1:
        place.refuse(f"{layer.groups} groups", "convolution1dLayer has no groups")
    return _convolution(
        layer, "Convolution1DLayer", "convolution1dLayer", OVER_TIME, (size, filters),
        FilterSize=size, NumFilters=filters,
    )  # fmt: skip


@writer(L.Convolution2D)
def _convolution2(layer: L.Convolution2D, place: Place) -> Written:
    *size, _, filters = layer.weights.shape
    if layer.groups == 1:
        return _convolution(
            layer, "Convolution2DLayer", "convolution2dLayer", "R2019a",
            (tuple(size), filters), FilterSize=tuple(size), NumFilters=filters,
        )  # fmt: skip
    each = filters // layer.groups
    return _convolution(
        layer, "GroupedConvolution2DLayer", "groupedConvolution2dLayer", "R2019a",
        (tuple(size), each, layer.groups), FilterSize=tuple(size),
        NumFiltersPerGroup=each, NumGroups=layer.groups,
    )  # fmt: skip


# --- pooling --------------------------------------------------------------------------


@writer(L.Pooling1D, L.Pooling2D)
def _pooling(layer: L.Pooling1D | L.Pooling2D, place: Place) -> Written:
    axes = 1 if isinstance(layer, L.Pooling1D) else 2
    shown, options = _padding(layer)
    value = _padding_value(layer)
    if value not in ({}, {"PaddingValue": "mean"}):
        place.refuse(
            f"padding of {layer.padding_value}", "it pads with zeros or the mean"
        )
    return Written(
        f"{layer.kind.capitalize()}Pooling{axes}DLayer",
        f"{layer.kind}Pooling{axes}dLayer",
        OVER_TIME if axes == 1 or value else "R2016a",
        (layer.size,),
        settings={"Stride": layer.stride, **value},
        properties=shown | {"PoolSize": layer.size},
        options=options,
    )


@writer(L.GlobalPooling1D, L.GlobalPooling2D)
def _global(layer: L.GlobalPooling1D | L.GlobalPooling2D, place: Place) -> Written:
    axes = 1 if isinstance(layer, L.GlobalPooling1D) else 2
    word = layer.kind.capitalize()
    return Written(
        f"Global{word}Pooling{axes}DLayer",
        f"global{word}Pooling{axes}dLayer",
        OVER_TIME if axes == 1 else "R2020a",
    )


@writer(L.Indexing1D)
def _indexing(layer: L.Indexing1D, place: Place) -> Written:
    return Written(
        "Indexing1DLayer",
        "indexing1dLayer",
        "R2023b",
        (layer.position,),
        properties={"Index": layer.position},
    )
