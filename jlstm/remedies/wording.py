"""From the parameters of a mistake to the words and the code of its remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Parameters = Mapping[str, Any]
LSTM_GATES, GRU_GATES = "ifgo", "rzn"
_PYTHON_ROWS = ("0:H", "H:2*H", "2*H:3*H", "3*H:4*H")
_MATLAB_ROWS = ("1:H", "H+1:2*H", "2*H+1:3*H", "3*H+1:4*H")


class Words(NamedTuple):
    """What the placeholders stand for: in the prose, in Python, in MATLAB."""

    prose: dict[str, Any]
    python: dict[str, Any]
    matlab: dict[str, Any]

    def every(self, **values: Any) -> None:
        """The same in all three."""
        for words in self:
            words.update(values)

    def code(self, name: str, python: Any, matlab: Any) -> None:
        """One piece of code in its two languages."""
        self.python[name], self.matlab[name] = python, matlab


class Function:
    """A function by name; `{function:z[0:H]}` in a template applies it."""

    def __init__(self, written: str | None) -> None:
        self.written = written

    def __format__(self, argument: str) -> str:
        if self.written is None:
            return argument
        return f"{self.written}({argument})"


def function(name: str, *, python: bool) -> Function:
    """How an activation is called in the lines."""
    if name in ("identity", "none"):
        return Function(None)
    numpy = python and name == "tanh"
    return Function("np.tanh" if numpy else name.replace("-", "_"))


_TO_GRU = (
    (r"\[?(h\d?), c\d?\]? = ", r"\1 = "),  # what a call returns, what is set
    (r"\blstm\(", "gru("),
    (r", (h\d?), c\d?,", r", \1,"),  # what a call is given
    (r"= np\.zeros\(H\), np\.zeros\(H\)", "= np.zeros(H)"),
    (r", c\d_\w+", ""),
    (r"  c\d? = [^;]*;", ""),
)


def without_cell_state(code: str) -> str:
    """Lines of a loop over LSTMs as they are for GRUs, which have h alone."""
    for pattern, replacement in _TO_GRU:
        code = re.sub(pattern, replacement, code)
    return code


# --- which remedy ---------------------------------------------------------------------


def variant(name: str, p: Parameters, cell: str) -> str:
    """What follows the colon in the key of a remedy; empty for the plain one."""
    choose = _VARIANTS.get(name)
    if choose is not None:
        return choose(p, cell)
    return "gru" if cell == "gru" else ""


def _shift_variant(p: Parameters, _: str) -> str:
    side = "late" if p["steps"] >= 0 else "early"
    return f"{side}-{p.get('fill', 'zero')}"


def _order_variant(p: Parameters, cell: str) -> str:
    parts = ["gru"] if cell == "gru" else []
    flags = (p.get("recurrent_transposed"), p.get("input_transposed"))
    return "-".join(parts + ["transposed"] * any(flags))


_VARIANTS: dict[str, Callable[[Parameters, str], str]] = {
    "gate-order": _order_variant,
    "memory-order": lambda p, _: p.get("which", ""),
    "forget-bias": lambda p, _: "missing" if p["added"] < 0 else "",
    "weights-rounded": lambda p, _: p.get("to", ""),
    "state-reset": lambda p, _: "every" if p.get("every", 1) != 1 else "",
    "start-state": lambda p, _: p.get("from", ""),
    "activation-omitted": lambda p, _: str(p.get("function", "")),
    "standardised": lambda p, _: p.get("statistics", ""),
    "std-ddof": lambda p, _: "inverse" if p.get("factor", 0) > 1 else "",
    "time-shift": _shift_variant,
    "padding": lambda p, _: (
        f"mates-{p.get('side', 'right')}" if p.get("mates") else p.get("side", "")
    ),
    "steps-dropped": lambda p, _: "last" if p.get("last") else "",
    "output-shift": lambda p, _: "early" if p["steps"] < 0 else "",
}


# --- what stands in its blanks --------------------------------------------------------


def fill(name: str, layers: str, p: Parameters, cell: str, right: Any) -> Words:
    """Everything that the templates of one mistake may ask for."""
    words = Words({}, {}, {})
    words.every(layers=layers, gates=3 if cell == "gru" else 4)
    for key, value in p.items():
        words.prose[key] = _prose(value)
        words.code(key, _python(value), _matlab(value))
    for derive in _DERIVED.get(name, ()):
        derive(name, words, p, cell, right)
    return words


def _number(value: Any) -> str:
    return f"{float(value):.6g}"


def _prose(value: Any) -> str:
    if isinstance(value, str | bool):
        return str(value)
    if hasattr(value, "__len__"):
        return ", ".join(map(_number, value))
    return _number(value)


def _python(value: Any) -> str:
    if isinstance(value, str | bool):
        return str(value)
    if hasattr(value, "__len__"):
        return f"np.array([{_prose(value)}])"
    return _number(value)


def _matlab(value: Any) -> str:
    if not isinstance(value, str) and hasattr(value, "__len__"):
        return f"[{'; '.join(map(_number, value))}]"
    return _python(value)


def _gate_rows(_: str, words: Words, p: Parameters, cell: str, __: Any) -> None:
    gates = GRU_GATES if cell == "gru" else LSTM_GATES
    order = p.get("order", gates)
    for gate in gates:
        block = order.index(gate)
        words.code(gate, _PYTHON_ROWS[block], _MATLAB_ROWS[block])
    words.prose.update(order=", ".join(order), lying=", ".join(gates))


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


def _amount(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    words.every(amount=_number(abs(p["added"])))


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


def _affine(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    offset = p["offset"]
    if hasattr(offset, "__len__"):
        words.code("plus", f"+ {_python(offset)}", f"+ {_matlab(offset)}")
    else:
        words.every(plus=f"{'-' if offset < 0 else '+'} {_number(abs(offset))}")


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

_AFTER, _BEFORE = "after-multiplication", "before-multiplication"
_BIASED = "recurrent-bias-after-multiplication"
_RESET_WORDS = {
    _AFTER: "on the product R h",
    _BEFORE: "on h, before the product",
    _BIASED: "on the bias as well",
}


def _reset(_: str, words: Words, p: Parameters, __: str, right: Any) -> None:
    mode = p["mode"]
    own = right or (_BEFORE if mode == _AFTER else _AFTER)
    # A recurrent bias that the wrong form does not know stays where a bias always is.
    forms = {
        _AFTER: "W_n{x}x + b_n + {kept}r{e}(R_n{x}h)",
        _BEFORE: "W_n{x}x + b_n + {kept}R_n{x}(r{e}h)",
        _BIASED: "W_n{x}x + b_n + r{e}(R_n{x}h + bR_n)",
    }
    wrong = forms[mode] if mode != _BIASED else "W_n{x}x + r{e}(R_n{x}h + b_n)"
    kept = "bR_n + " if own == _BIASED else ""
    for blank, form, bias in (("wrong_n", wrong, kept), ("right_n", forms[own], "")):
        python = form.format(x=" @ ", e=" * ", kept=bias)
        matlab = form.format(x="*", e=".*", kept=bias)
        words.code(blank, f"np.tanh({python})", f"tanh({matlab})")
    words.prose["wrong_words"] = _RESET_WORDS[mode]


def _epsilon(_: str, words: Words, __: Parameters, ___: str, right: Any) -> None:
    words.every(right_value=_number(1e-5 if right is None else right))


def _statistics(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    words.prose["statistics_words"] = {
        "own-sample": "with its own mean and standard deviation (with n - 1)",
        "own-population": "with its own mean and standard deviation (with n)",
        "minmax": "to 0 ... 1 by its own smallest and largest value",
        "minmax-symmetric": "to -1 ... 1 by its own smallest and largest value",
    }[p.get("statistics", "own-sample")]


def _order(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    order = [int(k) for k in p["order"]]
    matlab = f"[{' '.join(str(k + 1) for k in order)}]"
    words.code("order", str(order), matlab)
    words.prose["order"] = ", ".join(map(str, order))


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
    }[p.get("fill", "zero")]


def _padded(_: str, words: Words, p: Parameters, __: str, ___: Any) -> None:
    before = p.get("side", "right") == "left"
    if p.get("mates"):
        place = "before its first step" if before else "after its last step"
    else:
        place = "before" if before else "after"
    words.prose["place"] = place
    words.every(value=_number(p.get("value", 0)))


_DERIVED: dict[str, tuple[Callable[..., None], ...]] = {
    "gate-order": (_gate_rows, _transposition),
    "recurrent-transposed": (_gate_rows, _transposition),
    "input-transposed": (_gate_rows, _transposition),
    "memory-order": (_arrays,),
    "forget-bias": (_amount,),
    "shared-state": (_pair,),
    "input-affine": (_affine,),
    "output-affine": (_affine,),
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
    "standardised": (_statistics,),
    "features-permuted": (_order,),
    "columns-permuted": (_order,),
    "time-shift": (_steps,),
    "output-shift": (_steps,),
    "steps-dropped": (_steps,),
    "padding": (_steps, _padded),
}
