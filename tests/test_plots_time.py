"""Errors and gates over time, against NumPy float64 and the reference equations."""

from __future__ import annotations

import numpy as np
import pytest
from finetuned import CLASSES, kept_figures, moved, network, recording, tuned
from networks import lstm, normal
from reference_recurrent import gru
from reference_recurrent import lstm as lstm_reference

from jlstm import layers as L
from jlstm import plots_time as plots
from jlstm.network import Network
from jlstm.recurrent import Bidirectional


@pytest.fixture
def drawn(monkeypatch):
    return kept_figures(monkeypatch)


def test_a_band_is_mean_and_percentiles_of_what_is_in_a_bin(rng):
    values = rng.normal(size=(3, 50))
    values[:, 10:15] = np.nan
    values[1, 40:] = np.nan
    found = plots.band(values, bins=12)  # 5 steps a bin, 10 bins
    bins = [values[:, s : s + 5].ravel() for s in range(0, 50, 5) if s != 10]
    bins = [b[~np.isnan(b)] for b in bins]
    np.testing.assert_allclose(found.mean, [b.mean() for b in bins], rtol=1e-12)
    np.testing.assert_allclose(found.low, [np.percentile(b, 10) for b in bins])
    np.testing.assert_allclose(found.high, [np.percentile(b, 90) for b in bins])
    np.testing.assert_array_equal(found.step, [2, 7, *range(17, 50, 5)])
    # Few steps are drawn one by one; the last bin may be short.
    np.testing.assert_array_equal(plots.band(values[:1, :9]).mean, values[0, :9])
    odd = plots.band(values[:, 15:28], bins=3)
    assert len(odd.mean) == 3 and odd.step[-1] == 12
    np.testing.assert_allclose(odd.mean[-1], values[:, 25:28].mean())


def test_errors_over_time(rng, drawn):
    result = tuned(rng)
    picture = plots.errors(result)
    some = result.predictions["test"]
    for k, axes in enumerate(drawn[0].axes):
        lines = {line.get_label(): line.get_xydata() for line in axes.lines}
        for which in ("before", "after"):
            want = []
            for t in range(31):
                here = [
                    abs(getattr(one, which)[t, k] - one.target[t, k])
                    for one in some
                    if t < len(one.target) and not np.isnan(one.target[t, k])
                ]
                if here:
                    want.append((t, np.mean(here)))
            np.testing.assert_allclose(lines[which], want, rtol=1e-6)
        assert want[0][0] == 4  # the washout is not scored
        assert len(axes.collections) == 2
    assert "5 recordings" in picture.alt and picture.png[1:4] == b"PNG"


def test_wrong_steps_of_classes_over_time(rng, drawn):
    net = network(rng, 3, classes=CLASSES)
    result = tuned(rng, net, moved(rng, net))
    plots.errors(result)
    (axes,) = drawn[0].axes
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    for which in ("before", "after"):
        want = []
        for t in range(31):
            here = [
                float(getattr(one, which)[t].argmax() != one.target[t].argmax())
                for one in result.predictions["test"]
                if t < len(one.target) and not np.isnan(one.target[t]).any()
            ]
            if here:
                want.append((t, np.mean(here)))
        np.testing.assert_allclose(lines[which], want)
    assert 0 < lines["after"][:, 1].mean() < 1


def test_a_transient_at_the_start_does_not_hide_the_rest(rng, drawn):
    net = network(rng, 1)
    one = recording(rng, net, "a", 60)
    one.y[4] += 1000
    plots.errors(tuned(rng, net, parts={"train": [one], "test": [one]}))
    assert drawn[0].axes[0].get_yscale() == "log"
    plots.errors(tuned(rng))
    assert drawn[1].axes[0].get_yscale() == "linear"


