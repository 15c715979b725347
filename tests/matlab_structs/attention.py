"""Embedding and self-attention."""

from __future__ import annotations

from typing import Any

from matlab_files import MatlabOpaque, flag, number

from .base import Rng, layer, learnable, normal


def self_attention(
    rng: Rng, name: str, inputs: int, heads: int, keys: int, values: int, outputs: int,
    **fields: Any,
) -> MatlabOpaque:  # fmt: skip
    struct: dict[str, Any] = {
        "NumHeads": number(heads),
        "NumKeyChannels": number(keys),
        "NumValueChannels": "auto" if values == keys else number(values),
        "OutputSize": "auto" if outputs == inputs else number(outputs),
        "InputSize": number(inputs),
        "HasPaddingMaskInput": flag(False),
        "AttentionMask": "none",
        "DropoutProbability": number(0.1),
        "HasScoresOutput": flag(False),
    }
    rows = {"Query": keys, "Key": keys, "Value": values, "Output": outputs}
    for part, count in rows.items():
        columns = values if part == "Output" else inputs
        struct[f"{part}Weights"] = learnable(normal(rng, count, columns))
        struct[f"{part}Bias"] = learnable(normal(rng, count, 1), decay=0.0)
    return layer("SelfAttentionLayer", name, **struct | fields)


def word_embedding(
    rng: Rng, name: str, width: int, words: int, **fields: Any
) -> MatlabOpaque:
    """The last column is the vector of all other words."""
    struct = {
        "Dimension": number(width),
        "NumWords": number(words),
        "Weights": learnable(normal(rng, width, words + 1)),
    }
    return layer("WordEmbeddingLayer", name, **struct | fields)
