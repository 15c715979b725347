"""What was saved with the weights, and whether the weights are sound numbers at all."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from ..layers import Classification, Input
from ..network import Network, same_state
from .remarks import Remark, listed, which


def saved_state(net: Network) -> list[Remark]:
    """That the network was saved in a state other than its initial one, if it was."""
    saved = net.saved
    if saved is None:
        return []
    moved = [n for n in net.recurrent if not same_state(saved[n], net.initial[n])]
    if not moved:
        return []
    largest = max(
        float(np.max(np.abs(np.asarray(leaf, np.float64)), initial=0))
        for name in moved
        for leaf in jax.tree.leaves(saved[name])
    )
    return [
        Remark(
            "saved-state",
            "",
            f"saved with a state in {', '.join(moved)} that is not its initial one",
            {"layers": moved, "largest": largest if np.isfinite(largest) else None},
            "MATLAB's own predict continues from it (state=net.saved, --state saved); "
            "here predictions start from the initial state",
            "to get MATLAB's numbers from the file as it is, pass state=net.saved; if "
            "they were computed before the state moved, or after resetState, do not",
        )
    ]


def constant_features(net: Network) -> list[Remark]:
    """Features whose normalisation divides by zero."""
    remarks = []
    for name in net.inputs:
        layer = net.layers[name]
        if not isinstance(layer, Input):
            continue
        if layer.std is not None:
            flat = np.asarray(layer.std) == 0
        elif layer.minimum is not None and layer.maximum is not None:
            flat = np.asarray(layer.minimum) == np.asarray(layer.maximum)
        else:
            continue
        flat = np.ravel(flat)
        if np.any(flat):
            remarks.append(
                Remark(
                    "constant-features",
                    name,
                    f"{int(flat.sum())} of {flat.size} features were constant in "
                    f"training (indices {listed(np.flatnonzero(flat))})",
                    {"features": which(flat), "of": int(flat.size)},
                    "normalising them divides by zero",
                    "predictions are NaN or rest on infinities: train again without "
                    "these features",
                )
            )
    return remarks


def missing_classes(net: Network) -> list[Remark]:
    """Classification outputs without class names."""
    return [
        Remark(
            "missing-classes",
            node.name,
            "the class names were not saved",
            {},
            "predictions are scores by number",
            "take the order of the classes from the training script; MATLAB sorts them",
        )
        for node in net.graph
        if isinstance(layer := net.layers[node.name], Classification)
        and not layer.classes
    ]


def broken_numbers(net: Network) -> list[Remark]:
    """Weights that are NaN or infinite."""
    where = _count(net, lambda array: ~np.isfinite(array))
    if not where:
        return []
    return [
        Remark(
            "broken-weights",
            "",
            f"{sum(where.values()):,} weights are NaN or infinite: its training "
            f"diverged ({_places(where)})",
            {"count": sum(where.values()), "arrays": where},
            "predictions are NaN or meaningless",
            "train again with a smaller learning rate or a gradient threshold, or load "
            "an earlier checkpoint",
        )
    ]


def denormals(net: Network) -> list[Remark]:
    """Weights below the least normal number of their precision."""
    where = _count(net, lambda a: (a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny))
    if not where:
        return []
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(net.layers))
    return [
        Remark(
            "denormal-weights",
            "",
            f"{sum(where.values()):,} weights are denormal numbers, the remains of "
            f"weights that L2 regularisation erased ({_places(where)})",
            {"count": sum(where.values()), "of": total, "arrays": where},
            "no prediction depends on them; XLA and processors may take them for zero",
            "nothing; what they multiplied had no part in the training loss",
        )
    ]


def _count(net: Network, test: Callable[[np.ndarray], np.ndarray]) -> dict[str, int]:
    """How many numbers pass a test, by key path, for the arrays that have any."""
    counts = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(net.layers):
        array = np.asarray(leaf)
        if array.dtype.kind == "f" and (number := int(np.sum(test(array)))):
            counts[f".layers{jax.tree_util.keystr(path)}"] = number
    return counts


def _places(where: dict[str, int]) -> str:
    ranked = sorted(where, key=lambda path: -where[path])
    more = f" and {len(ranked) - 2} more" if len(ranked) > 2 else ""
    return f"in {', '.join(ranked[:2])}{more}"
