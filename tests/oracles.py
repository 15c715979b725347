"""Recurrent layers computed by others: a NumPy loop, torch, Keras, onnxruntime.

Nothing here imports the package under test. Weights are a flat dict in float64, one
entry a gate and kind: "i.W" (H, C), "i.R" (H, H), "i.b" (H,), "n.br" (H,) the recurrent
bias, "i.p" (H,) the peephole, "Q_in" (C, P), "Q_out" (H, P). Sequences are (T, C).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import keras
import numpy as np
import onnx
import onnxruntime
import torch

Weights = dict[str, Any]


class Cell(NamedTuple):
    """A kind of recurrent layer: what a test is parametrised with."""

    kind: str
    state: str = "tanh"
    gate: str = "sigmoid"
    mode: str = ""
    peephole: bool = False
    projected: bool = False

    @property
    def gates(self) -> str:
        return "ifgo" if self.kind == "lstm" else "rzn"

    def __str__(self) -> str:
        words = [self.kind, self.state, self.gate, self.mode]
        words += ["peephole"] * self.peephole + ["projected"] * self.projected
        return " ".join(word for word in words if word)


AFTER, BEFORE = "after-multiplication", "before-multiplication"
BIASED = "recurrent-bias-after-multiplication"
FUNCTIONS = list(
    itertools.product(("tanh", "softsign", "relu"), ("sigmoid", "hard-sigmoid"))
)
LSTM_CELLS = [Cell("lstm", *functions) for functions in FUNCTIONS]
GRU_CELLS = [Cell("gru", mode=mode) for mode in (AFTER, BEFORE, BIASED)]
CELLS = [
    *LSTM_CELLS,
    Cell("lstm", peephole=True),
    Cell("lstm", "softsign", "hard-sigmoid", peephole=True),
    Cell("lstm", projected=True),
    *GRU_CELLS,
    Cell("gru", "softsign", "hard-sigmoid", AFTER),
    Cell("gru", "relu", "sigmoid", BEFORE),
    Cell("gru", mode=AFTER, projected=True),
    Cell("gru", mode=BEFORE, projected=True),
]


def draw(rng: np.random.Generator, cell: Cell, features: int, hidden: int) -> Weights:
    """Random weights of the scale that training leaves, a forget bias near one.

    They are rounded to single precision, so that both precisions compute the same net.
    """
    p_in, p_out = (2, hidden - 1) if cell.projected else (features, hidden)
    w: Weights = {}
    for gate in cell.gates:
        w[f"{gate}.W"] = rng.normal(size=(hidden, p_in)) * 0.8
        w[f"{gate}.R"] = rng.normal(size=(hidden, p_out)) / np.sqrt(hidden)
        w[f"{gate}.b"] = rng.normal(size=hidden) * 0.5 + (gate == "f")
        if cell.mode == BIASED:
            w[f"{gate}.br"] = rng.normal(size=hidden) * 0.5
        if cell.peephole and gate != "g":
            w[f"{gate}.p"] = rng.normal(size=hidden) * 0.5
    if cell.projected:
        w["Q_in"] = rng.normal(size=(features, p_in)) * 0.8
        w["Q_out"] = rng.normal(size=(hidden, p_out)) * 0.6
    return {name: value.astype(np.float32).astype(float) for name, value in w.items()}


# NumPy: every equation once more, one gate a line

NUMPY = {
    "tanh": np.tanh,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard-sigmoid": lambda x: np.clip(x / 5 + 1 / 2, 0, 1),
}


def loop(cell: Cell, w: Weights, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> dict:
    """Every signal over time, `(T, H)` each, by letter."""
    state, gate = NUMPY[cell.state], NUMPY[cell.gate]
    W = {k: w[f"{k}.W"] for k in cell.gates}
    R = {k: w[f"{k}.R"] for k in cell.gates}
    b = {k: w[f"{k}.b"] for k in cell.gates}
    if cell.projected:
        W = {k: W[k] @ w["Q_in"].T for k in W}
        R = {k: R[k] @ w["Q_out"].T for k in R}
    p = {k: w.get(f"{k}.p", 0.0) for k in cell.gates}
    br = {k: w.get(f"{k}.br", 0.0) for k in cell.gates}
    steps = []
    for x_t in x:
        if cell.kind == "lstm":
            i = gate(W["i"] @ x_t + R["i"] @ h + b["i"] + p["i"] * c)
            f = gate(W["f"] @ x_t + R["f"] @ h + b["f"] + p["f"] * c)
            g = state(W["g"] @ x_t + R["g"] @ h + b["g"])
            c = f * c + i * g
            o = gate(W["o"] @ x_t + R["o"] @ h + b["o"] + p["o"] * c)
            h = o * state(c)
            steps.append(dict(i=i, f=f, g=g, o=o, c=c, h=h))
            continue
        r = gate(W["r"] @ x_t + b["r"] + R["r"] @ h + br["r"])
        z = gate(W["z"] @ x_t + b["z"] + R["z"] @ h + br["z"])
        if cell.mode == BEFORE:
            n = state(W["n"] @ x_t + b["n"] + R["n"] @ (r * h))
        else:
            n = state(W["n"] @ x_t + b["n"] + r * (R["n"] @ h + br["n"]))
        h = (1 - z) * n + z * h
        steps.append(dict(r=r, z=z, n=n, h=h))
    return {name: np.stack([step[name] for step in steps]) for name in steps[0]}


def stack(w: Weights, order: str, kind: str, hidden: int) -> np.ndarray:
    """The gates one below the other; zeros where a gate has no such parameter."""
    return np.concatenate([w.get(f"{k}.{kind}", np.zeros(hidden)) for k in order])


# torch: i f g o and r z n, two biases


def torch_run(
    cell: Cell, ws: list[Weights], x, h, c, dtype: Any = np.float64
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`y (T, D H)` and the final `h, c (D, H)`; two directions where two weights."""
    hidden, features = ws[0][f"{cell.gates[0]}.W"].shape
    module = (torch.nn.LSTM if cell.kind == "lstm" else torch.nn.GRU)(
        features, hidden, bidirectional=len(ws) == 2
    )
    kind = torch.float64 if dtype == np.float64 else torch.float32
    arrays = {}
    for w, suffix in zip(ws, ("_l0", "_l0_reverse"), strict=False):
        arrays[f"weight_ih{suffix}"] = stack(w, cell.gates, "W", hidden)
        arrays[f"weight_hh{suffix}"] = stack(w, cell.gates, "R", hidden)
        arrays[f"bias_ih{suffix}"] = stack(w, cell.gates, "b", hidden)
        arrays[f"bias_hh{suffix}"] = stack(w, cell.gates, "br", hidden)
    module.to(kind).load_state_dict(
        {name: torch.as_tensor(value, dtype=kind) for name, value in arrays.items()}
    )
    x, h, c = (torch.as_tensor(np.asarray(v), dtype=kind) for v in (x, h, c))
    with torch.no_grad():
        if cell.kind == "lstm":
            y, (h, c) = module(x, (h.reshape(-1, hidden), c.reshape(-1, hidden)))
        else:
            y, h = module(x, h.reshape(-1, hidden))
    return y.numpy(), h.numpy(), c.reshape(-1, hidden).numpy()


