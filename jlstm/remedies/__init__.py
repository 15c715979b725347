"""What the user reads about every mistake that the diagnosis knows; nothing but text.

`REMEDIES` has one entry a mistake under its plain name, and one more for every form of
it that needs other words or other lines: "start-state" and "start-state:saved".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .biases import BIASES
from .bidirectional import BIDIRECTIONAL
from .equations import EQUATIONS
from .inputs import INPUTS
from .lengths import LENGTHS
from .outputs import OUTPUTS
from .remedy import Lines, Remedy
from .rows import ROWS
from .running import RUNNING
from .scaling import SCALING
from .softmax import SOFTMAX
from .weights import WEIGHTS
from .wording import fill, variant
from .words import without_cell_state

__all__ = ["REMEDIES", "Lines", "Remedy", "explain", "names"]

REMEDIES: dict[str, Remedy] = {
    **ROWS, **WEIGHTS, **BIASES, **RUNNING, **BIDIRECTIONAL, **EQUATIONS,
    **SCALING, **INPUTS, **LENGTHS, **SOFTMAX, **OUTPUTS,
}  # fmt: skip


def names() -> list[str]:
    """The mistakes that have a remedy, without their forms."""
    return [key for key in REMEDIES if ":" not in key]


def explain(
    name: str,
    layers: str,
    parameters: Mapping[str, Any],
    *,
    cell: str = "lstm",
    right: Any = None,
) -> Remedy:
    """The remedy of a mistake, its templates filled in.

    Arguments:
        name: of the mistake, "gate-order".
        layers: where, in words: "lstm_1 and lstm_2", "every recurrent layer".
        parameters: of the mistake, {"order": "iofg"}.
        cell: "lstm" or "gru", for mistakes inside of a layer.
        right: what the network has where the mistake has something else, where it is
            not the default: a function, a reset gate mode, an epsilon.

    Raises:
        KeyError: no such mistake, or one of its parameters is missing.
    """
    if set(parameters.get("order", "")) == set("rzn"):
        cell = "gru"
    key = f"{name}:{variant(name, {**parameters, 'right': right}, cell)}"
    template = REMEDIES[key if key in REMEDIES else name]
    words = fill(name, layers, parameters, cell, right)
    return Remedy(
        template.finding.format_map(words.prose),
        template.do.format_map(words.prose),
        _filled(template.python, words.python, cell),
        _filled(template.matlab, words.matlab, cell),
        template.reference,
    )


def _filled(lines: Lines, words: dict[str, Any], cell: str) -> Lines:
    filled = (text.format_map(words) for text in lines)
    return Lines(*(without_cell_state(f) if cell == "gru" else f for f in filled))
