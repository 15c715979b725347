"""Networks in MAT files: finding them, choosing one, putting it together.

A network is a SeriesNetwork, a DAGNetwork, a dlnetwork, a LayerGraph, a bare array of
layers, or the struct that `jlstm_export.m` writes; it may lie inside structs and cells.
The objects carry no release; what the struct versions mean is in `matlab_layers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Ambiguous, DamagedFile, JlstmError, Unsupported
from ..network import Factors, Network, Node, Origin
from ..pytree import Shape
from ..recurrent import Recurrent
from . import matlab_export, matlab_layers
from .fields import Fields, strings
from .matfile import Cell, MatFile, MatObject, Undecodable, need
from .matlab_layers import Built

NETWORK_CLASSES = ("SeriesNetwork", "DAGNetwork", "dlnetwork")
GRAPH_CLASS = "nnet.cnn.LayerGraph"
OTHER_MODELS = {
    "network": "a shallow network (fitnet, narxnet, ...)",
    "ClassificationSVM": "a support vector machine",
    "TreeBagger": "a forest",
}


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


@dataclass(frozen=True, eq=False)
class Spec:
    """The parts of a saved network: layer objects, wires, outputs."""

    layers: list[MatObject]
    wires: list[tuple[str, str]] | None
    outputs: tuple[str, ...] | None


def load(path: str | Path, variable: str | None = None) -> Network:
    """Read a network from a MAT file.

    Arguments:
        path: the file.
        variable: which network, as MATLAB would write it: "net", "results.net",
            "nets{2}". Without it the only trained network is taken.

    Raises:
        DamagedFile: the file is not whole.
        Ambiguous: there are several networks; they are listed.
        Unsupported: there is none, or one that jlstm does not compute; says why.
    """
    file = MatFile(path)
    chosen = choose(file, variable)
    try:
        return build(chosen, file)
    except JlstmError as error:
        raise error.within(file=file.path) from None


# --- finding --------------------------------------------------------------------------


def candidates(file: MatFile, names: list[str] | None = None) -> list[Candidate]:
    """Every network in a file, in the order of the file."""
    found: list[Candidate] = []
    seen: set[int] = set()
    for name in names or file.names:
        found += _search(file[name], name, seen, 0)
    return found


def _search(value: Any, path: str, seen: set[int], depth: int) -> Iterator[Candidate]:
    if isinstance(value, np.ndarray | str) or id(value) in seen or depth > 12:
        return
    seen.add(id(value))
    kind = _kind(value)
    if kind is not None:
        yield Candidate(path, kind, value)
    elif isinstance(value, MatObject) and isinstance(value.values, dict):
        for name, item in value.values.items():
            yield from _search(item, f"{path}.{name}", seen, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _search(item, f"{path}.{name}", seen, depth + 1)
    elif isinstance(value, Cell):
        left, right = "{}" if value.class_name == "cell" else "()"
        for k, item in enumerate(value, 1):
            yield from _search(item, f"{path}{left}{k}{right}", seen, depth + 1)


def _kind(value: Any) -> str | None:
    if isinstance(value, MatObject):
        name = value.class_name
        known = name in NETWORK_CLASSES or name == GRAPH_CLASS
        return name if known and not value.lost else None
    if matlab_export.is_export(value):
        return matlab_export.KIND
    if isinstance(value, Cell) and value and all(map(matlab_layers.is_layer, value)):
        return "layer array"
    return None


def choose(file: MatFile, variable: str | None = None) -> Candidate:
    """Pick the network that the caller means.

    Raises:
        Ambiguous, Unsupported: see `load`.
    """
    names = None
    if variable is not None:
        root = variable.partition(".")[0].partition("{")[0].partition("(")[0]
        need(file, root)
        names = [root]
    found = candidates(file, names)
    if variable is not None:
        within = [c for c in found if c.path == variable]
        within = within or [c for c in found if c.path.startswith(variable)]
        if not within:
            raise _nothing(file, [variable, *(c.path for c in found)][:1])
        found = within
    if not found:
        raise _nothing(file, file.names)
    trained = [c for c in found if is_trained(c)]
    best = [c for c in trained if c.rank == min(t.rank for t in trained)]
    if len(best) > 1:
        raise Ambiguous(
            f"{len(best)} networks in one file",
            file=file.path,
            found=", ".join(f"{c.path} ({c.kind})" for c in best),
            do=f"name one of them: variable={best[0].path!r}, --variable {best[0].path}",
        )
    # With nothing trained, the reason why is found where the best candidate is read.
    return best[0] if best else min(found, key=lambda c: c.rank)


def is_trained(candidate: Candidate) -> bool:
    """Whether any layer of it holds weights."""
    if candidate.kind == matlab_export.KIND:
        return True
    try:
        parts = parse(candidate)
    except JlstmError:
        # Not for this question: building it says what is wrong.
        return True
    return any(_has_weights(layer.values) for layer in parts.layers)


def _has_weights(values: Any) -> bool:
    if not isinstance(values, dict):
        return False
    names = ("InputWeights", "Weights", "QueryWeights", "Scale")
    for name in names:
        value = values.get(name)
        value = value.get("Value") if isinstance(value, dict) else value
        if isinstance(value, np.ndarray) and value.size:
            return True
        if isinstance(value, MatObject) and not value.lost:
            return True
    return False


def _nothing(file: MatFile, names: list[str]) -> JlstmError:
    """Why there is no network here, from what there is instead."""
    kinds = []
    for name in names[:12]:
        value = file[name] if name in file else None
        if isinstance(value, MatObject):
            what = OTHER_MODELS.get(value.class_name, value.class_name)
            kinds.append(f"{name} ({what})")
        elif isinstance(value, Undecodable):
            kinds.append(f"{name} (cannot be decoded: {value.reason})")
        else:
            kinds.append(name)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return Unsupported(
        "no trained network found",
        file=file.path,
        found=(", ".join(kinds) or "no variables") + more,
        expected="a SeriesNetwork, DAGNetwork, dlnetwork, LayerGraph or layer array",
        do="for weights extracted by hand, describe the layers: "
        "jlstm inspect --help shows how",
    )


# --- taking apart ---------------------------------------------------------------------


def parse(candidate: Candidate) -> Spec:
    """The layers, wires and outputs of a saved network object.

    Raises:
        Unsupported: the object is not laid out as known.
    """
    if candidate.kind == "layer array":
        return Spec(list(candidate.value), None, None)
    values = candidate.value.values
    outputs = None
    path = candidate.path
    if not isinstance(values, dict):
        raise _unknown_layout(path, values)
    if candidate.kind == "dlnetwork":
        outputs = strings(values.get("OutputNames", Cell([], (0, 0)))) or None
        _refuse_quantised(values, path)
    if isinstance(inner := values.get("LayerGraph"), MatObject):
        values = inner.values
    if not isinstance(values, dict) or "Layers" not in values:
        raise _unknown_layout(path, values)
    layers = values["Layers"]
    layers = [layers] if isinstance(layers, MatObject) else layers
    if not isinstance(layers, list) or not all(
        isinstance(x, MatObject) for x in layers
    ):
        raise _unknown_layout(f"{path}.Layers", layers)
    return Spec(layers, _wires(values.get("Connections"), path), outputs)


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
    data = info.get("data") if isinstance(info, dict) else None
    inner = data.values.get("serialization") if isinstance(data, MatObject) else None
    if isinstance(inner, dict) and len(inner.get("keys", ())):
        raise Unsupported(
            "a quantised network", place=path, do="save the network before quantising"
        )


def _wires(table: Any, path: str) -> list[tuple[str, str]] | None:
    """Pairs (source, destination) from a Connections table; None where there is none."""
    if table is None or (isinstance(table, list | np.ndarray) and not len(table)):
        return None
    columns = None
    if isinstance(table, MatObject) and isinstance(table.values, dict):
        columns = table.values.get("data")
    elif isinstance(table, dict):
        columns = [table.get("Source"), table.get("Destination")]
    pair = [strings(column) for column in columns or () if column is not None]
    if len(pair) != 2 or any(p is None for p in pair):
        if (
            isinstance(columns, Cell)
            and len(columns) == 2
            and not any(map(len, columns))
        ):
            return []
        raise _unknown_layout(f"{path}.Connections", table)
    return list(zip(*pair, strict=True))  # type: ignore[arg-type]


# --- putting together -----------------------------------------------------------------


def build(candidate: Candidate, file: MatFile) -> Network:
    """Make a `Network` of a candidate."""
    if candidate.kind == matlab_export.KIND:
        parts = matlab_export.parts(candidate.value, candidate.path)
        kind = parts.pop("kind")
        return assemble(kind, candidate.path, Spec(**parts), file)
    return assemble(candidate.kind, candidate.path, parse(candidate), file)


def assemble(kind: str, path: str, parts: Spec, file: MatFile) -> Network:
    """Read the layers one after the other and connect them."""
    names = _names(parts.layers)
    graph = _graph(names, parts, path)
    ends = set(names) - {ref.partition("/")[0] for n in graph for ref in n.inputs}
    assembled = _Assembly(path, kind in ("SeriesNetwork", "DAGNetwork"))
    for node in graph:
        layer = parts.layers[names.index(node.name)]
        assembled.add(node, layer, node.name in ends)
    outputs = parts.outputs
    if outputs is not None:
        # A port "softmax/out" is the plain output of its layer.
        outputs = tuple(o.removesuffix("/out") for o in outputs)
    origin = Origin(
        format="matlab",
        file=file.path.name,
        variable=path,
        kind=kind,
        details=(("saved", file.created),) if file.created else (),
        ignored=tuple(assembled.ignored),
    )
    return assembled.network(outputs, origin, single=kind != "dlnetwork")


def _names(layers: list[MatObject]) -> list[str]:
    """The layers' names; bare layers may have none and get the class for one."""
    names: list[str] = []
    for layer in layers:
        values = layer.values if isinstance(layer.values, dict) else {}
        name = values.get("Name") or ""
        if not isinstance(name, str):
            name = (strings(name) or ("",))[0]
        if not name:
            name = layer.class_name.rpartition(".")[2].removesuffix("Layer").lower()
        unique, k = name, 0
        while unique in names:
            k += 1
            unique = f"{name}_{k}"
        names.append(unique)
    return names


