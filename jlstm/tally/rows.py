"""What the table of sequences says of each: its scores, in one row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..hits import Hits, hits
from ..metrics import Sequences, resolution, sequences
from ..moments import Moments, moments

MEASURES = ("rmse", "nse", "kge")
CLASS_MEASURES = ("accuracy", "cross_entropy")
PERFECT = {"nse": 1.0, "kge": 1.0, "accuracy": 1.0}
"""What cannot be surpassed; the others are distances from 0 already."""


def row_columns(
    count: int, classes: bool = False, outputs: Sequence[str] | None = None
) -> list[str]:
    """The keys of `sequence_row`, in their order.

    Arguments:
        count: how many outputs or classes there are.
        classes: whether the outputs are the scores of classes.
        outputs: their names; `y1`, `y2` and so on by default.
    """
    keys = ["sequence", "steps", "scored"]
    if classes:
        return [*keys, *CLASS_MEASURES]
    named = outputs or [f"y{k}" for k in range(1, count + 1)]
    keys += MEASURES
    if count > 1:
        keys += [f"{name}_{measure}" for name in named for measure in MEASURES]
    return keys


def sequence_row(
    name: str,
    y: Any,
    target: Any,
    classes: bool = False,
    outputs: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The scores of one sequence, as a row of a table.

    Arguments:
        name: what the sequence is called.
        y, target: `(time, outputs)`, or `(outputs,)` of an answer per sequence.
        classes: whether `y` are the scores of classes, and `target` one-hot.
        outputs: names of the outputs.

    Returns:
        `sequence`, `steps`, `scored`: how many values are (steps, for classes);
        `rmse`, `nse`, `kge` over all outputs, and where there are several `y1_rmse` and
        so on of each; of classes `accuracy` and `cross_entropy`. NaN where one is not
        defined.

    Raises:
        InputError: as the measures of `jlstm.metrics`; nothing scored is no error.
    """
    given = [y], [target]
    (row,) = rows([name], parts(*given, classes), classes, outputs)
    return row


def parts(y: Any, target: Any, classes: bool) -> tuple[Sequences, Moments | Hits]:
    """The sequences of a list, and the sums of each."""
    given = sequences(y, target)
    if classes:
        return given, hits(*given, eps=resolution(y))
    return given, moments(*given)


def rows(
    names: Sequence[str],
    found: tuple[Sequences, Moments | Hits],
    classes: bool,
    outputs: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """A row of each sequence, from its sums."""
    given, sums = found
    keys = row_columns(given.y.shape[1], classes, outputs)
    scored = sums.scored if isinstance(sums, Hits) else sums.weight.sum(axis=0)
    columns = [names, given.lengths.tolist(), scored.astype(int).tolist()]
    if isinstance(sums, Hits):
        columns += [sums.measures()[key].tolist() for key in CLASS_MEASURES]
    else:
        whole, each = sums.over_all(), sums.by_output()
        columns += [whole[key].tolist() for key in MEASURES]
        if given.y.shape[1] > 1:
            columns += [
                each[key][k].tolist()
                for k in range(len(sums.weight))
                for key in MEASURES
            ]
    return [
        dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)
    ]


def badness(row: dict[str, Any]) -> tuple[int, float, str] | None:
    """What sorts the worst sequence first; None where nothing is scored.

    Predictions that are not finite come first, then the lowest NSE, then, of those
    whose target is constant and has none, the largest RMSE. Of several outputs it is
    the mean NSE of those that have one. Of classes the largest cross-entropy is first.
    """
    if not row["scored"]:
        return None
    name = str(row["sequence"])
    if "cross_entropy" in row:
        entropy = row["cross_entropy"]
        return (1, -entropy, name) if math.isfinite(entropy) else (0, 0.0, name)
    if not math.isfinite(row["rmse"]):
        return 0, 0.0, name
    nse = efficiency(row)
    return (2, -row["rmse"], name) if math.isnan(nse) else (1, nse, name)


def efficiency(row: dict[str, Any]) -> float:
    """The NSE of a sequence: the mean of the outputs that have one; NaN for none."""
    each = [value for key, value in row.items() if key.endswith("_nse")]
    known = [value for value in each or [row["nse"]] if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
