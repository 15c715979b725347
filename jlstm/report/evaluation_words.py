"""What an evaluation was, and what it came to in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .words import label, number


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


def verdict(summary: Mapping[str, Any], told: Outline) -> str:
    """How good the predictions are, and of what, in two or three sentences."""
    if not summary:
        found = f"{many(told.sequences, 'sequence')} predicted; no targets to compare."
    elif not summary["sequences_scored"]:
        found = (
            f"Nothing is scored: none of {many(summary['sequences'], 'sequence')} has "
            "a target that is a number."
        )
    else:
        found = _quality(summary)
    if told.set_aside:
        count = len(told.set_aside)
        of = f" of {many(told.shards, 'file')}" if told.shards else ""
        noun = "" if told.shards else " file" if count == 1 else " files"
        was = "was" if count == 1 else "were"
        found += f" {count:,}{of}{noun} could not be evaluated and {was} set aside."
    return found


def _quality(summary: Mapping[str, Any]) -> str:
    of = many(summary["sequences_scored"], "sequence")
    broken, spread = summary["sequences_not_finite"], summary["sequences_all"]
    if "classes" in summary:
        answers = many(summary["scored"], "answer")
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
            found = f"{of}; over all there is no {label(key)}"
        if each["defined"] > 1:
            worst = each["q05" if key == "nse" else "q95"]
            found += (
                f"; the median sequence has {number(key, each['median'])}, one in "
                f"twenty is worse than {number(key, worst)}"
            )
    if broken:
        have = "has" if broken == 1 else "have"
        found += f". {many(broken, 'sequence')} {have} predictions that are no numbers"
        if "classes" not in summary:
            found += ", which leaves nothing to say over all"
    return found + "."


def figure(key: str, value: float | None) -> str:
    """A measure in a table."""
    return "-" if value is None or not math.isfinite(value) else number(key, value)


def many(count: int, noun: str) -> str:
    """A count and what is counted."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
