"""The layers without state once more in NumPy float64, from the equations of their
papers, and the functions used inside all layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray

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


# --- the layers without state ---------------------------------------------------------


def _input(p: dict[str, Any], x: Array) -> Array:
    for _ in range(2 if p.get("twice") else 1):
        if p["normalization"] in ("zerocenter", "zscore"):
            x = x - p["mean"]
        if p["normalization"] == "zscore":
            x = x / p["std"]
        if p["normalization"].startswith("rescale"):
            low, high = target(p)
            x = (x - p["minimum"]) / (p["maximum"] - p["minimum"]) * (high - low) + low
    return x


def target(p: dict[str, Any]) -> tuple[float, float]:
    """The range to which an input layer rescales."""
    symmetric = p["normalization"] == "rescale-symmetric"
    low, high = p["target"] or (-1.0 if symmetric else 0.0, 1.0)
    return low, high


def _flat(x: Array, space: int, order: str = "column-major") -> Array:
    lead = x.shape[: x.ndim - 1 - space]
    rows = x.reshape(-1, *x.shape[len(lead) :])
    memory = "F" if order == "column-major" else "C"
    return np.array([row.ravel(order=memory) for row in rows]).reshape(*lead, -1)


def _softmax(p: dict[str, Any], x: Array) -> Array:
    axis = p.get("axis", -1)
    if p.get("log"):
        x = x - x.max(axis, keepdims=True)
        return x - np.log(np.exp(x).sum(axis, keepdims=True))
    y = softmax(x, axis)
    return softmax(y, axis) if p.get("twice") else y


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
    "Softmax": _softmax,
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
