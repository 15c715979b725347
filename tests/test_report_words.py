"""The verdict of a report: it says what the numbers say, and no more."""

from __future__ import annotations

import numpy as np
import pytest
from finetuned import CLASSES, network, predicted_by, recording, tuned

from jlstm.dataset import Recording
from jlstm.report import words
from jlstm.training.loop import CALLED, DIVERGED, MAX_EPOCHS, PATIENCE


def scored(rng, old, new, key="rmse", part="test", **changes):
    """A result with these numbers of the part that judges."""
    parts = {"train": 1.0, "validation": 1.0, "test": 1.0}
    other = {"cross_entropy": 0.5} if key == "accuracy" else {}
    before = {name: {key: value, **other} for name, value in parts.items()}
    after = {name: dict(scores) for name, scores in before.items()}
    before[part][key], after[part][key] = old, new
    given = {"before": before, "after": after} | changes
    if key == "accuracy":
        return tuned(rng, network(rng, 3, classes=CLASSES), **given)
    return tuned(rng, **given)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (0.5, 0.25, "Test RMSE 0.5 before, 0.25 after: 50 % better"),
        (0.49, 0.48, "Test RMSE 0.49 before, 0.48 after: 2.0 % better"),
        (0.48, 0.49, "Test RMSE 0.48 before, 0.49 after: 2.1 % worse"),
        (0.1, 0.7, "Test RMSE 0.1 before, 0.7 after: 7-fold worse"),
        (0.5, 0.49999, "0.5 before, 0.49999 after: no change to speak of"),
        (0.5, 0.5, "Test RMSE 0.5 before, 0.5 after: no change to speak of"),
        (0.0, 0.1, "0 before, 0.1 after: 0.1 worse"),
        (0.5, np.nan, "0.5 before, not a number after: not comparable"),
    ],
)
def test_the_verdict_says_what_the_numbers_say(rng, old, new, says):
    said = words.verdict(scored(rng, old, new))
    assert says in said
    assert said.endswith(f"; best epoch 2 of 3; stopped because {MAX_EPOCHS}.")
    assert ("better" in said) == (new < old * 0.999)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (0.92, 0.95, "Test accuracy 92 % before, 95 % after: 3 points better"),
        (0.95, 0.9, "Test accuracy 95 % before, 90 % after: 5 points worse"),
        (1.0, 1.0, "no change to speak of; cross-entropy 0.5 before, 0.5 after, same"),
    ],
)
def test_the_verdict_on_a_classifier(rng, old, new, says):
    assert says in words.verdict(scored(rng, old, new, "accuracy"))


def test_nothing_is_claimed_where_the_imported_network_came_back(rng):
    net = network(rng)
    result = tuned(rng, net, net, best_epoch=0, reason=PATIENCE)
    said = words.verdict(result)
    rmse = result.before["test"]["rmse"]
    assert said.startswith("No improvement: no epoch, of 3, gave a lower loss")
    assert f"(Test RMSE {rmse:.4g})" in said and PATIENCE in said
    assert not any("flatters" in remark for remark in words.remarks(result))
    # The last network was asked for: it is judged, whatever was best.
    config = {"max_epochs": 3, "output_network": "last"}
    last = tuned(rng, net, config=config, best_epoch=0, reason=CALLED)
    assert (
        "the network of the last epoch, 3; the best was the imported network;"
        in words.verdict(last)
    )
    assert "No improvement" not in words.verdict(last)


def test_what_must_be_known_besides(rng):
    assert words.remarks(scored(rng, 0.5, 0.4)) == []
    worse = scored(rng, 0.5, 0.4)
    worse.after["train"]["rmse"] = 1.5
    assert words.remarks(worse) == [
        "On the training data it got worse: RMSE 1 before, 1.5 after."
    ]
    net = network(rng)
    one = [recording(rng, net, "a", 30)]
    (said,) = words.remarks(tuned(rng, net, net, {"train": one}))
    assert said.startswith("Nothing was kept aside")
    (said,) = words.remarks(tuned(rng, net, net, {"train": one, "validation": one}))
    assert "also chose the epoch" in said
    (said,) = words.remarks(scored(rng, 0.5, 0.4, reason=DIVERGED))
    assert said.startswith("The training diverged")
    x = rng.normal(size=(30, 3)).astype("f4")
    y = 7 * predicted_by(net, x) - 2
    result = tuned(
        rng, net, net, {"train": [Recording("a", x, y, np.ones_like(y))] * 2}
    )
    said = words.remarks(result)[1]
    assert said.startswith("Targets look like") and "target_scale = [7, 7]" in said
    (said,) = words.remarks(
        scored(rng, 0.5, 0.5, history=worse.history[:1], best_epoch=0, reason=CALLED)
    )
    assert said == "No step was made: the callback said stop before the first epoch."


def test_more_epochs_are_advised_only_where_they_can_be_had(rng):
    (said,) = words.remarks(scored(rng, 0.5, 0.4, best_epoch=3))
    assert "more of them" in said
    cosine = {"max_epochs": 3, "learn_rate_schedule": "cosine"}
    assert words.remarks(scored(rng, 0.5, 0.4, best_epoch=3, config=cosine)) == []
    assert words.remarks(scored(rng, 0.5, 0.4, best_epoch=3, reason=PATIENCE)) == []


def test_new_statistics_alone_are_not_called_the_imported_network(rng):
    """What came back differs from what was imported: both errors are said."""
    config = {"max_epochs": 3, "normalization": "recompute"}
    said = words.verdict(scored(rng, 0.5, 0.25, config=config, best_epoch=0))
    assert said == (
        "No epoch, of 3, gave a lower loss than the imported network with new input "
        "statistics, which is what came back: Test RMSE 0.5 before, 0.25 after: 50 % "
        f"better; stopped because {MAX_EPOCHS}."
    )
    last = config | {"output_network": "last"}
    said = words.verdict(scored(rng, 0.5, 0.25, config=last, best_epoch=0))
    assert "the best was the imported network with new input statistics;" in said


@pytest.mark.parametrize(
    ("key", "old", "new", "says"),
    [
        ("r2", 0.999, 0.9999, "0.0009 better"),  # a tenth of the squared error
        ("nse", 0.9999, 0.999, "0.0009 worse"),
        ("kge", 0.9999, 0.99995, "5e-05 better"),
        ("fit", 99.9, 99.99, "0.09 better"),
        ("accuracy", 0.9999, 1.0, "0.01 points better"),
        ("r2", 1.0, 1.0, "same"),
        ("r2", 0.5, 0.5004, "same"),  # by 0.08 % of what is missing to 1
        ("r2", 0.0, 0.0005, "same"),
        ("fit", 0.0, 0.05, "same"),
        ("fit", -100.0, -100.1, "same"),
    ],
)
def test_efficiencies_change_by_what_they_lack(key, old, new, says):
    assert words.change(key, old, new) == says
