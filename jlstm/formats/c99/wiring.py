"""What the graph of a network says about how it can run in C."""

from __future__ import annotations

from typing import Any

from ...layers import Flatten, Input, Repeat, UnflattenTime
from ...network import Network
from ...recurrent import Recurrent
from .registry import SILENT


def needs_whole_sequence(net: Network) -> bool:
    """Whether a loop over steps would give something else than the whole sequence.

    So it is where a layer looks at many steps, and where something that is known only
    at the end, a final state or a last step, meets a sequence again.
    """
    shapes = net.shapes
    timed = any(shapes[name].time for name in net.inputs)
    late: set[str] = set()
    for name, refs in net.graph:
        layer, given = net.layers[name], [shapes[ref] for ref in refs]
        sequence = any(shape.time for shape in given)
        if isinstance(layer, Repeat | UnflattenTime) or (
            layer.needs_whole_sequence and sequence
        ):
            return True
        if any("/" in ref for ref in refs):
            return True
        late_inputs = [ref for ref in refs if ref in late]
        if late_inputs and sequence:
            return True
        if isinstance(layer, Recurrent) and timed and not sequence:
            return True
        if late_inputs or (sequence and not shapes[name].time):
            late.add(name)
    return False


def is_silent(layer: Any) -> bool:
    """Whether the output of a layer is its input."""
    return (
        type(layer) in SILENT
        or (isinstance(layer, Input) and layer.normalization == "none")
        or (isinstance(layer, Flatten) and layer.order == "row-major")
    )


def roots(net: Network) -> dict[str, str]:
    """The layer that computes what a reference gives."""
    found: dict[str, str] = {}
    for name, refs in net.graph:
        silent = is_silent(net.layers[name]) and refs
        found[name] = found.get(refs[0], refs[0]) if silent else name
    return found


def last_uses(net: Network) -> dict[str, int]:
    """The number of the node after which a signal is not needed any more."""
    root, last = roots(net), {}
    for number, (name, refs) in enumerate(net.graph, 1):
        last[root[name]] = max(last.get(root[name], 0), number)
        for ref in refs:
            if ref in root:
                last[root[ref]] = number
    for ref in net.outputs:
        last[root.get(ref, ref)] = len(net.graph) + 1
    return last


def direct_outputs(net: Network) -> dict[str, str]:
    """Layers that write to the caller's array: those of one output alone."""
    root = roots(net)
    found = [root.get(ref, ref) for ref in net.outputs]
    many = len(net.outputs) > 1
    return {
        name: f"y{k}" if many else "y"
        for k, name in enumerate(found, 1)
        if found.count(name) == 1 and name not in net.inputs
    }
