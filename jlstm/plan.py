"""A network's time step as one call of the C++ kernel.

    x -> [ x | every layer's output | ... | y ]        one row of numbers
    s -> [ h of lstm_1 | c of lstm_1 | ... ]           one array of states

Every layer becomes an operation that reads some places of the row and writes others. A
network that holds a layer of another kind has no plan, and its steps go through JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .activations import complete, spell
from .kernels import cpu, engines
from .layers import (
    Activation,
    Addition,
    Classification,
    Concatenation,
    Dropout,
    FullyConnected,
    Input,
    Multiplication,
    Regression,
    Scaling,
    Softmax,
)
from .layers.inputs import TARGETS
from .network import Network, State, init_state
from .recurrent import Recurrent

FUNCTIONS = {
    "relu", "leaky-relu", "clipped-relu", "elu", "tanh", "sigmoid", "hard-sigmoid",
    "softsign", "softplus", "swish", "gelu", "gelu-tanh",
}  # fmt: skip
"""Functions that the kernel has."""

NAMES = ("lstm", "gru-after", "gru-before")


class NoPlan(Exception):
    """Why a network has no plan."""


class Plan:
    """The compiled step of a network, with arrays for what it reads and writes.

    Arguments:
        net: the network; the weights are packed here, once.

    Raises:
        NoPlan: a layer that the kernel does not know, or no kernel.
    """

    def __init__(self, net: Network) -> None:
        build = _Build(net)
        self.dtype = np.dtype(net.dtype)
        outline = init_state(net)
        self._leaves, self._structure = jax.tree.flatten(outline)
        self._kernel = build.compiled(self.dtype)
        self._sizes = build.split
        self.outputs = build.outputs
        """How many numbers a step returns."""
        self.step = self._kernel.step
        """`step(x, state, y)`: flat arrays; `state` and `y` are overwritten."""
        self.run = self._kernel.run
        """`run(x (T, inputs), state, y (T, outputs))`: so many steps."""

    def flat(self, state: State) -> np.ndarray:
        """A state of the network as the array that `step` takes."""
        leaves = [np.ravel(np.asarray(a, self.dtype)) for a in jax.tree.leaves(state)]
        return np.concatenate(leaves) if leaves else np.zeros(0, self.dtype)

    def state(self, flat: np.ndarray) -> State:
        """The state of the network that an array holds."""
        ends = np.cumsum([np.size(a) for a in self._leaves])[:-1]
        return jax.tree.unflatten(self._structure, np.split(flat.copy(), ends))

    def split(self, y: np.ndarray) -> Any:
        """`y (..., outputs)` as the network returns it: a tuple of several outputs."""
        if len(self._sizes) == 1:
            return y
        ends = np.cumsum(self._sizes)[:-1]
        return tuple(np.split(y, ends, axis=-1))


class _Build:
    """The operations of a network, put together layer by layer."""

    def __init__(self, net: Network) -> None:
        missing = engines.missing()
        if missing is not None:
            raise NoPlan(missing)
        if net.dtype not in (np.float32, np.float64):
            raise NoPlan(f"precision {net.dtype}")
        self.net = net
        self.operations: list[tuple[Any, ...]] = []
        self.arrays: list[np.ndarray] = []
        self.places: dict[str, tuple[int, int]] = {}
        self.end = 0
        self.states = _state_places(net)
        for name in net.inputs:
            shape = net.layers[name].shape()
            if shape.space:
                raise NoPlan(f"layer '{name}' takes images")
            self.places[name] = self._room(shape.channels)
        self.inputs = self.end
        for name, refs in net.graph:
            layer = net.layers[name]
            make = MAKERS.get(type(layer)) or (
                _recurrent if isinstance(layer, Recurrent) else None
            )
            if make is None:
                raise NoPlan(f"layer '{name}' ({type(layer).__name__})")
            given = [self._place(ref) for ref in refs] or [self.places[name]]
            self.places[name] = make(self, name, layer, given)
        self._gather()

    def _gather(self) -> None:
        """Bring the outputs together, side by side."""
        given = [self._place(ref) for ref in self.net.outputs]
        self.split = [size for _, size in given]
        self.output_at, self.outputs = _concatenate(self, "", None, given)

    def _place(self, ref: str) -> tuple[int, int]:
        if "/" in ref:
            raise NoPlan(f"a wire carries the state {ref}")
        return self.places[ref]

    def _room(self, size: int) -> tuple[int, int]:
        self.end += size
        return self.end - size, size

    def add(
        self,
        name: str,
        given: Sequence[tuple[int, int]],
        size: int,
        *,
        sizes: tuple[int, ...] = (),
        constants: tuple[float, ...] = (),
        arrays: Sequence[Any] = (),
    ) -> tuple[int, int]:
        """An operation that writes `size` numbers to a new place of the row."""
        first = len(self.arrays)
        self.arrays += [np.asarray(a) for a in arrays]
        at = tuple(range(first, len(self.arrays)))
        place = self._room(size)
        where = tuple(start for start, _ in given)
        what = (name, where, place[0], (size, *sizes), constants, at)
        self.operations.append(what)
        return place

    def compiled(self, dtype: np.dtype) -> Any:
        """The program, its weights packed."""
        arrays = [np.ascontiguousarray(a, dtype) for a in self.arrays]
        states = sum(np.size(a) for a in jax.tree.leaves(init_state(self.net)))
        return cpu.kernel().Plan(
            self.operations, arrays, dtype == np.float64, self.inputs, self.outputs,
            self.output_at, states, self.end,
        )  # fmt: skip


def _state_places(net: Network) -> dict[str, list[int]]:
    """Where the parts of every layer's state lie in the flat state."""
    places: dict[str, list[int]] = {}
    end = 0
    # In the order of `jax.tree.leaves`, which sorts the names.
    for path, leaf in jax.tree_util.tree_leaves_with_path(init_state(net)):
        places.setdefault(path[0].key, []).append(end)
        end += np.size(leaf)
    return places


