"""The tolerance is above what correct programs do, and not far above it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import oracles
import pytest
import recordings
from oracles import Cell
from recordings import (
    draw,
    onnx_single,
    sequential,
    signal,
    torch_single,
    with_scale,
)

from jlstm import layers as L
from jlstm.network import Network, predict
from jlstm.recurrent import LSTM, Bidirectional
from jlstm.rounding import Runs, amplified, as_columns, measure, saturates, tolerance


def excess(net: Network, x: Any, values: dict) -> float:
    """Largest error of another program against double precision, in tolerances."""
    names = [name for name in values if name not in net.outputs]
    (runs,) = measure(net, [np.asarray(x, np.float32)], names)
    limits = {name: tolerance(runs, net, name, "single") for name in values}
    return max(
        float(np.max(abs(value - runs.exact[name]) / limits[name]))
        for name, value in values.items()
    )


SIZES = {
    "usual": (4, 20, 17, 3),
    "many inputs": (200, 3, 4, 1),
    "wide": (5, 150, 100, 2),
}
PROGRAMS = {"one by one": sequential, "torch": torch_single, "onnx": onnx_single}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_other_programs_in_single_precision(sizes, program):
    stack = draw(seed=11, sizes=SIZES[sizes])
    x = signal(60, SIZES[sizes][0])
    found = excess(stack.net, x, stack.run(x, PROGRAMS[program]))
    assert 0.02 < found < 1


def test_long_sums_of_one_sign():
    """The worst there is: one by one, every partial sum larger than the last."""
    stack, x = draw(seed=11, sizes=(8000, 3, 4, 1)), abs(signal(60, 8000)) / 10
    first = {
        k: abs(v / np.sqrt(8000)).astype(np.float32).astype(float) if ".W" in k else v
        for k, v in stack.first.items()
    }
    stack = stack._replace(first=first)
    assert 0.1 < excess(stack.net, x, stack.run(x, sequential)) < 1


def test_any_length():
    stack, x = draw(seed=5, sizes=(2, 3, 4, 1)), signal(700, 2)
    assert excess(stack.net, x, stack.run(x, sequential)) < 1


def test_many_draws_of_one_step():
    """A single number may be right by luck; the tolerance must not believe it."""
    for seed in range(12):
        stack = draw(seed=seed, sizes=(2, 3, 4, 1))
        x = signal(1, 2, seed=seed)
        assert excess(stack.net, x, stack.run(x, sequential)) < 1


@pytest.mark.parametrize(
    "cell",
    [
        Cell("lstm", "softsign", "hard-sigmoid", peephole=True),
        Cell("lstm", projected=True),
        Cell("gru", mode=oracles.BEFORE),
        Cell("gru", "relu", mode=oracles.BIASED),
    ],
    ids=str,
)
def test_double_precision(cell):
    """The same formula in NumPy, to the last few bits."""
    stack = draw(cell=cell)
    x = signal(60).astype(np.float32)
    (runs,) = measure(stack.net, [x], ["one", "two"], precision="double")
    for name, value in stack.run(x).items():
        limit = tolerance(runs, stack.net, name, "double")
        assert limit.max() < 1e-12
        assert (abs(runs.own[name] - value) <= limit).all()


def test_a_network_that_amplifies():
    """Chaos: correct programs part ways, and the tolerance goes with them."""
    stack, x = with_scale(8.0), signal(150)
    (runs,) = measure(stack.net, [x], ["two"])
    limit = amplified(runs, "two", "single").max(axis=1)
    assert limit[0] < 1e-5 and limit[-1] > 0.1
    assert (np.diff(limit) >= 0).all()
    for program in PROGRAMS.values():
        error = abs(stack.run(x, program)["two"] - runs.exact["two"])
        assert error.max() > 1e-2
        assert (error <= tolerance(runs, stack.net, "two", "single")).all()


def test_a_network_that_forgets():
    """No growth, however long."""
    stack = with_scale(0.2)
    (runs,) = measure(stack.net, [signal(1000)], [])
    limit = tolerance(runs, stack.net, "fc", "single").max(axis=1)
    assert limit[-1] < 4 * limit[20]


def test_a_network_that_sums():
    """A cell that adds up its inputs carries every error to the end."""
    zero, one = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)

    def gate(w: Any, b: float) -> dict:
        return {"W": w, "R": zero, "b": np.array([b], np.float32)}

    w = {"i": gate(zero, 40), "f": gate(zero, 40), "g": gate(one / 8, 0),
         "o": gate(zero, 40)}  # fmt: skip
    flat = {f"{k}.{a}": v.astype(float) for k, g in w.items() for a, v in g.items()}
    net = Network.build(
        {"in": L.Input((1,)), "lstm": recordings.layer(Cell("lstm"), flat)}
    )
    x = abs(signal(2000, 1))
    (runs,) = measure(net, [x], ["lstm.c"])
    limit = tolerance(runs, net, "lstm.c", "single")[:, 0]
    assert limit[-1] > 20 * limit[20]
    c = np.cumsum(np.tanh(x.astype("f4") / 8), dtype=np.float32)
    assert (abs(c - runs.exact["lstm.c"][:, 0]) <= limit).all()
    assert limit[-1] < 1e-3 * c[-1]


def test_closed_gates(rng):
    """Programs give sigmoids to a part of one, not of their value."""
    stack = draw()
    closed = stack.second | {"o.b": stack.second["o.b"] - 14}
    dense = [stack.dense[0] * np.float32(1e5), stack.dense[1] * 0]
    stack = stack._replace(second=closed, dense=dense)
    x = signal(60)
    values = stack.run(x, sequential)
    exact = stack.run(x)
    assert abs(exact["two"]).max() < 1e-4
    assert abs(values["two"] - exact["two"]).max() > 1e-3 * abs(exact["two"]).max()
    assert excess(stack.net, x, values) < 1


def test_outputs_of_unlike_units():
    """A column in millionths beside one in millions has its own tolerance."""
    stack = draw()
    units = np.array([[1e6], [1.0], [1e-6]], np.float32)
    stack = stack._replace(dense=[stack.dense[0] * units, stack.dense[1] * units[:, 0]])
    x = signal(60)
    (runs,) = measure(stack.net, [x], [])
    limit = tolerance(runs, stack.net, "fc", "single").max(axis=0)
    assert (limit < 2e-5 * abs(runs.exact["fc"]).max(axis=0)).all()
    assert excess(stack.net, x, stack.run(x, sequential)) < 1


def test_inputs_far_from_zero():
    """Input statistics are the same numbers everywhere: no error is made of them."""
    stack = draw()
    mean, std = np.full(4, 7e5, np.float32), np.full(4, 3, np.float32)
    zscore = L.Input((4,), normalization="zscore", mean=mean, std=std)  # type: ignore[arg-type]
    net = stack.net.replace(layers=stack.net.layers | {"in": zscore})
    x = (7e5 + 3 * signal(60)).astype(np.float32)
    standardised = (x.astype(float) - 7e5) / 3
    (runs,) = measure(net, [x], [])
    assert tolerance(runs, net, "fc", "single").max() < 1e-4
    error = abs(stack.run(standardised)["fc"] - runs.exact["fc"])
    assert (error <= tolerance(runs, net, "fc", "single")).all()


def test_backward_in_time_the_first_step_comes_last(rng):
    """The error of a bidirectional layer is not one of the steps so far."""
    stack = draw()
    one = stack.net.layers["one"]
    assert isinstance(one, LSTM)
    net = Network.build({"in": L.Input((4,)), "both": Bidirectional(one, one)})
    (runs,) = measure(net, [signal(60)], [])
    assert (runs.spread["both"] == runs.spread["both"][0]).all()
    y, x = np.asarray(predict(net, signal(60)), float), signal(60).astype("f4")
    zero = np.zeros(20)
    back = sequential(stack.cell, stack.first, x[::-1].astype(float), zero, zero)["h"]
    error = abs(back[::-1] - runs.exact["both"][:, 20:])
    assert (error <= tolerance(runs, net, "both", "single")[:, 20:]).all()
    assert y.shape == (60, 40)


def test_sequences_together_and_alone():
    stack, xs = draw(), [signal(60, seed=k) for k in range(2)]
    together = measure(stack.net, xs, ["one"])
    for x, run in zip(xs, together, strict=True):
        (alone,) = measure(stack.net, [x], ["one"])
        for name in ("one", "fc"):
            np.testing.assert_allclose(run.own[name], alone.own[name], atol=2e-6)
            np.testing.assert_allclose(run.exact[name], alone.exact[name], atol=1e-14)
    own = np.asarray(predict(stack.net, xs[0]), float)
    np.testing.assert_array_equal(measure(stack.net, xs[:1], [])[0].own["fc"], own)


def test_nothing_is_left_switched_on():
    measure(draw().net, [signal(60)], [])
    assert not jax.config.jax_enable_x64  # type: ignore[attr-defined]


def test_saturates():
    stack = draw()
    layers = stack.net.layers | {"soft": L.Softmax(), "end": L.Regression()}
    net = Network.build(layers)
    found = {name: saturates(net, name) for name in net.layers}
    assert found == {
        "in": False, "one": True, "two": True, "fc": False, "soft": True, "end": True,
    }  # fmt: skip
    assert saturates(net, "one.f") and saturates(net, "two/hidden")
    relu = draw(cell=Cell("lstm", "relu")).net
    assert not saturates(relu, "one")


def test_as_columns():
    assert as_columns(np.zeros((5, 2, 3)), True).shape == (5, 6)
    assert as_columns(np.zeros(3), False).shape == (1, 3)
    runs = Runs({}, {"y": np.ones((2, 1))}, {"y": np.full((2, 1), 1e-6)})
    np.testing.assert_allclose(amplified(runs, "y", "single"), 4e-6)
    np.testing.assert_allclose(amplified(runs, "y", "half"), 4e-6 * 2**13)
    np.testing.assert_allclose(amplified(runs, "y", "double"), 4e-6 / 2**29)
