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
from .scoring import confusion
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
        failure: why there are none.
    """

    name: str
    title: str
    alt: str
    png: bytes
    failure: str = ""


def output_names(tuned: FineTuning) -> list[str]:
    """Names of the outputs: classes, the target columns as configured, or numbers."""
    net = tuned.net
    count = net.shapes[net.outputs[0]].channels
    for names in (net.classes, tuned.config.data.targets):
        if len(names) == count:
            return list(names)
    return [f"output {k}" for k in range(1, count + 1)]


def drawn_outputs(tuned: FineTuning) -> tuple[list[int], str]:
    """Which outputs have a panel, and words to append where those are not all.

    The first ones of which anything is scored in the part that was held out.
    """
    some = tuned.predictions[tuned.held_out]
    targets = np.concatenate([np.atleast_2d(one.target) for one in some])
    scored = np.flatnonzero(~np.isnan(targets).all(axis=0)).tolist()
    missing = len(scored) < targets.shape[1]
    words = ""
    if len(scored) > MAX_OUTPUTS:
        words = f", the first {MAX_OUTPUTS} of {len(scored)} outputs"
        words += " that have targets" if missing else ""
    elif missing:
        words = ", only the outputs that have targets"
    return scored[:MAX_OUTPUTS], words


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
    imported = starting_network(tuned)
    axes.axhline(start, color="0.45", lw=1, ls=":", label=imported.removeprefix("the "))
    axes.plot(
        tuned.best_epoch, best, "*", color="k", ms=11, zorder=5, clip_on=False,
        label=f"best: {best_network(tuned)}",
    )  # fmt: skip
    seen = [loss for _, loss in trained] + list(deciding.values())
    if min(seen) > 0 and max(seen) > 10 * min(seen):
        axes.set_yscale("log")
    axes.set_ylabel(f"loss ({loss_name(tuned)})" if loss_name(tuned) else "loss")
    axes.grid(alpha=0.25)
    wide = tuned.config.normalization == "recompute"  # its words are longer
    figure.legend(
        loc="outside upper center", ncols=2 if wide else 4, fontsize=9, frameon=False
    )
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
    panels[-1].set_xlabel(f"epoch (0 is {imported})")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    alt = (
        f"Loss over {tuned.history[-1]['epoch']} epochs. {held.capitalize()}: "
        f"{start:.4g} for {imported}, lowest {best:.4g}, that of "
        f"{best_network(tuned)}."
    )
    return Picture("loss", "Loss by epoch", alt, rendered(figure))


def best_network(tuned: FineTuning) -> str:
    """The epoch of the lowest loss, in words."""
    epoch = tuned.best_epoch
    return f"epoch {epoch}" if epoch else starting_network(tuned)


def starting_network(tuned: FineTuning) -> str:
    """What training began with, in words."""
    new = tuned.config.normalization == "recompute"
    return "the imported network" + (" with new input statistics" if new else "")


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
    outputs, cut = ([], "") if tuned.net.classes else drawn_outputs(tuned)
    if tuned.net.classes:
        figure = _confusions(tuned, some)
        what = f"Confusion matrices of the {part} data before and after."
    elif some[0].recording.answers_once:
        figure = _scatter(tuned, some, outputs)
        what = f"Predicted against target, {part} data{cut}, before and after."
    else:
        figure = _curves(tuned, chosen, outputs)
        names = ", ".join(one.recording.name for _, one in chosen)
        what = f"Target and predictions before and after over time: {names}{cut}."
    key, word = ("accuracy", "Accuracy") if tuned.net.classes else ("rmse", "RMSE")
    old, new = tuned.before[part][key], tuned.after[part][key]
    alt = f"{what} {word} of all {part} data: {old:.4g} before, {new:.4g} after."
    title = f"Predictions, {part} data{cut}"
    return Picture("prediction", title, alt, rendered(figure))


def _curves(
    tuned: FineTuning, chosen: list[tuple[str, Prediction]], outputs: list[int]
) -> Figure:
    names = output_names(tuned)
    long = any(len(one.target) > LONG for _, one in chosen)
    rows = len(chosen) * len(outputs)
    figure = blank(WIDTH, 0.9 + 2.0 * rows)
    panels = figure.subplots(
        rows, 2 if long else 1, squeeze=False, width_ratios=(3, 2) if long else None
    )
    at = 0
    for word, one in chosen:
        for k in outputs:
            _curve(panels[at][0], one, k, slice(0, len(one.target)))
            panels[at][0].set_ylabel(in_two_lines(names[k]), fontsize=9)
            if k == outputs[0]:
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


def _scatter(
    tuned: FineTuning, some: tuple[Prediction, ...], outputs: list[int]
) -> Figure:
    names = output_names(tuned)
    figure = blank(*((WIDTH, 3.6) if len(outputs) > 1 else (5.0, 4.6)))
    panels = figure.subplots(1, len(outputs), squeeze=False)[0]
    target, before, after = (
        np.stack([getattr(one, key) for one in some])
        for key in ("target", "before", "after")
    )
    for k, axes in zip(outputs, panels, strict=True):
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
        axes.set_title(plain(names[k], 30), fontsize=10)
        axes.set_xlabel("target")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("predicted")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3, fontsize=9, frameon=False
    )
    return figure


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
