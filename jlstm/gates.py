"""What every recurrent layer is made of: gates, and how they are packed and run.

The layers themselves, with their equations, are in `recurrent.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from . import kernels
from .activations import parse
from .errors import InputError
from .layers.base import Layer, only, require, require_choice
from .pytree import Array, Shape, pytree

STATE_ACTIVATIONS = ("tanh", "softsign", "relu")
GATE_ACTIVATIONS = ("sigmoid", "hard-sigmoid")
"""The functions that MATLAB has for the state and for the gates."""
OUTPUT_MODES = ("sequence", "last")


@pytree
class Gate:
    """The parameters of one gate: `input_weights x + recurrent_weights h + bias`.

    Shapes: `input_weights (H, C)`, `recurrent_weights (H, H)`, `bias (H,)`. In a
    projected layer the second axes are the widths of the projections. A
    `recurrent_bias (H,)` exists only in a GRU that resets after a biased product.
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array
    recurrent_bias: Array | None = None


@pytree
class Peephole:
    """Weights `(H,)` by which the gates see the cell: `i`, `f` the old, `o` the new."""

    i: Array
    f: Array
    o: Array


class Packed(NamedTuple):
    """Gate-split parameters laid side by side, for the length of one call."""

    input_weights: Array
    recurrent_weights: Array
    bias: Array
    recurrent_bias: Array | None


