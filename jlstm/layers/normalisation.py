"""Normalisation by statistics: stored ones, or those of the example itself.

All are `y = scale (x - mean) / sqrt(variance + epsilon) + offset` with one `scale` and
`offset` per channel; they differ in what the mean and the variance run over. Variances
are divided by the number of values, not by one less.

Sources: Ioffe & Szegedy 2015 (batch), Ba et al. 2016 (layer), Ulyanov et al. 2016
(instance), Wu & He 2018 (group); MathWorks reference pages
nnet.cnn.layer.batchnormalizationlayer, .layernormalizationlayer,
.groupnormalizationlayer, .instancenormalizationlayer.
"""

from __future__ import annotations

import jax.numpy as jnp

from ..pytree import Array, Shape, pytree, static
from .base import Layer, only, require, require_broadcast, require_choice

OVER = ("channels", "spatial-channels", "time-channels")


def standardise(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """`(x - mean) / sqrt(variance + epsilon)`, the statistics taken over `axes`."""
    centred = x - jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(centred * centred, axes, keepdims=True)
    return centred / jnp.sqrt(variance + float(epsilon))


def _per_channel(x: Shape, **arrays: Array) -> Shape:
    for name, array in arrays.items():
        require(
            array.shape == (x.channels,),
            f"the {name} does not fit the input",
            found=f"{name} of shape {array.shape} for input {x}",
            expected=f"{(x.channels,)}",
        )
    return x


@pytree
class BatchNormalization(Layer):
    """Normalise each channel by statistics of the training data.

    Shapes: `scale`, `offset`, `mean`, `variance`, each `(channels,)`.
    """

    scale: Array
    offset: Array
    mean: Array
    variance: Array
    epsilon: float = static(default=1e-5)

    statistics = ("mean", "variance")

    def __call__(self, *inputs: Array) -> Array:
        """Normalise `x (time?, *space, channels)`."""
        (x,) = inputs
        spread = jnp.sqrt(self.variance + float(self.epsilon))
        return self.scale * (x - self.mean) / spread + self.offset

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input; raises InputError for another number of channels."""
        return _per_channel(
            only(inputs),
            scale=self.scale,
            offset=self.offset,
            mean=self.mean,
            variance=self.variance,
        )

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"epsilon {float(self.epsilon):g}"


@pytree
class LayerNormalization(Layer):
    """Normalise by the statistics of the example itself.

    Shapes: `scale (channels,)`, `offset (channels,)`. The statistics run over

        channels            the channels, at each time step and place by itself
        spatial-channels    space and channels, at each time step by itself
        time-channels       everything: time, space and channels

    `space`, the number of space axes, matters only to the second. MATLAB calls them
    "channel-only", "spatial-channel" and "batch-excluded". Before R2023a there was only
    the last, so that a step's answer depends on the steps after it; since then the
    default is the second for images of two or more space axes, the first otherwise.
    """

    scale: Array
    offset: Array
    epsilon: float = static(default=1e-5)
    over: str = static(default="channels")
    space: int = static(default=0)

    @property
    def needs_whole_sequence(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True where the statistics run over time."""
        return self.over == "time-channels"

    def __call__(self, *inputs: Array) -> Array:
        """Normalise `x (time?, *space, channels)`."""
        (x,) = inputs
        if self.over == "time-channels":
            axes = tuple(range(x.ndim))
        elif self.over == "spatial-channels":
            axes = tuple(range(-1 - self.space, 0))
        else:
            axes = (-1,)
        return self.scale * standardise(x, axes, self.epsilon) + self.offset

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input; raises InputError where channels or space differ."""
        x = only(inputs)
        require_choice("range of the statistics", self.over, OVER)
        require(
            self.over != "spatial-channels" or len(x.space) == self.space,
            "the number of space axes differs",
            found=x,
            expected=f"{self.space} space axes, then channels",
        )
        return _per_channel(x, scale=self.scale, offset=self.offset)

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"over {self.over}, epsilon {float(self.epsilon):g}"


@pytree
class GroupNormalization(Layer):
    """Normalise groups of consecutive channels by the statistics of the example.

    Shapes: `scale (channels,)`, `offset (channels,)`. The statistics run over the
    channels of a group and over all of space and time.
    """

    scale: Array
    offset: Array
    groups: int = static()
    epsilon: float = static(default=1e-5)

    needs_whole_sequence = True

    def __call__(self, *inputs: Array) -> Array:
        """Normalise `x (time?, *space, channels)`."""
        (x,) = inputs
        grouped = jnp.asarray(x).reshape(*x.shape[:-1], self.groups, -1)
        axes = (*range(grouped.ndim - 2), grouped.ndim - 1)
        y = standardise(grouped, axes, self.epsilon).reshape(x.shape)
        return self.scale * y + self.offset

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input; raises InputError where the groups are uneven."""
        x = _per_channel(only(inputs), scale=self.scale, offset=self.offset)
        require(
            self.groups > 0 and x.channels % self.groups == 0,
            "the channels cannot be divided into equal groups",
            found=f"{x.channels} channels",
            expected=f"a multiple of {self.groups}",
        )
        return x

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"{self.groups} groups, epsilon {float(self.epsilon):g}"


@pytree
class InstanceNormalization(Layer):
    """Normalise each channel by its statistics over all of space and time.

    Shapes: `scale (channels,)`, `offset (channels,)`.
    """

    scale: Array
    offset: Array
    epsilon: float = static(default=1e-5)

    needs_whole_sequence = True

    def __call__(self, *inputs: Array) -> Array:
        """Normalise `x (time?, *space, channels)`."""
        (x,) = inputs
        y = standardise(x, tuple(range(x.ndim - 1)), self.epsilon)
        return self.scale * y + self.offset

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input; raises InputError for another number of channels."""
        return _per_channel(only(inputs), scale=self.scale, offset=self.offset)

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"epsilon {float(self.epsilon):g}"


@pytree
class Scaling(Layer):
    """A fixed scale and offset, `y = scale x + offset`.

    Both broadcast against one step `(*space, channels)`; neither is learned. Source:
    MathWorks reference pages nnet.cnn.layer.scalinglayer, rl.layer.scalinglayer.
    """

    scale: Array
    offset: Array

    statistics = ("scale", "offset")

    def __call__(self, *inputs: Array) -> Array:
        """Apply to `x (time?, *space, channels)`."""
        (x,) = inputs
        return self.scale * x + self.offset

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the input, against which scale and offset must broadcast."""
        x = only(inputs)
        require_broadcast("scale", self.scale, x)
        require_broadcast("offset", self.offset, x)
        return x
