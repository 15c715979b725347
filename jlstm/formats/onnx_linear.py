"""What of a graph is linear in one axis: sums of products with constants.

Values are rows, `(batch, n)`: a value is the sum of `matrix @ operand` over its
operands, and a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .onnx_patterns import Finder
from .onnxfile import Node

DEEPEST = 16
LAST = (-1, 1)
"""The axis of rows that is cut."""


class Linear(NamedTuple):
    """A sum of products.

    Attributes:
        terms: by operand, the matrix (n, width).
        bias: (n,), in double precision until all is added up.
        names: by operand, what the matrix is called in the file.
    """

    terms: Mapping[str, np.ndarray]
    bias: np.ndarray
    names: Mapping[str, str]

    def rows(self, which: slice) -> Linear:
        """Some of the values."""
        terms = {name: matrix[which] for name, matrix in self.terms.items()}
        return Linear(terms, self.bias[which], self.names)


def linear(finder: Finder, name: str) -> Linear | None:
    """A value as a sum of products; None where it is not, or a product is no matrix."""
    try:
        found = _linear(finder, name, 0)
    except (IndexError, TypeError, ValueError):
        # A node that is not as its operator has it: whoever reads it refuses it.
        return None
    if found is None or not found.terms or not len(found.bias):
        return None
    (dtype, *others) = {matrix.dtype for matrix in found.terms.values()}
    return None if others else found._replace(bias=found.bias.astype(dtype))


def _linear(finder: Finder, name: str, depth: int) -> Linear | None:
    node = finder.node(name)
    if node is None or node.domain or depth > DEEPEST or node.op not in KINDS:
        return None
    return KINDS[node.op](finder, node, name, depth + 1)


def _matrix(finder: Finder, name: str) -> np.ndarray | None:
    node = finder.node(name)
    array = finder.constant(name)
    if node is not None and node.op == "Transpose":
        array = finder.constant(node.inputs[0])
        swaps = node.attributes.get("perm", (1, 0)) == (1, 0)
        array = array.T if array is not None and array.ndim == 2 and swaps else None
    fits = array is not None and array.ndim == 2 and array.dtype.kind == "f"
    return array if fits else None


def _product(finder: Finder, node: Node, name: str, depth: int) -> Linear | None:
    matrix = _matrix(finder, node.inputs[1])
    if matrix is None:
        return None
    zeros = np.zeros(matrix.shape[1])
    return Linear({node.inputs[0]: matrix.T}, zeros, {node.inputs[0]: node.inputs[1]})


def _gemm(finder: Finder, node: Node, name: str, depth: int) -> Linear | None:
    settings = node.attributes
    plain = all(settings.get(key, 1.0) == 1.0 for key in ("alpha", "beta"))
    matrix = _matrix(finder, node.inputs[1])
    if matrix is None or not plain or settings.get("transA", 0):
        return None
    matrix = matrix if settings.get("transB", 0) else matrix.T
    operand = node.inputs[0]
    found = Linear({operand: matrix}, np.zeros(len(matrix)), {operand: node.inputs[1]})
    if len(node.inputs) < 3 or not node.inputs[2]:
        return found
    return _with_bias(finder, found, node.inputs[2])


def _with_bias(finder: Finder, total: Linear, name: str) -> Linear | None:
    bias = finder.constant(name)
    if bias is None or bias.size not in (1, len(total.bias)) or bias.dtype.kind != "f":
        return None
    if bias.ndim > 2 or (bias.ndim == 2 and bias.shape[0] != 1):
        return None
    return total._replace(bias=total.bias + bias.reshape(-1).astype(np.float64))


def _sum(finder: Finder, node: Node, name: str, depth: int) -> Linear | None:
    for a, b in (node.inputs, node.inputs[::-1]):
        if finder.constant(b) is not None:
            total = _linear(finder, a, depth)
            return None if total is None else _with_bias(finder, total, b)
    both = [_linear(finder, part, depth) for part in node.inputs]
    a, b = both
    if a is None or b is None or len(a.bias) != len(b.bias) or {*a.terms} & {*b.terms}:
        return None
    return Linear({**a.terms, **b.terms}, a.bias + b.bias, {**a.names, **b.names})


def _split(finder: Finder, node: Node, name: str, depth: int) -> Linear | None:
    total = _linear(finder, node.inputs[0], depth)
    if total is None or node.attributes.get("axis", 0) not in LAST:
        return None
    count, place = len(node.outputs), node.outputs.index(name)
    sizes = finder.whole(node, "split", 1)
    if sizes is None:
        if len(total.bias) % count:
            return None
        sizes = (len(total.bias) // count,) * count
    start = sum(sizes[:place])
    return total.rows(slice(start, start + sizes[place]))


def _slice(finder: Finder, node: Node, name: str, depth: int) -> Linear | None:
    total = _linear(finder, node.inputs[0], depth)
    found = [
        finder.whole(node, key, k + 1)
        for k, key in enumerate(("starts", "ends", "axes", "steps"))
    ]
    starts, ends, axes, steps = found
    if total is None or starts is None or ends is None or axes is None:
        return None
    if len(starts) != 1 or axes[0] not in LAST or steps not in (None, (1,)):
        return None
    return total.rows(slice(starts[0], ends[0]))


KINDS: dict[str, Callable[[Finder, Node, str, int], Linear | None]] = {
    "MatMul": _product,
    "Gemm": _gemm,
    "Add": _sum,
    "Split": _split,
    "Slice": _slice,
}
