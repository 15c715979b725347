"""The struct that `jlstm_export.m` writes: public properties and golden vectors.

Public properties have other names than saved ones: a learnable is the bare array, with
`...LearnRateFactor` beside it; `OutputMode` is a word. They are put into the saved
form, so that one reader serves both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DamagedFile, JlstmError, Unsupported
from ..golden import Golden
from ..network import Network
from ..pytree import Shape
from .fields import numeric, strings
from .matfile import Cell, MatObject

KIND = "jlstm export"
FORMAT = "jlstm-matlab-network"
VERSION = 1
NETWORKS = ("SeriesNetwork", "DAGNetwork", "dlnetwork")

LABELS = (
    "StateInfo", "State", "StateNames", "NumLearnables", "LearnableNames", "Learnables",
)  # fmt: skip
"""Public properties that repeat others."""


def is_export(value: Any) -> bool:
    """Whether a decoded value is such a struct."""
    return isinstance(value, dict) and value.get("format") == FORMAT


def parts(value: dict[str, Any], path: str) -> dict[str, Any]:
    """Layers, wires and outputs of an exported network.

    Returns:
        `kind` (the class it had in MATLAB), `layers`, `wires`, `outputs`.

    Raises:
        Unsupported: a newer version of the layout.
        DamagedFile: something is missing.
    """
    version = value.get("version")
    if not isinstance(version, np.ndarray) or np.ravel(version).tolist() != [VERSION]:
        raise Unsupported(
            "another version of the export layout",
            place=f"{path}.version",
            found=version,
            expected=VERSION,
            do="use the jlstm_export.m that this jlstm prints: jlstm matlab-script",
        )
    kind = _field(value, "object_class", str, path)
    entries = _items(_field(value, "layers", object, path))
    layers = [_layer(e, f"{path}.layers{{{k}}}") for k, e in enumerate(entries, 1)]
    _take_learnables(layers, value.get("learnables"), f"{path}.learnables")
    outputs = _names(value, "output_names", path) if kind in NETWORKS else ()
    return {
        "kind": kind,
        "layers": layers,
        "wires": _wires(_field(value, "connections", dict, path), path),
        "outputs": outputs or None,
    }


def _field(value: Any, name: str, kind: type, path: str) -> Any:
    """A field of a struct, of a certain type."""
    found = value.get(name) if isinstance(value, dict) else None
    if found is None or not isinstance(found, kind):
        raise DamagedFile(
            "a part is missing or of another type",
            place=f"{path}.{name}",
            found=type(found).__name__,
            expected=kind.__name__,
        )
    return found


def _names(value: Any, name: str, path: str) -> tuple[str, ...]:
    """A cell of names, which may have none."""
    found = _field(value, name, object, path)
    if isinstance(found, list | np.ndarray) and not len(found):
        return ()
    names = strings(found)
    if names is None:
        raise DamagedFile("not a list of names", place=f"{path}.{name}")
    return names


def _wires(table: dict[str, Any], path: str) -> list[tuple[str, str]]:
    sources, targets = (_names(table, key, path) for key in ("source", "destination"))
    if len(sources) != len(targets):
        raise DamagedFile(
            "connections without an end",
            place=f"{path}.connections",
            found=f"{len(sources)} sources, {len(targets)} destinations",
        )
    return list(zip(sources, targets, strict=True))


def _items(value: Any) -> list[Any]:
    """The elements of a cell or struct array that may have only one."""
    if isinstance(value, np.ndarray) and not value.size:
        return []
    return list(value) if isinstance(value, Cell) else [value]


def _layer(entry: Any, path: str) -> MatObject:
    """One exported layer in the form in which MATLAB saves it."""
    public = dict(_field(entry, "properties", dict, path))
    saved: dict[str, Any] = {"Name": _field(entry, "name", str, path)}
    for name in list(public):
        if name + "LearnRateFactor" in public or name + "L2Factor" in public:
            saved[name] = {
                "Value": public.pop(name),
                "LearnRateFactor": public.pop(name + "LearnRateFactor", None),
                "L2Factor": public.pop(name + "L2Factor", None),
            }
            public.pop(name + "Initializer", None)
    for name in LABELS:
        public.pop(name, None)
    start = entry.get("initial_state")
    for name, state in start.items() if isinstance(start, dict) else ():
        if isinstance(state, np.ndarray) and state.size:
            saved[f"Initial{name}"] = state
    return MatObject(_field(entry, "class", str, path), public | saved)


def _take_learnables(layers: list[MatObject], table: Any, path: str) -> None:
    """A dlnetwork computes with its own list of parameters: put it into the layers."""
    by_name = {layer.values["Name"]: layer.values for layer in layers}
    for k, entry in enumerate(_items(table) if table is not None else [], 1):
        place = f"{path}{{{k}}}"
        owner = _field(entry, "layer", str, place)
        parameter = _field(entry, "parameter", str, place)
        if owner not in by_name:
            raise Unsupported(
                "a parameter of a layer inside another one", place=place, found=owner
            )
        array = _field(entry, "value", np.ndarray, place)
        held = by_name[owner].get(parameter)
        if isinstance(held, dict) and "Value" in held:
            held["Value"] = array
        else:
            # A parameter that no reader asks for is refused there.
            by_name[owner][parameter] = array


# --- golden vectors -------------------------------------------------------------------


def golden(value: dict[str, Any], net: Network) -> list[Golden]:
    """The golden vectors of an export in the layout of jlstm, one for each sequence.

    Raises:
        DamagedFile: they do not fit the network.
    """
    who = f"{value.get('object_class')} in {value.get('release')}"
    note = f"predict of a {who}, MiniBatchSize 1"
    found = []
    for k, entry in enumerate(_items(value.get("golden", Cell([], (0, 0)))), 1):
        path = f"golden({k})"
        outputs = _field(entry, "output", object, path)
        if not _items(outputs):
            continue  # predict failed in MATLAB; the notes of the export say why
        recorded = _field(entry, "layers", dict, path)
        inputs = _field(entry, "input", object, path)
        given = _by_name(_names(value, "input_names", ""), inputs, net, f"{path}.input")
        results = _by_name(
            _names(value, "output_names", ""), outputs, net, f"{path}.output"
        )
        layers = _by_name(
            _names(recorded, "name", path), recorded.get("value"), net, f"{path}.layers"
        )
        start = "saved" if entry.get("start") == "current" else "initial"
        found.append(
            Golden(
                tuple(_taken(given, name, f"{path}.input") for name in net.inputs),
                tuple(_taken(results, ref, f"{path}.output") for ref in net.outputs),
                layers,
                note,
                start,
            )
        )
    return found


def _by_name(
    names: tuple[str, ...], values: Any, net: Network, path: str
) -> dict[str, np.ndarray]:
    """Recorded arrays by what they belong to; "lstm/out" is the output of "lstm"."""
    arrays = _items(values)
    if len(names) != len(arrays):
        raise DamagedFile(
            "recordings without a name",
            place=path,
            found=f"{len(arrays)} arrays for {len(names)} names",
        )
    found = {}
    for name, array in zip(names, arrays, strict=True):
        ref = name.removesuffix("/out")
        if ref in net.shapes and (ref in net.layers or ref in net.outputs):
            try:
                found[ref] = from_matlab(array, net.shapes[ref])
            except JlstmError as error:
                raise error.within(place=f"{path} '{name}'") from None
    return found


def _taken(arrays: dict[str, np.ndarray], name: str, path: str) -> np.ndarray:
    if name not in arrays:
        raise DamagedFile(
            "an array was not recorded", place=path, found=[*arrays], expected=name
        )
    return arrays[name]


def from_matlab(array: Any, shape: Shape) -> np.ndarray:
    """An array `space x channels x time` as `(time?, *space, channels)`.

    Raises:
        DamagedFile: the sizes do not fit.
    """
    array = numeric(array, "array")
    size = (*shape.space, shape.channels)
    # MATLAB drops trailing axes of length one.
    given = (*array.shape, *(1,) * (len(size) + 1 - array.ndim))
    steps = given[len(size)]
    if given[: len(size)] != size or array.size != steps * shape.features:
        steps = 0
    if steps < 1 or (steps > 1 and not shape.time):
        raise DamagedFile(
            "a recorded array does not fit its layer",
            found=f"shape {array.shape}",
            expected=" x ".join(map(str, size)) + (" x time" if shape.time else ""),
        )
    moved = np.moveaxis(array.reshape((*size, steps)), -1, 0)
    return np.ascontiguousarray(moved if shape.time else moved[0])