def _graph(names: list[str], parts: Spec, path: str) -> list[Node]:
    """Nodes in topological order, inputs in the order of their ports."""
    if parts.wires is None:
        return [Node(n, (names[k - 1],) if k else ()) for k, n in enumerate(names)]
    ports: dict[str, list[tuple[Any, str]]] = {name: [] for name in names}
    for source, target in parts.wires:
        name, _, port = target.partition("/")
        origin, _, outlet = source.partition("/")
        if name not in ports or origin not in ports:
            raise Unsupported(
                "a connection leads to a layer that is not there",
                place=f"{path}.Connections",
                found=f"{source} -> {target}",
                expected=", ".join(names),
            )
        if port == "miniBatchSize" or outlet == "miniBatchSize":
            continue  # the batch size that unfolding restores; see matlab_layers
        if outlet not in ("", "out", "hidden", "cell"):
            raise Unsupported(
                "a connection from an output that jlstm does not compute",
                place=f"{path}.Connections",
                found=source,
            )
        outlet = "" if outlet == "out" else outlet
        ports[name].append(
            (_port_order(port), f"{origin}/{outlet}" if outlet else origin)
        )
    waiting = {n: tuple(ref for _, ref in sorted(w)) for n, w in ports.items()}
    ordered: list[Node] = []
    while waiting:
        ready = [
            n for n, refs in waiting.items()
            if not any(ref.partition("/")[0] in waiting for ref in refs)
        ]  # fmt: skip
        if not ready:
            raise Unsupported(
                "the layers form a cycle", place=path, found=list(waiting)
            )
        ordered.append(Node(ready[0], waiting.pop(ready[0])))
    return ordered


