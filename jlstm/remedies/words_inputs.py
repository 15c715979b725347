"""Blanks of the remedies for what goes into a network and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .words import SHOWN, Parameters, Words, in_matlab, in_python, number


def _affine(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    offset = p["offset"]
    if hasattr(offset, "__len__"):
        words.code("plus", f"+ {in_python(offset)}", f"+ {in_matlab(offset)}")
    else:
        words.every(plus=f"{'-' if offset < 0 else '+'} {number(abs(offset))}")


def _statistics(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    said = {
        "own-sample": "with its own mean and standard deviation (with n - 1)",
        "own-population": "with its own mean and standard deviation (with n)",
        "minmax": "to 0 ... 1 by its own smallest and largest value",
        "minmax-symmetric": "to -1 ... 1 by its own smallest and largest value",
        "all-sample": "with mean and standard deviation (with n - 1) of all recorded "
        "sequences together",
        "all-population": "with mean and standard deviation (with n) of all recorded "
        "sequences together",
        "all-minmax": "to 0 ... 1 by the smallest and largest value of all recorded "
        "sequences together",
    }
    words.prose["statistics_words"] = said[p.get("statistics", "own-sample")]


def _order(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    order = [int(k) for k in p["order"]]
    matlab = f"[{' '.join(str(k + 1) for k in order)}]"
    words.code("order", str(order), matlab)
    words.prose["order"] = ", ".join(map(str, order))


def _sequences(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    order = [int(k) for k in p["order"]]
    words.prose["order"] = ", ".join(map(str, order[:SHOWN]))
    if len(order) > SHOWN:
        words.prose["order"] += ", ..."
    # A rotation by its shorter way round.
    ahead = order[0] if order[0] <= len(order) // 2 else order[0] - len(order)
    words.code("turn", ahead, -ahead)
    places = "one place" if abs(ahead) == 1 else f"{abs(ahead)} places"
    words.prose["turned"] = f"{places} too {'early' if ahead > 0 else 'late'}"


def _steps(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    signed = next((p[k] for k in ("steps", "first", "last") if p.get(k)), 0)
    k = abs(int(signed))
    words.every(k=k)
    words.prose["steps_word"] = "step" if k == 1 else "steps"
    some = "step of the recording is" if k == 1 else f"{k} steps of the recording are"
    words.prose["dropped"] = some
    words.prose["stand"] = "stands" if k == 1 else "stand"
    words.prose["direction"] = "late" if signed > 0 else "early"
    end, other = ("first", "last") if signed > 0 else ("last", "first")
    words.prose["filled"] = {
        "zero": "zeros in the rows that are missing",
        "edge": f"the {end} row repeated",
        "roll": f"the {other} rows moved to the other end",
        "neutral": f"zeros in the rows that are missing, {_AFTERWARDS}",
    }[p.get("fill", "zero")]


_AFTERWARDS = "put in after the normalisation by hand"


def _padded(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    before = p.get("side", "right") == "left"
    if p.get("mates"):
        place = "before its first step" if before else "after its last step"
    else:
        place = "before" if before else "after"
    words.prose["place"] = place
    _filling(words, p)


def _fixed(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    _filling(words, p)


def _filling(words: Words, p: Parameters) -> None:
    value = p.get("value", 0)
    if value == "neutral":
        words.prose["value"] = f"0 ({_AFTERWARDS})"
    else:
        words.every(value=number(value))


DERIVED_OF_INPUTS: dict[str, tuple[Callable[..., None], ...]] = {
    "input-affine": (_affine,),
    "output-affine": (_affine,),
    "standardised": (_statistics,),
    "features-permuted": (_order,),
    "columns-permuted": (_order,),
    "sequences-reordered": (_order, _sequences),
    "time-shift": (_steps,),
    "output-shift": (_steps,),
    "steps-dropped": (_steps,),
    "padding": (_steps, _padded),
    "fixed-length": (_fixed,),
}
"""What fills the blanks of a mistake, as in `words_layers`."""
