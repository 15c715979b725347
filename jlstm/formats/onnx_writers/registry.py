"""The table of layers and their ONNX operators, and the graph that writers fill.

In the graph a value of shape `(time?, *space, channels)` is an array
`(time?, batch, *space, channels)`: the layout of ONNX's recurrent operators, channels
last as in jlstm. Writers that need another one turn the axes there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ...errors import Unsupported
from ...graph import Node
from ...network import Network
from ...pytree import Shape
from ..registering import entering


class Call(NamedTuple):
    """One operator: its kind, what goes in and comes out by name, its attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    attributes: dict[str, Any]


class StateInput(NamedTuple):
    """An input of the graph that has a default: a state that a layer starts from."""

    name: str
    layer: str


class Graph:
    """Operators, stored arrays and names, in the order in which they were added."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.values: dict[str, str] = {}
        """The name in the graph of every value in the network, by reference."""
        self.state_inputs: list[StateInput] = []
        self.state_outputs: list[tuple[str, int]] = []
        self._names: set[str] = set()

    def unique(self, name: str) -> str:
        """The name, or the name with a number where it is taken."""
        found, number = name, 1
        while found in self._names:
            number += 1
            found = f"{name}_{number}"
        self._names.add(found)
        return found

    def reserve(self, name: str) -> str:
        """The name itself.

        Raises:
            Unsupported: something else is called so.
        """
        if self.unique(name) != name:
            raise Unsupported(
                "two values of an ONNX graph would have one name",
                place=f"layer '{name}'",
                found=name,
                do="rename the layer",
            )
        return name


class Place:
    """Where a layer stands in its network, and what its writer adds to the graph."""

    def __init__(
        self, graph: Graph, net: Network, node: Node, shapes: Mapping[str, Shape]
    ) -> None:
        self.graph, self.net, self.node, self.shapes = graph, net, node, shapes

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.node.name

    @property
    def inputs(self) -> list[str]:
        """The values that come in, by their names in the graph."""
        return [self.graph.values[ref] for ref in self.node.inputs]

    @property
    def input_shapes(self) -> list[Shape]:
        """The shapes of what comes in, as jlstm has them: without a batch axis."""
        return [self.shapes[ref] for ref in self.node.inputs]

    def array(self, word: str, value: Any) -> str:
        """Store an array of the layer."""
        name = self.graph.unique(f"{self.name}.{word}")
        self.graph.arrays[name] = np.asarray(value)
        return name

    def number(self, word: str, value: float) -> str:
        """Store a number in single precision."""
        return self.array(word, np.float32(value))

    def sizes(self, word: str, *values: int) -> str:
        """Store a list of sizes or axes."""
        return self.array(word, np.array(values, np.int64))

    def calls(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list:
        """Add an operator of several outputs: their names."""
        name = self.graph.unique(f"{self.name}/{op}")
        given = [self.graph.unique(f"{name}:{k}") for k in range(outputs)]
        self.graph.calls.append(Call(op, inputs, tuple(given), name, attributes))
        return given

    def call(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator: the name of its output."""
        name = self.graph.unique(f"{self.name}/{op}")
        self.graph.calls.append(Call(op, inputs, (name,), name, attributes))
        return name

    def main(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add the operator that computes the layer: readers look for the name there."""
        value = self.call(op, *inputs, **attributes)
        self.graph.calls[-1] = self.graph.calls[-1]._replace(name=self.name)
        return value

    def chain(self, x: str, *operators: str) -> str:
        """Operators of one input, one after another."""
        for op in operators:
            x = self.call(op, x)
        return x

    def reshape(self, x: str, *sizes: int) -> str:
        """Reshape; 0 keeps the length of an axis."""
        return self.call("Reshape", x, self.sizes("shape", *sizes))

    def transpose(self, x: str, *axes: int) -> str:
        """Reorder the axes, unless they are in order."""
        if axes == tuple(range(len(axes))):
            return x
        return self.call("Transpose", x, perm=list(axes))

    def refuse(self, found: Any, why: str, do: str | None = None) -> NoReturn:
        """Raise because ONNX has no such layer."""
        raise Unsupported(
            f"an ONNX graph cannot hold this layer: {why}",
            place=f"layer '{self.name}'",
            found=found,
            do=do,
        )


Writer = Callable[[Any, Place], str]
WRITERS: dict[type, Writer] = {}
writer = entering(WRITERS)
"""Register a writer for classes of layers; it returns the name of the output."""


def write(layer: Any, place: Place) -> None:
    """Add a layer to the graph; its output has the name of the layer.

    Raises:
        Unsupported: ONNX has no operators for it, or for one of its settings.
    """
    if type(layer) not in WRITERS:
        place.refuse(repr(layer), "there are no operators for it")
    calls = place.graph.calls
    before = len(calls)
    value = WRITERS[type(layer)](layer, place)
    if place.node.inputs:
        # What an input layer puts out may be what came in, or that normalised.
        if len(calls) == before or value not in calls[-1].outputs:
            value = place.call("Identity", value)
        # The operator of a recurrent layer has the name of the layer already.
        taken = any(call.name == place.name for call in calls[before:])
        name = calls[-1].name if taken else place.name
        calls[-1] = calls[-1]._replace(outputs=(place.name,), name=name)
        value = place.name
    place.graph.values[place.name] = value
