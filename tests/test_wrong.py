"""The judge of `jlstm.diagnose` against others: torch, and a loop over single gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
import recordings
import wrong
from oracles import Cell
from recordings import FEATURES, HIDDEN, MISTAKES, signal
from torch import as_tensor as as_torch
from torch import bfloat16
from torch.nn.functional import hardsigmoid
from wrong import Wrong

from jlstm import layers as L
from jlstm.demo import load_demo, shared_state_formula
from jlstm.network import Network
from jlstm.recurrent import Bidirectional

STEPS = 13
BOTH = ("one", "two")
LSTM, GRU = Cell("lstm"), Cell("gru", mode=oracles.BIASED)
EXACT = dict(rtol=0, atol=1e-13)


def single(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32).astype(float)


def by_torch(cell: Cell, w: Any, x: Any, h: Any, c: Any) -> dict:
    return {"h": oracles.torch_run(cell, [w], x, h, c)[0]}


def square(cell: Cell = LSTM) -> recordings.Stack:
    """As many outputs as inputs, two layers of one width."""
    return recordings.draw(cell=cell, sizes=(FEATURES, HIDDEN, HIDDEN, FEATURES))


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
def test_without_mistakes_it_is_torch(cell):
    stack, x = recordings.draw(cell=cell), single(signal(STEPS))
    y, signals = wrong.forward(stack.net, x, signals=True)
    truth = stack.run(x, by_torch)
    np.testing.assert_allclose(y, truth["fc"], **EXACT)
    for name in BOTH:
        np.testing.assert_allclose(signals[f"{name}.h"], truth[name], **EXACT)


@pytest.mark.parametrize(
    "cell",
    [
        Cell("lstm", "softsign", "hard-sigmoid", peephole=True),
        Cell("lstm", "relu", projected=True),
        Cell("gru", mode=oracles.AFTER, projected=True),
        Cell("gru", mode=oracles.BEFORE),
    ],
    ids=str,
)
def test_without_mistakes_it_is_the_loop(cell):
    stack, x = recordings.draw(cell=cell), single(signal(STEPS))
    y = wrong.forward(stack.net, x)
    np.testing.assert_allclose(y, stack.run(x)["fc"], rtol=1e-13, atol=1e-13)


def directions(cell: Cell, mode: str) -> tuple[Network, list[oracles.Weights]]:
    rng = np.random.default_rng(11)
    ws = [oracles.draw(rng, cell, FEATURES, 6) for _ in range(2)]
    pair = Bidirectional(*(recordings.layer(cell, w) for w in ws), output_mode=mode)
    return Network.build({"in": L.Input((FEATURES,)), "both": pair}), ws


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
def test_both_directions(cell):
    x, zero = single(signal(STEPS)), np.zeros((2, 6))
    net, ws = directions(cell, "sequence")
    ends, _ = directions(cell, "last")
    y = oracles.torch_run(cell, ws, x, zero, zero)[0]
    f, b = y[:, :6], y[:, 6:]

    def run(net: Network, *names: str) -> np.ndarray:
        return wrong.forward(net, x, [Wrong(name, ("both",), {}) for name in names])

    def check(found: np.ndarray, *halves: np.ndarray) -> None:
        np.testing.assert_allclose(found, np.concatenate(halves, -1), **EXACT)

    check(run(net), f, b)
    check(run(ends), f[-1], b[0])
    check(run(net, "halves-swapped"), b, f)
    check(run(net, "backward-not-reversed"), f, b[::-1])
    check(run(ends, "backward-last"), f[-1], b[-1])
    check(run(ends, "backward-last", "halves-swapped"), b[-1], f[-1])
    along = oracles.torch_run(cell, ws[1:], x, zero[:1], zero[:1])[0]
    check(run(net, "backward-forwards"), f, along)
    check(run(ends, "backward-forwards"), f[-1], along[-1])
    swapped = oracles.torch_run(cell, ws[::-1], x, zero, zero)[0]
    check(run(net, "directions-swapped"), swapped)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
def test_chunks_of_both_directions(cell):
    net, ws = directions(cell, "sequence")
    x, zero = single(signal(STEPS)), np.zeros((2, 6))
    y = wrong.forward(
        net, x, [Wrong("state-reset", ("both",), {"every": 5, "what": "both"})]
    )
    chunks = [x[:5], x[5:10], x[10:]]
    truth = [oracles.torch_run(cell, ws, chunk, zero, zero)[0] for chunk in chunks]
    np.testing.assert_allclose(y, np.concatenate(truth), **EXACT)


def test_functions_inside_the_cell():
    stack, x = recordings.draw(), single(signal(STEPS))
    w = stack.first
    z = {k: w[f"{k}.W"] @ x[0] + w[f"{k}.b"] for k in "ifgo"}

    def first_step(name: str, function: str) -> dict[str, np.ndarray]:
        mistakes = [Wrong(name, ("one",), {"function": function})]
        _, signals = wrong.forward(stack.net, x, mistakes, signals=True)
        return {k: signals[f"one.{k}"][0] for k in "ifgoch"}

    def check(found: np.ndarray, truth: Any) -> None:
        np.testing.assert_allclose(found, truth, **EXACT)

    s = first_step("gate-activation", "hard-sigmoid-keras3")
    check(s["i"], hardsigmoid(as_torch(z["i"])))
    check(s["g"], np.tanh(z["g"]))
    s = first_step("candidate-activation", "identity")
    check(s["g"], z["g"])
    check(s["h"], s["o"] * np.tanh(s["c"]))
    s = first_step("cell-activation", "identity")
    check(s["g"], np.tanh(z["g"]))
    check(s["h"], s["o"] * s["c"])
    s = first_step("coupled-gates", "")
    check(s["f"], 1 - s["i"])


NAMES = {
    # The loop says whose block a gate takes, a Wrong for which gate a block is taken.
    "order i f o g": ("gate-order", {"order": "ifog"}),
    "order i g f o": ("gate-order", {"order": "igfo"}),
    "order i o f g": ("gate-order", {"order": "igof"}),
    "order o f g i": ("gate-order", {"order": "ofgi"}),
    "interleaved": ("interleaved", {}),
    "R transposed": ("recurrent-transposed", {}),
    "bias twice": ("bias-doubled", {}),
    "bias omitted": ("bias-omitted", {}),
    "forget bias + 1": ("forget-bias", {"added": 1}),
    "forget bias - 1": ("forget-bias", {"added": -1}),
    "hard-sigmoid": ("gate-activation", {"function": "hard-sigmoid"}),
    "softsign": ("state-activation", {"function": "softsign"}),
    "shared state": ("shared-state", {}),
    "state reset at each step": ("state-reset", {"every": 1, "what": "both"}),
    "relu in between": ("activation-inserted", {"function": "relu"}),
    "tanh in between": ("activation-inserted", {"function": "tanh"}),
    "time reversed": ("time-reversed", {}),
    "shifted by one step": None,
    "stale state": None,
    "standardised twice": ("standardised", {"statistics": "own-population"}),
    "std with N": (
        "input-affine",
        {"slope": (STEPS / (STEPS - 1)) ** 0.5, "offset": 0},
    ),
    "features swapped": ("features-reversed", {}),
}


@pytest.mark.parametrize("mistake", [m for m in MISTAKES if NAMES[m.name]], ids=str)
def test_mistakes_are_those_of_the_loop(mistake):
    # The loop rounds what it is given to single precision.
    stack, x = square(), single(signal(STEPS))
    name, parameters = NAMES[mistake.name]
    on_x = name in (
        "time-reversed",
        "standardised",
        "input-affine",
        "features-reversed",
    )
    y = wrong.forward(stack.net, x, [Wrong(name, () if on_x else BOTH, parameters)])
    truth = mistake.run(stack, x)["fc"]
    atol = 1e-5 if name in ("standardised", "input-affine") else 1e-13
    np.testing.assert_allclose(y, truth, rtol=0, atol=atol)
    assert np.abs(truth - stack.run(x)["fc"]).max() > 1e-3


def test_shared_state_is_the_formula_of_the_question():
    net, golden = load_demo()
    x = np.asarray(golden.inputs[0], float)
    shared = Wrong("shared-state", ("lstm_1", "lstm_2"), {})
    y, signals = wrong.forward(net, x, [shared], signals=True)
    formula = shared_state_formula(net, x)
    np.testing.assert_allclose(y, formula["fc"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(signals["lstm_2"], formula["lstm_2"], **EXACT)


def test_fed_back_outputs():
    stack, x = square(), single(signal(STEPS))
    y = wrong.forward(stack.net, x, [Wrong("closed-loop", (), {})])
    weights, bias = (np.asarray(a, float) for a in stack.dense)
    fed = x[:1]
    for t in range(STEPS):
        one = recordings._h(oracles.loop, LSTM, stack.first, fed)
        two = recordings._h(oracles.loop, LSTM, stack.second, one)
        step = weights @ two[-1] + bias
        np.testing.assert_allclose(y[t], step, rtol=0, atol=1e-10)
        fed = np.concatenate([fed, step[None]])


def test_delayed_layer_with_another_activation():
    stack, x = square(), single(signal(STEPS))
    pair = [
        Wrong("gate-activation", ("one",), {"function": "hard-sigmoid"}),
        Wrong("layer-delayed", ("two",), {}),
    ]
    hard = Cell("lstm", gate="hard-sigmoid")
    one = recordings._h(oracles.loop, hard, stack.first, x)
    late = np.concatenate([0 * one[:1], one[:-1]])
    two = recordings._h(oracles.loop, LSTM, stack.second, late)
    for mistakes in (pair, pair[::-1]):
        _, signals = wrong.forward(stack.net, x, mistakes, signals=True)
        np.testing.assert_allclose(signals["two"], two, **EXACT)


def test_sequences_without_reset_and_padded_to_the_longest():
    stack, x = recordings.draw(), single(signal(STEPS))
    xs = [x[:4], x[4:7], x[7:]]
    stale = Wrong("start-state", BOTH, {"from": "previous-sequence"})
    ys = wrong.forward_many(stack.net, xs, [stale])
    np.testing.assert_allclose(np.concatenate(ys), stack.run(x)["fc"], **EXACT)
    mates = Wrong("padding", (), {"side": "left", "steps": 0, "mates": True})
    ys = wrong.forward_many(stack.net, xs, [mates])
    for y, given in zip(ys, xs, strict=True):
        padded = np.concatenate([np.zeros((6 - len(given), FEATURES)), given])
        truth = stack.run(padded)["fc"][6 - len(given) :]
        np.testing.assert_allclose(y, truth, **EXACT)


def test_update_gate_and_reset_modes():
    stack, x = recordings.draw(cell=GRU), single(signal(STEPS))
    # h = z n + (1 - z) h is the right formula with the sign of the update gate turned.
    turned = {k: -v if k[0] == "z" else v for k, v in stack.first.items()}
    truth = recordings._h(oracles.loop, GRU, turned, x)
    inverted = Wrong("update-inverted", ("one",), {})
    _, signals = wrong.forward(stack.net, x, [inverted], signals=True)
    np.testing.assert_allclose(signals["one"], truth, **EXACT)
    before = Cell("gru", mode=oracles.BEFORE)
    # This form has one bias; who has two adds them.
    summed = stack.first | {"n.b": stack.first["n.b"] + stack.first["n.br"]}
    truth = recordings._h(oracles.loop, before, summed, x)
    mode = Wrong("reset-mode", ("one",), {"mode": oracles.BEFORE})
    _, signals = wrong.forward(stack.net, x, [mode], signals=True)
    np.testing.assert_allclose(signals["one"], truth, **EXACT)


@pytest.mark.parametrize("what", ["h", "c", "both"])
def test_state_reset_every_few_steps(what):
    stack, x = recordings.draw(), single(signal(STEPS))
    h = c = np.zeros(HIDDEN)
    chunks = []
    for start in range(0, STEPS, 5):
        h, c = (0 * v if what in (k, "both") else v for k, v in (("h", h), ("c", c)))
        chunk = oracles.loop(LSTM, stack.first, x[start : start + 5], h, c)
        h, c = chunk["h"][-1], chunk["c"][-1]
        chunks.append(chunk["h"])
    mistakes = [Wrong("state-reset", ("one",), {"every": 5, "what": what})]
    _, signals = wrong.forward(stack.net, x, mistakes, signals=True)
    np.testing.assert_allclose(signals["one"], np.concatenate(chunks), **EXACT)


def test_another_step_than_the_last():
    stack, x = recordings.draw(), single(signal(STEPS))
    last = recordings.layer(LSTM, stack.first, output_mode="last")
    net = Network.build({"in": L.Input((FEATURES,)), "one": last, "end": L.Softmax()})
    h = stack.run(x)["one"]
    for name, parameters, row in (
        ("first-instead-of-last", {}, h[0]),
        ("mean-instead-of-last", {}, h.mean(0)),
        ("steps-dropped", {"last": 2}, h[-3]),
        ("activation-omitted", {}, h[-1]),
    ):
        layers = ("end",) if name == "activation-omitted" else ()
        y = wrong.forward(net, x, [Wrong(name, layers, parameters)])
        truth = row if layers else np.exp(row) / np.exp(row).sum()
        np.testing.assert_allclose(y, truth, **EXACT)


def test_rounded_and_refilled_weights():
    stack, x = recordings.draw(), single(signal(STEPS))
    half = {
        name: as_torch(value).to(bfloat16).double().numpy()
        for name, value in stack.first.items()
    }
    columns = np.concatenate([stack.first[f"{k}.W"] for k in "ifgo"])
    numbers = iter([row[c] for c in range(FEATURES) for row in columns])
    rows = [[next(numbers) for _ in range(FEATURES)] for _ in columns]
    blocks = {
        f"{k}.W": np.array(rows[n * HIDDEN : (n + 1) * HIDDEN])
        for n, k in enumerate("ifgo")
    }
    for name, parameters, w in (
        ("weights-rounded", {"to": "bfloat16"}, half),
        ("memory-order", {"which": "input"}, stack.first | blocks),
    ):
        mistakes = [Wrong(name, ("one",), parameters)]
        _, signals = wrong.forward(stack.net, x, mistakes, signals=True)
        truth = recordings._h(oracles.loop, LSTM, w, x)
        np.testing.assert_allclose(signals["one"], truth, **EXACT)


def test_rows_and_columns_of_input_and_output():
    stack, x = recordings.draw(), single(signal(STEPS))

    def run(name: str, **parameters: Any) -> np.ndarray:
        return wrong.forward(stack.net, x, [Wrong(name, (), parameters)])

    def check(found: np.ndarray, truth: np.ndarray) -> None:
        np.testing.assert_allclose(found, truth, **EXACT)

    def right(*rows: int, zeros: int = 0) -> np.ndarray:
        given = np.concatenate([np.zeros((zeros, FEATURES)), x[list(rows)]])
        return stack.run(given)["fc"]

    y, steps = right(*range(STEPS)), range(STEPS)
    check(run("time-shift", steps=2, fill="edge"), right(0, 0, *steps[:-2]))
    check(run("time-shift", steps=2, fill="zero"), right(*steps[:-2], zeros=2))
    check(run("time-shift", steps=-1, fill="edge"), right(*steps[1:], STEPS - 1))
    check(run("padding", side="left", steps=3), right(*steps, zeros=3)[3:])
    check(run("output-shift", steps=1, fill="edge"), y[[0, *steps[:-1]]])
    check(run("output-shift", steps=-1, fill="roll"), y[[*steps[1:], 0]])
    check(run("columns-permuted", order=(2, 0, 1)), y[:, [2, 0, 1]])
    slope, offset = [2.0, 1.0, 0.5], [0.0, 1.0, -1.0]
    check(run("output-affine", slope=slope, offset=offset), slope * y + offset)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
def test_every_listed_mistake_changes_the_answer(cell):
    stack, x = square(cell), single(signal(STEPS))
    right = wrong.forward(stack.net, x)
    cases = wrong.applicable(stack.net, STEPS)
    assert len(cases) == len({str(case) for case in cases}) > 150
    for case in cases:
        y = wrong.forward(stack.net, x, [case])
        assert y.shape == right.shape
        # Also where it is not finite.
        assert not np.abs(y - right).max() < 1e-6, case


def test_pairs_do_not_depend_on_their_order():
    stack, x = square(), single(signal(STEPS))
    cases = wrong.applicable(stack.net, STEPS)
    rng = np.random.default_rng(2)
    pairs = rng.choice(len(cases), size=(300, 2))
    pairs = [
        (cases[a], cases[b]) for a, b in pairs if wrong.compatible(cases[a], cases[b])
    ]
    assert len(pairs) > 100
    for a, b in pairs:
        assert wrong.compatible(b, a)
        one, two = (wrong.forward(stack.net, x, p) for p in ([a, b], [b, a]))
        np.testing.assert_array_equal(one, two, err_msg=f"{a}, {b}")


def test_a_layer_that_is_not_known():
    net = Network.build({"in": L.Input((3,)), "pool": L.GlobalPooling1D("max")})
    with pytest.raises(NotImplementedError, match="GlobalPooling1D"):
        wrong.forward(net, np.zeros((2, 3)))
