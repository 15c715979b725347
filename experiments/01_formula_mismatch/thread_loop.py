"""The loop of MATLAB Answers 2068661 as it was run, and the same loop mended.

Written anew in NumPy, in double precision, from what the question does: weights taken
out of a trained network, then LSTM > relu > LSTM > relu > fully connected step by step.
Names in capitals and `h_prev`, `c_prev`, `HiddenLayersNum` are the question's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import jlstm as jl

Outputs = dict[str, np.ndarray]


class Extracted(NamedTuple):
    """What the question takes out of the network, and how it scales data by hand."""

    LSTM1: tuple[np.ndarray, np.ndarray, np.ndarray]  # W (4H, C), R (4H, H), b (4H,)
    LSTM2: tuple[np.ndarray, np.ndarray, np.ndarray]
    FC: tuple[np.ndarray, np.ndarray]
    mean: Any = 0.0
    std: Any = 1.0
    label_mean: Any = 0.0
    label_std: Any = 1.0


def extract(net: jl.Network, dtype: Any = np.float64) -> Extracted:
    """Weights of `lstm_1`, `lstm_2` and `fc`; the statistics of a z-scoring input."""

    def packed(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layer: Any = net.layers[name]
        arrays = jl.matlab_arrays(layer)
        w, r = (arrays[k].astype(dtype) for k in ("InputWeights", "RecurrentWeights"))
        return w, r, arrays["Bias"].astype(dtype).ravel()

    fc: Any = net.layers["fc"]
    entry: Any = net.layers[net.inputs[0]]
    scale: dict[str, Any] = {}
    if entry.normalization == "zscore":
        scale = {k: np.asarray(getattr(entry, k), dtype) for k in ("mean", "std")}
    weights = np.asarray(fc.weights, dtype), np.asarray(fc.bias, dtype)
    return Extracted(packed("lstm_1"), packed("lstm_2"), weights, **scale)


def as_asked(
    p: Extracted, Test_input: np.ndarray, HiddenLayersNum: int, order: str = "ifgo"
) -> Outputs:
    """The loop of the question: one `h_prev`, `c_prev` for both LSTM layers.

    Arguments:
        p: what was extracted.
        Test_input: `(time, 1 + features)`; the first column is dropped, as there.
        HiddenLayersNum: the one number of units that the question uses for both layers.
        order: the gates in the order of their row blocks; the question has it right.
    """
    P_test = ((Test_input[:, 1:] - p.mean) / p.std).T  # features x time
    h_prev = np.zeros(HiddenLayersNum, P_test.dtype)
    c_prev = np.zeros(HiddenLayersNum, P_test.dtype)
    found: dict[str, list[np.ndarray]] = {"lstm_1": [], "lstm_2": [], "fc": []}
    for t in range(max(P_test.shape)):  # MATLAB's length()
        h_prev, c_prev = lstm(P_test[:, t], h_prev, c_prev, p.LSTM1, order)
        found["lstm_1"].append(h_prev)
        relu1 = relu(h_prev)
        # Here it goes wrong: h_prev, c_prev are what layer 1 has just written.
        h_prev, c_prev = lstm(relu1, h_prev, c_prev, p.LSTM2, order)
        found["lstm_2"].append(h_prev)
        relu2 = relu(h_prev)
        fc = p.FC[0] @ relu2 + p.FC[1]
        found["fc"].append(fc * p.label_std + p.label_mean)
    return {name: np.array(values) for name, values in found.items()}


def mended(
    p: Extracted,
    Test_input: np.ndarray,
    order: str = "ifgo",
    activation: Any = None,
) -> Outputs:
    """The same loop with `h1, c1` and `h2, c2`, each of its layer's size."""
    activation = activation or relu
    P_test = ((Test_input[:, 1:] - p.mean) / p.std).T
    h1, c1 = np.zeros((2, p.LSTM1[1].shape[1]), P_test.dtype)
    h2, c2 = np.zeros((2, p.LSTM2[1].shape[1]), P_test.dtype)
    found: dict[str, list[np.ndarray]] = {"lstm_1": [], "lstm_2": [], "fc": []}
    for t in range(P_test.shape[1]):
        h1, c1 = lstm(P_test[:, t], h1, c1, p.LSTM1, order)
        found["lstm_1"].append(h1)
        h2, c2 = lstm(activation(h1), h2, c2, p.LSTM2, order)
        found["lstm_2"].append(h2)
        fc = p.FC[0] @ activation(h2) + p.FC[1]
        found["fc"].append(fc * p.label_std + p.label_mean)
    return {name: np.array(values) for name, values in found.items()}


def lstm(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, weights: Any, order: str
) -> tuple[np.ndarray, np.ndarray]:
    """One step; rows are sliced by the size of `h`, as in the question."""
    hidden = len(h)
    z = {}
    for k, gate in enumerate(order):
        w, r, b = (rows(array, k * hidden, (k + 1) * hidden) for array in weights)
        z[gate] = product(w, x) + product(r, h) + b
    c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
    return sigmoid(z["o"]) * np.tanh(c), c


def rows(array: np.ndarray, start: int, stop: int) -> np.ndarray:
    """`array(start+1:stop, :)`; like MATLAB, unlike NumPy, not beyond the end."""
    if stop > len(array):
        raise IndexError(f"rows {start + 1}:{stop} of an array that has {len(array)}")
    return array[start:stop]


def product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    if matrix.shape[1] != len(vector):
        sizes = f"{matrix.shape[0]}x{matrix.shape[1]} * {len(vector)}x1"
        raise ValueError(f"matrix dimensions do not agree: {sizes}")
    return matrix @ vector


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def table(x: np.ndarray) -> np.ndarray:
    """`(time, features)` behind a first column of step numbers, as in the question."""
    return np.column_stack([np.arange(1, len(x) + 1, dtype=x.dtype), x])
