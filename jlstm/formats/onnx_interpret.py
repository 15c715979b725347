"""An ONNX graph, node by node, over abstract values.

The graph is read with one length of time and a batch of one, so that what the file
computes with shapes are plain numbers. What is found must be the same for another
length; `onnx_read` makes sure of it.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import (
    Container,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from typing import Any

import numpy as np

from ..errors import DamagedFile, JlstmError, Unsupported
from .onnx_build import Builder
from .onnx_ops import FOLDS, MOVES, READERS, Call
from .onnx_states import UNCHANGED
from .onnx_values import Signal, Start, Value
from .onnxfile import DEEPEST, OWN, Function, Graph, Model, Node, plain

Scope = MutableMapping[str, Value]

LOOPS = ("Loop", "Scan", "SequenceAt", "SplitToSequence", "ConcatFromSequence")
COMPARISONS = ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Not")
QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
WHY = {
    **dict.fromkeys(
        LOOPS,
        "a loop whose body is not an LSTM, GRU or RNN operator: export again with "
        "torch.onnx.export(..., dynamo=False), or with a newer tf2onnx (it makes "
        "operators of Keras layers with their default activations and without masks), "
        "or load the Keras or PyTorch file itself",
    ),
    **dict.fromkeys(
        COMPARISONS,
        "if an input such as a sampling rate is compared, fix it: "
        "layers={'constants': {'sr': 16000}}; if steps are masked (Masking or "
        "Embedding(mask_zero=True) of Keras), load the .keras or .h5 file itself",
    ),
    **dict.fromkeys(QUANTISED, "export the network without quantisation"),
}
MOST_NODES = 100_000
"""Nodes that are read in all, those of inlined functions and branches included."""


class Interpreter:
    """Reads the graph of one model into a builder."""

    def __init__(self, model: Model, build: Builder):
        self.model = model
        self.build = build
        self.done = 0
        self.read: set[str] = set()

    def run(self, inputs: Mapping[str, Value]) -> list[Value]:
        """The values of the outputs.

        Raises:
            Unsupported: a node that jlstm does not compute, named.
            DamagedFile: a value is used before it is made.
        """
        graph = self.model.graph
        scope: Scope = dict(graph.initializers)
        scope.update(inputs)
        return self._graph(graph, scope, 0)

    def _graph(self, graph: Graph, scope: Scope, depth: int) -> list[Value]:
        return self._nodes(graph.nodes, [d.name for d in graph.outputs], scope, depth)

    def _nodes(
        self,
        nodes: list[Node],
        outputs: list[str],
        scope: Scope,
        depth: int,
    ) -> list[Value]:
        if depth > DEEPEST:
            raise DamagedFile("graphs are nested too deeply", found=f"over {DEEPEST}")
        uses = _uses(nodes, outputs)
        for name, count in uses.items():
            if count > 1 and isinstance(known := scope.get(name), Signal):
                self.build.shared.add(known.ref)
        for node in nodes:
            if any(name in uses for name in node.outputs):
                self._node(node, scope, uses, depth)
        return [_look_up(name, scope, "an output of the graph") for name in outputs]

    def _node(
        self,
        node: Node,
        scope: Scope,
        uses: Counter[str],
        depth: int,
    ) -> None:
        self.done += 1
        if self.done > MOST_NODES:
            raise Unsupported("too many nodes", found=f"over {MOST_NODES}")
        self.build.context = node.place
        inputs = [
            _look_up(name, scope, node.place) if name else None for name in node.inputs
        ]
        self.read.update(node.inputs)
        values = self._values(node, inputs, scope, uses, depth)
        for name, value in zip(node.outputs, values, strict=False):
            if name:
                scope[name] = value
                if isinstance(value, Signal) and uses[name] > 1:
                    self.build.shared.add(value.ref)

    def _values(
        self,
        node: Node,
        inputs: list[Value],
        scope: Scope,
        wanted: Container[str],
        depth: int,
    ) -> list[Value]:
        function = self.model.functions.get((node.domain, node.op))
        if function is not None:
            return self._function(node, function, inputs, depth)
        own = self.model.readers.get(node.op) if node.domain == OWN else None
        if node.domain and own is None:
            raise Unsupported(
                "an operator outside of the standard",
                place=node.place,
                found=f"domain {node.domain}",
                do=WHY["QuantizeLinear"]
                if "uant" in node.op
                else "export the network for plain ONNX, without optimisations for one "
                "runtime",
            )
        if node.op == "If":
            return self._branch(node, inputs, scope, depth)
        call = Call(node, inputs, self.model.opset, self.build, wanted)
        try:
            values = _applied(call) if own is None else own(call)
        except JlstmError as error:
            error.place = error.place or node.place
            raise
        except (
            ValueError,
            IndexError,
            TypeError,
            OverflowError,
            MemoryError,
            ZeroDivisionError,
            AssertionError,
        ) as error:
            # Numbers that contradict each other, in a way that no check names.
            raise Unsupported(
                "a node that contradicts what comes in", place=node.place, found=error
            ) from None
        call.finish()
        return values

    def _branch(
        self,
        node: Node,
        inputs: list[Value],
        scope: Scope,
        depth: int,
    ) -> list[Value]:
        which = inputs[0] if inputs else None
        if not isinstance(which, np.ndarray) or which.size != 1:
            raise Unsupported(
                "a branch that depends on the data",
                place=node.place,
                do="if it depends on an input such as a sampling rate, fix that: "
                "layers={'constants': {'sr': 16000}}",
            )
        name = "then_branch" if which.reshape(-1)[0] else "else_branch"
        graph = node.attributes.get(name)
        if not isinstance(graph, Graph):
            raise DamagedFile("a branch without a graph", place=node.place, found=name)
        own: Scope = dict(graph.initializers)
        inner = ChainMap(own, scope)
        return self._graph(graph, inner, depth + 1)

    def _function(
        self, node: Node, function: Function, inputs: list[Value], depth: int
    ) -> list[Value]:
        """An operator that the file defines itself."""
        given = {**function.defaults, **node.attributes}
        inputs = [*inputs, *[None] * len(function.inputs)]
        scope = dict(zip(function.inputs, inputs, strict=False))
        nodes = [_with_attributes(inner, given) for inner in function.nodes]
        return self._nodes(nodes, function.outputs, scope, depth + 1)


def _applied(call: Call) -> list[Value]:
    op, inputs = call.node.op, call.inputs
    present = [value for value in inputs if value is not None]
    if op in FOLDS and all(isinstance(v, np.ndarray) for v in present):
        with np.errstate(all="ignore"):
            return _as_list(FOLDS[op](call, *inputs))
    if op in MOVES and (moved := _moved(call)) is not None:
        return moved
    if present and isinstance(present[0], Start) and len(present) == 1:
        if op in ("Shape", "Size"):
            return _as_list(FOLDS[op](call, present[0].ids))
        if op in UNCHANGED:
            call.attributes.clear()
            return [present[0]]
    if op in READERS:
        return READERS[op](call)
    call.refuse(
        f"jlstm does not read the operator {plain(op)}",
        found=", ".join(
            str(v) if isinstance(v, Signal) else "a constant" for v in present
        ),
        do=WHY.get(op, "export the part of the network that does without it"),
    )


def _moved(call: Call) -> list[Value] | None:
    """What only moves elements, applied to numbers that identify them."""
    data = [k for k, v in enumerate(call.inputs) if isinstance(v, Start)]
    first = len(call.inputs) if call.node.op == "Concat" else 1
    if data != list(range(first)):
        return None
    arrays = [v.ids if isinstance(v, Start) else v for v in call.inputs]
    return [
        Start(v)
        for v in _as_list(FOLDS[call.node.op](call, *arrays))
        if isinstance(v, np.ndarray)
    ]


def _as_list(result: Any) -> list[Value]:
    if isinstance(result, list):
        return [np.asarray(value) for value in result]
    return [np.asarray(result)]


def _uses(nodes: list[Node], outputs: Iterable[str]) -> Counter[str]:
    """How often each name is needed on the way to the outputs."""
    uses = Counter(outputs)
    for node in reversed(nodes):
        if any(name in uses for name in node.outputs):
            uses.update(name for name in _taken(node) if name)
    return uses


def _taken(node: Node) -> Iterator[str]:
    """What a node takes, and what the graphs inside it take from around them."""
    yield from node.inputs
    for value in node.attributes.values():
        if isinstance(value, Graph):
            for inner in value.nodes:
                yield from _taken(inner)
            yield from (declared.name for declared in value.outputs)


def _look_up(name: str, scope: Mapping[str, Value], place: str) -> Value:
    if name not in scope:
        raise DamagedFile(
            "a value is used before it is made", place=place, found=repr(name)
        )
    return scope[name]


def _with_attributes(node: Node, given: Mapping[str, Any]) -> Node:
    """A node of a function, with the attributes that the function was called with."""
    if not node.references:
        return node
    found = {
        name: given[there]
        for name, there in node.references.items()
        if given.get(there) is not None
    }
    return Node(
        node.op, node.domain, node.name, node.inputs, node.outputs,
        {**node.attributes, **found},
    )  # fmt: skip
