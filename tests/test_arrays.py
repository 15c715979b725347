"""Weights extracted by hand, put together by a description of the layers."""

from __future__ import annotations

import copy
from typing import Any

import jax
import matlab_structs as m
import numpy as np
import pytest
import reference
from agreement import assert_agree, inputs
from matlab_files import cell, series, write
from reference import RefLayer
from scipy.io import savemat

from jlstm import formats
from jlstm.errors import InputError, JlstmError, Unsupported
from jlstm.formats import matlab
from jlstm.formats.arrays import read_description

C, H, K = 3, 5, 1  # one output: its weights are one row

LAYERS: list[dict[str, Any]] = [
    {"type": "sequence input", "name": "in", "size": C, "normalization": "zscore",
     "mean": "mu", "std": [1.5, 2.0, 0.5]},
    {"type": "lstm", "name": "lstm", "input_weights": "W1", "recurrent_weights": "R1",
     "bias": "b1"},
    {"type": "reluLayer", "name": "relu"},
    {"type": "LSTM", "name": "gates",
     "input_weights": {g: f"W_{g}{{2}}" for g in "ifco"},
     "recurrent_weights": {g: f"net.R.{g}" for g in "ifco"},
     "bias": {g: f"net.b.{g}" for g in "ifco"}},
    {"type": "bilstm", "name": "both", "input_weights": "W3", "recurrent_weights": "R3",
     "bias": "b3", "output_mode": "sequence"},
    {"type": "gru", "name": "gru", "input_weights": "W4", "recurrent_weights": "R4",
     "bias": "b4", "reset_mode": "before-multiplication",
     "state_activation": "softsign"},
    {"type": "fully connected", "name": "fc", "weights": "Wf", "bias": "bf"},
    {"type": "leaky_relu", "name": "leaky", "scale": 0.25},
]  # fmt: skip


@pytest.fixture
def stored(rng):
    """Variables as somebody may have saved them, biases as rows and columns."""

    def gate(array, k):
        return array[k * H : (k + 1) * H]

    arrays = {
        "W1": m.normal(rng, 4 * H, C), "R1": m.normal(rng, 4 * H, H, scale=0.6),
        "b1": m.normal(rng, 1, 4 * H), "W2": m.normal(rng, 4 * H, H),
        "R2": m.normal(rng, 4 * H, H, scale=0.6), "b2": m.normal(rng, 4 * H, 1),
        "W3": m.normal(rng, 8 * H, H), "R3": m.normal(rng, 8 * H, H, scale=0.6),
        "b3": m.normal(rng, 8 * H, 1), "W4": m.normal(rng, 3 * H, 2 * H),
        "R4": m.normal(rng, 3 * H, H, scale=0.6), "b4": m.normal(rng, 3 * H, 1),
        "Wf": m.normal(rng, K, H), "bf": m.normal(rng, K, 1),
        "mu": m.normal(rng, C, 1),
    }  # fmt: skip
    variables: dict[str, Any] = {n: a for n, a in arrays.items() if n[1] != "2"}
    variables["net"] = {
        key: {g: gate(arrays[f"{key}2"], k) for k, g in enumerate("ifco")}
        for key in ("R", "b")
    }
    for k, g in enumerate("ifco"):
        variables[f"W_{g}"] = cell([np.zeros((1, 1)), gate(arrays["W2"], k)], row=True)
    return arrays, variables


