"""Derivatives, against central differences of the equations in NumPy and float64."""

from __future__ import annotations

import itertools

import cells
import jax
import networks
import numpy as np
import oracles
import pytest
import reference
from dynamics import Plant, close, plant, refused, slopes, somewhere
from oracles import AFTER, GRU_CELLS, Cell

import jlstm as jl
from jlstm import layers as L
from jlstm.formats import matlab
from jlstm.linearization import linearize, sensitivity
from jlstm.network import Network, Node
from jlstm.recurrent import Bidirectional

LSTM, GRU = Cell("lstm"), Cell("gru", mode=AFTER)
CELLS = [
    LSTM, *GRU_CELLS,
    Cell("lstm", "softsign", "hard-sigmoid", peephole=True),
    Cell("lstm", "relu", projected=True),
    Cell("gru", mode=AFTER, projected=True),
]  # fmt: skip


def assert_linearizes(found, step, s, x, tolerance=1e-7):
    """`step(s, x) -> (s', y)` in NumPy, flat."""
    s1, y0 = step(s, x)
    close(found.s1, s1, min(tolerance, 1e-12))
    close(found.y0, y0, min(tolerance, 1e-12))
    close(found.A, slopes(lambda s: step(s, x)[0], s), tolerance)
    close(found.B, slopes(lambda x: step(s, x)[0], x), tolerance)
    close(found.C, slopes(lambda s: step(s, x)[1], s), tolerance)
    close(found.D, slopes(lambda x: step(s, x)[1], x), tolerance)
    for matrix in (found.A, found.B, found.C, found.D):
        assert np.abs(matrix).max() > 1e-3


def wide(system: Plant) -> Network:
    return system.net.astype("float64")


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_one_layer(cell, rng, double):
    system = plant(rng, cell)
    s, x = somewhere(rng, system)
    found = linearize(wide(system), x, system.state(s))
    assert_linearizes(found, system.step, s, x)


@pytest.mark.parametrize("after", ["", "relu", "tanh"])
@pytest.mark.parametrize(("first", "second"), [(LSTM, LSTM), (GRU, LSTM)], ids=str)
def test_two_layers(first, second, after, rng, double):
    # In the order of the alphabet the second would come first.
    system = plant(rng, first, second, after=(after, after), names=("rnn", "again"))
    s, x = somewhere(rng, system)
    found = linearize(wide(system), x, system.state(s))
    assert_linearizes(found, system.step, s, x)
    parts = [("rnn", "hc"[: system.stages[0].parts], 5), ("again", "hc", 4)]
    assert found.state_names == tuple(
        f"{name}.{part}[{k + 1}]"
        for name, letters, width in parts
        for part in letters
        for k in range(width)
    )
    assert found.input_names == ("u[1]", "u[2]", "u[3]")
    assert found.output_names == ("y[1]", "y[2]")
    close(found.s0, s, 1e-15)
    close(found.x0, x, 1e-15)


@pytest.mark.parametrize(("features", "outputs"), [(6, 2), (2, 6), (1, 1)])
def test_many_inputs_and_many_outputs(features, outputs, rng, double):
    system = plant(rng, GRU, LSTM, features=features, outputs=outputs)
    s, x = somewhere(rng, system)
    found = linearize(wide(system), x, system.state(s))
    assert_linearizes(found, system.step, s, x)


def test_single_precision_says_so(rng):
    system = plant(rng, LSTM, LSTM)
    s, x = (a.astype(np.float32).astype(float) for a in somewhere(rng, system))
    found = linearize(system.net, x, system.state(s))
    assert found.A.dtype == found.y0.dtype == np.float32
    assert found.precision == "single" and "single precision" in str(found)
    wanted = slopes(lambda s: system.step(s, x)[0], s)
    close(found.A, wanted, 2e-6)


def test_where_it_starts(rng, double):
    system = plant(rng, LSTM)
    s, x = somewhere(rng, system)
    net = wide(system)
    zero = np.zeros(system.size)
    assert_linearizes(linearize(net, x), system.step, zero, x)
    begun = net.replace(initial=system.state(s))
    assert_linearizes(linearize(begun, x), system.step, s, x)
    saved = net.replace(saved=system.state(s))
    assert_linearizes(linearize(saved, x, saved.saved), system.step, s, x)
    assert_linearizes(linearize(saved, x), system.step, zero, x)
    # What runs return is taken as it is, in whatever precision.
    _, state = jl.predict(net, np.stack([x, x + 1]), return_state=True)
    after = system.run(zero, np.stack([x, x + 1]))[0]
    assert_linearizes(linearize(net, x, state), system.step, after, x)
    single = system.net
    assert linearize(single, x, state).A.dtype == np.float32


def test_several_inputs_and_outputs(rng, double):
    """A step of an LSTM beside a direct path, two outputs of different width."""
    w = oracles.draw(rng, LSTM, 3, 5)
    layers = {
        "z": L.Input((3,)), "a": L.Input((2,)), "lstm": cells.make(LSTM, w),
        "join": L.Concatenation(), "fc": cells.dense(rng, 7, 4),
    }  # fmt: skip
    graph = [
        Node("z", ()), Node("a", ()), Node("lstm", ("z",)),
        Node("join", ("a", "lstm")), Node("fc", ("join",)),
    ]  # fmt: skip
    net = Network.build(layers, graph, outputs=["lstm", "fc"])

    def step(s, x):
        run = oracles.loop(LSTM, w, x[None, :3], s[:5], s[5:])
        h, c = run["h"][0], run["c"][0]
        joined = np.concatenate([x[3:], h])
        return np.concatenate([h, c]), np.concatenate(
            [h, cells.affine(layers["fc"], joined)]
        )

    s, x = rng.uniform(-0.9, 0.9, size=10), rng.normal(size=5)
    state = {"lstm": cells.state_of(LSTM, s[:5], s[5:])}
    for given in ((x[:3], x[3:]), {"a": x[3:], "z": x[:3]}):
        found = linearize(net.astype("float64"), given, state)
        assert_linearizes(found, step, s, x)
    assert found.input_names == ("z[1]", "z[2]", "z[3]", "a[1]", "a[2]")
    assert found.output_names[4:6] == ("lstm[5]", "fc[1]")


