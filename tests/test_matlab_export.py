"""The struct that jlstm_export.m writes: read back, with its golden vectors.

The files are synthesised here in the documented layout, and once written by the script
itself under GNU Octave. The judge computes the golden vectors.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import jax
import matlab_structs as m
import numpy as np
import pytest
import reference
from agreement import DOUBLE, SINGLE, both
from matlab_files import dag, dlnetwork, number, series, write
from octave_standins import build_networks
from scipy.io import savemat
from test_matlab_script import exports, networks  # noqa: F401

from jlstm import formats
from jlstm.errors import DamagedFile, Unsupported
from jlstm.formats import matlab
from jlstm.inspection import saved_state
from jlstm.network import predict

C, H, K = 3, 5, 4


def cells(items):
    array = np.empty((1, len(items)), object)
    for k, item in enumerate(items):
        array[0, k] = item
    return array


def column(names):
    return cells(names).T


# --- the same network, saved and exported ---------------------------------------------


def public(layer) -> dict[str, Any]:
    """The public properties of a saved layer, as MATLAB shows them."""
    struct = copy.deepcopy(layer.properties.get("any", layer.properties))
    shown: dict[str, Any] = {"NumInputs": number(1), "InputNames": cells(["in"])}
    for name, value in struct.items():
        if isinstance(value, dict) and "L2Factor" in value:
            shown[name] = value["Value"]
            shown[f"{name}LearnRateFactor"] = value["LearnRateFactor"]
            shown[f"{name}L2Factor"] = value["L2Factor"]
            shown[f"{name}Initializer"] = "glorot"
        elif isinstance(value, dict) and "Remember" in value:
            shown[name] = value["Value"]
        elif isinstance(value, dict) and "Type" in value:
            shown[name] = value.pop("Type")
            shown |= {key: v for key, v in value.items() if key not in ("Version",
                      "ImageSize")}  # fmt: skip
            if "Std" in shown:
                shown["StandardDeviation"] = shown.pop("Std")
        elif name == "ReturnSequence":
            shown["OutputMode"] = "sequence" if value else "last"
        elif name == "Categories":
            shown["Classes"] = column(["up", "down"])
        elif name in ("Version", "Name") or name.startswith("Initial") or "." in name:
            continue
        elif isinstance(value, np.ndarray) and value.dtype == object:
            shown[name] = value
        else:
            shown[name] = value
    return shown


def entry(layer) -> dict[str, Any]:
    struct = layer.properties.get("any", layer.properties)
    none = np.zeros((0, 0))
    return {
        "class": layer.classname,
        "name": struct["Name"],
        "properties": public(layer),
        "initial_state": {
            name: struct.get(f"Initial{name}", none)
            for name in ("HiddenState", "CellState")
        },
    }


def exported(kind, layers, wires, ins, outs, golden=()) -> dict[str, Any]:
    records = np.empty((1, len(golden)), [(name, object) for name in RECORD])
    for k, record in enumerate(golden):
        for name in RECORD:
            records[0, k][name] = record[name]
    return {
        "format": "jlstm-matlab-network",
        "version": number(1),
        "release": "R2024a",
        "created": "2024-05-06T07:08:09",
        "object_class": kind,
        "precision": "single",
        "layers": cells([entry(layer) for layer in layers]),
        "connections": {
            "source": column([wire[0] for wire in wires]),
            "destination": column([wire[1] for wire in wires]),
        },
        "input_names": column(ins),
        "output_names": column(outs),
        "golden": records,
        "notes": np.empty((0, 0), object),
    }


RECORD = ("input", "output", "layers", "mini_batch_size", "start", "classes")


def record(judge, xs, outs, layers=(), start="initial") -> dict[str, Any]:
    """One recorded run, rows as MATLAB returns them: features x time."""
    judge.forward(tuple(xs))
    found = judge.layer_outputs

    def value(name):
        array = found[name.removesuffix("/out")]
        return array[:, None] if array.ndim == 1 else array

    return {
        "input": cells(list(xs)),
        "output": cells([value(name) for name in outs]),
        "layers": {"name": column(layers), "value": column([value(n) for n in layers])},
        "mini_batch_size": number(1),
        "start": start,
        "classes": np.empty((0, 0), object),
    }


def save(path, struct, name="jlstm"):
    savemat(path, {name: struct}, long_field_names=True)
    return path


def stack(rng):
    mean, std = m.normal(rng, C, 1), m.positive(rng, C, 1)
    rule = m.statistics("zscore", (C,), Mean=mean, Std=std)
    lstm = m.lstm(rng, "lstm", C, H)
    for part in ("HiddenState", "CellState"):
        lstm.properties["any"][part]["Value"] = m.normal(rng, H, 1)
        lstm.properties["any"][f"Initial{part}"] = m.normal(rng, H, 1)
    lstm.properties["any"]["Bias"]["LearnRateFactor"] = number(1, 2, 3, 4)
    return [
        m.sequence_input("in", C, normalization=rule),
        lstm,
        m.layer("DropoutLayer", "dropout", Probability=number(0.2)),
        m.bilstm(rng, "bilstm", H, K),
        m.gru(rng, "gru", 2 * K, H, mode="recurrent-bias-after-multiplication",
              last=True),
        m.dense(rng, "fc", H, 2),
        m.softmax("softmax"),
        m.classification("out", ("down", "up"), (2, 1)),
    ]  # fmt: skip


@pytest.fixture
def twins(tmp_path, rng):
    """A saved network, the judge of it, and the export of the same network."""
    layers = stack(rng)
    path = write(tmp_path / "saved.mat", net=series(layers))
    net, judge = both(path)
    names = [layer.properties["any"]["Name"] for layer in layers]
    xs = [rng.normal(size=(C, steps)) for steps in (7, 12)]
    wires = list(itertools.pairwise(names))
    golden = [record(judge, [x], ["out"], ["lstm", "bilstm", "fc"]) for x in xs]
    struct = exported("SeriesNetwork", layers, wires, ["in"], ["out"], golden)
    return net, judge, struct, xs


def test_an_export_is_the_network_that_was_saved(tmp_path, twins):
    saved, _, struct, _ = twins
    net: Any = matlab.load(save(tmp_path / "export.mat", struct))
    assert net.graph == saved.graph and net.classes == saved.classes == ("up", "down")
    assert net.factors == saved.factors and len(net.factors) == 3
    pairs = zip(jax.tree.leaves(net), jax.tree.leaves(saved), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert net.saved is not None and len(saved_state(net)) == 1
    assert net.origin.kind == "SeriesNetwork" and net.origin.variable == "jlstm"


def test_golden_vectors(tmp_path, twins):
    _, judge, struct, xs = twins
    net, golden = formats.read(save(tmp_path / "export.mat", struct))
    assert len(golden) == 2
    for given, found in zip(xs, golden, strict=True):
        wanted = judge.forward(given)
        assert np.array_equal(found.inputs[0], given.T)
        assert np.array_equal(found.outputs[0], wanted) and wanted.shape == (2,)
        assert set(found.layers) == {"lstm", "bilstm", "fc"}
        for name, array in found.layers.items():
            assert np.array_equal(array, judge.layer_outputs[name].T)
        assert found.start == "initial" and "SeriesNetwork in R2024a" in found.note
        y = predict(net, given.T)
        assert np.abs(y - found.outputs[0]).max() <= SINGLE


def graph(rng):
    """Two inputs and two outputs, each pair saved in the other order."""
    layers = [
        m.sequence_input("a", C),
        m.sequence_input("b", 2),
        m.lstm(rng, "lstm_b", 2, H),
        m.lstm(rng, "lstm_a", C, H, state_outputs=True),
        m.layer("AdditionLayer", "add", NumInputs=number(2)),
        m.dense(rng, "one", H, 1),
        m.dense(rng, "wide", H, K),
    ]
    wires = [
        ("b", "lstm_b"), ("a", "lstm_a"), ("lstm_b", "add/in2"),
        ("lstm_a/out", "add/in1"), ("add", "wide"), ("add", "one"),
    ]  # fmt: skip
    return layers, wires


@pytest.mark.parametrize("kind", ["DAGNetwork", "dlnetwork"])
def test_inputs_and_outputs_go_by_their_names(tmp_path, rng, kind):
    layers, wires = graph(rng)
    make = {"DAGNetwork": dag, "dlnetwork": dlnetwork}[kind]
    judge = reference.load(write(tmp_path / "net.mat", net=make(layers, wires)))
    a, b = rng.normal(size=(C, 9)), rng.normal(size=(2, 9))
    golden = record(judge, [a, b], ["wide", "one"], ["lstm_a/out", "add"], "current")
    golden["input"] = cells([b, a])
    struct = exported(kind, layers, wires, ["b", "a"], ["wide", "one"], [golden])
    net, (found,) = formats.read(save(tmp_path / "export.mat", struct))
    assert net.inputs == ("a", "b") and net.outputs == ("wide", "one")
    for given, array in zip((a, b), found.inputs, strict=True):
        assert np.array_equal(given.T, array)
    assert set(found.layers) == {"lstm_a", "add"} and found.start == "saved"
    with jax.enable_x64(True):
        ys = predict(net.astype("float64"), tuple(map(np.float32, found.inputs)))
    for y, wanted in zip(ys, found.outputs, strict=True):
        assert np.abs(np.asarray(y) - wanted).max() <= 10 * DOUBLE


def test_a_run_that_failed_has_no_output(tmp_path, twins):
    _, _, struct, _ = twins
    struct["golden"][0, 0]["output"] = np.empty((0, 0), object)
    _, golden = formats.read(save(tmp_path / "export.mat", struct))
    assert len(golden) == 1
    struct["golden"] = struct["golden"][:, :0]
    _, golden = formats.read(save(tmp_path / "export.mat", struct))
    assert golden == []


def test_an_export_beside_other_things(tmp_path, twins):
    saved, _, struct, _ = twins
    path = tmp_path / "workspace.mat"
    savemat(path, {"runs": {"second": struct}, "x": 1.0}, long_field_names=True)
    net, golden = formats.read(path, variable="runs.second")
    assert net.graph == saved.graph and len(golden) == 2
    assert net.origin.variable == "runs.second"


def test_bare_layers_may_be_exported(tmp_path, rng):
    layers = [m.sequence_input("in", C), m.lstm(rng, "layer_2", C, H)]
    struct = exported("cell", layers, [("in", "layer_2")], ["in"], ["layer_2"])
    net, golden = formats.read(save(tmp_path / "export.mat", struct))
    assert golden == [] and net.shapes["layer_2"] == (True, (), H)


def learnables(*rows):
    keys = ("layer", "parameter", "value")
    return cells([dict(zip(keys, row, strict=True)) for row in rows])


def test_the_parameters_of_a_dlnetwork_are_those_in_its_list(tmp_path, rng):
    """The properties of its layers may be of another precision."""
    layers = [m.sequence_input("in", C), m.dense(rng, "fc", C, K)]
    struct = exported("dlnetwork", layers, [("in", "fc")], ["in"], ["fc"])
    weights, bias = rng.normal(size=(K, C)), rng.normal(size=(K, 1))
    rows = ("fc", "Weights", weights), ("fc", "Bias", bias)
    path = tmp_path / "export.mat"
    net, _ = formats.read(save(path, struct | {"learnables": learnables(*rows)}))
    layer: Any = net.layers["fc"]
    assert np.array_equal(layer.weights, weights)
    assert np.array_equal(layer.bias, bias[:, 0])
    for row, error in (
        (("fc", "Mask", weights), "unknown property"),
        (("sub/fc", "Weights", weights), "inside another one"),
        (("fc", "Weights", "text"), "missing or of another type"),
    ):
        with pytest.raises((Unsupported, DamagedFile), match=error):
            formats.read(save(path, struct | {"learnables": learnables(*rows, row)}))


# --- what is damaged ------------------------------------------------------------------


def without(struct, name):
    return {key: value for key, value in struct.items() if key != name}


STRUCTS = {
    "layers": lambda s: without(s, "layers"),
    "connections": lambda s: without(s, "connections"),
    "object_class": lambda s: without(s, "object_class"),
    "output_names": lambda s: without(s, "output_names"),
    "a number for layers": lambda s: s | {"layers": 3.0},
    "a layer without a class": lambda s: s | {
        "layers": cells([without(s["layers"][0, 0], "class")])},
    "a layer without properties": lambda s: s | {
        "layers": cells([without(s["layers"][0, 0], "properties")])},
    "half a connection": lambda s: s | {
        "connections": {"source": column(["in"]), "destination": column([])}},
    "an output that is no layer": lambda s: s | {"output_names": column(["nothing"])},
    "numbers for names": lambda s: s | {"output_names": number(1, 2)},
}  # fmt: skip


@pytest.mark.parametrize("case", STRUCTS)
def test_damaged_structs(tmp_path, twins, case):
    struct = STRUCTS[case](twins[2])
    with pytest.raises(DamagedFile) as caught:
        formats.read(save(tmp_path / "export.mat", struct))
    assert caught.value.file == str(tmp_path / "export.mat")
    assert str(caught.value.place).startswith("jlstm")


@pytest.mark.parametrize("version", [number(2), number(), "1", number(1, 1)])
def test_other_versions(tmp_path, twins, version):
    struct = twins[2] | {"version": version}
    with pytest.raises(Unsupported, match="another version") as caught:
        formats.read(save(tmp_path / "export.mat", struct))
    assert caught.value.place == "jlstm.version"
    assert "matlab-script" in str(caught.value.do)


GOLDEN = {
    "transposed input": ("input", lambda g: cells([g["input"][0, 0].T]), "input"),
    "no input": ("input", lambda g: np.empty((0, 0), object), "input"),
    "two inputs": ("input", lambda g: cells([g["input"][0, 0]] * 2), "input"),
    "rows of output": ("output", lambda g: cells([g["output"][0, 0].T]), "output"),
    "wide output": ("output", lambda g: cells([np.ones((3, 1))]), "output"),
    "steps of output": ("output", lambda g: cells([np.ones((2, 4))]), "output"),
    "text": ("output", lambda g: cells(["text"]), "output"),
    "layers": ("layers", lambda g: 3.0, "layers"),
    "values of layers": (
        "layers", lambda g: {"name": column(["lstm"]), "value": column([])}, "layers"
    ),
    "width of a layer": (
        "layers",
        lambda g: {"name": column(["fc"]), "value": column([np.ones((3, 1))])},
        "layers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_vectors_that_do_not_fit(tmp_path, twins, case):
    _, _, struct, _ = twins
    field, change, place = GOLDEN[case]
    golden = struct["golden"][0, 1]
    golden[field] = change(golden)
    with pytest.raises((DamagedFile, Unsupported)) as caught:
        formats.read(save(tmp_path / "export.mat", struct))
    assert str(caught.value.place).startswith(f"golden(2).{place}")
    assert caught.value.file == str(tmp_path / "export.mat")


def test_a_function_in_place_of_a_normalisation(tmp_path, twins):
    _, _, struct, _ = twins
    properties = struct["layers"][0, 0]["properties"]
    properties["Normalization"] = {"function_handle": "@(x) x / 255"}
    with pytest.raises(Unsupported, match="does not compute") as caught:
        formats.read(save(tmp_path / "export.mat", struct))
    assert caught.value.found == "a function of your own"


# --- written by the script itself -----------------------------------------------------


@pytest.mark.parametrize("name", ["series", "dag", "video", "features", "assembled"])
def test_what_octave_wrote(exports, name):  # noqa: F811
    """The stand-ins compute for themselves; jlstm reproduces every recorded number."""
    net, golden = formats.read(exports / f"{name}.mat")
    kinds = {"series": "SeriesNetwork", "dag": "DAGNetwork", "video": "dlnetwork"}
    assert net.origin.kind == kinds.get(name, net.origin.kind)
    assert len(golden) == {"series": 2, "dag": 2, "features": 5}.get(name, 1)
    double = name == "video"
    assert net.dtype == ("float64" if double else "float32")
    tolerance = DOUBLE if double else 3e-6
    for run in golden:
        with jax.enable_x64(double):
            state = net.saved if run.start == "saved" else None
            given = dict(zip(net.inputs, run.inputs, strict=True))
            ys, trace = predict(net, given, state=state, trace=True)
        ys = ys if isinstance(ys, tuple) else (ys,)
        pairs = [*zip(ys, run.outputs, strict=True)]
        pairs += [(trace[layer], value) for layer, value in run.layers.items()]
        for found, wanted in pairs:
            assert found.shape == wanted.shape
            error = np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()
            assert error <= tolerance


def test_weights_through_octave_keep_their_bits(exports):  # noqa: F811
    layers = build_networks()["series"]["layers"]
    net, _ = formats.read(exports / "series.mat")
    for given in layers:
        properties = given["properties"]
        if "InputWeights" in properties:
            layer: Any = net.layers[properties["Name"]]
            found = formats.matlab_arrays(layer)
            for name, array in found.items():
                assert array.tobytes() == properties[name].tobytes()


@pytest.mark.parametrize(("name", "words"), [
    ("untrained", "not trained"), ("labelled", "ScaleLayer"),
])  # fmt: skip
def test_what_octave_wrote_and_jlstm_refuses(exports, name, words):  # noqa: F811
    with pytest.raises(Unsupported, match=words):
        formats.read(exports / f"{name}.mat")
