"""What can be wrong with a network: every mistake that applies, at every scope.

Parameters that are free, such as gate orders, are drawn from a seeded generator.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from wrong_cases_data import input_cases, output_cases
from wrong_cases_weights import weight_cases
from wrong_plan import Plain, Plan, Wrong, kinds, read, scopes
from wrong_run import probe

STATE = ("softsign", "relu", "sigmoid", "identity", "tanh")
GATE = ("hard-sigmoid", "hard-sigmoid-keras3", "sigmoid", "tanh")
POINTWISE = ("relu", "tanh", "sigmoid", "softsign")
RESET_MODES = ("after-multiplication", "before-multiplication")


def applicable(net: Any, *lengths: int) -> list[Wrong]:
    """Every mistake that means something for this network and this length of input.

    One length for every sequence; mistakes between sequences only where there are
    several. Not all of them change the answer: a bias may be zero, a rectifier may meet
    positive values only.

    Raises:
        NotImplementedError: the network has a layer that is not computed here.
    """
    plan, steps = read(net), min(lengths)
    rng = np.random.default_rng(20240229)
    return [
        *weight_cases(plan, rng),
        *_running(plan, steps, len(lengths)),
        *_cells(plan, steps),
        *_bidirectional(plan),
        *_last_steps(plan, steps),
        *_other_layers(plan),
        *_softmax(plan),
        *input_cases(plan, lengths, rng),
        *output_cases(plan, steps, rng),
    ]


# --- running --------------------------------------------------------------------------


def _running(plan: Plan, steps: int, sequences: int) -> Iterator[Wrong]:
    units = plan.units
    # The others take their state from a wire.
    free = [name for name, refs in plan.graph if name in units and len(refs) == 1]
    for layers in scopes(units):
        parts = ["both"]
        if all(units[n].cells[0].gates == "ifgo" for n in layers):
            parts += ["h", "c"]
        once = any(len(units[n].cells) == 2 for n in layers)
        lengths = {1} if once else {1, 2, 5, 10, steps // 2}
        for every, what in itertools.product(sorted(lengths), parts):
            if 0 < every < steps:
                yield Wrong("state-reset", layers, {"every": every, "what": what})
        sources = ["previous-run"]
        sources += ["saved"] * bool(plan.saved)
        sources += ["previous-sequence"] * (sequences > 1)
        for source in sources if all(n in free for n in layers) else ():
            yield Wrong("start-state", layers, {"from": source})
    if any(len(unit.cells) == 2 for unit in units.values()):
        return
    for a, b in itertools.combinations(free, 2):
        one, two = units[a].cells[0], units[b].cells[0]
        behind = a in _upstream(plan, b) and not units[a].last
        if behind and (one.gates, one.R.shape[1]) == (two.gates, two.R.shape[1]):
            yield Wrong("shared-state", (a, b), {})
    for layers in scopes(n for n in units if _upstream(plan, n) & set(units)):
        if steps > 1:
            yield Wrong("layer-delayed", layers, {})


def _upstream(plan: Plan, name: str) -> set[str]:
    wires, found, waiting = dict(plan.graph), set(), [name]
    while waiting:
        for ref in wires[waiting.pop()]:
            source = ref.split("/")[0]
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _cells(plan: Plan, steps: int) -> Iterator[Wrong]:
    units = plan.units
    for function in GATE:
        for layers in scopes(units, lambda n, f=function: units[n].cells[0].gate != f):
            yield Wrong("gate-activation", layers, {"function": function})
    for function in STATE:
        other = lambda n, f=function: units[n].cells[0].squash != f  # noqa: E731
        for layers in scopes(units, other):
            yield Wrong("state-activation", layers, {"function": function})
    for gates, of_kind in kinds(plan):
        if gates == "rzn":
            for layers in scopes(of_kind):
                yield Wrong("update-inverted", layers, {})
            for mode in RESET_MODES:
                apart = lambda n, m=mode: units[n].cells[0].mode != m  # noqa: E731
                for layers in scopes(of_kind, apart):
                    yield Wrong("reset-mode", layers, {"mode": mode})
            continue
        for layers in scopes(of_kind):
            yield Wrong("coupled-gates", layers, {})
            yield Wrong("old-cell-state", layers, {})
        for layers in scopes(of_kind, lambda n: units[n].cells[0].q_out is None):
            # The states of before the first step may all be zero.
            if steps > 1:
                yield Wrong("state-swapped", layers, {})
        for function in STATE:
            other = lambda n, f=function: units[n].cells[0].squash != f  # noqa: E731
            for layers in scopes(of_kind, other):
                yield Wrong("candidate-activation", layers, {"function": function})
                yield Wrong("cell-activation", layers, {"function": function})


def _bidirectional(plan: Plan) -> Iterator[Wrong]:
    both = {n: unit for n, unit in plan.units.items() if len(unit.cells) == 2}
    for layers in scopes(both):
        yield Wrong("halves-swapped", layers, {})
        yield Wrong("backward-forwards", layers, {})
    for layers in scopes(both, lambda n: both[n].last):
        yield Wrong("backward-last", layers, {})
    for layers in scopes(both, lambda n: not both[n].last):
        yield Wrong("backward-not-reversed", layers, {})
    for name, unit in both.items():
        yield Wrong("backward-omitted", (name,), {})
        one, two = (len(cell.b[0]) for cell in unit.cells)
        if one == two > 1:
            yield Wrong("halves-interleaved", (name,), {})


def _last_steps(plan: Plan, steps: int) -> Iterator[Wrong]:
    for name, refs in plan.graph:
        last = name in plan.units and plan.units[name].last
        if last and steps > 1 and plan.timed[refs[0]]:
            yield Wrong("max-instead-of-last", (name,), {})


def _other_layers(plan: Plan) -> Iterator[Wrong]:
    timed = plan.timed
    followers: dict[str, list[str]] = {name: [] for name, _ in plan.graph}
    for name, refs in plan.graph:
        layer = plan.layers[name]
        kind = layer.fields.get("name", "") if isinstance(layer, Plain) else ""
        for ref in refs:
            followers[ref.split("/")[0]].append(kind)
    for function in POINTWISE:
        for group in (plan.units, plan.of_kind("FullyConnected")):
            # A second rectifier changes nothing.
            for layers in scopes(
                group, lambda n, f=function: f != "relu" or followers[n] != ["relu"]
            ):
                yield Wrong("activation-inserted", layers, {"function": function})
    functions = plan.of_kind("Activation")
    for group in (functions, plan.of_kind("Softmax")):
        for layers in scopes(group):
            yield Wrong("activation-omitted", layers, {})
    for function in POINTWISE:
        for layers in scopes(
            functions, lambda n, f=function: functions[n].fields["name"] != f
        ):
            yield Wrong("activation-replaced", layers, {"function": function})
    for layers in scopes(n for n in plan.of_kind("Softmax") if timed[n]):
        yield Wrong("softmax-over-time", layers, {})
    for name, layer in plan.of_kind("Dropout").items():
        if layer.fields["probability"]:
            factor = 1 - layer.fields["probability"]
            yield Wrong("dropout-scaled", (name,), {"factor": factor})
    yield from _normalisation_layers(plan)


def _softmax(plan: Plan) -> Iterator[Wrong]:
    values = probe(plan)
    for name in plan.of_kind("Softmax"):
        # A single class has probability one, and one again.
        if values[name].shape[-1] > 1:
            yield Wrong("softmax-twice", (name,), {})
        yield Wrong("softmax-log", (name,), {})
        yield Wrong("activation-replaced", (name,), {"function": "sigmoid"})


def _normalisation_layers(plan: Plan) -> Iterator[Wrong]:
    layers = plan.of_kind("LayerNormalization")
    both = plan.of_kind("LayerNormalization", "BatchNormalization")
    for scope in scopes(both):
        yield Wrong("normalisation-layer-omitted", scope, {})
        for value in (1e-3, 1e-5, 1e-6):
            if all(both[n].fields["epsilon"] != value for n in scope):
                yield Wrong("epsilon", scope, {"value": value})
    for scope in scopes(n for n in layers if layers[n].fields["over"] == "channels"):
        if all(plan.timed[n] for n in scope):
            yield Wrong("normalisation-over-time", scope, {})
