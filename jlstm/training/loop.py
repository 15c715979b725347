"""The loop: epochs, validation, the best network, when to stop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..dataset import Batch, Recording, batches
from .parameters import Parameters
from .task import Task, TrainingState, init, initial_carry, step

MAX_EPOCHS, PATIENCE, DIVERGED, CALLED = (
    "all epochs were run",
    "the validation loss did not improve any more",
    "the loss is no longer a number",
    "the callback said stop",
)


@dataclasses.dataclass
class Progress:
    """Where a run stands after an epoch: all of it goes into a checkpoint.

    Arguments:
        state: parameters, solver, steps.
        epoch: epochs that are done.
        best: the parameters of the lowest validation loss so far.
        best_loss: that loss; of training where nothing is kept aside.
        best_epoch: when it was.
        looks: looks at the validation data since.
        history: one row an epoch.
        reason: why it stopped, once it has.
    """

    state: TrainingState
    epoch: int = 0
    best: Parameters = dataclasses.field(default_factory=dict)
    best_loss: float = math.inf
    best_epoch: int = 0
    looks: int = 0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    reason: str = ""


def begin(
    task: Task, validation: list[Recording], training: list[Recording]
) -> Progress:
    """Before the first epoch; the imported network is the best so far."""
    progress = Progress(init(task))
    progress.best = _kept(progress.state.parameters)
    row: dict[str, Any] = {"epoch": 0, "steps": 0}
    if validation:
        row["validation_loss"] = score(task, progress.state.parameters, validation)
        progress.best_loss = row["validation_loss"]
    else:
        row["training_loss"] = score(task, progress.state.parameters, training)
        progress.best_loss = row["training_loss"]
    progress.history.append(row)
    return progress


def run(
    task: Task,
    progress: Progress,
    training: list[Recording],
    validation: list[Recording],
    *,
    after: Callable[[Progress], Any] | None = None,
) -> Progress:
    """Train until there is a reason to stop.

    Arguments:
        task: what is trained, and how.
        progress: where to go on from.
        training: windows that are learned from.
        validation: windows that decide which network is best.
        after: called after every epoch; what it returns stops the run if it is true.
    """
    config = task.config
    while not progress.reason and progress.epoch < config.max_epochs:
        started = time.perf_counter()
        losses = []
        for batch in training_batches(task, training, progress.epoch):
            for part, carry in _cut(task, batch):
                losses.append(_advance(task, progress, part, carry))
        progress.epoch += 1
        # One look at the device an epoch: steps do not wait for their losses.
        values = np.asarray(jnp.stack(losses)) if losses else np.zeros(0)
        row: dict[str, Any] = {
            "epoch": progress.epoch,
            "steps": int(progress.state.steps),
            "training_loss": float(values.mean()),
        }
        if not np.all(np.isfinite(values)):
            progress.reason = DIVERGED
        elif progress.epoch % config.validation_frequency == 0:
            _look(task, progress, validation, row)
        row["seconds"] = time.perf_counter() - started
        progress.history.append(row)
        if progress.epoch >= config.max_epochs:
            progress.reason = progress.reason or MAX_EPOCHS
        if after is not None and after(progress):
            progress.reason = progress.reason or CALLED
    return progress


def training_batches(
    task: Task, training: list[Recording], epoch: int
) -> Iterator[Batch]:
    """The batches of an epoch; MATLAB discards the last incomplete one."""
    return batches(
        training,
        task.config,
        epoch,
        drop_last=task.config.semantics == "matlab",
        classes=bool(task.net.classes),
    )


class _Carried:
    """The states of the recurrent layers, from one cut of a batch to the next."""

    def __init__(self, value: Any):
        self.value = value


def _advance(task: Task, progress: Progress, part: Batch, carry: _Carried) -> Any:
    progress.state, loss, carry.value = step(task, progress.state, part, carry.value)
    return loss


def _cut(task: Task, batch: Batch) -> Iterator[tuple[Batch, _Carried]]:
    """The batch, or cuts of it of `split_length` steps between which states go on."""
    carry = _Carried(initial_carry(task, len(batch.x)))
    size, steps = task.config.split_length, batch.x.shape[1]
    if not size or steps <= size:
        yield batch, carry
        return
    for start in range(0, steps, size):
        here = slice(start, start + size)
        part = Batch(
            batch.x[:, here],
            batch.y[:, here],
            batch.weights[:, here],
            np.clip(batch.lengths - start, 0, size).astype(np.int32),
        )
        yield part, carry


def _look(
    task: Task, progress: Progress, validation: list[Recording], row: dict[str, Any]
) -> None:
    """Score the network, remember it if it is the best, stop if it has been long."""
    loss = row["training_loss"]
    if validation:
        loss = score(task, progress.state.parameters, validation)
        row["validation_loss"] = loss
    if loss < progress.best_loss:
        progress.best = _kept(progress.state.parameters)
        progress.best_loss, progress.best_epoch = loss, progress.epoch
        progress.looks = 0
        return
    progress.looks += 1
    patience = task.config.validation_patience
    if patience and progress.looks >= patience:
        progress.reason = PATIENCE


def _kept(trained: Parameters) -> Parameters:
    """A copy on the host: the next step reuses the memory of the device."""
    return {path: np.array(a) for path, a in trained.items()}


def score(task: Task, trained: Parameters, windows: list[Recording]) -> float:
    """The mean loss of the windows, without dropout."""
    config = task.config
    total, count = 0.0, 0.0
    classes = bool(task.net.classes)
    for batch in batches(windows, config, 0, drop_last=False, classes=classes):
        carry = initial_carry(task, len(batch.x))
        values, real, _ = task.scored(task.on_device, trained, batch, carry)
        total += float(jax.device_get((values * real).sum()))
        count += float(real.sum())
    return total / count if count else math.nan
