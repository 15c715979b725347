"""The engine for processors: a C++ kernel behind XLA's foreign function interface.

It is built with the package where there is a C++ compiler (`cpp/`), and picks AVX-512,
AVX2, NEON or plain instructions when it is loaded. One call runs a whole sequence of a
layer, or its way back; the weights are packed into panels inside the call.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .products import dot

KINDS = {
    ("i", "f", "g", "o"): 0,
    "after-multiplication": 1,
    "recurrent-bias-after-multiplication": 1,
    "before-multiplication": 2,
}
"""Number of the cell in the kernel, by the gates of an LSTM or a GRU's reset mode."""
WORTH = 2.0
"""The kernel runs projected layers multiplied out, unless that makes so many times the
products of them: about as much as it is faster than `lax.scan`."""
STATE = {"tanh": 0, "softsign": 1, "relu": 2}
GATE = {"sigmoid": 0, "hard-sigmoid": 1}


@functools.cache
def kernel() -> Any:
    """The compiled module, its functions known to XLA.

    Raises:
        ImportError: the package was installed without it, or it was built for another
            jaxlib than the one that is here.
    """
    module: Any = importlib.import_module("jlstm.kernels._cpu")
    try:
        # Before there is a backend JAX would only note the functions down, and a
        # refusal would then take the whole backend along.
        jax.devices("cpu")
    except RuntimeError as error:
        raise ImportError(f"JAX has no processor to run on: {error}") from error
    try:
        for name, capsule in module.handlers().items():
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except RuntimeError as error:
        raise ImportError(
            f"it was built for another jaxlib than {version('jaxlib')}, which is "
            "here: pip install --no-build-isolation builds it for this one"
        ) from error
    return module


def words() -> str:
    """What the kernel makes use of."""
    return "instructions " + ", ".join(kernel().instructions())


def refusal(layer: Any) -> str | None:
    """Why this engine does not run a layer; None where it does."""
    beyond = getattr(layer, "extensions", ("no recurrent layer",))
    if beyond:
        return ", ".join(beyond)
    if tuple(layer.gates) not in (("i", "f", "g", "o"), ("r", "z", "n")):
        return "no LSTM or GRU"
    if getattr(layer, "peephole", None) is not None:
        return "peephole connections"
    if (saved := _saved(layer)) > WORTH:
        return f"projectors, which make its products {saved:.2g} times smaller"
    if np.dtype(layer.dtype) not in (np.float32, np.float64):
        return f"precision {layer.dtype}"
    return None


def multiplied_out(layer: Any) -> Any:
    """The same layer without projectors: `W (Q_in' x) = (W Q_in') x`, as `R` of `h`."""
    into, back = layer.input_projector, layer.output_projector
    if into is None and back is None:
        return layer
    gates = {}
    for name in layer.gates:
        gate = getattr(layer, name)
        w, r = gate.input_weights, gate.recurrent_weights
        gates[name] = dataclasses.replace(
            gate,
            input_weights=w if into is None else dot(w, into.T),
            recurrent_weights=r if back is None else dot(r, back.T),
        )
    return dataclasses.replace(
        layer, **gates, input_projector=None, output_projector=None
    )


def _saved(layer: Any) -> float:
    """How many times smaller projectors make the products of a step."""
    units, count = layer.hidden_size, len(layer.gates)
    whole = work = 0
    for wide, projector in (
        (layer.input_size, layer.input_projector),
        (units, layer.output_projector),
    ):
        narrow = 0 if projector is None else projector.shape[-1]
        whole += count * units * wide
        work += narrow * (wide + count * units) if narrow else count * units * wide
    return whole / work


