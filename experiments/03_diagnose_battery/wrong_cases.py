"""What can be wrong with a network: every mistake that applies, at every scope.

Parameters that are free, such as gate orders, are drawn from a seeded generator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from wrong_changes import Wrong
from wrong_data import input_cases, output_cases
from wrong_layers import Plain, Plan, Unit, read

ORDERS = 12
STATE = ("softsign", "relu", "sigmoid", "identity", "tanh")
GATE = ("hard-sigmoid", "hard-sigmoid-keras3", "sigmoid", "tanh")
POINTWISE = ("relu", "tanh", "sigmoid", "softsign")
RESET_MODES = ("after-multiplication", "before-multiplication")


def applicable(net: Any, steps: int, sequences: int = 1) -> list[Wrong]:
    """Every mistake that means something for this network and this length of input.

    Mistakes between sequences only where there are several. Not all of them change the
    answer: a bias may be zero, a rectifier may meet positive values only.

    Raises:
        NotImplementedError: the network has a layer that is not computed here.
    """
    plan = read(net)
    rng = np.random.default_rng(20240229)
    return [
        *_weights(plan, rng),
        *_dense(plan),
        *_rounding(plan),
        *_running(plan, steps, sequences),
        *_cells(plan),
        *_bidirectional(plan),
        *_other_layers(plan),
        *input_cases(plan, steps, sequences, rng),
        *output_cases(plan, steps, rng),
    ]


def scopes(
    names: Iterable[str], fits: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, ...]]:
    """Each layer that fits by itself; all of them together where every one fits."""
    names = tuple(names)
    for name in names:
        if fits(name):
            yield (name,)
    if len(names) > 1 and all(map(fits, names)):
        yield names


def _kinds(plan: Plan) -> Iterator[tuple[str, dict[str, Unit]]]:
    for gates in ("ifgo", "rzn"):
        of_kind = {n: u for n, u in plan.units.items() if u.cells[0].gates == gates}
        if of_kind:
            yield gates, of_kind


# --- weights --------------------------------------------------------------------------


def _square(units: dict[str, Unit], array: str) -> Callable[[str], bool]:
    def fits(name: str) -> bool:
        shape = getattr(units[name].cells[0], array).shape
        return shape[1] == shape[2] > 1

    return fits


def _weights(plan: Plan, rng: np.random.Generator) -> Iterator[Wrong]:
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
    for gates, of_kind in _kinds(plan):
        for layers in scopes(of_kind):
            flags = [{}]
            if all(map(square, layers)):
                flags.append({"recurrent_transposed": True})
            if all(map(wide, layers)):
                flags += [flag | {"input_transposed": True} for flag in flags]
            yield from _orders(gates, layers, flags, rng)
        if gates == "ifgo":
            for layers, added in itertools.product(scopes(of_kind), (1.0, -1.0)):
                yield Wrong("forget-bias", layers, {"added": added})
            peeping = [n for n, u in of_kind.items() if u.cells[0].peephole is not None]
            for layers in scopes(peeping):
                yield Wrong("peephole-omitted", layers, {})
    yield from _exchanged(units)


def _orders(
    gates: str, layers: tuple[str, ...], flags: list[dict], rng: np.random.Generator
) -> Iterator[Wrong]:
    orders = ["".join(order) for order in itertools.permutations(gates)][1:]
    pairs = list(itertools.product(orders, flags))
    for k in rng.permutation(len(pairs))[:ORDERS]:
        order, flag = pairs[k]
        yield Wrong("gate-order", layers, {"order": order, **flag})


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


def _cells(plan: Plan) -> Iterator[Wrong]:
    units = plan.units
    for function in GATE:
        for layers in scopes(units, lambda n, f=function: units[n].cells[0].gate != f):
            yield Wrong("gate-activation", layers, {"function": function})
    for function in STATE:
        other = lambda n, f=function: units[n].cells[0].squash != f  # noqa: E731
        for layers in scopes(units, other):
            yield Wrong("state-activation", layers, {"function": function})
    for gates, of_kind in _kinds(plan):
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
