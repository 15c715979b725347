"""Functions mistaken, put in or left out: of gates, of states, between the layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..layers import Activation, Dropout, FullyConnected, Softmax
from ..recurrent import RESET_MODES
from .cells import (
    FUNCTIONS,
    GATE_FUNCTIONS,
    LOGGED,
    SCALED,
    STATE_FUNCTIONS,
    TWICE,
    Both,
    Cell,
)
from .parameters import NORMALISING
from .trial import RUNNING, Mistake, Trial, switched, with_switch
from .weights import directions


def functions(scope: tuple[str, ...], layers: list[Any]) -> Iterator[Mistake]:
    """Other functions inside of the layers, or gates that are mistaken."""
    cells = [cell for layer in layers for cell in directions(layer)]
    gates, states = {c.gate for c in cells}, {c.state for c in cells}
    lstm = all(cell.kind == "lstm" for cell in cells)

    def made(name: str, function: str, **codes: int) -> Mistake:
        touches = frozenset(f"{code}:{layer}" for code in codes for layer in scope)
        change = with_switch(scope, **codes)
        return Mistake(name, scope, {"function": function}, RUNNING, change, touches)

    for k, function in enumerate(GATE_FUNCTIONS):
        if k and gates != {function}:
            yield made("gate-activation", function, gate=k)
    for k, function in enumerate(STATE_FUNCTIONS):
        if not k or states == {function}:
            continue
        if lstm:
            yield made("state-activation", function, candidate=k, cell=k)
            yield made("candidate-activation", function, candidate=k)
            yield made("cell-activation", function, cell=k)
        else:
            yield made("state-activation", function, candidate=k)
    if lstm:
        yield switched("coupled-gates", scope, "gate-f", coupled=1)
        yield switched("old-cell-state", scope, "cell", stale=1)
        return
    if any(cell.kind == "lstm" for cell in cells):
        return
    yield switched("update-inverted", scope, "gate-z", inverted=1)
    modes = {cell.mode for cell in cells}
    for k, mode in enumerate(RESET_MODES):
        biased = any(cell.rb is not None for cell in cells)
        # Without a recurrent bias the first form and the third are the same.
        same = {RESET_MODES[0], RESET_MODES[2]} if not biased else {mode}
        if modes <= same and mode in same:
            continue
        if not biased and mode == RESET_MODES[2]:
            continue
        yield switched("reset-mode", scope, "mode", {"mode": mode}, reset_mode=k + 1)


def between(trial: Trial) -> Iterator[Mistake]:
    """Functions put in, left out or mistaken between the layers."""
    inserted = ("relu", "tanh", "sigmoid", "softsign")
    groups: dict[str, list[str]] = {}
    followed = {
        ref.split("/")[0]: trial.wired.layers[node.name]
        for node in trial.wired.graph
        for ref in node.inputs
    }
    for name, layer in trial.wired.layers.items():
        if isinstance(layer, Cell | Both | FullyConnected):
            kind = "recurrent" if not isinstance(layer, FullyConnected) else "dense"
            groups.setdefault(kind, []).append(name)
            yield from _inserted((name,), inserted, followed.get(name))
        elif isinstance(layer, Activation):
            groups.setdefault(layer.name, []).append(name)
            yield from _replaced((name,), layer.name)
        elif isinstance(layer, Softmax):
            yield switched("activation-omitted", (name,), "instead", instead=1)
            yield switched("softmax-twice", (name,), "instead", instead=TWICE)
            yield switched("softmax-log", (name,), "instead", instead=LOGGED)
            yield switched(
                "activation-replaced", (name,), "instead", {"function": "sigmoid"},
                instead=FUNCTIONS.index("sigmoid"),
            )  # fmt: skip
        elif isinstance(layer, NORMALISING):
            yield switched("normalisation-layer-omitted", (name,), "norm", instead=1)
        elif isinstance(layer, Dropout):
            factor = {"factor": 1 - float(layer.probability)}
            yield switched("dropout-scaled", (name,), "instead", factor, instead=SCALED)
    for kind, names in groups.items():
        if len(names) > 1 and kind != "dense":
            if kind == "recurrent":
                same = [followed.get(name) for name in names]
                relu = all(isinstance(n, Activation) and n.name == "relu" for n in same)
                yield from _inserted(tuple(names), inserted, same[0] if relu else None)
            else:
                yield from _replaced(tuple(names), kind)


def _inserted(
    names: tuple[str, ...], functions: tuple[str, ...], next_layer: Any
) -> Iterator[Mistake]:
    for function in functions:
        if isinstance(next_layer, Activation) and next_layer.name == function == "relu":
            continue  # relu of relu
        yield switched(
            "activation-inserted", names, "after", {"function": function},
            after=FUNCTIONS.index(function),
        )  # fmt: skip


def _replaced(names: tuple[str, ...], own: str) -> Iterator[Mistake]:
    if own != "identity":
        yield switched("activation-omitted", names, "instead", instead=1)
    for k, function in enumerate(FUNCTIONS):
        if function not in ("own", "identity", own):
            yield switched(
                "activation-replaced", names, "instead", {"function": function},
                instead=k,
            )  # fmt: skip
