"""Kill an evaluation of two processes again and again; is what comes out the same?

    python experiments/05_scale/kills.py [--kills 30] [--seed 0]

The demo network runs over a folder of Parquet files. One run is left alone; then runs
of two processes are killed (SIGKILL) at random moments: the one that was started, one
of its workers, or all three. After each kill of the first the same command is given
again; a run that ends is compared with the one left alone, and another one is begun.
Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # pyright: ignore[reportMissingImports]
import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

SHARDS, SEQUENCES, LONGEST = 60, 200, 400
TARGETS = ("conductor", "worker", "all")
CLAIMS = "claims/*.parquet.json"
PART = re.compile(r"\.[0-9a-f]{16}\.tmp")
Rng = np.random.Generator


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        expected = write(work / "data", rng)
        print(json.dumps(ordeal(work, expected, asked.kills, rng)))
    return 0


def write(data: Path, rng: Rng) -> Counter[str]:
    """A folder of shards; how many steps every sequence has."""
    data.mkdir()
    steps: Counter[str] = Counter()
    for shard in range(SHARDS):
        lengths = rng.integers(1, LONGEST, SEQUENCES)
        names = [f"{shard}-{k}" for k in range(SEQUENCES)]
        steps.update(dict(zip(names, lengths.tolist(), strict=True)))
        x = rng.normal(size=(lengths.sum(), 3)).astype("f4")
        columns = {"id": np.repeat(names, lengths)} | dict(zip("abc", x.T, strict=True))
        pq.write_table(pa.table(columns), data / f"part{shard:02d}.parquet")
    return steps


def ordeal(work: Path, expected: Counter[str], kills: int, rng: Rng) -> dict[str, Any]:
    """Runs that are killed until there were so many kills; what was found."""
    begin = time.monotonic()
    whole = work / "whole"
    process = subprocess.Popen(command(work, whole, 2), stdout=subprocess.DEVNULL)
    until(process, lambda: any(whole.glob(CLAIMS)))
    first = time.monotonic()
    if process.wait():
        raise SystemExit("the undisturbed run failed")
    alone = time.monotonic() - first
    reference = hashes(whole)
    found: Counter[str] = Counter()
    aims: Counter[str] = Counter()
    left_parts = 0
    while sum(aims.values()) < kills:
        out = work / f"run{found['runs']}"
        while True:
            code, aim = one(work, out, alone, rng, sum(aims.values()) < kills)
            aims.update([aim] if aim else [])
            if aim:
                left_parts += sum(1 for p in out.rglob("*") if PART.fullmatch(p.name))
            found["with_records" if any(out.glob("records/*")) else "before_any"] += (
                bool(aim)
            )
            if code == 0:
                break
            found["failed" if not aim else "interrupted"] += 1
            if not aim:
                raise SystemExit((work / "words").read_text("utf-8"))
        found["runs"] += 1
        lost, double = compared(out, expected)
        found["lost"] += lost
        found["double"] += double
        found["different_hashes"] += hashes(out) != reference
        found["parts_at_the_end"] += sum(
            PART.fullmatch(p.name) is not None for p in out.rglob("*")
        )
        shutil.rmtree(out)
    return {
        "kills": dict(aims),
        **found,
        "parts_after_kills": left_parts,
        "shards": SHARDS,
        "sequences": len(expected),
        "steps": expected.total(),
        "seconds_of_work_alone": round(alone, 1),
        "seconds": round(time.monotonic() - begin, 1),
    }


def command(work: Path, out: Path, processes: int) -> list[str]:
    demo = files("jlstm") / "data"
    return [
        sys.executable, "-m", "jlstm", "evaluate", str(demo / "demo.mat"),
        str(work / "data"), "--layers", str(demo / "demo.toml"), "--inputs", "a,b,c",
        "--sequence", "id", "--out", str(out), "--processes", str(processes),
        "--resume",
    ]  # fmt: skip


def one(work: Path, out: Path, alone: float, rng: Rng, kill: bool) -> tuple[int, str]:
    """Start it, kill it at some moment, and wait; its exit code, and who was killed."""
    with (work / "words").open("wb") as words:
        process = subprocess.Popen(
            command(work, out, 2), stdout=subprocess.DEVNULL, stderr=words
        )
    aim = ""
    if kill:
        try:
            # A quarter of them at any moment, the others while shards are computed.
            if rng.random() > 0.25:
                until(process, lambda: any(out.glob(CLAIMS)))
            process.wait(rng.uniform(0, alone))
        except subprocess.TimeoutExpired:
            aim = TARGETS[rng.integers(len(TARGETS))]
            victims = children(process.pid)
            if aim == "worker" and not victims:
                aim = "conductor"
            doomed = {
                "conductor": [process.pid],
                "worker": [victims[rng.integers(len(victims))]] if victims else [],
                "all": [process.pid, *victims],
            }[aim]
            for pid in doomed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    return process.wait(), aim


def until(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    """Wait for something that a process does, or for its end."""
    while process.poll() is None and not happened():
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [
            int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    return []


def hashes(out: Path) -> dict[str, str]:
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted((out / "predictions").iterdir())
    }


def compared(out: Path, expected: Counter[str]) -> tuple[int, int]:
    """Steps that are missing, and steps that are there twice."""
    seen: Counter[tuple[str, int]] = Counter()
    for path in (out / "predictions").iterdir():
        table = pq.read_table(path, columns=["sequence", "step"])
        seen.update(zip(*(table[k].to_pylist() for k in range(2)), strict=True))
    missing = sum(
        (n, k) not in seen for n, count in expected.items() for k in range(count)
    )
    return missing, seen.total() - len(seen)


if __name__ == "__main__":
    sys.exit(main())
