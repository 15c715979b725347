"""Taking one step, or one place, out of a sequence."""

from __future__ import annotations

from ..pytree import Array, Shape, pytree, static
from .base import only, require_choice
from .windows import AlongOneAxis

POSITIONS = {"first": 0, "last": -1}


@pytree
class Indexing1D(AlongOneAxis):
    """The first or the last value along time, or along the one space axis.

    The axis disappears. Run step by step, the last step is the last one so far. Source:
    MathWorks reference page nnet.cnn.layer.indexing1dlayer.
    """

    position: str = static(default="first")
    axis: str = static(default="time")

    @property
    def needs_whole_sequence(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True where the first time step is asked for."""
        return self.axis == "time" and self.position == "first"

    def __call__(self, *inputs: Array) -> Array:
        """`(time, C)` to `(C,)`, or `(time?, space, C)` to `(time?, C)`."""
        (x,) = inputs
        if x.ndim == 1:
            return x
        return x[..., POSITIONS[self.position], :]

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output; raises InputError where the axis is missing."""
        require_choice("position", self.position, tuple(POSITIONS))
        x = self.along(only(inputs))
        return Shape(x.time and self.axis != "time", (), x.channels)

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"{self.position} of {self.axis}"
