"""jlstm_export.m under GNU Octave, on stand-in networks that really compute.

The stand-ins of tests/octave/ follow the call forms and the shapes of the reference
pages of the Deep Learning Toolbox, with weights drawn here. What the script writes is
compared, field by field, with those weights and with forward passes written below in
NumPy float64.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

import jlstm

SCRIPT = Path(jlstm.__file__).parent / "data" / "jlstm_export.m"
STANDINS = Path(__file__).parent / "octave"
PACKAGE = "nnet.cnn.layer."
ROUNDING = {"rtol": 1e-6, "atol": 1e-7}  # the stand-ins round float64 to single


# ---------------------------------------------------------------- the networks


def cells(items: Any) -> np.ndarray:
    array = np.empty((1, len(items)), object)
    for k, item in enumerate(items):
        array[0, k] = item
    return array


def layer(kind: str, name: str, **properties: Any) -> dict[str, Any]:
    package = "" if kind == "ScaleLayer" else PACKAGE
    return {"class": package + kind, "properties": {"Name": name, **properties}}


def lstm(
    rng: np.random.Generator, name: str, inputs: int, units: int, **more: Any
) -> dict[str, Any]:
    def draw(*shape: int, scale: float = 0.6) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    return layer(
        "LSTMLayer",
        name,
        InputSize=float(inputs),
        NumHiddenUnits=float(units),
        InputWeights=draw(4 * units, inputs),
        RecurrentWeights=draw(4 * units, units),
        Bias=draw(4 * units, 1),
        HiddenState=draw(units, 1),
        CellState=draw(units, 1, scale=1.0),
        InitialHiddenState=draw(units, 1),
        InitialCellState=draw(units, 1, scale=1.0),
        **more,
    )


def dense(
    rng: np.random.Generator, name: str, inputs: int, outputs: int
) -> dict[str, Any]:
    weights = rng.standard_normal((outputs, inputs)).astype(np.float32)
    bias = rng.standard_normal((outputs, 1)).astype(np.float32)
    return layer(
        "FullyConnectedLayer",
        name,
        InputSize=float(inputs),
        OutputSize=float(outputs),
        Weights=weights,
        Bias=bias,
    )


def zscore(rng: np.random.Generator, name: str, channels: int) -> dict[str, Any]:
    return layer(
        "SequenceInputLayer",
        name,
        InputSize=float(channels),
        Normalization="zscore",
        Mean=50 + 10 * rng.standard_normal((channels, 1)),
        StandardDeviation=5 + rng.random((channels, 1)),
    )


def learnables(layers: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = ("InputWeights", "RecurrentWeights", "Bias", "Weights", "Scale")
    rows = [
        (entry["properties"]["Name"], key, value)
        for entry in layers
        for key, value in entry["properties"].items()
        if key in wanted
    ]
    owners, parameters, values = zip(*rows, strict=True)
    return {
        "owners": cells(owners),
        "parameters": cells(parameters),
        "values": cells(values),
    }


def build_networks() -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(20)
    networks: dict[str, dict[str, Any]] = {}
    networks["series"] = {
        "layers": [
            zscore(rng, "in", 3),
            lstm(rng, "lstm_1", 3, 5),
            lstm(rng, "lstm_2", 5, 4, OutputMode="last"),
            dense(rng, "fc", 4, 6),
            layer("SoftmaxLayer", "softmax"),
            layer("ClassificationOutputLayer", "classoutput"),
        ],
        "classes": cells(["a", "b", "c", "d", "e", "f"]),
        "X": cells([50 + 10 * rng.standard_normal((3, steps)) for steps in (7, 11)]),
    }
    inputs = np.empty((2, 2), object)
    for k, steps in enumerate((6, 9)):
        inputs[k, 0] = rng.standard_normal((3, steps))
        inputs[k, 1] = rng.standard_normal((2, steps))
    networks["dag"] = {
        "layers": [
            layer("SequenceInputLayer", "in_a", InputSize=3.0),
            layer("SequenceInputLayer", "in_b", InputSize=2.0),
            lstm(rng, "lstm_a", 3, 5),
            lstm(rng, "lstm_b", 2, 5),
            layer("AdditionLayer", "add", InputNames=cells(["in1", "in2"])),
            dense(rng, "fc_wide", 5, 4),
            dense(rng, "fc_one", 5, 1),
            layer("RegressionOutputLayer", "wide"),
            layer("RegressionOutputLayer", "one"),
        ],
        "source": cells(
            ["in_a", "in_b", "lstm_a", "lstm_b", "add", "add", "fc_wide", "fc_one"]
        ),
        "destination": cells(
            [
                "lstm_a",
                "lstm_b",
                "add/in1",
                "add/in2",
                "fc_wide",
                "fc_one",
                "wide",
                "one",
            ]
        ),
        "input_names": cells(["in_a", "in_b"]),
        "output_names": cells(["wide", "one"]),
        "X": inputs,
    }
    labelled = [
        zscore(rng, "in", 3),
        lstm(
            rng,
            "lstm",
            3,
            5,
            HasStateOutputs=True,
            OutputNames=cells(["out", "hidden", "cell"]),
        ),
        layer("ScaleLayer", "scale", Scale=np.float32(rng.normal(size=(5, 1)))),
        dense(rng, "fc", 5, 4),
    ]
    networks["labelled"] = {"layers": labelled, **learnables(labelled)}
    video = [
        layer("SequenceInputLayer", "in", InputSize=np.array([[2.0, 3.0, 4.0]])),
        layer("FlattenLayer", "flatten"),
        lstm(rng, "lstm", 24, 5, OutputMode="last"),
        dense(rng, "fc", 5, 2),
    ]
    networks["video"] = {
        "layers": video,
        **learnables(video),
        "X": rng.standard_normal((2, 3, 4, 7)),
    }
    networks["video"]["values"] = cells(
        [np.float64(value) for value in networks["video"]["values"][0]]
    )
    networks["features"] = {
        "layers": [
            layer("FeatureInputLayer", "in", InputSize=4.0),
            dense(rng, "fc", 4, 3),
            layer("RegressionOutputLayer", "out"),
        ],
        "X": rng.standard_normal((4, 5)),
    }
    networks["assembled"] = {
        "layers": [
            layer(
                "SequenceInputLayer",
                "in",
                InputSize=3.0,
                Normalization="rescale-zero-one",
                Min=np.array([[-2.0], [10.0], [0.0]]),
                Max=np.array([[2.0], [30.0], [0.5]]),
            ),
            lstm(rng, "lstm", 3, 5),
            dense(rng, "fc", 5, 1),
            layer("RegressionOutputLayer", "out"),
        ],
    }
    return networks


# ----------------------------------------------------- the reference computation


def properties_of(network: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [
        entry["properties"]
        for entry in network["layers"]
        if entry["properties"]["Name"] == name
    ]
    return found


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_outputs(
    weights: dict[str, Any], x: np.ndarray, start: str
) -> tuple[np.ndarray, np.ndarray]:
    """All hidden states `(H, T)` and the last cell state `(H, 1)`."""
    prefix = "Initial" if start == "initial" else ""
    h = np.float64(weights[prefix + "HiddenState"][:, 0])
    c = np.float64(weights[prefix + "CellState"][:, 0])
    w, r, b = (
        np.float64(weights[k]) for k in ("InputWeights", "RecurrentWeights", "Bias")
    )
    hidden = []
    for column in x.T:
        i, f, g, o = np.split(w @ column + r @ h + b[:, 0], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hidden.append(h)
    return np.stack(hidden, 1), c[:, None]


def affine(weights: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return np.float64(weights["Weights"]) @ x + np.float64(weights["Bias"])


def standardised(weights: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return (x - weights["Mean"]) / weights["StandardDeviation"]


def series_reference(network: dict[str, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    values = {"in": standardised(properties_of(network, "in"), x)}
    first, _ = lstm_outputs(properties_of(network, "lstm_1"), values["in"], "initial")
    second, _ = lstm_outputs(properties_of(network, "lstm_2"), first, "initial")
    values |= {"lstm_1": first, "lstm_2": second[:, -1:]}
    values["fc"] = affine(properties_of(network, "fc"), values["lstm_2"])
    scores = np.exp(values["fc"])
    values["softmax"] = values["classoutput"] = scores / scores.sum()
    return values


def dag_reference(
    network: dict[str, Any], a: np.ndarray, b: np.ndarray
) -> dict[str, np.ndarray]:
    values = {"in_a": a, "in_b": b}
    for side in "ab":
        weights = properties_of(network, f"lstm_{side}")
        values[f"lstm_{side}"], _ = lstm_outputs(
            weights, values[f"in_{side}"], "current"
        )
    values["add"] = values["lstm_a"] + values["lstm_b"]
    for name in ("fc_wide", "fc_one"):
        values[name] = affine(properties_of(network, name), values["add"])
    return values | {"wide": values["fc_wide"], "one": values["fc_one"]}


# ------------------------------------------------------------- the written files


def plain(value: Any) -> Any:
    """What `loadmat` returns as dicts, lists (cells), str and arrays."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names is not None:
        entries = [
            {name: plain(item[name]) for name in value.dtype.names}
            for item in value.ravel(order="F")
        ]
        return entries[0] if value.shape == (1, 1) else entries
    if value.dtype == object:
        return [plain(item) for item in value.ravel(order="F")]
    if value.dtype.kind == "U":
        return str(value[0]) if value.size else ""
    return value


