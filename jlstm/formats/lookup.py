"""Values inside a MAT file, by the expression that MATLAB would use for them."""

from __future__ import annotations

import re
from typing import Any

from ..errors import InputError
from .matfile import Cell, MatFile, MatObject, need

STEP = r"[A-Za-z]\w*|\{\d+\}|\(\d+\)"


def lookup(file: MatFile, expression: str) -> Any:
    """`"W"`, `"Wi_all{2}"`, `"results.net"`, `"runs(3).x"`.

    Raises:
        InputError: this is no such expression, or it leads nowhere.
        Unsupported: the variable is not there or cannot be decoded.
    """
    steps = re.findall(STEP, expression)
    if not steps or re.sub(r"[.\s]", "", expression) != "".join(steps):
        raise InputError(
            "not a variable of a MAT file",
            found=repr(expression),
            expected='an expression such as "X", "X{2}" or "data.X"',
        )
    value = need(file, steps[0])
    for step in steps[1:]:
        value = _descend(value, step, expression)
    return value


def _descend(value: Any, step: str, whole: str) -> Any:
    if step[0] in "{(" and isinstance(value, Cell):
        index = int(step[1:-1])
        if 1 <= index <= len(value):
            return value[index - 1]
        raise InputError(
            "an index outside the cell", found=whole, expected=f"1 to {len(value)}"
        )
    fields = value.values if isinstance(value, MatObject) else value
    if isinstance(fields, dict) and step in fields:
        return fields[step]
    raise InputError(
        f"there is no {step!r} in it",
        found=whole,
        expected=", ".join(fields) if isinstance(fields, dict) else None,
    )
