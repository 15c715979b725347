"""The classic mistakes: each of them must be visible in what the tests compare.

Beside every equality stands the same comparison with one thing confused, and it must
fail by far: so the equality proves that this thing is not confused.
"""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import keras
import numpy as np
import oracles
import pytest
from cells import (
    C,
    H,
    T,
    both,
    both_loops,
    draw,
    error,
    make,
    run,
    sequence,
    start,
    state_of,
)
from oracles import GRU_CELLS, LSTM_CELLS, Cell, Weights, loop

from jlstm.activations import hard_sigmoid
from jlstm.errors import InputError
from jlstm.pytree import Shape

pytestmark = pytest.mark.usefixtures("double")

PLAIN = LSTM_CELLS[0]
EXACT, CLEARLY_WRONG = 1e-12, 1e-2


def renamed(w: Weights, order: str, to: str) -> Weights:
    """The weights of gate `order[k]` where those of `to[k]` belong."""
    names = dict(zip(to, order, strict=True))
    return {f"{names[key[0]]}{key[1:]}": value for key, value in w.items()}


def changed(w: Weights, kinds: str, change, gates: str = "ifgorzn") -> Weights:
    """`change` applied to the parameters whose name ends in one of `kinds`."""
    return {
        key: change(value) if key[0] in gates and key[2:] in kinds.split() else value
        for key, value in w.items()
    }


def regrouped(w: Weights) -> Weights:
    """Rows read as one group a unit, (i f g o) of unit 1 first: not MATLAB's order."""
    mixed: Weights = {}
    for kind in "WRb":
        rows = oracles.stack(w, "ifgo", kind, H)
        for k, gate in enumerate("ifgo"):
            mixed[f"{gate}.{kind}"] = rows[k::4]
    return mixed


def reread(matrix: np.ndarray) -> np.ndarray:
    """Column-major numbers read row by row."""
    return matrix.ravel(order="F").reshape(matrix.shape)


WEIGHT_MISTAKES = {
    "rows grouped by unit": regrouped,
    "recurrent weights transposed": lambda w: changed(w, "R", np.transpose),
    "input weights read in the other order": lambda w: changed(w, "W", reread),
    "recurrent weights read in the other order": lambda w: changed(w, "R", reread),
    "bias left out": lambda w: changed(w, "b", np.zeros_like),
    "bias counted twice": lambda w: changed(w, "b", lambda b: 2 * b),
    "forget bias raised by one": lambda w: changed(w, "b", lambda b: b + 1, "f"),
    "no recurrence": lambda w: changed(w, "R", np.zeros_like),
}


@pytest.fixture
def case(rng):
    """Weights, input, state, and what torch makes of them."""
    w, x, (h, c) = draw(rng, PLAIN), sequence(rng), start(rng)
    y, *_ = oracles.torch_run(PLAIN, [w], x, h, c)
    assert error(run(make(PLAIN, w), state_of(PLAIN, h, c), x)[1], y) <= EXACT
    return w, x, h, c, y


@pytest.mark.parametrize("mistake", WEIGHT_MISTAKES)
def test_weights(mistake, case):
    w, x, h, c, wanted = case
    layer = make(PLAIN, WEIGHT_MISTAKES[mistake](w))
    assert error(run(layer, state_of(PLAIN, h, c), x)[1], wanted) > CLEARLY_WRONG


def test_gate_orders(case):
    w, x, h, c, wanted = case
    for order in itertools.permutations("ifgo"):
        layer = make(PLAIN, renamed(w, "".join(order), "ifgo"))
        found = error(run(layer, state_of(PLAIN, h, c), x)[1], wanted)
        right = order == tuple("ifgo")
        assert found <= EXACT if right else found > CLEARLY_WRONG, order


def test_two_biases_of_torch_count_once_each(case, rng):
    w, x, h, c, _ = case
    two = w | {f"{gate}.br": rng.normal(size=H) for gate in "ifgo"}
    wanted, *_ = oracles.torch_run(PLAIN, [two], x, h, c)
    summed = {f"{gate}.b": two[f"{gate}.b"] + two[f"{gate}.br"] for gate in "ifgo"}
    state = state_of(PLAIN, h, c)
    assert error(run(make(PLAIN, w | summed), state, x)[1], wanted) <= EXACT
    assert error(run(make(PLAIN, w), state, x)[1], wanted) > CLEARLY_WRONG


def test_state_and_time(case):
    w, x, h, c, wanted = case
    layer = make(PLAIN, w)
    mistakes = {
        "started from zero": (0 * h, 0 * c, x),
        "h and c exchanged": (c, h, x),
        "reversed in time": (h, c, x[::-1]),
        "first step dropped": (h, c, np.vstack([x[1:], x[-1:]])),
    }
    for name, (h_0, c_0, given) in mistakes.items():
        found = run(layer, state_of(PLAIN, h_0, c_0), given)[1]
        assert error(found, wanted) > CLEARLY_WRONG, name
    resets = [run(layer, state_of(PLAIN, h, c), x_t[None])[1][0] for x_t in x]
    assert error(resets, wanted) > CLEARLY_WRONG
    assert error(resets[:1], wanted[:1]) <= EXACT


