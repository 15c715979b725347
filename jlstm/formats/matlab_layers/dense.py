"""Fully connected layers, activations, and layers that do nothing at prediction."""

from __future__ import annotations

import numpy as np

from ... import layers as L
from ...errors import Unsupported
from ...pytree import Shape
from .. import matlab_functions
from ..fields import Fields
from .learnable import learnable, vector
from .registry import Built, Reader, reader


@reader("FullyConnectedLayer")
def _fully_connected(f: Fields, inputs: list[Shape]) -> Built:
    parameter = learnable(f, "Weights")
    bias, factors = vector(f, "Bias")
    outputs = f.integers("OutputSize")[-1]
    weights, size = parameter.array, f.take("InputSize", default=None)
    images = isinstance(size, np.ndarray) and size.size > 1
    spatial = weights.ndim > 2 or (images and weights.shape[0] != outputs)
    if spatial and weights.size % bias.size == 0:
        # Image networks of early releases keep H x W x C x outputs, and MATLAB drops
        # trailing axes of length one.
        weights = weights.reshape(-1, bias.size, order="F").T.copy()
    if weights.ndim != 2 or weights.shape[0] != outputs or bias.size != outputs:
        f.refuse("Weights", f"{weights.shape}, bias {bias.shape}", f"{outputs} rows")
    factors += parameter.factors(".weights")
    space = len(inputs[0].space) if inputs else 0
    return Built(L.FullyConnected(weights, bias, flatten=space), factors=factors)


# --- activations ----------------------------------------------------------------------


def _pointwise(name: str, *constants: tuple[str, float]) -> Reader:
    """A reader for an activation whose constants are saved under these names."""

    def read_activation(f: Fields, inputs: list[Shape]) -> Built:
        values = tuple(f.number(label, default=value) for label, value in constants)
        return Built(L.Activation(name, values))

    return read_activation


def _variants(kind: str) -> tuple[str, ...]:
    """A layer of the toolbox and its twins in the Keras and ONNX importers."""
    return kind, f"nnet.keras.layer.{kind}", f"nnet.onnx.layer.{kind}"


for _classes, _name, *_constants in (
    (("ReLULayer",), "relu"),
    (_variants("TanhLayer"), "tanh"),
    (_variants("SigmoidLayer"), "sigmoid"),
    (_variants("SoftsignLayer"), "softsign"),
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


@reader("PReLULayer", "nnet.keras.layer.PreluLayer", "nnet.onnx.layer.PReluLayer")
def _prelu(f: Fields, inputs: list[Shape]) -> Built:
    f.ignore("AlphaSize", "NumChannels", "RawAlpha")
    alpha, factors = vector(f, "Alpha")
    return Built(L.PReLU(alpha), factors=factors)


@reader("SoftmaxLayer")
def _softmax(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Softmax())


@reader("FunctionLayer")
def _function(f: Fields, inputs: list[Shape]) -> Built:
    description = f.take("Description", default=None)
    if layer := matlab_functions.layer_of(description):
        f.ignore(
            "Formattable", "Acceleratable", "PredictFcn", "NumInputs", "NumOutputs"
        )
        return Built(layer)
    raise Unsupported(
        "a function layer: what it computes is MATLAB code",
        place=f.place,
        found=description,
        do="replace it by layers of the toolbox, or export the part of the network "
        "that does without it",
    )


# --- identities -----------------------------------------------------------------------


@reader("DropoutLayer", "SpatialDropoutLayer")
def _dropout(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Dropout(f.number("Probability", default=0.5)))


@reader(*_variants("IdentityLayer"))
def _identity(f: Fields, inputs: list[Shape]) -> Built:
    return Built(L.Identity("identity"))


@reader("SequenceFoldingLayer", "SequenceUnfoldingLayer")
def _folding(f: Fields, inputs: list[Shape]) -> Built:
    # Folding moves time into the batch and back. A layer here always sees one example
    # with its time axis in front, and works step by step: nothing moves.
    return Built(L.Identity("folding"))
