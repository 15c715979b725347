"""Cheap reasons for and against candidates, and their order."""

from __future__ import annotations

import itertools

import numpy as np

from .evidence import Judgement
from .trial import PARAMETERS, Mistake
from .workbench import Mistakes, Scored

FEW = 3
LASTING_ERROR = 1e-5


def once(scored: list[Scored]) -> list[Scored]:
    """Each candidate the first time that it is listed."""
    found: dict[frozenset[Mistake], Scored] = {}
    for candidate in scored:
        found.setdefault(frozenset(candidate.mistakes), candidate)
    return list(found.values())


def agreeing(mine: np.ndarray, theirs: np.ndarray, scale: np.ndarray) -> int:
    """How many steps agree, from the first on."""
    with np.errstate(invalid="ignore"):
        good = np.all(abs(mine - theirs) <= LASTING_ERROR * scale, axis=1)
    return good.size if good.all() else int(np.argmin(good))


def may_be(mistake: Mistake, first: int | None) -> bool:
    """Cheap reasons against a mistake, from the step at which differences begin."""
    period = mistake.parameters.get("every", mistake.parameters.get("after", 1))
    if mistake.name not in ("state-reset", "closed-loop") or period == 1:
        return True
    if first is None or first < FEW:  # with noise the first step says nothing
        return True
    return mistake.paired or first - 3 <= period <= first


def shows(mistake: Mistake, rows: int | None) -> bool:
    """Whether a mistake is looked for in pairs: where it shows in so many steps."""
    if mistake.name == "state-reset":
        every = mistake.parameters["every"]
        return every < rows if rows is not None else every == 1 or mistake.paired
    return mistake.paired or mistake.common


def compatible(mistakes: Mistakes) -> bool:
    """Whether all of them are about different things."""
    return all(a.goes_with(b) for a, b in itertools.combinations(mistakes, 2))


def likely(mistakes: Mistakes) -> int:
    """How many of them are rare."""
    return sum(not mistake.common for mistake in mistakes)


def parameters_key(pair: Mistakes) -> tuple[int, ...]:
    """Pairs with the same set of parameters have the same key."""
    return tuple(sorted(id(m) for m in pair if m.stage == PARAMETERS))


def ranked(judged: list[Judgement]) -> list[Judgement]:
    """The finest level first, then the nearest."""
    levels = ("single", "close", "half", "bfloat16")
    return sorted(judged, key=lambda j: (levels.index(j.level), j.rms))
