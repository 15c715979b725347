"""What a case of a remedy is: the mistake, its program, the right and wrong numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from oracles import BEFORE, BIASED, Cell
from remedy_world import GRU, PEEPHOLE, World

Swap = tuple[str, str, str, str]
Numbers = Callable[[World], np.ndarray]


class Case(NamedTuple):
    """A mistake, the program it is made in, the right and the mistaken numbers."""

    name: str
    wrong: Numbers
    parameters: Mapping[str, Any] = {}
    right: Numbers = lambda d: d.regression()
    cell: str = "lstm"
    main: str = "regression"
    world: World | None = None
    swaps: tuple[Swap, ...] = ()
    own: Any = None
    kind: str = "lstm"

    def __str__(self) -> str:
        said = " ".join(f"{k}={v}" for k, v in self.parameters.items())
        return f"{self.name} {self.kind} {said}".strip()


PLAIN = World(3, 5, 2, 7)
SQUARE = World(4, 4, 4, 4)
GATED = World(3, 5, 2, 7, GRU)
GATED_SQUARE = World(4, 4, 4, 4, GRU)
PEEPING = World(3, 5, 2, 7, PEEPHOLE)
TWO_BIASES = World(3, 5, 2, 7, Cell("gru", mode=BIASED))
SEVERAL = World(3, 5, 2, 7, sequences=4)
CROWD = World(3, 5, 2, 7, sequences=12)

MODE: dict[str, Swap] = {
    BEFORE: (
        "n = np.tanh(W_n @ x + b_n + r * (R_n @ h))",
        "n = np.tanh(W_n @ x + b_n + R_n @ (r * h))",
        "n = tanh(W_n*x + b_n + r.*(R_n*h));",
        "n = tanh(W_n*x + b_n + R_n*(r.*h));",
    ),
    BIASED: (
        "n = np.tanh(W_n @ x + b_n + r * (R_n @ h))",
        "n = np.tanh(W_n @ x + b_n + r * (R_n @ h + bR_n))",
        "n = tanh(W_n*x + b_n + r.*(R_n*h));",
        "n = tanh(W_n*x + b_n + r.*(R_n*h + bR_n));",
    ),
}


def gated(name: str, wrong: Numbers, parameters: Mapping = {}, **settings) -> Case:
    settings = {"cell": "gru", "world": GATED, "kind": "gru"} | settings
    return Case(name, wrong, parameters, **settings)
