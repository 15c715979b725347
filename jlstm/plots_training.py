"""Pictures of a fine-tuning run: losses and predictions (extra `plot`).

Colours are those of Okabe and Ito, which the colour-blind tell apart; widths and
dashes differ too. What happens over time is in `plots_time.py`.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .finetuning import FineTuning, Prediction
from .metrics import accuracy, rmse
from .plots import blank, plain, rendered
from .training.losses import loss_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TARGET: dict[str, Any] = {"color": "0.65", "lw": 3.2, "label": "target"}
AFTER: dict[str, Any] = {"color": "#0072B2", "lw": 1.3, "label": "after"}
BEFORE: dict[str, Any] = {"color": "#D55E00", "lw": 1.1, "label": "before", "ls": "--"}
# Dashes go on top, so that curves that coincide are seen to do so.
BEFORE |= {"zorder": 3}

WIDTH = 8.0
MAX_OUTPUTS = 3
LONG, CLOSE_UP = 600, 300
"""Recordings of more steps are drawn whole and, beside it, this many steps of them."""
MAX_NUMBERED = 20
"""Confusion matrices of more classes carry no numbers."""


class Picture(NamedTuple):
    """A picture of a run.

    Arguments:
        name: of its file, without the ending.
        title: a few words.
        alt: what is to be seen, in words.
        png: the contents of the file.
    """

    name: str
    title: str
    alt: str
    png: bytes


def output_names(tuned: FineTuning) -> list[str]:
    """Names of the outputs: classes, the target columns as configured, or numbers."""
    net = tuned.net
    count = net.shapes[net.outputs[0]].channels
    for names in (net.classes, tuned.config.data.targets):
        if len(names) == count:
            return list(names)
    return [f"output {k}" for k in range(1, count + 1)]


def in_two_lines(name: str) -> str:
    """A name beside an axis; the unit usually stands at its end."""
    return plain("\n".join(textwrap.wrap(name, 26, max_lines=2, placeholder=" ...")))


def worst_and_median(some: tuple[Prediction, ...]) -> list[tuple[str, Prediction]]:
    """The recordings of the largest and of the middle error after training."""
    scored = [one for one in some if not np.isnan(one.target).all()]
    order = sorted(scored, key=lambda one: -_finite_or_largest(_error(one)))
    if len(order) < 2:
        return [("", one) for one in order]
    return [("worst", order[0]), ("median", order[len(order) // 2])]


def _error(one: Prediction) -> float:
    return rmse([one.after], [one.target])


def _finite_or_largest(error: float) -> float:
    return error if np.isfinite(error) else np.inf


# --- losses ---------------------------------------------------------------------------


def losses(tuned: FineTuning) -> Picture:
    """Training and validation loss by epoch, and the learning rate below.

    Raises:
        JlstmError: matplotlib is not installed.
    """
    rates = tuned.learn_rates
    figure = blank(WIDTH, 4.4 if rates else 3.4)
    panels = figure.subplots(
        2 if rates else 1, 1, sharex=True, squeeze=False,
        height_ratios=(3.2, 1) if rates else None,
    )[:, 0]  # fmt: skip
    axes, deciding = panels[0], tuned.losses
    trained = [(row["epoch"], row["training_loss"]) for row in tuned.history[1:]]
    trained = [(epoch, loss) for epoch, loss in trained if np.isfinite(loss)]
    marker = "." if len(tuned.history) < 40 else None
    held = decided_by(tuned)
    for curve, label, style in (
        (trained, "training", AFTER | {"ls": "--", "lw": 1.1}),
        (list(deciding.items()), held, BEFORE | {"ls": "-", "lw": 1.6}),
    ):
        epochs, values = np.array(curve, float).reshape(-1, 2).T
        axes.plot(epochs, values, **style | {"label": label}, marker=marker)
    start, best = deciding[0], deciding[tuned.best_epoch]
    axes.axhline(start, color="0.45", lw=1, ls=":", label="imported network")
    axes.plot(
        tuned.best_epoch, best, "*", color="k", ms=11, zorder=5, clip_on=False,
        label=f"best: {best_network(tuned)}",
    )  # fmt: skip
    seen = [loss for _, loss in trained] + list(deciding.values())
    if min(seen) > 0 and max(seen) > 10 * min(seen):
        axes.set_yscale("log")
    axes.set_ylabel(f"loss ({loss_name(tuned)})" if loss_name(tuned) else "loss")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    if rates:
        panels[1].step(
            range(1, len(rates) + 1), rates, color="0.3", where="mid", marker=marker
        )
        panels[1].set_ylabel("learning\nrate")
        if tuned.config.learn_rate_schedule == "piecewise":
            panels[1].set_yscale("log")
        else:
            panels[1].set_ylim(0, 1.15 * max(rates))
        panels[1].grid(alpha=0.25)
    panels[-1].set_xlabel("epoch (0 is the imported network)")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    alt = (
        f"Loss over {tuned.history[-1]['epoch']} epochs. {held.capitalize()}: "
        f"{start:.4g} for the imported network, lowest {best:.4g}, that of "
        f"{best_network(tuned)}."
    )
    return Picture("loss", "Loss by epoch", alt, rendered(figure))


def best_network(tuned: FineTuning) -> str:
    """The epoch of the lowest loss, in words."""
    epoch = tuned.best_epoch
    return f"epoch {epoch}" if epoch else "the imported network"


def decided_by(tuned: FineTuning) -> str:
    """Which losses decided which network is best: what kept aside, or what learned."""
    validated = "validation_loss" in tuned.history[0]
    return "validation" if validated else "training, scored"


def loss_name(tuned: FineTuning) -> str:
    """Which loss it was; empty for one of the caller's own."""
    return "" if "loss" in tuned.own else loss_names(tuned.config, tuned.net)[0]


