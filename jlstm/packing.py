"""A network made ready for many single steps: gates side by side, once for all."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from .kernels import dot
from .kernels.products import stacked
from .network import Network, Origin
from .pytree import Array, pytree
from .recurrent import Gate, Packed, Recurrent


@pytree
class _Packed(Recurrent):
    """A recurrent layer with its gates laid side by side once and for all."""

    layer: Recurrent
    packed: Packed

    @property
    def masked(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the layer is."""
        return self.layer.masked

    def pack(self) -> Packed:
        """What was packed."""
        return self.packed

    def project(self, packed: Packed, x: Array) -> Array:
        """As the layer does."""
        return self.layer.project(packed, x)

    def cell(self, packed: Packed, z: Array, state: Any) -> tuple[Any, dict]:
        """As the layer does."""
        return self.layer.cell(packed, z, state)


@pytree
class _Joined(_Packed):
    """A recurrent layer whose step is one product, of `packed`, the `joint` turned."""

    packed: Any

    def project(self, packed: Any, x: Array) -> Array:
        """What the product takes beside the state."""
        return jnp.concatenate([x, jnp.ones(1, x.dtype)])

    def cell(self, packed: Any, z: Array, state: Any) -> tuple[Any, dict]:
        """The product, and what the layer makes of it."""
        gates = dot(jnp.concatenate([state.h, z]), packed)
        count = gates.shape[0] // state.h.shape[0]
        return self.layer.respond(jnp.split(gates, count), state)


def packed(net: Network) -> Network:
    """The network as `step` alone takes it, freed of what a step does not need."""
    layers = {
        name: _pack(layer) if isinstance(layer, Recurrent) else layer
        for name, layer in net.layers.items()
    }
    return net.replace(
        layers=layers, initial={}, saved=None, factors=(), origin=Origin()
    )


def _pack(layer: Any) -> _Packed:
    if layer.joins:
        empty = {name: None for name in layer.gates}
        turned = stacked(layer.joint()).T
        return _Joined(dataclasses.replace(layer, **empty), turned)
    # The biases stay, for a layer knows its width by them.
    none = jnp.zeros((0, 0), layer.dtype)
    gates = {name: Gate(none, none, getattr(layer, name).bias) for name in layer.gates}
    return _Packed(dataclasses.replace(layer, **gates), layer.pack())
