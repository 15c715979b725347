"""What each mistake does to the arrays and switches of a plan.

The names and parameters are those under which `jlstm.diagnose` reports mistakes; every
function of the table PLAN changes a `Plan` in place. What is done to weights is in
`wrong_weights.py`, mistakes that are made on `x` and `y` are in `wrong_data.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from wrong_plan import Plan, State, Wrong, as_states, cells, plains, units
from wrong_weights import WEIGHTS


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
    plan.closed = wrong.parameters.get("after", 1)


def _take(take: str) -> Callable[[Plan, Wrong], None]:
    def change(plan: Plan, wrong: Wrong) -> None:
        for unit in plan.units.values():
            unit.take = take

    return change


def _state_swapped(plan: Plan, wrong: Wrong) -> None:
    for cell in cells(plan, wrong):
        assert cell.gates == "ifgo" and cell.q_out is None
        cell.exchanged = True


def _entry(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Any:
    def apply(plan: Plan, wrong: Wrong) -> None:
        for layer in plan.of_kind("Input").values():
            change(layer.fields, wrong.parameters)

    return apply


def _std_ddof(p: dict[str, Any], parameters: dict[str, Any]) -> None:
    if p["std"] is not None:
        p["std"] = p["std"] * parameters["factor"]


def _partial(p: dict[str, Any], parameters: dict[str, Any]) -> None:
    form, kind = parameters["form"], p["normalization"]
    if form in ("symmetric", "zero-one"):
        if kind.startswith("rescale"):
            p |= {"normalization": f"rescale-{form}", "target": None}
    elif kind == "zscore":
        std = p["std"]
        p |= {
            "mean-only": {"normalization": "zerocenter"},
            "std-only": {"mean": np.zeros_like(std)},
            "variance": {"std": std**2},
            "multiplied": {"std": 1 / std},
        }[form]


def _instead(p: dict[str, Any], parameters: dict[str, Any]) -> None:
    if parameters.get("instead"):
        p["normalization"] = "none"


PLAN: dict[str, Callable[[Plan, Wrong], None]] = WEIGHTS | {
    "shared-state": _shared,
    "state-reset": _state_reset,
    "gate-activation": _set_cells(gate=None),
    "state-activation": _set_cells(candidate=None, squash=None),
    "candidate-activation": _set_cells(candidate=None),
    "cell-activation": _set_cells(squash=None),
    "layer-delayed": _set_units(delayed=True),
    "coupled-gates": _set_cells(coupled=True),
    "old-cell-state": _set_cells(old=True),
    "state-swapped": _state_swapped,
    "update-inverted": _set_cells(inverted=True),
    "reset-mode": _reset_mode,
    "backward-last": _set_units(backward="last"),
    "backward-not-reversed": _set_units(backward="order"),
    "backward-forwards": _set_units(backward="forwards"),
    "backward-omitted": _set_units(backward="omitted"),
    "halves-swapped": _set_units(swapped=True),
    "halves-interleaved": _set_units(interleaved=True),
    "max-instead-of-last": _set_units(take="max"),
    "activation-inserted": _inserted,
    "activation-omitted": _omitted,
    "activation-replaced": _replaced,
    "softmax-over-time": _set_fields(axis=0),
    "softmax-twice": _set_fields(twice=True),
    "softmax-log": _set_fields(log=True),
    "dropout-scaled": _set_fields(factor=None),
    "closed-loop": _closed,
    "normalisation-layer-omitted": _omitted,
    "normalisation-over-time": _set_fields(over="time-channels"),
    "epsilon": _epsilon,
    "normalisation-omitted": _entry(lambda p, _: p.update(normalization="none")),
    "normalisation-twice": _entry(lambda p, _: p.update(twice=True)),
    "normalisation-partial": _entry(_partial),
    "standardised": _entry(_instead),
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
