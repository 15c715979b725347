"""A network as the struct that `jlstm_export.m` writes: the inverse of `matlab_export`.

One layout for both ways, so that one reader reads what MATLAB exported and what jlstm
wrote. Beyond MATLAB's, every golden vector has a `note` that says who computed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from ..errors import InputError
from ..golden import Golden
from ..network import Network
from ..pytree import Shape
from . import matlab_export
from .matlab_writers import Written, input_ports

VARIABLE = "jlstm"
"""The only variable in the file, as in those of `jlstm_export.m`."""
RELEASE = "jlstm"
"""What stands in place of a release of MATLAB."""


def is_own(variables: Mapping[str, Any]) -> bool:
    """Whether jlstm wrote all that is in a file, and not MATLAB."""
    value = variables.get(VARIABLE)
    return (
        len(variables) == 1
        and isinstance(value, dict)
        and str(value.get("release")).startswith(RELEASE)
    )


def as_struct(
    net: Network,
    layers: Mapping[str, Written],
    records: Sequence[Golden],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The struct that `jlstm_export.m` would write, with a note in every record."""
    double = net.dtype == np.float64
    ends_are_outputs = all(
        ref in layers and layers[ref].is_output for ref in net.outputs
    )
    series = all(
        node.inputs == ((net.graph[k - 1].name,) if k else ())
        for k, node in enumerate(net.graph)
    )
    kind = "SeriesNetwork" if series else "DAGNetwork"
    if double or not ends_are_outputs:
        kind = "dlnetwork"
    return {
        "format": matlab_export.FORMAT,
        "version": 1.0,
        "release": f"{RELEASE} {version('jlstm')}",
        "created": datetime.now().isoformat(timespec="seconds"),
        "object_class": kind,
        "precision": "double" if double else "single",
        "layers": _cells([_entry(net, name, layers[name]) for name in layers]),
        "connections": _connections(net),
        "input_names": _column(net.inputs),
        "output_names": _column(net.outputs),
        "golden": _records(net, records),
        "notes": _column(notes),
    }


def _entry(net: Network, name: str, layer: Written) -> dict[str, Any]:
    by_path = {factors.path: factors for factors in net.factors}
    properties: dict[str, Any] = {
        **layer.properties,
        **layer.settings,
        **{word: parameter.array for word, parameter in layer.parameters.items()},
        **layer.factors(by_path, f".layers[{name!r}]"),
        **layer.arrays,
        **layer.current,
    }
    none = np.zeros((0, 0))
    return {
        "class": layer.class_name,
        "name": name,
        "properties": {word: _value(value) for word, value in properties.items()},
        "initial_state": {
            word: layer.initial.get(word, none) for word in ("HiddenState", "CellState")
        },
    }


def _value(value: Any) -> Any:
    """A property as savemat takes it: text, a cell of texts, or an array."""
    if isinstance(value, str | np.ndarray):
        return value
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return _column(value)
    if isinstance(value, bool):
        return np.array([[value]])
    return np.asarray(value, np.float64).reshape(1, -1)


def _connections(net: Network) -> dict[str, Any]:
    sources, targets = [], []
    stateful = {
        ref.partition("/")[0]
        for ref in (*net.outputs, *(r for node in net.graph for r in node.inputs))
        if "/" in ref
    }
    for node in net.graph:
        ports = input_ports(net, node.name)
        for ref, port in zip(node.inputs, ports, strict=True):
            sources.append(f"{ref}/out" if ref in stateful else ref)
            targets.append(f"{node.name}/{port}" if port else node.name)
    return {"source": _column(sources), "destination": _column(targets)}


def _cells(items: Sequence[Any]) -> np.ndarray:
    array = np.empty((1, len(items)), object)
    for k, item in enumerate(items):
        array[0, k] = item
    return array


def _column(items: Sequence[Any]) -> np.ndarray:
    return _cells(items).T if items else np.empty((0, 0), object)


def _records(net: Network, records: Sequence[Golden]) -> np.ndarray:
    shapes = net.shapes
    found = []
    for record in records:
        # Of inner signals, such as the gates, MATLAB knows nothing.
        layers = {n: a for n, a in record.layers.items() if n in net.layers}
        found.append(
            {
                "input": _cells(_moved(shapes, net.inputs, record.inputs)),
                "output": _cells(_moved(shapes, net.outputs, record.outputs)),
                "layers": {
                    "name": _column([*layers]),
                    "value": _column(_moved(shapes, [*layers], [*layers.values()])),
                },
                "mini_batch_size": 1.0,
                "start": "current" if record.start == "saved" else "initial",
                "classes": _column(net.classes),
                "note": record.note,
            }
        )
    array = np.empty((1, len(found)), [(name, object) for name in found[0]])
    for k, entry in enumerate(found):
        for name, value in entry.items():
            array[0, k][name] = value
    return array


def _moved(
    shapes: Mapping[str, Shape], names: Sequence[str], arrays: Sequence[Any]
) -> list[np.ndarray]:
    return [
        to_matlab(array, shapes[name])
        for name, array in zip(names, arrays, strict=True)
    ]


def to_matlab(array: Any, shape: Shape) -> np.ndarray:
    """An array `(time?, *space, channels)` as `space x channels x time`.

    Raises:
        InputError: the sizes do not fit.
    """
    array = np.asarray(array)
    step = (*shape.space, shape.channels)
    if array.shape[shape.time :] != step or array.ndim != len(step) + shape.time:
        raise InputError(
            "golden vectors that do not fit the network",
            found=f"shape {array.shape}",
            expected=str(shape),
        )
    array = np.moveaxis(array, 0, -1) if shape.time else array
    return array[:, None] if array.ndim == 1 else array


def golden(value: dict[str, Any], net: Network) -> list[Golden]:
    """The golden vectors of an export, with their notes where it has any.

    Raises:
        DamagedFile: they do not fit the network.
    """
    records = matlab_export.golden(value, net)
    entries = matlab_export._items(value.get("golden", ()))
    if len(entries) != len(records) or not all("note" in entry for entry in entries):
        return records  # written in MATLAB
    notes = [entry["note"] for entry in entries]
    return [
        record._replace(note=note if isinstance(note, str) else "")
        for record, note in zip(records, notes, strict=True)
    ]
