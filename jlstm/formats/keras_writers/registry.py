"""The table of layers and their Keras layers, and the model that writers fill.

Keras has the batch first, `(batch, time?, *space, channels)`. It hands masks on by
itself: a writer says of its layer whether that goes well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ... import layers as L
from ...errors import Unsupported
from ...graph import Node
from ...network import Network
from ...pytree import Shape
from .masks import counted

LAYERS = "keras.layers"
OPERATIONS = "keras.src.ops.numpy"
FUNCTIONS = "keras.src.ops.math"


class Tensor(NamedTuple):
    """One of the outputs of a Keras layer; `sizes` without the batch, None for any."""

    layer: str
    output: int
    sizes: tuple[int | None, ...]


class Masked(NamedTuple):
    """The mask that Keras attaches to a tensor: where `source` differs from `value`."""

    source: str
    value: float


Weights = Mapping[str, list[np.ndarray]]
"""The arrays of a layer, by the part of it that owns them; "" is the layer itself."""


@dataclass(frozen=True)
class Entry:
    """A Keras layer of the model, and how it is called.

    Attributes:
        name: of the layer.
        class_name: of the layer, in `module`.
        config: what it is made of.
        inputs: what it is called with.
        listed: whether it takes its inputs as one list.
        state: the state it is called with, if any.
        key: the index it is called with, if any.
        operand: the number it is called with, if any.
        weights: its arrays.
        beside: arrays that Keras does not look at, by name.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    inputs: tuple[Tensor, ...] = ()
    listed: bool = False
    state: tuple[Tensor, ...] = ()
    key: tuple[Any, ...] = ()
    operand: float | None = None
    weights: Weights = field(default_factory=dict)
    module: str = LAYERS
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)


class Model:
    """The layers in the order in which they were added, and what they put out.

    Attributes:
        dtype: of all numbers.
        steps: of the sequences that come in, where only one number fits.
        names: what Keras calls the layers of the network.
        tensors: the Keras tensor of every value in the network, by reference.
        masks: the mask that Keras attaches to it, where it does.
    """

    def __init__(self, dtype: str, steps: int | None = None) -> None:
        self.dtype = dtype
        self.steps = steps
        self.entries: list[Entry] = []
        self.names: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self.masks: dict[str, Masked] = {}
        self._names: set[str] = set()

    def unique(self, name: str) -> str:
        """The name, or the name with a number where it is taken."""
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}_{number}"
        self._names.add(found)
        return found


