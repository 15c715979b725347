"""A stream gives, step by step, what others compute over the whole signal."""

from __future__ import annotations

import copy
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import reference
import torch
from networks import assert_identical, gru, lstm, normal
from recordings import draw, signal

from jlstm import layers as L
from jlstm import plan
from jlstm.errors import InputError, Unsupported
from jlstm.formats import matlab
from jlstm.kernels import engines
from jlstm.network import Network, Node, init_state, predict, step
from jlstm.recurrent import Bidirectional, LSTMState
from jlstm.stream import Stream

STEPS = 9
SIZES = (3, 5, 7, 2)


def run(stream: Stream, x: Any) -> np.ndarray:
    return np.stack([stream.step(x_t) for x_t in x])


@pytest.mark.parametrize("cell", oracles.CELLS, ids=str)
def test_a_stream_is_the_loop(cell, x, double):
    stack = draw(cell=cell, sizes=SIZES)
    expected = stack.run(x)["fc"]
    stream = Stream(stack.net.astype("float64"))
    np.testing.assert_allclose(run(stream, x), expected, rtol=0, atol=1e-13)
    stream.reset()
    np.testing.assert_allclose(run(stream, x[:4]), expected[:4], rtol=0, atol=1e-13)


@pytest.fixture
def net() -> Network:
    return draw(sizes=SIZES).net


@pytest.fixture
def oracle() -> Any:
    return lambda x: draw(sizes=SIZES).run(x)["fc"]


@pytest.fixture
def x() -> np.ndarray:
    return signal(STEPS, 3).astype(np.float32).astype(float)


def close(y: Any, expected: Any) -> None:
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6)


def test_single_precision(net, oracle, x):
    y = run(Stream(net), x)
    assert y.dtype == np.float32
    close(y, oracle(x))


def test_start_from_a_state(net, oracle, x):
    _, state = predict(net, x[:4], return_state=True)
    close(run(Stream(net, state), x[4:]), oracle(x)[4:])
    saved = net.replace(saved=jax.tree.map(np.asarray, state))
    close(run(Stream(saved, saved.saved), x[4:]), oracle(x)[4:])
    # What it stood in is not what it starts from.
    close(run(Stream(saved), x), oracle(x))
    # Nothing saved: it stood at its initial state.
    close(run(Stream(net, net.saved), x), oracle(x))


def test_the_initial_state_of_the_network_counts(net, oracle, x):
    _, state = predict(net, x[:4], return_state=True)
    stream = Stream(net.replace(initial=state))
    close(run(stream, x[4:]), oracle(x)[4:])
    stream.reset()
    close(run(stream, x[4:]), oracle(x)[4:])


def test_state_goes_to_predict_and_comes_from_it(net, oracle, x):
    stream = Stream(net)
    run(stream, x[:3])
    y, state = predict(net, x[3:6], state=stream.state, return_state=True)
    close(y, oracle(x)[3:6])
    stream.restore(state)
    close(run(stream, x[6:]), oracle(x)[6:])


def test_snapshots(net, oracle, x):
    stream = Stream(net)
    run(stream, x[:4])
    snapshot = stream.snapshot()
    before = jax.tree.map(np.array, snapshot)
    run(stream, x[4:])
    assert_identical(snapshot, before)
    for _ in range(2):
        stream.restore(snapshot)
        close(run(stream, x[4:]), oracle(x)[4:])
    for given in (snapshot, stream.snapshot(), stream.state):
        given.clear()
    close(stream.step(x[0]), run_from(net, x, 9)[0])


def run_from(net: Network, x: np.ndarray, steps: int) -> np.ndarray:
    _, state = predict(net, x[:steps], return_state=True)
    return np.asarray(predict(net, x[:1], state=state))


