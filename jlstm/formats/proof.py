"""Golden vectors that jlstm computes, and how near another program must come to them.

A network that goes to another program takes along inputs and outputs, so that it can be
proven there. Where the original's own are at hand, those are taken.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from ..errors import InputError
from ..golden import Golden
from ..layers import Embedding, FlattenTime, PositionEmbedding
from ..network import Network, predict
from .lengths import lengths

SEED = 20240229
STEPS = 60
SHORTEST = 4
BLIND = 0.01
"""Where rounding may take this share of an output, fewer steps prove more."""
VECTORS = 5
"""How many single vectors are given to a network that takes no sequences."""
SMOOTH = 8
"""Steps over which the noise is averaged."""
LONGEST = 64 * STEPS
MARGIN = 8
"""How many times the rounding measured here another program may have."""
FLOOR = {np.dtype("float32"): 1e-5, np.dtype("float64"): 1e-12}
"""The least relative difference that is accepted."""


def computed(net: Network) -> list[Golden]:
    """Golden vectors of a network: what it answers to a smooth, seeded, random input.

    Sequences have 60 steps, or as many as the network needs or takes, or fewer where
    rounding grows from step to step until nothing could be proven; the input has the
    mean and the spread that the statistics of the input layer tell.

    Raises:
        InputError: the answer is not finite, or no length of the input is accepted.
    """
    timed = any(net.shapes[name].time for name in net.inputs)
    fixed = any(isinstance(layer, FlattenTime) for layer in net.layers.values())
    steps = STEPS
    if fixed:
        shortest, longest = lengths(net)
        steps = max(shortest, min(longest, STEPS))
    while True:
        rng = np.random.default_rng(SEED)
        records = [_answered(net, rng, steps) for _ in range(1 if timed else VECTORS)]
        steps //= 2
        if not timed or fixed or steps < SHORTEST or accepted(net, records) <= BLIND:
            return records


def _answered(net: Network, rng: np.random.Generator, steps: int) -> Golden:
    layers: Any = net.layers
    least = max(steps, *(layers[name].min_length for name in net.inputs))
    most = [
        len(layer.weights)
        for layer in layers.values()
        if isinstance(layer, PositionEmbedding)
    ]
    steps = min([least, *most])
    while True:
        inputs = tuple(signal(net, name, rng, steps) for name in net.inputs)
        try:
            outputs = _outputs(net, inputs, net.initial)
            break
        except InputError:
            steps *= 2
            if steps > LONGEST:
                raise
    endless = [
        ref
        for ref, y in zip(net.outputs, outputs, strict=True)
        if not np.all(np.isfinite(y))
    ]
    if endless:
        raise InputError(
            "the answer of the network to a made-up input is not finite",
            found=", ".join(endless),
            do="give inputs and outputs of the original: golden=; a feature that was "
            "constant in training has a spread of zero, by which the input is divided",
        )
    note = (
        f"computed by jlstm {version('jlstm')} in {net.dtype}, seeded smooth noise of "
        "the mean and spread of the input layer"
    )
    return Golden(inputs, outputs, note=note)


def signal(net: Network, name: str, rng: np.random.Generator, steps: int) -> np.ndarray:
    """An input for one input layer, in the precision of the network."""
    layer: Any = net.layers[name]
    size = layer.size
    tables = [
        net.layers[node.name]
        for node in net.graph
        if name in node.inputs and isinstance(net.layers[node.name], Embedding)
    ]
    if tables:
        table: Any = tables[0]
        count = len(table.weights)
        shape = (steps, *size) if layer.time else size
        return (table.first_index + rng.integers(count, size=shape)).astype(net.dtype)
    noise = rng.normal(size=(steps + SMOOTH - 1, *size) if layer.time else size)
    if layer.time:
        # The mean of n independent values has a spread of one over the root of n.
        runs = np.lib.stride_tricks.sliding_window_view(noise, SMOOTH, axis=0)
        noise = runs.mean(axis=-1) * np.sqrt(SMOOTH)
    centre, spread = _statistics(layer)
    return np.asarray(centre + spread * noise, net.dtype)


def _statistics(layer: Any) -> tuple[Any, Any]:
    """Where the data of an input layer lie, as far as it knows."""
    if layer.minimum is not None:
        low, high = (np.asarray(a, float) for a in (layer.minimum, layer.maximum))
        return (low + high) / 2, (high - low) / 4
    centre = 0.0 if layer.mean is None else np.asarray(layer.mean, float)
    return centre, 1.0 if layer.std is None else np.asarray(layer.std, float)


def _outputs(net: Network, inputs: tuple, state: Any) -> tuple[np.ndarray, ...]:
    """The outputs of one run in the precision of the network."""
    with jax.enable_x64(net.dtype == np.float64):
        found = predict(net, inputs[0] if len(inputs) == 1 else inputs, state=state)
        many = found if isinstance(found, tuple) else (found,)
        return tuple(np.asarray(y) for y in many)


# --- how near is near enough ----------------------------------------------------------


def accepted(net: Network, golden: list[Golden]) -> float:
    """How far, of the largest value of an output, rounding may take another program.

    1e-5 in single and 1e-12 in double precision, or more where the network amplifies
    rounding: eight times the difference between this network in single and in double.

    Raises:
        InputError: golden vectors that this network does not reproduce.
    """
    # NumPy widens; JAX's own arrays may not.
    net = jax.tree.map(np.asarray, net)
    relative = FLOOR[net.dtype]
    with np.errstate(over="ignore"):
        narrow, wide = net.astype(np.float32), net.astype(np.float64)
    share = 1.0 if net.dtype == np.float32 else 2.0**-29
    runs = []
    for number, record in enumerate(golden, 1):
        exact = _outputs(wide, record.inputs, _start(wide, record))
        rounded = _outputs(narrow, record.inputs, _start(narrow, record))
        runs.append((number, record, exact))
        for near, far in zip(rounded, exact, strict=True):
            measured = MARGIN * share * distance(near, far)
            if np.isfinite(measured):  # not where single precision overflows
                relative = max(relative, measured)
    for number, record, exact in runs:
        for ref, given, far in zip(net.outputs, record.outputs, exact, strict=True):
            found = np.asarray(given)
            off = distance(found, far) if found.shape == far.shape else np.inf
            if not off <= relative:
                raise InputError(
                    "the golden vectors are not of this network",
                    place=f"golden {number}, output '{ref}'",
                    found=f"off by {off:.1e} of the largest value",
                    expected=f"at most {relative:.1e}",
                    do="leave them out: new ones are computed",
                )
    return float(f"{relative:.1e}")


def _start(net: Network, record: Golden) -> Any:
    return net.saved if record.start == "saved" and net.saved else net.initial


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    scale = np.abs(exact).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        worst = np.abs(np.asarray(found, float) - exact).max(initial=0.0)
    if worst == 0:
        return 0.0
    return float(worst / scale) if scale else np.inf
