"""Equinox: `lax.scan` over its cells, as its documentation shows it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..job import Job
from ..series import Part
from . import Variant
from .jax_peers import Peer
from .jax_peers import variants as of_peer

eqx: Any = import_module("equinox")
FUNCTIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


def variants(job: Job, option: str) -> Iterator[Variant]:
    """The network as a list of cells and linear layers."""
    return of_peer(job, peer(job))


def peer(job: Job) -> Peer:
    """The network in Equinox."""
    parts = job.series
    modules = [MODULES[p.kind](p) if p.kind in MODULES else None for p in parts]
    weights, rest = eqx.partition(modules, eqx.is_array)

    def apply(weights: Any, x: Any) -> Any:
        layers = eqx.combine(weights, rest)

        def one(x: Any) -> Any:
            for part, layer in zip(parts, layers, strict=True):
                x = _whole(part, layer, x)
            return x

        return jax.vmap(one)(x)

    def step(weights: Any, states: Any, x: Any) -> tuple[Any, Any]:
        after = []
        layers = eqx.combine(weights, rest)
        for part, layer, state in zip(parts, layers, states, strict=True):
            if part.kind in ("lstm", "gru"):
                state = layer(x, state)
                x = state[0] if part.kind == "lstm" else state
            else:
                x = _whole(part, layer, x)
            after.append(state)
        return after, x

    def start() -> list[Any]:
        return [_zero(p) if p.kind in ("lstm", "gru") else None for p in parts]

    def named(slopes: Any) -> dict[str, Any]:
        return {
            f"{k}.{name}": array
            for k, (part, layer) in enumerate(zip(parts, slopes, strict=True))
            if layer is not None
            for name, array in _arrays(part, layer).items()
        }

    return Peer(weights, apply, start, step, named)


def _cell(part: Part, side: str = "") -> Any:
    a = {name.removeprefix(side): array for name, array in part.arrays.items()}
    kind = eqx.nn.GRUCell if part.kind == "gru" else eqx.nn.LSTMCell
    hidden, features = part.hidden, a["W"].shape[1]
    cell = kind(features, hidden, dtype=a["W"].dtype, key=jax.random.key(0))
    fields = ["weight_ih", "weight_hh", "bias", "bias_n"][: 3 + (part.kind == "gru")]
    return eqx.tree_at(
        lambda cell: [getattr(cell, field) for field in fields],
        cell,
        [jnp.asarray(a[name]) for name in ("W", "R", "b", "bn")[: len(fields)]],
    )


def _pair(part: Part) -> Any:
    return _cell(part, "f"), _cell(part, "b")


def _linear(part: Part) -> Any:
    w, b = (jnp.asarray(part.arrays[name]) for name in "Wb")
    layer = eqx.nn.Linear(w.shape[1], w.shape[0], dtype=w.dtype, key=jax.random.key(0))
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (w, b))


MODULES = {"lstm": _cell, "gru": _cell, "bilstm": _pair, "fc": _linear}


def _whole(part: Part, layer: Any, x: Any) -> Any:
    """A layer over `(time, C)`; what has no state takes `(C,)` as well."""
    if part.kind == "fc":
        return jax.vmap(layer)(x) if x.ndim > 1 else layer(x)
    if part.kind == "centre":
        return (x - part.arrays["m"]) * part.arrays["s"]
    if part.kind in FUNCTIONS:
        return FUNCTIONS[part.kind](x)
    if part.kind == "bilstm":
        ends, along = zip(
            *(_scan(part, cell, x, reverse=k == 1) for k, cell in enumerate(layer)),
            strict=True,
        )
        return jnp.concatenate(ends if part.last else along, axis=-1)
    end, hs = _scan(part, layer, x)
    return end if part.last else hs


def _scan(part: Part, cell: Any, x: Any, reverse: bool = False) -> tuple[Any, Any]:
    def step(state: Any, x: Any) -> tuple[Any, Any]:
        state = cell(x, state)
        return state, state if part.kind == "gru" else state[0]

    end, hs = jax.lax.scan(step, _zero(part), x, reverse=reverse)
    return (end if part.kind == "gru" else end[0]), hs


def _zero(part: Part) -> Any:
    zero = np.zeros(part.hidden, next(iter(part.arrays.values())).dtype)
    return zero if part.kind == "gru" else (zero, zero)


def _arrays(part: Part, layer: Any) -> dict[str, Any]:
    if part.kind == "fc":
        return {"W": layer.weight, "b": layer.bias}
    sides = {"f": layer[0], "b": layer[1]} if part.kind == "bilstm" else {"": layer}
    found = {}
    for side, cell in sides.items():
        found |= {
            f"{side}W": cell.weight_ih, f"{side}R": cell.weight_hh,
            f"{side}b": cell.bias,
        }  # fmt: skip
    return found | ({"bn": layer.bias_n} if part.kind == "gru" else {})
