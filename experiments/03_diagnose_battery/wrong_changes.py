"""What each mistake does to the arrays and switches of a plan.

The names and parameters are those under which `jlstm.diagnose` reports mistakes; every
function of the table PLAN changes a `Plan` in place. Mistakes that are made on `x` and
`y` are in `wrong_data.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from wrong_layers import Array, Cell, Plain, Plan, State, Unit, as_states


class Wrong(NamedTuple):
    """One mistake; `layers` is empty where `x` or `y` is concerned."""

    name: str
    layers: tuple[str, ...]
    parameters: dict[str, Any]

    def __str__(self) -> str:
        words = [f"{key}={value}" for key, value in self.parameters.items()]
        return " ".join([self.name, *self.layers, *words])


def cells(plan: Plan, wrong: Wrong) -> Iterator[Cell]:
    for unit in units(plan, wrong):
        yield from unit.cells


def units(plan: Plan, wrong: Wrong) -> Iterator[Unit]:
    for name in wrong.layers:
        unit = plan.layers[name]
        assert isinstance(unit, Unit), f"{name} is not recurrent"
        yield unit


def plains(plan: Plan, wrong: Wrong) -> Iterator[Plain]:
    for name in wrong.layers:
        layer = plan.layers[name]
        assert isinstance(layer, Plain), f"{name} is recurrent"
        yield layer


def transposed(W: Array) -> Array:
    """Each gate's matrix transposed."""
    assert W.shape[1] == W.shape[2], f"not square: {W.shape}"
    return W.swapaxes(1, 2).copy()


# --- weights --------------------------------------------------------------------------


