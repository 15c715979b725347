"""Files for PyTorch that jlstm wrote, read back: the structure lies in the archive.

`archive/jlstm.json` holds the network without its arrays, as the native file does
(`structure.py`), and for every array which rows of which tensor it is:

    {"format": "jlstm", "format_version": 1, "structure": ...,
     "arrays": {".layers['lstm'].i.bias": ["lstm.bias_ih_l0", 0, 5, false], ...},
     "zeros": ["lstm.bias_hh_l0"]}

Every row of every tensor is used once, or its tensor is all zeros and said to be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedFile, Unsupported
from ..golden import Golden
from ..network import Network
from . import golden_json
from .pytorch_tensors import Tensor
from .structure import decode, rebuilt
from .torchfile import Archive

FORMAT = "jlstm"
FORMAT_VERSION = 1
ROOT = "archive"
STRUCTURE = "jlstm.json"
GOLDEN = "golden.json"


def documents(path: Path) -> tuple[bytes, bytes] | None:
    """The structure and the golden vectors of a file that jlstm wrote, as JSON."""
    with Archive(path) as archive:
        if f"{ROOT}/{STRUCTURE}" not in archive:
            return None
        return archive.read(f"{ROOT}/{STRUCTURE}"), archive.read(f"{ROOT}/{GOLDEN}")


def load(tensors: Any, structure: bytes, golden: bytes) -> tuple[Network, list[Golden]]:
    """The network and its golden vectors, every array bit for bit as it was.

    Raises:
        DamagedFile: the structure and the tensors do not belong together.
        Unsupported: written by a newer jlstm.
    """
    document = _document(structure)
    if not isinstance(tensors, dict) or not all(map(_is_tensor, tensors.items())):
        raise DamagedFile("not a dict of tensors beside it", place=STRUCTURE)
    arrays = _arrays(document, tensors)
    used: set[str] = set()
    try:
        found = decode(document["structure"], arrays, used)
    except RecursionError:
        raise DamagedFile("nested too deeply", place=STRUCTURE) from None
    if extra := set(arrays) - used:
        raise DamagedFile("an array that nothing uses", place=min(extra))
    return rebuilt(found, STRUCTURE, zeros=True), golden_json.loads(golden)


def _is_tensor(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(
            "not readable as JSON", place=STRUCTURE, found=str(error)[:200]
        ) from None
    match document:
        case {
            "format": "jlstm", "format_version": int(number), "structure": dict(),
            "arrays": dict(), "zeros": list(),
        }:  # fmt: skip
            pass
        case _:
            raise DamagedFile("not the structure of a network", place=STRUCTURE)
    if number != FORMAT_VERSION:
        raise Unsupported(
            "written by another version of jlstm",
            place=f"{STRUCTURE} format_version",
            found=number,
            expected=FORMAT_VERSION,
            do="update jlstm",
        )
    return document


def _arrays(
    document: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> dict[str, np.ndarray]:
    """The arrays by key path: rows of the tensors, each row used once."""
    numbers: dict[str, np.ndarray] = {}
    taken: dict[str, list[tuple[int, int]]] = {}
    found: dict[str, np.ndarray] = {}
    for path, spec in document["arrays"].items():
        match spec:
            case [str(name), int(start), int(stop), bool(reversed)] if name in tensors:
                pass
            case _:
                raise DamagedFile("not rows of a tensor", place=f"{path!r:.120}")
        if name not in numbers:
            numbers[name] = tensors[name].numpy()
        array = numbers[name]
        if not 0 <= start <= stop <= _length(array):
            raise DamagedFile("rows that are not there", place=f"{path!r:.120}")
        taken.setdefault(name, []).append((start, stop))
        rows = array[start:stop] if array.ndim else array
        found[path] = np.ascontiguousarray(rows.T) if reversed else rows
    for name in document["zeros"]:
        if not isinstance(name, str) or name not in tensors or name in taken:
            raise DamagedFile("not the zeros of a tensor", place=f"{name!r:.120}")
        array = tensors[name].numpy()
        if np.any(array):
            raise DamagedFile(
                "numbers where the network has none",
                place=name[:120],
                expected="zeros, as jlstm wrote them",
                do="describe the layers: layers=...",
            )
        taken[name] = [(0, _length(array))]
    _require_all(tensors, taken)
    return found


def _length(array: Any) -> int:
    """How many rows; a single number is one."""
    return array.shape[0] if array.shape else 1


def _require_all(
    tensors: Mapping[str, Tensor], taken: Mapping[str, list[tuple[int, int]]]
) -> None:
    """Refuse rows that nothing uses, or that are used twice."""
    for name, tensor in tensors.items():
        end = 0
        for start, stop in sorted(taken.get(name, [])):
            if start != end:
                break
            end = stop
        if end != _length(tensor) or name not in taken:
            raise DamagedFile("rows that are not used once", place=f"{name:.120}")
