"""The native file: bit for bit, whole or not at all, and closed to everything else."""

from __future__ import annotations

import copy
import errno
import json
import os
import stat
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from networks import assert_identical, normal, rich, small

from jlstm import layers as L
from jlstm.errors import DamagedFile, InputError, JlstmError, Unsupported
from jlstm.formats import matlab, native
from jlstm.golden import Golden
from jlstm.network import Network, predict
from jlstm.pytree import pytree, static


def same_bits(net: Network, path: Path) -> None:
    native.save(net, path)
    assert_identical(net, native.load(path)[0])


# --- bit for bit ----------------------------------------------------------------------

STRANGE_SINGLE = np.array(
    [1, 0x007FFFFF, 0x80000001, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00001,
     0x7F800001, 0xFFFFFFFF, 0x3F800001],
    np.uint32,
).view(np.float32)  # fmt: skip
"""Denormals, -0.0, infinities, quiet and signalling NaN with payloads."""
STRANGE_DOUBLE = np.array(
    [1, 0x000FFFFFFFFFFFFF, 0x8000000000000000, 0x7FF0000000000001,
     0xFFF8DEADBEEF0001, 0x3FF0000000000001],
    np.uint64,
).view(np.float64)  # fmt: skip


@pytest.mark.parametrize("strange", [STRANGE_SINGLE, STRANGE_DOUBLE])
def test_strange_numbers_survive(strange, rng, tmp_path):
    def fill(leaf):
        return rng.choice(strange, leaf.shape)

    net = jax.tree.map(fill, small(rng))
    assert net.dtype == strange.dtype
    net = net.replace(saved=jax.tree.map(fill, net.initial))
    same_bits(net, tmp_path / "net.safetensors")


def test_every_kind_of_part_survives(rng, tmp_path):
    net = rich(rng)
    same_bits(net, tmp_path / "net.safetensors")
    loaded = native.load(tmp_path / "net.safetensors")[0]
    assert list(loaded.layers) == list(net.layers)
    assert loaded.factors == net.factors and loaded.origin == net.origin
    assert loaded.outputs == net.outputs and loaded.saved is not None


@pytest.mark.parametrize("dtype", ["float64", "float16", ml_dtypes.bfloat16])
def test_every_precision_survives(dtype, rng, tmp_path):
    same_bits(rich(rng).astype(dtype), tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    "file", ["jv/LSTM.mat", "ph/lstm3_net.mat", "traffic/trainedNetwork_v73.mat"]
)
def test_a_network_of_matlab_survives(file, nets, tmp_path):
    variables = {entry["file"]: entry for entry in _manifest(nets)}
    net = matlab.load(nets / file, variable=variables[file]["variable"])
    same_bits(net, tmp_path / "net.safetensors")
    leaves = map(np.abs, jax.tree.leaves(net))
    tiny = sum(np.sum((a > 0) & (a < np.finfo("f4").tiny)) for a in leaves)
    assert tiny > 0 or file.startswith("traffic")


def _manifest(nets: Path) -> list[dict]:
    return json.loads((nets / "manifest.json").read_text())["files"]


def test_predictions_survive(rng, tmp_path):
    net, x = rich(rng).astype("float32"), rng.normal(size=(7, 3))
    native.save(net, tmp_path / "net.safetensors")
    loaded = native.load(tmp_path / "net.safetensors")[0]
    assert_identical(predict(net, x, trace=True), predict(loaded, x, trace=True))


def test_arrays_of_any_make(rng, tmp_path):
    """On a device, transposed, of the other byte order: the numbers count."""
    net, w, path = small(rng), normal(rng, 2, 3), tmp_path / "net.safetensors"
    same: Any
    for same in (jnp.asarray(w), np.asfortranarray(w), w.astype(">f4"), w[:, ::-1]):
        dense = L.FullyConnected(same, normal(rng, 2))
        native.save(net.replace(layers=net.layers | {"fc": dense}), path)
        loaded: Any = native.load(path)[0].layers["fc"]
        np.testing.assert_array_equal(loaded.weights, np.asarray(same))


