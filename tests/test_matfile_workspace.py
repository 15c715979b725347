"""A network is found beside whatever else a workspace holds, decodable or not."""

import time

import h5py
import matbytes as mb
import matio_oracle as oracle
import numpy as np
import pytest
import scipy.sparse
from matdamage import fingerprint
from matio_oracle import EmptyMatStruct, MatlabFunction, MatlabObject, MatlabOpaque

from jlstm.errors import DamagedFile
from jlstm.formats import matlab
from jlstm.formats.matfile import MatFile, MatObject, Undecodable

NET = "pipe/LSTM.mat"


@pytest.fixture(scope="module")
def undamaged(nets):
    return fingerprint(matlab.load(nets / NET))


def clutter(rng) -> dict:
    """What stands in people's workspaces, as far as mat-io can write it."""
    record = np.empty((2, 3), [("a", object), ("b", object)])
    for k, at in enumerate(np.ndindex(record.shape)):
        record[at] = (np.array([[k]], "i8"), f"name {k}")
    nested = np.empty((1, 1), object)
    nested[0, 0] = np.eye(2)
    for _ in range(20):
        outer = np.empty((1, 2), object)
        outer[0, 0], outer[0, 1] = nested, "text"
        nested = outer
    figure = MatlabOpaque(
        {"Children": MatlabOpaque({"XData": rng.normal(size=(1, 9))}, "matlab.graphics"
         ".chart.primitive.Line"), "Visible": "on"}, "matlab.ui.Figure",
    )  # fmt: skip
    options = {"MaxEpochs": 350.0, "Plots": "none", "ValidationData": record}
    return {
        "numbers": rng.normal(size=(300, 20)),
        "complex": rng.normal(size=(3, 3)) * 1j,
        "large": np.array([[2**62, -1]], np.int64),
        "flags": rng.random((4, 4)) > 0.5,
        "sparse": scipy.sparse.csc_array(np.eye(5)),
        "records": record,
        "nothing": EmptyMatStruct(np.empty((0, 0), object)),
        "nested": nested,
        "text": "grüße 中文",
        "strings": np.array([["a", "bc"]], np.dtypes.StringDType()),
        "dates": np.array([["2024-01-02", "2025-03-04"]], "M8[ms]"),
        "durations": np.array([[5, 7]], "m8[ms]"),
        "handle": MatlabFunction(np.array([[("@(x)x.^2",)]], [("function", object)])),
        "inline": MatlabObject(np.array([[(1.0,)]], [("expr", object)]), "inline"),
        "figure": figure,
        "options": MatlabOpaque({"any": options}, "nnet.cnn.TrainingOptionsADAM"),
        "custom": MatlabOpaque({"Anything": rng.normal(size=(2, 2))}, "my.own.Class"),
        "map": MatlabOpaque({"serialization": {"keys": "a"}}, "containers.Map"),
    }


@pytest.mark.parametrize("version", ["v7", "v7.3"])
def test_a_workspace(version, nets, tmp_path, rng, undamaged):
    values = clutter(rng)
    # Half of it before the network and half behind.
    names = list(values)
    order = [*names[::2], "net", *names[1::2]]
    values["net"] = oracle.read(nets / NET)["net"]
    path = oracle.save(tmp_path / "a.mat", {n: values[n] for n in order}, version)
    assert fingerprint(matlab.load(path)) == undamaged
    file = MatFile(path)
    theirs = oracle.read(path)
    for name in order:
        # mat-io has its own ideas of what is no ASCII, and of complex numbers.
        if name not in ("text", "complex"):
            assert oracle.agrees(file[name], theirs[name]), name


def undecodable_variables() -> dict[str, bytes]:
    """Variables that only make sense to MATLAB, or to nobody."""
    deep = mb.numbers(1.0)
    for _ in range(200):
        deep = mb.cell(deep)
    java = mb.opaque("java.util.Date", mb.numbers(1.0), "java", "java")
    dangling = mb.opaque("table", mb.refer([40_000], class_id=2), "dangling")
    no_class = mb.opaque("table", mb.refer([1], class_id=999), "no_class")
    no_mark = mb.opaque("figure", mb.numbers(np.eye(2)), "no_mark")
    names = ("EnumerationInstanceTag", "ClassName", "ValueNames")
    mark, far = (mb.numbers(np.array([[n]], np.uint32)) for n in (mb.MARK, 5000))
    enumeration = mb.struct_(dict(zip(names, (mark, far, far), strict=True)))
    function = mb.array(
        mb.FUNCTION, (1, 1), mb.struct_({"f": mb.text("sin")}), name="f"
    )
    return {
        "unknown": mb.array(99, (1, 1), b"12345678", name="unknown"),
        "java": java,
        "control": mb.opaque("COM.thing", mb.cell(), "control", "handle"),
        "dangling": dangling,
        "no_class": no_class,
        "no_mark": no_mark,
        "enumeration": mb.opaque("OnOff", enumeration, "enumeration"),
        "deep": mb.cell(deep, name="deep"),
        "f": function,
        "shapeless": mb.array(
            mb.DOUBLE, (0, *[2**31 - 1] * 4), mb.sub(9, b""), name="shapeless"
        ),
    }


