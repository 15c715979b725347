"""Pictures of the worst sequences of an evaluation (extra `plot`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .plots import blank, plain, rendered
from .plots_training import (
    AFTER,
    BEFORE,
    LONG,
    MAX_NUMBERED,
    TARGET,
    WIDTH,
    Picture,
    in_two_lines,
)
from .tally.rows import efficiency
from .tally.worst import Entry, Signal

MAX_OUTPUTS = 3
ON_TOP: dict[str, Any] = {"color": "k", "lw": 0.9, "label": "target", "zorder": 3}
PREDICTION = AFTER | {"label": "prediction", "lw": 1.1}
INPUTS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def score_words(row: dict[str, Any]) -> str:
    """The scores by which a sequence is among the worst."""
    if "cross_entropy" in row:
        named = ("accuracy", row["accuracy"]), ("cross-entropy", row["cross_entropy"])
    else:
        named = ("NSE", efficiency(row)), ("RMSE", row["rmse"])
    return (
        ", ".join(
            f"{name} {value:.4g}" for name, value in named if not math.isnan(value)
        )
        or "predictions that are no numbers"
    )


def sequence(entry: Entry, number: int, names: Sequence[str], classes: bool) -> Picture:
    """Target, prediction and inputs of one sequence.

    Of several outputs the three that are predicted worst. A single answer is drawn as
    bars.

    Raises:
        JlstmError: matplotlib is not installed.
    """
    signals = entry.signals
    once = len(signals["y"].values) <= 1
    over_time = classes and not once
    outputs = [0] if over_time else _worst_outputs(entry.signals)
    inputs = [one for name, one in signals.items() if name.startswith("x")]
    inputs = [one for one in inputs if len(one.values) > 1]
    count = (1 if once else len(outputs)) + over_time
    heights = [2.6 if once else 1.5] * count + [1.0] * bool(inputs)
    figure = blank(WIDTH, 0.75 + sum(heights))
    panels = figure.subplots(
        len(heights), 1, squeeze=False, height_ratios=heights, sharex=not once
    )[:, 0]
    if once:
        _answer(panels[0], signals, names)
    elif over_time:
        _classes(panels[:2], signals, names)
    else:
        for k, axes in zip(outputs, panels, strict=False):
            _curves(axes, signals, k)
            axes.set_ylabel(in_two_lines(names[k]), fontsize=8)
    if inputs:
        _inputs(panels[-1], inputs)
    for axes in panels[bool(once) :]:
        axes.margins(x=0.01)
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
    if not once or inputs:
        panels[-1].set_xlabel("time step", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, fontsize=8, frameon=False
    )
    name, words = str(entry.row["sequence"]), score_words(entry.row)
    alt = f"Target and prediction of the sequence {name}: {words}."
    title = f"{number}. {name}: {words}"
    return Picture(f"worst_{number:02}", title, alt, rendered(figure))


def _worst_outputs(signals: dict[str, Signal]) -> list[int]:
    """Outputs with a target, those of the largest error relative to its spread."""
    y, target = (signals[name].values for name in ("y", "target"))
    scored = ~np.isnan(target)
    size = np.where(scored, (y - target) ** 2, 0).sum(axis=0)
    count = np.maximum(scored.sum(axis=0), 1)
    mean = np.where(scored, target, 0).sum(axis=0) / count
    spread = np.where(scored, (target - mean) ** 2, 0).sum(axis=0)
    bad = np.where(np.isfinite(size), size / np.where(spread > 0, spread, 1), np.inf)
    bad = np.where(scored.any(axis=0), bad, -1.0)
    return np.sort(np.argsort(-bad, kind="stable")[:MAX_OUTPUTS]).tolist()


def _curves(axes: Any, signals: dict[str, Signal], k: int) -> None:
    if "low" in signals:
        low, high = signals["low"], signals["high"]
        axes.fill_between(
            low.steps, _seen(low, k), _seen(high, k),
            color=PREDICTION["color"], alpha=0.2, lw=0, label="ensemble",
        )  # fmt: skip
    # A long prediction that is noisy would hide a broad target.
    crowded = len(signals["y"].steps) > LONG
    target = ON_TOP if crowded else TARGET
    prediction = PREDICTION | ({"lw": 0.7, "alpha": 0.8} if crowded else {})
    for name, style in (("target", target), ("y", prediction)):
        one = signals[name]
        values = _seen(one, k)
        # A target that is known now and then has no line to see.
        alone = len(values) < 3 or _isolated(values)
        axes.plot(one.steps, values, **style, marker="o" if alone else None, ms=3)


def _isolated(values: np.ndarray) -> bool:
    known = np.isfinite(values)
    return bool(known.any()) and not (known[1:] & known[:-1]).any()


def _classes(panels: Any, signals: dict[str, Signal], names: Sequence[str]) -> None:
    y, target = signals["y"], signals["target"]
    above, below = panels
    band = TARGET | {"lw": 7, "solid_capstyle": "butt"}
    above.step(target.steps, target.values[:, 0], where="mid", **band)
    # Lines between classes would hide the rest.
    dots = {"marker": "|", "ls": "", "ms": 4, "mew": 0.8}
    above.plot(y.steps, y.values[:, 0], **PREDICTION | dots)
    if len(names) <= MAX_NUMBERED // 2:
        above.set_yticks(range(len(names)), [plain(name, 16) for name in names])
        above.set_ylim(-0.5, len(names) - 0.5)
    above.set_ylabel("class", fontsize=8)
    below.plot(y.steps, _seen(y, 1), color=BEFORE["color"], lw=1)
    below.set_ylim(-0.05, 1.05)
    below.set_ylabel("score of the\ntrue class", fontsize=8)


def _answer(axes: Any, signals: dict[str, Signal], names: Sequence[str]) -> None:
    at = np.arange(len(names))
    values = [_seen_row(signals[name]) for name in ("target", "y")]
    axes.bar(at - 0.2, values[0], 0.4, color=TARGET["color"], label="target")
    axes.bar(at + 0.2, values[1], 0.4, color=PREDICTION["color"], label="prediction")
    if "low" in signals:
        low, high = (_seen_row(signals[name]) for name in ("low", "high"))
        axes.vlines(at + 0.2, low, high, color="k", lw=1.5, label="ensemble")
    if len(names) <= MAX_NUMBERED:
        axes.set_xticks(at, [plain(name, 16) for name in names])
        if len(names) > 6:
            axes.tick_params(axis="x", rotation=45)
    axes.set_xlim(-0.7, len(names) - 0.3)


def _inputs(axes: Any, inputs: list[Signal]) -> None:
    """Each over its own range: their units differ."""
    colours = iter(INPUTS)
    for one in inputs:
        for k in range(one.values.shape[1]):
            values = _seen(one, k)
            known = values[np.isfinite(values)]
            low, high = (known.min(), known.max()) if known.size else (0, 1)
            scaled = (values - low) / (high - low if high > low else 1)
            axes.plot(one.steps, scaled, lw=0.8, color=next(colours, "0.5"))
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([0, 1], ["min", "max"])
    axes.set_ylabel("inputs", fontsize=8)


def _seen(one: Signal, k: int) -> np.ndarray:
    values = one.values[:, k]
    return np.where(np.isfinite(values), values, np.nan)


def _seen_row(one: Signal) -> np.ndarray:
    return np.where(np.isfinite(one.values[0]), one.values[0], np.nan)
