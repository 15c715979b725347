"""Stacks of recurrent layers and cells: written layer by layer, and read as layers.

    aten.lstm.input(input, hx, params, has_biases, num_layers, dropout, train,
                    bidirectional, batch_first)
    params      of each layer and direction: weight_ih, weight_hh, bias_ih, bias_hh,
                and weight_hr (P, H) of an LSTM with projections
    hx          (layers directions, batch, H), and for an LSTM the cell state

Rows i f g o, r z n. Source: `aten/src/ATen/native/RNN.cpp` and the reference pages of
torch.nn.LSTM, GRU, RNN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import layers as L
from ...activations import defaults
from ...recurrent import GRU, LSTM, RNN, Recurrent
from .. import _gates
from ..onnx_ops import Call
from ..onnx_ops.recurrent import check_axes, computed, state_axes
from ..onnx_ops.rnn_states import KINDS, Parts, start
from ..onnx_ops.views import channels, features
from ..onnx_values import Value, essence
from .lowering import Aten, operator

LSTM_OP, GRU_OP, RNN_OP = "LSTM", "GRU", "RNN"
STACKS = {
    "lstm": (LSTM_OP, ""), "gru": (GRU_OP, ""),
    "rnn_tanh": (RNN_OP, "tanh"), "rnn_relu": (RNN_OP, "relu"),
}  # fmt: skip
CELLS: dict[str, tuple[type, tuple[str, ...]]] = {
    LSTM_OP: (LSTM, _gates.TORCH_LSTM),
    GRU_OP: (GRU, _gates.TORCH_GRU),
    RNN_OP: (RNN, _gates.RNN_ORDER),
}
WEIGHTS = 5
"""What a direction has at most: weight_ih, weight_hh, bias_ih, bias_hh, weight_hr."""


@operator(*(f"{name}.input" for name in STACKS))
def _stack(call: Aten) -> None:
    op, function = STACKS[call.operation.target.split(".")[1]]
    x = call.tensor("input")
    states = call.tensors("hx") if op == LSTM_OP else [call.tensor("hx")]
    params, biased = call.tensors("params"), bool(call.arg("has_biases"))
    depth, both = call.number("num_layers"), bool(call.arg("bidirectional"))
    rate, training = call.number("dropout"), bool(call.arg("train"))
    first = bool(call.arg("batch_first"))
    if training and rate:
        call.refuse("dropout in training mode", do="call model.eval() before export")
    sets = _sets(call, params, depth * (1 + both), biased)
    name = call.operation.module or call.operation.name
    ends: list[list[str]] = [[] for _ in states]
    for k in range(depth):
        own = name if depth == 1 else f"{name}_l{k}"
        here = range(k * (1 + both), (k + 1) * (1 + both))
        given = [_part(call, state, here, depth) for state in states]
        last = k == depth - 1
        y = call.operation.outputs[0] if last else call.fresh()
        made = [call.fresh() for _ in states]
        call.node(
            op, _inputs(x, given, [sets[n] for n in here]), (y, *made),
            {"batch_first": first, "function": function}, called=own,
        )  # fmt: skip
        x = y
        if rate and not last:
            x = call.fresh()
            share = call.constant(float(rate))
            call.node("Dropout", (y, share), (x,), {}, called=f"{own}_dropout")
        for end, state in zip(ends, made, strict=True):
            end.append(state)
    for number, end in enumerate(ends, 1):
        call.output(number, "Concat", *end, axis=0)


def _sets(
    call: Aten, params: list[str], count: int, biased: bool
) -> list[tuple[str, ...]]:
    """The weights of each layer and direction, "" for what it does not have."""
    size, rest = divmod(len(params), max(count, 1))
    usual = 4 if biased else 2
    if rest or size not in (usual, usual + 1):
        call.refuse(
            "a number of weights that does not fit",
            found=f"{len(params)} for {count} layers and directions",
            expected=f"{usual} each, or one more with projections",
        )
    found = []
    for number in range(count):
        own = params[number * size : (number + 1) * size]
        projection = own[usual] if size > usual else ""
        biases = own[2:4] if biased else ["", ""]
        found.append((*own[:2], *biases, projection))
    return found


def _part(call: Aten, state: str, here: range, depth: int) -> str:
    """The rows of a stack's state that belong to one layer."""
    if depth == 1:
        return state
    return call.step("Slice", state, *map(call.constant, ([here[0]], [here[-1] + 1])))


