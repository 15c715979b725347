"""What every layer is: a pytree that maps arrays to an array and knows its shape."""

from __future__ import annotations

from typing import ClassVar

from jax import Array

from ..errors import InputError
from ..pytree import Shape


class Layer:
    """Base of all layers.

    A layer acts on one example, without a batch axis: `(time?, *space, channels)`,
    channels last. Everything that is pointwise in time works on a whole sequence and on
    a single step alike, because it only looks at the trailing axes.
    """

    needs_whole_sequence: ClassVar[bool] | bool = False
    """True where one step cannot be computed alone; `step` refuses such networks."""

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


def only(inputs: tuple[Shape, ...]) -> Shape:
    """The single input of a layer that takes one."""
    if len(inputs) != 1:
        raise InputError(
            "this layer takes one input", found=f"{len(inputs)} inputs", expected="1"
        )
    return inputs[0]
