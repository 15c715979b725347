"""Continue the training of a network on new recordings."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np

from .config import FineTuneConfig, as_config
from .dataset import Parts, Recording, recordings, split, windows
from .errors import InputError
from .formats.native import make_folder
from .layers.inputs import STATISTICS
from .network import Network
from .scoring import Prediction, measured, predicted, units_hint
from .training import checkpoint
from .training.loop import (
    CALLED,
    DIVERGED,
    MAX_EPOCHS,
    Progress,
    begin,
    run,
    steps_per_epoch,
)
from .training.parameters import parameters
from .training.schedules import learn_rate
from .training.task import Task, init, network

CHECKPOINT = "checkpoint.safetensors"


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """A network whose training was continued; `str()` is one screen.

    Arguments:
        net: the network: the one of the best validation loss, or the last one.
        last: the network after the last step; the best one where the loss diverged.
        history: one row an epoch: epoch, steps, training_loss, validation_loss.
        reason: why it stopped.
        best_epoch: the epoch of the best validation loss; 0 is the imported network.
        before: metrics of the imported network, by part of the data.
        after: metrics of `net`, by part of the data.
        trained: paths of the parameters that were trained.
        frozen: how many were not.
        imported: the network that was given; training began with it, or with
            `normalization = "recompute"` with new statistics in its input layer.
        config: how it was trained.
        learn_rates: of the last step of every epoch, from the first; none where the
            solver has no rate of its own.
        own: what the caller gave in place of what is configured: of "transformation"
            and "loss".
        predictions: whole recordings, by part of the data.
    """

    net: Network
    last: Network
    history: tuple[dict[str, Any], ...]
    reason: str
    best_epoch: int
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    trained: tuple[str, ...]
    frozen: int
    imported: Network
    config: FineTuneConfig
    learn_rates: tuple[float, ...]
    own: tuple[str, ...]
    predictions: dict[str, tuple[Prediction, ...]]

    @property
    def losses(self) -> dict[int, float]:
        """The losses that decided, by epoch; epoch 0 is the imported network."""
        names = ("validation_loss", "loss_of_training_data")
        return {
            row["epoch"]: row[name]
            for row in self.history
            for name in names
            if math.isfinite(row.get(name, math.nan))
        }

    @property
    def kept_epoch(self) -> int:
        """The epoch of the network that is returned; 0 is the imported one."""
        best = self.config.output_network == "best" or self.reason == DIVERGED
        return self.best_epoch if best else self.history[-1]["epoch"]

    @property
    def held_out(self) -> str:
        """The part that judges the result: test, or else validation, or else train."""
        return next(n for n in reversed(Parts._fields) if n in self.predictions)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: all but networks, configuration and recordings."""
        names = ("history", "reason", "best_epoch", "before", "after", "frozen")
        found = {name: getattr(self, name) for name in names}
        return finite(found | {"trained": list(self.trained)})

    def __str__(self) -> str:
        last, new = self.history[-1], self.config.normalization == "recompute"
        lines = [
            f"{last['epoch']} epochs, {last['steps']} steps: {self.reason}",
            f"  {len(self.trained)} parameter arrays trained, {self.frozen} frozen",
            "  best: "
            + (
                f"epoch {self.best_epoch}"
                if self.best_epoch
                else "the imported network" + " with new input statistics" * new
            ),
        ]
        for part, before in self.before.items():
            lines.append(f"  {part}")
            for name, old in before.items():
                new = self.after[part][name]
                lines.append(f"    {name:<14}{old:>12.5g} before {new:>12.5g} after")
        hint = units_hint(self.predictions["train"], self.config.data)
        if hint and not self.net.classes:
            lines.append(f"  note: {hint}")
        return "\n".join(lines)


