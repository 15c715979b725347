"""Layers that compute every step by itself, in C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import layers as L
from ...activations import spell
from ...layers.inputs import TARGETS
from ...pytree import Array, Shape
from .registry import SILENT, Place, stepwise
from .spelling import block, loop

SILENT |= {L.Identity, L.Dropout, L.Regression, L.Classification}


@dataclass(frozen=True)
class Grid:
    """One step of a signal as places of channels, and how loops run over it."""

    places: int
    channels: int

    @classmethod
    def of(cls, shape: Shape) -> Grid:
        """The grid of a signal."""
        return cls(shape.features // shape.channels, shape.channels)

    @property
    def index(self) -> str:
        """Where the value of place `p` and channel `c` lies."""
        return "c" if self.places == 1 else f"p * {self.channels} + c"

    def each(self, lines: list[str]) -> list[str]:
        """Statements for every `p` and `c`."""
        return self.each_place(loop("c", self.channels, lines))

    def each_place(self, lines: list[str]) -> list[str]:
        """Statements for every `p`."""
        return loop("p", self.places, lines)

    def row(self, array: str) -> str:
        """Where place `p` of an array starts."""
        return array if self.places == 1 else f"{array} + p * {self.channels}"


def constant(place: Place, what: str, values: Array, shape: Shape) -> str:
    """Values that broadcast against one step, as an expression of `p` and `c`."""
    given = np.asarray(values, place.file.dtype)
    full = np.broadcast_to(given, (*shape.space, shape.channels))
    if given.size == 1:
        return place.constant(given.item())
    flat = full.reshape(-1, shape.channels)
    if (flat == flat[:1]).all():
        return f"{place.table(what, flat[0])}[c]"
    return f"{place.table(what, flat)}[{Grid.of(shape).index}]"


@stepwise(L.Input)
def _input(layer: L.Input, place: Place) -> list[str]:
    shape, grid = place.output, Grid.of(place.output)
    real = place.file.dtype.type
    value = f"x[{grid.index}]"

    def of(what: str, values: Array) -> str:
        return constant(place, what, values, shape)

    if layer.mean is not None:
        value = f"{value} - {of('mean', layer.mean)}"
    if layer.std is not None:
        value = f"({value}) / {of('spread', layer.std)}"
    if layer.minimum is not None and layer.maximum is not None:
        low, high = map(float, layer.target or TARGETS[layer.normalization])
        span = np.asarray(layer.maximum) - np.asarray(layer.minimum)
        lowest, spread = of("minimum", layer.minimum), of("span", span)
        unit = f"({value} - {lowest}) / {spread}"
        value = f"{place.constant(low)} + {place.constant(real(high - low))} * ({unit})"
    return grid.each([f"y[{grid.index}] = {value};"])


@stepwise(L.FullyConnected)
def _fully_connected(layer: L.FullyConnected, place: Place) -> list[str]:
    weights = np.asarray(layer.weights)
    outputs, features = weights.shape
    if layer.flatten:
        # The columns count column-major; the values lie row-major.
        (shape,) = place.inputs
        order = np.arange(features).reshape(shape.channels, *reversed(shape.space))
        weights = weights[:, order.T.ravel()]
    place.use("copy", "add_product")
    table = place.table("weights", weights.T)
    return [
        f"copy(y, {place.table('bias', layer.bias)}, {outputs});",
        f"add_product(y, {table}, x, {outputs}, {features});",
    ]


@stepwise(L.Activation)
def _activation(layer: L.Activation, place: Place) -> list[str]:
    size = place.output.features
    place.use("copy")
    spec = spell(layer.name, *layer.constants)
    return [f"copy(y, x, {size});", *place.file.apply(spec, "y", size)]


@stepwise(L.Clip)
def _clip(layer: L.Clip, place: Place) -> list[str]:
    grid = Grid.of(place.output)
    value = f"x[{grid.index}]"
    for function, bound in (("larger_of", layer.lower), ("smaller_of", layer.upper)):
        if bound is not None and not _is_none(function, place.file.dtype.type(bound)):
            place.use(function)
            value = f"{function}({value}, {place.constant(bound)})"
    return grid.each([f"y[{grid.index}] = {value};"])


def _is_none(function: str, bound: float) -> bool:
    """Whether a bound is one that every number keeps."""
    return bound == (-np.inf if function == "larger_of" else np.inf)


@stepwise(L.ErrorFunction)
def _error_function(layer: L.ErrorFunction, place: Place) -> list[str]:
    grid = Grid.of(place.output)
    place.use("erf_of")
    return grid.each([f"y[{grid.index}] = erf_of(x[{grid.index}]);"])


@stepwise(L.PReLU)
def _prelu(layer: L.PReLU, place: Place) -> list[str]:
    grid = Grid.of(place.output)
    alpha = constant(place, "alpha", layer.alpha, place.output)
    place.use("leaky_relu_of")
    return grid.each([f"y[{grid.index}] = leaky_relu_of(x[{grid.index}], {alpha});"])


@stepwise(L.Scaling)
def _scaling(layer: L.Scaling, place: Place) -> list[str]:
    grid = Grid.of(place.output)
    scale = constant(place, "scale", layer.scale, place.output)
    offset = constant(place, "offset", layer.offset, place.output)
    return grid.each([f"y[{grid.index}] = {scale} * x[{grid.index}] + {offset};"])


@stepwise(L.BatchNormalization)
def _batch_normalization(layer: L.BatchNormalization, place: Place) -> list[str]:
    grid, real = Grid.of(place.output), place.file.dtype.type
    spread = np.sqrt(np.asarray(layer.variance) + real(layer.epsilon))
    scale, mean, deviation, offset = (
        f"{place.table(what, values)}[c]"
        for what, values in (
            ("scale", layer.scale),
            ("mean", layer.mean),
            ("spread", spread),
            ("offset", layer.offset),
        )
    )
    value = f"{scale} * (x[{grid.index}] - {mean}) / {deviation} + {offset}"
    return grid.each([f"y[{grid.index}] = {value};"])


@stepwise(L.Softmax)
def _softmax(layer: L.Softmax, place: Place) -> list[str]:
    grid = Grid.of(place.output)
    place.use("larger_of", "exp_of")
    lines = [
        f"const real *const from = {grid.row('x')};",
        f"real *const to = {grid.row('y')};",
        "real most = from[0], sum = 0;",
        *loop("c", grid.channels, ["most = larger_of(most, from[c]);"]),
    ]
    if layer.logarithm:
        place.use("log_of")
        each = ["to[c] = from[c] - most;", "sum += exp_of(to[c]);"]
        lines += [*loop("c", grid.channels, each), "sum = log_of(sum);"]
        lines += loop("c", grid.channels, ["to[c] -= sum;"])
    else:
        each = ["to[c] = exp_of(from[c] - most);", "sum += to[c];"]
        lines += loop("c", grid.channels, each)
        lines += loop("c", grid.channels, ["to[c] /= sum;"])
    return grid.each_place(lines)


@stepwise(L.Embedding)
def _embedding(layer: L.Embedding, place: Place) -> list[str]:
    rows, width = np.shape(layer.weights)
    table = place.table("vectors", layer.weights)
    place.use("copy")
    lines = [
        f"const real row = x[0] - {place.constant(layer.first_index)};",
        f"const int within = row >= 0 && row <= {place.constant(rows - 1)};",
        # The conversion is defined for what lies within.
        "const int known = within && row == (real)(size_t)(within ? row : 0);",
        f"const size_t k = known ? (size_t)row : {rows - 1};",
        f"copy(y, {table} + k * {width}, {width});",
    ]
    if layer.out_of_vocabulary == "error":
        place.use("fill", "not_a_number")
        lines += block("if (!known)", [f"fill(y, not_a_number(), {width});"])
    return lines


@stepwise(L.Mask)
def _mask(layer: L.Mask, place: Place) -> list[str]:
    return [*_counts(layer.value, place), "y[0] = counts ? 1 : 0;"]


@stepwise(L.Masking)
def _masking(layer: L.Masking, place: Place) -> list[str]:
    width = place.output.channels
    kept = loop("c", width, ["y[c] = counts ? x[c] : 0 * x[c];"])
    return [*_counts(layer.value, place), *kept]


def _counts(value: float, place: Place) -> list[str]:
    """Whether any feature differs from the value."""
    (x,) = place.inputs
    differs = f"counts |= x[c] != {place.constant(value)};"
    return ["int counts = 0;", *loop("c", x.channels, [differs])]


def refuse(kinds: tuple[type, ...], why: str, do: str | None = None) -> None:
    """Enter layers into the table that have no C code, with the reason."""

    def writer(layer: Any, place: Place) -> list[str]:
        place.refuse(layer, why, do)

    stepwise(*kinds)(writer)


refuse(
    (L.Convolution2D, L.Pooling2D, L.GlobalPooling2D),
    "it works on images",
    "jl.save(net, 'net.onnx')",
)
refuse(
    (L.Attention, L.SelfAttention),
    "attention looks at all pairs of steps",
    "jl.save(net, 'net.onnx')",
)
