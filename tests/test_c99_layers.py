"""Every layer without state in C, held to NumPy by the self-test in the file."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from c_oracle import FUNCTIONS
from c_programs import needs_gcc, prove, random_inputs
from networks import normal

from jlstm import layers as L
from jlstm.network import Network, Node

pytestmark = needs_gcc

CONSTANTS = {
    "clipped-relu": [(0.8,)],
    "leaky-relu": [(), (0.3,)],
    "elu": [(), (0.7,)],
    "celu": [(), (0.4,)],
    "hard-sigmoid": [(), (1 / 6, 0.5)],
    "thresholded-relu": [(), (0.3,)],
    "scaled-tanh": [(1.7, 0.6)],
    "affine": [(2.5,), (2.5, -0.3)],
}
POSITIVE = ("log", "sqrt", "reciprocal")


def fan(entry, layers, source="in"):
    """All layers side by side behind one entry, each an output."""
    layers = {"anchor": anchor(), **layers}
    graph = [Node("in", ()), *(Node(name, (source,)) for name in layers)]
    return Network.build({"in": entry, **layers}, graph, outputs=tuple(layers))


def anchor():
    """Something with an array, so that the network has a precision."""
    return L.Scaling(np.ones(1, "f4"), np.zeros(1, "f4"))


def several(entries, layers):
    """Layers that take all entries, each an output."""
    graph = [Node(name, ()) for name in entries]
    graph += [Node(name, tuple(entries)) for name in layers]
    graph.append(Node("anchor", tuple(entries)[:1]))
    layers = {**layers, "anchor": anchor()}
    return Network.build({**entries, **layers}, graph, outputs=tuple(layers))


@pytest.mark.parametrize("positive", [False, True])
def test_activations(rng, tmp_path, positive):
    layers = {
        f"{name} {constants}": L.Activation(name, constants)
        for name in FUNCTIONS
        for constants in CONSTANTS.get(name, [()])
        if (name in POSITIVE) == positive
    }
    net = fan(L.Input((21,)), layers)
    (x,) = random_inputs(net, rng, 7)
    x *= np.float32(3)
    prove(net, tmp_path, [np.abs(x) + np.float32(0.1) if positive else x])


def test_functions_far_from_zero(tmp_path):
    # One output a value: each is judged by its own size.
    names = ("sigmoid", "tanh", "softplus", "log-sigmoid", "mish", "swish", "elu")
    layers = {name: L.Activation(name) for name in names}
    x = np.array([-80, -30, -12, -3, -1e-4, 1e-30, 2, 11, 29, 88], "f4")
    entries = {f"in {value}": L.Input((1,)) for value in x}
    nodes = [
        (f"{name} {entry}", entry, layers[name]) for name in names for entry in entries
    ]
    graph = [*(Node(e, ()) for e in entries), *(Node(n, (e,)) for n, e, _ in nodes)]
    built = {**entries, **{n: layer for n, _, layer in nodes}}
    net = Network.build(built, graph, outputs=[n for n, _, _ in nodes])
    prove(net, tmp_path, [value.reshape(1, 1) for value in x], double=False)


def test_inputs_and_dense(rng, tmp_path):
    low = normal(rng, 4)
    statistics = dict(minimum=low, maximum=low + np.float32(1.5))
    zscore = dict(mean=normal(rng, 4), std=np.exp(normal(rng, 4)))
    entries = {
        "plain": L.Input((4,)),
        "centred": L.Input((4,), normalization="zerocenter", mean=normal(rng, 1)),
        "scaled": L.Input((4,), normalization="zscore", **zscore),
        "symmetric": L.Input((4,), normalization="rescale-symmetric", **statistics),
        "unit": L.Input((4,), normalization="rescale-zero-one", **statistics),
        "target": L.Input(
            (4,), normalization="rescale-zero-one", target=(-3.0, 2.0), **statistics
        ),
    }
    layers = {
        "both": L.Concatenation(),
        "fc": L.FullyConnected(normal(rng, 3, 24), normal(rng, 3)),
        "end": L.Regression(("a", "b", "c")),
    }
    graph = [
        *(Node(name, ()) for name in entries), Node("both", tuple(entries)),
        Node("fc", ("both",)), Node("end", ("fc",)),
    ]  # fmt: skip
    net = Network.build({**entries, **layers}, graph, outputs=("both", "end"))
    prove(net, tmp_path, random_inputs(net, rng, 5))


def test_single_layers(rng, tmp_path):
    spread = np.exp(normal(rng, 6))
    vector = [normal(rng, 6) for _ in range(5)]
    layers = {
        "prelu": L.PReLU(normal(rng, 6)),
        "prelu of one": L.PReLU(normal(rng, 1)),
        "scaling": L.Scaling(vector[0], vector[1]),
        "batch": L.BatchNormalization(*vector[:3], spread, epsilon=1e-3),
        "layer": L.LayerNormalization(*vector[:2], epsilon=1e-2),
        "softmax": L.Softmax(),
        "log": L.Softmax(logarithm=True),
        "drop": L.Dropout(0.5),
        "same": L.Identity("fold"),
        "part": L.Slice("channels", 1, -1, 2),
        "backwards": L.Slice("channels", -1, None, -3),
        "one": L.Slice("channels", 2, 3),
        "bounds": L.Clip(-0.4, 0.9),
        "from": L.Clip(lower=0.3),
        "to": L.Clip(upper=-0.3),
        "no bounds": L.Clip(-np.inf, np.inf),
        "erf": L.ErrorFunction(),
        "classes": L.Classification(tuple("abcdef")),
    }
    net = fan(L.Input((6,)), layers)
    prove(net, tmp_path, random_inputs(net, rng, 5))


def test_images_as_features(rng, tmp_path):
    size, channels = (3, 4, 5), 5
    vector = [normal(rng, channels) for _ in range(4)]
    layers = {
        "prelu": L.PReLU(normal(rng, 4, 5)),
        "scaling": L.Scaling(normal(rng, 3, 1, 1), normal(rng, 5)),
        "batch": L.BatchNormalization(*vector[:3], np.exp(vector[3])),
        "each": L.LayerNormalization(*vector[:2]),
        "spatial": L.LayerNormalization(*vector[:2], over="spatial-channels", space=2),
        "softmax": L.Softmax(),
        "flat": L.Flatten(2),
        "rows": L.Flatten(2, "row-major"),
        "fc": L.FullyConnected(normal(rng, 2, 60), normal(rng, 2), flatten=2),
        "part": L.Slice("channels", 1, 4, 2),
    }
    statistics = dict(mean=normal(rng, 3, 1, 5), std=np.exp(normal(rng, 4, 1)))
    entry = L.Input(size, normalization="zscore", **statistics)
    for time in (True, False):
        net = fan(dataclasses.replace(entry, time=time), layers)
        prove(net, tmp_path, random_inputs(net, rng, 3), double=time)


def test_signals_that_meet(rng, tmp_path):
    kinds = (
        L.Addition, L.Subtraction, L.Multiplication, L.Division, L.Maximum, L.Minimum
    )  # fmt: skip
    entries = {name: L.Input((5,)) for name in "abc"}
    layers = {kind.__name__: kind() for kind in kinds} | {"c2": L.Concatenation()}
    net = several(entries, layers)
    prove(net, tmp_path, random_inputs(net, rng, 4))


def test_signals_of_different_size(rng, tmp_path):
    entries = {
        "images": L.Input((3, 2, 4)),
        "rows": L.Input((3, 1, 4), time=False),
        "one": L.Input((1, 2, 1)),
    }
    net = several(entries, {"add": L.Addition(), "max": L.Maximum()})
    prove(net, tmp_path, random_inputs(net, rng, 4))
    entries = {"vector": L.Input((4,)), "images": L.Input((3, 2, 4))}
    net = several(entries, {"mul": L.Multiplication(spaces=(0, 2))})
    prove(net, tmp_path, random_inputs(net, rng, 4), double=False)
    entries = {"a": L.Input((2, 3, 4)), "b": L.Input((2, 5, 4))}
    net = several(entries, {"wide": L.Concatenation(1, 2)})
    prove(net, tmp_path, random_inputs(net, rng, 4), double=False)


def test_embeddings_and_masks(rng, tmp_path):
    index = np.array([[1], [4], [2], [3], [1]], "f4")
    table = normal(rng, 4, 3)
    last = L.Embedding(table, out_of_vocabulary="map-to-last")
    net = fan(L.Input((1,)), {"e": L.Embedding(table), "last": last})
    prove(net, tmp_path, [index])
    net = fan(L.Input((1,)), {"last": last})
    odd = np.array([[0], [-3], [2.5], [5], [1e30], [2]], "f4")
    prove(net, tmp_path, [odd])
    x = normal(rng, 6, 3)
    x[[1, 4]] = -1
    x[2, 0] = -1
    net = fan(L.Input((3,)), {"mask": L.Mask(-1.0), "masking": L.Masking(-1.0)})
    prove(net, tmp_path, [x])


def test_axis_of_space(rng, tmp_path):
    weights, bias = normal(rng, 3, 4, 6), normal(rng, 6)
    layers = {
        "conv": L.Convolution1D(weights, bias, axis="space", padding="same", stride=2),
        "causal": L.Convolution1D(weights, bias, axis="space", padding="causal"),
        "max": L.Pooling1D("max", 3, 2, (1, 1), axis="space"),
        "mean": L.Pooling1D("average", 2, 1, "same", "mean", axis="space"),
        "all": L.GlobalPooling1D("max", axis="space"),
        "average": L.GlobalPooling1D("average", axis="space"),
        "first": L.Indexing1D("first", axis="space"),
        "last": L.Indexing1D("last", axis="space"),
        "part": L.Crop1D(1, 6, 2),
        "place": L.Crop1D(5, 99),
        "bounds": L.Clip(-0.4, 0.9),
        "erf": L.ErrorFunction(),
        "zeros": L.Padding1D(2, 1, axis="space"),
        "number": L.Padding1D(0, 3, -0.7, "space"),
        "edge": L.Padding1D(2, 9, "replicate", "space"),
        "mirror": L.Padding1D(6, 2, "symmetric-exclude-edge", "space"),
        "mirror too": L.Padding1D(7, 1, "symmetric-include-edge", "space"),
    }
    for time in (True, False):
        net = fan(L.Input((7, 4), time=time), layers)
        prove(net, tmp_path, random_inputs(net, rng, 3), double=time)
