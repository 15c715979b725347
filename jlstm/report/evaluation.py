"""What an evaluation came to: metrics.json, pictures and one HTML file.

Nothing in the page is fetched or executed, and all text in it is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..formats.native import make_folder, write_whole
from ..plots_evaluation import confusion, densities, scores
from ..plots_training import Picture
from ..plots_worst import sequence
from ..tally import Tally, Worst
from . import evaluation_sections as sections
from . import page
from .evaluation_words import Outline


def write_report(
    folder: str | Path,
    outline: Mapping[str, Any],
    tally: Tally | None,
    worst: Worst | None = None,
    rows: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Write `metrics.json`, `report.html` and, where matplotlib is there, pictures.

    Arguments:
        folder: where to; it is made.
        outline: what was run, see `Outline`; unknown keys are passed over.
        tally: of all sequences; None where nothing had a target.
        worst: the worst sequences.
        rows: what `sequence_row` tells of the sequences; the first 100 are listed.

    Raises:
        InputError: a file cannot be written.
    """
    folder = Path(folder)
    make_folder(folder)
    told = Outline(**{k: outline[k] for k in Outline._fields if k in outline})
    names = _names(told, tally)
    summary = tally.summary(names) if tally else {}
    entries = worst.entries if worst else ()
    metrics = without_nan(summary) | {
        "worst": [without_nan(dict(entry.row)) for entry in entries],
        "seconds": told.seconds,
        "shards": told.shards,
        "set_aside": [dict(one) for one in told.set_aside],
    }
    text = json.dumps(metrics, indent=1, allow_nan=False, ensure_ascii=False)
    write_whole(folder / "metrics.json", text.encode("utf-8", "backslashreplace"))
    pictures = _pictures(tally, worst, names)
    for one in pictures or ():
        if one.png:
            write_whole(folder / f"{one.name}.png", one.png)
    drawn = {one.name: one for one in pictures or ()}
    body = [
        sections.opening(told, summary, pictures is not None),
        sections.scores(summary, names),
        sections.spread(summary, drawn),
        sections.densities(tally, drawn),
        sections.confusion(summary, drawn),
        sections.worst_sequences(worst, drawn),
        sections.set_aside(told),
        sections.listed(told, rows),
        sections.run(told, summary),
    ]
    write_whole(
        folder / "report.html",
        page.whole(told.title, *body).encode("utf-8", "xmlcharrefreplace"),
    )


def _names(told: Outline, tally: Tally | None) -> list[str]:
    count = tally.outputs if tally else len(told.outputs)
    if told.outputs:
        return list(map(str, told.outputs))
    return [f"y{k}" for k in range(1, count + 1)]


def _pictures(
    tally: Tally | None, worst: Worst | None, names: list[str]
) -> list[Picture] | None:
    """All that can be drawn; None without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return None
    if tally is None:
        return []
    makers: dict[str, Callable[[], Picture | None]] = {
        "scores": lambda: scores(tally),
        "density": lambda: densities(tally, names),
        "confusion": lambda: confusion(tally, names),
    }
    for k, entry in enumerate(worst.entries if worst else (), 1):
        makers[f"worst_{k:02}"] = lambda entry=entry, k=k: sequence(
            entry, k, names, tally.classes
        )
    found = [_drawn(name, make) for name, make in makers.items()]
    return [one for one in found if one is not None]


def _drawn(name: str, make: Callable[[], Picture | None]) -> Picture | None:
    try:
        return make()
    except Exception as error:  # a long evaluation is not lost to a picture
        return Picture(name, "", "", b"", f"{type(error).__name__}: {error}")


def without_nan(value: Any) -> Any:
    """JSON has no NaN; what is not defined is null."""
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
