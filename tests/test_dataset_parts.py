"""Parts that share no step, and windows whose bounds were counted by hand."""

from collections import Counter

import msgspec
import numpy as np
import pytest
from dataset_cases import made, once, steps_of

from jlstm.config import Data, FineTuneConfig
from jlstm.dataset import split, windows
from jlstm.errors import InputError

# --- parts ----------------------------------------------------------------------------


def test_the_last_part_of_every_recording_is_kept_aside():
    data = Data(validation=0.2, test=0.1)
    parts = split([made(20), made(10, "s", 100)], data)
    assert steps_of(parts.train) == [list(range(14)), list(range(100, 107))]
    assert steps_of(parts.validation) == [[14, 15, 16, 17], [107, 108]]
    assert steps_of(parts.test) == [[18, 19], [109]]
    for part in parts:
        assert [one.name for one in part] == ["r", "s"]
        assert all(np.array_equal(one.y, one.x * 10) for one in part)
        assert all(one.weights.shape == one.y.shape for one in part)


def test_no_window_of_one_part_reaches_into_another():
    data = Data(validation=0.3, test=0.2, window=8, overlap=5)
    parts = split([made(103), made(57, start=1000), made(3, start=2000)], data)
    sets = [
        {step for one in steps_of(windows(part, data)) for step in one}
        for part in parts
    ]
    assert [len(s) for s in sets] == [51 + 29 + 1, 31 + 17 + 1, 21 + 11 + 1]
    assert not (sets[0] & sets[1] or sets[1] & sets[2] or sets[0] & sets[2])


def test_recordings_are_kept_aside_whole_by_seed():
    data = Data(validation=0.2, test=0.1, split_by="recording")
    runs = [made(4 + k, f"r{k}") for k in range(10)]
    drawn = set()
    for seed in range(8):
        parts = split(runs, data, seed)
        names = [[one.name for one in part] for part in parts]
        assert [len(part) for part in names] == [7, 2, 1]
        assert sorted(name for part in names for name in part) == [
            one.name for one in runs
        ]
        assert names[0] == sorted(names[0])
        assert all(len(one.x) == 4 + int(one.name[1:]) for one in parts.train)
        again = split(runs, data, seed)
        assert names == [[one.name for one in part] for part in again]
        drawn.add(tuple(names[1]))
    assert len(drawn) > 4


def test_at_least_one_recording_for_each_part():
    data = Data(validation=0.01, test=0.01, split_by="recording")
    assert [len(part) for part in split([made(4)] * 3, data)] == [1, 1, 1]
    with pytest.raises(InputError, match="nothing is left for the train part"):
        split([made(4)] * 2, data)
    one = Data(validation=0, test=0)
    assert [len(part) for part in split([made(4)], one)] == [1, 0, 0]
    with pytest.raises(InputError, match="for the validation part"):
        split([made(2)], Data(validation=0.1))
    with pytest.raises(InputError, match="no recordings"):
        split([], Data())


@pytest.mark.parametrize("missing, name", [(slice(18, 20), "test"),
                                           (slice(14, 18), "validation"),
                                           (slice(0, 14), "train")])  # fmt: skip
def test_a_part_in_which_nothing_is_scored_is_refused_by_name(missing, name):
    one = made(20)
    one.weights[missing] = 0
    with pytest.raises(InputError, match=f"no target in the {name} part"):
        split([one], Data(validation=0.2, test=0.1))


def test_single_answers_are_split_by_recording_whatever_is_said():
    runs = [once(9, f"r{k}") for k in range(5)]
    parts = split(runs, Data(split_by="time"))
    assert [len(part) for part in parts] == [4, 1, 0]
    assert all(len(one.x) == 9 for part in parts for one in part)


# --- windows --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "window", "overlap", "washout", "expected"),
    [
        (10, 0, 0, 0, [(0, 10)]),
        (10, 0, 0, 3, [(0, 10)]),
        (12, 4, 0, 0, [(0, 4), (4, 8), (8, 12)]),
        (10, 4, 0, 0, [(0, 4), (4, 8), (8, 10)]),
        (10, 4, 0, 1, [(0, 4), (4, 8), (8, 10)]),
        (10, 4, 0, 2, [(0, 4), (4, 8)]),
        (9, 4, 0, 0, [(0, 4), (4, 8), (8, 9)]),
        (10, 4, 1, 0, [(0, 4), (3, 7), (6, 10)]),  # nothing is left
        (11, 4, 1, 0, [(0, 4), (3, 7), (6, 10), (9, 11)]),
        (11, 4, 1, 2, [(0, 4), (3, 7), (6, 10)]),
        (11, 4, 3, 3, [(k, k + 4) for k in range(8)]),
        (3, 4, 3, 0, [(0, 3)]),
        (3, 4, 0, 3, []),
        (4, 4, 0, 3, [(0, 4)]),
    ],
)
def test_where_windows_are(steps, window, overlap, washout, expected):
    data = Data(window=window, overlap=overlap, washout=washout)
    long = made(50, "other")  # so that something is left in any case
    found = [w for w in windows([made(steps), long], data) if w.name[0] == "r"]
    assert steps_of(found) == [list(range(*bounds)) for bounds in expected]
    for one, (start, stop) in zip(found, expected, strict=True):
        assert one.name == ("r" if stop - start == steps else f"r[{start}:{stop}]")
        assert np.array_equal(one.y, one.x * 10)
        scored = np.arange(stop - start) >= washout
        assert np.array_equal(one.weights[:, 0], scored.astype("f4"))


def test_washout_as_long_as_the_overlap_scores_each_step_once():
    data = Data(window=9, overlap=4, washout=4)
    scored = Counter(
        int(step)
        for one in windows([made(61)], data)
        for step in one.x[one.weights[:, 0] > 0, 0]
    )
    assert scored == Counter(range(4, 61))


def test_windows_without_a_scored_step_are_left_out():
    one = made(12, outputs=2)
    one.weights[:4] = 0
    one.weights[4:6] = 0
    one.weights[6, 0] = 0
    before = one.weights.copy()
    found = windows([one], Data(window=4, washout=2))
    assert steps_of(found) == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert found[0].weights.tolist() == [[0, 0], [0, 0], [0, 1], [1, 1]]
    assert np.array_equal(one.weights, before)  # the recording stays as it was
    one.weights[:] = 0
    with pytest.raises(InputError, match="no step is scored"):
        windows([one], Data())
    with pytest.raises(InputError, match="no step is scored"):
        windows([made(5)], Data(washout=5))
    assert windows([], Data()) == []


def test_windows_that_cannot_be():
    for data in (Data(window=4, overlap=4), Data(window=4, washout=4)):
        with pytest.raises(InputError, match="shorter than the window"):
            windows([made(9)], data)
    for data in (Data(window=4), Data(washout=1)):
        with pytest.raises(InputError, match="each recording whole"):
            windows([once(9, "r")], data)
    assert windows([once(9, "r")], Data())[0].name == "r"


def test_settings_come_from_the_configuration_file():
    given = {"mini_batch_size": 2, "data": {"window": 4, "inputs": ["a"]}}
    read = msgspec.convert(given, FineTuneConfig)
    assert steps_of(windows([made(6)], read.data)) == [[0, 1, 2, 3], [4, 5]]
