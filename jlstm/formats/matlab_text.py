"""Values and names in MATLAB's notation."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from ..errors import InputError
from .matlab_writers import Expression

LONGEST_NAME = 63


def function_name(stem: str) -> str:
    """`rebuild_` and the stem of a file, as MATLAB accepts it for a function.

    Raises:
        InputError: nothing of the stem is left, or it is too long.
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", stem)
    if not re.search(r"[A-Za-z0-9]", name):
        raise InputError(
            "no name for a MATLAB function can be made of the name of the file",
            found=stem,
            expected="a letter from A to Z or a digit in it",
            do="choose another name for the file",
        )
    name = f"rebuild_{name}"
    if len(name) > LONGEST_NAME:
        raise InputError(
            "the name of the file is too long for a MATLAB function",
            found=f"{name}, {len(name)} characters",
            expected=f"at most {LONGEST_NAME}",
            do="choose a shorter name for the file",
        )
    return name


def literal(value: Any) -> str:
    """A number, a text, a flag, or several of them, as MATLAB writes them."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple | list):
        if any(isinstance(item, str) for item in value):
            return "{" + ", ".join(literal(item) for item in value) + "}"
        items = [literal(item) for item in value]
        return items[0] if len(items) == 1 else "[" + " ".join(items) + "]"
    number = float(value)
    if math.isinf(number):
        return "Inf" if number > 0 else "-Inf"
    if math.isnan(number):
        return "NaN"
    return str(int(number)) if number == int(number) else repr(number)


def quoted(text: str) -> str:
    """A character vector in quotes."""
    return "'" + text.replace("'", "''") + "'"


def plain(text: str) -> str:
    """Text for a comment: one line of ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def file_name(file: str) -> str:
    """The name of the file as MATLAB text; char codes where it is not ASCII."""
    if plain(file) == file:
        return quoted(file)
    units = np.frombuffer(file.encode("utf-16-le"), "<u2")
    return f"char({literal(tuple(int(unit) for unit in units))})"