def read(folder: Path, name: str) -> dict[str, Any]:
    content = loadmat(folder / f"{name}.mat")
    assert [key for key in content if not key.startswith("__")] == ["jlstm"]
    exported = plain(content["jlstm"])
    if isinstance(exported["golden"], dict):
        exported["golden"] = [exported["golden"]]
    return exported


@pytest.fixture(scope="module")
def networks() -> dict[str, dict[str, Any]]:
    return build_networks()


@pytest.fixture(scope="module")
def exports(
    networks: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder in which one run of Octave has exported every network."""
    octave = shutil.which("octave-cli")
    if octave is None:
        if os.environ.get("CI"):
            pytest.fail("octave-cli is missing from the continuous integration image")
        pytest.skip("GNU Octave (octave-cli) is not installed")
    folder = tmp_path_factory.mktemp("octave")
    savemat(
        folder / "standins.mat",
        {
            name: network | {"layers": cells(network["layers"])}
            for name, network in networks.items()
        },
        long_field_names=True,
    )
    command = (
        f"addpath('{STANDINS}'); addpath('{SCRIPT.parent}'); run_exports('{folder}');"
    )
    done = subprocess.run(
        [octave, "--no-init-file", "--quiet", "--eval", command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr, done.stderr
    return folder


# --------------------------------------------------------------------- the tests


@pytest.mark.parametrize(
    ("name", "object_class", "precision", "layers", "sequences"),
    [
        ("series", "SeriesNetwork", "single", 6, 2),
        ("dag", "DAGNetwork", "single", 9, 2),
        ("labelled", "dlnetwork", "single", 4, 1),
        ("video", "dlnetwork", "double", 4, 1),
        ("features", "SeriesNetwork", "single", 3, 5),
        ("assembled", "cell", "single", 4, 1),
        ("untrained", "cell", "single", 4, 0),
    ],
)
def test_layout(
    exports: Path,
    name: str,
    object_class: str,
    precision: str,
    layers: int,
    sequences: int,
) -> None:
    raw = loadmat(exports / f"{name}.mat")["jlstm"]
    assert raw.shape == (1, 1)
    fields = {
        "format",
        "version",
        "release",
        "created",
        "object_class",
        "precision",
        "layers",
        "connections",
        "input_names",
        "output_names",
        "golden",
        "notes",
    }
    if object_class == "dlnetwork":
        fields |= {"learnables", "state", "initial_state"}
    assert set(raw.dtype.names) == fields
    assert raw["layers"][0, 0].shape == (1, layers)
    assert raw["golden"][0, 0].shape == ((1, sequences) if sequences else (0, 0))
    exported = read(exports, name)
    assert exported["format"] == "jlstm-matlab-network"
    assert exported["version"].item() == 1
    assert re.fullmatch(r"Octave \d+\.\d+\.\d+", exported["release"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", exported["created"])
    assert exported["object_class"] == object_class
    assert exported["precision"] == precision
    for entry in exported["layers"]:
        assert set(entry) == {"class", "name", "properties", "initial_state"}
    for golden in exported["golden"]:
        assert set(golden) == {
            "input",
            "output",
            "layers",
            "mini_batch_size",
            "start",
            "classes",
        }
        assert golden["mini_batch_size"].item() == 1


def test_layers_carry_class_name_and_every_property(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    for name in ("series", "dag", "features", "assembled"):
        exported = read(exports, name)
        for entry, given in zip(
            exported["layers"], networks[name]["layers"], strict=True
        ):
            assert entry["class"] == given["class"]
            assert entry["name"] == given["properties"]["Name"]
            for key, value in given["properties"].items():
                if key.startswith("Initial"):  # hidden properties of the class
                    assert key not in entry["properties"]
                elif isinstance(value, str):
                    assert entry["properties"][key] == value
                elif isinstance(value, np.ndarray) and value.dtype == object:
                    assert entry["properties"][key] == list(value[0])
                else:
                    written = entry["properties"][key]
                    assert written.dtype.kind in "fu"
                    np.testing.assert_array_equal(
                        written, np.atleast_2d(value), strict=False
                    )
    recurrent = read(exports, "series")["layers"][1]["properties"]
    assert recurrent["InputWeights"].dtype == np.float32
    assert recurrent["InputWeights"].shape == (20, 3)
    assert recurrent["RecurrentWeights"].shape == (20, 5)
    assert recurrent["Bias"].shape == (20, 1)
    assert recurrent["StateActivationFunction"] == "tanh"
    assert recurrent["OutputMode"] == "sequence"
    assert recurrent["BiasL2Factor"].item() == 0
    np.testing.assert_array_equal(
        recurrent["RecurrentWeightsLearnRateFactor"], [[1, 2, 3, 4]]
    )


def test_both_states_of_a_recurrent_layer(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    given = properties_of(networks["series"], "lstm_2")
    entry = read(exports, "series")["layers"][2]
    for key in ("HiddenState", "CellState"):
        np.testing.assert_array_equal(entry["properties"][key], given[key])
        np.testing.assert_array_equal(
            entry["initial_state"][key], given["Initial" + key]
        )
    dense_entry = read(exports, "series")["layers"][3]
    assert {key: v.size for key, v in dense_entry["initial_state"].items()} == {
        "HiddenState": 0,
        "CellState": 0,
    }


def test_connections_and_names(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    series = read(exports, "series")
    order = ["in", "lstm_1", "lstm_2", "fc", "softmax", "classoutput"]
    assert series["connections"] == {"source": order[:-1], "destination": order[1:]}
    assert series["input_names"] == ["in"]
    assert series["output_names"] == ["classoutput"]
    dag = read(exports, "dag")
    assert dag["connections"] == {
        key: list(networks["dag"][key][0]) for key in ("source", "destination")
    }
    assert dag["input_names"] == ["in_a", "in_b"]
    assert dag["output_names"] == ["wide", "one"]
    raw = loadmat(exports / "dag.mat")["jlstm"][0, 0]
    assert raw["connections"]["source"][0, 0].shape == (8, 1)


def compare_activations(
    written: dict[str, Any], expected: dict[str, np.ndarray]
) -> None:
    assert written["name"] == list(expected)
    for value, (name, reference) in zip(
        written["value"], expected.items(), strict=True
    ):
        assert value.shape == reference.shape, name
        np.testing.assert_allclose(value, reference, **ROUNDING, err_msg=name)


def test_series_golden_vectors(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    network = networks["series"]
    exported = read(exports, "series")
    for golden, x in zip(exported["golden"], network["X"][0], strict=True):
        (given,) = golden["input"]
        np.testing.assert_array_equal(given, x)
        expected = series_reference(network, x)
        compare_activations(golden["layers"], expected)
        (scores,) = golden["output"]
        assert scores.shape == (6, 1)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected["classoutput"], **ROUNDING)
        assert golden["classes"] == list("abcdef")
        assert golden["start"] == "initial"
    assert exported["notes"] == []


def test_graph_with_two_inputs_and_two_outputs(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    network = networks["dag"]
    exported = read(exports, "dag")
    for k, golden in enumerate(exported["golden"]):
        a, b = network["X"][k]
        np.testing.assert_array_equal(golden["input"][0], a)
        np.testing.assert_array_equal(golden["input"][1], b)
        expected = dag_reference(network, a, b)
        compare_activations(golden["layers"], expected)
        wide, one = golden["output"]
        assert wide.shape == (4, a.shape[1])
        assert one.shape == (1, a.shape[1])  # one feature over time, not one row
        np.testing.assert_allclose(wide, expected["wide"], **ROUNDING)
        np.testing.assert_allclose(one, expected["one"], **ROUNDING)
        assert golden["classes"] == []
        assert golden["start"] == "current"
    assert exported["notes"] == [
        "the state could not be reset: resetState: refused by the stand-in"
    ]


def test_returned_struct_is_the_written_one(exports: Path) -> None:
    returned = plain(loadmat(exports / "returned.mat")["exported"])
    np.testing.assert_equal(returned, read(exports, "dag"))


def deterministic(*shape: int) -> np.ndarray:
    k = np.arange(1, np.prod(shape) + 1)
    return np.sin(np.float64(k) ** 2).reshape(shape, order="F")


def test_labelled_arrays_with_a_custom_layer(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    network = networks["labelled"]
    exported = read(exports, "labelled")
    (golden,) = exported["golden"]
    weights = properties_of(network, "in")
    (x,) = golden["input"]
    np.testing.assert_allclose(
        x,
        weights["Mean"] + 1.5 * weights["StandardDeviation"] * deterministic(3, 9),
        rtol=1e-12,
    )
    expected = {"in": standardised(weights, np.float64(np.float32(x)))}
    hidden, cell = lstm_outputs(
        properties_of(network, "lstm"), expected["in"], "initial"
    )
    expected |= {"lstm/out": hidden, "lstm/hidden": hidden[:, -1:], "lstm/cell": cell}
    scaled = 2 * properties_of(network, "scale")["Scale"] * hidden
    expected["fc"] = affine(properties_of(network, "fc"), scaled)
    compare_activations(golden["layers"], expected)
    (output,) = golden["output"]
    assert output.shape == (4, 9)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected["fc"], **ROUNDING)
    assert exported["notes"] == [
        "scale.Broken: not readable: this property cannot be read",
        "scale.Owner: not stored: containers.Map",
        "scale.Settings: not stored: containers.Map",
        "golden 1: no activations of scale: the stand-in refuses scale",
    ]


def test_values_without_objects(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    scale = read(exports, "labelled")["layers"][2]
    assert scale["class"] == "ScaleLayer"
    values = scale["properties"]
    np.testing.assert_array_equal(
        values["Scale"], properties_of(networks["labelled"], "scale")["Scale"]
    )
    assert values["Remark"] == "two words"
    assert values["Transform"] == {"function_handle": "@(x) 2 * x"}
    assert values["Owner"] == {"unsupported_class": "containers.Map"}
    assert values["Settings"]["labels"] == ["a", "b"]
    assert values["Settings"]["inner"][0] == {"unsupported_class": "containers.Map"}
    assert values["Settings"]["inner"][1].item() == 1
    assert "Broken" not in values
    classes = read(exports, "series")["layers"][-1]["properties"]["Classes"]
    assert classes == list("abcdef")


def test_learnables_and_states(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    network = networks["labelled"]
    exported = read(exports, "labelled")
    assert len(exported["learnables"]) == 6
    for k, entry in enumerate(exported["learnables"]):
        assert set(entry) == {"layer", "parameter", "value"}
        assert entry["layer"] == network["owners"][0, k]
        assert entry["parameter"] == network["parameters"][0, k]
        assert entry["value"].dtype == np.float32
        np.testing.assert_array_equal(entry["value"], network["values"][0, k])
    given = properties_of(network, "lstm")
    for prefix, key in (("", "state"), ("Initial", "initial_state")):
        for entry, name in zip(
            exported[key], ("HiddenState", "CellState"), strict=True
        ):
            assert (entry["layer"], entry["parameter"]) == ("lstm", name)
            np.testing.assert_array_equal(entry["value"], given[prefix + name])


def test_sequence_of_images_in_double(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    network = networks["video"]
    (golden,) = read(exports, "video")["golden"]
    x = network["X"]
    np.testing.assert_array_equal(golden["input"][0], x)
    flat = x.reshape(24, 7, order="F")
    hidden, _ = lstm_outputs(properties_of(network, "lstm"), flat, "initial")
    output = affine(properties_of(network, "fc"), hidden[:, -1:])
    compare_activations(
        golden["layers"],
        {"in": x, "flatten": flat, "lstm": hidden[:, -1:], "fc": output},
    )
    assert golden["output"][0].dtype == np.float64
    np.testing.assert_allclose(golden["output"][0], output, rtol=1e-12)


def test_feature_vectors_go_one_by_one(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    network = networks["features"]
    exported = read(exports, "features")
    for golden, x in zip(exported["golden"], network["X"].T, strict=True):
        np.testing.assert_array_equal(golden["input"][0], x[:, None])
        expected = affine(properties_of(network, "fc"), x[:, None])
        compare_activations(
            golden["layers"], {"in": x[:, None], "fc": expected, "out": expected}
        )
        np.testing.assert_allclose(golden["output"][0], expected, **ROUNDING)
        assert golden["start"] == "initial"
    assert exported["notes"] == []  # there is no state that could fail to be reset


def test_layers_that_assemble_and_layers_that_do_not(
    exports: Path, networks: dict[str, dict[str, Any]]
) -> None:
    network = networks["assembled"]
    (golden,) = read(exports, "assembled")["golden"]
    weights = properties_of(network, "in")
    low, high = weights["Min"], weights["Max"]
    (x,) = golden["input"]
    np.testing.assert_allclose(
        x, (high + low) / 2 + (high - low) / 2 * deterministic(3, 25), rtol=1e-12
    )
    hidden, _ = lstm_outputs(
        properties_of(network, "lstm"), (x - low) / (high - low), "initial"
    )
    (output,) = golden["output"]
    assert output.shape == (1, 25)
    np.testing.assert_allclose(
        output, affine(properties_of(network, "fc"), hidden), **ROUNDING
    )
    assert golden["layers"] == {"name": [], "value": []}
    untrained = read(exports, "untrained")
    assert untrained["notes"] == [
        "no golden vectors, the layers are no network yet: "
        "assembleNetwork: layer 2 has no weights",
        "layer 2 has no name, written as layer_2",
    ]
    assert untrained["connections"]["source"] == ["in", "layer_2", "fc"]
    np.testing.assert_array_equal(
        untrained["layers"][1]["properties"]["RecurrentWeights"],
        properties_of(network, "lstm")["RecurrentWeights"],
    )


def test_refusals_say_what_is_expected(exports: Path) -> None:
    messages = plain(loadmat(exports / "messages.mat")["messages"])
    assert messages == [
        "jlstm:export:class: A containers.Map cannot be exported.\nExpected: "
        "SeriesNetwork, DAGNetwork, dlnetwork, layerGraph or an array of layers.",
        "jlstm:export:input: X does not fit the network.\nExpected: a cell array "
        "with a row per sequence and 2 columns, one per input.",
        "jlstm:export:option: Unknown option.\nExpected: jlstm_export(net, X, file, "
        "'Steps', number, 'Activations', true or false).",
    ]


def test_script_keeps_to_the_syntax_that_matlab_r2018a_shares() -> None:
    """Octave accepts more than MATLAB, and MATLAB of today more than that of 2018."""
    code = []
    for line in SCRIPT.read_text(encoding="ascii").splitlines():
        assert len(line) <= 96
        stripped = re.sub(r"'(?:[^'\n]|'')*'(?![\w)\]}.'])|'[^'\n]*'", "''", line)
        code.append(stripped.split("%")[0])
    text = "\n".join(code)
    for pattern in (
        r"#|!|\"",  # Octave comments, != and !, double-quoted strings
        r"\bend(function|if|for|while|switch|_try_catch)\b",
        r"[+\-*/|&]=(?!=)|\+\+|--",  # Octave's compound assignment
        r"\b(arguments|inputParser|printf|puts|unwind_protect|do|until)\b",
        r"\w\(.*\)\s*\(",  # chained indexing f(x)(1)
    ):
        assert re.search(pattern, text) is None, pattern
