"""Normalisation layers against the judge."""

from __future__ import annotations

import matlab_structs as m
import pytest
from agreement import assert_series_agrees
from matlab_files import number

C, H, K = 3, 5, 4


def between(*layers, version: int = 5) -> list:
    first = m.sequence_input("in", C, version=version)
    return [first, *layers, m.regression("out")]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("size", [(C,), (6, C), (4, 5, C)])
def test_batch_normalization(tmp_path, rng, version, size):
    layers = [
        m.sequence_input("in", *size),
        m.batch_normalization(rng, "batch", C, version, len(size) - 1),
        m.layer("FlattenLayer", "flatten"),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng)


DIMENSIONS = ["auto", "channel-only", "spatial-channel", "batch-excluded", None]


INPUTS = {
    "vectors over time": m.sequence_input("in", C),
    "lines over time": m.sequence_input("in", 6, C),
    "images over time": m.sequence_input("in", 4, 5, C),
    "a vector": m.feature_input("in", C),
    "an image": m.image_input("in", 4, 5, C),
}


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("over", DIMENSIONS)
def test_layer_normalization(tmp_path, rng, given, over):
    fields = {} if over is None else {"OperationDimension": over}
    layers = [
        INPUTS[given],
        m.normalization(rng, "Layer", "norm", C, **fields),
        m.layer("FlattenLayer", "flatten"),
        m.regression("out"),
    ]
    net = assert_series_agrees(tmp_path, layers, rng)
    told = any("before R2023a" in notice for notice in net.origin.notices)
    assert told == (over is None and "time" in given)


@pytest.mark.parametrize("groups", [number(3), "all-channels", "channel-wise"])
@pytest.mark.parametrize("size", [(6,), (4, 5, 6)])
def test_group_normalization(tmp_path, rng, size, groups):
    layers = [
        m.sequence_input("in", *size),
        m.normalization(rng, "Group", "norm", 6, NumGroups=groups),
        m.layer("FlattenLayer", "flatten"),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng)


@pytest.mark.parametrize("size", [(C,), (4, 5, C)])
def test_instance_normalization(tmp_path, rng, size):
    layers = [
        m.sequence_input("in", *size),
        m.normalization(rng, "Instance", "norm", C),
        m.layer("FlattenLayer", "flatten"),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng)
