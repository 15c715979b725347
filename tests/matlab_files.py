"""MAT files that hold network objects, laid out as MATLAB saves them.

    write(path, net=series([inputs.sequence("in", 3), ..., outputs.regression("out")]))

The layers are made by matlab_structs.py. mat-io does the writing, in format v7 or v7.3,
with two corrections: an array of objects may be a property of another object, and every
object says by itself whether its class has a `saveobj`.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

with warnings.catch_warnings():
    # mat-io sets an option of pandas that pandas 3 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import matio
    from matio.subsystem.subsys import MatSubsystem
    from matio.utils.matclass import MatlabFunction, MatlabOpaque, MatlabOpaqueArray

Wires = Sequence[tuple[str, str]]
EMPTY = np.zeros((0, 0))
LAYER = "nnet.cnn.layer.Layer"
HEADER_OF_V73 = (
    b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 09:00:00 2024 "
    b"HDF5 schema 1.00 ."
).ljust(116)


class Subsystem(MatSubsystem):
    """The tables of objects in a file."""

    def set_object_id(self, obj, saveobj_ret_type=False):
        saved = isinstance(obj.properties, dict) and set(obj.properties) == {"any"}
        return super().set_object_id(obj, saved)

    def set_mcos_object_metadata(self, obj):
        metadata = super().set_mcos_object_metadata(obj)
        if isinstance(obj, MatlabOpaqueArray):
            metadata[-1, 0] = self.set_class_id(obj.classname)
        return metadata

    def serialize_nested_props(self, prop_value):
        if isinstance(prop_value, MatlabOpaqueArray):
            return self.set_object_metadata(prop_value)
        return super().serialize_nested_props(prop_value)


def write(path: str | Path, version: Any = "v7", /, **variables: Any) -> Path:
    """Write variables to a MAT file and return its path; a dict is a struct."""
    done: dict[int, MatlabOpaque] = {}
    ready = {name: _writeable(value, done) for name, value in variables.items()}
    v5, v7 = "matio.v5.matwriter5.MatSubsystem", "matio.v7.matwriter7.MatSubsystem"
    with patch(v5, Subsystem), patch(v7, Subsystem):
        matio.save_to_mat(str(path), ready, version=version)
    if version == "v7.3":
        with Path(path).open("r+b") as file:
            file.write(HEADER_OF_V73)
    return Path(path)


def _writeable(value: Any, done: dict[int, MatlabOpaque]) -> Any:
    """The same value with struct arrays for dicts, at any depth."""
    if isinstance(value, dict):
        return _writeable(struct_array([value]), done)
    if isinstance(value, MatlabOpaque):
        if id(value) not in done:
            copy = done[id(value)] = MatlabOpaque(value.properties, value.classname)
            if isinstance(value.properties, dict):
                copy.properties = {
                    name: _writeable(item, done)
                    for name, item in value.properties.items()
                }
        return done[id(value)]
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        copy = value.copy()
        for k in np.ndindex(value.shape):
            if value.dtype.names:
                for name in value.dtype.names:
                    copy[k][name] = _writeable(value[k][name], done)
            else:
                copy[k] = _writeable(value[k], done)
        return copy
    return value


# --- values ---------------------------------------------------------------------------


def number(*values: float) -> np.ndarray:
    """A double, or a row of doubles."""
    return np.array([values], float)


def flag(value: bool) -> np.ndarray:
    return np.array([[value]])


def cell(items: Sequence[Any], row: bool = False) -> np.ndarray:
    """A cell array: a column, or a row."""
    array = np.empty((len(items), 1), object)
    for k, item in enumerate(items):
        array[k, 0] = item
    return array.T if row else array


def struct_array(items: Sequence[dict[str, Any]]) -> np.ndarray:
    """A struct array with one element for each dict."""
    array = np.empty((len(items), 1), [(name, object) for name in items[0]])
    for k, item in enumerate(items):
        for name, value in item.items():
            array[k, 0][name] = value
    return array


def thing(class_name: str, properties: Any) -> MatlabOpaque:
    """An object with these properties; None: a handle to nothing."""
    return MatlabOpaque(properties, class_name)


def saved(class_name: str, struct: Any) -> MatlabOpaque:
    """An object whose class returned this from `saveobj`."""
    return thing(class_name, {"any": struct})


def layer_array(layers: Sequence[MatlabOpaque]) -> MatlabOpaqueArray:
    """Layers of different classes in one array."""
    return MatlabOpaqueArray(cell(layers), LAYER)


def categorical(names: Sequence[str], codes: Sequence[int]) -> MatlabOpaque:
    return thing(
        "categorical",
        {
            "categoryNames": cell(names),
            "codes": np.array(codes, np.uint8)[:, None],
            "isProtected": flag(False),
            "isOrdinal": flag(False),
        },
    )


def string(text: str) -> MatlabOpaque:
    """A string scalar: version, axes, sizes, lengths, then UTF-16 text."""
    units = text.encode("utf-16-le")
    units += bytes(-len(units) % 8)
    head = np.array([1, 2, 1, 1, len(text)], np.uint64)
    words = np.concatenate([head, np.frombuffer(units, np.uint64)])
    return saved("string", words[None])


def gpu_array(value: np.ndarray) -> MatlabOpaque:
    """The second element of the saved cell is the array."""
    return saved("gpuArray", cell([number(1.0), value], row=True))


def lost_gpu_array() -> MatlabOpaque:
    return thing("gpuArray", None)


def dl_array(value: Any) -> MatlabOpaque:
    return thing("dlarray", {"fmt": "CB", "data": value})


def function_handle() -> MatlabFunction:
    """A handle of the anonymous function `@(x) x / 255`."""
    inner = {"function": "sf%0@(x)x/255", "type": "anonymous", "file": ""}
    outer = {"matlabroot": "/matlab", "separator": "/", "function_handle": inner}
    return MatlabFunction(_writeable(outer, {}))


def table(wires: Wires) -> MatlabOpaque:
    """A Connections table."""
    columns = [cell([wire[k] for wire in wires]) for k in (0, 1)]
    return thing(
        "table",
        {
            "data": cell(columns, row=True),
            "ndims": number(2),
            "nrows": number(len(wires)),
            "rownames": np.empty((0, 0), object),
            "nvars": number(2),
            "varnames": cell(["Source", "Destination"], row=True),
            "props": {"versionSavedFrom": number(4), "Description": ""},
        },
    )


# --- networks -------------------------------------------------------------------------


def chain(layers: Sequence[MatlabOpaque]) -> list[tuple[str, str]]:
    """The wires of a series."""
    names = [name_of(layer) for layer in layers]
    return list(itertools.pairwise(names))


def name_of(layer: MatlabOpaque) -> str:
    properties: Any = layer.properties
    return properties.get("any", properties)["Name"]


def series(layers: Sequence[MatlabOpaque]) -> MatlabOpaque:
    struct = {"Version": number(1), "Layers": layer_array(layers)}
    return saved("SeriesNetwork", struct)


def _graph(layers: Sequence[MatlabOpaque], wires: Wires | None) -> dict[str, Any]:
    return {
        "Version": number(1),
        "Layers": layer_array(layers),
        "Connections": table(chain(layers) if wires is None else wires),
    }


def dag(layers: Sequence[MatlabOpaque], wires: Wires | None = None) -> MatlabOpaque:
    return saved("DAGNetwork", _graph(layers, wires))


def graph(layers: Sequence[MatlabOpaque], wires: Wires | None = None) -> MatlabOpaque:
    return saved("nnet.cnn.LayerGraph", _graph(layers, wires))


def dlnetwork(
    layers: Sequence[MatlabOpaque],
    wires: Wires | None = None,
    outputs: Sequence[str] | None = None,
    version: int = 6,
    quantised: bool = False,
    **more: Any,
) -> MatlabOpaque:
    """A dlnetwork of struct version 5 or 6; `more` are further fields."""
    names = [name_of(layer) for layer in layers]
    keys = cell(["conv"], row=True) if quantised else np.empty((1, 0), object)
    info = thing(
        "containers.Map",
        {"serialization": {"keys": keys, "values": keys, "keyType": "char"}},
    )
    struct = {
        "Version": number(version),
        "LayerGraph": graph(layers, wires),
        "Initialized": flag(True),
        "SerializedQuantizationInfo": {"version": number(1), "data": info},
        "ExampleInputs": np.empty((0, 0), object),
        "OutputNames": cell(outputs or names[-1:], row=True),
    }
    if version > 5:
        struct |= {
            "ExternalOutputNames": EMPTY,
            "ExternalInputNames": EMPTY,
            "RetainCustomInputNames": flag(True),
            "RetainCustomOutputNames": flag(True),
        }
    return saved("dlnetwork", struct | more)
