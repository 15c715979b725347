"""Networks in NumPy, float64, from the equations: what compiled networks are held to.

    outputs, states = evaluate(net, inputs)      # inputs (T, ...) or (...), one a name

Nothing of the package computes here; its classes only tell the settings.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from jlstm import layers as L
from jlstm.activations import parse
from jlstm.recurrent import GRU, LSTM, RNN, Bidirectional


def sigmoid(x):
    return special.expit(x)


def softplus(x):
    return np.logaddexp(x, 0)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


FUNCTIONS: dict[str, Any] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard-sigmoid": lambda x, a=0.2, b=0.5: np.clip(a * x + b, 0, 1),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x, a=0.01: np.where(x > 0, x, a * x),
    "clipped-relu": lambda x, top: np.clip(x, 0, top),
    "thresholded-relu": lambda x, a=1.0: np.where(x > a, x, 0),
    "elu": elu,
    "selu": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    "celu": lambda x, a=1.0: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) / a)),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu-tanh": lambda x: (
        x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    ),
    "swish": lambda x: x * sigmoid(x),
    "hard-swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "softplus": softplus,
    "log-sigmoid": lambda x: -softplus(-x),
    "scaled-tanh": lambda x, a, b: a * np.tanh(b * x),
    "affine": lambda x, a, b=0.0: a * x + b,
    "exponential": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "square": np.square,
    "abs": np.abs,
    "reciprocal": lambda x: 1 / x,
}


def apply(spec, x):
    name, constants = parse(spec)
    return FUNCTIONS[name](x, *constants)


# --- recurrent layers: one loop, one line a gate --------------------------------------


def wide(a):
    return np.asarray(a, float)


def lstm_step(p, x, h, c):
    if p.input_projector is not None:
        x = wide(p.input_projector).T @ x
    back = h if p.output_projector is None else wide(p.output_projector).T @ h
    bound = math.inf if p.clip is None else p.clip

    def z(gate, seen=None, peep=None):
        total = wide(gate.input_weights) @ x + wide(gate.recurrent_weights) @ back
        total = total + wide(gate.bias)
        return total if seen is None else total + wide(peep) * seen

    def gate(value):
        return apply(p.gate_activation, np.clip(value, -bound, bound))

    peep = p.peephole
    i = gate(z(p.i) if peep is None else z(p.i, c, peep.i))
    f = gate(z(p.f) if peep is None else z(p.f, c, peep.f))
    if p.coupled:
        f = 1 - i
    g = apply(p.state_activation, np.clip(z(p.g), -bound, bound))
    c = f * c + i * g
    if p.cell_clip is not None:
        c = np.clip(c, -p.cell_clip, p.cell_clip)
    o = gate(z(p.o) if peep is None else z(p.o, c, peep.o))
    h = o * apply(p.output_activation or p.state_activation, c)
    return (h if p.projection is None else wide(p.projection) @ h), c


def gru_step(p, x, h):
    if p.input_projector is not None:
        x = wide(p.input_projector).T @ x
    bound = math.inf if p.clip is None else p.clip

    def back(gate, value):
        if p.output_projector is not None:
            value = wide(p.output_projector).T @ value
        product = wide(gate.recurrent_weights) @ value
        return product + (
            0 if gate.recurrent_bias is None else wide(gate.recurrent_bias)
        )

    def forth(gate):
        return wide(gate.input_weights) @ x + wide(gate.bias)

    def bounded(spec, value):
        return apply(spec, np.clip(value, -bound, bound))

    r = bounded(p.gate_activation, forth(p.r) + back(p.r, h))
    z = bounded(p.gate_activation, forth(p.z) + back(p.z, h))
    inner = back(p.n, r * h) if p.reset_mode.startswith("before") else r * back(p.n, h)
    n = bounded(p.state_activation, forth(p.n) + inner)
    return ((1 - z) * n + z * h,)


def rnn_step(p, x, h):
    z = wide(p.n.input_weights) @ x + wide(p.n.recurrent_weights) @ h + wide(p.n.bias)
    bound = math.inf if p.clip is None else p.clip
    return (apply(p.state_activation, np.clip(z, -bound, bound)),)


STEPS = {LSTM: lstm_step, GRU: gru_step, RNN: rnn_step}


def run(layer, state, x, mask, backwards=False):
    """All outputs in the order of time, and the state at the end of the run."""
    state = tuple(map(wide, state))
    outputs = np.zeros((len(x), layer.output_size))
    order = range(len(x))
    for t in reversed(order) if backwards else order:
        if mask is None or mask[t, 0] != 0:
            state = STEPS[type(layer)](layer, x[t], *state)
        outputs[t] = state[0]
    return outputs, state


def recurrent(layer, state, x, mask):
    flat = x.ndim == 1
    x, mask = (x[None], None if mask is None else mask[None]) if flat else (x, mask)
    last = flat or layer.output_mode == "last"
    if not isinstance(layer, Bidirectional):
        outputs, state = run(layer, state, x, mask)
        return (state[0] if last else outputs), state
    ahead, first = run(layer.forward, state.forward, x, mask)
    behind, second = run(layer.backward, state.backward, x, mask, True)
    a, b = (first[0], second[0]) if last else (ahead, behind)
    merged = {
        "concat": lambda: np.concatenate([a, b], -1),
        "sum": lambda: a + b,
        "mul": lambda: a * b,
        "ave": lambda: (a + b) / 2,
    }
    return merged[layer.merge](), (first, second)


# --- layers without state -------------------------------------------------------------


def standard(x, axes, layer):
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    y = (x - mean) / np.sqrt(variance + layer.epsilon)
    return wide(layer.scale) * y + wide(layer.offset)


def layer_normalization(p, x):
    axes = {
        "channels": (-1,),
        "spatial-channels": tuple(range(-1 - p.space, 0)),
        "time-channels": tuple(range(x.ndim)),
    }
    return standard(x, axes[p.over], p)


def group_normalization(p, x):
    parts = np.split(x, p.groups, -1)
    scales, offsets = (np.split(wide(a), p.groups) for a in (p.scale, p.offset))
    done = []
    for part, scale, offset in zip(parts, scales, offsets, strict=True):
        spread = np.sqrt(part.var() + p.epsilon)
        done.append(scale * (part - part.mean()) / spread + offset)
    return np.concatenate(done, -1)


PAD_MODES: dict[str, Any] = {
    "symmetric-include-edge": "symmetric",
    "symmetric-exclude-edge": "reflect",
    "replicate": "edge",
}


def padded(x, window, value):
    """Along axis -2, and how many numbers are padding."""
    before, after = window.widths(x.shape[-2])
    widths = [(0, 0)] * (x.ndim - 2) + [(before, after), (0, 0)]
    if isinstance(value, str):
        return np.pad(x, widths, mode=PAD_MODES[value])
    return np.pad(x, widths, constant_values=value)


def convolution(p, x):
    weights, window = wide(p.weights), p.window
    taps, each, outputs = weights.shape
    many = window.count(x.shape[-2])
    x = padded(x, window, p.padding_value)
    y = np.zeros((*x.shape[:-2], many, outputs))
    part = outputs // p.groups
    for t in range(many):
        for o in range(outputs):
            block = slice((o // part) * each, (o // part + 1) * each)
            for k in range(taps):
                row = x[..., t * p.stride + k * p.dilation, block]
                y[..., t, o] += row @ weights[k, :, o]
    return y + wide(p.bias)


def pooling(p, x):
    window = p.window
    many = window.count(x.shape[-2])
    value = np.nan if p.kind == "max" or p.padding_value == "mean" else p.padding_value
    x = padded(x, window, value)
    reduce = {"max": np.nanmax, "average": np.nanmean}[p.kind]
    rows = [
        reduce(x[..., t * p.stride : t * p.stride + p.size, :], -2) for t in range(many)
    ]
    return np.stack(rows, -2)


def global_pooling(p, x):
    reduce = np.max if p.kind == "max" else np.mean
    return reduce(x, -2, keepdims=p.axis == "space")


def embedding(p, x):
    row = x[..., 0] - p.first_index
    known = (row >= 0) & (row < len(p.weights)) & (row == np.floor(row))
    vectors = wide(p.weights)[np.where(known, row, -1).astype(int)]
    if p.out_of_vocabulary == "map-to-last":
        return vectors
    return np.where(known[..., None], vectors, np.nan)


def input_layer(p, x):
    if p.mean is not None:
        x = x - wide(p.mean)
    if p.std is not None:
        x = x / wide(p.std)
    if p.minimum is not None:
        low, high = (
            p.target
            or {
                "rescale-symmetric": (-1, 1),
                "rescale-zero-one": (0, 1),
            }[p.normalization]
        )
        span = wide(p.maximum) - wide(p.minimum)
        x = low + (high - low) * (x - wide(p.minimum)) / span
    return x


def flat(x, space, order="column-major"):
    lead = x.shape[: x.ndim - 1 - space]
    if order == "row-major":
        return x.reshape(*lead, -1)
    steps = x.reshape(-1, *x.shape[x.ndim - 1 - space :])
    return np.array([step.ravel(order="F") for step in steps]).reshape(*lead, -1)


def fully_connected(p, x):
    x = flat(x, p.flatten) if p.flatten else x
    return x @ wide(p.weights).T + wide(p.bias)


def batch_normalization(p, x):
    spread = np.sqrt(wide(p.variance) + p.epsilon)
    return wide(p.scale) * (x - wide(p.mean)) / spread + wide(p.offset)


def softmax(p, x):
    return (special.log_softmax if p.logarithm else special.softmax)(x, axis=-1)


def counts(value, x):
    return np.any(x != value, -1, keepdims=True).astype(float)


def elementwise(operation):
    def combine(p, *xs):
        if p.spaces:
            most = max(p.spaces)
            xs = [
                x.reshape(*x.shape[:-1], *[1] * (most - space), x.shape[-1])
                for x, space in zip(xs, p.spaces, strict=True)
            ]
        result = xs[0]
        for x in xs[1:]:
            result = operation(result, x)
        return result

    return combine


def concatenation(p, *xs):
    axis = -1 if isinstance(p.axis, str) else p.axis - p.space - 1
    return np.concatenate(xs, axis)


def cut(p, x):
    return x[..., p.part] if p.axis == "channels" else x[p.part]


def lengthened(p, x):
    widths = [(0, 0)] * (x.ndim - 2) + [(p.before, p.after), (0, 0)]
    if isinstance(p.value, str):
        return np.pad(x, widths, mode=PAD_MODES[p.value])
    return np.pad(x, widths, constant_values=p.value)


def bounded(p, x):
    low = -np.inf if p.lower is None else p.lower
    return np.clip(x, low, np.inf if p.upper is None else p.upper)


def same(p, x):
    return x


LAYERS: dict[type, Any] = {
    L.Input: input_layer,
    L.Identity: same,
    L.Dropout: same,
    L.Regression: same,
    L.Classification: same,
    L.Activation: lambda p, x: FUNCTIONS[p.name](x, *p.constants),
    L.PReLU: lambda p, x: np.where(x > 0, x, wide(p.alpha) * x),
    L.Softmax: softmax,
    L.FullyConnected: fully_connected,
    L.Flatten: lambda p, x: flat(x, p.space, p.order),
    L.Scaling: lambda p, x: wide(p.scale) * x + wide(p.offset),
    L.BatchNormalization: batch_normalization,
    L.LayerNormalization: layer_normalization,
    L.GroupNormalization: group_normalization,
    L.InstanceNormalization: lambda p, x: standard(x, tuple(range(x.ndim - 1)), p),
    L.Convolution1D: convolution,
    L.Pooling1D: pooling,
    L.GlobalPooling1D: global_pooling,
    L.Indexing1D: lambda p, x: x[..., 0 if p.position == "first" else -1, :],
    L.Embedding: embedding,
    L.PositionEmbedding: lambda p, x: wide(p.weights)[: len(x)],
    L.Mask: lambda p, x: counts(p.value, x),
    L.Masking: lambda p, x: x * counts(p.value, x),
    L.Concatenation: concatenation,
    L.Addition: elementwise(np.add),
    L.Subtraction: elementwise(np.subtract),
    L.Multiplication: elementwise(np.multiply),
    L.Division: elementwise(np.divide),
    L.Maximum: elementwise(np.maximum),
    L.Minimum: elementwise(np.minimum),
    L.Flip: lambda p, x: x[::-1],
    L.Repeat: lambda p, x: np.repeat(x[None], p.steps, 0),
    L.FlattenTime: lambda p, x: x.reshape(-1),
    L.Slice: cut,
    L.UnflattenTime: lambda p, x: x.reshape(p.steps, -1),
    L.Clip: bounded,
    L.ErrorFunction: lambda p, x: special.erf(x),
    L.Crop1D: lambda p, x: x[..., p.start : p.stop : p.step, :],
    L.Padding1D: lengthened,
}


def evaluate(net, inputs, state=None) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Outputs in the order of the network, and the states after the run."""
    state = net.initial if state is None else state
    given = dict(zip(net.inputs, map(wide, inputs), strict=True))
    values: dict[str, np.ndarray] = {}
    after: dict[str, Any] = {}
    for name, refs in net.graph:
        layer: Any = net.layers[name]
        xs = [values[ref] for ref in refs] or [given[name]]
        if type(layer) in LAYERS:
            values[name] = LAYERS[type(layer)](layer, *xs)
            continue
        x, mask, *brought = xs if layer.masked else (xs[0], None, *xs[1:])
        values[name], end = recurrent(layer, brought or state[name], x, mask)
        after[name] = end
        for port, part in zip(layer.ports, end, strict=False):
            values[f"{name}/{port}"] = part
    return [values[ref] for ref in net.outputs], after
