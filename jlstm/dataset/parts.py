"""Recordings split into parts and cut into windows, without a step in two parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from ..config import Data
from ..errors import InputError
from .kinds import Parts, Recording


def split(recordings: Sequence[Recording], data: Data, rng_seed: int = 0) -> Parts:
    """Keep some of the recordings aside for validation and for test.

    By time, the last `data.test` of the steps of every recording are the test part, the
    `data.validation` before them the validation part, each rounded to whole steps.
    Parts are cut before windows are, so no step is in two of them. Each part starts
    from the initial state of the network, like a recording of its own: what the state
    was at the cut is not handed on.

    By recording, whole recordings are drawn with `rng_seed`, at least one for each part
    that is asked for. So it is always done where a network answers once per sequence.

    Raises:
        InputError: a part that is asked for, or the one to train on, is left empty.
    """
    if not recordings:
        raise InputError("no recordings", expected="at least one")
    whole = data.split_by == "recording" or all(r.answers_once for r in recordings)
    parts = (_by_recording if whole else _by_time)(recordings, data, rng_seed)
    shares = (1.0, data.validation, data.test)
    for name, part, share in zip(Parts._fields, parts, shares, strict=True):
        if share and not part:
            raise InputError(
                f"nothing is left for the {name} part",
                place="data",
                found=f"{len(recordings)} recordings, "
                f"{sum(len(r.x) for r in recordings)} steps",
                do="give more, or set data.validation or data.test to 0",
            )
        if share and not any(np.any(one.weights > 0) for one in part):
            raise InputError(
                f"no target in the {name} part",
                place=", ".join(one.name for one in part[:3]),
                found="targets that are all missing",
                do="split_by the other way, or give targets there",
            )
    return parts


def folds(
    recordings: Sequence[Recording], data: Data, count: int, rng_seed: int = 0
) -> list[Parts]:
    """`count` ways to keep a part aside; every step decides in just one of them.

    What `data.test` keeps aside is the same in all; `data.validation` is not used. By
    time, every recording is cut into `count` blocks of equal length: one decides, and
    what is before and after it is learned from, as recordings of their own. By
    recording, and where a network answers once per sequence, whole recordings are
    dealt out by `rng_seed`.

    Raises:
        InputError: fewer than two folds, or too few recordings or steps for them.
    """
    data = msgspec.structs.replace(data, validation=0.0)
    train, _, test = split(recordings, data, rng_seed)
    whole = data.split_by == "recording" or all(r.answers_once for r in train)
    most = len(train) if whole else min(len(one.x) for one in train)
    if whole and most < 2:
        raise InputError(
            "one recording cannot be dealt out",
            found=f"{count} folds of {most} recordings",
            expected="two recordings at least",
            do='give more, or set data.split_by = "time"',
        )
    if not 2 <= count <= most:
        raise InputError(
            "not that many folds",
            found=f"{count} folds of {most} {'recordings' if whole else 'steps'}",
            expected=f"2 to {most}",
        )
    if whole:
        order = np.random.default_rng(rng_seed).permutation(len(train))
        turn = {int(k): place % count for place, k in enumerate(order)}
        return [
            Parts(
                [one for k, one in enumerate(train) if turn[k] != fold],
                [one for k, one in enumerate(train) if turn[k] == fold],
                test,
            )
            for fold in range(count)
        ]
    found = []
    for fold in range(count):
        parts = Parts([], [], test)
        for one in train:
            steps = len(one.x)
            start, stop = (steps * k // count for k in (fold, fold + 1))
            parts.validation.append(one.cut(start, stop))
            rest = [(0, start), (stop, steps)]
            parts.train.extend(one.cut(a, b) for a, b in rest if a < b)
        found.append(parts)
    return found


def _by_time(recordings: Sequence[Recording], data: Data, _: int) -> Parts:
    parts = Parts([], [], [])
    for one in recordings:
        steps = len(one.x)
        last = steps - _rounded(steps * data.test)
        middle = max(0, last - _rounded(steps * data.validation))
        bounds = ((0, middle), (middle, last), (last, steps))
        for part, (start, stop) in zip(parts, bounds, strict=True):
            if start < stop:
                part.append(one.cut(start, stop))
    return parts


def _by_recording(recordings: Sequence[Recording], data: Data, seed: int) -> Parts:
    count = len(recordings)
    test, validation = (
        max(1, _rounded(count * share)) if share else 0
        for share in (data.test, data.validation)
    )
    order = np.random.default_rng(seed).permutation(count)
    groups = order[test + validation :], order[test : test + validation], order[:test]
    return Parts(*([recordings[k] for k in sorted(group)] for group in groups))


def _rounded(number: float) -> int:
    return int(number + 0.5)


def windows(recordings: Sequence[Recording], data: Data) -> list[Recording]:
    """Cut recordings into windows, and take the weight from their first steps.

    Windows of `data.window` steps start every `window - overlap` steps. What is left at
    the end is one shorter window, if it has more steps than `data.washout` and any
    that no window before it has. A window without a scored step is left out. Steps
    that windows share are scored in each of them, unless washout is as long as the
    overlap: then each step is scored once.

    Raises:
        InputError: no step is scored at all; windows or a washout for a network that
            answers once per sequence; an overlap or a washout as long as the window.
    """
    if any(one.answers_once for one in recordings) and (data.window or data.washout):
        raise InputError(
            "a network that answers once per sequence takes each recording whole",
            place="data",
            found=f"window {data.window}, washout {data.washout}",
            expected="0",
        )
    if 0 < data.window <= max(data.overlap, data.washout):
        raise InputError(
            "overlap and washout must be shorter than the window",
            place="data",
            found=f"window {data.window}, overlap {data.overlap}, "
            f"washout {data.washout}",
        )
    found = []
    for one in recordings:
        for start, stop in _bounds(len(one.x), data):
            whole = stop - start == len(one.x)
            window = one if whole else one.cut(start, stop)
            if data.washout:
                weights = window.weights.copy()
                weights[: data.washout] = 0
                window = window._replace(weights=weights)
            if window.weights.any():
                name = one.name if whole else f"{one.name}[{start}:{stop}]"
                found.append(window._replace(name=name))
    if recordings and not found:
        raise InputError(
            "no step is scored",
            place=", ".join(one.name for one in recordings[:3]),
            found=f"{len(recordings)} recordings of "
            f"{min(len(one.x) for one in recordings)} and more steps, washout "
            f"{data.washout}"
            if any(one.weights.any() for one in recordings)
            else "targets that are all missing",
            do="give targets, or a shorter washout",
        )
    return found


def _bounds(steps: int, data: Data) -> Iterator[tuple[int, int]]:
    if not data.window:
        yield 0, steps
        return
    for start in range(0, steps, data.window - data.overlap):
        stop = start + data.window
        if stop <= steps:
            yield start, stop
        elif steps - start > data.washout and (
            not start or steps - start > data.overlap
        ):
            yield start, steps
            return
