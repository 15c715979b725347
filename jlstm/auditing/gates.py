"""Gates and units that do not do their work: pinned, dead, or without input."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..network import Network
from ..recurrent import LSTM
from .parts import UNBOUNDED, Part, usual_size
from .remarks import Remark, listed, which

NEGLIGIBLE = 1e-10
"""Weights this small beside the largest of their array change no float32 sum."""
DEVIATIONS = 3.0
"""How many standard deviations of what it receives a gate must withstand."""
LONGEST = 1e9
"""Memories of more steps are given as this."""

# Where a function is within 0.01 of its end; a softsign or relu gets to no upper end
# that an input of usual size would reach.
PINNED = {"sigmoid": 4.595, "hard-sigmoid": 2.45, "tanh": 2.647}
# A gate above 0.999 remembers a thousand steps and more.
UNFORGETTING = {"sigmoid": 6.907, "hard-sigmoid": 2.495}

NAMES = {
    "i": "input gates", "f": "forget gates", "g": "cell candidates",
    "o": "output gates", "r": "reset gates", "z": "update gates", "n": "candidates",
}  # fmt: skip


class Span(NamedTuple):
    """The least and the largest pre-activation of each unit of a gate, `(H,)`."""

    low: np.ndarray
    high: np.ndarray


def span(part: Part, gate: str, size: float) -> Span:
    """What reaches a gate, for inputs of root mean square `size` and states within 1.

        b -+ 3 sqrt(size^2 sum W^2 + sum R^2)

    or the bound `3 size sum |W| + sum |R|` where that is less.
    """
    w, r, b = part.inputs[gate], part.recurrent[gate], part.bias[gate]
    state = UNBOUNDED if part.cell.state_activation == "relu" else 1.0
    spread = np.sqrt(size**2 * np.sum(w * w, axis=1) + state**2 * np.sum(r * r, axis=1))
    bound = DEVIATIONS * size * np.sum(np.abs(w), axis=1)
    reach = np.minimum(DEVIATIONS * spread, bound + state * np.sum(np.abs(r), axis=1))
    extra = getattr(part.cell, gate).recurrent_bias if gate == "n" else None
    # The reset gate lets between none and all of this bias through.
    extra = np.zeros_like(b) if extra is None else np.asarray(extra, np.float64)
    return Span(b - reach + np.minimum(extra, 0), b + reach + np.maximum(extra, 0))


def pinned(net: Network, found: list[Part]) -> list[Remark]:
    """Gates at the end of their range whatever the input; memories without end or none.

    A peephole adds the cell, which nothing bounds, so such layers are passed over.
    """
    remarks = []
    for part in found:
        if isinstance(part.cell, LSTM) and part.cell.peephole is not None:
            continue
        size = usual_size(net, part.layer)
        alive = ~_dead(part)
        spans = {gate: span(part, gate, size) for gate in part.cell.gates}
        memory = "f" if isinstance(part.cell, LSTM) else "z"
        remarks += _stuck(part, spans, memory, alive, size)
        remarks += _unforgetting(part, spans[memory], memory, alive, size)
        remarks += _forgetting(part, spans[memory], memory, alive, size)
    return remarks


def _stuck(
    part: Part, spans: dict[str, Span], memory: str, alive: np.ndarray, size: float
) -> list[Remark]:
    figures, words = {}, []
    for gate, (low, high) in spans.items():
        if gate == memory:
            continue
        candidate = gate in "gn"
        name = part.cell.state_activation if candidate else part.cell.gate_activation
        edge = PINNED.get(name, np.inf)
        top = alive & (low >= edge)
        bottom = alive & (high <= (-edge if name != "relu" else 0))
        if not np.any(top | bottom):
            continue
        figures[gate] = {"open": which(top), "closed": which(bottom)}
        ends = (1, 0 if not candidate or name == "relu" else -1)
        told = [
            f"{int(mask.sum())} at {end}"
            for mask, end in zip((top, bottom), ends, strict=True)
            if np.any(mask)
        ]
        words.append(f"{NAMES[gate]} ({', '.join(told)})")
    if not words:
        return []
    return [
        Remark(
            "pinned-gates",
            part.name,
            f"of {len(alive)} units {', '.join(words)} are pinned, whatever the input "
            f"{_sizes(size)}",
            figures | {"input_size": DEVIATIONS * size},
            "they are constants and not gates, and their weights have no gradient",
            "look for inputs that were not scaled, too large a learning rate or too "
            "long a training; before fine-tuning bring these biases back towards 0",
        )
    ]


def _unforgetting(
    part: Part, reached: Span, gate: str, alive: np.ndarray, size: float
) -> list[Remark]:
    edge = UNFORGETTING[part.cell.gate_activation]
    units = alive & (reached.low >= edge)
    if not np.any(units):
        return []
    low = reached.low[units].min()
    if part.cell.gate_activation == "sigmoid":
        steps = min(LONGEST, 1 + float(np.exp(min(low, 50.0))))
    else:
        steps = 1 / max(0.5 - 0.2 * float(low), 1 / LONGEST)
    return [
        Remark(
            "never-forgets",
            part.name,
            f"{int(units.sum())} of {units.size} units never forget: their "
            f"{NAMES[gate]} stay open {_sizes(size)}, for {steps:.0e} steps or more "
            f"(indices {listed(np.flatnonzero(units))})",
            {"units": which(units), "steps": steps},
            "what they hold depends on everything since the first step, on the length "
            "of the sequence and on the state it started from, and errors stay in it",
            "start from the state and use sequences of the length of its training; "
            "validate it on the longest that you need",
        )
    ]


def _forgetting(
    part: Part, reached: Span, gate: str, alive: np.ndarray, size: float
) -> list[Remark]:
    units = alive & (reached.high <= -PINNED[part.cell.gate_activation])
    if not np.any(units):
        return []
    return [
        Remark(
            "no-memory",
            part.name,
            f"{int(units.sum())} of {units.size} units keep nothing: their "
            f"{NAMES[gate]} stay closed {_sizes(size)} "
            f"(indices {listed(np.flatnonzero(units))})",
            {"units": which(units)},
            "of the past they know only what the last output brings",
            "nothing, if the signal has no long memory; otherwise train again with a "
            "forget bias of 1 or more",
        )
    ]


def _sizes(size: float) -> str:
    return f"(up to {DEVIATIONS * size:g})"


def dead_units(found: list[Part]) -> list[Remark]:
    """Units that nothing they receive can change."""
    remarks = []
    for part in found:
        dead = _dead(part)
        if np.any(dead):
            remarks.append(
                Remark(
                    "dead-units",
                    part.name,
                    f"{int(dead.sum())} of {dead.size} units are dead: nothing they "
                    f"receive changes their output "
                    f"(indices {listed(np.flatnonzero(dead))})",
                    {"units": which(dead), "of": int(dead.size)},
                    "their output is the same for every input",
                    "nothing for predictions; the layer could be smaller, and in "
                    "fine-tuning these units do not come back",
                )
            )
    return remarks


def unused_inputs(found: list[Part]) -> list[Remark]:
    """Inputs of a layer that reach none of its gates."""
    remarks = []
    for part in found:
        weights = np.abs(np.concatenate(list(part.inputs.values())))
        unused = np.all(weights <= NEGLIGIBLE * np.max(weights), axis=0)
        if np.any(unused):
            remarks.append(
                Remark(
                    "unused-inputs",
                    part.name,
                    f"{int(unused.sum())} of {unused.size} inputs have no effect "
                    f"(indices {listed(np.flatnonzero(unused))})",
                    {"inputs": which(unused), "of": int(unused.size)},
                    "whatever they carry, predictions do not change",
                    "make sure that they were not constant or zero by mistake in "
                    "training",
                )
            )
    return remarks


def _dead(part: Part) -> np.ndarray:
    """Units all of whose incoming weights are negligible, `(H,)`."""
    groups = [np.stack(list(g.values())) for g in (part.inputs, part.recurrent)]
    scale = max(float(np.max(np.abs(group), initial=0)) for group in groups)
    if not scale:
        return np.zeros(part.cell.hidden_size, bool)
    small = [np.all(np.abs(g) <= NEGLIGIBLE * scale, axis=(0, 2)) for g in groups]
    return small[0] & small[1]
