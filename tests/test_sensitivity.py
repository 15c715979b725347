"""Slopes over time, against differences of the equations, and the page about both."""

from __future__ import annotations

import re
from pathlib import Path

import cells
import networks
import numpy as np
import pytest
from dynamics import close, plant, refused, slopes, somewhere
from oracles import AFTER, Cell

import jlstm as jl
from jlstm import layers as L
from jlstm.linearization import linearize, sensitivity
from jlstm.network import Network, Node
from jlstm.recurrent import Bidirectional

LSTM, GRU = Cell("lstm"), Cell("gru", mode=AFTER)


@pytest.mark.parametrize(("output", "at"), [(0, None), (1, 4), (1, -2), (0, 0)])
@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
def test_sensitivity(cell, output, at, rng, double):
    system = plant(rng, cell, LSTM, after=("tanh", ""))
    x = system.mean + rng.normal(size=(7, 3))
    s = somewhere(rng, system)[0]
    found = sensitivity(
        system.net.astype("float64"), x, output, at, state=system.state(s)
    )
    row = 6 if at is None else at

    def y(flat):
        return system.run(s, flat.reshape(x.shape))[1][row, [output]]

    close(found, slopes(y, x.ravel())[0].reshape(x.shape))
    assert isinstance(found, np.ndarray) and found.shape == (7, 3)
    assert not found[row % 7 + 1 :].any() and np.abs(found[row]).min() > 0


def test_sensitivity_that_looks_ahead_and_of_the_last_step(rng, double):
    ws, h, c, layer, state = cells.both(LSTM, rng)
    dense = cells.dense(rng, 2 * cells.H)
    x = cells.sequence(rng, 6)
    for mode in ("sequence", "last"):
        layers = {"in": L.Input((3,)), "bi": Bidirectional(layer.forward,
                  layer.backward, mode), "fc": dense}  # fmt: skip
        net = Network.build(layers, initial={"bi": state}).astype("float64")

        def y(flat, mode=mode):
            ahead, back = cells.both_loops(LSTM, ws, flat.reshape(6, 3), h, c)
            both = np.hstack([ahead["h"], back["h"]])[2]
            if mode == "last":
                both = np.concatenate([ahead["h"][-1], back["h"][0]])
            return cells.affine(dense, both)[[1]]

        found = sensitivity(net, x, 1, 2 if mode == "sequence" else None)
        close(found, slopes(y, x.ravel())[0].reshape(x.shape))
        assert np.abs(found).min() > 0
    refused("last step only", sensitivity, net, x, 1, 5)


def test_it_is_the_impulse_response_of_the_linear_system(rng, double):
    """At an equilibrium: D, CB, CAB, ... backwards in time, and their sum the gain."""
    system = plant(rng, GRU, LSTM)
    net = system.net.astype("float64")
    x0 = system.mean + 0.1
    at = linearize(net, x0, "equilibrium")
    found = sensitivity(net, np.tile(x0, (400, 1)), 1, state=at.state0)
    wanted, states = [at.D[1]], at.C[1]
    for _ in range(399):
        wanted.append(states @ at.B)
        states = states @ at.A
    close(found[::-1], np.stack(wanted), 1e-10)
    close(found.sum(0), at.dc_gain[1], 1e-8)


def test_sensitivity_of_several_inputs(rng, double):
    layers = {"b": L.Input((2,)), "a": L.Input((3,)), "c": L.Concatenation(),
              "fc": cells.dense(rng, 5, 2)}  # fmt: skip
    graph = [Node("b", ()), Node("a", ()), Node("c", ("b", "a")), Node("fc", ("c",))]
    net = Network.build(layers, graph).astype("float64")
    b, a = sensitivity(net, (np.ones((4, 2)), np.ones((4, 3))), 1, 2)
    weights = layers["fc"].weights[1]
    close(b, np.outer(np.arange(4) == 2, weights[:2]), 1e-15)
    close(a, np.outer(np.arange(4) == 2, weights[2:]), 1e-15)


def test_outputs_that_do_not_exist(rng):
    net = networks.small(rng)
    x = np.ones((5, 2))
    for output in (2, -1, 0.0, True, "fc", None):
        refused("no such output", sensitivity, net, x, output)
    for at in (5, -6, 1.0, False):
        refused("no such at", sensitivity, net, x, 0, at)
    refused("not finite", sensitivity, net, x * np.nan)
    refused("this is one step", sensitivity, net, x[0])
    refused("looks like a batch", sensitivity, net, x[None])
    two = net.replace(outputs=("lstm", "fc"))
    refused("several output layers", sensitivity, two, x)


# --- the page -------------------------------------------------------------------------


def test_the_page_runs():
    page = Path(jl.__file__).parent.parent / "docs" / "differentiate.md"
    found: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, str(page), "exec"), found)
    assert found["error"][1] < found["error"][0] / 3
    n, m = len(found["system"].s0), len(found["x0"])
    close(found["system"].A[n - 32 :, :32], found["dF"]["lstm_2"].c["lstm_1"].h, 1e-5)
    close(found["by_input"], sensitivity(found["net"], found["x"]), 1e-5)
    assert found["S"].shape == (240, m)
