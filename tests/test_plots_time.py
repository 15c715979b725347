"""Errors and gates over time, against NumPy float64 and the reference equations."""

from __future__ import annotations

import dataclasses

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
from jlstm.training.parameters import parameters, with_parameters


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
    assert [len(a) for a in plots.band(np.full((2, 50), np.nan))] == [0, 0, 0, 0]
    infinite = np.array([[1.0, np.inf, 3.0, -np.inf]])
    np.testing.assert_array_equal(plots.band(infinite).mean, [1, 3])


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


def without_targets(some, *outputs):
    """Recordings of which these outputs were never measured."""
    for one in some:
        one.y[:, outputs], one.weights[:, outputs] = np.nan, 0
    return some


def test_an_output_that_nobody_scored_is_left_out(rng, drawn):
    net = network(rng)
    some = without_targets([recording(rng, net, str(k), 20) for k in range(2)], 0)
    result = tuned(rng, net, parts={"train": some, "test": some})
    picture = plots.errors(result)
    (axes,) = drawn[0].axes
    assert axes.get_ylabel() == "|error|\noutput 2"
    (before,) = (line for line in axes.lines if line.get_label() == "before")
    want = [np.abs(o.before[:, 1] - o.target[:, 1]) for o in result.predictions["test"]]
    np.testing.assert_allclose(before.get_ydata(), np.mean(want, axis=0)[4:], rtol=1e-6)
    assert picture.title.endswith(", only the outputs that have targets")


def test_of_many_outputs_the_first_are_drawn_and_so_it_says(rng, drawn):
    net = network(rng, 6)
    some = [recording(rng, net, "a", 20)]
    for words in ("the first 3 of 6 outputs", "the first 3 of 5 outputs that have"):
        picture = plots.errors(tuned(rng, net, parts={"train": some, "test": some}))
        assert words in picture.title and words in picture.alt
        without_targets(some, 1)
    labels = [[a.get_ylabel()[-8:] for a in figure.axes] for figure in drawn]
    assert labels[0] == ["output 1", "output 2", "output 3"]
    assert labels[1] == ["output 1", "output 3", "output 4"]
    assert "first" not in plots.errors(tuned(rng)).alt


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_have_no_error_to_draw(rng, drawn, bad):
    result = tuned(rng)
    some = tuple(
        o._replace(before=o.before + bad, after=o.after + bad)
        for o in result.predictions["test"]
    )
    result.predictions["test"] = some
    assert plots.errors(result).png[1:4] == b"PNG"
    assert all(len(line.get_xdata()) == 0 for line in drawn[0].axes[0].lines)
    # Only one of the two networks gives none.
    half = tuned(rng)
    half.predictions["test"] = tuple(
        o._replace(after=o.after + bad) for o in half.predictions["test"]
    )
    plots.errors(half)
    before, after = (len(line.get_xdata()) for line in drawn[1].axes[0].lines)
    assert before > 20 and after == 0


def test_gates_that_are_no_numbers_are_not_drawn(rng, drawn):
    net = network(rng)
    result = tuned(rng, net, moved(rng, net, "'first'"))
    some = {p: a * np.nan for p, a in parameters(result.net).items() if "'f" in p}
    broken = with_parameters(result.net, some)
    picture = plots.gates(dataclasses.replace(result, net=broken))
    assert picture.png[1:4] == b"PNG"
    after, before, *_ = drawn[0].axes[0].lines
    assert len(after.get_xdata()) == 0 and len(before.get_xdata()) == 30


def test_of_many_layers_the_first_are_drawn_and_so_it_says(rng, drawn):
    chain = {f"l{k}": lstm(rng, 3, 3) for k in range(6)}
    fc = L.FullyConnected(normal(rng, 2, 3), normal(rng, 2))
    net = Network.build({"in": L.Input((3,))} | chain | {"fc": fc})
    picture = plots.gates(tuned(rng, net, moved(rng, net)))
    assert len(drawn[0].axes) == 16
    assert "the first 4 of 6 recurrences" in picture.title
    assert picture.alt.endswith("l0, l1, l2, l3, the first 4 of 6 recurrences.")
    picture = plots.gates(tuned(rng))
    assert "first 4" not in picture.title + picture.alt


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
