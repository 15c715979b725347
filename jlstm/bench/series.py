"""A network as other libraries have it: a series of layers with packed arrays.

    lstm      W (4H, C), R (4H, H), b (4H)              rows i f g o
    gru       W (3H, C), R (3H, H), b (3H), bn (H)      rows r z n; bn in the product
    bilstm    the arrays of both halves, fW fR fb bW bR bb
    fc        W (O, K), b (O)
    centre    m (C), s (C)                              (x - m) s, not trained
    relu, tanh, sigmoid    none

Contestants that have no file of jlstm's formats are built from this, with NumPy alone;
and gradients are compared in this form. What is no such series has None here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ..network import Network

FUNCTIONS = ("relu", "tanh", "sigmoid")


class Part(NamedTuple):
    """One layer: its kind, whether it answers with the last step only, its arrays."""

    kind: str
    last: bool
    arrays: dict[str, np.ndarray]

    @property
    def hidden(self) -> int:
        """H of a recurrent layer."""
        return self.arrays["fR" if self.kind == "bilstm" else "R"].shape[1]


Series = list[Part]


def series(net: Network) -> Series | None:
    """The layers of a network in their order; None where it is no such series."""
    parts: Series = []
    for number, node in enumerate(net.graph):
        last = net.graph[number - 1].name if number else None
        layer: Any = net.layers[node.name]
        if node.inputs != ((last,) if last else ()):
            return None
        part = _part(layer)
        if part is None:
            return None
        parts += [part] if part.kind else []
    state = [np.any(a) for s in net.initial.values() for a in _leaves(s)]
    return None if any(state) else parts


def _part(layer: Any) -> Part | None:
    from .. import layers as L
    from ..recurrent import GRU, LSTM, Bidirectional

    if isinstance(layer, L.Input):
        return None if layer.size[:-1] else _centre(layer)
    if isinstance(layer, L.Dropout | L.Regression | L.Identity):
        return Part("", False, {})
    if isinstance(layer, L.Activation) and layer.name in FUNCTIONS:
        return Part(layer.name, False, {})
    if isinstance(layer, L.FullyConnected) and not layer.flatten:
        return Part("fc", False, _numpy(W=layer.weights, b=layer.bias))
    if isinstance(layer, Bidirectional):
        halves = [_arrays(half) for half in (layer.forward, layer.backward)]
        usual = layer.merge == "concat" and not layer.masked
        if not usual or None in halves or not isinstance(layer.forward, LSTM):
            return None
        arrays = {
            side + name: array
            for side, half in zip("fb", halves, strict=True)
            for name, array in (half or {}).items()
        }
        return Part("bilstm", layer.output_mode == "last", arrays)
    if not isinstance(layer, LSTM | GRU):
        return None
    arrays = _arrays(layer)
    kind = "gru" if isinstance(layer, GRU) else "lstm"
    last = layer.output_mode == "last"
    return None if arrays is None else Part(kind, last, arrays)


def _centre(layer: Any) -> Part | None:
    """The normalisation of the input."""
    if layer.normalization == "none":
        return Part("", False, {})
    if layer.normalization not in ("zerocenter", "zscore"):
        return None
    mean = np.asarray(layer.mean)
    one = np.ones(layer.size[-1:], mean.dtype)
    spread = one if layer.std is None else np.asarray(layer.std)
    return Part("centre", False, {"m": mean * one, "s": one / spread})


def _arrays(layer: Any) -> dict[str, np.ndarray] | None:
    """The arrays of an LSTM or a GRU of the usual equations."""
    from ..formats import _gates
    from ..recurrent import GRU, RESET_MODES

    extras = ("peephole", "projection", "input_projector", "output_projector")
    if (
        layer.extensions
        or any(getattr(layer, name, None) is not None for name in extras)
        or (layer.state_activation, layer.gate_activation) != ("tanh", "sigmoid")
    ):
        return None
    gru = isinstance(layer, GRU)
    blocks = _gates.join(layer, _gates.TORCH_GRU if gru else _gates.TORCH_LSTM)
    found = _numpy(W=blocks.input_weights, R=blocks.recurrent_weights, b=blocks.bias)
    if gru:
        if layer.reset_mode == RESET_MODES[1]:
            return None
        hidden = layer.hidden_size
        extra = blocks.recurrent_bias
        extra = np.zeros_like(found["b"]) if extra is None else np.asarray(extra)
        found["rb"], found["bn"] = extra[: 2 * hidden], extra[2 * hidden :]
    return found


def weights(net: Network) -> Series | None:
    """The series with the biases of a gate made one, where they are only ever added."""
    parts = series(net)
    for part in parts or ():
        extra = part.arrays.pop("rb", None)
        if extra is not None:
            b = part.arrays["b"].copy()
            b[: len(extra)] += extra
            part.arrays["b"] = b
    return parts


def trained(parts: Series) -> dict[str, np.ndarray]:
    """All arrays that are trained, by the number of their layer and name: "0.W"."""
    found = _named([p if p.kind != "centre" else p._replace(arrays={}) for p in parts])
    # The gradient of one of two biases that are added is that of the other.
    return {name: a for name, a in found.items() if not name.endswith(".rb")}


def save(path: Any, parts: Series) -> None:
    """Write a series as an `.npz` file."""
    kinds = json.dumps([[part.kind, part.last] for part in parts])
    np.savez(path, kinds=kinds, **_named(parts))  # pyright: ignore[reportArgumentType]


def load(path: Any) -> Series:
    """Read what `save` wrote."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    kinds = json.loads(str(arrays.pop("kinds")))
    return [
        Part(kind, last, {n.split(".")[1]: a for n, a in arrays.items() if _of(n) == k})
        for k, (kind, last) in enumerate(kinds)
    ]


def _named(parts: Series) -> dict[str, np.ndarray]:
    numbered = enumerate(part.arrays.items() for part in parts)
    return {f"{k}.{name}": a for k, items in numbered for name, a in items}


def _of(name: str) -> int:
    return int(name.split(".")[0])


def _numpy(**arrays: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}


def _leaves(state: Any) -> list[Any]:
    import jax

    return jax.tree.leaves(state)
