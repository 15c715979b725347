"""Convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch.nn.functional as F

from jlstm import layers as L
from jlstm.pytree import Shape

from .case import (
    IMAGE,
    IMAGES,
    LINES,
    SIX,
    VECTORS,
    Case,
    Oracle,
    Rng,
    channels_first,
    channels_last,
    normal,
    padded,
    tensor,
)


def convolution(
    *pads: tuple[int, int],
    stride: Any = 1,
    dilation: Any = 1,
    groups: int = 1,
    mode: str = "constant",
    value: float = 0.0,
) -> Oracle:
    """torch's convolution, after padding by explicit numbers."""

    def oracle(layer: Any, x: np.ndarray) -> np.ndarray:
        signal = len(pads)
        weights = tensor(np.moveaxis(layer.weights, (-1, -2), (0, 1)))
        function: Any = F.conv1d if signal == 1 else F.conv2d
        y = function(
            channels_first(padded(x, pads, mode, value), signal),
            weights,
            tensor(layer.bias),
            stride=stride,
            dilation=dilation,
            groups=groups,
        )
        return channels_last(y, x.shape[: x.ndim - 1 - signal])

    return oracle


def conv1(*shape: int, **settings: Any) -> Callable[[Rng], L.Layer]:
    return lambda r: L.Convolution1D(
        normal(r, *shape), normal(r, shape[-1]), **settings
    )


def conv2(*shape: int, **settings: Any) -> Callable[[Rng], L.Layer]:
    return lambda r: L.Convolution2D(
        normal(r, *shape), normal(r, shape[-1]), **settings
    )


CASES = [
    Case("conv1d", conv1(3, 5, 2), (VECTORS,), convolution((0, 0)), whole=True),
    Case(
        "conv1d, all taps and channels alike in number",
        conv1(5, 5, 5, padding=(2, 2)),
        (VECTORS,),
        convolution((2, 2)), whole=True),
    Case(
        "conv1d stride dilation padding",
        conv1(3, 5, 2, stride=2, dilation=3, padding=(4, 1), padding_value=0.7),
        (VECTORS,),
        convolution((4, 1), stride=2, dilation=3, value=0.7), whole=True),
    Case(
        "conv1d causal",
        conv1(4, 5, 2, dilation=2, padding="causal"),
        (VECTORS,),
        convolution((6, 0), dilation=2), whole=True),
    # 7 steps, stride 3: three windows; (3 - 1) 3 + 4 - 7 = 3 values, the odd one last.
    Case(
        "conv1d same, stride",
        conv1(4, 5, 2, stride=3, padding="same"),
        (VECTORS,),
        convolution((1, 2), stride=3), whole=True),
    # 7 steps, stride 1, a window of (4 - 1) 3 + 1 = 10: nine values.
    Case(
        "conv1d same, dilation",
        conv1(4, 5, 2, dilation=3, padding="same"),
        (VECTORS,),
        convolution((4, 5), dilation=3), whole=True),
    Case(
        "conv1d groups",
        conv1(3, 2, 9, groups=3),
        (SIX,),
        convolution((0, 0), groups=3), whole=True),
    Case(
        "conv1d replicate",
        conv1(3, 5, 2, padding=(3, 2), padding_value="replicate"),
        (VECTORS,),
        convolution((3, 2), mode="edge"), whole=True),
    Case(
        "conv1d symmetric-include-edge",
        conv1(3, 5, 2, padding=(3, 2), padding_value="symmetric-include-edge"),
        (VECTORS,),
        convolution((3, 2), mode="symmetric"), whole=True),
    Case(
        "conv1d symmetric-exclude-edge",
        conv1(3, 5, 2, padding=(3, 2), padding_value="symmetric-exclude-edge"),
        (VECTORS,),
        convolution((3, 2), mode="reflect"), whole=True),
    Case(
        "conv1d over space",
        conv1(3, 4, 2, stride=2, padding=(1, 2), axis="space"),
        (LINES,),
        convolution((1, 2), stride=2),
    ),
    Case(
        "conv1d over space, no time",
        conv1(3, 4, 2, padding="same", axis="space"),
        (Shape(False, (9,), 4),),
        convolution((1, 1)),
    ),
    Case(
        "conv2d",
        conv2(2, 3, 4, 5),
        (IMAGES,),
        convolution((0, 0), (0, 0)),
    ),
    Case(
        "conv2d stride dilation padding",
        conv2(
            2, 3, 4, 5, stride=(2, 1), dilation=(3, 2),
            padding=((1, 2), (0, 3)), padding_value=-0.6,
        ),
        (IMAGES,),
        convolution((1, 2), (0, 3), stride=(2, 1), dilation=(3, 2), value=-0.6),
    ),
    # 6 x 8, stride 4 and 3: 2 x 3 windows; 4 + 3 - 6 = 1 and 6 + 4 - 8 = 2 values.
    Case(
        "conv2d same, no time",
        conv2(3, 4, 4, 5, stride=(4, 3), padding="same"),
        (IMAGE,),
        convolution((0, 1), (1, 1), stride=(4, 3)),
    ),
    Case(
        "conv2d groups",
        conv2(2, 3, 2, 6, groups=2),
        (IMAGES,),
        convolution((0, 0), (0, 0), groups=2),
    ),
    Case(
        "conv2d replicate",
        conv2(2, 3, 4, 5, padding=((1, 0), (2, 1)), padding_value="replicate"),
        (IMAGES,),
        convolution((1, 0), (2, 1), mode="edge"),
    ),
]  # fmt: skip
