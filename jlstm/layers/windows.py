"""Windows that slide along axes: how many fit, and how signals are padded for them.

Sources: MathWorks reference pages nnet.cnn.layer.convolution1dlayer,
.averagepooling1dlayer, .averagepooling2dlayer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from ..pytree import Array, Shape
from .base import Layer, require, require_choice

AXES = ("time", "space")

PAD_MODES = {
    "symmetric-include-edge": "symmetric",
    "symmetric-exclude-edge": "reflect",
    "replicate": "edge",
}
"""MATLAB's paddings by the signal itself, and the names NumPy has for them."""


class Window(NamedTuple):
    """A window of `size` taps, `dilation` apart, moved by `stride` along one axis.

    `padding` is `(before, after)` or a rule:

        same      ceil(length / stride) windows; of an odd number of padded values the
                  odd one comes after the signal
        causal    everything before the signal: no window looks ahead
    """

    size: int
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] | str = (0, 0)

    @property
    def extent(self) -> int:
        """Distance from the first to the last tap, both included."""
        return (self.size - 1) * self.dilation + 1

    def widths(self, length: int) -> tuple[int, int]:
        """How many values are added before and after a signal of this length."""
        if self.padding == "same":
            last = (-(-length // self.stride) - 1) * self.stride
            total = max(last + self.extent - length, 0)
            return total // 2, total - total // 2
        if self.padding == "causal":
            return self.extent - 1, 0
        before, after = self.padding
        return int(before), int(after)

    def count(self, length: int) -> int:
        """How many windows fit; raises InputError where none does."""
        before, after = self.widths(length)
        padded = before + length + after
        require(
            padded >= self.extent,
            "the signal is shorter than the window",
            found=f"{length} values, {padded} with padding",
            expected=f"at least {self.extent}",
        )
        return (padded - self.extent) // self.stride + 1

    def check(self, rules: tuple[str, ...] = ("same",)) -> None:
        """Raise unless the settings mean something."""
        if isinstance(self.padding, str):
            require_choice("padding", self.padding, rules)
        else:
            require(
                len(self.padding) == 2 and min(self.padding) >= 0,
                "padding is two numbers",
                found=self.padding,
                expected="(before, after), not negative",
            )
        require(
            min(self.size, self.stride, self.dilation) > 0,
            "size, stride and dilation of a window are positive",
            found=(self.size, self.stride, self.dilation),
            expected="positive numbers",
        )


def describe(windows: Sequence[Window], padding_value: float | str = 0.0) -> str:
    """The settings of the windows along all axes: `3 x 4, stride 2 x 1, same`."""

    def times(values: Iterable[object]) -> str:
        return " x ".join(map(str, values))

    parts = [times(window.size for window in windows)]
    if any(window.stride != 1 for window in windows):
        parts.append(f"stride {times(window.stride for window in windows)}")
    if any(window.dilation != 1 for window in windows):
        parts.append(f"dilation {times(window.dilation for window in windows)}")
    paddings = [window.padding for window in windows]
    if any(padding != (0, 0) for padding in paddings):
        if isinstance(paddings[0], str):
            parts.append(paddings[0])
        else:
            parts.append(f"padding {times(f'{p[0]}+{p[1]}' for p in paddings)}")
        if padding_value != 0:
            parts.append(f"of {padding_value}")
    return ", ".join(parts)


def pad(x: Array, widths: Sequence[tuple[int, int]], value: float | str = 0.0) -> Array:
    """Pad the axes before the last one by `widths`, with a number or the signal itself.

    `x` is `(..., *windowed axes, channels)`, one pair of widths a windowed axis.
    """
    untouched = [(0, 0)] * (x.ndim - 1 - len(widths))
    everywhere = [*untouched, *widths, (0, 0)]
    if isinstance(value, str):
        return jnp.pad(x, everywhere, mode=PAD_MODES[value])
    return jnp.pad(x, everywhere, constant_values=float(value))


class AlongOneAxis(Layer):
    """Base of the layers that work along one axis, `axis`: "time" or "space".

    MATLAB decides by what comes in: sequences of vectors run along time, 1-D images
    and sequences of 1-D images along their space axis, each time step by itself.
    """

    axis: str

    @property
    def needs_whole_sequence(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True where the axis is time."""
        return self.axis == "time"

    def along(self, x: Shape) -> Shape:
        """Check that `x` has the axis; raises InputError where it has not."""
        require_choice("axis", self.axis, AXES)
        if self.axis == "time":
            require(
                x.time and not x.space,
                "this layer works along time",
                found=x,
                expected="(time, channels)",
            )
        else:
            require(
                len(x.space) == 1,
                "this layer works along the one space axis",
                found=x,
                expected="(time?, space, channels)",
            )
        return x
