"""Recurrent networks once more in NumPy float64, from the equations of their papers.

A `jlstm.Network` serves as a container of arrays and settings only; nothing here calls
it to compute. It is read into a `Plan` of plain numbers and switches, which
`wrong_changes.py` then spoils and `wrong_run.py` computes, whatever it says.

Gates are the first axis of every array of a cell: `W (G, H, C)`, `R (G, H, H)`,
`b (G, H)`, in the order i f g o, or r z n.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

Array = np.ndarray
State = tuple[Array, Array]
"""`h` and `c` of one direction; a GRU leaves its `c` alone."""

_erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


FUNCTIONS: dict[str, Any] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard-sigmoid": lambda x: np.clip(x / 5 + 0.5, 0, 1),
    "hard-sigmoid-keras3": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x, scale=0.01: np.where(x > 0, x, scale * x),
    "clipped-relu": lambda x, ceiling: np.clip(x, 0, ceiling),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x / 2 * (1 + _erf(x / math.sqrt(2))),
    "gelu-tanh": lambda x: (
        x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "swish": lambda x: x * sigmoid(x),
    "softplus": lambda x: np.logaddexp(0, x),
}


# --- what a plan consists of ----------------------------------------------------------


@dataclasses.dataclass
class Cell:
    """One direction of an LSTM ("ifgo") or a GRU ("rzn")."""

    gates: str
    W: Array
    R: Array
    b: Array
    br: Array
    peephole: Array | None
    q_in: Array | None
    q_out: Array | None
    gate: str
    candidate: str
    squash: str
    mode: str
    coupled: bool = False
    inverted: bool = False

    def project(self, x: Array) -> Array:
        """`W x + b` of every gate for `x (C,)` or `(T, C)`: `(T?, G, H)`."""
        if self.q_in is not None:
            x = x @ self.q_in
        return np.einsum("ghc,...c->...gh", self.W, x, optimize=True) + self.b

    def recur(self, R: Array, h: Array) -> Array:
        return R @ (h if self.q_out is None else self.q_out.T @ h)

    def step(self, z: Array, state: State) -> tuple[State, dict[str, Array]]:
        return self._lstm(z, *state) if self.gates == "ifgo" else self._gru(z, *state)

    def _lstm(self, z: Array, h: Array, c: Array) -> tuple[State, dict[str, Array]]:
        gate, p = FUNCTIONS[self.gate], self.peephole
        z_i, z_f, z_g, z_o = z + self.recur(self.R, h)
        i = gate(z_i if p is None else z_i + p[0] * c)
        f = gate(z_f if p is None else z_f + p[1] * c)
        f = 1 - i if self.coupled else f
        g = FUNCTIONS[self.candidate](z_g)
        c = f * c + i * g
        o = gate(z_o if p is None else z_o + p[2] * c)
        h = o * FUNCTIONS[self.squash](c)
        return (h, c), dict(i=i, f=f, g=g, o=o, c=c, h=h)

    def _gru(self, z: Array, h: Array, c: Array) -> tuple[State, dict[str, Array]]:
        gate = FUNCTIONS[self.gate]
        r = gate(z[0] + self.recur(self.R[0], h) + self.br[0])
        u = gate(z[1] + self.recur(self.R[1], h) + self.br[1])
        if self.mode == "before-multiplication":
            inner = self.recur(self.R[2], r * h)
        else:
            inner = r * (self.recur(self.R[2], h) + self.br[2])
        n = FUNCTIONS[self.candidate](z[2] + inner)
        h = u * n + (1 - u) * h if self.inverted else (1 - u) * n + u * h
        return (h, c), dict(r=r, z=u, n=n, h=h)


@dataclasses.dataclass
class Unit:
    """A recurrent layer: one cell or two, and how their outputs are used."""

    cells: list[Cell]
    last: bool
    take: str = "last"
    backward: str = ""
    swapped: bool = False
    delayed: bool = False
    reset: tuple[int, str] | None = None

    def output(self, tracks: list[dict[str, Array]]) -> Array:
        """The layer's output from the signals over time of its cells."""
        halves = [track["h"] for track in tracks]
        if self.last:
            halves = [self._one(h, back=k == 1) for k, h in enumerate(halves)]
        elif self.backward == "order":
            halves[1] = halves[1][::-1]
        return np.concatenate(halves[::-1] if self.swapped else halves, axis=-1)

    def _one(self, h: Array, *, back: bool) -> Array:
        if self.take == "mean":
            return h.mean(0)
        if self.take == "first":
            return h[0]
        return h[0] if back and self.backward not in ("last", "forwards") else h[-1]


