"""One of several processes: `python -m jlstm.shards.worker FOLDER NUMBER COUNT`.

It writes a line of JSON for every window, `[sequences, steps]`, and ends when nothing
is left, or when whoever started it is gone and its input ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from ..errors import JlstmError


def main(arguments: list[str]) -> int:
    """Work at the run in a folder; the exit code."""
    out, number, count = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    take_cores(number, count)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Now, because the threads of JAX are as many as there are cores when it starts.
    from .job import ready
    from .manifest import Folder
    from .working import work

    def told(sequences: int, steps: int) -> None:
        sys.stdout.write(json.dumps([sequences, steps]) + "\n")
        sys.stdout.flush()

    try:
        folder = Folder(out)
        evaluation = folder.evaluation()
        with ready(evaluation) as job:
            work(folder, evaluation, job, number, count, told)
    except JlstmError as error:
        words = [" ".join(line.split()) for line in str(error).splitlines()]
        sys.stderr.write("; ".join(words) + "\n")
        return 2
    return 0


def take_cores(number: int, count: int) -> None:
    """Keep to a share of the cores that this process may use, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    share = cores[len(cores) * number // count : len(cores) * (number + 1) // count]
    os.sched_setaffinity(0, share or [cores[number % len(cores)]])


def _end_with_parent() -> None:
    # Not by sys.stdin, which a thread may not hold when Python ends.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
