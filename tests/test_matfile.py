"""MAT files decode to what scipy and mat-io, which share no code with it, read."""

import warnings
from pathlib import Path

import h5py
import matbytes as mb
import matio_oracle as oracle
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from matio_oracle import EmptyMatStruct, MatlabObject
from scipy.io.matlab import MatlabFunction

from jlstm.errors import DamagedFile, Unsupported
from jlstm.formats.matfile import Cell, MatFile, MatObject, Undecodable, need

MATLAB_FILES = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
"""Files that MATLAB 4.2 to 8 wrote, on machines of both byte orders."""
REFUSED = {
    "bad_miuint32.mat",
    "corrupted_zlib_checksum.mat",
    "corrupted_zlib_data.mat",
    "debigged_m4.mat",
    "malformed1.mat",
}
BEYOND_SCIPY = {"bad_miutf8_array_name.mat", "testhdf5_7.4_GLNX86.mat"}
NETS = [
    "compressor/TrainedModel.mat", "compressor/ValidationFeatures.mat",
    "compressor/ValidationResults.mat", "dangling/gpu_handles_lost.mat",
    "ecg/net.mat", "eeg/LSTM0.1.2.mat", "fenn/LSTM.mat", "fenn/Varicella-Region.mat",
    "har/BILSTM.mat", "jv/biLSTM.mat", "ph/gru_training_data_simple.mat",
    "ph/lstm3_extracted_parameters.mat", "pipe/LSTM.mat", "story/net_story.mat",
    "tracking/gru_x1.mat", "tracking/relu_x2.mat", "traffic/trainedNetwork_v73.mat",
    "untrained/layers_1.mat",
]  # fmt: skip


def matlab_files():
    names = sorted(path.name for path in MATLAB_FILES.glob("*.mat"))
    return [n for n in names if n not in REFUSED | BEYOND_SCIPY]


