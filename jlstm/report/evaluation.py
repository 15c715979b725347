"""What an evaluation came to: metrics.json, pictures and one HTML file.

Nothing in the page is fetched or executed, and all text in it is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..formats.native import make_folder, write_whole
from ..plots_evaluation import confusion, densities, scores
from ..plots_training import Picture
from ..plots_worst import score_words, sequence
from ..tally import Tally, Worst
from . import page
from .words import NOTES, label, number

LISTED = 100
"""So many sequences are listed on the page; the table of all is a file of its own."""
MANY_CLASSES = 60
TABLE = ("rmse", "mae", "nse", "kge", "r2", "nrmse", "fit")


class Outline(NamedTuple):
    """What was run, as `write_report` is told in a dict of these keys.

    Arguments:
        title: of the page.
        networks: `{"file": ..., "sha256": ...}` of each.
        data: where the sequences came from.
        outputs: names of the outputs or classes.
        options: every option of the run.
        versions: of the packages.
        seconds: how long it took; 0 where that is not known.
        sequences, steps: how many were predicted; those of the tally by default.
        shards: how many files were read.
        set_aside: `{"shard": ..., "reason": ...}` of each file that was not evaluated.
        table: the file that has a row of every sequence.
    """

    title: str = "Evaluation"
    networks: Sequence[Mapping[str, Any]] = ()
    data: str = ""
    outputs: Sequence[str] = ()
    options: Mapping[str, Any] = {}
    versions: Mapping[str, Any] = {}
    seconds: float = 0.0
    sequences: int = 0
    steps: int = 0
    shards: int = 0
    set_aside: Sequence[Mapping[str, Any]] = ()
    table: str = ""


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
    metrics = _without_nan(summary) | {
        "worst": [_without_nan(dict(entry.row)) for entry in entries],
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
        _opening(told, summary, pictures is not None),
        _scores(summary, names),
        _spread(summary, drawn),
        _densities(tally, drawn),
        _confusion(summary, drawn),
        _worst(worst, drawn),
        _set_aside(told),
        _listed(told, rows),
        _run(told, summary),
    ]
    write_whole(
        folder / "report.html",
        page.whole(told.title, *body).encode("utf-8", "xmlcharrefreplace"),
    )


def _names(told: Outline, tally: Tally | None) -> list[str]:
    count = tally.outputs if tally else len(told.outputs)
    if len(told.outputs) == count:
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


# --- words ----------------------------------------------------------------------------


def verdict(summary: Mapping[str, Any], told: Outline) -> str:
    """How good the predictions are, and of what, in two or three sentences."""
    if not summary:
        found = f"{_many(told.sequences, 'sequence')} predicted; no targets to compare."
    elif not summary["sequences_scored"]:
        found = (
            f"Nothing is scored: none of {_many(summary['sequences'], 'sequence')} has "
            "a target that is a number."
        )
    else:
        found = _quality(summary)
    if told.set_aside:
        count = len(told.set_aside)
        of = f" of {_many(told.shards, 'file')}" if told.shards else ""
        noun = "" if told.shards else " file" if count == 1 else " files"
        was = "was" if count == 1 else "were"
        found += f" {count:,}{of}{noun} could not be evaluated and {was} set aside."
    return found


def _quality(summary: Mapping[str, Any]) -> str:
    of = _many(summary["sequences_scored"], "sequence")
    broken, spread = summary["sequences_not_finite"], summary["sequences_all"]
    if "classes" in summary:
        answers = _many(summary["scored"], "answer")
        right = number("accuracy", summary["all"]["accuracy"])
        found = f"{right} of {answers} are right, in {of}"
        if summary["scored"] > summary["sequences_scored"] > 1:
            middle = number("accuracy", spread["accuracy"]["median"])
            found += f"; in the median sequence {middle}"
    else:
        defined = any(math.isfinite(v) for v in (summary["all"]["nse"],
                      spread["nse"]["median"]))  # fmt: skip
        key = "nse" if defined else "rmse"
        whole, each = summary["all"][key], spread[key]
        found = f"{label(key)} {number(key, whole)} over all, {of}"
        if not math.isfinite(whole):
            found = f"{of} scored; over all there is no {label(key)}"
        if each["defined"] > 1:
            worst = each["q05" if key == "nse" else "q95"]
            found += (
                f"; the median sequence has {number(key, each['median'])}, one in "
                f"twenty is worse than {number(key, worst)}"
            )
    if broken:
        verb = "has" if broken == 1 else "have"
        found += f". {_many(broken, 'sequence')} {verb} predictions that are no numbers"
        found += (
            ", and so have the measures over all" if "classes" not in summary else ""
        )
    return found + "."


def _figure(key: str, value: float) -> str:
    """A measure in a table."""
    return number(key, value) if math.isfinite(value) else "-"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _opening(told: Outline, summary: Mapping[str, Any], pictures: bool) -> str:
    parts = [
        f"<h1>{escape(told.title)}</h1>",
        page.paragraph(verdict(summary, told), "verdict"),
    ]
    missing = (
        summary.get("sequences", 0) - summary.get("sequences_scored", 0)
        if summary.get("sequences_scored")
        else 0
    )
    if missing:
        parts.append(page.paragraph(f"{_many(missing, 'sequence')} without a target."))
    if not pictures:
        parts.append(
            "<p>There are no pictures: they need matplotlib, "
            "<code>pip install 'jlstm[plot]'</code>.</p>"
        )
    return "\n".join(parts)


# --- sections -------------------------------------------------------------------------


def _scores(summary: Mapping[str, Any], names: list[str]) -> str:
    if not summary.get("sequences_scored"):
        return ""
    keys = [key for key in TABLE if key in summary["all"]] or list(summary["all"])
    notes = "".join(
        f"<dt>{escape(label(key))}</dt><dd>{escape(NOTES.get(key, ''))}</dd>"
        for key in keys
    )
    notes = page.folded("What the measures mean", f"<dl>{notes}</dl>")
    if "classes" in summary:
        rows = [(label(key), number(key, summary["all"][key])) for key in keys]
        table = page.table(("", "all steps"), rows, 1)
        return page.section("Scores", table, notes, _by_class(summary))
    rows = [
        (row["name"], f"{row['scored']:,}", *(_figure(key, row[key]) for key in keys))
        for row in summary["outputs"]
    ]
    if len(names) > 1:
        whole = summary["all"]
        rows.append(
            (
                "over all",
                f"{summary['scored']:,}",
                *(_figure(k, whole[k]) for k in keys),
            )
        )
    head = ("output", "values", *map(label, keys))
    return page.section("Scores", page.table(head, rows, 1), notes)


def _by_class(summary: Mapping[str, Any]) -> str:
    rows = [
        (row["name"], f"{row['scored']:,}", _figure("accuracy", row["recall"]),
         _figure("accuracy", row["precision"]))
        for row in summary["classes"]
    ]  # fmt: skip
    head = ("class", "how many", "found (recall)", "right where said (precision)")
    table = page.table(head, rows, 1)
    if len(rows) > MANY_CLASSES:
        table = page.folded(f"{len(rows)} classes", table)
    return "<h3>By class</h3>" + table


SPREAD = """\
Every sequence has its own scores; this is how they are spread. Quantiles are those of \
the distance from the best score, exact to 1 % of that distance; the lowest and the \
highest are exact."""


def _spread(summary: Mapping[str, Any], drawn: Mapping[str, Picture]) -> str:
    if summary.get("sequences_scored", 0) < 2:
        return ""
    several = len(summary.get("outputs", ())) > 1
    picture = page.image(drawn["scores"], SCORES) if "scores" in drawn else ""
    tables = [_quantiles([("", summary["sequences_all"])], summary)]
    if several:
        each = [(row["name"], row["sequences"]) for row in summary["outputs"]]
        tables.append(page.folded("By output", _quantiles(each, summary)))
    words = page.paragraph(SPREAD)
    return page.section("Scores by sequence", words, picture, *tables)


def _quantiles(
    blocks: list[tuple[str, Mapping[str, Any]]], summary: Mapping[str, Any]
) -> str:
    several = any(name for name, _ in blocks)
    # A single answer is right or wrong.
    once = "classes" in summary and summary["steps"] <= summary["sequences"]
    columns = ("min", "q05", "q25", "median", "q75", "q95", "max")
    rows = [
        (*((name,) if several else ()), label(key),
         *(_figure(key, found[c]) for c in columns), f"{found['undefined']:,}")
        for name, each in blocks
        for key, found in each.items()
        if found["defined"] and not (once and key == "accuracy")
    ]  # fmt: skip
    heads = ("lowest", "5 %", "25 %", "median", "75 %", "95 %", "highest", "undefined")
    head = (*(("output",) if several else ()), "measure", *heads)
    return page.table(head, rows, len(head) - len(heads))


SCORES = """\
The axis is logarithmic in the distance from the best score; the outermost bars hold \
all that is further out."""


def _densities(tally: Tally | None, drawn: Mapping[str, Picture]) -> str:
    if tally is None or "density" not in drawn:
        return ""
    caption = (
        "How often, by colour, on a logarithmic scale; at most 128 steps of a "
        "sequence, evenly spaced. The outermost thousandths are cut off."
    )
    beyond = sum(one.beyond for one in tally.density)
    if beyond:
        caption += f" {beyond:,} predictions are not finite or far out, and not drawn."
    return page.section(
        "Predicted against target", page.image(drawn["density"], caption)
    )


def _confusion(summary: Mapping[str, Any], drawn: Mapping[str, Picture]) -> str:
    if not summary.get("sequences_scored") or "confusion" not in summary:
        return ""
    silent = summary["steps_not_finite"]
    words = f"{_many(silent, 'answer')} not a number." if silent else ""
    names = [row["name"] for row in summary["classes"]]
    table = page.table(
        ("true \\ predicted", *names),
        [(n, *(f"{v:,}" for v in row)) for n, row in
         zip(names, summary["confusion"], strict=True)],
        1,
    )  # fmt: skip
    numbers = page.folded("The numbers", table) if len(names) <= MANY_CLASSES else ""
    picture = (
        page.image(drawn["confusion"], "Colours: the share of the true class.")
        if "confusion" in drawn
        else ""
    )
    return page.section("Confusion matrix", page.paragraph(words), picture, numbers)


WORST = """\
The sequences with the lowest NSE or, where it is not defined, the largest RMSE; of \
classes those with the largest cross-entropy. Long ones are thinned to 2,000 points, \
which keep the extremes."""


def _worst(worst: Worst | None, drawn: Mapping[str, Picture]) -> str:
    if worst is None or not worst.entries:
        return ""
    rows, images = [], []
    for k, entry in enumerate(worst.entries, 1):
        row = entry.row
        rows.append((k, row["sequence"], f"{row['steps']:,}", score_words(row)))
        if f"worst_{k:02}" in drawn:
            images.append(page.image(drawn[f"worst_{k:02}"], ""))
    table = page.table(("", "sequence", "steps", "scores"), rows, 4)
    return page.section("Worst sequences", page.paragraph(WORST), table, *images)


def _set_aside(told: Outline) -> str:
    if not told.set_aside:
        return ""
    rows = [(one.get("shard", ""), one.get("reason", "")) for one in told.set_aside]
    return page.section("Set aside", page.table(("file", "why"), rows, 2))


def _listed(told: Outline, rows: Iterable[Mapping[str, Any]]) -> str:
    some = list(islice(rows, LISTED + 1))
    where = f"All are in {told.table}." if told.table else ""
    if not some:
        return page.section("Sequences", page.paragraph(where)) if where else ""
    head = [key for key in some[0] if key in PLAIN]
    table = page.table(
        [PLAIN[key] for key in head],
        [[_cell(key, row[key]) for key in head] for row in some[:LISTED]],
        1,
    )
    words = (
        f"The first {LISTED}" if len(some) > LISTED else _many(len(some), "sequence")
    )
    return page.section("Sequences", page.folded(words, table), page.paragraph(where))


PLAIN = {key: key for key in ("sequence", "steps", "scored")} | {
    key: label(key) for key in ("rmse", "nse", "kge", "accuracy", "cross_entropy")
}


def _cell(key: str, value: Any) -> str:
    if key == "sequence":
        return str(value)
    return f"{value:,}" if isinstance(value, int) else _figure(key, value)


def _run(told: Outline, summary: Mapping[str, Any]) -> str:
    sequences = told.sequences or summary.get("sequences", 0)
    steps = told.steps or summary.get("steps", 0)
    rows = [
        ("data", told.data),
        ("files", f"{told.shards:,}" if told.shards else ""),
        ("sequences", f"{sequences:,}"),
        ("steps", f"{steps:,}"),
        ("time", _duration(told.seconds)),
    ]
    if told.seconds > 0:
        rows.append(("sequences a second", f"{sequences / told.seconds:,.4g}"))
        rows.append(("steps a second", f"{steps / told.seconds:,.4g}"))
    networks = [(n.get("file", ""), n.get("sha256", "")) for n in told.networks]
    parts = [page.table(("what", "value"), [row for row in rows if row[1]], 2)]
    if networks:
        parts.append("<h3>Networks</h3>")
        table = page.table(("network", "SHA-256"), networks, 2)
        if len(networks) > LISTED:
            table = page.folded(f"{len(networks)} networks", table)
        parts.append(table)
    for title, word, given in (
        ("Options", "option", told.options),
        ("Versions", "package", told.versions),
    ):
        if given:
            rows = [(key, _value(value)) for key, value in given.items()]
            parts.append(f"<h3>{title}</h3>{page.table((word, 'value'), rows, 2)}")
    return page.section("What was run", *parts)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "not set" if value is None else json.dumps(value, default=str)


def _duration(seconds: float) -> str:
    if seconds <= 0:
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _without_nan(value: Any) -> Any:
    """JSON has no NaN; what is not defined is null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
