"""MATLAB's gradient threshold: how gradients are kept from being too large.

    l2norm           every learnable array by itself: g *= thr / norm(g) if norm > thr
    global-l2norm    the same with one norm over all arrays together
    absolute-value   every number by itself: to [-thr, thr]

Source: MathWorks, `trainingOptions` (GradientThreshold, GradientThresholdMethod).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..config import FineTuneConfig
from .parameters import Parameters


def clip(
    config: FineTuneConfig, joined: Sequence[Sequence[str]]
) -> optax.GradientTransformation:
    """The gradient threshold of the configuration, over a flat dict of gradients.

    Arguments:
        config: `gradient_threshold`, None for none, and `gradient_threshold_method`.
        joined: groups of keys that are one learnable array in MATLAB; together they
            hold every key once. A whole InputWeights (4H, C) has one norm there, so
            the gates of a layer must not be clipped one by one.
    """
    threshold = config.gradient_threshold
    if threshold is None:
        return optax.identity()
    if config.gradient_threshold_method == "absolute-value":
        return optax.stateless(lambda g, _: _by_value(g, threshold))
    groups = joined
    if config.gradient_threshold_method == "global-l2norm":
        groups = [[path for group in joined for path in group]]
    return optax.stateless(lambda g, _: _by_norm(g, groups, threshold))


def _by_value(gradients: Any, threshold: float) -> Parameters:
    return {path: jnp.clip(g, -threshold, threshold) for path, g in gradients.items()}


def _by_norm(
    gradients: Any, groups: Iterable[Sequence[str]], threshold: float
) -> Parameters:
    clipped = {}
    for group in groups:
        norm = _norm([gradients[path] for path in group])
        # A norm that is NaN is not above: NaN is seen, not hidden.
        scale = jnp.where(norm > threshold, threshold / norm, 1.0)
        for path in group:
            g = gradients[path]
            clipped[path] = g * scale.astype(g.dtype)
    return clipped


def _norm(arrays: Sequence[jax.Array]) -> jax.Array:
    wide = jnp.result_type(float)
    return jnp.sqrt(sum(jnp.sum(jnp.square(a.astype(wide))) for a in arrays))
