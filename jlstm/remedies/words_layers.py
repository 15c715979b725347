"""Blanks of the remedies for what happens inside of the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .words import (
    GRU_GATES,
    LSTM_GATES,
    MATLAB_ROWS,
    PYTHON_ROWS,
    Parameters,
    Words,
    function,
    number,
)

AFTER, BEFORE = "after-multiplication", "before-multiplication"
BIASED = "recurrent-bias-after-multiplication"


def _gate_rows(_: str, words: Words, p: Parameters, cell: str, __: Any) -> None:
    gates = GRU_GATES if cell == "gru" else LSTM_GATES
    order = p.get("order", gates)
    array, said = _ARRAYS.get(p.get("of", ""), ("WRb", ""))
    for k, gate in enumerate(gates):
        taken = order.index(gate)
        words.code(gate, PYTHON_ROWS[taken], MATLAB_ROWS[taken])
        for kind in "WRb":
            block = taken if kind in array else k
            words.code(f"{gate}{kind}", PYTHON_ROWS[block], MATLAB_ROWS[block])
    words.prose.update(order=", ".join(order), lying=", ".join(gates), array=said)


_ARRAYS = {
    "input": ("W", "the input weights W"),
    "recurrent": ("R", "the recurrent weights R"),
    "bias": ("b", "the bias b"),
}


def _transposition(name: str, words: Words, p: Parameters, _: str, __: Any) -> None:
    turned_r = name == "recurrent-transposed" or p.get("recurrent_transposed", False)
    turned_w = name == "input-transposed" or p.get("input_transposed", False)
    for blank, turned in (("Rt", turned_r), ("Wt", turned_w)):
        words.code(blank, ".T" if turned else "", "'" if turned else "")
    turned = ["R"] * turned_r + ["W"] * turned_w
    words.prose["matrices"] = " and ".join(turned) + (" are" if turned[1:] else " is")
    words.prose["and_R"] = ", and R too" if turned_r else ""


def _arrays(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    named = {"input": "W", "recurrent": "R", "both": "W and R"}
    words.prose["arrays"] = named[p.get("which", "both")]


def _gate_bias(_: str, words: Words, p: Parameters, __: str, right: Any) -> None:
    gate, both = p.get("gate", ""), right == BIASED
    said = f"{'both biases' if both else 'the bias'} of the {_GATES.get(gate, gate)}"
    words.prose["missing"] = f"{said} {'are' if both else 'is'}"
    plus = f" + bR_{gate}" if both else ""
    words.every(plus_bR=plus)
    words.code("reset", "r * (R_n @ h)", "r.*(R_n*h)")
    words.code("reset_bR", f"r * (R_n @ h{plus})", f"r.*(R_n*h{plus})")
    if right == BEFORE:
        for blank in ("reset", "reset_bR"):
            words.code(blank, "R_n @ (r * h)", "R_n*(r.*h)")
    squash = "tanh" if gate == "g" else "sigmoid"
    words.code("squash", function(squash, python=True), function(squash, python=False))
    if gate in LSTM_GATES:
        k = LSTM_GATES.index(gate)
        words.code("rows", PYTHON_ROWS[k], MATLAB_ROWS[k])


_GATES = {
    "i": "input gate",
    "f": "forget gate",
    "g": "candidate g",
    "o": "output gate",
    "r": "reset gate",
    "z": "update gate",
    "n": "candidate n",
}


def _amount(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    words.every(amount=number(abs(p["added"])))


def _zeros(_: str, words: Words, p: Parameters, cell: str, __: Any) -> None:
    what = "h" if cell == "gru" else p.get("what", "both")
    for k in (1, 2):
        h, c = f"h{k}", f"c{k}"
        names = [h, c] if what == "both" else [f"{what}{k}"]
        python = f"{', '.join(names)} = {', '.join(['np.zeros(H)'] * len(names))}"
        matlab = "  ".join(f"{name} = zeros(H,1);" for name in names)
        words.code(f"zero_{k}", python, matlab)
    said = {"both": "the state (h and c)", "h": "the output h", "c": "the cell state c"}
    words.prose["state"] = said[what]


def _pair(_: str, words: Words, __: Parameters, cell: str, ___: Any) -> None:
    gru = cell == "gru"
    words.prose["pair"] = "state h" if gru else "h, c pair"
    words.prose["pairs"] = "h1 and h2, one" if gru else "h1, c1 and h2, c2, one pair"


def _each(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    if p.get("from") == "previous-run":
        words.code("each", "run in range(2)", "run = 1:2")
    else:
        words.code("each", "X in sequences", "k = 1:numel(sequences)")


def _functions(name: str, words: Words, p: Parameters, _: str, right: Any) -> None:
    own = "sigmoid" if name == "gate-activation" else "tanh"
    if name.startswith("activation"):
        own = "relu"
    # What the network has is known to be another function than the mistaken one.
    other = {"sigmoid": "hard-sigmoid", "tanh": "softsign", "relu": "tanh"}[own]
    wrong = p.get("function")
    expected = right or (wrong if name == "activation-omitted" else None)
    expected = expected or (own if wrong != own else other)
    for blank, function_name in (("wrong", wrong), ("right", expected)):
        if function_name is not None:
            words.prose[blank] = _SAID.get(function_name, function_name)
            words.code(
                blank,
                function(function_name, python=True),
                function(function_name, python=False),
            )

    # Without a word from the caller the lines are an example, and the prose says less.
    if right is None and name == "activation-replaced":
        words.prose["right"] = "the function it has"
    if right is None and wrong is None:
        words.prose["right"] = "an activation layer"


_SAID = {
    "identity": "no function",
    "none": "no function",
    "hard-sigmoid": "hard-sigmoid (0.2 x + 0.5, cut at 0 and 1)",
    "hard-sigmoid-keras3": "the hard-sigmoid of Keras 3 (x / 6 + 0.5, cut at 0 and 1)",
}

_RESET_WORDS = {
    AFTER: "on the product R h",
    BEFORE: "on h, before the product",
    BIASED: "on the bias as well",
}


def _reset(_: str, words: Words, p: Parameters, __: str, right: Any) -> None:
    mode = p["mode"]
    own = right or (BEFORE if mode == AFTER else AFTER)
    # A recurrent bias that the wrong form does not know stays where a bias always is.
    forms = {
        AFTER: "W_n{x}x + b_n + {kept}r{e}(R_n{x}h)",
        BEFORE: "W_n{x}x + b_n + {kept}R_n{x}(r{e}h)",
        BIASED: "W_n{x}x + b_n + r{e}(R_n{x}h + bR_n)",
    }
    wrong = forms[mode] if mode != BIASED else "W_n{x}x + r{e}(R_n{x}h + b_n)"
    kept = "bR_n + " if own == BIASED else ""
    for blank, form, bias in (("wrong_n", wrong, kept), ("right_n", forms[own], "")):
        python = form.format(x=" @ ", e=" * ", kept=bias)
        matlab = form.format(x="*", e=".*", kept=bias)
        words.code(blank, f"np.tanh({python})", f"tanh({matlab})")
    words.prose["wrong_words"] = _RESET_WORDS[mode]


def _epsilon(_: str, words: Words, __: Parameters, ___: str, right: Any) -> None:
    words.every(right_value=number(1e-5 if right is None else right))


DERIVED_OF_LAYERS: dict[str, tuple[Callable[..., None], ...]] = {
    "gate-order": (_gate_rows, _transposition),
    "recurrent-transposed": (_gate_rows, _transposition),
    "input-transposed": (_gate_rows, _transposition),
    "memory-order": (_arrays,),
    "bias-omitted": (_gate_bias,),
    "forget-bias": (_amount,),
    "shared-state": (_pair,),
    "state-reset": (_zeros,),
    "start-state": (_each,),
    "gate-activation": (_functions,),
    "state-activation": (_functions,),
    "candidate-activation": (_functions,),
    "cell-activation": (_functions,),
    "activation-inserted": (_functions,),
    "activation-omitted": (_functions,),
    "activation-replaced": (_functions,),
    "reset-mode": (_reset,),
    "epsilon": (_epsilon,),
}
"""What fills the blanks of a mistake: functions of its name, the words, the
parameters, the cell, and what the network has."""
