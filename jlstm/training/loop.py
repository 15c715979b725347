"""The loop: epochs, validation, the best network, when to stop."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from ..config import FineTuneConfig
from ..dataset import Batch, Recording, batches
from ..errors import InputError
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
        best_loss: that loss; of the training data where nothing is kept aside.
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
    return started(progress, *_scored(task, progress, validation, training))


def started(progress: Progress, name: str, loss: float) -> Progress:
    """The imported network is the best so far, with this loss.

    Raises:
        InputError: it gives none.
    """
    progress.best = _kept(progress.state.parameters)
    if not math.isfinite(loss):
        raise InputError(
            "the network gives no finite loss to begin with",
            found=loss,
            do="look at its predictions for these inputs, and at the scale of the data",
        )
    progress.best_loss = loss
    progress.history.append({"epoch": 0, "steps": 0, name: loss})
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
        before = time.perf_counter()
        losses = []
        classes = bool(task.net.classes)
        for batch in training_batches(config, training, progress.epoch, classes):
            carry = initial_carry(task, len(batch.x))
            for part in cuts(config, batch):
                # Where nothing is scored only the states move on.
                if part.weights.any():
                    progress.state, loss, carry = step(
                        task, progress.state, part, carry
                    )
                    losses.append(loss)
                else:
                    now = progress.state.parameters
                    _, _, carry = task.scored(task.on_device, now, part, carry)
        progress.epoch += 1
        # One look at the device an epoch: steps do not wait for their losses.
        values = np.asarray(jnp.stack(losses)) if losses else np.zeros(0)
        row = ended(progress, values)
        if not progress.reason and progress.epoch % config.validation_period == 0:
            judge(config, progress, *_scored(task, progress, validation, training))
        row["seconds"] = time.perf_counter() - before
        if progress.epoch >= config.max_epochs:
            progress.reason = progress.reason or MAX_EPOCHS
        if after is not None and after(progress):
            progress.reason = progress.reason or CALLED
    return progress


def training_batches(
    config: FineTuneConfig,
    training: list[Recording],
    epoch: int,
    classes: bool = False,
) -> Iterator[Batch]:
    """The batches of an epoch; MATLAB discards the last incomplete one."""
    if config.solver == "lbfgs":  # a line search wants the same loss at every look
        config = msgspec.structs.replace(config, mini_batch_size=len(training))
    return batches(
        training, config, epoch, drop_last=config.semantics == "matlab",
        classes=classes,
    )  # fmt: skip


def steps_per_epoch(config: FineTuneConfig, training: list[Recording]) -> int:
    """Steps of the solver in the first epoch, by which schedules count.

    Raises:
        InputError: lbfgs with windows that do not make one batch.
    """
    every = list(training_batches(config, training, 0))
    count = sum(
        bool(cut.weights.any()) for batch in every for cut in cuts(config, batch)
    )
    if config.solver == "lbfgs" and count != 1:
        raise InputError(
            "lbfgs needs all windows in one batch",
            found=f"{count} steps an epoch",
            do="use windows of one length, and no split_length",
        )
    return max(1, count)


def cuts(config: FineTuneConfig, batch: Batch) -> Iterator[Batch]:
    """The batch, or cuts of it of `split_length` steps between which states go on."""
    size, steps = config.split_length, batch.x.shape[1]
    if not size or steps <= size:
        yield batch
        return
    for start in range(0, steps, size):
        here = slice(start, start + size)
        yield Batch(
            batch.x[:, here],
            batch.y[:, here],
            batch.weights[:, here],
            np.clip(batch.lengths - start, 0, size).astype(np.int32),
        )


def ended(progress: Progress, losses: np.ndarray) -> dict[str, Any]:
    """Write the row of an epoch from the losses of its steps."""
    row: dict[str, Any] = {
        "epoch": progress.epoch,
        "steps": int(progress.state.steps),
        "training_loss": float(losses.mean()) if losses.size else math.nan,
    }
    progress.history.append(row)
    if not (np.all(np.isfinite(losses)) and _finite(progress.state.parameters)):
        progress.reason = DIVERGED
    return row


def judge(config: FineTuneConfig, progress: Progress, name: str, loss: float) -> None:
    """Remember the network if its loss is the best, stop if it has been long."""
    progress.history[-1][name] = loss
    if not math.isfinite(loss):
        progress.reason = DIVERGED
        return
    if loss < progress.best_loss:
        progress.best = _kept(progress.state.parameters)
        progress.best_loss, progress.best_epoch = loss, progress.epoch
        progress.looks = 0
        return
    progress.looks += 1
    patience = config.validation_patience
    if patience and progress.looks >= patience:
        progress.reason = PATIENCE


def _scored(
    task: Task,
    progress: Progress,
    validation: list[Recording],
    training: list[Recording],
) -> tuple[str, float]:
    name, some = deciding(training, validation)
    return name, score(task, progress.state.parameters, some)


def deciding(
    training: list[Recording], validation: list[Recording]
) -> tuple[str, list[Recording]]:
    """What decides which network is best: what is kept aside, or else all there is."""
    if validation:
        return "validation_loss", validation
    return "loss_of_training_data", training


def _finite(trained: Parameters) -> bool:
    flags = [jnp.all(jnp.isfinite(a)) for a in trained.values()]
    return bool(jnp.all(jnp.stack(flags)))


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
