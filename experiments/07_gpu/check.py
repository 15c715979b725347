"""Are the engines for GPUs right? Results and gradients against double precision.

    python experiments/07_gpu/check.py

A line of JSON a case: "error", the largest difference of a result, and "gradient",
that of a gradient as a share of its largest number. Double precision is `lax.scan` on
the processor. Without a GPU the kernel is interpreted, and cuDNN left out.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jlstm.kernels import cudnn, fused, gpu
from jlstm.kernels.recurrence import recurrence
from jlstm.recurrent import GRU, LSTM, Gate

STEPS, FEATURES = 20, 6
LIMITS = {"float32": (5e-6, 2e-5), "float64": (1e-13, 1e-11)}


class Case(NamedTuple):
    """One layer, and how it is run."""

    engine: str
    kind: str
    hidden: int
    batch: int
    reverse: bool = False
    ragged: bool = True
    dtype: str = "float32"


BY = (("cudnn", "lstm"), ("fused", "lstm"), ("fused", "gru"), ("launches", "lstm"))
CASES = [
    *(
        Case(engine, kind, hidden, batch, reverse, ragged)
        for engine, kind in BY
        for hidden, batch, reverse, ragged in (
            (5, 3, False, True), (130, 7, True, True), (512, 64, False, False),
            (1_024, 33, True, True),
        )
    ),
    Case("fused", "lstm", 40, 5, dtype="float64"),
    Case("fused", "gru", 512, 2, dtype="float64"),
]  # fmt: skip
REHEARSED = [Case("fused", "gru", 5, 3, reverse=True)]


def main() -> int:
    worst = 0.0
    there = gpu.missing() is None
    for case in CASES if there else REHEARSED:
        if case.engine == "cudnn" and cudnn.missing() is not None:
            continue
        with jax.enable_x64(True):
            error, gradient = off(case)
        limits = LIMITS[case.dtype]
        right = error <= limits[0] and gradient <= limits[1]
        worst = max(worst, not right)
        told = {"error": error, "gradient": gradient, "right": right}
        print(json.dumps(case._asdict() | told), flush=True)
    return int(worst)


def off(case: Case) -> tuple[float, float]:
    """The error of the results, and of the gradients."""
    operands = drawn(case)
    with jax.default_device(jax.devices("cpu")[0]):
        wanted = answers(case, operands, None)
    single = jax.tree.map(lambda a: a.astype(case.dtype), operands)
    found = answers(case, single, engine(case, single[0]))
    error, gradient = (
        max(
            float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))
            if np.all(np.isfinite(a)) else np.inf
            for a, b in zip(jax.tree.leaves(f), jax.tree.leaves(w), strict=True)
        )
        for f, w in zip(found, wanted, strict=True)
    )  # fmt: skip
    return error, gradient


def drawn(case: Case) -> tuple[Any, Any, Any]:
    """A layer, its state and sequences, in double precision."""
    rng, hidden = np.random.default_rng(case.hidden), case.hidden
    made: Any = LSTM if case.kind == "lstm" else GRU
    sizes = [(hidden, FEATURES), (hidden, hidden), (hidden,)]
    gates = {
        name: Gate(*(rng.uniform(-1, 1, size) / hidden**0.5 for size in sizes))
        for name in made.gates
    }
    layer = made(**gates)
    state = jax.tree.map(
        lambda a: rng.uniform(-0.5, 0.5, (case.batch, *a.shape)), layer.init_state()
    )
    return layer, state, rng.normal(size=(case.batch, STEPS, FEATURES))


def engine(case: Case, layer: Any) -> Any:
    """What runs the case."""
    if case.engine == "cudnn":
        return cudnn.Cudnn()
    if gpu.missing() is not None:
        return Rehearsed.of(layer, cores=1, interpret=True)
    cores = getattr(jax.devices()[0], "core_count", None) or fused.CORES
    return fused.Fused.of(layer, cores=cores, persistent=case.engine == "fused")


class Rehearsed(fused.Fused):
    """The kernel where there is no GPU."""

    platform = "cpu"


def answers(case: Case, operands: tuple[Any, Any, Any], engine: Any) -> Any:
    """Results, and the gradients of a sum of sines of them."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, STEPS + 1, case.batch) if case.ragged else None

    def one(layer: Any, state: Any, x: Any, length: Any) -> Any:
        if engine is None:
            from jlstm.kernels import scan

            after, signals = scan(layer, state, x, length, reverse=case.reverse)
            return after, signals["h"]
        how = {"reverse": case.reverse, "engine": engine}
        return recurrence(layer, state, x, length, **how)

    axes = (None, 0, 0, 0 if case.ragged else None)

    def run(operands: Any) -> Any:
        layer, state, x = operands
        return jax.vmap(one, in_axes=axes)(layer, state, x, lengths)

    def total(operands: Any) -> Any:
        return sum(jnp.sin(a).sum() for a in jax.tree.leaves(run(operands)))

    both = jax.jit(lambda operands: (run(operands), jax.grad(total)(operands)))
    return jax.tree.map(np.asarray, both(operands))


if __name__ == "__main__":
    sys.exit(main())
