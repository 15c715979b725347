"""Does continuing the training help? A pH process, recorded twice by its author.

    python experiments/04_continue_training/run.py --output results.json --plot rmse.png

The network of nets/ph and its two recordings (training, test) lie in one MAT file. It
is trained further on the training recording, or on its first twentieth, and compared
with the imported network and with one that starts from random weights: the error on the
test recording, five seeds each. The last fifth of what is learned from decides which
epoch is best; the test recording decides nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import jlstm as jl
from jlstm.formats.matfile import MatFile
from jlstm.metrics import rmse
from jlstm.training.parameters import matrices, parameters, with_parameters

FILE = "ph/gru_training_data_simple.mat"
SEEDS = range(5)
TWENTIETH = 0.05
WHOLE = {
    "max_epochs": 100,
    "mini_batch_size": 16,
    "data": {"window": 200, "overlap": 100, "washout": 50, "validation": 0.2},
}
FEW = {
    "max_epochs": 150,
    "mini_batch_size": 4,
    "data": {"window": 100, "overlap": 50, "washout": 20, "validation": 0.2},
}
GENTLE, USUAL = {"initial_learn_rate": 1e-3}, {"initial_learn_rate": 1e-2}
TICKS = (0.5, 1, 2, 4)
WAYS = {
    "from random weights": (True, USUAL),
    "continued": (False, GENTLE),
    "continued, usual rate": (False, USUAL),
    "continued, anchor 0.1": (False, GENTLE | {"anchor": 0.1}),
    "continued, rank 1": (False, GENTLE | {"lora_rank": 1}),
    "continued, rank 1, anchor 0.1": (False, GENTLE | {"lora_rank": 1, "anchor": 0.1}),
    "continued, last layer only": (False, GENTLE | {"only": ["layers['fc'].*"]}),
}


def recording(nets, name):
    """The acid that flowed in at step t, the pH one step later."""
    found = MatFile(nets / FILE)[name].values["Data"]
    u = found["u"]["signals"]["values"][:-1]
    y = found["x"]["signals"][2]["values"][1:]
    return np.asarray(u, float), np.asarray(y, float)


def from_scratch(net, seed):
    """New weights as MATLAB draws them: Glorot, orthogonal, biases zero."""
    rng = np.random.default_rng([seed, 4])
    arrays: Any = {path: np.array(a) for path, a in parameters(net).items()}
    for path, a in arrays.items():
        if a.ndim == 1:
            arrays[path] = np.zeros_like(a)
        else:
            limit = np.sqrt(6 / sum(a.shape))
            arrays[path] = rng.uniform(-limit, limit, a.shape).astype(a.dtype)
    for matrix in matrices(net, arrays):
        rows = sum(arrays[gate].shape[0] for gate in matrix.gates)
        columns = arrays[matrix.gates[0]].shape[1]
        if matrix.name.endswith("recurrent_weights"):
            whole = np.linalg.qr(rng.normal(size=(rows, columns)))[0]
        else:
            limit = np.sqrt(6 / (rows + columns))
            whole = rng.uniform(-limit, limit, (rows, columns))
        parts = np.split(whole, len(matrix.gates))
        for gate, part in zip(matrix.gates, parts, strict=True):
            arrays[gate] = part.astype(arrays[gate].dtype)
    return with_parameters(net, arrays)


def error(net, x, y):
    return rmse(np.asarray(jl.predict(net, x)), y)


def measured(net, train, test, common):
    """For every way of training the errors of all seeds."""
    rows = {}
    for name, (scratch, settings) in WAYS.items():
        errors, epochs, seconds = [], [], []
        for seed in SEEDS:
            start = from_scratch(net, seed) if scratch else net
            began = time.perf_counter()
            found = jl.finetune(start, train, common | settings | {"seed": seed})
            seconds.append(time.perf_counter() - began)
            errors.append(error(found.net, *test))
            epochs.append(found.best_epoch)
        rows[name] = {"rmse": errors, "best_epoch": epochs, "seconds": seconds}
        print(
            f"  {name:<32}{np.mean(errors):8.3f} +- {np.std(errors, ddof=1):.3f}"
            f"   best epoch {np.median(epochs):.0f}, {np.mean(seconds):.0f} s",
            flush=True,
        )
    return rows


def draw(results, path):
    """A dot for every seed, a line for the imported network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained", dpi=110)
    panels = figure.subplots(1, len(results["parts"]), sharey=True)
    for axes, (part, rows) in zip(panels, results["parts"].items(), strict=True):
        for k, row in enumerate(rows.values()):
            at = np.full(len(row["rmse"]), len(rows) - k)
            axes.plot(row["rmse"], at, "o", color="tab:blue", alpha=0.5, ms=5)
            axes.plot(np.mean(row["rmse"]), len(rows) - k, "|", color="k", ms=16)
        axes.axvline(results["imported"], color="tab:red", lw=1, label="imported")
        axes.set_xscale("log")
        axes.set_xticks(TICKS, list(map(str, TICKS)))
        axes.minorticks_off()
        axes.set_yticks(range(len(rows), 0, -1), list(rows))
        axes.set_title(part, fontsize=10)
        axes.set_xlabel("test RMSE, pH")
        axes.grid(axis="x", alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = Path(__file__).resolve()
    parser.add_argument(
        "--nets", type=Path, default=here.parents[3] / "shared" / "nets"
    )
    parser.add_argument("--plot", type=Path, help="a picture of the results")
    parser.add_argument("--output", type=Path, help="results as JSON")
    arguments = parser.parse_args()
    net = jl.load(arguments.nets / FILE, variable="pH_net_simple")
    x, y = recording(arguments.nets, "train_dataset")
    test = recording(arguments.nets, "test_dataset")
    results = {"imported": error(net, *test), "parts": {}}
    print(f"imported: {error(net, x, y):.3f} training, {results['imported']:.3f} test")
    few = round(TWENTIETH * len(x))
    for part, train, common in (
        (f"whole recording, {len(x)} steps", (x, y), WHOLE),
        (f"first twentieth, {few} steps", (x[:few], y[:few]), FEW),
    ):
        print(part)
        results["parts"][part] = measured(net, train, test, common)
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1), "utf-8")
    if arguments.plot:
        draw(results, arguments.plot)


if __name__ == "__main__":
    main()
