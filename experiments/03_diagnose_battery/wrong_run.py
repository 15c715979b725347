"""How a `Plan` is run: over whole sequences, or step by step where need be.

Shared states and fed-back outputs entwine the layers in time: then all of them compute
one step before any computes the next.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from wrong_layers import FUNCTIONS, LAYERS, Array
from wrong_plan import Plan, State, Unit


class Run(NamedTuple):
    """Every layer's output, the signals inside recurrent layers, the final states."""

    values: dict[str, Array]
    signals: dict[str, Array]
    ends: dict[str, list[State]]


class Track(NamedTuple):
    """A recurrent layer over time: final states and signals of its cells."""

    ends: list[State]
    signals: list[dict[str, Array]]


def run(plan: Plan, xs: dict[str, Array], start: dict[str, list[State]]) -> Run:
    """Evaluate the graph over whole sequences; step by step where layers entwine."""
    done: dict[str, Track] = {}
    if plan.closed or plan.shared:
        done, xs = _loop(plan, xs, start)
    found = Run({}, {}, {})
    for name, refs in plan.graph:
        layer = plan.layers[name]
        given = [found.values[ref] for ref in refs] or [xs[name]]
        if isinstance(layer, Unit):
            begin = [(given[1], given[-1])] if given[1:] else start[name]
            track = done.get(name) or _unroll(layer, begin, given[0])
            value = layer.output(track.signals)
            value = value[0] if given[0].ndim == 1 and value.ndim == 2 else value
            _note(found, name, track)
        else:
            value = LAYERS[layer.kind](layer.fields, *given)
        found.values[name] = FUNCTIONS[plan.after.get(name, "identity")](value)
    return found


def _note(found: Run, name: str, track: Track) -> None:
    found.ends[name] = track.ends
    found.values[f"{name}/hidden"], found.values[f"{name}/cell"] = track.ends[0]
    prefixes = ("forward.", "backward.") if len(track.signals) == 2 else ("",)
    for prefix, signals in zip(prefixes, track.signals, strict=True):
        for key, value in signals.items():
            found.signals[f"{name}.{prefix}{key}"] = value


def _unroll(unit: Unit, start: list[State], x: Array) -> Track:
    x = np.atleast_2d(x)
    if unit.delayed:
        x = np.concatenate([np.zeros_like(x[:1]), x[:-1]])
    ends, tracks = [], []
    for k, (cell, initial) in enumerate(zip(unit.cells, start, strict=True)):
        backwards = k == 1 and unit.backward != "forwards"
        state, z = initial, cell.project(x)
        rows: list[Any] = [None] * len(x)
        for t in range(len(x))[:: -1 if backwards else 1]:
            state = _reset(unit, state, initial, t + 1 if backwards else t)
            state, rows[t] = cell.step(z[t], state)
        ends.append(state)
        tracks.append({key: np.stack([row[key] for row in rows]) for key in rows[0]})
    return Track(ends, tracks)


def _reset(unit: Unit, state: State, initial: State, t: int) -> State:
    if unit.reset is None or t % unit.reset[0]:
        return state
    what = unit.reset[1]
    return initial[0] if what != "c" else state[0], (
        initial[1] if what != "h" else state[1]
    )


def _loop(plan: Plan, xs: Any, start: Any) -> tuple[dict[str, Track], dict[str, Array]]:
    """All layers at one step, then all at the next: one state for several layers, the
    output as the next input. Layers behind the last one concerned need no loop."""
    names = [name for name, _ in plan.graph]
    until = len(names) if plan.closed else 1 + max(map(names.index, plan.shared))
    nodes = plan.graph[:until]
    for name, refs in nodes:
        _refuse(plan, name, refs)
    state = {name: start[name][0] for name in plan.units}
    before: dict[str, Array] = {}
    rows: dict[str, list[Any]] = {name: [] for name, _ in nodes if name in plan.units}
    fed = {name: np.array(x) for name, x in xs.items()}
    for t in range(len(next(iter(fed.values())))):
        values: dict[str, Array] = {}
        for name, refs in nodes:
            layer = plan.layers[name]
            given = [values[ref] for ref in refs] or [fed[name][t]]
            if isinstance(layer, Unit):
                (cell,), slot, x = layer.cells, plan.shared.get(name, name), given[0]
                if layer.delayed:
                    x, before[name] = before.get(name, np.zeros_like(x)), x
                held = _reset(layer, state[slot], start[name][0], t)
                state[slot], row = cell.step(cell.project(x), held)
                rows[name].append(row)
                value = row["h"]
            else:
                value = LAYERS[layer.kind](layer.fields, *given)
            values[name] = FUNCTIONS[plan.after.get(name, "identity")](value)
        if plan.closed and t + 1 >= plan.closed:
            for x in fed.values():
                x[t + 1 : t + 2] = values[plan.outputs[0]]
    return {name: _track(plan, state, name, row) for name, row in rows.items()}, fed


def _refuse(plan: Plan, name: str, refs: tuple[str, ...]) -> None:
    """Raise where a layer cannot run one step at a time."""
    layer, timed = plan.layers[name], plan.timed
    if isinstance(layer, Unit):
        alone = len(layer.cells) == 1 and len(refs) == 1 and timed[refs[0]]
    else:
        over_time = layer.fields.get("over") == "time-channels"
        alone = layer.kind != "Indexing1D" and not over_time
        alone = alone and layer.fields.get("axis") != 0
    if not alone:
        raise NotImplementedError(f"step by step: {name}")


def _track(plan: Plan, state: Any, name: str, rows: list[Any]) -> Track:
    signals = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    return Track([state[plan.shared.get(name, name)]], [signals])


def probe(plan: Plan) -> dict[str, Array]:
    """What every layer makes of one step of zeros: how wide its output is."""
    xs = {
        name: np.zeros((1,) * entry.fields["time"] + tuple(entry.fields["size"]))
        for name, entry in plan.of_kind("Input").items()
    }
    with np.errstate(all="ignore"):
        return run(plan, xs, plan.initial).values
