"""One compiled program for a network and all the ways to run it wrongly.

The mistakes of the catalogue are data to it: other parameter arrays, another input,
another starting state, and a table of switches, one row a layer. So hundreds of
mistakes run at once, `lax.map` over sets of parameters and `vmap` over everything that
leaves the parameters alone, and nothing is compiled anew.

A network that can run step by step runs in one scan over the whole graph, because some
mistakes tie layers together (one state for two layers, a layer that reads the past of
the layer below). Others run layer by layer. Sequences of different length lie in
arrays of one length with a window `begin <= t < end`; outside of it every state stands
still.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..graph import Node
from ..network import Network
from ..pytree import Array, pytree, static
from ..recurrent import GRU, LSTM, Bidirectional, Recurrent
from .cells import SWITCH, Both, Cell, after, project, stateless, step_cell
from .pooling import choose, pool, pooled_whole, side_by_side


@pytree
class Wired:
    """A network as the engine takes it: parameters by layer, and the graph."""

    layers: dict[str, Any]
    graph: tuple[Node, ...] = static(default=())
    outputs: tuple[str, ...] = static(default=())
    timed: tuple[str, ...] = static(default=())
    stepwise: bool = static(default=True)


class Data(NamedTuple):
    """One run that leaves the parameters alone."""

    x: Mapping[str, Array]
    state: dict[str, Any]
    switches: Array
    begin: Array
    end: Array


def wire(net: Network, dtype: Any = np.float64) -> Wired:
    """The network in the engine's form, in double precision."""
    net = jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), net)
    layers = {name: _cell(layer) for name, layer in net.layers.items()}
    whole = any(layer.needs_whole_sequence for layer in net.layers.values())
    ports = any("/" in ref for node in net.graph for ref in node.inputs)
    wired = any(
        isinstance(net.layers[node.name], Recurrent) and len(node.inputs) > 1
        for node in net.graph
    )
    timed = tuple(name for name, shape in net.shapes.items() if shape.time)
    sequence = all(net.layers[name].time for name in net.inputs)  # pyright: ignore
    return Wired(
        layers,
        net.graph,
        net.outputs,
        timed,
        sequence and not (whole or ports or wired),
    )


def _cell(layer: Any) -> Any:
    if isinstance(layer, Bidirectional):
        last = layer.output_mode == "last"
        return Both(_cell(layer.forward), _cell(layer.backward), last=last)
    if not isinstance(layer, LSTM | GRU):
        return layer
    gates = [getattr(layer, name) for name in layer.gates]
    peephole = getattr(layer, "peephole", None)

    def side_by_side(field: str) -> Any:
        parts = [getattr(gate, field) for gate in gates]
        return None if parts[0] is None else np.concatenate(parts)

    return Cell(
        side_by_side("input_weights"),
        side_by_side("recurrent_weights"),
        side_by_side("bias"),
        side_by_side("recurrent_bias"),
        None if peephole is None else np.stack([peephole.i, peephole.f, peephole.o]),
        layer.input_projector,
        layer.output_projector,
        kind="lstm" if isinstance(layer, LSTM) else "gru",
        gate=layer.gate_activation,
        state=layer.state_activation,
        mode=getattr(layer, "reset_mode", ""),
        last=layer.output_mode == "last",
    )


def run_all(
    wired: Wired, count: Array, data: Data, names: tuple[str, ...]
) -> dict[str, Array]:
    """Every run with every set of parameters.

    Arguments:
        wired: parameters with a leading axis P, of which the first `count` are run.
        count: how many of them, at most P.
        data: with leading axes P and B.
        names: what to return: outputs, layers, inner signals such as "lstm_1.c".

    Returns:
        by name `(P, B, time, ...)`, or `(P, B, ...)` where there is no time.
    """
    return (_by_older if _is_there(**OLDER) else _by_default)(wired, count, data, names)


def _run_all(
    wired: Wired, count: Array, data: Data, names: tuple[str, ...]
) -> dict[str, Array]:
    def one(k: Array) -> dict[str, Array]:
        mine, runs = jax.tree.map(
            lambda leaf: lax.dynamic_index_in_dim(leaf, k, keepdims=False),
            (wired, data),
        )
        return jax.vmap(lambda d: run_one(mine, d, names))(runs)

    places = len(jax.tree.leaves(wired)[0])
    shapes = jax.eval_shape(one, jnp.int32(0))
    results = jax.tree.map(lambda s: jnp.zeros((places, *s.shape), s.dtype), shapes)

    def body(k: Array, results: dict[str, Array]) -> dict[str, Array]:
        return jax.tree.map(
            lambda all_, new: lax.dynamic_update_index_in_dim(all_, new, k, 0),
            results,
            one(k),
        )

    return lax.fori_loop(0, count, body, results)


