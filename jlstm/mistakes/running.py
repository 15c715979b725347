"""Mistakes in how the layers are run: state, activations, directions, feedback."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from ..layers import FullyConnected
from ..network import State
from .cells import (
    Both,
    Cell,
)
from .functions import between, functions
from .trial import (
    LENGTH,
    RUNNING,
    Mistake,
    Run,
    Trial,
    in_double,
    switched,
    with_switch,
)
from .weights import directions, recurrent

LIKELY_PERIODS = (2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128)


def running(
    trial: Trial, *, saved: State | None, given: tuple[State, ...]
) -> Iterator[Mistake]:
    """All mistakes in the running of a network, simple ones first."""
    cells = recurrent(trial.wired)
    scopes: list[tuple[str, ...]] = [(name,) for name in cells]
    if len(cells) > 1:
        scopes.insert(0, tuple(cells))
    steps = max((run.end - run.begin for run in trial.runs), default=0)
    timed = _has_time(trial)
    if timed and trial.wired.stepwise:
        yield from _shared(trial, cells)
    for scope in scopes:
        if timed:
            kinds = {c.kind for n in scope for c in directions(cells[n])}
            parts = ("both", "h", "c") if "lstm" in kinds else ("both",)
            yield from _resets(scope, steps, parts)
            if kinds == {"lstm"} and steps > 1:
                yield switched("state-swapped", scope, "state", exchanged=1)
        yield from functions(scope, [cells[name] for name in scope])
    for name, layer in cells.items():
        if isinstance(layer, Both):
            yield from _both(name, layer)
        if layer.last and steps > 1:
            for code, kind in ((1, "first"), (2, "mean"), (3, "max")):
                yield switched(f"{kind}-instead-of-last", (name,), "last", pooled=code)
    yield from between(trial)
    if timed:
        yield from _starts(trial, saved, given)
        yield from _feedback(trial, cells)


def _has_time(trial: Trial) -> bool:
    return all(next(iter(run.x.values())).ndim > 1 for run in trial.runs)


# --- state ----------------------------------------------------------------------------


def _shared(trial: Trial, cells: dict[str, Any]) -> Iterator[Mistake]:
    place = trial.place

    def share(names: tuple[str, ...]) -> Mistake:
        switches = with_switch(names[1:], slot=place[names[0]] + 1)
        touches = frozenset(f"state:{name}" for name in names)
        return Mistake("shared-state", names, {}, RUNNING, switches, touches)

    alike: dict[Any, list[str]] = {}
    for name, cell in cells.items():
        if isinstance(cell, Cell):
            alike.setdefault((cell.kind, cell.hidden), []).append(name)
    for names in alike.values():
        for size in range(len(names), 1, -1):
            for group in combinations(names, size):
                yield share(group)


def _resets(
    scope: tuple[str, ...], steps: int, parts: tuple[str, ...]
) -> Iterator[Mistake]:
    def reset(every: int, what: str) -> Mistake:
        likely = every == 1 or every in LIKELY_PERIODS
        switches = {f"reset_{part}": every for part in "hc" if what in ("both", part)}
        parameters = {"every": every, "what": what}
        return switched(
            "state-reset", scope, "state", parameters, paired=likely,
            common=likely and (every == 1 or what == "both"), **switches,
        )  # fmt: skip

    if steps < 2:
        return
    for every in range(1, steps):
        for what in parts:
            yield reset(every, what)


def _starts(
    trial: Trial, saved: State | None, given: tuple[State, ...]
) -> Iterator[Mistake]:
    known = [("saved", saved)] if saved is not None else []
    known += [("given", state) for state in given]
    for number, (kind, state) in enumerate(known):

        def start(trial: Trial, state: Any = state) -> Trial:
            return trial._replace(state=trial.state | in_double(state))

        parameters: dict[str, Any] = {"from": kind}
        if kind == "given":
            parameters["number"] = number - (saved is not None) + 1
        yield Mistake(
            "start-state", _names(trial), parameters, RUNNING, start,
            frozenset({"start"}),
        )  # fmt: skip
    if not (trial.wired.stepwise and recurrent(trial.wired)):
        return

    def twice(trial: Trial) -> Trial:
        return trial._replace(runs=tuple(after(run, run) for run in trial.runs))

    yield Mistake(
        "start-state", _names(trial), {"from": "previous-run"}, LENGTH, twice,
        frozenset({"start"}),
    )  # fmt: skip
    if len(trial.runs) > 1:

        def carried(trial: Trial) -> Trial:
            runs = [trial.runs[0]]
            for run in trial.runs[1:]:
                runs.append(after(runs[-1], run))
            return trial._replace(runs=tuple(runs))

        yield Mistake(
            "start-state", _names(trial), {"from": "previous-sequence"}, LENGTH,
            carried, frozenset({"start"}),
        )  # fmt: skip


def _names(trial: Trial) -> tuple[str, ...]:
    """The recurrent layers of a network."""
    return tuple(recurrent(trial.wired))


def after(first: Run, second: Run) -> Run:
    """The second sequence run without a reset after the first."""
    x = {
        name: np.concatenate([first.x[name][first.begin : first.end], value])
        for name, value in second.x.items()
    }
    ahead = first.end - first.begin
    return second._replace(x=x, end=second.end + ahead, at=second.at + ahead)


# --- directions and feedback ----------------------------------------------------------


def _both(name: str, layer: Both) -> Iterator[Mistake]:
    if layer.last:
        yield switched("backward-last", (name,), "backward", backward_last=1)
    else:
        yield switched(
            "backward-not-reversed", (name,), "backward", backward_unturned=1
        )
    yield switched("backward-forwards", (name,), "backward", backward_forwards=1)
    yield switched("halves-swapped", (name,), "halves", halves=1)
    yield switched("halves-interleaved", (name,), "halves", halves=2)
    yield switched("backward-omitted", (name,), "halves backward", halves=3)


def _feedback(trial: Trial, cells: dict[str, Any]) -> Iterator[Mistake]:
    wired = trial.wired
    if not wired.stepwise:
        return
    first = [node.name for node in wired.graph if not node.inputs]
    for node in wired.graph:
        # The first layer's past input is the input shifted in time, listed elsewhere.
        if node.name in cells and not _from_inputs(wired, node.name, cells):
            yield switched("layer-delayed", (node.name,), "delay", delayed=1)
    timed = set(wired.outputs) <= set(wired.timed)
    if len(first) == 1 and len(wired.outputs) == 1 and timed:
        (run, *_) = trial.runs
        if next(iter(run.x.values())).shape[1:] == (_width(trial),):
            for given in range(1, _length(run)):
                yield Mistake(
                    "closed-loop", (), {"after": given} if given > 1 else {}, RUNNING,
                    with_switch(first, closed=given), frozenset({"input"}),
                    common=given == 1, paired=given == 1,
                )  # fmt: skip


def _from_inputs(wired: Any, name: str, cells: dict[str, Any]) -> bool:
    """Whether no other recurrent layer lies before this one."""
    inputs = {node.name: node.inputs for node in wired.graph}
    waiting = list(inputs[name])
    while waiting:
        ref = waiting.pop().split("/")[0]
        if ref in cells:
            return False
        waiting += inputs[ref]
    return True


def _length(run: Run) -> int:
    return run.end - run.begin


def _width(trial: Trial) -> int:
    """Columns of the output, where a dense layer says so; 0 where it is not known."""
    inputs = {node.name: node.inputs for node in trial.wired.graph}
    name = trial.wired.outputs[0]
    while name in inputs:
        layer = trial.wired.layers[name]
        if isinstance(layer, FullyConnected):
            return layer.weights.shape[0]
        if isinstance(layer, Cell | Both):
            return sum(cell.hidden for cell in directions(layer))
        if len(inputs[name]) != 1:
            return 0
        name = inputs[name][0]
    return 0
