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
from .trial import RUNNING, Mistake, Trial, scopes, switched, with_switch
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
    layers = trial.wired.layers
    followed = {
        ref.split("/")[0]: layers[node.name]
        for node in trial.wired.graph
        for ref in node.inputs
    }

    def of(*kinds: type) -> list[tuple[str, ...]]:
        return scopes(name for name, one in layers.items() if isinstance(one, kinds))

    for names in (*of(Cell, Both), *of(FullyConnected)):
        yield from _inserted(names, [followed.get(name) for name in names])
    functions: dict[str, list[str]] = {}
    for name, layer in layers.items():
        if isinstance(layer, Activation):
            functions.setdefault(layer.name, []).append(name)
    for own, group in functions.items():
        for names in scopes(group):
            yield from _replaced(names, own)
    for names in of(Softmax):
        yield switched("activation-omitted", names, "instead", instead=1)
        yield switched("softmax-twice", names, "instead", instead=TWICE)
        yield switched("softmax-log", names, "instead", instead=LOGGED)
        yield switched(
            "activation-replaced", names, "instead", {"function": "sigmoid"},
            instead=FUNCTIONS.index("sigmoid"),
        )  # fmt: skip
    for names in of(*NORMALISING):
        yield switched("normalisation-layer-omitted", names, "norm", instead=1)
    for name, layer in layers.items():
        if isinstance(layer, Dropout):
            factor = {"factor": 1 - float(layer.probability)}
            yield switched("dropout-scaled", (name,), "instead", factor, instead=SCALED)


def _inserted(names: tuple[str, ...], followed: list[Any]) -> Iterator[Mistake]:
    for function in ("relu", "tanh", "sigmoid", "softsign"):
        same = [isinstance(n, Activation) and n.name == function for n in followed]
        if function == "relu" and all(same):
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
