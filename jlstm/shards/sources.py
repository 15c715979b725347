"""Which files there are to read, and what reads each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..dataset.kinds import Want
from ..errors import InputError, JlstmError
from . import arrays, slices, tabular
from .kinds import Ask, Item

Reader = Callable[[Path, Want, Ask], Iterator[Item]]
READERS: dict[str, Reader] = {
    ".parquet": tabular.read,
    ".csv": tabular.read,
    ".tsv": tabular.read,
    ".txt": tabular.read,
    ".nc": slices.read,
    ".h5": arrays.read_hdf5,
    ".hdf5": arrays.read_hdf5,
    ".npz": arrays.read_numpy,
    ".npy": arrays.read_numpy,
    ".mat": arrays.read_mat,
}
"""What reads a file, by its suffix."""


class Source(NamedTuple):
    """The files of a run.

    Arguments:
        files: in the order of their names.
        passed_over: how many files of the folder are of no kind that is read.
    """

    files: list[Path]
    passed_over: int

    @classmethod
    def of(cls, path: Path) -> Source:
        """A file, or the files in a folder.

        Raises:
            InputError: there is none.
        """
        if path.is_file() and path.suffix.lower() in READERS:
            return cls([path], 0)
        if path.is_file() or not path.exists():
            raise InputError(
                "no kind of data" if path.exists() else "no such file or folder",
                file=path,
                expected=", ".join(READERS),
            )
        held = [p for p in path.iterdir() if p.is_file()]
        found = sorted(p for p in held if p.suffix.lower() in READERS)
        if not found:
            raise InputError("no data in it", file=path, expected=", ".join(READERS))
        return cls(found, len(held) - len(found))


def read(path: Path, want: Want, ask: Ask) -> Iterator[Item]:
    """The sequences of a file, one after the other.

    Raises:
        JlstmError: the file is not what its suffix says, or does not fit the network;
            when the reading comes to it.
    """
    try:
        yield from READERS[path.suffix.lower()](path, want, ask)
    except JlstmError as error:
        raise error.within(file=path) from None
