"""Layers along time in C: whole sequences of every length, too short ones refused."""

from __future__ import annotations

import numpy as np
import pytest
from c_oracle import evaluate
from c_programs import Library, needs_gcc, prove, random_inputs, record, write
from foreign_nets import gru, lstm, rnn
from networks import normal

from jlstm import layers as L
from jlstm.network import Network, Node
from jlstm.recurrent import Bidirectional

pytestmark = needs_gcc
C = 4


def convolutions(rng):
    weights, bias = normal(rng, 3, C, 6), normal(rng, 6)
    grouped, two = normal(rng, 2, 2, 6), normal(rng, 5, C, 2)
    mirror, around = "symmetric-include-edge", "symmetric-exclude-edge"
    return {
        "valid": L.Convolution1D(weights, bias),
        "same": L.Convolution1D(weights, bias, padding="same", stride=2),
        "even same": L.Convolution1D(grouped.repeat(2, 1), bias, padding="same"),
        "causal": L.Convolution1D(weights, bias, padding="causal", dilation=2),
        "padded": L.Convolution1D(weights, bias, padding=(2, 1), stride=3),
        "value": L.Convolution1D(weights, bias, padding=(4, 2), padding_value=0.7),
        "mirror": L.Convolution1D(
            two, normal(rng, 2), padding=(9, 8), padding_value=mirror
        ),
        "around": L.Convolution1D(
            two, normal(rng, 2), padding=(9, 8), padding_value=around
        ),
        "edge": L.Convolution1D(
            two, normal(rng, 2), padding=(3, 4), padding_value="replicate"
        ),
        "groups": L.Convolution1D(grouped, bias, groups=2, stride=2, padding=(1, 0)),
    }


def poolings(rng):
    return {
        "max": L.Pooling1D("max", 3, 2, (1, 2)),
        "max same": L.Pooling1D("max", 2, 3, "same"),
        "average": L.Pooling1D("average", 3, 1, (2, 1)),
        "average of": L.Pooling1D("average", 3, 2, (1, 1), 0.6),
        "mean": L.Pooling1D("average", 4, 2, "same", "mean"),
        "all": L.GlobalPooling1D("max"),
        "mean of all": L.GlobalPooling1D("average"),
        "first": L.Indexing1D("first"),
        "last": L.Indexing1D("last"),
    }


def normalisations(rng):
    scale, offset = normal(rng, C), normal(rng, C)
    return {
        "layer": L.LayerNormalization(scale, offset, over="time-channels"),
        "group": L.GroupNormalization(scale, offset, 2, 1e-3),
        "instance": L.InstanceNormalization(scale, offset),
        "positions": L.PositionEmbedding(normal(rng, 12, 3)),
    }


def rearrangements(rng):
    return {
        "flip": L.Flip(),
        "zeros": L.Padding1D(2, 1),
        "number": L.Padding1D(3, 0, 0.7),
        "edge": L.Padding1D(1, 9, "replicate"),
        "mirror": L.Padding1D(3, 4, "symmetric-exclude-edge"),
        "mirror too": L.Padding1D(5, 2, "symmetric-include-edge"),
        "from": L.Slice("time", 2),
        "from the end": L.Slice("time", -3),
        "until": L.Slice("time", None, -2),
        "middle": L.Slice("time", 1, 6, 2),
        "late": L.Slice("time", -7, 8, 3),
        "backwards": L.Slice("time", None, None, -2),
    }


FAMILIES = (convolutions, poolings, normalisations, rearrangements)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_layers_along_time(rng, tmp_path, family):
    layers = family(rng)
    entry = L.Input((C,), normalization="zerocenter", mean=normal(rng, 1))
    graph = [Node("in", ()), *(Node(name, ("in",)) for name in layers)]
    net = Network.build({"in": entry, **layers}, graph, outputs=tuple(layers))
    for steps in (9, 11):
        prove(net, tmp_path, random_inputs(net, rng, steps), double=steps == 9)


def test_images_over_time(rng, tmp_path):
    scale, offset = normal(rng, C), normal(rng, C)
    layers = {
        "flip": L.Flip(),
        "layer": L.LayerNormalization(scale, offset, over="time-channels"),
        "group": L.GroupNormalization(scale, offset, 2),
        "instance": L.InstanceNormalization(scale, offset),
    }
    graph = [Node("in", ()), *(Node(name, ("in",)) for name in layers)]
    for time in (True, False):
        some = layers if time else {n: layers[n] for n in ("group", "instance")}
        nodes = [node for node in graph if node.name in ("in", *some)]
        net = Network.build({"in": L.Input((3, 2, C), time), **some}, nodes)
        prove(net, tmp_path, random_inputs(net, rng, 5), double=False)


