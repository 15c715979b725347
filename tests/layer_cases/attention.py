"""Attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from jlstm import layers as L
from jlstm.pytree import Shape

from .case import (
    SIX,
    VECTORS,
    Case,
    Rng,
    normal,
    tensor,
)


def attention(
    q: Any, k: Any, v: Any, heads: int, causal: bool, scale: Any
) -> np.ndarray:
    """torch's scaled dot-product attention, one head after the other."""
    parts = [np.split(np.asarray(a), heads, axis=1) for a in (q, k, v)]
    results = []
    for head in zip(*parts, strict=True):
        q1, k1, v1 = (tensor(part)[None] for part in head)
        y = F.scaled_dot_product_attention(q1, k1, v1, is_causal=causal, scale=scale)
        results.append(y[0].numpy())
    return np.concatenate(results, axis=1)


def self_attention(layer: Any, x: np.ndarray) -> np.ndarray:
    q, k, v = (
        x @ getattr(layer, f"{name}_weights").T + getattr(layer, f"{name}_bias")
        for name in ("query", "key", "value")
    )
    mixed = attention(q, k, v, layer.heads, layer.causal, layer.scale)
    return mixed @ layer.output_weights.T + layer.output_bias


def torch_multihead(layer: Any, x: np.ndarray) -> np.ndarray:
    """torch's own layer, which wants all widths equal."""
    width = x.shape[-1]
    module = torch.nn.MultiheadAttention(width, layer.heads, dtype=torch.float64)
    names = ("query", "key", "value")
    module.load_state_dict(
        {
            "in_proj_weight": torch.cat(
                [tensor(getattr(layer, f"{name}_weights")) for name in names]
            ),
            "in_proj_bias": torch.cat(
                [tensor(getattr(layer, f"{name}_bias")) for name in names]
            ),
            "out_proj.weight": tensor(layer.output_weights),
            "out_proj.bias": tensor(layer.output_bias),
        }
    )
    with torch.no_grad():
        return module(tensor(x), tensor(x), tensor(x), need_weights=False)[0].numpy()


def heads(
    c: int, k: int, v: int, o: int, number: int, **settings: Any
) -> Callable[[Rng], L.Layer]:
    def make(r: Rng) -> L.Layer:
        shapes = ((k, c), (k, c), (v, c), (o, v))
        arrays = [array for s in shapes for array in (normal(r, *s), normal(r, s[0]))]
        return L.SelfAttention(*arrays, heads=number, **settings)

    return make


CASES = [
    Case(
        "self-attention, widths all different",
        heads(5, 6, 4, 3, 2),
        (VECTORS,),
        self_attention,
        whole=True,
    ),
    Case(
        "self-attention, causal, another scale",
        heads(5, 6, 9, 4, 3, causal=True, scale=0.3),
        (VECTORS,),
        self_attention,
        whole=True,
    ),
    Case(
        "self-attention as torch has it",
        heads(6, 6, 6, 6, 3),
        (SIX,),
        torch_multihead,
        whole=True,
    ),
    Case(
        "self-attention along a line",
        heads(4, 6, 2, 5, 2),
        (Shape(False, (9,), 4),),
        self_attention,
        whole=True,
    ),
    Case(
        "attention between two sequences",
        lambda r: L.Attention(2),
        (Shape(True, (), 6), Shape(True, (), 6), Shape(True, (), 4)),
        lambda layer, q, k, v: attention(q, k, v, 2, False, None),
        steps=(7, 9, 9),
        whole=True,
    ),
    Case(
        "attention, causal, another scale",
        lambda r: L.Attention(3, causal=True, scale=0.4),
        (SIX, SIX, SIX),
        lambda layer, q, k, v: attention(q, k, v, 3, True, 0.4),
        whole=True,
    ),
]
