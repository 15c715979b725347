"""What `audit` returns: remarks in words and in figures."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

SHOWN = 8
"""Remarks that are spelt out on one screen."""


@dataclass(frozen=True)
class Remark:
    """One thing to know before the network is trusted.

    Arguments:
        kind: what it is, a fixed word for scripts, "unlearned-recurrence".
        layer: the layer, and its direction where it has two; "" for the network.
        words: what was seen.
        figures: the same in numbers, ready for JSON.
        consequence: what it does to predictions.
        do: what to do about it.
    """

    kind: str
    layer: str
    words: str
    figures: dict[str, Any] = field(hash=False)
    consequence: str
    do: str

    def __str__(self) -> str:
        where = f"{self.layer}: " if self.layer else ""
        return f"{where}{self.words}; {self.consequence}"


@dataclass(frozen=True)
class Audit:
    """What is suspicious about a network; true where nothing is.

    Arguments:
        remarks: the gravest first.
        advice: what holds of a sound network too and is easily overlooked.
    """

    remarks: tuple[Remark, ...]
    advice: tuple[Remark, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is suspicious."""
        return not self.remarks

    def __bool__(self) -> bool:
        """Whether nothing is suspicious, so that `assert audit(net)` can be written."""
        return self.ok

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "ok": self.ok,
            "remarks": [asdict(remark) for remark in self.remarks],
            "advice": [asdict(remark) for remark in self.advice],
        }

    def __str__(self) -> str:
        count = len(self.remarks)
        if count:
            lines = [f"{count} remark{'s' if count > 1 else ''}, the gravest first"]
        else:
            lines = ["nothing suspicious: weights, gates, state and normalisation"]
        for remark in self.remarks[:SHOWN]:
            lines += _paragraph(remark)
        for remark in self.remarks[SHOWN:]:
            text = f"- {remark.layer or 'network'}: {remark.words}"
            lines.append(textwrap.shorten(text, 88, placeholder=" ..."))
        for remark in self.advice:
            lines += _wrapped("keep in mind: ", str(remark))
        return "\n".join(lines)


def _paragraph(remark: Remark) -> list[str]:
    where = f"- {remark.layer or 'network'}: "
    return [
        *_wrapped(where, remark.words, indent=2),
        *_wrapped("  so: ", remark.consequence),
        *_wrapped("  do: ", remark.do),
    ]


def _wrapped(head: str, text: str, indent: int | None = None) -> list[str]:
    later = " " * (len(head) if indent is None else indent)
    return textwrap.wrap(
        head + text, 88, subsequent_indent=later, break_on_hyphens=False
    )


def listed(indices: np.ndarray) -> str:
    """The first of some indices as text."""
    text = ", ".join(str(k) for k in indices[:8])
    return text + (", ..." if len(indices) > 8 else "")


def which(mask: np.ndarray) -> list[int]:
    """The indices at which a mask is true, as plain numbers."""
    return [int(k) for k in np.flatnonzero(mask)]