def deep(rng):
    """Convolutions, a pooling, both directions, and a residual branch."""
    layers = {
        "in": L.Input((C,)),
        "conv": L.Convolution1D(normal(rng, 3, C, 6), normal(rng, 6), padding="same"),
        "relu": L.Activation("relu"),
        "pool": L.Pooling1D("max", 2, 2),
        "both": Bidirectional(lstm(rng, 6, 3), gru(rng, 6, 3)),
        "sum": L.Addition(),
        "narrow": L.Convolution1D(normal(rng, 2, 6, 5), normal(rng, 5)),
        "ends": Bidirectional(rnn(rng, 5, 2), rnn(rng, 5, 2), output_mode="last"),
        "fc": L.FullyConnected(normal(rng, 3, 4), normal(rng, 3)),
        "softmax": L.Softmax(),
    }
    chain = ["in", "conv", "relu", "pool", "both"]
    graph = [Node(n, (chain[k - 1],) if k else ()) for k, n in enumerate(chain)]
    graph += [Node("sum", ("both", "pool"))]
    rest = ["sum", "narrow", "ends", "fc", "softmax"]
    graph += [Node(n, (rest[k],)) for k, n in enumerate(rest[1:])]
    return Network.build(layers, graph, outputs=("softmax", "sum"))


def test_a_deep_network(rng, tmp_path):
    net = deep(rng)
    prove(net, tmp_path, random_inputs(net, rng, 10))


def test_lengths_are_told_and_refused(rng, tmp_path):
    layers = {
        "in": L.Input((C,)),
        "conv": L.Convolution1D(normal(rng, 4, C, 2), normal(rng, 2), stride=2),
        "both": Bidirectional(lstm(rng, 2, 3), lstm(rng, 2, 3)),
    }
    net = Network.build(layers)
    inputs = random_inputs(net, rng, 9)
    path = write(net, tmp_path, [record(net, inputs)], 1e-6)
    assert (
        "#define NET_OUTPUT_STEPS(n) ((((n) - 4) / 2 + 1))"
        in path.with_suffix(".h").read_text()
    )
    library = Library(path, net, "-O1", "-DNET_MAX_STEPS=20")
    for steps in (1, 3, 21):
        assert library.sequence(library.state(), normal(rng, steps, C), (1, 6)) == 1
    for steps in (4, 5, 20):
        x = normal(rng, steps, C)
        rows = (steps - 4) // 2 + 1
        y = library.sequence(library.state(), x, (rows, 6))
        np.testing.assert_allclose(y, evaluate(net, [x])[0][0], atol=1e-6)
    assert not hasattr(library.calls, "net_step")


def test_a_signal_is_reflected_once(rng, tmp_path):
    pad = L.Padding1D(1, 4, "symmetric-exclude-edge")
    net = Network.build({"in": L.Input((C,)), "pad": pad, "rec": rnn(rng, C, 2)})
    path = write(net, tmp_path, [record(net, random_inputs(net, rng, 5))], 1e-6)
    library = Library(path, net, "-O1", "-DNET_MAX_STEPS=9")
    for steps in (1, 4, 10):
        assert library.sequence(library.state(), normal(rng, steps, C), (1, 2)) == 1
    for steps in (5, 9):
        x = normal(rng, steps, C)
        y = library.sequence(library.state(), x, (steps + 5, 2))
        np.testing.assert_allclose(y, evaluate(net, [x])[0][0], atol=1e-6)


def test_inputs_of_different_length(rng, tmp_path):
    # An encoder and a decoder with its own input: two lengths, two arguments.
    layers = {
        "source": L.Input((3,)),
        "target": L.Input((2,)),
        "encoder": lstm(rng, 3, 4),
        "decoder": lstm(rng, 2, 4),
        "fc": L.FullyConnected(normal(rng, 5, 4), normal(rng, 5)),
    }
    state = ("encoder/hidden", "encoder/cell")
    graph = [
        Node("source", ()), Node("target", ()), Node("encoder", ("source",)),
        Node("decoder", ("target", *state)), Node("fc", ("decoder",)),
    ]  # fmt: skip
    outputs = ("fc", "decoder/cell")
    net = Network.build(layers, graph, outputs=outputs)
    prove(net, tmp_path, random_inputs(net, rng, (8, 5)))
    assert "const float *x1, size_t steps_1" in _declaration(net, tmp_path)


def _declaration(net, folder):
    rng = np.random.default_rng(1)
    path = write(net, folder, [record(net, random_inputs(net, rng, (3, 4)))], 1e-6)
    return " ".join(path.with_suffix(".h").read_text("utf-8").split())


