"""Take the disk away from a run, give it back, and let the run end."""

from __future__ import annotations

import errno
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from folders import differences, last_epoch, look
from kills import Run, started, until

SIZE = "3m"
EPOCHS = 3


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of a few megabytes in memory; None where it cannot be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    try:
        yield folder if done else None
    finally:
        if done:
            subprocess.run(["umount", str(folder)], check=True)


def troubles(run: Run, whole: Path, work: Path) -> dict[str, dict[str, Any]]:
    """Every trouble in turn; what the run said, and what it came to."""
    found = {}
    with small_disk(work / "disk") as disk:
        if disk is not None:
            full, empty = partial(fill, disk), partial(unfill, disk)
            disks = [run._replace(out=disk / name) for name in "abc"]
            read_only, writable = (partial(mounted, disk, how) for how in ("ro", "rw"))
            found |= {
                "disk full from the start": met(disks[0], whole, full, empty, -1),
                "disk full": met(disks[1], whole, full, empty),
                "disk read-only": met(disks[2], whole, read_only, writable),
            }
    limited = run._replace(out=work / "limited")
    # The checkpoint grows with the history: the last ones are above the limit.
    with at_most((whole / "checkpoint.safetensors").stat().st_size - 1000):
        row = seen(limited)
    found["files limited in size"] = row | mended(limited, whole)
    here = run._replace(out=work / "here")
    there = run._replace(out=work / "there")
    row = seen(here, partial(moved, here.out, there.out), EPOCHS)
    found["folder moved away"] = row | mended(there, whole)
    return found


def met(
    run: Run,
    whole: Path,
    trouble: Callable[[], bool],
    mend: Callable[[], Any],
    epoch: int = EPOCHS,
) -> dict[str, Any]:
    """Make trouble after some epochs, go on in spite of it, mend it, let the run end.

    trouble: is called until it says that it is done, or the run has ended.
    epoch: of the checkpoint after which the trouble begins; -1 is before the run.
    """
    if epoch < 0:
        trouble()
    row = seen(run, trouble, epoch)
    with started(run) as process:
        pass
    row["again"] = process.returncode
    mend()
    return row | mended(run, whole)


def seen(
    run: Run, trouble: Callable[[], bool] = lambda: True, epoch: int = 0
) -> dict[str, Any]:
    """How a run ends in trouble, and what it leaves."""
    with started(run) as process:
        if until(process, lambda: last_epoch(run.out / "log.jsonl") > epoch):
            until(process, trouble)
    now = look(run.out)
    return {
        "exit code": process.returncode,
        "words": run.words.read_text("utf-8"),
        "damaged": now.damaged,
        "parts": len(now.parts),
        "epoch": now.checkpoint,
    }


def mended(run: Run, whole: Path) -> dict[str, Any]:
    """How it ends when nothing is in the way any more."""
    with started(run) as process:
        pass
    return {
        "exit code, mended": process.returncode,
        "different": differences(whole, run.out),
        "parts at the end": len(look(run.out).parts),
    }


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file may become larger; for programs that are started in here."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def fill(disk: Path) -> bool:
    """Take all room; never done, for writers give some back."""
    with open(disk / "ballast", "ab", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return False


def unfill(disk: Path) -> None:
    (disk / "ballast").unlink()


def mounted(disk: Path, how: str) -> bool:
    """Mount it anew, `ro` or `rw`; not done while a file is open for writing."""
    command = ["mount", "-o", f"remount,{how}", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def moved(here: Path, there: Path) -> bool:
    here.rename(there)
    return True
