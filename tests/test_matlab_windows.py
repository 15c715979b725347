"""Convolution, pooling and indexing against the judge."""

from __future__ import annotations

import matlab_structs as m
import pytest
from agreement import assert_branches_agree, assert_series_agrees
from matlab_files import flag, number

C, F, K = 3, 5, 4
T = 13
LINE, IMAGE = (7,), (6, 5)

both_axes = pytest.mark.parametrize("space", [(), LINE], ids=["time", "space"])
both_kinds = pytest.mark.parametrize("kind", ["Max", "Average"])


def assert_agree(tmp_path, rng, layers, space=(), channels=C, **settings):
    """Every layer by itself, after a layer with parameters."""
    trunk = [
        m.sequence_input("in", *space, channels),
        m.batch_normalization(rng, "batch", channels, 3, len(space)),
    ]
    settings = {"single": None} | settings  # see test_matlab_nets.py for that
    return assert_branches_agree(tmp_path, trunk, layers, rng, T, **settings)


PADDINGS = {
    "none": {},
    "manual": {"PaddingSize": number(1, 2)},
    "same": {"PaddingMode": "same", "PaddingSize": number(9, 9)},
    "causal": {"PaddingMode": "causal", "PaddingSize": number(3, 0)},
    "of a number": {"PaddingSize": number(1, 2), "PaddingValue": number(0.75)},
    "edge": {"PaddingSize": number(1, 2), "PaddingValue": "symmetric-include-edge"},
    "mirror": {"PaddingSize": number(1, 2), "PaddingValue": "symmetric-exclude-edge"},
    "last value": {"PaddingSize": number(2, 1), "PaddingValue": "replicate"},
}


@both_axes
def test_convolution1(tmp_path, rng, space):
    layers = {
        name: m.convolution1(rng, "", 4, C, F, **padding)
        for name, padding in PADDINGS.items()
    }
    assert_agree(tmp_path, rng, layers, space)


def test_convolution1_strides_and_holes(tmp_path, rng):
    layers = {}
    for mode in ("manual", "same", "causal"):
        for stride, dilation in ((2, 1), (1, 3), (2, 2)):
            layers[f"{mode} {stride} {dilation}"] = m.convolution1(
                rng, "", 3, C, F, PaddingMode=mode, Stride=number(stride),
                DilationFactor=number(dilation), ConvolveOverTime=flag(True),
                ConvolutionDimIdx=number(4),
            )  # fmt: skip
    assert_agree(tmp_path, rng, layers)


@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (1, F), (C, 1)])
def test_convolution1_drops_axes_of_length_one(tmp_path, rng, channels, filters):
    layer = m.convolution1(rng, "conv", 4, channels, filters)
    parameter = layer.properties["any"]["Weights"]
    weights = parameter["Value"]
    while weights.ndim > 2 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    parameter["Value"] = weights
    assert_agree(tmp_path, rng, {"conv": layer}, channels=channels)


SETTINGS = {
    "plain": {},
    "strides": {"Stride": number(2, 1)},
    "padded": {"PaddingSize": number(1, 0, 2, 1)},
    "same": {"PaddingMode": "same", "PaddingSize": number(9, 9, 9, 9)},
    "same, strides": {"PaddingMode": "same", "Stride": number(2, 2)},
}


def test_convolution2(tmp_path, rng):
    layers = {
        f"{version} {name}": m.convolution2(rng, "", (3, 2), C, F, version, **settings)
        for version in (3, 4, 5, 8)
        for name, settings in SETTINGS.items()
    }
    layers["holes"] = m.convolution2(
        rng, "", (2, 3), C, F, DilationFactor=number(3, 2), PaddingMode="same",
        PaddingValue=number(-0.5),
    )  # fmt: skip
    # The first versions pad both sides alike: [vertical horizontal].
    layers["2"] = m.convolution2(rng, "", (3, 2), C, F, 2, Padding=number(2, 1))
    net = assert_agree(tmp_path, rng, layers, IMAGE)
    assert net.layers["2"].padding == ((2, 2), (1, 1))


@pytest.mark.parametrize(("groups", "per_group", "channels"), [
    (number(3), (2, 4), 6), (number(2), (1, 3), 2), ("channel-wise", (1, 2), 4),
])  # fmt: skip
def test_grouped_convolution2(tmp_path, rng, groups, per_group, channels):
    count = channels // per_group[0]
    layer = m.grouped_convolution2(rng, "conv", (3, 2), per_group, groups, count)
    assert_agree(tmp_path, rng, {"conv": layer}, IMAGE, channels)


POOLS = {
    "plain": {},
    "strides": {"Stride": number(2)},
    "padded": {"PaddingSize": number(1, 2)},
    "same": {"PaddingMode": "same", "Stride": number(2), "PaddingSize": number(5, 5)},
}
AVERAGES = {
    "mean": {"PaddingMode": "same", "Stride": number(2), "PaddingValue": "mean"},
    "number": {"PaddingSize": number(1, 2), "PaddingValue": number(0.5)},
}


@both_axes
@both_kinds
def test_pooling1(tmp_path, rng, kind, space):
    settings = POOLS | (AVERAGES if kind == "Average" else {})
    layers = {k: m.pooling(kind, "", 3, **given) for k, given in settings.items()}
    layers["global"] = m.layer(f"Global{kind}Pooling1DLayer", "")
    assert_agree(tmp_path, rng, layers, space)


@both_kinds
def test_pooling2(tmp_path, rng, kind):
    cases = [
        {},
        {"Stride": number(2, 1)},
        {"PaddingSize": number(1, 2, 1, 0)},
        {"PaddingMode": "same", "Stride": number(2, 2)},
    ]
    if kind == "Average":
        cases += [
            {"PaddingSize": number(1, 2, 1, 0), "PaddingValue": "mean"},
            {"PaddingSize": number(1, 2, 1, 0), "PaddingValue": number(0.5)},
        ]
    layers = {f"pool {k}": m.pooling(kind, "", 3, 2, **c) for k, c in enumerate(cases)}
    layers["global"] = m.layer(f"Global{kind}Pooling2DLayer", "")
    layers["1"] = m.layer(
        f"{kind}Pooling2DLayer", "", PoolSize=number(3, 3), Stride=number(2, 2),
        Padding=number(1, 0),
    )  # fmt: skip
    net = assert_agree(tmp_path, rng, layers, IMAGE)
    assert net.layers["1"].padding == ((1, 1), (0, 0))


@both_axes
def test_indexing(tmp_path, rng, space):
    layers = {
        "first": m.custom("Indexing1DLayer", "", Index="first"),
        "last": m.custom("Indexing1DLayer", "", Index="last"),
        "default": m.layer("Indexing1DLayer", "", HasPaddingMaskInput=flag(False)),
    }
    assert_agree(tmp_path, rng, layers, space)


@pytest.mark.parametrize("layer", [
    m.layer("FlattenLayer", "flat", NumFlattenDimensions=number(3)),
    m.custom("nnet.keras.layer.FlattenCStyleLayer", "flat"),
    m.custom("nnet.keras.layer.TimeDistributedFlattenCStyleLayer", "flat"),
], ids=["matlab", "keras", "keras over time"])  # fmt: skip
def test_flattening(tmp_path, rng, layer):
    dense = m.dense(rng, "fc", 6 * 5 * C, K)
    layers = [m.sequence_input("in", *IMAGE, C), layer, dense, m.regression("out")]
    assert_series_agrees(tmp_path, layers, rng)
