"""Damaged copies of a file, and what loading them comes to.

Run as a program it loads many files in a process of its own, whose death, time and
memory its caller can see: `python matdamage.py JOBS`, JOBS being a JSON list of
`["flips", path, mode, count]`, `["cuts", path, step]` and `["decode", path]`.
"""

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from jlstm.errors import JlstmError
from jlstm.formats import matlab
from jlstm.formats.matfile import MatFile, MatObject, Undecodable
from jlstm.network import Origin

MODES = ("bit", "byte", "word", "several")


def flips(data: bytes, mode: str, count: int) -> Iterator[bytes]:
    """Copies with a bit, a byte, an aligned word, or several bytes changed."""
    for k in range(count):
        # Each its own generator: a case can be repeated alone.
        rng = random.Random(f"{mode} {k} {len(data)}")
        copy = bytearray(data)
        at = rng.randrange(len(data))
        if mode == "bit":
            copy[at] ^= 1 << rng.randrange(8)
        elif mode == "byte":
            copy[at] ^= rng.randrange(1, 256)
        elif mode == "word":
            at = rng.randrange(len(data) - 4) & ~3
            value = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(64)])
            copy[at : at + 4] = value.to_bytes(4, "little")
        else:
            for _ in range(rng.randrange(2, 10)):
                copy[rng.randrange(len(data))] = rng.randrange(256)
        yield bytes(copy)


def cuts(data: bytes, step: int) -> Iterator[bytes]:
    """Copies that end early: after every so many bytes, and just before the end."""
    ends = {*range(0, len(data), step), *range(len(data) - 16, len(data))}
    return (data[:end] for end in sorted(ends))


def fingerprint(net) -> tuple:
    """Every array bit for bit, every setting, every state; not where it came from."""
    leaves, structure = jax.tree.flatten(net.replace(origin=Origin()))
    arrays = [np.asarray(leaf) for leaf in leaves]
    return structure, [(a.dtype.str, a.shape, a.tobytes()) for a in arrays]


def outcome(path: Path, undamaged: tuple) -> str:
    """ "same", "different", or the error.

    Raises:
        AssertionError: an error without the file's name, or one nobody foresaw.
    """
    try:
        found = fingerprint(matlab.load(path))
    except JlstmError as error:
        assert str(path) in str(error), f"the file is not named: {error}"
        assert error.__cause__ is None, f"unforeseen: {error.__cause__!r}"
        return type(error).__name__
    return "same" if found == undamaged else "different"


def outcomes(source: Path, copies: Iterator[bytes], path: Path) -> dict[str, int]:
    """How often loading the copies came to what."""
    undamaged = fingerprint(matlab.load(source))
    counts: dict[str, int] = {}
    for number, data in enumerate(copies):
        path.write_bytes(data)
        started = time.process_time()
        try:
            came_to = outcome(path, undamaged)
        except Exception as error:
            error.add_note(f"copy {number} of {source}")
            raise
        seconds = time.process_time() - started
        assert seconds < 5, f"{seconds:.1f} s for copy {number} of {source}"
        counts[came_to] = counts.get(came_to, 0) + 1
    return counts


def decode(path: Path) -> str:
    """What decoding the variable x of a file comes to, in a few words."""
    try:
        found = MatFile(path)["x"]
    except JlstmError as error:
        return str(error)
    if isinstance(found, MatObject):
        found = found.values
    return f"undecodable: {found.reason}" if isinstance(found, Undecodable) else "value"


def in_another_process(jobs: list) -> list[dict]:
    """Results of `main`; the test fails where it does not live to the end."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(jobs)],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, f"died with {done.returncode}: {done.stderr[-3000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def peak_mb() -> float:
    """The most memory that this process had; `getrusage` counts its parent's too."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main(jobs: list) -> Iterator[dict]:
    for kind, path, *rest in jobs:
        path = Path(path)
        started = time.process_time()
        if kind == "decode":
            result = decode(path)
        else:
            copies = (flips if kind == "flips" else cuts)(path.read_bytes(), *rest)
            result = outcomes(path, copies, path.with_name("damaged.mat"))
        yield {
            "result": result,
            "seconds": time.process_time() - started,
            "peak_mb": peak_mb(),
        }


if __name__ == "__main__":
    # So many bytes more than the libraries themselves take.
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    for line in main(json.loads(sys.argv[1])):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
