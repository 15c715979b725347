"""One step of one layer, with every wrong turn that one can take.

A row of switches, one for each of SWITCHES, says which; all zero is right. The
equations are those of `recurrent.py`, gates side by side.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp

from .. import kernels
from ..activations import ACTIVATIONS
from ..layers import (
    Activation,
    BatchNormalization,
    Dropout,
    Input,
    LayerNormalization,
    Softmax,
)
from ..pytree import Array, pytree, static
from ..recurrent import GRU, LSTM, RESET_MODES

SWITCHES = (
    "gate",  # activation of the gates
    "candidate",  # activation of the candidate
    "cell",  # activation of the cell on its way out
    "reset_h",  # number of steps after which h starts anew; 0: never
    "reset_c",
    "slot",  # 1 + the place in the graph of the layer whose state is used
    "delayed",  # reads what the layers below gave one step before
    "coupled",  # forget gate is 1 - input gate
    "inverted",  # update gate is 1 - update gate
    "reset_mode",  # 1 + the place in RESET_MODES
    "after",  # function applied to the output
    "instead",  # function in place of the layer
    "pooled",  # in place of the last output: 1 the first, 2 the mean, 3 the largest
    "stale",  # the output is made of the cell state before its update
    "exchanged",  # h and c of the step before have changed places
    "backward_last",  # the backward half is taken at the last step
    "backward_unturned",  # backward outputs stay in reversed time
    "backward_forwards",  # the backward direction runs forwards
    "halves",  # of the output: 1 swapped, 2 taken in turn, 3 backward ones are zeros
    "closed",  # at an input: after so many steps it is the network's output
)
SWITCH = {name: k for k, name in enumerate(SWITCHES)}

GATE_FUNCTIONS = ("own", "sigmoid", "hard-sigmoid", "hard-sigmoid-keras3", "tanh")
STATE_FUNCTIONS = ("own", "tanh", "softsign", "relu", "sigmoid", "identity")
FUNCTIONS = ("own", "identity", "relu", "tanh", "sigmoid", "softsign")
SCALED, TWICE, LOGGED = (len(FUNCTIONS) + k for k in range(3))
"""In place of a layer: dropout's factor, softmax twice, the logarithm of softmax."""
REPLACEABLE = (
    Activation,
    Softmax,
    Dropout,
    Input,
    BatchNormalization,
    LayerNormalization,
)
"""Layers that can be left out, because their output has the shape of their input."""


@pytree
class Cell:
    """Parameters of one direction of a recurrent layer, gates side by side."""

    w: Array
    r: Array
    b: Array
    rb: Array | None
    peephole: Array | None
    q_in: Array | None
    q_out: Array | None
    kind: str = static(default="lstm")
    gate: str = static(default="sigmoid")
    state: str = static(default="tanh")
    mode: str = static(default="")
    last: bool = static(default=False)

    @property
    def gates(self) -> tuple[str, ...]:
        """The order of the row blocks."""
        return LSTM.gates if self.kind == "lstm" else GRU.gates

    @property
    def hidden(self) -> int:
        """H."""
        return self.w.shape[0] // len(self.gates)


@pytree
class Both:
    """The two directions of a bidirectional layer."""

    forward: Cell
    backward: Cell
    last: bool = static(default=False)


def project(cell: Cell, x: Array) -> Array:
    """`W x + b` for one step or all."""
    if cell.q_in is not None:
        x = kernels.dot(x, cell.q_in)
    return kernels.transform(cell.w, x) + cell.b


def _recurrent(cell: Cell, weights: Array, h: Array) -> Array:
    if cell.q_out is not None:
        h = kernels.dot(h, cell.q_out)
    return kernels.dot(weights, h)


