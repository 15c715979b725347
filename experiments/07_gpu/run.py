"""How fast is jlstm on an NVIDIA GPU, and is it right there?

    pip install jlstm 'jax[cuda13]' torch matplotlib       # or cuda12
    python experiments/07_gpu/run.py                       # everything, in one call
    python experiments/07_gpu/run.py --quick               # smaller, a look

First check.py compares jlstm's engines with double precision, in a process that is
ended if it hangs. Then all contestants are asked in turn, round by round; who is wrong
on a row is out. Samples go to table.json, the picture to table.png, the figures into
README.md, between their markers. Without a GPU `--quick` rehearses it on the processor,
with tiny sizes, and writes to `--out` alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Several processes share the memory of the GPU; read once, when JAX starts.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

from jlstm import bench
from jlstm.arguments import progress_bar
from jlstm.bench import pictures, report

HERE = Path(__file__).resolve().parent
SIZES: dict[str, Any] = {"features": 64, "length": 100}
UNITS, BATCHES = (128, 512, 1_024), (1, 64, 1_024)
QUICK = (128, 512), (1, 64)
TINY: dict[str, Any] = {"features": 3, "length": 4}
PATIENCE = 400
"""Seconds for the check."""
PEERS = {None: None, "none": []}
NEEDED = {
    "torch": "pip install torch (a build for CUDA)",
    "matplotlib": "pip install matplotlib",
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, short turns")
    parser.add_argument("--rounds", type=int, help="samples of everybody")
    parser.add_argument("--peers", help="torch float32, torch TF32, or none")
    parser.add_argument("--rows", default="", help="how names begin, with commas: i128")
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args(arguments)
    gpu, lacking = machine()
    for words in lacking:
        print(f"missing: {words}")
    if gpu is None and (not given.quick or given.out == HERE):
        print("nothing was measured; `--quick --out FOLDER` rehearses without a GPU")
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    page = given.out / "README.md"
    if not page.is_file():
        page.write_text("# A rehearsal\n", "utf-8")
    right, text = checked()
    print(text)
    report.put(page, "check", text)
    found = measured(given, gpu)
    print(found)
    told = json.dumps(found.to_dict(), indent=1, allow_nan=False)
    (given.out / "table.json").write_text(told + "\n", "utf-8")
    text = report.as_markdown(found)
    if "matplotlib" not in " ".join(lacking):
        pictures.ratios(found, given.out / "table.png")
        text += "\n\n![table](table.png)"
    report.put(page, "table", text)
    return 1 if found.disagrees or not right else 0


def machine():
    """The name of the GPU, None without one; and what is missing, in words."""
    import jax

    first = jax.devices()[0]
    gpu = first.device_kind if first.platform == "gpu" else None
    lacking = [] if gpu else ["a GPU that JAX sees: pip install 'jax[cuda13]'"]
    for name, words in NEEDED.items():
        if importlib.util.find_spec(name) is None:
            lacking.append(f"{name}: {words}")
    if gpu and not any(line.startswith("torch") for line in lacking):
        import torch

        if not torch.cuda.is_available():
            lacking.append(f"torch on the GPU: {NEEDED['torch']}")
    return gpu, lacking


def checked():
    """Whether the engines are right, and a table of check.py's cases."""
    call = [sys.executable, str(HERE / "check.py")]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=PATIENCE)
        code, lines, words = done.returncode, done.stdout, done.stderr.strip()
    except subprocess.TimeoutExpired as late:
        code, words = 1, f"no end within {PATIENCE} s: programs wait for each other"
        lines = late.stdout or b""
        lines = lines.decode() if isinstance(lines, bytes) else lines
    cases = [json.loads(line) for line in lines.splitlines()]
    table = [["engine", "layer", "H", "B", "results", "gradients", ""], ["---"] * 7]
    table += [
        [
            case["engine"], f"{case['kind']} {case['dtype']}", str(case["hidden"]),
            str(case["batch"]), f"{case['error']:.1e}", f"{case['gradient']:.1e}",
            "" if case["right"] else "WRONG",
        ]
        for case in cases
    ]  # fmt: skip
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
    if code and words:
        text += f"\n\n* FAILED: {words.splitlines()[-1][:300]}"
    return code == 0, text


def rows(given, gpu):
    units, batches = QUICK if given.quick else (UNITS, BATCHES)
    sizes = SIZES
    if gpu is None:
        units, batches, sizes = (5,), (2,), TINY
    found = [
        bench.Workload(
            f"{kind[0]}{hidden}/{batch}", kind, layers=(f"lstm {hidden}",), batch=batch,
            **sizes,
        )
        for kind in ("inference", "training")
        for hidden in units
        for batch in batches
    ]  # fmt: skip
    asked = tuple(given.rows.split(","))
    return [row for row in found if row.name.startswith(asked)]


def measured(given, gpu):
    with progress_bar() as progress:
        found = bench.measure(
            rows(given, gpu),
            peers=PEERS.get(given.peers, (given.peers or "").split(",")),
            rounds=given.rounds or (3 if given.quick else 20),
            quick=given.quick,
            device="gpu",
            progress=progress,
        )
    found.machine["processor"] = gpu or f"rehearsal on {found.machine['processor']}"
    return found


if __name__ == "__main__":
    sys.exit(main())