# --- predictions ----------------------------------------------------------------------


def predictions(tuned: FineTuning) -> Picture | None:
    """What was predicted before and after, beside what should have come out.

    Curves over time of the worst and the median recording of the part that was held
    out, confusion matrices for classes, predicted against target for networks that
    answer once per sequence. None where nothing is scored.

    Raises:
        JlstmError: matplotlib is not installed.
    """
    part = tuned.held_out
    some = tuned.predictions[part]
    chosen = worst_and_median(some)
    if not chosen:
        return None
    if tuned.net.classes:
        figure = _confusions(tuned, some)
        what = f"Confusion matrices of the {part} data before and after."
    elif some[0].recording.answers_once:
        figure = _scatter(tuned, some)
        what = f"Predicted against target, {part} data, before and after."
    else:
        figure = _curves(tuned, chosen)
        names = ", ".join(one.recording.name for _, one in chosen)
        what = f"Target and predictions before and after over time: {names}."
    key, word = ("accuracy", "Accuracy") if tuned.net.classes else ("rmse", "RMSE")
    old, new = tuned.before[part][key], tuned.after[part][key]
    alt = f"{what} {word} of all {part} data: {old:.4g} before, {new:.4g} after."
    return Picture("prediction", f"Predictions, {part} data", alt, rendered(figure))


def _curves(tuned: FineTuning, chosen: list[tuple[str, Prediction]]) -> Figure:
    names = output_names(tuned)[:MAX_OUTPUTS]
    long = any(len(one.target) > LONG for _, one in chosen)
    rows = len(chosen) * len(names)
    figure = blank(WIDTH, 0.9 + 2.0 * rows)
    panels = figure.subplots(
        rows, 2 if long else 1, squeeze=False, width_ratios=(3, 2) if long else None
    )
    at = 0
    for word, one in chosen:
        for k, name in enumerate(names):
            _curve(panels[at][0], one, k, slice(0, len(one.target)))
            panels[at][0].set_ylabel(in_two_lines(name), fontsize=9)
            if k == 0:
                panels[at][0].set_title(_heading(word, one), fontsize=9, loc="left")
            if long:
                here = _close_up(one, k)
                _curve(panels[at][1], one, k, here)
                panels[at][1].set_title(
                    "around the largest error", fontsize=9, loc="left"
                )
            at += 1
    for axes in panels[-1]:
        axes.set_xlabel("time step")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False
    )
    return figure


