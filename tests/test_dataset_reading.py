"""Recordings out of tables, folders and arrays: by name, in order, never turned."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from dataset_cases import FEATURES, OUTPUTS, STEPS, network, same

from jlstm.config import Data
from jlstm.dataset import recordings
from jlstm.errors import InputError


@pytest.fixture
def net(rng):
    return network(rng)


@pytest.fixture
def x(rng):
    return rng.normal(size=(STEPS, FEATURES))


@pytest.fixture
def y(rng):
    return rng.normal(size=(STEPS, OUTPUTS))


def test_no_jax_is_needed():
    code = "import sys, jlstm.dataset; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# --- sources --------------------------------------------------------------------------


def test_a_table_by_position_and_by_name(tmp_path, net, x, y):
    path = tmp_path / "run.csv"
    frame = pd.DataFrame(np.hstack([x, y]), columns=["a", "b", "c", "p", "q"])
    frame.to_csv(path, index=False)
    for source in (path, str(path), [path], frame, [frame], tmp_path):
        (found,) = recordings(source, net, Data())
        same(found, x, y)
    assert found.name == "run.csv"
    data = Data(inputs=("q", "c", "a"), targets=("b", "p"))
    (found,) = recordings(path, net, data)
    same(found, np.c_[y[:, 1], x[:, 2], x[:, 0]], np.c_[x[:, 1], y[:, 0]])


def test_a_table_too_wide_is_not_guessed(net, x, y):
    frame = pd.DataFrame(np.hstack([x, y, y[:, :1]]), columns=list("abcdef"))
    with pytest.raises(InputError, match="do not fit the network") as caught:
        recordings(frame, net, Data())
    assert "a, b, c, d, e, f" in caught.value.found
    assert caught.value.file == "table 1"


def test_files_of_a_folder_come_by_name(tmp_path, net, x, y):
    for number in (2, 1, 3):
        pd.DataFrame(np.hstack([x + number, y])).add_prefix("c").to_csv(
            tmp_path / f"run{number}.csv", index=False
        )
    (tmp_path / "notes.md").write_text("nothing")
    found = recordings(tmp_path, net, Data())
    assert [one.name for one in found] == ["run1.csv", "run2.csv", "run3.csv"]
    same(found[1], x + 2, y)
    two = (tmp_path / "run3.csv", str(tmp_path / "run1.csv"))
    for source in (two, list(two)):
        found = recordings(source, net, Data())
        assert [one.name for one in found] == ["run3.csv", "run1.csv"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no recordings in it"):
        recordings(tmp_path / "none", net, Data())


def test_pairs(net, x, y):
    for source in ((x, y), [(x, y)], (pd.DataFrame(x), pd.DataFrame(y))):
        (found,) = recordings(source, net, Data())
        same(found, x, y)
    first, second = recordings([(x, y), (x[:4] + 1, y[:4])], net, Data())
    same(first, x, y)
    same(second, x[:4] + 1, y[:4])
    # One axis more in front: several recordings.
    first, second = recordings(
        (np.stack([x, x + 1]), np.stack([y, y - 1])), net, Data()
    )
    same(second, x + 1, y - 1)
    assert (first.name, second.name) == ("recording 1[1]", "recording 1[2]")


def test_vectors_over_time(rng, x, y):
    net = network(rng, 1, features=1)
    (found,) = recordings((x[:, 0], y[:, 0]), net, Data())
    same(found, x[:, :1], y[:, :1])


def test_arrays_are_never_transposed(net, x, y):
    with pytest.raises(InputError, match=r"does not fit the network") as caught:
        recordings((x.T, y), net, Data())
    assert "pass x.T" in caught.value.do
    with pytest.raises(InputError, match=r"do not fit what the network") as caught:
        recordings((x, y.T), net, Data())
    assert "pass y.T" in caught.value.do and caught.value.file == "recording 1"
    # A square of as many steps as features is what it says it is.
    (found,) = recordings((x[:3], y[:3]), net, Data())
    same(found, x[:3], y[:3])


@pytest.mark.parametrize(
    "source", [None, 3, [], (), np.zeros((4, 3)), {"x": 1}, [np.zeros((4, 3))], [3]]
)
def test_what_is_no_source(net, source):
    with pytest.raises(InputError, match=r"holds? recordings"):
        recordings(source, net, Data())


def test_pairs_of_lists_are_refused_and_not_stacked(net, x, y):
    with pytest.raises(InputError, match="not one array") as caught:
        recordings(([x, x[:4]], [y, y[:4]]), net, Data())
    assert "list of pairs" in caught.value.do
    with pytest.raises(InputError, match="not one target for each sequence"):
        recordings((np.stack([x, x]), y), net, Data())
    (a, b) = recordings(((x, y), (x + 1, y)), net, Data())
    same(a, x, y)
    same(b, x + 1, y)


def test_one_answer_for_a_table(rng, tmp_path, x):
    net, path = network(rng, once=True), tmp_path / "run.csv"
    frame = pd.DataFrame(x, columns=list("abc")).assign(p=4.0, q=np.nan)
    frame.loc[6, "q"] = -2.0
    frame.to_csv(path, index=False)
    same(recordings(path, net, Data())[0], x, [4, -2])
    frame.loc[5, "p"] = 5
    frame.to_csv(path, index=False)
    with pytest.raises(InputError, match="rows differ") as caught:
        recordings(path, net, Data())
    assert caught.value.place == "line 7, column 'p'"
    frame = frame.assign(p=np.nan)
    (found,) = recordings(frame, net, Data())
    same(found, x, [np.nan, -2], [0, 1])
    with pytest.raises(InputError, match="target that is not") as caught:
        recordings(frame, net, Data(nan="refuse"))
    assert caught.value.place == "column 'p'"
