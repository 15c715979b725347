"""Pictures of a run: read back from the figures' own data, against plain loops."""

from __future__ import annotations

import io

import numpy as np
import pytest
from finetuned import CLASSES, kept_figures, moved, network, recording, tuned

from jlstm import plots_training as plots
from jlstm import scoring
from jlstm.dataset import Recording
from jlstm.scoring import Prediction


@pytest.fixture
def drawn(monkeypatch):
    return kept_figures(monkeypatch)


def curves(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def is_png(picture):
    from matplotlib.image import imread

    image = imread(io.BytesIO(picture.png))
    return image.std() > 0.02 and picture.alt and picture.title


def test_losses_by_epoch_with_the_rate_below(rng, drawn):
    picture = plots.losses(tuned(rng))
    above, below = drawn[0].axes
    found = curves(above)
    np.testing.assert_array_equal(found["training"], [(1, 0.9), (2, 0.6), (3, 0.4)])
    want = [(0, 0.8), (1, 0.7), (2, 0.5), (3, 0.6)]
    np.testing.assert_array_equal(found["validation"], want)
    np.testing.assert_array_equal(found["best: epoch 2"], [(2, 0.5)])
    assert set(found["imported network"][:, 1]) == {0.8}
    np.testing.assert_array_equal(below.lines[0].get_ydata(), [1e-2, 1e-3, 1e-4])
    assert above.get_yscale() == "linear" and above.get_ylabel() == "loss (half-mse)"
    assert "0.8" in picture.alt and "0.5" in picture.alt and "epoch 2" in picture.alt
    assert picture.name == "loss" and is_png(picture)


def test_losses_that_span_decades_that_are_no_numbers_or_are_not_there(rng, drawn):
    rows = [
        {"epoch": 0, "steps": 0, "loss_of_training_data": 5.0},
        {"epoch": 1, "steps": 1, "training_loss": 80.0},  # not looked at
        {"epoch": 2, "steps": 2, "training_loss": 0.1, "loss_of_training_data": 0.2},
        {"epoch": 3, "steps": 3, "training_loss": float("nan")},
    ]
    net = network(rng)
    plots.losses(
        tuned(
            rng, net, parts={"train": [recording(rng, net, "a", 9)]},
            history=rows, learn_rates=(), own=("transformation", "loss"),
        )
    )  # fmt: skip
    (axes,) = drawn[0].axes
    found = curves(axes)
    np.testing.assert_array_equal(found["training"], [(1, 80), (2, 0.1)])
    np.testing.assert_array_equal(found["training, scored"], [(0, 5), (2, 0.2)])
    assert axes.get_yscale() == "log" and axes.get_ylabel() == "loss"


def test_the_imported_network_can_be_the_best(rng, drawn):
    rows = tuned(rng).history[:1]
    picture = plots.losses(tuned(rng, history=rows, learn_rates=(), best_epoch=0))
    assert "best: the imported network" in curves(drawn[0].axes[0])
    assert is_png(picture)


def prediction(name, error, steps=8):
    y = np.zeros((steps, 1))
    return Prediction(Recording(name, y, y, np.ones_like(y)), y + 9, y + error)


def test_the_worst_and_the_median_recording():
    some = tuple(prediction(str(e), e) for e in (3.0, 1.0, 5.0, 2.0, 4.0))
    chosen = plots.worst_and_median(some)
    assert [(word, one.recording.name) for word, one in chosen] == [
        ("worst", "5.0"), ("median", "3.0"),
    ]  # fmt: skip
    one = prediction("only", 1.0)
    assert [word for word, _ in plots.worst_and_median((one,))] == [""]
    # A network that gives no numbers is worse than any that does.
    broken = prediction("broken", np.nan)
    assert plots.worst_and_median((one, broken))[0][1] is broken
    blank = one._replace(recording=one.recording._replace(weights=0 * one.after))
    assert plots.worst_and_median((blank,)) == []


def test_curves_of_the_worst_and_the_median_recording(rng, drawn):
    result = tuned(rng)
    picture = plots.predictions(result)
    some = result.predictions["test"]
    error = [np.sqrt(np.nanmean((o.after - o.target) ** 2)) for o in some]
    order = np.argsort(error)[::-1]
    axes = drawn[0].axes
    assert len(axes) == 4  # two recordings of two outputs
    for row, number in enumerate((order[0], order[2])):
        for k in range(2):
            found = curves(axes[2 * row + k])
            for label, values in (
                ("target", some[number].recording.y),
                ("before", some[number].before),
                ("after", some[number].after),
            ):
                np.testing.assert_array_equal(found[label][:, 1], values[:, k])
    assert some[order[0]].recording.name.replace("$", r"\$") in axes[0].get_title(
        "left"
    )
    assert f"{error[order[0]]:.3g} after" in axes[0].get_title("left")
    assert "(median)" in axes[2].get_title("left")
    # The washout is shown as what it is.
    (span,) = axes[0].patches
    assert span.get_x() == 0 and span.get_width() == 4
    old, new = result.before["test"]["rmse"], result.after["test"]["rmse"]
    assert f"{old:.4g} before, {new:.4g} after" in picture.alt
    assert is_png(picture)


def test_a_long_name_keeps_its_unit(rng, drawn):
    name = "temperature of $T_1$ at the outlet (deg C)"
    config = {"max_epochs": 3, "data": {"targets": [name, "压力"]}}
    plots.predictions(tuned(rng, config=config))
    label = drawn[0].axes[0].get_ylabel()
    assert label.replace("\n", " ").replace(r"\$", "$") == name and "\n" in label
    assert drawn[0].axes[1].get_ylabel() == "压力"


def test_a_long_recording_has_a_close_up_of_its_largest_error(rng, drawn):
    net = network(rng, 1)
    one = recording(rng, net, "long", 700)
    one.y[655] += 50
    plots.predictions(tuned(rng, net, parts={"test": [one], "train": [one]}))
    whole, near = drawn[0].axes
    assert len(curves(whole)["after"]) == 700
    steps = curves(near)["after"][:, 0]
    assert list(steps) == list(range(400, 700))  # 655 cannot be in the middle
    y = curves(near)["target"][:, 1]
    np.testing.assert_array_equal(y, one.y[400:, 0])


def test_outputs_are_called_what_the_user_calls_them(rng):
    assert plots.output_names(tuned(rng)) == ["output 1", "output 2"]
    named = {"max_epochs": 3, "data": {"targets": ["level", "flow"]}}
    assert plots.output_names(tuned(rng, config=named)) == ["level", "flow"]
    # A label column is one target, and the classes are the outputs.
    net = network(rng, 3, classes=CLASSES)
    labelled = {"max_epochs": 3, "data": {"targets": ["label"]}}
    assert plots.output_names(tuned(rng, net, config=labelled)) == list(CLASSES)


@pytest.mark.parametrize("once", [False, True])
def test_classes_are_counted(rng, drawn, once):
    net = network(rng, 3, once=once, classes=CLASSES)
    after = moved(rng, net)
    some = [recording(rng, net, str(k), 9, 0 if once else 2) for k in range(13)]
    result = tuned(
        rng, net, after, {"train": some[:1], "test": some},
        {"max_epochs": 3, "data": {"test": 0.5}},
    )  # fmt: skip
    picture = plots.predictions(result)
    for axes, which in zip(drawn[0].axes, ("before", "after"), strict=True):
        want = np.zeros((3, 3), int)
        for one in result.predictions["test"]:
            pairs = zip(
                np.atleast_2d(one.target), np.atleast_2d(getattr(one, which)),
                strict=True,
            )  # fmt: skip
            for target, scores in pairs:
                if not np.isnan(target).any():
                    want[int(np.argmax(target)), int(np.argmax(scores))] += 1
        found = scoring.confusion(result.predictions["test"], which, 3)
        np.testing.assert_array_equal(found, want)
        shown = {t.get_position(): int(t.get_text()) for t in axes.texts}
        assert shown == {(c, r): n for (r, c), n in np.ndenumerate(want) if n}
        right = 100 * np.trace(want) / want.sum()
        assert axes.get_title() == f"{which}: {right:.1f} % right"
    assert (want != np.diag(np.diag(want))).any()  # else a transpose went unseen
    labels = [t.get_text() for t in drawn[0].axes[0].get_yticklabels()]
    assert labels == ["calm", "<script>alert...", r"a \$b\$ & 'c'"]
    assert is_png(picture)


def test_scores_that_are_no_numbers_are_taken_for_no_class(rng):
    net = network(rng, 3, classes=CLASSES)
    one = tuned(rng, net).predictions["test"][0]
    assert scoring.confusion((one,), "after", 3).sum() == len(one.after) - 4  # washout
    one = one._replace(after=np.where(np.arange(30)[:, None] < 6, np.nan, one.after))
    assert scoring.confusion((one,), "after", 3).sum() == len(one.after) - 6


def test_answers_of_whole_sequences_are_dots(rng, drawn):
    net = network(rng, 2, once=True)
    some = [recording(rng, net, str(k), 6 + k % 2) for k in range(4)]
    parts = {"train": some, "validation": some}
    result = tuned(rng, net, parts=parts, config={"max_epochs": 3})
    assert is_png(plots.predictions(result))
    for k, axes in enumerate(drawn[0].axes):
        found = curves(axes)
        for which in ("before", "after"):
            want = [
                (one.recording.y[k], getattr(one, which)[k])
                for one in result.predictions["validation"]
            ]
            np.testing.assert_array_equal(found[which], want)


@pytest.mark.parametrize("once", [False, True])
def test_the_first_outputs_that_have_targets_are_drawn_and_so_it_says(rng, drawn, once):
    net = network(rng, 6, once=once)
    some = [recording(rng, net, str(k), 9) for k in range(3)]
    parts, config = {"train": some, "test": some}, {"max_epochs": 3}
    for words in ("the first 3 of 6 outputs", "the first 3 of 5 outputs that have"):
        result = tuned(rng, net, parts=parts, config=config)
        picture = plots.predictions(result)
        assert words in picture.title and words in picture.alt and is_png(picture)
        for one in some:  # output 1 was never measured
            one.y[..., 0], one.weights[..., 0] = np.nan, 0
    axes = drawn[1].axes[:3]
    named = [a.get_title() if once else a.get_ylabel() for a in axes]
    assert named == ["output 2", "output 3", "output 4"]
    chosen = plots.worst_and_median(result.predictions["test"])[0][1]
    for k, panel in enumerate(axes, 1):
        if not once:
            found = curves(panel)["before"][:, 1]
            np.testing.assert_array_equal(found, chosen.before[:, k])
    some = some[:1]
    for one in some:
        one.y[..., 3:], one.weights[..., 3:] = np.nan, 0
    picture = plots.predictions(tuned(rng, net, parts={"train": some}, config=config))
    assert picture.title.endswith(", only the outputs that have targets")
    assert "outputs" not in plots.predictions(tuned(rng)).alt


def test_what_training_began_with_is_not_called_the_imported_network(rng, drawn):
    config = {"max_epochs": 3, "normalization": "recompute"}
    picture = plots.losses(tuned(rng, config=config, best_epoch=0))
    words = "the imported network with new input statistics"
    assert f"0.8 for {words}, lowest 0.8, that of {words}." in picture.alt
    assert {words.removeprefix("the "), f"best: {words}"} <= set(
        curves(drawn[0].axes[0])
    )


def test_nothing_scored_is_no_picture(rng):
    net = network(rng)
    one = recording(rng, net, "a", 9)
    result = tuned(rng, net, parts={"train": [one], "test": [one]})
    blank = [o._replace(recording=o.recording._replace(weights=0 * o.after))
             for o in result.predictions["test"]]  # fmt: skip
    result.predictions["test"] = tuple(blank)
    assert plots.predictions(result) is None
