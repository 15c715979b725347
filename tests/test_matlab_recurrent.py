"""Recurrent layers of every struct version against the judge."""

from __future__ import annotations

import matlab_structs as m
import pytest
from agreement import assert_branches_agree, assert_series_agrees
from matlab_files import number

C, H, K = 3, 5, 4


MODES = (
    "after-multiplication",
    "before-multiplication",
    "recurrent-bias-after-multiplication",
)


def assert_agree(tmp_path, rng, layers, **settings):
    """Every layer by itself, on the same input."""
    trunk = [m.sequence_input("in", C)]
    return assert_branches_agree(tmp_path, trunk, layers, rng, **settings)


def test_lstm(tmp_path, rng):
    layers = {
        f"version {version}, last {last}": m.lstm(rng, "", C, H, version, last=last)
        for version in (1, 2, 3, 4, 5)
        for last in (False, True)
    }
    assert_agree(tmp_path, rng, layers)


def test_bilstm(tmp_path, rng):
    layers = {
        f"version {version}, last {last}": m.bilstm(rng, "", C, H, version, last=last)
        for version in (1, 2, 3, 4)
        for last in (False, True)
    }
    assert_agree(tmp_path, rng, layers)


def test_gru(tmp_path, rng):
    layers = {
        f"version {version}, {mode}, last {last}": m.gru(
            rng, "", C, H, version, mode=mode, last=last
        )
        for version, last in ((1, False), (2, True), (2, False))
        for mode in MODES
    }
    assert_agree(tmp_path, rng, layers)


@pytest.mark.parametrize("make", [m.lstm, m.bilstm, m.gru])
def test_activations(tmp_path, rng, make):
    layers = {
        f"{state}, {gate}": make(rng, "", C, H, state=state, gate=gate)
        for state in ("tanh", "softsign", "relu")
        for gate in ("sigmoid", "hard-sigmoid")
    }
    assert_agree(tmp_path, rng, layers)


def test_projected(tmp_path, rng):
    layers = {
        kind: m.projected(rng, kind, "", C, 7, (2, 4))
        for kind in ("LSTMProjectedLayer", "GRUProjectedLayer")
    }
    assert_agree(tmp_path, rng, layers)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_stacks(tmp_path, rng, version):
    """What one layer hands to the next, in the structs of one release."""
    layers = [
        m.sequence_input("in", C, version=version),
        m.lstm(rng, "lstm", C, H, version),
        m.layer("DropoutLayer", "dropout", Probability=number(0.5)),
        m.bilstm(rng, "bilstm", H, K, max(1, version - 1), last=True),
        m.dense(rng, "fc", 2 * K, 2, min(version, 3)),
        m.regression("out"),
    ]
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
