"""Does a run of fine-tuning survive being killed, and a disk that is full?

    python experiments/11_kill_and_resume/run.py --output results.json

`jlstm finetune ... --out` is killed (SIGKILL) again and again, and resumed until it
ends; its folder is then compared with that of a run that nobody disturbed. The network
is the demo, the recordings are made up, from a fixed seed; when a kill arrives is a
matter of the machine. POSIX only; file systems are mounted only by root.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from disks import troubles
from kills import PHASES, Run, disturbed, undisturbed

import jlstm as jl
from jlstm.demo import load_demo
from jlstm.layers.activation import Dropout
from jlstm.network import Network

STEPS, NOISE = 240, 0.1
COMMON = {"mini_batch_size": 3, "max_epochs": 120, "data": {"window": 24}}
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "adam": (14, {"gradient_threshold": 1.0, "shuffle": "every-epoch"}),
    "sgdm": (
        15,
        {
            "semantics": "matlab",
            "solver": "sgdm",
            "initial_learn_rate": 1e-3,
            "learn_rate_schedule": "piecewise",
            "learn_rate_drop_factor": 0.7,
            "learn_rate_drop_period": 20,
        },
    ),
    "lora": (15, {"solver": "adamw", "lora_rank": 2, "anchor": 0.01}),
    "lbfgs": (6, {"solver": "lbfgs", "mini_batch_size": 128, "max_epochs": 60}),
}
"""For every way of training: its share of 50 kills, configuration."""


def prepared(work: Path, rng: np.random.Generator) -> list[str]:
    """Write the network, with dropout, and recordings; the arguments that name them."""
    net, _ = load_demo()
    entry: Any = net.layers["input"]
    noise = rng.normal(size=(2, STEPS, len(entry.mean)))
    x = np.asarray(entry.mean) + np.asarray(entry.std) * noise[0]
    # Something to learn: the outlet answers to the openings in another way.
    y = np.asarray(jl.predict(net, x + 0.5 * np.asarray(entry.std) * noise[1]))
    y = y + NOISE * rng.normal(size=y.shape)
    layers = dict(net.layers)
    fc = layers.pop("fc")
    layers |= {"dropout": Dropout(0.2), "fc": fc}
    jl.save(Network.build(layers), work / "net.safetensors")
    rows = np.hstack([x, y])
    np.savetxt(
        work / "train.csv", rows, delimiter=",", header="u1,u2,u3,y1,y2", comments=""
    )
    return [str(work / "net.safetensors"), "--data", str(work / "train.csv")]


def of_way(work: Path, arguments: list[str], name: str, folder: str) -> Run:
    config = COMMON | WAYS[name][1]
    toml = work / f"{name}.toml"
    toml.write_text(tomli_w.dumps(config), "utf-8")
    arguments = [*arguments, "--config", str(toml)]
    out = work / f"{name}_{folder}"
    return Run(arguments, out, work / "words.txt", config["max_epochs"])


def new_losses(out: Path) -> float:
    """Part of the epochs whose training loss is not that of the epoch before."""
    rows = (out / "log.jsonl").read_text("utf-8").splitlines()[1:]
    losses = [json.loads(row)["training_loss"] for row in rows]
    return float(np.mean(np.diff(losses) != 0))


def say(name: str, row: dict[str, Any]) -> None:
    kills = row["kills"]
    print(
        f"  {name:<8}{len(kills)} kills; ended with {row['exit code']}; "
        f"damaged {row['damaged'] or 'none'}; different {row['different'] or 'none'}; "
        f"parts at most {row['parts at most']}, at the end {row['parts at the end']}; "
        f"epochs lost {row['epochs lost']}; the loss moved in {row['moved']:.0%}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--output", type=Path, help="results as JSON")
    parser.add_argument("--keep", type=Path, help="a new folder for all that is made")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    work = options.keep or Path(tempfile.mkdtemp())
    work.mkdir(exist_ok=True)
    results: dict[str, Any] = {"kills": {}, "troubles": {}}
    try:
        arguments = prepared(work, rng)
        for name in options.ways:
            whole, run = (of_way(work, arguments, name, k) for k in ("whole", "killed"))
            times = undisturbed(whole)
            row = disturbed(run, whole.out, times, WAYS[name][0], rng)
            row["moved"] = new_losses(whole.out)
            results["kills"][name] = row
            say(name, row)
        kills = [kill for row in results["kills"].values() for kill in row["kills"]]
        for phase in PHASES:
            print(f"  {sum(k['phase'] == phase for k in kills):4}  {phase}")
        print("  written:", dict(Counter(k["writing"] for k in kills if k["writing"])))
        whole = work / f"{options.ways[0]}_whole"
        run = of_way(work, arguments, options.ways[0], "troubled")
        results["troubles"] = troubles(run, whole, work)
        if "disk full" not in results["troubles"]:
            print("  no small disk could be mounted (only root may): left out")
        for name, row in results["troubles"].items():
            print(f"  {name}: " + ", ".join(f"{k} {v}" for k, v in row.items()))
    finally:
        if options.output:
            options.output.write_text(json.dumps(results, indent=1), "utf-8")
        if not options.keep:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
