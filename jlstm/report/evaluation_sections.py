"""The sections of the page about an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from typing import Any

from ..plots_training import Picture
from ..plots_worst import score_words
from ..tally import Tally, Worst
from . import page
from .evaluation_words import Outline, figure, many, verdict
from .words import NOTES, label, number

LISTED = 100
"""So many sequences are listed on the page; the table of all is a file of its own."""
MANY_CLASSES = 60
TABLE = ("rmse", "mae", "nse", "kge", "r2", "nrmse", "fit")


def opening(told: Outline, summary: Mapping[str, Any], pictures: bool) -> str:
    """The heading, the verdict, and what is missing."""
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
        parts.append(page.paragraph(f"{many(missing, 'sequence')} without a target."))
    if not pictures:
        parts.append(
            "<p>There are no pictures: they need matplotlib, "
            "<code>pip install 'jlstm[plot]'</code>.</p>"
        )
    return "\n".join(parts)


def scores(summary: Mapping[str, Any], names: list[str]) -> str:
    """The measures over all, of each output or class."""
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
        (row["name"], f"{row['scored']:,}", *(figure(key, row[key]) for key in keys))
        for row in summary["outputs"]
    ]
    if len(names) > 1:
        whole = summary["all"]
        rows.append(
            (
                "over all",
                f"{summary['scored']:,}",
                *(figure(k, whole[k]) for k in keys),
            )
        )
    head = ("output", "values", *map(label, keys))
    return page.section("Scores", page.table(head, rows, 1), notes)


def _by_class(summary: Mapping[str, Any]) -> str:
    rows = [
        (row["name"], f"{row['scored']:,}", figure("accuracy", row["recall"]),
         figure("accuracy", row["precision"]))
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


def spread(summary: Mapping[str, Any], drawn: Mapping[str, Picture]) -> str:
    """How the scores of the sequences are spread."""
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
         *(figure(key, found[c]) for c in columns), f"{found['undefined']:,}")
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


def densities(tally: Tally | None, drawn: Mapping[str, Picture]) -> str:
    """Predicted against target."""
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


def confusion(summary: Mapping[str, Any], drawn: Mapping[str, Picture]) -> str:
    """Which class was taken for which."""
    if not summary.get("sequences_scored") or "confusion" not in summary:
        return ""
    silent = summary["steps_not_finite"]
    words = f"{many(silent, 'answer')} not a number." if silent else ""
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


def worst_sequences(worst: Worst | None, drawn: Mapping[str, Picture]) -> str:
    """The worst sequences, by name and drawn."""
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


def set_aside(told: Outline) -> str:
    """The files that were not evaluated, and why."""
    if not told.set_aside:
        return ""
    rows = [(one.get("shard", ""), one.get("reason", "")) for one in told.set_aside]
    return page.section("Set aside", page.table(("file", "why"), rows, 2))


def listed(told: Outline, rows: Iterable[Mapping[str, Any]]) -> str:
    """The first sequences, and where the others are."""
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
    words = f"The first {LISTED}" if len(some) > LISTED else many(len(some), "sequence")
    return page.section("Sequences", page.folded(words, table), page.paragraph(where))


PLAIN = {key: key for key in ("sequence", "steps", "scored")} | {
    key: label(key) for key in ("rmse", "nse", "kge", "accuracy", "cross_entropy")
}


def _cell(key: str, value: Any) -> str:
    if key == "sequence":
        return str(value)
    return f"{value:,}" if isinstance(value, int) else figure(key, value)


def run(told: Outline, summary: Mapping[str, Any]) -> str:
    """Networks, data, options and time."""
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
