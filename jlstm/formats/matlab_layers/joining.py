"""Layers that flatten one input or join several."""

from __future__ import annotations

from ... import layers as L
from ...pytree import Shape
from ..fields import Fields
from .registry import Built, reader


@reader("FlattenLayer")
def _flatten(f: Fields, inputs: list[Shape]) -> Built:
    f.ignore("NumFlattenDimensions")
    return Built(L.Flatten(len(inputs[0].space)))


@reader(
    "nnet.keras.layer.FlattenCStyleLayer",
    "nnet.keras.layer.TimeDistributedFlattenCStyleLayer",
)
def _flatten_rows(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Flatten(len(inputs[0].space), "row-major"))


@reader("AdditionLayer")
def _addition(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Addition(_spaces(inputs)))


@reader("MultiplicationLayer")
def _multiplication(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Multiplication(_spaces(inputs)))


def _spaces(inputs: list[Shape]) -> tuple[int, ...]:
    """Numbers of space axes, where vectors meet images.

    MATLAB keeps the vectors of a fully connected layer as images of one place, which
    are repeated over the places of the others.
    """
    spaces = tuple(len(x.space) for x in inputs)
    return spaces if len(set(spaces)) > 1 and 0 in spaces else ()


@reader("DepthConcatenationLayer")
def _depth_concatenation(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Concatenation())


@reader("ConcatenationLayer")
def _concatenation(f: Fields, inputs: list[Shape]) -> Built:
    # Dim counts in MATLAB's own order: space, channels, batch, time.
    dim = f.integers("Dim")[0]
    space = len(inputs[0].space)
    if dim in (3, 4) and not any(x.space or x.time for x in inputs):
        # Fully connected layers of the first releases leave images of one place,
        # 1 x 1 x C, whose channels are the third axis (the fourth for volumes).
        return Built(L.Concatenation())
    if not 1 <= dim <= space + 1:
        f.refuse("Dim", dim, f"at most {space + 1}: space or channels")
    if dim == space + 1:
        return Built(L.Concatenation())
    return Built(L.Concatenation(axis=dim - 1, space=space))