def judge_of(arrays) -> reference.ReferenceNet:
    """The same network out of the arrays themselves."""

    def recurrent(kind, k, units, **fields):
        zero = np.zeros(units)
        return dict(
            kind=kind, InputWeights=arrays[f"W{k}"], RecurrentWeights=arrays[f"R{k}"],
            Bias=arrays[f"b{k}"], NumHiddenUnits=np.array(H), InitialHiddenState=zero,
            InitialCellState=zero, **fields,
        )  # fmt: skip

    rule = dict(Type="zscore", Mean=arrays["mu"], Std=np.array([[1.5], [2.0], [0.5]]))
    every = [
        dict(kind="SequenceInputLayer", InputSize=np.array([C]), Normalization=rule),
        recurrent("LSTMLayer", 1, H),
        dict(kind="ReLULayer"),
        recurrent("LSTMLayer", 2, H),
        recurrent("BiLSTMLayer", 3, 2 * H),
        recurrent(
            "GRULayer", 4, H, ResetGateMode="before-multiplication",
            StateActivationFunction="softsign",
        ),
        dict(kind="FullyConnectedLayer", Weights=arrays["Wf"], Bias=arrays["bf"]),
        dict(kind="LeakyReLULayer", Scale=np.array(0.25)),
    ]  # fmt: skip
    names = [entry["name"] for entry in LAYERS]
    return reference.build(
        [RefLayer(p.pop("kind"), name, p) for name, p in zip(names, every, strict=True)]
    )


@pytest.fixture
def file(tmp_path, stored):
    path = tmp_path / "weights.mat"
    savemat(path, stored[1], long_field_names=True)
    return path


def test_arrays_become_a_network(file, stored, rng):
    net, golden = formats.read(file, layers=LAYERS)
    assert golden == []
    assert net.origin.kind == "arrays extracted by hand"
    assert_agree(net, judge_of(stored[0]), inputs(net, rng))


def test_unused_variables_are_told(tmp_path, stored):
    path = tmp_path / "weights.mat"
    savemat(path, {**stored[1], "W5": np.ones((2, 2))}, long_field_names=True)
    net, _ = formats.read(path, layers=LAYERS)
    (notice,) = net.origin.notices
    assert notice.endswith("does not use: W5") and "W5" in net.origin.ignored


def test_every_form_of_a_description(file, tmp_path):
    text = [
        "[[layers]]", 'type = "sequence input"', "size = 3", "[[layers]]",
        'type = "lstm"', 'input_weights = "W1"', 'recurrent_weights = "R1"',
        'bias = "b1"', 'initial_hidden_state = [1, 2, 3, 4, 5]',
        "initial_cell_state = [0, 0, 0, 0, 0]", 'output_mode = "last"',
    ]  # fmt: skip
    toml = tmp_path / "net.toml"
    toml.write_text("\n".join(text), "utf-8")
    read = read_description(toml)
    nets = [
        formats.read(file, layers=given)[0]
        for given in (toml, str(toml), read, read["layers"], tuple(read["layers"]))
    ]
    for net in nets:
        assert [node.name for node in net.graph] == ["sequenceinput", "lstm"]
        assert net.initial["lstm"].h.tolist() == [1, 2, 3, 4, 5]
        assert net.shapes["lstm"] == (False, (), H)
        assert "W3" in net.origin.ignored


def test_saved_and_described_layers_are_the_same(tmp_path, rng):
    """A network object, and its own arrays beside it."""
    layers = [
        m.sequence_input("in", C), m.lstm(rng, "lstm", C, H),
        m.projected(rng, "LSTMProjectedLayer", "small", H, 7, (2, 4)),
        m.dense(rng, "fc", 7, 4), m.batch_normalization(rng, "batch", 4),
        m.self_attention(rng, "attention", 4, 2, 4, 4, 4),
    ]  # fmt: skip
    net = matlab.load(write(tmp_path / "net.mat", net=series(layers)))
    variables, described = {}, []
    for k, layer in enumerate(layers[:-1]):
        struct = layer.properties["any"]
        kind = layer.classname.rpartition(".")[2].removesuffix("Layer")
        entry: dict[str, Any] = {"type": kind, "name": struct["Name"]}
        for name, value in struct.items():
            if isinstance(value, dict) and "L2Factor" in value:
                value = value["Value"]
            elif not name.startswith("Trained"):
                continue
            key = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:]
            entry[key] = f"v{k}_{name}"
            variables[f"v{k}_{name}"] = value
        described.append(entry)
    described[0]["size"] = C
    described[-1]["epsilon"] = 3e-3
    savemat(tmp_path / "arrays.mat", variables)
    found, _ = formats.read(tmp_path / "arrays.mat", layers=described)
    for entry in described:
        name = entry["name"]
        pairs = zip(*(jax.tree.leaves(n.layers[name]) for n in (net, found)),
                    strict=True)  # fmt: skip
        for a, b in pairs:
            assert np.array_equal(a, b)


