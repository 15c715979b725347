"""Rematerialisation: the same gradients, from the states between chunks of steps."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from networks import gru, lstm, normal
from test_engines import ENGINES, C, agree, equations, layer, many, scalar, start
from test_task import Theirs, batch, built

from jlstm import layers as L
from jlstm.config import as_config
from jlstm.dataset import Batch
from jlstm.forward import forward
from jlstm.kernels import scan
from jlstm.network import Network, Node
from jlstm.recurrent import Bidirectional
from jlstm.training.task import Task, init, initial_carry, loss

STEPS = 11  # three chunks of three, and one that is filled


def plain(reverse, masked=False):
    def run(of, state, x, length):
        def step(state, now):
            t, x = now
            after = equations(of, state, x)
            still = (t >= length) | (masked & (x[0] < 0))
            after = jax.tree.map(lambda a, b: jnp.where(still, a, b), state, after)
            return after, after.h

        return jax.lax.scan(
            step, state, (jnp.arange(len(x), dtype="int32"), x), reverse=reverse
        )

    return run


def in_chunks(reverse, engine, masked=False):
    def run(of, state, x, length):
        mask = jnp.where(x[:, :1] < 0, 0.0, 1.0) if masked else None
        how = {"reverse": reverse, "engine": engine, "rematerialise": True}
        after, signals = scan(of, state, x, length, mask, **how)
        return after, signals["h"]

    return run


def compared(run, wanted, of, lengths, steps=STEPS):
    x = np.random.default_rng(2).normal(size=(len(lengths), steps, C))
    operands = of, start(of), x, np.array(lengths, "int32")
    slopes = [jax.jit(jax.grad(scalar(many(one)), (0, 1, 2))) for one in (run, wanted)]
    agree(slopes[0](*operands), slopes[1](*operands))


@pytest.mark.parametrize(("kind", "reverse"), [("lstm", True), ("gru biased", False)])
def test_chunks_are_the_equations(kind, reverse, double):
    for engine in ENGINES:
        run = in_chunks(reverse, engine)
        compared(run, plain(reverse), layer(kind), (STEPS, 4, 0, 6))


def test_chunks_of_masked_sequences(double):
    compared(in_chunks(True, "xla", True), plain(True, True), layer(), (STEPS, 4))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 3, 9, STEPS])
def test_sequences_of_one_length(steps, reverse, double):
    of, x = layer("lstm"), np.random.default_rng(2).normal(size=(steps, C))
    wanted = plain(reverse)(of, start(of), x, steps)
    for engine in ENGINES:
        how = {"reverse": reverse, "engine": engine, "rematerialise": True}
        after, signals = scan(of, start(of), x, **how)
        agree((after, signals["h"]), wanted)


@pytest.mark.parametrize(
    ("kind", "mode"), [("lstm", "sequence"), ("both", "sequence"), ("gru", "last")]
)
def test_training_has_the_gradients_of_torch(kind, mode, double):
    net, one = built(kind, mode), batch(mode, (STEPS, 6, 9, 4))
    theirs = Theirs(net, kind, mode)
    theirs.loss(one).backward()
    with torch.no_grad():
        for array in theirs.parameters():
            array.copy_(torch.zeros(()) if array.grad is None else array.grad)
    wanted = theirs.named(net)
    for engine in ENGINES[:1] if kind == "lstm" else ENGINES[-1:]:
        slopes = slopes_of(net, one, engine=engine)
        assert slopes.keys() == wanted.keys()
        for path, slope in slopes.items():
            want = wanted[path].detach().numpy()
            np.testing.assert_allclose(slope, want, rtol=0, atol=1e-12, err_msg=path)


def slopes_of(net, one, ragged=True, **settings):
    task = Task.of(
        net,
        as_config({"rematerialise": True} | settings),
        steps_per_epoch=1,
        ragged=ragged,
    )
    carry, key = initial_carry(task, len(one.x)), jax.random.key(0)
    value = jax.grad(lambda p: loss(task, task.net, p, one, carry, key)[0])
    return jax.jit(value)(task.start)


def test_what_fills_the_last_chunk_has_no_slope(double):
    """The root of zero would have an infinite one."""
    rng = np.random.default_rng(7)
    net = Network.build(
        {
            "in": L.Input((C,)),
            "fc": L.FullyConnected(abs(normal(rng, 4, C)), np.zeros(4, "f4")),
            "root": L.Activation("sqrt"),
            "lstm": lstm(rng, 2, 4),
        }
    ).astype("f8")
    x, y = abs(rng.normal(size=(1, STEPS, C))), rng.normal(size=(1, STEPS, 2))
    one = Batch(x, y, np.ones_like(y), np.full(1, STEPS, "int32"))
    slopes = slopes_of(net, one, ragged=False)
    assert all(np.isfinite(slope).all() for slope in slopes.values())


def chain(**layers):
    return Network.build({"in": L.Input((C,)), **layers})


def brought(rng):
    """A layer that starts where another has ended."""
    graph = [Node("in", ()), Node("a", ("in",)), Node("b", ("in", "a/hidden"))]
    layers = {"in": L.Input((C,)), "a": gru(rng, 4, C), "b": gru(rng, 4, C)}
    return Network.build(layers, graph)


BEYOND_A_CHUNK = {
    "dropout": lambda rng: chain(a=lstm(rng, 4, C), drop=L.Dropout(0.5)),
    "both directions": lambda rng: chain(
        a=lstm(rng, 4, C), both=Bidirectional(gru(rng, 2, 4), gru(rng, 2, 4))
    ),
    "one answer": lambda rng: chain(
        a=lstm(rng, 4, C), last=lstm(rng, 2, 4, output_mode="last")
    ),
    "statistics over time": lambda rng: chain(
        a=lstm(rng, 4, C),
        norm=L.LayerNormalization(normal(rng, 4), normal(rng, 4), over="time-channels"),
    ),
    "a state that is brought": brought,
}


@pytest.mark.parametrize("what", BEYOND_A_CHUNK)
def test_what_looks_beyond_a_chunk_is_run_whole(what, rng):
    net = BEYOND_A_CHUNK[what](rng)
    x, how = normal(rng, STEPS, C), {"key": jax.random.key(1)}
    (after, values, _), (found_after, found, _) = (
        jax.jit(partial(forward, net, rematerialise=again, **how))(
            {"in": x}, net.initial
        )
        for again in (False, True)
    )
    agree(found_after, after, 2e-6)
    agree(found[net.outputs[0]], values[net.outputs[0]], 2e-6)


@pytest.mark.parametrize(
    ("mode", "engine"), [("sequence", ENGINES[-1]), ("last", ENGINES[0])]
)
def test_memory_grows_with_the_root_of_the_steps(mode, engine, rng):
    """Of 2,000 steps about 45 + 45 are kept; compiled only, nothing runs."""
    hidden, steps = 32, 2000
    net = chain(
        a=lstm(rng, hidden, C, output_mode=mode),
        fc=L.FullyConnected(normal(rng, 1, hidden), normal(rng, 1)),
    )
    y = np.zeros((4, 1) if mode == "last" else (4, steps, 1), "f4")
    one = Batch(np.zeros((4, steps, C), "f4"), y, y, np.full(4, steps, "int32"))
    taken = []
    for again in (False, True):
        config = as_config({"engine": engine, "rematerialise": again})
        task = Task.of(net, config, steps_per_epoch=1)
        carry = initial_carry(task, len(y))
        step = task.compiled.lower(task.on_device, init(task), one, carry).compile()
        taken.append(step.memory_analysis().temp_size_in_bytes)
    assert taken[0] > 4 * steps * 5 * hidden * 4
    assert taken[1] < taken[0] / (math.sqrt(steps) / 4)
