"""Convolution, pooling and indexing against the judge."""

from __future__ import annotations

import matlab_structs as m
import pytest
from agreement import assert_series_agrees
from matlab_files import flag, number

C, F, K = 3, 5, 4
T = 13

LINE, IMAGE = (7,), (6, 5)


def assert_agrees(tmp_path, rng, layer, space=(), channels=C):
    layers = [
        m.sequence_input("in", *space, channels),
        m.batch_normalization(rng, "batch", channels, 3, len(space)),
        layer,
        m.layer("FlattenLayer", "flatten"),
        m.regression("out"),
    ]
    return assert_series_agrees(tmp_path, layers, rng, T)


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


@pytest.mark.parametrize("space", [(), LINE], ids=["time", "space"])
@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
def test_convolution1(tmp_path, rng, space, padding):
    layer = m.convolution1(rng, "conv", 4, C, F, **padding)
    assert_agrees(tmp_path, rng, layer, space)


@pytest.mark.parametrize("mode", ["manual", "same", "causal"])
@pytest.mark.parametrize(("stride", "dilation"), [(2, 1), (1, 3), (2, 2)])
def test_convolution1_strides_and_holes(tmp_path, rng, mode, stride, dilation):
    layer = m.convolution1(
        rng, "conv", 3, C, F, Stride=number(stride), DilationFactor=number(dilation),
        PaddingMode=mode, ConvolveOverTime=flag(True), ConvolutionDimIdx=number(4),
    )  # fmt: skip
    assert_agrees(tmp_path, rng, layer)


@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (1, F), (C, 1)])
def test_convolution1_drops_axes_of_length_one(tmp_path, rng, channels, filters):
    layer = m.convolution1(rng, "conv", 4, channels, filters)
    struct = layer.properties["any"]
    weights = struct["Weights"]["Value"]
    while weights.ndim > 2 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    struct["Weights"]["Value"] = weights
    assert_agrees(tmp_path, rng, layer, channels=channels)


SETTINGS = {
    "plain": {},
    "strides": {"Stride": number(2, 1)},
    "padded": {"PaddingSize": number(1, 0, 2, 1)},
    "same": {"PaddingMode": "same", "PaddingSize": number(9, 9, 9, 9)},
    "same, strides": {"PaddingMode": "same", "Stride": number(2, 2)},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("version", [3, 4, 5, 8])
def test_convolution2(tmp_path, rng, version, settings):
    layer = m.convolution2(rng, "conv", (3, 2), C, F, version, **settings)
    assert_agrees(tmp_path, rng, layer, IMAGE)


def test_convolution2_of_the_first_versions_pads_both_sides_alike(tmp_path, rng):
    layer = m.convolution2(rng, "conv", (3, 2), C, F, 2, Padding=number(2, 1))
    net = assert_agrees(tmp_path, rng, layer, IMAGE)
    assert net.layers["conv"].padding == ((2, 2), (1, 1))


def test_convolution2_holes_and_padding_value(tmp_path, rng):
    layer = m.convolution2(
        rng, "conv", (2, 3), C, F, DilationFactor=number(3, 2), PaddingMode="same",
        PaddingValue=number(-0.5),
    )  # fmt: skip
    assert_agrees(tmp_path, rng, layer, IMAGE)


@pytest.mark.parametrize(("groups", "per_group", "channels"), [
    (number(3), (2, 4), 6), (number(2), (1, 3), 2), ("channel-wise", (1, 2), 4),
])  # fmt: skip
def test_grouped_convolution2(tmp_path, rng, groups, per_group, channels):
    count = channels // per_group[0]
    layer = m.grouped_convolution2(rng, "conv", (3, 2), per_group, groups, count)
    assert_agrees(tmp_path, rng, layer, IMAGE, channels)


POOLS = {
    "plain": {},
    "strides": {"Stride": number(2)},
    "padded": {"PaddingSize": number(1, 2)},
    "same": {"PaddingMode": "same", "Stride": number(2), "PaddingSize": number(5, 5)},
}


@pytest.mark.parametrize("space", [(), LINE], ids=["time", "space"])
@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("settings", POOLS.values(), ids=POOLS)
def test_pooling1(tmp_path, rng, kind, space, settings):
    assert_agrees(tmp_path, rng, m.pooling(kind, "pool", 3, **settings), space)


@pytest.mark.parametrize("value", ["mean", number(0.5)], ids=["mean", "number"])
def test_average_and_the_value_of_its_padding(tmp_path, rng, value):
    layer = m.pooling(
        "Average", "pool", 4, PaddingMode="same", Stride=number(3), PaddingValue=value
    )
    assert_agrees(tmp_path, rng, layer)
    layer = m.pooling(
        "Average", "pool", 3, 2, PaddingSize=number(1, 2, 1, 0), PaddingValue=value
    )
    assert_agrees(tmp_path, rng, layer, IMAGE)


@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("settings", [
    {}, {"Stride": number(2, 1)}, {"PaddingSize": number(1, 2, 1, 0)},
    {"PaddingMode": "same", "Stride": number(2, 2)},
])  # fmt: skip
def test_pooling2(tmp_path, rng, kind, settings):
    assert_agrees(tmp_path, rng, m.pooling(kind, "pool", 3, 2, **settings), IMAGE)


@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_pooling2_of_the_first_version(tmp_path, rng, kind):
    layer = m.layer(
        f"{kind}Pooling2DLayer", "pool", PoolSize=number(3, 3), Stride=number(2, 2),
        Padding=number(1, 0),
    )  # fmt: skip
    net = assert_agrees(tmp_path, rng, layer, IMAGE)
    assert net.layers["pool"].padding == ((1, 1), (0, 0))


@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_global_pooling(tmp_path, rng, kind):
    for space, axes in (((), 1), (LINE, 1), (IMAGE, 2)):
        layer = m.layer(f"Global{kind}Pooling{axes}DLayer", "pool")
        assert_agrees(tmp_path, rng, layer, space)


@pytest.mark.parametrize("index", ["first", "last", None])
@pytest.mark.parametrize("space", [(), LINE], ids=["time", "space"])
def test_indexing(tmp_path, rng, index, space):
    fields = {"HasPaddingMaskInput": flag(False)} | ({"Index": index} if index else {})
    layer = m.custom("Indexing1DLayer", "pick", **fields)
    assert_agrees(tmp_path, rng, layer, space)


def test_flatten_is_column_major_and_that_of_keras_row_major(tmp_path, rng):
    for layer in (
        m.layer("FlattenLayer", "flat", NumFlattenDimensions=number(3)),
        m.custom("nnet.keras.layer.FlattenCStyleLayer", "flat"),
        m.custom("nnet.keras.layer.TimeDistributedFlattenCStyleLayer", "flat"),
    ):
        layers = [
            m.sequence_input("in", *IMAGE, C),
            layer,
            m.dense(rng, "fc", 6 * 5 * C, K),
            m.regression("out"),
        ]
        assert_series_agrees(tmp_path, layers, rng)