class Place:
    """Where a layer stands in its network, and what its writer adds to the model."""

    def __init__(
        self, model: Model, net: Network, node: Node, shapes: Mapping[str, Shape]
    ) -> None:
        self.model, self.net, self.node, self.shapes = model, net, node, shapes

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.node.name

    @property
    def keras_name(self) -> str:
        """The name of the layer in the model."""
        return self.model.names[self.node.name]

    @property
    def inputs(self) -> list[Tensor]:
        """What comes in; masks are no tensors in Keras."""
        tensors = self.model.tensors
        return [tensors[ref] for ref in self.node.inputs if ref in tensors]

    @property
    def input_shapes(self) -> list[Shape]:
        """The shapes of what comes in, as jlstm has them."""
        return [self.shapes[ref] for ref in self.node.inputs]

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The shape of what comes out, as Keras has it, without the batch."""
        return sizes_of(self.shapes[self.name])

    @property
    def consumers(self) -> list[Node]:
        """The nodes that take the output."""
        return [node for node in self.net.graph if self.name in node.inputs]

    def add(
        self,
        class_name: str,
        *inputs: Tensor,
        part: str = "",
        sizes: tuple[int | None, ...] | None = None,
        weights: Weights | None = None,
        listed: bool = False,
        state: tuple[Tensor, ...] = (),
        beside: Mapping[str, np.ndarray] | None = None,
        **config: Any,
    ) -> Tensor:
        """Add a Keras layer; a `part` is one of several that the layer becomes."""
        name = self.keras_name
        if part:
            name = self.model.unique(f"{name}_{part}")
        settings = {"name": name, "dtype": self.model.dtype, **config}
        self.model.entries.append(
            Entry(
                name, class_name, settings, inputs, listed, state,
                weights=weights or {}, beside=beside or {},
            )
        )  # fmt: skip
        return Tensor(name, 0, self.sizes if sizes is None else sizes)

    def operation(
        self,
        class_name: str,
        x: Tensor,
        key: tuple[Any, ...] = (),
        *,
        operand: float | None = None,
        module: str = OPERATIONS,
        **config: Any,
    ) -> Tensor:
        """Add one of Keras's functions, that the model calls like a layer."""
        name = self.keras_name
        self.model.entries.append(
            Entry(
                name, class_name, {"name": name, **config}, (x,),
                key=key, operand=operand, module=module,
            )
        )  # fmt: skip
        return Tensor(name, 0, self.sizes)

    def each_step(
        self,
        class_name: str,
        x: Tensor,
        *,
        part: str = "",
        sizes: tuple[int | None, ...] | None = None,
        weights: Weights | None = None,
        **config: Any,
    ) -> Tensor:
        """A layer along space; where images come in a sequence, at every step of it.

        Needed by layers that take a fixed number of axes.
        """
        shape = self.input_shapes[0]
        if not (shape.time and shape.space):
            return self.add(
                class_name, x, part=part, sizes=sizes, weights=weights, **config
            )
        inner = entry(class_name, f"{self.keras_name}_step", self.model.dtype, config)
        owned = {f"layer/{key}".rstrip("/"): a for key, a in (weights or {}).items()}
        return self.add(
            "TimeDistributed", x, part=part, sizes=sizes, weights=owned, layer=inner
        )

    def cut(self, x: Tensor, steps: int, part: str = "") -> Tensor:
        """A vector as the steps of a sequence."""
        (size,) = x.sizes
        assert size is not None
        if self.node.inputs[0] in self.net.inputs and size == steps:
            # Directly behind an input it would read as a sequence of numbers.
            x = self.add("Identity", x, part="vector", sizes=x.sizes)
        sizes = (steps, size // steps)
        return self.add("Reshape", x, part=part, sizes=sizes, target_shape=list(sizes))

    def refuse(self, found: Any, why: str, do: str | None = None) -> NoReturn:
        """Raise because Keras has no such layer."""
        raise Unsupported(
            f"a Keras file cannot hold this layer: {why}",
            place=f"layer '{self.name}'",
            found=found,
            do=do,
        )


def sizes_of(shape: Shape) -> tuple[int | None, ...]:
    """A shape as Keras has it, without the batch."""
    lead = (None,) if shape.time else ()
    return (*lead, *shape.space, shape.channels)


def entry(
    class_name: str, name: str, dtype: str, config: Mapping[str, Any]
) -> dict[str, Any]:
    """A layer inside another one, as the configuration of the outer has it."""
    return {
        "module": LAYERS,
        "class_name": class_name,
        "config": {"name": name, "dtype": dtype, **config},
        "registered_name": None,
    }


# --- the table ------------------------------------------------------------------------

Writer = Callable[[Any, Place], Tensor]


class Known(NamedTuple):
    """A writer, and what Keras does with a mask there: "pass", "own" or "refuse"."""

    write: Writer
    mask: str


WRITERS: dict[type, Known] = {}


def writer(*classes: type, mask: str = "refuse") -> Callable[[Writer], Writer]:
    """Register a writer for classes of layers.

    `mask` says what becomes of the mask of the input: it goes on to the output
    ("pass"), the writer sees to it ("own"), or Keras would compute something else.
    """

    def register(function: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(classes, Known(function, mask)))
        return function

    return register


def write(layer: Any, place: Place) -> None:
    """Add a layer to the model.

    Raises:
        Unsupported: Keras has no such layer, or not with one of its settings.
    """
    model, name = place.model, place.name
    masks = [ref for ref in place.node.inputs if ref not in model.tensors]
    if (source := counted(place.net, place.node)) and source in model.masks:
        # Keras has zeros there already.
        model.masks[name] = model.masks[source]
        x = model.tensors[source]
        if name in place.net.outputs and name != f"{source}.counted":
            x = place.add("Identity", x)  # else the name would be lost
        model.tensors[name] = x
        return
    if isinstance(layer, L.Mask) or (masks and isinstance(layer, L.Flip)):
        return  # Keras makes and turns masks by itself: recurrent writers compare
    if type(layer) not in WRITERS:
        place.refuse(repr(layer), "it has none for it")
    if masks and type(layer) not in READS_MASKS:
        place.refuse(f"input '{masks[0]}'", "a mask is no value there")
    known = WRITERS[type(layer)]
    given = {model.masks.get(ref) for ref in place.node.inputs}
    if known.mask == "refuse" and given - {None}:
        place.refuse(
            f"{layer!r} after a mask",
            "Keras would drop the mask there, or compute something else",
        )
    if known.mask == "pass":
        if len(given) > 1:
            place.refuse("inputs with different masks", "Keras would combine them")
        if mask := next(iter(given), None):
            model.masks[name] = mask
    model.tensors[name] = known.write(layer, place)


READS_MASKS: set[type] = set()
"""The layers that take a mask as one of their inputs."""
