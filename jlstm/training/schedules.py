"""The learning rate of every step, from the number of steps that were made before it.

Sources: MathWorks, `trainingOptions` (InitialLearnRate, LearnRateSchedule,
LearnRateDropFactor, LearnRateDropPeriod); Loshchilov & Hutter 2017 (cosine).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..config import FineTuneConfig
from ..errors import InputError

Schedule = Callable[[Any], jax.Array]


def initial_learn_rate(config: FineTuneConfig) -> float:
    """The rate that training starts with: MATLAB's 0.01 for sgdm, 0.001 otherwise."""
    if config.initial_learn_rate is not None:
        return config.initial_learn_rate
    return 0.01 if config.solver == "sgdm" else 0.001


def learn_rate(config: FineTuneConfig, steps_per_epoch: int) -> Schedule:
    """The learning rate as a function of the steps `k = 0, 1, ...` made before.

        none        r
        piecewise   r drop^(epoch div period),       epoch = k div steps_per_epoch
        cosine      r (1 + cos(pi min(k/K, 1))) / 2, K = max_epochs steps_per_epoch

    with `r` the initial rate, `drop` LearnRateDropFactor and `period`
    LearnRateDropPeriod. The function takes a traced count and returns a scalar of the
    default floating-point type.

    Raises:
        InputError: an epoch without steps.
    """
    if isinstance(steps_per_epoch, int) and steps_per_epoch < 1:
        raise InputError(
            "an epoch without a step",
            found=f"{steps_per_epoch} steps per epoch",
            expected="1 or more",
            do="choose a smaller mini_batch_size",
        )
    rate = initial_learn_rate(config)
    total = config.max_epochs * steps_per_epoch

    def constant(count: Any) -> jax.Array:
        return jnp.asarray(rate, float)

    def piecewise(count: Any) -> jax.Array:
        drops = count // steps_per_epoch // config.learn_rate_drop_period
        return rate * config.learn_rate_drop_factor ** jnp.asarray(drops, float)

    def cosine(count: Any) -> jax.Array:
        part = jnp.minimum(jnp.asarray(count, float) / total, 1.0)
        return rate * 0.5 * (1.0 + jnp.cos(math.pi * part))

    return {"none": constant, "piecewise": piecewise, "cosine": cosine}[
        config.learn_rate_schedule
    ]
