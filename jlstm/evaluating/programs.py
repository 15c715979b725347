"""What is compiled: a batch through one network or several, on one device or many."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ..errors import InputError
from ..forward import forward
from ..network import Network
from .members import bare

AXIS = "batch"
LEAST = 8
"""Sequences of a batch on each device: the C++ kernel adds up in another order for one
to three, and an answer would depend on how many there are."""


class Programs:
    """Networks on their devices, and the functions that run batches through them.

    Arguments:
        nets: networks of one structure.
        mesh: the devices, along one axis; None is the default one.
        engine: what runs recurrent layers.
    """

    def __init__(self, nets: list[Network], mesh: Mesh | None, engine: str) -> None:
        self.mesh = mesh
        self.devices = 1 if mesh is None else mesh.size
        # Copied first: JAX may otherwise go on reading the memory of a NumPy array.
        stacked = jax.tree.map(lambda *a: np.stack(a), *map(bare, nets))
        self.nets = jax.device_put(stacked, self._sharding(PartitionSpec()))
        self.members, self.dtype = len(nets), nets[0].dtype
        self._compiled = _compiled(mesh, engine, self.members)

    @property
    def compilations(self) -> int:
        """How many programs were compiled for these devices and this engine."""
        return self._compiled._cache_size()

    def start(self, count: int) -> Any:
        """The initial state of every network, once for each of so many sequences."""
        start = jax.tree.map(
            lambda a: jnp.broadcast_to(a[:, None], (len(a), count, *a.shape[1:])),
            self.nets.initial,
        )
        # Where `run` leaves states: what it is given in another place is compiled anew.
        return jax.device_put(start, self._sharding(PartitionSpec(None, AXIS)))

    def run(self, state: Any, fresh: Any, xs: Any, lengths: Any) -> tuple[Any, Any]:
        """A batch of pieces of sequences.

        Arguments:
            state: by layer, `(members, B, ...)`; its memory is given away.
            fresh: `(B,)`, true where a sequence begins: there the state is the
                initial one.
            xs: by input, `(B, T, ...)`.
            lengths: `(B,)` of int32, steps that are part of the sequence; None where
                all are.

        Returns:
            the states after the pieces, and the outputs `(members, B, ...)`.
        """
        return self._compiled(self.nets, state, fresh, xs, lengths)

    def _sharding(self, spec: PartitionSpec) -> Any:
        return None if self.mesh is None else NamedSharding(self.mesh, spec)


@functools.cache
def _compiled(mesh: Mesh | None, engine: str, members: int) -> Any:
    def one(net: Any, state: Any, fresh: Any, xs: Any, length: Any) -> Any:
        start = jax.tree.map(
            lambda old, new: jnp.where(fresh, new, old), state, net.initial
        )
        after, values, _ = forward(net, xs, start, length=length, engine=engine)
        return after, tuple(values[ref] for ref in net.outputs)

    def batch(net: Any, state: Any, fresh: Any, xs: Any, lengths: Any) -> Any:
        lengths_axis = None if lengths is None else 0
        return jax.vmap(one, in_axes=(None, 0, 0, 0, lengths_axis))(
            net, state, fresh, xs, lengths
        )

    def all_members(nets: Any, state: Any, fresh: Any, xs: Any, lengths: Any) -> Any:
        if members > 1:
            axes = (0, 0, None, None, None)
            every = jax.vmap(batch, in_axes=axes, axis_size=members)
            return every(nets, state, fresh, xs, lengths)
        # A single network is not mapped over: no engine then has to do without it.
        alone, start = jax.tree.map(lambda a: a[0], (nets, state))
        results = batch(alone, start, fresh, xs, lengths)
        return jax.tree.map(lambda a: a[None], results)

    if mesh is None:
        return jax.jit(all_members, donate_argnums=1)
    whole, rows, under = PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(None, AXIS)

    def sharded(nets: Any, state: Any, fresh: Any, xs: Any, lengths: Any) -> Any:
        return jax.shard_map(
            all_members,
            mesh=mesh,
            in_specs=(whole, under, rows, rows, rows),
            out_specs=(under, under),
        )(nets, state, fresh, xs, lengths)

    return jax.jit(sharded, donate_argnums=1)


def as_mesh(mesh: Any) -> Mesh | None:
    """The devices to use: all of this process, where the caller names none.

    Raises:
        InputError: a mesh of several axes.
    """
    if mesh is None:
        devices = jax.local_devices()
        if len(devices) == 1:
            return None
    elif isinstance(mesh, Mesh):
        if mesh.devices.ndim != 1:
            raise InputError(
                "sequences are spread along one axis",
                found=f"a mesh of {mesh.devices.ndim} axes",
                expected="a mesh of one axis",
            )
        if mesh.is_multi_process:
            raise InputError(
                "the mesh has devices of other processes",
                found=f"{mesh.size} devices",
                expected="devices of this process",
                do="evaluate in each process what is its share",
            )
        devices = list(mesh.devices.flat)
    else:
        raise InputError(
            "not a mesh", found=type(mesh).__name__, expected="a jax.sharding.Mesh"
        )
    # Its axes are named here, and not explicit: a recurrence does not carry those.
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
