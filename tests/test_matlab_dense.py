"""Fully connected and pointwise layers against the judge."""

from __future__ import annotations

import matlab_structs as m
import numpy as np
import pytest
from agreement import assert_branches_agree, assert_series_agrees
from matlab_files import flag, number

C, H, K = 3, 5, 4


def between(*layers, version: int = 5) -> list:
    first = m.sequence_input("in", C, version=version)
    return [first, *layers, m.regression("out")]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_fully_connected(tmp_path, rng, version):
    layers = between(
        m.dense(rng, "one", C, 1, version), m.dense(rng, "many", 1, K, version)
    )
    assert_series_agrees(tmp_path, layers, rng)


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("image", [(4, 3, 2), (4, 1, 3), (1, 4, 2), (4, 3, 1)])
def test_fully_connected_with_the_axes_of_images(tmp_path, rng, image, outputs):
    size = int(np.prod(image))
    layers = [
        m.image_input("in", *image),
        m.dense(rng, "fc", size, outputs, 2, image=image),
        m.dense(rng, "fc_2", outputs, K, 2),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng)


POINTWISE = {
    "relu": lambda rng: m.layer("ReLULayer", "a"),
    "leaky": lambda rng: m.layer("LeakyReLULayer", "a", Scale=number(0.2)),
    "clipped": lambda rng: m.layer("ClippedReLULayer", "a", Ceiling=number(0.7)),
    "tanh": lambda rng: m.custom("TanhLayer", "a"),
    "sigmoid": lambda rng: m.custom("SigmoidLayer", "a"),
    "elu": lambda rng: m.custom("ELULayer", "a", Alpha=number(0.6)),
    "elu, default": lambda rng: m.custom("ELULayer", "a"),
    "swish": lambda rng: m.custom("SwishLayer", "a"),
    "gelu": lambda rng: m.custom("GELULayer", "a", Approximation="none"),
    "gelu, default": lambda rng: m.layer("GELULayer", "a"),
    "gelu, tanh": lambda rng: m.layer("GELULayer", "a", Approximation="tanh"),
    "softplus": lambda rng: m.custom("rl.layer.SoftplusLayer", "a"),
    "softplus of the toolbox": lambda rng: m.custom("SoftplusLayer", "a"),
    "tanh of keras": lambda rng: m.custom("nnet.keras.layer.TanhLayer", "a"),
    "sigmoid of keras": lambda rng: m.custom("nnet.keras.layer.SigmoidLayer", "a"),
    "softsign of keras": lambda rng: m.custom("nnet.keras.layer.SoftsignLayer", "a"),
    "prelu": lambda rng: m.layer(
        "PReLULayer", "a", Alpha=m.learnable(m.normal(rng, C, 1))
    ),
    "prelu of one slope": lambda rng: m.custom(
        "PReLULayer", "a", Alpha=m.normal(rng, 1, 1)
    ),
    "prelu of keras": lambda rng: m.custom(
        "nnet.keras.layer.PreluLayer", "a", Alpha=m.normal(rng, C, 1)
    ),
    "softmax": lambda rng: m.softmax("a"),
    "softmax 1": lambda rng: m.softmax("a", 1),
    "softmax 2": lambda rng: m.softmax("a", 2),
    "softmax 3": lambda rng: m.softmax("a", 3),
    "dropout": lambda rng: m.layer("DropoutLayer", "a", Probability=number(0.3)),
    "spatial dropout": lambda rng: m.custom("SpatialDropoutLayer", "a"),
    "identity": lambda rng: m.custom("IdentityLayer", "a"),
    "scaling": lambda rng: m.custom(
        "ScalingLayer", "a", Scale=m.normal(rng, C, 1), Offset=m.normal(rng, C, 1)
    ),
    "scaling, default offset": lambda rng: m.custom(
        "ScalingLayer", "a", Scale=number(0.25)
    ),
    "scaling of reinforcement learning": lambda rng: m.custom(
        "rl.layer.ScalingLayer", "a", Scale=number(0.25), Bias=m.normal(rng, C, 1)
    ),
    "affine of onnx": lambda rng: m.custom(
        "nnet.onnx.layer.ElementwiseAffineLayer", "a", Scale=m.normal(rng, C, 1),
        Offset=m.normal(rng, C, 1), DoScale=flag(True), DoOffset=flag(False),
    ),
}  # fmt: skip


def test_pointwise(tmp_path, rng):
    trunk = [m.sequence_input("in", C), m.dense(rng, "fc", C, C)]
    layers = {name: make(rng) for name, make in POINTWISE.items()}
    assert_branches_agree(tmp_path, trunk, layers, rng)


def test_softmax_of_images_runs_over_channels(tmp_path, rng):
    layers = [
        m.sequence_input("in", 4, 3, 2),
        m.softmax("softmax"),
        m.layer("FlattenLayer", "flatten", NumFlattenDimensions=number(3)),
        m.dense(rng, "fc", 24, K),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng)
