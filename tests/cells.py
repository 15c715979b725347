"""The layers of the package under test, made from the weights of oracles.py."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
from oracles import Cell, Weights, loop

from jlstm.layers import FullyConnected
from jlstm.recurrent import (
    GRU,
    LSTM,
    Bidirectional,
    BidirectionalState,
    Gate,
    GRUState,
    LSTMState,
    Peephole,
)

C, H, T = 3, 5, 13


def draw(rng, cell: Cell) -> Weights:
    return oracles.draw(rng, cell, C, H)


def make(cell: Cell, w: Weights, output_mode: str = "sequence") -> Any:
    """The jlstm layer of these weights."""
    settings: dict = dict(
        state_activation=cell.state, gate_activation=cell.gate, output_mode=output_mode,
        input_projector=w.get("Q_in"), output_projector=w.get("Q_out"),
    )  # fmt: skip
    gates = {
        k: Gate(w[f"{k}.W"], w[f"{k}.R"], w[f"{k}.b"], w.get(f"{k}.br"))
        for k in cell.gates
    }
    if cell.kind == "gru":
        return GRU(**gates, **settings, reset_mode=cell.mode)
    peephole = Peephole(*(w[f"{k}.p"] for k in "ifo")) if cell.peephole else None
    return LSTM(**gates, **settings, peephole=peephole)


def cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def single(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)


def state_of(cell: Cell, h: Any, c: Any):
    return LSTMState(h, c) if cell.kind == "lstm" else GRUState(h)


def sequence(rng, steps: int = T) -> np.ndarray:
    return rng.normal(size=(steps, C)).astype(np.float32).astype(float)


def start(rng, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A state `(h, c)` as a run leaves it, exact in single precision."""
    h = rng.uniform(-0.8, 0.8, size=(count, H)).squeeze().astype(np.float32)
    c = rng.normal(size=(count, H)).squeeze().astype(np.float32)
    return h.astype(float), c.astype(float)


def error(found, wanted) -> float:
    """Largest difference, relative to the largest value."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def run(layer, state, x, dtype: type = np.float64):
    """`layer.run` with everything in one precision; checks that it stays there."""
    results = _run(*cast((layer, state, x), dtype))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(results))
    return results


@jax.jit
def _run(layer, state, x):
    # The signals are asked for apart: without a trace an engine may be faster.
    end, y, _ = layer.run(state, x)
    return end, y, layer.run(state, x, trace=True)[2]


def both(cell: Cell, rng, output_mode: str = "sequence"):
    ws = [draw(rng, cell) for _ in range(2)]
    h, c = start(rng, 2)
    layer = Bidirectional(make(cell, ws[0]), make(cell, ws[1]), output_mode)
    states = [state_of(cell, h[d], c[d]) for d in range(2)]
    return ws, h, c, layer, BidirectionalState(*states)


def both_loops(cell: Cell, ws, x, h, c) -> tuple[dict, dict]:
    """Signals of the two directions, each in the order of time."""
    backward = loop(cell, ws[1], x[::-1], h[1], c[1])
    return loop(cell, ws[0], x, h[0], c[0]), {k: v[::-1] for k, v in backward.items()}


# Networks

OUTPUTS = 2


def dense(rng, inputs: int = H, outputs: int = OUTPUTS) -> FullyConnected:
    weights: Any = rng.normal(size=(outputs, inputs))
    return single(FullyConnected(weights, rng.normal(size=outputs)))


def affine(layer: Any, x: np.ndarray) -> np.ndarray:
    return x @ np.asarray(layer.weights, float).T + np.asarray(layer.bias, float)