def test_forks_are_independent(net, oracle, x):
    stream = Stream(net)
    run(stream, x[:4])
    other = stream.fork()
    run(stream, x[::-1])
    close(run(other, x[4:]), oracle(x)[4:])
    other.reset()
    close(run(other, x), oracle(x))
    ours, theirs = (jax.tree.leaves(s._net) for s in (stream, other))
    assert all(a is b for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("engine", ["auto", "xla"])
def test_copies_are_forks(net, oracle, x, engine, duplicate):
    stream = Stream(net, engine=engine)
    other = duplicate(stream)
    stream.step(x[0])
    close(run(other, x), oracle(x))
    close(run(stream, x[1:]), oracle(x)[1:])


def test_half_precision_goes_through_jax():
    weights = np.array([[0.5, -1.0, 2.0]], np.float16)
    dense = L.FullyConnected(weights, np.zeros(1, np.float16))
    y = Stream(Network.build({"in": L.Input(size=(3,)), "fc": dense})).step([1, 2, 3])
    np.testing.assert_array_equal(y, np.array([4.5], np.float16))


def test_two_streams_over_one_network(net, oracle, x):
    one, two = Stream(net), Stream(net)
    pairs = [(one.step(a), two.step(b)) for a, b in zip(x, x[::-1], strict=True)]
    close([a for a, _ in pairs], oracle(x))
    close([b for _, b in pairs], oracle(x[::-1]))


def test_many_streams_at_once(net, oracle, x, rng):
    many = rng.normal(size=(STEPS, 4, 3))
    stream = Stream(net, streams=4)
    expected = np.stack([oracle(many[:, k]) for k in range(4)], axis=1)
    close(run(stream, many), expected)
    close(predict(net, many[:, 2], return_state=True)[1]["two"].c,
          stream.state["two"].c[2])  # fmt: skip
    stream.reset()
    snapshot = [run(stream, many[:3]), stream.snapshot()][1]
    run(stream, many)
    stream.restore(snapshot)
    close(run(stream, many[3:]), expected[3:])
    # One state for all.
    _, state = predict(net, x[:4], return_state=True)
    y = run(Stream(net, state, streams=2), np.stack([x[4:], x[4:]], axis=1))
    close(y[:, 1], oracle(x)[4:])


def test_last_is_the_last_so_far(rng):
    net = Network.build(
        {"in": L.Input((3,)), "lstm": lstm(rng, 5, 3, output_mode="last")}
    )
    x = rng.normal(size=(6, 3))
    y = run(Stream(net), x)
    close(y, [predict(net, x[: k + 1]) for k in range(6)])


def test_several_inputs_and_outputs(rng):
    layers = {
        "u": L.Input((2,)), "v": L.Input((3,)), "both": L.Concatenation(),
        "lstm": lstm(rng, 4, 5), "tanh": L.Activation("tanh"),
    }  # fmt: skip
    graph = [
        Node("u", ()), Node("v", ()), Node("both", ("u", "v")),
        Node("lstm", ("both",)), Node("tanh", ("lstm",)),
    ]  # fmt: skip
    net = Network.build(layers, graph, outputs=["tanh", "lstm/cell"])
    u, v = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    h, c = predict(net, (u, v))
    stream = Stream(net)
    steps = [stream.step((a, b)) for a, b in zip(u[:3], v[:3], strict=True)]
    steps += [stream.step({"v": b, "u": a}) for a, b in zip(u[3:], v[3:], strict=True)]
    close([y for y, _ in steps], h)
    close(steps[-1][1], c)
    for wrong in (u[0], (u[0],), {"u": u[0]}, {"u": u[0], "w": v[0]}, 3.0):
        with pytest.raises(InputError, match="other inputs"):
            stream.step(wrong)


@pytest.mark.parametrize("file", ["compressor/TrainedModel.mat", "ph/lstm3_net.mat"])
def test_a_network_of_matlab(file, nets, rng):
    variable = "airCompNet" if file.startswith("c") else "pH_net_simple"
    net = matlab.load(nets / file, variable=variable)
    x = rng.normal(size=(40, net.shapes[net.inputs[0]].channels))
    expected = reference.load(nets / file, variable).forward(x.T)
    y = run(Stream(net), x)
    last = expected.ndim == 1
    np.testing.assert_allclose(y[-1] if last else y.T, expected, rtol=0, atol=1e-5)


# --- what it costs --------------------------------------------------------------------


def test_weights_are_packed_once_and_not_at_every_step(net, x):
    stream = Stream(net, engine="xla")

    def joined(net: Network, state: Any) -> int:
        jaxpr = str(jax.make_jaxpr(step)(net, state, x[0]))
        return len(re.findall(r"f32\[\d+,\d+\] = concatenate", jaxpr))

    assert joined(net, init_state(net)) == 4  # what a step does by itself
    assert joined(stream._net, stream.state) == 0


def test_every_kind_of_number_meets_the_same_compiled_step(net, x, caplog):
    stream, ints = Stream(net), [3, -1, 2]
    kinds = (x[0], x[0].astype("f4"), np.array(ints), ints, jnp.asarray(x[0]))
    with jax.log_compiles():
        for same in kinds:
            stream.step(same)
    assert "Finished tracing step" not in caplog.text
    assert "Compiling jit(step)" not in caplog.text
    stream.reset()
    close(stream.step(ints), predict(net, np.array([ints]))[0])


# --- memory of the caller -------------------------------------------------------------


def aligned(array: Any) -> np.ndarray:
    """A copy that starts at a multiple of 64 bytes: JAX reads such arrays in place."""
    array = np.asarray(array)
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def test_the_caller_may_reuse_its_memory(rng):
    """JAX reads NumPy arrays where they lie, and may do so late."""
    size = 400  # large enough that the computation outlasts the call
    dense = L.FullyConnected(normal(rng, 2, size), normal(rng, 2))
    big = Network.build(
        {"in": L.Input((size,)), "lstm": lstm(rng, size, size), "fc": dense}
    )
    big = jax.tree.map(lambda a: (a / 20).astype("f4"), big)
    xs = rng.normal(size=(20, size)).astype("f4")
    expected = np.asarray(predict(big, xs.copy()))
    buffer, own = aligned(xs[0]), jax.tree.map(aligned, big)
    state = jax.tree.map(aligned, big.initial)
    stream = Stream(own, state)
    for leaf in (*jax.tree.leaves(own), *jax.tree.leaves(state)):
        leaf[...] = np.nan
    outputs = []
    for x_t in xs:
        buffer[:] = x_t
        outputs.append(stream.step(buffer))
        buffer[:] = np.nan
    np.testing.assert_allclose(np.stack(outputs), expected, rtol=0, atol=1e-5)


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["bidirectional", "normalisation", "convolution"])
def test_what_needs_the_whole_sequence_is_refused_at_once(which, rng):
    vector = normal(rng, 4)
    last = {
        "bidirectional": Bidirectional(lstm(rng, 5, 4), lstm(rng, 5, 4)),
        "normalisation": L.LayerNormalization(vector, vector, over="time-channels"),
        "convolution": L.Convolution1D(normal(rng, 3, 4, 2), normal(rng, 2)),
    }[which]
    net = Network.build({"in": L.Input((4,)), "one": lstm(rng, 4, 4), "last": last})
    with pytest.raises(InputError, match="layer 'last' needs the whole sequence"):
        Stream(net)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros(4), "shape (4,)"),
        (np.zeros((1, 3)), "shape (1, 3)"),
        (np.zeros((3, 1)), "one time step"),
        (1.0, "shape ()"),
        (np.zeros(3) * 1j, "complex"),
        (["a", "b", "c"], "numbers"),
        ([1, [2], 3], "numbers"),
        ({"out": np.zeros(3)}, "other inputs"),
    ],
)
def test_a_refused_input_changes_nothing(wrong, words, net, oracle, x):
    stream = Stream(net)
    run(stream, x[:4])
    with pytest.raises(InputError) as error:
        stream.step(wrong)
    assert words in str(error.value)
    close(run(stream, x[4:]), oracle(x)[4:])


