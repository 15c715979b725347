"""The struct that `jlstm_export.m` writes: public properties and golden vectors.

Public properties have other names than saved ones: a learnable is the bare array, with
`...LearnRateFactor` beside it; `OutputMode` is a word. They are put into the saved form,
so that one reader serves both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DamagedFile, Unsupported
from ..golden import Golden
from ..network import Network
from ..pytree import Shape
from .fields import numeric, strings
from .matfile import Cell, MatObject

KIND = "jlstm export"
FORMAT = "jlstm-matlab-network"
VERSION = 1

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
    if version is None or float(np.ravel(version)[0]) != VERSION:
        raise Unsupported(
            "another version of the export layout",
            place=f"{path}.version",
            found=version,
            expected=VERSION,
            do="use the jlstm_export.m that this jlstm prints: jlstm matlab-script",
        )
    missing = {"layers", "connections", "output_names", "object_class"} - set(value)
    if missing:
        raise DamagedFile("parts are missing", place=path, found=sorted(missing))
    layers = [_layer(entry) for entry in _items(value["layers"])]
    kind = value["object_class"]
    table = value["connections"]
    columns = (strings(table["source"]) or (), strings(table["destination"]) or ())
    outputs = strings(value["output_names"]) if kind == "dlnetwork" else None
    return {
        "kind": kind,
        "layers": layers,
        "wires": list(zip(*columns, strict=True)),
        "outputs": outputs or None,
    }


def _items(value: Any) -> list[Any]:
    """The elements of a cell or struct array that may have only one."""
    return list(value) if isinstance(value, Cell) else [value]


def _layer(entry: dict[str, Any]) -> MatObject:
    public = dict(entry.get("properties") or {})
    saved: dict[str, Any] = {"Name": entry["name"]}
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
    start = entry.get("initial_state") or {}
    for name, value in start.items():
        saved[f"Initial{name}"] = value
    return MatObject(entry["class"], public | saved)


def golden(value: dict[str, Any], net: Network) -> list[Golden]:
    """The golden vectors of an export, in the layout of jlstm, one for each sequence."""
    found = []
    who = f"{value.get('object_class')} in {value.get('release')}"
    for entry in _items(value.get("golden", Cell([], (0, 0)))):
        inputs = [
            from_matlab(array, net.shapes[name])
            for name, array in zip(net.inputs, _items(entry["input"]), strict=True)
        ]
        outputs = _items(entry["output"])
        if not outputs:
            continue
        names = strings(entry["layers"]["name"]) or ()
        layers = {
            name: from_matlab(array, net.shapes[name])
            for name, array in zip(names, _items(entry["layers"]["value"]), strict=True)
            if name in net.layers
        }
        found.append(
            Golden(
                tuple(inputs),
                tuple(
                    from_matlab(array, net.shapes[ref])
                    for ref, array in zip(net.outputs, outputs, strict=True)
                ),
                layers,
                f"predict of a {who}, MiniBatchSize 1",
                "saved" if entry.get("start") == "current" else "initial",
            )
        )
    return found


def from_matlab(array: Any, shape: Shape) -> np.ndarray:
    """An array `space x channels x time` as `(time?, *space, channels)`.

    Raises:
        DamagedFile: the sizes do not fit.
    """
    array = numeric(array, "golden")
    size = (*shape.space, shape.channels)
    steps, rest = divmod(array.size, shape.features)
    if rest or (not shape.time and steps != 1):
        raise DamagedFile(
            "a recorded array does not fit its layer",
            found=f"shape {array.shape}",
            expected=" x ".join(map(str, size)) + (" x time" if shape.time else ""),
        )
    moved = np.moveaxis(array.reshape((*size, steps), order="F"), -1, 0)
    return np.ascontiguousarray(moved if shape.time else moved[0])
