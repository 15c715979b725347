"""Keras 3 on jax: the model that jlstm writes, by its stateless calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax

from ..job import LEARN_RATE, Job
from . import Variant
from .jax_peers import stepwise


def variants(job: Job, option: str) -> Iterator[Variant]:
    """`predict_on_batch` and jitted stateless calls; cells step by step; training."""
    job.require_single()
    return KINDS[job.kind](job)


def _model(job: Job) -> Any:
    return keras.saving.load_model(job.file(".keras"), compile=False)


def _values(variables: Any) -> list[Any]:
    """Copies: Keras' own functions give the memory of its variables away."""
    return [jnp.array(variable.value) for variable in variables]


def _inference(job: Job) -> Iterator[Variant]:
    model, x = _model(job), jnp.asarray(job.x)
    rest = _values(model.non_trainable_variables)

    @jax.jit
    def call(weights: Any, x: Any) -> Any:
        return model.stateless_call(weights, rest, x, training=False)[0]

    weights = _values(model.trainable_variables)
    yield Variant(
        "stateless call, jit",
        lambda: call(weights, x).block_until_ready(),
        lambda: {"y": np.asarray(call(weights, x))},
    )
    yield Variant(
        "predict_on_batch",
        lambda: model.predict_on_batch(job.x),
        lambda: {"y": np.asarray(model.predict_on_batch(job.x))},
    )


def _streaming(job: Job) -> Iterator[Variant]:
    model = _model(job)
    _ = job.series  # or it is refused: the layers may not be a series
    layers = [a for a in model.layers if not isinstance(a, keras.layers.InputLayer)]
    cells = [getattr(layer, "cell", None) for layer in layers]

    @jax.jit
    def call(states: Any, x: Any) -> Any:
        x, after = x[None], []
        for layer, cell, state in zip(layers, cells, states, strict=True):
            if cell is None:
                x = layer(x)
            else:
                x, state = cell(x, state)
            after.append(state)
        return after, x[0]

    def start() -> list[Any]:
        dtype = job.dtype
        return [
            [np.zeros((1, cell.units), dtype) for _ in np.ravel(cell.state_size)]
            if cell is not None
            else None
            for cell in cells
        ]

    yield stepwise("cells, jit", call, start, job.x[0])


def _training(job: Job) -> Iterator[Variant]:
    # Gradients are compared in the form of a series.
    parts = job.series
    model = _model(job)
    x, target = jnp.asarray(job.x), jnp.asarray(job.target)
    rest = _values(model.non_trainable_variables)
    own = keras.optimizers.Adam(LEARN_RATE)
    own.build(model.trainable_variables)
    first = [np.asarray(value) for value in _values(model.trainable_variables)]

    def loss(weights: Any) -> Any:
        y = model.stateless_call(weights, rest, x, training=True)[0]
        return jnp.sum(jnp.square(y - target)) / (y.size // y.shape[-1])

    solver = optax.adam(LEARN_RATE)

    def by_keras(weights: Any, state: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(weights)
        weights, state = own.stateless_apply(state, slopes, weights)
        return weights, state, value

    def by_optax(weights: Any, state: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(weights)
        updates, state = solver.update(slopes, state, weights)
        return optax.apply_updates(weights, updates), state, value

    def answers() -> dict[str, Any]:
        slopes = jax.jit(jax.grad(loss))([jnp.asarray(a) for a in first])
        return _named(parts, [np.asarray(a) for a in slopes])

    for name, function, state in (
        ("Keras' Adam", by_keras, _values(own.variables)),
        ("optax", by_optax, solver.init(first)),
    ):
        yield Variant(name, _steps(function, first, state), answers)


def _steps(function: Any, first: list[np.ndarray], state: Any) -> Any:
    step = jax.jit(function, donate_argnums=(0, 1))
    weights: Any = [jnp.array(a) for a in first]
    state = jax.tree.map(jnp.array, state)

    def run() -> None:
        nonlocal weights, state
        weights, state, value = step(weights, state)
        jax.block_until_ready((weights, state, value))

    return run


def _named(parts: Any, slopes: list[np.ndarray]) -> dict[str, Any]:
    """Keras' list of gradients by the names of a series."""
    found: dict[str, Any] = {}
    left = iter(slopes)
    for k, part in enumerate(parts):
        if part.kind == "fc":
            found |= {f"{k}.W": next(left).T, f"{k}.b": next(left)}
        for side in SIDES.get(part.kind, ()):
            found |= _recurrent(part, f"{k}.{side}", left)
    return found


SIDES = {"lstm": ("",), "gru": ("",), "bilstm": ("f", "b")}


def _recurrent(part: Any, prefix: str, left: Iterator[np.ndarray]) -> dict[str, Any]:
    w, r, b = next(left).T, next(left).T, next(left)
    if part.kind != "gru":
        return {f"{prefix}W": w, f"{prefix}R": r, f"{prefix}b": b}

    def ordered(a: np.ndarray) -> np.ndarray:
        z, reset, n = np.split(a, 3)
        return np.concatenate([reset, z, n])

    arrays = {"W": ordered(w), "R": ordered(r), "b": ordered(b[0])}
    return {f"{prefix}{n}": a for n, a in arrays.items()} | {
        f"{prefix}bn": b[1][-part.hidden :]
    }


KINDS = {"inference": _inference, "streaming": _streaming, "training": _training}