def test_one_answer_has_no_error_over_time(rng):
    net = network(rng, 2, once=True)
    some = [recording(rng, net, str(k), 6) for k in range(2)]
    parts = {"train": some, "test": some}
    assert plots.errors(tuned(rng, net, parts=parts, config={"max_epochs": 3})) is None


def packed(layer):
    gates = [getattr(layer, name) for name in layer.gates]
    return [
        np.concatenate([np.asarray(getattr(g, key), float) for g in gates])
        for key in ("input_weights", "recurrent_weights", "bias")
    ]


def reference(net, x):
    """Gates of `finetuned.network`, `(units, time)`, from the equations."""
    first = lstm_reference(
        {}, *packed(net.layers["first"]), x.T, np.zeros(4), np.zeros(4)
    )
    second = gru({}, *packed(net.layers["second"]), first["h"], np.zeros(5))
    return [first[k] for k in "ifgo"] + [second[k] for k in "rznh"]


@pytest.mark.parametrize("once", [False, True])
def test_gates_before_and_after(rng, drawn, once):
    net = network(rng, once=once)
    some = [recording(rng, net, str(k), 30) for k in range(3)]
    result = tuned(
        rng, net, moved(rng, net), {"train": some, "test": some}, {"max_epochs": 3}
    )
    picture = plots.gates(result)
    chosen = max(
        result.predictions["test"],
        key=lambda one: np.mean((one.after - one.recording.y) ** 2),
    )
    was, now = (reference(n, chosen.recording.x) for n in (result.imported, result.net))
    titles = []
    assert len(drawn[0].axes) == 8
    for axes, old, new in zip(drawn[0].axes, was, now, strict=True):
        lines = [line.get_ydata() for line in axes.lines]
        want = [new.mean(0), old.mean(0), *np.percentile(old, (10, 90), axis=0)]
        for found, expected in zip(lines, want, strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5)
        title = axes.get_title()
        titles.append(title.split("\n")[0].split()[-1])
        change = float(title.split()[-1])
        assert abs(change - np.mean(np.abs(new - old))) < 0.06 * change
    assert "".join(titles) == "ifgorznh"
    assert "first, second" in picture.alt


def test_gates_in_double_precision_and_in_two_directions(rng, drawn):
    """The trace is made after training, when double precision is off again."""
    import jax

    both = Bidirectional(lstm(rng, 4, 3), lstm(rng, 4, 3))
    net = Network.build(
        {"in": L.Input((3,)), "both": both,
         "fc": L.FullyConnected(normal(rng, 2, 8), normal(rng, 2))}
    )  # fmt: skip
    one = recording(rng, net, "a", 12)
    with jax.enable_x64(True):
        result = tuned(
            rng, net.astype("float64"), moved(rng, net.astype("float64")),
            {"train": [one], "test": [one]},
        )  # fmt: skip
    plots.gates(result)
    x, layer = one.x.astype(float), result.net.layers["both"]
    zero = np.zeros(4)
    behind = lstm_reference({}, *packed(layer.backward), x[::-1].T, zero, zero)
    axes = drawn[0].axes
    assert [a.get_ylabel() for a in axes if a.get_ylabel()] == [
        "both forward", "both backward",
    ]  # fmt: skip
    found = axes[5].lines[0].get_ydata()
    np.testing.assert_allclose(found, behind["f"].mean(0)[::-1], atol=1e-12)


def test_gates_are_drawn_over_the_first_steps_of_a_long_recording(
    rng, drawn, monkeypatch
):
    monkeypatch.setattr(plots, "TRACED_STEPS", 20)
    picture = plots.gates(tuned(rng))
    assert "first 20 steps" in picture.title
    assert len(drawn[0].axes[0].lines[0].get_ydata()) == 20


def test_no_recurrent_layer_has_no_gates(rng):
    net = Network.build(
        {"in": L.Input((3,)), "fc": L.FullyConnected(normal(rng, 2, 3), normal(rng, 2))}
    )
    assert plots.gates(tuned(rng, net, moved(rng, net))) is None
