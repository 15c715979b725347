"""Truncated, altered, renamed files: an error, never a crash, never another network.

Where a file has checksums, every change is found or has no effect. Without them (files
of `save -v6`, and what HDF5 does not compress) a changed weight is a weight like any
other: there the network may differ, but nothing else may happen.
"""

import os
import re
import struct
import zipfile
import zlib

import h5py
import matbytes as mb
import matio_oracle as oracle
import numpy as np
import pytest
from matdamage import cuts, fingerprint, flips, in_another_process, outcomes

from jlstm import formats
from jlstm.errors import Ambiguous, DamagedFile, JlstmError, Unsupported
from jlstm.formats import matlab
from jlstm.formats.matfile import MatFile

COMPRESSED = ["pipe/LSTM.mat", "ecg/net.mat", "har/BILSTM.mat", "tracking/gru_x1.mat"]
ERRORS = {"DamagedFile", "Unsupported", "InputError"}


@pytest.mark.parametrize("mode", ["bit", "byte", "several"])
@pytest.mark.parametrize("name", COMPRESSED)
def test_a_changed_compressed_file_is_the_same_network_or_none(
    name, mode, nets, tmp_path
):
    copies = flips((nets / name).read_bytes(), mode, 300)
    found = outcomes(nets / name, copies, tmp_path / "a.mat")
    assert set(found) <= {"same"} | ERRORS
    assert found["DamagedFile"] > 250


@pytest.mark.parametrize("mode", ["bit", "byte", "word", "several"])
@pytest.mark.parametrize("name", ["pipe/LSTM.mat", "ecg/net.mat"])
def test_a_changed_file_without_checksums_does_not_crash(name, mode, nets, tmp_path):
    plain = mb.uncompressed((nets / name).read_bytes())
    (tmp_path / "plain.mat").write_bytes(plain)
    undamaged = fingerprint(matlab.load(nets / name))
    assert fingerprint(matlab.load(tmp_path / "plain.mat")) == undamaged
    copies = flips(plain, mode, 300)
    found = outcomes(tmp_path / "plain.mat", copies, tmp_path / "a.mat")
    assert set(found) <= {"same", "different"} | ERRORS
    assert found["DamagedFile"] > 60


@pytest.mark.parametrize("name", ["pipe/LSTM.mat", "ecg/net.mat"])
def test_a_file_that_ends_early(name, nets, tmp_path):
    whole = (nets / name).read_bytes()
    plain = mb.uncompressed(whole)
    (tmp_path / "plain.mat").write_bytes(plain)
    for copies in (cuts(whole, 7), cuts(plain, 61)):
        found = outcomes(nets / name, copies, tmp_path / "a.mat")
        # Of a file that ends with its header, only the list of variables is missing.
        assert set(found) <= {"DamagedFile", "Unsupported"}
        assert found.get("Unsupported", 0) <= 1


def test_changed_and_cut_hdf5_files(nets, tmp_path):
    # The HDF5 library is not ours: it may end the process, so it gets its own.
    path = str(oracle.to_v73(nets / "pipe/LSTM.mat", tmp_path / "net.mat"))
    jobs = [["flips", path, mode, 150] for mode in ("bit", "byte", "word", "several")]
    jobs += [["cuts", path, 997]]
    for job, found in zip(jobs, in_another_process(jobs), strict=True):
        assert set(found["result"]) <= {"same", "different"} | ERRORS, job
        assert found["result"]["DamagedFile"] > 10, job
        assert found["peak_mb"] < 600, job
        if job[0] == "cuts":
            assert set(found["result"]) == {"DamagedFile"}


def test_version_73_of_a_file_is_the_same_network(nets, tmp_path):
    for name in COMPRESSED[:3]:
        path = oracle.to_v73(nets / name, tmp_path / "a.mat")
        undamaged = fingerprint(matlab.load(nets / name))
        assert fingerprint(matlab.load(path)) == undamaged