def _inputs(x: str, states: list[str], sets: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The inputs of a node: ONNX's places for the sequence and the states."""
    ahead, *behind = sets
    states = [*states, "", ""][:2]
    return (x, *ahead[:4], *states, ahead[4], *(n for part in behind for n in part))


@operator("lstm_cell.default", "gru_cell.default", "rnn_tanh_cell.default",
          "rnn_relu_cell.default")  # fmt: skip
def _cell(call: Aten) -> None:
    """A cell is a layer that sees one step."""
    op, function = STACKS[call.operation.target.split(".")[1].removesuffix("_cell")]
    front = call.constant([0])
    x = call.step("Unsqueeze", call.tensor("input"), front)
    states = call.tensors("hx") if op == LSTM_OP else [call.tensor("hx")]
    given = [call.step("Unsqueeze", state, front) for state in states]
    biases = [call.optional(name) for name in ("b_ih", "b_hh")]
    weights = (call.tensor("w_ih"), call.tensor("w_hh"), *biases, "")
    made = [call.fresh() for _ in states]
    call.node(
        op, _inputs(x, given, [weights]), (call.fresh(), *made),
        {"batch_first": False, "function": function},
    )  # fmt: skip
    for number, state in enumerate(made):
        call.output(number, "Squeeze", state, front)


# --- the nodes, read ------------------------------------------------------------------


def read_recurrent(call: Call) -> list[Value]:
    """One layer, in one direction or in both."""
    cls, order = CELLS[call.node.op]
    kind = KINDS[call.node.op]._replace(order=order)
    batch_first, function = call.attr("batch_first"), call.attr("function")
    x = call.signal()
    if len(x.axes) != 3:
        call.refuse("not a sequence", found=str(x), expected="three axes")
    time, batch = (x.axes[1], x.axes[0]) if batch_first else (x.axes[0], x.axes[1])
    check_axes(call, x, time, essence(batch))
    x, place = features(call, x, 2)
    places = [(1, 2, 3, 4, 7)]
    if len(call.inputs) > 8:
        places.append((8, 9, 10, 11, 12))
    if call.build.stepping and len(places) > 1:
        call.refuse("a recurrence that runs backwards, in a model of single steps")
    made = [_layer(call, cls, order, own, place, function) for own in places]
    starts: dict[str, Value] = {
        port: start(call, call.given(5 + k), len(made), width, False)
        for k, (port, width) in enumerate(
            zip(kind.ports, made[0].state_sizes, strict=True)
        )
        if call.given(5 + k) is not None
    }
    parts = Parts(kind, made, False, x, time, batch, starts, False)
    y, states = computed(call, parts)
    axes = (batch, time) if batch_first else (time, batch)
    return [
        y.view((*axes, channels(y.shape.channels))),
        *(state_axes(parts, states.get(port)) for port in kind.ports),
    ]


def _layer(
    call: Call, cls: Any, order: tuple[str, ...], own: tuple[int, ...],
    place: np.ndarray, function: str,
) -> Recurrent:  # fmt: skip
    w, r = (call.weights(call.array(k, "weights")) for k in own[:2])
    biases = [call.optional(k, "a bias") for k in own[2:4]]
    projection = call.optional(own[4], "a projection")
    gates = len(order)
    hidden = r.shape[0] // gates if r.ndim == 2 else 0
    width = r.shape[1] if projection is not None and r.ndim == 2 else hidden
    fits = w.shape == (gates * hidden, len(place)) and r.shape == (
        gates * hidden, width
    )  # fmt: skip
    fits = fits and all(b is None or b.shape == (gates * hidden,) for b in biases)
    if not fits or not hidden or (projection is not None and cls is not LSTM):
        call.refuse(
            "weights that do not fit",
            found=f"{w.shape} and {r.shape}",
            expected=f"({gates} H, {len(place)}) and ({gates} H, H)",
        )
    if not np.array_equal(place, np.arange(len(place))):
        ordered = np.empty_like(w)
        ordered[:, place] = w
        w = ordered
    more: dict[str, Any] = {}
    zero = np.zeros(gates * hidden, w.dtype)
    bias, second = (zero if b is None else call.weights(b) for b in biases)
    if cls is GRU and biases[1] is not None:
        bias = np.concatenate([bias, second])
        more["reset_mode"] = "recurrent-bias-after-multiplication"
    else:
        bias = _gates.one_bias(bias, second)
    if projection is not None:
        more["projection"] = call.weights(projection)
    if function:
        more["state_activation"] = function
    return cls(**_gates.split(w, r, bias, order), **more)


def read_activation(call: Call) -> list[Value]:
    """A function of every value by itself."""
    name, constants = call.attr("function"), call.attr("constants")
    if constants == defaults(name):
        constants = ()
    return [call.layer(L.Activation(name, constants), call.signal())]


READERS = {
    LSTM_OP: read_recurrent,
    GRU_OP: read_recurrent,
    RNN_OP: read_recurrent,
    "Activation": read_activation,
}
"""Operators that ONNX does not have, or not so."""
