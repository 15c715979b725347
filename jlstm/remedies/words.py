"""What stands in the blanks of a remedy: in its prose, in its two languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

Parameters = Mapping[str, Any]
LSTM_GATES, GRU_GATES = "ifgo", "rzn"
PYTHON_ROWS = ("0:H", "H:2*H", "2*H:3*H", "3*H:4*H")
MATLAB_ROWS = ("1:H", "H+1:2*H", "2*H+1:3*H", "3*H+1:4*H")
SHOWN = 10
"""So many places of an order are written out."""


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


def number(value: Any) -> str:
    """A number as it is written in words and in code."""
    return f"{float(value):.6g}"


def in_prose(value: Any) -> str:
    """The value of a parameter in a sentence."""
    if isinstance(value, str | bool):
        return str(value)
    if hasattr(value, "__len__"):
        return ", ".join(map(number, value))
    return number(value)


def in_python(value: Any) -> str:
    """The value of a parameter in NumPy."""
    if isinstance(value, str | bool):
        return str(value)
    if hasattr(value, "__len__"):
        return f"np.array([{in_prose(value)}])"
    return number(value)


def in_matlab(value: Any) -> str:
    """The value of a parameter in MATLAB, a row of numbers as a column."""
    if not isinstance(value, str) and hasattr(value, "__len__"):
        return f"[{'; '.join(map(number, value))}]"
    return in_python(value)
