"""Networks saved by MATLAB, read and computed without the package under test.

    net = load("net.mat")            # the only network in the file, or variable="net"
    y = net.forward(x)               # x (C, T) or (H, W, C, T); a tuple of several
    net.layer_outputs["lstm"]        # (H, T); net.signals["lstm.f"] inside it

The structs are read with mat-io, the equations are in reference_layers.py and
reference_recurrent.py. Everything is float64 and in MATLAB's own layout, features first
and time last.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from reference_layers import ELEMENTWISE, MIXING, Fields, Signal
from reference_recurrent import RECURRENT, recurrent

with warnings.catch_warnings():
    # mat-io sets an option of pandas that pandas 3 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import matio
    from matio.subsystem.subsys import MatSubsystem

NETWORK_CLASSES = ("SeriesNetwork", "DAGNetwork", "dlnetwork")
_load_object = MatSubsystem.load_mcos_object


def _load_object_with_class(self, object_id, *args, **kwargs):
    """mat-io calls every element of a layer array by the class of the array."""
    loaded = _load_object(self, object_id, *args, **kwargs)
    for number, cached in self.mcos_object_cache.items():
        if hasattr(cached, "classname"):
            cached.classname = self.get_classname(self.get_object_metadata(number)[0])
    return loaded


def read(path: str | Path) -> dict[str, Any]:
    """All variables of a `.mat` file, objects with their own class names."""
    with patch.object(MatSubsystem, "load_mcos_object", _load_object_with_class):
        return matio.load_from_mat(str(path), raw_data=True)


def plain(value: Any) -> Any:
    """Structs as dicts, cells as lists, text as str; the rest as it is."""
    if isinstance(value, np.void) and value.dtype.names:
        return {name: plain(value[name]) for name in value.dtype.names}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        records = [plain(record) for record in value.ravel(order="F")]
        return records[0] if len(records) == 1 else records
    if value.dtype.kind == "U":
        return "".join(value.ravel().tolist())
    if value.dtype == object:
        return [plain(element) for element in value.ravel(order="F")]
    return value


def saved(thing: Any) -> Fields:
    """What an object was saved as: its "any", never the class defaults beside it."""
    properties = thing.properties
    return plain(properties["any"]) if "any" in properties else plain_fields(properties)


def plain_fields(properties: dict[str, Any]) -> Fields:
    return {name: plain(value) for name, value in properties.items()}


def categories(thing: Any) -> tuple[list[str], np.ndarray]:
    """Names and 1-based codes of a MATLAB categorical."""
    fields = plain_fields(thing.properties)
    return fields["categoryNames"], np.ravel(fields["codes"])


@dataclasses.dataclass
class RefLayer:
    """One layer: its MATLAB class (the last word of it), its name, what was saved."""

    kind: str
    name: str
    fields: Fields


@dataclasses.dataclass
class ReferenceNet:
    """Layers and `(source, destination)` wires, as MATLAB has them."""

    layers: list[RefLayer]
    wires: list[tuple[str, str]]
    outputs: list[str]
    layer_outputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    signals: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    state: dict[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def inputs(self) -> list[str]:
        return [lay.name for lay in self.layers if lay.kind.endswith("InputLayer")]

    @property
    def classes(self) -> list[str]:
        """Class names of the classification output."""
        found = [lay.fields for lay in self.layers if "Categories" in lay.fields]
        return categories(found[0]["Categories"])[0]

    def __getitem__(self, name: str) -> RefLayer:
        return next(layer for layer in self.layers if layer.name == name)

    def forward(self, x: Any, start: str = "initial") -> Any:
        """The output for one sequence; `start` is "initial" or "saved"."""
        given = dict(zip(self.inputs, x if isinstance(x, tuple) else (x,), strict=True))
        values: dict[str, Signal] = {}
        self.layer_outputs, self.signals, self.state = {}, {}, {}
        waiting = list(self.layers)
        while waiting:
            ready = next(
                layer
                for layer in waiting
                if all(ref in values for ref in self.sources(layer.name))
            )
            waiting.remove(ready)
            xs = [values[ref] for ref in self.sources(ready.name)]
            if ready.name in given:
                xs = [_as_signal(ready, given[ready.name])]
            values |= self._apply(ready, xs, start)
            self.layer_outputs[ready.name] = _bare(values[ready.name])
        results = tuple(_bare(values[r.removesuffix("/out")]) for r in self.outputs)
        return results[0] if len(results) == 1 else results

    def sources(self, name: str) -> list[str]:
        """What feeds a layer, in the order of its ports."""
        ports = {"": 0, "in": 0, "hidden": 1, "cell": 2}
        ports |= {"query": 0, "key": 1, "value": 2}
        found = []
        for source, destination in self.wires:
            target, _, port = destination.partition("/")
            if target == name and port != "miniBatchSize":
                place = ports[port] if port in ports else int(port.removeprefix("in"))
                found.append((place, source.removesuffix("/out")))
        return [source for _, source in sorted(found)]

    def _apply(self, layer: RefLayer, xs: list, start: str) -> dict[str, Signal]:
        kind, name, p = layer.kind, layer.name, layer.fields
        if kind in ELEMENTWISE:
            (x,) = xs
            return {name: x._replace(values=ELEMENTWISE[kind](p, x.values))}
        if kind in MIXING:
            return {name: _mix(MIXING[kind], p, xs)}
        if kind not in RECURRENT:
            raise ValueError(f"no equation for a {kind}")
        h, c = _starting_state(kind, p, xs[1:], start)
        x = MIXING["FlattenLayer"](p, xs[0])  # recurrent layers take images as vectors
        y, h, c, inner = recurrent(kind, p, x, h, c)
        self.state[name] = (h, c)
        self.signals |= {f"{name}.{key}": value for key, value in inner.items()}
        return {
            name: y,
            f"{name}/hidden": Signal(h.reshape(-1, 1), False),
            f"{name}/cell": Signal(c.reshape(-1, 1), False),
        }


def _mix(operation: Any, p: Fields, xs: list[Signal]) -> Signal:
    """Apply a layer; to single images where time was folded into the batch."""
    if not any(x.folded for x in xs) or operation is MIXING["SequenceUnfoldingLayer"]:
        return operation(p, *xs)
    steps = [
        operation(p, *(Signal(x.values[..., [t]], False) for x in xs)).values
        for t in range(xs[0].values.shape[-1])
    ]
    return xs[0]._replace(values=np.concatenate(steps, axis=-1))


def _as_signal(layer: RefLayer, x: Any) -> Signal:
    # MATLAB computes in single whatever it is given, so the input is rounded first.
    x = np.asarray(x, np.float32).astype(np.float64)
    size = list(np.ravel(layer.fields["InputSize"]))
    timed = layer.kind == "SequenceInputLayer"
    if letters := layer.fields.get("InputFormat"):
        timed = "T" in letters
        size = [v for kind in "SC" for at, v in zip(letters, size, strict=True)
                if at == kind]  # fmt: skip
    size = [int(v) for v in size]
    if x.ndim != len(size) + timed or list(x.shape[: len(size)]) != size:
        raise ValueError(f"{layer.name}: found {x.shape}, expected {size} and time")
    return Signal(x if timed else x[..., None], timed)


def _bare(signal: Signal) -> np.ndarray:
    return signal.values if signal.timed else signal.values[..., 0]


def _starting_state(kind: str, p: Fields, given: list[Signal], start: str) -> tuple:
    if given:
        h = given[0].values.ravel()
        return h, (given[1].values.ravel() if len(given) > 1 else h)
    if start == "saved":
        h = p["HiddenState"]["Value"]
        c = p["CellState"]["Value"] if "CellState" in p else h
    else:
        h = p["InitialHiddenState"]
        c = p.get("InitialCellState", h)
    width = p["NumHiddenUnits"] if "NumHiddenUnits" in p else p["OutputSize"]
    size = int(np.ravel(width)[0]) * RECURRENT[kind][1]
    return tuple(np.broadcast_to(np.ravel(v).astype(np.float64), size) for v in (h, c))


def load(path: str | Path, variable: str | None = None) -> ReferenceNet:
    """Read the network called `variable`, or the only one in the file."""
    variables = read(path)
    networks = {
        name: value
        for name, value in variables.items()
        if getattr(value, "classname", None) in NETWORK_CLASSES
    }
    if variable is None:
        (variable,) = networks
    fields = saved(networks[variable])
    declared = fields.get("OutputNames")
    if "LayerGraph" in fields:
        fields = saved(fields["LayerGraph"])
    layers = []
    for thing in fields["Layers"]:
        p = saved(thing)
        layers.append(RefLayer(thing.classname.split(".")[-1], p["Name"], p))
    return build(layers, _connections(fields, layers), declared)


def _connections(fields: Fields, layers: list[RefLayer]) -> list[tuple[str, str]]:
    if "Connections" not in fields:
        names = [layer.name for layer in layers]
        return list(itertools.pairwise(names))
    sources, destinations = plain(fields["Connections"].properties["data"])
    return list(zip(sources, destinations, strict=True))


def build(
    layers: list[RefLayer],
    wires: list[tuple[str, str]] | None = None,
    outputs: list[str] | None = None,
) -> ReferenceNet:
    """A network from layers; a series unless wired, ending where nothing follows."""
    if wires is None:
        names = [layer.name for layer in layers]
        wires = list(itertools.pairwise(names))
    if not outputs:
        used = {source.split("/")[0] for source, _ in wires}
        outputs = [layer.name for layer in layers if layer.name not in used]
    return ReferenceNet(layers, wires, outputs)
