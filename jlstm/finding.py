"""What `diagnose` found, in numbers and in words."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from .mistakes import Mistake
from .network import Network
from .recurrent import GRU
from .remedies import Remedy, explain

WIDTH = 88


@dataclasses.dataclass(frozen=True)
class Finding:
    """One explanation of the observed numbers.

    Arguments:
        mistakes: one or two, each with `name`, `layers` and `parameters`.
        max_abs: the largest difference that it leaves.
        rms: what it leaves, as part of the signal.
        level: "single" where rounding in single precision accounts for the rest;
            "close", "half", "bfloat16" where something coarser must.
        remedies: for each mistake the words, the advice, the lines, the reference.
        outputs: what the network gives with the mistakes, for each sequence.
    """

    mistakes: tuple[Mistake, ...]
    max_abs: float
    rms: float
    level: str
    remedies: tuple[Remedy, ...] = ()
    outputs: tuple[np.ndarray, ...] = dataclasses.field(default=(), repr=False)

    @property
    def words(self) -> str:
        """The finding, completing "the observed numbers are what it gives when"."""
        return ", and ".join(remedy.finding for remedy in self.remedies)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "mistakes": [
                {
                    "name": mistake.name,
                    "layers": list(mistake.layers),
                    "parameters": _plain(mistake.parameters),
                    "words": remedy.finding,
                    "do": remedy.do,
                    "python": list(remedy.python),
                    "matlab": list(remedy.matlab),
                    "reference": remedy.reference,
                }
                for mistake, remedy in zip(self.mistakes, self.remedies, strict=True)
            ],
            "max_abs": _finite(self.max_abs),
            "rms": _finite(self.rms),
            "level": self.level,
        }


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Why observed numbers differ from a network; `str()` is one screen.

    Arguments:
        verdict: "agree", "precision", "explained", "tied", "unexplained" or
            "undecidable".
        summary: the verdict in a sentence.
        findings: explanations, the best first. Those that are tied with the first come
            before the others. Empty unless something explains the numbers.
        tied: how many of them cannot be told apart.
        separate_by: which measurement would tell them apart.
        max_abs: the largest difference without a mistake.
        steps: time steps, all sequences together.
        tried: how many candidates were compared.
        nearest: what came nearest besides: its words and the difference that it leaves.
        facts: what was seen before any hypothesis, such as the first bad step.
        notes: what the user should know besides.
    """

    verdict: str
    summary: str
    findings: tuple[Finding, ...]
    tied: int
    separate_by: str
    max_abs: float
    steps: int
    tried: int
    nearest: tuple[tuple[str, float], ...] = ()
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "verdict": self.verdict,
            "summary": self.summary,
            "findings": [finding.to_dict() for finding in self.findings],
            "tied": self.tied,
            "separate_by": self.separate_by,
            "max_abs": _finite(self.max_abs),
            "steps": self.steps,
            "tried": self.tried,
            "nearest": [
                {"words": words, "max_abs": _finite(size)}
                for words, size in self.nearest
            ],
            "facts": list(self.facts),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = _wrapped(f"{self.verdict.upper()}: {self.summary}", "", "  ")
        for fact in self.facts:
            lines += _wrapped(fact, "  ", "    ")
        for words, size in self.nearest[:3]:
            lines += _wrapped(f"next best, off by {size:.2g}: {words}", "  ", "    ")
        if self.findings:
            lines += _remedy(self.findings[0])
        for finding in self.findings[1 : self.tied][:5]:
            lines += _wrapped(
                f"or: {finding.words} (largest difference {finding.max_abs:.1e})",
                "  ", "      ",
            )  # fmt: skip
        if self.tied > 6:
            lines.append(f"  and {self.tied - 6} more that give the same numbers")
        if self.separate_by:
            lines += _wrapped(self.separate_by, "  ", "  ")
        for note in self.notes:
            lines += _wrapped(f"note: {note}", "  ", "    ")
        return "\n".join(lines)


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=later,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _remedy(finding: Finding) -> list[str]:
    lines = []
    for remedy in finding.remedies:
        lines += _wrapped(f"what to do: {remedy.do}", "  ", "    ")
        for language, (wrong, right) in (
            ("Python", remedy.python),
            ("MATLAB", remedy.matlab),
        ):
            for kind, text in (("wrong", wrong), ("right", right)):
                label = f"    {language} {kind}  "
                rows = text.splitlines() or [""]
                lines.append(label + rows[0])
                lines += [" " * len(label) + row for row in rows[1:]]
        lines += _wrapped(f"see {remedy.reference}", "    ", "    ")
    return lines


def describe(mistake: Mistake, net: Network) -> Remedy:
    """The words for a mistake in this network."""
    parameters = dict(mistake.parameters)
    layer: Any = net.layers[mistake.layers[0]] if mistake.layers else None
    layer = getattr(layer, "forward", layer)
    cell = "gru" if isinstance(layer, GRU) else "lstm"
    where = _listed(mistake.layers, net.recurrent) or "every layer"
    own = getattr(layer, "name", "softmax")  # of a function between the layers
    if mistake.name == "activation-omitted":
        parameters["function"] = own
    if mistake.name == "activation-replaced":
        right = own
    else:
        right = getattr(layer, _RIGHT.get(mistake.name, ""), None)
    return explain(mistake.name, where, parameters, cell=cell, right=right)


_RIGHT = {
    "gate-activation": "gate_activation",
    "state-activation": "state_activation",
    "candidate-activation": "state_activation",
    "cell-activation": "state_activation",
    "reset-mode": "reset_mode",
    "bias-omitted": "reset_mode",
    "epsilon": "epsilon",
}
"""The property of a layer that a mistake replaces, or that its lines depend on."""


def _listed(layers: tuple[str, ...], recurrent: tuple[str, ...]) -> str:
    if len(layers) > 1 and set(layers) == set(recurrent) and len(layers) > 3:
        return "every recurrent layer"
    if len(layers) < 2:
        return "".join(layers)
    return ", ".join(layers[:-1]) + " and " + layers[-1]


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple | np.ndarray) else value
        for key, value in parameters.items()
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
