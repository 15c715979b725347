"""The process of one contestant: `python -m jlstm.bench.worker NAME`.

It reads a line of JSON and answers with one, until its input ends:

    {"do": "prepare", "folder": ..., "tries": 3, "seconds": 0.1}
        every way of doing the job is built and tried, the answers of the fastest are
        compared; {"name", "firsts", "error", "ways", "versions"}, or
        {"refused": why}
    {"do": "turn", "seconds": 0.05}
        the work is done once untimed, then again and again for so long; {"seconds"} of
        one unit of work, {"calls"}
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import IO, Any

from ..errors import JlstmError
from .contestants import ALL, GPU_MACHINE, MACHINE, Contestant, Variant
from .job import Job

HOPELESS = 2.0
"""A way that takes so many times the time of another is not tried again."""
EVERYBODY = ("numpy", "jax", "jaxlib", "optax")


class Worker:
    """A contestant at work.

    Arguments:
        contestant: who it is.
    """

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        name = f".contestants.{contestant.module}"
        self.module: Any = import_module(name, __package__)
        self.chosen: Variant | None = None

    def prepare(self, folder: str, tries: int, seconds: float) -> dict[str, Any]:
        """Build and try all ways of doing the job; keep the fastest."""
        job = Job(folder)
        ways, firsts, problems = [], {}, []
        try:
            for variant, first in self._built(job, problems):
                ways.append(variant)
                firsts[variant.name] = first
        except JlstmError as error:
            if not ways:
                found = "" if error.found is None else f": {error.found}"
                return {"refused": f"{error.summary}{found}"}
        if not ways:
            raise RuntimeError(problems[0] if problems else "no way to do it")
        samples: dict[str, list[float]] = {way.name: [] for way in ways}
        for _ in range(tries):
            for way in ways:
                samples[way.name].append(timed(way, seconds)[0])
            least = min(min(samples[way.name]) for way in ways)
            ways = [way for way in ways if min(samples[way.name]) < HOPELESS * least]
        chosen = min(ways, key=lambda way: median(samples[way.name]))
        self.chosen, answers = chosen, chosen.answers
        return {
            "name": chosen.name,
            "firsts": firsts,
            "error": job.error(answers()) if answers else None,
            "ways": {name: median(some) for name, some in samples.items()},
            "problems": problems,
            "versions": _versions(self.contestant),
        }

    def _built(self, job: Job, problems: list[str]) -> Iterator[tuple[Variant, float]]:
        """The ways that work, and how long each took until its first result."""
        ways = self.module.variants(job, self.contestant.option)
        while True:
            name, start = "building", time.perf_counter()
            try:
                way = next(ways, None)
                if way is None:
                    return
                name = way.name
                way.run()
            except JlstmError:
                raise
            except Exception as error:  # what a peer raises is the peer's affair
                problems.append(f"{name}: {_words(error)}")
                continue  # a generator that raised has no more
            yield way, time.perf_counter() - start

    def turn(self, seconds: float) -> dict[str, Any]:
        """Do the work for a while."""
        if self.chosen is None:
            raise RuntimeError("nothing was prepared")
        spent, calls = timed(self.chosen, seconds)
        return {"seconds": spent, "calls": calls}


def timed(way: Variant, seconds: float) -> tuple[float, int]:
    """Seconds a unit of work, over as many runs as fit into `seconds`; their number.

    The first run is not timed: it finds caches that others have filled.
    """
    gc.collect()
    gc.disable()
    try:
        way.run()
        start, calls = time.perf_counter(), 0
        while True:
            way.run()
            calls += 1
            spent = time.perf_counter() - start
            if spent >= seconds:
                return spent / calls / way.amount, calls
    finally:
        gc.enable()


def serve(worker: Worker, given: IO[str], answers: IO[str]) -> None:
    """Answer every line until there are no more."""
    actions: dict[str, Callable[..., Any]] = {
        "prepare": worker.prepare, "turn": worker.turn,
    }  # fmt: skip
    for line in given:
        asked = json.loads(line)
        try:
            answer = actions[asked.pop("do")](**asked)
        except Exception as error:
            answer = {"failed": _words(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _words(error: Exception) -> str:
    if isinstance(error, JlstmError):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:300]


def _versions(contestant: Contestant) -> dict[str, str]:
    found = {}
    for package in (*contestant.packages, *EVERYBODY):
        if package in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found


def main(name: str) -> None:
    """Be the contestant of this name."""
    # What libraries print goes to standard error: the answers have the output alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    start = time.perf_counter()
    try:
        worker = Worker((ALL | MACHINE | GPU_MACHINE)[name])
    except Exception as error:
        ready = {"failed": _words(error)}
        answers.write(json.dumps(ready) + "\n")
        return
    answers.write(json.dumps({"import": time.perf_counter() - start}) + "\n")
    answers.flush()
    serve(worker, sys.stdin, answers)


if __name__ == "__main__":
    main(sys.argv[1])
