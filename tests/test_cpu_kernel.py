"""The kernel in C++ equals the equations in float64, forwards and backwards.

With the sanitizers (the extension is built and imported from elsewhere):

    cmake -S . -B build/sanitized -G Ninja -DJLSTM_SANITIZE=ON
    cmake --build build/sanitized
    preload="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
    JLSTM_TEST_KERNEL=build/sanitized ASAN_OPTIONS=detect_leaks=0 \\
        LD_PRELOAD="$preload" python -m pytest -n 0 tests/test_cpu_*.py

libasan must know libstdc++ before jaxlib, which has one of its own, throws.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recurrent_torch as reference
from recurrent_torch import GRU_AFTER, GRU_BEFORE, LSTM, Case, Layer

if elsewhere := os.environ.get("JLSTM_TEST_KERNEL"):
    sys.path.insert(0, elsewhere)
    _cpu = importlib.import_module("_cpu")
else:
    _cpu = pytest.importorskip(
        "jlstm.kernels._cpu", reason="the kernel was not built: no compiler"
    )

SETS = _cpu.instructions()
TOLERANCE = {np.float32: 3e-6, np.float64: 2e-14}
GRADIENT_TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
FORWARD, BACKWARD = "test_jlstm_forward", "test_jlstm_backward"


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    handlers = _cpu.handlers()
    jax.ffi.register_ffi_target(FORWARD, handlers["jlstm_forward"], platform="cpu")
    jax.ffi.register_ffi_target(BACKWARD, handlers["jlstm_backward"], platform="cpu")
    with jax.enable_x64(True):
        yield
    _cpu.use(SETS[0])


def cast(case: Case, dtype) -> Case:
    def one(a):
        if isinstance(a, list):
            return [one(each) for each in a]
        return jnp.asarray(a if a.dtype == np.int32 else a.astype(dtype))

    return Case(*map(one, case))


def shape(*sizes: int, of) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, of)


def attributes(layer: Layer, threads: int) -> dict:
    found = dict(
        kind=layer.kind,
        state_activation=layer.state,
        gate_activation=layer.gate,
        reverse=int(layer.reverse),
        threads=threads,
    )
    return {name: np.int64(value) for name, value in found.items()}


def weights(case: Case) -> list:
    return [*case.w, *case.r, *case.b, *case.rb]


def forward(layer: Layer, case: Case, threads: int = 0, save: bool = True):
    batch, time, _ = case.x.shape
    units, dtype = case.h0.shape[1], case.x.dtype
    lstm = layer.kind == LSTM
    out = [shape(batch, time, units, of=dtype), shape(batch, units, of=dtype)]
    out += [shape(batch, units, of=dtype)] if lstm else []
    if save:
        saved = _cpu.saved_shape(layer.kind, batch, time, units, dtype == np.float64)
        out.append(shape(*saved, of=dtype))
    first = [case.x, case.length, case.h0, *([case.c0] if lstm else [])]
    return jax.ffi.ffi_call(FORWARD, out)(
        *first, *weights(case), save=np.int64(save), **attributes(layer, threads)
    )


def backward(layer: Layer, case: Case, results, slopes, threads: int = 0, need_dx=1):
    dtype, lstm = case.x.dtype, layer.kind == LSTM
    first = [case.x, case.length, case.h0, *([case.c0] if lstm else [])]
    state = slopes[1:] if lstm else slopes[1:2]
    like = [case.x, case.h0, *([case.c0] if lstm else []), *weights(case)]
    return jax.ffi.ffi_call(BACKWARD, [shape(*a.shape, of=dtype) for a in like])(
        *first,
        results[0],
        results[-1],
        slopes[0],
        *state,
        *weights(case),
        need_dx=np.int64(need_dx),
        **attributes(layer, threads),
    )


def off(found, expected: np.ndarray, scale: float = 0.0) -> float:
    """The largest difference, relative to the largest number if that is above 1."""
    if not expected.size:
        return 0.0
    difference = np.abs(np.asarray(found, np.float64) - expected).max()
    return float(difference / max(1.0, np.abs(expected).max(), scale))


def hide_padding(case: Case) -> Case:
    """What lies beyond a row's length is nobody's business: not a number."""
    x = case.x.copy()
    for row, length in zip(x, case.length, strict=True):
        row[length:] = np.nan
    return case._replace(x=x)


def agree(layer: Layer, sizes, *, ragged: bool, seed: int, threads=(1,)) -> None:
    rng = np.random.default_rng(seed)
    case = reference.random_case(rng, layer, sizes, ragged)
    batch, time, _, units = sizes
    slopes = [rng.normal(size=s) for s in ((batch, time, units), *[(batch, units)] * 2)]
    if layer.kind != LSTM:
        slopes[2][:] = 0
    results, slopes_found = reference.gradients(layer, case, *slopes)
    expected = results if layer.kind == LSTM else results[:2]
    for dtype in (np.float32, np.float64):
        given = cast(hide_padding(case), dtype)
        given_slopes = [jnp.asarray(d.astype(dtype)) for d in slopes]
        for count in threads:
            for name in SETS:
                _cpu.use(name)
                found = forward(layer, given, count)
                for place, (a, b) in enumerate(zip(found, expected, strict=False)):
                    assert off(a, b) < TOLERANCE[dtype], (name, dtype, count, place)
                back = backward(layer, given, found, given_slopes, count)
                for place, (a, b) in enumerate(zip(back, slopes_found, strict=True)):
                    assert off(a, b) < GRADIENT_TOLERANCE[dtype], (
                        name, dtype, count, place,
                    )  # fmt: skip


UNITS, TIMES, BATCHES, INPUTS = (
    (1, 3, 17, 127, 130),
    (0, 1, 5),
    (0, 1, 2, 7),
    (1, 3, 33),
)


def grid() -> list:
    """Every pair of units and kind; the other sizes take turns beside them."""
    rng = np.random.default_rng(5)
    found = []
    for kind in (LSTM, GRU_AFTER, GRU_BEFORE):
        for units in UNITS:
            for turn in range(3):
                pick = rng.integers(1 << 30, size=3)
                batch = BATCHES[1:][pick[0] % 3]
                time = 5 if turn else TIMES[1:][pick[1] % 2]
                state, gate = (0, 0) if turn == 0 else (turn % 3, pick[2] % 2)
                layer = Layer(kind, int(state), int(gate), bool(turn % 2))
                sizes = (batch, time, INPUTS[(turn + units) % 3], units)
                found.append((layer, sizes, turn == 1))
        found.append((Layer(kind), (0, 5, 3, 17), False))
        found.append((Layer(kind), (2, 0, 3, 17), False))
        found.append((Layer(kind), (70, 3, 3, 17), True))
    return found


@pytest.mark.parametrize(("layer", "sizes", "ragged"), grid(), ids=str)
def test_a_layer_equals_its_equations(layer, sizes, ragged) -> None:
    agree(layer, sizes, ragged=ragged, seed=sum(sizes))


@pytest.mark.parametrize("kind", [LSTM, GRU_AFTER, GRU_BEFORE])
@pytest.mark.parametrize("batch", [1, 7, 20])
def test_threads_change_nothing(kind: int, batch: int) -> None:
    """Large enough for several: units for a few rows, rows for many."""
    agree(Layer(kind), (batch, 30, 33, 130), ragged=True, seed=batch, threads=(2, 3))


@pytest.mark.parametrize("kind", [LSTM, GRU_AFTER, GRU_BEFORE])
def test_threads_take_rows_in_turn(kind: int) -> None:
    """More rows than go through the steps together, for each thread."""
    agree(Layer(kind), (215, 9, 3, 19), ragged=True, seed=2, threads=(1, 2))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_threads_on_one_processor_part_and_stay_free() -> None:
    """Where they can part, and where there is one processor for all of them."""
    layer, rng = Layer(), np.random.default_rng(0)
    case = reference.random_case(rng, layer, (1, 300, 33, 130), False)
    expected = reference.forward(layer, reference.tensors(case))[0].detach().numpy()
    run = jax.jit(lambda given: forward(layer, given, 2, save=False)[0])
    given = cast(case, np.float64)
    allowed = os.sched_getaffinity(0)
    run(given)  # starts threads

    def right_within(processors: set[int]) -> None:
        place(processors)
        for _ in range(3):
            assert off(run(given), expected) < TOLERANCE[np.float64]
        assert places() == {frozenset(processors)}

    try:
        right_within({min(allowed)})
    finally:
        right_within(allowed)  # at first they are still where they were


def place(processors: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), processors)


def places() -> set[frozenset[int]]:
    """The processors that the threads of this process may use."""
    found = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            found.add(frozenset(os.sched_getaffinity(int(thread))))
    return found


@pytest.mark.parametrize("kind", [LSTM, GRU_AFTER, GRU_BEFORE])
def test_many_steps_backwards_in_time(kind: int) -> None:
    """More steps than are projected together or kept for the weights' gradients."""
    agree(Layer(kind, reverse=True), (2, 450, 3, 17), ragged=True, seed=1)


