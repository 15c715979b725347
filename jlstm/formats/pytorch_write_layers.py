"""Layers without state in PyTorch: modules of torch, or one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activations import spell
from ..layers import (
    Activation,
    Addition,
    BatchNormalization,
    Classification,
    Clip,
    Concatenation,
    Division,
    Dropout,
    Embedding,
    ErrorFunction,
    Flatten,
    FullyConnected,
    GroupNormalization,
    Identity,
    Input,
    InstanceNormalization,
    LayerNormalization,
    Mask,
    Masking,
    Maximum,
    Minimum,
    Multiplication,
    PositionEmbedding,
    PReLU,
    Regression,
    Scaling,
    Softmax,
    Subtraction,
)
from ..layers.inputs import TARGETS
from .pytorch_functions import written
from .pytorch_written import Place, Written, whole, writer

NORMALISED = {
    "none": "{x}",
    "zerocenter": "{x} - {self}.mean",
    "zscore": "({x} - {self}.mean) / {self}.std",
}
OPERATIONS: dict[type, str] = {
    Addition: "{a} + {b}",
    Subtraction: "{a} - {b}",
    Multiplication: "{a} * {b}",
    Division: "{a} / {b}",
    Maximum: "torch.maximum({a}, {b})",
    Minimum: "torch.minimum({a}, {b})",
}


def _shapes(**arrays: Any) -> str:
    return ", ".join(f"{name}={np.shape(array)!r}" for name, array in arrays.items())


def _held(kind: str, layer: Any, call: str, *uses: str, **names: str) -> Written:
    """Arrays of the layer in a module of no function, and a line that uses them."""
    parts = whole(layer, **names)
    make = f"{kind}({_shapes(**parts['tensors'])})"
    return Written(call, make, uses=(kind, *uses), **parts)


@writer(Input)
def entrance(layer: Input, place: Place) -> Written:
    """What comes in, normalised."""
    held = {f: f for f in layer.statistics if getattr(layer, f) is not None}
    if layer.normalization in NORMALISED:
        call = NORMALISED[layer.normalization]
    else:
        low, high = map(float, layer.target or TARGETS[layer.normalization])
        unit = "({x} - {self}.minimum) / ({self}.maximum - {self}.minimum)"
        call = f"{low!r} + {high - low!r} * ({unit})"
    return _held("Constants", layer, call, **held) if held else Written(call)


@writer(FullyConnected)
def fully_connected(layer: FullyConnected, place: Place) -> Written:
    """nn.Linear."""
    outputs, inputs = layer.weights.shape
    parts = whole(layer, weights="weight", bias="bias")
    x = _flat(place, "column-major") if layer.flatten else "{x}"
    return Written(f"{{self}}({x})", f"nn.Linear({inputs}, {outputs})", **parts)


@writer(Flatten)
def flatten(layer: Flatten, place: Place) -> Written:
    """The axes of space and the channels as one."""
    return Written(_flat(place, layer.order))


def _flat(place: Place, order: str) -> str:
    (shape,) = place.inputs
    lead = 1 + shape.time
    if order == "row-major":
        return f"{{x}}.flatten({lead})"
    axes = range(lead, lead + len(shape.space) + 1)
    dims = ", ".join(map(str, [*range(lead), *reversed(axes)]))
    return f"{{x}}.permute({dims}).flatten({lead})"


@writer(Activation)
def activation(layer: Activation, place: Place) -> Written:
    """A function of torch."""
    return Written(written(spell(layer.name, *layer.constants), "{x}"))


@writer(Clip)
def clip(layer: Clip, place: Place) -> Written:
    """Values between two bounds."""
    bounds = {"min": layer.lower, "max": layer.upper}
    given = [f"{k}=float('{float(v)!r}')" for k, v in bounds.items() if v is not None]
    return Written(f"{{x}}.clamp({', '.join(given)})" if given else "{x}")


@writer(ErrorFunction)
def error_function(layer: ErrorFunction, place: Place) -> Written:
    """The error function."""
    return Written("torch.erf({x})")


@writer(PReLU)
def prelu(layer: PReLU, place: Place) -> Written:
    """Written out: nn.PReLU takes the time for its channels."""
    call = "torch.where({x} > 0, {x}, {self}.weight * {x})"
    return _held("Parameters", layer, call, alpha="weight")


@writer(Softmax)
def softmax(layer: Softmax, place: Place) -> Written:
    """Over the features."""
    return Written(f"torch.{'log_' * layer.logarithm}softmax({{x}}, -1)")


@writer(Dropout)
def dropout(layer: Dropout, place: Place) -> Written:
    """nn.Dropout."""
    return Written("{self}({x})", f"nn.Dropout({float(layer.probability)!r})")


@writer(Identity, Classification, Regression)
def identity(layer: Any, place: Place) -> Written:
    """Nothing is computed."""
    return Written("{x}")


@writer(Scaling)
def scaling(layer: Scaling, place: Place) -> Written:
    """A product and a sum."""
    call = "{self}.scale * {x} + {self}.offset"
    return _held("Constants", layer, call, scale="scale", offset="offset")


# --- normalisations -------------------------------------------------------------------


@writer(BatchNormalization)
def batch_normalization(layer: BatchNormalization, place: Place) -> Written:
    """nn.BatchNorm1d and its kin, whose features are the second axis."""
    names = {"scale": "weight", "offset": "bias"}
    names |= {"mean": "running_mean", "variance": "running_var"}
    axes = _axes(place)
    if axes > 3:
        place.refuse(repr(layer), "torch has it for at most three axes")
    call = ("{self}({x})", "{self}({x}.transpose(1, 2)).transpose(1, 2)")
    words = f"{len(layer.mean)}, eps={float(layer.epsilon)!r}"
    return Written(
        call[axes] if axes < 2 else f"channels_second({{self}}, {{x}}, {axes})",
        f"nn.BatchNorm{max(axes, 1)}d({words})",
        uses=("channels_second",) * (axes > 1),
        **whole(layer, **names),
    )


def _axes(place: Place) -> int:
    """How many axes lie between those of the batch and of the channels."""
    (shape,) = place.inputs
    return shape.time + len(shape.space)


@writer(LayerNormalization)
def layer_normalization(layer: LayerNormalization, place: Place) -> Written:
    """nn.LayerNorm over the features, or one group of all of them."""
    (shape,) = place.inputs
    axes = {"spatial-channels": len(shape.space), "time-channels": _axes(place)}
    if axes.get(layer.over, 0):
        return _grouped(layer, 1, axes[layer.over])
    make = f"nn.LayerNorm({len(layer.scale)}, eps={float(layer.epsilon)!r})"
    return Written("{self}({x})", make, **whole(layer, scale="weight", offset="bias"))


@writer(GroupNormalization)
def group_normalization(layer: GroupNormalization, place: Place) -> Written:
    """nn.GroupNorm."""
    return _grouped(layer, layer.groups, _axes(place))


@writer(InstanceNormalization)
def instance_normalization(layer: InstanceNormalization, place: Place) -> Written:
    """nn.GroupNorm, every channel a group."""
    return _grouped(layer, len(layer.scale), _axes(place))


def _grouped(layer: Any, groups: int, axes: int) -> Written:
    """Statistics over groups of channels and the last axes before them."""
    words = f"{groups}, {len(layer.scale)}, eps={float(layer.epsilon)!r}"
    return Written(
        f"channels_second({{self}}, {{x}}, {axes})",
        f"nn.GroupNorm({words})",
        uses=("channels_second",),
        **whole(layer, scale="weight", offset="bias"),
    )


# --- tables and masks -----------------------------------------------------------------


@writer(Embedding)
def embedding(layer: Embedding, place: Place) -> Written:
    """nn.Embedding, looked up so that what is no row is NaN instead of an error."""
    rows, width = layer.weights.shape
    last = layer.out_of_vocabulary == "map-to-last"
    call = f"lookup({{self}}.weight, {{x}}, {int(layer.first_index)}, {last})"
    make = f"nn.Embedding({rows}, {width})"
    return Written(call, make, uses=("lookup",), **whole(layer, weights="weight"))


@writer(PositionEmbedding)
def position_embedding(layer: PositionEmbedding, place: Place) -> Written:
    """A row for every step, whatever comes in."""
    call = "positions({self}.weight, {x})"
    return _held("Parameters", layer, call, "positions", weights="weight")


@writer(Mask)
def mask(layer: Mask, place: Place) -> Written:
    """1 where any feature differs from a value."""
    return Written(f"({_differs(layer)}).to({{x}}.dtype)")


@writer(Masking)
def masking(layer: Masking, place: Place) -> Written:
    """Zeros where no feature differs."""
    return Written(f"torch.where({_differs(layer)}, {{x}}, 0 * {{x}})")


def _differs(layer: Mask | Masking) -> str:
    return f"({{x}} != {float(layer.value)!r}).any(-1, keepdim=True)"


# --- several inputs -------------------------------------------------------------------


def _aligned(place: Place) -> list[str]:
    """The inputs; what has no time or no space is the same at every step and place."""
    timed = any(shape.time for shape in place.inputs)
    most = max(len(shape.space) for shape in place.inputs)
    aligned = []
    for k, shape in enumerate(place.inputs):
        axes = [":", *([":" if shape.time else "None"] * timed)]
        axes += ["None"] * (most - len(shape.space))
        aligned.append(
            f"{{x{k}}}[{', '.join(axes)}]" if "None" in axes else f"{{x{k}}}"
        )
    return aligned


@writer(*OPERATIONS)
def elementwise(layer: Any, place: Place) -> Written:
    """Value by value."""
    first, *others = _aligned(place)
    for other in others:
        first = f"({OPERATIONS[type(layer)].format(a=first, b=other)})"
    return Written(first)


@writer(Concatenation)
def concatenation(layer: Concatenation, place: Place) -> Written:
    """Features side by side, or images along one of their axes."""
    names = [f"{{x{k}}}" for k in range(len(place.inputs))]
    axis = -1 if isinstance(layer.axis, str) else layer.axis - layer.space - 1
    return Written(f"torch.cat(({', '.join(names)}), {axis})")
