"""Does the memory of `jlstm evaluate` grow with the number of sequences?

    python experiments/05_scale/memory.py        # 20,000 and 200,000 sequences

Writes Parquet files of 1,000 sequences each, of 20 to 200 steps, runs the command over
them, and puts the peak of its memory into README.md beside this file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa  # pyright: ignore[reportMissingImports]
from pyarrow import parquet  # pyright: ignore[reportMissingImports]

import jlstm as jl
from jlstm.bench import report
from jlstm.demo import load_demo

HERE = Path(__file__).resolve().parent
EACH = 1_000
COUNTS = (20_000, 200_000)
COLUMNS = "a,b,c"


def main():
    lines = [
        "| sequences | steps | on disk | peak memory | time | sequences/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for count in COUNTS:
        for targets in (False, True):
            lines.append(measured(count, targets))
            print(lines[-1], file=sys.stderr)
    text = "\n".join([*lines, "", f"{os.cpu_count()} cores, one process."])
    print(text)
    report.put(HERE / "README.md", "memory", text)


def measured(count, targets):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data").mkdir()
        jl.save(load_demo()[0], root / "net.safetensors")
        steps = sum(write(root / "data", k) for k in range(count // EACH))
        size = sum(path.stat().st_size for path in (root / "data").iterdir())
        command = [
            sys.executable, "-m", "jlstm", "evaluate", str(root / "net.safetensors"),
            str(root / "data"), "--inputs", COLUMNS, "--sequence", "basin",
            "--out", str(root / "out"),
        ]  # fmt: skip
        command += ["--targets", "u,v"] if targets else []
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        assert status == 0, f"exit status {status}"
    what = f"{count:,}" + (" with targets" if targets else "")
    disk, peak = size / 2**20, usage.ru_maxrss / 2**10
    return (
        f"| {what} | {steps:,} | {disk:.0f} MiB | {peak:.0f} MiB | {seconds:.1f} s | "
        f"{count / seconds:,.0f} |"
    )


def write(folder, shard):
    """A file of sequences; returns its steps."""
    rng = np.random.default_rng(shard)
    lengths = rng.integers(20, 201, EACH)
    basin = np.repeat([f"{shard:03}-{k:04}" for k in range(EACH)], lengths)
    columns = {n: rng.standard_normal(len(basin), np.float32) for n in "abcuv"}
    table = pa.table({"basin": pa.array(basin).dictionary_encode(), **columns})
    parquet.write_table(table, folder / f"{shard:03}.parquet", compression="zstd")
    return len(basin)


if __name__ == "__main__":
    main()