def test_wrong_states_are_refused(net, x):
    good = init_state(net)
    one = good["one"]
    wrong: list[Any] = [
        {},
        {"one": one},
        good | {"three": one},
        good | {"two": one},
        good | {"one": tuple(one)},
        good | {"one": LSTMState(one.h[None], one.c[None])},
    ]
    for state in wrong:
        with pytest.raises(InputError, match="state does not fit"):
            Stream(net, state)
        stream = Stream(net)
        with pytest.raises(InputError, match="state does not fit"):
            stream.restore(state)
        stream.step(x[0])
    with pytest.raises(InputError, match="state does not fit"):
        Stream(net, jax.tree.map(lambda a: np.stack([a] * 3), good), streams=2)


def test_inside_a_compiled_function(net, x):
    stream = Stream(net)
    with pytest.raises(InputError, match=r"jlstm\.step"):
        jax.jit(stream.step)(x[0])
    with pytest.raises(InputError, match=r"jlstm\.step"):
        jax.vmap(stream.step)(x)


def test_double_precision_must_be_on(net, x):
    with pytest.raises(InputError, match="double precision is off"):
        Stream(net.astype("float64"))
    with jax.enable_x64(True):
        stream = Stream(net.astype("float64"))
        assert stream.step(x[0]).dtype == np.float64


