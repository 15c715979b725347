"""Layers that look at many rows at once, in C: steps of a sequence or places in space.

Their statements find `n` rows at `x` and write `m` rows to `y`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ... import layers as L
from ...layers.windows import AlongOneAxis, Window
from .registry import ONE, SAME, Along, Place, Steps, along
from .spelling import block, loop

SOURCES = {
    "replicate": "row_of_edge",
    "symmetric-include-edge": "row_mirrored_with_edge",
    "symmetric-exclude-edge": "row_mirrored",
}
"""The part of the template that finds a row outside of the signal."""


def row_width(layer: L.Layer, place: Place) -> int:
    """Numbers in one row of the input: of a place, or of a step."""
    (x,) = place.inputs
    on_space = isinstance(layer, AlongOneAxis) and layer.axis == "space"
    return x.channels if on_space else x.features


def _windows(window: Window) -> Steps:
    """How many windows fit, as `Window.count` has it."""
    stride = window.stride
    if window.padding == "same":
        return Steps(f"(({{n}} + {stride - 1}) / {stride})", lambda n: -(-n // stride))
    before, after = window.widths(1)
    lack = window.extent - before - after
    # n - lack, without a negative number on the way.
    spare = f"{{n}} - {lack}" if lack > 0 else f"{{n}} + {-lack}"
    return Steps(
        f"(({spare}) / {stride} + 1)" if stride > 1 else f"({spare} + 1)",
        lambda n: (n - lack) // stride + 1,
        f"{{n}} >= {lack}" if lack > 1 else "",
    )


def _first_row(window: Window, n: str = "n", m: str = "m") -> list[str]:
    """The row where the first window starts, negative where that is padding."""
    if window.padding != "same":
        return [f"const ptrdiff_t first = {-window.widths(1)[0]};"]
    reach = f"({m} - 1) * {window.stride} + {window.extent}"
    return [
        f"const size_t reach = {reach};",
        f"const ptrdiff_t first = -(ptrdiff_t)(reach > {n} ? (reach - {n}) / 2 : 0);",
    ]


def _tap(window: Window, line: list[str]) -> list[str]:
    """Statements for every window `t` and tap `k`, with `row` where the tap lies."""
    row = (
        f"const ptrdiff_t row = first + (ptrdiff_t)(t * {window.stride} + "
        f"k * {window.dilation});"
    )
    return loop("k", window.size, [row, *line])


@along(L.Convolution1D)
def _convolution(layer: L.Convolution1D, place: Place) -> Along:
    weights = np.asarray(layer.weights)
    size, each, outputs = weights.shape
    groups, channels = layer.groups, each * layer.groups
    part = outputs // groups
    window = layer.window
    place.use("copy", "add_product")
    # One block a group and a tap, columns one after the other.
    blocks = weights.reshape(size, each, groups, part).transpose(2, 0, 1, 3)
    table = place.table("weights", blocks)
    if groups == 1:
        at = f"{table} + k * {each * outputs}"
        lines = [f"add_product(y + t * {outputs}, {at}, source, {outputs}, {each});"]
    else:
        call = (
            f"add_product(y + t * {outputs} + g * {part}, "
            f"{table} + (g * {size} + k) * {each * part}, "
            f"source + g * {each}, {part}, {each});"
        )
        lines = loop("g", groups, [call])
    inside = "row >= 0 && row < (ptrdiff_t)n"
    value = layer.padding_value
    if isinstance(value, str):
        place.use(SOURCES[value])
        row = f"{SOURCES[value]}(row, (ptrdiff_t)n)"
        lines = [f"const real *const source = x + {row} * {channels};", *lines]
    elif float(value) == 0:
        source = f"const real *const source = x + row * {channels};"
        lines = block(f"if ({inside})", [source, *lines])
    else:
        outside = place.table("padding", np.full(channels, float(value)))
        source = f"{inside} ? x + row * {channels} : {outside}"
        lines = [f"const real *const source = {source};", *lines]
    copied = f"copy(y + t * {outputs}, {place.table('bias', layer.bias)}, {outputs});"
    body = block("for (size_t t = 0; t < m; ++t)", [copied, *_tap(window, lines)])
    return Along([*_first_row(window), *body], _windows(window))


@along(L.Pooling1D)
def _pooling(layer: L.Pooling1D, place: Place) -> Along:
    width, window = row_width(layer, place), layer.window
    inside = "if (row >= 0 && row < (ptrdiff_t)n)"
    value = f"x[row * {width} + (ptrdiff_t)c]"
    if layer.kind == "max":
        place.use("larger_of")
        start = ["int any = 0;", "real best = 0;"]
        # Padding never wins.
        each = block(
            inside, [f"best = any ? larger_of(best, {value}) : {value};", "any = 1;"]
        )
        end = "best"
    else:
        start = ["real sum = 0;", "size_t count = 0;"]
        each = block(inside, [f"sum += {value};", "++count;"])
        counted = layer.padding_value == "mean"
        end = "sum / (real)count"
        if not counted:
            padding = float(layer.padding_value)
            added = f" + {place.constant(padding)} * (real)({window.size} - count)"
            end = f"(sum{added if padding else ''}) / {place.constant(window.size)}"
            if not padding:
                start, each = start[:1], block(inside, [f"sum += {value};"])
    lines = [*start, *_tap(window, each), f"y[t * {width} + c] = {end};"]
    body = block(
        "for (size_t t = 0; t < m; ++t)",
        block(f"for (size_t c = 0; c < {width}; ++c)", lines),
    )
    return Along([*_first_row(window), *body], _windows(window))


@along(L.GlobalPooling1D)
def _global_pooling(layer: L.GlobalPooling1D, place: Place) -> Along:
    width = row_width(layer, place)
    place.use("copy")
    lines = [f"copy(y, x, {width});"]
    each = "y[c] = larger_of(y[c], x[t * {w} + c]);"
    if layer.kind == "max":
        place.use("larger_of")
    else:
        each = "y[c] += x[t * {w} + c];"
    lines += block(
        "for (size_t t = 1; t < n; ++t)", loop("c", width, [each.format(w=width)])
    )
    if layer.kind != "max":
        lines += loop("c", width, ["y[c] /= (real)n;"])
    return Along(lines, ONE)


@along(L.Indexing1D)
def _indexing(layer: L.Indexing1D, place: Place) -> Along:
    width = row_width(layer, place)
    place.use("copy")
    start = f"x + (n - 1) * {width}" if layer.position == "last" else "x"
    return Along([f"copy(y, {start}, {width});"], ONE)


# --- sequences turned round, cut, repeated --------------------------------------------


@along(L.Flip)
def _flip(layer: L.Flip, place: Place) -> Along:
    width = row_width(layer, place)
    place.use("copy")
    line = f"copy(y + t * {width}, x + (n - 1 - t) * {width}, {width});"
    return Along(block("for (size_t t = 0; t < n; ++t)", [line]), SAME)


@along(L.Repeat)
def _repeat(layer: L.Repeat, place: Place) -> Along:
    width = row_width(layer, place)
    place.use("copy")
    lines = loop("t", layer.steps, [f"copy(y + t * {width}, x, {width});"])
    return Along(lines, Steps(str(layer.steps), lambda n: layer.steps))


@along(L.UnflattenTime)
def _unflatten_time(layer: L.UnflattenTime, place: Place) -> Along:
    (shape,) = place.inputs
    place.use("copy")
    steps = Steps(str(layer.steps), lambda n: layer.steps)
    return Along([f"copy(y, x, {shape.features});"], steps)


@along(L.Padding1D)
def _padding(layer: L.Padding1D, place: Place) -> Along:
    width, before, after = row_width(layer, place), layer.before, layer.after
    place.use("copy")
    if isinstance(layer.value, str):
        place.use(SOURCES[layer.value])
        row = f"{SOURCES[layer.value]}((ptrdiff_t)t - {before}, (ptrdiff_t)n)"
        line = f"copy(y + t * {width}, x + {row} * {width}, {width});"
        body = block("for (size_t t = 0; t < m; ++t)", [line])
    else:
        place.use("fill")
        value = place.constant(layer.value)
        body = [
            f"fill(y, {value}, {before * width});",
            f"copy(y + {before * width}, x, n * {width});",
            f"fill(y + (m - {after}) * {width}, {value}, {after * width});",
        ]
    # A signal can be reflected once.
    reach = {"symmetric-exclude-edge": 1, "symmetric-include-edge": 0}
    longest = max(before, after) + reach.get(str(layer.value), -before - after)
    return Along(
        body,
        Steps(
            f"({{n}} + {before + after})",
            lambda n: n + before + after,
            f"{{n}} >= {longest}" if longest > 1 else "",
        ),
    )


@along(L.FlattenTime)
def _flatten_time(layer: L.FlattenTime, place: Place) -> Along:
    place.use("copy")
    steps = replace(ONE, least=f"{{n}} == {layer.steps}")
    return Along([f"copy(y, x, {place.output.features});"], steps)


@along(L.PositionEmbedding)
def _position_embedding(layer: L.PositionEmbedding, place: Place) -> Along:
    longest, width = np.shape(layer.weights)
    place.use("copy")
    line = f"copy(y, {place.table('positions', layer.weights)}, n * {width});"
    return Along([line], replace(SAME, least=f"{{n}} <= {longest}"))


@along(L.Slice)
def _slice_time(layer: L.Slice, place: Place) -> Along:
    width, step = row_width(layer, place), layer.step or 1
    if step < 0 and not layer.start is layer.stop is None:
        place.refuse(layer.describe(), "it cuts backwards from a step of its own")
    place.use("copy")
    if step < 0:
        text, first = f"(({{n}} - 1) / {-step} + 1)", "n - 1"
        least = ""
    else:
        first = _bound(layer.start, "0")
        stop = _bound(layer.stop, "{n}")
        text = f"(({stop} - {first} + {step - 1}) / {step})"
        least = f"{stop} > {first}"
        first = first.format(n="n")
    sign = "+" if step > 0 else "-"
    source = f"x + ({first} {sign} t * {abs(step)}) * {width}"
    lines = block(
        "for (size_t t = 0; t < m; ++t)", [f"copy(y + t * {width}, {source}, {width});"]
    )
    count = Steps(text, lambda n: len(range(n)[layer.part]), least, most="{n}")
    return Along(lines, count)


def _bound(position: int | None, default: str) -> str:
    """A position of a Python slice, within the signal."""
    if position is None:
        return default
    if position < 0:
        return f"({{n}} > {-position} ? {{n}} - {-position} : 0)"
    return f"({{n}} < {position} ? {{n}} : {position})" if position else "0"
