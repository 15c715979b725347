"""Two mistakes at once, where one of them hides the other."""

from __future__ import annotations

import numpy as np
import pytest
from networks import gru, lstm, normal
from recordings import signal
from wrong import Wrong, forward, forward_many

import jlstm as jl
from jlstm import layers as L
from jlstm.network import Network
from jlstm.recurrent import Bidirectional


def built(rng, entry, layer, outputs=2) -> Network:
    hidden = 8 if isinstance(layer, Bidirectional) else 4
    end = L.FullyConnected(normal(rng, outputs, hidden), normal(rng, outputs))
    return Network.build({"in": entry, "one": layer, "fc": end})


def names(d: jl.Diagnosis) -> list[list[str]]:
    return [sorted(m.name for m in f.mistakes) for f in d.findings[: d.tied]]


def test_a_scale_is_found_beside_a_reset_that_comes_later():
    rng = np.random.default_rng(3)
    net = built(rng, L.Input((3,)), gru(rng, 4, 3))
    x = signal(50, 3)
    pair = [
        Wrong("state-reset", ("one",), {"every": 30, "what": "both"}),
        Wrong("input-affine", (), {"slope": 0.5, "offset": 0.1}),
    ]
    d = jl.diagnose(net, x, forward(net, x, pair))
    assert names(d) == [["input-affine", "state-reset"]], d
    given = {k: v for m in d.findings[0].mistakes for k, v in m.parameters.items()}
    assert given["every"] == 30
    np.testing.assert_allclose([given["slope"], given["offset"]], [0.5, 0.1], atol=1e-6)


def test_numbers_too_large_for_single_precision_are_looked_at_in_double():
    rng = np.random.default_rng(5)
    std = np.array([1e30, 1e30, 1e-12, 1e-12], np.float32)
    entry = L.Input((4,), normalization="zscore", mean=0 * std, std=std)
    net = built(rng, entry, lstm(rng, 4, 4))
    x = signal(20, 4) * std.astype(float)
    pair = [
        Wrong("features-reversed", (), {}),
        Wrong("gate-order", ("one",), {"order": "gofi"}),
    ]
    y = forward(net, x, pair)
    assert np.all(np.isfinite(y))
    d = jl.diagnose(net, x, y)
    assert ["features-reversed", "gate-order"] in names(d), d


@pytest.fixture
def both() -> Network:
    rng = np.random.default_rng(6)
    two = Bidirectional(lstm(rng, 4, 3), lstm(rng, 4, 3))
    return built(rng, L.Input((3,)), two)


def test_both_directions_with_another_mistake(both):
    x = signal(16, 3)
    pair = [Wrong("halves-swapped", ("one",), {}), Wrong("bias-omitted", ("one",), {})]
    d = jl.diagnose(both, x, forward(both, x, pair))
    assert ["bias-omitted", "halves-swapped"] in names(d), d


@pytest.mark.parametrize("origin", ["previous-run", "previous-sequence"])
def test_the_state_of_both_directions_goes_on(both, origin):
    xs = [signal(n, 3, seed=n) for n in (9, 14, 11)]
    wrong = Wrong("start-state", ("one",), {"from": origin})
    d = jl.diagnose(both, xs, forward_many(both, xs, [wrong]), max_mistakes=1)
    assert names(d) == [["start-state"]], d
    assert d.findings[0].mistakes[0].parameters["from"] == origin


def test_scores_that_are_labels_decide_nothing():
    rng = np.random.default_rng(7)
    net = Network.build(
        {
            "in": L.Input((3,)),
            "one": lstm(rng, 4, 3, output_mode="last"),
            "fc": L.FullyConnected(900 * normal(rng, 4, 4), normal(rng, 4)),
            "soft": L.Softmax(),
        }
    )
    xs = [signal(n, 3, seed=n) for n in (9, 14, 11, 12)]
    # What a network that has run away gives: one class, and nothing else.
    scores = [forward(net, x, [Wrong("bias-omitted", ("one",), {})]) for x in xs]
    observed = [np.eye(4)[int(scores[0].argmax())]] * 4
    d = jl.diagnose(net, xs, observed, max_mistakes=1)
    assert d.verdict == "undecidable", d