def test_many_streams_need_a_row_each(net):
    with pytest.raises(InputError, match=r"shape \(3, 3\)"):
        Stream(net, streams=2).step(np.zeros((3, 3)))


def test_repr(net):
    assert (
        repr(Stream(net, streams=2))
        == "Stream(Network(in > one > two > fc), streams=2)"
    )


# --- engines --------------------------------------------------------------------------


KERNEL = engines.available()[0]
needs_kernel = pytest.mark.skipif(not KERNEL.usable, reason=KERNEL.reason)


def branches(rng: np.random.Generator) -> Network:
    """Every operation that a plan has for layers, and two outputs."""
    layers = {
        "in": L.Input(
            (3,),
            normalization="zscore",
            mean=np.float32([1000, -50, 0.1]),
            std=np.float32([2, 0.5, 0.01]),
        ),
        "scale": L.Scaling(normal(rng, 3), normal(rng, 3)),
        "lstm": lstm(rng, 6, 3),
        "gru": gru(rng, 4, 6),
        "drop": L.Dropout(0.5),
        "wide": L.Concatenation(),
        "relu": L.Activation("leaky-relu", (0.3,)),
        "fc": L.FullyConnected(normal(rng, 6, 10), normal(rng, 6)),
        "sum": L.Addition(),
        "product": L.Multiplication(),
        "classes": L.Softmax(),
        "last": L.Activation("hard-sigmoid"),
    }
    graph = [
        Node("in", ()), Node("scale", ("in",)), Node("lstm", ("scale",)),
        Node("gru", ("lstm",)), Node("drop", ("gru",)), Node("wide", ("lstm", "drop")),
        Node("relu", ("wide",)), Node("fc", ("relu",)), Node("sum", ("fc", "lstm")),
        Node("product", ("sum", "fc")), Node("classes", ("product",)),
        Node("last", ("gru",)),
    ]  # fmt: skip
    return Network.build(layers, graph, outputs=("classes", "last"))


