"""Networks, numbers and torch's sums that the tests of the losses have in common."""

from __future__ import annotations

import networks
import numpy as np
import torch

from jlstm import layers as L
from jlstm.config import FineTuneConfig
from jlstm.network import Network
from jlstm.training.losses import loss

F = torch.nn.functional
T, R = 7, 3
DELTA = 0.7


def config(name="auto", **settings):
    return FineTuneConfig(loss=name, huber_transition=DELTA, **settings)


def network(*ends, width=R, mode="sequence"):
    """An LSTM, a dense layer and what a test puts at the end."""
    rng = np.random.default_rng(5)
    dense = L.FullyConnected(
        networks.normal(rng, width, 4), networks.normal(rng, width)
    )
    layers = {
        "in": L.Input((2,)),
        "lstm": networks.lstm(rng, 4, 2, output_mode=mode),
        "fc": dense,
    }
    return Network.build(layers | {f"end_{k}": end for k, end in enumerate(ends)})


def scorer(name, mode="sequence", width=R, **settings):
    """The loss of a network that suits it, by name."""
    ends = (L.Softmax(),) if name == "cross-entropy" else ()
    net = network(*ends, width=width, mode=mode)
    return loss(config(name, **settings), net)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def case(rng, name, shape=(T, R)):
    """y, target and weights of a sequence, scale: errors on both sides of DELTA."""
    y, target = rng.normal(size=shape), rng.normal(size=shape)
    if name == "cross-entropy":
        y, target = softmax(y), np.eye(R)[rng.integers(R, size=shape[:-1])]
    return y, target, np.ones(shape), rng.uniform(0.3, 2.0, size=shape[-1])


def by_torch(name, y, target, scale):
    """The sum over one sequence, from torch."""
    y, target, scale = map(torch.tensor, (y, target, scale))
    if name == "cross-entropy":
        truth = target.argmax(-1)
        return F.nll_loss(y.log(), truth, reduction="sum").item()
    if name == "nse":
        y, target = y / (scale + 0.1), target / (scale + 0.1)
    return {
        "half-mse": lambda: 0.5 * F.mse_loss(y, target, reduction="sum"),
        "mse": lambda: F.mse_loss(y, target, reduction="sum"),
        "nse": lambda: F.mse_loss(y, target, reduction="sum"),
        "mae": lambda: F.l1_loss(y, target, reduction="sum"),
        "huber": lambda: F.huber_loss(y, target, reduction="sum", delta=DELTA),
    }[name]().item()
