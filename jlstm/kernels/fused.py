"""The engine for NVIDIA GPUs that is jlstm's own: all steps of a layer in one kernel.

    z = W x + b             one product for all steps
    ys, h', c'              `persistent.forward`
    dz                      `persistent.backward`
    dx, dW, dR, db          one product each for all steps

R stays on the chip from step to step, spread over the multiprocessors: H up to 1,024 in
float32 and 512 in float64 where there are 128 of them. Sizes are filled up with zeros
to powers of two, which the compiler wants. LSTM and GRU, but for the reset gate before
the multiplication, whose two products after each other would double the waiting.

It was run by Pallas' interpreter and compiled, but never on a GPU.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import cpu, persistent
from .cells import CELLS, SLOTS
from .products import dot
from .programs import Loop

CORES = 132
"""Multiprocessors, where there is no GPU to ask: those of an H100 or H200."""
KINDS = {
    ("i", "f", "g", "o"): "lstm",
    "after-multiplication": "gru",
    "recurrent-bias-after-multiplication": "gru",
}


def refusal(layer: Any, cores: int = CORES) -> str | None:
    """Why this engine does not run a layer; None where it does."""
    why = cpu.refusal(layer)
    if why is not None:
        return why
    if _kind(layer) not in KINDS:
        return f"reset mode {layer.reset_mode}"
    hidden, item = _power(layer.hidden_size), np.dtype(layer.dtype).itemsize
    if persistent.spread(1, hidden, item, cores) is None:
        return f"{layer.hidden_size} hidden units on {cores} multiprocessors"
    return None


@dataclasses.dataclass(frozen=True)
class Fused:
    """One kind of layer as the kernel knows it; an engine of `recurrence`.

    Arguments:
        kind: one of `cells.CELLS`.
        state: name of the state's function.
        gate: name of the gates' function.
        cores: multiprocessors of the GPU.
        persistent: all steps in one launch; otherwise a launch a step, which needs no
            programs that run at the same time.
        interpret: by JAX on any device, for tests.
        units: hidden units of a program at most, a power of two.
    """

    kind: str
    state: str
    gate: str
    cores: int = CORES
    persistent: bool = True
    interpret: bool = False
    units: int = 1 << 30
    platform = "cuda"
    kept_axis = 0

    @classmethod
    def of(cls, layer: Any, **settings: Any) -> Fused:
        """The engine of a layer that is not refused."""
        functions = layer.state_activation, layer.gate_activation
        return cls(KINDS[_kind(layer)], *functions, **settings)

    def kept(self, *operands: Any, spec: Any) -> list[jax.ShapeDtypeStruct]:
        """What `run` keeps for `backward`: `(B, T, kept, H filled up)`."""
        x, _, state, _ = spec.parts(operands)
        shape = (*x.shape[:2], CELLS[self.kind].kept, _power(state.h.shape[-1]))
        return [jax.ShapeDtypeStruct(shape, x.dtype)]

    def run(self, *operands: Any, spec: Any, keep: bool) -> list[Any]:
        """`[ys, *state]`, and what is kept."""
        x, length, state, layer = spec.parts(operands)
        kept = self.kept(*operands, spec=spec) if keep else []
        if 0 in x.shape[:2]:
            return [
                *spec.apply(*operands),
                *(jnp.zeros(a.shape, a.dtype) for a in kept),
            ]
        hidden = state.h.shape[-1]
        loop, fill = self._loop(x, hidden, spec.reverse, keep)
        _, R, _, _ = self._arrays(layer)
        z = fill(self._sums(layer, _harmless(x, length)), 3)
        extra = CELLS[self.kind].kept - SLOTS if keep else 0
        z = jnp.pad(z, ((0, 0), (0, 0), (0, extra), (0, 0)))
        h, c = fill(state.h, 1), fill(getattr(state, "c", state.h), 1)
        lengths = fill(_lengths(x, length))
        z, ys, h, c = persistent.forward(loop, lengths, self._square(R, loop), z, h, c)
        crop = (slice(x.shape[0]), ..., slice(hidden))
        after = [h[crop], c[crop]][: len(state)]
        return [ys[crop], *after, *([z[: x.shape[0]]] if keep else [])]

    def backward(self, *operands: Any, spec: Any, which: tuple[bool, ...]) -> list[Any]:
        """The gradients of those operands that are asked for."""
        x, length, state, layer = spec.parts(operands)
        ys, kept, *slopes = operands[spec.count :]
        if 0 in x.shape[:2]:
            return spec.back(operands[: spec.count], slopes, which)
        hidden = state.h.shape[-1]
        loop, fill = self._loop(x, hidden, spec.reverse, keep=True)
        W, R, _, _ = self._arrays(layer)
        start, end = state[-1], slopes[-1]
        dz, dh, dc = persistent.backward(
            loop,
            fill(_lengths(x, length)),
            self._square(R, loop),
            fill(slopes[0], 2),
            fill(kept),
            fill(ys, 2),
            fill(start, 1),
            fill(slopes[1], 1),
            fill(end, 1),
        )
        crop = (slice(x.shape[0]), ..., slice(hidden))
        dz, dh, dc = dz[crop], dh[crop], dc[crop]
        inner = dz[:, :, np.array(CELLS[self.kind].products)]
        outer = dz[:, :, : len(layer.gates)]
        first = inner[:, -1 if spec.reverse else 0]
        dh = dh + dot(_flat(first, 1), _rows(R))
        before = _shifted(state.h, ys, spec.reverse)
        x = _harmless(x, length)
        dW, dR = _summed(outer, x), _summed(inner, before)
        sums, inner_sums = outer.sum((0, 1)), inner.sum((0, 1))
        dx = dot(_flat(outer, 2), _rows(W))
        lengths = [jnp.zeros(x.shape[0])] if spec.ragged else []
        states = [dh, dc][: len(state)]
        layers = jax.tree.leaves(_with(layer, dW, dR, sums, inner_sums))
        every = [dx, *lengths, *states, *layers]
        return [slope for slope, wanted in zip(every, which, strict=True) if wanted]

    def _loop(self, x: Any, hidden: int, reverse: bool, keep: bool) -> tuple[Loop, Any]:
        """How a run is spread, and what fills arrays up to its sizes."""
        batch, time, _ = x.shape
        width, item = _power(hidden), np.dtype(x.dtype).itemsize
        sizes = persistent.spread(batch, width, item, self.cores, self.units)
        assert sizes is not None, "refused before"
        rows, units, groups, slices = sizes

        def fill(a: Any, axis: int | None = None) -> Any:
            ends = [(0, 0)] * a.ndim
            ends[0] = (0, rows * groups - batch)
            if axis is not None:
                ends[axis] = (0, width - hidden)
            return jnp.pad(a, ends)

        return Loop(
            self.kind, self.state, self.gate, time, rows, units, groups, slices,
            reverse, keep, self.persistent, self.interpret,
        ), fill  # fmt: skip

    def _arrays(self, layer: Any) -> tuple[Any, Any, Any, Any]:
        """W `(G, H, C)`, R `(G, H, H)`, b `(G, H)` and recurrent b `(G, H)` or None."""
        gates = [getattr(layer, name) for name in layer.gates]
        W = jnp.stack([gate.input_weights for gate in gates])
        R = jnp.stack([gate.recurrent_weights for gate in gates])
        b = jnp.stack([gate.bias for gate in gates])
        if gates[0].recurrent_bias is None:
            return W, R, b, None
        return W, R, b, jnp.stack([gate.recurrent_bias for gate in gates])

    def _square(self, R: Any, loop: Loop) -> Any:
        """R of the slots, H filled up; zero where a cell wants no product."""
        width = loop.units * loop.slices
        slots = np.array(CELLS[self.kind].products)
        hidden = slice(R.shape[-1])
        all_zero = jnp.zeros((SLOTS, width, width), R.dtype)
        return all_zero.at[slots, hidden, hidden].set(R)

    def _sums(self, layer: Any, x: Any) -> Any:
        """`W x + b` in the slots of the cell: `(B, T, 4, H)`."""
        W, _, b, more = self._arrays(layer)
        z = dot(x, _rows(W).T).reshape(*x.shape[:2], *b.shape) + b
        if self.kind == "lstm":
            return z
        more = jnp.zeros_like(b) if more is None else more
        last = jnp.broadcast_to(more[2], z[:, :, 2].shape)
        return jnp.stack(
            [z[:, :, 0] + more[0], z[:, :, 1] + more[1], z[:, :, 2], last], axis=2
        )


def _kind(layer: Any) -> Any:
    return getattr(layer, "reset_mode", tuple(layer.gates))


def _power(hidden: int) -> int:
    """The power of two that is no smaller."""
    return 1 << max(0, hidden - 1).bit_length()


def _rows(weights: Any) -> Any:
    """`(G, H, K)` to `(G H, K)`."""
    return weights.reshape(-1, weights.shape[-1])


def _flat(dz: Any, leading: int) -> Any:
    """Gates and units as one axis."""
    return dz.reshape(*dz.shape[:leading], -1)


def _summed(dz: Any, factor: Any) -> Any:
    """The gradient of weights: `(G, H, K)`, summed over sequences and steps."""
    flat = dz.reshape(-1, dz.shape[2] * dz.shape[3])
    found = dot(flat.T, factor.reshape(-1, factor.shape[-1]))
    return found.reshape(*dz.shape[2:], -1)


def _shifted(h: Any, ys: Any, reverse: bool) -> Any:
    """The output before every step."""
    first = h[:, None]
    parts = [ys[:, 1:], first] if reverse else [first, ys[:, :-1]]
    return jnp.concatenate(parts, axis=1)


def _with(layer: Any, dW: Any, dR: Any, sums: Any, inner_sums: Any) -> Any:
    """The layer with gradients in the places of its arrays."""
    gates = {
        name: dataclasses.replace(
            gate,
            input_weights=dW[k],
            recurrent_weights=dR[k],
            bias=sums[k],
            recurrent_bias=None if gate.recurrent_bias is None else inner_sums[k],
        )
        for k, name in enumerate(layer.gates)
        for gate in (getattr(layer, name),)
    }
    return dataclasses.replace(layer, **gates)


def _harmless(x: Any, length: Any) -> Any:
    """The input with zeros beyond the ends, where a NaN would reach every weight."""
    if length is None:
        return x
    alive = jnp.arange(x.shape[1], dtype=length.dtype) < length[:, None]
    return jnp.where(alive[:, :, None], x, 0)


def _lengths(x: Any, length: Any) -> Any:
    return jnp.full(x.shape[0], x.shape[1], "int32") if length is None else length
