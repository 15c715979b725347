"""Embedding and attention."""

from __future__ import annotations

from ... import layers as L
from ...pytree import Shape
from ..fields import Fields
from .learnable import learnable
from .registry import Built, reader


@reader("WordEmbeddingLayer")
def _word_embedding(f: Fields, inputs: list[Shape]) -> Built:
    parameter = learnable(f, "Weights")
    weights = parameter.array
    words = f.integers("NumWords", default=(weights.shape[1] - 1,))[0]
    extra = weights.shape[1] - words
    # Without the mode, the file is from before R2023b: the last column was the vector
    # of all other words.
    mode = f.text("OOVMode", default="map-to-last" if extra == 1 else "error")
    if (mode, extra) not in (("map-to-last", 1), ("error", 0)):
        f.refuse("Weights", f"{weights.shape[1]} columns, {mode}", f"{words} words")
    f.ignore("Dimension", "Vocabulary")
    layer = L.Embedding(weights.T.copy(), out_of_vocabulary=mode)
    return Built(layer, factors=parameter.factors(".weights"))


@reader("PositionEmbeddingLayer")
def _position_embedding(f: Fields, inputs: list[Shape]) -> Built:
    parameter = learnable(f, "Weights")
    along = f.text("PositionDimension", default="auto")
    if along not in ("auto", "temporal"):
        f.refuse("PositionDimension", along, "auto or temporal")
    f.ignore("OutputSize", "MaxPosition")
    layer = L.PositionEmbedding(parameter.array.T.copy())
    return Built(layer, factors=parameter.factors(".weights"))


def _heads(f: Fields) -> tuple[int, bool]:
    """Number of heads, and whether steps see only the past."""
    for name in ("HasPaddingMaskInput", "HasScoresOutput"):
        if f.flag(name, default=False):
            f.refuse(name, True, "false")
    mask = f.take("AttentionMask", default="none")
    if not isinstance(mask, str) or mask not in ("none", "causal"):
        f.refuse("AttentionMask", mask, "none or causal")
    f.ignore("DropoutProbability")
    return f.integers("NumHeads")[0], mask == "causal"


@reader("SelfAttentionLayer")
def _self_attention(f: Fields, inputs: list[Shape]) -> Built:
    heads, causal = _heads(f)
    arrays, factors = {}, []
    for part in ("Query", "Key", "Value", "Output"):
        weights, name = learnable(f, f"{part}Weights"), part.lower()
        bias = learnable(f, f"{part}Bias")
        arrays[f"{name}_weights"] = weights.array
        arrays[f"{name}_bias"] = bias.array.reshape(-1)
        factors += weights.factors(f".{name}_weights") + bias.factors(f".{name}_bias")
    f.ignore("NumKeyChannels", "NumValueChannels", "OutputSize", "InputSize")
    layer = L.SelfAttention(**arrays, heads=heads, causal=causal)
    notices = []
    if inputs and not inputs[0].time and not inputs[0].space:
        notices.append("it gets one step only, which attends to nothing but itself")
    return Built(layer, factors=factors, notices=notices)


@reader("AttentionLayer")
def _attention(f: Fields, inputs: list[Shape]) -> Built:
    heads, causal = _heads(f)
    scale = f.take("Scale", default="auto")
    scale = None if isinstance(scale, str) and scale == "auto" else f.number("Scale")
    return Built(L.Attention(heads, causal, scale))
