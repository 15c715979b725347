"""Many trials at once: grouped, stacked, run on all cores, put back in order."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from .cells import Both, Cell
from .engine import Data, run_all
from .trial import Run, Trial

ROWS = 32
"""Runs that share their parameters are computed so many at a time."""
SETS = 16
"""Sets of parameters, at most so many at a time,"""
EXTRA = 32
"""Steps by which runs with padding are longer, in most cases."""
MEMORY = 256e6
"""and at most so many bytes of them."""

Values = dict[str, np.ndarray]
"""Outputs and layers by name, `(time, columns)`, of the steps that were observed."""


class _Job(NamedTuple):
    trial: int
    sequence: int
    run: Run
    rows: int


def window_safe(trial: Trial) -> bool:
    """Whether steps outside of a run's window leave its answer alone."""
    return trial.wired.stepwise or not any(
        getattr(layer, "needs_whole_sequence", False)
        for layer in trial.wired.layers.values()
        if not isinstance(layer, Cell | Both)
    )


def evaluate(
    trials: Sequence[Trial],
    names: tuple[str, ...],
    *,
    upto: int | None = None,
    single: bool = False,
    tick: Callable[[int], None] | None = None,
) -> list[list[Values]]:
    """What each trial gives for each of its sequences.

    Arguments:
        trials: of one network.
        names: outputs, layers, inner signals.
        upto: only so many of the observed steps, where the network is causal.
        single: in single precision, for a quick look; the trials must be, too.
        tick: called with the number of runs that were finished.
    """
    if not trials:
        return []
    causal = trials[0].wired.stepwise
    groups: dict[int, list[_Job]] = defaultdict(list)
    for k, trial in enumerate(trials):
        for s, run in enumerate(trial.runs):
            rows = run.rows if upto is None else min(upto, run.rows)
            # Rows after the last observed step matter only to what ends there.
            groups[id(trial.wired.layers)].append(_Job(k, s, run, rows))
    chunks = _chunks(trials, list(groups.values()), upto if causal else None)
    results: list[list[Any]] = [[None] * len(trial.runs) for trial in trials]

    def work(chunk: _Chunk) -> None:
        with jax.enable_x64(not single):
            found = _run_chunk(trials, chunk, names)
        for job, values in found:
            results[job.trial][job.sequence] = values
        if tick is not None:
            tick(len(found))

    if len(chunks) == 1:
        work(chunks[0])
        return results
    with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        list(pool.map(work, chunks))
    return results


class _Chunk(NamedTuple):
    """Jobs by set of parameters, all sets with equally many; the common length."""

    sets: list[list[_Job]]
    places: int
    length: int
    shared: bool = False


