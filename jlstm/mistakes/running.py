"""Mistakes in how the layers are run: state, directions, feedback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from ..layers import FullyConnected
from ..network import State
from .bench import evaluate
from .cells import Both, Cell
from .functions import between, functions
from .trial import (
    LENGTH,
    RUNNING,
    Mistake,
    Run,
    Trial,
    in_double,
    scopes,
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
    steps = max((run.steps for run in trial.runs), default=0)
    timed = _has_time(trial)
    if timed and trial.wired.stepwise:
        yield from _shared(trial, cells)
    for scope in scopes(cells):
        if timed:
            kinds = {c.kind for n in scope for c in directions(cells[n])}
            parts = ("both", "h", "c") if "lstm" in kinds else ("both",)
            yield from _resets(scope, steps, parts)
            if kinds == {"lstm"} and steps > 1:
                yield switched("state-swapped", scope, "state", exchanged=1)
        yield from functions(scope, [cells[name] for name in scope])
    for name, layer in cells.items():
        if layer.last and steps > 1:
            for code, kind in ((1, "first"), (2, "mean"), (3, "max")):
                yield switched(f"{kind}-instead-of-last", (name,), "last", pooled=code)
    both = [name for name, layer in cells.items() if isinstance(layer, Both)]
    for names in scopes(both):
        yield from _both(names, [cells[name] for name in names])
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
    cells = recurrent(trial.wired)
    known: list[Any] = [({"from": "saved"}, saved)] if saved is not None else []
    known += [({"from": "given", "number": k}, s) for k, s in enumerate(given, 1)]
    for parameters, state in known:
        for names in scopes(cells):
            part = in_double({name: state[name] for name in names if name in state})

            def start(trial: Trial, part: Any = part) -> Trial:
                return trial._replace(state=trial.state | part)

            if part:
                yield _start(names, parameters, RUNNING, start)
    steps = {run.steps for run in trial.runs}
    for names in scopes(cells):
        # The other layers start anew where the sequence that counts begins.
        others = [name for name in cells if name not in names]
        if not trial.wired.stepwise or (others and len(steps) > 1):
            yield from _handed_on(names, len(trial.runs))
            continue
        anew = with_switch(others, reset_h=max(steps), reset_c=max(steps))

        def twice(trial: Trial, anew: Any = anew) -> Trial:
            runs = tuple(after(run, run) for run in trial.runs)
            return anew(trial)._replace(runs=runs)

        def carried(trial: Trial, anew: Any = anew) -> Trial:
            runs = [trial.runs[0]]
            for run in trial.runs[1:]:
                runs.append(after(runs[-1], run))
            return anew(trial)._replace(runs=tuple(runs))

        yield _start(names, {"from": "previous-run"}, LENGTH, twice, others)
        if len(trial.runs) > 1:
            yield _start(names, {"from": "previous-sequence"}, LENGTH, carried, others)


def _handed_on(names: tuple[str, ...], sequences: int) -> Iterator[Mistake]:
    """Starts at the state in which a run before ended, computed by itself.

    One run that goes on from the other would be wrong here: a backward direction meets
    them in the other order, and sequences of different length have no common step at
    which other layers could start anew.
    """

    def after_ends(trial: Trial, run: Run, ends: dict[str, Any]) -> Run:
        return run._replace(state=trial.state | {name: ends[name] for name in names})

    def twice(trial: Trial) -> Trial:
        pairs = zip(trial.runs, _ends(trial), strict=True)
        return trial._replace(runs=tuple(after_ends(trial, *pair) for pair in pairs))

    def carried(trial: Trial) -> Trial:
        runs = [trial.runs[0]]
        for run in trial.runs[1:]:
            (ends,) = _ends(trial._replace(runs=(runs[-1],)))
            runs.append(after_ends(trial, run, ends))
        return trial._replace(runs=tuple(runs))

    ways = {"previous-run": twice} | (
        {"previous-sequence": carried} if sequences > 1 else {}
    )
    for origin, change in ways.items():
        yield Mistake(
            "start-state", names, {"from": origin}, LENGTH, change,
            frozenset({"start"}), common=False, paired=False,
        )  # fmt: skip


def _ends(trial: Trial) -> list[dict[str, Any]]:
    """The states in which each run ends: a backward half at the first step."""
    halves = {
        (name, side): (getattr(state, side) if side else state)
        for name, state in trial.state.items()
        for side in (("forward", "backward") if hasattr(state, "forward") else ("",))
    }
    parts = {key: "hc"[: len(state)] for key, state in halves.items()}

    def signal(name: str, side: str, part: str) -> str:
        return ".".join(filter(None, (name, side, part)))

    names = tuple(signal(*key, part) for key, some in parts.items() for part in some)
    found = []
    for values in evaluate([trial], names)[0]:
        ends: dict[str, Any] = {}
        for (name, side), some in parts.items():
            row = 0 if side == "backward" else -1
            end = type(halves[name, side])(
                *(values[signal(name, side, part)][row] for part in some)
            )
            ends.setdefault(name, {})[side] = end
        found.append(
            {
                name: sides[""] if "" in sides else type(trial.state[name])(**sides)
                for name, sides in ends.items()
            }
        )
    return found


def _start(
    names: tuple[str, ...], parameters: dict[str, Any], stage: int, change: Any,
    others: Iterable[str] = (),
) -> Mistake:  # fmt: skip
    touches = frozenset({"start", *(f"state:{name}" for name in others)})
    return Mistake("start-state", names, parameters, stage, change, touches)


def after(first: Run, second: Run) -> Run:
    """The second sequence run without a reset after the first."""
    x = {
        name: np.concatenate([first.x[name][first.begin : first.end], value])
        for name, value in second.x.items()
    }
    ahead = first.steps
    return second._replace(x=x, end=second.end + ahead, at=second.at + ahead)


# --- directions and feedback ----------------------------------------------------------


def _both(names: tuple[str, ...], layers: list[Any]) -> Iterator[Mistake]:
    modes = {layer.last for layer in layers}
    if modes == {True}:
        yield switched("backward-last", names, "backward", backward_last=1)
    if modes == {False}:
        yield switched("backward-not-reversed", names, "backward", backward_unturned=1)
    yield switched("backward-forwards", names, "backward", backward_forwards=1)
    yield switched("halves-swapped", names, "halves", halves=1)
    yield switched("halves-interleaved", names, "halves", halves=2)
    yield switched("backward-omitted", names, "halves backward", halves=3)


def _feedback(trial: Trial, cells: dict[str, Any]) -> Iterator[Mistake]:
    wired = trial.wired
    if not wired.stepwise:
        return
    first = [node.name for node in wired.graph if not node.inputs]
    # The first layer's past input is the input shifted in time, listed elsewhere.
    for names in scopes(n for n in cells if not _from_inputs(wired, n, cells)):
        yield switched("layer-delayed", names, "delay", delayed=1)
    timed = set(wired.outputs) <= set(wired.timed)
    if len(first) == 1 and len(wired.outputs) == 1 and timed:
        (run, *_) = trial.runs
        if next(iter(run.x.values())).shape[1:] == (_width(trial),):
            for given in range(1, run.steps):
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
