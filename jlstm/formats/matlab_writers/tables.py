"""Embedding and attention."""

from __future__ import annotations

import numpy as np

from ... import layers as L
from .registry import Parameter, Place, Written, writer


@writer(L.Embedding)
def _embedding(layer: L.Embedding, place: Place) -> Written:
    if layer.first_index != 1:
        place.refuse(
            f"indices from {layer.first_index}",
            "it counts from 1",
            "count from 1: first_index=1, and one more in the data",
        )
    mode = layer.out_of_vocabulary
    rows, dimension = layer.weights.shape
    words = rows - (mode == "map-to-last")
    return Written(
        "WordEmbeddingLayer",
        "wordEmbeddingLayer",
        "R2023b" if mode == "error" else "R2018b",
        (dimension, words),
        parameters={"Weights": Parameter(np.asarray(layer.weights).T, (".weights",))},
        properties={"Dimension": dimension, "NumWords": words, "OOVMode": mode},
        # Since R2023b; before, all other words had the last column.
        options={"OOVMode": mode} if mode == "error" else {},
    )


@writer(L.PositionEmbedding)
def _position(layer: L.PositionEmbedding, place: Place) -> Written:
    longest, width = layer.weights.shape
    return Written(
        "PositionEmbeddingLayer",
        "positionEmbeddingLayer",
        "R2023b",
        (width, longest),
        parameters={"Weights": Parameter(np.asarray(layer.weights).T, (".weights",))},
        properties={"OutputSize": width, "MaxPosition": longest},
    )


@writer(L.SelfAttention)
def _self_attention(layer: L.SelfAttention, place: Place) -> Written:
    if layer.scale is not None:
        place.refuse(f"scale {layer.scale}", "selfAttentionLayer sets the scale itself")
    parameters = {}
    for part in ("query", "key", "value", "output"):
        for word, columns in (("weights", ()), ("bias", (1,))):
            array = np.asarray(getattr(layer, f"{part}_{word}"))
            parameters[f"{part.capitalize()}{word.capitalize()}"] = Parameter(
                array.reshape(*array.shape, *columns), (f".{part}_{word}",)
            )
    keys, values = layer.query_weights.shape[0], layer.value_weights.shape[0]
    return Written(
        "SelfAttentionLayer",
        "selfAttentionLayer",
        "R2023a",
        (layer.heads, keys),
        settings={
            "NumValueChannels": values,
            "OutputSize": layer.output_weights.shape[0],
            "AttentionMask": "causal" if layer.causal else "none",
        },
        parameters=parameters,
        properties={"NumHeads": layer.heads, "NumKeyChannels": keys},
    )


@writer(L.Attention)
def _attention(layer: L.Attention, place: Place) -> Written:
    return Written(
        "AttentionLayer",
        "attentionLayer",
        "R2024a",
        (layer.heads,),
        settings={
            "AttentionMask": "causal" if layer.causal else "none",
            "Scale": "auto" if layer.scale is None else float(layer.scale),
        },
        properties={"NumHeads": layer.heads},
    )
