"""Whatever stands in a field: it loads, or jlstm says in words what is wrong."""

from __future__ import annotations

import matlab_structs as m
import numpy as np
import pytest
from matlab_files import dag, lost_gpu_array, number, series, write

from jlstm.errors import JlstmError
from jlstm.formats import matlab
from jlstm.formats.matfile import Cell, MatFile, MatObject, Undecodable
from jlstm.network import predict

C, H = 3, 5
RNG = np.random.default_rng(3)

IMAGES = m.sequence_input("in", 6, 5, C)
RULE = m.statistics("zscore", (C,), Mean=m.normal(RNG, C, 1), Std=m.positive(RNG, C, 1))
LAYERS = {
    "lstm": m.lstm(RNG, "x", C, H),
    "bilstm": m.bilstm(RNG, "x", C, H),
    "gru": m.gru(RNG, "x", C, H),
    "lstmProjected": m.projected(RNG, "LSTMProjectedLayer", "x", C, H, (2, 4)),
    "fc": m.dense(RNG, "x", C, 4),
    "batch": m.batch_normalization(RNG, "x", C),
    "layer": m.normalization(RNG, "Layer", "x", C, OperationDimension="auto"),
    "group": m.normalization(RNG, "Group", "x", C, NumGroups=number(3)),
    "conv1": m.convolution1(RNG, "x", 3, C, 4),
    "pool1": m.pooling("Average", "x", 3, PaddingValue=number(0)),
    "gelu": m.layer("GELULayer", "x", Approximation="none"),
    "leaky": m.layer("LeakyReLULayer", "x", Scale=number(0.1)),
    "prelu": m.layer("PReLULayer", "x", Alpha=m.learnable(m.normal(RNG, C, 1))),
    "scaling": m.custom("ScalingLayer", "x", Scale=number(2), Offset=number(1)),
    "indexing": m.layer("Indexing1DLayer", "x", Index="first"),
    "attention": m.self_attention(RNG, "x", C, 1, 2, 2, 4),
    "concatenation": m.layer("ConcatenationLayer", "x", Dim=number(1)),
    "classes": m.classification("x", ("a", "b", "c")),
    "regression": m.regression("x"),
    "conv2": m.convolution2(RNG, "x", (3, 2), C, 4),
    "pool2": m.pooling("Max", "x", 3, 2),
    "flatten": m.layer("FlattenLayer", "x", NumFlattenDimensions=number(3)),
}
ODD = {
    "empty": np.zeros((0, 0)),
    "text": "odd",
    "nan": np.full((1, 1), np.nan),
    "negative": np.full((1, 1), -1.0),
    "zero": np.zeros((1, 1)),
    "huge": np.full((1, 1), 1e300),
    "row": np.ones((1, 7)),
    "cube": np.ones((2, 3, 4), np.float32),
    "complex": np.full((1, 1), 1j),
    "struct": {"Value": np.ones((2, 2), np.float32)},
    "odd struct": {"odd": "odd"},
    "cell": Cell(["a", np.ones((1, 1))], (2, 1)),
    "object": MatObject("my.Class", {"x": np.ones((2, 2), np.float32)}),
    "lost": MatObject("gpuArray", lost=True),
    "undecodable": Undecodable("odd"),
}


def network(tmp_path, layer):
    """A network in a file, opened, and the saved fields of its second layer."""
    first = {2: IMAGES}.get(sum(c == "2" for c in layer.classname) * 2)
    first = first or m.sequence_input("in", C, normalization=RULE)
    path = write(tmp_path / "net.mat", net=series([first, layer]))
    file = MatFile(path)
    chosen = matlab.choose(file)
    return file, chosen, matlab.parse(chosen).layers


def assert_explained(file, chosen) -> bool:
    """Whether it was refused; never by an error that nobody foresaw."""
    try:
        with matlab.reading(file):
            matlab.build(chosen, file)
    except JlstmError as error:
        assert error.__cause__ is None, error
        assert error.file == str(file.path)
        return True
    return False


@pytest.mark.parametrize("name", LAYERS)
def test_odd_values_in_every_field(tmp_path, name):
    file, chosen, layers = network(tmp_path, LAYERS[name])
    refused = 0
    for fields in (layers[1].values, layers[0].values):
        for key in list(fields):
            whole = fields[key]
            for odd in ODD.values():
                fields[key] = odd
                refused += assert_explained(file, chosen)
            fields[key] = whole
            if isinstance(whole, dict) and "Value" in whole:
                for part in list(whole):
                    for odd in ODD.values():
                        fields[key] = whole | {part: odd}
                        refused += assert_explained(file, chosen)
                fields[key] = whole
    assert refused > 10


