"""Tally: the scores of all sequences so far, in memory that does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DamagedFile, InputError
from ..hits import Hits
from ..metrics import Sequences
from ..moments import Moments, merged
from .density import PER_SEQUENCE, Density
from .rows import CLASS_MEASURES, MEASURES, PERFECT, parts, rows
from .sketch import Sketch

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


@dataclass(frozen=True)
class Tally:
    """What is known of the scores of some sequences.

    Arguments:
        classes: whether the predictions are the scores of classes.
        sequences: how many there are.
        scored: of how many anything is scored.
        broken: of how many a scored prediction is not finite; they make the measures
            over all NaN.
        steps: of all sequences together.
        sums: of all values, for each output.
        scores: by measure the scores of the sequences, of each output and then over
            all, as distances from the best score.
        density: predicted against target, of each output; empty for classes.
    """

    classes: bool
    sequences: int
    scored: int
    broken: int
    steps: int
    sums: Moments | Hits
    scores: Mapping[str, tuple[Sketch, ...]]
    density: tuple[Density, ...]

    @classmethod
    def of(cls, y: Any, target: Any, classes: bool = False) -> Tally:
        """That of one sequence, or of a list of them, which is faster.

        Arguments:
            y: `(time, outputs)`, or `(outputs,)` of an answer per sequence.
            target: the same; NaN is not scored. One-hot for classes.
            classes: whether `y` are the scores of classes.

        Raises:
            InputError: as the measures of `jlstm.metrics`; nothing scored is no error.
        """
        given = _several(y), _several(target)
        return _tally(parts(*given, classes), classes)

    @property
    def outputs(self) -> int:
        """How many outputs or classes there are."""
        if isinstance(self.sums, Hits):
            return len(self.sums.confusion)
        return len(self.sums.weight)

    def merge(self, other: Tally) -> Tally:
        """That of both.

        Raises:
            InputError: one is of classes, or they differ in their outputs.
        """
        mine, theirs = ((t.outputs, t.classes) for t in (self, other))
        if mine != theirs:
            raise InputError(
                "tallies of different predictions",
                found=" and ".join(
                    f"{n} {'classes' if c else 'outputs'}" for n, c in (mine, theirs)
                ),
            )
        return Tally(
            self.classes,
            self.sequences + other.sequences,
            self.scored + other.scored,
            self.broken + other.broken,
            self.steps + other.steps,
            _both(self.sums, other.sums),
            {
                name: tuple(map(Sketch.merge, mine, other.scores[name]))
                for name, mine in self.scores.items()
            },
            tuple(map(Density.merge, self.density, other.density)),
        )

    def summary(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """All figures: over all, of each output, and their spread over the sequences.

        Arguments:
            names: of the outputs or classes; `y1`, `y2` and so on by default.

        Returns:
            counts; `all`, the measures of `jlstm.metrics.summary` on all data;
            `outputs`, a list of them with `name`, `scored` and, in `sequences`,
            quantiles by measure; `sequences_all`, those over all outputs. Of classes
            `classes`, a list with `name`, `scored`, `recall`, `precision`, and
            `confusion`. What is not defined is NaN.
        """
        names = names or [f"y{k}" for k in range(1, self.outputs + 1)]
        if len(names) != self.outputs:
            raise InputError(
                "there are not as many names as outputs",
                found=len(names),
                expected=self.outputs,
            )
        counts = {
            "sequences": self.sequences,
            "sequences_scored": self.scored,
            "sequences_not_finite": self.broken,
            "steps": self.steps,
        }
        spread = [
            {key: _quantiles(key, sketches[k]) for key, sketches in self.scores.items()}
            for k in (*range(len(self.density)), -1)
        ]
        if isinstance(self.sums, Hits):
            return (
                counts | _of_classes(self.sums, names) | {"sequences_all": spread[-1]}
            )
        whole = {key: float(value) for key, value in self.sums.over_all().items()}
        each = self.sums.by_output()
        return counts | {
            "scored": int(self.sums.weight.sum()),
            "all": whole,
            "sequences_all": spread[-1],
            "outputs": [
                {"name": name, "scored": int(self.sums.weight[k])}
                | {key: float(values[k]) for key, values in each.items()}
                | {"sequences": spread[k]}
                for k, name in enumerate(names)
            ],
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, exactly: without NaN, and every float to its last bit."""
        return {
            "classes": self.classes,
            "sequences": self.sequences,
            "scored": self.scored,
            "broken": self.broken,
            "steps": self.steps,
            "sums": {
                key: _plain(value.tolist())
                for key, value in self.sums._asdict().items()
            },
            "scores": {
                key: [_plain(one.to_dict()) for one in some]
                for key, some in self.scores.items()
            },
            "density": [one.to_dict() for one in self.density],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Tally:
        """What `to_dict` wrote.

        Raises:
            DamagedFile: it wrote something else.
        """
        try:
            return cls._from_dict(given)
        except DamagedFile:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedFile(
                "not a tally", found=f"{type(error).__name__}: {error}"
            ) from None

    @classmethod
    def _from_dict(cls, given: Mapping[str, Any]) -> Tally:
        kind = Hits if given["classes"] else Moments
        sums = kind(
            **{key: np.array(_unplain(v), float) for key, v in given["sums"].items()}
        )
        if isinstance(sums, Hits):
            sums = sums._replace(confusion=sums.confusion.astype(np.int64))
        measures = CLASS_MEASURES if given["classes"] else MEASURES
        counts = [given[key] for key in ("sequences", "scored", "broken", "steps")]
        density = tuple(map(Density.from_dict, given["density"]))
        scores = {
            key: tuple(Sketch.from_dict(_unplain(one)) for one in given["scores"][key])
            for key in measures
        }
        found = cls(bool(given["classes"]), *counts, sums, scores, density)
        outputs = 0 if found.classes else found.outputs
        shape = (outputs,) if outputs else ()
        sizes = {len(some) for some in scores.values()} | {len(density) + 1}
        arrays = sums[:5] if outputs == 0 else sums
        if sizes != {outputs + 1} or any(a.shape != shape for a in arrays):
            raise DamagedFile("a tally whose parts have different outputs")
        if not all(type(count) is int for count in counts):
            raise DamagedFile("a tally whose counts are no whole numbers")
        return found


def tallied(
    names: Sequence[str],
    y: Sequence[Any],
    target: Sequence[Any],
    classes: bool = False,
    outputs: Sequence[str] | None = None,
) -> tuple[Tally, list[dict[str, Any]]]:
    """The tally of some sequences, and the row of each: both at the price of one.

    Arguments:
        names: of the sequences.
        y, target: a list of arrays, as `Tally.of` takes them.
        classes: whether the predictions are the scores of classes.
        outputs: names of the outputs, as `sequence_row` takes them.
    """
    found = parts(list(y), list(target), classes)
    return _tally(found, classes), rows(names, found, classes, outputs)


def _tally(found: tuple[Sequences, Moments | Hits], classes: bool) -> Tally:
    given, sums = found
    counts = len(given.lengths), len(given.y)
    if isinstance(sums, Hits):
        some = sums.weight > 0
        scores = {key: (_sketch(key, v[some]),) for key, v in sums.measures().items()}
        broken = int((sums.silent > 0).sum())
        return Tally(
            True,
            counts[0],
            int(some.sum()),
            broken,
            counts[1],
            sums.merged(),
            scores,
            (),
        )
    scored = sums.weight > 0
    some = scored.any(axis=0)
    each, whole = sums.by_output(), sums.over_all()
    scores = {
        key: (
            *(_sketch(key, v[on]) for v, on in zip(each[key], scored, strict=True)),
            _sketch(key, whole[key][some]),
        )
        for key in MEASURES
    }
    broken = int((~np.isfinite(sums.squared) & scored).any(axis=0).sum())
    return Tally(
        False, counts[0], int(some.sum()), broken, counts[1],
        merged(sums), scores, _densities(given, sums),
    )  # fmt: skip


def _sketch(key: str, values: np.ndarray) -> Sketch:
    return Sketch.of(PERFECT[key] - values if key in PERFECT else values)


def _densities(given: Sequences, sums: Moments) -> tuple[Density, ...]:
    steps, owner = _spaced(given.lengths)
    largest = np.maximum(abs(sums.t_low), abs(sums.t_high))
    return tuple(
        Density.of(given.target[steps, k], given.y[steps, k], largest[k, owner])
        for k in range(given.y.shape[1])
    )


def _spaced(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced steps, at most `PER_SEQUENCE` of each sequence, and its number."""
    kept = np.minimum(lengths, PER_SEQUENCE)
    owner = np.repeat(np.arange(len(lengths)), kept)
    place = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    starts = np.cumsum(lengths) - lengths
    return starts[owner] + place * lengths[owner] // kept[owner], owner


def _both(one: Moments | Hits, other: Moments | Hits) -> Moments | Hits:
    if isinstance(one, Hits) and isinstance(other, Hits):
        return Hits(*(a + b for a, b in zip(one, other, strict=True)))
    return merged(
        Moments(*(np.stack(both, axis=-1) for both in zip(one, other, strict=True)))
    )


def _quantiles(key: str, sketch: Sketch) -> dict[str, Any]:
    def value(share: float) -> float:
        if key not in PERFECT:
            return sketch.quantile(share)
        return PERFECT[key] - sketch.quantile(1 - share, upper=True)

    found: dict[str, Any] = {"min": value(0.0)}
    found |= {name: value(share) for name, share in QUANTILES.items()}
    found |= {"max": value(1.0), "defined": sketch.defined}
    return found | {"undefined": sketch.undefined}


def _of_classes(sums: Hits, names: Sequence[str]) -> dict[str, Any]:
    whole = {key: float(value) for key, value in sums.measures().items()}
    right, true, taken = (
        np.diag(sums.confusion), sums.confusion.sum(axis=1), sums.confusion.sum(axis=0),
    )  # fmt: skip

    def share(some: int, all_: int) -> float:
        return some / all_ if all_ else math.nan

    return {
        "scored": int(sums.scored),
        "steps_not_finite": int(sums.silent),
        "all": whole,
        "classes": [
            {
                "name": name,
                "scored": int(true[k]),
                "recall": share(int(right[k]), int(true[k])),
                "precision": share(int(right[k]), int(taken[k])),
            }
            for k, name in enumerate(names)
        ],
        "confusion": sums.confusion[:, :-1].tolist(),
    }


def _several(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are strings in it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _unplain(value: Any) -> Any:
    if isinstance(value, list):
        return [_unplain(one) for one in value]
    if isinstance(value, dict):
        return {key: _unplain(one) for key, one in value.items()}
    return float(value) if value in ("nan", "inf", "-inf") else value
