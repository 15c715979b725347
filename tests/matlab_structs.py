"""Layers as MATLAB saves them, with random weights of trained scale.

One function a layer class; `version` is the version of its struct. Which field came
with which version was read off real files where there are any, and otherwise follows
the public properties of the class. `custom` makes the layers that have no `saveobj`:
their properties lie in the file one by one, those of their base class qualified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matlab_files import (
    EMPTY, MatlabOpaque, categorical, cell, flag, number, saved, thing,
)  # fmt: skip

Rng = np.random.Generator
BASE = "nnet.layer.Layer"
INITIALIZER = "nnet.internal.cnn.layer.learnable.initializer"


def layer(kind: str, name: str, version: int = 1, **fields: Any) -> MatlabOpaque:
    """A layer of the toolbox with a `saveobj`."""
    struct = {"Version": number(version), "Name": name, **fields}
    return saved(f"nnet.cnn.layer.{kind}", struct)


def custom(class_name: str, name: str, **properties: Any) -> MatlabOpaque:
    """A layer without `saveobj`, of the toolbox or of the user."""
    full = class_name if "." in class_name else f"nnet.cnn.layer.{class_name}"
    mixin = "nnet.cnn.layer.mixin.Learnable"
    base = {
        "Name": name,
        "Description": "a layer",
        "Type": "Layer",
        f"{BASE}.PrivateInputs": cell(["in"]),
        f"{BASE}.PrivateOutputs": cell(["out"]),
        "Version": number(1),
        f"{mixin}.LearnRateFactor": EMPTY,
        f"{mixin}.L2Factor": EMPTY,
        f"{mixin}.LearnablesTypes": EMPTY,
    }
    return thing(full, base | properties)


# --- arrays ---------------------------------------------------------------------------


def normal(rng: Rng, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * rng.normal(size=shape)).astype(np.float32)


def positive(rng: Rng, *shape: int) -> np.ndarray:
    return (0.5 + rng.random(shape)).astype(np.float32)


def learnable(
    value: Any, version: int = 2, rate: Any = 1.0, decay: Any = 1.0
) -> dict[str, Any]:
    """A learnable parameter; version 1 is that of R2018, without an initializer."""
    struct = {"Version": number(version)} if version > 1 else {}
    struct |= {
        "Value": value,
        "LearnRateFactor": np.atleast_2d(np.asarray(rate, float)),
        "L2Factor": np.atleast_2d(np.asarray(decay, float)),
    }
    if version > 1:
        arguments = cell([number(2), number(1)], row=True)
        struct["Initializer"] = {
            "Version": number(1),
            "Class": f"{INITIALIZER}.Glorot",
            "ConstructorArguments": arguments,
        }
    return struct


def affine(rng: Rng, shape: tuple[int, ...], version: int = 2) -> dict[str, Any]:
    return {
        "Offset": learnable(normal(rng, *shape), version),
        "Scale": learnable(normal(rng, *shape), version),
    }


# --- inputs ---------------------------------------------------------------------------


def statistics(kind: str, size: Sequence[int], **arrays: Any) -> dict[str, Any]:
    """A saved normalisation."""
    head = {"Version": number(1), "Type": kind, "ImageSize": number(*size)}
    return head | arrays


def sequence_input(
    name: str, *size: int, version: int = 5, normalization: Any = None, least: int = 1
) -> MatlabOpaque:
    struct: dict[str, Any] = {"InputSize": number(*size)}
    if version >= 2:
        struct["Normalization"] = EMPTY if normalization is None else normalization
    if version >= 3:
        struct["NormalizationDimension"] = "auto"
    if version >= 4:
        struct["MinLength"] = number(least)
    if version >= 5:
        struct["SplitComplexInputs"] = flag(False)
    return layer("SequenceInputLayer", name, version, **struct)


def feature_input(name: str, size: int, normalization: Any = None) -> MatlabOpaque:
    return layer(
        "FeatureInputLayer", name, InputSize=number(size),
        Normalization=EMPTY if normalization is None else normalization,
        NormalizationDimension="auto",
    )  # fmt: skip


def image_input(name: str, *size: int, normalization: Any = None) -> MatlabOpaque:
    return layer(
        "ImageInputLayer", name, InputSize=number(*size),
        Normalization=EMPTY if normalization is None else normalization,
        Augmentations=EMPTY,
    )  # fmt: skip


# --- recurrent ------------------------------------------------------------------------


def _packed(
    rng: Rng, rows: int, inputs: int, hidden: int, version: int, biases: int = 1
) -> dict[str, Any]:
    scale = 1.5 / np.sqrt(hidden)
    return {
        "InputWeights": learnable(normal(rng, rows, inputs, scale=0.7), version),
        "RecurrentWeights": learnable(normal(rng, rows, hidden, scale=scale), version),
        "Bias": learnable(normal(rng, biases * rows, 1, scale=0.5), version, decay=0.0),
    }


def _state(name: str, value: Any, version: int) -> dict[str, Any]:
    struct = {"Value": value, "Remember": flag(True)}
    if version == 1:
        # R2017b kept objects here, and called the hidden state the output state.
        kind = "nnet.internal.cnn.layer.dynamic.TrainingDynamicParameter"
        old = name.replace("Hidden", "Output")
        return {old: thing(kind, struct), f"Initial{name}": value}
    return {name: struct, f"Initial{name}": value}


def _activations(state: str, gate: str) -> dict[str, Any]:
    return {"StateActivationFunction": state, "GateActivationFunction": gate}


def lstm(
    rng: Rng, name: str, inputs: int, hidden: int, version: int = 5, *,
    last: bool = False, state: str = "tanh", gate: str = "sigmoid",
    state_inputs: bool = False, state_outputs: bool = False, kind: str = "LSTMLayer",
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 1 to 5; a bilstm has one less with the same fields."""
    both = kind == "BiLSTMLayer"
    age = version + both
    directions = 2 if both else 1
    struct: dict[str, Any] = {"InputSize": number(inputs)}
    struct["OutputSize" if age == 1 else "NumHiddenUnits"] = number(hidden)
    struct["ReturnSequence"] = flag(not last)
    if age >= 3:
        struct |= _activations(state, gate)
    if age >= 5:
        struct["HasStateInputs"] = flag(state_inputs)
        struct["HasStateOutputs"] = flag(state_outputs)
    struct |= _packed(rng, 4 * directions * hidden, inputs, hidden, 1 + (age >= 4))
    zero = np.zeros((directions * hidden, 1), np.float32)
    for part in ("CellState", "HiddenState"):
        struct |= _state(part, EMPTY if state_inputs else zero, age)
    return layer(kind, name, version, **struct | fields)


