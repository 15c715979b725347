"""Putting a network together from saved layers and the wires between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import DamagedFile, JlstmError, Unsupported
from ..graph import PORTS, Node
from ..layers import Flatten
from ..network import Factors, Network, Origin
from ..pytree import Shape
from ..recurrent import GRU, LSTM, Recurrent
from . import matlab_layers
from .fields import Fields, strings
from .matfile import MatFile, MatObject
from .matlab_layers import Built
from .precision import one_precision

FOLDING = "nnet.cnn.layer.SequenceFoldingLayer"
UNFOLDING = "nnet.cnn.layer.SequenceUnfoldingLayer"
INPUT_PORTS = {"": 0, "in": 0, "query": 1, "key": 2, "value": 3}
STATE_PORTS = {"hidden": 900, "cell": 901}


@dataclass(frozen=True, eq=False)
class Spec:
    """The parts of a saved network: layer objects, wires, outputs.

    No wires: each layer feeds the next. No outputs: the layers that feed nothing.
    """

    layers: list[MatObject]
    wires: list[tuple[str, str]] | None
    outputs: tuple[str, ...] | None
    ignored: tuple[str, ...] = ()


def assemble(kind: str, path: str, parts: Spec, file: MatFile) -> Network:
    """Read the layers one after the other and connect them.

    Arguments:
        kind: the class that the network had in MATLAB.
        path: where it is in the file.

    Raises:
        Unsupported: jlstm does not compute something in it.
        DamagedFile: its parts do not belong together.
    """
    names = layer_names(parts.layers)
    graph = _graph(names, parts, path)
    used = {ref.partition("/")[0] for node in graph for ref in node.inputs}
    ends = [name for name in names if name not in used]
    assembly = _Assembly(path, kind in ("SeriesNetwork", "DAGNetwork"))
    for node in graph:
        layer = parts.layers[names.index(node.name)]
        assembly.add(node, layer, node.name in ends)
    # A port "softmax/out" is the plain output of its layer.
    outputs = [o.removesuffix("/out") for o in parts.outputs or ends]
    origin = Origin(
        format="matlab",
        file=file.path.name,
        variable=path,
        kind=kind,
        details=(("saved", file.created),) if file.created else (),
        ignored=(*parts.ignored, *assembly.ignored),
    )
    return assembly.network(outputs, origin, single=kind != "dlnetwork")


def layer_names(layers: list[MatObject]) -> list[str]:
    """The layers' names; bare layers may have none and get the class for one."""
    names: list[str] = []
    for layer in layers:
        values = layer.values if isinstance(layer.values, dict) else {}
        name = (strings(values.get("Name")) or ("",))[0]
        if not name:
            name = layer.class_name.rpartition(".")[2].removesuffix("Layer").lower()
        if "/" in name:
            raise Unsupported(
                "the name of a layer with a slash in it, which is what ports have",
                found=name,
                do="rename the layer in MATLAB",
            )
        names.append(_unique(name, names))
    return names


def _unique(name: str, taken: Any) -> str:
    unique, k = name, 0
    while unique in taken:
        k += 1
        unique = f"{name}_{k}"
    return unique


# --- wires ----------------------------------------------------------------------------


def _graph(names: list[str], parts: Spec, path: str) -> list[Node]:
    """Nodes in topological order, inputs in the order of their ports."""
    if parts.wires is None:
        return [Node(n, (names[k - 1],) if k else ()) for k, n in enumerate(names)]
    ports: dict[str, list[tuple[Any, str]]] = {name: [] for name in names}
    for source, target in parts.wires:
        _connect(ports, source, target, f"{path}.Connections")
    waiting = {n: tuple(ref for _, ref in sorted(w)) for n, w in ports.items()}
    ordered: list[Node] = []
    while waiting:
        ready = next(
            (
                name
                for name, refs in waiting.items()
                if not any(ref.partition("/")[0] in waiting for ref in refs)
            ),
            None,
        )
        if ready is None:
            raise Unsupported(
                "the layers form a cycle", place=path, found=", ".join(waiting)
            )
        ordered.append(Node(ready, waiting.pop(ready)))
    return ordered


def _connect(
    ports: dict[str, list[tuple[Any, str]]], source: str, target: str, place: str
) -> None:
    """Add one wire, unless it only carries the batch size that unfolding restores."""
    wire = f"{source} -> {target}"
    name, _, port = target.partition("/")
    origin, _, outlet = source.partition("/")
    if name not in ports or origin not in ports:
        raise Unsupported(
            "a connection leads to a layer that is not there",
            place=place,
            found=wire,
            expected=", ".join(ports),
        )
    if "miniBatchSize" in (port, outlet):
        return
    if outlet not in ("", "out", *PORTS):
        raise Unsupported(
            "a connection from an output that jlstm does not compute",
            place=place,
            found=wire,
        )
    key = _port_order(port)
    if key is None:
        raise Unsupported(
            "a connection to an input that jlstm does not know", place=place, found=wire
        )
    if any(key == other for other, _ in ports[name]):
        raise DamagedFile("two connections to one input", place=place, found=wire)
    ports[name].append((key, f"{origin}/{outlet}" if outlet in PORTS else origin))


def _port_order(port: str) -> int | None:
    """Where an input port comes among the ports: in, in1 ... in12, hidden, cell."""
    if port.startswith("in") and port[2:].isdigit():
        return int(port[2:])
    return (INPUT_PORTS | STATE_PORTS).get(port)


