"""From the parameters of a mistake to its form, and to the words of its remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .words import (
    GRU_GATES,
    LSTM_GATES,
    SHOWN,
    Parameters,
    Words,
    in_matlab,
    in_prose,
    in_python,
)
from .words_inputs import DERIVED_OF_INPUTS
from .words_layers import DERIVED_OF_LAYERS

# --- which remedy ---------------------------------------------------------------------


def variant(name: str, p: Parameters, cell: str) -> str:
    """What follows the colon in the key of a remedy; empty for the plain one.

    `p` are the parameters of the mistake and, as "right", what the network has.
    """
    choose = _VARIANTS.get(name)
    if choose is not None:
        return choose(p, cell)
    return "gru" if cell == "gru" else ""


def _joined(*parts: str | bool | None) -> str:
    return "-".join(part for part in parts if isinstance(part, str) and part)


def _order_variant(p: Parameters, cell: str) -> str:
    turned = any((p.get("recurrent_transposed"), p.get("input_transposed")))
    gru = cell == "gru" and "gru"
    return _joined(gru, "of" if "of" in p else turned and "transposed")


def _bias_variant(p: Parameters, cell: str) -> str:
    gate = p.get("gate", "")
    if gate == "n":
        return "candidate"
    if gate:
        return "gate-gru" if gate in GRU_GATES else "gate"
    return p.get("part", "gru" if cell == "gru" else "")


def _padding_variant(p: Parameters, _: str) -> str:
    mates = bool(p.get("mates"))
    side = p.get("side", "right" if mates else "")
    return _joined(mates and "mates", side, p.get("value") == "neutral" and "neutral")


def _fixed_variant(p: Parameters, _: str) -> str:
    ends = (f"{key}-{p[key]}" for key in ("cut", "side") if key in p)
    return _joined(*ends, p.get("value") == "neutral" and "neutral")


def _sequence_variant(p: Parameters, _: str) -> str:
    order = [int(k) for k in p["order"]]
    whole = list(range(len(order)))
    if order == whole[::-1]:
        return "reversed"
    if order == sorted(whole, key=lambda k: str(k + 1)):
        return "text"
    if order == whole[order[0] :] + whole[: order[0]]:
        return "rotated"
    return "long" if len(order) > SHOWN else ""


_VARIANTS: dict[str, Callable[[Parameters, str], str]] = {
    "gate-order": _order_variant,
    "memory-order": lambda p, _: p.get("which", ""),
    "bias-omitted": _bias_variant,
    "forget-bias": lambda p, _: "missing" if p["added"] < 0 else "",
    "weights-rounded": lambda p, _: p.get("to", ""),
    "one-direction-twice": lambda p, _: p.get("direction", ""),
    "state-reset": lambda p, _: "every" if p.get("every", 1) != 1 else "",
    "start-state": lambda p, _: p.get("from", ""),
    "closed-loop": lambda p, _: "after" if p.get("after", 1) != 1 else "",
    "activation-omitted": lambda p, _: str(p.get("function", "")),
    "activation-replaced": lambda p, _: str(p.get("right") or ""),
    "normalisation-partial": lambda p, _: p.get("form", ""),
    "standardised": lambda p, _: _joined(
        p.get("instead", False) and "instead", p.get("statistics", "own-sample")
    ),
    "std-ddof": lambda p, _: "inverse" if p.get("factor", 0) > 1 else "",
    "input-memory-order": lambda p, _: p.get("read", ""),
    "sequences-reordered": _sequence_variant,
    "input-frozen": lambda p, _: p.get("step", ""),
    "time-shift": lambda p, _: _joined(
        "late" if p["steps"] >= 0 else "early", p.get("fill", "zero")
    ),
    "padding": _padding_variant,
    "fixed-length": _fixed_variant,
    "steps-dropped": lambda p, _: "last" if p.get("last") else "",
    "output-shift": lambda p, _: "early" if p["steps"] < 0 else "",
}


# --- what stands in its blanks --------------------------------------------------------

_DERIVED = DERIVED_OF_LAYERS | DERIVED_OF_INPUTS


def fill(name: str, layers: str, p: Parameters, cell: str, right: Any) -> Words:
    """Everything that the templates of one mistake may ask for."""
    words = Words({}, {}, {})
    gates = len(GRU_GATES if cell == "gru" else LSTM_GATES)
    words.every(layers=layers, gates=gates, twice=2 * gates)
    for key, value in p.items():
        words.prose[key] = in_prose(value)
        words.code(key, in_python(value), in_matlab(value))
    for derive in _DERIVED.get(name, ()):
        derive(name, words, p, cell, right)
    return words
