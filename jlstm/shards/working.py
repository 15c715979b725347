"""One process at work: shard after shard, until none is left.

A thread reads, one window ahead of the device, also beyond the end of a shard. The
shards of a process come first, then those that nobody has claimed, then those whose
claimer is dead. Who finds none waits for the others: one of them may die.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from ..errors import JlstmError
from ..formats.native import write_whole
from . import sources
from .ahead import ahead, windows
from .claims import Claims
from .job import Job
from .kinds import Item
from .manifest import Evaluation, Folder, Shard, as_json, fingerprint
from .results import GROUP, Results, writing_results
from .scores import TALLY, Scores

WAIT = 0.2
"""Seconds between two looks at what the others do."""

Progress = Callable[[int, int], Any]
"""Is told how many sequences and steps have been computed since the last time."""


class _Begin(NamedTuple):
    shard: Shard


class _End(NamedTuple):
    error: str = ""


class _SetAside(Exception):
    """A shard could not be read."""


def work(
    folder: Folder,
    evaluation: Evaluation,
    job: Job,
    number: int = 0,
    count: int = 1,
    progress: Progress = lambda sequences, steps: None,
) -> None:
    """Compute shards until all are finished or set aside, by whomever.

    Arguments:
        folder: of the run.
        evaluation: what it was begun with.
        job: what to compute.
        number, count: this process, from 0, and how many there are.
        progress: is told what has been computed.

    Raises:
        InputError: results cannot be written.
    """
    claims = Claims(folder.claims)
    read = ahead(_read(folder, evaluation, job, claims, number, count))
    # Claims first: the thread that reads may be waiting for the others.
    with closing(read) as events, closing(claims):
        for event in events:
            assert isinstance(event, _Begin)
            _shard(folder, event.shard, job, events, progress)
            claims.drop(event.shard.name)


def turns(
    folder: Folder, names: list[str], claims: Claims, number: int, count: int
) -> Iterator[str]:
    """Names of shards that are this process's to compute, claimed."""

    def taken(name: str) -> bool:
        if folder.settled(name) or not claims.take(name):
            return False
        if folder.settled(name):  # while it was claimed
            claims.drop(name)
            return False
        return True

    yield from filter(taken, names[number::count])
    # Not all of them begin with the same one.
    start = len(names) * number // count
    left = names[start:] + names[:start]
    yield from (name for name in left if not claims.claimed(name) and taken(name))
    while left := [name for name in left if not folder.settled(name)]:
        dead = [name for name in left if not claims.alive(name)]
        yield from filter(taken, dead)
        if not dead and claims.wait(WAIT):
            return


def _read(
    folder: Folder,
    evaluation: Evaluation,
    job: Job,
    claims: Claims,
    number: int,
    count: int,
) -> Iterator[Any]:
    """For each shard its beginning, its windows and its end; run by the thread."""
    shards = {shard.name: shard for shard in evaluation.shards}
    for name in turns(folder, list(shards), claims, number, count):
        yield _Begin(shards[name])
        try:
            path = evaluation.path(name)
            if fingerprint(path) != shards[name]:
                raise JlstmError("the file has changed since the run began", file=path)
            yield from windows(sources.read(path, job.want, job.ask), job.unit)
        except JlstmError as error:
            yield _End(str(error))
        else:
            yield _End()


def _shard(
    folder: Folder, shard: Shard, job: Job, events: Iterator[Any], progress: Progress
) -> None:
    """Compute a shard and put what comes out in place; its record comes last."""
    begin = time.perf_counter()
    sequences = steps = 0
    target = folder.result(shard.name)
    try:
        with (
            writing_results(target, job.layout) as results,
            Scores(folder, shard.name, job.layout, job.worst) as scores,
        ):
            for event in events:
                if isinstance(event, _End):
                    if event.error:
                        raise _SetAside(event.error)
                    break
                _window(event, job, results, scores)
                more = sum(len(item.x) for item in event)
                sequences, steps = sequences + len(event), steps + more
                progress(len(event), more)
            tally, digest = scores.save(), results.close()
    except _SetAside as error:
        words = {"shard": shard.name, "reason": str(error)}
        write_whole(folder.failure(shard.name), as_json(words))
        return
    record = {
        "shard": shard.name,
        "sequences": sequences,
        "steps": steps,
        "bytes": target.stat().st_size,
        "sha256": digest,
        "seconds": round(time.perf_counter() - begin, 3),
        TALLY: tally,
    }
    write_whole(folder.record(shard.name), as_json(record, indent=None))


def _window(items: list[Item], job: Job, results: Results, scores: Scores) -> None:
    answers = job.run([item.x for item in items])
    start = 0
    while start < len(items):
        stop, rows = start, 0
        while stop < len(items) and rows < GROUP:
            rows += len(items[stop].x) if job.layout.over_time else 1
            stop += 1
        found, counts = job.layout.rows(answers[start:stop])
        some = items[start:stop]
        results.add([item.name for item in some], found, counts)
        scores.add(some, found, counts)
        start = stop
