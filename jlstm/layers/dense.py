"""Fully connected layers, and the order in which images become vectors."""

from __future__ import annotations

import jax.numpy as jnp

from .. import kernels
from ..pytree import Array, Shape, pytree, static
from .base import Layer, only, require, require_choice

ORDERS = ("column-major", "row-major")


def flatten(x: Array, space: int, order: str = "column-major") -> Array:
    """Lay the trailing `(*space, channels)` axes of `x` out as one axis.

    MATLAB's arrays are height x width x channels and column-major: the height runs
    fastest, then the width, the channels slowest. Keras is row-major on the same axes:
    the channels run fastest.
    """
    x = jnp.asarray(x)
    lead = x.ndim - 1 - space
    if order == "column-major":
        x = x.transpose(*range(lead), *reversed(range(lead, x.ndim)))
    return x.reshape(*x.shape[:lead], -1)


def _flat(x: Shape, space: int) -> Shape:
    require(
        len(x.space) == space,
        "the number of space axes differs",
        found=x,
        expected=f"{space} space axes, then channels",
    )
    return Shape(x.time, (), x.features)


@pytree
class Flatten(Layer):
    """Turn images into vectors, at every time step: `(*space, channels)` to one axis.

    In MATLAB's column-major order (height fastest, channels slowest), or row-major.
    `space` is the number of space axes. Source: MathWorks reference page
    nnet.cnn.layer.flattenlayer.
    """

    space: int = static()
    order: str = static(default="column-major")

    def __call__(self, *inputs: Array) -> Array:
        """Flatten `x (time?, *space, channels)` to `(time?, features)`."""
        (x,) = inputs
        return flatten(x, self.space, self.order)

    def shape(self, *inputs: Shape) -> Shape:
        """`(time?, features)`; raises InputError for another number of space axes."""
        require_choice("order", self.order, ORDERS)
        return _flat(only(inputs), self.space)

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return self.order


@pytree
class FullyConnected(Layer):
    """Dense layer, `y = weights x + bias`, at every time step.

    Shapes: `weights (O, K)`, `bias (O,)`. Where images come in, `flatten` is the number
    of their space axes and K the number of their values, in MATLAB's column-major
    order. Source: MathWorks reference page nnet.cnn.layer.fullyconnectedlayer.
    """

    weights: Array
    bias: Array
    flatten: int = static(default=0)

    def __call__(self, *inputs: Array) -> Array:
        """`(time?, K)` or `(time?, *space, channels)` to `(time?, O)`."""
        (x,) = inputs
        if self.flatten:
            x = flatten(x, self.flatten)
        return kernels.transform(self.weights, x) + self.bias

    def shape(self, *inputs: Shape) -> Shape:
        """`(time?, O)`; raises InputError unless K values come in."""
        x = _flat(only(inputs), self.flatten)
        outputs, features = self.weights.shape
        require(
            self.bias.shape == (outputs,),
            "the bias does not fit the weights",
            found=f"bias {self.bias.shape}",
            expected=f"{(outputs,)}",
        )
        require(
            x.channels == features,
            "input width differs from the weights",
            found=f"{x.channels} values a step",
            expected=features,
        )
        return Shape(x.time, (), outputs)

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return "flattens its input" if self.flatten else ""
