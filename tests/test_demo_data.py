"""The demo network's file against a loop in NumPy float64, without jlstm's reader."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

import jlstm

DATA = Path(jlstm.__file__).parent / "data"
INPUTS, HIDDEN, OUTPUTS, STEPS = 3, 32, 2, 240
SHAPES = {
    "LSTM_W1": (4 * HIDDEN, INPUTS),
    "LSTM_R1": (4 * HIDDEN, HIDDEN),
    "LSTM_b1": (4 * HIDDEN, 1),
    "LSTM_W2": (4 * HIDDEN, HIDDEN),
    "LSTM_R2": (4 * HIDDEN, HIDDEN),
    "LSTM_b2": (4 * HIDDEN, 1),
    "FC_Weights": (OUTPUTS, HIDDEN),
    "FC_Bias": (OUTPUTS, 1),
    "X_mean": (INPUTS, 1),
    "X_std": (INPUTS, 1),
    "X": (INPUTS, STEPS),
    "H1": (HIDDEN, STEPS),
    "R1out": (HIDDEN, STEPS),
    "H2": (HIDDEN, STEPS),
    "R2out": (HIDDEN, STEPS),
    "Y": (OUTPUTS, STEPS),
    "Y_measured": (OUTPUTS, STEPS),
    "sample_time": (1, 1),
}
DOUBLE = ("Y", "Y_measured", "sample_time")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    contents = loadmat(DATA / "demo.mat")
    return {k: v for k, v in contents.items() if not k.startswith("__")}


def recompute(arrays, pairs=(0, 1)) -> dict[str, np.ndarray]:
    """The equations, one step after another; layer k keeps its state in `pairs[k]`."""
    p = {name: value.astype(np.float64) for name, value in arrays.items()}
    x = (p["X"] - p["X_mean"]) / p["X_std"]
    h, c = [np.zeros((HIDDEN, 1))] * 2, [np.zeros((HIDDEN, 1))] * 2
    columns = {name: [] for name in ("H1", "R1out", "H2", "R2out", "Y")}
    for t in range(x.shape[1]):
        signal = x[:, t : t + 1]
        for k, pair in zip("12", pairs, strict=True):
            w, r, b = p[f"LSTM_W{k}"], p[f"LSTM_R{k}"], p[f"LSTM_b{k}"]
            z = (w @ signal + r @ h[pair] + b).reshape(4, HIDDEN, 1)
            i, f, o = 1 / (1 + np.exp(-z[[0, 1, 3]]))
            c[pair] = f * c[pair] + i * np.tanh(z[2])
            h[pair] = o * np.tanh(c[pair])
            signal = np.where(h[pair] > 0, h[pair], 0.0)
            columns[f"H{k}"].append(h[pair])
            columns[f"R{k}out"].append(signal)
        columns["Y"].append(p["FC_Weights"] @ signal + p["FC_Bias"])
    return {name: np.hstack(value) for name, value in columns.items()}


def test_shapes_and_types(arrays):
    assert {name: value.shape for name, value in arrays.items()} == SHAPES
    for name, value in arrays.items():
        kind = np.float64 if name in DOUBLE else np.float32
        assert value.dtype.newbyteorder("=") == kind, name
        assert np.all(np.isfinite(value)), name
    assert (DATA / "demo.mat").stat().st_size < 200_000


def test_golden_output(arrays):
    ours = recompute(arrays)
    np.testing.assert_allclose(ours["Y"], arrays["Y"], rtol=0, atol=1e-12)
    for name in ("H1", "R1out", "H2", "R2out"):
        # Half a unit in the last place of a single below 1.
        np.testing.assert_allclose(ours[name], arrays[name], rtol=0, atol=3e-8)


def test_network_is_trained_and_uses_every_layer(arrays):
    error = arrays["Y"] - arrays["Y_measured"]
    nrmse = np.sqrt(np.mean(error**2, axis=1)) / arrays["Y_measured"].std(axis=1)
    assert np.all(nrmse < 0.03)
    for name in ("H1", "H2"):
        assert 0.1 < np.mean(arrays[name] < -1e-3) < 0.9
        assert np.ptp(arrays[name], axis=1).max() > 0.5


def test_one_state_pair_for_both_layers_is_right_only_once(arrays):
    wrong, right = recompute(arrays, pairs=(0, 0)), recompute(arrays)
    error = {name: np.abs(wrong[name] - right[name]).max(axis=0) for name in right}
    assert error["H1"][0] == 0.0
    assert np.all(error["H1"][1:] > 1e-3)
    assert error["H2"][0] > 1e-2
    assert error["Y"].max() > 1.0  # cm


def test_description_names_every_array_once(arrays):
    description = tomllib.loads((DATA / "demo.toml").read_text(encoding="utf-8"))
    assert [layer["type"] for layer in description["layers"]] == [
        "sequence input", "lstm", "relu", "lstm", "relu", "fully connected"
    ]  # fmt: skip
    settings = {"type", "name", "size", "normalization"}
    named = [
        value
        for layer in description["layers"]
        for key, value in layer.items()
        if key not in settings
    ]
    golden = description["golden"]
    named += [golden[key] for key in ("input", "output", "measured", "sample_time")]
    named += golden["layers"].values()
    assert sorted(named) == sorted(arrays)
    assert set(golden["layers"]) <= {layer["name"] for layer in description["layers"]}


def test_the_example_description_is_read(tmp_path, rng):
    """configs/hand_extracted.toml, on random weights, against the loop above."""
    hidden, features, outputs = 4, 10, 2
    sizes = {"W1": (16, features), "R1": (16, hidden), "b1": (16, 1),
             "W2": (16, hidden), "R2": (16, hidden), "b2": (16, 1)}  # fmt: skip
    arrays = {f"LSTM_{name}": rng.normal(size=size) for name, size in sizes.items()}
    arrays["FC_Weights"] = rng.normal(size=(outputs, hidden))
    arrays["FC_Bias"] = rng.normal(size=(outputs, 1))
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    path = tmp_path / "weights.mat"
    savemat(path, arrays)
    config = Path(__file__).parent.parent / "configs" / "hand_extracted.toml"
    net = jlstm.load(path, layers=config)
    x = rng.normal(size=(7, features))
    signal = x
    for k in "12":
        w, r, b = (arrays[f"LSTM_{p}{k}"].astype(float) for p in "WRb")
        h = c = np.zeros(hidden)
        rows = []
        for x_t in signal:
            i, f, g, o = np.split(w @ x_t + r @ h + b[:, 0], 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            rows.append(h)
        signal = np.maximum(rows, 0)
    expected = signal @ arrays["FC_Weights"].T + arrays["FC_Bias"].T
    np.testing.assert_allclose(jlstm.predict(net, x), expected, rtol=1e-5, atol=1e-5)
