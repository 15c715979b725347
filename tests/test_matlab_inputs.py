"""Input layers and their normalisations against the judge."""

from __future__ import annotations

import matlab_structs as m
import numpy as np
import pytest
from agreement import assert_file_agrees, assert_series_agrees
from matlab_files import dlnetwork, number, write

C, H, K = 3, 5, 4


def between(*layers, version: int = 5) -> list:
    first = m.sequence_input("in", C, version=version)
    return [first, *layers, m.regression("out")]


def mean_and_scale(rng, *shape):
    return m.normal(rng, *shape) + 3, m.positive(rng, *shape)


@pytest.mark.parametrize("size", [(1,), (C,)])
def test_normalisations_of_vectors(tmp_path, rng, size):
    channels = (*size, 1)
    low, span = mean_and_scale(rng, *channels)
    cases = [
        m.statistics("zerocenter", (C,), AverageImage=low),
        m.statistics("zscore", (C,), Mean=low, Std=span),
        m.statistics("zscore", (C,), Mean=low, StandardDeviation=span),
        m.statistics(
            "rescale", (C,), Min=low, Max=low + span, TargetMin=number(0),
            TargetMax=number(1),
        ),
        m.statistics(
            "rescale", (C,), Min=low, Max=low + span, TargetMin=number(-1),
            TargetMax=number(1),
        ),
        m.statistics(
            "rescale", (C,), Min=low, Max=low + span, TargetMin=number(-3),
            TargetMax=number(0.5),
        ),
    ]  # fmt: skip
    for case in cases:
        layers = [
            m.sequence_input("in", C, normalization=case),
            m.regression("out"),
        ]
        assert_series_agrees(tmp_path, layers, rng, single=None)


@pytest.mark.parametrize("size", [(4, 3, 2), (4, 3, 1), (4, 1, 1), (4, 2)])
@pytest.mark.parametrize("per", ["element", "channel"])
def test_normalisations_of_images(tmp_path, rng, size, per):
    shape = size if per == "element" else (*(1,) * (len(size) - 1), size[-1])
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    mean, std = mean_and_scale(rng, *shape)
    case = m.statistics("zscore", size, Mean=mean, Std=std)
    layers = [
        m.sequence_input("in", *size, normalization=case),
        m.dense(rng, "fc", int(np.prod(size)), K),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng, single=None)


def test_features_have_rows_of_statistics(tmp_path, rng):
    mean, std = mean_and_scale(rng, 1, C)
    case = m.statistics("zscore", (C,), Mean=mean, Std=std)
    layers = [m.feature_input("in", C, case), m.regression("out")]
    assert_series_agrees(tmp_path, layers, rng, single=None)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_versions_of_the_sequence_input(tmp_path, rng, version):
    net = assert_series_agrees(
        tmp_path,
        [
            m.sequence_input("in", C, version=version, least=4),
            m.dense(rng, "fc", C, K),
            m.regression("out"),
        ],
        rng,
    )
    assert net.layers["in"].min_length == (4 if version > 3 else 1)


@pytest.mark.parametrize(("letters", "sizes"), [
    ("CBT", (C, np.nan, np.nan)), ("TCB", (np.nan, C, np.nan)), ("BC", (np.nan, C)),
])  # fmt: skip
def test_formatted_input(tmp_path, rng, letters, sizes):
    size = number(*sizes)
    layers = [
        m.layer("InputLayer", "in", InputFormat=letters, InputSize=size),
        m.lstm(rng, "lstm", C, H),
    ]
    path = write(tmp_path / "net.mat", net=dlnetwork(layers))
    assert_file_agrees(path, rng)


def test_formatted_input_of_images(tmp_path, rng):
    size = number(np.nan, 4, C, np.nan, 5)  # width and height around the channels
    layers = [
        m.layer("InputLayer", "in", InputFormat="TSCBS", InputSize=size),
        m.convolution2(rng, "conv", (3, 2), C, 2),
        m.lstm(rng, "lstm", 16, H),
    ]
    path = write(tmp_path / "net.mat", net=dlnetwork(layers))
    assert_file_agrees(path, rng)
