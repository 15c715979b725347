"""Does the network compute what the original computed?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from .comparison import Difference, compare
from .errors import InputError
from .golden import Golden
from .network import Network, State
from .recorded import Case, cases, decimals, fit, judge_labels
from .rounding import DTYPE, Runs, amplified, as_columns, measure
from .rounding import tolerance as explained
from .verdict import LEVELS, Labels, Sequence, verdict
from .verdict import Validation as Validation

BLIND = 0.1
"""Where rounding may reach this part of the signal, agreement proves nothing."""


def validate(
    net: Network,
    x: Any,
    expected: Any,
    *,
    layers: Mapping[str, Any] | Collection[Mapping[str, Any]] | None = None,
    state: State | None = None,
    precision: str | None = None,
    tolerance: float | None = None,
    engine: str = "auto",
) -> Validation:
    """Compare predictions with those that the original network made of the same input.

    What is accepted follows from the precision, the network and the input: as much as
    rounding can explain, see `jlstm.rounding`. It is tight where the network forgets
    and wide where it amplifies.

    Arguments:
        net: the network.
        x: what went in, `(time, features)`, as `predict` takes it; a tuple or a dict
            for several inputs. A *list* is several sequences.
        expected: what came out, of the shape that `predict` returns, `(time, outputs)`
            or `(outputs,)`; a tuple for several outputs. For a classification network
            also class names, one a step or one a sequence; weak proof. A list where x
            is one.
        layers: recorded activations, `{"lstm_1": (time, hidden)}`, by the name of a
            layer or of an inner signal, "lstm_1.c"; for several sequences a list.
        state: where the original started, the initial state by default; `net.saved` for
            a network that was saved in the middle of a signal.
        precision: "single" or "double", to compute in and to judge by; by default that
            of the parameters.
        tolerance: accept absolute differences up to this one instead.
        engine: what runs recurrent layers, as for `predict`: its numbers are judged.
            With recorded `layers` it is `lax.scan`, which alone tells of them.

    Returns:
        a `Validation`; print it.

    Raises:
        InputError: shapes, names or labels that do not fit. Arrays are never
            transposed, cut or broadcast to make them fit.
        Unsupported: an engine was named that does not run the network.
    """
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError("no tolerance", found=tolerance, expected="0 or more")
    task = _Task(net, state, precision or _precision_of(net), tolerance, engine)
    if task.precision not in DTYPE:
        raise InputError(
            "unknown precision", found=repr(precision), expected="single or double"
        )
    groups: dict[tuple, list[int]] = defaultdict(list)
    todo = cases(net, x, expected, layers)
    for number, case in enumerate(todo):
        groups[case.kind].append(number)
    found: dict[int, _Finding] = {}
    for numbers in groups.values():
        results = _judge_all(task, [todo[k] for k in numbers])
        found |= dict(zip(numbers, results, strict=True))
    return _summary(task, [found[k] for k in range(len(todo))], isinstance(x, list))


def self_test(net: Network, golden: Golden, *, engine: str = "auto") -> Validation:
    """Compare a network with the golden vectors that its file carries.

    Raises:
        InputError: the vectors are not of this network.
    """

    def bare(arrays: tuple) -> Any:
        return arrays[0] if len(arrays) == 1 else arrays

    return validate(
        net,
        bare(golden.inputs),
        bare(golden.outputs),
        layers=golden.layers,
        state=net.saved if golden.start == "saved" else None,
        engine=engine,
    )


class _Task(NamedTuple):
    net: Network
    state: State | None
    precision: str
    tolerance: float | None
    engine: str


class _Finding(NamedTuple):
    """What was found for one sequence."""

    steps: int
    outputs: tuple[Difference, ...]
    layers: tuple[Difference, ...]
    labels: tuple[Labels, ...]
    double: float | None = None
    blind_from: int | None = None
    decimals: int | None = None
    predicted: tuple[np.ndarray, ...] = ()
    recorded: tuple[np.ndarray, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        return (*self.layers, *self.outputs)

    @property
    def excess(self) -> float:
        wrong = [math.inf for label in self.labels if label.agree < label.total]
        return max([d.excess for d in self.differences] + wrong, default=0.0)


def _precision_of(net: Network) -> str:
    for name, dtype in DTYPE.items():
        if net.dtype == dtype:
            return name
    raise InputError(
        "parameters of an unknown precision",
        found=net.dtype,
        expected=", ".join(DTYPE),
        do="use net.astype('float32')",
    )


def _judge_all(task: _Task, group: list[Case]) -> list[_Finding]:
    """Compute cases of one kind together, and judge each."""
    first = group[0]
    runs = measure(
        task.net,
        [case.x for case in group],
        list(first.layers),
        state=task.state,
        precision=task.precision,
        judged=bool(first.outputs or first.layers),  # labels have no tolerance
        engine=task.engine,
    )
    return [_judge(task, *pair) for pair in zip(group, runs, strict=True)]


def _judge(task: _Task, case: Case, runs: Runs) -> _Finding:
    net = task.net
    outputs: list[Difference] = []
    double, blind = None, None
    predicted = {ref: _shaped(net, ref, runs.own[ref]) for ref in net.outputs}
    for ref, array in case.outputs.items():
        shape = predicted[ref].shape
        record = as_columns(fit(ref, array, shape), net.shapes[ref].time)
        columns = _compare(task, runs, ref, record, _column_names(net, ref))
        outputs += columns
        with np.errstate(invalid="ignore"):
            exact = np.abs(runs.exact[ref] - record).max(initial=0.0)
        double = max(double or 0.0, math.inf if np.isnan(exact) else float(exact))
        starts = [blind, _blind_from(task, runs, ref, record)]
        blind = min((s for s in starts if s is not None), default=None)
    layers = []
    for name in sorted(case.layers, key=lambda name: _place(net, name)):
        shape = _shaped(net, name, runs.own[name]).shape
        record = fit(name, case.layers[name], shape).reshape(runs.own[name].shape)
        layers += _compare(task, runs, name, record, None)
    labels = [
        judge_labels(net, ref, predicted[ref], names)
        for ref, names in case.labels.items()
    ]
    records = [case.outputs.get(ref, case.labels.get(ref)) for ref in net.outputs]
    written = [decimals(array) for array in case.outputs.values()]
    return _Finding(
        steps=max(len(own) for own in runs.own.values()),
        outputs=tuple(outputs),
        layers=tuple(layers),
        labels=tuple(labels),
        double=double if task.precision != "double" else None,
        blind_from=blind,
        decimals=min((w for w in written if w is not None), default=None),
        predicted=tuple(predicted.values()),
        recorded=tuple(r for r in records if r is not None),
    )


def _compare(
    task: _Task, runs: Runs, name: str, record: np.ndarray, columns: list[str] | None
) -> list[Difference]:
    """One difference for each of the named columns, or one for all of them."""
    own = runs.own[name]
    levels = {
        level: explained(runs, task.net, name, level)
        for level in LEVELS[LEVELS.index(task.precision) :]
    }
    accepted = levels[task.precision]
    if task.tolerance is not None:
        accepted = np.full_like(own, task.tolerance)
    if columns is None:
        return [compare(name, own, record, accepted, levels)]
    found = []
    for k, column in enumerate(columns):
        one, theirs, limit = (a[:, k : k + 1] for a in (own, record, accepted))
        by_level = {level: a[:, k : k + 1] for level, a in levels.items()}
        found.append(compare(column, one, theirs, limit, by_level))
    return found


def _shaped(net: Network, name: str, columns: np.ndarray) -> np.ndarray:
    """`(time, columns)` in the shape that `predict` returns."""
    shape = net.shapes.get(name)
    if shape is None:  # an inner signal, `(time, hidden)`
        return columns
    time = (len(columns),) if shape.time else ()
    return columns.reshape(*time, *shape.space, shape.channels)


def _column_names(net: Network, ref: str) -> list[str]:
    shape, layer = net.shapes[ref], net.layers.get(ref)
    names = getattr(layer, "classes", ()) or getattr(layer, "responses", ())
    if shape.features == 1:
        return [ref]
    names = names or range(1, shape.features + 1)
    return [f"{ref} {name}" for name in names]


def _place(net: Network, name: str) -> tuple[int, bool]:
    """Where a layer or a signal comes in the order of computation."""
    order = [node.name for node in net.graph]
    inner = name not in order
    while name not in order:
        name = name.rpartition(".")[0]
    return order.index(name), not inner


def _blind_from(task: _Task, runs: Runs, ref: str, record: np.ndarray) -> int | None:
    scale = np.abs(np.where(np.isfinite(record), record, 0.0)).max(axis=0)
    limit = amplified(runs, ref, task.precision)
    blind = np.flatnonzero(((limit > BLIND * scale) & (scale > 0)).any(axis=1))
    return int(blind[0]) if blind.size else None


def _summary(task: _Task, found: list[_Finding], many: bool) -> Validation:
    worst = max(found, key=lambda finding: finding.excess)
    outputs = worst.outputs
    labels = _all_labels(found)
    leading = max(outputs, key=lambda d: d.excess, default=None)
    bad = [d.first_bad_step for d in outputs if d.first_bad_step is not None]
    words = verdict(
        outputs,
        worst.layers,
        labels,
        given=task.tolerance,
        blind_from=worst.blind_from,
        decimals=worst.decimals,
    )
    return Validation(
        ok=all(finding.excess <= 1 for finding in found),
        verdict=words,
        precision=task.precision,
        steps=worst.steps,
        max_abs=max((d.max_abs for d in outputs), default=None),
        max_rel=max((d.max_rel for d in outputs), default=None),
        tolerance=leading and leading.tolerance,
        first_bad_step=min(bad, default=None),
        growth=leading and leading.growth,
        max_abs_double=worst.double,
        per_output=outputs,
        per_layer=worst.layers,
        first_bad_layer=next((d.name for d in worst.layers if not d.ok), None),
        per_sequence=tuple(map(_row, range(len(found)), found)) if many else (),
        labels=labels,
        blind_from=worst.blind_from,
        predicted=worst.predicted,
        recorded=worst.recorded,
    )


def _row(index: int, finding: _Finding) -> Sequence:
    every = [d.first_bad_step for d in finding.differences]
    every += [label.first_bad for label in finding.labels]
    return Sequence(
        index,
        finding.steps,
        max((d.max_abs for d in finding.differences), default=None),
        finding.excess,
        min((step for step in every if step is not None), default=None),
    )


def _all_labels(found: list[_Finding]) -> Labels | None:
    every = [label for finding in found for label in finding.labels]
    if not every:
        return None
    return Labels(
        sum(label.agree for label in every),
        sum(label.total for label in every),
        next((label.first_bad for label in every if label.agree < label.total), None),
    )
