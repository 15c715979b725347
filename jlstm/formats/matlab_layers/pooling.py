"""Pooling, global pooling, and picking one step."""

from __future__ import annotations

from ... import layers as L
from ...pytree import Shape
from ..fields import Fields
from .registry import Built, Reader, reader
from .windows import axis, not_over_time, padding1, padding2, padding_value, pair


def _pooling1(kind: str) -> Reader:
    def read_pooling(f: Fields, inputs: list[Shape]) -> Built:
        along = axis(f, inputs)
        if along == "space":
            not_over_time(f, "PoolOverTime")
        f.ignore("PoolOverTime", "PaddingSize")
        layer = L.Pooling1D(
            kind,
            f.integers("PoolSize")[0],
            stride=f.integers("Stride", default=(1,))[0],
            padding=padding1(f),
            padding_value=_value(f, kind),
            axis=along,
        )
        return Built(layer)

    return read_pooling


def _pooling2(kind: str) -> Reader:
    def read_pooling(f: Fields, inputs: list[Shape]) -> Built:
        not_over_time(f, "PoolOverTime")
        if f.flag("HasUnpoolingOutputs", default=False):
            f.refuse("HasUnpoolingOutputs", True, "false")
        f.ignore("PaddingSize")
        layer = L.Pooling2D(
            kind,
            pair(f, "PoolSize"),
            stride=pair(f, "Stride", (1, 1)),
            padding=padding2(f),
            padding_value=_value(f, kind),
        )
        return Built(layer)

    return read_pooling


def _value(f: Fields, kind: str) -> float | str:
    """What an average takes padding for; a maximum never sees it."""
    value = padding_value(f, "mean")
    return 0.0 if kind == "max" else value


def _global_pooling(kind: str, axes: int) -> Reader:
    def read_pooling(f: Fields, inputs: list[Shape]) -> Built:
        f.ignore("PoolOverTime", "PoolingDimension", "ResultFormat")
        if axes == 2:
            return Built(L.GlobalPooling2D(kind))
        return Built(L.GlobalPooling1D(kind, axis=axis(f, inputs)))

    return read_pooling


for _kind, _prefix in (("max", "Max"), ("average", "Average")):
    reader(f"{_prefix}Pooling1DLayer")(_pooling1(_kind))
    reader(f"{_prefix}Pooling2DLayer")(_pooling2(_kind))
    reader(f"Global{_prefix}Pooling1DLayer")(_global_pooling(_kind, 1))
    reader(f"Global{_prefix}Pooling2DLayer")(_global_pooling(_kind, 2))

reader("nnet.keras.layer.GlobalAveragePooling2dLayer")(_global_pooling("average", 2))


@reader("Indexing1DLayer")
def _indexing(f: Fields, inputs: list[Shape]) -> Built:
    position = f.text("Index", default="first")
    if position not in ("first", "last"):
        f.refuse("Index", position, "first or last")
    if f.flag("HasPaddingMaskInput", default=False):
        f.refuse("HasPaddingMaskInput", True, "false")
    return Built(L.Indexing1D(position, axis=axis(f, inputs)))