def test_the_gates_of_a_real_network(nets):
    """Extracted by its owner, one cell a gate; compared with the network itself."""
    path = nets / "ph/lstm3_extracted_parameters.mat"
    letters = {"input_weights": "W", "recurrent_weights": "U", "bias": "b"}
    described: list[dict[str, Any]] = [{"type": "sequence input", "size": 4}]
    for k in (1, 2, 3):
        gates = {
            key: {g: f"{letter}{g}_all{{{k}}}" for g in "ifco"}
            for key, letter in letters.items()
        }
        described.append({"type": "lstm", "name": f"lstm_{k}", **gates})
    found, _ = formats.read(path, layers=described)
    net = matlab.load(nets / "ph/lstm3_net.mat")
    for k, name in enumerate(net.recurrent, 1):
        pair = (net.layers[name], found.layers[f"lstm_{k}"])
        for a, b in zip(*map(jax.tree.leaves, pair), strict=True):
            assert a.tobytes() == b.tobytes()


# --- golden vectors -------------------------------------------------------------------


def recorded(stored, rng, layout):
    """The variables with a recorded run among them, computed by the judge."""
    arrays, variables = stored
    judge = judge_of(arrays)
    x = rng.normal(size=(C, 9)).astype(np.float32)
    y = judge.forward(x)
    run = {"X": x, "Y": y, "H1": judge.layer_outputs["lstm"]}
    if layout == "time x features":
        run = {name: array.T for name, array in run.items()}
    return variables | run, x, y, judge.layer_outputs["lstm"]


@pytest.mark.parametrize("layout", ["features x time", "time x features"])
def test_golden_vectors(tmp_path, stored, rng, layout):
    variables, x, y, hidden = recorded(stored, rng, layout)
    savemat(tmp_path / "run.mat", variables, long_field_names=True)
    table = {"input": "X", "output": "Y", "layout": layout, "layers": {"lstm": "H1"},
             "note": "by the judge"}  # fmt: skip
    net, (golden,) = formats.read(
        tmp_path / "run.mat", layers={"layers": LAYERS, "golden": table}
    )
    assert net.origin.notices == ()
    assert np.array_equal(golden.inputs[0], x.T)
    assert np.array_equal(golden.outputs[0], y.T)
    assert np.array_equal(golden.layers["lstm"], hidden.T)
    assert golden.note == "by the judge" and golden.start == "initial"


