"""The module that is written beside the weights: Python that needs torch only.

It makes the layers, loads the weights, and can prove itself on the recorded inputs and
outputs that lie in the file of the weights.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..network import Network
from ..pytree import Shape
from ..recurrent import Bidirectional, Recurrent
from .pytorch_write_recurrent import is_pair
from .pytorch_written import Written

MARK = "# Written by jlstm beside the weights; run it to see that both belong together."
RUNTIME = Path(__file__).with_name("pytorch_runtime.py")
ALWAYS = ("self_test",)
TAKEN = frozenset({
    "T", "T_destination", "add_module",
    "apply", "bfloat16", "buffers", "call_super_init",
    "children", "compile", "cpu", "cuda", "double", "dump_patches", "eval",
    "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "initial_state", "ipu",
    "load_state_dict", "modules", "mtia", "named_buffers", "named_children",
    "named_modules", "named_parameters", "parameters", "register_backward_hook",
    "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_module",
    "register_full_backward_pre_hook", "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook", "register_parameter",
    "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory",
    "state_dict", "to", "to_empty", "train", "training", "type", "xpu", "zero_grad",
})  # fmt: skip
"""What a module of torch calls its own."""

HEAD = '''\
{mark}
"""The network of {shown}, for PyTorch.

    net = load()                        # reads {shown} beside this file
    y, state = net(x)                   # x {shape}, or a batch of them in front
    y, state = net(x, state)            # goes on where it stood

