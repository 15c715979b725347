"""Windows of sequences, and a thread that is one of them ahead.

Windows are cut by fixed rules, so that the same file gives the same windows, and the
same numbers to the bit, whoever reads it and however fast.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

from .kinds import Item

NUMBERS = 1 << 24
"""Numbers of the inputs and targets of a window: 64 MiB in single precision."""
COUNT = 1 << 14
"""Sequences of a window."""

T = TypeVar("T")


def windows(
    items: Iterable[Item], unit: int = 1, numbers: int = NUMBERS, count: int = COUNT
) -> Iterator[list[Item]]:
    """Runs of sequences, so many as fit; a sequence that does not is one by itself.

    Arguments:
        items: the sequences.
        unit: no run but the last is cut inside so many sequences, which belong
            together: a mini-batch of MATLAB.
        numbers: of the inputs and targets of a run.
        count: sequences of a run.
    """
    held: list[Item] = []
    total = 0
    for item in items:
        size = item.x.size + (0 if item.y is None else item.y.size)
        full = total + size > numbers or len(held) >= count
        if held and full and len(held) % unit == 0:
            yield held
            held, total = [], 0
        held.append(item)
        total += size
    if held:
        yield held


def ahead(source: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """The same things, made by a thread up to `depth` before they are asked for.

    The thread ends when the iterator is closed. What `source` raises is raised here.
    """
    made: queue.Queue[tuple[bool, object]] = queue.Queue(depth)
    ended = threading.Event()

    def put(value: tuple[bool, object]) -> bool:
        while not ended.is_set():
            try:
                made.put(value, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for thing in source:
                if not put((True, thing)):
                    return
                del thing  # the next one is made while this one is used up
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            more, thing = made.get()
            if not more:
                if isinstance(thing, BaseException):
                    raise thing
                return
            yield thing  # pyright: ignore[reportReturnType]
            del thing
    finally:
        ended.set()
        thread.join(timeout=5)