OLDER = {"xla_cpu_use_fusion_emitters": False}
"""The older of XLA's two generators of code for processors.

It compiles this program in 0.6 of the time, and what it makes is faster besides.
"""
_by_default = jax.jit(_run_all, static_argnames="names")
_by_older = jax.jit(_run_all, static_argnames="names", compiler_options=OLDER)


@cache
def _is_there(**options: Any) -> bool:
    """Whether this version of XLA has these options."""
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def run_one(wired: Wired, d: Data, names: tuple[str, ...]) -> dict[str, Array]:
    """One run with one set of parameters; what `run_all` says."""
    return (_stepwise if wired.stepwise else _whole)(wired, d, names)


# --- all layers in one scan -----------------------------------------------------------


def _stepwise(wired: Wired, d: Data, names: tuple[str, ...]) -> dict[str, Array]:
    steps = len(next(iter(d.x.values())))
    place = {node.name: k for k, node in enumerate(wired.graph)}
    cells = [n.name for n in wired.graph if isinstance(wired.layers[n.name], Cell)]

    def step(carry: Any, now: Any) -> Any:
        states, pooled, before, y_before = carry
        t, xs = now
        active = (d.begin <= t) & (t < d.end)
        slots = dict(states)
        values: dict[str, Array] = {}
        signals: dict[str, Array] = {}
        averages: dict[str, Any] = {}
        for name, refs in wired.graph:
            layer, code = wired.layers[name], d.switches[place[name]]
            if not refs:
                given = [_closed(code, xs[name], y_before, t - d.begin)]
            else:
                late = code[SWITCH["delayed"]] > 0
                given = [
                    _where(late, before[ref], values[ref])
                    if isinstance(layer, Cell)
                    else values[ref]
                    for ref in refs
                ]
            if isinstance(layer, Cell):
                own = slots[name]
                for other in _peers(wired, cells, name):
                    chosen = code[SWITCH["slot"]] == place[other] + 1
                    own = _where(chosen, slots[other], own)
                own = _restart(code, own, d.state[name], t - d.begin)
                new, inner = step_cell(layer, code, own, project(layer, given[0]))
                new = _where(active, new, own)
                for other in _peers(wired, cells, name):
                    chosen = code[SWITCH["slot"]] == place[other] + 1
                    slots[other] = _where(chosen, new, slots[other])
                slots[name] = new
                y = new[0]
                if layer.last:
                    averages[name] = pool(pooled[name], y, active, t - d.begin)
                    y = choose(code, y, averages[name])
                signals |= {f"{name}.{key}": value for key, value in inner.items()}
            else:
                y = stateless(layer, code, given)
            values[name] = after(code, y)
        everything = values | signals
        kept = {name: values[name] for name in before}
        y = values[wired.outputs[0]]
        y_before = y if y.shape == y_before.shape else y_before
        return (slots, averages, kept, y_before), {n: everything[n] for n in names}

    start = _start(wired, d)
    _, found = lax.scan(step, start, (_times(steps), d.x))
    end = d.end - 1
    return {
        name: value
        if _is_timed(wired, name)
        else lax.dynamic_index_in_dim(value, end, keepdims=False)
        for name, value in found.items()
    }


def _start(wired: Wired, d: Data) -> Any:
    """States, running averages, the values of a step before the first, its output."""
    dtype = jax.tree.leaves(wired)[0].dtype
    x = {name: value[0] for name, value in d.x.items()}
    values: dict[str, Any] = {}
    for name, refs in wired.graph:
        layer = wired.layers[name]
        if isinstance(layer, Cell):
            values[name] = jnp.zeros(layer.hidden, dtype)
        else:
            given = [values[ref] for ref in refs] or [x[name]]
            values[name] = jnp.zeros(jax.eval_shape(layer, *given).shape, dtype)
    averages = {
        name: (values[name],) * 3
        for name, layer in wired.layers.items()
        if isinstance(layer, Cell) and layer.last
    }
    first = next(iter(x.values()))
    # Only the sources of recurrent layers are ever read late.
    sources = {
        ref
        for name, refs in wired.graph
        for ref in refs
        if isinstance(wired.layers[name], Cell)
    }
    before = {name: values[name] for name in sources}
    state = {name: tuple(part) for name, part in d.state.items()}
    return state, averages, before, jnp.zeros_like(first)