# --- one function a layer -------------------------------------------------------------

Places = Sequence[tuple[int, int]]
Maker = Callable[[_Build, str, Any, Places], tuple[int, int]]


def _recurrent(build: _Build, name: str, layer: Any, given: Places) -> Any:
    why = cpu.refusal(layer)
    if why is not None or len(given) != 1:
        raise NoPlan(f"layer '{name}': {why or 'a state that other layers bring'}")
    engine = cpu.Cpu.of(layer)
    return build.add(
        NAMES[engine.kind],
        given,
        layer.hidden_size,
        sizes=(given[0][1], *build.states[name]),
        constants=(float(engine.state), float(engine.gate)),
        arrays=engine.weights(cpu.multiplied_out(layer)),
    )


def _input(build: _Build, name: str, layer: Input, given: Places) -> Any:
    # A feature that was constant in training is divided by zero, as its formula says.
    with np.errstate(divide="ignore"):
        if layer.mean is not None:
            scale = 1.0 if layer.std is None else 1 / np.asarray(layer.std, np.float64)
            return _shifted(build, given[0], layer.mean, scale, 0.0)
        if layer.minimum is not None and layer.maximum is not None:
            low, high = map(float, layer.target or TARGETS[layer.normalization])
            wide = np.asarray(np.asarray(layer.maximum) - layer.minimum, np.float64)
            return _shifted(build, given[0], layer.minimum, (high - low) / wide, low)
    return given[0]


def _scaling(build: _Build, name: str, layer: Scaling, given: Places) -> Any:
    return _shifted(build, given[0], 0.0, layer.scale, layer.offset)


def _shifted(
    build: _Build, given: tuple[int, int], shift: Any, scale: Any, offset: Any
) -> tuple[int, int]:
    """`(x - shift) scale + offset`: x may be far larger than its span."""
    size = given[1]
    arrays = [np.broadcast_to(np.asarray(a), (size,)) for a in (shift, scale, offset)]
    return build.add("scale", [given], size, arrays=arrays)


def _dense(build: _Build, name: str, layer: FullyConnected, given: Places) -> Any:
    ((_, size),) = given
    if layer.flatten:
        raise NoPlan(f"layer '{name}' takes images")
    arrays = (layer.weights, layer.bias)
    return build.add("dense", given, len(layer.bias), sizes=(size,), arrays=arrays)


def _activation(build: _Build, name: str, layer: Activation, given: Places) -> Any:
    function, constants = complete(spell(layer.name, *layer.constants))
    if function == "identity":
        return given[0]
    if function not in FUNCTIONS:
        raise NoPlan(f"layer '{name}' ({function})")
    return build.add(function, given, given[0][1], constants=constants)


def _softmax(build: _Build, name: str, layer: Softmax, given: Places) -> Any:
    if layer.logarithm:
        raise NoPlan(f"layer '{name}' (log-softmax)")
    return build.add("softmax", given, given[0][1])


def _concatenate(build: _Build, name: str, layer: Any, given: Places) -> Any:
    start = build.end
    for place in given:
        build.add("copy", [place], place[1])
    return start, build.end - start


def _combine(operation: str) -> Maker:
    def make(build: _Build, name: str, layer: Any, given: Places) -> Any:
        if len({size for _, size in given}) > 1:
            raise NoPlan(f"layer '{name}' repeats an input")
        first, *others = given
        for other in others:
            first = build.add(operation, [first, other], first[1])
        return first

    return make


def _same(build: _Build, name: str, layer: Any, given: Places) -> Any:
    return given[0]


MAKERS: dict[type, Maker] = {
    Input: _input,
    Scaling: _scaling,
    FullyConnected: _dense,
    Activation: _activation,
    Softmax: _softmax,
    Concatenation: _concatenate,
    Addition: _combine("add"),
    Multiplication: _combine("multiply"),
    Dropout: _same,
    Regression: _same,
    Classification: _same,
}
"""How each kind of layer becomes operations."""
