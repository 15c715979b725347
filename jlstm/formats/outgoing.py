"""What is asked of a network before it goes into another tool's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from ..errors import InputError, Unsupported
from ..golden import Golden
from ..network import Network
from . import proof

MARKED = 512
"""So near to its beginning a file says who wrote it."""


def require_precision(net: Network, target: str, dtypes: tuple[str, ...]) -> None:
    """Refuse a network that mixes precisions, or that the target does not compute in.

    Raises:
        Unsupported: the precision, and how to change it.
    """
    kinds = sorted({str(np.dtype(leaf.dtype)) for leaf in jax.tree.leaves(net)})
    if len(kinds) > 1 or not set(kinds) <= set(dtypes):
        raise Unsupported(
            f"{target} has no networks of this precision",
            found=", ".join(kinds),
            expected=" or ".join(dtypes),
            do="jlstm convert --precision single; in Python net.astype('float32')",
        )


def require_one_state(net: Network, target: str) -> None:
    """Refuse a network that was saved in another state than it starts from.

    Raises:
        Unsupported: the file would have to forget one of the two.
    """
    if net.saved is not None:
        raise Unsupported(
            f"{target} has room for one state, and this network has two: the one it "
            "starts from and the one it was saved in",
            place="saved state",
            found=", ".join(net.saved),
            do="jlstm convert --state initial to start from the beginning, or --state "
            "saved to go on where it stood; in Python net.replace(saved=None), or "
            "net.replace(initial=net.saved, saved=None)",
        )


def require_outputs_once(net: Network, target: str) -> None:
    """Refuse a network that gives one and the same value twice.

    Raises:
        Unsupported: outputs are told apart by their names.
    """
    if len(set(net.outputs)) < len(net.outputs):
        raise Unsupported(
            f"{target} cannot give the same output twice",
            place="outputs",
            found=", ".join(net.outputs),
        )


def require_own(path: Path, mark: str) -> None:
    """Refuse to write a second file over one of somebody else.

    Arguments:
        path: where it is to be.
        mark: what those of jlstm have near their beginning.

    Raises:
        InputError: there is another one.
    """
    if not path.exists():
        return
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace") as file:
            if mark in file.read(MARKED):
                return
    raise InputError(
        "a file of somebody else is in the way",
        place=str(path),
        do="move it, or write the network under another name",
    )


def records(net: Network, golden: Sequence[Golden]) -> list[Golden]:
    """The golden vectors that go along: those at hand, else some that jlstm computes.

    Only those from the initial state, the one that the file has.

    Raises:
        InputError: golden vectors that this network does not reproduce.
    """
    found = [record for record in golden if record.start == "initial"]
    if not found:
        return proof.computed(net)
    proof.accepted(net, found)
    return found
