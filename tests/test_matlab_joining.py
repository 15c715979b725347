"""Graphs: branches that join, folding, state ports, order of layers and outputs."""

from __future__ import annotations

import matlab_structs as m
import pytest
from agreement import assert_file_agrees
from matlab_files import (
    chain,
    dag,
    dlnetwork,
    flag,
    graph,
    layer_array,
    number,
    series,
    write,
)

from jlstm.formats import matlab

C, H, K = 3, 5, 4


def join(kind, count, name="join", **fields):
    if kind == "MultiplicationLayer":
        return m.custom(kind, name, NumInputs=number(count), **fields)
    return m.layer(kind, name, NumInputs=number(count), **fields)


def branches(rng, joint, widths):
    """One layer a branch, wired to the ports in reverse, and saved out of order."""
    count = len(widths)
    layers = [
        joint,
        *(m.dense(rng, f"fc_{k}", C, w) for k, w in enumerate(widths, 1)),
        m.sequence_input("in", C),
        m.regression("out"),
    ]
    wires = [("in", f"fc_{k}") for k in range(count, 0, -1)]
    wires += [(f"fc_{k}", f"join/in{k}") for k in range(count, 0, -1)]
    return layers, [("join", "out"), *wires]


@pytest.mark.parametrize("kind", [
    "AdditionLayer", "MultiplicationLayer", "DepthConcatenationLayer",
])  # fmt: skip
def test_joining(tmp_path, rng, kind):
    layers, wires = branches(rng, join(kind, 3), (H, H, H))
    assert_file_agrees(write(tmp_path / "net.mat", net=dag(layers, wires)), rng)


def test_concatenation_keeps_the_order_of_its_ports(tmp_path, rng):
    widths = tuple(range(2, 14))  # in10 comes after in9, not after in1
    layers, wires = branches(rng, join("ConcatenationLayer", 12, Dim=number(1)), widths)
    assert_file_agrees(write(tmp_path / "net.mat", net=dag(layers, wires)), rng)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_concatenation_of_images(tmp_path, rng, dim):
    layers = [
        m.sequence_input("in", 4, 3, 2),
        m.batch_normalization(rng, "batch", 2, 3, 2),
        m.layer("ReLULayer", "relu"),
        m.layer("ConcatenationLayer", "join", Dim=number(dim), NumInputs=number(2)),
        m.lstm(rng, "lstm", 48, H),
        m.regression("out"),
    ]
    wires = [
        ("in", "batch"), ("in", "relu"), ("batch", "join/in1"), ("relu", "join/in2"),
        ("join", "lstm"), ("lstm", "out"),
    ]  # fmt: skip
    assert_file_agrees(write(tmp_path / "net.mat", net=dag(layers, wires)), rng)


def test_multiplication_repeats_single_channels(tmp_path, rng):
    layers = [
        m.sequence_input("in", C),
        m.lstm(rng, "wide", C, H),
        m.lstm(rng, "narrow", C, 1, last=True),
        join("MultiplicationLayer", 2),
        m.regression("out"),
    ]
    wires = [
        ("in", "wide"), ("in", "narrow"), ("wide", "join/in1"), ("narrow", "join/in2"),
        ("join", "out"),
    ]  # fmt: skip
    assert_file_agrees(write(tmp_path / "net.mat", net=dag(layers, wires)), rng)


# --- folding --------------------------------------------------------------------------


def folded(rng, *inner, size=(6, 1, 1), channels=1):
    """Folding, convolutions, unfolding, flattening, lstm: what many examples copy."""
    layers = [
        m.sequence_input("in", *size),
        m.layer("SequenceFoldingLayer", "fold"),
        m.convolution2(rng, "conv", (3, 1), channels, 4, PaddingMode="same"),
        *inner,
        m.layer("SequenceUnfoldingLayer", "unfold"),
        m.layer("FlattenLayer", "flatten"),
    ]
    ports = {"fold": "fold/out"}
    wires = [
        (ports.get(a, a), f"{b}/in" if b == "unfold" else b) for a, b in chain(layers)
    ]
    return layers, [*wires, ("fold/miniBatchSize", "unfold/miniBatchSize")]


@pytest.mark.parametrize("over", ["auto", "channel-only", "batch-excluded", None])
def test_folding_hides_time(tmp_path, rng, over):
    fields = {} if over is None else {"OperationDimension": over}
    layers, wires = folded(
        rng,
        m.batch_normalization(rng, "batch", 4, 3, 2),
        m.layer("ReLULayer", "relu"),
        m.normalization(rng, "Layer", "norm", 4, **fields),
        m.pooling("Average", "pool", 2, 1, PaddingMode="same", Stride=number(2, 1)),
    )
    layers += [m.lstm(rng, "lstm", 12, H, last=True), m.regression("out")]
    wires += [("flatten", "lstm"), ("lstm", "out")]
    net = assert_file_agrees(write(tmp_path / "net.mat", net=dag(layers, wires)), rng)
    assert not any("R2023a" in notice for notice in net.origin.notices)