def test_damage_cannot_hide_one_network_and_leave_another(nets, tmp_path):
    pipe, ecg = (oracle.read(nets / name)["net"] for name in COMPRESSED[:2])
    path = oracle.save(tmp_path / "both.mat", {"net": pipe, "other": ecg}, "v7")
    data = path.read_bytes()
    with pytest.raises(Ambiguous):
        matlab.load(path)
    (_, _, first), (at, _, second), *_ = mb.elements(data)
    assert len(first) < 300 and len(second) < 300
    for place in range(at, at + 8 + len(second)):
        for bit in range(8):
            copy = bytearray(data)
            copy[place] ^= 1 << bit
            path.write_bytes(copy)
            with pytest.raises(JlstmError):
                matlab.load(path)


@pytest.mark.parametrize("kind", [mb.CHAR, mb.DOUBLE, mb.UINT8, mb.UINT32])
def test_a_changed_class_cannot_hide_what_is_inside(kind, tmp_path):
    # Numbers and text are not decoded in the search for networks.
    one = mb.numbers(np.array([[1]], np.int32))
    for variable in (mb.cell(one, name="x"), mb.struct_({"a": one}, name="x")):
        changed = bytearray(variable)
        assert changed[16] in (mb.CELL, mb.STRUCT)
        changed[16] = kind
        with pytest.raises(DamagedFile, match="element at byte 128: a variable is dam"):
            MatFile(mb.write(tmp_path / "a.mat", bytes(changed)))


