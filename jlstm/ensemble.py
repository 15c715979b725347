"""Continue the training of one network many times at once: seeds, folds, settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from .config import FineTuneConfig, as_config
from .dataset import folds as folds_of
from .dataset import recordings, split
from .errors import InputError
from .finetuning import FineTuning, prepared, result
from .network import Network
from .training.loop import Progress
from .training.together import NUMBERS, Lane, run_together

APART = ("seed", "fold")
"""What members of a group may differ in."""


class Group(NamedTuple):
    """Members that differ by seed and fold alone.

    Arguments:
        setting: what sets the group apart from the others.
        members: what came of each run.
        mean: of the validation losses of the networks that its members returned; of
            those of all training data where nothing is kept aside.
        spread: their standard deviation (n - 1); NaN of a single one.
    """

    setting: dict[str, Any]
    members: tuple[FineTuning, ...]
    mean: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Networks whose training was continued side by side; `str()` is one screen.

    Arguments:
        members: what came of each run.
        settings: what sets each apart: numbers of the configuration, and the fold that
            decided, counted from 1.
    """

    members: tuple[FineTuning, ...]
    settings: tuple[dict[str, Any], ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """Members that differ by seed and fold alone, the lowest mean loss first."""
        found: dict[str, list[int]] = {}
        for k, setting in enumerate(self.settings):
            found.setdefault(str(sorted(_without(setting).items())), []).append(k)
        groups = []
        for places in found.values():
            members = tuple(self.members[k] for k in places)
            losses = np.array([_kept_loss(member) for member in members])
            spread = losses.std(ddof=1) if len(losses) > 1 else np.nan
            setting = _without(self.settings[places[0]])
            groups.append(Group(setting, members, float(losses.mean()), float(spread)))
        return tuple(sorted(groups, key=lambda group: group.mean))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: all but networks and recordings."""
        pairs = zip(self.settings, self.members, strict=True)
        return {"members": [{"setting": s} | m.to_dict() for s, m in pairs]}

    def __str__(self) -> str:
        name, *_ = (n for n in self.members[0].history[0] if "loss" in n)
        start = np.mean([member.losses[0] for member in self.members])
        lines = [
            f"{len(self.members)} runs side by side",
            f"  {name.replace('_', ' '):<34}{'mean':>11}{'spread':>11}{'runs':>6}",
            f"  {'imported':<34}{start:>11.4g}",
        ]
        for group in self.groups:
            words = ", ".join(f"{k} {v}" for k, v in group.setting.items())
            spread = f"{group.spread:.2g}" if len(group.members) > 1 else ""
            lines.append(
                f"  {words or 'continued':<34}{group.mean:>11.4g}{spread:>11}"
                f"{len(group.members):>6}"
            )
        return "\n".join(lines)


def _kept_loss(member: FineTuning) -> float:
    """The loss of the network that is returned, as of the last look at it."""
    return member.losses[max(e for e in member.losses if e <= member.kept_epoch)]


def _without(setting: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if name not in APART}


def finetune_ensemble(
    net: Network,
    source: Any,
    config: FineTuneConfig | dict[str, Any] | None = None,
    *,
    settings: Sequence[Mapping[str, Any]] = (),
    folds: int = 0,
    beside: str | Path | None = None,
    callback: Callable[[list[Progress]], Any] | None = None,
) -> Ensemble:
    """Continue the training of one network many times at once, as one program.

    Every run does what `finetune` does with its settings, up to rounding, and stops for
    reasons of its own; one that has stopped waits for the others. It pays where a
    network is small, so that one run alone leaves the machine idle.

        finetune_ensemble(net, data, config, settings=[{"seed": k} for k in range(10)])
        finetune_ensemble(net, data, config, folds=5, settings=[
            {"initial_learn_rate": r} for r in (1e-2, 1e-3, 1e-4)])

    Arguments:
        net: the network.
        source: recordings, as for `finetune`.
        config: how to train, for all runs.
        settings: numbers that differ, for every run: of `seed`, `initial_learn_rate`,
            `learn_rate_drop_factor`, `epsilon`, `momentum`, `weight_decay`,
            `l2_regularization`, `gradient_threshold`, `anchor`.
        folds: parts of the data that decide in turn, in place of `data.validation`;
            every setting is run for each of them. 0: no cross-validation.
        beside: a MAT file in which plain names are looked up.
        callback: called with the `Progress` of all runs before the first epoch and
            after every one; true stops them.

    Raises:
        InputError: nothing is to differ, or something that cannot; data or
            configuration do not fit the network. Sequences of different length need
            layers that can stop at the end of a sequence.
    """
    base = as_config(config)
    settings = [_plain(one) for one in settings] or [{}]
    if len(settings) < 2 and not folds:
        raise InputError(
            "an ensemble of one",
            found="one setting, no folds",
            do="give settings that differ, such as seeds, or folds; or use finetune",
        )
    configs = [_configured(base, one) for one in settings]
    every = recordings(source, net, base.data, beside=beside)
    if folds:
        ways = list(enumerate(folds_of(every, base.data, folds), 1))
    else:
        ways = [(0, split(every, base.data))]
    each = list(product(zip(settings, configs, strict=True), ways))
    lanes = [Lane(*prepared(net, parts, own)) for (_, own), (_, parts) in each]
    if any(_differ(lanes, part) for part in ("training", "validation")):
        # Lanes meet in arrays of the longest sequence and stop where theirs ends.
        lanes = [
            Lane(*prepared(net, parts, own, ragged=True))
            for (_, own), (_, parts) in each
        ]
    runs = run_together(lanes, after=callback)
    members = [
        result(lane.task, run, parts, net)
        for lane, run, (_, (_, parts)) in zip(lanes, runs, each, strict=True)
    ]
    apart = [one | ({"fold": fold} if folds else {}) for (one, _), (fold, _) in each]
    return Ensemble(tuple(members), tuple(apart))


def _configured(base: FineTuneConfig, setting: Mapping[str, Any]) -> FineTuneConfig:
    if odd := [name for name in setting if name not in NUMBERS]:
        raise InputError(
            "this cannot differ between runs of one program",
            place="settings",
            found=", ".join(odd),
            expected=", ".join(NUMBERS),
        )
    return as_config(msgspec.to_builtins(base) | setting)


def _plain(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of NumPy as those of Python, which go into JSON and a configuration."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in setting.items()}


def _differ(lanes: list[Lane], part: str) -> bool:
    return len({len(one.x) for lane in lanes for one in getattr(lane, part)}) > 1
