"""A run from its beginning to its end: who may begin, go on and sum up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import InputError
from ..formats import native
from . import scores
from .claims import Claims
from .manifest import RUN, Evaluation, Folder, as_json
from .results import Layout

PATIENCE = 15.0
"""Seconds in which processes of a run that was killed end."""
SHOWN = 5


@contextmanager
def conducting(
    folder: Folder, evaluation: Evaluation, resume: bool
) -> Iterator[list[str]]:
    """Begin a run or go on with it, and keep others from doing so meanwhile.

    Arguments:
        folder: where the run is, or will be.
        evaluation: what it is about.
        resume: go on where there is a run; otherwise there must be none.

    Yields:
        what is to be told about a run that goes on.

    Raises:
        InputError: there is a run, or another one, or it is being computed.
    """
    goes_on = resume and folder.plan.exists()
    notes = required(folder, evaluation, resume)
    claims = Claims(folder.claims)
    try:
        _wait(folder, claims)
        if goes_on:
            folder.moved(evaluation)
            for shard in folder.tidy(evaluation):
                notes.append(f"{shard} is computed again: its result has changed")
        else:
            folder.begin(evaluation)
        yield notes
    finally:
        claims.close(RUN)
        with suppress(OSError):
            folder.claims.rmdir()  # which it is not, unless it is empty


def required(folder: Folder, evaluation: Evaluation, resume: bool) -> list[str]:
    """Refuse a folder in which a run can neither be begun nor gone on with.

    Returns:
        what is to be told about a run that goes on.

    Raises:
        InputError: there is a run, or another one.
    """
    if resume and folder.plan.exists():
        return folder.require_same(evaluation)
    folder.require_new()
    return []


def _wait(folder: Folder, claims: Claims) -> None:
    """Take the run, once the processes of one that was killed have ended."""
    begin = time.monotonic()
    while True:
        native.make_folder(folder.claims)  # who ended meanwhile has removed it
        mine = claims.take(RUN)
        other = claims.anybody() if mine else RUN
        if other is None:
            return
        if time.monotonic() - begin > PATIENCE + claims.silence(other):
            raise InputError(
                "the evaluation in this folder is being computed",
                file=folder.out,
                found=f"a living process holds {folder.claims / other}.json",
                do="wait for it, or end it",
            )
        time.sleep(0.1)


def finish(
    folder: Folder, evaluation: Evaluation, layout: Layout, deaths: list[str]
) -> dict[str, Any]:
    """Sum up a run of which nothing is left to compute.

    Arguments:
        folder: of the run.
        evaluation: what it was begun with.
        layout: the columns of the answers.
        deaths: what processes said that did not end well.

    Returns:
        what `summary.json` holds.

    Raises:
        InputError: something is left.
    """
    if left := folder.left(evaluation):
        more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        raise InputError(
            f"{len(left)} of {len(evaluation.shards)} shards are left",
            file=folder.out,
            place=", ".join(left[:SHOWN]) + more,
            found="; ".join(deaths) or None,
            do="go on with the same command and --resume",
        )
    found = summary(folder, evaluation)
    if metrics := scores.report(folder, evaluation, found, layout):
        found["metrics"] = metrics
    native.write_whole(folder.out / "summary.json", as_json(found))
    return found


def summary(folder: Folder, evaluation: Evaluation) -> dict[str, Any]:
    """What is finished so far, in a few figures."""
    finished, total = 0, dict.fromkeys(("sequences", "steps", "bytes", "seconds"), 0)
    for record in folder.records(evaluation):  # each of which holds a tally
        finished += 1
        total = {what: count + record[what] for what, count in total.items()}
    return {
        "shards": len(evaluation.shards),
        "finished": finished,
        "set_aside": list(folder.failures(evaluation)),
        "passed_over": evaluation.passed_over,
        "networks": len(evaluation.networks),
        "sequences": total["sequences"],
        "steps": total["steps"],
        "bytes": total["bytes"],
        "seconds_of_work": round(total["seconds"], 3),
    }