# Keras: i f c o and z r h, kernels transposed

KERAS = {
    "tanh": "tanh",
    "softsign": "softsign",
    "relu": "relu",
    "sigmoid": "sigmoid",
    # Keras 3 calls another function hard_sigmoid: its slope is 1/6.
    "hard-sigmoid": lambda x: keras.ops.clip(0.2 * x + 0.5, 0, 1),
}


def keras_run(
    cell: Cell, ws: list[Weights], x, h, c, dtype: str = "float64", last: bool = False
) -> np.ndarray:
    """`y (T, D H)`, or `(D H,)` of the last step.

    On its torch backend Keras computes the form that resets before the product in
    single precision, whatever `dtype` says.
    """
    order = "ifgo" if cell.kind == "lstm" else "zrn"
    hidden = ws[0][f"{order[0]}.b"].size
    settings: dict[str, Any] = dict(
        activation=KERAS[cell.state], recurrent_activation=KERAS[cell.gate],
        return_sequences=not last, dtype=dtype,
    )  # fmt: skip
    if cell.kind == "lstm":
        layer = keras.layers.LSTM(hidden, **settings)
    else:
        layer = keras.layers.GRU(hidden, reset_after=cell.mode != BEFORE, **settings)
    if len(ws) == 2:
        layer = keras.layers.Bidirectional(layer, dtype=dtype)
    states = []
    for d in range(len(ws)):
        for value in (h, c) if cell.kind == "lstm" else (h,):
            rows = np.reshape(value, (-1, hidden))[d : d + 1]
            states.append(keras.ops.convert_to_tensor(rows, dtype=dtype))
    batch = keras.ops.convert_to_tensor(np.asarray(x)[None], dtype=dtype)
    layer.build((1, *np.shape(x)))
    arrays = []
    for w in ws:
        bias = stack(w, order, "b", hidden)
        if cell.kind == "gru" and cell.mode != BEFORE:
            bias = np.stack([bias, stack(w, order, "br", hidden)])
        kernels = (stack(w, order, kind, hidden).T for kind in "WR")
        arrays += [*kernels, bias]
    layer.set_weights(arrays)
    y: Any = layer(batch, initial_state=states)
    return y.detach().numpy()[0]