class Recurrent(Layer):
    """A layer with a state: what `Network` and the engine ask of it."""

    gates: tuple[str, ...]
    signals: tuple[str, ...]
    ports: tuple[str, ...]
    """Names under which wires carry the parts of the state."""
    output_mode: str
    state_activation: str
    gate_activation: str = "sigmoid"
    clip: float | None = None
    """Bound of what the gates take, `[-clip, clip]`."""
    masked: bool = False
    """Whether its second input is a mask: where that is 0, the state stands still."""
    biased_recurrence: bool = False
    """Whether the recurrent product has a bias of its own."""
    input_projector: Array | None = None
    output_projector: Array | None = None

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units."""
        return getattr(self, self.gates[0]).bias.shape[-1]

    @property
    def input_size(self) -> int:
        """C, the number of input features."""
        if self.input_projector is not None:
            return self.input_projector.shape[-2]
        return getattr(self, self.gates[0]).input_weights.shape[-1]

    @property
    def output_size(self) -> int:
        """Width of the output."""
        return self.hidden_size

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Widths of the parts of the state, in the order of `ports`."""
        return (self.output_size, self.hidden_size)[: len(self.ports)]

    @property
    def extensions(self) -> tuple[str, ...]:
        """What goes beyond MATLAB's layer of this name, such as "clip 3"."""
        found = []
        for kind, spec, known in (
            ("state", self.state_activation, STATE_ACTIVATIONS),
            ("gate", self.gate_activation, GATE_ACTIVATIONS),
        ):
            if spec not in known:
                found.append(f"{kind} activation {spec}")
        if self.clip is not None:
            found.append(f"clip {self.clip:g}")
        return (*found, "masked") if self.masked else tuple(found)

    @property
    def dtype(self) -> np.dtype:
        """Precision of the parameters, and so of the computation."""
        return np.dtype(getattr(self, self.gates[0]).bias.dtype)

    def shape(self, *inputs: Shape) -> Shape:
        """Shape of the output for an input `(time?, C)` and the mask, if there is one.

        Raises:
            InputError: the input does not fit, or the parameters contradict each other.
        """
        self.check()
        x = only(inputs[:1])
        if self.masked:
            require(
                inputs[1:] == (Shape(x.time, (), 1),),
                "a masked layer takes a mask beside its input",
                found=", ".join(map(str, inputs[1:])) or "no mask",
                expected=Shape(x.time, (), 1),
            )
        if x.space:
            raise InputError(
                "a recurrent layer takes vectors, not images",
                found=x,
                expected=f"(time, {self.input_size})",
                do="put a flatten layer before it",
            )
        if x.channels != self.input_size:
            raise InputError(
                "input width differs from the input weights",
                found=x,
                expected=f"(time, {self.input_size})",
            )
        return Shape(x.time and self.output_mode == "sequence", (), self.output_size)

    def check(self) -> None:
        """Refuse parameters and settings that contradict each other."""
        layer: Any = self
        require_choice("output mode", layer.output_mode, OUTPUT_MODES)
        parse(layer.state_activation)
        parse(layer.gate_activation)
        require(
            self.clip is None or self.clip > 0,
            "the bound of the gates' inputs is not positive",
            found=self.clip,
            expected="a positive number, or None",
        )
        hidden, features, width = self.hidden_size, self.input_size, self.output_size
        if self.input_projector is not None:
            features = self.input_projector.shape[-1]
        if self.output_projector is not None:
            width = self.output_projector.shape[-1]
            require_shape("output_projector", self.output_projector, (hidden, width))
        biased = self.biased_recurrence
        for name in self.gates:
            gate: Gate = getattr(self, name)
            for field, array, shape in (
                ("input_weights", gate.input_weights, (hidden, features)),
                ("recurrent_weights", gate.recurrent_weights, (hidden, width)),
                ("bias", gate.bias, (hidden,)),
                ("recurrent_bias", gate.recurrent_bias, (hidden,) if biased else None),
            ):
                require_shape(f"{name}.{field}", array, shape)

    def pack(self) -> Packed:
        """Lay the gates side by side, in the order of `gates`."""
        gates = [getattr(self, name) for name in self.gates]
        recurrent_bias = None
        if gates[0].recurrent_bias is not None:
            recurrent_bias = jnp.concatenate([gate.recurrent_bias for gate in gates])
        return Packed(
            jnp.concatenate([gate.input_weights for gate in gates]),
            jnp.concatenate([gate.recurrent_weights for gate in gates]),
            jnp.concatenate([gate.bias for gate in gates]),
            recurrent_bias,
        )

    def project(self, packed: Packed, x: Array) -> Array:
        """`W x + b` for one step or all steps: the part that needs no state."""
        if self.input_projector is not None:
            x = kernels.dot(x, self.input_projector)
        return kernels.transform(packed.input_weights, x) + packed.bias

    def recur(self, weights: Array, h: Array) -> Array:
        """`R h`, through the output projector where there is one."""
        if self.output_projector is not None:
            h = kernels.dot(h, self.output_projector)
        return kernels.dot(weights, h)

    def clipped(self, z: Array) -> Array:
        """What an activation of a gate takes, within the bounds where there are any."""
        return z if self.clip is None else jnp.clip(z, -self.clip, self.clip)

    def cell(self, packed: Packed, z: Array, state: Any) -> tuple[Any, dict]:
        """One step from the projected input `z`: the new state and all signals."""
        raise NotImplementedError

    @property
    def joins(self) -> bool:
        """Whether all that the gates take is one product, `joint [h; x; 1]`."""
        projected = self.input_projector, self.output_projector
        return all(projector is None for projector in projected)

    def joint(self) -> tuple[Array, ...]:
        """The matrix of that product, `(H, H + C + 1)` for each of the gates.

        `(H, C + 1)` where one takes the input alone.
        """
        gates = [getattr(self, name) for name in self.gates]
        return tuple(
            jnp.concatenate(
                [gate.recurrent_weights, gate.input_weights, gate.bias[:, None]], axis=1
            )
            for gate in gates
        )

    def respond(self, gates: Sequence[Array], state: Any) -> tuple[Any, dict]:
        """The rest of the step, elementwise: from what the gates take to the state."""
        raise NotImplementedError

    def init_state(self) -> Any:
        """The zero state."""
        raise NotImplementedError

    def run(
        self,
        state: Any,
        x: Array,
        length: Array | None = None,
        mask: Array | None = None,
        *,
        trace: bool = False,
        engine: str = "xla",
        rematerialise: bool = False,
    ) -> tuple[Any, Array, dict[str, Array]]:
        """Run over a whole sequence `(time, C)`, or over its first `length` steps.

        Where `mask (time, 1)` is 0, the state and the output stand still.

        Returns:
            the final state, the output (`(time, H)`, or `(H,)` in output mode
            "last"), and the signals of every step by name, with `trace` all of them.
        """
        state, signals = kernels.scan(
            self,
            state,
            x,
            length,
            mask,
            trace=trace,
            engine=engine,
            rematerialise=rematerialise,
        )
        y = signals["h"] if self.output_mode == "sequence" else state.h
        return state, y, signals

    def step(
        self, state: Any, x: Array, mask: Array | None = None
    ) -> tuple[Any, Array, dict[str, Array]]:
        """Run one time step, `x (C,)`; the output is `(H,)` in every output mode."""
        packed = self.pack()
        new, signals = self.cell(packed, self.project(packed, x), state)
        if mask is not None:
            new, signals = kernels.stand_still(mask[0] == 0, state, new, signals)
        return new, signals["h"], signals


def require_shape(
    name: str, array: Array | None, shape: tuple[int, ...] | None
) -> None:
    """Refuse an array of another shape; None stands for no array."""
    found = None if array is None else tuple(array.shape)
    require(
        found == shape,
        f"{name} contradicts the rest of the layer",
        found="none" if found is None else f"shape {found}",
        expected="none" if shape is None else f"shape {shape}",
    )