def test_a_network_without_state(rng, double):
    dense = cells.dense(rng, 3, 2)
    net = Network.build({"in": L.Input((3,)), "fc": dense}).astype("float64")
    found = linearize(net, rng.normal(size=3), "equilibrium")
    close(found.D, dense.weights, 1e-15)
    close(found.dc_gain, dense.weights, 1e-15)
    shapes = [m.shape for m in (found.A, found.B, found.C)]
    assert shapes == [(0, 0), (0, 3), (2, 0)]
    assert {m.dtype.name for m in (found.A, found.D, found.s0)} == {"float64"}
    assert found.stable and found.equilibrium and "0 states" in str(found)


@pytest.mark.parametrize(
    ("function", "slope"), [("relu", 0), ("leaky-relu", 0.2), ("clipped-relu", 0)]
)
def test_at_a_kink_it_is_what_the_docstring_says(function, slope):
    constants = {"leaky-relu": (0.2,), "clipped-relu": (1.0,)}.get(function, ())
    layers = {"in": L.Input((1,)), "f": L.Activation(function, constants)}
    found = linearize(Network.build(layers), [0.0])
    assert found.D.item() == np.float32(slope)


@pytest.mark.parametrize(
    ("file", "features"),
    [("tracking/gru_x1.mat", 1), ("tracking/relu_x2.mat", 1), ("ph/lstm3_net.mat", 4)],
)
def test_real_networks(file, features, nets, rng, double):
    """Against the judge that reads the same file; some columns of many."""
    net, judge = matlab.load(nets / file), reference.load(nets / file)
    # The judge rounds inputs to single precision: these are exact, and so is the nudge.
    x, h = rng.integers(-3, 4, size=features) / 4, 2.0**-14
    found = linearize(net.astype("float64"), x, "equilibrium")
    assert found.equilibrium

    def forward(s, x):
        at = 0
        for name in net.recurrent:
            fields, width = judge[name].fields, net.layers[name].hidden_size
            for part in net.layers[name].ports:
                fields[f"Initial{part.title()}State"] = s[at : at + width]
                at += width
        y = judge.forward(x[:, None])[:, 0]
        parts = [
            judge.state[name][: len(net.layers[name].ports)] for name in net.recurrent
        ]
        return np.concatenate([*itertools.chain(*parts), y])

    s = found.s0
    close(forward(s, x), np.concatenate([s, found.y0]), 1e-11)
    close(
        np.concatenate([found.B, found.D]),
        slopes(lambda x: forward(s, x), x, h), 1e-6,
    )  # fmt: skip
    columns = rng.choice(len(s), 12, replace=False)

    def moved(d):
        nudged = s.copy()
        nudged[columns] += d
        return forward(nudged, x)

    wanted = slopes(moved, np.zeros(12))
    close(np.concatenate([found.A, found.C])[:, columns], wanted)


# --- refusals -------------------------------------------------------------------------


def test_points_that_do_not_fit(rng):
    net = networks.small(rng)  # 2 inputs, 3 units, 2 outputs
    x = np.ones(2)
    refused("does not fit", linearize, net, np.ones(3))
    refused("does not fit", linearize, net, np.ones((5, 2)))
    refused("not finite", linearize, net, [1.0, np.nan])
    refused("not finite", linearize, net, [1.0, np.inf])
    refused("complex", linearize, net, [1j, 1])
    refused("not an array of numbers", linearize, net, ["a", "b"])
    refused("not a state", linearize, net, x, "steady")
    refused("not a state", linearize, net, x, np.zeros(6))
    state = net.initial["lstm"]
    wrong = state._replace(h=np.zeros(4))
    for given in ({}, {"lstm_1": state}, {"lstm": wrong}, {"lstm": tuple(state)}):
        refused("state does not fit", linearize, net, x, given)
        refused("state does not fit", sensitivity, net, x[None], state=given)
    nan = {"lstm": state._replace(c=np.full(3, np.nan))}
    refused("state is not finite", linearize, net, x, nan)
    refused("double precision is off", linearize, net.astype("float64"), x)
    refused("single or double", linearize, net.astype("float16"), x)
    for call in (linearize, lambda net, x: sensitivity(net, x[None])):
        refused("compiled functions", jax.jit(lambda x, f=call: f(net, x)), x)


def test_networks_that_have_no_such_form(rng):
    lstm = networks.lstm(rng, 3, 2)
    both = {"in": L.Input((2,)), "both": Bidirectional(lstm, lstm)}
    refused(r"'both'(.|\n)*whole sequence", linearize, Network.build(both), np.ones(2))
    words = {"in": L.Input((1,)), "words": L.Embedding(networks.normal(rng, 5, 2))}
    refused("by an index", linearize, Network.build(words), np.ones(1))
    refused("by an index", sensitivity, Network.build(words), np.ones((3, 1)))
    zero, one = np.zeros(2, "f4"), np.ones(2, "f4")
    flat = {"in": L.Input((2,), normalization="zscore", mean=zero, std=one - one)}
    for layers in (flat, flat | {"lstm": lstm}):
        for state in (None, "equilibrium"):
            refused("is not finite at this", linearize, Network.build(layers),
                    np.ones(2), state)  # fmt: skip