def test_damage_beside_a_network_does_not_stop_it(nets, tmp_path):
    data = (nets / "pipe/LSTM.mat").read_bytes()
    numbers = mb.compressed(mb.numbers(np.random.default_rng(1).normal(size=9999), "b"))
    damaged = bytearray(mb.insert(data, numbers))
    damaged[damaged.index(numbers) + len(numbers) // 2] ^= 1
    path = tmp_path / "a.mat"
    path.write_bytes(damaged)
    undamaged = fingerprint(matlab.load(nets / "pipe/LSTM.mat"))
    assert fingerprint(matlab.load(path)) == undamaged
    with pytest.raises(DamagedFile, match="b: a compressed variable is damaged"):
        MatFile(path)["b"]


def test_a_stream_that_matlab_left_without_checksum(tmp_path):
    # Where the data fill a buffer of 4 kB exactly, there is a flush and then nothing.
    packer = zlib.compressobj()
    element = mb.numbers(np.arange(1000.0), "x")
    stream = packer.compress(element) + packer.flush(zlib.Z_SYNC_FLUSH)

    def read(data):
        path = mb.write(tmp_path / "a.mat", struct.pack("<II", 15, len(data)) + data)
        return MatFile(path)["x"]

    np.testing.assert_array_equal(read(stream), [np.arange(1000.0)])
    with pytest.raises(DamagedFile, match="x: a compressed variable is damaged"):
        read(stream[:-4])
    with pytest.raises(DamagedFile, match="x: the file ends too early"):
        read(stream[:-9])


def zip_file(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "text")


def hdf5_file(path):
    with h5py.File(path, "w") as file:
        file["x"] = np.eye(3)


def hdf5_behind_a_block(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = np.eye(3)


def version(number):
    return mb.header()[:124] + struct.pack("<H", number) + b"IM"


NOT_MAT = {
    "empty": (b"", "the file is empty"),
    "one byte": (b"M", "not a MAT file"),
    "one zero": (b"\0", "not a MAT file|ends too early"),
    "all zeros": (bytes(1000), "not a MAT file"),
    "text": (b"time,value\n0,1\n1,2\n" * 20, "found: +a file that starts with b'ti"),
    "web page": (b"<!DOCTYPE html><html>" + b" " * 500, "found: +a web page"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(500), "found: +a PNG image"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
    "octave": (b"# Created by Octave 7.3.0, Sat", "save -v7"),
    "zip": (zip_file, "found: +a zip archive"),
    "HDF5": (hdf5_file, "an HDF5 file, but not one that MATLAB saved"),
    "HDF5 with a block": (hdf5_behind_a_block, "an HDF5 file, but not one that MATLAB"),
    "cut header": (mb.header()[:100], "the header is damaged"),
    "byte order": (mb.header()[:126] + b"XX", "byte 126: the header is damaged"),
    "other version": (version(0x0300), "found: +0x0300\n +expected: 0x0100"),
    "no HDF5 behind": (version(0x0200) + bytes(900), "the HDF5 structure is damaged"),
    "no such element": (mb.header() + mb.sub(9, bytes(8)), "element of type 9\n +exp"),
    "no objects": (mb.header(500), "header, byte 116: the header points at objects"),
    "v4 that is cut": (struct.pack("<5i", 0, 5, 5, 0, 2) + b"x\0", "ends too early"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_MAT)
def test_something_else_renamed(what, tmp_path):
    path = tmp_path / "net.mat"
    content, words = NOT_MAT[what]
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    with pytest.raises(DamagedFile, match=words) as caught:
        matlab.load(path)
    assert str(caught.value).startswith(str(path))
    assert caught.value.found or caught.value.expected


def test_a_header_and_nothing_else(tmp_path):
    with pytest.raises(Unsupported, match=r"no trained network found\n.*no variables"):
        matlab.load(mb.write(tmp_path / "a.mat"))


def test_two_variables_of_the_same_name(tmp_path):
    path = mb.write(tmp_path / "a.mat", mb.numbers(1.0, "a"), mb.numbers(2.0, "a"))
    with pytest.raises(
        DamagedFile, match=r"two variables of the same name\n +found: +a"
    ):
        MatFile(path)


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(
        DamagedFile, match=r"gone\.mat: cannot be opened\n.*No such file"
    ):
        MatFile(tmp_path / "gone.mat")
    with pytest.raises(DamagedFile, match="not a file"):
        MatFile(tmp_path)
    os.mkfifo(tmp_path / "pipe.mat")
    for read in (MatFile, formats.read):
        with pytest.raises(DamagedFile, match="not a file"):
            read(tmp_path / "pipe.mat")
    if os.geteuid():  # root may read everything
        path = mb.write(tmp_path / "a.mat")
        path.chmod(0)
        with pytest.raises(DamagedFile, match="Permission denied"):
            MatFile(path)


def test_a_file_that_shrinks_after_it_was_opened(tmp_path):
    path = mb.write(tmp_path / "a.mat", mb.compressed(mb.numbers(np.eye(50), "x")))
    file = MatFile(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedFile, match="x: the file ends too early"):
        file["x"]


def test_asking_again_says_the_same(tmp_path):
    # Once for damaged tables, once for a damaged value inside an object.
    things = [mb.opaque("Thing", mb.refer([1]), name) for name in ("x", "y")]
    one, broken = mb.numbers(1.0), mb.array(mb.CELL, (1, 1))
    for objects in (
        mb.tables(offsets=[0] * 8),
        mb.tables(values=(mb.cell(one, broken),)),
    ):
        file = MatFile(mb.write(tmp_path / "a.mat", *things, objects=objects))
        for name in ("x", "y", "x"):
            with pytest.raises(
                DamagedFile, match=rf"a\.mat: {name}: [a-z ']+ damaged\n"
            ):
                file[name]


def test_an_error_says_where_what_and_why(nets, tmp_path):
    data = bytearray((nets / "pipe/LSTM.mat").read_bytes())
    at, _, body = mb.elements(bytes(data))[1]
    data[at + 8 + len(body) // 2] ^= 16
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    with pytest.raises(DamagedFile) as caught:
        matlab.load(path)
    text = str(caught.value)
    assert re.match(rf"{re.escape(str(path))}: net: a compressed variable is dam", text)
    assert "\n  found:    " in text
    assert "\n  do:       copy or download the file again" in text
