"""Programs that XLA compiles in little time, for tests that are not about numbers.

They compute the same in another order of roundings: the younger of XLA's two generators
of code for processors, which is the default, takes most of the time of compilation.
"""

from __future__ import annotations

import functools
from typing import Any

import jax

PLAIN = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
"""For programs that run for moments."""

_jit = jax.jit


@functools.cache
def _known(**options: Any) -> dict[str, Any]:
    """The options, where this version of XLA has them."""
    try:
        _jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def jit(f: Any, **settings: Any) -> Any:
    """`jax.jit` with these options, unless others are given."""
    settings.setdefault("compiler_options", _known(**PLAIN))
    return _jit(f, **settings)
