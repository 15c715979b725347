"""What every layer is: a pytree that maps arrays to an array and knows its shape."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, Unsupported
from ..pytree import Array, Shape


class Layer:
    """Base of all layers.

    A layer acts on one example, without a batch axis: `(time?, *space, channels)`,
    channels last. Everything that is pointwise in time works on a whole sequence and on
    a single step alike, because it only looks at the trailing axes.
    """

    needs_whole_sequence: bool = False
    """True where one step cannot be computed alone; `step` refuses such networks."""

    statistics: ClassVar[tuple[str, ...]] = ()
    """Names of the array fields that training does not change by gradient: statistics
    of the training data, and constants."""

    def __call__(self, *inputs: Array) -> Array:
        """Compute the output of one example, at prediction time."""
        raise NotImplementedError

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError where the inputs do not fit."""
        raise NotImplementedError

    def describe(self) -> str:
        """One phrase for the table of layers: the settings that change the answer."""
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"


class Pointwise(Layer):
    """Base of the layers with one input whose output has the same shape."""

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input."""
        return only(inputs)


def only(inputs: tuple[Shape, ...]) -> Shape:
    """The single input of a layer that takes one."""
    if len(inputs) != 1:
        raise InputError(
            "this layer takes one input", found=f"{len(inputs)} inputs", expected="1"
        )
    return inputs[0]


def several(inputs: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The inputs of a layer that combines two or more."""
    if len(inputs) < 2:
        raise InputError(
            "this layer combines its inputs",
            found=f"{len(inputs)} inputs",
            expected="two or more",
        )
    return inputs


def require(
    fits: bool, summary: str, *, found: Any, expected: Any, do: str | None = None
) -> None:
    """Raise InputError unless `fits`."""
    if not fits:
        raise InputError(summary, found=found, expected=expected, do=do)


def require_choice(setting: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise Unsupported unless `value` is one of `choices`."""
    if value not in choices:
        raise Unsupported(
            f"unknown {setting}",
            found=repr(value),
            expected=", ".join(map(repr, choices)),
        )


def require_broadcast(name: str, array: Array, x: Shape) -> None:
    """Raise InputError unless `array` broadcasts to one step `(*space, channels)`."""
    step = (*x.space, x.channels)
    try:
        fits = np.broadcast_shapes(np.shape(array), step) == step
    except ValueError:
        fits = False
    require(
        fits,
        f"the {name} does not fit the input",
        found=f"{name} of shape {np.shape(array)}",
        expected=f"a shape that broadcasts to {step}",
    )
