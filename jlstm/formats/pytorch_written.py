"""A layer in PyTorch: its module, its tensors, and the line that calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..errors import Unsupported
from ..graph import Node
from ..network import Network
from ..pytree import Shape
from .registering import entering


class Rows(NamedTuple):
    """Which rows of which tensor an array of jlstm is; its axes perhaps reversed."""

    tensor: str
    start: int
    stop: int
    reversed: bool = False


@dataclass(frozen=True)
class Written:
    """A layer in PyTorch.

    Attributes:
        call: what it computes from `{x}`, an expression; `{self}` is its module.
        make: the expression that makes its module, if it has one.
        tensors: by their name inside the module.
        arrays: for the key path of every array inside the layer, the rows it is.
        zeros: tensors that torch has and jlstm has not, all zeros.
        uses: definitions of `pytorch_runtime.py` that it needs.
        state: whether the call takes and gives a state, too.
    """

    call: str
    make: str | None = None
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    arrays: Mapping[str, Rows] = field(default_factory=dict)
    zeros: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    state: bool = False


class Place(NamedTuple):
    """Where a layer stands in its network."""

    net: Network
    node: Node
    shapes: Mapping[str, Shape]

    @property
    def inputs(self) -> list[Shape]:
        """The shapes of what comes in."""
        return [self.shapes[ref] for ref in self.node.inputs]

    def refuse(self, found: Any, why: str, do: str | None = None) -> NoReturn:
        """Raise because the file for PyTorch cannot hold this layer."""
        raise Unsupported(
            f"PyTorch is not given this layer: {why}",
            place=f"layer '{self.node.name}'",
            found=found,
            do=do,
        )


Writer = Callable[[Any, Place], Written]
WRITERS: dict[type, Writer] = {}
writer = entering(WRITERS)
"""Register a writer for classes of layers."""


def write(layer: Any, place: Place) -> Written:
    """What a layer is in PyTorch.

    Raises:
        Unsupported: there is no such thing, or it is not written.
    """
    if type(layer) not in WRITERS:
        place.refuse(repr(layer), "it is not written")
    return WRITERS[type(layer)](layer, place)


def whole(layer: Any, **names: str) -> dict[str, Any]:
    """Tensors and arrays of a layer that PyTorch has in the same shape.

    Arguments:
        layer: the layer.
        names: the name inside the module for each field.
    """
    tensors = {inside: np.asarray(getattr(layer, f)) for f, inside in names.items()}
    # A single number is one row.
    rows = {n: (*array.shape, 1)[0] for n, array in tensors.items()}
    arrays = {f".{f}": Rows(n, 0, rows[n]) for f, n in names.items()}
    return {"tensors": tensors, "arrays": arrays}