GOLDEN: dict[str, tuple[dict[str, Any], str]] = {
    "no layout": ({"layout": None}, "golden.layout"),
    "another layout": ({"layout": "T x C"}, "golden.layout"),
    "transposed": ({"layout": "time x features"}, "golden.input"),
    "no output": ({"output": None}, "golden.output"),
    "two outputs": ({"output": ["Y", "Y"]}, "golden.output"),
    "other variable": ({"output": "Z"}, "golden.output"),
    "other layer": ({"layers": {"lstm_9": "H1"}}, "golden.layers.lstm_9"),
    "width of a layer": ({"layers": {"both": "H1"}}, "golden.layers.both"),
    "unknown key": ({"outputs": "Y"}, "golden.outputs"),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_vectors_that_do_not_fit(tmp_path, stored, rng, case):
    variables, *_ = recorded(stored, rng, "features x time")
    savemat(tmp_path / "run.mat", variables, long_field_names=True)
    changes, place = GOLDEN[case]
    table = {"input": "X", "output": "Y", "layout": "features x time"} | changes
    table = {key: value for key, value in table.items() if value is not None}
    with pytest.raises(JlstmError) as caught:
        formats.read(tmp_path / "run.mat", layers={"layers": LAYERS, "golden": table})
    assert caught.value.place == place
    assert caught.value.file == str(tmp_path / "run.mat")


# --- refusals -------------------------------------------------------------------------


def changed(k, **changes):
    layers = copy.deepcopy(LAYERS)
    for key, value in changes.items():
        layers[k].pop(key, None)
        if value is not None:
            layers[k][key] = value
    return layers


REFUSED: dict[str, tuple[Any, str, str]] = {
    "no type": (changed(1, type=None), "layers[1]", "needs a type"),
    "type is a number": (changed(1, type=3), "layers[1]", "needs a type"),
    "not a table": ([3], "layers[0]", "needs a type"),
    "unknown type": (changed(1, type="peephole"), "layers[1].type", "unknown type"),
    "unknown key": (changed(1, weight="W1"), "layers[1].weight", "unknown key"),
    "number as text": (changed(0, size="three"), "layers[0].size", "no variable"),
    "text as number": (changed(1, output_mode=1), "layers[1].output_mode", "not text"),
    "missing variable": (
        changed(1, bias="b9"), "layers[1].bias", "no variable 'b9'"
    ),
    "missing field": (changed(1, bias="net.c"), "layers[1].bias", "no 'c' in it"),
    "missing element": (changed(1, bias="W_i{3}"), "layers[1].bias", "outside"),
    "no expression": (changed(1, bias="b1 + b1"), "layers[1].bias", "not a variable"),
    "a struct": (changed(1, bias="net.b"), "layers[1].bias", "not an array"),
    "ragged numbers": (
        changed(1, bias=[[1, 2], [3]]), "layers[1].bias", "neither a variable"
    ),
    "no weights": (
        changed(1, input_weights=None), "Layers('lstm').InputWeights", "not trained"
    ),
    "no output weights": (
        changed(6, weights=None), "Layers('fc').Weights", "not trained"
    ),
    "transposed weights": (
        changed(1, input_weights="R1", recurrent_weights="W1"),
        "Layers('lstm').InputWeights", "does not compute",
    ),
    "bias of another layer": (
        changed(1, bias="b3"), "Layers('lstm').Bias", "does not compute"
    ),
    "weights of another layer": (changed(4, input_weights="W1"), "Layers('both')", ""),
    "a gate too few": (
        changed(3, bias={g: f"net.b.{g}" for g in "ifc"}), "layers[3].bias", "gates"
    ),
    "a gate twice": (
        changed(3, bias={g: f"net.b.{g}" for g in "ifcgo"}), "layers[3].bias", "gates"
    ),
    "gates of a gru": (
        changed(3, bias={g: f"net.b.{g}" for g in "rzn"}), "layers[3].bias", "gates"
    ),
    "gates of both directions": (
        changed(4, bias={g: f"net.b.{g}" for g in "ifco"}), "layers[4].bias", "gates"
    ),
    "gates of different sizes": (
        changed(3, bias={g: "b1" if g == "i" else f"net.b.{g}" for g in "ifco"}),
        "layers[3].bias", "differ in size",
    ),
    "statistics": (changed(0, mean=[1, 2]), "Layers('in').Mean", "does not compute"),
    "mode": (changed(1, output_mode="first"), "Layers('lstm').OutputMode", ""),
    "no input": (LAYERS[1:], "Layers('lstm')", "without an input"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(file, case):
    layers, place, words = REFUSED[case]
    with pytest.raises((InputError, Unsupported)) as caught:
        formats.read(file, layers=layers)
    assert str(caught.value.place).startswith(place)
    assert words in str(caught.value)
    assert caught.value.file == str(file)


@pytest.mark.parametrize(("content", "words"), [
    ("layers = [", "not a TOML file"), ("", "list of layers"),
    ("[[layer]]\ntype = 'lstm'", "list of layers"), ("\xff", "not a TOML file"),
    ("title = 'x'\n[[layers]]\ntype = 'relu'", "list of layers"),
])  # fmt: skip
def test_descriptions_that_are_none(file, tmp_path, content, words):
    toml = tmp_path / "net.toml"
    toml.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=words) as caught:
        formats.read(file, layers=toml)
    assert caught.value.file == str(toml)


def test_a_description_that_is_not_there(file, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        formats.read(file, layers=tmp_path / "nothing.toml")


def test_variable_and_layers_exclude_each_other(file):
    with pytest.raises(Unsupported, match="not both"):
        formats.read(file, variable="net", layers=LAYERS)
