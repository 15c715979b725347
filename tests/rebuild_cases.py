"""Networks that go to MATLAB and back: every layer, every wire, every precision."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from layer_cases import CASES
from networks import assert_identical, gates, gru, lstm, normal

from jlstm import layers as L
from jlstm.network import Factors, Network, Node, Origin
from jlstm.recurrent import GRU, LSTM, Bidirectional, BidirectionalState, LSTMState

Rng = np.random.Generator

REFUSED = {
    "input zscore of all": "float32 ()",
    "input rescale-zero-one per channel of images": "float32 (1, 1, 4)",
    "input rescaled to another range": "rescale to [0, 1]",
    "prelu, one slope": "one number a channel",
    "flatten images, row-major": "column-major",
    "layer normalisation over the channels of images": ".space",
    "layer normalisation over time and images": ".space",
    "scaling": "float32 ()",
    "conv1d groups": "no groups",
    "conv1d over space, no time": "take vectors, images and sequences",
    "average pool 1d, another padding value": "zeros or the mean",
    "average pool 1d over space, no time": "take vectors, images and sequences",
    "embedding, counted from zero": "counts from 1",
    "self-attention, causal, another scale": "sets the scale itself",
    "self-attention along a line": "take vectors, images and sequences",
    "log-softmax": "no layer for this function",
}
"""Cases of layers that MATLAB cannot be given, and a word of the reason."""
LEFT_OUT = ("identity",)
"""Cases of layers that only stood in the original."""
ELSEWHERE = (
    L.Crop1D, L.Division, L.ErrorFunction, L.FlattenTime, L.Flip, L.Mask,
    L.Masking, L.Maximum, L.Minimum, L.Padding1D, L.Repeat, L.Slice, L.Subtraction,
    L.UnflattenTime,
)  # fmt: skip
"""Layers that only other frameworks have."""
REFUSED |= {
    case.name: "no counterpart there"
    for case in CASES
    if isinstance(case.layer(), ELSEWHERE)
}


def single(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)


def branch(case: Any, k: int) -> tuple[dict[str, Any], list[Node]]:
    """A case as a part of a network, with inputs of its own."""
    layer, name = single(case.layer()), f"layer_{k}"
    if isinstance(layer, L.Input):
        return {name: layer}, [Node(name, ())]
    layers: dict[str, Any] = {
        f"in_{k}_{i}": L.Input((*s.space, s.channels), time=s.time)
        for i, s in enumerate(case.shapes)
    }
    graph = [Node(entry, ()) for entry in layers]
    if isinstance(layer, L.Activation) and layer.name in ("log", "sqrt"):
        positive = {f"abs_{k}": L.Activation("abs")}
        graph += [Node(f"abs_{k}", tuple(layers)), Node(name, tuple(positive))]
        return layers | positive | {name: layer}, graph
    return layers | {name: layer}, [*graph, Node(name, tuple(layers))]


def alone(case: Any) -> Network:
    return Network.build(*branch(case, 0))


def group(case: Any) -> str:
    """Which network a case is a part of.

    Tables of positions bound the length of all inputs; images over time that are not
    flattened at once are for a dlnetwork.
    """
    layer = case.layer()
    films = [s for s in case.shapes if s.time and s.space]
    if isinstance(layer, L.Input) and layer.time and len(layer.size) > 1:
        return "films"
    if films and not isinstance(layer, L.Flatten):
        return "films"
    return "positions" if isinstance(layer, L.PositionEmbedding) else "layers"


def every_layer(wanted: str) -> Network:
    """All cases of a group side by side."""
    layers: dict[str, Any] = {}
    graph: list[Node] = []
    for k, case in enumerate(CASES):
        if case.name not in (*REFUSED, *LEFT_OUT) and group(case) == wanted:
            more, nodes = branch(case, k)
            layers, graph = layers | more, graph + nodes
    return Network.build(layers, graph)


def dense(rng: Rng, outputs: int, features: int) -> L.FullyConnected:
    return L.FullyConnected(normal(rng, outputs, features), normal(rng, outputs))


def scaled(rng: Rng, channels: int) -> L.Input:
    return L.Input(
        (channels,),
        normalization="zscore",
        mean=50 + 10 * normal(rng, channels),
        std=np.abs(normal(rng, channels)) + 1,
    )


def recurrent(rng: Rng) -> Network:
    """Every recurrent layer and every mode, from states that are not zero."""
    biased = [
        dataclasses.replace(gate, recurrent_bias=normal(rng, 4))
        for gate in gates(rng, 3, 4, 3)
    ]
    projectors = {
        "input_projector": normal(rng, 3, 2),
        "output_projector": normal(rng, 5, 4),
    }
    layers: dict[str, Any] = {
        "lstm": lstm(rng, 5, 3),
        "hard": lstm(rng, 5, 3, gate_activation="hard-sigmoid", output_mode="last"),
        "softsign": lstm(rng, 4, 3, state_activation="softsign"),
        "relu": single(jax.tree.map(lambda a: 0.3 * a, lstm(rng, 4, 3))),
        "gru": gru(rng, 4, 3),
        "before": gru(rng, 5, 3, reset_mode="before-multiplication"),
        "biased": GRU(*biased, reset_mode="recurrent-bias-after-multiplication"),
        "small": LSTM(*gates(rng, 4, 5, 2, 4), **projectors),
        "smaller": GRU(*gates(rng, 3, 5, 2, 4), **projectors, output_mode="last"),
        "both": Bidirectional(lstm(rng, 4, 3), lstm(rng, 4, 3)),
        "ends": Bidirectional(lstm(rng, 5, 3), lstm(rng, 5, 3), output_mode="last"),
    }
    layers["relu"] = dataclasses.replace(layers["relu"], state_activation="relu")
    graph = [Node("in", ()), *(Node(name, ("in",)) for name in layers)]
    states = {n: layer.init_state() for n, layer in layers.items()}
    initial, saved = (
        jax.tree.map(lambda a: normal(rng, *a.shape), states) for _ in range(2)
    )
    return Network.build(
        {"in": scaled(rng, 3), **layers}, graph, initial=initial, saved=saved
    )


def wired(rng: Rng) -> Network:
    """Two inputs, states that travel, outputs in an order of their own."""
    layers: dict[str, Any] = {
        "x": scaled(rng, 3),
        "u": L.Input((2,), min_length=3),
        "encoder": lstm(rng, 5, 3),
        "decoder": lstm(rng, 5, 2),
        "gru": gru(rng, 5, 2),
        "join": L.Concatenation(),
        "sum": L.Addition(),
        "fc": dense(rng, 2, 15),
    }
    graph = [
        Node("x", ()), Node("u", ()), Node("encoder", ("x",)),
        Node("decoder", ("u", "encoder/hidden", "encoder/cell")),
        Node("gru", ("u", "decoder/hidden")), Node("sum", ("decoder", "gru")),
        Node("join", ("gru", "sum", "encoder")), Node("fc", ("join",)),
    ]  # fmt: skip
    return Network.build(
        layers, graph, outputs=["gru/hidden", "fc", "sum"],
        initial={"encoder": LSTMState(normal(rng, 5), normal(rng, 5))},
    )  # fmt: skip


def classifier(rng: Rng) -> Network:
    """A series as of old, with factors, odd names and odd classes."""
    layers: dict[str, Any] = {
        "it's in": scaled(rng, 3),
        "both": Bidirectional(lstm(rng, 4, 3), lstm(rng, 4, 3), output_mode="last"),
        "drop": L.Dropout(0.3),
        "same": L.Identity("identity"),
        "grün": dense(rng, 3, 8),
        "softmax": L.Softmax(),
        "classes": L.Classification(("down", "it's up", "grün")),
    }
    factors = [
        Factors(".layers['both'].forward.f.bias", 0.1 + 0.2, 0.0),
        Factors(".layers['both'].backward.g.input_weights", 2.0, np.inf),
        Factors(".layers['both'].backward.i.bias", 1.0, 0.5),
        Factors(".layers['grün'].weights", 10.0, 0.0),
    ]
    zero = layers["both"].init_state()
    start = BidirectionalState(
        zero.forward, LSTMState(normal(rng, 4), -zero.backward.c)
    )
    return Network.build(layers, factors=factors, initial={"both": start})


def double(rng: Rng) -> Network:
    """Everything that a dlnetwork keeps in its tables, in double precision."""
    vector = np.abs(normal(rng, 4)) + 0.5
    layers: dict[str, Any] = {
        "in": scaled(rng, 3),
        "lstm": lstm(rng, 4, 3),
        "norm": L.BatchNormalization(vector, normal(rng, 4), normal(rng, 4), vector**2),
        "fc": dense(rng, 2, 4),
        "scaling": L.Scaling(normal(rng, 2), normal(rng, 2)),
        "out": L.Regression(("left", "right")),
    }
    net = Network.build(
        layers, initial={"lstm": LSTMState(normal(rng, 4), normal(rng, 4))}
    )
    return jax.tree.map(lambda a: a + rng.normal(size=a.shape) * 1e-9,
                        net.astype(np.float64))  # fmt: skip


def features(rng: Rng) -> Network:
    low = normal(rng, 4)
    entry = L.Input(
        (4,), time=False, normalization="rescale-symmetric", minimum=low,
        maximum=low + np.abs(normal(rng, 4)) + 1,
    )  # fmt: skip
    return Network.build(
        {
            "in": entry,
            "fc": dense(rng, 5, 4),
            "lstm": lstm(rng, 3, 5, output_mode="last"),
            "out": L.Regression(),
        }
    )


def images(rng: Rng) -> Network:
    """One image, not square, and vectors that are made of it."""
    layers: dict[str, Any] = {
        "in": L.Input((6, 8, 4), time=False),
        "conv": L.Convolution2D(normal(rng, 3, 2, 4, 5), normal(rng, 5), stride=(2, 1)),
        "a": L.FullyConnected(normal(rng, 3, 70), normal(rng, 3), flatten=2),
        "b": L.FullyConnected(normal(rng, 2, 70), normal(rng, 2), flatten=2),
        "depth": L.Concatenation(),
    }
    graph = [
        Node("in", ()), Node("conv", ("in",)), Node("a", ("conv",)),
        Node("b", ("conv",)), Node("depth", ("a", "b")),
    ]  # fmt: skip
    return Network.build(layers, graph)


def video(rng: Rng) -> Network:
    """Images over time, flattened in MATLAB's order for an LSTM."""
    layers = {
        "in": L.Input((2, 3, 4), normalization="zerocenter", mean=normal(rng, 2, 3, 4)),
        "flat": L.Flatten(2),
        "lstm": lstm(rng, 5, 24),
        "fc": dense(rng, 1, 5),
        "out": L.Regression(("level",)),
    }
    return Network.build(layers)


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


def bare(net: Network) -> Network:
    """Without what is no part of the computation, and with factors in one order."""
    return net.replace(origin=Origin(), factors=tuple(sorted(net.factors)))


def assert_same(net: Network, again: Network) -> None:
    assert_identical(bare(net), bare(again))
    assert (net.graph, net.outputs, net.classes) == (
        again.graph, again.outputs, again.classes,
    )  # fmt: skip


MADE = {
    "recurrent": recurrent,
    "wired": wired,
    "classifier": classifier,
    "double": double,
    "features": features,
    "images": images,
    "video": video,
    "layers": lambda rng: every_layer("layers"),
    "positions": lambda rng: every_layer("positions"),
    "films": lambda rng: every_layer("films"),
}
DLNETWORK_ONLY = ("wired", "double", "films")
