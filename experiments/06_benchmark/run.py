"""How fast is jlstm beside what its users could pick instead?

    python experiments/06_benchmark/run.py                  # the table, tens of minutes
    python experiments/06_benchmark/run.py --random 8       # sizes drawn at random
    python experiments/06_benchmark/run.py --scaling        # cost against T, B and H

Let nothing else run meanwhile. Each of the three writes its samples as JSON and its
picture beside this file, and its figures into README.md, between their two markers;
`--again` does the latter two from the JSON that is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from jlstm import bench
from jlstm.arguments import progress_bar
from jlstm.bench import pictures, report

HERE = Path(__file__).resolve().parent
SIZES = {
    "steps T (B=1, H=128)": ("length", (100, 200, 400, 800, 1_600, 3_200)),
    "sequences B (T=100, H=128)": ("batch", (1, 4, 16, 64, 256)),
    "units H (B=32, T=100)": ("hidden", (16, 32, 64, 128, 256, 512)),
}
FIXED = {
    "length": {"batch": 1, "hidden": 128},
    "batch": {"length": 100, "hidden": 128},
    "hidden": {"batch": 32, "length": 100},
}


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--random", type=int, default=0, help="rows of random sizes")
    kinds.add_argument("--scaling", action="store_true", help="cost against T, B and H")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", default="", help="rows of the table, all by default")
    parser.add_argument("--peers", help="names with commas, all by default")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--allocator", default="plain", choices=("plain", "keep"))
    parser.add_argument("--again", action="store_true", help="from the JSON alone")
    given = parser.parse_args()
    what = "scaling" if given.scaling else "random" if given.random else "table"
    if given.again:
        told = json.loads((HERE / f"{what}.json").read_text("utf-8"))
        found = bench.Benchmark.from_dict(told)
    else:
        found = measured(given, what)
        told = json.dumps(found.to_dict(), indent=1, allow_nan=False)
        (HERE / f"{what}.json").write_text(told + "\n", "utf-8")
    print(found)
    picture = HERE / f"{what}.png"
    if what == "scaling":
        panels = curves(found)
        pictures.scaling(panels, picture)
        text = exponents(panels, found)
    else:
        pictures.ratios(found, picture)
        text = report.as_markdown(found)
    report.put(HERE / "README.md", what, f"{text}\n\n![{what}]({picture.name})")
    return 1 if found.disagrees else 0


def measured(given, what):
    rows = {
        "table": lambda: bench.chosen(given.rows),
        "random": lambda: bench.drawn(given.random, given.seed),
        "scaling": lambda: [row for _, row in points()],
    }[what]()
    with progress_bar() as progress:
        return bench.measure(
            rows,
            peers=None if given.peers is None else given.peers.split(","),
            rounds=given.rounds,
            quick=given.quick,
            allocator=given.allocator,
            seed=given.seed,
            progress=progress,
        )


# --- cost against size ----------------------------------------------------------------


def points():
    """The panel of each point, and its row."""
    for panel, (size, values) in SIZES.items():
        for value in values:
            point = {**FIXED[size], size: value}
            layers = (f"lstm {point.pop('hidden')}",)
            row = bench.Workload(f"{size} {value}", "inference", layers=layers, **point)
            yield panel, row


def curves(found):
    """By panel the sizes, and by contestant the medians at all of them."""
    rows = {row.name: row for row in found.rows}
    panels = {}
    for panel, (size, values) in SIZES.items():
        own = [rows[f"{size} {value}"] for value in values]
        names = [n for n in own[0].scores if all(n in row.scores for row in own)]
        panels[panel] = values, {n: [r.scores[n].seconds for r in own] for n in names}
    return panels


def exponents(panels, found):
    """The fitted exponents as a table."""
    names = list(dict.fromkeys(name for _, some in panels.values() for name in some))
    lines = [["time grows as a power of", *names], ["---"] * (len(names) + 1)]
    for panel, (sizes, some) in panels.items():
        fits = [
            f"{pictures.slope(sizes, some[name]):.2f}" if name in some else "-"
            for name in names
        ]
        lines.append([panel, *fits])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return "\n\n".join(
        [table, "\n".join(f"* {line}" for line in report.remarks(found))]
    )


if __name__ == "__main__":
    sys.exit(main())