# ONNX: i o f c and z r h, peepholes i o f, single precision only

ONNX = {
    "tanh": "Tanh",
    "softsign": "Softsign",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "hard-sigmoid": "HardSigmoid",
}


def onnx_run(cell: Cell, ws: list[Weights], x, h, c) -> tuple[np.ndarray, np.ndarray]:
    """`y (T, D H)` and the final `h (D, H)`."""
    order = "iofg" if cell.kind == "lstm" else "zrn"
    directions, hidden = len(ws), ws[0][f"{order[0]}.b"].size
    arrays = {
        "W": np.stack([stack(w, order, "W", hidden) for w in ws]),
        "R": np.stack([stack(w, order, "R", hidden) for w in ws]),
        "B": np.stack([stack(w, order * 2, "b", hidden) for w in ws]),
        "h": np.reshape(h, (directions, 1, hidden)),
    }
    half = arrays["B"].shape[1] // 2
    arrays["B"][:, half:] = [stack(w, order, "br", hidden) for w in ws]
    functions = [ONNX[cell.gate], ONNX[cell.state]]
    attributes: dict[str, Any] = {}
    if cell.kind == "lstm":
        functions += [ONNX[cell.state]]
        arrays["c"] = np.reshape(c, (directions, 1, hidden))
        arrays["P"] = np.stack([stack(w, "iof", "p", hidden) for w in ws])
    else:
        attributes["linear_before_reset"] = int(cell.mode != BEFORE)
    if cell.gate == "hard-sigmoid":
        attributes["activation_alpha"] = [0.2] * directions
        attributes["activation_beta"] = [0.5] * directions
    node = onnx.helper.make_node(
        cell.kind.upper(),
        ["x", "W", "R", "B", "", "h", "c", "P"][: len(arrays) + 2],
        ["y", "y_h"],
        hidden_size=hidden,
        direction="bidirectional" if directions == 2 else "forward",
        activations=functions * directions,
        **attributes,
    )
    return _run_node(node, arrays, np.asarray(x, np.float32)[:, None])


def _run_node(node, arrays: dict, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = {"x": 3, "y": 4, "y_h": 3}
    value = {
        name: onnx.helper.make_tensor_value_info(
            name, onnx.TensorProto.FLOAT, [None] * rank
        )
        for name, rank in axes.items()
    }
    tensors = [
        onnx.numpy_helper.from_array(array.astype(np.float32), name)
        for name, array in arrays.items()
    ]
    graph = onnx.helper.make_graph(
        [node], "cell", [value["x"]], [value["y"], value["y_h"]], tensors
    )
    opset = onnx.helper.make_opsetid("", 14)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    y, y_h = (np.asarray(array) for array in session.run(None, {"x": x}))
    return y.reshape(len(y), -1), y_h[:, 0]
