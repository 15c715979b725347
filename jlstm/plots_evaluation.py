"""Pictures of an evaluation: of all sequences together (extra `plot`).

Those of single sequences are in `plots_worst.py`; widths and colours are those of
`plots_training.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .hits import Hits
from .plots import blank, plain, rendered
from .plots_training import AFTER, MAX_NUMBERED, WIDTH, Picture
from .tally.density import Density
from .tally.rows import PERFECT
from .tally.sketch import BASE, Sketch
from .tally.tallying import Tally

BARS = 48
SHOWN = (0.005, 0.995)
NEAR, FAR = 1e-6, 1e4
"""Bars are drawn between these quantiles, and not further from the median than this
many times as near or as far; what is outside is in the outermost bars."""
MAX_DENSITIES = 12
SQUARES = 64
LABELS = {
    "nse": "NSE", "rmse": "RMSE", "accuracy": "accuracy",
    "cross_entropy": "cross-entropy",
}  # fmt: skip


def scores(tally: Tally) -> Picture | None:
    """How the scores of the sequences are spread, over all outputs.

    Bars over a logarithmic axis of the distance from the best score. None where no
    sequence has a score.

    Raises:
        JlstmError: matplotlib is not installed.
    """
    keys = ("accuracy", "cross_entropy") if tally.classes else ("nse", "rmse")
    if tally.classes and tally.steps <= tally.sequences:
        keys = keys[1:]  # one answer is right or wrong
    known = {key: tally.scores[key][-1] for key in keys}
    known = {key: one for key, one in known.items() if one.zeros + one.counts.total()}
    if not known:
        return None
    figure = blank(WIDTH, 3.2)
    panels = figure.subplots(1, len(known), squeeze=False)[0]
    for axes, (key, sketch) in zip(panels, known.items(), strict=True):
        _bars(axes, key, sketch)
    panels[0].set_ylabel("sequences")
    told = ", ".join(LABELS[key] for key in known)
    alt = f"Histogram of the scores of {tally.scored:,} sequences: {told}."
    title = f"Scores of {tally.scored:,} sequences"
    return Picture("scores", title, alt, rendered(figure))


def _bars(axes: Any, key: str, sketch: Sketch) -> None:
    bins = np.array(sorted(sketch.counts), int)
    counts = np.array([sketch.counts[k] for k in bins.tolist()], int)
    places, heights = np.zeros(0, int), np.zeros(0, int)
    width = 1
    if bins.size:
        below = np.cumsum(counts) / counts.sum()
        places = np.searchsorted(below, (*SHOWN, 0.5)).clip(max=bins.size - 1)
        low, high, middle = bins[places].tolist()
        low = max(low, middle + round(np.log(NEAR) / np.log(BASE)))
        high = min(high, middle + round(np.log(FAR) / np.log(BASE)))
        # Bars of whole bins: else some would hold more bins than their neighbours.
        width = max(1, -(-int(high - low + 1) // BARS))
        groups = bins.clip(low, high) // width
        heights = np.bincount(groups - groups[0], counts).astype(int)
        places = int(groups[0]) + np.arange(heights.size)
    edges = float(BASE) ** (places * width - 1)
    widths = edges * (float(BASE) ** width - 1)
    axes.bar(edges, heights, widths, align="edge", color=AFTER["color"], lw=0)
    if sketch.zeros:
        # Zero has no place on a logarithmic axis: a bar of its own, set apart.
        first = float(edges[0]) if edges.size else 1.0
        step = float(BASE) ** max(width, 6)
        axes.bar(
            first / step**4, sketch.zeros, first / step**4 * (step**2 - 1),
            align="edge", color="0.45", lw=0,
        )  # fmt: skip
        word = f"exactly {PERFECT.get(key, 0):g}"
        axes.annotate(
            word, (first / step**3, sketch.zeros), (0, 2), ha="center",
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    _scale(axes, key)
    _quantile_lines(axes, key, sketch)
    axes.margins(x=0.07, y=0.14)
    axes.grid(alpha=0.25, axis="y")
    axes.tick_params(labelsize=8)
    axes.yaxis.get_major_locator().set_params(integer=True)
    words = {"nse": " (better to the right)", "accuracy": " (better to the right)"}
    axes.set_xlabel(f"{LABELS[key]} of a sequence{words.get(key, '')}", fontsize=9)


def _scale(axes: Any, key: str) -> None:
    """Scores where the axis has distances from the best one; the best to the right."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def score(far: float, _: Any) -> str:
        if key not in PERFECT:
            return f"{far:g}"
        return f"{PERFECT[key] - far:.{12 if far < 1e3 else 3}g}"

    if key in PERFECT:
        axes.invert_xaxis()
    low, high = axes.get_xlim()
    near = abs(np.log10(low / high)) < 2
    subs = (1, 2, 5) if near else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(score))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _quantile_lines(axes: Any, key: str, sketch: Sketch) -> None:
    middle = sketch.quantile(0.5, upper=key in PERFECT)
    if not 0 < middle < np.inf:
        return
    shown = f"{PERFECT[key] - middle if key in PERFECT else middle:.3g}"
    axes.axvline(middle, color="k", lw=1, ls="--")
    axes.set_title(f"median {shown}", fontsize=9)


