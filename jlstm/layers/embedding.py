"""Tables of vectors, looked up by index or by position in time.

Sources: MathWorks reference pages nnet.cnn.layer.wordembeddinglayer, dlarray.embed,
nnet.cnn.layer.positionembeddinglayer.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ..pytree import Array, Shape, pytree, static
from .base import Layer, only, require, require_choice

OUT_OF_VOCABULARY = ("error", "map-to-last")


@pytree
class Embedding(Layer):
    """Replace each index by its vector, `y_t = weights[x_t - first_index]`.

    Shapes: `weights (vocabulary, D)`, one row a vector (MATLAB stores columns). Indices
    come as numbers, in one channel; MATLAB counts from `first_index = 1`, Keras and
    torch from 0. What is not the index of a row (among them the 0 with which MATLAB's
    `doc2sequence` pads, NaN, and fractions) is out of the vocabulary:

        map-to-last    it gets the last row
        error          it gets NaN, because nothing can be raised inside `jax.jit`
    """

    weights: Array
    first_index: int = static(default=1)
    out_of_vocabulary: str = static(default="error")

    def __call__(self, *inputs: Array) -> Array:
        """`(time?, 1)` to `(time?, D)`."""
        (x,) = inputs
        weights = jnp.asarray(self.weights)
        row = jnp.asarray(x)[..., 0] - self.first_index
        last = weights.shape[0] - 1
        known = (row >= 0) & (row <= last) & (row == jnp.floor(row))
        vectors = weights[jnp.where(known, row, last).astype(np.int32)]
        if self.out_of_vocabulary == "map-to-last":
            return vectors
        return jnp.where(known[..., None], vectors, jnp.nan)

    def shape(self, *inputs: Shape) -> Shape:
        """`(time?, D)`; raises InputError unless single indices come in."""
        x = only(inputs)
        require_choice("mode", self.out_of_vocabulary, OUT_OF_VOCABULARY)
        require(
            not x.space and x.channels == 1,
            "an embedding takes one index a step",
            found=x,
            expected="(time, 1)",
        )
        return Shape(x.time, (), self.weights.shape[-1])

    def describe(self) -> str:
        """One phrase for the table of layers."""
        last = self.first_index + self.weights.shape[0] - 1
        return f"indices {self.first_index} to {last}, others: {self.out_of_vocabulary}"


@pytree
class PositionEmbedding(Layer):
    """A learned vector for every position in time, whatever comes in.

        y_t = weights[t],   t = 0, 1, ...

    Shapes: `weights (longest, D)`. The input only tells how many steps there are; an
    addition layer usually follows.
    """

    weights: Array

    needs_whole_sequence = True

    def __call__(self, *inputs: Array) -> Array:
        """`(time, C)` to `(time, D)`.

        Raises:
            InputError: there are more steps than positions.
        """
        (x,) = inputs
        require(
            x.shape[0] <= self.weights.shape[0],
            "the sequence is longer than the table of positions",
            found=f"{x.shape[0]} steps",
            expected=f"at most {self.weights.shape[0]}",
        )
        return jnp.asarray(self.weights)[: x.shape[0]]

    def shape(self, *inputs: Shape) -> Shape:
        """`(time, D)`; raises InputError unless a sequence of vectors comes in."""
        x = only(inputs)
        require(
            x.time and not x.space,
            "positions exist in sequences of vectors",
            found=x,
            expected="(time, channels)",
        )
        return Shape(True, (), self.weights.shape[-1])

    def describe(self) -> str:
        """One phrase for the table of layers."""
        return f"{self.weights.shape[0]} positions"
