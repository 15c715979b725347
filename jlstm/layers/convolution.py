"""Convolutions along time or over space.

    y[t, o] = bias[o] + sum over k, c of weights[k, c, o] x[t stride + k dilation, c]

after padding: a cross-correlation, the filter is not flipped. With `groups > 1` the
channels that come in and those that go out are cut into as many consecutive blocks,
and each block sees only its own.

Sources: MathWorks reference pages nnet.cnn.layer.convolution1dlayer,
.convolution2dlayer, .groupedconvolution2dlayer.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax

from ..pytree import Array, Shape, pytree, static
from .base import Layer, only, require, require_choice
from .windows import PAD_MODES, AlongOneAxis, Window, describe, pad

LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}


def convolve(
    x: Array,
    weights: Array,
    windows: tuple[Window, ...],
    padding_value: float | str,
    groups: int,
) -> Array:
    """Convolve `x (..., *signal, C)` with `weights (*sizes, C / groups, O)`.

    One window for each axis of the signal; what leads is a batch.
    """
    axes = len(windows)
    lead, signal = x.shape[: -1 - axes], x.shape[-1 - axes : -1]
    for window, length in zip(windows, signal, strict=True):
        window.count(length)
    widths = [w.widths(length) for w, length in zip(windows, signal, strict=True)]
    x = pad(x, widths, padding_value)
    y = lax.conv_general_dilated(
        jnp.asarray(x).reshape(math.prod(lead), *x.shape[-1 - axes :]),
        jnp.asarray(weights),
        window_strides=[window.stride for window in windows],
        padding="VALID",
        rhs_dilation=[window.dilation for window in windows],
        dimension_numbers=LAYOUTS[axes],
        feature_group_count=groups,
        # Accelerators otherwise round float32 to TF32 or bfloat16.
        precision=lax.Precision.HIGHEST,
    )
    return y.reshape(*lead, *y.shape[1:])


def _check(
    x: Shape, weights: Array, bias: Array, groups: int, padding_value: float | str
) -> None:
    """Raise InputError unless the channels fit together."""
    *_, channels, outputs = weights.shape
    if isinstance(padding_value, str):
        require_choice("padding value", padding_value, tuple(PAD_MODES))
    require(
        groups > 0 and outputs % groups == 0,
        "the filters cannot be divided into equal groups",
        found=f"{outputs} filters",
        expected=f"a multiple of {groups}",
    )
    require(
        x.channels == channels * groups,
        "the number of channels differs from the weights",
        found=f"{x.channels} channels",
        expected=channels * groups,
    )
    require(
        bias.shape == (outputs,),
        "the bias does not fit the weights",
        found=f"bias {bias.shape}",
        expected=f"{(outputs,)}",
    )


@pytree
class Convolution1D(AlongOneAxis):
    """Convolution along time, or along the one space axis of every time step.

    Shapes: `weights (K, C / groups, O)`, `bias (O,)`. `padding` is `(before, after)`,
    "same" or "causal"; `padding_value` a number, or "symmetric-include-edge",
    "symmetric-exclude-edge" or "replicate".
    """

    weights: Array
    bias: Array
    stride: int = static(default=1)
    dilation: int = static(default=1)
    padding: tuple[int, int] | str = static(default=(0, 0))
    padding_value: float | str = static(default=0.0)
    groups: int = static(default=1)
    axis: str = static(default="time")

    @property
    def window(self) -> Window:
        """The window that slides along the axis."""
        return Window(self.weights.shape[0], self.stride, self.dilation, self.padding)

    def __call__(self, *inputs: Array) -> Array:
        """`(time, C)` to `(fewer steps, O)`; or `(time?, space, C)` along space.

        Raises:
            InputError: the signal is shorter than the filter.
        """
        (x,) = inputs
        windows = (self.window,)
        y = convolve(x, self.weights, windows, self.padding_value, self.groups)
        return y + self.bias

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError where axes or channels do not fit."""
        x = self.along(only(inputs))
        require(
            self.weights.ndim == 3,
            "the weights of a 1-D convolution have three axes",
            found=self.weights.shape,
            expected="(K, C / groups, O)",
        )
        self.window.check(("same", "causal"))
        _check(x, self.weights, self.bias, self.groups, self.padding_value)
        space = tuple(self.window.count(length) for length in x.space)
        return Shape(x.time, space, self.weights.shape[-1])

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"over {self.axis}, {_describe(self, (self.window,))}"


@pytree
class Convolution2D(Layer):
    """Convolution over the two space axes, height and width, of every time step.

    Shapes: `weights (K_height, K_width, C / groups, O)`, `bias (O,)`. Stride and
    dilation are `(height, width)`; `padding` is `((top, bottom), (left, right))` or
    "same"; `padding_value` as in `Convolution1D`.
    """

    weights: Array
    bias: Array
    stride: tuple[int, int] = static(default=(1, 1))
    dilation: tuple[int, int] = static(default=(1, 1))
    padding: tuple[tuple[int, int], tuple[int, int]] | str = static(
        default=((0, 0), (0, 0))
    )
    padding_value: float | str = static(default=0.0)
    groups: int = static(default=1)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows along height and width."""
        padding = self.padding
        both = (padding, padding) if isinstance(padding, str) else padding
        sizes = self.weights.shape[:2]
        settings = zip(sizes, self.stride, self.dilation, both, strict=True)
        return tuple(Window(*setting) for setting in settings)

    def __call__(self, *inputs: Array) -> Array:
        """`(time?, height, width, C)` to `(time?, height', width', O)`."""
        (x,) = inputs
        y = convolve(x, self.weights, self.windows, self.padding_value, self.groups)
        return y + self.bias

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError where axes or channels do not fit."""
        x = only(inputs)
        require(
            self.weights.ndim == 4,
            "the weights of a 2-D convolution have four axes",
            found=self.weights.shape,
            expected="(K_height, K_width, C / groups, O)",
        )
        require(
            len(x.space) == 2,
            "this layer takes images",
            found=x,
            expected="(time?, height, width, channels)",
        )
        for window in self.windows:
            window.check()
        _check(x, self.weights, self.bias, self.groups, self.padding_value)
        windows = zip(self.windows, x.space, strict=True)
        space = tuple(window.count(length) for window, length in windows)
        return Shape(x.time, space, self.weights.shape[-1])

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return _describe(self, self.windows)


def _describe(layer: Convolution1D | Convolution2D, windows: tuple[Window, ...]) -> str:
    groups = f", {layer.groups} groups" if layer.groups != 1 else ""
    return describe(windows, layer.padding_value) + groups
