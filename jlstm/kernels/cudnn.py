"""The engine for NVIDIA GPUs that is NVIDIA's: cuDNN, through `jax.experimental.rnn`.

LSTM with tanh and sigmoid in float32. cuDNN packs the weights as W, R, b, and a second
b that is zero here, rows i f g o. What differs from jlstm's answers is mended:

    outputs after a sequence's end      0 there; here the state that stands still
    from the last step to the first     each sequence is turned around, and back
    sequences of no step                one step of zeros, which nobody sees

Products are in float32 throughout, not in TF32. What jaxlib's call brings along: it
waits for the lengths of the sequences at every call, always keeps what training needs,
and counts the bytes of that in 32 bits (`LARGEST`).

It was compared with `jax.experimental.rnn.lstm_ref`, but never run on a GPU.

Source: docs.nvidia.com/deeplearning/cudnn, cudnnRNNForward and cudnnRNNBackwardData_v8;
jaxlib/gpu/rnn_kernels.cc.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import rnn as experimental

from . import cpu

rnn: Any = experimental

LARGEST = 1 << 26
"""B T H of a call; above it `lax.scan` runs. cuDNN keeps less than 32 bytes of each."""


def missing() -> str | None:
    """Why cuDNN cannot be called; None where it can."""
    if hasattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes"):
        return None
    return "jaxlib has no cuDNN (pip install 'jlstm[cuda13]' or 'jlstm[cuda12]')"


def refusal(layer: Any) -> str | None:
    """Why cuDNN does not run a layer; None where it does."""
    why = cpu.refusal(layer)
    if why is not None:
        return why
    if tuple(layer.gates) != ("i", "f", "g", "o"):
        return "no LSTM"
    if (layer.state_activation, layer.gate_activation) != ("tanh", "sigmoid"):
        return f"activations {layer.state_activation}, {layer.gate_activation}"
    if np.dtype(layer.dtype) != np.float32:
        return f"precision {layer.dtype}"
    return None


@dataclasses.dataclass(frozen=True)
class Cudnn:
    """cuDNN's LSTM; an engine of `recurrence`.

    Arguments:
        tf32: products in TF32, which is faster and costs three digits.
    """

    tf32: bool = False
    platform = "cuda"
    kept_axis = None
    """What is kept is one block of bytes."""

    def kept(self, *operands: Any, spec: Any) -> list[jax.ShapeDtypeStruct]:
        """cuDNN's reserve space."""
        x, _, state, layer = spec.parts(operands)
        if _unfit(x, state.h):
            return [jax.ShapeDtypeStruct((0,), x.dtype)]
        lengths = jax.ShapeDtypeStruct(x.shape[:1], "int32")
        given = x, lengths, state.h, state.c, layer
        return [jax.eval_shape(self._forward, *given)[-1]]

    def run(self, *operands: Any, spec: Any, keep: bool) -> list[Any]:
        """`[ys, *state]`, and what is kept."""
        x, length, state, layer = spec.parts(operands)
        if _unfit(x, state.h):
            kept = [jnp.zeros(0, x.dtype)] if keep else []
            return [*spec.apply(*operands), *kept]
        order = _Order(x, length, spec.reverse)
        given = order.given(x), order.lengths, state.h, state.c
        y, h, c, reserve = self._forward(*given, layer)
        h, c = order.or_start(h, state.h), order.or_start(c, state.c)
        standing = state.h if spec.reverse else h
        ys = order.turned(order.within(y, standing[:, None]))
        return [ys, h, c, *([reserve] if keep else [])]

    def backward(self, *operands: Any, spec: Any, which: tuple[bool, ...]) -> list[Any]:
        """The gradients of those operands that are asked for."""
        x, length, state, layer = spec.parts(operands)
        ys, reserve, dys, dh, dc = operands[spec.count :]
        if _unfit(x, state.h):
            return spec.back(operands[: spec.count], (dys, dh, dc), which)
        order = _Order(x, length, spec.reverse)
        dys = order.turned(dys)
        standing = order.beyond(dys)
        if not spec.reverse:
            dh = dh + standing
        y, dy = order.within(order.turned(ys), 0), order.within(dys, 0)
        zero = jnp.zeros_like(dh)
        dx, dh0, dc0, dw, _ = rnn.lstm_bwd(
            *self._sizes(x, dh),
            (
                order.given(x), state.h[None], state.c[None], _packed(layer),
                order.lengths, y, _copied(reserve, order.lengths),
            ),
            (dy, order.or_start(dh, zero)[None], order.or_start(dc, zero)[None]),
        )  # fmt: skip
        dh0, dc0 = order.or_start(dh0[0], dh), order.or_start(dc0[0], dc)
        if spec.reverse:
            dh0 = dh0 + standing
        dx = order.turned(order.within(dx, 0))
        lengths = [jnp.zeros(x.shape[0])] if spec.ragged else []
        every = [dx, *lengths, dh0, dc0, *jax.tree.leaves(_unpacked(layer, dw))]
        return [slope for slope, wanted in zip(every, which, strict=True) if wanted]

    def _forward(self, x: Any, lengths: Any, h: Any, c: Any, layer: Any) -> Any:
        """`y, h', c'` and the reserve space."""
        given = x, h[None], c[None], _packed(layer), lengths
        (y, h_n, c_n), kept = rnn.lstm_fwd(*given, *self._sizes(x, h))
        return y, h_n[0], c_n[0], kept[-1]

    def _sizes(self, x: Any, h: Any) -> tuple[Any, ...]:
        """C, H, one layer, no dropout, one direction, precision."""
        precision = lax.Precision.HIGH if self.tf32 else lax.Precision.HIGHEST
        return x.shape[-1], h.shape[-1], 1, 0.0, False, precision