def test_input_weights_are_hidden_by_features(rng):
    """(C, H) is refused by its shape; square weights make a difference."""
    w = draw(rng, PLAIN)
    with pytest.raises(InputError):
        make(PLAIN, changed(w, "W", np.transpose)).shape(Shape(True, (), C))
    square = oracles.draw(rng, PLAIN, H, H)
    x, (h, c) = rng.normal(size=(T, H)), start(rng)
    wanted, *_ = oracles.torch_run(PLAIN, [square], x, h, c)
    state = state_of(PLAIN, h, c)
    assert error(run(make(PLAIN, square), state, x)[1], wanted) <= EXACT
    turned = make(PLAIN, changed(square, "W", np.transpose))
    assert error(run(turned, state, x)[1], wanted) > CLEARLY_WRONG


@pytest.mark.parametrize("cell", LSTM_CELLS, ids=str)
def test_functions_are_all_different(cell, rng):
    w, x, (h, c) = draw(rng, cell), sequence(rng), start(rng)
    wanted = oracles.keras_run(cell, [w], x, h, c)
    for other in LSTM_CELLS:
        found = error(run(make(other, w), state_of(other, h, c), x)[1], wanted)
        assert found <= EXACT if other == cell else found > CLEARLY_WRONG, other


def test_hard_sigmoid_is_not_the_one_of_keras_3():
    x = np.linspace(-4, 4, 81)
    keras_3 = np.asarray(keras.ops.hard_sigmoid(x))
    found = np.asarray(hard_sigmoid(jnp.asarray(x)))
    np.testing.assert_allclose(found, np.clip(x / 5 + 0.5, 0, 1), atol=1e-15)
    assert np.abs(found - keras_3).max() == pytest.approx(1 / 12, abs=1e-6)


@pytest.mark.parametrize("cell", GRU_CELLS[:2], ids=str)
def test_reset_modes_are_different(cell, rng):
    """Before and after the product; the third mode has its biases, see below."""
    w, x, (h, c) = draw(rng, cell), sequence(rng), start(rng)
    wanted, _ = oracles.onnx_run(cell, [w], x, h, c)
    for other in GRU_CELLS[:2]:
        found = error(run(make(other, w), state_of(other, h, c), x)[1], wanted)
        assert found <= 1e-6 if other == cell else found > CLEARLY_WRONG


GRU_MISTAKES = {
    "reset and update exchanged": lambda w: renamed(w, "zrn", "rzn"),
    "update gate inverted": lambda w: changed(w, "W R b br", np.negative, "z"),
    "recurrent biases left out": lambda w: changed(w, "br", np.zeros_like),
    "recurrent biases added to the others": lambda w: (
        changed(w, "br", np.zeros_like)
        | {f"{gate}.b": w[f"{gate}.b"] + w[f"{gate}.br"] for gate in "rzn"}
    ),
    "recurrent weights transposed": lambda w: changed(w, "R", np.transpose),
}


@pytest.mark.parametrize("mistake", GRU_MISTAKES)
def test_gru_weights(mistake, rng):
    cell = GRU_CELLS[2]
    w, x, (h, c) = draw(rng, cell), sequence(rng), start(rng)
    state = state_of(cell, h, c)
    wanted, *_ = oracles.torch_run(cell, [w], x, h, c)
    assert error(run(make(cell, w), state, x)[1], wanted) <= EXACT
    layer = make(cell, GRU_MISTAKES[mistake](w))
    assert error(run(layer, state, x)[1], wanted) > CLEARLY_WRONG


@pytest.mark.parametrize("order", list(itertools.permutations("ifo")), ids="".join)
def test_peephole_order(order, rng):
    cell = Cell("lstm", peephole=True)
    w, x, (h, c) = draw(rng, cell), sequence(rng), start(rng)
    wanted, _ = oracles.onnx_run(cell, [w], x, h, c)
    peepholes = {f"{k}.p": w[f"{v}.p"] for k, v in zip("ifo", order, strict=True)}
    found = run(make(cell, w | peepholes), state_of(cell, h, c), x)[1]
    if order == tuple("ifo"):
        assert error(found, wanted) <= 1e-6
    else:
        assert error(found, wanted) > CLEARLY_WRONG


@pytest.mark.parametrize("cell", [PLAIN, *GRU_CELLS[:2]], ids=str)
def test_directions(cell, rng):
    ws, h, c, layer, state = both(cell, rng)
    x = sequence(rng)
    _, y, _ = run(layer, state, x)
    forward, backward = (out["h"] for out in both_loops(cell, ws, x, h, c))
    assert error(y, np.hstack([forward, backward])) <= EXACT
    mistakes = {
        "backward outputs not put back": [forward, backward[::-1]],
        "halves exchanged": [backward, forward],
        "backward run forwards": [forward, loop(cell, ws[1], x, h[1], c[1])["h"]],
        "weights exchanged": [out["h"] for out in both_loops(cell, ws[::-1], x, h, c)],
        "states exchanged": [
            out["h"] for out in both_loops(cell, ws, x, h[::-1], c[::-1])
        ],
    }
    for name, halves in mistakes.items():
        assert error(y, np.hstack(halves)) > CLEARLY_WRONG, name
