"""Networks that are a series: predict, trace, state, steps, batches, devices."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from cells import OUTPUTS, C, H, T, affine, dense, draw, error, make, sequence, single
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from oracles import Cell, Weights, loop

from jlstm.layers import Activation, Input
from jlstm.network import Network, Origin, init_state, predict, step
from jlstm.recurrent import LSTMState

LSTM = Cell("lstm")


def series(rng, mode: str = "sequence") -> tuple[Network, Weights]:
    """Input, LSTM, relu, fully connected: the commonest network there is."""
    w = draw(rng, LSTM)
    layers = {
        "in": Input((C,)), "lstm": single(make(LSTM, w, mode)),
        "relu": Activation("relu"), "fc": dense(rng),
    }  # fmt: skip
    return Network.build(layers), w


def by_loop(net: Network, w: Weights, x, h=None, c=None) -> tuple[np.ndarray, dict]:
    """What `series` gives, from the loop in NumPy."""
    zero = np.zeros(H)
    signals = loop(LSTM, w, x, zero if h is None else h, zero if c is None else c)
    return affine(net.layers["fc"], np.maximum(signals["h"], 0)), signals


# One series: predict, trace, state, steps


def test_predict_equals_the_loop(rng):
    net, w = series(rng)
    x = sequence(rng)
    y = predict(net, x)
    assert y.dtype == np.float32 and y.shape == (T, OUTPUTS)
    assert error(y, by_loop(net, w, x)[0]) <= 1e-6


def test_predict_in_double_precision(rng, double):
    net, w = series(rng)
    x = rng.normal(size=(T, C))
    y = predict(net.astype(np.float64), x)
    assert y.dtype == np.float64
    assert error(y, by_loop(net, w, x)[0]) <= 1e-12


def test_last_step_only(rng):
    net, w = series(rng, "last")
    x = sequence(rng)
    assert error(predict(net, x), by_loop(net, w, x)[0][-1]) <= 1e-6


def test_input_is_cast_to_the_precision_of_the_network(rng):
    net, w = series(rng)
    x = rng.integers(-2, 3, size=(T, C))
    assert error(predict(net, x), by_loop(net, w, x)[0]) <= 1e-6
    assert error(predict(net, x.tolist()), by_loop(net, w, x)[0]) <= 1e-6


def test_trace_and_state_equal_the_loop(rng):
    net, w = series(rng)
    x = sequence(rng)
    y, state, trace = predict(net, x, return_state=True, trace=True)
    wanted, signals = by_loop(net, w, x)
    assert set(trace) == {"in", "lstm", "relu", "fc"} | {f"lstm.{k}" for k in "ifgoch"}
    for name, value in signals.items():
        assert error(trace[f"lstm.{name}"], value) <= 1e-6, name
    assert np.array_equal(trace["in"], x.astype(np.float32))
    assert error(trace["lstm"], signals["h"]) <= 1e-6
    assert error(trace["relu"], np.maximum(signals["h"], 0)) <= 1e-6
    assert np.array_equal(trace["fc"], y) and error(y, wanted) <= 1e-6
    assert set(state) == {"lstm"}
    assert error(state["lstm"].h, signals["h"][-1]) <= 1e-6
    assert error(state["lstm"].c, signals["c"][-1]) <= 1e-6


def test_what_is_asked_for_is_what_returns(rng):
    net, _ = series(rng)
    x = sequence(rng)
    y = predict(net, x)
    with_state, state = predict(net, x, return_state=True)
    with_trace, trace = predict(net, x, trace=True)
    assert np.array_equal(y, with_state) and error(with_trace, y) <= 1e-6
    assert isinstance(state["lstm"], LSTMState) and "lstm.c" in trace


def test_chunks_with_carried_state_equal_the_whole(rng, double):
    net, _ = series(rng)
    net = net.astype(np.float64)
    x = sequence(rng)
    whole, end = predict(net, x, return_state=True)
    state, parts = None, []
    for chunk in np.split(x, [1, 4, 11]):
        y, state = predict(net, chunk, state=state, return_state=True)
        parts.append(y)
    assert error(np.concatenate(parts), whole) <= 1e-12
    assert state is not None and error(state["lstm"].c, end["lstm"].c) <= 1e-12
    fresh = [predict(net, chunk) for chunk in np.split(x, [1, 4, 11])]
    assert error(np.concatenate(fresh), whole) > 1e-2


def test_initial_and_saved_state(rng):
    net, w = series(rng)
    x = sequence(rng)
    h, c = (rng.normal(size=H).astype(np.float32) for _ in range(2))
    begun = {"lstm": LSTMState(h, c)}
    other = Network.build(net.layers, initial=begun, saved=init_state(net))
    assert error(predict(other, x), by_loop(net, w, x, h, c)[0]) <= 1e-6
    assert error(predict(other, x, state=other.saved), by_loop(net, w, x)[0]) <= 1e-6
    # Running a network does not change it; a saved state that equals the start is none.
    assert np.array_equal(init_state(other)["lstm"].h, h)
    assert Network.build(net.layers, initial=begun, saved=dict(begun)).saved is None


def test_steps_equal_predict_and_torch_cells(rng, double):
    net, w = series(rng)
    net = net.astype(np.float64)
    x = sequence(rng)
    state, ys = init_state(net), []
    for x_t in x:
        state, y = step(net, state, x_t)
        ys.append(y)
    assert error(ys, predict(net, x)) <= 1e-12
    cell = torch.nn.LSTMCell(C, H, dtype=torch.float64)
    values = (np.concatenate([w[f"{k}.{p}"] for k in "ifgo"]) for p in "WRb")
    for parameter, value in zip(cell.parameters(), values, strict=False):
        parameter.data = torch.as_tensor(value)
    cell.bias_hh.data.zero_()
    h_c, wanted = None, []
    for x_t in torch.as_tensor(x):
        h_c = cell(x_t[None], h_c)
        wanted.append(affine(net.layers["fc"], h_c[0][0].detach().numpy().clip(0)))
    assert error(ys, wanted) <= 1e-12


def test_step_is_the_body_of_a_scan(rng):
    net, w = series(rng, "last")
    xs = jnp.asarray(sequence(rng), np.float32)
    end, ys = jax.lax.scan(partial(step, net), init_state(net), xs)
    wanted, signals = by_loop(net, w, xs)
    assert error(ys, wanted) <= 1e-6
    assert error(end["lstm"].c, signals["c"][-1]) <= 1e-6


def test_feature_vector_is_a_sequence_of_one_step(rng):
    net, w = series(rng)
    vector = Network.build({**net.layers, "in": Input((C,), time=False)})
    x = sequence(rng, 1)
    assert error(predict(vector, x[0]), by_loop(net, w, x)[0][0]) <= 1e-6


# The pytree


def test_key_path_is_the_name_of_a_parameter(rng):
    net, w = series(rng)
    leaves = jax.tree_util.tree_leaves_with_path(net)
    named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    assert set(named) == {
        *(
            f".layers['lstm'].{gate}.{kind}"
            for gate in "ifgo"
            for kind in ("input_weights", "recurrent_weights", "bias")
        ),
        ".layers['fc'].weights",
        ".layers['fc'].bias",
        ".initial['lstm'].h",
        ".initial['lstm'].c",
    }
    assert np.array_equal(named[".layers['lstm'].f.bias"], w["f.b"].astype(np.float32))


def test_gradients_equal_torch(rng, double):
    net, w = series(rng)
    net = net.astype(np.float64)
    x, target = sequence(rng), rng.normal(size=(T, OUTPUTS))

    def loss(net):
        return jnp.mean((predict(net, x) - target) ** 2)

    gradient = jax.grad(loss)(net).layers
    lstm = torch.nn.LSTM(C, H, dtype=torch.float64)
    fc = torch.nn.Linear(H, OUTPUTS, dtype=torch.float64)
    values = [np.concatenate([w[f"{k}.{p}"] for k in "ifgo"]) for p in "WRb"]
    dense_layer: Any = net.layers["fc"]
    values += [np.zeros(4 * H), dense_layer.weights, dense_layer.bias]
    parameters = [*lstm.parameters(), *fc.parameters()]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data = torch.as_tensor(np.asarray(value))
    y = fc(lstm(torch.as_tensor(x))[0].relu())
    torch.mean((y - torch.as_tensor(target)) ** 2).backward()
    assert error(gradient["fc"].weights, fc.weight.grad) <= 1e-12
    assert error(gradient["fc"].bias, fc.bias.grad) <= 1e-12
    assert parameters[1].grad is not None
    for gate, block in zip("ifgo", parameters[1].grad.split(H), strict=True):
        found = getattr(gradient["lstm"], gate).recurrent_weights
        assert error(found, block) <= 1e-12


def test_ensemble_by_vmap(rng):
    nets, ws = zip(*(series(rng) for _ in range(3)), strict=True)
    x = sequence(rng)
    ensemble = jax.tree.map(lambda *leaves: np.stack(leaves), *nets)
    found = jax.vmap(lambda net: predict(net, x))(ensemble)
    wanted = [by_loop(*each, x)[0] for each in zip(nets, ws, strict=True)]
    assert error(found, wanted) <= 1e-6


def test_batch_over_eight_devices_equals_one(rng):
    net, w = series(rng)
    assert jax.device_count() == 8
    x = rng.normal(size=(16, T, C)).astype(np.float32)
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    # The C++ kernel is given the whole batch, and uses all cores by itself.
    run = jax.jit(jax.vmap(partial(predict, net, engine="xla")))
    found = run(spread)
    assert len(found.sharding.device_set) == 8
    assert not found.sharding.is_fully_replicated
    assert error(found, [by_loop(net, w, each)[0] for each in x]) <= 1e-6


def test_provenance_plays_no_part(rng):
    net, _ = series(rng)
    x = sequence(rng)
    named = net.replace(origin=Origin(file="net.mat", details=(("a", "b"),)))
    assert np.array_equal(predict(named, x), predict(net, x))
    assert named.origin.file == "net.mat" and net.origin.file == ""