@pytest.mark.parametrize("odd", ODD)
def test_odd_parts_of_a_normalisation(tmp_path, odd):
    file, chosen, layers = network(tmp_path, LAYERS["fc"])
    rule = layers[0].values["Normalization"]
    for key in list(rule):
        layers[0].values["Normalization"] = rule | {key: ODD[odd]}
        assert_explained(file, chosen)


@pytest.mark.parametrize("odd", ODD)
def test_odd_layers_and_wires(tmp_path, odd):
    file, chosen, layers = network(tmp_path, LAYERS["fc"])
    struct = chosen.value.values
    whole = dict(struct)
    for key in ("Layers", "Connections", "OutputNames", "SerializedQuantizationInfo"):
        struct[key] = ODD[odd]
        assert_explained(file, chosen)
        struct.clear()
        struct.update(whole)
    for values in (ODD[odd], {"Name": ODD[odd]}):
        kept, layers[1].values = layers[1].values, values
        assert_explained(file, chosen)
        layers[1].values = kept


def test_the_plain_ones_load(tmp_path):
    """Otherwise the tests above would prove little."""
    for name, layer in LAYERS.items():
        if name != "concatenation":  # one input is none to it
            file, chosen, _ = network(tmp_path, layer)
            assert not assert_explained(file, chosen), name


# --- what has no part in a prediction does not refuse a network -----------------------


def only(tmp_path, layer, first=None):
    path = write(tmp_path / "net.mat", net=series([first or VECTORS, layer, OUT]))
    return matlab.load(path)


VECTORS, OUT = m.sequence_input("in", C), m.regression("out")


@pytest.mark.parametrize("value", [np.ones((4, 1), np.float32), "lost"])
def test_a_saved_state_that_cannot_be_used(tmp_path, value):
    if isinstance(value, str):
        value = lost_gpu_array()
    layer = m.lstm(RNG, "x", C, H, HiddenState={"Value": value})
    net = only(tmp_path, layer)
    assert net.saved is None
    assert any("saved state is left out" in text for text in net.origin.notices)


@pytest.mark.parametrize(
    "rate", [[[1, 2, 3]], np.arange(20.0)[:, None]], ids=["three", "inside a gate"]
)
def test_training_factors_that_fit_no_gate(tmp_path, rate):
    bias = m.learnable(np.ones((20, 1), np.float32), rate=rate)
    net = only(tmp_path, m.lstm(RNG, "x", C, H, Bias=bias))
    assert all(factor.learn_rate == 1 for factor in net.factors)
    assert any("BiasLearnRateFactor" in text for text in net.origin.notices)


def test_statistics_of_whole_numbers(tmp_path):
    mean = np.arange(1, C + 1, dtype=np.uint8)[:, None]
    rule = m.statistics("zerocenter", (C,), AverageImage=mean)
    first = m.sequence_input("in", C, normalization=rule)
    net = only(tmp_path, m.dense(RNG, "x", C, 4), first)
    found = predict(net, np.zeros((2, C)), trace=True)[1]["in"]
    np.testing.assert_array_equal(found, -np.tile(mean.T.astype(float), (2, 1)))


def test_channels_of_images_of_one_place(tmp_path):
    """Fully connected layers of the first releases leave 1 x 1 x C: Dim 3 is C."""
    parts = [m.dense(RNG, name, 6 * 5 * C, size) for name, size in (("a", 2), ("b", 4))]
    join = m.layer("ConcatenationLayer", "x", Dim=number(3), NumInputs=number(2))
    wires = [("in", "a"), ("in", "b"), ("a", "x/in1"), ("b", "x/in2"), ("x", "out")]
    layers = [m.image_input("in", 6, 5, C), *parts, join, OUT]
    net = matlab.load(write(tmp_path / "net.mat", net=dag(layers, wires)))
    x = RNG.normal(size=(6, 5, C))
    saved = [part.properties["any"] for part in parts]
    expected = [
        f["Weights"]["Value"] @ x.ravel(order="F") + f["Bias"]["Value"].ravel()
        for f in saved
    ]
    np.testing.assert_allclose(predict(net, x), np.concatenate(expected), rtol=2e-5)
