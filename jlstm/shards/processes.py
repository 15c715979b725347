"""Several processes on this machine that work at one run."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import InputError
from .manifest import Folder

GRACE = 10.0
"""Seconds that a process has to end once it has been told to."""


class Terminated(BaseException):
    """SIGTERM arrived."""


def run(folder: Folder, count: int, progress: Callable[[int, int], Any]) -> list[str]:
    """Let so many processes work until none of them is left.

    SIGINT and SIGTERM end them all.

    Arguments:
        folder: of a run that has begun.
        count: how many.
        progress: is told what has been computed.

    Returns:
        of those that did not end well what they said last.

    Raises:
        InputError: there are fewer GPUs.
    """
    told: queue.Queue[tuple[int, bytes]] = queue.Queue()
    environments = [environment(k, count) for k in range(count)]
    children: list[subprocess.Popen[bytes]] = []
    with _sigterm():
        try:
            for k, found in enumerate(environments):
                children.append(_started(folder, k, count, found))
                threading.Thread(
                    target=_listen, args=(k, children[k], told), daemon=True
                ).start()
            running = count
            while running:
                k, line = told.get()
                if line:
                    progress(*json.loads(line))
                else:
                    running -= 1
                    children[k].wait()  # so that the others see that it is gone
        finally:
            _end(children)
    return [
        _last_words(folder, k, child.returncode)
        for k, child in enumerate(children)
        if child.returncode
    ]


def _started(
    folder: Folder, k: int, count: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with _log(folder, k).open("wb") as errors:
        return subprocess.Popen(
            [
                sys.executable, "-P", "-m", f"{__package__}.worker",
                str(folder.out.resolve()), str(k), str(count),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
        )  # fmt: skip


def _listen(
    k: int, child: subprocess.Popen[bytes], told: queue.Queue[tuple[int, bytes]]
) -> None:
    assert child.stdout is not None
    with suppress(ValueError):  # closed meanwhile
        for line in child.stdout:
            if line.endswith(b"\n"):
                told.put((k, line))
    told.put((k, b""))


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


@contextmanager
def _sigterm() -> Iterator[None]:
    """SIGTERM as an exception, which ends the processes on its way out."""

    def raised(number: int, frame: Any) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, raised)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def environment(k: int, count: int) -> dict[str, str]:
    """What process `k` of `count` finds in its environment: this package, its GPUs.

    Raises:
        InputError: there are fewer GPUs than processes.
    """
    # The package that is running, not another one that may be installed.
    here = str(Path(__file__).resolve().parents[2])
    ways = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(ways)}
    if not (found_gpus := gpus()):
        return found
    if count > len(found_gpus):
        raise InputError(
            "a process takes a GPU for itself",
            found=f"{count} processes",
            expected=f"at most {len(found_gpus)}",
            do="fewer --processes, or none of the GPUs: JAX_PLATFORMS=cpu",
        )
    return found | {"CUDA_VISIBLE_DEVICES": ",".join(found_gpus[k::count])}


def gpus() -> list[str]:
    """The GPUs of NVIDIA that JAX would use here."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return []
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in named.split(",") if name.strip()]
    with suppress(OSError):
        return [str(k) for k, _ in enumerate(os.listdir("/proc/driver/nvidia/gpus"))]
    return []


def _log(folder: Folder, k: int) -> Path:
    return folder.claims / f"worker-{k}.log"


def _last_words(folder: Folder, k: int, code: int) -> str:
    lines: list[str] = []
    with suppress(OSError):
        lines = _log(folder, k).read_text("utf-8", "replace").strip().splitlines()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"process {k} ended with {how}" + (f": {lines[-1]}"[:300] if lines else "")
