"""Networks written for PyTorch: a state dict in a zip archive, and a module beside it.

    net.pt           archive/data.pkl      an OrderedDict of tensors, as torch.save
                     archive/data/0 ...    writes it: torch.load(weights_only=True)
                     archive/jlstm.json    the structure of the network, and which
                                           rows of which tensor every array is
                     archive/golden.json   what it answers to recorded inputs
    net_module.py    the nn.Module (`pytorch_module.py`)

Torch is not needed. Source: the notes on serialization in the documentation of PyTorch.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import JlstmError
from ..golden import Golden
from ..network import Network
from . import golden_json, outgoing, proof
from . import pytorch_write_layers as pytorch_write_layers
from . import pytorch_write_recurrent as pytorch_write_recurrent
from . import pytorch_write_windows as pytorch_write_windows
from .native import write_whole
from .pytorch_module import MARK, attributes, source, start_buffers
from .pytorch_own import FORMAT, FORMAT_VERSION, GOLDEN, ROOT, STRUCTURE
from .pytorch_written import Place, Rows, Written, write
from .structure import encode

TARGET = "PyTorch"
STORAGE = {"float32": "FloatStorage", "float64": "DoubleStorage"}
ALIGNMENT = 64
DATE = (1980, 1, 1, 0, 0, 0)
"""Equal networks give equal bytes."""


def save(
    net: Network, path: str | Path, golden: Sequence[Golden] = ()
) -> tuple[Path, ...]:
    """Write a network, every array bit for bit as it is.

    Arguments:
        net: the network.
        path: where to, usually `.pt`; the module goes beside it, `<stem>_module.py`.
        golden: what the original computed; else jlstm computes some.

    Returns:
        the two files.

    Raises:
        Unsupported: a layer or a setting that is not written, by name.
        InputError: golden vectors of another network, or a file in the way.
    """
    path = Path(path)
    try:
        outgoing.require_precision(net, TARGET, tuple(STORAGE))
        outgoing.require_one_state(net, TARGET)
        layers = {
            node.name: write(net.layers[node.name], Place(net, node, net.shapes))
            for node in net.graph
        }
        records = outgoing.records(net, golden)
        require_free(path)
        starts = start_buffers(net)
        tensors, arrays, zeros = _state_dict(net, layers, starts)
        text = source(
            net,
            layers,
            {n: {b: a for b, (_, a) in part.items()} for n, part in starts.items()},
            path.name,
            proof.accepted(net, records),
        )
        document = _document(net, arrays, zeros, starts)
        data = archive(
            tensors, {STRUCTURE: document, GOLDEN: golden_json.dumps(records)}
        )
    except JlstmError as error:
        raise error.within(file=path) from None
    beside = _module_of(path)
    write_whole(beside, text.encode())
    write_whole(path, data)
    return path, beside


def _module_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_module.py")


def require_free(path: Path) -> None:
    """Refuse a place where the module would replace a file of somebody else.

    Raises:
        InputError: there is one.
    """
    outgoing.require_own(_module_of(path), MARK)


def _state_dict(
    net: Network, layers: Mapping[str, Written], starts: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Rows], list[str]]:
    """Tensors by name, which rows every array is, and the tensors that are zero."""
    names = attributes(net)
    tensors: dict[str, np.ndarray] = {}
    arrays: dict[str, Rows] = {}
    zeros: list[str] = []
    for name, layer in layers.items():
        inside = names[name]
        tensors |= {f"{inside}.{key}": array for key, array in layer.tensors.items()}
        zeros += [f"{inside}.{key}" for key in layer.zeros]
        for path, rows in layer.arrays.items():
            full = rows._replace(tensor=f"{inside}.{rows.tensor}")
            arrays[f".layers[{name!r}]{path}"] = full
    for name, buffers in starts.items():
        for buffer, (path, array) in buffers.items():
            tensors[buffer] = array
            arrays[f".initial[{name!r}]{path}"] = Rows(buffer, 0, len(array))
    return tensors, arrays, zeros


def _document(
    net: Network,
    arrays: Mapping[str, Rows],
    zeros: list[str],
    starts: Mapping[str, Any],
) -> str:
    """The network without its arrays, as JSON."""
    # States of zero are not written: they follow from the layers.
    kept = {name: state for name, state in net.initial.items() if name in starts}
    found: dict[str, np.ndarray] = {}
    structure = encode(net.replace(initial=kept), "", found)
    if set(found) != set(arrays):
        raise AssertionError(f"not written: {sorted(set(found) ^ set(arrays))}")
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "jlstm": version("jlstm"),
        "structure": structure,
        "arrays": {path: list(rows) for path, rows in arrays.items()},
        "zeros": zeros,
    }
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


# --- bytes ----------------------------------------------------------------------------


def archive(tensors: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> bytes:
    """A zip archive as torch.save writes it, with more members beside.

    Arguments:
        tensors: by name, in the order of the state dict.
        texts: other members, by name.
    """
    members = [("data.pkl", state_dict_pickle(tensors)), ("byteorder", b"little")]
    for number, array in enumerate(tensors.values()):
        order = array.dtype.newbyteorder("<")
        members.append((f"data/{number}", np.asarray(array, order, "C").tobytes()))
    members.append(("version", b"3\n"))
    members += [(name, text.encode()) for name, text in texts.items()]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for name, data in members:
            info = zipfile.ZipInfo(f"{ROOT}/{name}", DATE)
            # Numbers begin at multiples of 64 bytes, where torch may map them.
            start = target.tell() + 30 + len(info.filename) + 4
            info.extra = struct.pack("<2sH", b"FB", -start % ALIGNMENT)
            info.extra += b"Z" * (-start % ALIGNMENT)
            file.writestr(info, data)
    return target.getvalue()


def state_dict_pickle(tensors: Mapping[str, np.ndarray]) -> bytes:
    """`OrderedDict((name, tensor), ...)` as a pickle of protocol 2."""
    empty = _name("collections", "OrderedDict") + b")R"
    parts = [b"\x80\x02", empty, b"("]
    for number, (name, array) in enumerate(tensors.items()):
        shape = array.shape
        strides = [int(np.prod(shape[k + 1 :], dtype=int)) for k in range(len(shape))]
        storage = b"".join(
            [
                b"(", _text("storage"), _name("torch", STORAGE[array.dtype.name]),
                _text(str(number)), _text("cpu"), _integer(array.size), b"tQ",
            ]
        )  # fmt: skip
        parts += [
            _text(name), _name("torch._utils", "_rebuild_tensor_v2"), b"(", storage,
            _integer(0), _tuple(shape), _tuple(strides), b"\x89", empty, b"tR",
        ]  # fmt: skip
    return b"".join([*parts, b"u."])


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
