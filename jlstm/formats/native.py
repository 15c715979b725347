"""The native file: safetensors, every array under its key path, the structure in JSON.

The metadata of the file, all strings:

    format          "jlstm"
    format_version  "1"
    jlstm, jax      versions of the writers
    structure       the network without its arrays, see `structure.py`
    golden          optional golden vectors, in the same notation
    sha256          over everything else: the metadata and every tensor

A tensor is named by its key path in the network, `.layers['lstm_1'].f.bias`,
`.initial['lstm_1'].h`, so that the file is readable by anything that reads
safetensors (https://github.com/huggingface/safetensors). Nothing in it is executed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from ..errors import DamagedFile, InputError, JlstmError, Unsupported
from ..golden import Golden
from ..network import Network
from .structure import decode, encode, rebuilt

FORMAT = "jlstm"
FORMAT_VERSION = 1
PART = f".{'[0-9a-f]' * 16}.tmp"
ROOM = "make room on the disk, then go on: what was there before is whole"
ACCESS = "make the folder writable, or name another one"
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: "raise the limit on the size of files, ulimit -f",
    errno.EACCES: ACCESS,
    errno.EPERM: ACCESS,
    errno.EROFS: ACCESS,
    errno.ENOENT: "make the folder, or name another one",
}
"""What the user can do where a file cannot be written."""


def save(
    net: Network, path: str | Path, golden: Sequence[Golden] = ()
) -> tuple[Path, ...]:
    """Write a network, every array bit for bit as it is.

    The file is written beside its final place and moved there when it is complete: an
    existing file is replaced whole or not at all.

    Arguments:
        net: the network.
        path: where to; any extension, usually `.safetensors`.
        golden: what the original network computed, to be checked after loading. The
            file holds one record: the first from the initial state, else the first.

    Returns:
        the file.

    Raises:
        Unsupported: a layer, a setting or an array that the format cannot hold.
    """
    tensors: dict[str, np.ndarray] = {}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "jlstm": version("jlstm"),
        "jax": jax.__version__,
    }
    try:
        metadata["structure"] = _to_json(encode(net, "", tensors))
        for record in sorted(golden, key=lambda record: record.start != "initial")[:1]:
            metadata["golden"] = _to_json(encode(record, ".golden", tensors))
    except JlstmError as error:
        raise error.within(file=path) from None
    metadata["sha256"] = _digest(metadata, tensors)
    write_whole(path, _in_order(safetensors.save(tensors, metadata)))
    return (Path(path),)


def load(path: str | Path) -> tuple[Network, list[Golden]]:
    """Read a network that `save` wrote, every array bit for bit as it was.

    Returns:
        the network, and the golden vectors in the file.

    Raises:
        DamagedFile: truncated, altered, or arrays that do not fit together.
        Unsupported: not a file of jlstm, a newer format, an unknown class or field.
    """
    net, recorded = _read(path)
    return net, [] if recorded is None else [recorded]


def recognises(path: str | Path) -> bool:
    """Whether a file says of itself that jlstm wrote it; nothing else is checked."""
    if not Path(path).is_file():
        return False  # a pipe would wait for somebody to write to it
    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, SafetensorError):
        return False


def write_whole(path: str | Path, data: bytes) -> None:
    """Put `data` at `path` completely or not at all, also when killed on the way.

    Raises:
        InputError: the disk is full, or the folder is gone or may not be written to.
    """
    with placing(path) as file, writing(path):
        file.write(data)


@contextmanager
def placing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to that lies beside `path`, and is there when all went well.

    Raises:
        InputError: the disk is full, or the folder is gone or may not be written to.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with writing(path):
            file = open(beside, "xb")  # noqa: SIM115
        try:
            yield file
            with writing(path):
                file.flush()
                os.fsync(file.fileno())
                file.close()
        finally:
            # What did not fit on the disk it tries to write once more, in vain.
            with suppress(OSError):
                file.close()
        with writing(path):
            os.replace(beside, target)
    finally:
        # Moved away where all went well; else it would only fill the disk.
        with suppress(OSError):
            beside.unlink()
    _sync(target.parent)


def remove_parts(folder: str | Path) -> None:
    """Remove what `placing` leaves beside its target when it is killed.

    Only for a folder that nobody else is writing to.
    """
    for part in Path(folder).glob(PART):
        with suppress(OSError):
            part.unlink()


def make_folder(path: str | Path) -> None:
    """Make a folder, and those above it, where it is not there yet.

    Raises:
        InputError: it cannot be made.
    """
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Errors of the disk in here, in words a user can act on.

    Raises:
        InputError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            "cannot be written",
            file=path,
            found=error.strerror or str(error),
            do=REMEDIES.get(error.errno or 0, "name another place"),
        ) from None


def _sync(folder: Path) -> None:
    """The new name is on the disk only when the folder is."""
    # The file is in place already; not every file system can do this.
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)


def _in_order(data: bytes) -> bytes:
    """The same file with its metadata sorted: equal networks give equal bytes."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _read(path: str | Path) -> tuple[Network, Golden | None]:
    try:
        metadata, tensors = _contents(path)
        used: set[str] = set()
        fields = decode(_from_json(metadata, "structure"), tensors, used)
        recorded = None
        if "golden" in metadata:
            recorded = decode(_from_json(metadata, "golden"), tensors, used, ".golden")
        if extra := set(tensors) - used:
            raise DamagedFile(
                "a tensor that nothing uses", place=min(extra), found=len(extra)
            )
        return rebuilt(fields, "structure"), _as_golden(recorded)
    except JlstmError as error:
        raise error.within(file=path) from None
    except RecursionError:
        raise DamagedFile("nested too deeply", file=path, place="structure") from None


def _contents(path: str | Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and tensors, version and checksum verified.

    safetensors checks the declared sizes against the size of the file before anything
    is allocated, so that no header can ask for more memory than the file has bytes.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            _check_version(metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DamagedFile(
            "not a complete safetensors file",
            found=error,
            do="copy or convert it again",
        ) from None
    if metadata.pop("sha256", None) != _digest(metadata, tensors):
        raise DamagedFile(
            "the contents differ from what was written",
            place="metadata sha256",
            do="copy or convert it again",
        )
    return metadata, tensors


def _check_version(metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise Unsupported(
            "a safetensors file that jlstm did not write",
            place="metadata format",
            found=repr(metadata.get("format")),
            expected=repr(FORMAT),
        )
    number = metadata.get("format_version", "")
    if number.isdecimal() and number.isascii() and int(number[:9]) > FORMAT_VERSION:
        raise Unsupported(
            "written by a newer jlstm",
            place="metadata format_version",
            found=f"{number[:9]}, by jlstm {metadata.get('jlstm')}",
            expected=FORMAT_VERSION,
            do="update jlstm",
        )
    if number != str(FORMAT_VERSION):
        raise DamagedFile(
            "no such format version",
            place="metadata format_version",
            found=repr(number),
        )


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over everything: names, types, shapes and bytes, in sorted order."""
    digest = hashlib.sha256(_to_json(sorted(metadata.items())).encode())
    for name, array in sorted(tensors.items()):
        head = _to_json([name, array.dtype.name, list(array.shape)])
        digest.update(head.encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _from_json(metadata: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise DamagedFile(
            "not readable as JSON", place=f"metadata {key}", found=error
        ) from None


def _as_golden(value: Any) -> Golden | None:
    if value is None or isinstance(value, Golden):
        return value
    raise DamagedFile("not golden vectors", place="golden", found=type(value).__name__)