# --- layers ---------------------------------------------------------------------------


class _Assembly:
    """Layers as they are read, one after the other, with the shapes between them."""

    def __init__(self, path: str, ends_are_outputs: bool):
        self.path = path
        self.ends_are_outputs = ends_are_outputs
        self.nodes: list[Node] = []
        self.built: dict[str, Built] = {}
        self.shapes: dict[str, Shape] = {}
        self.folded: set[str] = set()
        self.ignored: list[str] = []

    def add(self, node: Node, saved: MatObject, is_end: bool) -> None:
        """Read one layer."""
        place = f"{self.path}.Layers('{node.name}')".removeprefix(".")
        if saved.lost or not isinstance(saved.values, dict):
            reason = getattr(saved.values, "reason", "its data is not in the file")
            raise Unsupported(
                f"a layer of class {saved.class_name} cannot be decoded",
                place=place,
                found=reason,
            )
        for ref in node.inputs:
            self._check_port(ref, place)
        fields = Fields(saved.values, place, saved.class_name)
        inputs = [self.shapes[ref] for ref in node.inputs]
        folded = self._is_folded(node, saved)
        # Between folding and unfolding MATLAB sees single images, no time.
        seen = [x._replace(time=False) for x in inputs] if folded else inputs
        known = saved.class_name in matlab_layers.READERS
        if known and not node.inputs and not saved.class_name.endswith("InputLayer"):
            raise Unsupported(
                "a layer without an input",
                place=place,
                found=saved.class_name,
                expected="a sequence, feature or image input layer at every start",
            )
        if not known and is_end and self.ends_are_outputs and inputs:
            built = matlab_layers.custom_output(saved.class_name, fields, seen)
        else:
            built = matlab_layers.read(saved.class_name, fields, seen)
        self.ignored += [f"{place}.{name}" for name in fields.ignored]
        built.notices += fields.notices
        layer = built.layer
        if folded and (isinstance(layer, Recurrent) or layer.needs_whole_sequence):
            raise Unsupported(
                "between sequence folding and unfolding, this layer sees single steps",
                place=place,
                found=repr(layer),
            )
        if isinstance(layer, Recurrent) and inputs and inputs[0].space:
            node = self._flattened(node, inputs)
        self._append(node, built, place)

    def _check_port(self, ref: str, place: str) -> None:
        """Beside outputs, jlstm hands on the final state of an LSTM or a GRU only."""
        name, _, port = ref.partition("/")
        kinds = {"": object, "hidden": LSTM | GRU, "cell": LSTM}
        layer = self.built[name].layer
        if port not in kinds or not isinstance(layer, kinds[port]):
            raise Unsupported(
                "a connection from an output that jlstm does not compute",
                place=place,
                found=f"{ref} of a {type(layer).__name__}",
            )

    def _is_folded(self, node: Node, saved: MatObject) -> bool:
        folded = any(ref in self.folded for ref in node.inputs)
        if saved.class_name == FOLDING or (folded and saved.class_name != UNFOLDING):
            self.folded.add(node.name)
        return folded

    def _flattened(self, node: Node, inputs: list[Shape]) -> Node:
        """Recurrent layers of MATLAB flatten images themselves; here a layer does."""
        name = _unique(f"{node.name}_flatten", self.built)
        layer = Flatten(len(inputs[0].space))
        self._append(Node(name, node.inputs[:1]), Built(layer), self.path)
        return Node(node.name, (name, *node.inputs[1:]))

    def _append(self, node: Node, built: Built, place: str) -> None:
        layer = built.layer
        inputs = [self.shapes[ref] for ref in node.inputs]
        try:
            if isinstance(layer, Recurrent):
                inputs = inputs[:1]
                for port in PORTS:
                    shape = Shape(False, (), layer.hidden_size)
                    self.shapes[f"{node.name}/{port}"] = shape
            self.shapes[node.name] = layer.shape(*inputs)
        except JlstmError as error:
            raise error.within(place=place) from None
        self.nodes.append(node)
        self.built[node.name] = built

    def network(self, outputs: list[str], origin: Origin, single: bool) -> Network:
        """The finished network."""
        for ref in outputs:
            if ref.partition("/")[0] not in self.built:
                raise DamagedFile(
                    "an output that is no layer", place=self.path, found=ref
                )
            self._check_port(ref, f"{self.path}.OutputNames")
        layers = {name: built.layer for name, built in self.built.items()}
        initial, saved = {}, {}
        for name, layer in layers.items():
            if isinstance(layer, Recurrent):
                start, now = self.built[name].initial, self.built[name].saved
                initial[name] = layer.init_state() if start is None else start
                saved[name] = initial[name] if now is None else now
        net = Network.build(
            layers,
            self.nodes,
            outputs=outputs,
            initial=initial,
            saved=saved,
            factors=[
                Factors(f".layers[{name!r}]{path}", rate, decay)
                for name, built in self.built.items()
                for path, rate, decay in built.factors
            ],
            origin=origin,
        )
        net, cast = one_precision(net, single)
        notices = [f"{n}: {text}" for n, b in self.built.items() for text in b.notices]
        notices += [cast] if cast else []
        return net.replace(origin=origin._replace(notices=tuple(notices)))
