"""Networks that go on from step to step: sequences of any length in one program.

A batch is a row of slots. Each holds a piece of `K` steps of a sequence; the states
stay where they are, and the next call brings the next pieces. Where a sequence has
ended the next one begins. So one program of one shape serves all lengths, and nothing
is padded but the last piece of each sequence.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..graph import Node
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
ROOM = 2**25
"""Numbers of inputs and outputs, empty slots among them, that are laid out at once."""
AHEAD = 2
"""Calls that may be on their way before the first is waited for."""


def goes_on(net: Network) -> bool:
    """Whether nothing but states of recurrent layers passes from step to step."""
    shapes = net.shapes
    return (
        all(shapes[name].time for name in net.inputs)
        and not any(layer.needs_whole_sequence for layer in net.layers.values())
        and not any("/" in ref for node in net.graph for ref in node.inputs)
        and all(_in_step(net, node, shapes) for node in net.graph)
    )


def _in_step(net: Network, node: Node, shapes: dict[str, Shape]) -> bool:
    over_time = {shapes[ref].time for ref in node.inputs}
    # What one layer says at the end, others may take at every step.
    if len(over_time) > 1:
        return False
    # A layer behind the last step of another one takes a step a sequence.
    return node.name not in net.initial or over_time == {True}


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
        return self.fresh.shape[0]

    @property
    def slots(self) -> int:
        """How many there are in a call."""
        return self.fresh.shape[1]


class _Part(NamedTuple):
    """What some calls do of a sequence."""

    sequence: int
    slot: int
    steps: slice
    """Of the sequence."""
    place: slice
    """Where they lie, in steps from the first of the calls."""
    end: int | None
    """The call in which it ends, counted from the first of these; None: in none."""


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
    shapes = [net.shapes[ref] for ref in net.outputs]
    width = sum(x[:1].size for x in items[0].values())
    width += programs.members * sum(shape.features for shape in shapes)
    many = max(1, ROOM // (table.slots * table.piece * width))
    state = programs.start(table.slots)
    found: list[list[list[np.ndarray]]] = [[[] for _ in shapes] for _ in items]
    for begin in range(0, table.calls, many):
        calls = range(begin, min(begin + many, table.calls))
        parts = list(_parts(table, lengths, calls))
        state, answers = _calls(programs, items, shapes, table, state, calls, parts)
        for part in parts:
            where = [part.place if shape.time else part.end for shape in shapes]
            for to, a, at in zip(found[part.sequence], answers, where, strict=True):
                if at is not None:
                    some = a[:, part.slot, at]
                    # A copy, where a view would keep the rows of all slots.
                    to.append(some if len(calls) == table.calls else some.copy())
    return [tuple(map(_joined, outputs)) for outputs in found]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _calls(
    programs: Programs,
    items: list[Item],
    shapes: list[Shape],
    table: _Timetable,
    state: Any,
    calls: range,
    parts: list[_Part],
) -> tuple[Any, list[np.ndarray]]:
    """The states after some calls, and the outputs `(members, slots, steps, ...)`."""
    slots, piece = table.slots, table.piece
    whole = {
        name: _laid_out(items, name, parts, (slots, len(calls) * piece))
        for name in items[0]
    }
    answers = [
        np.empty(
            (
                programs.members,
                slots,
                len(calls) * (piece if shape.time else 1),
                *shape.space,
                shape.channels,
            ),
            programs.dtype,
        )
        for shape in shapes
    ]

    def steps(k: int) -> slice:
        return slice(k * piece, (k + 1) * piece)

    def take(k: int, results: Any) -> None:
        for a, result, shape in zip(answers, results, shapes, strict=True):
            a[:, :, steps(k) if shape.time else k] = np.asarray(result)

    waiting = []
    for k, call in enumerate(calls):
        xs = {name: a[:, steps(k)] for name, a in whole.items()}
        state, results = programs.run(state, table.fresh[call], xs, table.left[call])
        waiting.append((k, results))
        if len(waiting) > AHEAD:
            take(*waiting.pop(0))
    for one in waiting:
        take(*one)
    return state, answers


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


def _parts(table: _Timetable, lengths: list[int], calls: range) -> Iterator[_Part]:
    """What some calls do of each sequence that they have to do with."""
    for k, (slot, first, last) in enumerate(table.places):
        if first >= calls.stop or last < calls.start:
            continue
        begin = max(0, calls.start - first) * table.piece
        end = min(lengths[k], (calls.stop - first) * table.piece)
        away = (first - calls.start) * table.piece
        place = slice(away + begin, away + end)
        ends = last - calls.start if last < calls.stop else None
        yield _Part(k, slot, slice(begin, end), place, ends)


def _laid_out(
    items: list[Item], name: str, parts: list[_Part], lead: tuple[int, int]
) -> np.ndarray:
    """An input of sequences in their places, `(slots, steps, ...)`."""
    one = items[0][name]
    whole = np.zeros((*lead, *one.shape[1:]), one.dtype)
    for part in parts:
        whole[part.slot, part.place] = items[part.sequence][name][part.steps]
    return whole
