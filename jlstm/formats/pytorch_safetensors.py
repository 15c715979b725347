"""Weights of PyTorch in a safetensors file that somebody else wrote.

Source: https://github.com/huggingface/safetensors, the format: eight bytes of length, a
header in JSON, the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import DamagedFile, Unsupported
from . import strict_json
from .pytorch_state import State, from_tensors
from .pytorch_tensors import Tensor, contiguous

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
LENGTH = 8
LOOK = 2**16
KEYS = (b'"data_offsets"', b'"__metadata__"')
"""Where and what stands in the header of every file."""


def recognises(path: str | Path) -> bool:
    """Whether a file is safetensors, and not jlstm's own."""
    if not Path(path).is_file():
        return False  # a pipe would wait for somebody to write to it
    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("format") != "jlstm"
    except SafetensorError:
        return _begins_like_one(path)
    except OSError:
        return False


def _begins_like_one(path: str | Path) -> bool:
    """Whether a file that is not whole is worth saying so."""
    with open(path, "rb") as file:
        head = file.read(LOOK)[LENGTH:]
    return head.startswith(b'{"') and any(key in head for key in KEYS)


def load(path: Path) -> State:
    """The tensors of a file, not yet read.

    Raises:
        DamagedFile: cut off, or sizes that the file does not have.
        Unsupported: a kind of numbers that is not read.
    """
    try:
        # Checks every size against the file.
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise DamagedFile(
            "not a complete safetensors file",
            found=str(error)[:200],
            do="copy or save it again",
        ) from None
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(LENGTH), "little")
        # It was checked by a parser that takes the last of two equal names.
        header = strict_json.parse(file.read(size))
    metadata = header.pop("__metadata__", None) or {}
    start = LENGTH + size
    tensors = {name: _tensor(path, name, spec, start) for name, spec in header.items()}
    # Of tensors that modules share, `save_model` keeps one and notes the other names.
    shared = {
        name: tensors[kept]
        for name, kept in metadata.items()
        if kept in tensors and name not in tensors
    }
    return from_tensors(tensors | shared)


def _tensor(path: Path, name: str, spec: dict[str, Any], start: int) -> Tensor:
    dtype = DTYPES.get(spec["dtype"])
    if dtype is None:
        raise Unsupported(
            "a kind of numbers that is not read",
            place=name[:120],
            found=spec["dtype"],
            expected=", ".join(DTYPES),
        )
    begin, end = (start + offset for offset in spec["data_offsets"])

    def contents() -> tuple[bytes, str]:
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read(end - begin), "little"

    return contiguous(name, dtype, tuple(spec["shape"]), contents)
