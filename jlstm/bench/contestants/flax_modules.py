"""Flax: linen's `RNN` over its optimised cells."""

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

nn: Any = import_module("flax.linen")
GATES = {"lstm": "ifgo", "gru": "rzn"}
FUNCTIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


def variants(job: Job, option: str) -> Iterator[Variant]:
    """The network as linen modules, one a layer."""
    job.require_single()  # its cells start from single precision
    return of_peer(job, peer(job))


def peer(job: Job) -> Peer:
    """The network in Flax."""
    parts = job.series
    modules: list[Any] = [
        MODULES[p.kind](p) if p.kind in MODULES else None for p in parts
    ]
    weights = [_weights(part) for part in parts]

    def apply(weights: Any, x: Any) -> Any:
        for part, module, own in zip(parts, modules, weights, strict=True):
            x = module.apply({"params": own}, x) if module else _pointwise(part, x)
            x = _ends(part, x) if part.last else x
        return x

    def step(weights: Any, states: Any, x: Any) -> tuple[Any, Any]:
        after = []
        for part, module, own, state in zip(
            parts, modules, weights, states, strict=True
        ):
            if state is not None:
                variables = {"params": own["cell"]}
                state, x = module.cell.apply(variables, state, x)
            else:
                x = module.apply({"params": own}, x) if module else _pointwise(part, x)
            after.append(state)
        return after, x

    def start() -> list[Any]:
        return [_zero(part) for part in parts]

    def named(slopes: Any) -> dict[str, Any]:
        return {
            f"{k}.{name}": array
            for k, (part, own) in enumerate(zip(parts, slopes, strict=True))
            for name, array in _arrays(part, own).items()
        }

    return Peer(weights, apply, start, step, named)


def _rnn(part: Part) -> Any:
    kind = nn.GRUCell if part.kind == "gru" else nn.OptimizedLSTMCell
    return nn.RNN(kind(part.hidden))


def _both(part: Part) -> Any:
    halves = [nn.RNN(nn.OptimizedLSTMCell(part.hidden)) for _ in range(2)]
    return nn.Bidirectional(*halves)


def _dense(part: Part) -> Any:
    return nn.Dense(part.arrays["W"].shape[0])


MODULES = {"lstm": _rnn, "gru": _rnn, "bilstm": _both, "fc": _dense}


def _pointwise(part: Part, x: Any) -> Any:
    if part.kind == "centre":
        return (x - part.arrays["m"]) * part.arrays["s"]
    return FUNCTIONS[part.kind](x)


def _ends(part: Part, x: Any) -> Any:
    if part.kind != "bilstm":
        return x[:, -1]
    return jnp.concatenate([x[:, -1, : part.hidden], x[:, 0, part.hidden :]], axis=-1)


def _zero(part: Part) -> Any:
    if part.kind not in GATES:
        return None
    zero = np.zeros(part.hidden, part.arrays["W"].dtype)
    return zero if part.kind == "gru" else (zero, zero)


def _weights(part: Part) -> dict[str, Any]:
    """The parameters of a module: a dense layer a gate, kernels transposed."""
    a = part.arrays
    if part.kind == "fc":
        return {"kernel": a["W"].T, "bias": a["b"]}
    if part.kind == "bilstm":
        sides = [{n[1:]: v for n, v in a.items() if n[0] == side} for side in "fb"]
        cells = [_cell("lstm", side) for side in sides]
        # The cells are named by the module that both directions belong to.
        return {"forward_rnn": {"cell": cells[0]}, "backward_rnn": {"cell": cells[1]}}
    return {"cell": _cell(part.kind, a)} if part.kind in GATES else {}


def _cell(kind: str, a: dict[str, np.ndarray]) -> dict[str, Any]:
    gates = GATES[kind]
    cut = {n: dict(zip(gates, np.split(a[n], len(gates)), strict=True)) for n in "WRb"}
    found: dict[str, Any] = {}
    for gate in gates:
        first = {"kernel": cut["W"][gate].T}
        second = {"kernel": cut["R"][gate].T}
        # Biases belong to the state in an LSTM, to the input in a GRU.
        (second if kind == "lstm" else first)["bias"] = cut["b"][gate]
        found |= {f"i{gate}": first, f"h{gate}": second}
    if kind == "gru":
        found["hn"]["bias"] = a["bn"]
    return found


def _arrays(part: Part, own: Any) -> dict[str, Any]:
    """The arrays of a series out of the parameters of a module: `_weights` undone."""
    if part.kind == "fc":
        return {"W": own["kernel"].T, "b": own["bias"]}
    if part.kind == "bilstm":
        pairs = zip("fb", ("forward_rnn", "backward_rnn"), strict=True)
        return {
            side + name: array
            for side, rnn in pairs
            for name, array in _packed("lstm", own[rnn]["cell"]).items()
        }
    return _packed(part.kind, own["cell"]) if part.kind in GATES else {}


def _packed(kind: str, cell: Any) -> dict[str, Any]:
    gates, side = GATES[kind], "h" if kind == "lstm" else "i"

    def stack(where: str, name: str) -> Any:
        return np.concatenate([np.asarray(cell[where + g][name]).T for g in gates])

    found = {"W": stack("i", "kernel"), "R": stack("h", "kernel")}
    found["b"] = stack(side, "bias")
    return found | ({"bn": cell["hn"]["bias"]} if kind == "gru" else {})
