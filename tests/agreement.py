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
from jlstm.network import Network, Origin, predict

STEPS = 11
SINGLE, DOUBLE = 1e-6, 1e-11


def both(path: Path, **choice: Any) -> tuple[Any, ReferenceNet]:
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


PROGRAMS: dict[Any, Any] = {}
"""Compiled predictions by what they were compiled for: they take no weights along."""


def _double(net: Network, xs: dict[str, np.ndarray]) -> Any:
    """Predict in double precision; compiled in a hurry, since it runs only once."""
    with jax.enable_x64(True):
        net = net.astype("float64").replace(origin=Origin(), factors=(), saved=None)
        leaves, structure = jax.tree.flatten((net, xs))
        key = structure, tuple(np.shape(leaf) for leaf in leaves)
        if key not in PROGRAMS:
            options: Any = {"xla_backend_optimization_level": 0}
            PROGRAMS[key] = jax.jit(predict).lower(net, xs).compile(options)
        return PROGRAMS[key](net, xs)


def assert_agree(
    net: Network, judge: ReferenceNet, xs: tuple, single: float | None = SINGLE
) -> None:
    """Same predictions, relative to the largest, in double and in single precision."""
    wanted = judge.forward(as_matlab(net, xs))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    given = dict(zip(net.inputs, xs, strict=True))
    _assert_close(net, _double(net, given), wanted, DOUBLE)
    if single is not None:
        # What was read is judged here, not what runs it.
        y = predict(net.astype("float32"), given, trace=True)[0]
        _assert_close(net, y, wanted, single)


def _assert_close(net: Network, y: Any, wanted: tuple, tolerance: float) -> None:
    dtype = "float64" if tolerance == DOUBLE else "float32"
    for ref, found, want in zip(net.outputs, outputs(net, y), wanted, strict=True):
        assert found.dtype == dtype
        assert found.shape == want.shape, ref
        assert np.all(np.isfinite(want)) and np.abs(want).max() > 1e-3, ref
        assert want.size == 1 or np.ptp(want) > 1e-3, ref
        error = np.abs(found - want).max() / np.abs(want).max()
        assert error <= tolerance, (ref, dtype, error)


def assert_file_agrees(
    path: Path, rng: np.random.Generator, steps: int = STEPS, **settings: Any
) -> Any:
    net, judge = both(path)
    assert list(net.inputs) == judge.inputs
    assert_agree(net, judge, inputs(net, rng, steps), **settings)
    return net


def assert_series_agrees(
    folder: Path, layers: list, rng: np.random.Generator, steps: int = STEPS,
    **settings: Any,
) -> Any:  # fmt: skip
    """A SeriesNetwork of these layers; `single=None` leaves single precision out."""
    path = files.write(folder / "net.mat", net=files.series(layers))
    return assert_file_agrees(path, rng, steps, **settings)


def assert_branches_agree(
    folder: Path, trunk: list, branches: dict[str, Any], rng: np.random.Generator,
    steps: int = STEPS, **settings: Any,
) -> Any:  # fmt: skip
    """Layers that all get what the trunk puts out; each is an output of one network.

    A branch is a layer of any name; its key is the name it gets.
    """
    wires, layers = files.chain(trunk), list(trunk)
    end = files.name_of(trunk[-1])
    for name, layer in branches.items():
        properties = layer.properties.get("any", layer.properties)
        properties["Name"] = name
        layers.append(layer)
        wires.append((end, name))
    net = files.dlnetwork(layers, wires, list(branches))
    path = files.write(folder / "net.mat", net=net)
    return assert_file_agrees(path, rng, steps, **settings)
