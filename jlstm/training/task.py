"""One training step, as pure functions over an explicit state.

    task = Task.of(net, config, steps_per_epoch=10)
    state = init(task)
    for batch in batches:
        state, loss, _ = step(task, state, batch)
    tuned = network(task, state.parameters)

`finetune` is this loop with data, validation and checkpoints around it; whoever needs
another loop writes it from these pieces.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..config import FineTuneConfig, is_zero
from ..dataset import Batch
from ..errors import InputError
from ..forward import forward, looks_at_all_steps
from ..layers import BatchNormalization
from ..network import Network, Origin
from ..pytree import Array, pytree
from .losses import Loss
from .losses import loss as loss_of
from .parameters import (
    Matrix,
    Parameters,
    chosen,
    low_rank,
    matrices,
    merged,
    parameters,
    with_parameters,
)
from .solvers import Rules, rules, solver


@pytree
class TrainingState:
    """All that changes from step to step: what a checkpoint holds."""

    parameters: Parameters
    solver: Any
    steps: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """All that stays: a network, what is trained of it, and how.

    Arguments:
        net: the network as it was imported, on which the trained arrays are put.
        config: how to train.
        trained: paths of the arrays that are trained.
        matrices: those of them that are corrected by low rank instead.
        rules: factors by parameter, and which arrays are one in MATLAB.
        steps_per_epoch: schedules count epochs by it.
        transformation: in place of `config.solver`, where there is one.
        own_loss: of one sequence, in place of `config.loss`, where there is one.
        scale: spread of the targets by output, for losses that need it.
        ragged: whether sequences of a batch differ in length.
    """

    net: Network
    config: FineTuneConfig
    trained: tuple[str, ...]
    matrices: tuple[Matrix, ...]
    rules: Rules
    steps_per_epoch: int
    transformation: optax.GradientTransformation | None = None
    own_loss: Loss | None = None
    scale: Any = 1.0
    ragged: bool = False

    @classmethod
    def of(
        cls,
        net: Network,
        config: FineTuneConfig,
        *,
        steps_per_epoch: int,
        transformation: optax.GradientTransformation | None = None,
        loss: Loss | None = None,
        scale: Any = 1.0,
        ragged: bool = False,
    ) -> Task:
        """Everything made ready for a network and a configuration.

        Arguments:
            net: the network; double precision trains in double precision.
            config: how to train.
            steps_per_epoch: schedules count epochs by it.
            transformation: any optax transformation in place of `config.solver`.
            loss: of one sequence, in place of `config.loss`.
            scale: spread of the targets by output.
            ragged: whether sequences of a batch may differ in length.

        Raises:
            InputError: what cannot be trained like this.
        """
        if len(net.inputs) != 1 or len(net.outputs) != 1:
            raise InputError(
                "only networks of one input and one output are trained",
                found=f"{len(net.inputs)} inputs, {len(net.outputs)} outputs",
            )
        whole = [n for n, layer in net.layers.items() if looks_at_all_steps(layer)]
        if ragged and whole:
            raise InputError(
                f"layer '{whole[0]}' looks at all steps at once",
                found="sequences of different length",
                expected="one length",
                do="set window in [data] so that all have one length",
            )
        if config.split_length:
            _require_cuttable(net, config)
        if config.semantics == "matlab":
            _require_no_batch_statistics(net)
        # The file may say that something is not to be learned.
        fixed = {f.path for f in net.factors if f.learn_rate == 0}
        trained = tuple(
            p for p in chosen(net, config.only, config.freeze) if p not in fixed
        )
        if not trained:
            raise InputError(
                "every parameter is frozen", found="learn-rate factors of 0 in the file"
            )
        some = matrices(net, trained, config.lora_rank) if config.lora_rank else ()
        corrected = {path for matrix in some for path in matrix.gates}
        start = [path for path in trained if path not in corrected]
        start += low_rank(net, some, config.lora_rank, config.seed) if some else []
        task = cls(
            net.replace(origin=Origin(), saved=None), config, trained, some,
            rules(net, start), steps_per_epoch, transformation, loss, scale, ragged,
        )  # fmt: skip
        _ = task.solver, task.loss  # what they refuse is refused now
        return task

    @functools.cached_property
    def solver(self) -> optax.GradientTransformationExtraArgs:
        """What turns gradients into steps."""
        return solver(
            self.config, self.rules, self.steps_per_epoch,
            transformation=self.transformation,
        )  # fmt: skip

    @functools.cached_property
    def loss(self) -> Loss:
        """The loss of one sequence, `(y, target, weights, scale) -> ()`."""
        return self.own_loss or loss_of(self.config, self.net)

    @functools.cached_property
    def start(self) -> Parameters:
        """The trained arrays before the first step."""
        corrected = {path for matrix in self.matrices for path in matrix.gates}
        every = parameters(self.net)
        plain = {path: every[path] for path in self.trained if path not in corrected}
        rank, seed = self.config.lora_rank, self.config.seed
        return plain | (low_rank(self.net, self.matrices, rank, seed) if rank else {})

    @functools.cached_property
    def on_device(self) -> Network:
        """The network where it computes, so that no step has to bring it there."""
        return jax.device_put(self.net)

    @functools.cached_property
    def carry(self) -> Callable[[int], Any]:
        """The network's initial state, once for each of so many sequences; kept."""

        @functools.cache
        def of(count: int) -> Any:
            with jax.ensure_compile_time_eval():
                return jax.tree.map(
                    lambda a: jnp.broadcast_to(jnp.asarray(a), (count, *np.shape(a))),
                    self.net.initial,
                )

        return of

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """One step, compiled once for each shape of a batch."""
        return jax.jit(functools.partial(update, self), donate_argnums=1)

    @functools.cached_property
    def scored(self) -> Callable[..., Any]:
        """The loss of each sequence of a batch without dropout, compiled."""
        return jax.jit(functools.partial(losses, self, key=None))