def bilstm(
    rng: Rng, name: str, inputs: int, hidden: int, version: int = 4, **more: Any
) -> MatlabOpaque:
    """Struct versions 1 to 4."""
    return lstm(rng, name, inputs, hidden, version, kind="BiLSTMLayer", **more)


def gru(
    rng: Rng, name: str, inputs: int, hidden: int, version: int = 2, *,
    last: bool = False, mode: str = "after-multiplication", state: str = "tanh",
    gate: str = "sigmoid", state_inputs: bool = False, state_outputs: bool = False,
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 1 and 2."""
    struct: dict[str, Any] = {
        "InputSize": number(inputs),
        "NumHiddenUnits": number(hidden),
        "ReturnSequence": flag(not last),
        "ResetGateMode": mode,
        **_activations(state, gate),
    }
    if version >= 2:
        struct["HasStateInputs"] = flag(state_inputs)
        struct["HasStateOutputs"] = flag(state_outputs)
    biases = 2 if mode.startswith("recurrent-bias") else 1
    struct |= _packed(rng, 3 * hidden, inputs, hidden, 2, biases)
    zero = EMPTY if state_inputs else np.zeros((hidden, 1), np.float32)
    struct |= _state("HiddenState", zero, 2)
    return layer("GRULayer", name, version, **struct | fields)


def projected(
    rng: Rng, kind: str, name: str, inputs: int, hidden: int, ranks: tuple[int, int],
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """An lstmProjectedLayer or gruProjectedLayer of two ranks: input, output."""
    gates = {"LSTMProjectedLayer": 4, "GRUProjectedLayer": 3}[kind]
    rows = gates * hidden
    struct: dict[str, Any] = {
        "InputSize": number(inputs),
        "NumHiddenUnits": number(hidden),
        "OutputProjectorSize": number(ranks[1]),
        "InputProjectorSize": number(ranks[0]),
        "ReturnSequence": flag(True),
        **_activations("tanh", "sigmoid"),
        "HasStateInputs": flag(False),
        "HasStateOutputs": flag(False),
        "InputWeights": learnable(normal(rng, rows, ranks[0])),
        "RecurrentWeights": learnable(normal(rng, rows, ranks[1], scale=0.6)),
        "Bias": learnable(normal(rng, rows, 1, scale=0.5), decay=0.0),
        "InputProjector": learnable(normal(rng, inputs, ranks[0], scale=0.5)),
        "OutputProjector": learnable(normal(rng, hidden, ranks[1], scale=0.5)),
    }
    zero = np.zeros((hidden, 1), np.float32)
    for part in ("CellState", "HiddenState")[4 - gates :]:
        struct |= _state(part, zero, 5)
    return layer(kind, name, **struct | fields)


# --- dense and normalisation ----------------------------------------------------------


def dense(
    rng: Rng, name: str, inputs: int, outputs: int, version: int = 3,
    image: tuple[int, ...] = (), **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 1 to 3; with `image` the weights keep its axes, H x W x C x N."""
    weights = normal(rng, outputs, inputs, scale=1 / np.sqrt(inputs))
    if image:
        weights = weights.T.reshape(*image, outputs, order="F")
        while weights.shape[-1] == 1 and weights.ndim > 2:
            weights = weights[..., 0]
    struct = {
        "InputSize": EMPTY if version == 3 else number(*(image or (inputs,))),
        "OutputSize": number(outputs) if version == 3 else number(1, 1, outputs),
        "Weights": learnable(weights, 1 + (version >= 3)),
        "Bias": learnable(normal(rng, outputs, 1), 1 + (version >= 3), decay=0.0),
    }
    return layer("FullyConnectedLayer", name, version, **struct | fields)


def batch_normalization(
    rng: Rng, name: str, channels: int, version: int = 3, space: int = 0
) -> MatlabOpaque:
    """Struct versions 1 to 3; parameters as images have them, 1 x 1 x C, or C x 1."""
    shape = (*(1,) * space, channels) if space > 1 else (channels, 1)
    struct: dict[str, Any] = {"Epsilon": number(3e-3), "NumChannels": number(channels)}
    if version >= 2:
        struct["ChannelDim"] = number(space + 1)
    struct |= {
        "TrainedMean": normal(rng, *shape),
        "TrainedVariance": positive(rng, *shape),
    }
    if version >= 3:
        struct |= {
            "MeanDecay": number(0.1),
            "VarianceDecay": number(0.1),
            "IsMovingAverageMode": flag(True),
        }
    struct["NumTrainingSamples"] = number(40)
    struct |= affine(rng, shape, 1 + (version >= 2))
    return layer("BatchNormalizationLayer", name, version, **struct)


def normalization(
    rng: Rng, kind: str, name: str, channels: int, **fields: Any
) -> MatlabOpaque:
    """A layer, group or instance normalisation."""
    struct = {"Epsilon": number(2e-3), "NumChannels": number(channels)}
    struct |= affine(rng, (channels, 1))
    return layer(f"{kind}NormalizationLayer", name, **struct | fields)


# --- convolution and pooling ----------------------------------------------------------


def convolution1(
    rng: Rng, name: str, size: int, channels: int, filters: int, **fields: Any
) -> MatlabOpaque:
    struct = {
        "FilterSize": number(size),
        "NumChannels": number(channels),
        "NumFilters": number(filters),
        "Stride": number(1),
        "DilationFactor": number(1),
        "PaddingMode": "manual",
        "PaddingSize": number(0, 0),
        "PaddingValue": number(0),
        "Weights": learnable(normal(rng, size, channels, filters, scale=0.5)),
        "Bias": learnable(normal(rng, 1, filters), decay=0.0),
    }
    return layer("Convolution1DLayer", name, **struct | fields)


def convolution2(
    rng: Rng, name: str, size: tuple[int, int], channels: int, filters: int,
    version: int = 8, **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """Struct versions 2 to 5 and 8."""
    weights = normal(rng, *size, channels, filters, scale=0.5)
    struct: dict[str, Any] = {
        "FilterSize": number(*size),
        "NumChannels": number(channels),
        "NumFilters": number(filters),
        "Stride": number(1, 1),
    }
    if version == 2:
        struct["Padding"] = number(0, 0)
    else:
        struct |= {"PaddingMode": "manual", "PaddingSize": number(0, 0, 0, 0)}
    if version >= 4:
        struct["DilationFactor"] = number(1, 1)
    if version >= 8:
        struct["PaddingValue"] = number(0)
    age = 1 + (version >= 5)
    struct["Weights"] = learnable(weights, age)
    struct["Bias"] = learnable(normal(rng, 1, 1, filters), age, decay=0.0)
    if version >= 8:
        struct |= {
            "ConvolveOverTime": flag(False),
            "DistributeOverTime": flag(True),
            "ConvolutionDimIdx": number(1, 2),
            "CudnnGPUAlgoForward": number(-1),
        }
    return layer("Convolution2DLayer", name, version, **struct | fields)


def grouped_convolution2(
    rng: Rng, name: str, size: tuple[int, int], per_group: tuple[int, int], groups: Any,
    count: int, **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    """`per_group`: channels and filters of each of `count` groups."""
    struct = {
        "FilterSize": number(*size),
        "NumGroups": groups,
        "NumChannelsPerGroup": number(per_group[0]),
        "NumFiltersPerGroup": number(per_group[1]),
        "Stride": number(1, 1),
        "DilationFactor": number(1, 1),
        "PaddingMode": "manual",
        "PaddingSize": number(0, 0, 0, 0),
        "Weights": learnable(normal(rng, *size, *per_group, count)),
        "Bias": learnable(normal(rng, 1, 1, per_group[1], count), decay=0.0),
    }
    return layer("GroupedConvolution2DLayer", name, **struct | fields)


def pooling(kind: str, name: str, *size: int, version: int = 3, **fields: Any):
    """A Max- or AveragePooling1D- or 2DLayer, without padding, of stride 1."""
    axes = len(size)
    struct = {
        "PoolSize": number(*size),
        "Stride": number(*(1,) * axes),
        "PaddingMode": "manual",
        "PaddingSize": number(*(0,) * 2 * axes),
    }
    if axes == 2 and kind == "Max" and version >= 3:
        struct |= {
            "HasUnpoolingOutputs": flag(False),
            "PoolOverTime": flag(False),
            "DistributeOverTime": flag(True),
            "PoolingDimIdx": number(1, 2),
        }
    return layer(f"{kind}Pooling{axes}DLayer", name, version, **struct | fields)


# --- attention ------------------------------------------------------------------------


def self_attention(
    rng: Rng, name: str, inputs: int, heads: int, keys: int, values: int, outputs: int,
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    struct: dict[str, Any] = {
        "NumHeads": number(heads),
        "NumKeyChannels": number(keys),
        "NumValueChannels": "auto" if values == keys else number(values),
        "OutputSize": "auto" if outputs == inputs else number(outputs),
        "InputSize": number(inputs),
        "HasPaddingMaskInput": flag(False),
        "AttentionMask": "none",
        "DropoutProbability": number(0.1),
        "HasScoresOutput": flag(False),
    }
    rows = {"Query": keys, "Key": keys, "Value": values, "Output": outputs}
    for part, count in rows.items():
        columns = values if part == "Output" else inputs
        struct[f"{part}Weights"] = learnable(normal(rng, count, columns))
        struct[f"{part}Bias"] = learnable(normal(rng, count, 1), decay=0.0)
    return layer("SelfAttentionLayer", name, **struct | fields)


def word_embedding(
    rng: Rng, name: str, width: int, words: int, **fields: Any
) -> MatlabOpaque:
    """The last column is the vector of all other words."""
    struct = {
        "Dimension": number(width),
        "NumWords": number(words),
        "Weights": learnable(normal(rng, width, words + 1)),
    }
    return layer("WordEmbeddingLayer", name, **struct | fields)


# --- the rest -------------------------------------------------------------------------


def softmax(name: str, version: int = 4) -> MatlabOpaque:
    fields: dict[str, Any] = {"ChannelDim": number(1)} if version > 2 else {}
    if version != 1:
        fields["VectorFormat"] = flag(True)
    return layer("SoftmaxLayer", name, version, **fields)


def regression(name: str, names: Sequence[str] = ("Response",)) -> MatlabOpaque:
    return layer(
        "RegressionOutputLayer", name, 2, ResponseNames=cell(names),
        ObservationDim=number(2),
    )  # fmt: skip


def classification(
    name: str,
    names: Sequence[str],
    codes: Sequence[int] | None = None,
    version: int = 4,
) -> MatlabOpaque:
    """Struct versions 1, 3 and 4; score k belongs to `names[codes[k] - 1]`."""
    if version == 1:
        return layer(
            "ClassificationOutputLayer", name, OutputSize=number(1, 1, len(names)),
            ClassNames=cell(names),
        )  # fmt: skip
    codes = codes or range(1, len(names) + 1)
    fields: dict[str, Any] = {
        "ObservationDim": number(2),
        "NumClasses": number(len(codes)),
        "Categories": categorical(names, codes),
    }
    if version >= 4:
        fields["ClassWeights"] = EMPTY
    return layer("ClassificationOutputLayer", name, version, **fields)
