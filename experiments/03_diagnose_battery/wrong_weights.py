"""What mistakes do to the weights of a plan.

Every function of the table WEIGHTS changes a `Plan` in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from wrong_layers import Array
from wrong_plan import Cell, Plan, Unit, Wrong, cells, plains, units


def transposed(W: Array) -> Array:
    """Each gate's matrix transposed."""
    assert W.shape[1] == W.shape[2], f"not square: {W.shape}"
    return W.swapaxes(1, 2).copy()


PARTS = {
    "all": ("W", "R", "b", "br"),
    "input": ("W",),
    "recurrent": ("R",),
    "bias": ("b", "br"),
}


def _gate_order(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        # The file's block k was taken for gate order[k].
        blocks = [wrong.parameters["order"].index(gate) for gate in cell.gates]
        for field in PARTS[wrong.parameters.get("of", "all")]:
            setattr(cell, field, getattr(cell, field)[blocks])
        if wrong.parameters.get("recurrent_transposed"):
            cell.R = transposed(cell.R)
        if wrong.parameters.get("input_transposed"):
            cell.W = transposed(cell.W)


def _interleaved(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        count = len(cell.gates)

        def rows(a: Array, count: int = count) -> Array:
            flat = a.reshape(-1, *a.shape[2:])
            return np.stack([flat[gate::count] for gate in range(count)])

        cell.W, cell.R, cell.b, cell.br = map(rows, (cell.W, cell.R, cell.b, cell.br))


def _recurrent_transposed(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        cell.R = transposed(cell.R)


def _input_transposed(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        cell.W = transposed(cell.W)


def refilled(a: Array) -> Array:
    """The numbers of a matrix listed by columns and refilled by rows."""
    return a.T.reshape(-1).reshape(a.shape)


def _memory_order(plan: Plan, wrong: Wrong) -> None:
    def change(a: Array) -> Array:
        return refilled(a.reshape(-1, a.shape[2])).reshape(a.shape)

    which = wrong.parameters["which"]
    for cell in cells(plan, wrong):
        if which in ("input", "both"):
            cell.W = change(cell.W)
        if which in ("recurrent", "both"):
            cell.R = change(cell.R)


def _bias_doubled(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        cell.b, cell.br = 2 * cell.b, 2 * cell.br


def _bias_omitted(plan: Plan, wrong: Wrong) -> None:
    gate, part = wrong.parameters.get("gate"), wrong.parameters.get("part")
    for cell in cells(plan, wrong):
        rows = slice(None) if gate is None else cell.gates.index(gate)
        if part != "recurrent":
            cell.b[rows] = 0
        if part != "input":
            cell.br[rows] = 0


def _forget_bias(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        cell.b[cell.gates.index("f")] += wrong.parameters["added"]


def _another(plan: Plan, wrong: Wrong) -> None:
    source = plan.layers[wrong.parameters["source"]]
    assert isinstance(source, Unit)
    for unit in units(plan, wrong):
        for mine, other in zip(unit.cells, source.cells, strict=True):
            _take_weights(mine, other)


def _take_weights(mine: Cell, other: Cell) -> None:
    assert mine.W.shape == other.W.shape and mine.R.shape == other.R.shape
    for field in ("W", "R", "b", "br", "peephole", "q_in", "q_out"):
        value = getattr(other, field)
        setattr(mine, field, None if value is None else value.copy())


def _directions(plan: Plan, wrong: Wrong) -> None:
    for unit in units(plan, wrong):
        unit.cells.reverse()


def _one_direction(plan: Plan, wrong: Wrong) -> None:
    for unit in units(plan, wrong):
        forward, backward = unit.cells
        if wrong.parameters["direction"] == "forward":
            _take_weights(backward, forward)
        else:
            _take_weights(forward, backward)


def _peephole(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        cell.peephole = None


def _dense(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    def apply(plan: Plan, wrong: Wrong) -> None:
        for layer in plains(plan, wrong):
            layer.fields |= change(layer.fields)

    return apply


def rounded(a: Array, to: str) -> Array:
    """To the nearest float16 or bfloat16, ties to even, in double precision."""
    if to == "float16":
        return a.astype(np.float16).astype(float)
    bits = a.astype(np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(float)


def _rounded(plan: Plan, wrong: Wrong) -> None:
    to = wrong.parameters["to"]
    for name in wrong.layers:
        layer = plan.layers[name]
        for holder in layer.cells if isinstance(layer, Unit) else [layer.fields]:
            values = vars(holder) if isinstance(holder, Cell) else holder
            for field, value in values.items():
                if isinstance(value, np.ndarray):
                    values[field] = rounded(value, to)


WEIGHTS: dict[str, Callable[[Plan, Wrong], None]] = {
    "gate-order": _gate_order,
    "interleaved": _interleaved,
    "recurrent-transposed": _recurrent_transposed,
    "input-transposed": _input_transposed,
    "memory-order": _memory_order,
    "bias-doubled": _bias_doubled,
    "bias-omitted": _bias_omitted,
    "forget-bias": _forget_bias,
    "weights-of-another-layer": _another,
    "directions-swapped": _directions,
    "one-direction-twice": _one_direction,
    "peephole-omitted": _peephole,
    "dense-transposed": _dense(lambda p: {"weights": p["weights"].T}),
    "dense-bias-omitted": _dense(lambda p: {"bias": 0 * p["bias"]}),
    "dense-memory-order": _dense(lambda p: {"weights": refilled(p["weights"])}),
    "weights-rounded": _rounded,
}
