"""One reader for each layer class of MATLAB's Deep Learning Toolbox.

A reader gets the saved fields of a layer (see `fields.Fields`) and the shapes of its
inputs, and returns a `Built`. Every field is taken, ignored by name, or refused. Field
names are the same from struct version to struct version; later versions only add some,
whose defaults are what the earlier releases computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import layers as L
from ..errors import Unsupported
from ..pytree import Shape
from ..recurrent import (
    GATE_ACTIVATIONS,
    GRU,
    LSTM,
    RESET_MODES,
    STATE_ACTIVATIONS,
    Bidirectional,
    BidirectionalState,
    GRUState,
    LSTMState,
    Recurrent,
)
from . import _gates
from .fields import Fields, numeric, strings
from .matfile import Cell, MatObject


@dataclass
class Built:
    """A layer, and what its file says beside its parameters.

    Attributes:
        layer: the layer.
        initial, saved: states of a recurrent layer; None means zeros and "as initial".
        factors: (path inside the layer, learn-rate factor, L2 factor).
        notices: what the user should know.
    """

    layer: L.Layer
    initial: Any = None
    saved: Any = None
    factors: list[tuple[str, float, float]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


Reader = Callable[[Fields, list[Shape]], Built]
READERS: dict[str, Reader] = {}

NEVER_MATTER = (
    "Version", "Name", "Description", "Type", "ChannelDim", "ObservationDim",
    "VectorFormat", "ConvolutionDimIdx", "PoolingDimIdx", "DistributeOverTime",
    "CudnnGPUAlgoForward", "NumInputs", "NumOutputs", "InputNames", "OutputNames",
    "PrivateInputs", "PrivateOutputs", "LearnablesTypes", "StatesTypes",
    "NormalizationDimension",
)  # fmt: skip
"""Fields that are labels, or caches of what follows from the shapes."""


def reader(*names: str) -> Callable[[Reader], Reader]:
    """Register a reader for classes of `nnet.cnn.layer`, or for full class names."""

    def register(function: Reader) -> Reader:
        for name in names:
            full = name if "." in name else f"nnet.cnn.layer.{name}"
            READERS[full] = function
        return function

    return register


def read(class_name: str, fields: Fields, inputs: list[Shape]) -> Built:
    """Read one layer.

    Raises:
        Unsupported: the class, a property, or a value of one is not known.
    """
    if class_name not in READERS:
        raise Unsupported(
            f"jlstm does not know the layer class {class_name}",
            place=fields.place,
            found=", ".join(fields.names) or "no saved properties",
            do="a custom layer needs its definition: replace it, or export the part of "
            "the network that does without it",
        )
    fields.ignore(*NEVER_MATTER)
    built = READERS[class_name](fields, inputs)
    fields.finish()
    return built


# --- learnable parameters -------------------------------------------------------------


def _learnable(f: Fields, *names: str) -> tuple[np.ndarray, Any, Any]:
    """An array with its learn-rate and L2 factors, in any of the forms it is saved in.

    Raises:
        Unsupported: the network was never trained, or the array is not in the file.
    """
    place = f"{f.place}.{names[0]}"
    value = f.take(*names, default=None)
    for label in ("Initializer", "LearnRateFactor", "L2Factor"):
        f.ignore(names[0] + label)
    learn_rate: Any = 1.0
    l2: Any = 0.0 if names[0].endswith("Bias") else 1.0
    if isinstance(value, dict) and "Value" in value:
        learn_rate = _factor(value, "LearnRateFactor", learn_rate)
        l2 = _factor(value, "L2Factor", l2)
        unknown = set(value) - {
            "Version", "Value", "LearnRateFactor", "L2Factor", "Initializer"
        }  # fmt: skip
        if unknown:
            f.refuse(names[0], ", ".join(sorted(unknown)), None, unknown=True)
        value = value["Value"]
    array = None if value is None else numeric(value, place)
    if array is None or array.size == 0:
        raise Unsupported(
            "the network is not trained: this array is empty",
            place=place,
            do="save the network that trainNetwork or trainnet returned, not the layers "
            "that went in",
        )
    return np.array(array, order="C"), learn_rate, l2


def _factor(value: dict[str, Any], name: str, default: float) -> Any:
    factor = value.get(name)
    if isinstance(factor, np.ndarray) and factor.size and factor.dtype.kind == "f":
        return factor
    return default


def _factors(path: str, learn_rate: Any, l2: Any) -> list[tuple[str, float, float]]:
    """Record the factors of one array where they differ from the defaults."""
    rate, decay = float(np.ravel(learn_rate)[0]), float(np.ravel(l2)[0])
    default = 0.0 if path.endswith("bias") else 1.0
    return [] if (rate, decay) == (1.0, default) else [(path, rate, decay)]


def _vector(f: Fields, *names: str) -> tuple[np.ndarray, list]:
    """A per-channel parameter of any orientation, flat."""
    array, learn_rate, l2 = _learnable(f, *names)
    path = {"Bias": "bias", "Offset": "offset", "Scale": "scale"}.get(names[0], "")
    return array.ravel(order="F"), _factors(f".{path}", learn_rate, l2)


# --- inputs ---------------------------------------------------------------------------


@reader("SequenceInputLayer", "FeatureInputLayer", "ImageInputLayer")
def _input(f: Fields, inputs: list[Shape]) -> Built:
    size = f.integers("InputSize")
    timed = "SequenceInput" in f.class_name
    if not 1 <= len(size) <= 4:
        f.refuse("InputSize", size, "one to four numbers")
    if f.flag("SplitComplexInputs", default=False):
        f.refuse("SplitComplexInputs", True, "false: complex inputs are not supported")
    f.ignore("Augmentations", "DataAugmentation")
    min_length = f.integers("MinLength", default=(1,))[0]
    kind, statistics, target = _normalization(f, size)
    return Built(
        L.Input(
            **statistics,
            size=size,
            time=timed,
            normalization=kind,
            target=target,
            min_length=min_length,
        )
    )


def _normalization(f: Fields, size: tuple[int, ...]) -> Any:
    """`(name, statistics, target range)` from a saved transform or public properties."""
    saved = f.take("Normalization", default=None)
    if isinstance(saved, Cell) and len(saved) == 1:
        saved = saved[0]
    if isinstance(saved, dict):
        inner = Fields(saved, f"{f.place}.Normalization")
        inner.ignore("Version", "ImageSize")
        result = _transform(inner, inner.text("Type"), size)
        inner.finish()
        return result
    if saved is None or saved == "none":
        f.ignore("Mean", "StandardDeviation", "Min", "Max")
        return "none", {}, None
    if not isinstance(saved, str):
        f.refuse("Normalization", type(saved).__name__, "a single named normalisation")
    return _transform(f, saved, size)


def _transform(f: Fields, kind: str, size: tuple[int, ...]) -> Any:
    def statistic(*names: str) -> np.ndarray:
        return _statistic(f, names, size)

    if kind == "zerocenter":
        mean = statistic("Mean", "AverageImage")
        f.ignore("StandardDeviation", "Std", "Min", "Max")
        return kind, {"mean": mean}, None
    if kind == "zscore":
        mean = statistic("Mean", "AverageImage")
        std = statistic("StandardDeviation", "Std")
        f.ignore("Min", "Max")
        return kind, {"mean": mean, "std": std}, None
    if kind in ("rescale", "rescale-zero-one", "rescale-symmetric"):
        low, high = (-1.0, 1.0) if kind == "rescale-symmetric" else (0.0, 1.0)
        low = f.number("TargetMin", default=low)
        high = f.number("TargetMax", default=high)
        known = {(0.0, 1.0): "rescale-zero-one", (-1.0, 1.0): "rescale-symmetric"}
        limits = {"minimum": statistic("Min"), "maximum": statistic("Max")}
        f.ignore("Mean", "StandardDeviation")
        name = known.get((low, high))
        return name or "rescale", limits, None if name else (low, high)
    return f.refuse("Type", kind, "none, zerocenter, zscore or rescale")


def _statistic(f: Fields, names: tuple[str, ...], size: tuple[int, ...]) -> np.ndarray:
    """A statistic of the training data, broadcastable against `(*space, channels)`."""
    value = np.array(f.array(*names))
    if value.size == 1:
        return value.reshape(1)
    if value.size == size[-1]:
        return value.reshape(-1)
    if value.shape == size or value.size == np.prod(size) and len(size) == 1:
        return value.reshape(size)
    return f.refuse(names[0], f"shape {value.shape}", f"1, {size[-1]} or {size} values")


# --- recurrent layers -----------------------------------------------------------------


def _common(f: Fields, per_unit: int) -> tuple[dict[str, Any], list, list, int]:
    """What LSTM, BiLSTM and GRU share: packed arrays, factors, activations, width."""
    arrays, factors = [], []
    for name in ("InputWeights", "RecurrentWeights", "Bias"):
        array, learn_rate, l2 = _learnable(f, name)
        arrays.append(array)
        factors.append((learn_rate, l2))
    arrays[2] = arrays[2].reshape(-1)
    settings = {
        "state_activation": f.text("StateActivationFunction", default="tanh"),
        "gate_activation": f.text("GateActivationFunction", default="sigmoid"),
        "output_mode": _output_mode(f),
    }
    for name, value, known in (
        ("StateActivationFunction", settings["state_activation"], STATE_ACTIVATIONS),
        ("GateActivationFunction", settings["gate_activation"], GATE_ACTIVATIONS),
    ):
        if value not in known:
            f.refuse(name, value, ", ".join(known))
    hidden = f.integers("NumHiddenUnits", "OutputSize")[0]
    rows = {array.shape[0] for array in arrays[:2]}
    if rows != {per_unit * hidden}:
        f.refuse(
            "InputWeights",
            f"{arrays[0].shape[0]} and {arrays[1].shape[0]} rows in the weights",
            f"{per_unit} x {hidden} hidden units",
        )
    f.ignore("InputSize", "HasStateInputs", "HasStateOutputs")
    f.ignore("InputProjectorSize", "OutputProjectorSize")
    return settings, arrays, factors, hidden


def _output_mode(f: Fields) -> str:
    mode = f.text("OutputMode", default=None)
    sequence = f.flag("ReturnSequence", default=True)
    if mode is None:
        mode = "sequence" if sequence else "last"
    if mode not in ("sequence", "last"):
        f.refuse("OutputMode", mode, "sequence or last")
    return mode


def _gate_factors(
    prefix: str, gates: tuple[str, ...], factors: list, block: int = 0, blocks: int = 1
) -> list[tuple[str, float, float]]:
    """Per-gate factors by path; `block` of `blocks` picks one direction."""
    found = []
    names = ("input_weights", "recurrent_weights", "bias")
    for name, (learn_rate, l2) in zip(names, factors, strict=True):
        count = len(gates) * blocks
        rates = _gates.gate_factors(learn_rate, count)[block * len(gates) :]
        decays = _gates.gate_factors(l2, count)[block * len(gates) :]
        for gate, rate, decay in zip(gates, rates, decays, strict=False):
            found += _factors(f"{prefix}.{gate}.{name}", rate, decay)
    return found


def _states(
    f: Fields, names: tuple[str, ...], width: int
) -> tuple[Any, Any, list[str]]:
    """Initial and current values of "HiddenState", "CellState": flat, or None."""
    initial, saved, notices = [], [], []
    for name in names:
        start = f.take(f"Initial{name}", default=None)
        now = f.take(name, default=None)
        if isinstance(now, dict):
            now = now.get("Value")
        initial.append(_state(f, f"Initial{name}", start, width))
        saved.append(_state(f, name, now, width))
        if saved[-1] is not None and saved[-1].ndim > 1:
            notices.append(
                f"its saved state belongs to {saved[-1].shape[1]} sequences at once "
                "and is left out"
            )
            saved[-1] = None
    start = None if any(v is None for v in initial) else tuple(initial)
    now = None if any(v is None for v in saved) else tuple(saved)
    return start, now, notices[:1]


def _state(f: Fields, name: str, value: Any, width: int) -> np.ndarray | None:
    if value is None:
        return None
    array = numeric(value, f"{f.place}.{name}")
    if array.size == 0:
        return None
    if array.shape[0] != width and array.size != width:
        f.refuse(name, f"shape {array.shape}", f"{width} values")
    return array.reshape(width, -1) if array.size > width else array.reshape(width)


@reader("LSTMLayer", "LSTMProjectedLayer")
def _lstm(f: Fields, inputs: list[Shape]) -> Built:
    settings, arrays, factors, hidden = _common(f, 4)
    layer = LSTM(
        **_gates.split(*arrays, _gates.MATLAB_LSTM),
        **_projectors(f, hidden),
        **settings,
    )
    start, now, notices = _states(f, ("HiddenState", "CellState"), hidden)
    return Built(
        layer,
        LSTMState(*start) if start else None,
        LSTMState(*now) if now else None,
        _gate_factors("", _gates.MATLAB_LSTM, factors),
        notices,
    )


@reader("GRULayer", "GRUProjectedLayer")
def _gru(f: Fields, inputs: list[Shape]) -> Built:
    mode = f.text("ResetGateMode", default="after-multiplication")
    if mode not in RESET_MODES:
        f.refuse("ResetGateMode", mode, ", ".join(RESET_MODES))
    settings, arrays, factors, hidden = _common(f, 3)
    both = mode == "recurrent-bias-after-multiplication"
    if arrays[2].size != (6 if both else 3) * hidden:
        f.refuse("Bias", f"{arrays[2].size} values", f"{(6 if both else 3) * hidden}")
    layer = GRU(
        **_gates.split(*arrays, _gates.MATLAB_GRU),
        **_projectors(f, hidden),
        reset_mode=mode,
        **settings,
    )
    start, now, notices = _states(f, ("HiddenState",), hidden)
    return Built(
        layer,
        GRUState(*start) if start else None,
        GRUState(*now) if now else None,
        _gate_factors("", _gates.MATLAB_GRU, factors),
        notices,
    )


@reader("BiLSTMLayer")
def _bilstm(f: Fields, inputs: list[Shape]) -> Built:
    settings, arrays, factors, hidden = _common(f, 8)
    mode = settings.pop("output_mode")
    halves, found = [], []
    for block, name in enumerate(("forward", "backward")):
        rows = slice(block * 4 * hidden, (block + 1) * 4 * hidden)
        gates = _gates.split(*(a[rows] for a in arrays), _gates.MATLAB_LSTM)
        halves.append(LSTM(**gates, **settings))
        found += _gate_factors(f".{name}", _gates.MATLAB_LSTM, factors, block, 2)
    start, now, notices = _states(f, ("HiddenState", "CellState"), 2 * hidden)

    def halve(state: Any) -> Any:
        if state is None:
            return None
        ahead = LSTMState(*(s[:hidden] for s in state))
        return BidirectionalState(ahead, LSTMState(*(s[hidden:] for s in state)))

    layer = Bidirectional(*halves, output_mode=mode)
    return Built(layer, halve(start), halve(now), found, notices)


def _projectors(f: Fields, hidden: int) -> dict[str, np.ndarray]:
    found = {}
    for name, key in (
        ("InputProjector", "input_projector"),
        ("OutputProjector", "output_projector"),
    ):
        if name in f:
            found[key] = _learnable(f, name)[0]
    return found


# --- dense and pointwise --------------------------------------------------------------


@reader("FullyConnectedLayer")
def _fully_connected(f: Fields, inputs: list[Shape]) -> Built:
    weights, learn_rate, l2 = _learnable(f, "Weights")
    bias, factors = _vector(f, "Bias")
    outputs = f.integers("OutputSize")[-1]
    f.ignore("InputSize")
    if weights.ndim > 2:
        # Image networks of early releases keep H x W x C x outputs.
        weights = weights.reshape(-1, weights.shape[-1], order="F").T.copy()
    if weights.shape[0] != outputs:
        f.refuse("Weights", f"shape {weights.shape}", f"{outputs} rows")
    factors += _factors(".weights", learn_rate, l2)
    space = len(inputs[0].space) if inputs else 0
    return Built(L.FullyConnected(weights, bias, flatten=space), factors=factors)


def _pointwise(name: str, *constants: tuple[str, float]) -> Reader:
    """A reader for an activation whose constants are saved under these names."""

    def read_activation(f: Fields, inputs: list[Shape]) -> Built:
        values = tuple(f.number(label, default=value) for label, value in constants)
        return Built(L.Activation(name, values))

    return read_activation


for _classes, _name, *_constants in (
    (("ReLULayer",), "relu"),
    (("TanhLayer", "nnet.keras.layer.TanhLayer", "nnet.onnx.layer.TanhLayer"), "tanh"),
    (
        (
            "SigmoidLayer",
            "nnet.keras.layer.SigmoidLayer",
            "nnet.onnx.layer.SigmoidLayer",
        ),
        "sigmoid",
    ),
    (("nnet.keras.layer.SoftsignLayer",), "softsign"),
    (("SwishLayer",), "swish"),
    (("SoftplusLayer", "rl.layer.SoftplusLayer"), "softplus"),
    (("LeakyReLULayer",), "leaky-relu", ("Scale", 0.01)),
    (("ELULayer",), "elu", ("Alpha", 1.0)),
):
    reader(*_classes)(_pointwise(_name, *_constants))


@reader("ClippedReLULayer")
def _clipped_relu(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Activation("clipped-relu", (f.number("Ceiling"),)))


@reader("GELULayer")
def _gelu(f: Fields, inputs: list[Shape]) -> Built:
    form = f.text("Approximation", default="none")
    if form not in ("none", "tanh"):
        f.refuse("Approximation", form, "none or tanh")
    return Built(L.Activation("gelu" if form == "none" else "gelu-tanh"))


@reader("PReLULayer", "nnet.keras.layer.PreluLayer")
def _prelu(f: Fields, inputs: list[Shape]) -> Built:
    f.ignore("AlphaSize")
    return Built(L.PReLU(_vector(f, "Alpha")[0]))


@reader("DropoutLayer", "SpatialDropoutLayer")
def _dropout(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Dropout(f.number("Probability")))


@reader("SoftmaxLayer")
def _softmax(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Softmax())


@reader("IdentityLayer", "nnet.onnx.layer.IdentityLayer")
def _identity(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Identity("identity"))


@reader("SequenceFoldingLayer", "SequenceUnfoldingLayer")
def _folding(f: Fields, inputs: list[Shape]) -> Built:
    # Folding moves time into the batch and back. A layer here always sees one example
    # with its time axis in front, and works step by step: nothing moves.
    return Built(L.Identity("folding"))


# --- normalisation --------------------------------------------------------------------


def _scale_and_offset(f: Fields) -> tuple[np.ndarray, np.ndarray, list]:
    scale, first = _vector(f, "Scale")
    offset, second = _vector(f, "Offset")
    f.ignore("NumChannels")
    return scale, offset, first + second


@reader("BatchNormalizationLayer")
def _batch_normalization(f: Fields, inputs: list[Shape]) -> Built:
    scale, offset, factors = _scale_and_offset(f)
    mean, variance = f.numbers("TrainedMean"), f.numbers("TrainedVariance")
    f.ignore("MeanDecay", "VarianceDecay", "IsMovingAverageMode", "NumTrainingSamples")
    f.ignore("BatchNormalizationStatistics")
    layer = L.BatchNormalization(
        scale, offset, mean, variance, epsilon=f.number("Epsilon", default=1e-5)
    )
    return Built(layer, factors=factors)


@reader("LayerNormalizationLayer")
def _layer_normalization(f: Fields, inputs: list[Shape]) -> Built:
    scale, offset, factors = _scale_and_offset(f)
    dimension = f.text("OperationDimension", default=None)
    notices = []
    if dimension is None:
        # Before R2023a the field did not exist and time took part in the statistics.
        over = "time-channels"
        notices.append(
            "layer normalisation was saved before R2023a, where the statistics run over "
            "time as well; newer releases of MATLAB may answer differently"
        )
    elif dimension == "batch-excluded":
        over = "time-channels"
    elif dimension in ("auto", "spatial-channel"):
        wide = bool(inputs) and len(inputs[0].space) >= (
            2 if dimension == "auto" else 1
        )
        over = "spatial-channels" if wide else "channels"
    elif dimension == "channel-only":
        over = "channels"
    else:
        f.refuse("OperationDimension", dimension, "auto, channel-only, spatial-channel")
        raise AssertionError
    layer = L.LayerNormalization(
        scale, offset, epsilon=f.number("Epsilon", default=1e-5), over=over
    )
    return Built(layer, factors=factors, notices=notices)


@reader("GroupNormalizationLayer")
def _group_normalization(f: Fields, inputs: list[Shape]) -> Built:
    scale, offset, factors = _scale_and_offset(f)
    groups = f.take("NumGroups")
    if isinstance(groups, str):
        known = {"all-channels": 1, "channel-wise": scale.size}
        if groups not in known:
            f.refuse("NumGroups", groups, ", ".join(known))
        groups = known[groups]
    else:
        groups = f.integers("NumGroups")[0]
    epsilon = f.number("Epsilon", default=1e-5)
    layer = L.GroupNormalization(scale, offset, groups=groups, epsilon=epsilon)
    return Built(layer, factors=factors)


@reader("InstanceNormalizationLayer")
def _instance_normalization(f: Fields, inputs: list[Shape]) -> Built:
    scale, offset, factors = _scale_and_offset(f)
    epsilon = f.number("Epsilon", default=1e-5)
    layer = L.InstanceNormalization(scale, offset, epsilon=epsilon)
    return Built(layer, factors=factors)


# --- convolution and pooling ----------------------------------------------------------


def _axis(f: Fields, inputs: list[Shape]) -> str:
    """Which axis a one-dimensional layer runs along: space where there is any."""
    if inputs and inputs[0].space:
        if len(inputs[0].space) > 1:
            f.refuse("Name", f"input {inputs[0]}", "at most one axis of space")
        return "space"
    return "time"


def _padding1(f: Fields) -> Any:
    mode = f.text("PaddingMode", default="manual")
    sides = f.integers("PaddingSize", "Padding", default=(0, 0))
    if mode in ("same", "causal"):
        return mode
    if mode != "manual" or len(sides) > 2:
        f.refuse("PaddingMode", (mode, sides), "manual, same or causal")
    return (sides[0], sides[-1])


def _padding2(f: Fields) -> Any:
    mode = f.text("PaddingMode", default="manual")
    sides = f.integers("PaddingSize", "Padding", default=(0, 0, 0, 0))
    if mode == "same":
        return "same"
    if len(sides) == 2:  # the first struct versions: [vertical horizontal]
        sides = (sides[0], sides[0], sides[1], sides[1])
    if mode != "manual" or len(sides) != 4:
        f.refuse("PaddingMode", (mode, sides), "manual or same")
    return (sides[:2], sides[2:])


def _padding_value(f: Fields) -> float:
    value = f.take("PaddingValue", default=None)
    if isinstance(value, str):
        f.refuse("PaddingValue", value, "a number")
    return f.number("PaddingValue", default=0.0)


def _not_over_time(f: Fields, *names: str) -> None:
    for name in names:
        if f.flag(name, default=False):
            f.refuse(name, True, "false: space and time together are not supported")


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return (values[0], values[-1])


@reader("Convolution1DLayer")
def _convolution1(f: Fields, inputs: list[Shape]) -> Built:
    weights, learn_rate, l2 = _learnable(f, "Weights")
    bias, factors = _vector(f, "Bias")
    _not_over_time(f, "ConvolveOverTime") if inputs and inputs[0].space else None
    f.ignore("FilterSize", "NumChannels", "NumFilters", "ConvolveOverTime")
    layer = L.Convolution1D(
        weights.reshape(weights.shape[0], -1, bias.size, order="F"),
        bias,
        stride=f.integers("Stride", default=(1,))[0],
        dilation=f.integers("DilationFactor", default=(1,))[0],
        padding=_padding1(f),
        padding_value=_padding_value(f),
        axis=_axis(f, inputs),
    )
    return Built(layer, factors=factors + _factors(".weights", learn_rate, l2))


@reader("Convolution2DLayer")
def _convolution2(f: Fields, inputs: list[Shape]) -> Built:
    weights, learn_rate, l2 = _learnable(f, "Weights")
    bias, factors = _vector(f, "Bias")
    _not_over_time(f, "ConvolveOverTime")
    f.ignore("FilterSize", "NumChannels", "NumFilters")
    shape = (*weights.shape, 1, 1)[:3]
    layer = L.Convolution2D(
        weights.reshape(*shape, bias.size, order="F"),
        bias,
        stride=_pair(f.integers("Stride", default=(1, 1))),
        dilation=_pair(f.integers("DilationFactor", default=(1, 1))),
        padding=_padding2(f),
        padding_value=_padding_value(f),
    )
    return Built(layer, factors=factors + _factors(".weights", learn_rate, l2))


@reader("GroupedConvolution2DLayer")
def _grouped_convolution2(f: Fields, inputs: list[Shape]) -> Built:
    weights, learn_rate, l2 = _learnable(f, "Weights")
    bias, factors = _vector(f, "Bias")
    _not_over_time(f, "ConvolveOverTime")
    f.ignore("FilterSize", "NumChannelsPerGroup", "NumFiltersPerGroup", "NumFilters")
    groups = (
        inputs[0].channels if f.take("NumGroups") == "channel-wise"
        else f.integers("NumGroups")[0]
    )  # fmt: skip
    height, width, channels = (*weights.shape, 1, 1)[:3]
    layer = L.Convolution2D(
        # h x w x channels per group x filters per group x groups
        weights.reshape(height, width, channels, bias.size, order="F"),
        bias,
        stride=_pair(f.integers("Stride", default=(1, 1))),
        dilation=_pair(f.integers("DilationFactor", default=(1, 1))),
        padding=_padding2(f),
        padding_value=_padding_value(f),
        groups=groups,
    )
    return Built(layer, factors=factors + _factors(".weights", learn_rate, l2))


def _pooling_value(f: Fields, kind: str) -> Any:
    if kind == "max":
        return 0.0
    value = f.take("PaddingValue", default=None)
    return "mean" if value == "mean" else _padding_value(f)


def _pooling1(kind: str) -> Reader:
    def read_pooling(f: Fields, inputs: list[Shape]) -> Built:
        f.ignore("PoolOverTime")
        layer = L.Pooling1D(
            kind,
            f.integers("PoolSize")[0],
            stride=f.integers("Stride", default=(1,))[0],
            padding=_padding1(f),
            padding_value=_pooling_value(f, kind),
            axis=_axis(f, inputs),
        )
        return Built(layer)

    return read_pooling


def _pooling2(kind: str) -> Reader:
    def read_pooling(f: Fields, inputs: list[Shape]) -> Built:
        _not_over_time(f, "PoolOverTime")
        if f.flag("HasUnpoolingOutputs", default=False):
            f.refuse("HasUnpoolingOutputs", True, "false")
        layer = L.Pooling2D(
            kind,
            _pair(f.integers("PoolSize")),
            stride=_pair(f.integers("Stride", default=(1, 1))),
            padding=_padding2(f),
            padding_value=_pooling_value(f, kind),
        )
        return Built(layer)

    return read_pooling


def _global_pooling(kind: str, axes: int) -> Reader:
    def read_pooling(f: Fields, inputs: list[Shape]) -> Built:
        f.ignore("PoolOverTime", "PoolingDimension", "ResultFormat")
        if axes == 2:
            return Built(L.GlobalPooling2D(kind))
        return Built(L.GlobalPooling1D(kind, axis=_axis(f, inputs)))

    return read_pooling


for _kind, _prefix in (("max", "Max"), ("average", "Average")):
    reader(f"{_prefix}Pooling1DLayer")(_pooling1(_kind))
    reader(f"{_prefix}Pooling2DLayer")(_pooling2(_kind))
    reader(f"Global{_prefix}Pooling1DLayer")(_global_pooling(_kind, 1))
    reader(f"Global{_prefix}Pooling2DLayer")(_global_pooling(_kind, 2))


@reader("FlattenLayer")
def _flatten(f: Fields, inputs: list[Shape]) -> Built:
    f.ignore("NumFlattenDimensions")
    return Built(L.Flatten(len(inputs[0].space)))


# --- several inputs -------------------------------------------------------------------


@reader("AdditionLayer")
def _addition(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Addition())


@reader("MultiplicationLayer")
def _multiplication(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Multiplication())


@reader("DepthConcatenationLayer")
def _depth_concatenation(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Concatenation())


@reader("ConcatenationLayer")
def _concatenation(f: Fields, inputs: list[Shape]) -> Built:
    # Dim counts in MATLAB's own order: space, channels, batch, time.
    dim = f.integers("Dim")[0]
    space = len(inputs[0].space)
    if dim == space + 1:
        return Built(L.Concatenation())
    if dim <= space:
        return Built(L.Concatenation(axis=dim - 1))
    return f.refuse("Dim", dim, f"at most {space + 1}: space or channels")


# --- embedding and attention ----------------------------------------------------------


@reader("WordEmbeddingLayer")
def _word_embedding(f: Fields, inputs: list[Shape]) -> Built:
    weights, learn_rate, l2 = _learnable(f, "Weights")
    words = f.integers("NumWords")[0]
    mode = f.text("OOVMode", default=None)
    extra = weights.shape[1] - words
    if mode is None:
        mode = "map-to-last" if extra == 1 else "error"
    if (mode, extra) not in (("map-to-last", 1), ("error", 0)):
        f.refuse("Weights", f"{weights.shape[1]} columns, {mode}", f"{words} words")
    f.ignore("Dimension", "Vocabulary")
    layer = L.Embedding(weights.T.copy(), out_of_vocabulary=mode)
    return Built(layer, factors=_factors(".weights", learn_rate, l2))


@reader("SelfAttentionLayer")
def _self_attention(f: Fields, inputs: list[Shape]) -> Built:
    for name in ("HasPaddingMaskInput", "HasScoresOutput"):
        if f.flag(name, default=False):
            f.refuse(name, True, "false")
    arrays = {}
    for part in ("Query", "Key", "Value", "Output"):
        arrays[f"{part.lower()}_weights"] = _learnable(f, f"{part}Weights")[0]
        arrays[f"{part.lower()}_bias"] = _vector(f, f"{part}Bias")[0]
    mask = f.text("AttentionMask", default="none")
    if mask not in ("none", "causal"):
        f.refuse("AttentionMask", mask, "none or causal")
    f.ignore("NumKeyChannels", "NumValueChannels", "OutputSize", "InputSize")
    f.ignore("DropoutProbability")
    layer = L.SelfAttention(
        **arrays, heads=f.integers("NumHeads")[0], causal=mask == "causal"
    )
    return Built(layer)


# --- outputs --------------------------------------------------------------------------


@reader("RegressionOutputLayer")
def _regression(f: Fields, inputs: list[Shape]) -> Built:
    names = f.texts("ResponseNames", default=())
    f.ignore("LossFunction", "OutputSize")
    return Built(L.Regression(() if names == ("Response",) else names))


@reader("ClassificationOutputLayer")
def _classification(f: Fields, inputs: list[Shape]) -> Built:
    classes = f.texts("Categories", "Classes", "ClassNames", default=())
    f.ignore("OutputSize", "NumClasses", "ClassWeights", "LossFunction")
    return Built(L.Classification(classes))


def custom_output(class_name: str, fields: Fields) -> Built:
    """An output layer of the user's own.

    SeriesNetwork and DAGNetwork accept nothing but an output layer at an end, and an
    output layer passes predictions on unchanged: its own part is the loss.
    """
    classes = fields.take("Classes", default=None)
    names = strings(classes) if classes is not None else None
    notice = f"the output layer {class_name} is your own: its loss is not read"
    layer = L.Classification(names) if names else L.Regression(())
    return Built(layer, notices=[notice])


def is_recurrent(built: Built) -> bool:
    """Whether a state comes with the layer."""
    return isinstance(built.layer, Recurrent)


def is_layer(value: Any) -> bool:
    """Whether a decoded value is a layer object."""
    return isinstance(value, MatObject) and (
        value.class_name in READERS or value.class_name.startswith("nnet.cnn.layer.")
    )
