"""What was measured: samples by row and contestant, their statistics, their JSON."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from statistics import quantiles
from typing import Any, NamedTuple

from .contestants import ALL

SCHEMA = 1
WRONG = "wrong: "
"""How the reason begins where a contestant computed something else."""


class Spread(NamedTuple):
    """Median and quartiles, in seconds."""

    low: float
    middle: float
    high: float


def spread(samples: list[float]) -> Spread:
    """The quartiles of samples, by linear interpolation between them."""
    if len(samples) < 2:
        return Spread(*[samples[0]] * 3)
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return Spread(low, middle, high)


@dataclasses.dataclass(frozen=True)
class Score:
    """One contestant on one row.

    Arguments:
        way: of doing it, the fastest of those that were tried.
        samples: seconds of a call (of a step in streaming), one a round.
        firsts: seconds of each way until its first result, compilation included.
        imports: seconds until its process was ready.
        error: the largest absolute error, of training the relative one of gradients.
        ways: seconds of all ways that were tried.
        problems: ways that did not work, in words.
    """

    way: str
    samples: list[float]
    firsts: dict[str, float] = dataclasses.field(default_factory=dict)
    imports: float = 0.0
    error: float | None = None
    ways: dict[str, float] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)

    @cached_property
    def spread(self) -> Spread:
        """Quartiles of the samples."""
        return spread(self.samples)

    @property
    def first(self) -> float | None:
        """Seconds until the first result of the way that was measured."""
        return self.firsts.get(self.way)

    @property
    def seconds(self) -> float:
        """The median."""
        return self.spread.middle


@dataclasses.dataclass(frozen=True)
class Row:
    """One workload.

    Arguments:
        name, words, kind: of the workload.
        sizes: B, T, features, layers, precision.
        flop: operations of a unit of work; None where they are not counted.
        read: bytes of weights that a unit of work reads, where that is the limit.
        scores: by contestant.
        failed: contestants that broke or were wrong, and how.
        skipped: contestants that do not take part, and why.
        peak: operations a second of a large product in the same run.
        bandwidth: bytes a second that all cores read weights at.
    """

    name: str
    words: str
    kind: str
    sizes: dict[str, Any]
    flop: int | None
    read: int | None
    scores: dict[str, Score]
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    peak: float | None = None
    bandwidth: float | None = None

    @property
    def fastest(self) -> str | None:
        """The contestant with the smallest median."""
        found = self.scores
        return min(found, key=lambda name: found[name].seconds) if found else None

    @property
    def ratios(self) -> dict[str, float]:
        """Medians as multiples of the smallest."""
        if self.fastest is None:
            return {}
        least = self.scores[self.fastest].seconds
        return {name: score.seconds / least for name, score in self.scores.items()}

    def rate(self, name: str) -> float | None:
        """Operations a second of a contestant."""
        return None if self.flop is None else self.flop / self.scores[name].seconds

    def share(self, name: str) -> float | None:
        """How much a contestant makes of the machine.

        Of the bytes a second that weights can be read at, for one sequence; else of the
        operations a second of a large product.
        """
        if self.read is not None:
            seconds = self.scores[name].seconds
            return self.bandwidth and self.read / seconds / self.bandwidth
        rate = self.rate(name)
        return self.peak and rate and rate / self.peak

    def lead(self, ours: set[str]) -> float | None:
        """How many times faster the best of ours is than the best of the others."""
        sides = [
            [s.seconds for name, s in self.scores.items() if (name in ours) == mine]
            for mine in (True, False)
        ]
        return min(sides[1]) / min(sides[0]) if all(sides) else None


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """The table.

    Arguments:
        rows: in the order in which they were measured.
        machine: processor, cores, versions; no name of it.
        settings: rounds and the like.
        notes: what a reader should know, such as a machine that was not idle.
    """

    rows: list[Row]
    machine: dict[str, Any]
    settings: dict[str, Any]
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def contestants(self) -> list[str]:
        """Everybody with a score, in the order of the table."""
        return list(dict.fromkeys(name for row in self.rows for name in row.scores))

    @property
    def failed(self) -> dict[str, str]:
        """What went wrong, by "row: contestant"."""
        return {
            f"{row.name}: {name}": why
            for row in self.rows
            for name, why in row.failed.items()
        }

    @property
    def skipped(self) -> dict[str, str]:
        """Who did not take part, by name, or by "row: contestant", and why."""
        found: dict[str, str] = {}
        for row in self.rows:
            for name, why in row.skipped.items():
                everywhere = all(r.skipped.get(name) == why for r in self.rows)
                found[name if everywhere else f"{row.name}: {name}"] = why
        return found

    @property
    def disagrees(self) -> bool:
        """Whether somebody was wrong, or one of jlstm's engines failed."""
        return any(
            why.startswith(WRONG) or ALL[name].ours
            for row in self.rows
            for name, why in row.failed.items()
            if name in ALL
        )

    def __str__(self) -> str:
        from .report import as_text

        return as_text(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON, with all samples."""
        rows = []
        for row in self.rows:
            told = dataclasses.asdict(row)
            told |= {"fastest": row.fastest, "ratios": row.ratios}
            for name, score in row.scores.items():
                told["scores"][name] |= {
                    **score.spread._asdict(),
                    "flop_per_second": row.rate(name),
                    "share": row.share(name),
                }
            rows.append(told)
        return {
            "schema": SCHEMA,
            "machine": self.machine,
            "settings": self.settings,
            "notes": self.notes,
            "rows": rows,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Benchmark:
        """The table out of its JSON."""
        rows = []
        for given in told["rows"]:
            fields = {f.name: given[f.name] for f in dataclasses.fields(Row)}
            fields["scores"] = {
                name: Score(**{f.name: s[f.name] for f in dataclasses.fields(Score)})
                for name, s in given["scores"].items()
            }
            rows.append(Row(**fields))
        return cls(rows, told["machine"], told["settings"], told["notes"])