@dataclasses.dataclass(frozen=True)
class Cpu:
    """One kind of layer as the kernel knows it; an engine of `recurrence`."""

    kind: int
    state: int
    gate: int
    platform = "cpu"
    kept_axis = 2
    """Where what is kept has its batch."""

    @classmethod
    def of(cls, layer: Any) -> Cpu:
        """The engine of a layer that is not refused."""
        kind = getattr(layer, "reset_mode", tuple(layer.gates))
        return cls(
            KINDS[kind], STATE[layer.state_activation], GATE[layer.gate_activation]
        )

    def kept(self, *operands: Any, spec: Any) -> list[jax.ShapeDtypeStruct]:
        """What `run` keeps for `backward`, in the kernel's own order."""
        x, _, state, _ = spec.parts(operands)
        batch, steps, _ = x.shape
        sizes = (self.kind, 1, 1, state.h.shape[-1])
        _, groups, _, *signals = kernel().saved_shape(*sizes, x.dtype == np.float64)
        # Batch and steps may be letters, in programs for any number of them.
        shape = (steps, groups, batch, *signals)
        return [jax.ShapeDtypeStruct(shape, x.dtype)]

    def run(self, *operands: Any, spec: Any, keep: bool) -> list[Any]:
        """`[ys, *state]`, and what is kept."""
        x, length, state, layer = spec.parts(operands)
        ys = jax.ShapeDtypeStruct((*x.shape[:2], state.h.shape[-1]), x.dtype)
        kept = self.kept(*operands, spec=spec) if keep else []
        results = [ys, *map(_like, jax.tree.leaves(state)), *kept]
        call = jax.ffi.ffi_call("jlstm_forward", results)
        return list(
            call(
                x,
                _lengths(x, length),
                *jax.tree.leaves(state),
                *self.weights(layer),
                **self._attributes(spec),
                save=np.int64(keep),
            )
        )

    def backward(self, *operands: Any, spec: Any, which: tuple[bool, ...]) -> list[Any]:
        """The gradients of those operands that are asked for."""
        x, length, state, layer = spec.parts(operands)
        ys, kept, *slopes = operands[spec.count :]
        weights = self.weights(layer)
        start = jax.tree.leaves(state)
        call = jax.ffi.ffi_call("jlstm_backward", [*map(_like, (x, *start, *weights))])
        dx, *rest = call(
            x,
            _lengths(x, length),
            *start,
            ys,
            kept,
            *slopes,
            *weights,
            **self._attributes(spec),
            need_dx=np.int64(which[0]),
        )
        lengths = [jnp.zeros(x.shape[0])] if spec.ragged else []
        states, gradients = rest[: len(start)], rest[len(start) :]
        layers = jax.tree.leaves(self._layer(layer, gradients))
        every = [dx, *lengths, *states, *layers]
        return [slope for slope, wanted in zip(every, which, strict=True) if wanted]

    def _attributes(self, spec: Any) -> dict[str, Any]:
        return {
            "kind": np.int64(self.kind),
            "state_activation": np.int64(self.state),
            "gate_activation": np.int64(self.gate),
            "reverse": np.int64(spec.reverse),
            "threads": np.int64(0),
        }

    def weights(self, layer: Any) -> list[Any]:
        """All W, all R, all b, and in the GRU that has them all recurrent b."""
        gates = [getattr(layer, name) for name in layer.gates]
        arrays = [gate.input_weights for gate in gates]
        arrays += [gate.recurrent_weights for gate in gates]
        arrays += [gate.bias for gate in gates]
        if self.kind == 1:
            none = jnp.zeros_like(gates[0].bias)
            arrays += [
                none if gate.recurrent_bias is None else gate.recurrent_bias
                for gate in gates
            ]
        return arrays

    def _layer(self, layer: Any, arrays: list[Any]) -> Any:
        """The layer with these arrays, in the order of `weights`, in their places."""
        rows = [iter(arrays[k :: len(layer.gates)]) for k in range(len(layer.gates))]
        gates = {
            name: dataclasses.replace(
                gate,
                input_weights=next(row),
                recurrent_weights=next(row),
                bias=next(row),
                recurrent_bias=None if gate.recurrent_bias is None else next(row),
            )
            for row, name in zip(rows, layer.gates, strict=True)
            for gate in (getattr(layer, name),)
        }
        return dataclasses.replace(layer, **gates)


def _like(a: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(a.shape, a.dtype)


def _lengths(x: Any, length: Any) -> Any:
    if length is not None:
        return length
    return jnp.full(x.shape[0], x.shape[1], "int32")
