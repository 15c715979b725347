"""Pooling along time or over space: the maximum or the average of each window.

Sources: MathWorks reference pages nnet.cnn.layer.maxpooling1dlayer,
.averagepooling1dlayer, .maxpooling2dlayer, .averagepooling2dlayer,
.globalmaxpooling1dlayer, .globalaveragepooling1dlayer, .globalaveragepooling2dlayer.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..pytree import Array, Shape, pytree, static
from .base import Layer, only, require, require_choice
from .windows import AlongOneAxis, Window, describe, pad

KINDS = ("max", "average")


def pool(
    x: Array, kind: str, windows: tuple[Window, ...], padding_value: float | str
) -> Array:
    """Pool `x (..., *signal, C)`, one window for each axis of the signal."""
    x = jnp.asarray(x)
    axes = len(windows)
    signal = x.shape[-1 - axes : -1]
    counts = [w.count(length) for w, length in zip(windows, signal, strict=True)]
    widths = [w.widths(length) for w, length in zip(windows, signal, strict=True)]
    lead = (1,) * (x.ndim - 1 - axes)
    sizes = (*lead, *(window.size for window in windows), 1)
    strides = (*lead, *(window.stride for window in windows), 1)
    if kind == "max":
        x = pad(x, widths, -math.inf)
        lowest = np.array(-np.inf, x.dtype)
        return lax.reduce_window(x, lowest, lax.max, sizes, strides, "VALID")
    excluded = padding_value == "mean"
    x = pad(x, widths, 0.0 if excluded else padding_value)
    zero = np.zeros((), x.dtype)
    total = lax.reduce_window(x, zero, lax.add, sizes, strides, "VALID")
    if not excluded:
        return total / math.prod(sizes)
    return total / _values_inside(windows, signal, counts).astype(x.dtype)


def _values_inside(
    windows: tuple[Window, ...], signal: tuple[int, ...], counts: list[int]
) -> np.ndarray:
    """How many values each window holds that are not padding, `(*counts, 1)`."""
    inside = np.ones(())
    for window, length, count in zip(windows, signal, counts, strict=True):
        first = np.arange(count) * window.stride - window.widths(length)[0]
        last = first + window.size
        inside = inside[..., None] * (np.minimum(last, length) - np.maximum(first, 0))
    return inside[..., None]


def _check(kind: str, padding_value: float | str, windows: tuple[Window, ...]) -> None:
    require_choice("kind of pooling", kind, KINDS)
    if isinstance(padding_value, str):
        require_choice("padding value", padding_value, ("mean",))
    for window in windows:
        window.check()
        if not isinstance(window.padding, str):
            # A window of nothing but padding has neither a maximum nor an average.
            require(
                max(window.padding) < window.size,
                "the padding is not smaller than the window",
                found=window.padding,
                expected=f"less than {window.size}",
            )


@pytree
class Pooling1D(AlongOneAxis):
    """Pooling along time, or along the one space axis of every time step.

    `kind` is "max" or "average". Padding never wins a maximum. An average counts the
    padding, of value `padding_value`, as part of the window; with "mean" it is the
    average of what the window holds of the signal.
    """

    kind: str = static()
    size: int = static()
    stride: int = static(default=1)
    padding: tuple[int, int] | str = static(default=(0, 0))
    padding_value: float | str = static(default=0.0)
    axis: str = static(default="time")

    @property
    def window(self) -> Window:
        """The window that slides along the axis."""
        return Window(self.size, self.stride, 1, self.padding)

    def __call__(self, *inputs: Array) -> Array:
        """`(time, C)` to `(fewer steps, C)`; or `(time?, space, C)` along space.

        Raises:
            InputError: the signal is shorter than the window.
        """
        (x,) = inputs
        return pool(x, self.kind, (self.window,), self.padding_value)

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError where the axis is missing."""
        x = self.along(only(inputs))
        _check(self.kind, self.padding_value, (self.window,))
        return x._replace(space=tuple(self.window.count(n) for n in x.space))

    def describe(self) -> str:
        """One phrase for the table of layers."""
        value = 0.0 if self.kind == "max" else self.padding_value
        return f"{self.kind} over {self.axis}, {describe((self.window,), value)}"


@pytree
class Pooling2D(Layer):
    """Pooling over the two space axes, height and width, of every time step.

    Size and stride are `(height, width)`; `padding` is `((top, bottom), (left, right))`
    or "same"; the rest as in `Pooling1D`.
    """

    kind: str = static()
    size: tuple[int, int] = static()
    stride: tuple[int, int] = static(default=(1, 1))
    padding: tuple[tuple[int, int], tuple[int, int]] | str = static(
        default=((0, 0), (0, 0))
    )
    padding_value: float | str = static(default=0.0)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows along height and width."""
        padding = self.padding
        both = (padding, padding) if isinstance(padding, str) else padding
        settings = zip(self.size, self.stride, (1, 1), both, strict=True)
        return tuple(Window(*setting) for setting in settings)

    def __call__(self, *inputs: Array) -> Array:
        """`(time?, height, width, C)` to `(time?, height', width', C)`."""
        (x,) = inputs
        return pool(x, self.kind, self.windows, self.padding_value)

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError unless images come in."""
        x = _images(only(inputs))
        _check(self.kind, self.padding_value, self.windows)
        windows = zip(self.windows, x.space, strict=True)
        return x._replace(space=tuple(window.count(n) for window, n in windows))

    def describe(self) -> str:
        """One phrase for the table of layers."""
        value = 0.0 if self.kind == "max" else self.padding_value
        return f"{self.kind}, {describe(self.windows, value)}"


@pytree
class GlobalPooling1D(AlongOneAxis):
    """The maximum or average over all of time, or of the one space axis.

    Time disappears; a space axis stays, of length one, as in MATLAB.
    """

    kind: str = static()
    axis: str = static(default="time")

    def __call__(self, *inputs: Array) -> Array:
        """`(time, C)` to `(C,)`, or `(time?, space, C)` to `(time?, 1, C)`."""
        (x,) = inputs
        return _reduce(x, self.kind, (-2,), keep=self.axis == "space")

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError where the axis is missing."""
        require_choice("kind of pooling", self.kind, KINDS)
        x = self.along(only(inputs))
        if self.axis == "time":
            return x._replace(time=False)
        return x._replace(space=(1,))

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"{self.kind} over {self.axis}"


@pytree
class GlobalPooling2D(Layer):
    """The maximum or average over height and width of every time step.

    Both axes stay, of length one, as in MATLAB.
    """

    kind: str = static()

    def __call__(self, *inputs: Array) -> Array:
        """`(time?, height, width, C)` to `(time?, 1, 1, C)`."""
        (x,) = inputs
        return _reduce(x, self.kind, (-3, -2), keep=True)

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError unless images come in."""
        require_choice("kind of pooling", self.kind, KINDS)
        return _images(only(inputs))._replace(space=(1, 1))

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return self.kind


def _reduce(x: Array, kind: str, axes: tuple[int, ...], *, keep: bool) -> Array:
    reduce = jnp.max if kind == "max" else jnp.mean
    return reduce(x, axis=axes, keepdims=keep)


def _images(x: Shape) -> Shape:
    require(
        len(x.space) == 2,
        "this layer takes images",
        found=x,
        expected="(time?, height, width, channels)",
    )
    return x
