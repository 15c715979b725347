"""How much a row has to compute and to read, counted exactly from the network.

Counted are the multiply-adds of all products with weights, two operations each; gates
and activations are not. A recurrent layer of G gates makes G H (C + H) of them a step.
Training makes those of the forward pass, as many for the gradients of the weights, and
as many again for those of the signals, but for the input of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

if TYPE_CHECKING:
    from ..network import Network
    from .workloads import Workload


class Work(NamedTuple):
    """What one unit of a row takes: a call, or a step in streaming.

    Arguments:
        flop: operations.
        read: bytes of weights that cannot stay in registers and are read again each
            step, where one sequence is run; None for batches and for training, which
            are held against the peak of arithmetic.
    """

    flop: int
    read: int | None


def work(row: Workload, net: Network) -> Work | None:
    """The work of a row; None where a layer is in it whose products are not counted."""
    whole = each = first = 0
    shapes = net.shapes
    for node in net.graph:
        layer: Any = net.layers[node.name]
        found = products(layer)
        if found is None:
            return None
        timed = bool(node.inputs) and shapes[node.inputs[0]].time
        entry, again = found
        steps = row.length if timed else 1
        whole += steps * (entry + again)
        each += again
        if any(ref in net.inputs for ref in node.inputs):
            first += steps * entry
    flop = 2 * row.batch * whole
    if row.kind == "training":
        return Work(3 * flop - 2 * row.batch * first, None)
    size = net.dtype.itemsize
    if row.kind == "streaming":
        return Work(flop // row.length, size * whole // row.length)
    # The products with the input of all steps may be made at once.
    return Work(flop, size * row.length * each if row.batch == 1 else None)


def products(layer: Any) -> tuple[int, int] | None:
    """Multiply-adds of one step: with what comes in, and with the state.

    None for a layer with arrays that is not counted.
    """
    from ..layers import FullyConnected, Input
    from ..recurrent import Bidirectional, Recurrent

    if isinstance(layer, Bidirectional):
        halves = [products(half) for half in (layer.forward, layer.backward)]
        pairs = [half for half in halves if half is not None]
        return sum(p[0] for p in pairs), sum(p[1] for p in pairs)
    if isinstance(layer, Recurrent):
        gates = [getattr(layer, name) for name in layer.gates]
        entry = sum(np.size(gate.input_weights) for gate in gates)
        again = sum(np.size(gate.recurrent_weights) for gate in gates)
        entry += _size(layer.input_projector)
        again += _size(layer.output_projector)
        return entry, again + _size(getattr(layer, "projection", None))
    if isinstance(layer, FullyConnected):
        return np.size(layer.weights), 0
    arrays = [] if isinstance(layer, Input) else jax.tree.leaves(layer)
    return None if arrays else (0, 0)


def _size(array: Any) -> int:
    return 0 if array is None else int(np.size(array))
