"""Networks that branch, join, hand states over, look both ways, or are deep."""

from __future__ import annotations

import numpy as np
import pytest
from cells import C, H, affine, both_loops, dense, draw, error, make, sequence, single
from oracles import AFTER, Cell, loop, torch_run

from jlstm.layers import Concatenation, Input
from jlstm.network import Network, Node, init_state, predict, step
from jlstm.recurrent import Bidirectional, GRUState

LSTM, GRU = Cell("lstm"), Cell("gru", mode=AFTER)


@pytest.fixture
def diamond(rng):
    """Two inputs, one branch each, joined; the second branch is an output as well."""
    w_a, w_b = draw(rng, LSTM), draw(rng, GRU)
    layers = {
        "a": Input((C,)), "b": Input((C,)), "lstm": single(make(LSTM, w_a)),
        "gru": single(make(GRU, w_b)), "cat": Concatenation(), "fc": dense(rng, 2 * H),
    }  # fmt: skip
    graph = [
        Node("fc", ("cat",)), Node("cat", ("gru", "lstm")), Node("a", ()),
        Node("gru", ("b",)), Node("b", ()), Node("lstm", ("a",)),
    ]  # fmt: skip
    net = Network.build(layers, graph, outputs=["fc", "gru"])
    x_a, x_b, zero = sequence(rng), sequence(rng), np.zeros(H)
    lstm, gru = (
        loop(LSTM, w_a, x_a, zero, zero)["h"],
        loop(GRU, w_b, x_b, zero, zero)["h"],
    )
    return net, x_a, x_b, affine(layers["fc"], np.hstack([gru, lstm])), gru


def test_two_inputs_and_two_outputs(diamond):
    net, x_a, x_b, fc, gru = diamond
    assert net.inputs == ("a", "b") and net.outputs == ("fc", "gru")
    for given in ((x_a, x_b), [x_a, x_b], {"b": x_b, "a": x_a}):
        y = predict(net, given)
        assert isinstance(y, tuple)
        assert error(y[0], fc) <= 1e-6 and error(y[1], gru) <= 1e-6
    assert error(predict(net, (x_b, x_a))[0], fc) > 1e-2
    state = init_state(net)
    for t in range(3):
        state, y = step(net, state, (x_a[t], x_b[t]))
        assert error(y[0], fc[t]) <= 1e-6 and error(y[1], gru[t]) <= 1e-6


def test_order_is_topological_and_otherwise_as_given(diamond):
    net = diamond[0]
    assert [node.name for node in net.graph] == ["a", "b", "gru", "lstm", "cat", "fc"]
    # Without `outputs`, what nothing consumes.
    assert Network.build(net.layers, net.graph).outputs == ("fc",)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
def test_state_ports_hand_the_state_over(cell, rng):
    """Encoder and decoder: the second layer starts where the first has ended."""
    w_1, w_2 = draw(rng, cell), draw(rng, cell)
    ports = ("encoder/hidden", "encoder/cell")[: 1 + (cell.kind == "lstm")]
    layers = {
        "past": Input((C,)), "future": Input((C,)),
        "encoder": single(make(cell, w_1)), "decoder": single(make(cell, w_2)),
    }  # fmt: skip
    graph = [
        Node("past", ()), Node("future", ()), Node("encoder", ("past",)),
        Node("decoder", ("future", *ports)),
    ]  # fmt: skip
    net = Network.build(layers, graph, outputs=["decoder", *ports])
    past, future, zero = sequence(rng), sequence(rng, 4), np.zeros(H)
    first = loop(cell, w_1, past, zero, zero)
    end = [first[k][-1] for k in ("h", "c") if k in first]
    wanted = loop(cell, w_2, future, end[0], end[-1])["h"]
    y, *states = predict(net, (past, future))
    assert error(y, wanted) <= 1e-6
    for found, value in zip(states, end, strict=True):
        assert error(found, value) <= 1e-6
    assert error(wanted, loop(cell, w_2, future, zero, zero)["h"]) > 1e-2


def test_bidirectional_network(rng):
    ws = [draw(rng, GRU), draw(rng, GRU)]
    pair = Bidirectional(make(GRU, ws[0]), make(GRU, ws[1]), "last")
    net = Network.build(
        {"in": Input((C,)), "both": single(pair), "fc": dense(rng, 2 * H)}
    )
    x, zero = sequence(rng), np.zeros((2, H))
    forward, backward = both_loops(GRU, ws, x, zero, zero)
    ends = np.concatenate([forward["h"][-1], backward["h"][0]])
    y, state, trace = predict(net, x, return_state=True, trace=True)
    assert error(y, affine(net.layers["fc"], ends)) <= 1e-6
    assert error(trace["both.backward.n"], backward["n"]) <= 1e-6
    assert isinstance(state["both"].backward, GRUState)
    assert error(state["both"].backward.h, backward["h"][0]) <= 1e-6


def test_torch_runs_the_same_deep_network(rng):
    """LSTM on GRU on LSTM: every layer keeps its own state."""
    cells, ws = [LSTM, GRU, LSTM], []
    layers: dict = {"in": Input((C,))}
    wanted = x = sequence(rng)
    for k, cell in enumerate(cells):
        w = draw(rng, cell)
        if k:
            w |= {f"{gate}.W": rng.normal(size=(H, H)) for gate in cell.gates}
        ws.append(single(w))
        layers[f"cell_{k}"] = single(make(cell, w))
        wanted, *_ = torch_run(cell, [ws[-1]], wanted, np.zeros(H), np.zeros(H))
    net = Network.build(layers)
    assert net.recurrent == ("cell_0", "cell_1", "cell_2")
    assert error(predict(net, x), wanted) <= 1e-6