`y` is what jlstm's predict returns. `state` holds the states of the recurrent layers by
name, laid out as torch lays them out, (directions, batch, hidden): a pair for an LSTM.
"""

{imports}
WEIGHTS = Path(__file__).with_name({weights!r})
ACCEPTED = {accepted!r}  # of the largest value: what rounding may change


'''
TAIL = '''

def load(path=WEIGHTS):
    """The network with its weights, ready to predict."""
    net = Net(){double}
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval()


if __name__ == "__main__":
    difference, share = self_test(load(), WEIGHTS)
    print(f"largest difference {{difference:.3g}}, {{share:.3g}} of the largest value")
    raise SystemExit(not share <= ACCEPTED)
'''


def attributes(net: Network) -> dict[str, str]:
    """The name of every layer inside the module: its own, where Python has room."""
    found: dict[str, str] = {}
    for name in net.layers:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
        if plain[0].isdigit() or keyword.iskeyword(plain) or plain in TAKEN:
            plain = f"layer_{plain}"
        if plain.startswith("_"):
            plain = f"layer{plain}"
        unique, number = plain, 2
        while unique in found.values():
            unique, number = f"{plain}_{number}", number + 1
        found[name] = unique
    return found


def source(
    net: Network,
    layers: Mapping[str, Written],
    starts: Mapping[str, Mapping[str, np.ndarray]],
    weights: str,
    accepted: float,
) -> str:
    """The file.

    Arguments:
        net: the network.
        layers: what its layers are in PyTorch, by name.
        starts: the buffers of the initial states that are not zero, by layer.
        weights: the name of the file of the weights.
        accepted: the relative difference that the self-test accepts.
    """
    needed = {name for layer in layers.values() for name in layer.uses}
    runtime = _runtime({*ALWAYS, *needed})
    body = "\n".join([*_constructor(net, layers, starts), "", *_forward(net, layers)])
    initial = "\n".join(_initial(net, starts))
    shapes = [str(net.shapes[name]) for name in net.inputs]
    code = (
        f"{runtime}\n\n\nclass Net(nn.Module):\n"
        f'    """The network."""\n\n{body}\n\n{initial}\n'
    )
    imports = [
        "import base64", "import json", "import zipfile", "from pathlib import Path",
        "", "import numpy as np", "import torch",
    ]  # fmt: skip
    if "F." in code:
        imports.append("import torch.nn.functional as F")
    imports += ["from torch import nn", ""]
    head = HEAD.format(
        mark=MARK,
        weights=weights,
        shown=re.sub(r"[^\w .-]", "?", weights),
        shape=" and ".join(shapes),
        imports="\n".join(imports),
        accepted=accepted,
    )
    double = ".double()" if net.dtype == np.float64 else ""
    return head + code + TAIL.format(double=double)


# --- the definitions that are copied --------------------------------------------------


@cache
def _definitions() -> dict[str, tuple[str, frozenset[str]]]:
    """The definitions of the runtime: their text, and the names that they use."""
    text = RUNTIME.read_text("utf-8")
    found = {}
    for node in ast.parse(text).body:
        names = [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
        if isinstance(node, ast.Assign):
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        for name in names:
            found[name] = (ast.get_source_segment(text, node) or "", frozenset(used))
    return found


def _runtime(names: set[str]) -> str:
    definitions = _definitions()
    needed: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in needed:
            needed.add(name)
            waiting += definitions[name][1]
    return "\n\n\n".join(definitions[name][0] for name in definitions if name in needed)


# --- the class ------------------------------------------------------------------------


def _constructor(net: Network, layers: Mapping[str, Written], starts: Any) -> list[str]:
    names = attributes(net)
    lines = ["    def __init__(self):", "        super().__init__()"]
    for name, layer in layers.items():
        if layer.make is not None:
            lines.append(f"        self.{names[name]} = {layer.make}")
        for buffer, array in starts.get(name, {}).items():
            size = array.shape[0]
            lines.append(
                f"        self.register_buffer({buffer!r}, torch.zeros({size}))"
            )
    return lines


def _forward(net: Network, layers: Mapping[str, Written]) -> list[str]:
    names, shapes = attributes(net), net.shapes
    first = shapes[net.inputs[0]]
    rank = 1 + first.time + len(first.space)
    lines = [
        "    def forward(self, x, state=None):",
        '        """What comes out, and the state after it."""',
        "        given = list(x) if isinstance(x, (tuple, list)) else [x]",
        f"        single = given[0].dim() == {rank}",
        "        if single:",
        "            given = [value[None] for value in given]",
        "        start = self.initial_state(len(given[0])) if state is None else state",
        "        v, after = {}, {}",
    ]
    for number, name in enumerate(net.inputs):
        x = f"given[{number}]"
        call = layers[name].call.format(x=x, self=f"self.{names[name]}")
        lines.append(f"        v[{name!r}] = {call}")
    for name, refs in net.graph:
        if not refs:
            continue
        layer, own = layers[name], f"self.{names[name]}"
        values = [f"v[{ref!r}]" for ref in refs]
        if layer.state:
            lines += _call_with_state(net, name, layer, own, values, shapes)
            continue
        numbered = {f"x{k}": value for k, value in enumerate(values)}
        call = layer.call.format(x=values[0], self=own, **numbered)
        lines.append(f"        v[{name!r}] = {call}")
    outputs = ", ".join(f"v[{ref!r}]" for ref in net.outputs)
    alone = "outputs[0]" if len(net.outputs) == 1 else "tuple(outputs)"
    return [
        *lines,
        f"        outputs = [{outputs}]",
        "        if single:",
        "            outputs = [value[0] for value in outputs]",
        f"        return {alone}, after",
    ]


def _call_with_state(
    net: Network,
    name: str,
    layer: Written,
    own: str,
    values: list[str],
    shapes: Mapping[str, Shape],
) -> list[str]:
    """The lines that run a recurrent layer and keep its state."""
    recurrent: Any = net.layers[name]
    x, *brought = values
    start = f"start.get({name!r})"
    if brought:
        parts = [f"{value}[None]" for value in brought]
        start = f"({', '.join(parts)})" if len(parts) > 1 else parts[0]
    vector = not shapes[_source(net, name)].time
    x = f"{x}[:, None]" if vector else x
    call = layer.call.format(y="y", self=own)
    if vector and recurrent.output_mode == "sequence":
        call = f"({call})[:, 0]"
    lines = [
        f"        y, after[{name!r}] = {own}({x}, {start})",
        f"        v[{name!r}] = {call}",
    ]
    if not isinstance(recurrent, Bidirectional):
        several = len(recurrent.ports) > 1
        for k, port in enumerate(recurrent.ports):
            part = f"[{k}][0]" if several else "[0]"
            if f"{name}/{port}" in _wired(net):
                lines.append(f"        v[{f'{name}/{port}'!r}] = after[{name!r}]{part}")
    return lines


def _source(net: Network, name: str) -> str:
    return next(node.inputs[0] for node in net.graph if node.name == name)


def _wired(net: Network) -> set[str]:
    return {ref for node in net.graph for ref in node.inputs} | set(net.outputs)


# --- states ---------------------------------------------------------------------------


def start_buffers(net: Network) -> dict[str, dict[str, tuple[str, np.ndarray]]]:
    """The initial states that are not zero: buffers by layer, with their key paths."""
    names = attributes(net)
    found: dict[str, dict[str, tuple[str, np.ndarray]]] = {}
    for name, state in net.initial.items():
        parts = dict(_parts(net.layers[name], state))
        if not any(array.tobytes().strip(b"\0") for array in parts.values()):
            continue
        found[name] = {
            f"{names[name]}_initial_{path.strip('.').replace('.', '_')}": (path, array)
            for path, array in parts.items()
        }
    return found


def _parts(layer: Any, state: Any) -> list[tuple[str, np.ndarray]]:
    """The arrays of a state by their key path inside it."""
    if isinstance(layer, Bidirectional):
        return [
            (f".{side}{path}", array)
            for side in ("forward", "backward")
            for path, array in _parts(getattr(layer, side), getattr(state, side))
        ]
    return [(f".{key}", np.asarray(a)) for key, a in state._asdict().items()]


def _initial(net: Network, starts: Mapping[str, Any]) -> list[str]:
    names = attributes(net)
    entries = []
    for name in starts:
        layer: Any = net.layers[name]
        entries.append(
            f"            {name!r}: {_stack(layer, f'{names[name]}_initial')},"
        )
    lines = [
        "    def initial_state(self, batch):",
        '        """Where a fresh run starts; what is not in it starts from zero."""',
    ]
    if not entries:
        return [*lines, "        return {}"]
    wide = [
        "        def wide(*parts):",
        "            rows = torch.stack([getattr(self, part) for part in parts])",
        "            return rows[:, None].expand(-1, batch, -1).contiguous()",
        "",
    ]
    return [*lines, *wide, "        return {", *entries, "        }"]


def _stack(layer: Recurrent, prefix: str) -> str:
    """The expression of an initial state in torch's layout."""
    if not isinstance(layer, Bidirectional):
        return _pair([[f"{prefix}_{key}"] for key in _keys(layer)])
    sides = ("forward", "backward")
    if is_pair(layer):
        keys = _keys(layer.forward)
        return _pair([[f"{prefix}_{side}_{key}" for side in sides] for key in keys])
    halves = [_stack(getattr(layer, side), f"{prefix}_{side}") for side in sides]
    return f"({', '.join(halves)})"


def _pair(groups: list[list[str]]) -> str:
    calls = [f"wide({', '.join(map(repr, group))})" for group in groups]
    return f"({', '.join(calls)})" if len(calls) > 1 else calls[0]


def _keys(layer: Any) -> tuple[str, ...]:
    return ("h", "c")[: len(layer.ports)]
