"""Networks that go on from step to step: sequences of any length in one program.

A batch is a row of slots. Each holds a piece of `K` steps of a sequence; the states
stay where they are, and the next call brings the next pieces. Where a sequence has
ended the next one begins. So one program of one shape serves all lengths, and nothing
is padded but the last piece of each sequence.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np

from ..network import Network
from ..pytree import Shape
from .intake import Item
from .programs import LEAST, Programs

PIECES = tuple(2**k for k in range(4, 11))
"""Lengths that a piece may have, in steps."""
ROWS = 2**15
"""Steps of a call, all slots of a device together: what layers hand on stays small."""
WASTE = 1.1
"""A longer piece is taken while it makes the work no more than so many times larger."""
OVERHEAD = 16
"""What a step of a batch costs besides its sequences, counted in these."""
AHEAD = 2
"""Calls that may be on their way before the first is waited for."""


def goes_on(net: Network) -> bool:
    """Whether nothing but states of recurrent layers passes from step to step."""
    return (
        all(net.layers[name].shape().time for name in net.inputs)
        and not any(layer.needs_whole_sequence for layer in net.layers.values())
        and not any("/" in ref for node in net.graph for ref in node.inputs)
        # A layer behind the last step of another one takes a step a sequence.
        and all(
            net.shapes[node.inputs[0]].time
            for node in net.graph
            if node.name in net.initial
        )
    )


class _Place(NamedTuple):
    """Where a sequence lies: its slot, and the calls that it begins and ends with."""

    slot: int
    first: int
    last: int


class _Timetable(NamedTuple):
    """What happens in which call; arrays `(calls, slots)`."""

    piece: int
    places: list[_Place]
    fresh: np.ndarray
    """Whether a sequence begins."""
    left: np.ndarray
    """Steps of a piece that are part of its sequence; 0 where the slot is idle."""

    @property
    def calls(self) -> int:
        """How many there are."""
        return len(self.fresh)


def run(
    programs: Programs, net: Network, items: list[Item], most: int
) -> list[tuple[np.ndarray, ...]]:
    """The outputs of every sequence, each `(members, ...)`.

    Arguments:
        programs: what runs a batch.
        net: one of the networks.
        items: the sequences.
        most: slots, on all devices together.
    """
    lengths = [len(next(iter(item.values()))) for item in items]
    table = _timetable(np.array(lengths), most, programs.devices)
    slots = table.fresh.shape[1]
    whole = {name: _laid_out([x[name] for x in items], table) for name in net.inputs}
    shapes = [net.shapes[ref] for ref in net.outputs]
    answers = [_room(programs.members, shape, table, net.dtype) for shape in shapes]

    def steps(call: int) -> slice:
        return slice(call * table.piece, (call + 1) * table.piece)

    def take(call: int, results: Any) -> None:
        for a, result, shape in zip(answers, results, shapes, strict=True):
            a[:, :, steps(call) if shape.time else call] = np.asarray(result)

    state, waiting = programs.start(slots), []
    for call in range(table.calls):
        xs = {name: a[:, steps(call)] for name, a in whole.items()}
        state, results = programs.run(state, table.fresh[call], xs, table.left[call])
        waiting.append((call, results))
        if len(waiting) > AHEAD:
            take(*waiting.pop(0))
    for one in waiting:
        take(*one)
    found = []
    for (slot, first, last), length in zip(table.places, lengths, strict=True):
        own = slice(first * table.piece, first * table.piece + length)
        at = [own if shape.time else last for shape in shapes]
        found.append(tuple(a[:, slot, k] for a, k in zip(answers, at, strict=True)))
    return found


def _timetable(lengths: np.ndarray, most: int, devices: int) -> _Timetable:
    slots, piece = _shape(lengths, most, devices)
    places = _places(-(-lengths // piece), slots)
    calls = 1 + max(place.last for place in places)
    fresh, left = np.zeros((calls, slots), bool), np.zeros((calls, slots), np.int32)
    for (slot, first, last), length in zip(places, lengths.tolist(), strict=True):
        fresh[first, slot] = True
        left[first:last, slot] = piece
        left[last, slot] = length - (last - first) * piece
    return _Timetable(piece, places, fresh, left)


def _shape(lengths: np.ndarray, most: int, devices: int) -> tuple[int, int]:
    """How many slots, and of how many steps: what the longest sequence leaves busy."""
    found: list[tuple[float, int, int]] = []
    slots = min(LEAST * devices, most)
    while True:
        piece = _piece(lengths, slots // devices)
        counts = -(-lengths // piece)
        calls = max(counts.max(), -(-counts.sum() // slots))
        found.append((calls * piece * (slots / devices + OVERHEAD), -slots, piece))
        if slots == most:
            break
        slots = min(2 * slots, most)
    _, slots, piece = min(found)
    return -slots, piece


def _piece(lengths: np.ndarray, rows: int) -> int:
    """Steps of a piece: many, for a call costs something, but little is filled up."""
    longest = max(PIECES[0], ROWS // rows)
    all_steps = lengths.sum()
    fit = [
        p
        for p in PIECES
        if p <= longest and (-(-lengths // p) * p).sum() <= WASTE * all_steps
    ]
    return max(fit, default=PIECES[0])


def _places(counts: np.ndarray, slots: int) -> list[_Place]:
    """Sequences of so many pieces in slots, the longest first, without a gap."""
    free = [(0, slot) for slot in range(slots)]
    found: dict[int, _Place] = {}
    for k in np.argsort(-counts, kind="stable").tolist():
        at, slot = heapq.heappop(free)
        end = at + int(counts[k])
        found[k] = _Place(slot, at, end - 1)
        heapq.heappush(free, (end, slot))
    return [found[k] for k in range(len(counts))]


def _laid_out(arrays: list[np.ndarray], table: _Timetable) -> np.ndarray:
    """An input of all sequences in their places, `(slots, calls * piece, ...)`."""
    steps, slots = table.calls * table.piece, table.fresh.shape[1]
    whole = np.zeros((slots, steps, *arrays[0].shape[1:]), arrays[0].dtype)
    for x, (slot, first, _) in zip(arrays, table.places, strict=True):
        begin = first * table.piece
        whole[slot, begin : begin + len(x)] = x
    return whole


def _room(members: int, shape: Shape, table: _Timetable, dtype: Any) -> np.ndarray:
    """For an output of all sequences in their places; of each call, without time."""
    steps, slots = (
        table.calls * (table.piece if shape.time else 1),
        table.fresh.shape[1],
    )
    return np.empty((members, slots, steps, *shape.space, shape.channels), dtype)
