"""Networks that look at whole sequences: batches of similar length.

Lengths are rounded up to those of a ladder and sequences filled up to them; what is
filled up is not part of the sequence (`length` of `forward`). So a program is compiled
for each rung that occurs, whatever the data. Layers that look at every step of the
array they are given leave no room for filling: then only sequences of one length meet.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np

from ..forward import looks_at_all_steps
from ..network import Network
from .intake import Item
from .programs import LEAST, Programs

SMALLEST = 8
RATIO = 1.25
"""From one rung of the ladder to the next: at most a fifth of the work is filling."""
STEPS = 2**15
"""Steps of a batch, all sequences together, on each device."""


def run(
    programs: Programs,
    net: Network,
    items: list[Item],
    most: int,
) -> list[tuple[np.ndarray, ...]]:
    """The outputs of every sequence, each `(members, ...)`.

    Arguments:
        programs: what runs a batch.
        net: one of the networks.
        items: the sequences.
        most: sequences of a batch.
    """
    return _run(programs, net, items, most, None)[0]


def run_in_pieces(
    programs: Programs, net: Network, items: list[Item], most: int, piece: int
) -> list[tuple[np.ndarray, ...]]:
    """The same, where each sequence is run piece by piece and the states carried on."""
    steps = [len(next(iter(item.values()))) for item in items]
    states: dict[int, Any] = {}
    found: list[list[tuple[np.ndarray, ...]]] = [[] for _ in items]
    for start in range(0, max(steps, default=0), piece):
        going = [k for k, count in enumerate(steps) if start < count]
        some = [
            {name: a[start : start + piece] for name, a in items[k].items()}
            for k in going
        ]
        before = [states[k] for k in going] if start else None
        outputs, after = _run(programs, net, some, most, before)
        for k, output, state in zip(going, outputs, after, strict=True):
            found[k].append(output)
            states[k] = state
    timed = [net.shapes[ref].time for ref in net.outputs]
    return [
        tuple(
            np.concatenate(parts, axis=1) if over_time else parts[-1]
            for parts, over_time in zip(zip(*one, strict=True), timed, strict=True)
        )
        for one in found
    ]


def _run(
    programs: Programs,
    net: Network,
    items: list[Item],
    most: int,
    states: list[Any] | None,
) -> tuple[list[tuple[np.ndarray, ...]], list[Any]]:
    """The outputs and, by layer and `(members, ...)`, the states after it, of each."""
    timed = [name for name in net.inputs if net.layers[name].shape().time]
    lengths = [len(item[timed[0]]) if timed else 0 for item in items]
    exact = any(looks_at_all_steps(layer) for layer in net.layers.values())
    rooms = [n if exact or not timed else _rung(n) for n in lengths]
    order = sorted(range(len(items)), key=lambda k: (rooms[k], lengths[k], k))
    # Sequences that were not filled up have outputs of any length, theirs alone.
    filled_up = bool(timed) and not exact
    over_time = [filled_up and net.shapes[ref].time for ref in net.outputs]
    answers: dict[int, tuple[np.ndarray, ...]] = {}
    after: dict[int, Any] = {}
    for room, group in itertools.groupby(order, key=rooms.__getitem__):
        members = list(group)
        size = _size(room, len(members), most, programs.devices)
        for start in range(0, len(members), size):
            some = members[start : start + size]
            # The last batch is filled up with sequences that nobody looks at.
            filled = some + [some[0]] * (size - len(some))
            xs = {
                name: _batch([items[k][name] for k in filled], room, name in timed)
                for name in net.inputs
            }
            sizes = np.array([lengths[k] for k in filled], np.int32)
            begin = programs.start(size) if states is None else _stacked(states, filled)
            fresh = np.full(size, states is None)
            end, results = programs.run(begin, fresh, xs, sizes if filled_up else None)
            # Copies: what JAX holds cannot be written to.
            results = [np.array(result) for result in results]
            end = jax.tree.map(np.asarray, end)
            for at, k in enumerate(some):
                answers[k] = tuple(
                    result[:, at, : lengths[k]] if cut else result[:, at]
                    for cut, result in zip(over_time, results, strict=True)
                )
                after[k] = jax.tree.map(lambda a, at=at: a[:, at], end)
    every = range(len(items))
    return [answers[k] for k in every], [after[k] for k in every]


def _rung(length: int) -> int:
    """The shortest length of the ladder that holds so many steps."""
    rung = SMALLEST
    while rung < length:
        rung = -int(-rung * RATIO // 4) * 4  # up to whole vectors
    return rung


def _size(room: int, count: int, most: int, devices: int) -> int:
    """Sequences of a batch: of one size for each length, but where there are few."""
    least = LEAST * devices
    fit = min(most, STEPS * devices // max(room, 1))
    few = 1 << (count - 1).bit_length()
    size = min(1 << max(fit, 1).bit_length() - 1, few)
    # No fewer than `least`, unless the caller wants it so.
    return -(-max(size, min(least, most)) // devices) * devices


def _batch(arrays: list[np.ndarray], room: int, timed: bool) -> np.ndarray:
    if not timed:
        return np.stack(arrays)
    batch = np.zeros((len(arrays), room, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, a in zip(batch, arrays, strict=True):
        row[: len(a)] = a
    return batch


def _stacked(states: list[Any], which: list[int]) -> Any:
    return jax.tree.map(lambda *a: np.stack(a, axis=1), *(states[k] for k in which))