@dataclasses.dataclass
class Plain:
    """Any other layer: the name of its class and its fields in double precision."""

    kind: str
    fields: dict[str, Any]


@dataclasses.dataclass
class Plan:
    """A network as plain numbers, and the ways in which its run departs from it."""

    graph: list[tuple[str, tuple[str, ...]]]
    outputs: tuple[str, ...]
    layers: dict[str, Unit | Plain]
    initial: dict[str, list[State]]
    saved: dict[str, list[State]]
    after: dict[str, str] = dataclasses.field(default_factory=dict)
    shared: dict[str, str] = dataclasses.field(default_factory=dict)
    closed: bool = False

    @property
    def units(self) -> dict[str, Unit]:
        """The recurrent layers, in topological order."""
        found = {name: self.layers[name] for name, _ in self.graph}
        return {name: unit for name, unit in found.items() if isinstance(unit, Unit)}

    def of_kind(self, *kinds: str) -> dict[str, Plain]:
        """The other layers of these classes, in topological order."""
        found = {name: self.layers[name] for name, _ in self.graph}
        return {
            name: layer
            for name, layer in found.items()
            if isinstance(layer, Plain) and layer.kind in kinds
        }

    @property
    def timed(self) -> dict[str, bool]:
        """Whether what a layer returns has a time axis."""
        timed: dict[str, bool] = {}
        for name, refs in self.graph:
            layer = self.layers[name]
            timed[name] = any(timed.get(ref, False) for ref in refs)
            if isinstance(layer, Unit):
                timed[name] = timed[refs[0]] and not layer.last
            elif layer.kind == "Input":
                timed[name] = layer.fields["time"]
            elif layer.kind == "Indexing1D" and layer.fields["axis"] == "time":
                timed[name] = False
        return timed


# --- reading a network ----------------------------------------------------------------


def read(net: Any) -> Plan:
    """The arrays and settings of a `jlstm.Network`, copied, in double precision.

    Raises:
        NotImplementedError: it has a layer that is not computed here.
    """
    layers = {name: _layer(layer) for name, layer in net.layers.items()}
    initial, saved = (
        {name: as_states(part) for name, part in (start or {}).items()}
        for start in (net.initial, net.saved)
    )
    graph = [(node.name, tuple(node.inputs)) for node in net.graph]
    return Plan(graph, tuple(net.outputs), layers, initial, saved)


def _layer(layer: Any) -> Unit | Plain:
    kind = type(layer).__name__
    if kind == "Bidirectional":
        cells = [_cell(layer.forward), _cell(layer.backward)]
        return Unit(cells, layer.output_mode == "last")
    if kind in ("LSTM", "GRU"):
        return Unit([_cell(layer)], layer.output_mode == "last")
    if kind not in LAYERS:
        raise NotImplementedError(kind)
    names = [field.name for field in dataclasses.fields(layer)]
    return Plain(kind, {name: _double(getattr(layer, name)) for name in names})


def _double(value: Any) -> Any:
    return np.array(value, float) if hasattr(value, "dtype") else value