def _chunks(
    trials: Sequence[Trial], groups: list[list[_Job]], upto: int | None
) -> list[_Chunk]:
    steps = max(run.rows for run in trials[0].runs)
    plain = steps if upto is None else min(upto, steps)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(trials[0].wired))
    places = int(np.clip(MEMORY // max(size, 1), 1, SETS))
    timed = next(iter(trials[0].runs[0].x.values())).ndim > 1
    chunks: list[_Chunk] = []
    small: dict[Any, list[list[_Job]]] = defaultdict(list)
    kinds: dict[int, Any] = {}
    # Few different lengths, because each of them is compiled.
    lengths = [plain, plain + EXTRA, plain + max(steps, 2 * EXTRA)]
    if plain > 2 * EXTRA:
        del lengths[1]
    for group in groups:
        by_length: dict[Any, list[_Job]] = defaultdict(list)
        # A mistake may make a network look at all steps at once.
        safe = timed and window_safe(trials[group[0].trial])
        for job in group:
            length = _length(job.run, upto)
            if safe:
                length = min([n for n in lengths if n >= length], default=length)
            by_length[length].append(job)
        for length, jobs in by_length.items():
            if len(jobs) > ROWS // 4 or len(jobs) > 2 * len(trials[0].runs):
                chunks += [
                    _Chunk([jobs[k : k + ROWS]], 1, length, True)
                    for k in range(0, len(jobs), ROWS)
                ]
                continue
            # Few runs with a set of parameters: each trial has the set for itself,
            # because every number of runs would be compiled anew.
            by_trial: dict[int, list[_Job]] = defaultdict(list)
            for job in jobs:
                by_trial[job.trial].append(job)
            for part in by_trial.values():
                wired = trials[part[0].trial].wired
                if id(wired) not in kinds:
                    kinds[id(wired)] = jax.tree.structure(wired)
                small[length, len(part), kinds[id(wired)]].append(part)
    for (length, *_), sets in small.items():
        chunks += [
            _Chunk(sets[k : k + places], places, length)
            for k in range(0, len(sets), places)
        ]
    # One of each kind first, so that they are compiled side by side.
    seen: set[Any] = set()
    first, rest = [], []
    for chunk in chunks:
        kind = (chunk.shared, chunk.length, len(chunk.sets[0]) * (not chunk.shared))
        (rest if kind in seen else first).append(chunk)
        seen.add(kind)
    return first + rest


def _length(run: Run, upto: int | None) -> int:
    """Steps to be run."""
    length = len(next(iter(run.x.values())))
    return length if upto is None else min(length, run.at + upto)


def _run_chunk(
    trials: Sequence[Trial], chunk: _Chunk, names: tuple[str, ...]
) -> list[tuple[_Job, Values]]:
    heads = [trials[jobs[0].trial].wired for jobs in chunk.sets]
    wired = jax.tree.map(
        lambda *leaves: np.stack(leaves),
        *heads,
        *[heads[-1]] * (chunk.places - len(heads)),
    )
    found: list[tuple[_Job, Values]] = []
    rows = ROWS if chunk.shared else None
    dtype = jax.tree.leaves(wired)[0].dtype
    data = [_stack(trials, jobs, chunk.length, rows, dtype) for jobs in chunk.sets]
    every = jax.tree.map(
        lambda *leaves: np.stack(leaves),
        *data,
        *[data[-1]] * (chunk.places - len(data)),
    )
    results = run_all(wired, np.asarray(len(heads), np.int32), every, names)
    results = {name: np.asarray(value) for name, value in results.items()}
    for p, jobs in enumerate(chunk.sets):
        timed = trials[0].wired.timed
        layers = trials[0].wired.layers
        for b, job in enumerate(jobs):
            values = {}
            for name, value in results.items():
                one = value[p, b]
                if name in timed or name not in layers:
                    one = one[job.run.at : job.run.at + job.rows]
                    values[name] = one.reshape(len(one), -1)
                else:
                    values[name] = one.reshape(1, -1)
            found.append((job, values))
    return found


def _stack(
    trials: Sequence[Trial],
    jobs: list[_Job],
    length: int,
    rows: int | None,
    dtype: Any,
) -> Data:
    jobs = jobs + [jobs[-1]] * ((rows or len(jobs)) - len(jobs))
    with np.errstate(over="ignore"):  # too large for single: looked at in double
        x = {
            name: np.stack([_fit(job.run.x[name], length) for job in jobs]).astype(
                dtype
            )
            for name in jobs[0].run.x
        }
    state = jax.tree.map(
        lambda *leaves: np.stack(leaves).astype(dtype),
        *[job.run.state or trials[job.trial].state for job in jobs],
    )
    ends = [min(job.run.end, length) for job in jobs]
    return Data(
        x,
        state,
        np.stack([trials[job.trial].switches for job in jobs]),
        np.array([job.run.begin for job in jobs], np.int32),
        np.array(ends, np.int32),
    )


def _fit(x: np.ndarray, length: int) -> np.ndarray:
    if x.ndim == 1 or len(x) == length:
        return x
    if len(x) > length:
        return x[:length]
    return np.concatenate([x, np.zeros((length - len(x), *x.shape[1:]))])
