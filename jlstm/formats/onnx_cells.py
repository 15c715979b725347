"""LSTM and GRU cells that are written out as products and functions, as operators.

torch's exporters write `nn.LSTMCell` and `nn.GRUCell` so, in models that take one step
a call and hand their state out. Every such group becomes the operator, between changes
of axes, and what starts from an input of the model is then its state.

    LSTM   c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')
    GRU    n = tanh(W x + b + sigmoid(r) (R h + b')),   h' = n + sigmoid(z) (h - n)

with i, f, g, o, r and z linear in x and h. Sources: the equations of the operators,
https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from . import _gates
from .onnx_linear import Linear, linear
from .onnx_ops import MOVES
from .onnx_patterns import Finder, Match, Term
from .onnx_states import UNCHANGED
from .onnxfile import Graph, Model, Node

NEXT_CELL = (
    "cell=Add",
    ("Mul", ("Sigmoid", "f"), "c"),
    ("Mul", ("Sigmoid", "i"), ("Tanh", "g")),
)
LSTM: Term = ("Mul", ("Sigmoid", "o"), ("Tanh", NEXT_CELL))
NEW = ("Tanh", ("Add", "new", ("Mul", ("Sigmoid", "r"), "old")))
UPDATE = ("Sigmoid", "z")
GRUS: tuple[Term, ...] = (
    ("Add", ("Mul", ("Sub", "h", NEW), UPDATE), NEW),
    ("Add", ("Mul", ("Sub", "one", UPDATE), NEW), ("Mul", UPDATE, "h")),
)
HINTS = ("weight_hh", "recurrent_kernel")
"""What the weights of a state are called, where nothing else tells it from the data."""
MOST_STEPS = 64


class Cell(NamedTuple):
    """A cell that was found.

    Attributes:
        op: the operator.
        x, starts: the names of what it takes: the data, the states.
        ends: the names of its new states, in the order of `starts`.
        gates: by letter, weights of x, weights of h, bias.
        recurrent_bias: of the new value of a GRU, inside of the reset.
    """

    op: str
    x: str
    starts: tuple[str, ...]
    ends: tuple[str, ...]
    gates: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
    recurrent_bias: np.ndarray | None = None


def with_cells(model: Model) -> Model:
    """The model with the operators in place of cells; itself where there are none."""
    names = {d.name for d in model.graph.inputs} - set(model.graph.initializers)
    graph = _graph(model.graph, names, {})
    return model if graph is model.graph else dataclasses.replace(model, graph=graph)


def _graph(
    graph: Graph, states: Container[str], outside: Mapping[str, np.ndarray]
) -> Graph:
    constants = {**outside, **graph.initializers}
    finder = Finder(dataclasses.replace(graph, initializers=constants))
    found: dict[str, Cell] = {}
    for node in graph.nodes:
        cell = None if node.domain or not node.outputs else _cell(finder, node, states)
        if cell is not None and not found.keys() & {*cell.ends}:
            found |= dict.fromkeys(cell.ends, cell)
    nodes: list[Node] = []
    changed, written = bool(found), set()
    for node in graph.nodes:
        cell = found.get(node.outputs[0]) if node.outputs else None
        if cell is None:
            inner = _within(node, states, constants)
            changed = changed or inner is not node
            nodes.append(inner)
        elif cell.ends not in written:
            written.add(cell.ends)
            nodes += _written(cell)
    return dataclasses.replace(graph, nodes=nodes) if changed else graph


def _within(
    node: Node, states: Container[str], constants: Mapping[str, np.ndarray]
) -> Node:
    """A node with the cells in its branches replaced."""
    inner = {
        key: _graph(value, states, constants) if isinstance(value, Graph) else value
        for key, value in node.attributes.items()
    }
    same = all(inner[key] is value for key, value in node.attributes.items())
    return node if same else dataclasses.replace(node, attributes=inner)


# --- finding --------------------------------------------------------------------------


def _cell(finder: Finder, node: Node, states: Container[str]) -> Cell | None:
    end = node.outputs[0]
    if node.op == "Mul" and (match := finder.find(end, LSTM)) is not None:
        return _lstm(finder, match, end, states)
    if node.op == "Add":
        for term in GRUS:
            if (match := finder.find(end, term)) is not None:
                return _gru(finder, match, end, states)
    return None


def _lstm(
    finder: Finder, match: Match, end: str, states: Container[str]
) -> Cell | None:
    values = match.values
    gates = {gate: linear(finder, values[gate]) for gate in "ifgo"}
    source = origin(finder, values["c"])
    if source not in states or None in gates.values():
        return None
    sums = {gate: found for gate, found in gates.items() if found is not None}
    pair = _operands(finder, sums["i"], states, source)
    parts = pair and _parts(sums, *pair)
    if not pair or not parts:
        return None
    ends = end, match.nodes["cell"].outputs[0]
    return Cell("LSTM", pair[0], (pair[1], values["c"]), ends, parts)


def _gru(finder: Finder, match: Match, end: str, states: Container[str]) -> Cell | None:
    values = match.values
    h = values["h"]
    one = finder.number(values["one"]) if "one" in values else 1.0
    if origin(finder, h) not in states or one != 1.0:
        return None
    z, r, new, old = (linear(finder, values[key]) for key in ("z", "r", "new", "old"))
    if z is None or r is None or new is None or old is None:
        return None
    if len(new.terms) != 1 or set(old.terms) != {h}:
        return None
    (x,) = new.terms
    parts = _parts({"z": z, "r": r}, x, h)
    size = len(old.bias)
    if not parts or x == h or len(new.bias) != size or old.terms[h].shape[1] != size:
        return None
    parts["n"] = new.terms[x], old.terms[h], new.bias
    return Cell("GRU", x, (h,), (end,), parts, old.bias)


def _parts(
    sums: Mapping[str, Linear], x: str, h: str
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] | None:
    """What each gate does with x and with h; None where it takes anything else."""
    found = {}
    for gate, total in sums.items():
        if set(total.terms) != {x, h} or total.terms[h].shape[0] != len(total.bias):
            return None
        found[gate] = total.terms[x], total.terms[h], total.bias
    sizes = {(w.shape, r.shape) for w, r, _ in found.values()}
    square = all(r.shape[0] == r.shape[1] for _, r, _ in found.values())
    return found if len(sizes) == 1 and square else None


def _operands(
    finder: Finder, gate: Linear, states: Container[str], beside: str
) -> tuple[str, str] | None:
    """Which of two operands is the data, and which is the state; None if unclear."""
    if len(gate.terms) != 2:
        return None
    rules = (
        lambda name: gate.terms[name].shape[1] == len(gate.bias),
        lambda name: origin(finder, name) in states,
        lambda name: origin(finder, name) == beside,
        lambda name: any(hint in gate.names[name] for hint in HINTS),
    )
    left = list(gate.terms)
    for k, rule in enumerate(rules):
        fits = [name for name in left if rule(name)]
        # The first two must hold; the others only tell two candidates apart.
        left = fits if fits or k < 2 else left
        if not left:
            return None
    if len(left) != 1:
        return None
    (x,) = set(gate.terms) - {left[0]}
    return x, left[0]


def origin(finder: Finder, name: str) -> str:
    """Where a value comes from that has been moved at most."""
    for _ in range(MOST_STEPS):
        node = finder.node(name)
        moves = node is not None and node.op in (*MOVES, *UNCHANGED)
        if node is None or node.domain or not moves or not node.inputs:
            return name
        name = node.inputs[0]
    return name


# --- writing --------------------------------------------------------------------------


def _written(cell: Cell) -> Iterator[Node]:
    """The operator, its sequence one step long."""
    base = f"{cell.ends[0]}.cell"
    order = _gates.ONNX_LSTM if cell.op == "LSTM" else _gates.ONNX_GRU
    w, r, b = (np.concatenate([cell.gates[g][k] for g in order]) for k in range(3))
    after = np.zeros_like(b)
    if cell.recurrent_bias is not None:
        after[-len(cell.recurrent_bias) :] = cell.recurrent_bias
    constants = {"W": w, "R": r, "B": np.concatenate([b, after])}
    for key, array in constants.items():
        yield _node("Constant", base, (), (f"{base}.{key}",), value=array[None])
    taken = [cell.x, *cell.starts]
    lifted = [f"{base}.in{k}" for k in range(len(taken))]
    for name, up in zip(taken, lifted, strict=True):
        yield _node("Unsqueeze", base, (name,), (up,), axes=(0,))
    ends = tuple(f"{base}.out{k}" for k in range(len(cell.ends)))
    inputs = (lifted[0], *(f"{base}.{k}" for k in constants), "", *lifted[1:])
    more: dict[str, Any] = {"linear_before_reset": 1} if cell.op == "GRU" else {}
    more["hidden_size"] = r.shape[1]
    yield _node(cell.op, base, inputs, ("", *ends), **more)
    for end, down in zip(ends, cell.ends, strict=True):
        yield _node("Squeeze", base, (end,), (down,), axes=(0,))


def _node(
    op: str, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], **more: Any
) -> Node:
    return Node(op, "", name, inputs, outputs, more)
