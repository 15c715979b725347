"""Train the demo network on simulated tanks and store it as hand-extracted arrays.

Writes `jlstm/data/demo.mat`; `jlstm/data/demo.toml`, which says how its arrays form a
network, is written by hand. Golden outputs come from torch in double precision.

    python experiments/00_demo_network/run.py            # train, store, compare
    python experiments/00_demo_network/run.py --compare  # compare the stored file only
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import plant
import torch
from scipy.io import loadmat, savemat

from jlstm.layers.activation import Activation
from jlstm.layers.dense import FullyConnected
from jlstm.layers.inputs import Input
from jlstm.network import Network, predict
from jlstm.recurrent import LSTM, Gate

FILE = Path(__file__).parents[2] / "jlstm" / "data" / "demo.mat"
HEADER = b"MATLAB 5.0 MAT-file, written by SciPy for the demo of jlstm, not by MATLAB"
HIDDEN = 32
STEPS = 240
RUNS = {"train": (256, STEPS), "test": (16, STEPS), "long": (4, 5 * STEPS)}
ITERATIONS = 8000
BATCH = 32
LEARNING_RATE = 4e-3

Arrays = dict[str, Any]


def main() -> None:
    x, y = simulate()
    if "--compare" not in sys.argv:
        started = time.perf_counter()
        arrays = train(x["train"], y["train"])
        print(f"trained in {time.perf_counter() - started:.0f} s")
        store(arrays, x["test"][0], y["test"][0])
    stored = {k: v for k, v in loadmat(FILE).items() if not k.startswith("__")}
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")
    for name in ("test", "long"):
        report_accuracy(stored, x[name], y[name])
    report_agreement(stored)
    report_shared_state(stored)


# --- data -------------------------------------------------------------------------


def simulate() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Independent runs of the plant for training and test: `(runs, time, ...)`."""
    rng = np.random.default_rng(2068661)
    x = {name: plant.excitation(rng, *size) for name, size in RUNS.items()}
    return x, {name: plant.levels(value) for name, value in x.items()}


# --- training ---------------------------------------------------------------------


def network(a: Arrays) -> Network:
    """The network that the arrays describe."""
    mean, std = a["X_mean"].ravel(), a["X_std"].ravel()
    return Network.build(
        {
            "input": Input(size=(3,), normalization="zscore", mean=mean, std=std),
            "lstm_1": lstm(a["LSTM_W1"], a["LSTM_R1"], a["LSTM_b1"]),
            "relu_1": Activation("relu"),
            "lstm_2": lstm(a["LSTM_W2"], a["LSTM_R2"], a["LSTM_b2"]),
            "relu_2": Activation("relu"),
            "fc": FullyConnected(a["FC_Weights"], a["FC_Bias"].ravel()),
        }
    )


def lstm(w: Any, r: Any, b: Any) -> LSTM:
    """Rows of each array: i, f, g, o, with the hidden units inside."""
    blocks = [slice(k * HIDDEN, (k + 1) * HIDDEN) for k in range(4)]
    i, f, g, o = (Gate(w[rows], r[rows], b[rows].ravel()) for rows in blocks)
    return LSTM(i, f, g, o)


def initial_weights(rng: np.random.Generator, inputs: int, outputs: int) -> Arrays:
    """Glorot input weights, orthogonal recurrent weights, forget bias 1."""
    a: Arrays = {}
    for k, width in ((1, inputs), (2, HIDDEN)):
        limit = np.sqrt(6.0 / (width + 4 * HIDDEN))
        a[f"LSTM_W{k}"] = rng.uniform(-limit, limit, (4 * HIDDEN, width))
        a[f"LSTM_R{k}"] = np.linalg.qr(rng.normal(size=(4 * HIDDEN, HIDDEN)))[0]
        a[f"LSTM_b{k}"] = np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN)[:, None]
    limit = np.sqrt(6.0 / (HIDDEN + outputs))
    a["FC_Weights"] = rng.uniform(-limit, limit, (outputs, HIDDEN))
    a["FC_Bias"] = np.zeros((outputs, 1))
    return {name: value.astype(np.float32) for name, value in a.items()}