def _port_order(port: str) -> tuple[int, str]:
    """Sort key of an input port: in, in1 ... in12, hidden, cell."""
    if port.startswith("in") and port[2:].isdigit():
        return int(port[2:]), ""
    fixed = {
        "": 0,
        "in": 0,
        "query": 1,
        "key": 2,
        "value": 3,
        "hidden": 900,
        "cell": 901,
    }
    return fixed.get(port, 999), port


class _Assembly:
    """Layers as they are read, one after the other, with the shapes between them."""

    def __init__(self, path: str, ends_are_outputs: bool):
        self.path = path
        self.ends_are_outputs = ends_are_outputs
        self.nodes: list[Node] = []
        self.built: dict[str, Built] = {}
        self.shapes: dict[str, Shape] = {}
        self.ignored: list[str] = []

    def add(self, node: Node, saved: MatObject, is_end: bool) -> None:
        """Read one layer."""
        place = f"{self.path}.Layers('{node.name}')".removeprefix(".")
        if not isinstance(saved.values, dict):
            reason = getattr(saved.values, "reason", "its data is not in the file")
            raise Unsupported(
                f"a layer of class {saved.class_name} cannot be decoded",
                place=place,
                found=reason,
            )
        fields = Fields(saved.values, place, saved.class_name)
        inputs = [self.shapes[ref] for ref in node.inputs]
        known = saved.class_name in matlab_layers.READERS
        if not known and is_end and self.ends_are_outputs and inputs:
            built = matlab_layers.custom_output(saved.class_name, fields)
        else:
            built = matlab_layers.read(saved.class_name, fields, inputs)
        self.ignored += [f"{place}.{name}" for name in fields.ignored]
        if isinstance(built.layer, Recurrent) and inputs and inputs[0].space:
            node, inputs = self._flattened(node, inputs)
        if not node.inputs and not _is_input(built):
            raise Unsupported(
                "a layer without an input",
                place=place,
                found=saved.class_name,
                expected="a sequence, feature or image input layer at every start",
            )
        self._append(node, built, inputs, place)

    def _flattened(self, node: Node, inputs: list[Shape]) -> tuple[Node, list[Shape]]:
        """Recurrent layers of MATLAB flatten images themselves; here a layer does it."""
        from ..layers import Flatten

        name = f"{node.name}_flatten"
        flatten = Node(name, node.inputs[:1])
        self._append(
            flatten, Built(Flatten(len(inputs[0].space))), inputs[:1], self.path
        )
        return Node(node.name, (name, *node.inputs[1:])), [
            self.shapes[name],
            *inputs[1:],
        ]

    def _append(
        self, node: Node, built: Built, inputs: list[Shape], place: str
    ) -> None:
        layer = built.layer
        try:
            if isinstance(layer, Recurrent):
                inputs = inputs[:1]
                for port in ("hidden", "cell"):
                    self.shapes[f"{node.name}/{port}"] = Shape(
                        False, (), layer.hidden_size
                    )
            self.shapes[node.name] = layer.shape(*inputs)
        except JlstmError as error:
            raise error.within(place=place) from None
        self.nodes.append(node)
        self.built[node.name] = built

    def network(
        self, outputs: tuple[str, ...] | None, origin: Origin, single: bool
    ) -> Network:
        """The finished network."""
        layers = {name: built.layer for name, built in self.built.items()}
        for name in outputs or ():
            if name.partition("/")[0] not in layers:
                raise DamagedFile(
                    "an output that is no layer", place=self.path, found=name
                )
        recurrent = {
            n: b for n, b in self.built.items() if isinstance(b.layer, Recurrent)
        }
        initial = {
            n: b.layer.init_state() if b.initial is None else b.initial
            for n, b in recurrent.items()
        }
        saved = {
            n: initial[n] if b.saved is None else b.saved for n, b in recurrent.items()
        }
        notices = [f"{n}: {text}" for n, b in self.built.items() for text in b.notices]
        net = Network.build(
            layers,
            self.nodes,
            outputs=outputs,
            initial=initial,
            saved=saved,
            factors=[
                Factors(f".layers['{name}']{path}", rate, decay)
                for name, built in self.built.items()
                for path, rate, decay in built.factors
            ],
            origin=origin,
        )
        net, cast = _one_precision(net, single)
        notices += [cast] if cast else []
        moved = [n for n in recurrent if net.saved and _differs(net, n)]
        if moved:
            notices.append(
                f"saved with a state in {', '.join(moved)} that is not its initial one; "
                "predictions start from the initial state (state=net.saved continues)"
            )
        return net.replace(origin=origin._replace(notices=tuple(notices)))


