"""Which files there are to read, and what reads each of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from ..dataset import tables
from ..dataset.kinds import Want
from ..errors import InputError, JlstmError
from . import arrays, slices, tabular
from .kinds import SAY_WHICH, Ask, Item

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
LONGEST_NAME = 255 - len(".parquet")


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
            InputError: there is none, or its results could not be called like it.
        """
        if path.is_file() and path.suffix.lower() in READERS:
            _require_name(path)
            return cls([path], 0)
        if path.is_file() or not path.exists():
            raise InputError(
                "no kind of data" if path.exists() else "no such file or folder",
                file=path,
                expected=", ".join(READERS),
            )
        held = [p for p in path.iterdir() if p.is_file()]
        found = sorted(p for p in held if _is_data(p))
        if not found:
            raise InputError("no data in it", file=path, expected=", ".join(READERS))
        for one in found:
            _require_name(one)
        return cls(found, len(held) - len(found))


def _is_data(path: Path) -> bool:
    # Hidden files are those of a system, "._a.csv" of macOS beside "a.csv".
    return path.suffix.lower() in READERS and not path.name.startswith(".")


def _require_name(path: Path) -> None:
    try:
        size = len(path.name.encode())
    except UnicodeEncodeError:
        size = None
    if size is None or size > LONGEST_NAME:
        raise InputError(
            "the results of a file are called like it, and no file can be",
            file=path,
            found="a name that is no text" if size is None else f"{size} bytes",
            expected=f"at most {LONGEST_NAME} bytes of UTF-8",
            do="rename it",
        )


def read(path: Path, want: Want, ask: Ask) -> Generator[Item, None, None]:
    """The sequences of a file, one after the other.

    Raises:
        JlstmError: the file is not what its suffix says, or does not fit the network;
            when the reading comes to it.
    """
    try:
        yield from READERS[path.suffix.lower()](path, want, ask)
    except JlstmError as error:
        if error.do == tables.SAY_WHICH:
            error.do = SAY_WHICH
        raise error.within(file=path) from None
    except Exception as error:
        # Whatever a library makes of a broken file, the others are to be finished.
        found = f"{type(error).__name__}: {error}"
        raise InputError("cannot be read", file=path, found=found) from error
