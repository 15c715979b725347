"""Pictures of a benchmark (extra `plot`): ratios as bars, cost against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import plots
from .contestants import ALL
from .results import Benchmark

COLORS = (
    "tab:blue",
    "tab:cyan",
    "tab:orange",
    "tab:red",
    "tab:pink",
    "tab:green",
    "tab:olive",
    "tab:purple",
)
"""In the order of `ALL`, those on a GPU from the start again."""  # fmt: skip


def ratios(found: Benchmark, path: str | Path) -> None:
    """Draw how many times the time of the fastest each contestant takes.

    A group of bars a row, on a logarithmic scale; the lines are the quartiles.

    Raises:
        JlstmError: matplotlib is not installed.
        InputError: matplotlib does not write this kind of file.
    """
    names = found.contestants
    width = 0.14 * (len(names) + 1.5) * len(found.rows)
    figure = plots.blank(max(6.5, 1 + width), 4.4)
    axes = figure.add_subplot()
    bar = 0.85 / max(len(names), 1)
    for k, name in enumerate(names):
        for place, row in enumerate(found.rows):
            if name not in row.scores or row.fastest is None:
                continue
            least = row.scores[row.fastest].seconds
            low, middle, high = (s / least for s in row.scores[name].spread)
            at = place + (k - (len(names) - 1) / 2) * bar
            axes.bar(
                at, middle, bar, color=_color(name), error_kw={"lw": 0.8},
                yerr=[[middle - low], [high - middle]],
            )  # fmt: skip
    handles: list[Any] = [axes.bar(0, 0, color=_color(name)) for name in names]
    axes.set_yscale("log")
    axes.axhline(1, color="k", lw=0.8)
    _plain_ticks(axes.yaxis)
    axes.set_xticks(range(len(found.rows)), [row.name for row in found.rows])
    axes.set_ylabel("times the time of the fastest")
    axes.grid(axis="y", alpha=0.3)
    place: Any = "outside upper center"
    figure.legend(handles, names, fontsize=8, ncols=4, frameon=False, loc=place)
    axes.set_ylim(bottom=0.8)
    plots.save(figure, Path(path))


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent p of `seconds = a size^p`, fitted by least squares of logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def scaling(
    panels: Mapping[str, tuple[Sequence[float], Mapping[str, Sequence[float]]]],
    path: str | Path,
) -> None:
    """Draw cost against size, both logarithmic, with the fitted exponents.

    Arguments:
        panels: by the name of the size the sizes, and the seconds by contestant.
        path: the picture to write.

    Raises:
        JlstmError: matplotlib is not installed.
        InputError: matplotlib does not write this kind of file.
    """
    figure = plots.blank(4.4 * len(panels), 4.2)
    all_axes: Any = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (what, (sizes, curves)) in zip(all_axes, panels.items(), strict=True):
        for name, seconds in curves.items():
            label = f"{name}: {slope(sizes, seconds):.2f}"
            look = {"ms": 3, "lw": 1, "color": _color(name), "label": label}
            axes.loglog(sizes, seconds, "o-", **look)
        axes.set_xlabel(what)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes], fontsize=8)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False, title="fitted exponent")
    all_axes[0].set_ylabel("seconds a call")
    plots.save(figure, Path(path))


def _color(name: str) -> str:
    return COLORS[list(ALL).index(name) % len(COLORS)]


def _plain_ticks(axis: Any) -> None:
    """1, 2, 5, 10 in place of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
