"""Groups of nodes that compute one thing together, found by their shape.

A pattern is a term: `("Div", "x", ("Sqrt", "v"))`. A word is a variable, which stands
for one value wherever it occurs; an operator may be marked, `("v=ReduceMean", "x")`, so
that its node can be asked for attributes. Inputs that a pattern leaves out, such as the
axes of a reduction, are the node's own business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from .onnxfile import Graph, Node

Term = str | tuple
COMMUTATIVE = ("Add", "Mul", "And", "Or", "Equal")
CONSTANTS = ("value", "value_float", "value_floats", "value_int", "value_ints")


class Match(NamedTuple):
    """Where a pattern was found.

    Attributes:
        values: variable to name in the graph.
        nodes: mark to node.
    """

    values: Mapping[str, str]
    nodes: Mapping[str, Node]

    def bound(self, variable: str, name: str) -> Match | None:
        """With the value of a variable; None if it has another one."""
        if self.values.get(variable, name) != name:
            return None
        return Match({**self.values, variable: name}, self.nodes)


class Finder:
    """The nodes of a graph by what they make."""

    def __init__(self, graph: Graph):
        self._made = {n.outputs[0]: n for n in graph.nodes if n.outputs}
        self._sources = {name: n for n in graph.nodes for name in n.outputs if name}
        self._constants = graph.initializers

    def find(self, name: str, term: Term) -> Match | None:
        """The first way in which a value is what the term says."""
        return next(self._matches(name, term, Match({}, {})), None)

    def node(self, name: str) -> Node | None:
        """The node that makes a value, as any of its outputs."""
        return self._sources.get(name)

    def constant(self, name: str) -> np.ndarray | None:
        """The numbers of a constant."""
        node = self._made.get(name)
        if node is not None and node.op == "Constant":
            found = [node.attributes[k] for k in CONSTANTS if k in node.attributes]
            return np.asarray(found[0]) if found else None
        return self._constants.get(name)

    def number(self, name: str) -> float | None:
        """The number of a constant that is one, whatever its axes."""
        array = self.constant(name)
        one = array is not None and array.size == 1 and array.dtype.kind in "fiu"
        return float(array.reshape(-1)[0]) if one and array is not None else None

    def whole(self, node: Node, attribute: str, index: int) -> tuple[int, ...] | None:
        """Whole numbers that a node has as an attribute or, later, as an input."""
        found: Any = node.attributes.get(attribute)
        if found is None and len(node.inputs) > index:
            found = self.constant(node.inputs[index])
        if found is None:
            return None
        array = np.asarray(found)
        if array.dtype.kind not in "iu":
            return None
        return tuple(int(n) for n in array.reshape(-1))

    def _matches(self, name: str, term: Term, match: Match) -> Iterator[Match]:
        if isinstance(term, str):
            bound = match.bound(term, name)
            if bound is not None:
                yield bound
            return
        mark, _, op = term[0].rpartition("=")
        node = self._made.get(name)
        if node is None or node.domain or node.op != op:
            return
        if mark:
            match = Match(match.values, {**match.nodes, mark: node})
        if op not in COMMUTATIVE:
            yield from self._all(node.inputs, term[1:], match)
        elif len(node.inputs) == len(term) - 1:
            for order in permutations(term[1:]):
                yield from self._all(node.inputs, order, match)

    def _all(
        self, names: Sequence[str], terms: Sequence[Term], match: Match
    ) -> Iterator[Match]:
        if not terms:
            yield match
        elif names:
            for first in self._matches(names[0], terms[0], match):
                yield from self._all(names[1:], terms[1:], first)
