"""Convolutions, pooling and padding, along time or over space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ... import layers as L
from ...layers.cutting import Padding1D
from ...layers.windows import Window
from ..onnx_values import (
    BATCH,
    TIME,
    UNIT,
    Atom,
    Axis,
    Signal,
    Value,
    essence,
    holds,
    length,
    natural,
)
from .registry import Call, reader
from .views import channel_axis, channels, is_time


class Plan(NamedTuple):
    """The signal axes of a window operator that matter, and how they slide."""

    signal: Signal
    places: tuple[int, ...]
    timed: bool
    windows: tuple[Window, ...]


@reader("Conv")
def _conv(call: Call) -> list[Value]:
    x, w = call.signal(0), call.weights(call.array(1))
    bias = call.optional(2)
    groups = call.attr("group", 1)
    sizes = call.attr("kernel_shape", w.shape[2:])
    if tuple(sizes) != w.shape[2:] or w.ndim != len(x.axes):
        call.refuse("weights that do not fit", found=w, expected=f"kernel {sizes}")
    plan = _plan(call, x, tuple(sizes))
    # (O, C / groups, *sizes) becomes (*sizes, C / groups, O).
    w = np.moveaxis(w, (0, 1), (-1, -2))
    dropped = [k - 2 for k in range(2, len(x.axes)) if k not in plan.places]
    w = np.ascontiguousarray(w.squeeze(tuple(dropped)))
    bias = np.zeros(w.shape[-1], w.dtype) if bias is None else call.weights(bias)
    if len(plan.windows) == 1:
        (window,) = plan.windows
        axis = "time" if plan.timed else "space"
        layer = L.Convolution1D(
            w, bias, window.stride, window.dilation, window.padding,
            groups=groups, axis=axis,
        )  # fmt: skip
    elif not plan.windows:
        layer = L.FullyConnected(np.ascontiguousarray(w.T), bias)
        if groups != 1:
            call.refuse("groups without a window", found=groups)
    else:
        strides, dilations, paddings = zip(
            *((p.stride, p.dilation, p.padding) for p in plan.windows), strict=True
        )
        layer = L.Convolution2D(w, bias, strides, dilations, paddings, groups=groups)
    return [_slid(call, plan.signal, layer, plan, w.shape[-1])]


@reader("MaxPool", "AveragePool")
def _pool(call: Call) -> list[Value]:
    x = call.signal()
    maximum = call.node.op == "MaxPool"
    counted = call.attr("count_include_pad", 0)
    if call.attr("ceil_mode", 0):
        call.refuse("windows that reach beyond the end", found="ceil_mode = 1")
    call.attr("storage_order", 0)
    if call.wants(1):
        call.refuse("the places of the maxima are used", found=call.node.outputs[1])
    plan = _plan(call, x, tuple(call.attr("kernel_shape")))
    if not plan.windows:
        return [x]
    if any(w.dilation != 1 for w in plan.windows):
        call.refuse("pooling with dilation", found=plan.windows)
    kind = "max" if maximum else "average"
    value = 0.0 if maximum or counted else "mean"
    if len(plan.windows) == 1:
        (w,) = plan.windows
        axis = "time" if plan.timed else "space"
        layer = L.Pooling1D(kind, w.size, w.stride, w.padding, value, axis)
    else:
        sizes, strides, paddings = zip(
            *((w.size, w.stride, w.padding) for w in plan.windows), strict=True
        )
        layer = L.Pooling2D(kind, sizes, strides, paddings, value)
    return [_slid(call, plan.signal, layer, plan, x.shape.channels), None]


@reader("GlobalAveragePool", "GlobalMaxPool")
def _global(call: Call) -> list[Value]:
    x = call.signal()
    kind = "max" if "Max" in call.node.op else "average"
    return [pooled(call, x, tuple(range(2, len(x.axes))), kind, keep=True)]


def pooled(
    call: Call, x: Signal, places: tuple[int, ...], kind: str, *, keep: bool
) -> Signal:
    """The mean or maximum over all of time, of space, or of both."""
    timed = [k for k in places if x.shape.time and is_time(call, x.axes[k])]
    wanted = [essence(x.axes[k]) for k in places if k not in timed]
    wanted = [axis for axis in wanted if axis]
    if any(holds(x.axes[k], BATCH) for k in places):
        call.refuse("a mean or a maximum over the examples", found=str(x))
    space = [a for a in natural(x.shape)[:-1] if a]
    spaced = [a for a in wanted if a in space]
    if len(spaced) != len(wanted) or (spaced and spaced != space):
        call.refuse(
            "a mean or maximum over a part of the axes",
            found=f"axes {list(places)} of {x}",
            expected="time, space, or channels",
        )
    y = x
    if spaced:
        one = len(x.shape.space) == 1
        layer = L.GlobalPooling1D(kind, "space") if one else L.GlobalPooling2D(kind)
        y = call.layer(layer, y)
        # What is left is of length one: only the channels.
        y = call.layer(L.Flatten(len(x.shape.space), "row-major"), y)
    if timed:
        y = call.layer(L.GlobalPooling1D(kind, "time"), y)
    axes = [UNIT if k in places else _renewed(x, y, a) for k, a in enumerate(x.axes)]
    if not keep:
        axes = [a for k, a in enumerate(axes) if k not in places]
    return y.view(axes)


def _renewed(x: Signal, y: Signal, axis: Axis) -> Axis:
    """The axis of the channels, whatever its stride; others as they are."""
    if essence(axis) == natural(x.shape)[-1]:
        return natural(y.shape)[-1]
    return axis


@reader("Pad")
def _pad(call: Call) -> list[Value]:
    x = call.signal()
    mode = call.attr("mode", "constant")
    pads = call.ints("pads", 1, default=None) or call.ints("paddings")
    value = call.attr("value", 0.0)
    if call.given(2) is not None:
        value = float(call.array(2).reshape(-1)[0])
    places = call.ints("axes", 3, default=tuple(range(len(x.axes))))
    if len(pads) != 2 * len(places):
        call.refuse("not two widths an axis", found=pads, expected=2 * len(places))
    modes = {
        "constant": float(value), "reflect": "symmetric-exclude-edge",
        "edge": "replicate",
    }  # fmt: skip
    if mode not in modes:
        call.refuse("a padding that jlstm does not compute", found=mode)
    for place, before, after in zip(
        places, pads[: len(places)], pads[len(places) :], strict=True
    ):
        if before or after:
            axis = call.axis(place, len(x.axes))
            x = _padded(call, x, axis, (before, after), modes[mode])
    return [x]


def _padded(
    call: Call, x: Signal, place: int, widths: tuple[int, int], value: float | str
) -> Signal:
    atoms = essence(x.axes[place])
    timed = [a.kind for a in atoms] == [TIME]
    if (
        holds(x.axes[place], BATCH)
        or min(widths) < 0
        or not (timed or atoms == natural(x.shape)[0])
    ):
        call.refuse(
            "padding of an axis that is neither time nor space",
            found=f"{widths} for axis {place} of {x}",
        )
    if not timed and not x.shape.space:
        call.refuse("channels are padded", found=str(x), expected="time or space")
    layer = Padding1D(*widths, value, "time" if timed else "space")
    y = call.layer(layer, x)
    whole = (Atom(TIME, length(atoms) + sum(widths)),) if timed else None
    return y.view(
        (whole or natural(y.shape)[0]) if k == place else _renewed(x, y, a)
        for k, a in enumerate(x.axes)
    )


def _plan(call: Call, x: Signal, sizes: tuple[int, ...]) -> Plan:
    """Which axes the windows slide along; those of length one drop out."""
    rank = len(x.axes)
    if rank != len(sizes) + 2:
        call.refuse("a window of another rank", found=f"{sizes} on {x}")
    strides = call.attr("strides", (1,) * len(sizes))
    dilations = call.attr("dilations", (1,) * len(sizes))
    pads = call.attr("pads", (0,) * 2 * len(sizes))
    auto = call.attr("auto_pad", "NOTSET")
    if {len(strides), len(dilations)} != {len(sizes)} or len(pads) != 2 * len(sizes):
        call.refuse("numbers that do not go together", found=(strides, dilations, pads))
    if not channel_axis(call, x, 1):
        call.refuse(
            "the second axis is not that of the channels",
            found=str(x),
            expected="(batch, channels, time or space)",
        )
    places, windows = [], []
    for k, size in enumerate(sizes):
        axis = essence(x.axes[2 + k])
        pair = (pads[k], pads[len(sizes) + k])
        window = Window(size, strides[k], dilations[k], pair)
        window = _automatic(call, window, auto, length(axis))
        if holds(x.axes[2 + k], BATCH):
            call.refuse("a window that slides along the examples", found=str(x))
        if not axis and size == 1 and window.padding == (0, 0):
            continue
        places.append(2 + k)
        windows.append(window)
    axes = [essence(x.axes[k]) for k in places]
    timed = [[a.kind for a in axis] == [TIME] for axis in axes]
    if not windows and x.shape.space and not any(natural(x.shape)[:-1]):
        # A space of one place is none.
        x = call.layer(L.Flatten(len(x.shape.space), "row-major"), x)
    space = natural(x.shape)[:-1]
    if timed == [True] and not x.shape.space:
        return Plan(x, tuple(places), True, tuple(windows))
    if any(timed) or axes != space:
        call.refuse(
            "a window that slides along other axes than time or space",
            found=str(x),
            expected="(batch, channels, time) or (batch, channels, *space)",
        )
    return Plan(x, tuple(places), False, tuple(windows))


def _automatic(call: Call, window: Window, rule: str, size: int) -> Window:
    """The padding that `auto_pad` asks for, in numbers where it can be."""
    if rule in ("NOTSET", "VALID"):
        return window._replace(padding=(0, 0)) if rule == "VALID" else window
    if rule not in ("SAME_UPPER", "SAME_LOWER"):
        call.refuse("an unknown padding", found=rule)
    window = window._replace(padding="same")
    if window.stride == 1 or call.build.fixed:
        before, after = window.widths(size)
        pair = (before, after) if rule == "SAME_UPPER" else (after, before)
        return window._replace(padding=pair)
    if rule == "SAME_LOWER":
        call.refuse("padding that depends on the length of the sequence", found=rule)
    return window


def _slid(call: Call, x: Signal, layer: L.Layer, plan: Plan, width: int) -> Signal:
    y = call.layer(layer, x)
    space = iter(natural(y.shape)[:-1])
    axes: list[Axis] = []
    for k, axis in enumerate(x.axes):
        if k == 1:
            axes.append(channels(width))
        elif k not in plan.places:
            axes.append(axis)
        elif plan.timed:
            (window,) = plan.windows
            axes.append((Atom(TIME, window.count(length(axis))),))
        else:
            axes.append(next(space))
    return y.view(axes)
