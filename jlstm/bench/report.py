"""The table in words: cells for a terminal, for text and for Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .contestants import ALL
from .results import Benchmark, Row

UNITS = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (float("inf"), 1, "s"))
MARKERS = "<!-- {} -->", "<!-- end of {} -->"
OURS = {name for name, one in ALL.items() if one.ours}


class Table(NamedTuple):
    """Headings and cells, the first column to the left."""

    title: str
    head: list[str]
    body: list[list[str]]


def duration(seconds: float) -> str:
    """A time with three digits and a unit."""
    factor, unit = next((f, u) for limit, f, u in UNITS if seconds < limit)
    value = seconds * factor
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def tables(found: Benchmark) -> list[Table]:
    """The comparison, then what lies behind each figure."""
    return [comparison(found), details(found)]


def comparison(found: Benchmark) -> Table:
    """Rows against contestants: the time of the fastest, multiples of it for others."""
    names = found.contestants
    body = []
    for row in found.rows:
        cells = [_cell(row, name) for name in names]
        lead = row.lead(OURS)
        body.append(
            [
                f"{row.name}: {row.words}",
                *cells,
                _machine(row),
                _number(lead, "{:.2f}"),
            ]
        )
    title = "time of the fastest, the others as multiples of it (medians)"
    return Table(title, ["", *names, "of the machine", "best peer / jlstm"], body)


def _cell(row: Row, name: str) -> str:
    if name not in row.scores:
        return "failed" if name in row.failed else "-"
    if name == row.fastest:
        return duration(row.scores[name].seconds)
    return f"{row.ratios[name]:.2f}"


def _machine(row: Row) -> str:
    """What the fastest makes of the machine."""
    if row.fastest is None:
        return "-"
    rate, share = row.rate(row.fastest), row.share(row.fastest)
    if rate is None:
        return "not counted"
    of = "of the reading speed" if row.read is not None else "of the peak"
    percent = "" if share is None else f", {100 * share:.0f} % {of}"
    return f"{rate / 1e9:.3g} GFLOP/s{percent}"


def details(found: Benchmark) -> Table:
    """A line for every score: how, median and quartiles, first call, error."""
    head = [
        "row", "contestant", "way", "median", "quartiles", "GFLOP/s", "first result",
        "error",
    ]  # fmt: skip
    body = [
        [
            row.name, name, score.way, duration(score.seconds),
            f"{duration(score.spread.low)} to {duration(score.spread.high)}",
            _number(rate and rate / 1e9, "{:.3g}"),
            "-" if score.first is None else duration(score.first),
            _number(score.error, "{:.1e}"),
        ]
        for row in found.rows
        for name, score in row.scores.items()
        for rate in [row.rate(name)]
    ]  # fmt: skip
    return Table("what lies behind", head, body)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def remarks(found: Benchmark) -> list[str]:
    """What is no figure: the machine, who is missing, what went wrong."""
    machine = found.machine
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    lines = [
        f"{machine['processor']}, {machine['cores']} cores; {versions}",
        f"{found.settings['rounds']} rounds, allocator {found.settings['allocator']}; "
        "error: largest absolute difference from double precision, of training the "
        "relative one of the gradient",
    ]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"skipped {name}: {why}" for name, why in found.skipped.items()]
    lines += [f"FAILED {name}: {why}" for name, why in found.failed.items()]
    return lines


def as_text(found: Benchmark) -> str:
    """Everything as plain text, columns aligned."""
    blocks = []
    for table in tables(found):
        rows = [table.head, *table.body]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True))
            for cells in rows
        ]
        blocks.append("\n".join([table.title, *(line.rstrip() for line in lines)]))
    return "\n\n".join([*blocks, "\n".join(remarks(found))])


def as_markdown(found: Benchmark) -> str:
    """Everything for a README."""
    blocks = []
    for table in tables(found):
        lines = [table.head, ["---"] * len(table.head), *table.body]
        blocks.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join([*blocks, "\n".join(f"* {line}" for line in remarks(found))])


def put(path: Path, what: str, text: str) -> None:
    """Put figures between their markers, which come at the end if there are none."""
    first, last = (marker.format(what) for marker in MARKERS)
    page = path.read_text("utf-8")
    if first not in page:
        page = f"{page.rstrip()}\n\n{first}\n{last}\n"
    before, _, rest = page.partition(first)
    after = rest.partition(last)[2]
    path.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}", "utf-8")
