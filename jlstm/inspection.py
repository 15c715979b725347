"""What a network is, on one screen, and what about it deserves a second look."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from .auditing import audit, saved
from .kernels import engines
from .network import Network
from .recurrent import Bidirectional


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


def engine_table(net: Network | None) -> dict[str, list[dict[str, Any]]]:
    """What can run recurrent layers here, and what runs those of a network, and why.

    `{"engines": rows of name, usable, reason}`, with a network also `"layers"`: rows of
    `name`, `type`, `engine`, `reason`; two directions are two rows.
    """
    rows = {"engines": [row._asdict() for row in engines.available()]}
    if net is not None:
        rows["layers"] = [
            {
                "name": name,
                "type": type(part).__name__,
                "engine": engine,
                "reason": reason,
            }
            for layer_name in net.recurrent
            for name, part in _directions(layer_name, net.layers[layer_name])
            for engine, reason in (engines.picked(part),)
        ]
    return rows


def _directions(name: str, layer: Any) -> list[tuple[str, Any]]:
    if not isinstance(layer, Bidirectional):
        return [(name, layer)]
    return [(f"{name}, {d}", getattr(layer, d)) for d in ("forward", "backward")]


def engine_words(net: Network | None) -> str:
    """`engine_table` as text."""
    parts = engine_table(net).values()
    return "\n\n".join(
        "\n".join(_table(rows, [*rows[0]], 200)) for rows in parts if rows
    )


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
    found = audit(net)
    lines += [f"input: {remark.words}; {remark.consequence}" for remark in found.advice]
    told = [*net.origin.notices, *map(str, found.remarks)]
    lines += [f"note: {notice}" for notice in told]
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


def _table(rows: list[dict[str, Any]], keys: list[str], most: int = 48) -> list[str]:
    text = [keys] + [[_cell(row[key], most) for key in keys] for row in rows]
    widths = [max(len(line[k]) for line in text) for k in range(len(keys))]
    numbers = [type(rows[0][key]) is int for key in keys]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in text
    ]


def _cell(value: Any, most: int) -> str:
    if isinstance(value, list):
        value = ", ".join(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value else "-"
    return _shorten(value, most)


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


# --- notices --------------------------------------------------------------------------


def notices(net: Network) -> list[str]:
    """What a user should know before trusting the network, a line each.

    The remarks of its reader, then those of `audit`.
    """
    return [*net.origin.notices, *map(str, audit(net).remarks)]


def saved_state(net: Network) -> list[str]:
    """That the network was saved in a state other than its initial one, if it was."""
    return [str(remark) for remark in saved.saved_state(net)]