def test_a_saved_state_of_minus_zero_is_kept(rng, tmp_path):
    net = small(rng)
    net = net.replace(saved=jax.tree.map(lambda leaf: -leaf, net.initial))
    same_bits(net, tmp_path / "net.safetensors")


# --- readable by others ---------------------------------------------------------------


def test_tensors_are_named_by_key_path(rng, tmp_path):
    net, path = rich(rng), tmp_path / "net.safetensors"
    native.save(net, path)
    tensors = safetensors.numpy.load_file(path)
    leaves = jax.tree_util.tree_leaves_with_path(net)
    assert set(tensors) == {jax.tree_util.keystr(key) for key, _ in leaves}
    assert ".layers['both'].forward.r.bias" in tensors
    for key, leaf in leaves:
        np.testing.assert_array_equal(tensors[jax.tree_util.keystr(key)], leaf)


def test_metadata_names_the_writer(rng, tmp_path):
    native.save(small(rng), tmp_path / "net.safetensors")
    with safetensors.safe_open(tmp_path / "net.safetensors", "np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "jlstm" and metadata["format_version"] == "1"
    assert metadata["jax"] == jax.__version__
    fields = json.loads(metadata["structure"])["fields"]
    assert fields["layers"]["dict"]["lstm"]["class"] == "LSTM"


def test_equal_networks_give_equal_files(rng, tmp_path):
    net = rich(rng)
    for name in "ab":
        native.save(net, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_recognises(rng, tmp_path):
    native.save(small(rng), tmp_path / "net")
    safetensors.numpy.save_file({"w": np.ones(3)}, tmp_path / "other")
    (tmp_path / "noise").write_bytes(b"noise" * 9)
    known = [native.recognises(tmp_path / n) for n in ("net", "other", "noise", "none")]
    assert known == [True, False, False, False]


def test_golden_vectors(rng, tmp_path):
    net, path = small(rng), tmp_path / "net.safetensors"
    native.save(net, path)
    assert native.load(path)[1] == []
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    golden = Golden((x,), (y,), {"lstm": rng.normal(size=(5, 3))}, "R2024a", "saved")
    native.save(net, path, [golden])
    assert_identical(native.load(path)[0], net)
    (loaded,) = native.load(path)[1]
    assert_identical(loaded, golden)
    assert loaded is not None and loaded.note == "R2024a" and loaded.start == "saved"


# --- whole or not at all --------------------------------------------------------------


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failed_write_leaves_everything_as_it_was(call, rng, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    native.save(small(rng), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match="cannot be written") as error:
        native.save(small(rng), path)
    assert error.value.found == "No space left on device"
    assert error.value.file == str(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_killed_while_writing(tmp_path):
    """The process dies after half of the bytes: the old file is still the old file."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    code = (
        "import os, signal, sys; from jlstm.formats import native\n"
        "os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)\n"
        "native.write_whole(sys.argv[1], bytes(1_000_000))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], timeout=120, check=False)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    # What it leaves is found again, and nothing else is taken for it.
    others = [path, tmp_path / ".0123.tmp", tmp_path / "0123456789abcdef.tmp"]
    for other in others[1:]:
        other.write_bytes(b"mine")
    assert len(list(tmp_path.iterdir())) == 4
    native.remove_parts(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    native.remove_parts(tmp_path / "none")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "writable"),
        (errno.EACCES, "writable"),
        (errno.ENOENT, "make the folder"),
        (errno.EIO, "another place"),
    ],
)
def test_a_disk_that_takes_nothing_says_what_to_do(
    number, advice, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    # A file system that is read-only refuses to remove what is not there, too.
    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="cannot be written") as error:
        native.write_whole(tmp_path / "net", b"new")
    assert error.value.found == os.strerror(number)
    assert advice in error.value.do


@pytest.mark.parametrize(("limit", "size"), [(500_000, 1_000_000), (10, 20)])
def test_a_limit_on_the_size_of_files(tmp_path, limit, size):
    """The system itself refuses, halfway through the bytes; few wait in a buffer."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "net"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot be written") as error:
            native.write_whole(path, bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (error.value.found, error.value.file) == ("File too large", str(path))
    assert "ulimit -f" in error.value.do
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_synced_holds_the_file(tmp_path, monkeypatch):
    sync = os.fsync

    def of_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files)
    native.write_whole(tmp_path / "net", b"new")
    assert (tmp_path / "net").read_bytes() == b"new"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/below"):
        with pytest.raises(InputError, match="cannot be written") as error:
            native.make_folder(tmp_path / name)
        assert error.value.file == str(tmp_path / name)
    native.make_folder(tmp_path / "new" / "below")
    native.make_folder(tmp_path / "new" / "below")
    assert (tmp_path / "new" / "below").is_dir()


def test_a_new_file_has_ordinary_permissions(rng, tmp_path):
    native.save(small(rng), tmp_path / "net")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "net").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_a_link(rng, tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    native.save(small(rng), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    real, link = (native.load(tmp_path / name)[0] for name in ("real", "link"))
    assert_identical(real, link)


@pytree
class Foreign(L.Layer):
    width: int = static()

    def shape(self, *inputs):
        return inputs[0]


@pytree
class Disguised(L.Layer):
    pass


Disguised.__name__ = "LSTM"


def test_what_cannot_be_loaded_again_is_not_written(rng, tmp_path):
    net = small(rng)
    odd: list[Any] = [1j * normal(rng, 2, 3), 1.0, "text"]
    layers = [copy.copy(net.layers["fc"]) for _ in odd]
    for layer, weights in zip(layers, odd, strict=True):
        object.__setattr__(layer, "weights", weights)
    for layer in (Foreign(3), Disguised(), *layers):
        bad = net.replace(layers=net.layers | {"fc": layer})
        with pytest.raises(Unsupported) as error:
            native.save(bad, tmp_path / "net")
        assert ".layers['fc']" in str(error.value) and str(tmp_path) in str(error.value)
    assert not list(tmp_path.iterdir())


# --- damage ---------------------------------------------------------------------------


@pytest.fixture
def saved(rng, tmp_path) -> Path:
    path = tmp_path / "net.safetensors"
    native.save(small(rng), path, [Golden((np.ones((1, 2)),), (np.ones((1, 2)),))])
    return path


def test_flipped_bits(saved, rng):
    """Every single bit is covered by a checksum: nothing else can come out."""
    whole = saved.read_bytes()
    places = rng.choice(8 * len(whole), 2000, replace=False)
    for place in [*range(64), *places]:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        saved.write_bytes(damaged)
        with pytest.raises(JlstmError) as error:
            native.load(saved)[0]
        assert error.value.file == str(saved)
        assert isinstance(error.value, DamagedFile | Unsupported)


def test_scrambled_bytes(saved, rng):
    whole = saved.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        start, count = rng.integers(len(whole)), rng.integers(1, 40)
        damaged[start : start + count] = rng.bytes(count)
        saved.write_bytes(damaged)
        if damaged != whole:
            with pytest.raises(JlstmError):
                native.load(saved)[0]


def test_truncated(saved):
    whole = saved.read_bytes()
    for length in [*range(0, 300), *range(300, len(whole), 37), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(DamagedFile):
            native.load(saved)[0]
    saved.write_bytes(whole + b"\0")
    with pytest.raises(DamagedFile):
        native.load(saved)[0]


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 90_000_000) + b"{}",
        '{"a":{"dtype":"F64","shape":[1099511627776],"data_offsets":[0,8796093022208]}}',
        '{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"U8","shape":[' + "1," * 50_000 + '1],"data_offsets":[0,1]}}',
        "[" * 100_000,
    ],
)
def test_enormous_claims_fail_fast(header, tmp_path):
    path = tmp_path / "net.safetensors"
    if isinstance(header, str):
        header = struct.pack("<Q", len(header)) + header.encode()
    path.write_bytes(header + b"\0")
    tracemalloc.start()
    begin = time.perf_counter()
    with pytest.raises(JlstmError):
        native.load(path)[0]
    assert time.perf_counter() - begin < 2
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        native.load(tmp_path / "none")[0]