@pytest.mark.parametrize("is_compressed", [False, True])
def test_beside_what_cannot_be_decoded(is_compressed, nets, tmp_path, undamaged):
    variables = undecodable_variables()
    elements = [mb.compressed(v) if is_compressed else v for v in variables.values()]
    path = tmp_path / "a.mat"
    path.write_bytes(mb.insert((nets / NET).read_bytes(), *elements))
    assert fingerprint(matlab.load(path)) == undamaged
    file = MatFile(path)
    assert set(file.names) == {"net", *variables}
    for name in variables:
        found = file[name]
        if name == "deep":
            while isinstance(found, list):
                found = found[0]
        if name == "f":
            assert found.class_name == "function_handle"
            continue
        if isinstance(found, MatObject):
            found = found.values
        assert isinstance(found, Undecodable) and found.reason, name


def test_beside_hdf5_that_cannot_be_decoded(nets, tmp_path, undamaged):
    path = oracle.to_v73(nets / NET, tmp_path / "a.mat")
    with h5py.File(path, "r+") as file:
        file["linked"] = h5py.ExternalLink("elsewhere.mat", "/x")
        file.create_dataset(
            "python", data=np.array(["a"], object), dtype=h5py.string_dtype()
        )
        lost = file.create_dataset(
            "lost", data=np.array([[mb.MARK, 2, 1, 1, 9999, 1]], "u4")
        )
        lost.attrs.create("MATLAB_class", np.bytes_("table"))
        lost.attrs.create("MATLAB_object_decode", np.int32(3))
        huge = file.create_dataset("huge", (2**25, 2**25), "f8")
        huge.attrs.create("MATLAB_class", np.bytes_("cell"))
    assert fingerprint(matlab.load(path)) == undamaged
    file = MatFile(path)
    for name in ("linked", "python", "huge"):
        assert isinstance(file[name], Undecodable), name
    assert isinstance(file["lost"].values, Undecodable)


def test_beside_what_expands_to_gigabytes(nets, tmp_path, undamaged):
    number = mb.array(mb.DOUBLE, (1, 1 << 27), mb.sub(9, b"", 1 << 30), name="zeros")
    number = mb.matrix(number[8:], size=len(number) - 8 + (1 << 30))
    inside = mb.array(mb.CELL, (1, 1), name="in_a_cell")
    inside = mb.matrix(
        inside[8:], number, size=len(inside) - 8 + len(number) + (1 << 30)
    )
    bombs = [mb.compress_zeros(start, 1024) for start in (number, inside)]
    path = tmp_path / "a.mat"
    path.write_bytes(mb.insert((nets / NET).read_bytes(), *bombs))
    started = time.process_time()
    assert fingerprint(matlab.load(path)) == undamaged
    assert time.process_time() - started < 2
    for name in ("zeros", "in_a_cell"):
        assert isinstance(MatFile(path)[name], Undecodable)


def test_large_numbers_are_not_read_to_find_a_network(nets, tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=200_000)
    large, packed = mb.numbers(values, "large"), mb.compressed(mb.numbers(values, "p"))
    text = mb.text("x" * 100_000, "text")
    read = []
    open_ = type(tmp_path).open

    class Counting:
        """A file that says how much is read of it."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def read(self, size=-1):
            data = self.file.read(size)
            read.append(len(data))
            return data

    path = tmp_path / "a.mat"
    path.write_bytes(mb.insert((nets / NET).read_bytes(), large, packed, text))
    monkeypatch.setattr(
        type(path), "open", lambda self, *a, **k: Counting(open_(self, *a, **k))
    )
    matlab.load(path)
    assert sum(read) < 30_000 < path.stat().st_size / 100


def test_a_network_named_is_all_that_is_decoded(nets, tmp_path, undamaged):
    # A damaged neighbour that might hold a network too stops the search, but not this.
    numbers = np.random.default_rng(0).normal(size=1000)
    cell = mb.compressed(mb.cell(mb.numbers(numbers), name="other"))
    damaged = bytearray(mb.insert((nets / NET).read_bytes(), cell))
    damaged[128 + len(cell) - 1] ^= 1
    path = tmp_path / "a.mat"
    path.write_bytes(damaged)
    with pytest.raises(DamagedFile, match="other: a compressed variable is damaged"):
        matlab.load(path)
    assert fingerprint(matlab.load(path, variable="net")) == undamaged
