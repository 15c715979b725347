"""Pooling, and taking single steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F

from jlstm import layers as L
from jlstm.pytree import Shape

from .case import (
    IMAGE,
    IMAGES,
    LINES,
    VECTORS,
    Case,
    Oracle,
    Pads,
    channels_first,
    channels_last,
    padded,
)


def windowed(
    reduce: Any,
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    pads: Pads,
    value: Any,
) -> Oracle:
    """Reduce every window of the padded signal: the definition, by views in NumPy."""

    def oracle(layer: Any, x: np.ndarray) -> np.ndarray:
        signal = len(sizes)
        lead = x.ndim - 1 - signal
        axes = tuple(range(lead, lead + signal))
        x = padded(x, pads, "constant", value)
        views = np.lib.stride_tricks.sliding_window_view(x, sizes, axis=axes)
        every = (slice(None),) * lead + tuple(slice(None, None, s) for s in strides)
        return reduce(views[every], axis=tuple(range(-signal, 0)))

    return oracle


def by_torch_pool(function: Any, signal: int) -> Oracle:
    return lambda layer, x: channels_last(
        function(channels_first(x, signal)), x.shape[: x.ndim - 1 - signal]
    )


CASES = [
    Case(
        "max pool 1d",
        lambda r: L.Pooling1D("max", 3, 2, (1, 1)),
        (VECTORS,),
        by_torch_pool(lambda x: F.max_pool1d(x, 3, 2, 1), 1),
        whole=True,
    ),
    Case(
        "max pool 1d same",
        lambda r: L.Pooling1D("max", 4, 3, "same"),
        (VECTORS,),
        windowed(np.max, (4,), (3,), ((1, 2),), -np.inf),
        whole=True,
    ),
    Case(
        "average pool 1d counts its padding",
        lambda r: L.Pooling1D("average", 3, 2, (1, 1)),
        (VECTORS,),
        by_torch_pool(lambda x: F.avg_pool1d(x, 3, 2, 1), 1),
        whole=True,
    ),
    Case(
        "average pool 1d, another padding value",
        lambda r: L.Pooling1D("average", 4, 2, (3, 1), 1.5),
        (VECTORS,),
        windowed(np.mean, (4,), (2,), ((3, 1),), 1.5),
        whole=True,
    ),
    Case(
        "average pool 1d without its padding",
        lambda r: L.Pooling1D("average", 4, 3, "same", "mean"),
        (VECTORS,),
        windowed(np.nanmean, (4,), (3,), ((1, 2),), np.nan),
        whole=True,
    ),
    Case(
        "max pool 1d over space",
        lambda r: L.Pooling1D("max", 4, 2, (0, 3), axis="space"),
        (LINES,),
        windowed(np.max, (4,), (2,), ((0, 3),), -np.inf),
    ),
    Case(
        "average pool 1d over space, no time",
        lambda r: L.Pooling1D("average", 2, axis="space"),
        (Shape(False, (9,), 4),),
        by_torch_pool(lambda x: F.avg_pool1d(x, 2, 1), 1),
    ),
    Case(
        "max pool 2d",
        lambda r: L.Pooling2D("max", (2, 3), (2, 1), ((1, 1), (1, 1))),
        (IMAGES,),
        by_torch_pool(lambda x: F.max_pool2d(x, (2, 3), (2, 1), 1), 2),
    ),
    Case(
        "average pool 2d",
        lambda r: L.Pooling2D("average", (2, 3), (2, 1), ((1, 1), (1, 1))),
        (IMAGES,),
        by_torch_pool(lambda x: F.avg_pool2d(x, (2, 3), (2, 1), 1), 2),
    ),
    Case(
        "average pool 2d without its padding",
        lambda r: L.Pooling2D("average", (3, 4), (1, 2), ((2, 0), (1, 3)), "mean"),
        (IMAGES,),
        windowed(np.nanmean, (3, 4), (1, 2), ((2, 0), (1, 3)), np.nan),
    ),
    Case(
        "average pool 2d same, one image",
        lambda r: L.Pooling2D("average", (3, 4), (4, 3), "same", "mean"),
        (IMAGE,),
        windowed(np.nanmean, (3, 4), (4, 3), ((0, 1), (1, 1)), np.nan),
    ),
    Case(
        "global max pool over time",
        lambda r: L.GlobalPooling1D("max"),
        (VECTORS,),
        lambda layer, x: x.max(0),
        whole=True,
    ),
    Case(
        "global average pool over time",
        lambda r: L.GlobalPooling1D("average"),
        (VECTORS,),
        lambda layer, x: x.mean(0),
        whole=True,
    ),
    Case(
        "global average pool over a line",
        lambda r: L.GlobalPooling1D("average", "space"),
        (LINES,),
        by_torch_pool(lambda x: F.adaptive_avg_pool1d(x, 1), 1),
    ),
    Case(
        "global max pool over images",
        lambda r: L.GlobalPooling2D("max"),
        (IMAGES,),
        by_torch_pool(lambda x: F.adaptive_max_pool2d(x, 1), 2),
    ),
    Case(
        "global average pool over one image",
        lambda r: L.GlobalPooling2D("average"),
        (IMAGE,),
        by_torch_pool(lambda x: F.adaptive_avg_pool2d(x, 1), 2),
    ),
    Case(
        "first step",
        lambda r: L.Indexing1D("first"),
        (VECTORS,),
        lambda layer, x: x[0],
        whole=True,
    ),
    Case(
        "last step", lambda r: L.Indexing1D("last"), (VECTORS,), lambda layer, x: x[6]
    ),
    Case(
        "last place of a line",
        lambda r: L.Indexing1D("last", "space"),
        (LINES,),
        lambda layer, x: x[:, 8],
    ),
]
