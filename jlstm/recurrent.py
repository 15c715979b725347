"""The recurrent layers: their parameters, their equations, their states.

Notation: C input features, H hidden units, T time steps; `*` is elementwise, `W x` a
matrix product. One sequence is `(time, features)`; batches are `jax.vmap`. Parameters
are split by gate; how they are packed for speed is nobody's business but the engine's.

Sources: Hochreiter & Schmidhuber 1997, Gers & Schmidhuber 2000 (forget gate, peephole
connections), Cho et al. 2014 (GRU); MathWorks reference pages nnet.cnn.layer.lstmlayer,
.bilstmlayer, .grulayer, .lstmprojectedlayer, .gruprojectedlayer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from . import kernels
from .activations import activation, parse
from .errors import InputError
from .gates import (
    GATE_ACTIVATIONS,
    OUTPUT_MODES,
    STATE_ACTIVATIONS,
    Gate,
    Packed,
    Peephole,
    Recurrent,
    require_shape,
)
from .layers.base import require, require_choice
from .pytree import Array, pytree, static

__all__ = [
    "GATE_ACTIVATIONS",
    "GRU",
    "LSTM",
    "MERGES",
    "OUTPUT_MODES",
    "RESET_MODES",
    "RNN",
    "STATE_ACTIVATIONS",
    "Bidirectional",
    "BidirectionalState",
    "GRUState",
    "Gate",
    "LSTMState",
    "Packed",
    "Peephole",
    "Recurrent",
]

MERGES = ("concat", "sum", "mul", "ave")
"""How the outputs of two directions become one, in the words of Keras."""
RESET_MODES = (
    "after-multiplication",
    "before-multiplication",
    "recurrent-bias-after-multiplication",
)


class LSTMState(NamedTuple):
    """What an LSTM carries from step to step: output `h (H,)` and cell `c (H,)`."""

    h: Array
    c: Array


class GRUState(NamedTuple):
    """What a GRU carries from step to step: its output `h (H,)`."""

    h: Array


class BidirectionalState(NamedTuple):
    """The states of the two directions, each starting at its own end."""

    forward: Any
    backward: Any


@pytree
class LSTM(Recurrent):
    """Long short-term memory.

        i = gate(W_i x + R_i h + b_i  [+ p_i * c])        input gate
        f = gate(W_f x + R_f h + b_f  [+ p_f * c])        forget gate
        g = state(W_g x + R_g h + b_g)                    cell candidate
        c' = f * c + i * g
        o = gate(W_o x + R_o h + b_o  [+ p_o * c'])       output gate
        h' = o * state(c')

    `state_activation` is used twice, on `g` and on `c'`, unless there is an
    `output_activation` for `c'`. The functions are those of `activations`. Brackets:
    only with a `peephole`. With projectors, `x` is replaced by `Q_in' x` and `h` by
    `Q_out' h` inside the gates (MATLAB's lstmProjectedLayer): `input_projector
    (C, P_in)`, `output_projector (H, P_out)`. With a `projection (P, H)`,

        h' = projection (o * state(c'))

    and `h`, the output and the recurrent weights `(H, P)` have its width (torch's
    `proj_size`; Sak et al. 2014). Other tools also bound what the activations of the
    gates take (`clip`, ONNX) or the cell (`cell_clip`, TensorFlow), and couple two
    gates (`coupled`: f = 1 - i, the parameters of f play no part; Greff et al. 2015).
    """

    i: Gate
    f: Gate
    g: Gate
    o: Gate
    peephole: Peephole | None = None
    input_projector: Array | None = None
    output_projector: Array | None = None
    projection: Array | None = None
    state_activation: str = static(default="tanh")
    gate_activation: str = static(default="sigmoid")
    output_activation: str | None = static(default=None)
    clip: float | None = static(default=None)
    cell_clip: float | None = static(default=None)
    coupled: bool = static(default=False)
    masked: bool = static(default=False)
    output_mode: str = static(default="sequence")

    gates = ("i", "f", "g", "o")
    signals = ("i", "f", "g", "o", "c", "h")
    ports = ("hidden", "cell")

    @property
    def output_size(self) -> int:
        """Width of the output: that of the projection, if there is one."""
        if self.projection is not None:
            return self.projection.shape[0]
        return self.hidden_size

    @property
    def extensions(self) -> tuple[str, ...]:
        """What goes beyond MATLAB's layer."""
        found = [*super().extensions]
        if self.output_activation is not None:
            found.append(f"output activation {self.output_activation}")
        if self.cell_clip is not None:
            found.append(f"cell clip {self.cell_clip:g}")
        found += ["coupled gates"] if self.coupled else []
        return (*found, *(["projection"] if self.projection is not None else []))

    def check(self) -> None:
        """Refuse parameters and settings that contradict each other."""
        super().check()
        for name in ("i", "f", "o") if self.peephole is not None else ():
            weights = getattr(self.peephole, name)
            require_shape(f"peephole.{name}", weights, (self.hidden_size,))
        if self.projection is not None:
            require_shape(
                "projection", self.projection, (self.output_size, self.hidden_size)
            )
            require(
                self.output_projector is None,
                "a projection of the output and a projector of the recurrence",
                found="both",
                expected="one of them",
            )
        if self.output_activation is not None:
            parse(self.output_activation)
        require(
            self.cell_clip is None or self.cell_clip > 0,
            "the bound of the cell is not positive",
            found=self.cell_clip,
            expected="a positive number, or None",
        )

    def cell(
        self, packed: Packed, z: Array, state: LSTMState
    ) -> tuple[LSTMState, dict]:
        """The equations above, from `z = W x + b`."""
        z = z + self.recur(packed.recurrent_weights, state.h)
        return self.respond(jnp.split(z, 4), state)

    def respond(
        self, gates: Sequence[Array], state: LSTMState
    ) -> tuple[LSTMState, dict]:
        """The equations above, from what the gates take."""
        gate = activation(self.gate_activation)
        squash = activation(self.state_activation)
        leave = activation(self.output_activation or self.state_activation)
        clipped = self.clipped
        z_i, z_f, z_g, z_o = gates
        if self.peephole is not None:
            z_i = z_i + self.peephole.i * state.c
            z_f = z_f + self.peephole.f * state.c
        i, g = gate(clipped(z_i)), squash(clipped(z_g))
        f = 1 - i if self.coupled else gate(clipped(z_f))
        c = f * state.c + i * g
        if self.cell_clip is not None:
            c = jnp.clip(c, -self.cell_clip, self.cell_clip)
        if self.peephole is not None:
            z_o = z_o + self.peephole.o * c
        o = gate(clipped(z_o))
        h = o * leave(c)
        if self.projection is not None:
            h = kernels.dot(self.projection, h)
        return LSTMState(h, c), dict(i=i, f=f, g=g, o=o, c=c, h=h)

    @property
    def joins(self) -> bool:
        """Not where the step has other weights as well."""
        return super().joins and self.peephole is None and self.projection is None

    def init_state(self) -> LSTMState:
        """`h = c = 0`."""
        h, c = (np.zeros(size, self.dtype) for size in self.state_sizes)
        return LSTMState(h, c)

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return _describe(self, "peephole" if self.peephole is not None else "")


@pytree
class GRU(Recurrent):
    """Gated recurrent unit, in the three forms that occur.

        r = gate(W_r x + b_r + R_r h)                     reset gate
        z = gate(W_z x + b_z + R_z h)                     update gate
        n = state(W_n x + b_n + r * (R_n h))              after-multiplication
        n = state(W_n x + b_n + R_n (r * h))              before-multiplication
        n = state(W_n x + b_n + r * (R_n h + b_Rn))       recurrent-bias-after-...
        h' = (1 - z) * n + z * h

    The third form has a `recurrent_bias` in every gate. It equals torch, and Keras with
    `reset_after=True`; the second equals Keras with `reset_after=False`; the first,
    which is MATLAB's default, equals the third with zero recurrent biases. MATLAB calls
    the candidate `n` h; projectors act as in `LSTM`.
    """

    r: Gate
    z: Gate
    n: Gate
    input_projector: Array | None = None
    output_projector: Array | None = None
    state_activation: str = static(default="tanh")
    gate_activation: str = static(default="sigmoid")
    reset_mode: str = static(default="after-multiplication")
    clip: float | None = static(default=None)
    masked: bool = static(default=False)
    output_mode: str = static(default="sequence")

    gates = ("r", "z", "n")
    signals = ("r", "z", "n", "h")
    ports = ("hidden",)

    @property
    def biased_recurrence(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Only in the third form."""
        return self.reset_mode == RESET_MODES[2]

    def check(self) -> None:
        """Refuse parameters and settings that contradict each other."""
        require_choice("reset mode", self.reset_mode, RESET_MODES)
        super().check()

    def cell(self, packed: Packed, z: Array, state: GRUState) -> tuple[GRUState, dict]:
        """The equations above, from `z = W x + b`."""
        gate = activation(self.gate_activation)
        hidden = self.hidden_size
        x_r, x_z, x_n = jnp.split(z, 3)
        weights = packed.recurrent_weights
        if self.reset_mode == "before-multiplication":
            h_r, h_z = jnp.split(self.recur(weights[: 2 * hidden], state.h), 2)
            r = gate(self.clipped(x_r + h_r))
            n = x_n + self.recur(weights[2 * hidden :], r * state.h)
            return self._moved(r, x_z + h_z, n, state)
        product = self.recur(weights, state.h)
        if packed.recurrent_bias is not None:
            product = product + packed.recurrent_bias
        h_r, h_z, h_n = jnp.split(product, 3)
        return self.respond((x_r + h_r, x_z + h_z, x_n, h_n), state)

    @property
    def joins(self) -> bool:
        """Where the reset gate acts after the product."""
        return super().joins and self.reset_mode != "before-multiplication"

    def joint(self) -> tuple[Array, ...]:
        """For r, z, the input's part of n, without columns for h, and the state's."""
        *first, candidate = super().joint()
        n, width = self.n, self.hidden_size
        if n.recurrent_bias is None:
            own = jnp.zeros_like(n.bias)
        else:
            own = n.recurrent_bias
            extra = [self.r.recurrent_bias, self.z.recurrent_bias]
            first = [
                jnp.asarray(m).at[:, -1].add(b)
                for m, b in zip(first, extra, strict=True)
            ]
        of_input = candidate[:, width:]
        none = jnp.zeros_like(n.input_weights)
        of_state = jnp.concatenate([n.recurrent_weights, none, own[:, None]], axis=1)
        return (*first, of_input, of_state)

    def respond(self, gates: Sequence[Array], state: GRUState) -> tuple[GRUState, dict]:
        """The equations above, from `r`, `z` and the two parts of `n`."""
        r, z, x_n, h_n = gates
        r = activation(self.gate_activation)(self.clipped(r))
        return self._moved(r, z, x_n + r * h_n, state)

    def _moved(
        self, r: Array, z: Array, n: Array, state: GRUState
    ) -> tuple[GRUState, dict]:
        update = activation(self.gate_activation)(self.clipped(z))
        n = activation(self.state_activation)(self.clipped(n))
        h = (1 - update) * n + update * state.h
        return GRUState(h), dict(r=r, z=update, n=n, h=h)

    def init_state(self) -> GRUState:
        """`h = 0`."""
        return GRUState(np.zeros(self.hidden_size, self.dtype))

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return _describe(self, self.reset_mode)


@pytree
class RNN(Recurrent):
    """Elman's recurrent network, a layer without gates.

        h' = state(W x + R h + b)

    `n` holds W, R and b. Source: Elman 1990; torch nn.RNN, Keras SimpleRNN, ONNX RNN.
    """

    n: Gate
    state_activation: str = static(default="tanh")
    clip: float | None = static(default=None)
    masked: bool = static(default=False)
    output_mode: str = static(default="sequence")

    gates = ("n",)
    signals = ("h",)
    ports = ("hidden",)

    def cell(self, packed: Packed, z: Array, state: GRUState) -> tuple[GRUState, dict]:
        """The equation above, from `z = W x + b`."""
        z = z + self.recur(packed.recurrent_weights, state.h)
        return self.respond((z,), state)

    def respond(self, gates: Sequence[Array], state: GRUState) -> tuple[GRUState, dict]:
        """The equation above, from what the gate takes."""
        h = activation(self.state_activation)(self.clipped(gates[0]))
        return GRUState(h), dict(h=h)

    def init_state(self) -> GRUState:
        """`h = 0`."""
        return GRUState(np.zeros(self.hidden_size, self.dtype))

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return _describe(self, "")


@pytree
class Bidirectional(Recurrent):
    """Two recurrent layers over the same input, one of them backwards in time.

        y_t = [forward_t ; backward_t]                    (time, 2H)

    or, by `merge`, their sum, product ("mul") or mean ("ave"). The backward layer
    starts at the last step; its outputs are put back into the order of time. In output
    mode "last" each half is taken where that direction ends: forward at the last step,
    backward at the first. A mask serves both directions.
    """

    forward: LSTM | GRU | RNN
    backward: LSTM | GRU | RNN
    output_mode: str = static(default="sequence")
    merge: str = static(default="concat")
    masked: bool = static(default=False)

    needs_whole_sequence = True
    gates = ()
    signals = ()
    ports = ()
    input_projector = None
    output_projector = None

    @property
    def hidden_size(self) -> int:
        """H of one direction."""
        return self.forward.hidden_size

    @property
    def input_size(self) -> int:
        """C, the number of input features."""
        return self.forward.input_size

    @property
    def output_size(self) -> int:
        """Width of the output: 2H where the directions lie side by side, else H."""
        if self.merge != "concat":
            return self.forward.output_size
        return self.forward.output_size + self.backward.output_size

    @property
    def extensions(self) -> tuple[str, ...]:
        """What goes beyond MATLAB's layer."""
        found = (*self.forward.extensions, *self.backward.extensions)
        merge = () if self.merge == "concat" else (f"merge {self.merge}",)
        masked = ("masked",) if self.masked else ()
        return tuple(dict.fromkeys((*found, *merge, *masked)))

    @property
    def dtype(self) -> np.dtype:
        """Precision of the parameters."""
        return self.forward.dtype

    def check(self) -> None:
        """Refuse parameters and settings that contradict each other."""
        require_choice("output mode", self.output_mode, OUTPUT_MODES)
        require_choice("merge", self.merge, MERGES)
        self.forward.check()
        self.backward.check()
        require(
            self.merge == "concat"
            or self.forward.output_size == self.backward.output_size,
            f"the two directions cannot be merged by {self.merge}",
            found=f"widths {self.forward.output_size}, {self.backward.output_size}",
            expected="equal widths",
        )
        require(
            self.forward.input_size == self.backward.input_size,
            "the two directions take inputs of different width",
            found=self.backward.input_size,
            expected=self.forward.input_size,
        )

    def init_state(self) -> BidirectionalState:
        """Zero states for both directions."""
        return BidirectionalState(self.forward.init_state(), self.backward.init_state())

    def run(
        self,
        state: BidirectionalState,
        x: Array,
        length: Array | None = None,
        mask: Array | None = None,
        *,
        trace: bool = False,
        engine: str = "xla",
        rematerialise: bool = False,
    ) -> tuple[BidirectionalState, Array, dict[str, Array]]:
        """Run over a whole sequence; see `Recurrent.run`."""
        scan = partial(
            kernels.scan, trace=trace, engine=engine, rematerialise=rematerialise
        )
        ahead, along = scan(self.forward, state.forward, x, length, mask)
        behind, against = scan(
            self.backward, state.backward, x, length, mask, reverse=True
        )
        signals = {f"forward.{name}": value for name, value in along.items()}
        signals |= {f"backward.{name}": value for name, value in against.items()}
        if self.output_mode == "sequence":
            y = self._merged(along["h"], against["h"])
        else:
            y = self._merged(ahead.h, behind.h)
        return BidirectionalState(ahead, behind), y, signals

    def _merged(self, forward: Array, backward: Array) -> Array:
        if self.merge == "concat":
            return jnp.concatenate([forward, backward], axis=-1)
        if self.merge == "mul":
            return forward * backward
        y = forward + backward
        return y / 2 if self.merge == "ave" else y

    def step(
        self, state: Any, x: Array, mask: Array | None = None
    ) -> tuple[Any, Array, dict[str, Array]]:
        """Refused: the backward direction starts at a step that has not come yet."""
        raise InputError(
            "a bidirectional layer cannot run step by step",
            do="use predict on the whole sequence",
        )

    def describe(self) -> str:
        """One phrase for the table of layers."""
        both = "both directions"
        if self.merge != "concat":
            both = f"{both}, merge {self.merge}"
        return _describe(self.forward, both, self.output_mode)


def _describe(layer: LSTM | GRU | RNN, extra: str, mode: str | None = None) -> str:
    parts = [layer.state_activation, extra]
    if not isinstance(layer, RNN):
        parts.insert(1, layer.gate_activation)
    # Which functions there are has been said.
    said = ("state activation", "gate activation", "merge")
    parts += [word for word in layer.extensions if not word.startswith(said)]
    if layer.input_projector is not None or layer.output_projector is not None:
        parts.append("projected")
    parts.append(mode or layer.output_mode)
    return ", ".join(part for part in parts if part)
