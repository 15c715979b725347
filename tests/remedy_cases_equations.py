"""Mistakes in the equations: activations, gates, softmax, normalising layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracles import AFTER, BEFORE, BIASED, NUMPY, Cell
from remedy_case import MODE, Case, Swap, gated
from remedy_world import hard_sigmoid_keras3, relu, same, sigmoid

AS_IS: Swap = ("a1 = relu(h1)", "a1 = h1", "a1 = relu(h1);", "a1 = h1;")
TANH: Swap = ("a1 = relu(h1)", "a1 = np.tanh(h1)", "a1 = relu(h1);", "a1 = tanh(h1);")


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
    Case("old-cell-state", lambda d: d.regression(stale=True)),
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
    Case("activation-omitted", lambda d: d.scores(),
         {"function": "softmax"}, main="last", right=lambda d: d.last()),
    Case("activation-replaced", lambda d: d.regression(between=np.tanh),
         {"function": "tanh"}),
    Case("activation-replaced", lambda d: d.regression(between=relu),
         {"function": "relu"}, swaps=(TANH,),
         right=lambda d: d.regression(between=np.tanh)),
    Case("activation-replaced", lambda d: d.regression(between=sigmoid),
         {"function": "sigmoid"}, own="tanh", swaps=(TANH,),
         right=lambda d: d.regression(between=np.tanh)),
    Case("activation-replaced", lambda d: sigmoid(d.scores()),
         {"function": "sigmoid"}, own="softmax", main="last",
         right=lambda d: d.last()),
    Case("softmax-twice", lambda d: np.exp(d.last()) / np.exp(d.last()).sum(),
         main="last", right=lambda d: d.last()),
    Case("softmax-log", lambda d: d.scores() - np.log(np.exp(d.scores()).sum()),
         main="last", right=lambda d: d.last()),
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
