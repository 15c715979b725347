"""Mini-batches: their order, their shapes and their padding, as counted by hand."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from dataset_cases import made, once

from jlstm.config import FineTuneConfig
from jlstm.dataset import batches


def config(**settings):
    return FineTuneConfig(**settings)


def drawn(runs, settings, epoch=0, drop_last=False, **more):
    return list(batches(runs, settings, epoch, drop_last=drop_last, **more))


def first(batch):
    """The first number of each sequence with a weight: which one it is."""
    real = batch.weights.reshape(len(batch.x), -1).any(1)
    return [int(k) for k in batch.x[real, 0, 0]]


RUNS = [made(5 + k % 3, f"r{k}", 100 * k) for k in range(23)]


# --- batches of one length ------------------------------------------------------------


def test_every_sequence_once_beside_others_of_its_length():
    found = drawn(RUNS, config(mini_batch_size=3))
    assert sorted(k for b in found for k in first(b)) == list(range(0, 2300, 100))
    for batch in found:
        count, steps = batch.x.shape[:2]
        assert batch.x.shape == batch.y.shape == (count, steps, 1)
        assert batch.lengths.dtype == np.int32
        assert batch.lengths.tolist() == [steps] * count
        assert np.array_equal(batch.y, batch.x * 10)
        # All weights are 1, those of a filler 0, and fillers come last.
        assert all(np.ptp(w) == 0 for w in batch.weights)
        assert np.all(np.diff(batch.weights[:, 0, 0]) <= 0)
        assert len(first(batch)) in (count, count - 1)


@pytest.mark.parametrize("size", range(1, 13))
@pytest.mark.parametrize("count", [1, 2, 5, 11, 12])
def test_shapes_of_a_length(size, count):
    found = drawn(
        [made(4, start=100 * k) for k in range(count)], config(mini_batch_size=size)
    )
    number = -(-count // size)
    assert len(found) == number
    assert {len(b.x) for b in found} == {-(-count // number)}
    assert sum(len(first(b)) for b in found) == count
    found = drawn(
        [made(4, start=100 * k) for k in range(count)],
        config(mini_batch_size=size),
        drop_last=True,
    )
    width = min(size, count)
    assert [len(first(b)) for b in found] == [len(b.x) for b in found]
    assert [len(b.x) for b in found] == [width] * (count // width)


@pytest.mark.parametrize("drop_last", [False, True])
def test_shapes_repeat_in_every_epoch_and_there_is_one_a_length(drop_last):
    shapes = [
        Counter(b.x.shape for b in drawn(RUNS, config(mini_batch_size=3), k, drop_last))
        for k in range(5)
    ]
    assert all(found == shapes[0] for found in shapes)
    assert len(shapes[0]) == 3


def orders(shuffle, seed=0, semantics="exact"):
    settings = config(
        mini_batch_size=4, shuffle=shuffle, seed=seed, semantics=semantics
    )
    return [[first(b) for b in drawn(RUNS, settings, epoch)] for epoch in range(4)]


@pytest.mark.parametrize("semantics", ["exact", "matlab"])
def test_the_order_follows_from_seed_and_epoch(semantics):
    every = orders("every-epoch", semantics=semantics)
    assert every == orders("every-epoch", semantics=semantics)
    assert all(every[a] != every[b] for a in range(4) for b in range(a))
    assert every != orders("every-epoch", seed=1, semantics=semantics)
    at_once = orders("once", semantics=semantics)
    assert all(order == every[0] for order in at_once)
    assert at_once != orders("once", seed=1, semantics=semantics)
    never = orders("never", semantics=semantics)
    assert all(order == never[0] for order in never)
    if semantics == "matlab":
        flat = [k for batch in never[0] for k in batch]
        assert flat == list(range(0, 2300, 100))
        drawing = np.random.default_rng([0, 2]).permutation(23) * 100
        assert [k for batch in every[2] for k in batch] == drawing.tolist()
    else:
        assert never[0][:2] == [[0, 300, 600, 900], [1200, 1500, 1800, 2100]]


def test_batches_of_all_lengths_are_shuffled_among_each_other():
    found = drawn(RUNS, config(mini_batch_size=2))
    lengths = [b.x.shape[1] for b in found]
    changes = sum(a != b for a, b in pairwise(lengths))
    assert changes > 3  # sorted by length there would be 2


def test_missing_targets_are_zeros_without_weight():
    one = made(4)
    one.y[2] = np.nan
    for semantics in ("exact", "matlab"):
        (batch,) = drawn([one], config(semantics=semantics))
        assert batch.y[0, :, 0].tolist() == [0, 10, 0, 30]
        assert batch.weights[0, :, 0].tolist() == [1, 1, 0, 1]
        assert batch.y.dtype == batch.weights.dtype == np.float32


def test_no_windows_make_no_batches():
    assert drawn([], config()) == []


# --- MATLAB's batches -----------------------------------------------------------------


def matlab(**settings):
    settings = {
        "semantics": "matlab",
        "shuffle": "never",
        "mini_batch_size": 3,
    } | settings
    return config(**settings)


def test_matlab_pads_to_the_longest_of_the_mini_batch():
    runs = [made(n, start=100 * n) for n in (2, 4, 3, 1, 2)]
    one, two = drawn(runs, matlab(sequence_padding_value=-7.0))
    assert one.x[:, :, 0].tolist() == [
        [200, 201, -7, -7],
        [400, 401, 402, 403],
        [300, 301, 302, -7],
    ]
    assert one.y[:, :, 0].tolist() == [
        [2000, 2010, -7, -7],
        [4000, 4010, 4020, 4030],
        [3000, 3010, 3020, -7],
    ]
    assert np.all(one.weights == 1)
    assert one.lengths.tolist() == [4, 4, 4] and one.lengths.dtype == np.int32
    assert two.x[:, :, 0].tolist() == [[100, -7], [200, 201]]
    assert two.lengths.tolist() == [2, 2]


def test_matlab_pads_on_the_left_and_need_not_score_it():
    runs = [made(n, start=100 * n) for n in (1, 3)]
    runs[1].weights[1] = 0
    (batch,) = drawn(
        runs, matlab(sequence_padding_direction="left", score_padding=False)
    )
    assert batch.x[:, :, 0].tolist() == [[0, 0, 100], [300, 301, 302]]
    assert batch.y[:, :, 0].tolist() == [[0, 0, 1000], [3000, 3010, 3020]]
    assert batch.weights[:, :, 0].tolist() == [[0, 0, 1], [1, 0, 1]]


def test_matlab_pads_classes_with_no_class():
    runs = [made(n, start=100 * n, outputs=2) for n in (1, 2)]
    settings = matlab(sequence_padding_value=5.0)
    (batch,) = drawn(runs, settings, classes=True)
    assert batch.x[0, 1].tolist() == [5]
    assert batch.y[0, 1].tolist() == [0, 0]
    assert batch.weights[0, 1].tolist() == [1, 1]
    (batch,) = drawn(runs, settings)
    assert batch.y[0, 1].tolist() == [5, 5]


def test_matlab_discards_the_last_incomplete_mini_batch():
    runs = [made(2, start=100 * k) for k in range(8)]
    assert [first(b) for b in drawn(runs, matlab(), drop_last=True)] == [
        [0, 100, 200],
        [300, 400, 500],
    ]
    assert [len(b.x) for b in drawn(runs, matlab())] == [3, 3, 2]
    # Fewer sequences than a mini-batch holds are one mini-batch.
    few = drawn(runs, matlab(mini_batch_size=128), drop_last=True)
    assert [len(b.x) for b in few] == [8]


def test_answers_once_in_batches():
    runs = [once(n, f"r{n}") for n in (3, 2, 3)]
    (batch,) = drawn(runs, matlab())
    assert batch.x.shape == (3, 3, 1) and batch.y.shape == (3, 2)
    assert batch.weights.shape == (3, 2) and batch.lengths.tolist() == [3, 3, 3]
    found = drawn(runs, config(shuffle="never"))
    assert [b.x.shape for b in found] == [(2, 3, 1), (1, 2, 1)]
    assert [b.y.shape for b in found] == [(2, 2), (1, 2)]
