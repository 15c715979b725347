"""What a network is, on one screen, and what about it deserves a second look."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from .layers import Classification, Input
from .network import Network, same_state
from .recurrent import LSTM, Bidirectional, Recurrent

NEGLIGIBLE = 1e-10
"""Weights this small beside the largest of their array change no float32 sum."""


def layer_table(net: Network) -> list[dict[str, Any]]:
    """One row a layer, in topological order.

    Keys: `name`, `type`, `settings`, `inputs`, `output` (its shape in words) and
    `parameters` (how many learnable numbers).
    """
    shapes = net.shapes
    return [
        {
            "name": node.name,
            "type": type(net.layers[node.name]).__name__,
            "settings": net.layers[node.name].describe(),
            "inputs": list(node.inputs),
            "output": str(shapes[node.name]),
            "parameters": parameter_count(net.layers[node.name]),
        }
        for node in net.graph
    ]


def parameter_count(layer: Any) -> int:
    """Learnable numbers in a layer; statistics of the data do not count."""
    return sum(
        int(np.size(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(layer)
        if getattr(path[0], "name", None) not in layer.statistics
    )


def describe(net: Network) -> str:
    """The network as text: where it came from, its layers, its state, notices."""
    rows = layer_table(net)
    series = all(
        row["inputs"] == ([rows[k - 1]["name"]] if k else [])
        for k, row in enumerate(rows)
    )
    keys = ["name", "type", "settings", "output", "parameters"]
    if not series:
        keys.insert(3, "inputs")
    total = sum(row["parameters"] for row in rows)
    lines = [_headline(net), "", *_table(rows, keys)]
    lines += ["", f"{total:,} parameters, {net.dtype}"]
    if net.recurrent:
        moved = "differs from it" if net.saved is not None else "is the same"
        lines.append(f"initial state: {_state_words(net)}; the saved state {moved}")
    if net.classes:
        lines.append(f"classes: {_shorten(', '.join(net.classes), 300)}")
    lines += [f"note: {notice}" for notice in notices(net)]
    return "\n".join(lines)


def _headline(net: Network) -> str:
    origin = net.origin
    if not origin.kind:
        return f"network of {len(net.graph)} layers"
    text = f"{origin.kind} '{origin.variable}'" if origin.variable else origin.kind
    text += f" from {origin.file}" if origin.file else ""
    details = ", ".join(f"{key} {value}" for key, value in origin.details)
    return f"{text} ({details})" if details else text


def _state_words(net: Network) -> str:
    leaves = jax.tree.leaves(net.initial)
    return "zero" if all(not np.any(leaf) for leaf in leaves) else "not zero"


def _table(rows: list[dict[str, Any]], keys: list[str]) -> list[str]:
    text = [keys] + [[_cell(row[key]) for key in keys] for row in rows]
    widths = [max(len(line[k]) for line in text) for k in range(len(keys))]
    right = len(keys) - 1
    return [
        "  ".join(
            cell.rjust(width) if k == right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in text
    ]


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(value) or "-"
    if isinstance(value, int):
        return f"{value:,}" if value else "-"
    return _shorten(value, 48)


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


# --- notices --------------------------------------------------------------------------


def notices(net: Network) -> list[str]:
    """What a user should know before trusting the network, by layer.

    The reader's own remarks, a saved state, constant inputs, a recurrence that was
    never learned, units and inputs without effect, weights that are denormal or NaN.
    """
    found = [*net.origin.notices, *saved_state(net)]
    for name in (node.name for node in net.graph):
        layer = net.layers[name]
        if isinstance(layer, Input):
            found += _constant_inputs(name, layer)
        elif isinstance(layer, Recurrent):
            found += _recurrent_notices(name, layer)
        elif isinstance(layer, Classification) and not layer.classes:
            found.append(f"{name}: the class names were not saved")
    return found + _odd_numbers(net)


def saved_state(net: Network) -> list[str]:
    """That the network was saved in a state other than its initial one, if it was."""
    moved = [
        name
        for name in net.recurrent
        if net.saved is not None and not same_state(net.saved[name], net.initial[name])
    ]
    if not moved:
        return []
    return [
        f"saved with a state in {', '.join(moved)} that is not its initial one; "
        "MATLAB's own predict continues from it (state=net.saved, --state saved); "
        "here predictions start from the initial state"
    ]


def _constant_inputs(name: str, layer: Input) -> list[str]:
    if layer.std is not None:
        flat = np.asarray(layer.std) == 0
    elif layer.minimum is not None and layer.maximum is not None:
        flat = np.asarray(layer.minimum) == np.asarray(layer.maximum)
    else:
        return []
    if not np.any(flat):
        return []
    return [
        f"{name}: {int(flat.sum())} of {flat.size} features were constant in training; "
        "normalising them divides by zero"
    ]


def _recurrent_notices(name: str, layer: Recurrent) -> list[str]:
    if isinstance(layer, Bidirectional):
        return [
            *_recurrent_notices(f"{name} forward", layer.forward),
            *_recurrent_notices(f"{name} backward", layer.backward),
        ]
    gates = [getattr(layer, gate) for gate in layer.gates]
    inputs = np.concatenate([np.asarray(gate.input_weights) for gate in gates])
    recurrent = np.stack([np.asarray(gate.recurrent_weights) for gate in gates])
    found = []
    if isinstance(layer, LSTM) and np.all(np.asarray(layer.f.bias) == 1):
        largest = float(np.max(np.abs(recurrent), initial=0))
        if largest < 1e-6:
            found.append(
                f"{name}: never learned recurrence (all forget biases are exactly 1, "
                f"recurrent weights at most {largest:.0e}): it was trained on "
                "sequences of one step"
            )
    unused = np.all(np.abs(inputs) <= NEGLIGIBLE * np.max(np.abs(inputs)), axis=0)
    if np.any(unused):
        found.append(
            f"{name}: {int(unused.sum())} of {unused.size} inputs have no effect "
            f"(indices {_list(np.flatnonzero(unused))})"
        )
    dead = _dead_units(inputs.reshape(len(gates), -1, inputs.shape[1]), recurrent)
    if np.any(dead):
        found.append(
            f"{name}: {int(dead.sum())} of {dead.size} units are dead: nothing they "
            f"receive changes their output (indices {_list(np.flatnonzero(dead))})"
        )
    return found


def _dead_units(inputs: np.ndarray, recurrent: np.ndarray) -> np.ndarray:
    """Units all of whose incoming weights are negligible, `(H,)`."""
    scale = max(np.max(np.abs(inputs)), np.max(np.abs(recurrent), initial=0))
    if not scale:
        return np.zeros(inputs.shape[1], bool)
    small = NEGLIGIBLE * scale
    return np.all(np.abs(inputs) <= small, axis=(0, 2)) & np.all(
        np.abs(recurrent) <= small, axis=(0, 2)
    )


def _odd_numbers(net: Network) -> list[str]:
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(net.layers)]
    broken = sum(int(np.sum(~np.isfinite(array))) for array in arrays)
    denormal = sum(
        int(np.sum((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)))
        for array in arrays
    )
    found = []
    if broken:
        found.append(f"{broken:,} weights are NaN or infinite: its training diverged")
    if denormal:
        found.append(
            f"{denormal:,} weights are denormal numbers, the remains of weights that "
            "L2 regularisation erased; processors may take them for zero"
        )
    return found


def _list(indices: np.ndarray) -> str:
    text = ", ".join(str(k) for k in indices[:8])
    return text + (", ..." if len(indices) > 8 else "")