def train(x: np.ndarray, y: np.ndarray) -> Arrays:
    """Fit standardised levels; the fully connected layer then returns centimetres."""
    rng = np.random.default_rng(2005887)
    statistics = {
        "X_mean": x.mean((0, 1))[:, None],
        "X_std": x.std((0, 1))[:, None],
    }
    mean, std = y.mean((0, 1)), y.std((0, 1))
    target = ((y - mean) / std).astype(np.float32)
    weights = jax.tree.map(jnp.asarray, initial_weights(rng, x.shape[-1], y.shape[-1]))
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, ITERATIONS, alpha=1e-3)
    solver = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss(weights: Arrays, x: Any, target: Any) -> Any:
        net = network(weights | statistics)
        return jnp.mean((jax.vmap(partial(predict, net))(x) - target) ** 2)

    @jax.jit
    def update(weights: Arrays, moments: Any, x: Any, target: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(weights, x, target)
        change, moments = solver.update(gradient, moments)
        return optax.apply_updates(weights, change), moments, value

    moments = solver.init(weights)
    for k in range(ITERATIONS):
        rows = rng.choice(len(x), BATCH, replace=False)
        weights, moments, value = update(weights, moments, x[rows], target[rows])
        if k % 500 == 0 or k == ITERATIONS - 1:
            print(f"iteration {k:5d}  standardised RMSE {np.sqrt(value):.5f}")
    arrays = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    arrays["FC_Weights"] *= std[:, None]
    arrays["FC_Bias"] = arrays["FC_Bias"] * std[:, None] + mean[:, None]
    arrays |= statistics
    return {name: value.astype(np.float32) for name, value in arrays.items()}


# --- golden outputs ---------------------------------------------------------------


def torch_outputs(a: Arrays, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every layer's output for `x (C, T)`, by torch.nn in double precision."""
    t = {name: torch.tensor(a[name], dtype=torch.float64) for name in a}
    signal = ((torch.tensor(x, dtype=torch.float64) - t["X_mean"]) / t["X_std"]).T
    outputs = {}
    with torch.no_grad():
        for k in (1, 2):
            cell = torch.nn.LSTM(signal.shape[1], HIDDEN, dtype=torch.float64)
            parameters = {
                "weight_ih_l0": t[f"LSTM_W{k}"],
                "weight_hh_l0": t[f"LSTM_R{k}"],
                "bias_ih_l0": t[f"LSTM_b{k}"].ravel(),
                "bias_hh_l0": torch.zeros(4 * HIDDEN, dtype=torch.float64),
            }
            cell.load_state_dict(parameters)
            hidden = cell(signal)[0]
            signal = torch.relu(hidden)
            outputs |= {f"H{k}": hidden, f"R{k}out": signal}
        outputs["Y"] = signal @ t["FC_Weights"].T + t["FC_Bias"].T
    return {name: value.T.numpy() for name, value in outputs.items()}


def store(arrays: Arrays, x: np.ndarray, y: np.ndarray) -> None:
    """Write weights and one held-out run, features x time as MATLAB has it."""
    golden = torch_outputs(arrays, x.T)
    activations = {k: v.astype(np.float32) for k, v in golden.items() if k != "Y"}
    contents = arrays | activations | {
        "X": x.T, "Y": golden["Y"], "Y_measured": y.T, "sample_time": plant.SAMPLE_TIME
    }  # fmt: skip
    savemat(FILE, contents, oned_as="column", do_compression=True)
    # SciPy puts the date into the header: the same run would give another file.
    with FILE.open("r+b") as file:
        file.write(HEADER.ljust(116))


# --- what is reported -------------------------------------------------------------


def formula(a: Arrays, x: np.ndarray, mode: str = "own state") -> dict[str, np.ndarray]:
    """The recomputation by hand, in double precision; `x (C, T)`.

    `mode` "own state" is right. "shared state" is the mistake of the MATLAB Answers
    thread 2068661: one pair `h`, `c` serves both layers. "no state" starts every step
    from zero. "no relu 1" and "no relu 2" leave an activation out.
    """
    a = {name: np.asarray(value, np.float64) for name, value in a.items()}
    h, c = np.zeros((2, HIDDEN)), np.zeros((2, HIDDEN))
    outputs: dict[str, list] = {"H1": [], "H2": [], "Y": []}
    for x_t in ((x - a["X_mean"]) / a["X_std"]).T:
        signal = x_t
        if mode == "no state":
            h, c = np.zeros_like(h), np.zeros_like(c)
        for k in (1, 2):
            pair = 0 if mode == "shared state" else k - 1
            z = a[f"LSTM_W{k}"] @ signal + a[f"LSTM_R{k}"] @ h[pair]
            i, f, g, o = np.split(z + a[f"LSTM_b{k}"].ravel(), 4)
            c[pair] = sigmoid(f) * c[pair] + sigmoid(i) * np.tanh(g)
            h[pair] = sigmoid(o) * np.tanh(c[pair])
            outputs[f"H{k}"].append(h[pair].copy())
            signal = h[pair] if mode == f"no relu {k}" else np.maximum(h[pair], 0.0)
        outputs["Y"].append(a["FC_Weights"] @ signal + a["FC_Bias"].ravel())
    return {name: np.stack(value, axis=1) for name, value in outputs.items()}


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def report_accuracy(a: Arrays, x: np.ndarray, y: np.ndarray) -> None:
    """Error on the held-out runs, right and with parts of the network left out."""
    print(f"held-out: {len(x)} runs of {x.shape[1]} steps, levels up to {y.max()} cm")
    for mode in ("own state", "shared state", "no state", "no relu 1", "no relu 2"):
        ours = np.stack([formula(a, run.T, mode)["Y"].T for run in x])
        rmse = np.sqrt(np.mean((ours - y) ** 2, axis=(0, 1)))
        print(f"  {mode:<13} RMSE {rmse} cm, NRMSE {rmse / y.std((0, 1))}")


def report_agreement(a: Arrays) -> None:
    """The golden run: what the relus see, and jlstm in both precisions."""
    for name in ("H1", "H2"):
        dead = np.all(a[name] <= 0, axis=1).sum()
        print(
            f"{name}: {np.mean(a[name] < 0):.1%} negative, {dead} units never positive"
        )
    x = a["X"].T
    print(f"formula, double    max |error| {worst(formula(a, a['X'])['Y'], a['Y'])} cm")
    print(
        f"jlstm, single      max |error| {worst(predict(network(a), x).T, a['Y'])} cm"
    )
    with jax.enable_x64(True):
        y = predict(network(a).astype(np.float64), x)
        print(f"jlstm, double      max |error| {worst(y.T, a['Y'])} cm")


def report_shared_state(a: Arrays) -> None:
    """Where and by how much the shared pair of states is wrong, on the golden run."""
    wrong, right = formula(a, a["X"], "shared state"), torch_outputs(a, a["X"])
    print("one h, c pair for both layers, max |error| (H1, H2, Y):")
    for t in (1, 2, 3, 10, 100, STEPS):
        errors = [worst(wrong[n][:, t - 1], right[n][:, t - 1]) for n in wrong]
        print(f"  t = {t:<4}" + "".join(f"{error:12.3g}" for error in errors))
    errors = [worst(wrong[name], right[name]) for name in wrong]
    print("  worst   " + "".join(f"{error:12.3g}" for error in errors))


def worst(ours: Any, theirs: Any) -> float:
    return float(np.max(np.abs(np.asarray(ours) - theirs)))


if __name__ == "__main__":
    main()