def finetune(
    net: Network,
    source: Any,
    config: FineTuneConfig | dict[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    beside: str | Path | None = None,
    callback: Callable[[Progress], Any] | None = None,
    transformation: Any = None,
    loss: Callable[..., Any] | None = None,
) -> FineTuning:
    """Continue the training of a network on new recordings.

    Arguments:
        net: the network; its precision is that of the training.
        source: recordings: a file or a folder, a pair of arrays `(x, y)`, a list of
            such pairs, a DataFrame. See `jlstm.dataset.recordings`.
        config: how to train; keys as in a TOML file.
        out: a folder for checkpoints. A run that was killed goes on from its last one,
            and ends with the same weights, bit for bit.
        beside: a MAT file in which plain names are looked up.
        callback: called with the `Progress` before the first epoch, when all is known
            to fit, and after every epoch; true stops the run.
        transformation: any optax transformation in place of the solver.
        loss: of one sequence, `(y, target, weights, scale) -> ()`, in place of the
            configured one.

    Returns:
        the network and what is to be known of the run.

    Raises:
        InputError: data or configuration do not fit the network.
    """
    config = as_config(config)
    parts = split(recordings(source, net, config.data, beside=beside), config.data)
    task, training, validation = prepared(
        net, parts, config, transformation=transformation, loss=loss
    )
    file = None if out is None else Path(out) / CHECKPOINT
    identity = fingerprint(task, parts)
    if file is not None and file.is_file():
        progress = checkpoint.load(file, task, identity)
        if progress.reason == MAX_EPOCHS and progress.epoch < config.max_epochs:
            progress.reason = ""  # there are more of them now
    else:
        progress = begin(task, validation, training)

    def after(progress: Progress) -> Any:
        stop = callback(progress) if callback is not None else False
        if file is not None:
            checkpoint.save(file, progress, identity)
        return stop

    if callback is not None and callback(progress) and not progress.reason:
        progress.reason = CALLED
    if file is not None:
        make_folder(file.parent)
    progress = run(task, progress, training, validation, after=after)
    return result(task, progress, parts, net)


def prepared(
    net: Network, parts: Parts, config: FineTuneConfig, **more: Any
) -> tuple[Task, list[Recording], list[Recording]]:
    """The task, and the windows that are learned from and that decide.

    Raises:
        InputError: data or configuration do not fit the network.
    """
    if config.normalization == "recompute":
        net = renormalised(net, parts.train)
    training = windows(parts.train, config.data)
    validation = windows(parts.validation, config.data) if parts.validation else []
    steps = steps_per_epoch(config, training)
    scale = _spread(parts.train)
    task = Task.of(net, config, steps_per_epoch=steps, scale=scale, **more)
    return task, training, validation


def _spread(training: list[Recording]) -> np.ndarray:
    """Standard deviation of the targets, by output, of what is scored."""
    y = np.concatenate([np.atleast_2d(one.y) for one in training])
    seen = np.concatenate([np.atleast_2d(one.weights) for one in training]) > 0
    return np.ma.array(y, mask=~seen).std(axis=0).filled(0.0)


def finite(value: Any) -> Any:
    """The same with None in place of what JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def fingerprint(task: Task, parts: Parts) -> str:
    """What has to be the same for a run to be resumed: all but its length."""
    settings = msgspec.to_builtins(task.config)
    if task.config.learn_rate_schedule != "cosine":
        settings.pop("max_epochs")
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    net = task.net
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.eval_shape(lambda: init(task)))
    shapes = [(jax.tree_util.keystr(path), a.dtype, a.shape) for path, a in leaves]
    # What is no array is told by its text: functions, modes, wires, factors.
    for text in (jax.tree.structure(net.layers), net.graph, net.factors, shapes):
        digest.update(str(text).encode())
    for leaf in jax.tree.leaves((net.layers, net.initial)):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    for part in parts:
        for one in part:
            for array in (one.x, one.y, one.weights):
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def renormalised(net: Network, training: list[Recording]) -> Network:
    """The network with the statistics of new data in its input layer.

    Raises:
        InputError: the input layer does not normalise, has one number for all features,
            or a feature never changes.
    """
    (name,) = net.inputs
    layer: Any = net.layers[name]
    x = np.concatenate([one.x for one in training]).astype(np.float64)
    found = {"mean": x.mean(0), "std": x.std(0, ddof=1), "minimum": x.min(0),
             "maximum": x.max(0)}  # fmt: skip
    wanted = STATISTICS[layer.normalization]
    if not wanted:
        raise InputError(
            "the input layer does not normalise",
            place=f"layer '{name}'",
            do='leave normalization = "keep"',
        )
    new = {}
    for field in wanted:
        old = np.asarray(getattr(layer, field))
        if old.size != found[field].size:
            raise InputError(
                "these statistics cannot be computed anew",
                place=f"layer '{name}', {field}",
                found=f"shape {old.shape}",
                expected=f"shape {found[field].shape}, a number for each feature",
            )
        new[field] = found[field].reshape(old.shape).astype(old.dtype)
    # Subtracting a mean needs no spread; dividing by one that is 0 gives NaN.
    spread = {"zscore": found["std"], "zerocenter": np.ones(1)}.get(
        layer.normalization, found["maximum"] - found["minimum"]
    )
    if flat := [str(k + 1) for k in np.flatnonzero(spread == 0)]:
        raise InputError(
            "an input that never changes cannot be normalised",
            found=f"feature {', '.join(flat)} is constant in the training data",
            do='leave normalization = "keep", or give data in which it changes',
        )
    changed = dataclasses.replace(layer, **new)
    return net.replace(layers=net.layers | {name: changed})


def result(
    task: Task, progress: Progress, parts: Parts, imported: Network
) -> FineTuning:
    """What came of a run, with metrics of every part of the data."""

    def finished(trained: Any) -> Network:
        found = network(task, {path: np.asarray(a) for path, a in trained.items()})
        return jax.tree.map(np.asarray, found)

    diverged = progress.reason == DIVERGED
    best = finished(progress.best)
    last = best if diverged else finished(progress.state.parameters)
    keep = best if diverged or task.config.output_network == "best" else last
    predictions = {
        name: predicted(imported, keep, part, task.config.data)
        for name, part in zip(Parts._fields, parts, strict=True)
        if part
    }
    classes = bool(task.net.classes)
    every = len(parameters(task.net))
    own = {"transformation": task.transformation, "loss": task.own_loss}
    rates = (
        learn_rates(task.config, task.steps_per_epoch, progress.history[1:])
        if task.transformation is None
        else ()
    )
    return FineTuning(
        keep, last, tuple(progress.history), progress.reason, progress.best_epoch,
        {name: measured(some, "before", classes) for name, some in predictions.items()},
        {name: measured(some, "after", classes) for name, some in predictions.items()},
        task.trained, every - len(task.trained), imported, task.config,
        tuple(rates), tuple(name for name in own if own[name] is not None), predictions,
    )  # fmt: skip


def learn_rates(
    config: FineTuneConfig, steps_per_epoch: int, rows: Iterable[dict[str, Any]]
) -> list[float]:
    """The learning rate of the last step of every epoch.

    Arguments:
        config: how the network is trained.
        steps_per_epoch: schedules count epochs by it.
        rows: of the history, without that of the imported network.

    Returns:
        a number a row; none at all for lbfgs, which has no rate.
    """
    if config.solver == "lbfgs":
        return []
    rate = learn_rate(config, steps_per_epoch)
    return [float(rate(max(0, row["steps"] - 1))) for row in rows]
