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

Slopes = tuple[Array, ...]

SLOPE: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "relu": lambda y: (y > 0).astype(y.dtype),
    "softsign": lambda y: jnp.square(1 - jnp.abs(y)),
    "hard-sigmoid": lambda y: jnp.where((y > 0) & (y < 1), 0.2, 0.0).astype(y.dtype),
}
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
    gate, squash = SLOPE[layer.gate_activation], SLOPE[layer.state_activation]
    name = layer.output_activation or layer.state_activation
    i, f, g, o = (kept[gate] for gate in "ifgo")
    left = activation(name)(kept["c"])
    dh, dc = slopes
    dc = dc + dh * o * SLOPE[name](left)
    dz = (
        dc * g * gate(i), dc * before[1] * gate(f), dc * i * squash(g),
        dh * left * gate(o),
    )  # fmt: skip
    return dz, (jnp.zeros_like(dh), dc * f)


def _gru(
    layer: Any, kept: Mapping[str, Array], before: Slopes, slopes: Slopes
) -> tuple[Slopes, Slopes]:
    gate, squash = SLOPE[layer.gate_activation], SLOPE[layer.state_activation]
    r, z, n = (kept[gate] for gate in "rzn")
    (dh,), (h,) = slopes, before
    dn = dh * (1 - z) * squash(n)
    dz = (dn * kept["product"] * gate(r), dh * (h - n) * gate(z), dn, dn * r)
    return dz, (dh * z,)


def _rnn(
    layer: Any, kept: Mapping[str, Array], before: Slopes, slopes: Slopes
) -> tuple[Slopes, Slopes]:
    (dh,) = slopes
    return (dh * SLOPE[layer.state_activation](kept["h"]),), (jnp.zeros_like(dh),)


CELLS = {
    ("i", "f", "g", "o"): Written(("i", "f", "g", "o", "c"), _lstm),
    ("r", "z", "n"): Written(("r", "z", "n", "product"), _gru),
    ("n",): Written(("h",), _rnn),
}
"""By the gates of the layer."""