def densities(tally: Tally, names: Sequence[str]) -> Picture | None:
    """Predicted against target, how often by colour, for each output.

    None for classes, and where nothing is scored.

    Raises:
        JlstmError: matplotlib is not installed.
    """
    some = [k for k, one in enumerate(tally.density) if one.counts.size]
    if not some:
        return None
    drawn = some[:MAX_DENSITIES]
    columns = min(len(drawn), 4 if len(drawn) > 4 else 3)
    lines = -(-len(drawn) // columns)
    # Pictures are as wide as the page: one panel of that width would be too high.
    figure = blank(WIDTH, 4.6 if columns == 1 else (WIDTH / columns) * lines * 0.95)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    for k, axes in zip(drawn, panels, strict=False):
        _density(figure, axes, tally.density[k], bar=columns < 3)
        axes.set_title(_both_ends(names[k]), fontsize=8 if columns > 2 else 9)
    for axes in panels[max(0, len(drawn) - columns) : len(drawn)]:
        axes.set_xlabel("target", fontsize=8)
    for axes in panels[: len(drawn) : columns]:
        axes.set_ylabel("predicted", fontsize=8)
    cut = f", the first {len(drawn)} of {len(some)} outputs" if drawn != some else ""
    alt = (
        f"Predicted against target, how often by colour, of {len(drawn)} outputs{cut}."
    )
    return Picture("density", f"Predicted against target{cut}", alt, rendered(figure))


def _density(figure: Any, axes: Any, found: Density, bar: bool) -> None:
    from matplotlib.colors import LogNorm

    cells, level = found.cells, found.level
    ends = [_middle(cells[:, axis], found.counts) for axis in (0, 1)]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    while high - low >= SQUARES:
        cells, low, high, level = cells >> 1, low >> 1, high >> 1, level + 1
    low, high = low - 1, high + 1
    inside = ((cells >= low) & (cells <= high)).all(axis=1)
    table = np.zeros((high - low + 1,) * 2)
    np.add.at(table, tuple((cells[inside] - low).T), found.counts[inside])
    edges = np.ldexp(np.arange(low, high + 2, dtype=float), level)
    mesh = axes.pcolormesh(
        edges, edges, np.where(table > 0, table, np.nan).T, cmap=_blues(),
        norm=LogNorm(vmin=1, vmax=max(table.max(), 2)), rasterized=True,
    )  # fmt: skip
    axes.plot(edges[[0, -1]], edges[[0, -1]], color="0.3", lw=0.8, ls="--")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(edges[0], edges[-1])
    axes.set_aspect("equal")
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=4)
    if bar:
        scale = figure.colorbar(mesh, ax=axes, shrink=0.8, format="%g")
        scale.ax.minorticks_off()
        scale.ax.tick_params(labelsize=7)
        scale.set_label("pairs in a square", fontsize=8)


def _blues() -> Any:
    """Without those that are almost white: a single pair is to be seen."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["Blues"](np.linspace(0.22, 1, 256)))


def _both_ends(name: str) -> str:
    """A name that is short enough; similar ones often differ at their ends."""
    return plain(name if len(name) <= 26 else f"{name[:13]}...{name[-10:]}")


def _middle(indices: np.ndarray, counts: np.ndarray) -> tuple[int, int]:
    """Where all but the outermost thousandths are."""
    order = np.argsort(indices)
    below = np.cumsum(counts[order]) / counts.sum()
    low, high = np.searchsorted(below, (0.001, 0.999)).clip(max=len(order) - 1)
    return int(indices[order[low]]), int(indices[order[high]])


def confusion(tally: Tally, names: Sequence[str]) -> Picture | None:
    """How often which class was taken for which; None where nothing is scored.

    Raises:
        JlstmError: matplotlib is not installed.
    """
    if not isinstance(tally.sums, Hits) or not tally.sums.scored:
        return None
    table = tally.sums.confusion
    silent = bool(table[:, -1].any())
    table = table if silent else table[:, :-1]
    taken = [plain(name, 16) for name in names] + ["no answer"] * silent
    count = len(names)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure = blank(WIDTH, min(2.2 + 0.4 * count, 7.5))
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true class")
    if count <= MAX_NUMBERED:
        axes.set_xticks(range(len(taken)), taken, rotation=45, ha="right")
        axes.set_yticks(range(count), taken[:count])
        for (row, col), number in np.ndenumerate(table):
            if number:
                axes.text(
                    col, row, _short(int(number)), ha="center", va="center",
                    color="w" if share[row, col] > 0.55 else "k", fontsize=8,
                )  # fmt: skip
    axes.tick_params(labelsize=8)
    alt = f"Confusion matrix of {count} classes, {int(tally.sums.scored):,} steps."
    return Picture("confusion", "Confusion matrix", alt, rendered(figure))


def _short(number: int) -> str:
    """At most five letters."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= size:
            return f"{number / (1000 if letter == 'k' else size):.3g}{letter}"
    return str(number)
