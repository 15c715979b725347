"""What can be wrong with the weights of a network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from wrong_plan import Cell, Plan, Unit, Wrong, kinds, scopes

ORDERS = 12
OF_ONE_PART = 2


def weight_cases(plan: Plan, rng: np.random.Generator) -> Iterator[Wrong]:
    yield from _recurrent(plan, rng)
    yield from _biases(plan)
    yield from _exchanged(plan.units)
    yield from _dense(plan)
    yield from _rounding(plan)


def _square(units: dict[str, Unit], array: str) -> Callable[[str], bool]:
    def fits(name: str) -> bool:
        shape = getattr(units[name].cells[0], array).shape
        return shape[1] == shape[2] > 1

    return fits


def _recurrent(plan: Plan, rng: np.random.Generator) -> Iterator[Wrong]:
    units = plan.units
    square, wide = _square(units, "R"), _square(units, "W")
    for layers in scopes(units):
        for name in ("interleaved", "bias-doubled", "bias-omitted"):
            yield Wrong(name, layers, {})
        for which in ("input", "recurrent", "both"):
            # A single column, or row, is in the same order either way.
            if which == "recurrent" or all(
                units[n].cells[0].W.shape[2] > 1 for n in layers
            ):
                yield Wrong("memory-order", layers, {"which": which})
    for layers in scopes(units, square):
        yield Wrong("recurrent-transposed", layers, {})
    for layers in scopes(units, wide):
        yield Wrong("input-transposed", layers, {})
    for gates, of_kind in kinds(plan):
        for layers in scopes(of_kind):
            flags = [{}]
            if all(map(square, layers)):
                flags.append({"recurrent_transposed": True})
            if all(map(wide, layers)):
                flags += [flag | {"input_transposed": True} for flag in flags]
            yield from _orders(gates, layers, flags, rng)
            yield from _orders_of_one_part(plan, gates, layers, rng)
        if gates == "ifgo":
            for layers, added in itertools.product(scopes(of_kind), (1.0, -1.0)):
                yield Wrong("forget-bias", layers, {"added": added})
            peeping = [n for n, u in of_kind.items() if u.cells[0].peephole is not None]
            for layers in scopes(peeping):
                yield Wrong("peephole-omitted", layers, {})


def _orders(
    gates: str, layers: tuple[str, ...], flags: list[dict], rng: np.random.Generator
) -> Iterator[Wrong]:
    orders = ["".join(order) for order in itertools.permutations(gates)][1:]
    pairs = list(itertools.product(orders, flags))
    for k in rng.permutation(len(pairs))[:ORDERS]:
        order, flag = pairs[k]
        yield Wrong("gate-order", layers, {"order": order, **flag})


def _orders_of_one_part(
    plan: Plan, gates: str, layers: tuple[str, ...], rng: np.random.Generator
) -> Iterator[Wrong]:
    orders = ["".join(order) for order in itertools.permutations(gates)][1:]
    parts = ["input", "recurrent"]
    parts += ["bias"] * all(_any(plan, name, lambda c: c.b) for name in layers)
    for of in parts:
        for k in rng.permutation(len(orders))[:OF_ONE_PART]:
            yield Wrong("gate-order", layers, {"order": orders[k], "of": of})


def _any(plan: Plan, name: str, values: Callable[[Cell], Any]) -> bool:
    """Whether any of these numbers of a layer is not zero."""
    return any(np.any(values(cell)) for cell in plan.units[name].cells)


def _biases(plan: Plan) -> Iterator[Wrong]:
    """The biases of one gate; those of one kind, where there are two."""
    for gates, of_kind in kinds(plan):
        for k, gate in enumerate(gates):
            for layers in scopes(
                of_kind, lambda n, k=k: _any(plan, n, lambda c: c.b[k] + c.br[k])
            ):
                yield Wrong("bias-omitted", layers, {"gate": gate})
        for layers in scopes(
            of_kind, lambda n: _any(plan, n, lambda c: c.b) and _any(plan, n, _second)
        ):
            yield Wrong("bias-omitted", layers, {"part": "recurrent"})
            yield Wrong("bias-omitted", layers, {"part": "input"})


def _second(cell: Cell) -> Any:
    return cell.br


def _exchanged(units: dict[str, Unit]) -> Iterator[Wrong]:
    def shapes(unit: Unit) -> list[Any]:
        arrays = ("W", "R", "q_in", "q_out")
        return [
            (c.gates, c.mode, [getattr(getattr(c, a), "shape", None) for a in arrays])
            for c in unit.cells
        ]

    for name, source in itertools.permutations(units, 2):
        if shapes(units[name]) == shapes(units[source]):
            yield Wrong("weights-of-another-layer", (name,), {"source": source})
    for layers in scopes(n for n, u in units.items() if len(u.cells) == 2):
        yield Wrong("directions-swapped", layers, {})
    for name, unit in units.items():
        if len(unit.cells) == 2 and unit.cells[0].W.shape == unit.cells[1].W.shape:
            for direction in ("forward", "backward"):
                yield Wrong("one-direction-twice", (name,), {"direction": direction})


def _dense(plan: Plan) -> Iterator[Wrong]:
    dense = plan.of_kind("FullyConnected")

    def shape(name: str) -> tuple[int, int]:
        return dense[name].fields["weights"].shape

    for layers in scopes(dense):
        yield Wrong("dense-bias-omitted", layers, {})
    for layers in scopes(dense, lambda n: shape(n)[0] == shape(n)[1] > 1):
        yield Wrong("dense-transposed", layers, {})
    for layers in scopes(dense, lambda n: min(shape(n)) > 1):
        yield Wrong("dense-memory-order", layers, {})


def _rounding(plan: Plan) -> Iterator[Wrong]:
    dense = plan.of_kind("FullyConnected")
    for layers in scopes([n for n, _ in plan.graph if n in dense or n in plan.units]):
        for to in ("float16", "bfloat16"):
            yield Wrong("weights-rounded", layers, {"to": to})