class _Order:
    """Sequences as cuDNN wants them: from the first step on, at least one long."""

    def __init__(self, x: Any, length: Any, reverse: bool) -> None:
        count, time = x.shape[:2]
        self.length, self.reverse = length, reverse
        if length is None:
            self.lengths = jnp.full(count, time, "int32")
            return
        steps = jnp.arange(time, dtype="int32")
        self.alive = steps < length[:, None]
        self.lengths = jnp.maximum(length, 1)
        self.places = jnp.where(self.alive, length[:, None] - 1 - steps, steps)

    def turned(self, a: Any) -> Any:
        """Each sequence turned around, what lies beyond its end left there."""
        if not self.reverse:
            return a
        if self.length is None:
            return a[:, ::-1]
        return jnp.take_along_axis(a, self.places[:, :, None], axis=1)

    def within(self, a: Any, other: Any) -> Any:
        """`other` in place of what lies beyond the end."""
        if self.length is None:
            return a
        return jnp.where(self.alive[:, :, None], a, other)

    def beyond(self, a: Any) -> Any:
        """The sum of what lies beyond the end."""
        if self.length is None:
            return jnp.zeros_like(a[:, 0])
        return jnp.where(self.alive[:, :, None], 0, a).sum(1)

    def or_start(self, a: Any, start: Any) -> Any:
        """`start` for the sequences of no step."""
        if self.length is None:
            return a
        return jnp.where((self.length > 0)[:, None], a, start)

    def given(self, x: Any) -> Any:
        """The input, with nothing in it beyond the end that could do harm."""
        return self.turned(self.within(x, 0))


def _unfit(x: Any, h: Any) -> bool:
    """Whether a run has nothing in it, or more than jaxlib can count."""
    size = x.shape[0] * x.shape[1] * h.shape[-1]
    return not 0 < size <= LARGEST


def _copied(reserve: Any, lengths: Any) -> Any:
    """The reserve space once more, since cuDNN's way back writes into it.

    XLA does not know that no length is negative, and so cannot leave the copy out.
    """
    whole = lax.bitcast_convert_type(reserve, "int32")
    nothing = jnp.minimum(lengths[0], 0)
    return lax.bitcast_convert_type(whole + nothing, reserve.dtype)


def _packed(layer: Any) -> Any:
    """All parameters in one row, as cuDNN wants them."""
    gates = [getattr(layer, name) for name in layer.gates]
    parts = [jnp.ravel(gate.input_weights) for gate in gates]
    parts += [jnp.ravel(gate.recurrent_weights) for gate in gates]
    parts += [gate.bias for gate in gates]
    return jnp.concatenate([*parts, jnp.zeros(4 * layer.hidden_size, parts[0].dtype)])


def _unpacked(layer: Any, row: Any) -> Any:
    """The layer with the arrays of `_packed` in their places."""
    hidden, features = layer.hidden_size, layer.input_size
    shapes = [(4, hidden, features), (4, hidden, hidden), (4, hidden)]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = jnp.split(row, ends)
    W, R, b = (a.reshape(s) for a, s in zip(parts, shapes, strict=False))
    gates = {
        name: dataclasses.replace(
            getattr(layer, name),
            input_weights=W[k],
            recurrent_weights=R[k],
            bias=b[k],
        )
        for k, name in enumerate(layer.gates)
    }
    return dataclasses.replace(layer, **gates)
