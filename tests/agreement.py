"""Is a loaded network the one that the judge reads from the same file?

The judge is reference.py: other code, another layout, float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import matlab_files as files
import numpy as np
import reference
from reference import ReferenceNet

from jlstm.formats import matlab
from jlstm.network import Network, predict

STEPS = 11
SINGLE, DOUBLE = 1e-6, 1e-11


def both(path: Path, **choice: Any) -> tuple[Network, ReferenceNet]:
    return matlab.load(path, **choice), reference.load(path, **choice)


def inputs(net: Network, rng: np.random.Generator, steps: int = STEPS) -> tuple:
    """Single-precision inputs that fit, `(time?, *space, channels)` each."""
    found = []
    for name in net.inputs:
        shape = net.shapes[name]
        size = (*(steps,) * shape.time, *shape.space, shape.channels)
        found.append(rng.normal(size=size).astype(np.float32))
    return tuple(found)


def as_matlab(net: Network, xs: tuple) -> tuple:
    """The same inputs with time last."""
    return tuple(
        np.moveaxis(x, 0, -1) if net.shapes[name].time else x
        for name, x in zip(net.inputs, xs, strict=True)
    )


def outputs(net: Network, y: Any) -> list[np.ndarray]:
    """Predictions with time last."""
    ys = y if isinstance(y, tuple) else (y,)
    return [
        np.moveaxis(np.asarray(v), 0, -1) if net.shapes[ref].time else np.asarray(v)
        for ref, v in zip(net.outputs, ys, strict=True)
    ]


def assert_agree(
    net: Network, judge: ReferenceNet, xs: tuple, single: float = SINGLE
) -> None:
    """Same predictions, relative to the largest, in both precisions."""
    wanted = judge.forward(as_matlab(net, xs))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for dtype, tolerance in (("float64", DOUBLE), ("float32", single)):
        with jax.enable_x64(dtype == "float64"):
            y = predict(net.astype(dtype), dict(zip(net.inputs, xs, strict=True)))
        for found, want in zip(outputs(net, y), wanted, strict=True):
            assert found.dtype == dtype
            assert found.shape == want.shape
            assert np.all(np.isfinite(want)) and np.ptp(want) > 1e-3
            error = np.abs(found - want).max() / np.abs(want).max()
            assert error <= tolerance, (dtype, error)


def assert_file_agrees(
    path: Path, rng: np.random.Generator, steps: int = STEPS, **choice: Any
) -> Network:
    net, judge = both(path, **choice)
    assert list(net.inputs) == judge.inputs
    assert_agree(net, judge, inputs(net, rng, steps))
    return net


def assert_series_agrees(
    folder: Path, layers: list, rng: np.random.Generator, steps: int = STEPS
) -> Network:
    """A SeriesNetwork of these layers."""
    path = files.write(folder / "net.mat", net=files.series(layers))
    return assert_file_agrees(path, rng, steps)
