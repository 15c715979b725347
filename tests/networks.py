"""Networks that tests make up: small, of trained scale, every length different."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from jlstm import layers as L
from jlstm.network import Factors, Network, Node, Origin
from jlstm.recurrent import GRU, LSTM, Bidirectional, Gate, LSTMState, Peephole

Rng = np.random.Generator


def normal(rng: Rng, *shape: int) -> Any:
    return rng.normal(size=shape).astype("f4")


def gates(rng: Rng, count: int, hidden: int, features: int, width: int = 0) -> Any:
    """`count` gates; `width` of the recurrent weights where that is not `hidden`."""
    shapes = ((hidden, features), (hidden, width or hidden), (hidden,))
    return [Gate(*(normal(rng, *shape) for shape in shapes)) for _ in range(count)]


def lstm(rng: Rng, hidden: int, features: int, **settings: Any) -> LSTM:
    return LSTM(*gates(rng, 4, hidden, features), **settings)


def gru(rng: Rng, hidden: int, features: int, **settings: Any) -> GRU:
    return GRU(*gates(rng, 3, hidden, features), **settings)


def small(rng: Rng) -> Network:
    """One LSTM of 2 inputs and 3 units, and what follows."""
    dense = L.FullyConnected(normal(rng, 2, 3), normal(rng, 2))
    return Network.build({"in": L.Input((2,)), "lstm": lstm(rng, 3, 2), "fc": dense})


def rich(rng: Rng) -> Network:
    """A graph with every kind of parameter, state and annotation."""
    vector = normal(rng, 5)
    biased = [
        dataclasses.replace(g, recurrent_bias=normal(rng, 4))
        for g in gates(rng, 3, 4, 3)
    ]
    layers: dict[str, Any] = {
        "in": L.Input((3,), normalization="zscore", mean=vector[:3], std=vector[2:]),
        "it's": lstm(
            rng, 5, 3, peephole=Peephole(vector, vector, vector), output_mode="sequence"
        ),
        'a "b"': LSTM(
            *gates(rng, 4, 4, 2, 3),
            input_projector=normal(rng, 3, 2),
            output_projector=normal(rng, 4, 3),
            gate_activation="hard-sigmoid",
        ),
        "grü": GRU(*biased, reset_mode="recurrent-bias-after-multiplication"),
        "both": Bidirectional(gru(rng, 2, 5), gru(rng, 2, 5)),
        "join": L.Concatenation(),
        "relu": L.Activation("leaky-relu", (0.3,)),
    }
    graph = [
        Node("in", ()), Node("it's", ("in",)), Node('a "b"', ("in",)),
        Node("grü", ("in",)), Node("both", ("it's",)),
        Node("join", ("both", 'a "b"')), Node("relu", ("join",)),
    ]  # fmt: skip
    state = LSTMState(normal(rng, 5), normal(rng, 5))
    zero = {name: layers[name].init_state() for name in ('a "b"', "grü", "both")}
    return Network.build(
        layers,
        graph,
        initial={"it's": LSTMState(vector, -vector)},
        saved={"it's": state} | zero,
        factors=[Factors(".layers['it\\'s'].f.bias", 0.1 + 0.2, math.inf)],
        origin=Origin("matlab", "n.mat", "net", "dlnetwork", (("a", "b"),), ("é\n",)),
    )


def assert_identical(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    left, right = map(jax.tree_util.tree_leaves_with_path, (a, b))
    for (path, x), (_, y) in zip(left, right, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype), path
        assert x.tobytes() == y.tobytes(), path
