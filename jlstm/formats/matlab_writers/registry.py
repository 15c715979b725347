"""The table of layers and their writers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ...errors import Unsupported
from ...graph import PORTS, Node
from ...layers import Attention
from ...network import Factors, Network
from ...pytree import Shape
from ...recurrent import Recurrent
from ..registering import entering

PACKAGE = "nnet.cnn.layer."


class Expression(str):
    """MATLAB code, in a script as it is."""

    __slots__ = ()


class Parameter(NamedTuple):
    """A learnable array in MATLAB's shape.

    `paths` are the key paths of the arrays that it packs, one a gate, inside the layer.
    """

    array: np.ndarray
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """A layer as MATLAB has it, and how to make it there.

    Attributes:
        kind: its class, without the package where that is `nnet.cnn.layer`.
        call: the function that makes it.
        since: the release from which that call works.
        arguments: what the function takes without a name.
        settings: public properties that the function takes by name.
        parameters: learnable arrays, public properties that it takes by name.
        arrays: other arrays that are public properties that it takes by name.
        properties: public properties that follow from the rest.
        options: what the function takes by name and is no public property.
        initial, current: the states of a recurrent layer, by property.
        is_output: whether it is an output layer, which a dlnetwork does not have.
    """

    kind: str
    call: str
    since: str = "R2016a"
    arguments: tuple[Any, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, np.ndarray] = field(default_factory=dict)
    current: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_output: bool = False

    @property
    def class_name(self) -> str:
        """The whole name of the class."""
        return self.kind if "." in self.kind else PACKAGE + self.kind

    def factors(self, given: Mapping[str, Factors], prefix: str) -> dict[str, Any]:
        """Learn-rate and L2 factors under their MATLAB names: a number, or one a gate.

        Arguments:
            given: the factors of the network by key path.
            prefix: the key path of the layer.
        """
        found: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            rates, decays = [], []
            for path in parameter.paths:
                usual = 0.0 if path.endswith("bias") else 1.0
                entry = given.get(prefix + path) or Factors(path, 1.0, usual)
                rates.append(float(entry.learn_rate))
                decays.append(float(entry.l2))
            for word, values in (("LearnRateFactor", rates), ("L2Factor", decays)):
                same = all(value == values[0] for value in values)
                found[name + word] = values[0] if same else tuple(values)
        return found


class Place(NamedTuple):
    """Where a layer stands in its network."""

    net: Network
    node: Node
    shapes: Mapping[str, Shape]
    gives_state: bool
    """Whether something is connected to its state."""

    @property
    def inputs(self) -> list[Shape]:
        """The shapes of what comes in."""
        return [self.shapes[ref] for ref in self.node.inputs]

    @property
    def space(self) -> int:
        """The number of space axes of what comes in first."""
        return len(self.inputs[0].space)

    def refuse(self, found: Any, why: str, do: str | None = None) -> NoReturn:
        """Raise because MATLAB has no such layer."""
        raise Unsupported(
            f"MATLAB cannot be given this layer: {why}",
            place=f"layer '{self.node.name}'",
            found=found,
            do=do,
        )


Writer = Callable[[Any, Place], Written]
WRITERS: dict[type, Writer] = {}
writer = entering(WRITERS)
"""Register a writer for classes of layers."""


def write(layer: Any, place: Place) -> Written:
    """What a layer is in MATLAB.

    Raises:
        Unsupported: MATLAB has no constructor for it, or for one of its settings.
    """
    if type(layer) not in WRITERS:
        place.refuse(repr(layer), "it has no counterpart there")
    if isinstance(layer, Recurrent) and layer.extensions:
        place.refuse(", ".join(layer.extensions), "its layer has no such setting")
    return WRITERS[type(layer)](layer, place)


def input_ports(net: Network, name: str) -> tuple[str, ...]:
    """The names of the inputs of a layer; one alone needs none."""
    count = next(len(node.inputs) for node in net.graph if node.name == name)
    layer = net.layers[name]
    if count < 2:
        return ("",) * count
    if isinstance(layer, Recurrent):
        return ("in", *PORTS[: count - 1])
    if isinstance(layer, Attention):
        return ("query", "key", "value")
    return tuple(f"in{k}" for k in range(1, count + 1))


def per_channel(array: Any, space: int) -> np.ndarray:
    """An array `(channels,)` as MATLAB shapes it: channels follow the space axes."""
    array = np.asarray(array)
    return array.reshape(*(1,) * space, -1) if space else array.reshape(-1, 1)