def test_squeeze_and_excitation(tmp_path, rng):
    """The weights of the channels are vectors, multiplied with images."""
    layers, wires = folded(
        rng,
        m.layer("GlobalAveragePooling2DLayer", "squeeze"),
        m.dense(rng, "fc_1", 4, 2, 2),
        m.layer("ReLULayer", "relu"),
        m.dense(rng, "fc_2", 2, 4, 2),
        m.custom("SigmoidLayer", "sigmoid"),
        join("MultiplicationLayer", 2, "excite"),
    )
    wires = [(a, "excite/in2" if b == "excite" else b) for a, b in wires]
    wires.append(("conv", "excite/in1"))
    layers += [m.lstm(rng, "lstm", 24, H, last=True), m.regression("out")]
    wires += [("flatten", "lstm"), ("lstm", "out")]
    assert_file_agrees(write(tmp_path / "net.mat", net=dag(layers, wires)), rng)


def test_folding_in_an_array_of_layers(tmp_path, rng):
    """Examples show the layers as an array, before they are wired."""
    layers, _ = folded(rng, m.layer("ReLULayer", "relu"))
    layers += [m.lstm(rng, "lstm", 24, H), m.dense(rng, "fc", H, K)]
    path = write(tmp_path / "net.mat", layers=layer_array(layers))
    assert matlab.load(path).shapes["fc"] == (True, (), K)
    assert_file_agrees(write(tmp_path / "net.mat", net=series(layers)), rng)


# --- states, inputs, outputs ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_state_ports(tmp_path, rng, kind):
    """An encoder hands its last state to a decoder."""
    make = getattr(m, kind)
    layers = [
        m.sequence_input("past", C),
        make(rng, "encoder", C, H, last=True, state_outputs=True),
        m.sequence_input("future", 2),
        make(rng, "decoder", 2, H, state_inputs=True, state_outputs=True),
        m.dense(rng, "fc", H, K),
    ]
    wires = [("past", "encoder"), ("future", "decoder/in"), ("decoder/out", "fc")]
    ports = ("hidden", "cell") if kind == "lstm" else ("hidden",)
    # The cell first: the name of the port decides, not the order of the wires.
    wires = [(f"encoder/{p}", f"decoder/{p}") for p in reversed(ports)] + wires
    outputs = ["fc", *(f"decoder/{p}" for p in ports)]
    net = dlnetwork(layers, wires, outputs)
    loaded = assert_file_agrees(write(tmp_path / "net.mat", net=net), rng)
    assert loaded.outputs == tuple(outputs)


@pytest.mark.parametrize("version", [5, 6])
def test_outputs_of_a_dlnetwork_are_those_it_names(tmp_path, rng, version):
    layers = [
        m.sequence_input("in", C),
        m.lstm(rng, "lstm", C, H),
        m.dense(rng, "fc_1", H, K),
        m.dense(rng, "fc_2", H, 2),
    ]
    wires = [("in", "lstm"), ("lstm", "fc_1"), ("lstm", "fc_2")]
    for outputs in (["fc_2", "fc_1"], ["fc_1", "lstm"], ["lstm/out"]):
        net = dlnetwork(layers, wires, outputs, version)
        loaded = assert_file_agrees(write(tmp_path / "net.mat", net=net), rng)
        assert loaded.outputs == tuple(o.removesuffix("/out") for o in outputs)


def test_inputs_and_outputs_come_in_the_order_of_the_layers(tmp_path, rng):
    layers = [
        m.lstm(rng, "lstm_b", 2, H),
        m.sequence_input("b", 2),
        m.regression("out_b"),
        m.sequence_input("a", C),
        m.regression("out_a"),
        m.gru(rng, "gru_a", C, H),
    ]
    wires = [("a", "gru_a"), ("gru_a", "out_a"), ("b", "lstm_b"), ("lstm_b", "out_b")]
    net = assert_file_agrees(write(tmp_path / "net.mat", net=dag(layers, wires)), rng)
    assert net.inputs == ("b", "a") and net.outputs == ("out_b", "out_a")
    path = write(tmp_path / "graph.mat", lgraph=graph(layers, wires))
    assert matlab.load(path).outputs == ("out_b", "out_a")


def test_attention_between_branches(tmp_path, rng):
    for fields in (
        {"Scale": "auto"},
        {"Scale": number(0.5), "AttentionMask": "causal"},
        {"HasPaddingMaskInput": flag(False), "HasScoresOutput": flag(False)},
    ):
        layers = [
            m.sequence_input("in", C),
            m.dense(rng, "q", C, 6),
            m.dense(rng, "k", C, 6),
            m.dense(rng, "v", C, 4),
            m.custom("AttentionLayer", "attention", NumHeads=number(2), **fields),
            m.dense(rng, "fc", 4, K),
        ]
        wires = [("in", name) for name in "vkq"] + [
            ("v", "attention/value"), ("q", "attention/query"), ("k", "attention/key"),
            ("attention", "fc"),
        ]  # fmt: skip
        net = dlnetwork(layers, wires, ["fc"])
        assert_file_agrees(write(tmp_path / "net.mat", net=net), rng)
