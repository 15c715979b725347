"""Networks for MATLAB: plain arrays in a MAT file, and a script that rebuilds them.

`save(net, "net_tuned.mat")` writes two files:

    net_tuned.mat          the struct that jlstm_export.m writes: every layer by its
                           public properties, connections, golden vectors; no objects
    rebuild_net_tuned.m    a MATLAB function that makes the network of it again and
                           proves it on the golden vectors

The MAT file is read back and compared before either of them is put into place.
"""

from __future__ import annotations

import dataclasses
import io
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..errors import InputError, JlstmError, Unsupported
from ..golden import Golden
from ..graph import Node
from ..layers import Identity
from ..network import Factors, Network, same_state
from . import matlab, matlab_rebuild, matlab_struct, matlab_writers, proof
from .matfile import MatFile
from .matlab_text import function_name
from .matlab_writers import Place, Written
from .native import write_whole

LARGEST = 2**31 - 2**20
"""Bytes of one variable in a MAT file of version 5 to 7."""
DTYPES = ("float32", "float64")


def save(
    net: Network, path: str | Path, golden: Sequence[Golden] = ()
) -> tuple[Path, ...]:
    """Write a network as plain arrays and a MATLAB script that rebuilds it.

    Arguments:
        net: the network, in single or double precision.
        path: where to; `rebuild_<stem>.m` is written beside it.
        golden: what the original network computed; where nothing starts from the
            initial state jlstm computes outputs for a made-up input.

    Returns:
        the two files.

    Raises:
        Unsupported: MATLAB has no constructor for a layer or a setting; the file would
            be too large; what is written does not read back the same.
        InputError: the name gives no MATLAB function, another file is in the way, or
            the golden vectors are not of this network.
    """
    path = Path(path)
    try:
        require_free(path)
        script = _script_of(path)
        net, dropped = without_identities(net)
        layers = written(net)
        records = list(golden)
        if not any(record.start == "initial" for record in records):
            records += proof.computed(net)
        tolerance = proof.accepted(net, records)
        notes = [f"layer '{name}' computes nothing: left out" for name in dropped]
        struct = matlab_struct.as_struct(net, layers, records, notes)
        plan = matlab_rebuild.Rebuild(
            script.stem, path.name, net, layers, tolerance, dropped
        )
        text = matlab_rebuild.script(plan)
        _write(net, path, _bytes(struct), script, text.encode("ascii"))
        return path, script
    except JlstmError as error:
        raise error.within(file=path) from None


def without_identities(net: Network) -> tuple[Network, tuple[str, ...]]:
    """The network without layers that only stood in the original, and their names.

    What they got goes where their output went. An `identityLayer` of MATLAB stays;
    where two outputs would become one, the others become such layers.
    """
    inputs = {node.name: node.inputs for node in net.graph}
    dropped = tuple(
        name
        for name, layer in net.layers.items()
        if isinstance(layer, Identity) and layer.role != "identity"
    )

    def source(ref: str) -> str:
        while ref in dropped:
            (ref,) = inputs[ref]
        return ref

    graph = [
        Node(node.name, tuple(map(source, node.inputs)))
        for node in net.graph
        if node.name not in dropped
    ]
    outputs = tuple(map(source, net.outputs))
    if len(set(outputs)) < len(set(net.outputs)):
        same = dict.fromkeys(dropped, Identity("identity"))
        return net.replace(layers=net.layers | same), ()
    if not dropped:
        return net, ()
    layers = {name: net.layers[name] for name in net.layers if name not in dropped}
    return net.replace(layers=layers, graph=tuple(graph), outputs=outputs), dropped


def written(net: Network) -> dict[str, Written]:
    """What every layer is in MATLAB, by name, in topological order.

    Raises:
        Unsupported: MATLAB has no such layer; or the network mixes precisions.
    """
    _check_precision(net)
    shapes = net.shapes
    fed = {ref for node in net.graph for ref in node.inputs}
    states = {ref.partition("/")[0] for ref in (*fed, *net.outputs) if "/" in ref}
    found = {}
    for node in net.graph:
        _check_name(node.name)
        place = Place(net, node, shapes, node.name in states)
        found[node.name] = matlab_writers.write(net.layers[node.name], place)
    for name, layer in found.items():
        if layer.is_output and name in fed:
            raise Unsupported(
                "an output layer that feeds another layer", place=f"layer '{name}'"
            )
    if len(set(net.outputs)) < len(net.outputs):
        raise Unsupported("an output that is put out twice", found=net.outputs)
    return found


def _check_precision(net: Network) -> None:
    kinds = {str(np.dtype(leaf.dtype)) for leaf in jax.tree.leaves(net)}
    if len(kinds) > 1 or not kinds <= set(DTYPES):
        raise Unsupported(
            "MATLAB has networks of single or of double precision",
            found=", ".join(sorted(kinds)),
            expected=" or ".join(DTYPES),
            do="net.astype('float32')",
        )


def _check_name(name: str) -> None:
    if not name or "/" in name or any(ord(c) < 32 for c in name):
        raise Unsupported(
            "MATLAB cannot have a layer of this name",
            found=repr(name),
            expected="at least one character, no slash, no line break",
        )


def _script_of(path: Path) -> Path:
    return path.with_name(function_name(path.stem) + ".m")


