"""Pictures of forecasts: what was recorded, how it goes on (extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .closedloop.forecast import Forecast, errors_ahead
from .plots import MAX_PANELS, blank, plain, save

RECORDED, AHEAD, HELD = "0.35", "#0072B2", "#D55E00"
CURVES = 40
"""Forecasts of a rolling origin that are drawn, at most."""
BEFORE = 3
"""Steps of history that are drawn, for each step of a forecast."""


def draw(
    path: str | Path,
    history: Any,
    found: Forecast,
    names: Sequence[str],
    title: str = "",
) -> None:
    """Draw the inputs that were fed back after, or over, those that were recorded.

    After a history: the mean of the members, the band between the outer quantiles. From
    several origins of one recording: every forecast, and below its error by steps
    ahead, beside that of holding the last value.

    Arguments:
        path: the picture to write; .png, .svg or .pdf.
        history: `(time, features)`, what was forecast from; one input.
        found: the forecast.
        names: of the inputs.
        title: of the picture.

    Raises:
        JlstmError: matplotlib is not installed.
        InputError: matplotlib does not write this kind of file.
    """
    x = np.asarray(history, float)
    shown = found.fed_inputs[:MAX_PANELS]
    rolling = found.inputs.ndim == 4
    count = len(shown) + rolling
    figure = blank(8, 1.2 + 1.9 * count)
    panels = figure.subplots(count, 1, squeeze=False)[:, 0]
    inputs = np.asarray(found.inputs, float)
    for axes, k in zip(panels, shown, strict=False):
        (_origins if rolling else _fan)(axes, x[:, k], inputs[..., k], found)
        axes.set_ylabel(plain(names[k], 26), fontsize=9)
        axes.margins(x=0.01)
        axes.grid(alpha=0.25)
    panels[len(shown) - 1].set_xlabel("time step")
    if rolling:
        _by_steps_ahead(panels[-1], x, found, [names[k] for k in shown])
    words = plain(title)
    if len(shown) < len(found.fed_inputs):
        words += f" (the first {len(shown)} of {len(found.fed_inputs)} signals)"
    panels[0].set_title(words.strip(), fontsize=10)
    panels[0].legend(loc="best", fontsize=8, frameon=False)
    save(figure, Path(path))


def _fan(axes: Any, x: np.ndarray, fed: np.ndarray, found: Forecast) -> None:
    """One signal `(time,)` and what follows, `(members, steps)`."""
    (begin,), (members, steps) = found.origins, fed.shape
    first = max(0, begin - max(BEFORE * steps, 30))
    axes.plot(
        np.arange(first, begin), x[first:], color=RECORDED, lw=1.2, label="history"
    )
    ahead = np.arange(begin, begin + steps)
    # The line goes on from the last recorded value.
    joined = np.r_[begin - 1, ahead], np.r_[x[-1], fed.mean(axis=0)]
    axes.axvline(begin - 0.5, color="0.6", lw=0.8, ls=":")
    if members > 1 and found.levels:
        levels = min(found.levels), max(found.levels)
        low, high = np.quantile(fed, levels, axis=0)
        words = (
            f"{100 * levels[0]:.3g} to {100 * levels[1]:.3g} % of {members} networks"
        )
        axes.fill_between(ahead, low, high, color=AHEAD, alpha=0.22, lw=0, label=words)
    words = "forecast" if members == 1 else "mean"
    axes.plot(*joined, color=AHEAD, lw=1.4, label=words)


def _origins(axes: Any, x: np.ndarray, fed: np.ndarray, found: Forecast) -> None:
    """One recorded signal and forecasts of it, `(origins, members, steps)`."""
    axes.plot(x, color=RECORDED, lw=1.6, label="recorded")
    every = -(-len(fed) // CURVES)
    label = "forecasts" if every == 1 else f"forecasts, 1 of {every}"
    pairs = zip(found.origins, fed.mean(axis=1), strict=True)
    for begin, curve in list(pairs)[::every]:
        ahead = np.arange(begin - 1, begin + len(curve))
        joined = np.r_[x[begin - 1], curve]
        axes.plot(ahead, joined, color=AHEAD, lw=0.8, alpha=0.8, label=label)
        label = None


def _by_steps_ahead(
    axes: Any, x: np.ndarray, found: Forecast, names: list[str]
) -> None:
    """Errors over the origins, in deviations of each recorded signal."""
    scale = np.nanstd(x, axis=0)[list(found.fed_inputs)]
    ours, held = (error / scale for error in errors_ahead(found, x))
    ahead = np.arange(1, len(ours) + 1)
    for k, (name, style) in enumerate(zip(names, ("-", "--", ":", "-."), strict=False)):
        axes.plot(ahead, ours[:, k], style, color=AHEAD, label=plain(name, 40))
        words = plain(f"{name}, last value held", 60)
        axes.plot(ahead, held[:, k], style, color=HELD, label=words)
    axes.set_ylabel("rmse / deviation", fontsize=9)
    axes.set_xlabel("steps ahead")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=8, frameon=False)