def _heading(word: str, one: Prediction) -> str:
    name = plain(one.recording.name, 60)
    old = rmse([one.before], [one.target])
    name += f" ({word})" if word else ""
    return f"{name}   RMSE {old:.3g} before, {_error(one):.3g} after"


def _curve(axes: Any, one: Prediction, k: int, here: slice) -> None:
    steps = np.arange(len(one.target))[here]
    # The target also where it is not scored: only what is missing is a gap.
    for curve, style in (
        (one.recording.y, TARGET),
        (one.before, BEFORE),
        (one.after, AFTER),
    ):
        axes.plot(steps, curve[here, k], **style)
    scored = one.recording.weights[here].any(axis=1)
    if (first := int(scored.argmax())) and scored.any():
        axes.axvspan(
            steps[0], steps[first], color="0.5", alpha=0.15, lw=0, label="not scored"
        )
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)


def _close_up(one: Prediction, k: int) -> slice:
    """The steps around the largest error of an output."""
    error = np.abs(one.after[:, k] - one.target[:, k])
    centre = int(np.argmax(np.nan_to_num(error, nan=-1.0)))
    start = min(max(0, centre - CLOSE_UP // 2), max(0, len(error) - CLOSE_UP))
    return slice(start, start + CLOSE_UP)


def _scatter(tuned: FineTuning, some: tuple[Prediction, ...]) -> Figure:
    names = output_names(tuned)[:MAX_OUTPUTS]
    figure = blank(WIDTH if len(names) > 1 else 5.0, 3.6 if len(names) > 1 else 4.6)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    target, before, after = (
        np.stack([getattr(one, key) for one in some])
        for key in ("target", "before", "after")
    )
    for k, (axes, name) in enumerate(zip(panels, names, strict=True)):
        seen = np.stack([target[:, k], before[:, k], after[:, k]])
        seen = seen[np.isfinite(seen)]
        ends = [seen.min(), seen.max()]
        axes.plot(ends, ends, color="0.65", lw=1.5, zorder=0, label="exact")
        size = 7 if len(some) < 60 else 4
        axes.plot(
            target[:, k], before[:, k], "o", mfc="none", ms=size,
            color=BEFORE["color"], label="before",
        )  # fmt: skip
        axes.plot(
            target[:, k], after[:, k], "x", ms=size, color=AFTER["color"], label="after"
        )
        axes.set_title(plain(name, 30), fontsize=10)
        axes.set_xlabel("target")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("predicted")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3, fontsize=9, frameon=False
    )
    return figure


def confusion(some: tuple[Prediction, ...], which: str, count: int) -> np.ndarray:
    """How often class `row` was taken for class `column`: `(classes, classes)`.

    Steps without a class are left out, and so are scores that are NaN.
    """
    found = np.zeros((count, count), int)
    for one in some:
        target, scores = np.atleast_2d(one.target), np.atleast_2d(getattr(one, which))
        known = (target >= 0).all(axis=1) & (target > 0).any(axis=1)
        known &= ~np.isnan(scores).any(axis=1)
        pair = target[known].argmax(axis=1), scores[known].argmax(axis=1)
        np.add.at(found, pair, 1)
    return found


def _confusions(tuned: FineTuning, some: tuple[Prediction, ...]) -> Figure:
    classes = [plain(name, 16) for name in tuned.net.classes]
    count = len(classes)
    figure = blank(WIDTH, 4.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, which in zip(panels, ("before", "after"), strict=True):
        table = confusion(some, which, count)
        share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        right = accuracy([getattr(o, which) for o in some], [o.target for o in some])
        axes.set_title(f"{which}: {100 * right:.1f} % right", fontsize=10)
        axes.set_xlabel("predicted")
        if count <= MAX_NUMBERED:
            axes.set_xticks(range(count), classes, rotation=45, ha="right")
            axes.set_yticks(range(count), classes)
            for (row, col), number in np.ndenumerate(table):
                if number:
                    colour = "w" if share[row, col] > 0.55 else "k"
                    axes.text(
                        col, row, str(number), ha="center", va="center",
                        color=colour, fontsize=8,
                    )  # fmt: skip
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("true class")
    return figure
