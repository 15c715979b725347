"""Results of fine-tuning that tests make up, without any training."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from networks import gru, lstm, normal

from jlstm import layers as L
from jlstm.config import as_config
from jlstm.dataset import Parts, Recording
from jlstm.finetuning import FineTuning
from jlstm.network import Network
from jlstm.scoring import measured, predicted
from jlstm.training.loop import MAX_EPOCHS
from jlstm.training.parameters import parameters, with_parameters

CLASSES = ("calm", "<script>alert(1)</script>", "a $b$ & 'c'")


def network(
    rng, outputs: int = 2, *, once: bool = False, classes: tuple[str, ...] = ()
) -> Network:
    """An LSTM of 4 units and a GRU of 5, of 3 inputs."""
    mode = "last" if once else "sequence"
    layers: dict[str, Any] = {
        "in": L.Input((3,)),
        "first": lstm(rng, 4, 3),
        "second": gru(rng, 5, 4, output_mode=mode),
        "fc": L.FullyConnected(normal(rng, outputs, 5), normal(rng, outputs)),
    }
    if classes:
        weights = 3 * normal(rng, outputs, 5)
        layers["fc"] = L.FullyConnected(weights, 0 * normal(rng, outputs))
        layers |= {"soft": L.Softmax(), "out": L.Classification(classes)}
    return Network.build(layers)


def moved(rng, net: Network, only: str = "") -> Network:
    """The network with its parameters shaken, all or those whose path holds `only`."""
    return with_parameters(
        net,
        {
            path: (a + 0.2 * rng.normal(size=a.shape)).astype(a.dtype)
            for path, a in parameters(net).items()
            if only in path
        },
    )


def recording(rng, net: Network, name: str, steps: int, missing: int = 0) -> Recording:
    """What another network makes of random input; some targets are missing."""
    x = rng.normal(size=(steps, 3)).astype("f4")
    y = np.asarray(predicted_by(moved(rng, net), x))
    if net.classes:
        y = np.eye(len(net.classes), dtype="f4")[rng.integers(0, 3, y.shape[:-1])]
    weights = np.ones_like(y)
    for t in rng.permutation(len(y))[:missing]:
        y[t], weights[t] = np.nan, 0
    return Recording(name, x, y, weights)


def predicted_by(net: Network, x: np.ndarray) -> np.ndarray:
    from jlstm.network import predict

    return np.array(predict(net, x))


def tuned(
    rng,
    net: Network | None = None,
    new: Network | None = None,
    parts: dict[str, list[Recording]] | None = None,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> FineTuning:
    """A result, as if `net` had become `new` in the second of three epochs."""
    net = network(rng) if net is None else net
    new = moved(rng, net, "'second'") if new is None else new
    if parts is None:
        parts = {
            "train": [recording(rng, net, "long.csv", 31)],
            "validation": [recording(rng, net, "v.csv", 30)],
            "test": [
                recording(rng, net, f"part {k} <b>$x$.csv", 30 + k % 2, k)
                for k in range(5)
            ],
        }
    settings = as_config(config or {"max_epochs": 3, "data": {"washout": 4}})
    whole = Parts(*(parts.get(name, []) for name in Parts._fields))
    found = {
        name: predicted(net, new, part, settings.data)
        for name, part in zip(Parts._fields, whole, strict=True)
        if part
    }
    classes = bool(net.classes)
    held = "validation_loss" if whole.validation else "loss_of_training_data"
    history = (
        {"epoch": 0, "steps": 0, held: 0.8},
        {"epoch": 1, "steps": 7, "training_loss": 0.9, held: 0.7, "seconds": 1.0},
        {"epoch": 2, "steps": 14, "training_loss": 0.6, held: 0.5, "seconds": 1.0},
        {"epoch": 3, "steps": 21, "training_loss": 0.4, held: 0.6, "seconds": 1.0},
    )
    given: dict[str, Any] = dict(
        net=new, last=new, history=history, reason=MAX_EPOCHS, best_epoch=2,
        before={n: measured(some, "before", classes) for n, some in found.items()},
        after={n: measured(some, "after", classes) for n, some in found.items()},
        trained=tuple(p for p in parameters(net) if "'second'" in p),
        frozen=sum("'second'" not in p for p in parameters(net)),
        imported=net, config=settings, learn_rates=(1e-2, 1e-3, 1e-4), own=(),
        predictions=found,
    )  # fmt: skip
    return FineTuning(**given | changes)


def kept_figures(monkeypatch) -> list[Figure]:
    """Figures as they are written, in order."""
    kept: list[Figure] = []
    original = Figure.savefig

    def savefig(self, *args, **kwargs):
        kept.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept
