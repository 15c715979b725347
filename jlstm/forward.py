"""The forward pass: every layer of the graph in turn.

It computes what `predict` and `step` return, and what training needs besides: sequences
that are shorter than the array they lie in, and dropout that drops.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .errors import InputError
from .graph import PORTS
from .kernels import rematerialised
from .layers import Dropout, Indexing1D
from .pytree import Array
from .recurrent import Recurrent

State = dict[str, Any]
"""The state of every recurrent layer by name."""


def forward(
    net: Any,
    xs: dict[str, Array],
    state: State,
    *,
    whole: bool = True,
    trace: bool = False,
    length: Array | None = None,
    key: Array | None = None,
    engine: str = "xla",
    rematerialise: bool = False,
) -> tuple[State, dict[str, Array], dict[str, Array]]:
    """Evaluate the graph, over a whole sequence or over one step.

    Arguments:
        net: a `Network`.
        xs: inputs by name, in the precision of the parameters.
        state: where every recurrent layer starts.
        whole: a sequence `(time, ...)`; one step otherwise.
        trace: also return the inner signals of recurrent layers.
        length: the steps of the sequence, where the array is longer: after them every
            state stands still, a backward direction starts there, and "last" means
            there. Outputs after it mean nothing.
        key: draws what dropout drops, anew for every number and every step, as MATLAB
            does; without it dropout is the identity.
        engine: what runs recurrent layers; see `kernels.scan`.
        rematerialise: less memory in training for more time: the way back has the
            states between chunks of steps, and runs the network again in each. Where
            layers look beyond a chunk, or dropout draws, each recurrent layer is run
            so by itself.

    Returns:
        the states after the sequence, the outputs of all layers, and the signals.

    Raises:
        InputError: `length` with a layer that looks at all steps at once.
    """
    if rematerialise and whole and not trace and _cuttable(net, key):
        return _in_chunks(net, xs, state, length, engine)
    values: dict[str, Array] = {}
    signals: dict[str, Array] = {}
    after: State = {}
    how = {"trace": trace, "engine": engine, "rematerialise": rematerialise}
    for number, (name, refs) in enumerate(net.graph):
        layer = net.layers[name]
        given = [values[ref] for ref in refs] or [xs[name]]
        if isinstance(layer, Recurrent):
            x, mask, *brought = given if layer.masked else (given[0], None, *given[1:])
            start = type(state[name])(*brought) if brought else state[name]
            if whole:
                end, y, inner = _run(layer, start, x, mask, length, how)
            else:
                end, y, inner = layer.step(start, x, mask)
            after[name], values[name] = end, y
            for port, value in zip(PORTS, end, strict=False):
                values[f"{name}/{port}"] = value
            if trace:
                signals |= {f"{name}.{key_}": value for key_, value in inner.items()}
        elif isinstance(layer, Dropout) and key is not None:
            values[name] = _drop(layer, jax.random.fold_in(key, number), given[0])
        elif length is not None and looks_at_all_steps(layer):
            values[name] = _short(name, layer, given[0], length)
        else:
            values[name] = layer(*given)
        if trace:
            signals[name] = values[name]
    return after, values, signals


def looks_at_all_steps(layer: Any) -> bool:
    """Whether steps after the end of a sequence would change its answer.

    Recurrent layers are none of these: they stop at the end.
    """
    last = isinstance(layer, Indexing1D) and layer.axis == "time"
    whole = layer.needs_whole_sequence and not isinstance(layer, Recurrent)
    return bool(last or whole)


def _cuttable(net: Any, key: Array | None) -> bool:
    """Whether nothing but the states of recurrent layers passes from step to step.

    What dropout drops is drawn for all steps at once.
    """
    layers = net.layers.values()
    return (
        len(net.inputs) == 1
        and all(net.shapes[name].time for name in net.layers)
        and not any(layer.needs_whole_sequence for layer in layers)
        and not any("/" in ref for node in net.graph for ref in node.inputs)
        and (key is None or not any(isinstance(layer, Dropout) for layer in layers))
    )


def _in_chunks(
    net: Any, xs: dict[str, Array], state: State, length: Array | None, engine: str
) -> tuple[State, dict[str, Array], dict[str, Array]]:
    (name,) = net.inputs

    def run(state: State, x: Array, length: Array | None, mask: Array | None) -> Any:
        after, values, _ = forward(net, {name: x}, state, length=length, engine=engine)
        return after, {layer: values[layer] for layer in net.layers}

    whole = rematerialised(run, reverse=False)
    return *whole(state, xs[name], length, None), {}


def _run(
    layer: Recurrent,
    state: Any,
    x: Array,
    mask: Array | None,
    length: Array | None,
    how: dict[str, Any],
) -> Any:
    if x.ndim > 1:
        return layer.run(state, x, length, mask, **how)
    # A feature vector is a sequence of one step, as in MATLAB.
    mask = None if mask is None else mask[None]
    state, y, signals = layer.run(state, x[None], None, mask, **how)
    return state, y.reshape(y.shape[-1:]), signals


def _drop(layer: Dropout, key: Array, x: Array) -> Array:
    kept = 1 - layer.probability
    mask = jax.random.bernoulli(key, kept, x.shape)
    return jnp.where(mask, x / jnp.asarray(kept, x.dtype), jnp.zeros_like(x))


def _short(name: str, layer: Any, x: Array, length: Array) -> Array:
    if isinstance(layer, Indexing1D):
        place = 0 if layer.position == "first" else length - 1
        return jax.lax.dynamic_index_in_dim(x, place, keepdims=False)
    raise InputError(
        f"layer '{name}' looks at all steps at once",
        found="sequences of different length in one batch",
        expected="one length",
        do="cut the data into windows of one length",
    )
