"""Embedding and self-attention against the judge."""

from __future__ import annotations

import jax
import matlab_structs as m
import numpy as np
import pytest
from agreement import DOUBLE, as_matlab, assert_series_agrees, both
from matlab_files import flag, number, series, string, write

from jlstm.network import predict

C, H, K = 3, 5, 4


@pytest.mark.parametrize("mask", ["none", "causal"])
@pytest.mark.parametrize(("keys", "values", "outputs"), [(6, 6, C), (4, 8, 7)])
def test_self_attention(tmp_path, rng, mask, keys, values, outputs):
    layers = [
        m.sequence_input("in", C),
        m.self_attention(rng, "attention", C, 2, keys, values, outputs,
                         AttentionMask=mask),
        m.regression("out"),
    ]  # fmt: skip
    assert_series_agrees(tmp_path, layers, rng)


def test_self_attention_along_space(tmp_path, rng):
    size = number(7, C, np.nan)
    layers = [
        m.layer("InputLayer", "in", InputFormat="SCB", InputSize=size),
        m.self_attention(rng, "attention", C, 2, 6, 6, 4),
        m.layer("FlattenLayer", "flatten"),
    ]
    assert_series_agrees(tmp_path, layers, rng)


def test_self_attention_after_the_last_step(tmp_path, rng):
    layers = [
        m.sequence_input("in", C),
        m.bilstm(rng, "bilstm", C, H, last=True),
        m.self_attention(rng, "attention", 2 * H, 1, 2, 2, 2 * H),
        m.dense(rng, "fc", 2 * H, K),
        m.regression("out"),
    ]
    net = assert_series_agrees(tmp_path, layers, rng)
    assert any("nothing but itself" in notice for notice in net.origin.notices)


def test_position_embedding(tmp_path, rng):
    layers = [
        m.sequence_input("in", C),
        m.layer("PositionEmbeddingLayer", "position", OutputSize=number(K),
                MaxPosition=number(20), PositionDimension="auto",
                Weights=m.learnable(m.normal(rng, K, 20))),
        m.regression("out"),
    ]  # fmt: skip
    assert_series_agrees(tmp_path, layers, rng)


@pytest.mark.parametrize("fields", [
    {}, {"OOVMode": "map-to-last", "Vocabulary": string("hello")},
], ids=["before R2023b", "since"])  # fmt: skip
def test_words_outside_the_vocabulary_have_the_last_column(tmp_path, rng, fields):
    layers = [
        m.sequence_input("in", 1),
        m.word_embedding(rng, "words", H, 9, **fields),
        m.lstm(rng, "lstm", H, K, last=True),
        m.regression("out"),
    ]
    net, judge = both(write(tmp_path / "net.mat", net=series(layers)))
    # doc2sequence pads with zeros on the left; 10 and more are other words.
    x = np.array([0, 0, 0, 1, 9, 4, 4, 10, 2, 37], np.float32)[:, None]
    wanted = judge.forward(as_matlab(net, (x,)))
    with jax.enable_x64(True):
        found = np.asarray(predict(net.astype("float64"), x))
    assert np.abs(found - wanted).max() <= DOUBLE


def test_a_vocabulary_without_other_words(tmp_path, rng):
    layers = [
        m.sequence_input("in", 1),
        m.word_embedding(rng, "words", H, 10, OOVMode="error",
                         Weights=m.learnable(m.normal(rng, H, 10))),
        m.regression("out"),
    ]  # fmt: skip
    net, judge = both(write(tmp_path / "net.mat", net=series(layers)))
    x = np.array([1, 10, 3], np.float32)[:, None]
    wanted = judge.forward(as_matlab(net, (x,)))
    assert np.array_equal(predict(net, x), wanted.T.astype(np.float32))
    assert np.all(np.isnan(predict(net, x + 8)[1]))


def test_masks_and_scores_are_refused(tmp_path, rng):
    from jlstm.errors import Unsupported
    from jlstm.formats import matlab

    for name in ("HasPaddingMaskInput", "HasScoresOutput"):
        attention = m.self_attention(
            rng, "attention", C, 2, 6, 6, C, **{name: flag(True)}
        )
        layers = [m.sequence_input("in", C), attention, m.regression("out")]
        path = write(tmp_path / "net.mat", net=series(layers))
        with pytest.raises(Unsupported) as caught:
            matlab.load(path)
        assert caught.value.place == f"net.Layers('attention').{name}"