def require_free(path: Path) -> None:
    """Refuse to replace files that somebody else wrote.

    Raises:
        InputError: there is one, or the name gives no MATLAB function.
    """
    script = _script_of(path)
    if path.exists() and not _is_own(path):
        raise InputError(
            "there is something else at this place",
            expected="nothing, or a MAT file that jlstm wrote",
            do="choose another name",
        )
    if script.exists() and not (
        script.is_file() and matlab_rebuild.MARK.encode() in script.read_bytes()
    ):
        raise InputError(
            "there is something else where the script is to be",
            found=script,
            do="choose another name for the MAT file, or move the other one away",
        )


def _is_own(path: Path) -> bool:
    try:
        return matlab_struct.is_own(dict(MatFile(path).items()))
    except JlstmError:
        return False


# --- the files ------------------------------------------------------------------------


def _bytes(struct: dict[str, Any]) -> bytes:
    from scipy.io import savemat

    size = _size(struct)
    if size > LARGEST:
        raise Unsupported(
            "the network is too large for a MAT file of version 7",
            found=f"{size / 2**30:.1f} GiB of arrays",
            expected=f"at most {LARGEST / 2**30:.1f} GiB",
            do="save it as .safetensors, which holds any size",
        )
    file = io.BytesIO()
    content = {matlab_struct.VARIABLE: struct}
    savemat(file, content, do_compression=True, long_field_names=True)
    return file.getvalue()


def _size(value: Any) -> int:
    """Bytes of all arrays in a struct."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, np.ndarray) and value.dtype.names:
        return sum(
            _size(item[name]) for item in value.flat for name in item.dtype.names
        )
    if isinstance(value, np.ndarray) and value.dtype == object:
        return sum(map(_size, value.flat))
    return getattr(value, "nbytes", 0)


def _write(net: Network, path: Path, data: bytes, script: Path, text: bytes) -> None:
    """Both files beside their places, compared, then both into place."""
    path, script = (Path(os.path.realpath(one)) for one in (path, script))
    token = secrets.token_hex(8)
    beside = {
        path: path.with_name(f".{token}.mat.tmp"),
        script: script.with_name(f".{token}.m.tmp"),
    }
    try:
        write_whole(beside[path], data)
        _compare(net, beside[path])
        write_whole(beside[script], text)
        for place, temporary in beside.items():
            os.replace(temporary, place)
    except OSError as error:
        raise InputError(
            "cannot be written", file=path, found=error.strerror or str(error)
        ) from None
    except InputError as error:
        # The user knows the file by its name, not by the one it was to have first.
        error.file = str(path)
        raise
    finally:
        for temporary in beside.values():
            temporary.unlink(missing_ok=True)


def _compare(net: Network, path: Path) -> None:
    """Refuse unless a file holds this very network."""
    file = MatFile(path)
    try:
        with matlab.reading(file):
            chosen = matlab.choose(file)
            again = matlab.build(chosen, file)
            matlab_struct.golden(chosen.value, again)
    except JlstmError as error:
        error.file = None  # the caller knows the name that the file was to have
        raise
    for what, before, after in _parts(net, again):
        if found := difference(before, after):
            place, old, new = found
            raise Unsupported(
                "MATLAB's layout cannot keep this: it would read back differently",
                place=f"{what}{place}",
                found=old,
                expected=new,
            )


def _parts(net: Network, again: Network) -> list[tuple[str, Any, Any]]:
    """What makes a network, part by part, of two networks."""
    saved = net.saved
    if saved is not None and same_state(saved, net.initial):
        saved = None
    return [
        ("graph", net.graph, again.graph),
        ("outputs", net.outputs, again.outputs),
        ("factors", _deviating(net.factors), _deviating(again.factors)),
        (".layers", net.layers, again.layers),
        (".initial", net.initial, again.initial),
        (".saved", saved, again.saved),
    ]


def _deviating(factors: Sequence[Factors]) -> tuple[tuple[str, float, float], ...]:
    """The training factors that are not the default, in one order."""
    return tuple(
        sorted(
            (entry.path, entry.learn_rate, entry.l2)
            for entry in factors
            if (entry.learn_rate, entry.l2)
            != (1.0, 0.0 if entry.path.endswith("bias") else 1.0)
        )
    )


def difference(a: Any, b: Any, path: str = "") -> tuple[str, str, str] | None:
    """Where two values differ in type, structure or any bit, and what stands there."""
    if isinstance(a, np.ndarray | jax.Array):
        return _array_difference(np.asarray(a), np.asarray(b), path)
    if type(a) is not type(b):
        return path, repr(a), repr(b)
    if isinstance(a, dict):
        if set(a) != set(b):
            return path, ", ".join(a), ", ".join(b)
        parts = [(f"[{key!r}]", a[key], b[key]) for key in a]
    elif dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        parts = [(f".{name}", getattr(a, name), getattr(b, name)) for name in names]
    elif isinstance(a, tuple):
        if len(a) != len(b):
            return path, repr(a), repr(b)
        names = getattr(a, "_fields", None) or range(len(a))
        parts = [
            (f".{name}" if isinstance(name, str) else f"[{name}]", x, y)
            for name, x, y in zip(names, a, b, strict=True)
        ]
    else:
        return None if a == b else (path, repr(a), repr(b))
    found = (difference(x, y, path + step) for step, x, y in parts)
    return next((one for one in found if one is not None), None)


def _array_difference(
    a: np.ndarray, b: np.ndarray, path: str
) -> tuple[str, str, str] | None:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return path, f"{a.dtype} {a.shape}", f"{b.dtype} {b.shape}"
    return None if a.tobytes() == b.tobytes() else (path, "an array", "other numbers")
