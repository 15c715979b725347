"""Output layers: identities at prediction that name what comes out."""

from __future__ import annotations

from ..pytree import Array, Shape, pytree, static
from .base import Layer, only, require


def _named(x: Shape, names: tuple[str, ...], what: str) -> Shape:
    require(
        not names or len(names) == x.channels,
        f"as many outputs as {what} are needed",
        found=f"{x.channels} outputs",
        expected=f"{len(names)}: {', '.join(names)}",
    )
    return x


@pytree
class Regression(Layer):
    """End of a network that predicts numbers; `responses` are their names, if any."""

    responses: tuple[str, ...] = static(default=())

    def __call__(self, *inputs: Array) -> Array:
        """Return the input."""
        (x,) = inputs
        return x

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input; raises InputError unless every channel has a name."""
        return _named(only(inputs), self.responses, "responses")

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return ", ".join(self.responses)


@pytree
class Classification(Layer):
    """End of a network that scores classes; `classes` are their names in score order.

    No names: an untrained network, whose classes are still to be found in its data.
    """

    classes: tuple[str, ...] = static(default=())

    def __call__(self, *inputs: Array) -> Array:
        """Return the input, the scores."""
        (x,) = inputs
        return x

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input; raises InputError unless there is a score a class."""
        return _named(only(inputs), self.classes, "classes")

    def describe(self) -> str:
        """One phrase for the table of layers."""
        if len(self.classes) > 6:
            return f"{len(self.classes)} classes"
        return ", ".join(self.classes)
