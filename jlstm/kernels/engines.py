"""The engines: which there are on this machine, and which runs a layer."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax

from ..errors import InputError, Unsupported
from . import cpu

ENGINES = ("auto", "cpu", "xla")
"""Names that `engine=` takes; "auto" is the fastest that takes the layer."""


class Available(NamedTuple):
    """Whether an engine can be used on this machine, and why (not)."""

    name: str
    usable: bool
    reason: str


@functools.cache
def missing() -> str | None:
    """Why there is no C++ kernel; None where there is."""
    try:
        cpu.kernel()
    except ModuleNotFoundError:
        return (
            "the C++ kernel is not installed: pip builds it where there is a compiler"
        )
    except ImportError as error:
        return f"the C++ kernel cannot be used: {error}"
    return None


def available() -> list[Available]:
    """Every engine, the fastest first."""
    absent = missing()
    if absent is None:
        words = "instructions " + ", ".join(cpu.kernel().instructions())
        if jax.default_backend() != "cpu":
            absent = f"computations run on {jax.default_backend()}"
    else:
        words = absent
    return [
        Available("cpu", absent is None, absent or words),
        Available("xla", True, f"lax.scan on {jax.default_backend()}"),
    ]


def refusal(layer: Any) -> str | None:
    """Why the engine "cpu" does not run a layer here; None where it does."""
    absent = missing()
    if absent is None and jax.default_backend() != "cpu":
        absent = f"computations run on {jax.default_backend()}"
    return absent or cpu.refusal(layer)


def chosen(layer: Any, engine: str, special: str | None = None) -> cpu.Cpu | None:
    """What runs `layer`: None is `lax.scan`.

    Arguments:
        layer: a recurrent layer.
        engine: one of `ENGINES`.
        special: what is asked for that only `lax.scan` has.

    Raises:
        InputError: no such engine.
        Unsupported: the engine was named and does not take the layer.
    """
    if engine not in ENGINES:
        raise InputError(
            "no such engine", found=repr(engine), expected=", ".join(ENGINES)
        )
    if engine == "xla":
        return None
    why = refusal(layer) or special
    if why is None:
        return cpu.Cpu.of(layer)
    if engine == "cpu":
        raise Unsupported(
            f"the engine 'cpu' does not run this {type(layer).__name__}",
            found=why,
            do="engine='xla' runs every layer, 'auto' picks the fastest that does",
        )
    return None
