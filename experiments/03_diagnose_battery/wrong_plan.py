"""A network as plain numbers and switches, ready to be spoilt.

`wrong_changes.py` and `wrong_weights.py` spoil a `Plan`, `wrong_run.py` computes it,
whatever it says; a `Wrong` says what is to be spoilt and in which layers.

Gates are the first axis of every array of a cell: `W (G, H, C)`, `R (G, H, H)`,
`b (G, H)`, in the order i f g o, or r z n.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from wrong_layers import FUNCTIONS, LAYERS, Array

State = tuple[Array, Array]
"""`h` and `c` of one direction; a GRU leaves its `c` alone."""


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
    old: bool = False
    exchanged: bool = False

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
        if self.exchanged:
            h, c = c, h
        before = c
        z_i, z_f, z_g, z_o = z + self.recur(self.R, h)
        i = gate(z_i if p is None else z_i + p[0] * c)
        f = gate(z_f if p is None else z_f + p[1] * c)
        f = 1 - i if self.coupled else f
        g = FUNCTIONS[self.candidate](z_g)
        c = f * c + i * g
        o = gate(z_o if p is None else z_o + p[2] * c)
        h = o * FUNCTIONS[self.squash](before if self.old else c)
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
    interleaved: bool = False
    delayed: bool = False
    reset: tuple[int, str] | None = None

    def output(self, tracks: list[dict[str, Array]]) -> Array:
        """The layer's output from the signals over time of its cells."""
        halves = [track["h"] for track in tracks]
        if self.last:
            halves = [self._one(h, back=k == 1) for k, h in enumerate(halves)]
        elif self.backward == "order":
            halves[1] = halves[1][::-1]
        if self.backward == "omitted":
            halves[1] = np.zeros_like(halves[1])
        if self.interleaved:
            return np.stack(halves, -1).reshape(*halves[0].shape[:-1], -1)
        return np.concatenate(halves[::-1] if self.swapped else halves, axis=-1)

    def _one(self, h: Array, *, back: bool) -> Array:
        if self.take == "mean":
            return h.mean(0)
        if self.take == "max":
            return h.max(0)
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
    """A network as plain numbers, and the ways in which its run departs from it.

    After `closed` steps the output is the input, never where that is 0.
    """

    graph: list[tuple[str, tuple[str, ...]]]
    outputs: tuple[str, ...]
    layers: dict[str, Unit | Plain]
    initial: dict[str, list[State]]
    saved: dict[str, list[State]]
    after: dict[str, str] = dataclasses.field(default_factory=dict)
    shared: dict[str, str] = dataclasses.field(default_factory=dict)
    closed: int = 0

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


# --- what is to be spoilt, and where -------------------------------------------------


class Wrong(NamedTuple):
    """One mistake; `layers` is empty where `x` or `y` is concerned."""

    name: str
    layers: tuple[str, ...]
    parameters: dict[str, Any]

    def __str__(self) -> str:
        words = [f"{key}={value}" for key, value in self.parameters.items()]
        return " ".join([self.name, *self.layers, *words])


def cells(plan: Plan, wrong: Wrong) -> Iterator[Cell]:
    for unit in units(plan, wrong):
        yield from unit.cells


def units(plan: Plan, wrong: Wrong) -> Iterator[Unit]:
    for name in wrong.layers:
        unit = plan.layers[name]
        assert isinstance(unit, Unit), f"{name} is not recurrent"
        yield unit


def plains(plan: Plan, wrong: Wrong) -> Iterator[Plain]:
    for name in wrong.layers:
        layer = plan.layers[name]
        assert isinstance(layer, Plain), f"{name} is recurrent"
        yield layer


def scopes(
    names: Iterable[str], fits: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, ...]]:
    """Each layer that fits by itself; all of them together where every one fits."""
    names = tuple(names)
    for name in names:
        if fits(name):
            yield (name,)
    if len(names) > 1 and all(map(fits, names)):
        yield names


def kinds(plan: Plan) -> Iterator[tuple[str, dict[str, Unit]]]:
    """The LSTMs, then the GRUs, by the letters of their gates."""
    for gates in ("ifgo", "rzn"):
        of_kind = {n: u for n, u in plan.units.items() if u.cells[0].gates == gates}
        if of_kind:
            yield gates, of_kind


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
