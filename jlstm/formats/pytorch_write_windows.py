"""Layers along time and along space in PyTorch.

Torch has the channels before what a window slides along. Of images all axes but the
batch are reversed, `(batch, height, width, channels)` to `(batch, channels, width,
height)`: so filters are those of jlstm with their axes reversed, as they are for lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import (
    Convolution1D,
    Convolution2D,
    Crop1D,
    FlattenTime,
    Flip,
    GlobalPooling1D,
    GlobalPooling2D,
    Indexing1D,
    Padding1D,
    Pooling1D,
    Pooling2D,
    Repeat,
    Slice,
    UnflattenTime,
)
from ..layers.windows import Window
from .pytorch_written import Place, Rows, Written, writer

PAD_MODES = {"replicate": "replicate", "symmetric-exclude-edge": "reflect"}
SIGNAL = "{signal}"
"""What stands for the signal, channels first, in a call."""


# --- windows --------------------------------------------------------------------------


def _windows(layer: Any) -> tuple[Window, ...]:
    return layer.windows if hasattr(layer, "windows") else (layer.window,)


def _runs_along_time(layer: Any) -> bool:
    return getattr(layer, "axis", "space") == "time"


def _applied(layer: Any, inner: str, **parts: Any) -> Written:
    """A call on a signal, channels first, along time or along space."""
    uses = ("padded_same",) if "padded_same(" in inner else ()
    if _runs_along_time(layer):
        call = inner.replace(SIGNAL, "{x}.transpose(1, 2)")
        return Written(f"{call}.transpose(1, 2)", uses=uses, **parts)
    call, axes = inner.replace(SIGNAL, "v"), len(_windows(layer))
    call = f"over_space(lambda v: {call}, {{x}}, {axes})"
    return Written(call, uses=("over_space", *uses), **parts)


def _around(layer: Any, value: Any, place: Place) -> str:
    """The signal with what the windows of a layer need around it."""
    windows, lengths = _windows(layer), place.inputs[0].space
    if _runs_along_time(layer):
        (window,) = windows
        if window.padding == "same" and window.stride != 1:
            sizes = f"{int(window.extent)}, {int(window.stride)}"
            return f"padded_same({SIGNAL}, {sizes}, {_how(value, place)})"
        lengths = (10**6,)  # any length
    pairs = (w.widths(n) for w, n in zip(windows, lengths, strict=True))
    return _padded([side for pair in pairs for side in pair], value, place)


def _padded(sides: list[int], value: Any, place: Place) -> str:
    """The signal with something around it.

    Arguments:
        sides: before and after, along every axis: torch begins with the last one, and
            the axes are reversed.
        value: a number, or a rule.
        place: where the layer stands.
    """
    if not any(sides):
        return SIGNAL
    return f"F.pad({SIGNAL}, {tuple(map(int, sides))}, {_how(value, place)})"


def _how(value: Any, place: Place) -> str:
    """What torch is told about padding."""
    if not isinstance(value, str):
        return f"value=float('{float(value)!r}')"
    if value not in PAD_MODES:
        place.refuse(value, "torch has no such padding")
    return f"mode={PAD_MODES[value]!r}"


def _numbers(windows: tuple[Window, ...], field: str) -> str:
    """A setting of all windows, one number where there is one."""
    numbers = tuple(int(getattr(window, field)) for window in reversed(windows))
    return str(numbers[0] if len(numbers) == 1 else numbers)


@writer(Convolution1D, Convolution2D)
def convolution(layer: Any, place: Place) -> Written:
    """nn.Conv1d or nn.Conv2d."""
    windows = _windows(layer)
    *_, channels, outputs = layer.weights.shape
    words = [str(channels * layer.groups), str(outputs), _numbers(windows, "size")]
    for word in ("stride", "dilation"):
        if any(getattr(window, word) != 1 for window in windows):
            words.append(f"{word}={_numbers(windows, word)}")
    if layer.groups != 1:
        words.append(f"groups={int(layer.groups)}")
    signal = _around(layer, layer.padding_value, place)
    return _applied(
        layer,
        f"{{self}}({signal})",
        make=f"nn.Conv{len(windows)}d({', '.join(words)})",
        tensors={
            "weight": np.ascontiguousarray(np.asarray(layer.weights).T),
            "bias": np.asarray(layer.bias),
        },
        arrays={
            ".weights": Rows("weight", 0, outputs, reversed=True),
            ".bias": Rows("bias", 0, outputs),
        },
    )


@writer(Pooling1D, Pooling2D)
def pooling(layer: Any, place: Place) -> Written:
    """The maximum or the average of windows."""
    windows = _windows(layer)
    value = -np.inf if layer.kind == "max" else layer.padding_value
    if isinstance(value, str) and any(window.padding != (0, 0) for window in windows):
        place.refuse(repr(layer), "its averages leave the padding out")
    name = f"{'max' if layer.kind == 'max' else 'avg'}_pool{len(windows)}d"
    sizes = f"{_numbers(windows, 'size')}, {_numbers(windows, 'stride')}"
    return _applied(layer, f"F.{name}({_around(layer, value, place)}, {sizes})")


@writer(Padding1D)
def padding(layer: Padding1D, place: Place) -> Written:
    """A longer signal."""
    signal = _padded([layer.before, layer.after], layer.value, place)
    if signal == SIGNAL:
        return Written("{x}")
    call = f"over_space(lambda v: {signal.replace(SIGNAL, 'v')}, {{x}}, 1)"
    return Written(call, uses=("over_space",))


@writer(GlobalPooling1D)
def global_pooling(layer: GlobalPooling1D, place: Place) -> Written:
    """The maximum or average over time, or over space, which then has length one."""
    reduce = "amax" if layer.kind == "max" else "mean"
    axes = "1" if layer.axis == "time" else "-2, keepdim=True"
    return Written(f"{{x}}.{reduce}({axes})")


@writer(GlobalPooling2D)
def global_pooling_of_images(layer: GlobalPooling2D, place: Place) -> Written:
    """The maximum or average over height and width, which then have length one."""
    reduce = "amax" if layer.kind == "max" else "mean"
    return Written(f"{{x}}.{reduce}((-3, -2), keepdim=True)")


# --- steps and places -----------------------------------------------------------------


@writer(Indexing1D)
def indexing(layer: Indexing1D, place: Place) -> Written:
    """One step, or one place."""
    position = 0 if layer.position == "first" else -1
    return Written(f"{{x}}[{':' if layer.axis == 'time' else '...'}, {position}"
                   f"{'' if layer.axis == 'time' else ', :'}]")  # fmt: skip


@writer(Crop1D)
def crop(layer: Crop1D, place: Place) -> Written:
    """Some of the places in space."""
    part = f"{int(layer.start)}:{int(layer.stop)}:{int(layer.step)}"
    return Written(f"{{x}}[..., {part}, :]")


@writer(Flip)
def flip(layer: Flip, place: Place) -> Written:
    """The time reversed."""
    return Written("{x}.flip(1)")


@writer(Repeat)
def repeat(layer: Repeat, place: Place) -> Written:
    """A vector at every step."""
    axes = ", ".join(["-1"] * (1 + len(place.inputs[0].space)))
    return Written(f"{{x}}[:, None].expand(-1, {int(layer.steps)}, {axes})")


@writer(FlattenTime)
def flatten_time(layer: FlattenTime, place: Place) -> Written:
    """All steps one behind the other."""
    features = layer.steps * place.inputs[0].channels
    return Written(f"{{x}}.reshape(len({{x}}), {features})")


@writer(UnflattenTime)
def unflatten_time(layer: UnflattenTime, place: Place) -> Written:
    """A vector cut into steps."""
    return Written(f"{{x}}.reshape(len({{x}}), {int(layer.steps)}, -1)")


@writer(Slice)
def cut(layer: Slice, place: Place) -> Written:
    """A part of the steps or of the features."""
    if layer.step is not None and layer.step < 0:
        place.refuse(layer.describe(), "torch does not count backwards")
    ends = (layer.start, layer.stop, layer.step)
    numbers = ":".join("" if end is None else str(int(end)) for end in ends)
    axes = ":, " if layer.axis == "time" else "..., "
    return Written(f"{{x}}[{axes}{numbers}]")