def _require_no_batch_statistics(net: Network) -> None:
    """Refuse what MATLAB would compute from the mini-batch and jlstm does not."""
    for name, layer in net.layers.items():
        if isinstance(layer, BatchNormalization):
            raise InputError(
                "MATLAB trains batch normalisation with the statistics of each "
                "mini-batch, jlstm with those of the network",
                place=f"layer '{name}'",
                found='semantics = "matlab"',
                expected='semantics = "exact"',
            )


def _require_cuttable(net: Network, config: FineTuneConfig) -> None:
    """Refuse to cut sequences where cuts would not give the same answers."""
    if not net.shapes[net.outputs[0]].time:
        raise InputError(
            "a network that answers once per sequence takes it whole",
            found=f"split_length {config.split_length}",
            expected="0",
        )
    whole = [n for n, layer in net.layers.items() if layer.needs_whole_sequence]
    # A state that is brought from another layer would be brought in every piece.
    whole += [n.name for n in net.graph if any("/" in ref for ref in n.inputs)]
    if whole and config.semantics == "exact":
        raise InputError(
            f"layer '{whole[0]}' does not see across a cut",
            found=f"split_length {config.split_length}",
            expected="0",
            do='semantics = "matlab" cuts all the same, as MATLAB does',
        )


def init(task: Task) -> TrainingState:
    """The state before the first step; solvers start anew, as MATLAB's do."""
    # Copies of everything: a step gives the memory of its state away, each piece once.
    start: Parameters = {path: jnp.array(a) for path, a in task.start.items()}
    inner = jax.tree.map(jnp.array, task.solver.init(start))
    return TrainingState(start, inner, jnp.int32(0))


def step(
    task: Task, state: TrainingState, batch: Batch, carry: Any = None
) -> tuple[TrainingState, Array, Any]:
    """One step of the solver on one batch.

    Arguments:
        task: what is trained.
        state: where training stands; its memory is reused, so keep no reference.
        batch: the sequences.
        carry: states of the recurrent layers `(B, ...)` to start from, as the batch
            before returned them; the network's initial state by default.

    Returns:
        the new state, the loss of the batch before the step, the states of the
        recurrent layers after the batch.
    """
    if carry is None:
        carry = initial_carry(task, len(batch.x))
    return task.compiled(task.on_device, state, batch, carry)


def initial_carry(task: Task, count: int) -> Any:
    """The network's initial state, once for each sequence."""
    return task.carry(count)


def network(task: Task, trained: Parameters) -> Network:
    """The network with what was trained."""
    return with_parameters(
        task.net, merged(parameters(task.net), trained, task.matrices)
    )


def loss(
    task: Task,
    net: Network,
    trained: Parameters,
    batch: Batch,
    carry: Any,
    key: Array | None,
) -> tuple[Array, tuple[Array, Any]]:
    """What a step makes smaller, with the data loss and the states after the batch.

    The mean over sequences, and `anchor / 2` times the squared distance of the trained
    arrays to the imported ones.
    """
    values, real, after = losses(task, net, trained, batch, carry, key=key)
    mean = jnp.sum(values * real) / jnp.maximum(real.sum(), 1)
    total = mean
    if not is_zero(task.config.anchor):
        base = parameters(net)
        now = merged(base, trained, task.matrices)
        away = sum(jnp.sum((a - base[path]) ** 2) for path, a in now.items())
        total = total + 0.5 * task.config.anchor * away
    return total, (mean, jax.lax.stop_gradient(after))


def losses(
    task: Task,
    net: Network,
    trained: Parameters,
    batch: Batch,
    carry: Any,
    *,
    key: Array | None,
) -> tuple[Array, Array, Any]:
    """The loss of each sequence, which sequences are real, the states after them."""
    net = with_parameters(net, merged(parameters(net), trained, task.matrices))
    (name,), (output,) = net.inputs, net.outputs

    def one(x: Any, y: Any, w: Any, n: Any, state: Any, number: Any) -> Any:
        own = None if key is None else jax.random.fold_in(key, number)
        length = n if task.ragged else None
        after, values, _ = forward(
            net, {name: x}, state, length=length, key=own, engine=task.config.engine,
            rematerialise=task.config.rematerialise,
        )  # fmt: skip
        return task.loss(values[output], y, w, task.scale), after

    numbers = jnp.arange(len(batch.x))
    values, after = jax.vmap(one)(*batch, carry, numbers)
    flat = batch.weights.reshape(len(batch.x), -1)
    real = jnp.any(flat > 0, axis=1).astype(values.dtype)
    return jnp.where(real > 0, values, jnp.zeros_like(values)), real, after


def update(
    task: Task, net: Network, state: TrainingState, batch: Batch, carry: Any
) -> tuple[TrainingState, Array, Any]:
    """`step` as it is compiled, with the network where it computes."""
    key = jax.random.fold_in(jax.random.key(task.config.seed), state.steps)

    def value(trained: Parameters) -> Array:
        return loss(task, net, trained, batch, carry, key)[0]

    (total, (mean, after)), slopes = jax.value_and_grad(
        lambda p: loss(task, net, p, batch, carry, key), has_aux=True
    )(state.parameters)
    updates, inner = task.solver.update(
        slopes, state.solver, state.parameters, value=total, grad=slopes, value_fn=value
    )
    moved: Any = optax.apply_updates(state.parameters, updates)
    return TrainingState(moved, inner, state.steps + 1), mean, after
