"""Activation layers, noise, and layers that scale: one value at a time."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ... import layers as L
from ...activations import parse, spell
from ...layers.inputs import TARGETS
from . import functions
from .folding import Fold
from .registry import Config, Variable, reader
from .wiring import Call, Tensor

BESIDE = ("std", "maximum", "target")
"""Arrays that jlstm puts beside a Normalization: in which form the input had it."""
EPSILON = 1e-7
"""What Keras's Normalization puts in place of smaller spreads."""


@reader("Activation", per_step=True)
def _activation(call: Call) -> Tensor:
    layer = functions.layer(call.settings)
    return call.then(layer or L.Identity("linear activation"))


@reader("LeakyReLU", per_step=True)
def _leaky_relu(call: Call) -> Tensor:
    # Keras 2 called it alpha. Both defaults are 0.3.
    slope = call.settings.number("negative_slope", "alpha", default=0.3)
    return call.then(L.Activation("leaky-relu", (slope,)))


@reader("ELU", per_step=True)
def _elu(call: Call) -> Tensor:
    alpha = call.settings.number("alpha", default=1.0)
    return call.then(L.Activation("elu", (alpha,)))


@reader("ThresholdedReLU", per_step=True)
def _thresholded_relu(call: Call) -> Tensor:
    theta = call.settings.number("theta", default=1.0)
    return call.then(L.Activation("thresholded-relu", (theta,)))


@reader("ReLU", per_step=True)
def _relu(call: Call) -> Tensor:
    slope = call.settings.number("negative_slope", default=0.0)
    threshold = call.settings.number("threshold", default=0.0)
    ceiling = call.settings.number("max_value", default=None)
    given = slope != 0, threshold != 0, ceiling is not None
    forms = {
        (False, False, False): ("relu",),
        (True, False, False): ("leaky-relu", slope),
        # Keras keeps what equals the threshold; no other number is decided by that.
        (False, True, False): ("thresholded-relu", threshold),
        (False, False, True): ("clipped-relu", ceiling),
    }
    if given not in forms:
        call.settings.refuse(
            "negative_slope",
            f"slope {slope:g}, threshold {threshold:g}, ceiling {ceiling}",
            "one of them at most",
        )
    return call.then(L.Activation(*parse(spell(*forms[given]))))


@reader("PReLU", variables=lambda config: [Variable("", "alpha")], per_step=True)
def _prelu(call: Call) -> Tensor:
    """One slope for each place of a step; lengths of 1 are shared axes."""
    call.settings.ignore("shared_axes")
    alpha, timed = call.weights["alpha"], call.x.shape.time and not call.distributed
    if timed and alpha.shape[:1] != (1,):
        if call.rank < 3:
            call.settings.refuse(
                "shared_axes", f"slopes of shape {alpha.shape}", "one for all steps"
            )
        call.in_space(call.x)
    if alpha.ndim != call.rank:
        call.settings.refuse("alpha", alpha.shape, f"{call.rank} axes")
    alpha = alpha[0] if timed else alpha
    while alpha.ndim and alpha.shape[0] == 1:
        alpha = alpha[0]
    return call.then(L.PReLU(alpha))


@reader("Softmax", mask="own", per_step=True)
def _softmax(call: Call) -> Tensor:
    axis = call.settings.integer("axis", default=-1)
    if axis not in (-1, call.rank):
        call.settings.refuse("axis", axis, "the last axis")
    if call.x.mask is not None:
        call.settings.refuse("mask", "a softmax of masked steps", "no mask")
    return call.then(L.Softmax())


@reader("Dropout", "SpatialDropout1D", per_step=True, flat=True)
def _dropout(call: Call) -> Tensor:
    call.settings.ignore("data_format")
    return call.then(L.Dropout(call.settings.number("rate", default=0.5)))


@reader("AlphaDropout", "GaussianDropout", "GaussianNoise", per_step=True, flat=True)
def _noise(call: Call) -> Tensor:
    call.settings.ignore("rate", "stddev")
    return call.then(L.Identity("noise in training"))


@reader("ActivityRegularization", "Identity", per_step=True, flat=True)
def _identity(call: Call) -> Tensor:
    call.settings.ignore("l1", "l2")
    return call.then(L.Identity())


@reader("Rescaling", mask="stop before 3", per_step=True, flat=True)
def _rescaling(call: Call) -> Tensor:
    scale, offset = (
        _constant(call, call.settings.take(name, default=default), name)
        for name, default in (("scale", 1.0), ("offset", 0.0))
    )
    y = call.then(L.Scaling(scale, offset))
    fold = call.wiring.folds.inputs.get(call.x.ref)
    if fold is not None and call.weights == {}:
        _onto(call, fold, y.ref)
    return y


