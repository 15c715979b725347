"""The native file: bit for bit, whole or not at all, and closed to everything else."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import layer_cases
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from jlstm import layers as L
from jlstm.errors import DamagedFile, JlstmError, Unsupported
from jlstm.formats import matlab, native, structure
from jlstm.golden import Golden
from jlstm.network import Factors, Network, Node, Origin, predict
from jlstm.pytree import pytree, static
from jlstm.recurrent import GRU, LSTM, Bidirectional, Gate, LSTMState, Peephole

Rng = np.random.Generator


def gate(rng: Rng, hidden: int, features: int, *extra: int) -> Gate:
    shapes = [(hidden, features), (hidden, extra[0] if extra else hidden), (hidden,)]
    return Gate(*(rng.normal(size=shape).astype("f4") for shape in shapes))


def lstm(rng: Rng, hidden: int, features: int, **settings: Any) -> LSTM:
    return LSTM(*(gate(rng, hidden, features) for _ in range(4)), **settings)


def gru(rng: Rng, hidden: int, features: int, **settings: Any) -> GRU:
    return GRU(*(gate(rng, hidden, features) for _ in range(3)), **settings)


def small(rng: Rng) -> Network:
    """One LSTM of 2 inputs and 3 units, and what follows."""
    dense = L.FullyConnected(gate(rng, 2, 3).input_weights, np.zeros(2, "f4"))
    return Network.build({"in": L.Input((2,)), "lstm": lstm(rng, 3, 2), "fc": dense})


def rich(rng: Rng) -> Network:
    """A graph with every kind of parameter, state and annotation."""
    vector = rng.normal(size=5).astype("f4")
    biased = [
        Gate(*(rng.normal(size=s) for s in ((4, 3), (4, 4), (4,))), vector[:4])
        for _ in range(3)
    ]
    layers: dict[str, L.Layer] = {
        "in": L.Input((3,), normalization="zscore", mean=vector[:3], std=vector[2:]),
        "it's": lstm(
            rng, 5, 3, peephole=Peephole(vector, vector, vector), output_mode="sequence"
        ),
        'a "b"': LSTM(
            *(gate(rng, 4, 2, 3) for _ in range(4)),
            input_projector=rng.normal(size=(3, 2)).astype("f4"),
            output_projector=rng.normal(size=(4, 3)).astype("f4"),
            gate_activation="hard-sigmoid",
        ),
        "grü": GRU(*biased, reset_mode="recurrent-bias-after-multiplication"),
        "both": Bidirectional(gru(rng, 2, 5), gru(rng, 2, 5)),
        "join": L.Concatenation(),
        "relu": L.Activation("leaky-relu", (0.3,)),
    }
    graph = [
        Node("in", ()), Node("it's", ("in",)), Node('a "b"', ("in",)),
        Node("grü", ("in",)), Node("both", ("it's",)),
        Node("join", ("both", 'a "b"')), Node("relu", ("join",)),
    ]  # fmt: skip
    state = LSTMState(rng.normal(size=5), rng.normal(size=5))
    zero = {name: layers[name].init_state() for name in ('a "b"', "grü", "both")}  # type: ignore[attr-defined]
    return Network.build(
        layers,
        graph,
        initial={"it's": LSTMState(vector, -vector)},
        saved={"it's": state} | zero,
        factors=[Factors(".layers['it\\'s'].f.bias", 0.1 + 0.2, math.inf)],
        origin=Origin("matlab", "n.mat", "net", "dlnetwork", (("a", "b"),), ("é\n",)),
    )


def assert_identical(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    left, right = map(jax.tree_util.tree_leaves_with_path, (a, b))
    for (path, x), (_, y) in zip(left, right, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype), path
        assert x.tobytes() == y.tobytes(), path


def same_bits(net: Network, path: Path) -> None:
    native.save(net, path)
    assert_identical(net, native.load(path))


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
    loaded = native.load(tmp_path / "net.safetensors")
    assert list(loaded.layers) == list(net.layers)
    assert loaded.factors == net.factors and loaded.origin == net.origin
    assert loaded.outputs == net.outputs and loaded.saved is not None


@pytest.mark.parametrize("dtype", ["float64", "float16", ml_dtypes.bfloat16])
def test_every_precision_survives(dtype, rng, tmp_path):
    same_bits(rich(rng).astype(dtype), tmp_path / "net.safetensors")


@pytest.mark.parametrize("case", layer_cases.CASES, ids=lambda case: case.name)
def test_every_layer_survives(case):
    tensors: dict[str, np.ndarray] = {}
    text = json.dumps(structure.encode(case.layer(), "", tensors))
    used: set[str] = set()
    assert_identical(case.layer(), structure.decode(json.loads(text), tensors, used))
    assert used == set(tensors)


def test_every_layer_class_is_known():
    defined = {
        name
        for name, value in vars(L).items()
        if isinstance(value, type) and value is not L.Layer
    }
    assert defined | {"LSTM", "GRU", "Bidirectional"} <= set(structure.classes())


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
    loaded = native.load(tmp_path / "net.safetensors")
    assert_identical(predict(net, x, trace=True), predict(loaded, x, trace=True))


def test_arrays_of_any_make(rng, tmp_path):
    """On a device, transposed, of the other byte order: the numbers count."""
    net = small(rng)
    w = np.asarray(net.layers["fc"].weights)
    for same in (jnp.asarray(w), np.asfortranarray(w), w.astype(">f4"), w[::1, ::-1]):
        dense = L.FullyConnected(same, np.zeros(2, "f4"))
        path = tmp_path / "net.safetensors"
        native.save(net.replace(layers=net.layers | {"fc": dense}), path)
        np.testing.assert_array_equal(
            native.load(path).layers["fc"].weights, np.asarray(same)
        )


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
    assert native.golden(path) is None
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    golden = Golden((x,), (y,), {"lstm": rng.normal(size=(5, 3))}, "R2024a", "saved")
    native.save(net, path, golden)
    assert_identical(native.load(path), net)
    assert_identical(native.golden(path), golden)
    assert native.golden(path).note == "R2024a"


# --- whole or not at all --------------------------------------------------------------


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failed_write_leaves_everything_as_it_was(call, rng, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    native.save(small(rng), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space"):
        native.save(small(rng), path)
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


def test_a_new_file_has_ordinary_permissions(rng, tmp_path):
    native.save(small(rng), tmp_path / "net")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "net").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_a_link(rng, tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    native.save(small(rng), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_identical(native.load(tmp_path / "real"), native.load(tmp_path / "link"))


@pytree
class Foreign(L.Layer):
    width: int = static()

    def shape(self, *inputs):
        return inputs[0]


@pytree
class LSTMState2(L.Layer):
    pass


LSTMState2.__name__ = "LSTM"


def test_what_cannot_be_loaded_again_is_not_written(rng, tmp_path):
    net = small(rng)
    fc = L.FullyConnected(np.zeros((2, 3), "c8"), np.zeros(2, "f4"))
    for layer in (Foreign(3), LSTMState2(), fc, L.FullyConnected(1.0, 2.0)):  # type: ignore[arg-type]
        bad = net.replace(layers=net.layers | {"fc": layer})
        with pytest.raises(Unsupported) as error:
            native.save(bad, tmp_path / "net")
        assert ".layers['fc']" in str(error.value) and str(tmp_path) in str(error.value)
    assert not list(tmp_path.iterdir())


# --- damage ---------------------------------------------------------------------------


@pytest.fixture
def saved(rng, tmp_path) -> Path:
    path = tmp_path / "net.safetensors"
    native.save(small(rng), path, Golden((np.ones((1, 2)),), (np.ones((1, 2)),)))
    return path


def test_flipped_bits(saved, rng):
    """Every single bit is covered by a checksum: nothing else can come out."""
    whole = saved.read_bytes()
    places = rng.choice(8 * len(whole), 3000, replace=False)
    for place in [*range(64), *places]:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        saved.write_bytes(damaged)
        with pytest.raises(JlstmError) as error:
            native.load(saved)
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
                native.load(saved)


def test_truncated(saved):
    whole = saved.read_bytes()
    for length in [*range(0, 300), *range(300, len(whole), 37), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(DamagedFile):
            native.load(saved)
    saved.write_bytes(whole + b"\0")
    with pytest.raises(DamagedFile):
        native.load(saved)


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
        native.load(path)
    assert time.perf_counter() - begin < 2
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


# --- forged: the checksum is right, the contents are not ------------------------------

Edit = Callable[[dict[str, Any], dict[str, np.ndarray], dict[str, str]], None]


def forge(path: Path, edit: Edit) -> None:
    """Change a file and give it the checksum of what it then holds."""
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["sha256"]
    net = json.loads(metadata["structure"])
    edit(net["fields"], tensors, metadata)
    if metadata.setdefault("raw", "") == "":
        metadata["structure"] = json.dumps(net)
    else:
        metadata["structure"] = metadata["raw"]
    del metadata["raw"]
    metadata["sha256"] = native._digest(metadata, tensors)
    path.write_bytes(safetensors.numpy.save(tensors, metadata))


def in_layer(name: str, **fields: Any) -> Edit:
    return lambda net, tensors, metadata: net["layers"]["dict"][name]["fields"].update(
        fields
    )


def of_class(name: str, cls: str) -> Edit:
    return lambda net, tensors, metadata: net["layers"]["dict"][name].update(
        {"class": cls}
    )


def in_net(**fields: Any) -> Edit:
    return lambda net, tensors, metadata: net.update(fields)


def in_metadata(**entries: str) -> Edit:
    return lambda net, tensors, metadata: metadata.update(entries)


def tensor(name: str, value: np.ndarray | None) -> Edit:
    def edit(net, tensors, metadata):
        del tensors[name]
        if value is not None:
            tensors[name] = value

    return edit


def node(name: str, *inputs: str) -> dict:
    fields = {"name": name, "inputs": {"tuple": list(inputs)}}
    return {"class": "Node", "fields": fields}


def series(*nodes: dict) -> dict:
    return {"graph": {"tuple": list(nodes)}}


def extra(net, tensors, metadata):
    tensors["more"] = np.ones(3)


def no_bias(net, tensors, metadata):
    del net["layers"]["dict"]["fc"]["fields"]["bias"]
    del tensors[".layers['fc'].bias"]


def no_state(net, tensors, metadata):
    net["initial"] = {"dict": {}}
    for letter in "hc":
        del tensors[f".initial['lstm'].{letter}"]


BIAS = ".layers['lstm'].f.bias"
FORGED: dict[str, tuple[Edit, type[JlstmError], str]] = {
    "unknown class": (of_class("fc", "Popen"), Unsupported, "Popen"),
    "no layer": (of_class("lstm", "Gate"), Unsupported, "no such field"),
    "class by path": (of_class("fc", "os.system"), Unsupported, "os.system"),
    "unknown field": (in_layer("fc", speed=3), Unsupported, "speed"),
    "missing field": (no_bias, DamagedFile, "bias"),
    "missing tensor": (tensor(BIAS, None), DamagedFile, BIAS),
    "extra tensor": (extra, DamagedFile, "more"),
    "text for an array": (in_layer("fc", bias="b"), DamagedFile, ".bias"),
    "list for an array": (in_layer("fc", bias=[1]), DamagedFile, "notation"),
    "array for a text": (
        in_layer("lstm", output_mode={"array": BIAS}), DamagedFile, "output_mode"),
    "bool for an int": (in_layer("fc", flatten=True), DamagedFile, "flatten"),
    "two meanings": (in_layer("fc", bias={"array": BIAS, "tuple": []}),
                     DamagedFile, "notation"),
    "longer bias": (tensor(BIAS, np.ones(4, "f4")), DamagedFile, "layer 'lstm'"),
    "scalar bias": (tensor(BIAS, np.ones((), "f4")),
                    DamagedFile, "layer 'lstm'"),
    "wider weights": (tensor(".layers['lstm'].g.recurrent_weights",
                             np.ones((3, 4), "f4")), DamagedFile, "layer 'lstm'"),
    "other input width": (in_layer("in", size={"tuple": [7]}), DamagedFile, "lstm"),
    "enormous input": (in_layer("in", size={"tuple": [10**30]}), DamagedFile, "lstm"),
    "longer state": (tensor(".initial['lstm'].h", np.ones(9, "f4")),
                     DamagedFile, "state"),
    "no state": (no_state, DamagedFile, "state"),
    "unknown activation": (in_layer("lstm", state_activation="sin"),
                           DamagedFile, "activation"),
    "cycle": (in_net(**series(node("in"), node("lstm", "fc"), node("fc", "lstm"))),
              DamagedFile, "cycle"),
    "wire from nowhere": (in_net(**series(node("in"), node("lstm", "x"),
                                          node("fc", "lstm"))), DamagedFile, "wire"),
    "layer left out": (in_net(**series(node("in"))), DamagedFile, "graph"),
    "no input": (in_net(**series(node("in"), node("lstm"), node("fc", "lstm"))),
                 DamagedFile, "fit"),
    "unknown output": (in_net(outputs={"tuple": ["y"]}), DamagedFile, "output"),
    "newer": (in_metadata(format_version="2", structure="{}"), Unsupported, "update"),
    "much newer": (in_metadata(format_version="9" * 5000), Unsupported, "update"),
    "no version": (in_metadata(format_version="one"), DamagedFile, "version"),
    "another program": (in_metadata(format="pt"), Unsupported, "did not write"),
    "not JSON": (in_metadata(raw="{"), DamagedFile, "JSON"),
    "deep": (in_metadata(raw='{"tuple":[' * 900 + "]}" * 900), DamagedFile, ""),
    "deeper": (in_metadata(raw="[" * 99999), DamagedFile, ""),
    "huge number": (in_metadata(raw="9" * 9999), DamagedFile, ""),
    "another root": (in_metadata(raw='{"tuple":[]}'), DamagedFile, "nothing uses"),
    "bad golden": (in_metadata(golden="7"), DamagedFile, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_forged(name, saved):
    edit, kind, words = FORGED[name]
    forge(saved, edit)
    with pytest.raises(kind) as error:
        native.load(saved)
    assert words in str(error.value)
    assert error.value.file == str(saved)


def test_forging_itself_changes_nothing(saved):
    before = native.load(saved)
    forge(saved, lambda *_: None)
    assert_identical(before, native.load(saved))


def test_a_field_added_later_takes_its_default(saved):
    """An older file does not name it."""
    forge(saved, lambda net, *_: net["layers"]["dict"]["fc"]["fields"].pop("flatten"))
    assert native.load(saved).layers["fc"].flatten == 0  # type: ignore[attr-defined]


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        native.load(tmp_path / "none")
