"""Normalisation layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F

from jlstm import layers as L
from jlstm.pytree import Shape

from .case import (
    IMAGES,
    SIX,
    VECTORS,
    Case,
    Oracle,
    Rng,
    channels_first,
    channels_last,
    normal,
    positive,
    tensor,
)


def affine(r: Rng, channels: int) -> tuple[Any, Any]:
    return normal(r, channels), normal(r, channels)


def batch_norm(signal: int) -> Oracle:
    def oracle(layer: Any, x: np.ndarray) -> np.ndarray:
        y = F.batch_norm(
            channels_first(x, signal),
            tensor(layer.mean),
            tensor(layer.variance),
            tensor(layer.scale),
            tensor(layer.offset),
            eps=layer.epsilon,
        )
        return channels_last(y, x.shape[: x.ndim - 1 - signal])

    return oracle


def layer_norm(axes: int) -> Oracle:
    """Statistics over the last `axes` axes, scale and offset per channel."""

    def oracle(layer: Any, x: np.ndarray) -> np.ndarray:
        y = F.layer_norm(tensor(x), x.shape[x.ndim - axes :], eps=layer.epsilon)
        return y.numpy() * layer.scale + layer.offset

    return oracle


def group_norm(layer: Any, x: np.ndarray) -> np.ndarray:
    """Statistics over everything but the groups of channels."""
    y = F.group_norm(
        channels_first(x, x.ndim - 1),
        getattr(layer, "groups", x.shape[-1]),
        tensor(layer.scale),
        tensor(layer.offset),
        eps=layer.epsilon,
    )
    return channels_last(y, ())


def instance_norm(layer: Any, x: np.ndarray) -> np.ndarray:
    y = F.instance_norm(
        channels_first(x, x.ndim - 1),
        weight=tensor(layer.scale),
        bias=tensor(layer.offset),
        eps=layer.epsilon,
    )
    return channels_last(y, ())


IMAGES6 = Shape(True, (5, 8), 6)

CASES = [
    Case(
        "batch normalisation",
        lambda r: L.BatchNormalization(*affine(r, 5), normal(r, 5), positive(r, 5)),
        (VECTORS,),
        batch_norm(0),
    ),
    Case(
        "batch normalisation of images",
        lambda r: L.BatchNormalization(
            *affine(r, 4), normal(r, 4), positive(r, 4), epsilon=0.1
        ),
        (IMAGES,),
        batch_norm(2),
    ),
    Case(
        "layer normalisation",
        lambda r: L.LayerNormalization(*affine(r, 5)),
        (VECTORS,),
        layer_norm(1),
    ),
    Case(
        "layer normalisation over the channels of images",
        lambda r: L.LayerNormalization(*affine(r, 4), epsilon=0.1),
        (IMAGES,),
        layer_norm(1),
    ),
    Case(
        "layer normalisation over images",
        lambda r: L.LayerNormalization(*affine(r, 4), over="spatial-channels", space=2),
        (IMAGES,),
        layer_norm(3),
    ),
    Case(
        "layer normalisation over time",
        lambda r: L.LayerNormalization(*affine(r, 5), over="time-channels"),
        (VECTORS,),
        layer_norm(2),
        whole=True,
    ),
    Case(
        "layer normalisation over time and images",
        lambda r: L.LayerNormalization(*affine(r, 4), over="time-channels"),
        (IMAGES,),
        layer_norm(4),
        whole=True,
    ),
    Case(
        "group normalisation",
        lambda r: L.GroupNormalization(*affine(r, 6), groups=3),
        (SIX,),
        group_norm,
        whole=True,
    ),
    Case(
        "group normalisation of images",
        lambda r: L.GroupNormalization(*affine(r, 6), groups=2, epsilon=0.1),
        (IMAGES6,),
        group_norm,
        whole=True,
    ),
    Case(
        "instance normalisation",
        lambda r: L.InstanceNormalization(*affine(r, 5)),
        (VECTORS,),
        instance_norm,
        whole=True,
    ),
    Case(
        "instance normalisation of images",
        lambda r: L.InstanceNormalization(*affine(r, 6), epsilon=0.1),
        (IMAGES6,),
        instance_norm,
        whole=True,
    ),
    Case(
        "scaling",
        lambda r: L.Scaling(normal(r, 5), normal(r)),
        (VECTORS,),
        lambda layer, x: layer.scale * x + layer.offset,
    ),
]