def _peers(wired: Wired, cells: list[str], name: str) -> list[str]:
    """Other layers with a state of the same shape."""
    mine = wired.layers[name]
    return [
        other
        for other in cells
        if other != name
        and wired.layers[other].hidden == mine.hidden
        and wired.layers[other].kind == mine.kind
    ]


def _closed(code: Array, x: Array, y: Array, t: Array) -> Array:
    given = code[SWITCH["closed"]]
    return _where((given > 0) & (t >= given), y, x)


def _restart(code: Array, state: Any, initial: Any, t: Array) -> Any:
    """Parts of the state from the start, where a switch says so."""
    every = [code[SWITCH["reset_h"]], code[SWITCH["reset_c"]]]
    return tuple(
        jnp.where((period > 0) & (t % jnp.maximum(period, 1) == 0), first, part)
        for period, part, first in zip(every, state, initial, strict=False)
    )


# --- layer by layer -------------------------------------------------------------------


def _whole(wired: Wired, d: Data, names: tuple[str, ...]) -> dict[str, Array]:
    values: dict[str, Array] = {}
    for k, (name, refs) in enumerate(wired.graph):
        layer, code = wired.layers[name], d.switches[k]
        given = [values[ref] for ref in refs] or [d.x[name]]
        if isinstance(layer, Cell | Both):
            state = d.state[name]
            if given[1:]:
                state = type(state)(*given[1:])
            once = given[0].ndim == 1
            x = given[0][None] if once else given[0]
            y, ends, inner = _recur(layer, code, state, x, d)
            y = y.reshape(y.shape[-1:]) if once else y
            values |= {
                f"{name}/{port}": end
                for port, end in zip(("hidden", "cell"), ends, strict=False)
            }
            values |= {f"{name}.{key}": value for key, value in inner.items()}
        else:
            y = stateless(layer, code, given)
        values[name] = after(code, y)
    return {name: values[name] for name in names}


def _recur(layer: Any, code: Array, state: Any, x: Array, d: Data) -> Any:
    t = _times(len(x))
    inside = (d.begin <= t) & (t < d.end)
    if isinstance(layer, Cell):
        end, inner = _scan(layer, code, state, x, d)
        h = inner["h"]
        if layer.last:
            h = choose(code, end[0], pooled_whole(h, inside, d.begin, d.end))
        return h, end, inner
    turned = jnp.where(inside, d.begin + d.end - 1 - t, t)
    forwards = code[SWITCH["backward_forwards"]] > 0
    order = jnp.where(forwards, t, turned)
    _, along = _scan(layer.forward, code, state.forward, x, d)
    _, against = _scan(layer.backward, code, state.backward, x[order], d)
    unturned = (code[SWITCH["backward_unturned"]] > 0) | forwards
    ahead, back = along["h"], against["h"][jnp.where(unturned, t, turned)]
    y = side_by_side(code, ahead, back)
    if layer.last:
        early = code[SWITCH["backward_last"]] > 0
        # Where the direction ends: at the first step, unless it ran forwards.
        where = jnp.where(early ^ unturned, d.end - 1, d.begin)
        ahead = lax.dynamic_index_in_dim(ahead, d.end - 1, keepdims=False)
        back = lax.dynamic_index_in_dim(back, where, keepdims=False)
        last = side_by_side(code, ahead, back)
        y = choose(code, last, pooled_whole(y, inside, d.begin, d.end))
    inner = {f"forward.{key}": value for key, value in along.items()}
    inner |= {f"backward.{key}": value[order] for key, value in against.items()}
    return y, (), inner


def _scan(cell: Cell, code: Array, state: Any, x: Array, d: Data) -> Any:
    def step(carry: Any, now: Any) -> Any:
        t, z = now
        own = _restart(code, carry, state, t - d.begin)
        new, inner = step_cell(cell, code, own, z)
        active = (d.begin <= t) & (t < d.end)
        new = _where(active, new, own)
        return new, inner | {"h": new[0]}

    return lax.scan(step, tuple(state), (_times(len(x)), project(cell, x)))


def _where(chosen: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(chosen, x, y), a, b)


def _is_timed(wired: Wired, name: str) -> bool:
    return name in wired.timed or name not in wired.layers


def _times(steps: int) -> Array:
    return jnp.arange(steps, dtype=jnp.int32)
