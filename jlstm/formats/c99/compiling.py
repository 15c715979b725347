"""A C file proven by a compiler: its self-test, compiled and run."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from ...errors import JlstmError

COMPILERS = ("cc", "gcc", "clang")
OPTIONS = ("-std=c99", "-O2", "-DJLSTM_SELF_TEST")
SECONDS = 300
RESULT = re.compile(r"vectors (\d+), .*: off by (\S+), accepted (\S+)")


class Rerun(NamedTuple):
    """What a compiled self-test found.

    Attributes:
        compiler: what compiled it.
        off: the largest difference, as a share of the largest value of that output.
        accepted: how large it may be.
        vectors: how many golden vectors there are.
    """

    compiler: str
    off: float
    accepted: float
    vectors: int


def rerun(path: str | Path) -> Rerun | None:
    """Compile the self-test of a C file in a temporary folder, and run it.

    Returns:
        what it found; None where there is no C compiler.

    Raises:
        JlstmError: it does not compile, does not end, or computes something else.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return None
    path = Path(path).resolve()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "selftest"
        built = _run([compiler, *OPTIONS, str(path), "-o", str(program), "-lm"], path)
        if built.returncode:
            raise JlstmError(
                "the C file does not compile", file=path, found=built.stderr[:500]
            )
        told = _run([str(program)], path)
    found = RESULT.findall(told.stdout)
    if not found or told.returncode not in (0, 1):
        raise JlstmError(
            "the self-test did not run to its end",
            file=path,
            found=f"exit code {told.returncode}: {told.stdout[-300:]}",
        )
    if told.returncode:
        raise JlstmError(
            "the compiled file computes something else than its golden vectors",
            file=path,
            found=told.stdout[-500:].strip(),
        )
    off = max(float(difference) for _, difference, _ in found)
    vectors = {number for number, _, _ in found}
    return Rerun(Path(compiler).name, off, float(found[0][2]), len(vectors))


def _run(command: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise JlstmError(
            "the self-test takes too long", file=path, expected=f"{SECONDS} seconds"
        ) from None
