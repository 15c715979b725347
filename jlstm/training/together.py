"""Several runs in step, as one compiled program: seeds, folds, hyper-parameters.

Every run has a lane: its own parameters, batches and numbers, while shapes are those of
all. A lane that has nothing to do in a step, or has stopped, stays as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from ..dataset import Batch, Recording, batches
from ..errors import InputError
from .loop import (
    CALLED,
    MAX_EPOCHS,
    Progress,
    cuts,
    deciding,
    ended,
    judge,
    started,
    training_batches,
)
from .task import Task, TrainingState, init, initial_carry, losses, update

NUMBERS = (
    "seed", "initial_learn_rate", "learn_rate_drop_factor", "epsilon", "momentum",
    "weight_decay", "l2_regularization", "gradient_threshold", "anchor",
)  # fmt: skip
"""What may differ from run to run; all else shapes the program, or the loss."""


class Lane(NamedTuple):
    """One of the runs: what is trained, on what, and what decides."""

    task: Task
    training: list[Recording]
    validation: list[Recording]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """One step, and one look, of all lanes.

    Arguments:
        task: of the first lane; the others differ in what is stacked.
        net: the networks, each array with an axis of lanes in front.
        scale: spread of the targets `(lanes, outputs)`.
        numbers: settings that differ, `(lanes,)` by name.
    """

    task: Task
    net: Any
    scale: Any
    numbers: dict[str, Any]

    @functools.cached_property
    def step(self) -> Callable[..., Any]:
        """`(state, batch, carry, active) -> (state, loss, carry)`."""
        compiled = jax.jit(jax.vmap(self._step), donate_argnums=3)
        return functools.partial(compiled, self.numbers, self.scale, self.net)

    @functools.cached_property
    def score(self) -> Callable[..., Any]:
        """`(parameters, batch, carry) -> (sum of losses, sequences)`, no dropout."""
        compiled = jax.jit(jax.vmap(self._score))
        return functools.partial(compiled, self.numbers, self.scale, self.net)

    def _own(self, numbers: dict[str, Any], scale: Any) -> Task:
        numbers = dict(numbers)
        steps = numbers.pop("steps_per_epoch")
        config = msgspec.structs.replace(self.task.config, **numbers)
        return dataclasses.replace(
            self.task, config=config, scale=scale, steps_per_epoch=steps
        )

    def _step(
        self, numbers: Any, scale: Any, net: Any, state: TrainingState, batch: Batch,
        carry: Any, active: Any,
    ) -> Any:  # fmt: skip
        own = self._own(numbers, scale)
        moved, loss, after = update(own, net, state, batch, carry)
        state = jax.tree.map(functools.partial(jnp.where, active), moved, state)
        return state, loss, after

    def _score(
        self, numbers: Any, scale: Any, net: Any, trained: Any, batch: Batch, carry: Any
    ) -> Any:
        own = self._own(numbers, scale)
        values, real, _ = losses(own, net, trained, batch, carry, key=None)
        return (values * real).sum(), real.sum()


def program(tasks: Sequence[Task]) -> Program:
    """The program of tasks that differ in numbers alone.

    Raises:
        InputError: they differ in more, or a number is given for some of them only.
    """
    first = tasks[0]
    settings = [msgspec.structs.asdict(task.config) for task in tasks]
    differing = [
        name
        for name in first.config.__struct_fields__
        if name != "data" and any(one[name] != settings[0][name] for one in settings)
    ]
    for name in differing:
        found = [one[name] for one in settings]
        if name not in NUMBERS or None in found:
            raise InputError(
                f"{name} cannot differ between runs in step",
                found=", ".join(map(str, found)),
                expected=f"one value; {', '.join(NUMBERS)} may differ"
                if name not in NUMBERS
                else "a number for every run",
            )
    # Numbers in the precision of the network: others would widen what they meet.
    dtype = first.net.dtype
    numbers: dict[str, Any] = {
        name: np.array(
            [one[name] for one in settings], None if name == "seed" else dtype
        )
        for name in differing
    }
    numbers["steps_per_epoch"] = np.array([task.steps_per_epoch for task in tasks])
    net = jax.tree.map(lambda *leaves: np.stack(leaves), *(task.net for task in tasks))
    scale = np.stack([np.asarray(task.scale, dtype) for task in tasks])
    return Program(first, *jax.device_put((net, scale, numbers)))


def run_together(
    lanes: Sequence[Lane], *, after: Callable[[list[Progress]], Any] | None = None
) -> list[Progress]:
    """Train all lanes until each has a reason to stop.

    Arguments:
        lanes: tasks with their data.
        after: called before the first epoch and after every one; true stops all.

    Raises:
        InputError: the lanes differ in more than numbers.
    """
    together = program([lane.task for lane in lanes])
    config = together.task.config
    runs = [Progress(init(lane.task)) for lane in lanes]
    state = _stack([run.state for run in runs])
    feed = Feed(lanes)
    for run, found in zip(runs, _looks(together, feed, state), strict=True):
        started(run, *found)
    while not _stopped(runs, config.max_epochs, after):
        before = time.perf_counter()
        state, values = _epoch(together, feed, runs, state)
        host = jax.device_get(state)
        going = [run for run in runs if not run.reason]
        for k, run in enumerate(runs):
            if run in going:
                run.state = jax.tree.map(lambda a, k=k: a[k], host)
                run.epoch += 1
                ended(run, values[k])
        if going[0].epoch % config.validation_period == 0:
            looks = _looks(together, feed, state)
            for run, found in zip(runs, looks, strict=True):
                if not run.reason:
                    judge(config, run, *found)
        for run in going:
            run.history[-1]["seconds"] = time.perf_counter() - before
    return runs


def _stopped(runs: list[Progress], most: int, after: Any) -> bool:
    """Whether all runs have a reason to stop, or are given one now."""
    for run in runs:
        if run.epoch >= most:
            run.reason = run.reason or MAX_EPOCHS
    if after is not None and after(runs):
        for run in runs:
            run.reason = run.reason or CALLED
    return all(run.reason for run in runs)


def _epoch(
    together: Program, feed: Feed, runs: list[Progress], state: Any
) -> tuple[Any, list[np.ndarray]]:
    """One pass of every lane through its data; the losses of its steps."""
    found, turns = [], []
    for group in feed.training(max(run.epoch for run in runs)):
        carry = feed.start(len(group[0].x))
        for parts in zip(*(cuts(together.task.config, b) for b in group), strict=True):
            turn = [
                bool(part.weights.any()) and not run.reason
                for part, run in zip(parts, runs, strict=True)
            ]
            state, loss, carry = together.step(
                state, _stack(parts), carry, np.array(turn)
            )
            found.append(loss)
            turns.append(turn)
    values = np.asarray(jnp.stack(found))
    return state, [values[np.array(turns)[:, k], k] for k in range(len(runs))]


def _looks(together: Program, feed: Feed, state: Any) -> list[tuple[str, float]]:
    """The loss that decides, of every lane, and its name."""
    sums = np.zeros((2, len(feed.lanes)))
    for group in feed.deciding():
        carry = feed.start(len(group[0].x))
        sums += together.score(state.parameters, _stack(group), carry)
    return [
        (deciding(*lane[1:])[0], float(total / count) if count else math.nan)
        for lane, total, count in zip(feed.lanes, *sums, strict=True)
    ]


class Feed:
    """The batches of all lanes at once, in one shape; what fills them has no weight."""

    def __init__(self, lanes: Sequence[Lane]):
        self.lanes = lanes
        self._shapes: dict[str, tuple[int, int]] = {}
        self.start = functools.cache(self._start)

    def training(self, epoch: int) -> Iterator[list[Batch]]:
        """What is learned from in an epoch."""
        return self._in_step(
            "training",
            lambda lane: training_batches(
                lane.task.config, lane.training, epoch, bool(lane.task.net.classes)
            ),
            [lane.training for lane in self.lanes],
        )

    def deciding(self) -> Iterator[list[Batch]]:
        """What decides which network is best."""
        return self._in_step(
            "deciding",
            lambda lane: batches(
                deciding(*lane[1:])[1], lane.task.config, 0, drop_last=False,
                classes=bool(lane.task.net.classes),
            ),
            [deciding(*lane[1:])[1] for lane in self.lanes],
        )  # fmt: skip

    def _start(self, count: int) -> Any:
        """The initial states of all lanes, as many of each as a batch has sequences."""
        return _stack([initial_carry(lane.task, count) for lane in self.lanes])

    def _in_step(
        self, kind: str, of: Callable[[Lane], Iterable[Batch]], windows: list
    ) -> Iterator[list[Batch]]:
        if kind not in self._shapes:  # the same in every epoch
            size = max(len(batch.x) for lane in self.lanes for batch in of(lane))
            steps = max(len(one.x) for some in windows for one in some)
            self._shapes[kind] = size, steps
        for group in zip_longest(*map(of, self.lanes)):
            like = next(batch for batch in group if batch is not None)
            empty = Batch(*(np.zeros_like(array) for array in like))
            yield [_filled(b or empty, *self._shapes[kind]) for b in group]


def _filled(batch: Batch, size: int, steps: int) -> Batch:
    room = size - len(batch.x), steps - batch.x.shape[1]
    timed = batch.y.ndim > 2

    def fill(array: np.ndarray, along_time: bool) -> np.ndarray:
        ends = [(0, room[0]), (0, room[1] if along_time else 0)]
        return np.pad(array, [*ends, *[(0, 0)] * (array.ndim - 2)])

    lengths = np.pad(batch.lengths, (0, room[0]), constant_values=batch.x.shape[1])
    return Batch(
        fill(batch.x, True), fill(batch.y, timed), fill(batch.weights, timed), lengths
    )


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
