"""Networks of one architecture, and what their answers say together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..errors import InputError
from ..network import Network, Origin

QUANTILES = (0.05, 0.5, 0.95)


class Spread(NamedTuple):
    """What several networks answer to one sequence.

    Arguments:
        mean: `(time, outputs)`, or `(outputs,)` of networks that answer once.
        std: standard deviation of the members (n - 1); 0 of a single one.
        quantiles: `(Q, ...)`, between members by linear interpolation.
        members: `(M, ...)`, every answer.
    """

    mean: np.ndarray
    std: np.ndarray
    quantiles: np.ndarray
    members: np.ndarray


def spread(members: np.ndarray, quantiles: Sequence[float] = QUANTILES) -> Spread:
    """Mean, standard deviation and quantiles over the first axis, in double precision.

    Raises:
        InputError: as `levels`.
    """
    whole = np.asarray(members, np.float64)
    between = np.quantile(whole, levels(quantiles), axis=0)
    deviation = (
        whole.std(axis=0, ddof=1) if len(whole) > 1 else np.zeros(whole.shape[1:])
    )
    kind = members.dtype
    return Spread(
        whole.mean(axis=0).astype(kind), deviation.astype(kind), between.astype(kind),
        members,
    )  # fmt: skip


def levels(quantiles: Any) -> tuple[float, ...]:
    """Quantiles that are asked for, as numbers.

    Raises:
        InputError: one that is none.
    """
    try:
        found = tuple(float(q) for q in np.atleast_1d(quantiles))
    except (TypeError, ValueError):
        found = (np.nan,)
    if not all(0 <= q <= 1 for q in found):
        raise InputError(
            "not quantiles", found=quantiles, expected="numbers from 0 to 1"
        )
    return found


def as_members(nets: Network | Sequence[Network]) -> list[Network]:
    """The networks, if they are of one architecture.

    Raises:
        InputError: there is none, or one is built otherwise than the first.
    """
    if isinstance(nets, Network):
        return [nets]
    found = list(nets) if isinstance(nets, Sequence) else []
    odd = next((net for net in found if not isinstance(net, Network)), None)
    if not found or odd is not None:
        raise InputError(
            "no networks",
            found=type(nets if odd is None else odd).__name__,
            expected="a network, or a list of networks of one architecture",
        )
    first, *others = found
    for number, other in enumerate(others, 2):
        if difference := _difference(first, other):
            raise InputError(
                "the networks of an ensemble are of one architecture",
                place=f"network {number}",
                found=difference[1],
                expected=f"{difference[0]}, as in the first",
                do="evaluate it by itself",
            )
    return found


def bare(net: Network) -> Network:
    """A network without what its answers do not depend on."""
    return net.replace(origin=Origin(), saved=None, factors=())


def _difference(first: Network, other: Network) -> tuple[str, str] | None:
    """What sets two networks apart, in words for each."""
    # Not their order: trees of JAX have their names sorted.
    if set(first.layers) != set(other.layers):
        return ", ".join(first.layers), ", ".join(other.layers)
    if first.graph != other.graph or first.outputs != other.outputs:
        return "the same wires", "other wires"
    for name, layer in first.layers.items():
        mine, theirs = layer, other.layers[name]
        if _outline(mine) != _outline(theirs):
            return tuple(f"layer '{name}' {_words(each)}" for each in (mine, theirs))  # pyright: ignore[reportReturnType]
    if list(first.classes) != list(other.classes):
        return ", ".join(first.classes), ", ".join(other.classes)
    bare = [
        net.replace(origin=Origin(), saved=None, factors=()) for net in (first, other)
    ]
    if _outline(bare[0]) != _outline(bare[1]):
        return "the same settings", "others"
    return None


def _outline(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(np.shape(a), a.dtype) for a in leaves]


def _words(layer: Any) -> str:
    shapes = [str(np.shape(a)) for a in jax.tree.leaves(layer)][:3]
    return f"{type(layer).__name__} {layer.describe()} {' '.join(shapes)}".strip()
