"""Layers that bring signals together or rearrange one step, in C."""

from __future__ import annotations

from ... import layers as L
from ...pytree import Shape
from .pointwise import Grid
from .registry import Place, product, stepwise
from .spelling import loop

OPERATIONS: dict[type, str] = {
    L.Addition: "{a} + {b}",
    L.Subtraction: "{a} - {b}",
    L.Multiplication: "{a} * {b}",
    L.Division: "{a} / {b}",
    L.Maximum: "larger_of({a}, {b})",
    L.Minimum: "smaller_of({a}, {b})",
}
FUNCTIONS: dict[type, str] = {L.Maximum: "larger_of", L.Minimum: "smaller_of"}


@stepwise(*OPERATIONS)
def _elementwise(layer: L.Addition, place: Place) -> list[str]:
    operation = OPERATIONS[type(layer)]
    if type(layer) in FUNCTIONS:
        place.use(FUNCTIONS[type(layer)])
    axes = [*place.output.space, place.output.channels]
    value = ""
    for name, shape in zip(place.names, place.inputs, strict=True):
        term = f"{name}[{_index(_lengths(shape, len(axes)), axes)}]"
        # A first operation needs no parentheses, as in a + b + c.
        value = operation.format(a=value, b=term) if value else term
    whole = _index(axes, axes)
    lines = [f"y[{whole}] = {value};"]
    for axis in reversed(range(len(axes))):
        lines = loop(f"i{axis}", axes[axis], lines)
    return lines


def _lengths(shape: Shape, count: int) -> list[int]:
    """Lengths of all axes; a vector beside images has length one in space."""
    space = shape.space or (1,) * (count - 1)
    return [*space, shape.channels]


def _index(lengths: list[int], whole: list[int]) -> str:
    """Where `[i0, i1, ...]` of the whole lies in an array that broadcasts to it."""
    terms = []
    for axis, length in enumerate(lengths):
        stride = product(lengths[axis + 1 :])
        if length > 1:
            terms.append(f"i{axis}" if stride == 1 else f"i{axis} * {stride}")
    return " + ".join(terms) or "0"


@stepwise(L.Concatenation)
def _concatenation(layer: L.Concatenation, place: Place) -> list[str]:
    place.use("copy")
    axis = len(place.output.space) if isinstance(layer.axis, str) else layer.axis
    outer = product(place.output.space[:axis])
    whole = place.output.features // outer
    lines, start = [], 0
    for name, shape in zip(place.names, place.inputs, strict=True):
        part = shape.features // outer
        lines.append(f"copy(y + p * {whole} + {start}, {name} + p * {part}, {part});")
        start += part
    return loop("p", outer, lines)


@stepwise(L.Flatten)
def _flatten(layer: L.Flatten, place: Place) -> list[str]:
    (shape,) = place.inputs
    place.use("copy")
    if layer.order == "row-major" or not shape.space:
        return [f"copy(y, x, {shape.features});"]
    axes = [*shape.space, shape.channels]
    # The first axis runs fastest in what comes out.
    terms = []
    for axis, length in enumerate(axes):
        stride = product(axes[:axis])
        if length > 1:
            terms.append(f"i{axis} * {stride}" if stride > 1 else f"i{axis}")
    lines = [f"y[{' + '.join(terms) or '0'}] = x[{_index(axes, axes)}];"]
    for axis in reversed(range(len(axes))):
        lines = loop(f"i{axis}", axes[axis], lines)
    return lines


@stepwise(L.Crop1D)
def _crop(layer: L.Crop1D, place: Place) -> list[str]:
    """Some of the places in space."""
    (shape,) = place.inputs
    width = shape.channels
    kept = range(*slice(layer.start, layer.stop, layer.step).indices(shape.space[0]))
    place.use("copy")
    at = f"{kept.start} + p * {kept.step}" if kept.step > 1 else f"{kept.start} + p"
    return loop(
        "p", len(kept), [f"copy(y + p * {width}, x + ({at}) * {width}, {width});"]
    )


@stepwise(L.Slice)
def _slice_channels(layer: L.Slice, place: Place) -> list[str]:
    """Every place keeps some of its channels."""
    (shape,) = place.inputs
    kept = range(shape.channels)[layer.part]
    before, after = Grid.of(shape), Grid.of(place.output)
    start = f"p * {before.channels} + " if before.places > 1 else ""
    source = f"{start}{kept.start}"
    if len(kept) > 1:
        sign, stride = ("+" if kept.step > 0 else "-"), abs(kept.step)
        source += f" {sign} c" if stride == 1 else f" {sign} c * {stride}"
    return after.each([f"y[{after.index}] = x[{source}];"])