def _cell(layer: Any) -> Cell:
    gates = "ifgo" if type(layer).__name__ == "LSTM" else "rzn"
    parts = [getattr(layer, name) for name in gates]
    W, R, b = (
        np.stack([np.array(getattr(part, field), float) for part in parts])
        for field in ("input_weights", "recurrent_weights", "bias")
    )
    biases = [part.recurrent_bias for part in parts]
    br = np.zeros_like(b) if biases[0] is None else np.array(biases, float)
    peephole = getattr(layer, "peephole", None)
    if peephole is not None:
        peephole = np.array([peephole.i, peephole.f, peephole.o], float)
    q_in, q_out = _double(layer.input_projector), _double(layer.output_projector)
    state, mode = layer.state_activation, getattr(layer, "reset_mode", "")
    gate = layer.gate_activation
    return Cell(gates, W, R, b, br, peephole, q_in, q_out, gate, state, state, mode)


def as_states(state: Any) -> list[State]:
    """One pair of `h` and `c` a direction, from the state of a recurrent layer."""
    if isinstance(state, list):
        return state
    parts = [state.forward, state.backward] if hasattr(state, "forward") else [state]
    return [
        (np.array(part.h, float), np.array(getattr(part, "c", part.h), float))
        for part in parts
    ]


# --- the layers without state ---------------------------------------------------------


def _input(p: dict[str, Any], x: Array) -> Array:
    for _ in range(2 if p.get("twice") else 1):
        if p["normalization"] in ("zerocenter", "zscore"):
            x = x - p["mean"]
        if p["normalization"] == "zscore":
            x = x / p["std"]
        if p["normalization"].startswith("rescale"):
            low = -1.0 if p["normalization"] == "rescale-symmetric" else 0.0
            low, high = p["target"] or (low, 1.0)
            x = (x - p["minimum"]) / (p["maximum"] - p["minimum"]) * (high - low) + low
    return x


def _flat(x: Array, space: int, order: str = "column-major") -> Array:
    lead = x.shape[: x.ndim - 1 - space]
    rows = x.reshape(-1, *x.shape[len(lead) :])
    memory = "F" if order == "column-major" else "C"
    return np.array([row.ravel(order=memory) for row in rows]).reshape(*lead, -1)


def _dense(p: dict[str, Any], x: Array) -> Array:
    return (_flat(x, p["flatten"]) if p["flatten"] else x) @ p["weights"].T + p["bias"]


def _layer_norm(p: dict[str, Any], x: Array) -> Array:
    axes = {
        "channels": (-1,),
        "spatial-channels": tuple(range(-1 - p["space"], 0)),
        "time-channels": tuple(range(x.ndim)),
    }[p["over"]]
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return p["scale"] * (x - mean) / np.sqrt(variance + p["epsilon"]) + p["offset"]


def _batch_norm(p: dict[str, Any], x: Array) -> Array:
    spread = np.sqrt(p["variance"] + p["epsilon"])
    return (x - p["mean"]) / spread * p["scale"] + p["offset"]


def _concatenate(p: dict[str, Any], *xs: Array) -> Array:
    axis = -1 if p["axis"] == "channels" else p["axis"] - p["space"] - 1
    return np.concatenate(xs, axis=axis)


def _add(p: dict[str, Any], *xs: Array) -> Array:
    if p["spaces"]:
        raise NotImplementedError("Addition of vectors and images")
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


def _index(p: dict[str, Any], x: Array) -> Array:
    return x if x.ndim == 1 else x[..., 0 if p["position"] == "first" else -1, :]


LAYERS: dict[str, Any] = {
    "Input": _input,
    "FullyConnected": _dense,
    "Activation": lambda p, x: FUNCTIONS[p["name"]](x, *p["constants"]),
    "PReLU": lambda p, x: np.maximum(x, 0) + p["alpha"] * np.minimum(x, 0),
    "Softmax": lambda p, x: softmax(x, p.get("axis", -1)),
    "Dropout": lambda p, x: x * p.get("factor", 1.0),
    "Identity": lambda p, x: x,
    "Classification": lambda p, x: x,
    "Regression": lambda p, x: x,
    "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm,
    "Scaling": lambda p, x: p["scale"] * x + p["offset"],
    "Concatenation": _concatenate,
    "Addition": _add,
    "Indexing1D": _index,
    "Flatten": lambda p, x: _flat(x, p["space"], p["order"]),
}
