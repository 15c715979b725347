"""Every mistake with what it computes, by code that the remedies do not share.

A case names the program its lines are an excerpt of, the right numbers of that program
and the mistaken ones, both in NumPy float64 from the weights and `oracles.loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from oracles import AFTER, BEFORE, BIASED, NUMPY, Cell
from remedy_world import (
    GRU,
    LSTM,
    PEEPHOLE,
    World,
    by_order,
    closed,
    each,
    forget,
    hard_sigmoid_keras3,
    interleaved,
    refilled,
    relu,
    reset,
    same,
    shared,
    sigmoid,
)

# --- the cases ------------------------------------------------------------------------

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

AS_IS: Swap = ("a1 = relu(h1)", "a1 = h1", "a1 = relu(h1);", "a1 = h1;")
TANH: Swap = ("a1 = relu(h1)", "a1 = np.tanh(h1)", "a1 = relu(h1);", "a1 = tanh(h1);")
ONLY_H: Swap = (
    "h1, c1 = np.zeros(H), np.zeros(H)\nh2, c2 = np.zeros(H), np.zeros(H)",
    "c1, c2 = np.zeros(H), np.zeros(H)\nh1 = np.zeros(H)\nh2 = np.zeros(H)",
    "h1 = zeros(H,1);  c1 = zeros(H,1);\nh2 = zeros(H,1);  c2 = zeros(H,1);",
    "c1 = zeros(H,1);  c2 = c1;\nh1 = zeros(H,1);\nh2 = zeros(H,1);",
)
ONLY_C: Swap = (
    ONLY_H[0],
    "h1, h2 = np.zeros(H), np.zeros(H)\nc1 = np.zeros(H)\nc2 = np.zeros(H)",
    ONLY_H[2],
    "h1 = zeros(H,1);  h2 = h1;\nc1 = zeros(H,1);\nc2 = zeros(H,1);",
)
POPULATION: Swap = (
    "sigma = train.std(axis=0, ddof=1)",
    "sigma = train.std(axis=0)",
    "sigma = std(train, 0, 2);",
    "sigma = std(train, 1, 2);",
)


def gates_swap(python: str, matlab: str) -> Swap:
    """The gates of the LSTM program with another function."""
    rows = (
        ("i", "0:H", "1:H"),
        ("f", "H:2*H", "H+1:2*H"),
        ("o", "3*H:4*H", "3*H+1:4*H"),
    )
    old, new, old_m, new_m = [], [], [], []
    for gate, p, m in rows:
        old.append(f"{gate} = sigmoid(z[{p}])")
        new.append(f"{gate} = {python}(z[{p}])")
        old_m.append(f"{gate} = sigmoid(z({m}));")
        new_m.append(f"{gate} = {matlab}(z({m}));")
    gap, gap_m = "\n# ...\n", "\n% ...\n"
    return gap.join(old), gap.join(new), gap_m.join(old_m), gap_m.join(new_m)


SOFTSIGN: Swap = (
    "g = np.tanh(z[2*H:3*H])\n# ...\nh = o * np.tanh(c)",
    "g = softsign(z[2*H:3*H])\n# ...\nh = o * softsign(c)",
    "g = tanh(z(2*H+1:3*H));\n% ...\nh = o.*tanh(c);",
    "g = softsign(z(2*H+1:3*H));\n% ...\nh = o.*softsign(c);",
)
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


def gated(name: str, wrong: Numbers, parameters: Mapping = {}, **settings) -> Case:
    settings = {"cell": "gru", "world": GATED, "kind": "gru"} | settings
    return Case(name, wrong, parameters, **settings)


def turned(w: str, first: Callable = same) -> Callable:
    transposed = each(w, np.transpose)
    return lambda weights: transposed(first(weights))


def _rounded(kind: str) -> Numbers:
    import torch

    kinds = {"float16": torch.float16, "bfloat16": torch.bfloat16}

    def shorter(a):
        return torch.as_tensor(a).to(kinds[kind]).to(torch.float64).numpy()

    return lambda d: d.regression(first=each("WRb", shorter))


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

GIVEN = ("saved", "given", "unknown")
RUNNING = [
    Case("shared-state", shared),
    gated("shared-state", shared),
    Case("state-reset", lambda d: reset(d, 1, "both"), {"every": 1, "what": "both"}),
    Case("state-reset", lambda d: reset(d, 3, "both"), {"every": 3, "what": "both"}),
    Case("state-reset", lambda d: reset(d, 1, "h"), {"every": 1, "what": "h"},
         swaps=(ONLY_H,)),
    Case("state-reset", lambda d: reset(d, 2, "c"), {"every": 2, "what": "c"},
         swaps=(ONLY_C,)),
    gated("state-reset", lambda d: reset(d, 1, "both"), {"every": 1, "what": "both"}),
    *(
        Case("start-state", lambda d: d.regression(start=tuple(d.start)),
             {"from": origin})
        for origin in GIVEN
    ),
    gated("start-state", lambda d: d.regression(start=tuple(d.start)),
          {"from": "saved"}),
    Case("start-state", lambda d: d.regression(starts=d.ends(d.x)),
         {"from": "previous-run"}, main="runs"),
    Case("start-state", lambda d: d.regression(starts=d.ends(d.longer)),
         {"from": "previous-sequence"}, main="sequences"),
    Case("layer-delayed", lambda d: d.regression(delay=True)),
    gated("layer-delayed", lambda d: d.regression(delay=True)),
    Case("closed-loop", closed, world=SQUARE),
]  # fmt: skip

BOTH_WAYS = [
    Case("directions-swapped",
         lambda d: d.joined(*(half[::s] for half, s in
                              zip(d.halves(True), (1, -1), strict=True)))),
    Case("backward-not-reversed", lambda d: d.joined(*d.halves())),
    Case("backward-forwards",
         lambda d: d.joined(d.halves()[0], d.layer(d.backward, d.x)["h"])),
    Case("halves-swapped", lambda d: d.joined(d.halves()[1][::-1], d.halves()[0])),
]  # fmt: skip
BOTH_WAYS = [
    case._replace(
        main="bidirectional",
        right=lambda d: d.joined(d.halves()[0], d.halves()[1][::-1]),
    )
    for case in BOTH_WAYS
] + [
    Case(
        "backward-last",
        lambda d: d.joined(d.halves()[0][-1], d.halves()[1][0]),
        main="bidirectional-last",
        right=lambda d: d.joined(d.halves()[0][-1], d.halves()[1][-1]),
    )
]


def _state_cases() -> list[Case]:
    cases = []
    for wrong in ("softsign", "relu", "sigmoid", "identity", "tanh"):
        f = {"identity": same}.get(wrong, NUMPY.get(wrong))
        base: dict[str, Any] = {}
        if wrong == "tanh":
            base = {"swaps": (SOFTSIGN,)}
            base["right"] = lambda d: d.regression(cell=Cell("lstm", "softsign"))
        own = NUMPY["softsign"] if wrong == "tanh" else np.tanh
        free = {
            "state-activation": (f, f),
            "candidate-activation": (f, own),
            "cell-activation": (own, f),
        }
        for name, (g_of, c_of) in free.items():
            cases.append(
                Case(
                    name,
                    lambda d, g=g_of, c=c_of: d.regression(g_of=g, c_of=c),
                    {"function": wrong},
                    **base,
                )
            )
    return cases


HARD = {
    "swaps": (gates_swap("hard_sigmoid", "hard_sigmoid"),),
    "right": lambda d: d.regression(cell=Cell("lstm", gate="hard-sigmoid")),
}
EQUATIONS = [
    Case("gate-activation", lambda d: d.regression(cell=Cell("lstm", "tanh",
         "hard-sigmoid")), {"function": "hard-sigmoid"}),
    Case("gate-activation", lambda d: d.regression(gate=hard_sigmoid_keras3),
         {"function": "hard-sigmoid-keras3"}),
    Case("gate-activation", lambda d: d.regression(gate=np.tanh), {"function": "tanh"}),
    Case("gate-activation", lambda d: d.regression(), {"function": "sigmoid"}, **HARD),
    Case("gate-activation", lambda d: d.regression(gate=hard_sigmoid_keras3),
         {"function": "hard-sigmoid-keras3"}, own="hard-sigmoid", **HARD),
    gated("gate-activation",
          lambda d: d.regression(cell=Cell("gru", "tanh", "hard-sigmoid", AFTER)),
          {"function": "hard-sigmoid"}),
    *_state_cases(),
    gated("state-activation",
          lambda d: d.regression(cell=Cell("gru", "softsign", mode=AFTER)),
          {"function": "softsign"}),
    gated("candidate-activation",
          lambda d: d.regression(cell=Cell("gru", "relu", mode=AFTER)),
          {"function": "relu"}),
    Case("coupled-gates", lambda d: d.regression(coupled=True)),
    # 1 - sigmoid(z) is sigmoid(-z): the inverted gate has the opposite weights.
    gated("update-inverted", lambda d: d.regression(change=lambda w: w | {
          key: -w[key] for key in ("z.W", "z.R", "z.b")})),
    gated("reset-mode", lambda d: d.regression(cell=Cell("gru", mode=BEFORE)),
          {"mode": BEFORE}, cell="gru-modes"),
    gated("reset-mode", lambda d: d.regression(), {"mode": AFTER}, cell="gru-modes",
          swaps=(MODE[BEFORE],),
          right=lambda d: d.regression(cell=Cell("gru", mode=BEFORE))),
    gated("reset-mode", lambda d: d.regression(cell=Cell("gru", mode=BIASED),
          change=lambda w: w | {"n.b": 0 * w["n.b"], "n.br": w["n.b"]}),
          {"mode": BIASED}, cell="gru-modes"),
    *(
        gated("reset-mode", lambda d, mode=mode: d.regression(
              cell=Cell("gru", mode=mode), change=lambda w: w | {
              "n.b": w["n.b"] + d.bR_n}), {"mode": mode}, cell="gru-modes", own=BIASED,
              swaps=(MODE[BIASED],), right=lambda d: d.regression(
              cell=Cell("gru", mode=BIASED), change=lambda w: w | {"n.br": d.bR_n}))
        for mode in (AFTER, BEFORE)
    ),
    *(
        Case("activation-inserted",
             lambda d, f=NUMPY[f]: d.regression(between=f), {"function": f},
             swaps=(AS_IS,), right=lambda d: d.regression(between=same))
        for f in ("relu", "tanh", "sigmoid", "softsign")
    ),
    Case("activation-omitted", lambda d: d.regression(between=same)),
    Case("activation-omitted", lambda d: d.regression(between=same),
         {"function": "tanh"}, swaps=(TANH,),
         right=lambda d: d.regression(between=np.tanh)),
    Case("activation-omitted", lambda d: d.W3 @ d.outputs()[-1] + d.b3,
         {"function": "softmax"}, main="last", right=lambda d: d.last()),
    Case("activation-replaced", lambda d: d.regression(between=np.tanh),
         {"function": "tanh"}),
    Case("activation-replaced", lambda d: d.regression(between=relu),
         {"function": "relu"}, swaps=(TANH,),
         right=lambda d: d.regression(between=np.tanh)),
    Case("activation-replaced", lambda d: d.regression(between=sigmoid),
         {"function": "sigmoid"}, own="tanh", swaps=(TANH,),
         right=lambda d: d.regression(between=np.tanh)),
    Case("softmax-over-time", lambda d: d.labels(0), main="labels",
         right=lambda d: d.labels()),
    Case("dropout-scaled", lambda d: d.regression(between=lambda h: 0.8 * h),
         {"factor": 0.8}, swaps=(AS_IS,), right=lambda d: d.regression(between=same)),
    Case("normalisation-layer-omitted", lambda d: d.outputs() @ d.W3.T + d.b3,
         main="norm", right=lambda d: d.norm()),
    Case("normalisation-over-time", lambda d: d.norm((0, 1)), main="norm",
         right=lambda d: d.norm()),
    Case("epsilon", lambda d: d.norm(epsilon=1e-3), {"value": 1e-3}, main="norm",
         right=lambda d: d.norm()),
]  # fmt: skip


def _unit(x: np.ndarray) -> np.ndarray:
    return (x - x.min(0)) / (x.max(0) - x.min(0))


def _late(x: np.ndarray, k: int, fill: str) -> np.ndarray:
    """Rows moved by k steps, forward or back."""
    moved = np.roll(x, k, 0)
    rows = slice(0, k) if k > 0 else slice(k, None)
    edge = x[0] if k > 0 else x[-1]
    if fill != "roll":
        moved[rows] = edge if fill == "edge" else 0.0
    return moved


def given(name: str, change: Callable, parameters: Mapping = {}, **more) -> Case:
    """A mistake that changes the recording before anything else."""
    return Case(name, lambda d: d.regression(change(d.x)), parameters, **more)


def padded(wide: Any, **parameters) -> Case:
    """A mistake of nets that return the last step."""

    def wrong(d: World) -> np.ndarray:
        value = parameters.get("value", 0.0)
        return d.last(np.pad(d.x, (wide, (0, 0)), constant_values=value))

    return Case("padding", wrong, parameters, main="last", right=lambda d: d.last())


INPUTS = [
    Case("normalisation-omitted", lambda d: d.regression(scaled=d.x)),
    Case("normalisation-twice",
         lambda d: d.regression(scaled=d.scaled(d.scaled(d.x)))),
    given("standardised", lambda x: (x - x.mean(0)) / x.std(0, ddof=1),
          {"statistics": "own-sample"}),
    given("standardised", lambda x: (x - x.mean(0)) / x.std(0),
          {"statistics": "own-population"}),
    given("standardised", _unit, {"statistics": "minmax"}),
    given("standardised", lambda x: 2 * _unit(x) - 1,
          {"statistics": "minmax-symmetric"}),
    given("input-affine", lambda x: 1.8 * x - 32.5, {"slope": 1.8, "offset": -32.5}),
    Case("std-ddof", lambda d: d.regression(scaled=d.scaled(d.x, d.train.std(0))),
         {"factor": (8 / 9) ** 0.5, "n": 9}),
    Case("std-ddof", lambda d: d.regression(),
         {"factor": (9 / 8) ** 0.5, "n": 9}, swaps=(POPULATION,),
         right=lambda d: d.regression(scaled=d.scaled(d.x, d.train.std(0)))),
    given("time-reversed", lambda x: np.flip(x, 0)),
    given("features-reversed", lambda x: np.flip(x, 1)),
    given("features-permuted", lambda x: np.stack([x.T[2], x.T[0], x.T[1]], 1),
          {"order": [2, 0, 1]}),
    given("transposed", np.transpose, world=SQUARE),
    *(
        given("time-shift", lambda x, k=k, fill=fill: _late(x, k, fill),
              {"steps": k, "fill": fill})
        for k in (2, -1) for fill in ("zero", "edge", "roll")
    ),
    padded((3, 0), side="left", steps=3),
    padded((0, 2), side="right", steps=2, value=-1.5),
    padded((3, 0), side="left", steps=3, mates=True),
    padded((0, 3), side="right", steps=3, mates=True),
    Case("steps-dropped", lambda d: d.last(d.x[2:]), {"first": 2}, main="last",
         right=lambda d: d.last()),
    Case("steps-dropped", lambda d: d.last(d.x[:6]), {"last": 1}, main="last",
         right=lambda d: d.last()),
]  # fmt: skip

OUTPUTS = [
    Case("output-affine", lambda d: 2.5 * d.regression() - 1,
         {"slope": 2.5, "offset": -1.0}),
    Case("output-affine",
         lambda d: np.stack([2 * d.regression()[:, 0] + 1, -d.regression()[:, 1]], 1),
         {"slope": np.array([2.0, -1.0]), "offset": [1.0, 0.0]}),
    Case("output-shift", lambda d: _late(d.regression(), 2, "edge"), {"steps": 2}),
    Case("output-shift", lambda d: _late(d.regression(), -1, "edge"), {"steps": -1}),
    Case("output-reversed", lambda d: np.flip(d.regression(), 0)),
    Case("columns-permuted",
         lambda d: np.stack([d.regression()[:, j] for j in (3, 0, 1, 2)], 1),
         {"order": (3, 0, 1, 2)}, world=SQUARE),
    Case("first-instead-of-last", lambda d: d.last(pick=lambda h: h[0]), main="last",
         right=lambda d: d.last()),
    Case("mean-instead-of-last", lambda d: d.last(pick=lambda h: sum(h) / len(h)),
         main="last", right=lambda d: d.last()),
]  # fmt: skip

CASES = [*WEIGHTS, *RUNNING, *BOTH_WAYS, *EQUATIONS, *INPUTS, *OUTPUTS]
