"""What a case of a layer under test is, and the conversions its oracles need.

A case makes a layer with float64 NumPy leaves of trained scale, says what comes in, and
computes the answer with torch, or with NumPy from the definition. All lengths differ
(time, height, width, channels, outputs), so that no axis can stand in for another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from jlstm import layers as L
from jlstm.pytree import Shape

Rng = np.random.Generator
Oracle = Callable[..., np.ndarray]

VECTORS = Shape(True, (), 5)
SIX = Shape(True, (), 6)
VECTOR = Shape(False, (), 5)
LINES = Shape(True, (9,), 4)
IMAGES = Shape(True, (6, 8), 4)
IMAGE = Shape(False, (6, 8), 4)

Pads = tuple[tuple[int, int], ...]


class Case(NamedTuple):
    """A layer, what comes in, what must come out.

    `make(rng)` builds the layer; `oracle(layer, *inputs)` computes its answer in
    float64; `steps` is the length of the sequence for each input; `data` replaces the
    normally distributed inputs, which then are not differentiated; `whole` says that no
    step can be computed without the others.
    """

    name: str
    make: Callable[[Rng], L.Layer]
    shapes: tuple[Shape, ...]
    oracle: Oracle
    steps: tuple[int, ...] = (7,)
    data: Callable[[Rng], tuple[np.ndarray, ...]] | None = None
    whole: bool = False

    def layer(self) -> Any:
        """The layer, in float64."""
        return self.make(np.random.default_rng(zlib.crc32(self.name.encode())))

    def inputs(self, seed: int = 0) -> tuple[np.ndarray, ...]:
        """One example, in float64."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        if self.data is not None:
            return self.data(rng)
        steps = self.steps * len(self.shapes) if len(self.steps) == 1 else self.steps
        return tuple(
            rng.normal(size=((n,) if x.time else ()) + (*x.space, x.channels))
            for n, x in zip(steps, self.shapes, strict=True)
        )


def normal(rng: Rng, *shape: int) -> Any:
    return rng.normal(size=shape)


def positive(rng: Rng, *shape: int) -> Any:
    return rng.uniform(0.5, 2.0, size=shape)


def tensor(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(x, np.float64))


def by_torch(function: Callable[..., torch.Tensor]) -> Oracle:
    """An oracle of the inputs alone."""
    return lambda layer, *xs: function(*map(tensor, xs)).numpy()


def unchanged(layer: Any, x: np.ndarray) -> np.ndarray:
    return x


def channels_first(x: Any, signal: int) -> torch.Tensor:
    """`(..., *signal, C)` to torch's `(batch, C, *signal)`."""
    x = np.asarray(x)
    x = x.reshape(-1, *x.shape[x.ndim - 1 - signal :])
    return tensor(np.moveaxis(x, -1, 1))


def channels_last(y: torch.Tensor, lead: tuple[int, ...]) -> np.ndarray:
    last = np.moveaxis(y.numpy(), 1, -1)
    return last.reshape(*lead, *last.shape[1:])


def padded(x: np.ndarray, pads: Pads, mode: str, value: float = 0.0) -> np.ndarray:
    """Pad the axes before the last one, by NumPy's own rules."""
    everywhere = [(0, 0)] * (x.ndim - 1 - len(pads)) + [*pads, (0, 0)]
    if mode == "constant":
        return np.pad(x, everywhere, constant_values=value)
    return np.pad(x, everywhere, mode=mode)  # pyright: ignore[reportCallIssue, reportArgumentType]
