"""What exporters write as several nodes though it is one layer, put together again.

A graph is searched for the patterns of the table; the last node of each is replaced by
one node of the domain `OWN`. Nodes in between are left where others need them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import Unsupported
from .onnx_ops import composites
from .onnx_patterns import Finder, Match, Term
from .onnxfile import OWN, Model, Node

Checked = tuple[tuple[str, ...], dict[str, Any]] | None
"""What the new node takes, and its attributes; None where numbers do not fit."""


class Composite(NamedTuple):
    """An operator, the ways to write it, and what else must hold."""

    op: str
    terms: tuple[Term, ...]
    check: Callable[[Finder, Match], Checked]


def composed(model: Model) -> Model:
    """The model with composites as one node each.

    Raises:
        Unsupported: the file has operators of these names itself.
    """
    for node in model.graph.nodes:
        if node.domain == OWN and node.op in composites.READERS:
            raise Unsupported(
                "an operator outside of the standard",
                place=node.place,
                found=f"domain {node.domain}",
            )
    finder = Finder(model.graph)
    nodes = [_composite(finder, node) or node for node in model.graph.nodes]
    graph = dataclasses.replace(model.graph, nodes=nodes)
    readers = {**model.readers, **composites.READERS}
    return dataclasses.replace(model, graph=graph, readers=readers)


def _composite(finder: Finder, node: Node) -> Node | None:
    for kind, term in BY_OPERATOR.get(node.op, ()) if not node.domain else ():
        match = finder.find(node.outputs[0], term) if node.outputs else None
        found = None if match is None else kind.check(finder, match)
        if found is not None:
            taken, attributes = found
            return Node(kind.op, OWN, node.name, taken, node.outputs, attributes)
    return None


# --- numbers in patterns --------------------------------------------------------------

NUMBERS = {
    "zero": 0.0, "one": 1.0, "half": 0.5, "two": 2.0, "three": 3.0,
    "twenty": 20.0,
    "root": math.sqrt(2), "inverse_root": math.sqrt(0.5),
    "cubic": 0.044715, "slope": math.sqrt(2 / math.pi), "nan": math.nan,
}  # fmt: skip
"""Variables that stand for one number."""


def _numbers_fit(finder: Finder, match: Match) -> bool:
    for variable, name in match.values.items():
        if variable in NUMBERS:
            number, wanted = finder.number(name), NUMBERS[variable]
            if number is None or not np.isclose(
                number, wanted, rtol=1e-6, atol=0, equal_nan=True
            ):
                return False
    return True


# --- normalisation by the example's own statistics ------------------------------------

CENTRED = ("Sub", "x", ("mean=ReduceMean", "x"))
STANDARDISED = tuple(
    (
        "Div",
        CENTRED,
        ("Sqrt", ("Add", ("variance=ReduceMean", squared), "epsilon")),
    )
    for squared in (("Mul", CENTRED, CENTRED), ("Pow", CENTRED, "two"))
)


def _standardised(finder: Finder, match: Match) -> Checked:
    epsilon = finder.number(match.values["epsilon"])
    both = [match.nodes[mark] for mark in ("mean", "variance")]
    axes = {finder.whole(node, "axes", 1) for node in both}
    kept = all(node.attributes.get("keepdims", 1) for node in both)
    (first, *others) = axes
    if epsilon is None or others or not first or not kept:
        return None
    if not _numbers_fit(finder, match):
        return None
    return (match.values["x"],), {"axes": first, "epsilon": epsilon}


# tf2onnx: Keras's LayerNormalization as a batch normalisation of (1, -1, C, 1) with the
# statistics of each row.
ROWS = ("Reshape", "x", "shape")
ROW_MEAN = ("mean=ReduceMean", ROWS)
ROW_COUNT = ("Cast", ("ReduceProd", ("Gather", ("Shape", ROWS), "counted")))
ROW_VARIANCE = (
    "Div",
    ("squares=ReduceSumSquare", ("Sub", ROWS, ROW_MEAN)),
    ROW_COUNT,
)
OF_ROWS = tuple(
    (
        "Reshape",
        (
            "batch=BatchNormalization",
            ROWS,
            ("Expand", "one"),
            ("Expand", "zero"),
            ("Squeeze", ROW_MEAN),
            ROW_VARIANCE,
        ),
        back,
    )
    for back in (("Cast", ("Cast", ("Shape", "x"))), ("Shape", "x"))
)


def _of_rows(finder: Finder, match: Match) -> Checked:
    shape = finder.constant(match.values["shape"])
    sizes = [] if shape is None else [int(n) for n in shape.reshape(-1)]
    if sizes[:2] != [1, -1] or sizes[3:] != [1] or not _numbers_fit(finder, match):
        return None
    over = [finder.whole(match.nodes[mark], "axes", 1) for mark in ("mean", "squares")]
    counted = finder.constant(match.values["counted"])
    if over != [(0, 2, 3)] * 2 or counted is None or counted.tolist() != [0, 2, 3]:
        return None
    epsilon = match.nodes["batch"].attributes.get("epsilon", 1e-5)
    attributes = {"axes": (-1,), "epsilon": epsilon, "width": sizes[2]}
    return (match.values["x"],), attributes


# --- tables ---------------------------------------------------------------------------


def _looked_up(row: Term) -> tuple[Term, Term]:
    """The two rules of `jlstm.layers.Embedding` for what is no index."""
    inside = ("And", ("GreaterOrEqual", row, "zero"), ("LessOrEqual", row, "last"))
    known = ("And", inside, ("Equal", row, ("Floor", row)))
    vectors = ("found=Gather", "table", ("Cast", ("Where", known, row, "last")))
    return ("Where", ("apart=Unsqueeze", known), vectors, "nan"), vectors


LOOKED_UP = (*_looked_up(("Sub", "x", "first")), *_looked_up("x"))


def _embedding(finder: Finder, match: Match) -> Checked:
    table = finder.constant(match.values["table"])
    first = finder.number(match.values["first"]) if "first" in match.values else 0.0
    last = finder.number(match.values["last"])
    apart = match.nodes.get("apart")
    if table is None or table.ndim != 2 or last != len(table) - 1:
        return None
    if (
        first is None
        or first != int(first)
        or match.nodes["found"].attributes.get("axis", 0)
    ):
        return None
    if apart is not None and finder.whole(apart, "axes", 1) != (-1,):
        return None
    if not _numbers_fit(finder, match):
        return None
    attributes = {
        "first_index": int(first),
        "out_of_vocabulary": "map-to-last" if apart is None else "error",
    }
    return (match.values["x"], match.values["table"]), attributes


POSITIONS = (
    "Expand",
    ("apart=Unsqueeze", ("Slice", "table", "start", ("steps=Shape", "x"), "axis")),
    ("Concat", ("lead=Shape", "x"), "width"),
)


def _positions(finder: Finder, match: Match) -> Checked:
    table = finder.constant(match.values["table"])
    zeros = [finder.constant(match.values[word]) for word in ("start", "axis")]
    parts = [
        (node.attributes.get("start", 0), node.attributes.get("end"))
        for node in (match.nodes["steps"], match.nodes["lead"])
    ]
    width = finder.constant(match.values["width"])
    if table is None or table.ndim != 2 or parts != [(0, 1), (0, 2)]:
        return None
    if any(z is None or z.tolist() != [0] for z in zeros):
        return None
    if width is None or width.tolist() != [table.shape[1]]:
        return None
    if finder.whole(match.nodes["apart"], "axes", 1) != (1,):
        return None
    return (match.values["x"], match.values["table"]), {}


# --- activations ----------------------------------------------------------------------

BELLS = tuple(
    ("Add", ("Erf", part), "one")
    for part in (("Div", "x", "root"), ("Mul", "x", "inverse_root"))
)
BENT = ("Add", "x", ("Mul", ("Pow", "x", "three"), "cubic"))
TANH_BELL = ("Add", ("Tanh", ("Mul", BENT, "slope")), "one")
FUNCTIONS: dict[str, tuple[Term, ...]] = {
    "swish": (("Mul", "x", ("Sigmoid", "x")),),
    "mish": (("Mul", "x", ("Tanh", ("Softplus", "x"))),),
    "log-sigmoid": (("Neg", ("Softplus", ("Neg", "x"))),),
    # torch takes x itself where they are equal.
    "softplus": (("Where", ("Greater", "x", "twenty"), "x", ("Softplus", "x")),),
    "gelu": tuple(
        term
        for bell in BELLS
        for term in (
            ("Mul", ("Mul", "x", bell), "half"),
            ("Mul", ("Mul", "x", "half"), bell),
            ("Mul", "x", ("Mul", bell, "half")),
        )
    ),
    "gelu-tanh": (
        ("Mul", ("Mul", "x", TANH_BELL), "half"),
        ("Mul", ("Mul", "x", "half"), TANH_BELL),
    ),
}


def _function(name: str) -> Callable[[Finder, Match], Checked]:
    def check(finder: Finder, match: Match) -> Checked:
        fits = _numbers_fit(finder, match)
        # Of a constant it is no layer.
        fits = fits and finder.constant(match.values["x"]) is None
        return ((match.values["x"],), {"function": name}) if fits else None

    return check


SCALED_TANH = ("Mul", ("Tanh", ("Mul", "x", "beta")), "alpha")


def _scaled_tanh(finder: Finder, match: Match) -> Checked:
    constants = [finder.number(match.values[word]) for word in ("alpha", "beta")]
    if None in constants or finder.constant(match.values["x"]) is not None:
        return None
    attributes = {"function": "scaled-tanh", "constants": tuple(constants)}
    return (match.values["x"],), attributes


TABLE = (
    Composite("standardise", STANDARDISED, _standardised),
    Composite("standardise", OF_ROWS, _of_rows),
    Composite("embedding", LOOKED_UP, _embedding),
    Composite("positions", (POSITIONS,), _positions),
    Composite("activation", (SCALED_TANH,), _scaled_tanh),
    *(
        Composite("activation", terms, _function(name))
        for name, terms in FUNCTIONS.items()
    ),
)
BY_OPERATOR: dict[str, list[tuple[Composite, Term]]] = {}
for _kind in TABLE:
    for _term in _kind.terms:
        BY_OPERATOR.setdefault(_term[0].rpartition("=")[2], []).append((_kind, _term))
