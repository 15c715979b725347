"""Ask everybody in turn, round by round."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .accuracy import LIMIT
from .children import ALLOCATORS, Child, Gone
from .contestants import CONTESTANTS, GPU, GPU_MACHINE, MACHINE, Contestant
from .results import WRONG, Benchmark, Row, Score
from .workloads import Workload

Progress = Callable[[str, int, int], None]
IMPORTING, PREPARING, TURN = 120.0, 300.0, 120.0
"""Seconds after which a contestant is given up."""
PAUSE = 0.02
"""Seconds between turns, for the threads of the last one to fall asleep."""
TURNS = {False: (0.1, 5), True: (0.03, 3)}
"""Seconds of a turn, and turns in which the ways are compared; of a quick pass."""
TOLD = ("XLA_", "JAX_", "OMP_", "MKL_", "OPENBLAS_", "GOMP_", "KMP_", "ORT_")
"""Variables that may change the figures."""
IDLE = 0.5
"""Load per core above which the machine does something else besides."""


def measure(
    rows: Sequence[Workload],
    *,
    peers: Sequence[str] | None = None,
    rounds: int = 20,
    quick: bool = False,
    allocator: str = "plain",
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Benchmark:
    """Measure workloads side by side.

    Arguments:
        rows: what to measure.
        peers: who is compared with jlstm's engines, by name; all by default. Who is not
            installed is skipped, and named in the result.
        rounds: samples of every contestant.
        quick: short turns, for a look.
        allocator: "plain", or "keep": glibc gives no memory back, for all contestants.
        seed: of the order in each round.
        device: "cpu" or "gpu", who and what is compared.
        progress: told `(what, done, total)`.

    Returns:
        the table.

    Raises:
        InputError: there is no such peer, allocator setting, or nothing to measure.
    """
    if rounds < 1 or not rows:
        raise InputError(
            "nothing to measure", found=f"{rounds} rounds, {len(rows)} rows"
        )
    if allocator not in ALLOCATORS:
        raise InputError(
            "no such allocator setting", found=allocator, expected=", ".join(ALLOCATORS)
        )
    those, cores = _invited(peers, device), _cores()
    load = _load()
    settings = {"rounds": rounds, "quick": quick, "allocator": allocator, "seed": seed}
    versions: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    found = []
    for number, workload in enumerate(rows):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            race = _Race(workload, Path(folder), cores, stack, allocator, quick)
            race.tell = _within(progress, workload.name, number, len(rows))
            race.prepare([*those, *_limits(device)])
            race.run(rounds, rng)
            found.append(race.row())
            versions |= race.versions
    notes = []
    if load is not None and load > IDLE * cores:
        notes.append(
            f"the machine was not idle: a load of {load:.1f} on {cores} cores at the "
            "start; the figures are worth less"
        )
    machine = described(cores) | {"versions": _with_own(versions), "load": load}
    return Benchmark(found, machine, settings, notes)


def _invited(peers: Sequence[str] | None, device: str) -> list[Contestant]:
    table = {"cpu": CONTESTANTS, "gpu": GPU}[device]
    names = {name.lower(): name for name in table}
    for peer in peers or ():
        if peer.lower() not in names:
            others = [name for name, one in table.items() if not one.ours]
            raise InputError("no such peer", found=peer, expected=", ".join(others))
    asked = None if peers is None else {names[peer.lower()] for peer in peers}
    return [
        one for name, one in table.items() if asked is None or one.ours or name in asked
    ]


def _limits(device: str) -> list[Contestant]:
    """What the machine could do at most."""
    return list({"cpu": MACHINE, "gpu": GPU_MACHINE}[device].values())


class _Race:
    """One row: its contestants, from the first import to the last sample."""

    def __init__(
        self,
        workload: Workload,
        folder: Path,
        cores: int,
        stack: ExitStack,
        allocator: str,
        quick: bool,
    ) -> None:
        self.workload, self.folder, self.cores = workload, folder, cores
        self.stack, self.allocator = stack, allocator
        self.turn, self.tries = TURNS[quick]
        self.tell: Progress = lambda what, done, total: None
        self.children: dict[str, Child] = {}
        self.told: dict[str, dict[str, Any]] = {}
        self.samples: dict[str, list[float]] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def prepare(self, those: Sequence[Contestant]) -> None:
        """Write the job, start everybody, have each find its fastest way."""
        from . import job

        self.tell("writing the networks", 0, 1)
        job.write(self.workload, self.folder, threads(self.cores))
        for one in those:
            self._start(one)
        names = list(self.children)
        imports = {}
        for name in names:
            imports[name] = self._asked(name, lambda child: child.ready(IMPORTING))
        for k, name in enumerate(names):
            self.tell(f"preparing {name}", k, len(names))
            if name not in self.children:
                continue
            told = self._asked(name, self._prepared)
            if told is None:
                continue
            if "refused" in told:
                self.skipped[name] = told["refused"]
                self._end(name)
            elif told["error"] is not None and not told["error"] <= LIMIT:
                self.failed[name] = f"{WRONG}error {told['error']:.1e} ({told['name']})"
                self._end(name)
            else:
                self.told[name] = told | {"import": imports[name]}
                self.samples[name] = []
                self.versions |= told["versions"]

    def _start(self, one: Contestant) -> None:
        if self.workload.kind not in one.kinds:
            self.skipped[one.name] = f"does no {self.workload.kind}"
        elif one.missing:
            self.skipped[one.name] = f"not installed: {', '.join(one.missing)}"
        else:
            double = self.workload.dtype == "float64"
            child = Child(one, self.allocator, double, self.folder)
            self.stack.callback(child.close)
            self.children[one.name] = child

    def _prepared(self, child: Child) -> dict[str, Any]:
        return child.ask(
            PREPARING, do="prepare", folder=str(self.folder), tries=self.tries,
            seconds=self.turn,
        )  # fmt: skip

    def run(self, rounds: int, rng: np.random.Generator) -> None:
        """Everybody once in each round, in an order drawn anew."""
        for k in range(rounds):
            self.tell("rounds", k, rounds)
            for name in rng.permutation(list(self.children)):
                time.sleep(PAUSE)
                told = self._asked(
                    str(name),
                    lambda child: child.ask(TURN, do="turn", seconds=self.turn),
                )
                if told is not None:
                    self.samples[str(name)].append(told["seconds"])

    def _asked(self, name: str, ask: Callable[[Child], Any]) -> Any:
        """What a contestant answers; one that does not is out."""
        try:
            return ask(self.children[name])
        except Gone as reason:
            self.failed[name] = str(reason)
            self._end(name)
            return None

    def _end(self, name: str) -> None:
        self.children.pop(name).close()

    def row(self) -> Row:
        """What came of it."""
        from .counting import work

        row = self.workload
        counted = work(row, row.network())
        scores = {
            name: Score(
                told["name"], self.samples[name], told["firsts"], told["import"],
                told["error"], told["ways"], told["problems"],
            )
            for name, told in self.told.items()
            if name not in MACHINE | GPU_MACHINE and name not in self.failed
        }  # fmt: skip
        sizes = {
            "batch": row.batch, "length": row.length, "features": row.features,
            "layers": list(row.layers) or row.title, "dtype": row.dtype,
        }  # fmt: skip
        best = {name: min(some) for name, some in self.samples.items() if some}
        reads = best.get("reads")
        products = best.get("products") or best.get("GPU products")
        return Row(
            row.name, row.words, row.kind, sizes,
            counted and counted.flop, counted and counted.read,
            scores, self.failed, self.skipped,
            peak=products and 1 / products,
            bandwidth=self.cores / reads if reads else None,
        )  # fmt: skip


def threads(cores: int) -> list[int]:
    """Numbers of threads that are tried: powers of two, and all cores."""
    some = [2**k for k in range(cores.bit_length()) if 2**k < cores]
    return [*some, cores]


def _within(progress: Progress | None, row: str, done: int, rows: int) -> Progress:
    """Progress of one row among several."""

    def tell(what: str, part: int, total: int) -> None:
        if progress is not None:
            progress(f"row {row} ({done + 1} of {rows}): {what}", part, total)

    return tell


# --- the machine ----------------------------------------------------------------------


def described(cores: int) -> dict[str, Any]:
    """The machine without its name."""
    return {
        "processor": _processor(),
        "cores": cores,
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "environment": {
            name: value for name, value in os.environ.items() if name.startswith(TOLD)
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        names = [
            line.partition(":")[2].strip() for line in lines if "model name" in line
        ]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _with_own(versions: dict[str, str]) -> dict[str, str]:
    try:
        return {"jlstm": version("jlstm")} | versions
    except PackageNotFoundError:
        return versions
