"""The catalogue of mistakes, and the program that makes them."""

from __future__ import annotations

from ..network import State
from .bench import window_safe
from .inputs import inputs
from .outputs import in_time, whole
from .parameters import parameters, rounded
from .running import running
from .trial import LENGTH, Mistake, Trial
from .weights import weights

PRECISIONS = ("float16", "bfloat16")


def catalogue(
    trial: Trial, *, saved: State | None = None, given: tuple[State, ...] = ()
) -> list[Mistake]:
    """Every mistake that can be made with this network and this input.

    Arguments:
        trial: the network and its input as they should be.
        saved: the state in which the network was saved, if that is another one.
        given: states that the run may have started from.
    """
    found = [
        *running(trial, saved=saved, given=given),
        *weights(trial),
        *parameters(trial),
        *inputs(trial),
        *whole(trial),
    ]
    if not window_safe(trial):
        # Every length would be compiled by itself.
        found = [m for m in found if m.stage != LENGTH or m.common]
    return found


def precisions() -> list[Mistake]:
    """Rounded parameters, which are no mistake but explain a difference."""
    return [rounded(kind) for kind in PRECISIONS]


__all__ = ["Mistake", "Trial", "catalogue", "in_time", "precisions"]
