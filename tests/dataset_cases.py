"""Networks and recordings that the tests of `jlstm.dataset` have in common."""

from __future__ import annotations

import networks
import numpy as np

from jlstm import layers as L
from jlstm.config import Data
from jlstm.dataset import Recording
from jlstm.network import Network

NAMES = Data(inputs=("X",), targets=("Y",))
STEPS, FEATURES, OUTPUTS = 7, 3, 2


def network(
    rng, outputs=OUTPUTS, *, classes=(), once=False, features=FEATURES, least=1
):
    mode = "last" if once else "sequence"
    layers = {
        "in": L.Input((features,), min_length=least),
        "lstm": networks.lstm(rng, 5, features, output_mode=mode),
        "fc": L.FullyConnected(
            networks.normal(rng, outputs, 5), networks.normal(rng, outputs)
        ),
    }
    if classes:
        layers |= {"softmax": L.Softmax(), "out": L.Classification(classes)}
    return Network.build(layers)


def same(recording, x, y, weights=None):
    assert recording.x.dtype == recording.y.dtype == recording.weights.dtype == "f4"
    assert np.array_equal(recording.x, np.asarray(x, "f4"))
    assert np.array_equal(recording.y, np.asarray(y, "f4"), equal_nan=True)
    expected = np.ones(np.shape(y)) if weights is None else weights
    assert np.array_equal(recording.weights, expected)


def cells(*items):
    """A cell array of N x 1."""
    cell = np.empty((len(items), 1), object)
    cell[:, 0] = items
    return cell


def made(steps, name="r", start=0, outputs=1):
    """A recording whose input counts its steps."""
    count = np.arange(start, start + steps, dtype="f4")
    y = np.stack([count * 10 + k for k in range(outputs)], 1)
    return Recording(name, count[:, None], y, np.ones_like(y))


def once(steps, name):
    return made(steps, name)._replace(y=np.ones(2, "f4"), weights=np.ones(2, "f4"))


def steps_of(recordings):
    return [one.x[:, 0].astype(int).tolist() for one in recordings]
