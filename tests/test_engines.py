"""Every engine gives what `lax.scan` gives, under every transformation of JAX.

The scan is written here, from the equations, one sequence at a time.
"""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jlstm.errors import InputError, Unsupported
from jlstm.kernels import engines, scan
from jlstm.recurrent import GRU, LSTM, RNN, Gate, Peephole

B, T, C, H = 4, 7, 3, 5
KERNEL = engines.available()[0]
needs_kernel = pytest.mark.skipif(not KERNEL.usable, reason=KERNEL.reason)
ENGINES = ["xla", *(["cpu"] if KERNEL.usable else [])]
LAYERS = {
    "lstm": (LSTM, {}),
    "lstm, hard": (
        LSTM,
        {"gate_activation": "hard-sigmoid", "state_activation": "softsign"},
    ),
    "lstm, other output": (LSTM, {"output_activation": "softsign"}),
    "gru after": (GRU, {}),
    "gru biased": (GRU, {"reset_mode": "recurrent-bias-after-multiplication"}),
    "gru before": (GRU, {"reset_mode": "before-multiplication"}),
    "rnn": (RNN, {"state_activation": "relu"}),
    "lstm projected": (LSTM, {}),
    "gru projected": (GRU, {"reset_mode": "before-multiplication"}),
}
KNOWN_TO_THE_KERNEL = [k for k in LAYERS if k not in ("rnn", "lstm, other output")]
FUNCTIONS = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "softsign": jax.nn.soft_sign,
    "sigmoid": jax.nn.sigmoid,
    "hard-sigmoid": lambda x: jnp.clip(0.2 * x + 0.5, 0, 1),
}


def layer(kind="lstm", hidden=H, dtype=np.float64):
    made, settings = LAYERS[kind]
    rng = np.random.default_rng(hidden)
    sizes = [(hidden, C), (hidden, hidden), (hidden,)]
    sizes += [(hidden,)] if kind == "gru biased" else []
    gates = {
        name: Gate(*(rng.normal(0, hidden**-0.5, size).astype(dtype) for size in sizes))
        for name in made.gates
    }
    if "projected" in kind:
        settings = settings | {
            "input_projector": rng.normal(size=(C, 2)).astype(dtype),
            "output_projector": rng.normal(0, 0.5, (hidden, 4)).astype(dtype),
        }
        gates = {
            name: dataclasses.replace(
                gate,
                input_weights=gate.input_weights[:, :2],
                recurrent_weights=gate.recurrent_weights[:, :4],
            )
            for name, gate in gates.items()
        }
    return made(**gates, **settings)


def start(of, dtype=np.float64):
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda a: rng.normal(0, 0.5, a.shape).astype(dtype), of.init_state()
    )


def sequences(dtype=np.float64):
    return np.random.default_rng(2).normal(size=(B, T, C)).astype(dtype)


def equations(of, state, x):
    """One step, gate by gate."""
    gate, squash = FUNCTIONS[of.gate_activation], FUNCTIONS[of.state_activation]
    h = state.h
    x = x if of.input_projector is None else of.input_projector.T @ x

    def back(g, h):
        h = h if of.output_projector is None else of.output_projector.T @ h
        return g.recurrent_weights @ h

    def taken(g):
        return g.input_weights @ x + back(g, h) + g.bias

    if isinstance(of, LSTM):
        c = gate(taken(of.f)) * state.c + gate(taken(of.i)) * squash(taken(of.g))
        leave = FUNCTIONS[of.output_activation or of.state_activation]
        return type(state)(gate(taken(of.o)) * leave(c), c)
    if isinstance(of, RNN):
        return type(state)(squash(taken(of.n)))
    extra = [0 if g.recurrent_bias is None else g.recurrent_bias for g in (of.r, of.z)]
    r, z = gate(taken(of.r) + extra[0]), gate(taken(of.z) + extra[1])
    n, inputs = of.n, of.n.input_weights @ x + of.n.bias
    if of.reset_mode == "before-multiplication":
        n = squash(inputs + back(n, r * h))
    else:
        bias = 0 if n.recurrent_bias is None else n.recurrent_bias
        n = squash(inputs + r * (back(n, h) + bias))
    return type(state)((1 - z) * n + z * h)


def runner(engine, reverse=False):
    def run(of, state, x, length=None):
        after, signals = scan(of, state, x, length, reverse=reverse, engine=engine)
        return after, signals["h"]

    def plain(of, state, x, length=None):
        def step(state, now):
            t, x = now
            after = equations(of, state, x)
            if length is not None:
                still = t >= length
                after = jax.tree.map(lambda a, b: jnp.where(still, a, b), state, after)
            return after, after.h

        return jax.lax.scan(step, state, (jnp.arange(len(x)), x), reverse=reverse)

    return plain if engine == "plain" else run


def many(run):
    return jax.vmap(run, in_axes=(None, None, 0, 0))


def scalar(run):
    def loss(*operands):
        return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves(run(*operands)))

    return loss


def plain(run):
    """One sequence, forward."""
    return run


TRANSFORMED = {
    "run": plain,
    "jit": jax.jit,
    "vmap": many,
    "jit vmap": lambda run: jax.jit(many(run)),
    "grad": lambda run: jax.grad(scalar(run), (0, 1, 2)),
    "grad of some": lambda run: jax.grad(lambda o, *rest: scalar(run)(o, *rest)),
    "grad of vmap": lambda run: jax.grad(scalar(many(run)), (0, 1, 2)),
    "vmap of grad": lambda run: jax.vmap(
        jax.grad(scalar(run), (0, 2)), in_axes=(None, None, 0, 0)
    ),
    "jit grad of vmap": lambda run: jax.jit(jax.grad(scalar(many(run)))),
    "checkpoint": lambda run: jax.grad(scalar(jax.checkpoint(many(run))), (0, 1, 2)),
    "jacfwd": lambda run: jax.jacfwd(run, (0, 1, 2)),
    "jacrev": lambda run: jax.jacrev(run, (1, 2)),
    "jacrev of weights": lambda run: jax.jacrev(run, 0),
    "hessian": lambda run: jax.hessian(scalar(run), 2),
    "reverse over reverse": lambda run: jax.jacrev(jax.grad(scalar(run), 2), 2),
}
SECOND = ("hessian", "reverse over reverse")
"""Dear, and the same code whatever the cell: for one kind only."""
CASES = [(n, "lstm") for n in TRANSFORMED]
CASES += [(n, "gru biased") for n in TRANSFORMED if n not in SECOND]
BATCHED = {name for name in TRANSFORMED if "vmap" in name or name == "checkpoint"}


