"""The engines: which there are on this machine, and which runs a layer."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax

from ..errors import InputError, Unsupported
from . import cpu, gpu

ENGINES = ("auto", "cpu", "gpu", "xla")
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
    no_cpu, no_gpu = _absent(), gpu.missing()
    return [
        Available("cpu", no_cpu is None, no_cpu or cpu.words()),
        Available("gpu", no_gpu is None, no_gpu or gpu.words()),
        Available("xla", True, f"lax.scan on {jax.default_backend()}"),
    ]


def refusal(layer: Any) -> str | None:
    """Why the engine "cpu" does not run a layer here; None where it does."""
    return _absent() or cpu.refusal(layer)


def _absent() -> str | None:
    if jax.default_backend() != "cpu":
        return f"computations run on {jax.default_backend()}"
    return missing()


def picked(layer: Any) -> tuple[str, str]:
    """The engine that "auto" runs a layer with, and why."""
    reasons = {"cpu": refusal(layer), "gpu": gpu.reserve(layer)}
    for name, why in reasons.items():
        if why is None:
            return name, "the fastest that takes it"
    return "xla", reasons["gpu" if gpu.missing() is None else "cpu"] or ""


def chosen(layer: Any, engine: str, special: str | None = None) -> Any:
    """What runs `layer`, an engine of `recurrence`: None is `lax.scan`.

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
    name = picked(layer)[0] if engine == "auto" else engine
    if name == "xla" or (engine == "auto" and special is not None):
        return None
    refuses, of = RUNNERS[name]
    why = refuses(layer) or special
    if why is not None:
        raise Unsupported(
            f"the engine '{name}' does not run this {type(layer).__name__}",
            found=why,
            do="engine='xla' runs every layer, 'auto' picks the fastest that does",
        )
    return of(layer)


RUNNERS: dict[str, tuple[Any, Any]] = {
    "cpu": (refusal, cpu.Cpu.of),
    "gpu": (gpu.refusal, gpu.of),
}
"""Why an engine does not run a layer, and what it runs one with."""
