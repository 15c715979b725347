"""The processes of the contestants, seen from the one that measures."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import JlstmError
from .contestants import Contestant

ALLOCATORS: dict[str, dict[str, str]] = {
    "plain": {},
    # Nothing is mapped apart, nothing given back: no page is new twice.
    "keep": {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
        "MALLOC_TOP_PAD_": str(64 << 20),
        # The others have limits of their own, and XLA allocates in many threads.
        "MALLOC_ARENA_MAX": "1",
    },
}
"""What glibc is told about large blocks; other systems do not listen."""


class Gone(Exception):
    """A contestant that answers no more, with the reason in words."""


class Child:
    """A contestant in a process of its own.

    Arguments:
        contestant: who it is.
        allocator: one of `ALLOCATORS`.
        double: whether JAX has its double precision on.
        folder: for what the process writes on the side.
    """

    def __init__(
        self, contestant: Contestant, allocator: str, double: bool, folder: Path
    ) -> None:
        self.contestant = contestant
        self._log = folder / f"{contestant.name}.log"
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                # Not from the folder this was started in, which may hold anything.
                [sys.executable, "-P", "-m", f"{__package__}.worker", contestant.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=environment(contestant, allocator, double, folder),
                # Compilers that it starts go with it.
                start_new_session=True,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ready(self, limit: float) -> float:
        """Wait until everything is imported; how long that took, in seconds.

        Raises:
            Gone: it does not come up.
        """
        return self._answer(limit)["import"]

    def ask(self, limit: float, **what: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            Gone: it failed, ended, or took longer than `limit` seconds.
        """
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Gone(self._last_words()) from None
        return self._answer(limit)

    def close(self) -> None:
        """End the process and all that it started."""
        if self._process.poll() is None:
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put("")

    def _answer(self, limit: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self.close()
            raise Gone(f"no answer within {limit:.0f} s") from None
        if not line:
            raise Gone(self._last_words())
        answer = json.loads(line)
        if "failed" in answer:
            raise Gone(answer["failed"])
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return f"ended with {code}: {lines[-1] if lines else 'without a word'}"[:300]


def environment(
    contestant: Contestant, allocator: str, double: bool, folder: Path
) -> dict[str, str]:
    """What the process of a contestant finds in its environment.

    Raises:
        JlstmError: no such allocator setting.
    """
    if allocator not in ALLOCATORS:
        raise JlstmError(
            "no such allocator setting", found=allocator, expected=", ".join(ALLOCATORS)
        )
    # The package that measures, not another one that may be installed.
    here = str(Path(__file__).resolve().parents[2])
    ways = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    return kept | {
        "PYTHONPATH": os.pathsep.join(ways),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1" if double else "0",
        # Compiled here and now, as on a machine that has never done it.
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        **ALLOCATORS[allocator],
        **contestant.environment,
    }
