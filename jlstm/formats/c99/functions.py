"""The functions of a network in C: taken from templates, with what they build on.

A template file in `jlstm/data/c` is cut into parts by comments `/*: name */`; a part
needs every other part that it mentions, and the header that its comment names.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from ...activations import complete
from ...errors import Unsupported
from .spelling import number

HEADING = re.compile(r"/\*: (\w+)(?: <([\w.]+)>)? \*/\n")
WORD = re.compile(r"\w+")
TEMPLATES = {
    np.dtype("float32"): ("float.c", "common.c"),
    np.dtype("float64"): ("double.c", "common.c"),
}


class Part(NamedTuple):
    """A piece of C that stands for itself."""

    name: str
    header: str
    text: str


@cache
def parts(dtype: np.dtype) -> dict[str, Part]:
    """All parts for one precision, in the order in which C wants them."""
    found: dict[str, Part] = {}
    for file in TEMPLATES[dtype]:
        text = (files("jlstm") / "data" / "c" / file).read_text("utf-8")
        _, *pieces = HEADING.split(text)
        for name, header, body in zip(*[iter(pieces)] * 3, strict=True):
            found[name] = Part(name, header or "", body.strip())
    return found


def needed(names: set[str], dtype: np.dtype) -> list[Part]:
    """The parts of these names and all that they need, each before its users."""
    known = parts(dtype)
    wanted: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            mentioned = set(WORD.findall(known[name].text)) & set(known)
            waiting += mentioned - wanted
    return [part for name, part in known.items() if name in wanted]


def function(spec: str, dtype: np.dtype) -> tuple[str, str]:
    """An activation: the name of its function, and a call of it on `{x}`.

    Raises:
        Unsupported: a function that is not written in C yet, or constants out of range.
    """
    name, constants = complete(spec)
    called = name.replace("-", "_").replace("exponential", "exp") + "_of"
    if called not in parts(dtype):
        raise Unsupported("no C code for this function", found=spec)
    if name == "celu" and constants[0] <= 0:
        raise Unsupported(
            "no C code for this constant", found=spec, expected="a positive alpha"
        )
    arguments = ["{x}", *(number(constant, dtype) for constant in constants)]
    return called, f"{called}({', '.join(arguments)})"
