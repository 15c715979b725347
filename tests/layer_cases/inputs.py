"""Normalisations of the input."""

from __future__ import annotations

from typing import Any

import numpy as np

from jlstm import layers as L

from .case import (
    IMAGES,
    VECTOR,
    VECTORS,
    Case,
    Oracle,
    Rng,
    normal,
    positive,
    unchanged,
)


def zscore(layer: Any, x: np.ndarray) -> np.ndarray:
    return (x - layer.mean) / layer.std


def rescale(low: float, high: float) -> Oracle:
    return lambda layer, x: (
        low + (x - layer.minimum) / (layer.maximum - layer.minimum) * (high - low)
    )


def span(rng: Rng, *shape: int) -> dict[str, Any]:
    minimum = rng.normal(size=shape)
    return dict(minimum=minimum, maximum=minimum + positive(rng, *shape))


CASES = [
    Case("input none", lambda r: L.Input((5,)), (VECTORS,), unchanged),
    Case(
        "input zerocenter per channel",
        lambda r: L.Input((5,), normalization="zerocenter", mean=normal(r, 5)),
        (VECTORS,),
        lambda layer, x: x - layer.mean,
    ),
    Case(
        "input zerocenter per element",
        lambda r: L.Input(
            (6, 8, 4), normalization="zerocenter", mean=normal(r, 6, 8, 4)
        ),
        (IMAGES,),
        lambda layer, x: x - layer.mean,
    ),
    Case(
        "input zscore per channel",
        lambda r: L.Input(
            (5,), normalization="zscore", mean=normal(r, 5), std=positive(r, 5)
        ),
        (VECTORS,),
        zscore,
    ),
    Case(
        "input zscore of all",
        lambda r: L.Input(
            (5,), time=False, normalization="zscore", mean=normal(r), std=positive(r)
        ),
        (VECTOR,),
        zscore,
    ),
    Case(
        "input rescale-symmetric",
        lambda r: L.Input((5,), normalization="rescale-symmetric", **span(r, 5)),
        (VECTORS,),
        lambda layer, x: 2 * (x - layer.minimum) / (layer.maximum - layer.minimum) - 1,
    ),
    Case(
        "input rescale-zero-one per channel of images",
        lambda r: L.Input(
            (6, 8, 4), normalization="rescale-zero-one", **span(r, 1, 1, 4)
        ),
        (IMAGES,),
        rescale(0.0, 1.0),
    ),
    Case(
        "input rescaled to another range",
        lambda r: L.Input(
            (5,), normalization="rescale-zero-one", target=(-3.0, 0.5), **span(r, 5)
        ),
        (VECTORS,),
        rescale(-3.0, 0.5),
    ),
]
