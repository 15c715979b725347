"""jlstm_export.m under GNU Octave, on stand-in networks that really compute.

The stand-ins of tests/octave/ follow the call forms and the shapes of the reference
pages of the Deep Learning Toolbox, with weights drawn here. What the script writes is
compared, field by field, with those weights and with the forward passes of
octave_standins.py, in NumPy float64.
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
from octave_standins import (
    affine,
    build_networks,
    cells,
    dag_reference,
    double,
    lstm_outputs,
    properties_of,
    series_reference,
    standardised,
)
from scipy.io import loadmat, savemat

import jlstm

SCRIPT = Path(jlstm.__file__).parent / "data" / "jlstm_export.m"
STANDINS = Path(__file__).parent / "octave"


# ------------------------------------------------------------- the written files


def close(actual: np.ndarray, expected: np.ndarray, name: str = "") -> None:
    """Equal up to the rounding to single at the end of every layer of a stand-in."""
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7, err_msg=name)


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
        close(value, reference, name)


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
        close(scores, expected["classoutput"])
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
        close(wide, expected["wide"])
        close(one, expected["one"])
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
    return np.sin(double(k) ** 2).reshape(shape, order="F")


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
    expected = {"in": standardised(weights, double(np.float32(x)))}
    hidden, cell = lstm_outputs(
        properties_of(network, "lstm"), expected["in"], "initial"
    )
    expected |= {"lstm/out": hidden, "lstm/hidden": hidden[:, -1:], "lstm/cell": cell}
    scaled = 2 * properties_of(network, "scale")["Scale"] * hidden
    expected["fc"] = affine(properties_of(network, "fc"), scaled)
    compare_activations(golden["layers"], expected)
    (output,) = golden["output"]
    assert output.shape == (1, 9)
    assert output.dtype == np.float32
    close(output, expected["fc"])
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
        close(golden["output"][0], expected)
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
    close(output, affine(properties_of(network, "fc"), hidden))
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
