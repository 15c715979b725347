"""Means, sums and maxima along axes of a signal."""

from __future__ import annotations

import numpy as np

from ... import layers as L
from ..onnx_values import BATCH, UNIT, Signal, Value, essence, holds
from .dense import product
from .registry import Call, reader
from .views import channel_axis, is_time
from .windows import pooled


@reader("ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2", "ReduceSumSquare")
def _reduce(call: Call) -> list[Value]:
    x = call.signal()
    rank = len(x.axes)
    asked = call.ints("axes", 1, default=())
    keep = bool(call.attr("keepdims", 1))
    empty_is_none = call.attr("noop_with_empty_axes", 0)
    if not asked and empty_is_none:
        return [x]
    places = {call.axis(k, rank) for k in asked} or set(range(rank))
    if call.node.op in ("ReduceL2", "ReduceSumSquare"):
        x = call.layer(L.Activation("square"), x)
    y = _along(call, x, tuple(sorted(places)))
    if call.node.op == "ReduceL2":
        y = call.layer(L.Activation("sqrt"), y)
    axes = y.axes if keep else [a for k, a in enumerate(y.axes) if k not in places]
    return [y.view(axes)]


def _along(call: Call, x: Signal, places: tuple[int, ...]) -> Signal:
    """The reduction, with the axes kept at length one."""
    op = call.node.op
    wide = x.shape.channels > 1
    if any(holds(x.axes[k], BATCH) for k in places):
        call.refuse("a mean, a sum or a maximum over the examples", found=str(x))
    over = [k for k in places if wide and channel_axis(call, x, k)]
    left = [k for k in places if k not in over]
    rest = tuple(
        k
        for k in left
        if essence(x.axes[k]) or (x.shape.time and is_time(call, x.axes[k]))
    )
    if rest:
        kinds = {"ReduceMean": "average", "ReduceMax": "max"}
        if op not in kinds:
            call.refuse(
                "a sum over time or space",
                found=f"axes {list(places)} of {x}",
                expected="a mean or a maximum",
            )
        x = pooled(call, x, rest, kinds[op], keep=True)
    if over:
        if op == "ReduceMax":
            call.refuse("the largest of the channels", found=str(x))
        share = 1 / x.shape.channels if op == "ReduceMean" else 1.0
        row = np.full((1, x.shape.channels), share, call.build.dtype)
        x = product(call, x, over[0], row)
    return x.view(UNIT if k in places else a for k, a in enumerate(x.axes))
