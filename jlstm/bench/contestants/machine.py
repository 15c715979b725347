"""What the machine could do at most.

products    operations a second of one large product of matrices, on all cores
reads       bytes a second at which one core reads as many weights as the network has,
            again and again, from whatever cache holds them
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import safetensors.numpy

from ..job import Job
from . import Variant

SIZE = 2_048
LEAST = 1 << 24
"""Bytes that are read in one run at least, or calls would be measured."""


def variants(job: Job, option: str) -> Iterator[Variant]:
    """The product by NumPy's BLAS and by XLA; or the read."""
    yield from (_products if option == "products" else _reads)(job)


def _products(job: Job) -> Iterator[Variant]:
    import jax

    rng, flop = np.random.default_rng(0), 2 * SIZE**3
    a, b = (rng.standard_normal((SIZE, SIZE)).astype(job.dtype) for _ in range(2))
    result = np.empty_like(a)
    yield Variant("NumPy", lambda: np.matmul(a, b, out=result), None, flop)
    with jax.enable_x64(job.dtype == "float64"):
        x, y = jax.device_put((a, b))
        product = jax.jit(lambda x, y: x @ y)
        yield Variant("XLA", lambda: product(x, y).block_until_ready(), None, flop)


def _reads(job: Job) -> Iterator[Variant]:
    count = sum(int(a.size) for a in _weights(job))
    w = np.random.default_rng(0).standard_normal(count).astype(job.dtype)
    times = -(-LEAST // w.nbytes)
    # The same numbers again in every row.
    again = np.lib.stride_tricks.as_strided(w, (times, count), (0, w.itemsize))
    yield Variant("NumPy", lambda: np.einsum("ij->i", again), None, times * w.nbytes)


def _weights(job: Job) -> list[Any]:
    return list(safetensors.numpy.load_file(job.file(".safetensors")).values())
