"""jlstm on a GPU: by cuDNN, by its own kernel, by `lax.scan`; what the GPU could do.

Without a GPU this is a rehearsal: Pallas interprets the kernel, and cuDNN is absent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ...errors import Unsupported
from ...kernels import cudnn, fused, gpu
from ..job import Job
from . import Variant, engines

SIZE = 8_192
"""Rows of the factors of the large product; a sixteenth of it in a rehearsal."""


def variants(job: Job, option: str) -> Iterator[Variant]:
    """Those of `engines`, by one of the ways that a GPU offers.

    Raises:
        Unsupported: there is no GPU with cuDNN, or it does not take the layers.
    """
    if option == "products":
        return _products(job)
    if option == "xla":
        return engines.variants(job, "xla")
    if option == "cudnn":
        absent = gpu.missing() or cudnn.missing()
        if absent is not None:
            raise Unsupported(absent)
    _only(option)
    return engines.variants(job, "gpu")


def _only(option: str) -> None:
    """From here on the engine "gpu" is, in this process, one of its two alone."""
    if gpu.missing() is None:
        settings: dict[str, Any] = {"cores": getattr(jax.devices()[0], "core_count", 0)}
        settings["cores"] = settings["cores"] or fused.CORES
        made = fused.Fused
    else:
        # In one program a group, since the interpreter runs them one after another.
        settings, made = {"cores": 1, "interpret": True}, _Rehearsed
    of: Callable[[Any], Any] = partial(made.of, **settings)
    chosen: dict[str, tuple[Any, Any]] = {
        "cudnn": (cudnn.refusal, lambda layer: cudnn.Cudnn()),
        "fused": (fused.refusal, of),
    }
    from ...kernels import engines as table

    table.RUNNERS["gpu"] = chosen[option]


@dataclasses.dataclass(frozen=True)
class _Rehearsed(fused.Fused):
    """The kernel where there is no GPU."""

    platform = "cpu"


def _products(job: Job) -> Iterator[Variant]:
    size = SIZE if gpu.missing() is None else SIZE // 16
    key = jax.random.key(0)
    a, b = (
        jax.random.normal(k, (size, size), job.dtype) for k in jax.random.split(key)
    )
    product = jax.jit(partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST))
    yield Variant("XLA", lambda: product(a, b).block_until_ready(), None, 2 * size**3)
