"""Mistakes in reading the parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from .cells import Both, Cell
from .engine import Wired
from .trial import PARAMETERS, Mistake, Trial, scopes, with_cells

ONE_ARRAY = {
    "input": (("w",), "input"),
    "recurrent": (("r",), "recurrent"),
    "bias": (("b", "rb"), "bias"),
}
"""Arrays that may be in an order of their own: their fields, what is touched."""


def weights(trial: Trial) -> Iterator[Mistake]:
    """All mistakes in the rows of recurrent layers, simple ones first."""
    cells = recurrent(trial.wired)
    for scope in scopes(cells):
        yield from _of_recurrent(scope, [cells[name] for name in scope])


def recurrent(wired: Wired) -> dict[str, Cell | Both]:
    """The recurrent layers in the order of computation."""
    found = {node.name: wired.layers[node.name] for node in wired.graph}
    return {n: layer for n, layer in found.items() if isinstance(layer, Cell | Both)}


def directions(layer: Cell | Both) -> list[Cell]:
    """The one or two sets of parameters of a layer."""
    return [layer.forward, layer.backward] if isinstance(layer, Both) else [layer]


def _of_recurrent(scope: tuple[str, ...], layers: list[Any]) -> Iterator[Mistake]:
    cells = [cell for layer in layers for cell in directions(layer)]
    if len({cell.gates for cell in cells}) > 1:
        return

    def made(
        name: str,
        change: Callable[[Cell], Cell],
        aspect: str,
        *,
        common: bool = True,
        paired: bool = True,
        **parameters: Any,
    ) -> Mistake:
        return Mistake(
            name,
            scope,
            parameters,
            PARAMETERS,
            with_cells(scope, change),
            frozenset(f"{part}:{layer}" for part in aspect.split() for layer in scope),
            common,
            paired,
        )

    gates = "".join(cells[0].gates)
    square = all(c.w.shape[1] == c.hidden and c.q_in is None for c in cells)
    plain = all(c.q_out is None for c in cells)
    matrix = "input recurrent"
    if plain:
        yield made("recurrent-transposed", transpose_recurrent, "recurrent")
    if square:
        yield made("input-transposed", transpose_input, "input")
    orders = ["".join(order) for order in permutations(gates)][1:]
    for order in sorted(orders, key=_familiar):
        yield made("gate-order", reorder(order), f"{matrix} bias", order=order)
    yield made("interleaved", interleave, f"{matrix} bias")
    for which in ("input", "recurrent", "both"):
        if which == "input" and all(c.w.shape[1] == 1 for c in cells):
            continue
        yield made("memory-order", refill(which), matrix, which=which)
    yield made("bias-doubled", rescale_bias(2.0), "bias")
    yield made("bias-omitted", rescale_bias(0.0), "bias")
    for gate in gates:
        yield made("bias-omitted", rescale_bias(0.0, gate), "bias", common=False,
                   gate=gate)  # fmt: skip
    if any(cell.rb is not None for cell in cells):
        for part, fields in (("input", ("b",)), ("recurrent", ("rb",))):
            change = partial(_each, fields=fields, change=np.zeros_like)
            yield made("bias-omitted", change, "bias", part=part)
    if gates == "ifgo":
        for added in (1, -1):
            yield made("forget-bias", add_forget(added), "bias", added=added)
    if any(cell.peephole is not None for cell in cells):
        yield made("peephole-omitted", _without_peephole, "peephole")
    # Every order together with transposed matrices: one wrong reading, not two.
    for order in sorted(orders, key=_familiar):
        for r, w in ((True, False), (False, True), (True, True)):
            if (r and not plain) or (w and not square):
                continue
            flags = {"recurrent_transposed": True} if r else {}
            flags |= {"input_transposed": True} if w else {}
            change = transposed_and(reorder(order), r, w)
            aspect = f"{matrix} bias"
            yield made("gate-order", change, aspect, common=False, order=order, **flags)
        for of, (fields, part) in ONE_ARRAY.items():
            yield made("gate-order", reorder(order, fields), part, common=False,
                       paired=False, order=order, of=of)  # fmt: skip
    if plain and square:
        both = transposed_and(lambda cell: cell, True, True)
        yield made("input-transposed", both, matrix, common=False,
                   recurrent_transposed=True)  # fmt: skip


def _familiar(order: str) -> tuple[int, str]:
    """Orders that some framework has come first."""
    known = ("ifog", "igfo", "iofg", "ofgi", "fiog", "figo", "zrn", "rnz")
    return (known.index(order) if order in known else len(known), order)


def blocks(array: np.ndarray, count: int) -> list[np.ndarray]:
    """The row blocks of the gates."""
    return np.split(array, count)


def _each(cell: Cell, fields: tuple[str, ...], change: Callable[[Any], Any]) -> Cell:
    new = {f: change(getattr(cell, f)) for f in fields if getattr(cell, f) is not None}
    return dataclasses.replace(cell, **new)


def reorder(
    order: str, fields: tuple[str, ...] = ("w", "r", "b", "rb")
) -> Callable[[Cell], Cell]:
    """The k-th block of the file is taken for gate `order[k]`."""

    def change(cell: Cell) -> Cell:
        taken = [order.index(gate) for gate in cell.gates]

        def of(array: np.ndarray) -> np.ndarray:
            parts = blocks(array, len(taken))
            return np.concatenate([parts[k] for k in taken])

        return _each(cell, fields, of)

    return change


def interleave(cell: Cell) -> Cell:
    """Rows are taken as all gates of unit 1, all gates of unit 2, ..."""
    count = len(cell.gates)

    def of(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[k::count] for k in range(count)])

    return _each(cell, ("w", "r", "b", "rb"), of)


def _transposed(array: Any, count: int) -> np.ndarray:
    return np.concatenate([block.T for block in blocks(array, count)])


def transpose_recurrent(cell: Cell) -> Cell:
    """`R' h` in place of `R h`, in every gate."""
    return dataclasses.replace(cell, r=_transposed(cell.r, len(cell.gates)))


def transpose_input(cell: Cell) -> Cell:
    """`W' x` in place of `W x`, in every gate."""
    return dataclasses.replace(cell, w=_transposed(cell.w, len(cell.gates)))


def transposed_and(change: Callable[[Cell], Cell], r: bool, w: bool) -> Any:
    """Transposed matrices besides another change."""

    def apply(cell: Cell) -> Cell:
        cell = transpose_recurrent(cell) if r else cell
        return change(transpose_input(cell) if w else cell)

    return apply


def refill(which: str) -> Callable[[Cell], Cell]:
    """Numbers listed column by column and filled in row by row."""
    fields = {"input": ("w",), "recurrent": ("r",), "both": ("w", "r")}[which]
    return lambda cell: _each(cell, fields, refilled)


def refilled(array: np.ndarray) -> np.ndarray:
    """Column-major numbers read as row-major."""
    return array.ravel(order="F").reshape(array.shape)


def rescale_bias(factor: float, gate: str = "") -> Callable[[Cell], Cell]:
    """The bias that many times, of one gate or of all."""

    def change(cell: Cell) -> Cell:
        factors = [factor if gate in ("", name) else 1.0 for name in cell.gates]
        return _each(cell, ("b", "rb"), lambda b: np.repeat(factors, cell.hidden) * b)

    return change


def add_forget(added: float) -> Callable[[Cell], Cell]:
    """A constant on the bias of the forget gate."""

    def change(cell: Cell) -> Cell:
        bias = cell.b.copy()
        bias[cell.hidden : 2 * cell.hidden] += added
        return dataclasses.replace(cell, b=bias)

    return change


def _without_peephole(cell: Cell) -> Cell:
    return _each(cell, ("peephole",), np.zeros_like)