@needs_kernel
def test_both_engines_step_alike(rng, double):
    net = branches(rng).astype("float64")
    x = np.asarray(net.layers["in"].mean) + rng.normal(size=(STEPS, 3))
    fast, slow = Stream(net, engine="cpu"), Stream(net, engine="xla")
    whole = predict(net, x, engine="xla")
    for t in range(5):
        for a, b, c in zip(fast.step(x[t]), slow.step(x[t]), whole, strict=True):
            assert isinstance(a, np.ndarray)
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
            np.testing.assert_allclose(a, c[t], rtol=0, atol=1e-13)
    assert_near(fast.state, slow.state)
    many = fast.step_many(x[5:])
    for a, b, c in zip(many, slow.step_many(x[5:]), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
        np.testing.assert_allclose(a, c[5:], rtol=0, atol=1e-13)
    assert_near(fast.state, slow.state)


@needs_kernel
def test_every_function_of_a_plan(rng, double):
    f = torch.nn.functional
    expected = {
        ("relu",): f.relu, ("tanh",): torch.tanh, ("sigmoid",): torch.sigmoid,
        ("softsign",): f.softsign, ("softplus",): f.softplus, ("swish",): f.silu,
        ("gelu",): f.gelu, ("gelu-tanh",): lambda t: f.gelu(t, approximate="tanh"),
        ("leaky-relu",): f.leaky_relu,
        ("leaky-relu", 0.3): lambda t: f.leaky_relu(t, 0.3),
        ("elu",): f.elu, ("elu", 0.7): lambda t: f.elu(t, 0.7),
        ("hard-sigmoid",): lambda t: (0.2 * t + 0.5).clamp(0, 1),
        ("hard-sigmoid", 0.3): lambda t: (0.3 * t + 0.5).clamp(0, 1),
        ("hard-sigmoid", 0.25, 0.4): lambda t: (0.25 * t + 0.4).clamp(0, 1),
        ("clipped-relu", 1.5): lambda t: t.clamp(0, 1.5),
    }  # fmt: skip
    assert {name for name, *_ in expected} == plan.FUNCTIONS
    layers: dict[str, Any] = {"in": L.Input((3,)), "lstm": lstm(rng, 4, 3)}
    graph = [Node("in", ()), Node("lstm", ("in",))]
    for k, (name, *constants) in enumerate(expected):
        layers[f"f{k}"] = L.Activation(name, tuple(constants))
        graph.append(Node(f"f{k}", ("in",)))
    net = Network.build(layers, graph, outputs=[n.name for n in graph[1:]])
    x = np.linspace(-4, 4, 3 * STEPS).reshape(3, STEPS).T
    stream = Stream(net.astype("float64"), engine="cpu")
    for x_t in x:
        _, *found = stream.step(x_t)
        for (spec, function), y in zip(expected.items(), found, strict=True):
            wanted = function(torch.tensor(x_t)).numpy()
            np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-13, err_msg=str(spec))


def assert_near(found: Any, wanted: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13), found, wanted
    )


@pytest.mark.parametrize("engine", ["auto", "xla"])
def test_many_steps_are_steps(net, oracle, x, engine):
    stream = Stream(net, engine=engine)
    stream.step(x[0])
    close(stream.step_many(x[1:]), oracle(x)[1:])
    with pytest.raises(InputError, match="does not fit"):
        stream.step_many(x[0])
    stream.reset()
    close(stream.step_many(x), oracle(x))


def test_many_steps_of_many_streams(net, oracle, x):
    stream = Stream(net, streams=2)
    both = np.stack([x, x[::-1]], axis=1)
    y = stream.step_many(both)
    assert y.shape == (STEPS, 2, SIZES[-1])
    close(y[:, 0], oracle(x))
    close(y[:, 1], oracle(x[::-1]))


@needs_kernel
def test_what_a_plan_cannot_hold_goes_through_jax(net, x, oracle):
    clipped = net.replace(layers=net.layers | {"fc2": L.Clip(-0.1, 0.1)})
    clipped = Network.build(
        dict(clipped.layers), [*net.graph, Node("fc2", (net.outputs[0],))]
    )
    close(run(Stream(clipped), x), np.clip(oracle(x), -0.1, 0.1))
    with pytest.raises(Unsupported, match=r"'fc2' .Clip.") as error:
        Stream(clipped, engine="cpu")
    assert "engine='xla'" in str(error.value)
    with pytest.raises(Unsupported, match="several streams"):
        Stream(net, engine="cpu", streams=2)
    with pytest.raises(InputError, match="no such engine"):
        Stream(net, engine="fast")


@needs_kernel
def test_a_step_leaves_the_input_alone_and_returns_its_own_memory(net, x):
    stream = Stream(net)
    given = x[0].astype(np.float32)
    y = stream.step(given)
    before = y.copy()
    stream.step(given)
    np.testing.assert_array_equal(given, x[0].astype(np.float32))
    np.testing.assert_array_equal(y, before)
