"""Recurrent layers of every struct version against the judge."""

from __future__ import annotations

import matlab_structs as m
import pytest
from agreement import assert_series_agrees

C, H, K = 3, 5, 4


def between(*layers, version: int = 5) -> list:
    first = m.sequence_input("in", C, version=version)
    return [first, *layers, m.regression("out")]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_lstm(tmp_path, rng, version, last):
    layers = between(
        m.lstm(rng, "lstm", C, H, version, last=last),
        m.dense(rng, "fc", H, K, min(version, 3)),
        version=version,
    )
    assert_series_agrees(tmp_path, layers, rng)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_bilstm(tmp_path, rng, version, last):
    layers = between(
        m.bilstm(rng, "bilstm", C, H, version, last=last), m.dense(rng, "fc", 2 * H, K)
    )
    assert_series_agrees(tmp_path, layers, rng)


@pytest.mark.parametrize("mode", [
    "after-multiplication", "before-multiplication",
    "recurrent-bias-after-multiplication",
])  # fmt: skip
@pytest.mark.parametrize(("version", "last"), [(1, False), (2, True)])
def test_gru(tmp_path, rng, version, mode, last):
    layers = between(m.gru(rng, "gru", C, H, version, mode=mode, last=last))
    assert_series_agrees(tmp_path, layers, rng)


@pytest.mark.parametrize("gate", ["sigmoid", "hard-sigmoid"])
@pytest.mark.parametrize("state", ["tanh", "softsign", "relu"])
def test_activations_of_recurrent_layers(tmp_path, rng, state, gate):
    layers = between(
        m.lstm(rng, "lstm", C, H, state=state, gate=gate),
        m.bilstm(rng, "bilstm", H, K, state=state, gate=gate),
        m.gru(rng, "gru", 2 * K, H, state=state, gate=gate),
    )
    assert_series_agrees(tmp_path, layers, rng)


@pytest.mark.parametrize("kind", ["LSTMProjectedLayer", "GRUProjectedLayer"])
def test_projected(tmp_path, rng, kind):
    layers = between(m.projected(rng, kind, "projected", C, 7, (2, 4)))
    assert_series_agrees(tmp_path, layers, rng)


def test_recurrent_layers_flatten_images(tmp_path, rng):
    layers = [
        m.sequence_input("in", 2, 4, 3),
        m.lstm(rng, "lstm", 24, H),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng)


def test_feature_input_is_a_sequence_of_one_step(tmp_path, rng):
    layers = [
        m.feature_input("in", C),
        m.lstm(rng, "lstm", C, H),
        m.dense(rng, "fc", H, K),
        m.regression("out"),
    ]
    assert_series_agrees(tmp_path, layers, rng)