def _is_input(built: Built) -> bool:
    from ..layers import Input

    return isinstance(built.layer, Input)


def _differs(net: Network, name: str) -> bool:
    import jax

    pairs = zip(
        jax.tree.leaves(net.initial[name]),
        jax.tree.leaves((net.saved or {})[name]),
        strict=True,
    )
    return any(not np.array_equal(a, b) for a, b in pairs)


def _one_precision(net: Network, single: bool) -> tuple[Network, str]:
    """Give every array the precision that MATLAB computes in.

    SeriesNetwork and DAGNetwork compute in single, whatever is stored; a dlnetwork in the
    precision of its learnable parameters. Statistics follow the parameters.
    """
    import jax

    learnable = {
        np.dtype(leaf.dtype)
        for layer in net.layers.values()
        for path, leaf in jax.tree_util.tree_leaves_with_path(layer)
        if getattr(path[0], "name", None) not in layer.statistics
    }
    if np.dtype("float64") not in learnable:
        return net.astype(np.float32), ""
    if not single:
        return net.astype(np.float64), ""
    lossless = all(
        np.array_equal(np.float32(leaf), leaf, equal_nan=True)
        for leaf in jax.tree.leaves(net)
    )
    return net.astype(np.float32), (
        ""
        if lossless
        else "some weights were stored in double precision; MATLAB "
        "computes this kind of network in single, and so does jlstm"
    )
