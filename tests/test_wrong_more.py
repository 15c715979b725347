"""The judge of `jlstm.diagnose`: gates, states, halves, softmax, fed-back outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import recordings
import torch
import wrong
from oracles import Cell
from recordings import FEATURES, HIDDEN, signal
from wrong import Wrong

from jlstm import layers as L
from jlstm.network import Network
from jlstm.recurrent import Bidirectional, LSTMState

STEPS = 13
LSTM, GRU = Cell("lstm"), Cell("gru", mode=oracles.BIASED)
PEEPHOLE = Cell("lstm", "softsign", "hard-sigmoid", peephole=True)
PROJECTED = Cell("lstm", projected=True)
X = signal(STEPS).astype(np.float32).astype(float)


def close(found: Any, truth: Any) -> None:
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-13)


def by_loop(cell: Cell, w: oracles.Weights, x: np.ndarray = X) -> np.ndarray:
    zero = np.zeros(HIDDEN)
    return oracles.loop(cell, w, x, zero, zero)["h"]


def spoilt(stack: recordings.Stack, name: str, **parameters: Any) -> np.ndarray:
    """What the first layer makes of `X` with one mistake in it."""
    wrongs = [Wrong(name, ("one",), parameters)]
    y, signals = wrong.forward(stack.net, X, wrongs, signals=True)
    # The rest of the network is fed with it.
    truth = oracles.loop(
        stack.cell, stack.second, signals["one"], np.zeros(17), np.zeros(17)
    )
    weights, bias = (np.asarray(a, float) for a in stack.dense)
    np.testing.assert_allclose(y, truth["h"] @ weights.T + bias, rtol=0, atol=1e-12)
    return signals["one"]


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
def test_the_bias_of_one_gate_is_missing(cell):
    stack = recordings.draw(cell=cell)
    for gate in cell.gates:
        zeros = {f"{gate}.{b}": np.zeros(HIDDEN) for b in ("b", "br")}
        w = stack.first | {k: v for k, v in zeros.items() if k in stack.first}
        close(spoilt(stack, "bias-omitted", gate=gate), by_loop(cell, w))


def test_one_of_two_biases_is_missing():
    stack = recordings.draw(cell=GRU)
    for part, suffix in (("input", ".b"), ("recurrent", ".br")):
        w = {k: 0 * v if k.endswith(suffix) else v for k, v in stack.first.items()}
        close(spoilt(stack, "bias-omitted", part=part), by_loop(GRU, w))


@pytest.mark.parametrize(
    "cell, order", [(LSTM, "fgoi"), (LSTM, "iofg"), (GRU, "nrz"), (GRU, "znr")], ids=str
)
def test_the_order_of_the_gates_of_one_array(cell, order):
    stack = recordings.draw(cell=cell)
    for of, arrays in (("input", "W"), ("recurrent", "R"), ("bias", ("b", "br"))):
        w = dict(stack.first)
        for block, gate in zip(cell.gates, order, strict=True):
            for array in arrays:
                if f"{gate}.{array}" in w:
                    w[f"{gate}.{array}"] = stack.first[f"{block}.{array}"]
        close(spoilt(stack, "gate-order", order=order, of=of), by_loop(cell, w))


@pytest.mark.parametrize("cell", [LSTM, PEEPHOLE, PROJECTED], ids=str)
def test_the_output_is_computed_from_the_old_cell_state(cell):
    stack = recordings.draw(cell=cell)
    h = c = np.zeros(HIDDEN)
    rows = []
    for x_t in X:
        step = oracles.loop(cell, stack.first, x_t[None], h, c)
        h, c = step["o"][0] * oracles.NUMPY[cell.state](c), step["c"][0]
        rows.append(h)
    close(spoilt(stack, "old-cell-state"), rows)


@pytest.mark.parametrize("cell", [LSTM, PEEPHOLE], ids=str)
def test_the_states_change_places_at_every_step(cell):
    stack = recordings.draw(cell=cell)
    h, c = np.random.default_rng(4).normal(size=(2, HIDDEN)).astype(np.float32)
    one = recordings.layer(cell, stack.first)
    layers = {"in": L.Input((FEATURES,)), "one": one}
    net = Network.build(layers, initial={"one": LSTMState(h, c)})
    y = wrong.forward(net, X, [Wrong("state-swapped", ("one",), {})])
    h, c = h.astype(float), c.astype(float)
    for t, x_t in enumerate(X):
        step = oracles.loop(cell, stack.first, x_t[None], c, h)
        h, c = step["h"][0], step["c"][0]
        close(y[t], h)


def directions(cell: Cell, mode: str) -> tuple[Network, list[oracles.Weights]]:
    rng = np.random.default_rng(11)
    ws = [oracles.draw(rng, cell, FEATURES, HIDDEN) for _ in range(2)]
    pair = Bidirectional(*(recordings.layer(cell, w) for w in ws), output_mode=mode)
    return Network.build({"in": L.Input((FEATURES,)), "both": pair}), ws


@pytest.mark.parametrize("cell", [LSTM, GRU, PEEPHOLE, PROJECTED], ids=str)
def test_halves(cell):
    net, (f, b) = directions(cell, "sequence")
    ends, _ = directions(cell, "last")

    def halves(one: oracles.Weights, two: oracles.Weights) -> list[np.ndarray]:
        return [by_loop(cell, one), by_loop(cell, two, X[::-1])[::-1]]

    def check(name: str, one: np.ndarray, two: np.ndarray, **parameters: Any) -> None:
        mistakes = [Wrong(name, ("both",), parameters)]
        y = wrong.forward(net, X, mistakes)
        y_end = wrong.forward(ends, X, mistakes)
        if name == "halves-interleaved":
            y, y_end = (
                np.concatenate([a[..., ::2], a[..., 1::2]], -1) for a in (y, y_end)
            )
        close(y, np.concatenate([one, two], 1))
        close(y_end, np.concatenate([one[-1], two[0]]))

    check("one-direction-twice", *halves(f, f), direction="forward")
    check("one-direction-twice", *halves(b, b), direction="backward")
    one, two = halves(f, b)
    check("backward-omitted", one, np.zeros((STEPS, HIDDEN)))
    check("halves-interleaved", one, two)
    y = wrong.forward(ends, X, [Wrong("max-instead-of-last", ("both",), {})])
    close(y, torch.as_tensor(np.concatenate([one, two], 1)).amax(0))


def test_the_maximum_over_time_is_passed_on():
    stack = recordings.draw()
    ends = recordings.layer(LSTM, stack.first, output_mode="last")
    dense = L.FullyConnected(
        *recordings.draw_dense(np.random.default_rng(1), 3, HIDDEN)
    )
    net = Network.build({"in": L.Input((FEATURES,)), "one": ends, "fc": dense})
    y = wrong.forward(net, X, [Wrong("max-instead-of-last", ("one",), {})])
    top = torch.as_tensor(by_loop(LSTM, stack.first)).amax(0)
    with torch.no_grad():
        weights, bias = (
            torch.tensor(np.asarray(a, float)) for a in (dense.weights, dense.bias)
        )
        close(y, torch.nn.functional.linear(top, weights, bias))


def test_softmax_in_other_words():
    stack = recordings.draw()
    layers = {"in": L.Input((FEATURES,)), "one": recordings.layer(LSTM, stack.first)}
    net = Network.build(layers | {"softmax": L.Softmax()})
    scores = torch.as_tensor(by_loop(LSTM, stack.first))
    for name, parameters, truth in (
        ("softmax-twice", {}, scores.softmax(1).softmax(1)),
        ("softmax-log", {}, scores.log_softmax(1)),
        ("activation-replaced", {"function": "sigmoid"}, scores.sigmoid()),
    ):
        close(wrong.forward(net, X, [Wrong(name, ("softmax",), parameters)]), truth)


@pytest.mark.parametrize("after", [2, 5, STEPS - 1])
def test_fed_back_after_some_steps(after):
    stack = recordings.draw(sizes=(FEATURES, HIDDEN, 17, FEATURES))
    y = wrong.forward(stack.net, X, [Wrong("closed-loop", (), {"after": after})])
    weights, bias = (np.asarray(a, float) for a in stack.dense)
    zero, fed = np.zeros(17), X[:after]
    for t in range(STEPS):
        one = by_loop(LSTM, stack.first, fed[: t + 1])
        two = oracles.loop(LSTM, stack.second, one, zero, zero)["h"]
        step = weights @ two[-1] + bias
        np.testing.assert_allclose(y[t], step, rtol=0, atol=1e-10)
        if t + 1 >= after:
            fed = np.concatenate([fed, step[None]])


# --- which of them apply --------------------------------------------------------------


def listed(layers: dict[str, Any], *lengths: int) -> set[str]:
    net = Network.build(layers)
    return {str(case) for case in wrong.applicable(net, *lengths)}


def test_mistakes_of_layers_are_listed_where_they_apply():
    first, rng = L.Input((FEATURES,)), np.random.default_rng(2)

    def recurrent(cell: Cell, **settings: Any) -> Any:
        w = oracles.draw(rng, cell, FEATURES, HIDDEN)
        return recordings.layer(cell, w, **settings)

    ends = {"in": first, "a": recurrent(LSTM, output_mode="last"), "s": L.Softmax()}
    found = listed(ends, STEPS)
    assert {
        "bias-omitted a gate=o", "old-cell-state a", "state-swapped a",
        "max-instead-of-last a", "softmax-twice s", "softmax-log s",
        "activation-replaced s function=sigmoid",
    } <= found  # fmt: skip
    assert not found & {"bias-omitted a part=input", "backward-omitted a"}
    assert sum(" of=" in case for case in found) == 6
    once = listed(ends, 1)
    assert not once & {"max-instead-of-last a", "state-swapped a"}
    assert "old-cell-state a" in once
    projected = listed({"in": first, "a": recurrent(PROJECTED)}, STEPS)
    assert "old-cell-state a" in projected and "state-swapped a" not in projected
    biased = listed({"in": first, "a": recurrent(GRU)}, STEPS)
    assert {f"bias-omitted a part={part}" for part in ("input", "recurrent")} <= biased
    assert {f"bias-omitted a gate={gate}" for gate in "rzn"} <= biased
    assert not biased & {"old-cell-state a", "state-swapped a"}
    single = listed({"in": first, "a": recurrent(Cell("gru", mode=oracles.AFTER))}, 5)
    assert not any(" part=" in case for case in single)
    both = Bidirectional(recurrent(LSTM), recurrent(LSTM))
    found = listed({"in": first, "a": both}, STEPS)
    assert {
        "one-direction-twice a direction=forward", "backward-omitted a",
        "one-direction-twice a direction=backward", "halves-interleaved a",
    } <= found  # fmt: skip
    assert not any("max-instead-of-last" in case for case in found)
    pair = listed({"in": first, "a": recurrent(LSTM), "fc": L.FullyConnected(
        *recordings.draw_dense(rng, FEATURES, HIDDEN))}, STEPS)  # fmt: skip
    loops = {f"closed-loop after={after}" for after in (2, STEPS // 2, STEPS - 1)}
    assert loops | {"closed-loop"} <= pair
    assert {case for case in pair if "closed-loop" in case} == loops | {"closed-loop"}


@pytest.mark.parametrize("cell", [LSTM, GRU, PEEPHOLE], ids=str)
@pytest.mark.parametrize("mode", ["sequence", "last"])
def test_every_listed_mistake_in_both_directions_changes_the_answer(cell, mode):
    net, _ = directions(cell, mode)
    right = wrong.forward(net, X)
    cases = wrong.applicable(net, STEPS)
    assert len(cases) == len({str(case) for case in cases}) > 90
    for case in cases:
        y = wrong.forward(net, X, [case])
        assert y.shape == right.shape
        assert not np.abs(y - right).max() < 1e-6, case
    rng = np.random.default_rng(2)
    together = 0
    for a, b in rng.choice(len(cases), size=(100, 2)):
        a, b = cases[a], cases[b]
        assert wrong.compatible(a, b) == wrong.compatible(b, a)
        if wrong.compatible(a, b):
            one, two = (wrong.forward(net, X, p) for p in ([a, b], [b, a]))
            np.testing.assert_array_equal(one, two, err_msg=f"{a}, {b}")
            together += 1
    assert together > 30


def test_what_is_not_compatible():
    def order(of: str) -> Wrong:
        return Wrong("gate-order", ("a",), {"order": "fgoi", "of": of})

    transposed = Wrong("recurrent-transposed", ("a",), {})
    doubled = Wrong("bias-doubled", ("a",), {})
    assert wrong.compatible(order("input"), transposed)
    assert not wrong.compatible(order("recurrent"), transposed)
    assert wrong.compatible(order("recurrent"), doubled)
    assert not wrong.compatible(order("bias"), doubled)
    coupled = Wrong("coupled-gates", ("a",), {})
    assert not wrong.compatible(Wrong("bias-omitted", ("a",), {"gate": "f"}), coupled)
    assert wrong.compatible(Wrong("bias-omitted", ("a",), {"gate": "i"}), coupled)
