"""How many sequences a second, beside what its users could do instead?

    python experiments/05_scale/run.py                       # rounds of 2,000 sequences
    python experiments/05_scale/run.py --count 20000 --rounds 1     # about ten minutes
    python experiments/05_scale/run.py --model               # cost against the width

Let nothing else run meanwhile. Every contestant is a process of its own; the rounds are
interleaved. Figures go into README.md beside this file, between their markers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from peers import CONTESTANTS
from scipy.optimize import nnls

from jlstm.bench import measuring, report

HERE = Path(__file__).resolve().parent
SHORTEST, LONGEST = 20, 2_000
WIDTHS = (16, 32, 64, 128, 256, 512)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000, help="sequences")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", default="", help="contestants, with commas")
    parser.add_argument("--model", action="store_true", help="cost against the width")
    given = parser.parse_args()
    if given.model:
        return model()
    left_out = set(filter(None, given.without.split(",")))
    names = [name for name in CONTESTANTS if name not in left_out]
    found: dict[str, list[dict]] = {name: [] for name in names}
    for number in range(given.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(child("peers.py", name, given.count, SHORTEST, LONGEST))
            print(name, found[name][-1]["seconds"], file=sys.stderr)
    text = table(found, given.count)
    print(text)
    report.put(HERE / "README.md", f"throughput-{given.count}", text)
    return 0


def child(script, *arguments, cores=None):
    """What a process of its own prints."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    if cores is not None:
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def table(found, count):
    wanted = np.array(found["jlstm"][0]["sums"])
    steps = found["jlstm"][0]["steps"]
    lines = [
        "|  | first call | later calls | sequences/s | steps/s | jlstm is faster by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    first, later = (
        {name: float(np.median([one["seconds"][k] for one in runs]))
         for name, runs in found.items()}
        for k in (0, -1)
    )  # fmt: skip
    for name, runs in found.items():
        apart = np.abs(np.array(runs[0]["sums"]) - wanted).max() / np.abs(wanted).max()
        assert apart < 1e-5, f"{name} computes something else"
        label = f"{name} ({runs[0]['note']})" if runs[0]["note"] else name
        ratios = [times[name] / times["jlstm"] for times in (first, later)]
        lines.append(
            f"| {label} | {first[name]:.3g} s | {later[name]:.3g} s | "
            f"{count / later[name]:,.0f} | {steps / later[name]:,.0f} | "
            f"{ratios[0]:.2f} (first), {ratios[1]:.2f} |"
        )
    rounds = len(found["jlstm"])
    sizes = f"{count:,} sequences of {SHORTEST} to {LONGEST:,} steps, {steps:,} in all"
    return "\n".join([*lines, "", f"{sizes}; medians of {rounds} rounds; {machine()}."])


def machine():
    about = measuring.described(len(os.sched_getaffinity(0)))
    return f"{about['processor']}, {about['cores']} cores, jlstm {version('jlstm')}"


def model():
    """Cost of a step against the width, on one core and on all."""
    every = sorted(os.sched_getaffinity(0))
    counts = {1: every[:1], len(every): every}
    found: dict[int, list[dict]] = {n: [] for n in counts}
    for width in WIDTHS:
        for n, cores in counts.items():
            found[n].append(child("cost.py", width, cores=cores) | {"width": width})
            print(n, found[n][-1], file=sys.stderr)
    fits = {n: fitted(rows) for n, rows in found.items()}
    text = model_table(found, fits)
    picture(found, fits, HERE / "cost.png")
    print(text)
    report.put(HERE / "README.md", "model", f"{text}\n\n![cost of a step](cost.png)")
    told = json.dumps({str(n): rows for n, rows in found.items()}, indent=1)
    (HERE / "cost.json").write_text(told + "\n", "utf-8")
    return 0


def fitted(rows):
    """`a, b` of `seconds = a + b operations`, each row of the same relative weight."""
    t, ops = (np.array([row[k] for row in rows]) for k in ("step", "operations"))
    design = np.stack([np.ones_like(t), ops], 1) / t[:, None]
    return nnls(design, np.ones_like(t))[0]


def model_table(found, fits):
    lines = [
        "| cores | H | a step | GFLOP/s | steps/s and core | a billion steps |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for n, rows in found.items():
        for row in rows:
            t = row["step"]
            lines.append(
                f"| {n} | {row['width']} | {t * 1e6:.3g} us | "
                f"{row['operations'] / t / 1e9:.0f} | {1 / t / n:,.0f} | "
                f"{1e9 * t / 60:.3g} min |"
            )
    lines.append("")
    for n, (a, b) in fits.items():
        lines.append(
            f"* {cores(n)}: a step takes {a * 1e9:.0f} ns, and 1 s for every "
            f"{1 / b / 1e9:.0f} billion operations."
        )
    return "\n".join([*lines, "", f"One LSTM layer of H units, 4 inputs; {machine()}."])


def cores(n):
    return f"{n} core{'s' * (n > 1)}"


def picture(found, fits, path):
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for (n, rows), colour in zip(found.items(), ("#b45309", "#1d4ed8"), strict=False):
        ops, t = (np.array([row[k] for row in rows]) for k in ("operations", "step"))
        axes.loglog(ops, t * 1e6, "o", color=colour, label=f"{cores(n)}, measured")
        a, b = fits[n]
        label = f"{a * 1e9:.0f} ns + operations / {1 / b / 1e9:.0f} GFLOP/s"
        smooth = np.geomspace(ops[0], ops[-1], 200)
        axes.loglog(smooth, (a + b * smooth) * 1e6, "-", color=colour, label=label)
    for row in found[1]:
        place = row["operations"], row["step"] * 1e6
        how = {"xytext": (-6, 6), "textcoords": "offset points", "ha": "right"}
        axes.annotate(f"H={row['width']}", place, **how)
    axes.margins(x=0.1)
    axes.set(xlabel="operations of a step", ylabel="time of a step of a sequence, us")
    axes.set_title("jl.evaluate: what a step costs")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