def _gate_order(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        # The file's block k was taken for gate order[k].
        blocks = [wrong.parameters["order"].index(gate) for gate in cell.gates]
        cell.W, cell.R, cell.b, cell.br = (
            a[blocks] for a in (cell.W, cell.R, cell.b, cell.br)
        )
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


def _bias(factor: float) -> Callable[[Plan, Wrong], None]:
    def change(plan: Plan, wrong: Wrong) -> None:
        for cell in cells(plan, wrong):
            cell.b, cell.br = factor * cell.b, factor * cell.br

    return change


def _forget_bias(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        cell.b[cell.gates.index("f")] += wrong.parameters["added"]


def _another(plan: Plan, wrong: Wrong) -> None:
    source = plan.layers[wrong.parameters["source"]]
    assert isinstance(source, Unit)
    for unit in units(plan, wrong):
        for mine, other in zip(unit.cells, source.cells, strict=True):
            assert mine.W.shape == other.W.shape and mine.R.shape == other.R.shape
            for field in ("W", "R", "b", "br", "peephole", "q_in", "q_out"):
                value = getattr(other, field)
                setattr(mine, field, None if value is None else value.copy())


def _directions(plan: Plan, wrong: Wrong) -> None:
    for unit in units(plan, wrong):
        unit.cells.reverse()


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


# --- running --------------------------------------------------------------------------


def _shared(plan: Plan, wrong: Wrong) -> None:
    first, *others = wrong.layers
    plan.shared |= {name: first for name in others}


def _set_cells(**fields: Any) -> Callable[[Plan, Wrong], None]:
    """Switches of cells; None stands for the parameter `function`."""

    def change(plan: Plan, wrong: Wrong) -> None:
        for cell in cells(plan, wrong):
            for field, value in fields.items():
                setattr(cell, field, value or wrong.parameters["function"])

    return change


def _reset_mode(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        # Whoever knows of one bias only adds the two.
        cell.b, cell.br = cell.b + cell.br, np.zeros_like(cell.br)
        cell.mode = wrong.parameters["mode"]


def _set_units(**fields: Any) -> Callable[[Plan, Wrong], None]:
    def change(plan: Plan, wrong: Wrong) -> None:
        for unit in units(plan, wrong):
            for field, value in fields.items():
                setattr(unit, field, value)

    return change


def _state_reset(plan: Plan, wrong: Wrong) -> None:
    for unit in units(plan, wrong):
        unit.reset = (wrong.parameters["every"], wrong.parameters["what"])


def _inserted(plan: Plan, wrong: Wrong) -> None:
    plan.after |= {name: wrong.parameters["function"] for name in wrong.layers}


def _omitted(plan: Plan, wrong: Wrong) -> None:
    for layer in plains(plan, wrong):
        layer.kind = "Identity"


def _replaced(plan: Plan, wrong: Wrong) -> None:
    for layer in plains(plan, wrong):
        layer.kind = "Activation"
        layer.fields |= {"name": wrong.parameters["function"], "constants": ()}


def _set_fields(**fields: Any) -> Callable[[Plan, Wrong], None]:
    """Fields of other layers; None stands for the parameter of that name."""

    def change(plan: Plan, wrong: Wrong) -> None:
        for layer in plains(plan, wrong):
            for field, value in fields.items():
                layer.fields[field] = (
                    wrong.parameters[field] if value is None else value
                )

    return change


def _epsilon(plan: Plan, wrong: Wrong) -> None:
    for layer in plains(plan, wrong):
        layer.fields["epsilon"] = wrong.parameters["value"]


def _closed(plan: Plan, wrong: Wrong) -> None:
    plan.closed = True


def _take(take: str) -> Callable[[Plan, Wrong], None]:
    def change(plan: Plan, wrong: Wrong) -> None:
        for unit in plan.units.values():
            unit.take = take

    return change


def _entry(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Any:
    def apply(plan: Plan, wrong: Wrong) -> None:
        for layer in plan.of_kind("Input").values():
            change(layer.fields, wrong.parameters)

    return apply


def _std_ddof(p: dict[str, Any], parameters: dict[str, Any]) -> None:
    if p["std"] is not None:
        p["std"] = p["std"] * parameters["factor"]


PLAN: dict[str, Callable[[Plan, Wrong], None]] = {
    "gate-order": _gate_order,
    "interleaved": _interleaved,
    "recurrent-transposed": _recurrent_transposed,
    "input-transposed": _input_transposed,
    "memory-order": _memory_order,
    "bias-doubled": _bias(2.0),
    "bias-omitted": _bias(0.0),
    "forget-bias": _forget_bias,
    "weights-of-another-layer": _another,
    "directions-swapped": _directions,
    "peephole-omitted": _peephole,
    "dense-transposed": _dense(lambda p: {"weights": p["weights"].T}),
    "dense-bias-omitted": _dense(lambda p: {"bias": 0 * p["bias"]}),
    "dense-memory-order": _dense(lambda p: {"weights": refilled(p["weights"])}),
    "weights-rounded": _rounded,
    "shared-state": _shared,
    "state-reset": _state_reset,
    "gate-activation": _set_cells(gate=None),
    "state-activation": _set_cells(candidate=None, squash=None),
    "candidate-activation": _set_cells(candidate=None),
    "cell-activation": _set_cells(squash=None),
    "layer-delayed": _set_units(delayed=True),
    "coupled-gates": _set_cells(coupled=True),
    "update-inverted": _set_cells(inverted=True),
    "reset-mode": _reset_mode,
    "backward-last": _set_units(backward="last"),
    "backward-not-reversed": _set_units(backward="order"),
    "backward-forwards": _set_units(backward="forwards"),
    "halves-swapped": _set_units(swapped=True),
    "activation-inserted": _inserted,
    "activation-omitted": _omitted,
    "activation-replaced": _replaced,
    "softmax-over-time": _set_fields(axis=0),
    "dropout-scaled": _set_fields(factor=None),
    "closed-loop": _closed,
    "normalisation-layer-omitted": _omitted,
    "normalisation-over-time": _set_fields(over="time-channels"),
    "epsilon": _epsilon,
    "normalisation-omitted": _entry(lambda p, _: p.update(normalization="none")),
    "normalisation-twice": _entry(lambda p, _: p.update(twice=True)),
    "std-ddof": _entry(_std_ddof),
    "first-instead-of-last": _take("first"),
    "mean-instead-of-last": _take("mean"),
}


def starts(plan: Plan, wrong: Wrong, before: Any) -> dict[str, list[State]]:
    """The states that a `start-state` puts in place of the initial ones.

    `before` holds the final states of the run that came before, where there was one.
    """
    given = {
        "saved": plan.saved,
        "previous-run": before,
        "previous-sequence": before,
        "given": wrong.parameters.get("state"),
    }[wrong.parameters["from"]]
    if not given:
        return {}
    return {name: as_states(given[name]) for name in wrong.layers}
