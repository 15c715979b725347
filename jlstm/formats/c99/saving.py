"""Writing a network as a C file and its header."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import InputError, JlstmError, Unsupported
from ...golden import Golden
from ...network import Network
from .. import outgoing
from ..native import write_whole
from . import combining, normalising, pointwise, windows  # noqa: F401 - fill the table
from .header import MARK, header
from .registry import File
from .selftest import Test, chosen, selftest
from .source import source
from .spelling import identifier, require_identifier
from .wiring import needs_whole_sequence
from .writing import write


def save(
    net: Network,
    path: str | Path,
    golden: Sequence[Golden] = (),
    *,
    prefix: str | None = None,
    max_steps: int | None = None,
) -> tuple[Path, ...]:
    """Write `net` as one C99 file and its header, with a self-test inside.

    Arguments:
        net: the network, in single or double precision.
        path: the C file; the header goes beside it, `net.c` and `net.h`.
        golden: what the original network computed; without any, jlstm computes some.
        prefix: what the names in C start with; by default the name of the file.
        max_steps: of a network that needs whole sequences, the greatest number of steps
            unless the compiler is told another; by default that of the self-test.

    Returns:
        the C file and the header.

    Raises:
        Unsupported: a layer or a setting that is not written in C.
        InputError: a name that C or the file system does not take, a number that is not
            finite, or golden vectors that the network does not reproduce.
    """
    path = Path(path)
    beside = path.with_suffix(".h")
    prefix = require_identifier(identifier(path.stem) if prefix is None else prefix)
    try:
        require_free(path)
        _require_name(path)
        _require_callable(net)
        outgoing.require_precision(net, "C", ("float32", "float64"))
        # First, so that what cannot be written is refused before anything is computed.
        write(net, prefix, File(np.dtype(net.dtype)), 1)
        test = chosen(net, [*golden], cut=not needs_whole_sequence(net))
        steps = test.steps if max_steps is None else _steps(max_steps, test.steps)
        text, head = texts(net, prefix, beside.name, test, steps)
    except JlstmError as error:
        raise error.within(file=path) from None
    write_whole(beside, head.encode("utf-8"))
    write_whole(path, text.encode("utf-8"))
    return path, beside


def texts(
    net: Network, prefix: str, header_name: str, test: Test, steps: int
) -> tuple[str, str]:
    """The C file and its header.

    Arguments:
        net: the network.
        prefix: what the names in C start with.
        header_name: the file that the C file includes.
        test: what the self-test proves.
        steps: the default of the greatest number of steps.

    Raises:
        Unsupported, InputError: as `save`.
    """
    program = write(net, prefix, File(np.dtype(net.dtype)), steps)
    # The functions for the states add their tables to the memory that the header tells.
    text = source(program, header_name, selftest(program, test))
    return text, header(program)


def require_free(path: Path) -> None:
    """Refuse a place where the header would replace one of somebody else.

    Raises:
        InputError: there is one.
    """
    outgoing.require_own(path.with_suffix(".h"), MARK)


def _require_name(path: Path) -> None:
    if path.suffix != ".c":
        raise InputError("a C file ends in .c", found=path.name, expected="net.c")
    name = path.with_suffix(".h").name
    if not name.isprintable() or any(mark in name for mark in ('"', "\\", "??")):
        raise InputError(
            "a file of this name cannot be included in C",
            found=repr(name),
            expected="no quotes, backslashes or pairs of question marks",
        )


def _require_callable(net: Network) -> None:
    """Refuse what neither a step nor a sequence would be given to."""
    if needs_whole_sequence(net) and not any(net.shapes[n].time for n in net.inputs):
        raise Unsupported(
            "C has no function for a network that makes a sequence of single vectors",
            place=f"input '{net.inputs[0]}'",
            found=net.shapes[net.inputs[0]],
            expected="a sequence among the inputs",
        )


def _steps(given: int, least: int) -> int:
    if given < least:
        raise InputError(
            "fewer steps than the golden vectors have",
            place="max_steps",
            found=given,
            expected=f"at least {least}",
        )
    return int(given)
