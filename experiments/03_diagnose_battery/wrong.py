"""Recurrent networks with mistakes in them: what `jlstm.diagnose` is judged by.

Nothing here computes with jlstm: the equations are written anew in `wrong_layers.py`
and `wrong_plan.py`, run by `wrong_run.py`, spoilt by `wrong_weights.py`,
`wrong_changes.py` and `wrong_data.py`; `wrong_cases.py` lists what can be wrong with a
given network (weights in `wrong_cases_weights.py`, input and output in
`wrong_cases_data.py`), `wrong_pairs.py` what can be wrong at once. All in NumPy
float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from wrong_cases import applicable as applicable
from wrong_changes import PLAN, starts
from wrong_data import INPUT, OUTPUT, settled
from wrong_layers import Array
from wrong_pairs import compatible as compatible
from wrong_plan import Plan, Wrong, read
from wrong_run import Run, run

Mistakes = Sequence[Wrong]
REORDERED = "sequences-reordered"


def forward(net: Any, x: Any, mistakes: Mistakes = (), *, signals: bool = False) -> Any:
    """What a computation with these mistakes makes of one sequence.

    Arguments:
        net: a `jlstm.Network`, read for its arrays and settings only.
        x: `(time, features)`; a tuple for several inputs.
        mistakes: whatever their order, weights are spoilt first, then the run, then
            `x`, then `y`.
        signals: also return every layer's output by name, and the signals inside
            recurrent layers as "lstm_1.i", "bilstm.backward.h".

    Returns:
        `y (time, outputs)` or `(outputs,)`, then the signals where asked for. What is
        done to `y` is not done to the signals: padding is cut off `y` only.

    Raises:
        NotImplementedError: a layer, or a combination, that is not computed here; a
            mistake that takes several sequences.
    """
    y, found = compute(net, x, mistakes)
    return (y, found.values | found.signals) if signals else y


def forward_many(net: Any, xs: Sequence[Any], mistakes: Mistakes = ()) -> list[Array]:
    """Several sequences, of which padding and states may mix one with another."""
    for wrong in mistakes:
        if wrong.name == REORDERED:
            xs = [xs[k] for k in wrong.parameters["order"]]
    mistakes = [wrong for wrong in mistakes if wrong.name != REORDERED]
    longest = max(map(_steps, xs))
    before, ys = None, []
    for x in xs:
        mine = [_mates(wrong, longest - _steps(x)) for wrong in mistakes]
        y, found = compute(net, x, mine, before, xs)
        before = found.ends
        ys.append(y)
    return ys


def _given(x: Any) -> tuple[Array, ...]:
    """What each input layer is given."""
    parts = x if isinstance(x, tuple) else (x,)
    return tuple(np.array(part, float) for part in parts)


def _steps(x: Any) -> int:
    return len(_given(x)[0])


def _mates(wrong: Wrong, steps: int) -> Wrong:
    """Padding to the longest sequence, as the padding of this one."""
    if wrong.name != "padding" or not wrong.parameters.get("mates"):
        return wrong
    return wrong._replace(parameters=wrong.parameters | {"steps": steps})


def compute(
    net: Any,
    x: Any,
    mistakes: Mistakes = (),
    before: Any = None,
    together: Sequence[Any] = (),
) -> tuple[Array, Run]:
    """`forward`, with the final states.

    `before` holds those of the sequence before, `together` are all the sequences.
    """
    names = {wrong.name for wrong in mistakes}
    if REORDERED in names:
        raise NotImplementedError(f"{REORDERED}: of one sequence")
    unknown = names - {*PLAN, *INPUT, *OUTPUT, "start-state"}
    assert not unknown, f"unknown mistakes: {unknown}"
    plan = read(net)
    if len(plan.outputs) != 1:
        raise NotImplementedError("several outputs")
    with np.errstate(all="ignore"):
        # Of the input layers as they are stored: before the plan is spoilt.
        xs = _inputs(plan, x, mistakes, together or (x,))
        for name, change in PLAN.items():
            for wrong in mistakes:
                if wrong.name == name:
                    change(plan, wrong)
        found = _run(plan, xs, mistakes, before)
        y = found.values[plan.outputs[0]]
        if plan.timed[plan.outputs[0]]:
            y = _cropped(y, mistakes)
        return _changed(OUTPUT, mistakes, y), found


def _inputs(
    plan: Plan, x: Any, mistakes: Mistakes, together: Sequence[Any]
) -> dict[str, Array]:
    xs = {}
    entries, sequences = plan.of_kind("Input"), zip(*map(_given, together), strict=True)
    for (name, entry), value, every in zip(
        entries.items(), _given(x), sequences, strict=True
    ):
        mine = [settled(wrong, entry.fields, every) for wrong in mistakes]
        xs[name] = _changed(INPUT, mine, value)
    return xs


def _changed(table: dict[str, Any], mistakes: Mistakes, values: Array) -> Array:
    for name, change in table.items():
        for wrong in mistakes:
            if wrong.name == name:
                values = change(values, **wrong.parameters)
    return values


def _run(plan: Plan, xs: dict[str, Array], mistakes: Mistakes, before: Any) -> Run:
    start = dict(plan.initial)
    for wrong in mistakes:
        if wrong.name == "start-state":
            again = wrong.parameters["from"] == "previous-run"
            ends = run(plan, xs, plan.initial).ends if again else before
            start |= starts(plan, wrong, ends)
    return run(plan, xs, start)


def _cropped(y: Array, mistakes: Mistakes) -> Array:
    """The output without the steps that padding added."""
    for wrong in mistakes:
        if wrong.name == "padding":
            steps = wrong.parameters["steps"]
            left = wrong.parameters["side"] == "left"
            y = y[steps:] if left else y[: len(y) - steps]
    return y
