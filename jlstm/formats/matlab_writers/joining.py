"""Layers that flatten one input or join several."""

from __future__ import annotations

from ... import layers as L
from .registry import Place, Written, writer


@writer(L.Flatten)
def _flatten(layer: L.Flatten, place: Place) -> Written:
    if layer.order != "column-major":
        place.refuse(f"{layer.order} order", "flattenLayer is column-major")
    return Written("FlattenLayer", "flattenLayer", "R2019a")


@writer(L.Addition)
def _addition(layer: L.Addition, place: Place) -> Written:
    return _joined("AdditionLayer", "additionLayer", "R2017b", place)


@writer(L.Multiplication)
def _multiplication(layer: L.Multiplication, place: Place) -> Written:
    return _joined("MultiplicationLayer", "multiplicationLayer", "R2020b", place)


def _joined(kind: str, call: str, since: str, place: Place) -> Written:
    return Written(kind, call, since, (len(place.node.inputs),))


@writer(L.Concatenation)
def _concatenation(layer: L.Concatenation, place: Place) -> Written:
    kind, call = "ConcatenationLayer", "concatenationLayer"
    dim = place.space + 1
    if isinstance(layer.axis, int):
        dim = layer.axis + 1
    elif not place.space and _has_images(place):
        # Vectors that were made of images are images of one place to a DAGNetwork.
        kind, call = f"Depth{kind}", "depthConcatenationLayer"
        return _joined(kind, call, "R2017b", place)
    return Written(
        kind, call, "R2019a", (dim, len(place.node.inputs)), properties={"Dim": dim}
    )


def _has_images(place: Place) -> bool:
    return any(
        not place.shapes[name].time and place.shapes[name].space
        for name in place.net.inputs
    )
