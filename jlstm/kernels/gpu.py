"""The engine for NVIDIA GPUs: cuDNN for what it takes, jlstm's own kernel for the rest.

Neither was run on a GPU so far. `"auto"` therefore uses cuDNN, NVIDIA's library, and no
more; `engine="gpu"` uses the kernel in `fused.py` where cuDNN does not take a layer.
`experiments/07_gpu` compares both with double precision and measures them.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.backend import get_backend

# cudnn and fused bring much of JAX along: they are imported where there is a GPU.


def missing() -> str | None:
    """Why there is no GPU to run on; None where there is."""
    if jax.default_backend() != "gpu":
        return f"computations run on {jax.default_backend()}"
    cuda = "cuda" in get_backend().platform_version.lower()
    return None if cuda else "no GPU of NVIDIA"


def words() -> str:
    """What there is, in a few words."""
    from . import cudnn

    absent = cudnn.missing()
    library = "cuDNN" if absent is None else f"without cuDNN: {absent}"
    return f"{jax.devices()[0].device_kind}, {library}; not measured yet"


def refusal(layer: Any) -> str | None:
    """Why this engine does not run a layer here; None where it does."""
    absent = missing()
    if absent is not None:
        return absent
    from . import fused

    return reserve(layer) and fused.refusal(layer, _cores())


def reserve(layer: Any) -> str | None:
    """Why "auto" does not take this engine for a layer; None where it does."""
    absent = missing()
    if absent is not None:
        return absent
    from . import cudnn

    why = cudnn.missing() or cudnn.refusal(layer)
    return why and f"not for cuDNN: {why}; engine='gpu' was not measured without it"


def of(layer: Any) -> Any:
    """The engine of a layer that is not refused."""
    from . import cudnn, fused

    if reserve(layer) is None:
        return cudnn.Cudnn()
    return fused.Fused.of(layer, cores=_cores())


def _cores() -> int:
    """Multiprocessors of the GPU."""
    from . import fused

    return getattr(jax.devices()[0], "core_count", None) or fused.CORES
