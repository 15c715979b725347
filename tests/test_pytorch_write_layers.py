"""Every layer without state, written for PyTorch and run by torch.

The answers are those of the oracles of the table of layers, in float64.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from foreign_nets import normal, off
from layer_cases import CASES
from layer_cases.case import Case
from layer_nets import examples, network, wanted

from jlstm import layers as L
from jlstm.errors import Unsupported
from jlstm.formats import proof, pytorch
from jlstm.network import Network

TOLERANCE = 1e-6
REFUSED = {
    "conv1d symmetric-include-edge": "torch has no such padding",
    "average pool 1d without its padding": "leave the padding out",
    "average pool 2d without its padding": "leave the padding out",
    "average pool 2d same, one image": "leave the padding out",
    "every second channel, backwards": "does not count backwards",
} | {case.name: "is not written" for case in CASES if "attention" in case.name}


@pytest.fixture(autouse=True)
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what takes long: golden vectors, which no test here looks at."""
    monkeypatch.setattr(proof, "computed", lambda net: [])
    monkeypatch.setattr(proof, "accepted", lambda net, records: 1e-5)


def run(net: Network, folder: Path, xs: list[np.ndarray]) -> np.ndarray:
    """What the module answers to a batch; it comes back bit for bit, too."""
    path, module = pytorch.save(net, folder / "net.pt")
    again, _ = pytorch.load(path)
    for mine, theirs in zip(*map(jax.tree.leaves, (net, again)), strict=True):
        assert (mine.shape, mine.tobytes()) == (theirs.shape, theirs.tobytes())
    ready: Any = runpy.run_path(str(module))["load"](path)
    given = [torch.from_numpy(x) for x in xs]
    with torch.no_grad():
        y, _ = ready(given if len(given) > 1 else given[0])
    return y.numpy()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_layer(case: Case, tmp_path: Path) -> None:
    net = network(case)
    if case.name in REFUSED:
        with pytest.raises(Unsupported, match=REFUSED[case.name]) as refusal:
            pytorch.save(net, tmp_path / "net.pt")
        assert "'layer'" in str(refusal.value.place)
        return
    given = examples(case, 3)
    xs = [np.stack(column) for column in zip(*given, strict=True)]
    found = run(net, tmp_path, xs)
    assert off(found, wanted(case, given)) < TOLERANCE


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_as_much_padding_as_the_length_asks_for(steps: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights, bias = normal(rng, 3, 4, 2), normal(rng, 2)
    conv = L.Convolution1D(weights, bias, stride=2, padding="same")
    net = Network.build({"x": L.Input((4,)), "conv": conv})
    x = normal(rng, 2, steps, 4)
    found = run(net, tmp_path, [x])
    # The windows begin at 2 t - before; Keras's rule.
    before = max((-(-steps // 2) - 1) * 2 + 3 - steps, 0) // 2
    wide = np.pad(x.astype(float), ((0, 0), (before, 3), (0, 0)))
    wanted = [
        sum(wide[:, 2 * t + k] @ weights[k].astype(float) for k in range(3)) + bias
        for t in range(-(-steps // 2))
    ]
    assert off(found, np.stack(wanted, 1)) < TOLERANCE


def test_single_numbers_and_statistics_over_space(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    mean, std = normal(rng, 5, 1), np.exp(normal(rng, 5, 4))
    scale, offset, alpha = (np.float32(v) for v in (1.5, -0.5, 0.3))
    layers = {
        "x": L.Input((5, 4), normalization="zscore", mean=mean, std=std),
        "scale": L.Scaling(np.asarray(scale), np.asarray(offset)),
        "prelu": L.PReLU(np.asarray(alpha)),
    }
    x = normal(rng, 2, 6, 5, 4)
    found = run(Network.build(layers), tmp_path, [x])
    value = 1.5 * (x.astype(float) - mean) / std - 0.5
    assert off(found, np.where(value > 0, value, alpha * value)) < TOLERANCE
