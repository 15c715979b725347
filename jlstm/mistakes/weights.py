"""Mistakes in reading the parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import jax
import ml_dtypes
import numpy as np

from ..layers import BatchNormalization, FullyConnected, Input, LayerNormalization
from .cells import Both, Cell
from .engine import Wired
from .trial import PARAMETERS, Mistake, Trial, with_cells, with_layers

NORMALISING = (BatchNormalization, LayerNormalization)
EPSILONS = (1e-3, 1e-5, 1e-6)


def weights(trial: Trial) -> Iterator[Mistake]:
    """All mistakes in the parameters of a network, simple ones first."""
    wired = trial.wired
    cells = recurrent(wired)
    scopes: list[tuple[str, ...]] = [(name,) for name in cells]
    if len(cells) > 1:
        scopes.insert(0, tuple(cells))
    for scope in scopes:
        yield from _of_recurrent(scope, [cells[name] for name in scope])
    for scope in scopes[-len(cells) :] if cells else []:
        yield from _elsewhere(scope[0], cells)
    for name, layer in wired.layers.items():
        if isinstance(layer, FullyConnected):
            yield from _of_dense(name, layer)
        elif isinstance(layer, NORMALISING):
            yield from _of_normalisation(name, layer)


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


def reorder(order: str) -> Callable[[Cell], Cell]:
    """The k-th block of the file is taken for gate `order[k]`."""

    def change(cell: Cell) -> Cell:
        taken = [order.index(gate) for gate in cell.gates]

        def of(array: np.ndarray) -> np.ndarray:
            parts = blocks(array, len(taken))
            return np.concatenate([parts[k] for k in taken])

        return _each(cell, ("w", "r", "b", "rb"), of)

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


def rescale_bias(factor: float) -> Callable[[Cell], Cell]:
    """The bias that many times."""
    return lambda cell: _each(cell, ("b", "rb"), lambda b: factor * b)


def add_forget(added: float) -> Callable[[Cell], Cell]:
    """A constant on the bias of the forget gate."""

    def change(cell: Cell) -> Cell:
        bias = cell.b.copy()
        bias[cell.hidden : 2 * cell.hidden] += added
        return dataclasses.replace(cell, b=bias)

    return change


def _without_peephole(cell: Cell) -> Cell:
    return _each(cell, ("peephole",), np.zeros_like)


def round_to(array: np.ndarray, kind: str) -> np.ndarray:
    """Numbers as a shorter format holds them."""
    with np.errstate(over="ignore"):
        short = array.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
        return short.astype(float)


def rounded(kind: str) -> Mistake:
    """All parameters of the network in a shorter format."""

    def change(trial: Trial) -> Trial:
        layers = {
            name: layer
            if isinstance(layer, Input)
            else jax.tree.map(lambda a: round_to(a, kind), layer)
            for name, layer in trial.wired.layers.items()
        }
        return with_layers(trial, layers)

    return Mistake(
        "weights-rounded", (), {"to": kind}, PARAMETERS, change, frozenset({"rounding"})
    )


def _elsewhere(name: str, cells: dict[str, Any]) -> Iterator[Mistake]:
    """Parameters of the wrong layer or direction."""
    layer = cells[name]

    def made(kind: str, change: Any, **parameters: Any) -> Mistake:
        touches = {f"{part}:{name}" for part in ("input", "recurrent", "bias")}
        return Mistake(
            kind, (name,), parameters, PARAMETERS, change, frozenset(touches)
        )

    if isinstance(layer, Both):

        def swap(trial: Trial) -> Trial:
            one: Any = trial.wired.layers[name]
            turned = dataclasses.replace(
                one, forward=one.backward, backward=one.forward
            )
            return with_layers(trial, {name: turned})

        yield made("directions-swapped", swap)
    for other, source in cells.items():
        if other != name and _alike(layer, source):

            def borrow(trial: Trial, other: str = other) -> Trial:
                mine: Any = trial.wired.layers[name]
                its: Any = trial.wired.layers[other]
                return with_layers(trial, {name: _parameters_of(mine, its)})

            yield made("weights-of-another-layer", borrow, source=other)


def _alike(a: Any, b: Any) -> bool:
    return type(a) is type(b) and [
        (c.w.shape, c.r.shape, c.kind, c.peephole is None) for c in directions(a)
    ] == [(c.w.shape, c.r.shape, c.kind, c.peephole is None) for c in directions(b)]


def _parameters_of(mine: Any, its: Any) -> Any:
    if isinstance(mine, Both):
        return dataclasses.replace(
            mine,
            forward=_parameters_of(mine.forward, its.forward),
            backward=_parameters_of(mine.backward, its.backward),
        )
    fields = ("w", "r", "b", "rb", "peephole", "q_in", "q_out")
    return dataclasses.replace(mine, **{f: getattr(its, f) for f in fields})


def _of_dense(name: str, layer: FullyConnected) -> Iterator[Mistake]:
    def made(kind: str, aspect: str, **new: Any) -> Mistake:
        def change(trial: Trial) -> Trial:
            mine: Any = trial.wired.layers[name]
            changed = {f: of(getattr(mine, f)) for f, of in new.items()}
            return with_layers(trial, {name: dataclasses.replace(mine, **changed)})

        touches = frozenset({f"{aspect}:{name}"})
        return Mistake(kind, (name,), {}, PARAMETERS, change, touches)

    outputs, features = layer.weights.shape
    if outputs == features:
        yield made("dense-transposed", "input", weights=np.transpose)
    if min(outputs, features) > 1:
        yield made("dense-memory-order", "input", weights=refilled)
    yield made("dense-bias-omitted", "bias", bias=np.zeros_like)


def _of_normalisation(name: str, layer: Any) -> Iterator[Mistake]:
    """Settings that belong to the structure, so each is compiled by itself."""

    def made(kind: str, parameters: dict[str, Any], **new: Any) -> Mistake:
        def change(trial: Trial) -> Trial:
            mine: Any = trial.wired.layers[name]
            trial = with_layers(trial, {name: dataclasses.replace(mine, **new)})
            if "over" in new:  # no longer step by step
                wired = dataclasses.replace(trial.wired, stepwise=False)
                trial = trial._replace(wired=wired)
            return trial

        touches = frozenset({f"norm:{name}"})
        return Mistake(
            kind, (name,), parameters, PARAMETERS, change, touches, False, False
        )

    for value in EPSILONS:
        if value != layer.epsilon:
            yield made("epsilon", {"value": value}, epsilon=value)
    if isinstance(layer, LayerNormalization) and layer.over == "channels":
        yield made("normalisation-over-time", {}, over="time-channels")