def test_the_gradient_of_the_input_is_zero_where_nobody_needs_it() -> None:
    layer, rng = Layer(), np.random.default_rng(0)
    case = cast(reference.random_case(rng, layer, (2, 3, 4, 5), False), np.float64)
    found = forward(layer, case)
    slopes = [jnp.ones_like(a) for a in found[:3]]
    with_dx = backward(layer, case, found, slopes)
    without = backward(layer, case, found, slopes, need_dx=0)
    assert np.abs(with_dx[0]).min() > 0 and not np.any(without[0])
    for a, b in zip(with_dx[1:], without[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_saved_serves_every_instruction_set() -> None:
    layer, rng = Layer(), np.random.default_rng(0)
    case = cast(reference.random_case(rng, layer, (3, 4, 5, 19), False), np.float64)
    slopes = [jnp.ones((3, 4, 19)), jnp.ones((3, 19)), jnp.ones((3, 19))]
    gradients = []
    for name in SETS:
        _cpu.use(SETS[-1])
        found = forward(layer, case)
        _cpu.use(name)
        gradients.append(backward(layer, case, found, slopes))
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def wrong_arguments(case: Case) -> list:
    r = case.r[0]
    return [
        (case._replace(r=[r, r, r, r[:, :-1]]), "R_o has shape"),
        (case._replace(b=case.b[:3]), "expected|missing"),
        (case._replace(length=case.length.astype(jnp.float32)), "length is not int32"),
        (case._replace(h0=case.h0.astype(jnp.float32)), "h0 is not float64"),
        (case._replace(x=case.x[..., :-1]), "W_i has shape"),
    ]


@pytest.mark.parametrize("number", range(5))
def test_wrong_arguments_are_refused_in_words(number: int) -> None:
    rng = np.random.default_rng(0)
    case = cast(reference.random_case(rng, Layer(), (2, 3, 4, 5), False), np.float64)
    wrong, words = wrong_arguments(case)[number]
    with pytest.raises(Exception, match=words):
        jax.block_until_ready(forward(Layer(), wrong))


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(ValueError, match="mmx"):
        _cpu.use("mmx")
    assert _cpu.in_use() in SETS