def test_equal_lengths_are_asked_for(rng, tmp_path):
    layers = {
        "a": L.Input((3,)), "b": L.Input((3,)), "flip": L.Flip(), "add": L.Addition()
    }  # fmt: skip
    graph = [
        Node("a", ()), Node("b", ()), Node("flip", ("a",)), Node("add", ("flip", "b"))
    ]  # fmt: skip
    net = Network.build(layers, graph)
    prove(net, tmp_path, random_inputs(net, rng, 5), double=False)
    text = (tmp_path / "net.c").read_text()
    assert "if (!(steps_1 == steps_2))" in text


def test_a_last_step_that_meets_the_sequence_again(rng, tmp_path):
    # A loop over steps would add the last step so far.
    layers = {"in": L.Input((3,)), "end": lstm(rng, 3, 3, output_mode="last")}
    layers |= {"add": L.Addition(), "top": gru(rng, 3, 4)}
    graph = [
        Node("in", ()), Node("end", ("in",)), Node("add", ("in", "end")),
        Node("top", ("add",)),
    ]  # fmt: skip
    net = Network.build(layers, graph)
    prove(net, tmp_path, random_inputs(net, rng, 6))
    # So would two layers of which the upper one takes the end of the lower one.
    layers = {
        "in": L.Input((3,)),
        "low": lstm(rng, 3, 4, output_mode="last"),
        "high": lstm(rng, 4, 2),
    }
    net = Network.build(layers)
    prove(net, tmp_path, random_inputs(net, rng, 6), double=False)


def test_what_is_late_waits_for_the_end(rng, tmp_path):
    # Streamed, with a head that only the last step needs.
    layers = {
        "in": L.Input((3,)),
        "low": lstm(rng, 3, 4),
        "high": gru(rng, 4, 5, output_mode="last"),
        "fc": L.FullyConnected(normal(rng, 2, 5), normal(rng, 2)),
        "index": L.Indexing1D("last"),
    }
    graph = [
        Node("in", ()), Node("low", ("in",)), Node("high", ("low",)),
        Node("fc", ("high",)), Node("index", ("low",)),
    ]  # fmt: skip
    outputs = ("fc", "index", "low", "low/cell")
    net = Network.build(layers, graph, outputs=outputs)
    prove(net, tmp_path, random_inputs(net, rng, 6))
    assert "if (last) {" in (tmp_path / "net.c").read_text()


def test_odd_wirings(rng, tmp_path):
    entry, dropped = L.Input((3,)), L.Dropout(0.1)
    constant, timed = (
        L.Input((3,), time=False),
        lambda *names: [Node(n, ()) for n in names],
    )
    chain = {"in": entry, "tanh": L.Activation("tanh"), "drop": dropped}
    nets = [
        # An input that is an output, and one value that is several.
        Network.build({"in": entry, "drop": dropped}, outputs=("drop", "in")),
        Network.build(chain, outputs=("tanh", "drop", "tanh")),
        # A vector beside a sequence; what has a state sees it once.
        Network.build(
            {"in": entry, "k": constant, "add": L.Addition(), "rec": gru(rng)},
            [*timed("in", "k"), Node("add", ("in", "k")), Node("rec", ("add",))],
        ),
        Network.build(
            {"in": entry, "k": constant, "rec": rnn(rng, 3, 3), "add": L.Addition()},
            [*timed("in", "k"), Node("rec", ("k",)), Node("add", ("in", "rec"))],
        ),
        # A sequence of its own length out of a last step.
        Network.build(
            {
                "in": entry,
                "last": lstm(rng, 3, 4, output_mode="last"),
                "repeat": L.Repeat(5),
                "conv": L.Convolution1D(normal(rng, 2, 4, 3), normal(rng, 3)),
                "end": gru(rng, 3, 2, output_mode="last"),
            }
        ),
        Network.build({"k": constant, "both": Bidirectional(lstm(rng), gru(rng))}),
        # A vector that is cut into steps.
        Network.build(
            {
                "in": entry,
                "last": lstm(rng, 3, 6, output_mode="last"),
                "steps": L.UnflattenTime(3),
                "long": L.Padding1D(0, 2, 0.5),
                "rec": rnn(rng, 2, 4),
            }
        ),
    ]
    for net in nets:
        prove(net, tmp_path, random_inputs(net, rng, 5), double=False)


@pytest.mark.parametrize("hidden", [1, 2, 7, 17, 33])
def test_sizes_that_fill_no_block(rng, tmp_path, hidden):
    layers = {
        "in": L.Input((1,)),
        "lstm": lstm(rng, 1, hidden),
        "gru": gru(rng, hidden, hidden + 1),
    }
    net = Network.build(layers)
    prove(net, tmp_path, random_inputs(net, rng, 5), double=False)
