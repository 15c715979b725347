"""What is predicted and scored: against loops, with a washout and missing targets."""

from __future__ import annotations

import numpy as np
from finetuned import moved, network, predicted_by, recording

from jlstm.config import Data
from jlstm.scoring import measured, predicted, units_hint


def test_both_networks_answer_and_the_washout_is_not_scored(rng):
    net = network(rng)
    after = moved(rng, net)
    some = [recording(rng, net, str(k), 12 + k, missing=2) for k in range(2)]
    given = [one.weights.copy() for one in some]
    found = predicted(net, after, some, Data(washout=5))
    for which, model in (("before", net), ("after", after)):
        squares = []
        for one, mine in zip(some, found, strict=True):
            y = predicted_by(model, one.x)
            np.testing.assert_array_equal(getattr(mine, which), y)
            for t in range(5, len(y)):
                for k in range(2):
                    if not np.isnan(one.y[t, k]):
                        squares.append((float(y[t, k]) - float(one.y[t, k])) ** 2)
            assert np.isnan(mine.target[:5]).all()
        score = measured(found, which, classes=False)
        np.testing.assert_allclose(score["rmse"], np.sqrt(np.mean(squares)), rtol=1e-6)
    for one, weights in zip(some, given, strict=True):
        np.testing.assert_array_equal(one.weights, weights)  # not changed in place


def test_a_recording_shorter_than_the_washout_is_scored_whole(rng):
    net = network(rng)
    (one,) = predicted(net, net, [recording(rng, net, "a", 4)], Data(washout=4))
    assert not np.isnan(one.target).any()


def test_one_answer_has_no_washout(rng):
    net = network(rng, once=True)
    (one,) = predicted(net, net, [recording(rng, net, "a", 4)], Data(washout=1))
    assert one.target.shape == (2,) and not np.isnan(one.target).any()


def test_predictions_are_in_the_units_that_were_recorded(rng):
    net = network(rng)
    (one,) = [recording(rng, net, "a", 9)]
    data = Data(target_scale=(3.0, 0.5), target_offset=(7.0,))
    ((plain,), (scaled,)) = (predicted(net, net, [one], d) for d in (Data(), data))
    for a, b in ((plain.target, scaled.target), (plain.before, scaled.before)):
        np.testing.assert_allclose(b, a * np.array([3.0, 0.5]) + 7.0, rtol=1e-6)


def test_targets_in_other_units_are_noticed(rng):
    net = network(rng)
    (one,) = [recording(rng, net, "a", 40)]
    y = predicted_by(net, one.x) + 1e-3 * rng.normal(size=(40, 2))
    for scale, offset, noticed in (
        ((40.0, -3.0), (100.0, 5.0), True),
        ((1.0, 1.0), (0.0, 0.0), False),
        ((40.0, 1.0), (100.0, 0.0), False),  # one of two alone is no other unit
    ):
        told = one._replace(y=y * scale + offset, weights=np.ones_like(y))
        hint = units_hint(predicted(net, net, [told], Data()), Data())
        assert bool(hint) is noticed, hint
        if noticed:
            words = hint.replace("[", "").replace("]", "").replace(",", "").split()
            found = [float(words[k]) for k in (-6, -5, -2, -1)]
            np.testing.assert_allclose(found, [40, -3, 100, 5], rtol=1e-2)
    noise = one._replace(y=rng.normal(size=y.shape), weights=np.ones_like(y))
    assert not units_hint(predicted(net, net, [noise], Data()), Data())


def test_a_hint_knows_of_units_that_are_configured_and_of_large_offsets(rng):
    net = network(rng)
    (one,) = [recording(rng, net, "a", 40)]
    data = Data(target_scale=(2.0,), target_offset=(1.0,))
    # In the units of the network it should have been 10 and 101325.
    y = (predicted_by(net, one.x) * 10 + 101325 - 1.0) / 2.0
    told = one._replace(y=y, weights=np.ones_like(y))
    hint = units_hint(predicted(net, net, [told], data), data)
    words = hint.replace("[", "").replace("]", "").replace(",", "").split()
    found = [float(words[k]) for k in (-6, -5, -2, -1)]
    np.testing.assert_allclose(found[:2], 10, rtol=1e-4)
    np.testing.assert_allclose(found[2:], 101325, atol=1e-3)


def test_a_large_offset_costs_no_digits_of_the_error(rng):
    net = network(rng)
    (one,) = [recording(rng, net, "a", 40)]
    y = predicted_by(net, one.x) + 0.02 * np.float32(rng.normal(size=(40, 2)))
    told = one._replace(y=y.astype("f4"), weights=np.ones_like(y))
    scores = [
        measured(predicted(net, net, [told], data), "before", False)["rmse"]
        for data in (Data(), Data(target_offset=(1e6,)))
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6)
