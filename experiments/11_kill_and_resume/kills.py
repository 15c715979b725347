"""Kill a run at a chosen kind of moment, and say which one it was."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from folders import PART, RESULTS, Look, differences, last_epoch, look

WAIT, TRIES = 300, 5
NOTHING = Look({}, {}, {}, -1, -1)
PHASES = (
    "before the folder is there",
    "the folder is there, run.json is not",
    "a resumed run starts",
    "first step is compiled",
    "in an epoch",
    "log written, checkpoint not",
    "a file is being written",
    "after the last epoch",
)


class Run(NamedTuple):
    """A run that can be started again and again.

    arguments: of the command, without the folder.
    out: its folder.
    words: the file for what it says.
    epochs: how many there are.
    """

    arguments: list[str]
    out: Path
    words: Path
    epochs: int


class Times(NamedTuple):
    """Seconds from the start of an undisturbed run."""

    folder: float
    first_epoch: float
    last_epoch: float
    end: float


class Kill(NamedTuple):
    """One kill: what was aimed at, what was hit, what was found afterwards."""

    aim: str
    phase: str
    writing: str
    parts: int
    damaged: dict[str, str]
    epoch: int


class Aim(NamedTuple):
    """Wait for something, then up to some seconds more."""

    name: str
    seen: Callable[[Run, Look], bool]
    seconds: float


@contextmanager
def started(run: Run) -> Iterator[subprocess.Popen[bytes]]:
    """The run begun, or resumed where there is one in the folder; waits for its end."""
    more = ["--resume", str(run.out)]
    if not (run.out / "run.json").exists():
        more = [*run.arguments, "--out", str(run.out)]
    with open(run.words, "wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "jlstm", "finetune", *more],
            stdout=words, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
            process.wait(WAIT)
        finally:
            process.kill()
            process.wait()


def until(process: subprocess.Popen[bytes], seen: Callable[[], bool]) -> bool:
    """Wait until something is seen; False if the process ends before."""
    deadline = time.monotonic() + WAIT
    while not seen():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(5e-4)
    return True


def undisturbed(run: Run) -> Times:
    """Run it from beginning to end, and take the times."""
    began = time.perf_counter()
    with started(run) as process:
        until(process, run.out.exists)
        folder = time.perf_counter() - began
        until(process, (run.out / "checkpoint.safetensors").exists)
        first = time.perf_counter() - began
        until(process, lambda: ended(run, NOTHING))
        last = time.perf_counter() - began
    end = time.perf_counter() - began
    if process.returncode != 0:
        raise RuntimeError(run.words.read_text("utf-8"))
    return Times(folder, first, last, end)


def changed(run: Run, before: Look, name: str) -> bool:
    try:
        return (run.out / name).stat().st_mtime_ns != before.files.get(name)
    except FileNotFoundError:
        return False


def ended(run: Run, before: Look) -> bool:
    """Whether the last epoch has been logged by this process."""
    log = "log.jsonl"
    return changed(run, before, log) and last_epoch(run.out / log) == run.epochs


def writing(run: Run, before: Look) -> bool:
    """Whether a part of a file is there, once an epoch has been done."""
    if not changed(run, before, "checkpoint.safetensors"):
        return False
    now = {file.name for file in run.out.iterdir() if PART.fullmatch(file.name)}
    return bool(now - set(before.parts))


def aims(kills: int, times: Times, epochs: int) -> list[Aim]:
    """What to aim at, in this order: the beginning, anything, the end."""
    some = 10 * (times.last_epoch - times.first_epoch) / epochs
    first = [
        Aim("start", lambda run, before: True, times.folder),
        Aim("folder", lambda run, before: run.out.exists(), 0.003),
    ]
    middle = [
        Aim("any moment", lambda run, before: True, times.first_epoch + some),
        Aim(
            "epochs",
            lambda run, before: changed(run, before, "checkpoint.safetensors"),
            some,
        ),
        Aim("writing", writing, 2e-4),
    ]
    last = [
        Aim("end", ended, times.end - times.last_epoch),
        Aim("results", lambda run, before: changed(run, before, RESULTS[0]), 0.01),
    ]
    count = kills - len(first) - len(last)
    return [*first, *(middle[k % len(middle)] for k in range(count)), *last]


def killed(run: Run, aim: Aim, rng: np.random.Generator) -> Kill | None:
    """One kill; None where the run has ended before."""
    before = look(run.out)
    with started(run) as process:
        if until(process, lambda: aim.seen(run, before)):
            time.sleep(rng.uniform(0, aim.seconds))
            process.kill()
    if process.returncode == 0:
        return None
    if process.returncode != -9:
        raise RuntimeError(run.words.read_text("utf-8"))
    after = look(run.out)
    new = [what for part, what in after.parts.items() if part not in before.parts]
    return Kill(
        aim.name, phase(before, after, bool(new), run), "".join(new),
        len(after.parts), after.damaged, after.checkpoint,
    )  # fmt: skip


def phase(before: Look, after: Look, part: bool, run: Run) -> str:
    """When it was, told by what is in the folder."""
    new = {n for n, time in after.files.items() if time != before.files.get(n)}
    if "run.json" not in after.files:
        return PHASES[1] if run.out.exists() else PHASES[0]
    if part:
        return PHASES[6]
    if not new:
        return PHASES[2]
    if after.log > after.checkpoint and after.log > 0:
        return PHASES[5]
    if after.checkpoint == run.epochs or new & set(RESULTS):
        return PHASES[7]
    return PHASES[4] if "checkpoint.safetensors" in new else PHASES[3]


def disturbed(
    run: Run, whole: Path, times: Times, kills: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Kill it so many times, let it end, compare it with the undisturbed one."""
    found: list[Kill] = []
    for aim in aims(kills, times, run.epochs):
        for _ in range(TRIES):
            if kill := killed(run, aim, rng):
                found.append(kill)
                break
            # It has ended: what is left is that it writes its results once more.
            aim = Aim("end", ended, times.end - times.last_epoch)
    with started(run) as process:
        pass
    end = look(run.out)
    epochs = [kill.epoch for kill in found]
    return {
        "exit code": process.returncode,
        "kills": [kill._asdict() for kill in found],
        "parts at most": max(kill.parts for kill in found),
        "parts at the end": len(end.parts),
        "damaged": [one.damaged for one in (*found, end) if one.damaged],
        "epochs lost": sum(a > b for a, b in pairwise(epochs)),
        "different": differences(whole, run.out),
    }
