"""Weights that are stored as a length and a direction, put together again.

    w = g v / |v|      |v| over every axis but those that g has

`torch.nn.utils.weight_norm` stores `weight_g` and `weight_v`, its successor among the
parametrizations `parametrizations.weight.original0` and `original1`. Source: reference
pages torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .pytorch_tensors import Tensor

OLD = re.compile(r"((?:.*\.)?weight(?:_(?:ih|hh|hr)(?:_l\d+(?:_reverse)?)?)?)_g")
NEW = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.original0")


def with_norms(tensors: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tensors with every such pair as the weight that it is, and what was done."""
    pairs = {g: pair for g in tensors if (pair := _pair(g, tensors)) is not None}
    if not pairs:
        return tensors, ()
    directions = {v for _, v in pairs.values()}
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if name in pairs:
            weight, v = pairs[name]
            found[weight] = _product(tensor, tensors[v])
        elif name not in directions:
            found[name] = tensor
    shown = ", ".join(weight for weight, _ in [*pairs.values()][:20])
    return found, (f"weight normalisation computed: {shown}",)


def _pair(length: str, tensors: dict[str, Any]) -> tuple[str, str] | None:
    """The name of the weight, and of its direction; None if this is no length."""
    if match := OLD.fullmatch(length):
        weight, v = match[1], f"{match[1]}_v"
    elif match := NEW.fullmatch(length):
        weight, v = match[1] + match[2], f"{length.removesuffix('0')}1"
    else:
        return None
    if v not in tensors or weight in tensors:
        return None
    g, direction = tuple(tensors[length].shape), tuple(tensors[v].shape)
    fits = g == () or (
        len(g) == len(direction)
        and all(n in (1, size) for n, size in zip(g, direction, strict=True))
    )
    kinds = {str(tensors[name].dtype) for name in (length, v)}
    return (weight, v) if fits and len(kinds) == 1 else None


def _product(length: Any, direction: Any) -> np.ndarray:
    g, v = (
        np.asarray(part.numpy() if isinstance(part, Tensor) else part)
        for part in (length, direction)
    )
    axes = tuple(k for k in range(v.ndim) if g.ndim == 0 or g.shape[k] == 1)
    wide = v.astype(np.float64)
    norm = np.sqrt(np.sum(wide * wide, axis=axes, keepdims=True))
    with np.errstate(all="ignore"):
        return (wide * (g.astype(np.float64) / norm)).astype(v.dtype)
