"""A network's time step in C++ equals the equations in float64."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
import recurrent_torch as reference
import torch
from recurrent_torch import GRU_AFTER, GRU_BEFORE, LSTM, Layer
from test_cpu_kernel import SETS, _cpu

C, H, O, T = 5, 19, 3, 7  # noqa: E741
NAMES = {LSTM: "lstm", GRU_AFTER: "gru-after", GRU_BEFORE: "gru-before"}
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


@pytest.fixture(autouse=True, params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[None]:
    _cpu.use(request.param)
    yield
    _cpu.use(SETS[0])


def elementwise(name: str, x: np.ndarray, *constants: float) -> np.ndarray:
    """What a plan makes of `x` by one operation."""
    n = x.size
    operation = (name, (0,), n, (n,), constants, ())
    plan = _cpu.Plan([operation], [], x.dtype == np.float64, n, n, n, 0, 2 * n)
    y = np.full_like(x, np.nan)
    plan.step(x, np.zeros(0, x.dtype), y)
    return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_and_sigmoid_are_exact_to_a_few_roundings(dtype) -> None:
    eps = np.finfo(dtype).eps
    small = np.logspace(-30, 0, 500)
    x = np.concatenate([small, -small, np.linspace(-20, 20, 4001)]).astype(dtype)
    wide = x.astype(np.float64)
    for name, expected in (
        ("tanh", np.tanh(wide)),
        ("sigmoid", 1 / (1 + np.exp(-wide))),
    ):
        found = elementwise(name, x).astype(np.float64)
        scale = np.where(expected == 0, 1, np.abs(expected))
        assert (np.abs(found - expected) / scale).max() < 2.5 * eps, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_are_kept_and_what_is_no_number_stays_none(dtype) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1e30, -1e30, 0, 88, -709], dtype)
    found = elementwise("tanh", x)
    np.testing.assert_allclose(found, [1, -1, np.nan, 1, -1, 0, 1, -1], rtol=1e-6)
    found = elementwise("sigmoid", x)
    expected = [1, 0, np.nan, 1, 0, 0.5, 1, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(np.isnan(elementwise("softsign", x)), np.isnan(x))
    np.testing.assert_array_equal(np.isnan(elementwise("relu", x)), np.isnan(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(dtype) -> None:
    x = np.linspace(-6, 6, 77).astype(dtype)
    t = torch.tensor(x.astype(np.float64))
    f = torch.nn.functional
    cases = [
        ("relu", (), f.relu(t)),
        ("leaky-relu", (0.3,), f.leaky_relu(t, 0.3)),
        ("softsign", (), f.softsign(t)),
        ("hard-sigmoid", (0.2, 0.5), torch.clamp(0.2 * t + 0.5, 0, 1)),
        ("elu", (0.7,), f.elu(t, 0.7)),
        ("clipped-relu", (2.0,), torch.clamp(t, 0, 2)),
        ("softplus", (), torch.log1p(torch.exp(t))),
        ("swish", (), f.silu(t)),
        ("gelu", (), f.gelu(t)),
        ("gelu-tanh", (), f.gelu(t, approximate="tanh")),
        ("softmax", (), torch.softmax(t, 0)),
    ]
    for name, constants, expected in cases:
        found = elementwise(name, x, *constants)
        assert np.abs(found - expected.numpy()).max() < TOLERANCE[dtype], name


def network(layer: Layer, case, dense, dtype):
    """Scaling, the layer, relu, and a product added to its own square."""
    arrays = [np.full(C, 0.25), np.full(C, 2.0), np.full(C, -0.5)]
    arrays += [*case.w, *case.r, *case.b, *case.rb, *dense]
    places = tuple(range(3, len(arrays) - 2))
    h, y, z = C, C + H, C + H + O
    sizes = (H, C, 0, H) if layer.kind == LSTM else (H, C, 0)
    operations = [
        ("scale", (0,), 0, (C,), (), (0, 1, 2)),
        (NAMES[layer.kind], (0,), h, sizes, (layer.state, layer.gate), places),
        ("relu", (h,), h, (H,), (), ()),
        ("dense", (h,), y, (O, H), (), (len(arrays) - 2, len(arrays) - 1)),
        ("multiply", (y, y), z, (O,), (), ()),
        ("add", (y, z), y, (O,), (), ()),
    ]
    arrays = [np.ascontiguousarray(a, dtype) for a in arrays]
    states = 2 * H if layer.kind == LSTM else H
    return _cpu.Plan(operations, arrays, dtype is np.float64, C, O, y, states, z + O)


@pytest.mark.parametrize("outputs", [3, 21])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "layer",
    [Layer(kind, *f) for kind in NAMES for f in ((0, 0), (1, 1), (2, 0))],
    ids=str,
)
def test_a_network(monkeypatch, layer: Layer, dtype, outputs: int) -> None:
    monkeypatch.setitem(globals(), "O", outputs)
    rng = np.random.default_rng(3)
    case = reference.random_case(rng, layer, (1, T, C, H), False)
    dense = [rng.normal(size=(O, H)), rng.normal(size=O)]
    scaled = case._replace(x=(case.x - 0.25) * 2 - 0.5)
    ys, h, c = (
        a.detach().numpy() for a in reference.forward(layer, reference.tensors(scaled))
    )
    product = np.maximum(ys[0], 0) @ dense[0].T + dense[1]
    expected = product + product**2
    plan = network(layer, case, dense, dtype)
    last = [h[0], c[0]] if layer.kind == LSTM else [h[0]]
    start = [case.h0[0], case.c0[0]] if layer.kind == LSTM else [case.h0[0]]
    x = case.x[0].astype(dtype)
    state, y = np.concatenate(start).astype(dtype), np.zeros((T, O), dtype)
    plan.run(x, state, y)
    scale = max(1, np.abs(expected).max())
    assert np.abs(y - expected).max() / scale < 3 * TOLERANCE[dtype]
    assert np.abs(state - np.concatenate(last)).max() < 3 * TOLERANCE[dtype]
    again, one = np.concatenate(start).astype(dtype), np.zeros(O, dtype)
    for t in range(T):
        plan.step(x[t], again, one)
        assert np.abs(one - expected[t]).max() / scale < 3 * TOLERANCE[dtype]
    # Many steps add up their products in another order.
    assert np.abs(again - state).max() < 3 * TOLERANCE[dtype]


class Chain(NamedTuple):
    """Two layers, what goes through them, and what comes out in float64."""

    layers: list[Layer]
    cases: list[reference.Case]
    y: np.ndarray
    start: np.ndarray
    last: np.ndarray


@functools.cache
def chain(kinds: tuple[int, int], steps: int, wide: int) -> Chain:
    rng = np.random.default_rng(5)
    cases, start, last, y = [], [], [], np.empty(0)
    for kind, inputs, units in zip(kinds, (C, wide), (wide, wide + 2), strict=True):
        case = reference.random_case(rng, Layer(kind), (1, steps, inputs, units), False)
        # So small that rounding fades away from step to step.
        case = case._replace(
            w=[w / inputs**0.5 for w in case.w], r=[r / 2 for r in case.r]
        )
        if cases:
            case = case._replace(x=y)
        with torch.no_grad():
            y, h, c = (
                a.numpy()
                for a in reference.forward(Layer(kind), reference.tensors(case))
            )
        parts = 2 if kind == LSTM else 1
        start += [case.h0[0], case.c0[0]][:parts]
        last += [h[0], c[0]][:parts]
        cases.append(case)
    layers = [Layer(kind) for kind in kinds]
    return Chain(layers, cases, y[0], np.concatenate(start), np.concatenate(last))


# Some steps, some spans and a rest; so many that threads share them.
@pytest.mark.parametrize(("steps", "wide"), [(25, 19), (121, 37), (250, 149)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "kinds", [(LSTM, GRU_AFTER), (GRU_BEFORE, LSTM), (LSTM, LSTM)], ids=str
)
def test_many_steps_of_two_layers(kinds, dtype, steps: int, wide: int) -> None:
    made = chain(kinds, steps, wide)
    operations, arrays, states = [], [], 0
    at, row = 0, C
    for layer, case in zip(made.layers, made.cases, strict=True):
        own = [*case.w, *case.r, *case.b, *case.rb]
        units, inputs = case.w[0].shape
        places = (states, states + units)[: 2 if layer.kind == LSTM else 1]
        where = tuple(range(len(arrays), len(arrays) + len(own)))
        sizes = (units, inputs, *places)
        operations.append((NAMES[layer.kind], (at,), row, sizes, (0, 0), where))
        arrays += own
        at, row, states = row, row + units, states + units * len(places)
    arrays = [np.ascontiguousarray(a, dtype) for a in arrays]
    plan = _cpu.Plan(
        operations, arrays, dtype is np.float64, C, wide + 2, at, states, row
    )
    x, state = made.cases[0].x[0].astype(dtype), made.start.astype(dtype)
    y = np.full((steps, wide + 2), np.nan, dtype)
    plan.run(x, state, y)
    assert np.abs(y - made.y).max() < 3 * TOLERANCE[dtype]
    assert np.abs(state - made.last).max() < 3 * TOLERANCE[dtype]


def test_threads_take_turns() -> None:
    """Each with a state of its own, like forks of a stream; some step by step."""
    layer, rng = Layer(), np.random.default_rng(4)
    case = reference.random_case(rng, layer, (1, T, C, H), False)
    dense = [rng.normal(size=(O, H)), rng.normal(size=O)]
    plan = network(layer, case, dense, np.float64)
    xs = rng.normal(size=(4, 3000, C))

    def steps(x: np.ndarray, by_one: bool) -> np.ndarray:
        state, y = np.zeros(2 * H), np.zeros((len(x), O))
        for x_t, y_t in zip(x, y, strict=True) if by_one else ():
            plan.step(x_t, state, y_t)
        if not by_one:
            for part in range(0, len(x), 100):
                plan.run(x[part : part + 100], state, y[part : part + 100])
        return y

    by_one = [False, True, False, True]
    expected = [*map(steps, xs, by_one)]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(steps, xs, by_one)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_does_not_fit_is_refused() -> None:
    def make(operation, inputs=4, row=8, arrays=(), states=0):
        return _cpu.Plan([operation], arrays, False, inputs, 4, 4, states, row)

    relu = ("relu", (0,), 4, (4,), (), ())
    plan = make(relu)
    x, none, y = np.zeros(4, np.float32), np.zeros(0, np.float32), np.ones(4, "f4")
    plan.step(x, none, y)
    assert not y.any()
    with pytest.raises(TypeError, match="float32"):
        plan.step(x.astype(np.float64), none, y)
    with pytest.raises(TypeError, match="3 arrays"):
        plan.step(x, y)
    with pytest.raises(ValueError, match="expected 4"):
        plan.step(x[:3], none, y)
    with pytest.raises(ValueError, match="outside"):
        make(("relu", (0,), 5, (4,), (), ()))
    with pytest.raises(ValueError, match="overlap"):
        make(("relu", (0,), 2, (4,), (), ()))
    with pytest.raises(ValueError, match="no operation 'sinc'"):
        make(("sinc", (0,), 4, (4,), (), ()))
    with pytest.raises(ValueError, match="a tuple of 1"):
        make(("leaky-relu", (0,), 4, (4,), (), ()))
    with pytest.raises(ValueError, match="holds 3 numbers, expected 4"):
        make(("scale", (0,), 4, (4,), (), (0, 0, 0)), arrays=[np.ones(3, np.float32)])
    with pytest.raises(ValueError, match="outside"):
        make(("lstm", (0,), 4, (4, 4, 0, 4), (0, 0), (0,) * 12), states=7)
    y.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        plan.step(x, none, y)
    assert math.isfinite(y.sum())
