"""Recordings out of variables: those that scipy and NumPy wrote, lying or standing."""

import matlab_files
import numpy as np
import pytest
from dataset_cases import FEATURES, NAMES, OUTPUTS, STEPS, cells, network, same
from scipy.io import savemat

from jlstm.config import Data
from jlstm.dataset import recordings
from jlstm.errors import Ambiguous, InputError


@pytest.fixture
def net(rng):
    return network(rng)


@pytest.fixture
def labelled(rng):
    return network(rng, 3, classes=("low", "mid", "up"))


@pytest.fixture
def x(rng):
    return rng.normal(size=(STEPS, FEATURES))


@pytest.fixture
def y(rng):
    return rng.normal(size=(STEPS, OUTPUTS))


def test_npz_by_name(tmp_path, net, x, y):
    path = tmp_path / "runs.npz"
    np.savez(path, X=x, Y=y, u=x[:, 0], v=x[:, 1:2], w=x[:, 2], turned=x.T)
    (found,) = recordings(path, net, NAMES)
    same(found, x, y)
    (found,) = recordings(path, net, Data(inputs=("w", "u", "v"), targets=("Y",)))
    same(found, x[:, [2, 0, 1]], y)
    for inputs, message in (
        (("turned",), "does not fit"),
        (("none",), "no such array|not a file"),
        (("X", "u"), "side by side"),
        ((), "which variables"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            recordings(path, net, Data(inputs=inputs, targets=("Y",)))
        assert caught.value.file == str(path)
    np.savez(path, X=np.stack([x, 2 * x]), Y=np.stack([y, 3 * y]))
    same(recordings(path, net, NAMES)[1], 2 * x, 3 * y)


# --- MAT files ------------------------------------------------------------------------


def test_mat_variables_lie_or_stand(tmp_path, net, x, y):
    path = tmp_path / "data.mat"
    for a, b in ((x.T, y.T), (x, y), (x.T, y)):
        savemat(path, {"X": a, "Y": b})
        (found,) = recordings(path, net, NAMES)
        same(found, x, y)
        (found,) = recordings(None, net, NAMES, beside=path)
        same(found, x, y)
    with pytest.raises(InputError, match="which variables") as caught:
        recordings(path, net, Data())
    assert caught.value.found == "X, Y"


def test_a_square_of_a_mat_file_is_not_guessed(tmp_path, net, x, y):
    path = tmp_path / "data.mat"
    savemat(path, {"X": x[:3].T, "Y": y[:3].T})
    with pytest.raises(Ambiguous, match="both orientations") as caught:
        recordings(path, net, NAMES)
    assert "--layout" not in caught.value.do
    # The steps of the input settle how the targets lie.
    savemat(path, {"X": x[:2].T, "Y": y[:2].T})
    with pytest.raises(Ambiguous) as caught:
        recordings(path, net, NAMES)
    assert "Y" in caught.value.place


def test_cells_hold_sequences(tmp_path, net, x, y):
    path = tmp_path / "data.mat"
    savemat(path, {"X": cells(x.T, 2 * x[:5].T), "Y": cells(y.T, 3 * y[:5].T)})
    first, second = recordings(path, net, NAMES)
    same(first, x, y)
    same(second, 2 * x[:5], 3 * y[:5])
    assert second.name == "data.mat[2]"
    # A square among others lies as they do.
    for a, b in ((x, y), (x[:3], y[:3]), (x[:2], y[:2])):
        savemat(path, {"X": cells(x.T, a.T), "Y": cells(y.T, b.T)})
        same(recordings(path, net, NAMES)[1], a, b)
        savemat(path, {"X": cells(a, x), "Y": cells(b, y)})
        same(recordings(path, net, NAMES)[0], a, b)
    savemat(path, {"X": cells(x[:3].T, x[:3].T), "Y": cells(y[:3].T, y[:3].T)})
    with pytest.raises(Ambiguous):
        recordings(path, net, NAMES)
    savemat(path, {"X": cells(x.T, x.T), "Y": cells(y.T)})
    with pytest.raises(InputError, match="not one target for each sequence"):
        recordings(path, net, NAMES)
    savemat(path, {"X": cells(x.T, x.T), "Y": cells(y.T, y[:4].T)})
    with pytest.raises(InputError, match="does not fit"):
        recordings(path, net, NAMES)


def test_vectors_of_a_mat_file_side_by_side(tmp_path, net, x, y):
    path = tmp_path / "data.mat"
    columns = dict(zip("abc", x.T, strict=True)) | dict(zip("pq", y.T, strict=True))
    savemat(path, columns | {"s": {"r": x[:, :1]}}, oned_as="row")
    data = Data(inputs=("s.r", "c", "b"), targets=("q", "p"))
    (found,) = recordings(path, net, data)
    same(found, x[:, [0, 2, 1]], y[:, ::-1])


def test_answers_of_a_mat_file_are_rows(tmp_path, rng, x):
    net, path = network(rng, once=True), tmp_path / "data.mat"
    answers = rng.normal(size=(3, OUTPUTS))
    savemat(path, {"X": cells(x.T, x[:5].T, x[:6].T), "Y": answers})
    for found, a, b in zip(
        recordings(path, net, NAMES), (x, x[:5], x[:6]), answers, strict=True
    ):
        same(found, a, b)
    savemat(path, {"X": x.T, "Y": answers[0]})
    same(recordings(path, net, NAMES)[0], x, answers[0])
    savemat(path, {"X": cells(x.T, x[:5].T), "Y": answers})
    with pytest.raises(InputError, match="not one recorded output"):
        recordings(path, net, NAMES)


def test_categoricals_of_a_mat_file(tmp_path, labelled, x):
    names = ["low", "mid", "up"]
    one = matlab_files.categorical(names, [1, 3, 3, 2, 1, 0, 2])
    two = matlab_files.categorical(names, [2, 2, 1, 3])
    eye = np.eye(3)
    rows = eye[[0, 2, 2, 1, 0, 0, 1]]
    rows[5] = np.nan
    scored = np.ones((7, 3))
    scored[5] = 0
    path = matlab_files.write(tmp_path / "one.mat", X=x.T, Y=one)
    same(recordings(path, labelled, NAMES)[0], x, rows, scored)
    path = matlab_files.write(
        tmp_path / "two.mat", X=cells(x.T, x[:4].T), Y=cells(one, two)
    )
    first, second = recordings(path, labelled, NAMES)
    same(first, x, rows, scored)
    same(second, x[:4], eye[[1, 1, 0, 2]])
