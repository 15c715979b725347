"""What jlstm does not compute is refused, with the layer, the property, the value."""

from __future__ import annotations

import matlab_structs as m
import numpy as np
import pytest
from matlab_files import (
    EMPTY,
    cell,
    dlnetwork,
    flag,
    function_handle,
    number,
    series,
    string,
    write,
)

from jlstm.errors import Unsupported
from jlstm.formats import matlab

C, H, K = 3, 5, 4
RNG = np.random.default_rng(5)


def refusal(tmp_path, first, layer, container=series):
    layers = [first, layer, m.regression("out")]
    path = write(tmp_path / "net.mat", net=container(layers))
    with pytest.raises(Unsupported) as caught:
        matlab.load(path)
    assert caught.value.file == str(path)
    return caught.value


VECTORS = m.sequence_input("in", C)
LINES = m.sequence_input("in", 7, C)
IMAGES = m.sequence_input("in", 6, 5, C)


def norm(kind, **fields):
    return m.normalization(RNG, kind, "x", C, **fields)


VALUES = {
    "state activation": (
        VECTORS, m.lstm(RNG, "x", C, H, state="gelu"), "StateActivationFunction", "gelu"
    ),
    "gate activation": (
        VECTORS, m.gru(RNG, "x", C, H, gate="tanh"), "GateActivationFunction", "tanh"
    ),
    "reset mode": (
        VECTORS, m.gru(RNG, "x", C, H, mode="never"), "ResetGateMode", "never"
    ),
    "output mode": (VECTORS, m.lstm(RNG, "x", C, H, OutputMode="first"), "OutputMode",
                    "first"),
    "gelu": (VECTORS, m.layer("GELULayer", "x", Approximation="fast"), "Approximation",
             "fast"),
    "padding mode": (
        VECTORS, m.convolution1(RNG, "x", 3, C, K, PaddingMode="valid"), "PaddingMode",
        "valid",
    ),
    "causal in two dimensions": (
        IMAGES, m.convolution2(RNG, "x", (3, 2), C, K, PaddingMode="causal"),
        "PaddingMode", "causal",
    ),
    "padding value": (
        VECTORS, m.convolution1(RNG, "x", 3, C, K, PaddingValue="mean"), "PaddingValue",
        "mean",
    ),
    "average of mirrored padding": (
        VECTORS, m.pooling("Average", "x", 3, PaddingValue="replicate"), "PaddingValue",
        "replicate",
    ),
    "convolution over time and space": (
        LINES, m.convolution2(RNG, "x", (3, 2), C, K, ConvolveOverTime=flag(True)),
        "ConvolveOverTime", "True",
    ),
    "pooling over time and space": (
        LINES, m.pooling("Max", "x", 3, 2, PoolOverTime=flag(True)), "PoolOverTime",
        "True",
    ),
    "one dimension of images": (
        IMAGES, m.convolution1(RNG, "x", 3, C, K), "Name", "(time, 6, 5, 3)"
    ),
    "unpooling": (
        IMAGES, m.pooling("Max", "x", 3, 2, HasUnpoolingOutputs=flag(True)),
        "HasUnpoolingOutputs", "True",
    ),
    "layer norm": (
        VECTORS, norm("Layer", OperationDimension="time"), "OperationDimension", "time"
    ),
    "group norm": (VECTORS, norm("Group", NumGroups="some"), "NumGroups", "some"),
    "indexing": (VECTORS, m.layer("Indexing1DLayer", "x", Index="middle"), "Index",
                 "middle"),
    "indexing of masks": (
        VECTORS, m.layer("Indexing1DLayer", "x", HasPaddingMaskInput=flag(True)),
        "HasPaddingMaskInput", "True",
    ),
    "attention mask": (
        VECTORS,
        m.self_attention(RNG, "x", C, 1, 2, 2, C, AttentionMask=np.eye(3)),
        "AttentionMask", "[[1.",
    ),
    "positions in space": (
        LINES,
        m.layer("PositionEmbeddingLayer", "x", PositionDimension="spatial",
                Weights=m.learnable(m.normal(RNG, K, 9))),
        "PositionDimension", "spatial",
    ),
    "words": (
        m.sequence_input("in", 1), m.word_embedding(RNG, "x", K, 5, OOVMode="error"),
        "Weights", "6 columns, error",
    ),
    "a scale for every step": (
        VECTORS, m.custom("ScalingLayer", "x", Scale=m.normal(RNG, C, 1, 4)), "Scale",
        "(3, 1, 4)",
    ),
    "text where a number is": (
        VECTORS, m.layer("DropoutLayer", "x", Probability="half"), "Probability", "half"
    ),
    "two numbers where one is": (
        VECTORS, m.layer("ClippedReLULayer", "x", Ceiling=number(1, 2)), "Ceiling",
        "[1.0, 2.0]",
    ),
    "half a stride": (
        VECTORS, m.convolution1(RNG, "x", 3, C, K, Stride=number(1.5)), "Stride",
        "[1.5]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_values(tmp_path, case):
    first, layer, name, found = VALUES[case]
    error = refusal(tmp_path, first, layer)
    assert error.place == f"net.Layers('x').{name}"
    assert found in str(error.found)


def weights_of(shape, dtype=np.float32):
    return m.learnable(np.ones(shape, dtype))


SIZES = {
    "rows of the input weights": (
        VECTORS, m.gru(RNG, "x", C, H, InputWeights=weights_of((20, C))), "InputWeights"
    ),
    "rows of the recurrent weights": (
        VECTORS, m.gru(RNG, "x", C, H, RecurrentWeights=weights_of((20, H))),
        "RecurrentWeights",
    ),
    "columns of the recurrent weights": (
        VECTORS, m.lstm(RNG, "x", C, H, RecurrentWeights=weights_of((20, 4))),
        "RecurrentWeights",
    ),
    "transposed": (
        VECTORS, m.gru(RNG, "x", C, H, InputWeights=weights_of((C, 15))), "InputWeights"
    ),
    "an lstm with two biases": (
        VECTORS, m.lstm(RNG, "x", C, H, Bias=weights_of((40, 1))), "Bias"
    ),
    "a gru with the bias of another mode": (
        VECTORS, m.gru(RNG, "x", C, H, Bias=weights_of((30, 1))), "Bias"
    ),
    "units": (
        VECTORS, m.lstm(RNG, "x", C, H, NumHiddenUnits=number(4)), "InputWeights"
    ),
    "initial states of several sequences": (
        VECTORS,
        m.lstm(RNG, "x", C, H, InitialHiddenState=np.arange(10.0).reshape(5, 2)),
        "InitialHiddenState",
    ),
    "projector": (
        VECTORS,
        m.projected(RNG, "LSTMProjectedLayer", "x", C, H, (2, 4),
                    OutputProjector=weights_of((H, 3))),
        "OutputProjector",
    ),
    "projector upside down": (
        VECTORS,
        m.projected(RNG, "GRUProjectedLayer", "x", C, H, (2, 4),
                    InputProjector=weights_of((2, C))),
        "InputProjector",
    ),
    "outputs": (VECTORS, m.dense(RNG, "x", C, K, OutputSize=number(7)), "Weights"),
    "dense bias": (
        VECTORS, m.dense(RNG, "x", C, K, Bias=weights_of((7, 1))), "Weights"
    ),
    "filters": (
        VECTORS, m.convolution1(RNG, "x", 3, C, K, Bias=weights_of((1, 7))), "Weights"
    ),
    "statistics": (
        m.sequence_input(
            "in", C, normalization=m.statistics("zscore", (C,), Mean=np.ones((4, 1)),
                                                Std=np.ones((4, 1))),
        ),
        m.layer("ReLULayer", "x"), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SIZES)
def test_sizes(tmp_path, case):
    first, layer, name = SIZES[case]
    error = refusal(tmp_path, first, layer)
    assert error.place == (
        f"net.Layers('x').{name}" if name else "net.Layers('in').Normalization.Mean"
    )
    assert error.found and error.expected


# --- layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("container", [series, dlnetwork])
def test_a_custom_layer(tmp_path, container):
    layer = m.custom("x", "x", Weights=m.normal(RNG, 2, 2))
    layer.classname = "my.package.PeepholeLayer"
    error = refusal(tmp_path, VECTORS, layer, container)
    assert "my.package.PeepholeLayer" in error.summary
    assert error.place == "net.Layers('x')" and "Weights" in str(error.found)
    assert "MATLAB code" in str(error.do)


@pytest.mark.parametrize("class_name", [
    "nnet.cnn.layer.TransposedConvolution1DLayer",
    "nnet.cnn.layer.CrossChannelNormalizationLayer",
    "nnet.keras.layer.ZeroPadding1dLayer",
])  # fmt: skip
def test_a_layer_of_a_toolbox_that_is_not_computed(tmp_path, class_name):
    layer = m.layer("x", "x", WindowChannelSize=number(5))
    layer.classname = class_name
    error = refusal(tmp_path, VECTORS, layer)
    assert class_name in error.summary and "WindowChannelSize" in str(error.found)
    assert "MATLAB code" not in str(error.do)


def test_a_function_layer(tmp_path):
    layer = m.custom("FunctionLayer", "x", PredictFcn=function_handle())
    error = refusal(tmp_path, VECTORS, layer)
    assert "MATLAB code" in error.summary and error.place == "net.Layers('x')"


@pytest.mark.parametrize("value", [
    number(1), flag(False), "text", {"a": number(1)}, cell([number(1)]), string("x"),
])  # fmt: skip
def test_an_unknown_property(tmp_path, value):
    layer = m.dense(RNG, "x", C, K, Sparsity=value)
    error = refusal(tmp_path, VECTORS, layer)
    assert "unknown property" in error.summary
    assert error.place == "net.Layers('x').Sparsity"


def test_an_unknown_property_of_a_parameter(tmp_path):
    layer = m.dense(RNG, "x", C, K)
    layer.properties["any"]["Weights"]["Mask"] = flag(True)
    error = refusal(tmp_path, VECTORS, layer)
    assert error.place == "net.Layers('x').Weights.Mask"


def test_a_missing_property(tmp_path):
    layer = m.layer("ClippedReLULayer", "x")
    error = refusal(tmp_path, VECTORS, layer)
    assert error.place == "net.Layers('x').Ceiling"
    assert error.summary == "a property is missing"


@pytest.mark.parametrize(("value", "found"), [
    (np.ones((20, C), np.int8), "int8"),
    (np.ones((20, C), bool), "bool"),
    (np.ones((20, C)) * 1j, "array"),
    ("text", "text"),
    (cell([number(1)]), "[array"),
    (string("x"), "uint64"),
])  # fmt: skip
def test_weights_that_are_no_numbers(tmp_path, value, found):
    parameter = m.learnable(value)
    error = refusal(tmp_path, VECTORS, m.lstm(RNG, "x", C, H, InputWeights=parameter))
    assert error.place == "net.Layers('x').InputWeights"
    assert found in str(error.found)


# --- inputs ---------------------------------------------------------------------------


INPUTS = {
    "a function": (
        m.statistics("custom", (C,), Function=function_handle()),
        "function of your own",
    ),
    "a handle": (function_handle(), "function of your own"),
    "an unknown type": (m.statistics("log", (C,)), "log"),
    "text": ("log", "log"),
    "nothing learned": (
        m.statistics("zscore", (C,), Mean=EMPTY, Std=EMPTY),
        "Mean, Std",
    ),
    "half of it": (m.statistics("zscore", (C,), Mean=np.ones((C, 1))), "Mean"),
    "something more": (
        m.statistics("zerocenter", (C,), AverageImage=np.ones((C, 1)), Power=number(2)),
        "2.0",
    ),
    "several": (cell([m.statistics("log", (C,)), m.statistics("log", (C,))]), "Cell"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_normalisations(tmp_path, case):
    value, found = INPUTS[case]
    first = m.sequence_input("in", C, normalization=value)
    error = refusal(tmp_path, first, m.dense(RNG, "x", C, K))
    assert str(error.place).startswith("net.Layers('in').")
    assert found in str(error.found)


def test_complex_inputs(tmp_path):
    first = m.sequence_input("in", C)
    first.properties["any"]["SplitComplexInputs"] = flag(True)
    error = refusal(tmp_path, first, m.dense(RNG, "x", 2 * C, K))
    assert error.place == "net.Layers('in').SplitComplexInputs"


@pytest.mark.parametrize(("letters", "sizes"), [
    ("CB", (3,)), ("TB", (3, 3)), ("CBU", (3, 3, 3)), ("SCB", (np.nan, 3, 3)),
])  # fmt: skip
def test_formats_of_inputs(tmp_path, letters, sizes):
    size = number(*sizes)
    first = m.layer("InputLayer", "in", InputFormat=letters, InputSize=size)
    error = refusal(tmp_path, first, m.dense(RNG, "x", C, K), dlnetwork)
    assert str(error.place).startswith("net.Layers('in').Input")
