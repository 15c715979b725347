"""The tables of a report: errors, what was trained, data, configuration, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec
import numpy as np

from ..config import FineTuneConfig
from ..finetuning import FineTuning
from ..metrics import summary
from ..network import Network
from ..plots_training import loss_name, output_names
from ..scoring import confusion
from ..training.parameters import low_rank, matrices, parameters
from ..training.schedules import initial_learn_rate
from . import page
from .words import NAMES, NOTES, change, label, number


def scores(tuned: FineTuning) -> str:
    """Metrics of every part before and after, then by output or class."""
    tables = []
    for part in sorted(tuned.before, key=list(NAMES).index, reverse=True):
        before, after = tuned.before[part], tuned.after[part]
        rows = [
            (label(key), number(key, old), number(key, after[key]),
             change(key, old, after[key]))
            for key, old in before.items()
        ]  # fmt: skip
        table = page.table(("", "before", "after", "change"), rows, 1)
        tables.append(f"<div><h3>{NAMES[part]} data</h3>{table}</div>")
    notes = "".join(
        f"<dt>{escape(label(key))}</dt><dd>{escape(NOTES.get(key, ''))}</dd>"
        for key in tuned.before[tuned.held_out]
    )
    notes = page.folded("What the measures mean", f"<dl>{notes}</dl>")
    beside = f'<div class="beside">{"".join(tables)}</div>'
    return page.section("Before and after", beside, notes, _each(tuned))


def _each(tuned: FineTuning) -> str:
    some, names = tuned.predictions[tuned.held_out], output_names(tuned)
    of = f"{NAMES[tuned.held_out].lower()} data"
    if tuned.net.classes:
        counts = [confusion(some, which, len(names)) for which in ("before", "after")]
        total = confusion(some, "target", len(names)).sum(axis=1)
        right = [np.diag(c) / np.maximum(total, 1) for c in counts]
        rows = [
            (name, int(total[k]), number("accuracy", right[0][k]),
             number("accuracy", right[1][k]),
             change("accuracy", right[0][k], right[1][k]))
            for k, name in enumerate(names) if total[k]
        ]  # fmt: skip
        head = ("class", "how many", "right before", "right after", "change")
        return f"<h3>By class, {of}</h3>" + page.table(head, rows, 1)
    if len(names) == 1:
        return ""
    rows = []
    for k, name in enumerate(names):
        target = [np.atleast_2d(one.target)[:, [k]] for one in some]
        if all(np.isnan(t).all() for t in target):
            continue
        old, new = (
            summary([np.atleast_2d(getattr(one, key))[:, [k]] for one in some], target)
            for key in ("before", "after")
        )
        rows.append((
            name, number("rmse", old["rmse"]), number("rmse", new["rmse"]),
            change("rmse", old["rmse"], new["rmse"]),
            number("fit", old["fit"]), number("fit", new["fit"]),
        ))  # fmt: skip
    head = ("output", "RMSE before", "after", "change", "fit before", "after")
    return f"<h3>By output, {of}</h3>" + page.table(head, rows, 1)


def arrays(tuned: FineTuning) -> str:
    """Which arrays were trained, which frozen, and how far each has moved."""
    old, new = parameters(tuned.imported), parameters(tuned.net)
    rank = tuned.config.lora_rank
    low = matrices(tuned.imported, tuned.trained, rank) if rank else ()
    corrected = {path for matrix in low for path in matrix.gates}
    rows = []
    for path, before in old.items():
        how = "trained" if path in tuned.trained else "frozen"
        how = f"trained, rank {rank}" if path in corrected else how
        rows.append((path, _shape(before), how, _moved(before, new[path])))
    new = _statistics(tuned.net)
    for path, before in _statistics(tuned.imported).items():
        if not np.array_equal(before, new[path], equal_nan=True):
            moved = _moved(before, new[path])
            rows.append((path, _shape(before), "from the new data", moved))
    count = sum(np.size(old[path]) for path in set(tuned.trained) - corrected)
    count += sum(a.size for a in low_rank(tuned.imported, low, rank, 0).values())
    total = sum(np.size(a) for a in old.values())
    words = (
        f"{len(tuned.trained)} of {len(old)} arrays were trained: {count:,} numbers "
        f"of {total:,}. Moved: the norm of the change in per cent of the norm before."
    )
    table = page.table(("array", "shape", "", "moved"), rows, 3)
    return page.section(
        "What was trained and what was frozen", page.paragraph(words), table
    )


def _statistics(net: Network) -> dict[str, Any]:
    """Statistics of data by key path: they belong to a network and are not trained."""
    return {
        f".layers[{name!r}].{field}": getattr(layer, field)
        for name, layer in net.layers.items()
        for field in layer.statistics
        if getattr(layer, field) is not None
    }


def _shape(array: Any) -> str:
    return "\u00a0x\u00a0".join(map(str, np.shape(array))) or "1"


def _moved(before: Any, after: Any) -> str:
    before, after = np.asarray(before, float), np.asarray(after, float)
    away, size = np.linalg.norm(after - before), np.linalg.norm(before)
    if not away:
        return "0"
    return f"{100 * away / size:.2g} %" if size else "from zero"


def recordings(tuned: FineTuning) -> str:
    """What was learned from, what decided, what was kept to the end."""
    rows, classes = [], bool(tuned.net.classes)
    for part, some in tuned.predictions.items():
        steps = sum(len(one.recording.x) for one in some)
        known = [~np.isnan(np.atleast_2d(one.target)) for one in some]
        scored = sum(int((k.all(axis=1) if classes else k).sum()) for k in known)
        names = ", ".join(one.recording.name for one in some[:5])
        more = f" and {len(some) - 5} more" if len(some) > 5 else ""
        rows.append((NAMES[part].lower(), names + more, len(some), steps, scored))
    counted = "answers in the errors" if classes else "numbers in the errors"
    head = ("part", "recordings", "how many", "steps", counted)
    words = page.paragraph(WASHOUT) if tuned.config.data.washout else ""
    return page.section("Data", page.table(head, rows, 2), words)


WASHOUT = """\
The errors are those of whole recordings, without the first data.washout steps of \
those that are longer. The losses lack the first data.washout steps of every window, \
and every window that has no more steps than that."""


def settings(tuned: FineTuning) -> str:
    """The configuration; what differs from the defaults first."""
    given, default = (
        _flat(msgspec.to_builtins(c)) for c in (tuned.config, FineTuneConfig())
    )
    changed = {key: value for key, value in given.items() if value != default[key]}
    if tuned.learn_rates:
        given["initial_learn_rate"] = initial_learn_rate(tuned.config)
    given["loss"] = loss_name(tuned) or given["loss"]
    first, every = (
        page.table(("key", "value"), [(k, _value(v)) for k, v in rows.items()], 2)
        for rows in (changed, given)
    )
    return page.section(
        "Configuration",
        first if changed else page.paragraph("All options have their defaults."),
        page.paragraph(f"The caller's own: {', '.join(tuned.own)}.")
        if tuned.own
        else "",
        page.folded("Every option", every),
    )


def _flat(plain: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: v for key, v in plain.items() if key != "data"}
    return found | {f"data.{key}": v for key, v in plain["data"].items()}


def _value(value: Any) -> str:
    """As TOML writes it."""
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def origin(run: Mapping[str, Any]) -> str:
    """Files with their hashes, and versions, as the run began."""
    hashes = dict(run.get("sha256") or {}).items()
    versions = dict(run.get("versions") or {}).items()
    return page.section(
        "Files and versions",
        page.table(("file", "SHA-256"), [(k, v or "-") for k, v in hashes], 2),
        "<h3>Versions</h3>",
        page.table(("package", "version"), versions, 2),
    )
