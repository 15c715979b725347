"""Tables of vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch.nn.functional as F

from jlstm import layers as L
from jlstm.pytree import Shape

from .case import (
    VECTORS,
    Case,
    Rng,
    normal,
    tensor,
)


def indices(*values: float) -> Callable[[Rng], tuple[np.ndarray, ...]]:
    return lambda r: (np.array(values, np.float64)[:, None],)


ONE = Shape(True, (), 1)

CASES = [
    Case(
        "embedding, counted from one",
        lambda r: L.Embedding(normal(r, 6, 3)),
        (ONE,),
        lambda layer, x: layer.weights[[2, 0, 5, 2]],
        data=indices(3, 1, 6, 3),
    ),
    Case(
        "embedding, counted from zero",
        lambda r: L.Embedding(normal(r, 6, 3), first_index=0),
        (ONE,),
        lambda layer, x: F.embedding(
            tensor(x[:, 0]).long(), tensor(layer.weights)
        ).numpy(),
        data=indices(3, 0, 5, 3),
    ),
    Case(
        "embedding, unknown words to the last row",
        lambda r: L.Embedding(normal(r, 6, 3), out_of_vocabulary="map-to-last"),
        (ONE,),
        lambda layer, x: layer.weights[[5, 1, 5, 5, 5, 5, 0]],
        data=indices(0, 2, 6, 7, np.nan, 1.5, 1),
    ),
    Case(
        "position embedding",
        lambda r: L.PositionEmbedding(normal(r, 9, 3)),
        (VECTORS,),
        lambda layer, x: layer.weights[[0, 1, 2, 3, 4, 5, 6]],
        whole=True,
    ),
]
