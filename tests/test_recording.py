"""Recorded sequences: written by scipy, NumPy and plain text, read by jlstm."""

import numpy as np
import pytest
from scipy.io import savemat

from jlstm import recording
from jlstm.errors import Ambiguous, InputError, Unsupported
from jlstm.pytree import Shape


@pytest.fixture
def x(rng):
    return rng.normal(size=(7, 3))


def test_csv_with_and_without_header(tmp_path, x):
    bare, headed = tmp_path / "bare.csv", tmp_path / "headed.csv"
    np.savetxt(bare, x, delimiter=",")
    np.savetxt(headed, x, delimiter=";", header="a;b;c", comments="")
    for path in (bare, headed):
        (found,) = recording.read(str(path))
        np.testing.assert_allclose(found, x, rtol=0, atol=1e-15)


def test_csv_refuses_words(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("a,b\n1,low\n2,high\n")
    with pytest.raises(InputError, match="not a table of numbers") as caught:
        recording.read(str(path))
    assert "'low'" in str(caught.value) and "column 2" in str(caught.value)
    # One typing error in the first line does not make it a heading.
    path.write_text("l.0,2\n1,2\n")
    with pytest.raises(InputError, match="not a table of numbers"):
        recording.read(str(path))
    path.write_text("a,b\n")
    with pytest.raises(InputError, match="only a heading"):
        recording.read(str(path))
    path.write_text("1,2\n3\n")
    with pytest.raises(InputError, match="not a table of numbers"):
        recording.read(str(path))
    path.write_text("1,2\n3,\n")
    with pytest.raises(InputError, match="not a table of numbers"):
        recording.read(str(path))


def test_csv_of_one_column_and_other_separators(tmp_path, x):
    for name, mark in (("one", ","), ("tabs", "\t"), ("blanks", " ")):
        path = tmp_path / f"{name}.txt"
        data = x[:, :1] if name == "one" else x
        np.savetxt(path, data, delimiter=mark)
        np.testing.assert_allclose(recording.read(str(path))[0], data, atol=1e-15)


def test_csv_that_is_empty_or_no_text(tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("\n")
    with pytest.raises(InputError, match="empty"):
        recording.read(str(path))
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="not a text file"):
        recording.read(str(path))


def test_numpy_files(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "xs.npz", first=x, second=x + 1)
    assert np.array_equal(recording.read(f"{tmp_path}/x.npy")[0], x)
    assert np.array_equal(recording.read(f"{tmp_path}/xs.npz:second")[0], x + 1)
    with pytest.raises(Ambiguous, match="which array") as caught:
        recording.read(f"{tmp_path}/xs.npz")
    assert caught.value.found == "first, second"
    with pytest.raises(InputError, match="no array 'third'"):
        recording.read(f"{tmp_path}/xs.npz:third")


def test_numpy_never_unpickles(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="not a NumPy file"):
        recording.read(f"{tmp_path}/objects.npy")


def test_mat_variables(tmp_path, x):
    path = tmp_path / "data.mat"
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = x.T, 2 * x.T
    savemat(path, {"X": x.T, "runs": cells, "s": {"inner": x.T + 1}})
    assert np.array_equal(recording.read("X", path)[0], x.T)
    assert np.array_equal(recording.read(f"{path}:X")[0], x.T)
    assert np.array_equal(recording.read("s.inner", path)[0], x.T + 1)
    assert np.array_equal(recording.read("runs{2}", path)[0], 2 * x.T)
    runs = recording.read("runs", path)
    assert len(runs) == 2 and np.array_equal(runs[1], 2 * x.T)
    for wrong, kind in (
        ("nope", Unsupported),
        ("runs{3}", InputError),
        ("s.none", InputError),
        ("X + 1", InputError),
    ):
        with pytest.raises(kind):
            recording.read(wrong, path)


def test_labels_come_back_as_words(tmp_path):
    path = tmp_path / "labels.mat"
    names = np.empty((3, 1), object)
    names[:, 0] = ["up", "down", "up"]
    savemat(path, {"labels": names})
    assert recording.read("labels", path) == [("up", "down", "up")]


def test_neither_file_nor_variable():
    with pytest.raises(InputError, match="neither a file nor a variable"):
        recording.read("X")
    with pytest.raises(InputError, match="no such file"):
        recording.read("missing.csv")


def test_orientation_follows_from_the_number_of_features(x):
    for given in (x, x.T):
        assert np.array_equal(recording.orient(given, 3), x)
    assert np.array_equal(recording.orient(x[:, 0], 1), x[:, :1])
    assert np.array_equal(recording.orient(x[0], 3), x[:1])


def test_orientation_is_not_guessed(rng):
    square = rng.normal(size=(3, 3))
    with pytest.raises(Ambiguous, match="both orientations fit"):
        recording.orient(square, 3)
    said = recording.orient(square, 3, "features-time")
    assert np.array_equal(said, square.T)
    with pytest.raises(InputError, match="does not fit"):
        recording.orient(rng.normal(size=(4, 5)), 3)


def test_the_number_of_steps_settles_it(rng):
    y = rng.normal(size=(3, 5))
    assert np.array_equal(recording.orient(y, 5, steps=3), y)
    with pytest.raises(InputError, match="does not fit"):
        recording.orient(y, 5, steps=4)
    with pytest.raises(InputError, match="does not fit"):
        recording.orient(y, 5, "features-time")


def test_images_come_in_the_order_of_matlab(rng):
    film = rng.normal(size=(6, 4, 3, 2))  # time, height, width, channels
    shape = Shape(True, (4, 3), 2)
    assert np.array_equal(recording.arrange(film, shape), film)
    matlab = np.moveaxis(film, 0, -1)
    assert np.array_equal(recording.arrange(matlab, shape), film)
    with pytest.raises(InputError, match="does not fit"):
        recording.arrange(film[:, :, :, :1], shape)


def test_rows_and_labels_for_several_sequences(rng):
    y = rng.normal(size=(4, 2))
    assert np.array_equal(recording.rows(y, 4)[3], y[3])
    with pytest.raises(InputError):
        recording.rows(y, 3)
    assert recording.per_sequence(("a", "b"), 2) == ["a", "b"]
    assert recording.per_sequence(("a", "b"), 1) == [("a", "b")]
    with pytest.raises(InputError):
        recording.per_sequence(("a", "b"), 3)