def step_cell(cell: Cell, code: Array, state: Any, z: Array) -> tuple[Any, dict]:
    """The equations of `recurrent.py` with every wrong turn that one can take."""
    gate = partial(_select, code[SWITCH["gate"]], GATE_FUNCTIONS, cell.gate)
    candidate = partial(_select, code[SWITCH["candidate"]], STATE_FUNCTIONS, cell.state)
    leaving = partial(_select, code[SWITCH["cell"]], STATE_FUNCTIONS, cell.state)
    if cell.kind == "gru":
        return _gru(cell, code, state, z, gate, candidate)
    exchanged = code[SWITCH["exchanged"]] > 0
    h, c = (jnp.where(exchanged, b, a) for a, b in zip(state, state[::-1], strict=True))
    old = c
    z_i, z_f, z_g, z_o = jnp.split(z + _recurrent(cell, cell.r, h), 4)
    if cell.peephole is not None:
        z_i, z_f = z_i + cell.peephole[0] * c, z_f + cell.peephole[1] * c
    i, g = gate(z_i), candidate(z_g)
    f = jnp.where(code[SWITCH["coupled"]] > 0, 1 - i, gate(z_f))
    c = f * c + i * g
    if cell.peephole is not None:
        z_o = z_o + cell.peephole[2] * c
    o = gate(z_o)
    h = o * leaving(jnp.where(code[SWITCH["stale"]] > 0, old, c))
    return (h, c), dict(i=i, f=f, g=g, o=o, c=c, h=h)


def _gru(cell: Cell, code: Array, state: Any, z: Array, gate: Any, squash: Any) -> Any:
    (h,) = state
    hidden = cell.hidden
    x_r, x_z, x_n = jnp.split(z, 3)
    product = _recurrent(cell, cell.r, h)
    bias = jnp.zeros_like(product) if cell.rb is None else cell.rb
    h_r, h_z, h_n = jnp.split(product, 3)
    b_r, b_z, b_n = jnp.split(bias, 3)
    r, update = gate(x_r + h_r + b_r), gate(x_z + h_z + b_z)
    inner = _recurrent(cell, cell.r[2 * hidden :], r * h)
    mode = code[SWITCH["reset_mode"]]
    mode = jnp.where(mode == 0, RESET_MODES.index(cell.mode), mode - 1)
    # In the first form a recurrent bias belongs to the others, outside of the product.
    n = x_n + jnp.where(
        mode == 0,
        r * h_n + b_n,
        jnp.where(mode == 1, inner + b_n, r * (h_n + b_n)),
    )
    n = squash(n)
    z = jnp.where(code[SWITCH["inverted"]] > 0, 1 - update, update)
    h = (1 - z) * n + z * h
    return (h,), dict(r=r, z=update, n=n, h=h)


def _function(name: str) -> Any:
    if name == "hard-sigmoid-keras3":
        return lambda x: jnp.clip(x / 6 + 0.5, 0.0, 1.0)
    return ACTIVATIONS[name]


def _select(code: Array, names: tuple[str, ...], own: str, x: Array) -> Array:
    """The function chosen by a switch; all are computed, which fuses and batches."""
    y = _function(own)(x)
    for k, name in enumerate(names):
        if name not in ("own", own):
            y = jnp.where(code == k, _function(name)(x), y)
    return y


def stateless(layer: Any, code: Array, given: list[Array]) -> Array:
    """A layer without state, or what a switch puts in its place."""
    y = layer(*given)
    if isinstance(layer, REPLACEABLE):
        chosen = code[SWITCH["instead"]]
        for k, name in enumerate(FUNCTIONS):
            if name == "identity" or (name != "own" and _takes(layer, name)):
                y = jnp.where(chosen == k, _function(name)(given[0]), y)
        if isinstance(layer, Dropout):
            scaled = given[0] * (1 - layer.probability)
            y = jnp.where(chosen == SCALED, scaled, y)
        elif isinstance(layer, Softmax):
            y = jnp.where(chosen == TWICE, layer(y), y)
            y = jnp.where(chosen == LOGGED, jnp.log(y), y)
    return y


def _takes(layer: Any, name: str) -> bool:
    """Whether a layer may be taken for that function."""
    return isinstance(layer, Activation) or (
        isinstance(layer, Softmax) and name == "sigmoid"
    )


def after(code: Array, y: Array) -> Array:
    """The output of a layer, through a function that does not belong there."""
    chosen = code[SWITCH["after"]]
    for k, name in enumerate(FUNCTIONS):
        if name not in ("own", "identity"):
            y = jnp.where(chosen == k, _function(name)(y), y)
    return y
