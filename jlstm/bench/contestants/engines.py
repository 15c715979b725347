"""jlstm itself, by one of its engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ... import formats
from ...config import FineTuneConfig
from ...dataset import Batch
from ...errors import JlstmError
from ...network import Network, predict
from ...stream import Stream
from ...training.task import Task, init, step
from ..job import LEARN_RATE, Job
from ..truth import gradients_of
from . import Variant


def variants(job: Job, option: str) -> Iterator[Variant]:
    """`predict`, `Stream` or a training step, with the engine `option`."""
    net = formats.read(job.file(".safetensors"))[0]
    return KINDS[job.kind](job, net, option)


def _inference(job: Job, net: Network, engine: str) -> Iterator[Variant]:
    alone = len(job.x) == 1
    x = jnp.asarray(job.x[0] if alone else job.x)

    def function(net: Network, x: Any) -> Any:
        def one(x: Any) -> Any:
            return predict(net, x, engine=engine)

        return one(x) if alone else jax.vmap(one)(x)

    held = jax.device_put(net)
    # `predict` compiles itself; a batch is compiled by whoever batches.
    plain = partial(function if alone else jax.jit(function), held)
    named = "jl.predict" if alone else "jit of vmap of jl.predict"
    for name, call in (
        (named, plain),
        ("weights compiled in", jax.jit(partial(function, net))),
    ):
        yield _predicting(name, partial(call, x), alone)
    # Bidirectional layers cannot, nor can the plan of "cpu" hold every layer.
    with suppress(JlstmError):
        if alone:
            yield _stepping_far(job, net, engine)


def _predicting(name: str, call: Callable[[], Any], alone: bool) -> Variant:
    def answers() -> dict[str, Any]:
        y = np.asarray(call())
        return {"y": y[None] if alone else y}

    return Variant(name, lambda: jax.block_until_ready(call()), answers)


def _stepping_far(job: Job, net: Network, engine: str) -> Variant:
    stream = Stream(net, engine=engine)
    shape, x = net.shapes[net.outputs[0]], job.x[0]

    def call() -> Any:
        stream.reset()
        y = stream.step_many(x)
        return y if shape.time else y[-1]

    return _predicting("jl.Stream.step_many", call, True)


def _streaming(job: Job, net: Network, engine: str) -> Iterator[Variant]:
    stream = Stream(net, engine=engine)
    x = job.x[0]

    def run() -> list[np.ndarray]:
        return [np.asarray(stream.step(x_t)) for x_t in x]

    def answers() -> dict[str, Any]:
        stream.reset()
        return {"y": np.stack(run())[None]}

    yield Variant("jl.Stream", run, answers, job.steps)


def _training(job: Job, net: Network, engine: str) -> Iterator[Variant]:
    config = FineTuneConfig(
        loss="mse", initial_learn_rate=LEARN_RATE, engine=cast(Any, engine)
    )
    weights = np.ones_like(job.target)
    lengths = np.full(len(job.x), job.steps, np.int32)
    arrays: Any = [jnp.asarray(a) for a in (job.x, job.target, weights, lengths)]
    batch = Batch(*arrays)

    def task(transformation: Any = None) -> Task:
        return Task.of(net, config, steps_per_epoch=1, transformation=transformation)

    running = task()
    state = init(running)

    def run() -> None:
        nonlocal state
        state, loss, _ = step(running, state, batch)
        jax.block_until_ready((state, loss))

    def answers() -> dict[str, Any]:
        # The step as it is, but that its solver keeps the gradients it was given.
        other = task(_keeping())
        after = step(other, init(other), batch)[0]
        kept = [
            a for a in jax.tree.leaves(after.solver, is_leaf=_is_kept) if _is_kept(a)
        ]
        return gradients_of(net, kept[0].slopes)

    yield Variant("training.task.step", run, answers)


@jax.tree_util.register_pytree_node_class
class _Kept:
    """Gradients in the state of a solver."""

    def __init__(self, slopes: Any) -> None:
        self.slopes = slopes

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """For JAX."""
        return (self.slopes,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any]) -> _Kept:
        """For JAX."""
        return cls(*children)


def _is_kept(node: Any) -> bool:
    return isinstance(node, _Kept)


def _keeping() -> optax.GradientTransformation:
    def init(parameters: Any) -> _Kept:
        return _Kept(jax.tree.map(jnp.zeros_like, parameters))

    def update(slopes: Any, _: Any, parameters: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(jnp.zeros_like, slopes), _Kept(slopes)

    functions: Any = init, update
    return optax.GradientTransformation(*functions)


KINDS = {"inference": _inference, "streaming": _streaming, "training": _training}
