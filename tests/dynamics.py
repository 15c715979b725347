"""Recurrent networks as flat systems `s' = F(s, x), y = G(s, x)`, in NumPy and float64.

The state lies as [h, c] of the first layer, then of the second, ...; c only of an LSTM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import oracles
import pytest
import recordings
from cells import dense, state_of
from oracles import Cell, Weights

from jlstm import layers as L
from jlstm.errors import InputError
from jlstm.network import Network

ACTIVATIONS = {"": lambda h: h, "relu": lambda h: np.maximum(h, 0), "tanh": np.tanh}


def close(found: Any, wanted: Any, tolerance: float = 1e-7) -> None:
    """Relative to the largest number of the matrix."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    atol = tolerance * np.abs(wanted).max(initial=0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


def refused(words: str, call: Callable, *args: Any, **options: Any) -> None:
    with pytest.raises(InputError, match=words):
        call(*args, **options)


class Stage(NamedTuple):
    """One recurrent layer, and what is applied to its output."""

    name: str
    cell: Cell
    weights: Weights
    hidden: int
    after: str = ""

    @property
    def parts(self) -> int:
        return 2 if self.cell.kind == "lstm" else 1


class Plant(NamedTuple):
    """zscore > recurrent layers > fully connected, by jlstm and by NumPy."""

    mean: np.ndarray
    std: np.ndarray
    stages: tuple[Stage, ...]
    dense: Any

    @property
    def net(self) -> Network:
        """In single precision; the weights are exact in it."""
        mean, std = (np.asarray(a, np.float32) for a in (self.mean, self.std))
        layers: dict[str, Any] = {
            "u": L.Input((mean.size,), normalization="zscore", mean=mean, std=std)
        }
        for stage in self.stages:
            layers[stage.name] = recordings.layer(stage.cell, stage.weights)
            if stage.after:
                layers[f"{stage.name} {stage.after}"] = L.Activation(stage.after)
        return Network.build(layers | {"y": self.dense})

    @property
    def size(self) -> int:
        return sum(stage.parts * stage.hidden for stage in self.stages)

    def step(self, s: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(s, x) -> (s', y)`."""
        signal, s_next, at = (x - self.mean) / self.std, [], 0
        for stage in self.stages:
            h, c = self._of(stage, s, at)
            at += stage.parts * stage.hidden
            run = oracles.loop(stage.cell, stage.weights, signal[None], h, c)
            s_next += [run[name][0] for name in "hc"[: stage.parts]]
            signal = ACTIVATIONS[stage.after](run["h"][0])
        weights, bias = (
            np.asarray(a, float) for a in (self.dense.weights, self.dense.bias)
        )
        return np.concatenate(s_next), weights @ signal + bias

    def run(self, s: np.ndarray, xs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Final state and all outputs."""
        ys = []
        for x in xs:
            s, y = self.step(s, x)
            ys.append(y)
        return s, np.stack(ys)

    def state(self, s: np.ndarray) -> dict[str, Any]:
        """A flat state by layer."""
        found, at = {}, 0
        for stage in self.stages:
            found[stage.name] = state_of(stage.cell, *self._of(stage, s, at))
            at += stage.parts * stage.hidden
        return found

    @staticmethod
    def _of(stage: Stage, s: np.ndarray, at: int) -> tuple[np.ndarray, np.ndarray]:
        h = s[at : at + stage.hidden]
        return h, s[at + stage.hidden : at + 2 * stage.hidden] if stage.parts > 1 else h


def plant(
    rng: np.random.Generator,
    *cells: Cell,
    features: int = 3,
    outputs: int = 2,
    after: tuple[str, ...] = ("", ""),
    names: tuple[str, ...] = ("rnn_1", "rnn_2"),
) -> Plant:
    """Weights of trained scale; hidden sizes 5, 4, ..."""
    stages, width = [], features
    for k, cell in enumerate(cells):
        w = oracles.draw(rng, cell, width, 5 - k)
        stages.append(Stage(names[k], cell, w, 5 - k, after[k]))
        width = 5 - k
    mean, std = rng.normal(size=features), rng.uniform(0.3, 4, size=features)
    mean, std = (a.astype(np.float32).astype(float) for a in (mean, std))
    return Plant(mean, std, tuple(stages), dense(rng, width, outputs))


def somewhere(rng: np.random.Generator, system: Plant) -> tuple[np.ndarray, Any]:
    """A state as a run leaves it, and an input; ReLU leaves something of each layer."""
    while True:
        s = rng.uniform(-0.9, 0.9, size=system.size)
        x = system.mean + system.std * rng.normal(size=system.mean.size)
        after = system.state(system.step(s, x)[0])
        if all(state.h.max() > 0.1 for state in after.values()):
            return s, x


def slopes(f: Callable[[np.ndarray], np.ndarray], z: np.ndarray, h: float = 2e-5):
    """The Jacobian of `f` at `z` by central differences, `(values, numbers)`."""
    columns = []
    for k in range(z.size):
        nudge = np.zeros(z.size)
        nudge[k] = h
        columns.append((f(z + nudge) - f(z - nudge)) / (2 * h))
    return np.stack(columns, axis=-1)
