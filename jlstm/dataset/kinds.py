"""What is handed on: recordings, parts and batches, and what a network asks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Recording(NamedTuple):
    """One sequence and what should come out.

    Arguments:
        name: where it is from.
        x: `(time, *features)`, finite.
        y: `(time, outputs)`, or `(outputs,)` for a network that answers once per
            sequence. Class labels are one-hot. NaN where a target is missing.
        weights: as `y`: 1 where a number is scored, 0 where it is not.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray

    @property
    def answers_once(self) -> bool:
        """Whether there is one answer for the whole sequence."""
        return self.y.ndim == 1

    def cut(self, start: int, stop: int) -> Recording:
        """Some of the steps."""
        return self._replace(
            x=self.x[start:stop], y=self.y[start:stop], weights=self.weights[start:stop]
        )


class Parts(NamedTuple):
    """What is learned from, what decides, and what is kept to the end."""

    train: list[Recording]
    validation: list[Recording]
    test: list[Recording]


class Batch(NamedTuple):
    """Sequences of one length.

    Arguments:
        x: `(batch, time, *features)`.
        y: `(batch, time, outputs)` or `(batch, outputs)`; 0 where a target is missing.
        weights: as `y`. A sequence whose weights are all 0 only fills the batch up and
            is no part of a mean over sequences.
        lengths: `(batch,)` of int32, steps to run: the padded length where padded.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    lengths: np.ndarray


class Want(NamedTuple):
    """What a network takes and returns.

    Arguments:
        x, y: a `jlstm.pytree.Shape` each.
        classes: in the order of the scores; none for numbers.
        dtype: the precision of the network.
        least: steps that a sequence must have.
    """

    x: Any
    y: Any
    classes: tuple[str, ...]
    dtype: np.dtype
    least: int

    @property
    def tail(self) -> tuple[int, ...]:
        """The axes of an input behind that of time."""
        return (*self.x.space, self.x.channels)

    @property
    def labelled(self) -> bool:
        """Whether one label may stand for the scores of all classes."""
        return self.y.channels > 1 and len(self.classes) == self.y.channels


class Raw(NamedTuple):
    """A recording before it is checked; `place` says where a number of it stands."""

    name: str
    x: np.ndarray
    y: np.ndarray
    place: Callable[[str, tuple[int, ...]], str]
    source: str
