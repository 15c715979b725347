"""Saved network objects taken apart: their layers, wires and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Unsupported
from . import matlab_export, matlab_layers
from .fields import Fields, strings
from .matfile import MatObject, Undecodable
from .matlab_graph import Spec

NETWORK_CLASSES = ("SeriesNetwork", "DAGNetwork", "dlnetwork")
GRAPH_CLASS = "nnet.cnn.LayerGraph"
INERT = (
    "Version", "Layers", "LayerGraph", "Connections", "InputNames", "OutputNames",
    "Initialized", "SerializedQuantizationInfo", "ExampleInputs",
    "ExternalInputNames", "ExternalOutputNames", "RetainCustomInputNames",
    "RetainCustomOutputNames",
)  # fmt: skip
"""Fields of a saved network that hold no parameters, or that `parse` reads."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Something in a file that looks like a network, and where it is."""

    path: str
    kind: str
    value: Any

    @property
    def rank(self) -> int:
        """Networks come before graphs, graphs before bare layers."""
        if self.kind in (*NETWORK_CLASSES, matlab_export.KIND):
            return 0
        return 1 if self.kind == GRAPH_CLASS else 2


def parse(candidate: Candidate) -> Spec:
    """The layers, wires and outputs of a saved network object.

    Raises:
        Unsupported: the object is not laid out as known.
    """
    path = candidate.path
    if candidate.kind == "layer array":
        return Spec(_layers(candidate.value, path), None, None)
    values = candidate.value.values
    if not isinstance(values, dict):
        raise _unknown_layout(path, values)
    _refuse_quantised(values, path)
    outputs = strings(values.get("OutputNames")) or None
    ignored = _unread(values, path)
    if isinstance(inner := values.get("LayerGraph"), MatObject):
        values = inner.values
        ignored += _unread(values, f"{path}.LayerGraph")
    if not isinstance(values, dict) or "Layers" not in values:
        raise _unknown_layout(path, values)
    layers = _layers(values["Layers"], f"{path}.Layers")
    wires = _wires(values.get("Connections"), path)
    if wires is None and candidate.kind != "SeriesNetwork" and len(layers) > 1:
        raise _unknown_layout(path, values)
    return Spec(layers, wires, outputs, tuple(ignored))


def _unread(values: Any, path: str) -> list[str]:
    """Fields that jlstm does not know, refused where they might hold parameters."""
    if not isinstance(values, dict):
        return []
    fields = Fields(values, path)
    fields.ignore(*INERT)
    small = [name for name in fields.left if _is_remark(values[name])]
    fields.ignore(*small)
    fields.finish()
    return [f"{path}.{name}" for name in (*small, *fields.ignored)]


def _is_remark(value: Any) -> bool:
    """Text, a switch or a single number: no array of parameters."""
    return isinstance(value, str) or (isinstance(value, np.ndarray) and value.size == 1)


def _layers(value: Any, path: str) -> list[MatObject]:
    layers = [value] if matlab_layers.is_layer(value) else value
    if not isinstance(layers, list) or not all(
        isinstance(x, MatObject) for x in layers
    ):
        raise _unknown_layout(path, value)
    return list(layers)


def _unknown_layout(path: str, value: Any) -> Unsupported:
    found = list(value) if isinstance(value, dict) else type(value).__name__
    if isinstance(value, Undecodable):
        found = value.reason
    return Unsupported(
        "the network object is not laid out in a way jlstm knows",
        place=path,
        found=found,
        expected="Layers, and Connections unless it is a series",
        do="export it with jlstm_export.m",
    )


def _refuse_quantised(values: dict[str, Any], path: str) -> None:
    info = values.get("SerializedQuantizationInfo")
    if info is None or _is_empty(info):
        return
    data = info.get("data") if isinstance(info, dict) else None
    inner = data.values if isinstance(data, MatObject) else None
    inner = inner.get("serialization") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not _is_empty(inner.get("keys")):
        raise Unsupported(
            "a quantised network, or one that jlstm cannot tell from a quantised one",
            place=f"{path}.SerializedQuantizationInfo",
            do="save the network before quantising",
        )


def _wires(table: Any, path: str) -> list[tuple[str, str]] | None:
    """Pairs (source, destination) from a Connections table; None if there is none."""
    if table is None or (isinstance(table, list | np.ndarray) and not len(table)):
        return None
    columns = None
    if isinstance(table, MatObject) and isinstance(table.values, dict):
        columns = table.values.get("data")
    elif isinstance(table, dict):
        columns = [table.get("Source"), table.get("Destination")]
    if not isinstance(columns, list) or len(columns) != 2:
        raise _unknown_layout(f"{path}.Connections", table)
    pair = [() if _is_empty(column) else strings(column) for column in columns]
    if pair[0] is None or pair[1] is None or len(pair[0]) != len(pair[1]):
        raise _unknown_layout(f"{path}.Connections", table)
    return list(zip(*pair, strict=True))


def _is_empty(column: Any) -> bool:
    return isinstance(column, list | np.ndarray) and not len(column)
