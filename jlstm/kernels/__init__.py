"""How a recurrence is executed: one function, and engines behind it.

A recurrent layer describes itself to an engine by three methods:

    packed = layer.pack()                      # once per call, never per step
    z = layer.project(packed, x)               # everything that needs no state
    state, signals = layer.cell(packed, z_t, state)

`lax.scan` over these takes every layer on every device. Where the gates take one
product the engine "xla" runs a batch as one (`loop.py`), by two methods more:

    z = layer.joint() @ [h; x; 1]
    state, signals = layer.respond(split(z), state)

The engine "cpu" knows the equations of LSTM and GRU itself (`cpu.py`). Any of them runs
in chunks where memory is short (`rematerialisation.py`).
"""

from __future__ import annotations

from typing import Any

import jax

from ..pytree import Array
from .cpu import Cpu, multiplied_out
from .engines import chosen
from .loop import Loop
from .products import dot, transform
from .recurrence import recurrence
from .reference import stand_still, unroll
from .rematerialisation import rematerialised

__all__ = ["dot", "rematerialised", "scan", "stand_still", "transform"]


def scan(
    layer: Any,
    state: Any,
    x: Array,
    length: Array | None = None,
    mask: Array | None = None,
    *,
    reverse: bool = False,
    trace: bool = False,
    engine: str = "xla",
    rematerialise: bool = False,
) -> tuple[Any, dict[str, Array]]:
    """Run a recurrent layer over `x (time, features)`.

    Arguments:
        layer: an LSTM, GRU or RNN.
        state: where it starts.
        x: one sequence; batches are `jax.vmap`, which an engine sees as one batch.
        length: after so many steps the state stands still, in the reverse direction
            before it moves.
        mask: `(time, 1)`; the state stands still as well where it is 0.
        reverse: from the last step to the first.
        trace: every signal of the cell, not its output alone.
        engine: a name of `engines.ENGINES`, or "auto".
        rematerialise: keep states between chunks of steps alone for the way back, and
            run each chunk again there.

    Returns:
        the state after the last step, and signals over time: `{"h": (time, hidden)}`,
        with `trace` all of them.

    Raises:
        Unsupported: an engine by name that does not take this.
    """
    special = _special(layer, state, x, mask, trace)
    other = chosen(layer, engine, special)
    if other is None and special is None:
        other = Loop.of(layer)
    if isinstance(other, Cpu):
        layer = multiplied_out(layer)

    def run(
        state: Any, x: Array, length: Array | None, mask: Array | None
    ) -> tuple[Any, dict[str, Array]]:
        if other is None:
            return unroll(layer, state, x, length, mask, reverse=reverse)
        after, ys = recurrence(layer, state, x, length, reverse=reverse, engine=other)
        return after, {"h": ys}

    whole = rematerialised(run, reverse=reverse) if rematerialise else run
    return whole(state, x, length, mask)


def _special(
    layer: Any, state: Any, x: Array, mask: Array | None, trace: bool
) -> str | None:
    """What is asked for that only `lax.scan` has."""
    if trace:
        return "a trace of signals"
    if mask is not None:
        return "a mask"
    kinds = {str(a.dtype) for a in jax.tree.leaves((layer, state, x))}
    return None if len(kinds) == 1 else "numbers of " + " and ".join(sorted(kinds))
