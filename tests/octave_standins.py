"""Stand-in networks for GNU Octave, and what they compute, in NumPy float64.

The networks are given to tests/octave/run_exports.m as data; the classes there follow
the call forms and shapes of the reference pages of the Deep Learning Toolbox.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PACKAGE = "nnet.cnn.layer."


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
        dense(rng, "fc", 5, 1),
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


def double(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_outputs(
    weights: dict[str, Any], x: np.ndarray, start: str
) -> tuple[np.ndarray, np.ndarray]:
    """All hidden states `(H, T)` and the last cell state `(H, 1)`."""
    prefix = "Initial" if start == "initial" else ""
    h = double(weights[prefix + "HiddenState"][:, 0])
    c = double(weights[prefix + "CellState"][:, 0])
    w, r, b = (double(weights[k]) for k in ("InputWeights", "RecurrentWeights", "Bias"))
    hidden = []
    for column in x.T:
        i, f, g, o = np.split(w @ column + r @ h + b[:, 0], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hidden.append(h)
    return np.stack(hidden, 1), c[:, None]


def affine(weights: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return double(weights["Weights"]) @ x + double(weights["Bias"])


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
