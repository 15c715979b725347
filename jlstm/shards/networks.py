"""Which networks are run: one file, or a folder of them as an ensemble."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..formats import TARGETS
from .manifest import Net, sha256

OTHERS = (".h5", ".hdf5", ".pt2")
"""Networks that are read and not written."""
RESULT = "net.safetensors"


def listed(path: Path, variable: str | None, layers: Path | None) -> list[Net]:
    """The networks of a path, as `files` finds them, and what they are known by."""
    about = None if layers is None else sha256(layers)

    def net(file: Path) -> Net:
        return Net(
            file=str(file.resolve()),
            sha256=sha256(file),
            variable=variable,
            layers=None if layers is None else str(layers.resolve()),
            layers_sha256=about,
        )

    return [net(file) for file in files(path)]


def files(path: Path) -> list[Path]:
    """The files of the networks, in the order of their names.

    A folder holds files of networks, or folders of fine-tuning runs; one that is such a
    run itself is one network.

    Raises:
        InputError: there is none.
    """
    if not is_ensemble(path):
        return [path / RESULT if path.is_dir() else path]
    found = sorted(filter(None, map(_member, path.iterdir())))
    if not found:
        raise InputError(
            "no networks in it", file=path, expected=", ".join([*TARGETS, *OTHERS])
        )
    return found


def is_ensemble(path: Path) -> bool:
    """Whether it is a folder of networks, not a network."""
    return path.is_dir() and not (path / "run.json").is_file()


def _member(path: Path) -> Path | None:
    if path.is_dir():
        return path / RESULT if (path / RESULT).is_file() else None
    readable = path.suffix.lower() in (*TARGETS, *OTHERS)
    return path if readable and path.suffix not in (".c", ".jaxexport") else None
