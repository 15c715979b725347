"""Convolutions along time, or along the one space axis of every time step."""

from __future__ import annotations

import numpy as np

from ... import layers as L
from ...layers.windows import Window
from .dense import activated
from .registry import bias, reader, weighted
from .wiring import Call, Tensor

PADDINGS = {"valid": (0, 0), "same": "same", "causal": "causal"}


def windowed(call: Call, x: Tensor, ref: str, window: Window) -> Tensor:
    """What comes out of windows that slide along time or space."""
    steps = x.steps
    if call.axis == "time" and steps is not None:
        steps = window.count(steps)
    return call.tensor(ref, x, steps=steps)


def padding(call: Call, choices: tuple[str, ...]) -> tuple[int, int] | str:
    """The padding of a window."""
    return PADDINGS[call.settings.choice("padding", choices, "valid")]


def _convolve(
    call: Call, x: Tensor, weights: np.ndarray, offset: np.ndarray, part: str = "",
    groups: int = 1, window: Window | None = None,
) -> Tensor:  # fmt: skip
    window = window or Window(1)
    layer = L.Convolution1D(
        weights,
        offset,
        stride=window.stride,
        dilation=window.dilation,
        padding=window.padding,
        groups=groups,
        axis=call.axis,
    )
    return windowed(call, x, call.add(layer, x.ref, part=part), window)


def _window(call: Call, size: int, paddings: tuple[str, ...]) -> Window:
    s = call.settings
    s.only(data_format="channels_last")
    if call.backend == "theano":
        s.refuse("kernel", "weights of the Theano backend, which flips filters", None)
    return Window(
        size,
        s.integer("strides", default=1),
        s.integer("dilation_rate", default=1),
        padding(call, paddings),
    )


@reader("Conv1D", "Convolution1D",
        variables=weighted("kernel"), mask="stop", per_step=True)  # fmt: skip
def _conv1d(call: Call) -> Tensor:
    s = call.settings
    size, filters = s.integer("kernel_size"), s.integer("filters")
    groups = s.integer("groups", default=1)
    s.flag("use_bias", default=True)
    channels, rest = divmod(call.x.shape.channels, groups)
    if rest:
        s.refuse("groups", groups, f"a divisor of {call.x.shape.channels}")
    weights = call.weight("kernel", (size, channels, filters))
    window = _window(call, size, ("valid", "same", "causal"))
    y = _convolve(
        call, call.x, weights, bias(call, filters), groups=groups, window=window
    )
    return activated(call, y)


@reader("DepthwiseConv1D",
        variables=weighted("kernel"), mask="stop", per_step=True)  # fmt: skip
def _depthwise(call: Call) -> Tensor:
    y = _by_channel(call, "kernel", "", biased=True)
    return activated(call, y)


@reader("SeparableConv1D", "SeparableConvolution1D",
        variables=weighted("depthwise_kernel", "pointwise_kernel"),
        mask="stop", per_step=True)  # fmt: skip
def _separable(call: Call) -> Tensor:
    y = _by_channel(call, "depthwise_kernel", "depthwise", biased=False)
    filters = call.settings.integer("filters")
    weights = call.weight("pointwise_kernel", (1, y.shape.channels, filters))
    return activated(call, _convolve(call, y, weights, bias(call, filters)))


def _by_channel(call: Call, key: str, part: str, *, biased: bool) -> Tensor:
    """Filters that see one channel each, `depth_multiplier` of them a channel."""
    s = call.settings
    channels = call.x.shape.channels
    size = s.integer("kernel_size")
    count = s.integer("depth_multiplier", default=1)
    s.only(groups=1)  # Written by Keras 2, which has it from Conv1D.
    s.flag("use_bias", default=True)
    kernel = call.weight(key, (size, channels, count))
    weights = kernel.reshape(size, 1, channels * count)
    width = channels * count
    offset = bias(call, width) if biased else np.zeros(width, call.dtype)
    window = _window(call, size, ("valid", "same", "causal"))
    return _convolve(call, call.x, weights, offset, part, channels, window)


@reader("Conv2D", "Convolution2D", variables=weighted("kernel"), mask="stop",
        per_step=True, takes="padded")  # fmt: skip
def _conv2d(call: Call) -> Tensor:
    s = call.settings
    call.in_space(call.x)
    if call.backend == "theano":
        s.refuse("kernel", "weights of the Theano backend, which flips filters", None)
    s.only(data_format="channels_last")
    filters, groups = s.integer("filters"), s.integer("groups", default=1)
    s.flag("use_bias", default=True)
    size = pair(call, "kernel_size")
    channels = call.x.shape.channels // max(groups, 1)
    layer = L.Convolution2D(
        call.weight("kernel", (*size, channels, filters)),
        bias(call, filters),
        stride=pair(call, "strides", (1, 1)),
        dilation=pair(call, "dilation_rate", (1, 1)),
        padding=padding2(call),
        groups=groups,
    )
    return activated(call, call.then(layer, pending=None))


def padding2(call: Call) -> str | tuple[tuple[int, int], tuple[int, int]]:
    """The padding of a window over height and width, with zeros brought along."""
    pending = call.x.pending
    choices = ("valid", "same") if pending is None else ("valid",)
    rule = call.settings.choice("padding", choices, "valid")
    if pending is not None:
        return pending.widths
    return "same" if rule == "same" else ((0, 0), (0, 0))


def pair(call: Call, name: str, default: tuple[int, int] | None = None) -> tuple:
    """Two whole numbers, for height and width."""
    value = call.settings.take(
        name, **({} if default is None else {"default": default})
    )
    value = (value, value) if isinstance(value, int) else tuple(value)
    if len(value) != 2 or not all(isinstance(v, int) for v in value):
        call.settings.refuse(name, value, "two whole numbers")
    return value
