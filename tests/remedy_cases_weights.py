"""Mistakes in reading weights: order of gates, biases, precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracles import BEFORE, BIASED, Cell
from remedy_case import (
    GATED,
    GATED_SQUARE,
    MODE,
    PEEPING,
    PLAIN,
    SQUARE,
    TWO_BIASES,
    Case,
    Numbers,
    Swap,
    gated,
)
from remedy_world import (
    GRU,
    LSTM,
    World,
    by_order,
    each,
    forget,
    interleaved,
    refilled,
    same,
)


def rows_case(name: str, change: Callable, world: World, **parameters) -> Case:
    gated = world.cell is GRU
    return Case(
        name,
        lambda d: d.regression(change=change),
        parameters,
        cell="gru-rows" if gated else "lstm-rows",
        world=world,
        kind="gru" if gated else "lstm",
    )


def turned(w: str, first: Callable = same) -> Callable:
    transposed = each(w, np.transpose)
    return lambda weights: transposed(first(weights))


def _rounded(kind: str) -> Numbers:
    import torch

    kinds = {"float16": torch.float16, "bfloat16": torch.bfloat16}

    def shorter(a):
        return torch.as_tensor(a).to(kinds[kind]).to(torch.float64).numpy()

    return lambda d: d.regression(first=each("WRb", shorter))


def one_order(kind: str, cell: Cell, H: int, order: str) -> Callable:
    """The rows of one array alone in another order."""
    changed = by_order(cell, H, order)

    def change(weights: dict) -> dict:
        other = changed(weights)
        return {k: other[k] if k.endswith("." + kind) else v
                for k, v in weights.items()}  # fmt: skip

    return change


def without(*names: str) -> Callable:
    """Those biases are zero."""
    return lambda weights: weights | {k: 0 * weights[k] for k in names}


def _bias_cases() -> list[Case]:
    cases = []
    for gate in "ifgo":
        wrong = without(f"{gate}.b")
        cases.append(Case("bias-omitted", lambda d, w=wrong: d.regression(change=w),
                          {"gate": gate}, cell="lstm-rows"))  # fmt: skip
    for gate in "rzn":
        wrong = without(f"{gate}.b")
        cases.append(gated("bias-omitted", lambda d, w=wrong: d.regression(change=w),
                           {"gate": gate}, cell="gru-modes"))  # fmt: skip
        wrong = without(f"{gate}.b", f"{gate}.br")
        cases.append(gated("bias-omitted", lambda d, w=wrong: d.regression(change=w),
                           {"gate": gate}, cell="gru-biased", own=BIASED,
                           world=TWO_BIASES))  # fmt: skip
    other = Cell("gru", mode=BEFORE)
    cases.append(gated("bias-omitted",
                       lambda d: d.regression(change=without("n.b"), cell=other),
                       {"gate": "n"}, cell="gru-modes", own=BEFORE,
                       right=lambda d: d.regression(cell=other),
                       swaps=(MODE[BEFORE],)))  # fmt: skip
    for part, kind in (("input", "b"), ("recurrent", "br")):
        wrong = without(*(f"{gate}.{kind}" for gate in "rzn"))
        cases.append(gated("bias-omitted", lambda d, w=wrong: d.regression(change=w),
                           {"part": part}, own=BIASED, world=TWO_BIASES,
                           swaps=(BOTH_ADDED,)))  # fmt: skip
    return cases


BOTH_ADDED: Swap = (
    "a, v = W @ x + b, R @ h",
    "a, v = W @ x + b, R @ h + bR",
    "a = W*x + b;  v = R*h;",
    "a = W*x + b;  v = R*h + bR;",
)

WEIGHTS = [
    Case("gate-order", lambda d: d.regression(change=by_order(LSTM, 5, "iofg")),
         {"order": "iofg"}),
    Case("gate-order", lambda d: d.regression(change=by_order(LSTM, 5, "gofi")),
         {"order": "gofi"}),
    gated("gate-order", lambda d: d.regression(change=by_order(GRU, 5, "zrn")),
          {"order": "zrn"}),
    rows_case("gate-order", turned("R", by_order(LSTM, 5, "ifog")), PLAIN,
              order="ifog", recurrent_transposed=True),
    rows_case("gate-order", turned("WR", by_order(LSTM, 4, "igfo")), SQUARE,
              order="igfo", recurrent_transposed=True, input_transposed=True),
    rows_case("gate-order", turned("W", by_order(GRU, 4, "zrn")), GATED_SQUARE,
              order="zrn", input_transposed=True),
    *(
        rows_case("gate-order", one_order(kind, LSTM, 5, "iofg"), PLAIN,
                  order="iofg", of=of)
        for of, kind in (("input", "W"), ("recurrent", "R"), ("bias", "b"))
    ),
    *(
        rows_case("gate-order", one_order(kind, GRU, 5, "znr"), GATED,
                  order="znr", of=of)
        for of, kind in (("input", "W"), ("recurrent", "R"), ("bias", "b"))
    ),
    Case("interleaved", lambda d: d.regression(change=interleaved(LSTM, 5))),
    gated("interleaved", lambda d: d.regression(change=interleaved(GRU, 5))),
    rows_case("recurrent-transposed", turned("R"), PLAIN),
    rows_case("recurrent-transposed", turned("R"), GATED),
    rows_case("input-transposed", turned("W"), SQUARE),
    rows_case("input-transposed", turned("WR"), SQUARE, recurrent_transposed=True),
    rows_case("input-transposed", turned("W"), GATED_SQUARE),
    *(
        Case("memory-order", lambda d, k=k: d.regression(first=refilled(LSTM, 5, k)),
             {"which": which})
        for which, k in (("input", "W"), ("recurrent", "R"), ("both", "WR"))
    ),
    gated("memory-order", lambda d: d.regression(first=refilled(GRU, 5, "WR")),
          {"which": "both"}),
    Case("bias-doubled", lambda d: d.regression(change=each("b", lambda b: 2 * b))),
    gated("bias-doubled", lambda d: d.regression(change=each("b", lambda b: 2 * b))),
    Case("bias-omitted", lambda d: d.regression(change=each("b", lambda b: 0 * b))),
    gated("bias-omitted", lambda d: d.regression(change=each("b", lambda b: 0 * b))),
    *_bias_cases(),
    Case("forget-bias", lambda d: d.regression(change=forget(1)), {"added": 1}),
    Case("forget-bias", lambda d: d.regression(change=forget(-1)), {"added": -1}),
    Case("weights-of-another-layer", lambda d: d.regression(second=d.first),
         {"source": "lstm_1"}, world=SQUARE),
    gated("weights-of-another-layer", lambda d: d.regression(second=d.first),
          {"source": "gru_1"}, world=GATED_SQUARE),
    Case("peephole-omitted", lambda d: d.regression(change=each("p", np.zeros_like)),
         cell="peephole",
         world=PEEPING, right=lambda d: d.regression()),
    Case("dense-transposed", lambda d: d.regression(W3=d.W3.T), world=SQUARE),
    Case("dense-bias-omitted", lambda d: d.regression(b3=0.0)),
    Case("dense-memory-order",
         lambda d: d.regression(W3=d.W3.flatten("F").reshape(d.W3.shape))),
    Case("weights-rounded", _rounded("float16"), {"to": "float16"}),
    Case("weights-rounded", _rounded("bfloat16"), {"to": "bfloat16"}),
]  # fmt: skip
