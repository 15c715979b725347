"""Who computes which shard, and who of them is dead.

A claim is a small file that only one process can make. It is taken over from a dead
process by replacing it whole. That two processes compute the same shard is possible and
does no harm: their files are equal, and each is put in place whole.

A process of this machine is dead when there is none of its number that was started when
it was. One of another machine is dead when its claim has not been touched for a while,
by the clock of the file system that both see.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..formats.native import make_folder, write_whole, writing

BEAT = 5.0
"""Seconds between two touches of a claim."""
LIMIT = 60.0
"""Seconds without a touch after which the process of another machine is dead."""
STATE, STARTED = 0, 19
"""Fields of /proc/PID/stat after the name of the program."""


class Claims:
    """The claims of this process, in a folder that all see.

    Arguments:
        folder: where claims lie.
        limit: seconds after which a silent process of another machine is dead.
    """

    def __init__(self, folder: Path, limit: float = LIMIT) -> None:
        make_folder(folder)
        self._folder, self._limit = folder, limit
        self._me = {"host": host(), "pid": os.getpid(), "started": started(os.getpid())}
        self._mine: set[Path] = set()
        self._pulse = folder / f".pulse-{self._me['pid']}-{socket.gethostname()}"
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def take(self, name: str) -> bool:
        """Claim something that nobody has claimed, or whose claimer is dead."""
        path, me = self._path(name), json.dumps(self._me).encode()
        if path in self._mine:
            return True
        try:
            with open(path, "xb") as file:
                file.write(me)
        except FileExistsError:
            if self.alive(name):
                return False
            write_whole(path, me)
            if self._read(path) != self._me:
                return False  # somebody else was quicker
        except OSError:
            with writing(path):
                raise
        self._mine.add(path)
        return True

    def drop(self, name: str) -> None:
        """Give a claim back, if it is of this process."""
        path = self._path(name)
        if path in self._mine:
            self._mine.discard(path)
            with suppress(OSError):
                path.unlink()

    def claimed(self, name: str) -> bool:
        """Whether anybody, dead or alive, has claimed it."""
        return self._path(name).exists()

    def alive(self, name: str) -> bool:
        """Whether something is claimed by a process that is alive, as far as is known.

        This process counts as well.
        """
        path = self._path(name)
        claim = self._read(path)
        if claim is None and not path.exists():
            return False
        if claim and claim.get("host") == self._me["host"] and claim.get("started"):
            return started(claim["pid"]) == claim["started"]
        # What is empty was killed while it was made, or will be full in no time.
        return self._fresh(path, self._limit if claim else BEAT)

    def anybody(self) -> str | None:
        """What a process that is alive and not this one has claimed; None without."""
        for path in sorted(self._folder.glob("*.json")):
            name = path.name.removesuffix(".json")
            if self._read(path) != self._me and self.alive(name):
                return name
        return None

    def silence(self, name: str) -> float:
        """Seconds after which the claimer of something is known to be dead."""
        claim = self._read(self._path(name))
        here = claim is None or claim.get("host") == self._me["host"]
        return 0.0 if here else self._limit

    def wait(self, seconds: float) -> bool:
        """Wait for others; whether these claims have been closed meanwhile."""
        return self._ended.wait(seconds)

    def close(self, *names: str) -> None:
        """Stop touching; claims stay, but for those named."""
        self._ended.set()
        for name in names:
            self.drop(name)
        with suppress(OSError):
            self._pulse.unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, path: Path) -> dict[str, Any] | None:
        """A claim; None where there is none, or where it has not been written yet."""
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _fresh(self, path: Path, limit: float) -> bool:
        try:
            self._pulse.touch()
            return self._pulse.stat().st_mtime - path.stat().st_mtime < limit
        except OSError:
            return path.exists()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            for path in list(self._mine):
                with suppress(OSError):
                    os.utime(path)


def host() -> str:
    """This machine, and where process numbers count from on it."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return " ".join(filter(None, (socket.gethostname(), boot, space)))


def started(pid: int) -> str:
    """When a process was started, as this system tells it.

    Empty where there is no such process, where it has ended and only its parent has not
    looked yet, and where the system does not tell.
    """
    if not Path("/proc/self/stat").exists():
        return _started_by_ps(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[STATE] in "ZX" else fields[STARTED]


def _started_by_ps(pid: int) -> str:
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    state, _, when = done.stdout.strip().partition(" ")
    return "" if state[:1] in ("Z", "") else when.strip()
