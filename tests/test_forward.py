"""Short sequences in long arrays, and dropout that drops."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import gru, lstm, normal

import jlstm as jl
from jlstm import layers as L
from jlstm.errors import InputError
from jlstm.forward import forward
from jlstm.network import Network
from jlstm.recurrent import Bidirectional

STEPS, LONG = 7, 12


def series(rng, recurrent, *after):
    layers = {"in": L.Input((3,)), "recurrent": recurrent}
    layers |= {f"after{k}": layer for k, layer in enumerate(after)}
    width = Network.build(layers).shapes[list(layers)[-1]].channels
    dense = L.FullyConnected(normal(rng, 2, width), normal(rng, 2))
    return Network.build(layers | {"fc": dense})


def both(rng, **settings):
    return Bidirectional(lstm(rng, 4, 3), lstm(rng, 4, 3), **settings)


RNG = np.random.default_rng(4)
NETS = {
    "lstm": series(RNG, lstm(RNG, 5, 3)),
    "lstm last": series(RNG, lstm(RNG, 5, 3, output_mode="last")),
    "gru last": series(RNG, gru(RNG, 5, 3, output_mode="last")),
    "both": series(RNG, both(RNG)),
    "both last": series(RNG, both(RNG, output_mode="last")),
    "last index": series(RNG, lstm(RNG, 5, 3), L.Indexing1D("last")),
    "first index": series(RNG, both(RNG), L.Indexing1D("first")),
}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_steps_after_the_end_change_nothing(net, double):
    """A sequence gives the same alone and in a longer array, whatever lies behind."""
    net = net.astype("f8")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(LONG, 3))
    alone = np.asarray(jl.predict(net, x[:STEPS]))
    state, values, _ = jax.jit(partial(forward, net))(
        {"in": jnp.asarray(x)}, net.initial, length=jnp.int32(STEPS)
    )
    found = np.asarray(values["fc"])[: len(alone)] if alone.ndim > 1 else values["fc"]
    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-14)
    _, ends = jl.predict(net, x[:STEPS], return_state=True)
    for mine, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(ends), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-14)
    # And what lies behind matters where the end is not told.
    if alone.ndim == 1:
        assert abs(np.asarray(jl.predict(net, x)) - alone).max() > 1e-3


def test_a_layer_that_sees_all_steps_needs_one_length():
    rng = np.random.default_rng(2)
    norm = L.LayerNormalization(normal(rng, 5), normal(rng, 5), over="time-channels")
    net = series(rng, lstm(rng, 5, 3), norm)
    with pytest.raises(InputError, match="looks at all steps at once"):
        forward(net, {"in": jnp.zeros((4, 3))}, net.initial, length=jnp.int32(2))


def test_dropout_drops_anew_at_every_step_and_keeps_the_mean():
    rng = np.random.default_rng(3)
    net = series(rng, lstm(rng, 60, 3), L.Dropout(0.3))
    x = {"in": jnp.asarray(rng.normal(size=(80, 3)), jnp.float32)}
    _, still, _ = forward(net, x, net.initial)
    _, values, _ = forward(net, x, net.initial, key=jax.random.key(5))
    before, after = np.asarray(values["recurrent"]), np.asarray(values["after0"])
    np.testing.assert_array_equal(before, still["recurrent"])
    dropped = after == 0
    assert abs(dropped.mean() - 0.3) < 4 * np.sqrt(0.21 / dropped.size)
    np.testing.assert_allclose(after[~dropped], before[~dropped] / 0.7, rtol=1e-6)
    assert not (dropped == dropped[:1]).all()
    _, again, _ = forward(net, x, net.initial, key=jax.random.key(5))
    np.testing.assert_array_equal(again["after0"], after)
    _, other, _ = forward(net, x, net.initial, key=jax.random.key(6))
    assert ((np.asarray(other["after0"]) == 0) != dropped).any()


def test_two_dropout_layers_draw_apart():
    rng = np.random.default_rng(3)
    net = series(rng, lstm(rng, 40, 3), L.Dropout(0.5), L.Dropout(0.5))
    x = {"in": jnp.asarray(rng.normal(size=(50, 3)), jnp.float32)}
    _, values, _ = forward(net, x, net.initial, key=jax.random.key(5))
    kept = (np.asarray(values["after1"]) != 0).mean()
    assert abs(kept - 0.25) < 0.04
