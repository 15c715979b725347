"""Records that do not fit are refused with the reading that would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from networks import lstm, normal

from jlstm import layers as L
from jlstm.errors import InputError
from jlstm.network import Network, predict
from jlstm.recorded import cases, decimals, fit, judge_labels
from jlstm.validation import validate

CLASSES = ("bearing", "healthy", "3")


def classifier(rng: np.random.Generator, mode: str, classes: Any = CLASSES) -> Network:
    return Network.build(
        {
            "in": L.Input((2,)),
            "lstm": lstm(rng, 5, 2, output_mode=mode),
            "fc": L.FullyConnected(4 * normal(rng, 3, 5), 0 * normal(rng, 3)),
            "softmax": L.Softmax(),
            "end": L.Classification(classes) if classes else L.Dropout(0.5),
        }
    )


# --- shapes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "want"),
    [
        ((7, 3), (7, 3)),
        ((7,), (7, 1)),
        ((7, 1), (7, 1)),
        ((3,), (3,)),
        ((1, 3), (3,)),
        ((), (1,)),
        ((1, 1), (1,)),
        ((7, 4, 5, 2), (7, 4, 5, 2)),
        ((1, 1), (1, 1)),
    ],
)
def test_what_fits(found, want):
    record = np.arange(np.prod(found, dtype=int)).reshape(found)
    result = fit("y", record, want)
    assert result.shape == want and result.dtype == np.float64
    np.testing.assert_array_equal(result.ravel(), record.ravel())


@pytest.mark.parametrize(
    ("found", "want", "words"),
    [
        ((3, 7), (7, 3), "pass expected.T"),
        ((1, 7), (7, 1), "pass expected.T"),
        ((3, 1), (3,), "pass expected.T"),
        ((5, 7, 3), (7, 3), "a batch"),
        ((1, 7, 3), (7, 3), "a batch"),
        ((3,), (7, 3), "one step"),
        ((7, 3), (3,), "all steps"),
        ((6, 3), (7, 3), "the same steps"),
        ((7, 4), (7, 3), "shape (7, 3)"),
        ((21,), (7, 3), "shape (7, 3)"),
        ((3, 3), (7, 1), "shape (7, 1)"),
        ((1, 3), (7, 3), "the same steps"),
        ((), (7, 1), "shape (7, 1)"),
        ((0, 3), (7, 3), "the same steps"),
    ],
)
def test_what_does_not_fit(found, want, words):
    with pytest.raises(InputError) as error:
        fit("y", np.zeros(found), want)
    assert words in str(error.value) and "recorded 'y'" in str(error.value)


def test_a_transposed_record_is_not_turned(rng):
    net, x = classifier(rng, "sequence"), rng.normal(size=(7, 2))
    y = np.asarray(predict(net, x))
    assert validate(net, x, y).ok
    with pytest.raises(InputError, match=r"expected\.T"):
        validate(net, x, y.T)
    with pytest.raises(InputError, match=r"pass x\.T"):
        validate(net, x.T, y)
    with pytest.raises(InputError, match="features x time"):
        validate(net, x, y, layers={"lstm": np.zeros((5, 7))})
    # Square: no shape gives it away, the numbers do.
    square = rng.normal(size=(3, 2))
    z = np.asarray(predict(net, square))
    assert not validate(net, square, z.T).ok


@pytest.mark.parametrize("odd", [np.zeros((7, 3)) * 1j, np.zeros((7, 3), "M8[s]")])
def test_only_real_numbers(odd, rng):
    with pytest.raises(InputError, match="not real numbers"):
        validate(classifier(rng, "sequence"), rng.normal(size=(7, 2)), odd)


@pytest.mark.parametrize("odd", [[[1, 2], [3]], "abc", [["a", "b"]], 1j, None])
def test_inputs_that_are_no_numbers(odd, rng):
    net, y = classifier(rng, "last"), np.zeros(3)
    for x in (odd, [odd]) if not isinstance(odd, list) else ([odd],):
        with pytest.raises(InputError):
            validate(net, x, [y] if isinstance(x, list) else y)


def test_lists_are_sequences(rng):
    net, x = classifier(rng, "last"), rng.normal(size=(7, 2))
    y = np.asarray(predict(net, x))
    assert validate(net, [x, x], [y, y]).ok
    assert validate(net, [x, x], np.stack([y, y])).ok
    for wrong in ([y], [y, y, y], y[0], 3.0):
        with pytest.raises(InputError, match="list of 2 sequences, so expected"):
            validate(net, [x, x], wrong)
    with pytest.raises(InputError, match="so layers must be one too"):
        validate(net, [x, x], [y, y], layers={"lstm": y})
    with pytest.raises(InputError, match="no sequences"):
        validate(net, [], [])
    with pytest.raises(InputError, match="sequence 2"):
        cases(net, [x, x], [y, ["bearing", "nothing"]], None)


# --- labels ---------------------------------------------------------------------------


def best(scores: Any) -> list[str]:
    return [CLASSES[k] for k in np.argmax(np.atleast_2d(scores), axis=-1)]


def other(label: str) -> str:
    return CLASSES[(CLASSES.index(label) + 1) % 3]


def test_labels_of_sequences(rng):
    net = classifier(rng, "last")
    xs = [rng.normal(size=(6, 2)) * 3 for _ in range(12)]
    labels = [best(predict(net, x))[0] for x in xs]
    assert len(set(labels)) > 1
    kinds = (np.array, list, pd.Series, pd.Categorical, lambda a: np.array(a, object))
    for same in (kind(labels) for kind in kinds):
        found = validate(net, xs, same)
        assert found.ok and "12 of 12 labels agree" in found.verdict
        assert found.max_abs is None and found.per_output == ()
    assert validate(net, xs[0], labels[0]).ok
    wrong = [*labels[:7], other(labels[7]), *labels[8:]]
    found = validate(net, xs, wrong)
    assert not found.ok and found.labels is not None and found.labels.agree == 11
    assert [s.index for s in found.per_sequence if s.first_bad_step is not None] == [7]
    assert "number 8: another label" in str(found)


def test_labels_of_steps(rng):
    net, x = classifier(rng, "sequence"), rng.normal(size=(9, 2)) * 3
    labels = best(predict(net, x))
    assert len(set(labels)) > 1
    assert validate(net, x, labels).ok
    wrong = [*labels[:4], other(labels[4]), *labels[5:]]
    found = validate(net, x, np.array(wrong))
    assert not found.ok and found.labels is not None and found.labels.first_bad == 4
    with pytest.raises(InputError, match="another number of labels"):
        validate(net, x, labels[:-1])


def test_labels_and_layers(rng):
    """Labels may agree while the numbers inside do not."""
    net, x = classifier(rng, "last"), rng.normal(size=(6, 2))
    label = best(predict(net, x))[0]
    _, trace = predict(net, x, trace=True)
    h = np.asarray(trace["lstm.h"], float)
    assert validate(net, x, label, layers={"lstm.h": h}).ok
    found = validate(net, x, label, layers={"lstm.h": h + 0.1})
    assert not found.ok and found.first_bad_layer == "lstm.h"


def test_numbers_as_labels(rng):
    """Only where a class is called so; a code may count from 0 or from 1."""
    net, x = classifier(rng, "last"), rng.normal(size=(6, 2))
    with pytest.raises(InputError) as error:
        validate(net, x, 1)
    assert "count from 0 in some programs" in str(error.value)
    digits = classifier(rng, "last", ("1", "2", "3"))
    ours = np.argmax(predict(digits, x)) + 1
    assert validate(digits, x, int(ours)).ok
    assert not validate(digits, x, int(ours) % 3 + 1).ok
    # Scores in whole numbers are scores.
    assert validate(digits, x, np.array([0, 1, 0])).labels is None


def test_whole_numbers_of_a_regression(rng):
    """Without classes they are numbers, also with an axis fewer."""
    dense = L.FullyConnected(0 * normal(rng, 1, 5), np.array([2], np.float32))  # type: ignore[arg-type]
    net = Network.build({"in": L.Input((2,)), "lstm": lstm(rng, 5, 2), "fc": dense})
    found = validate(net, rng.normal(size=(6, 2)), np.full(6, 2))
    assert found.ok and found.max_abs == 0 and found.labels is None


def test_labels_without_classes(rng):
    net = classifier(rng, "last", ())
    with pytest.raises(InputError, match="does not name its classes"):
        validate(net, rng.normal(size=(6, 2)), "bearing")


def test_judge_labels(rng):
    net = classifier(rng, "sequence")
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    found = judge_labels(net, "end", scores, np.array(["healthy", "3"]))
    assert (found.agree, found.total, found.first_bad) == (1, 2, 1)


# --- numbers --------------------------------------------------------------------------


def test_decimals(rng):
    values = rng.normal(size=50) * 10
    assert decimals(np.round(values, 3)) == 3
    assert decimals(np.round(values, 5).astype(np.float32)) in (4, 5)
    assert decimals(values) is None
    assert decimals(np.array([1.0, 2.0])) == 2  # whole numbers, at least that
