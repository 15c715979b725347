"""The way back through one step of a cell, from what the step computed.

    dz, direct = back(layer, kept, before, slopes)

`kept` is what the step left behind, `before` the state it started from, `slopes` the
cotangents of the state it made. `dz` are those of what the gates took, `direct` those
of `before` but for the recurrent product. Everything is elementwise, in any layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from ..activations import activation
from ..pytree import Array
from . import cells

Slopes = tuple[Array, ...]

SLOPE = {name: pair.slope for name, pair in (cells.STATE | cells.GATE).items()}
"""Slopes of activations as functions of their values."""


class Written(NamedTuple):
    """A cell whose way back is written out."""

    keeps: tuple[str, ...]
    """Signals that `back` wants; "product" is the last of what the gates took."""
    back: Callable[..., tuple[Slopes, Slopes]]


def written(layer: Any) -> Written | None:
    """The way back of a layer's cell; None where it is not written out."""
    cell = CELLS.get(tuple(getattr(layer, "gates", ())))
    if cell is None or layer.clip is not None:
        return None
    used = [layer.state_activation, *[layer.gate_activation] * (len(layer.gates) > 1)]
    if getattr(layer, "output_activation", None) is not None:
        used.append(layer.output_activation)
    special = any(
        getattr(layer, name, None) not in (None, False)
        for name in ("cell_clip", "coupled")
    )
    return None if special or set(used) - set(SLOPE) else cell


def _lstm(
    layer: Any, kept: Mapping[str, Array], before: Slopes, slopes: Slopes
) -> tuple[Slopes, Slopes]:
    names = layer.state_activation, layer.gate_activation
    names += (layer.output_activation or layer.state_activation,)
    values = [kept[name] for name in "ifgoc"]
    state, gate, leave = map(_pair, names)
    dh, dc = slopes
    dz, dh, dc = cells.lstm_back(values, before[1], dh, dc, state, gate, leave)
    return tuple(dz), (dh, dc)


def _gru(
    layer: Any, kept: Mapping[str, Array], before: Slopes, slopes: Slopes
) -> tuple[Slopes, Slopes]:
    state, gate = map(_pair, (layer.state_activation, layer.gate_activation))
    values = [kept[name] for name in ("r", "z", "n", "product")]
    dz, dh, _ = cells.gru_back(values, before[0], slopes[0], None, state, gate)
    return tuple(dz), (dh,)


def _rnn(
    layer: Any, kept: Mapping[str, Array], before: Slopes, slopes: Slopes
) -> tuple[Slopes, Slopes]:
    (dh,) = slopes
    return (dh * SLOPE[layer.state_activation](kept["h"]),), (jnp.zeros_like(dh),)


def _pair(name: str) -> cells.Pair:
    return cells.Pair(activation(name), SLOPE[name])


CELLS = {
    ("i", "f", "g", "o"): Written(("i", "f", "g", "o", "c"), _lstm),
    ("r", "z", "n"): Written(("r", "z", "n", "product"), _gru),
    ("n",): Written(("h",), _rnn),
}
"""By the gates of the layer."""
