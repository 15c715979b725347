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
from .intake import Item
from .programs import Programs

PIECES = tuple(2**k for k in range(4, 11))
"""Lengths that a piece may have, in steps."""
WASTE = 1.1
"""A longer piece is taken while it makes the work no more than so many times larger."""
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


class _Places(NamedTuple):
    """Which piece lies where: arrays `(calls, slots)`."""

    sequence: np.ndarray
    """Its number; -1 where a slot is idle."""
    begin: np.ndarray
    """Its first step."""


def run(
    programs: Programs, net: Network, items: list[Item], slots: int
) -> list[tuple[np.ndarray, ...]]:
    """The outputs of every sequence, each `(members, ...)`."""
    lengths = np.array([len(next(iter(item.values()))) for item in items])
    piece = _piece(lengths)
    places = _places(-(-lengths // piece), slots, piece)
    flat = {name: _joined(items, name) for name in net.inputs}
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    timed = [net.shapes[ref].time for ref in net.outputs]
    answers = [
        np.empty(
            (programs.members, lengths.sum() if over_time else len(items), *tail),
            net.dtype,
        )
        for over_time, tail in zip(timed, _tails(net), strict=True)
    ]
    waiting: list[Any] = []
    state, steps = programs.start(slots), np.arange(piece)

    def take(results: Any, sequence: Any, begin: Any, left: Any) -> None:
        inside = steps < left[:, None]
        rows = (first[sequence] + begin)[:, None] + steps
        ended = (sequence >= 0) & (begin + piece >= lengths[sequence])
        for whole, result, over_time in zip(answers, results, timed, strict=True):
            if over_time:
                whole[:, rows[inside]] = np.asarray(result)[:, inside]
            else:
                whole[:, sequence[ended]] = np.asarray(result)[:, ended]

    for sequence, begin in zip(*places, strict=True):
        left = np.clip(lengths[sequence] - begin, 0, piece) * (sequence >= 0)
        rows = (first[sequence] + begin)[:, None] + np.minimum(
            steps, np.maximum(left, 1)[:, None] - 1
        )
        xs = {name: a[rows] for name, a in flat.items()}
        fresh = (begin == 0) & (sequence >= 0)
        state, results = programs.run(state, fresh, xs, left.astype(np.int32))
        for result in results:
            result.copy_to_host_async()
        waiting.append((results, sequence, begin, left))
        if len(waiting) > AHEAD:
            take(*waiting.pop(0))
    for call in waiting:
        take(*call)
    return _apart(answers, timed, lengths)


def _piece(lengths: np.ndarray) -> int:
    """Steps of a piece: many, for a call costs something, but little is filled up."""
    all_steps = lengths.sum()
    fit = [p for p in PIECES if (-(-lengths // p) * p).sum() <= WASTE * all_steps]
    return max(fit, default=PIECES[0])


def _places(counts: np.ndarray, slots: int, piece: int) -> _Places:
    """Sequences of so many pieces in slots, the longest first, without a gap."""
    free = [(0, slot) for slot in range(slots)]
    begun = []
    for k in np.argsort(-counts, kind="stable").tolist():
        at, slot = heapq.heappop(free)
        begun.append((k, at, slot))
        heapq.heappush(free, (at + int(counts[k]), slot))
    calls = max(at for at, _ in free)
    sequence = np.full((calls, slots), -1)
    begin = np.zeros((calls, slots), int)
    for k, at, slot in begun:
        count = int(counts[k])
        sequence[at : at + count, slot] = k
        begin[at : at + count, slot] = np.arange(count) * piece
    return _Places(sequence, begin)


def _joined(items: list[Item], name: str) -> np.ndarray:
    """One sequence behind the other."""
    return np.concatenate([item[name] for item in items])


def _tails(net: Network) -> list[tuple[int, ...]]:
    shapes = [net.shapes[ref] for ref in net.outputs]
    return [(*shape.space, shape.channels) for shape in shapes]


def _apart(
    answers: list[np.ndarray], timed: list[bool], lengths: np.ndarray
) -> list[tuple[np.ndarray, ...]]:
    """The outputs of each sequence by itself."""
    ends = np.cumsum(lengths).tolist()
    starts = [0, *ends[:-1]]
    return [
        tuple(
            a[:, begin:end] if over_time else a[:, k]
            for a, over_time in zip(answers, timed, strict=True)
        )
        for k, (begin, end) in enumerate(zip(starts, ends, strict=True))
    ]
