"""The parameters of a network by name: which are trained, and in which form.

A name is the key path of an array, `.layers['lstm_1'].f.bias`. With `lora_rank` the
weights of recurrent layers stay as they are and get a correction of low rank,

    W = W_0 + A B,        A (gates H, rank),  B (rank, C)

A zero to start with, so that training begins at the imported network. Source: Hu et
al., LoRA: Low-Rank Adaptation of Large Language Models, 2021.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..network import Network
from ..pytree import Array
from ..recurrent import Bidirectional, Recurrent

Parameters = dict[str, Array]
"""Arrays by key path."""

LOW_RANK = ("input_weights", "recurrent_weights")


class Matrix(NamedTuple):
    """A matrix that is corrected: its name, and the paths of its gates in order."""

    name: str
    gates: tuple[str, ...]


def parameters(net: Network) -> Parameters:
    """Every array that training can change, by key path.

    Statistics of data (`Layer.statistics`) and states are none.
    """
    found: Parameters = {}
    for name, layer in net.layers.items():
        leaves, _ = jax.tree_util.tree_flatten_with_path(layer)
        for path, leaf in leaves:
            if getattr(path[0], "name", None) not in layer.statistics:
                found[f".layers[{name!r}]{jax.tree_util.keystr(path)}"] = leaf
    return found


def with_parameters(net: Network, changed: Parameters) -> Network:
    """The network with some of its arrays replaced.

    Raises:
        InputError: there is no such array, or it has another shape.
    """
    leaves = dict(_leaves(net))
    for path, array in changed.items():
        if path not in leaves or leaves[path].shape != array.shape:
            raise InputError(
                "no such parameter",
                found=f"{path}, shape {array.shape}",
                expected=f"shape {leaves[path].shape}"
                if path in leaves
                else f"a path of the network, such as {next(iter(leaves), 'none')}",
            )
    structure = jax.tree.structure(net.layers)
    order = [path for path, _ in _leaves(net)]
    new = [changed.get(path, leaves[path]) for path in order]
    return net.replace(layers=jax.tree.unflatten(structure, new))


def chosen(
    net: Network, only: Iterable[str] = (), freeze: Iterable[str] = ()
) -> tuple[str, ...]:
    """Paths of the parameters that are trained.

    Arguments:
        net: the network.
        only: patterns; what matches none of them is left alone. All by default.
        freeze: patterns; what matches one of them is left alone.

    `*` stands for anything and `?` for one character; the dot in front may be left out:
    `layers['fc'].*`, `*.bias`.

    Raises:
        InputError: a pattern that matches nothing, or nothing left to train.
    """
    paths = tuple(parameters(net))
    kept = _matching(paths, only, "only") if only else set(paths)
    kept -= _matching(paths, freeze, "freeze")
    if not kept:
        raise InputError(
            "every parameter is frozen",
            found=f"only {list(only)}, freeze {list(freeze)}",
            expected="at least one of "
            + ", ".join(paths[:3])
            + (", ..." if paths[3:] else ""),
        )
    return tuple(path for path in paths if path in kept)


def matrices(net: Network, trained: Iterable[str], rank: int = 1) -> tuple[Matrix, ...]:
    """The matrices of recurrent layers that a correction of this rank is smaller than.

    Those all of whose gates are trained; thinner ones are better trained themselves.

    Raises:
        InputError: there is none.
    """
    trained = set(trained)
    found = []
    for prefix, layer in _recurrent(net):
        for field in LOW_RANK:
            gates = tuple(f"{prefix}.{gate}.{field}" for gate in layer.gates)
            shapes = [getattr(getattr(layer, g), field).shape for g in layer.gates]
            rows, columns = sum(shape[0] for shape in shapes), shapes[0][1]
            if trained.issuperset(gates) and rank <= min(rows, columns):
                found.append(Matrix(f"{prefix}.{field}", gates))
    if not found:
        raise InputError(
            "no matrix to correct",
            found=f"lora_rank {rank}",
            expected="a recurrent layer that is trained, with matrices of that rank",
        )
    return tuple(found)


def low_rank(
    net: Network, some: tuple[Matrix, ...], rank: int, seed: int
) -> Parameters:
    """The corrections to start with: A zero, B normal with variance 1 / columns."""
    arrays = parameters(net)
    rng = np.random.default_rng([seed, 0x10AA])
    found: Parameters = {}
    for matrix in some:
        rows = sum(arrays[path].shape[0] for path in matrix.gates)
        columns = arrays[matrix.gates[0]].shape[1]
        dtype = arrays[matrix.gates[0]].dtype
        found[f"{matrix.name}.lora_a"] = np.zeros((rows, rank), dtype)
        scale = 1 / np.sqrt(columns)
        found[f"{matrix.name}.lora_b"] = np.asarray(
            scale * rng.normal(size=(rank, columns)), dtype
        )
    return found


def merged(
    base: Parameters, trained: Parameters, some: tuple[Matrix, ...]
) -> Parameters:
    """The arrays of the network that the trained ones stand for."""
    found = {path: a for path, a in trained.items() if ".lora_" not in path}
    for matrix in some:
        a, b = (trained[f"{matrix.name}.lora_{part}"] for part in "ab")
        change = jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
        parts = jnp.split(change, len(matrix.gates))
        for path, part in zip(matrix.gates, parts, strict=True):
            found[path] = base[path] + part
    return found


def _leaves(net: Network) -> list[tuple[str, Any]]:
    found, _ = jax.tree_util.tree_flatten_with_path(net.layers)
    return [(f".layers{jax.tree_util.keystr(path)}", leaf) for path, leaf in found]


def _recurrent(net: Network) -> Iterable[tuple[str, Recurrent]]:
    for name in net.recurrent:
        layer: Any = net.layers[name]
        prefix = f".layers[{name!r}]"
        if isinstance(layer, Bidirectional):
            yield f"{prefix}.forward", layer.forward
            yield f"{prefix}.backward", layer.backward
        else:
            yield prefix, layer


def _matching(paths: tuple[str, ...], patterns: Iterable[str], key: str) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        # Brackets belong to the names here, so fnmatch would misread them.
        escaped = re.escape(pattern.removeprefix("."))
        regular = escaped.replace(r"\*", ".*").replace(r"\?", ".")
        hits = {p for p in paths if re.fullmatch(regular, p.removeprefix("."))}
        if not hits:
            raise InputError(
                "the pattern matches no parameter",
                place=key,
                found=pattern,
                expected="a pattern such as \"layers['fc'].*\" for one of "
                + ", ".join(path.removeprefix(".") for path in paths),
            )
        found |= hits
    return found