def agree(found, wanted, tolerance=1e-12):
    found, wanted = jax.tree.leaves(found), jax.tree.leaves(wanted)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        scale = max(1.0, float(np.max(np.abs(b), initial=0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_transformations(name, kind):
    with jax.enable_x64(True):
        of = layer(kind)
        x = sequences()
        operands = (of, start(of), x if name in BATCHED else x[0])
        operands += (np.array([7, 3, 1, 5]),) if name in BATCHED else ()
        transformed = TRANSFORMED[name]
        wanted = transformed(runner("plain"))(*operands)
        for engine in ENGINES:
            agree(transformed(runner(engine))(*operands), wanted)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_both_ways(kind, reverse):
    with jax.enable_x64(True):
        of = layer(kind)
        operands = (of, start(of), sequences(), np.array([7, 3, 1, 5]))
        for transformed in (many, TRANSFORMED["grad of vmap"]):
            wanted = transformed(runner("plain", reverse))(*operands)
            for engine in ENGINES[: 1 + (kind in KNOWN_TO_THE_KERNEL)]:
                agree(transformed(runner(engine, reverse))(*operands), wanted)


@pytest.mark.parametrize("hidden", [1, 3, 17, 127, 130])
def test_odd_sizes_in_single_precision(hidden):
    of = layer("lstm", hidden, np.float32)
    operands = (of, start(of, np.float32), sequences(np.float32), np.full(B, T))
    wanted = many(runner("plain"))(*operands)
    for engine in ENGINES:
        agree(many(runner(engine))(*operands), wanted, 2e-6)


def unrolled(of, state, x, reverse):
    """The outputs and the last state, by `equations` in NumPy, step after step."""
    ys = [None] * len(x)
    for t in range(len(x))[:: -1 if reverse else 1]:
        state = jax.tree.map(np.asarray, equations(of, state, x[t]))
        ys[t] = state.h
    return state, np.stack(ys)


LAYOUTS = {
    "columns": ("lstm", 2_048, 4, 5, True),
    "written": ("gru biased", 6, 4, 5, False),
    "written, reverse": ("gru biased", 6, 4, 5, True),
    "projected ahead": ("lstm", 1, 300, 3, True),
    "partly projected ahead": ("gru biased", 1, 300, 3, False),
}
"""Sizes that make the engine xla take each layout beside that of rows."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_xla(layout):
    kind, count, hidden, steps, reverse = LAYOUTS[layout]
    with jax.enable_x64(True):
        of = layer(kind, hidden)
        rng = np.random.default_rng(3)
        x = rng.normal(size=(count, steps, C))
        run = jax.jit(functools.partial(many(runner("xla", reverse)), of))
        whole = np.full(count, steps)
        after, ys = run(start(of), x, whole)
        for k in {0, count // 2, count - 1}:
            wanted, outputs = unrolled(of, start(of), x[k], reverse)
            agree((jax.tree.map(lambda a, k=k: a[k], after), ys[k]), (wanted, outputs))

        # The slope along a direction, against a difference of two NumPy runs.
        along = rng.normal(size=x.shape)
        slope = jax.grad(lambda x: jnp.sum(jnp.sin(run(start(of), x, whole)[1])))(x)
        k, step = count - 1, 1e-5
        high, low = (
            np.sum(np.sin(unrolled(of, start(of), x[k] + s * along[k], reverse)[1]))
            for s in (step, -step)
        )
        found = np.sum(np.asarray(slope)[k] * along[k])
        np.testing.assert_allclose(found, (high - low) / (2 * step), rtol=1e-7)


def test_several_networks_at_once():
    with jax.enable_x64(True):
        of = layer()
        both = jax.tree.map(lambda a: np.stack([a, 2 * a]), of)

        def together(run):
            every = jax.vmap(many(run), in_axes=(0, None, None, None))
            return lambda nets: every(nets, start(of), sequences(), np.full(B, T))

        wanted = together(runner("plain"))(both)
        slopes = jax.grad(scalar(together(runner("plain"))))(both)
        for engine in ENGINES:
            agree(together(runner(engine))(both), wanted)
            agree(jax.grad(scalar(together(runner(engine))))(both), slopes)


@pytest.mark.parametrize("engine", ENGINES)
def test_sharded_over_devices(engine):
    mesh = jax.make_mesh((4,), ("batch",), (jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    of = layer(dtype=np.float32)
    x = sequences(np.float32)
    run = jax.jit(functools.partial(many(runner(engine)), of, start(of, np.float32)))
    full = np.full(B, T)
    found = run(jax.device_put(x, rows), full)
    if engine == "xla":
        assert found[1].sharding.is_equivalent_to(rows, 3)
    agree(found, run(x, full), 1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("steps", "count"), [(0, 2), (3, 0), (1, 1)])
def test_nothing_to_do(engine, steps, count):
    of = layer(dtype=np.float32)
    x = np.ones((count, steps, C), np.float32)
    state = start(of, np.float32)
    after, ys = many(runner(engine))(of, state, x, np.full(count, steps))
    assert ys.shape == (count, steps, H)
    if not steps:
        agree(after, jax.tree.map(lambda a: np.stack([a] * count), state))


def test_engines_by_name():
    of = layer(dtype=np.float32)
    with pytest.raises(InputError, match="no such engine"):
        engines.chosen(of, "gpu9")
    assert engines.chosen(of, "xla") is None


@needs_kernel
def test_what_the_kernel_does_not_know_goes_to_xla_or_is_refused():
    of = layer(dtype=np.float32)
    zero = np.zeros(H, np.float32)
    gate = of.i
    for other, words in (
        (LSTM(gate, gate, gate, gate, clip=3.0), "clip 3"),
        (LSTM(gate, gate, gate, gate, Peephole(zero, zero, zero)), "peephole"),
        (RNN(gate), "no LSTM or GRU"),
        (LSTM(gate, gate, gate, gate, state_activation="elu(1)"), "elu"),
    ):
        assert engines.chosen(other, "auto") is None
        with pytest.raises(Unsupported, match="does not run this") as error:
            engines.chosen(other, "cpu")
        assert words in str(error.value)
    small = LSTM(*[Gate(zero[:, None], zero[:, None], zero)] * 4,
                 input_projector=np.zeros((40, 1), np.float32),
                 output_projector=np.zeros((H, 1), np.float32))  # fmt: skip
    assert "projectors" in (engines.refusal(small) or "")
    assert engines.chosen(of, "auto", "a mask") is None
    with pytest.raises(Unsupported, match="a mask"):
        engines.chosen(of, "cpu", "a mask")


WITHOUT = {
    "not installed": "import sys; sys.modules['jlstm.kernels._cpu'] = None\n",
    "built for another jaxlib": (
        "import jax\n"
        "def refuse(*_, **__): raise jax.errors.JaxRuntimeError('API 0.3, not 0.1')\n"
        "jax.ffi.register_ffi_target = refuse\n"
    ),
}


@pytest.mark.parametrize("why", WITHOUT)
def test_without_the_kernel_all_goes_through_xla(why):
    if why != "not installed" and not KERNEL.usable:
        pytest.skip(KERNEL.reason)
    code = WITHOUT[why] + (
        "import numpy as np, jlstm as jl\n"
        "from jlstm.demo import load_demo\n"
        "from jlstm.kernels import engines\n"
        "net, x = load_demo()[0], np.ones((3, 3))\n"
        "print(engines.available()[0])\n"
        "whole = np.asarray(jl.predict(net, x))\n"
        "stream = jl.Stream(net)\n"
        "print(max(abs(whole[t] - stream.step(x[t])).max() for t in range(3)) < 1e-6)\n"
        "try: jl.predict(net, x, engine='cpu')\n"
        "except jl.Unsupported as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    first, same, *refused = run.stdout.splitlines()
    assert "usable=False" in first and why in first, run.stderr
    assert same == "True"
    assert "does not run" in refused[0] and why in refused[1]