def scipy_reads(path) -> dict:
    """The variables of a file as scipy reads them, in the classes that MATLAB knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Asked for MATLAB's classes, scipy forgets imaginary parts.
        typed, stored = (scipy.io.loadmat(path, mat_dtype=m) for m in (True, False))
    return {n: joined(v, stored[n]) for n, v in typed.items() if not n.startswith("__")}


def joined(typed, stored):
    if isinstance(stored, MatlabFunction) or not isinstance(stored, np.ndarray):
        return typed
    if not stored.dtype.hasobject:
        return stored if stored.dtype.kind == "c" else typed
    for at in np.ndindex(stored.shape):
        if not stored.dtype.names:
            typed[at] = joined(typed[at], stored[at])
        for name in stored.dtype.names or ():
            typed[at][name] = joined(typed[at][name], stored[at][name])
    return typed


def same(ours, theirs) -> bool:
    """Whether a value is what scipy.io.loadmat returned for it."""
    if scipy.sparse.issparse(theirs):
        return ours.class_name == "sparse"
    if isinstance(theirs, MatlabFunction):
        return ours.class_name == "function_handle"
    if isinstance(theirs, scipy.io.matlab.MatlabObject):
        fields = np.asarray(theirs).ravel()[0]
        return ours.class_name == theirs.classname and same_fields(ours.values, fields)
    if theirs.dtype.names:
        rows = theirs.ravel(order="F")
        if rows.size == 1:
            return same_fields(ours, rows[0])
        same_shape = (ours.shape, len(ours)) == (theirs.shape, rows.size)
        return same_shape and all(map(same_fields, ours, rows))
    if theirs.dtype.hasobject:
        if theirs.size == 0 or isinstance(ours, dict):
            return len(ours) == 0
        same_shape = (ours.shape, len(ours)) == (theirs.shape, theirs.size)
        return same_shape and all(map(same, ours, theirs.ravel(order="F")))
    if theirs.dtype.kind == "U":
        return ([ours] if isinstance(ours, str) else ours) == (theirs.tolist() or [""])
    native = theirs.dtype.newbyteorder("=")
    return ours.dtype == native and ours.shape == theirs.shape and bool(
        np.array_equal(ours, theirs, equal_nan=native.kind in "fc")
    )  # fmt: skip


def same_fields(ours, theirs) -> bool:
    names = theirs.dtype.names
    return set(ours) == set(names) and all(same(ours[n], theirs[n]) for n in names)


@pytest.mark.parametrize("name", matlab_files())
def test_files_of_old_releases_as_scipy_reads_them(name):
    theirs = scipy_reads(MATLAB_FILES / name)
    file = MatFile(MATLAB_FILES / name)
    assert file.names == list(theirs)
    for variable, value in theirs.items():
        assert same(file[variable], value), f"{file[variable]!r} instead of {value!r}"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_damaged_files_that_scipy_refuses(name):
    if not (MATLAB_FILES / name).exists():
        pytest.skip("scipy was installed without its tests")
    with warnings.catch_warnings(), pytest.raises(Exception):  # noqa: B017
        warnings.simplefilter("ignore")
        scipy.io.loadmat(MATLAB_FILES / name)
    with pytest.raises(DamagedFile, match=name):
        list(MatFile(MATLAB_FILES / name).items())


def values(rng):
    """Plain values of every class, as a Python user saves them."""
    numbers = {
        f"n_{dtype}": (100 * rng.random((3, 2))).astype(dtype)
        for dtype in ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    }
    return numbers | {
        "cube": rng.normal(size=(2, 3, 4)),
        "complex": rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)),
        "infinite": np.array([[np.inf - 1j * np.inf, np.nan + 1j]]),
        "flags": rng.random((3, 3)) > 0.5,
        "denormal": np.array([[5e-324, -1.2e-310]]),
        "empty": np.zeros((0, 3)),
        "text": "grüße 中文 \U0001f600",
        "rows": np.array(["abc", "de "]),
        "sparse": scipy.sparse.csc_array(np.eye(3)),
        "cell": np.array([np.eye(2), "x", None], dtype=object)[:2].reshape(1, 2),
        "record": {"a": 1.5, "inner": {"b": "text", "c": np.arange(6.0).reshape(2, 3)}},
    }


@pytest.mark.parametrize("version", ["4", "5", "5 compressed"])
def test_values_that_scipy_wrote(version, rng, tmp_path):
    saved = values(rng)
    if version == "4":
        short = ("n_f8", "n_f4", "n_i2", "n_i4", "n_u1", "n_u2", "complex", "denormal")
        saved = {name: saved[name] for name in (*short, "sparse", "empty")}
        saved["text"], saved["rows"] = "plain text", np.array(["abc", "de "])
    path = tmp_path / "a.mat"
    packed = version.endswith("compressed")
    scipy.io.savemat(path, saved, format=version[0], do_compression=packed)
    theirs = scipy_reads(path)
    file = MatFile(path)
    assert file.names == list(saved)
    for name in saved:
        assert same(file[name], theirs[name]), name
    for name in {"n_f8", "n_f4", "complex", "denormal"}:
        assert file[name].tobytes() == saved[name].astype(file[name].dtype).tobytes()


def test_big_endian_version_4(tmp_path):
    value = np.arange(6.0).reshape(2, 3)
    head = np.array([1000, 2, 3, 0, 2], ">i4").tobytes()
    path = tmp_path / "a.mat"
    path.write_bytes(head + b"x\0" + value.astype(">f8").tobytes(order="F"))
    np.testing.assert_array_equal(MatFile(path)["x"], value)
    np.testing.assert_array_equal(scipy.io.loadmat(path)["x"], value)


@pytest.mark.parametrize("name", NETS)
def test_variables_of_real_files_as_mat_io_reads_them(name, nets):
    theirs = oracle.read(nets / name)
    file = MatFile(nets / name)
    assert sorted(file.names) == sorted(theirs)
    for variable in file.names:
        assert oracle.agrees(file[variable], theirs[variable]), variable


@pytest.mark.parametrize("name", ["pipe/LSTM.mat", "har/BILSTM.mat", "ecg/net.mat"])
def test_version_73_of_a_file_says_the_same(name, nets, tmp_path):
    theirs = oracle.read(nets / name)
    file = MatFile(oracle.to_v73(nets / name, tmp_path / "a.mat"))
    for variable in file.names:
        assert oracle.agrees(file[variable], theirs[variable]), variable


def test_values_in_version_73(rng, tmp_path):
    saved = values(rng)
    extra = np.empty((2, 2), object)
    extra[:] = [[np.eye(2), "x"], [np.zeros((0, 0)), np.array([[True]])]]
    saved |= {
        "cells": extra,
        "pockets": {"left": extra, "right": extra[:1]},
        "records": np.array([[(1.0, "a"), (2.0, "b")]], [("p", "O"), ("q", "O")]),
        "nothing": EmptyMatStruct(np.empty((0, 0), object)),
        "old": MatlabObject(np.array([[(1.0,)]], [("p", "O")]), "inline"),
    }
    path = oracle.save(tmp_path / "a.mat", saved, "v7.3")
    theirs = oracle.read(path)
    file = MatFile(path)
    assert sorted(file.names) == sorted(saved)
    for name in saved:
        if name not in ("infinite", "text", "rows"):
            assert oracle.agrees(file[name], theirs[name]), name
    # mat-io computes 1j * inf, and forgets where rows of text end.
    assert file["infinite"].tobytes() == saved["infinite"].tobytes()
    assert file["text"] == saved["text"]
    assert file["rows"] == ["abc", "de "]


def test_version_73_of_matlab_itself():
    path = MATLAB_FILES / "testhdf5_7.4_GLNX86.mat"
    if not path.exists():
        pytest.skip("scipy was installed without its tests")
    with h5py.File(path) as file:
        expected = np.asarray(file["testdouble"]).T
    np.testing.assert_array_equal(MatFile(path)["testdouble"], expected)


@pytest.mark.parametrize("kind", [1, 2, 4, 16, 17, 18])
def test_text_in_every_encoding_of_the_format(kind, tmp_path):
    text = {1: "plain", 2: "plain", 18: "grüße 中文"}.get(kind, "grüße 中文 \U0001f600")
    codec = {1: "ascii", 2: "ascii", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le",
             18: "utf-32-le"}[kind]  # fmt: skip
    units = len(text.encode("utf-16-le")) // 2
    element = mb.array(mb.CHAR, (1, units), mb.sub(kind, text.encode(codec)), name="x")
    assert MatFile(mb.write(tmp_path / "a.mat", element))["x"] == text


def test_an_array_left_out_is_empty(tmp_path):
    # MATLAB writes cell(1, 2) with elements of no bytes at all.
    path = mb.write(tmp_path / "a.mat", mb.cell(mb.matrix(), mb.matrix(), name="x"))
    assert [item.shape for item in MatFile(path)["x"]] == [(0, 0), (0, 0)]


def test_objects_written_by_hand(tmp_path):
    objects = mb.tables(
        names=("Thing", "first", "second", "third", "pkg", "on"),
        classes=((5, 1),),
        objects=((1, 1), (1, 2)),
        properties=(
            ((2, 1, 0), (3, 2, 7), (4, 0, 6)),
            ((2, 1, 1),),
        ),
        values=(mb.numbers(np.arange(3.0)), mb.cell(mb.refer([1]), mb.refer([2]))),
        defaults=(mb.struct_({}), mb.struct_({"second": mb.numbers(-1.0)})),
    )
    pair = mb.opaque("pkg.Thing", mb.refer([1, 2], shape=(1, 2)), "pair")
    none = mb.opaque("pkg.Thing", mb.refer([], shape=(0, 0)), "none")
    lost = mb.opaque("pkg.Thing", mb.refer([0]), "lost")
    file = MatFile(mb.write(tmp_path / "a.mat", pair, none, lost, objects=objects))
    found = file["pair"]
    assert (found.shape, found.class_name) == ((1, 2), "pkg.Thing")
    first, second = found
    np.testing.assert_array_equal(first.values["first"], [[0.0, 1.0, 2.0]])
    assert first.values["second"].item() == 7
    assert first.values["third"] == "on"
    # The second object holds the first and itself; what it does not say is default.
    assert list(second.values["first"]) == [first, second]
    assert second.values["second"].item() == -1.0
    assert file["none"] == [] and file["none"].class_name == "pkg.Thing"
    assert file["lost"].lost


def test_a_lost_array_keeps_its_class(nets):
    layers = MatFile(nets / "dangling/gpu_handles_lost.mat")["net"].values["Layers"]
    value = layers[1].values["InputWeights"]["Value"]
    assert isinstance(value, MatObject) and value.lost
    assert value.class_name == "gpuArray"


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path, nets, monkeypatch):
    path = mb.write(
        tmp_path / "a.mat",
        mb.compressed(mb.numbers(np.eye(3), "a")),
        mb.compressed(mb.cell(name="b")),
        mb.text("t", "c"),
    )
    file = MatFile(path)
    asked = []
    read = file._source.read
    monkeypatch.setattr(file._source, "read", lambda n: asked.append(n) or read(n))
    assert [file.is_plain(name) for name in file.names] == [True, False, True]
    assert not asked
    assert file["b"] is file["b"] and asked == ["b"]
    assert file.created == "Thu Jan  1 00:00:00 1970"
    assert "a" in file and "z" not in file


def test_need_says_what_is_there(tmp_path):
    path = mb.write(
        tmp_path / "a.mat", mb.numbers(1.0, "a"), mb.array(99, (1, 1), name="b")
    )
    file = MatFile(path)
    assert need(file, "a").item() == 1.0
    with pytest.raises(Unsupported, match=r"no variable 'c'\n  expected: one of a, b"):
        need(file, "c")
    assert isinstance(file["b"], Undecodable)
    with pytest.raises(Unsupported, match=r"found: +an array of unknown class 99"):
        need(file, "b")


def test_cells_know_their_shape(tmp_path):
    items = [mb.numbers(float(k)) for k in range(6)]
    path = mb.write(tmp_path / "a.mat", mb.cell(*items, name="x", shape=(2, 3)))
    found = MatFile(path)["x"]
    assert isinstance(found, Cell) and found.shape == (2, 3)
    assert [item.item() for item in found] == [0, 1, 2, 3, 4, 5]