def _onto(call: Call, fold: Fold, ref: str) -> None:
    """A scaling behind an input between 0 and 1, to the range that jlstm wrote down."""
    values = call.settings.values
    scale, low = values.get("scale"), values.get("offset")
    if not (isinstance(scale, float) and isinstance(low, float)):
        return
    if fold.target is None:
        return
    target = low, low + scale
    if np.array_equal(np.asarray(target, fold.target.dtype), fold.target):
        name = "rescale-symmetric" if target == (-1, 1) else "rescale-zero-one"
        plain = target == TARGETS[name]
        layer = dataclasses.replace(
            fold.layer, normalization=name, target=None if plain else target
        )
        call.wiring.folds.add(fold.source, layer, *fold.nodes, ref)


def _constant(call: Call, value: Any, name: str) -> np.ndarray:
    """A number, or one a channel, in the precision of the network."""
    if isinstance(value, dict):
        value = value.get("config", {}).get("value")
    try:
        return np.asarray(value, np.float64).astype(call.dtype)
    except (TypeError, ValueError):
        call.settings.refuse(name, value, "numbers")


def _statistics(config: Config) -> list[Variable]:
    if config.get("mean") is not None:
        return []
    found = [Variable("", name, False) for name in ("mean", "variance", "count")]
    return found + [Variable("", name, False, True) for name in BESIDE]


@reader("Normalization", mask="stop before 3", variables=_statistics, per_step=True)
def _normalization(call: Call) -> Tensor:
    """`(x - mean) / max(sqrt(variance), 1e-7)`, or back."""
    x = call.x
    shape = _normalised_axes(call)
    mean, variance = (
        np.asarray(call.weights[name], np.float64)
        if name in call.weights
        else np.asarray(call.settings.take(name), np.float64)
        for name in ("mean", "variance")
    )
    call.settings.ignore("mean", "variance")
    size = math.prod(shape)
    for name, array in (("mean", mean), ("variance", variance)):
        if array.size not in (1, size):
            call.settings.refuse(name, f"shape {array.shape}", shape)
    mean, variance = (
        array.astype(call.dtype).reshape(shape if array.size == size else ())
        for array in (mean, variance)
    )
    # Keras takes the root in its own precision.
    spread = np.asarray(np.maximum(np.sqrt(variance), call.dtype.type(EPSILON)))
    one, zero = (np.array(value, call.dtype) for value in (1, 0))
    share = (1 / spread.astype(np.float64)).astype(call.dtype)
    invert = call.settings.flag("invert", default=False)
    steps = [("centre", one, np.negative(mean)), ("", share, zero)]
    if invert:
        steps = [("spread", spread, zero), ("", one, mean)]
    refs = [x.ref]
    for part, scale, offset in steps:
        refs.append(
            call.add(L.Scaling(*map(np.asarray, (scale, offset))), refs[-1], part=part)
        )
    if x.ref in call.wiring.inputs and not invert and not call.distributed:
        layer, target = _normalised_input(call, mean, spread)
        call.wiring.folds.add(x.ref, layer, *refs[1:], target=target)
    return call.tensor(refs[-1], x)


def _normalised_axes(call: Call) -> tuple[int, ...]:
    """The lengths of the axes that have statistics of their own: the last ones."""
    axis = call.settings.values.get("axis", -1)
    call.settings.take("axis", default=None)
    axes = [axis] if isinstance(axis, int) else list(axis or [])
    axes = [a if a > 0 else call.rank + 1 + a for a in axes]
    if sorted(axes) != list(range(call.rank + 1 - len(axes), call.rank + 1)):
        call.settings.refuse("axis", axis, "the last axis, or the last ones")
    if len(axes) == call.rank:
        call.in_space(call.x)
    step = (*call.x.shape.space, call.x.shape.channels)
    return step[len(step) - len(axes) :]


def _normalised_input(
    call: Call, mean: np.ndarray, spread: np.ndarray
) -> tuple[L.Input, np.ndarray | None]:
    """The input with this normalisation, and the range that is to follow."""
    layer: Any = call.wiring.layers[call.x.ref]
    beside = {name: call.weights.get(name) for name in BESIDE}
    maximum, std = beside["maximum"], beside["std"]
    if maximum is not None:
        if maximum.size == spread.size:
            maximum = maximum.reshape(spread.shape)
        if not np.array_equal(np.broadcast_to(maximum - mean, spread.shape), spread):
            call.settings.refuse("maximum", "another range than the variance", None)
        form = {"normalization": "rescale-zero-one", "minimum": mean}
        return dataclasses.replace(layer, **form, maximum=maximum), beside["target"]
    if np.all(spread == 1) and std is None:
        return dataclasses.replace(layer, normalization="zerocenter", mean=mean), None
    if not np.all(np.isfinite(spread)):
        call.settings.refuse("variance", "not finite", "finite numbers")
    form = {"normalization": "zscore", "mean": mean, "std": spread}
    return dataclasses.replace(layer, **form), None
