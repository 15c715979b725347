"""Fully connected layers and flattening."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from jlstm import layers as L

from .case import (
    IMAGE,
    IMAGES,
    LINES,
    VECTOR,
    VECTORS,
    Case,
    by_torch,
    normal,
    tensor,
)


def linear(layer: Any, x: np.ndarray) -> np.ndarray:
    return F.linear(tensor(x), tensor(layer.weights), tensor(layer.bias)).numpy()


def fortran(x: np.ndarray, space: int) -> np.ndarray:
    """Each example laid out as MATLAB's `X(:)` of an H x W x C array."""
    lead = x.shape[: x.ndim - 1 - space]
    examples = x.reshape(-1, *x.shape[len(lead) :])
    return np.stack([e.ravel(order="F") for e in examples]).reshape(*lead, -1)


CASES = [
    Case(
        "fully connected",
        lambda r: L.FullyConnected(normal(r, 3, 5), normal(r, 3)),
        (VECTORS,),
        linear,
    ),
    Case(
        "fully connected, square",
        lambda r: L.FullyConnected(normal(r, 5, 5), normal(r, 5)),
        (VECTORS,),
        linear,
    ),
    Case(
        "fully connected, one vector",
        lambda r: L.FullyConnected(normal(r, 3, 5), normal(r, 3)),
        (VECTOR,),
        linear,
    ),
    Case(
        "fully connected to images",
        lambda r: L.FullyConnected(normal(r, 3, 6 * 8 * 4), normal(r, 3), flatten=2),
        (IMAGES,),
        lambda layer, x: linear(layer, fortran(x, 2)),
    ),
    Case(
        "fully connected to lines",
        lambda r: L.FullyConnected(normal(r, 3, 9 * 4), normal(r, 3), flatten=1),
        (LINES,),
        lambda layer, x: linear(layer, fortran(x, 1)),
    ),
    Case(
        "flatten images",
        lambda r: L.Flatten(2),
        (IMAGES,),
        lambda layer, x: fortran(x, 2),
    ),
    Case(
        "flatten one image",
        lambda r: L.Flatten(2),
        (IMAGE,),
        lambda layer, x: fortran(x, 2),
    ),
    Case(
        "flatten images, row-major",
        lambda r: L.Flatten(2, "row-major"),
        (IMAGES,),
        by_torch(lambda x: torch.flatten(x, 1)),
    ),
]
