"""A closed loop against loops written out: of the equations, of torch, of a Stream."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import torch
from networks import lstm, normal
from recordings import Stack, draw, signal

from jlstm import layers as L
from jlstm.closedloop import loop as compiled
from jlstm.errors import InputError
from jlstm.forecasting import Forecast, forecast
from jlstm.network import Network, Node, predict
from jlstm.recurrent import Bidirectional
from jlstm.stream import Stream

TIME, STEPS = 11, 8
SIZES = (4, 6, 5, 3)
"""Features, units of both layers, outputs."""
WIRES = {3: 0, 1: 2}
"""What most tests feed back; inputs 0 and 2 are exogenous."""
SCALE, OFFSET = np.array([0.5, 9.0, -1.5]), np.array([0.25, 9.0, 0.1])
GRU = oracles.Cell("gru", mode=oracles.AFTER)


class Loop(NamedTuple):
    """What the equations say, float64."""

    y: np.ndarray
    x: np.ndarray
    states: list[Any]


def by_equations(stack: Stack, history: Any, steps: int, feed: Any) -> Loop:
    """Two layers and a dense one; `feed(y, x, k)` is input k of the closed loop."""
    weights, bias = (np.asarray(a, float) for a in stack.dense)
    sizes = [w[f"{stack.cell.gates[0]}.b"].size for w in (stack.first, stack.second)]
    states = [(np.zeros(n), np.zeros(n)) for n in sizes]

    def step(x: np.ndarray) -> np.ndarray:
        for n, w in enumerate((stack.first, stack.second)):
            after = oracles.loop(stack.cell, w, x[None], *states[n])
            states[n] = after["h"][0], after.get("c", after["h"])[0]
            x = states[n][0]
        return weights @ x + bias

    x = y = np.zeros(0)
    for x in history:
        y = step(x)
    xs, ys = [], []
    for k in range(steps):
        x = feed(y, x, k)
        y = step(x)
        xs.append(x)
        ys.append(y)
    return Loop(np.array(ys), np.array(xs), states)


def wired(u: np.ndarray, scale: Any = SCALE, offset: Any = OFFSET) -> Any:
    """`WIRES`, one input a line."""
    return lambda y, x, k: np.array(
        [
            u[k, 0],
            scale[2] * y[2] + offset[2],
            u[k, 1],
            scale[0] * y[0] + offset[0],
        ]
    )


def close(found: Any, expected: Any, atol: float = 1e-12) -> None:
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.fixture
def x() -> np.ndarray:
    return signal(TIME, 4)


@pytest.fixture
def u() -> np.ndarray:
    return signal(STEPS, 2, seed=8)


def net64(**settings: Any) -> Network:
    return draw(sizes=SIZES, **settings).net.astype("float64")


SETTINGS = {"feedback": WIRES, "scale": SCALE, "offset": OFFSET}


@pytest.mark.parametrize("cell", [oracles.Cell("lstm"), GRU], ids=str)
def test_a_forecast_is_the_loop_of_the_equations(cell, x, u, double):
    stack = draw(cell=cell, sizes=SIZES)
    expected = by_equations(stack, x, STEPS, wired(u))
    found = forecast(stack.net.astype("float64"), x, STEPS, exogenous=u, **SETTINGS)
    close(found.mean, expected.y)
    close(found.members, expected.y[None])
    close(found.inputs[0], expected.x)
    close(found.last[0], by_equations(stack, x[:-1], 1, lambda y, a, k: x[-1]).y[0])
    for name, (h, c) in zip(("one", "two"), expected.states, strict=True):
        close(found.state[name].h[0], h)
        if cell.kind == "lstm":
            close(found.state[name].c[0], c)
    assert found.origins == (TIME,) and found.fed_inputs == (3, 1)
    assert not np.any(found.std)
    assert "fc[1] -> in[4], fc[3] -> in[2]" in str(found)


def test_a_forecast_is_the_loop_of_torch(x, u, double):
    w = draw(sizes=SIZES)
    cells = [torch_cell(w.first), torch_cell(w.second)]
    dense = [torch.as_tensor(np.asarray(a, float)) for a in w.dense]
    states: list[Any] = [None, None]
    y = torch.zeros(3)
    ys = []
    with torch.no_grad():
        for k in range(TIME + STEPS):
            if k < TIME:
                value = torch.as_tensor(x[k])
            else:
                value = torch.as_tensor([u[k - TIME, 0], y[2], u[k - TIME, 1], y[0]])
            for n, cell in enumerate(cells):
                states[n] = cell(value, states[n])
                value = states[n][0]
            y = dense[0] @ value + dense[1]
            ys.append(y.numpy())
    found = forecast(net64(), x, STEPS, feedback=WIRES, exogenous=u)
    close(found.mean, ys[TIME:])
    close(found.last[0], ys[TIME - 1])
    close(found.state["two"].c[0], states[1][1])


def torch_cell(w: Any) -> Any:
    hidden, features = w["i.W"].shape
    cell = torch.nn.LSTMCell(features, hidden, dtype=torch.float64)
    with torch.no_grad():
        for name, kind in (("weight_ih", "W"), ("weight_hh", "R"), ("bias_ih", "b")):
            stacked = oracles.stack(w, "ifgo", kind, hidden)
            getattr(cell, name).copy_(torch.as_tensor(stacked))
        cell.bias_hh.zero_()
    return cell


def test_the_loop_of_matlabs_example(double, rng):
    # Y(1,:) = Z(end,:); for t = 2:n, [Y(t,:), net.State] = predict(net, Y(t-1,:)).
    net = Network.build(
        {
            "in": L.Input((2,)),
            "lstm": lstm(rng, 5, 2),
            "fc": L.FullyConnected(normal(rng, 2, 5), normal(rng, 2)),
        }
    ).astype("float64")
    x = rng.normal(size=(9, 2))
    stream = Stream(net)
    answers = [stream.step_many(x)[-1]]
    for _ in range(6):
        answers.append(stream.step(answers[-1]))
    found = forecast(net, x, 6)
    close(found.inputs[0], answers[:-1])
    close(found.mean, answers[1:])
    assert "fc[1] -> in[1], fc[2] -> in[2]; in this order; unscaled" in str(found)


def test_a_function_feeds_lags_back(x, double):
    stack = draw(sizes=SIZES)

    def lagged(y, x):
        return jnp.stack([jnp.tanh(y[1]), x[0], x[1], 2 * y[0]])

    def same(y, x, k):
        return np.array([np.tanh(y[1]), x[0], x[1], 2 * y[0]])

    found = forecast(net64(), x, STEPS, feedback=lagged)
    expected = by_equations(stack, x, STEPS, same)
    close(found.mean, expected.y)
    close(found.inputs[0], expected.x)
    assert "x = lagged(y, x)" in str(found)
    # The last input and output of a history are those of its own end.
    several = forecast(net64(), [x[:4], x], STEPS, feedback=lagged)
    close(several.inputs[0, 0], by_equations(stack, x[:4], STEPS, same).x)
    close(several.last, [[predict(net64(), x[:end])[-1]] for end in (4, TIME)])


def test_a_function_takes_exogenous_inputs_of_any_width(x, double):
    u = signal(STEPS, 3, seed=5)

    def rule(y, x, u):
        return jnp.concatenate([y + u, x[:1]])

    expected = by_equations(
        draw(sizes=SIZES), x, STEPS, lambda y, x, k: np.r_[y + u[k], x[0]]
    )
    close(forecast(net64(), x, STEPS, feedback=rule, exogenous=u).mean, expected.y)
    # Beside a recording, from any of its steps on.
    beside = signal(TIME, 3, seed=6)
    found = forecast(net64(), x, 2, feedback=rule, exogenous=beside, starts=range(4, 9))
    for k, start in enumerate(range(4, 9)):
        one = forecast(
            net64(), x[:start], 2, feedback=rule, exogenous=beside[start : start + 2]
        )
        close(found.members[k], one.members)


def test_starts_within_a_recording(x, double):
    stack, steps = draw(sizes=SIZES), 3
    found = forecast(net64(), x, steps, starts=range(2, 9, 3), **SETTINGS)
    assert found.origins == (2, 5, 8) and found.mean.shape == (3, 3, 3)
    for k, start in enumerate((2, 5, 8)):
        u = x[start : start + steps][:, [0, 2]]
        expected = by_equations(stack, x[:start], steps, wired(u))
        close(found.mean[k], expected.y)
        close(found.inputs[k, 0], expected.x)
        close(found.state["two"].c[k, 0], expected.states[1][1])
    every = forecast(net64(), x, steps, starts=2, **SETTINGS)
    assert every.origins == (2, 4, 6, 8)
    close(every.members[3], found.members[2])
    # Forecasts of what was not recorded.
    given = signal(9, 2).reshape(3, steps, 2)
    other = forecast(
        net64(), x, steps, starts=range(2, 9, 3), exogenous=given, **SETTINGS
    )
    close(other.mean[1], by_equations(stack, x[:5], steps, wired(given[1])).y)


def test_with_nothing_exogenous_the_last_start_may_be_the_end(double, rng):
    net = Network.build({"in": L.Input((2,)), "lstm": lstm(rng, 2, 2)})
    net = net.astype("float64")
    x = rng.normal(size=(7, 2))
    found = forecast(net, x, 5, starts=range(1, 8))
    close(found.members[-1], forecast(net, x, 5).members)
    close(found.members[0], forecast(net, x[:1], 5).members)


def test_histories_of_any_length(x, double):
    stack = draw(sizes=SIZES)
    us = [signal(STEPS, 2, seed=k) for k in range(3)]
    ends = (5, TIME, 1)
    found = forecast(
        net64(), [x[:end] for end in ends], STEPS, exogenous=us, **SETTINGS
    )
    assert found.origins == ends
    for k, end in enumerate(ends):
        expected = by_equations(stack, x[:end], STEPS, wired(us[k]))
        close(found.mean[k], expected.y)
        close(found.state["one"].h[k, 0], expected.states[0][0])


def test_an_ensemble_feeds_every_member_its_own_output(x, u, double):
    seeds = (7, 8, 9)
    nets = [net64(seed=seed) for seed in seeds]
    found = forecast(nets, x, STEPS, exogenous=u, quantiles=(0.1, 0.5), **SETTINGS)
    answers = [
        by_equations(draw(seed=k, sizes=SIZES), x, STEPS, wired(u)).y for k in seeds
    ]
    close(found.members, answers)
    close(found.mean, np.mean(answers, axis=0))
    close(found.std, np.std(answers, axis=0, ddof=1))
    close(found.quantiles, np.quantile(answers, (0.1, 0.5), axis=0))
    assert "3 networks" in str(found) and "spread" in str(found)
    # From within a recording, and of several histories.
    starts = forecast(nets, x, 3, starts=range(2, 9, 3), **SETTINGS)
    several = forecast(nets, [x[:2], x], 3, exogenous=np.stack([u[:3]] * 2), **SETTINGS)
    assert starts.members.shape == (3, 3, 3, 3)
    assert several.members.shape == (2, 3, 3, 3)
    for member, net in enumerate(nets):
        one = forecast(net, x, 3, starts=range(2, 9, 3), **SETTINGS)
        close(starts.members[:, member], one.members[:, 0])
        close(starts.state["one"].c[:, member], one.state["one"].c[:, 0])
        one = forecast(net, x[:2], 3, exogenous=u[:3], **SETTINGS)
        close(several.members[0, member], one.members[0])
        close(several.last[0, member], one.last[0])


def test_states_to_start_from(x, u, double):
    net, other = net64(), net64(seed=8)
    whole = forecast(net, x, STEPS, exogenous=u, **SETTINGS)
    _, middle = predict(net, x[:4], return_state=True)
    found = forecast(net, x[4:], STEPS, exogenous=u, state=middle, **SETTINGS)
    close(found.members, whole.members)
    initial = net.replace(initial=middle)
    close(forecast(initial, x[4:], STEPS, exogenous=u, **SETTINGS).mean, whole.mean)
    both = forecast(
        [net, other], x[4:], STEPS, exogenous=u, **SETTINGS,
        state=[middle, other.initial],
    )  # fmt: skip
    close(both.members[0], whole.members[0])
    one = forecast(other, x[4:], STEPS, exogenous=u, **SETTINGS)
    close(both.members[1], one.members[0])


def test_single_precision_and_engines(x, u):
    expected = by_equations(draw(sizes=SIZES), x, STEPS, wired(u))
    for engine in ("cpu", "xla"):
        found = forecast(
            draw(sizes=SIZES).net, x, STEPS, exogenous=u, engine=engine, **SETTINGS
        )
        assert found.members.dtype == np.float32
        close(found.mean, expected.y, 2e-6)


def test_several_inputs_outputs_and_the_last_step_so_far(rng, double):
    layers = {
        "u": L.Input((2,)), "v": L.Input((1,)), "both": L.Concatenation(),
        "lstm": lstm(rng, 3, 3, output_mode="last"), "tanh": L.Activation("tanh"),
    }  # fmt: skip
    graph = [
        Node("u", ()), Node("v", ()), Node("both", ("u", "v")),
        Node("lstm", ("both",)), Node("tanh", ("lstm",)),
    ]  # fmt: skip
    net = Network.build(layers, graph, outputs=["tanh", "lstm/cell"])
    net = net.astype("float64")
    u, v = rng.normal(size=(6, 2)), rng.normal(size=(6, 1))
    stream = Stream(net)
    h, c = (a[-1] for a in stream.step_many((u, v)))
    ys = []
    for k in range(4):
        h, c = stream.step((np.array([c[2], k]), np.array([h[0]])))
        ys.append(np.concatenate([h, c]))
    future = np.arange(4.0)[:, None]
    found = forecast(
        net, {"v": v, "u": u}, 4, exogenous=future,
        feedback={"v[1]": "tanh[1]", "u[1]": "lstm/cell[3]"},
    )  # fmt: skip
    close(found.mean, ys)
    close(found.inputs[0, :, 1], future[:, 0])


@pytest.mark.parametrize("wiring", ["behind the last step", "added to every step"])
def test_what_a_layer_says_last_goes_on_at_every_step(wiring, rng, double):
    """Single steps, and not a run over the history in which there is one last step."""
    layers = {"in": L.Input((3,)), "last": lstm(rng, 3, 3, output_mode="last")}
    graph = [Node("in", ()), Node("last", ("in",))]
    if wiring == "behind the last step":
        layers["end"] = lstm(rng, 3, 3)
        graph.append(Node("end", ("last",)))
    else:
        layers |= {"sum": L.Addition(), "end": lstm(rng, 3, 3)}
        graph += [Node("sum", ("in", "last")), Node("end", ("sum",))]
    net = Network.build(layers, graph).astype("float64")
    x = rng.normal(size=(9, 3))

    def plain(history):
        stream = Stream(net)
        ys = [stream.step(one) for one in history]
        for _ in range(4):
            ys.append(stream.step(ys[-1]))
        return ys[-4:]

    close(forecast(net, x, 4).mean, plain(x))
    both = forecast(net, [x[:5], x], 4)
    close(both.mean, [plain(x[:5]), plain(x)])
    rolling = forecast(net, x, 4, starts=range(2, 9, 3))
    close(rolling.mean, [plain(x[:k]) for k in (2, 5, 8)])


def test_derivatives_against_finite_differences(x, u, double):
    # Of the equations, so that the differences are not those of what they judge.
    stacks = [draw(sizes=SIZES), draw(seed=8, sizes=SIZES)]
    nets = [stack.net.astype("float64") for stack in stacks]
    weights = np.cos(np.arange(2 * STEPS * 3)).reshape(2, STEPS, 3)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1, 2, 3))
    def slopes(nets, x, u, scale):
        found = forecast(
            nets, x, STEPS, feedback=WIRES, exogenous=u, scale=scale, offset=OFFSET
        )
        return jnp.sum(found.members * weights)

    by_nets, *by = slopes(nets, x, u, SCALE)

    def loss(name: str, change: float) -> float:
        """With every number of one argument moved; of the second network its `R_f`."""
        total = 0.0
        for k, stack in enumerate(stacks):
            first = dict(stack.first)
            first["f.R"] = first["f.R"] + change * (name == "net" and k == 1)
            feed = wired(u + change * (name == "u"), SCALE + change * (name == "scale"))
            moved = stack._replace(first=first)
            y = by_equations(moved, x + change * (name == "x"), STEPS, feed).y
            total += np.sum(weights[k] * y)
        return total

    found = dict(zip(("x", "u", "scale"), by, strict=True))
    found["net"] = by_nets[1].layers["one"].f.recurrent_weights
    for name, slope in found.items():
        nudge = 1e-5
        difference = (loss(name, nudge) - loss(name, -nudge)) / (2 * nudge)
        assert abs(difference) > 1e-3
        np.testing.assert_allclose(np.sum(slope), difference, rtol=1e-7)


def test_under_jit_and_vmap(x, u, double):
    net = net64()
    batch = np.stack([x, x[::-1], -x])
    run = jax.jit(
        jax.vmap(lambda x: forecast([net, net], x, STEPS, exogenous=u, **SETTINGS))
    )
    found = run(batch)
    assert isinstance(found, Forecast) and found.members.shape == (3, 2, STEPS, 3)
    for k in range(3):
        one = forecast(net, batch[k], STEPS, exogenous=u, **SETTINGS)
        close(found.mean[k], one.mean)
    assert repr(jax.eval_shape(run, batch)).startswith("Forecast(members (3, 2, 8, 3)")


def test_one_scan_compiled_once_for_all_histories(x, u):
    net, steps = draw(sizes=SIZES).net, STEPS - 1
    before = compiled.closed._cache_size()
    for end in (4, 7, TIME):
        forecast(net, x[:end], steps, exogenous=u[:-1], **SETTINGS)
    # Another network, other inputs, another scale.
    other = draw(seed=8, sizes=SIZES).net
    forecast(other, x, steps, exogenous=-u[:-1], feedback=WIRES, scale=2.0)
    assert compiled.closed._cache_size() == before + 1

    def loop(nets, x):
        return forecast(nets, x, STEPS, starts=2, **SETTINGS).members

    program = jax.make_jaxpr(loop)([net, net], np.tile(x, (3, 1)))
    lengths = [eqn.params["length"] for eqn in scans(program.jaxpr, "closed")]
    assert lengths == [STEPS]


def scans(jaxpr: Any, inside: str, found: bool = False) -> Any:
    """Every scan in the program of that name, not those within scans."""
    for eqn in jaxpr.eqns:
        within = found or eqn.params.get("name") == inside
        if within and eqn.primitive.name == "scan":
            yield eqn
            continue
        for value in eqn.params.values():
            if hasattr(value, "jaxpr"):
                yield from scans(value.jaxpr, inside, within)


REFUSED = [
    (dict(feedback=None), "which output is fed back"),
    (dict(feedback=None, exogenous=np.ones((STEPS, 1))), "which output is fed back"),
    (dict(feedback={}), "nothing is fed back"),
    (dict(feedback=[0]), "not a feedback"),
    (dict(feedback={4: 0}), "no such input"),
    (dict(feedback={-1: 0}), "no such input"),
    (dict(feedback={True: 0}), "no such input"),
    (dict(feedback={"in[5]": 0}), "no such input"),
    (dict(feedback={0: "fc[4]"}), "no such output"),
    (dict(feedback={0: 1.0}), "no such output"),
    (dict(feedback={0: 1, "in[1]": 2}), "fed back twice"),
    (dict(exogenous=None), r"in\[1\], in\[3\]"),
    (dict(exogenous=np.ones((STEPS, 3))), r"\(8, 2\): in\[1\], in\[3\]"),
    (dict(exogenous=np.ones((STEPS - 1, 2))), "needed for every step"),
    (dict(exogenous=np.ones(STEPS)), "needed for every step"),
    (dict(exogenous=np.ones((STEPS, 2), complex)), "not an array of numbers"),
    (dict(exogenous="future"), "not an array of numbers"),
    (dict(feedback=dict(enumerate([0, 1, 2, 0]))), "every input is fed back"),
    (dict(feedback=lambda y, x: y), "shape"),
    (dict(feedback=lambda y, x, u: x, scale=2.0), "scale inside"),
    (dict(scale=[1.0, 2.0]), "one number for each output"),
    (dict(offset=np.ones((3, 1))), "one number for each output"),
    (dict(steps=0), "whole number from 1"),
    (dict(steps=2.5), "whole number from 1"),
    (dict(quantiles=(0.5, 1.5)), "not quantiles"),
    (dict(starts=0), "whole number from 1"),
    (dict(starts=range(0, 4)), "no steps to start from"),
    (dict(starts=range(8, 2, -1)), "no steps to start from"),
    (dict(starts=4), "no steps to start from"),
    (dict(starts=range(2, 9), exogenous=None), "ends before the last forecast"),
    (dict(history=[]), "no history"),
    (dict(history=np.ones((TIME, 3))), "does not fit"),
    (dict(history=np.ones((0, 4))), "too short"),
    (dict(history=[np.ones((3, 4)), np.ones((3, 5))]), "history 2"),
    (dict(history=[np.ones((3, 4))], starts=1), "one recording"),
    (dict(state={}), "other layers"),
    (dict(state=3), "not a state"),
]


@pytest.mark.parametrize("change, words", REFUSED)
def test_refused(x, u, change, words):
    given: dict[str, Any] = {"history": x, "steps": STEPS, "exogenous": u}
    given |= {"feedback": WIRES} | change
    if change.get("feedback") and "exogenous" not in change and words == "shape":
        given["exogenous"] = None
    net = draw(sizes=SIZES).net
    with pytest.raises(InputError) as refused:
        forecast(net, given.pop("history"), given.pop("steps"), **given)
    assert re.search(words, str(refused.value)), refused.value


def test_networks_that_do_not_step_are_refused_by_name(rng):
    both = Bidirectional(lstm(rng, 2, 4), lstm(rng, 2, 4))
    net = Network.build({"in": L.Input((4,)), "both ways": both})
    with pytest.raises(InputError, match="step by step") as refused:
        forecast(net, np.ones((3, 4)), 2)
    assert "both ways" in str(refused.value) and "whole sequence" in str(refused.value)
    vector = Network.build(
        {"in": L.Input((2,), time=False), "tanh": L.Activation("tanh")}
    )
    with pytest.raises(InputError, match="one vector"):
        forecast(vector, np.ones((3, 2)), 2)


def test_ensembles_are_of_one_architecture(x, u):
    nets = [draw(sizes=SIZES).net, draw(sizes=(4, 6, 4, 3)).net]
    with pytest.raises(InputError, match="network 2"):
        forecast(nets, x, STEPS, exogenous=u, **SETTINGS)
    with pytest.raises(InputError, match="not one state for each"):
        forecast(nets[:1], x, STEPS, exogenous=u, **SETTINGS, state=nets[0].initial)


def test_scores_of_classes_are_not_fed_back_by_themselves(rng):
    net = Network.build(
        {
            "in": L.Input((2,)), "lstm": lstm(rng, 2, 2), "softmax": L.Softmax(),
            "out": L.Classification(("a", "b")),
        }
    )  # fmt: skip
    with pytest.raises(InputError, match="which output"):
        forecast(net, np.ones((3, 2)), 4)


def test_a_loop_that_blows_up_says_so():
    net = Network.build(
        {
            "in": L.Input((1,)),
            "fc": L.FullyConnected(np.full((1, 1), 1e8, "f4"), np.zeros(1, "f4")),
        }
    )
    found = forecast(net, np.ones((2, 1)), 9)
    assert not np.isfinite(found.mean).all()
    at = int(np.argmin(np.isfinite(found.mean)))
    assert f"NOT FINITE from y[T+{at}]" in str(found)
