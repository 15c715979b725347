"""What jlstm writes for Keras it reads back: the same arrays, names and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import keras as Keras
import numpy as np
import pytest
from foreign_nets import (
    NETS,
    OUT,
    SPECIAL,
    STEPS,
    answers,
    dense,
    gru,
    lstm,
    normal,
    off,
    sequences,
)
from layer_cases import CASES
from layer_nets import examples, network
from test_keras_save import REFUSED_LAYERS, REFUSED_NETS

from jlstm import layers as L
from jlstm import predict
from jlstm.errors import Unsupported
from jlstm.formats import keras, keras_save
from jlstm.golden import Golden
from jlstm.layers.inputs import TARGETS
from jlstm.network import Network, Node
from jlstm.recurrent import Bidirectional
from jlstm.validation import self_test

TOLERANCE = 1e-6
# Keras on torch hands torch objects of its own to NumPy.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)
ALL = NETS | SPECIAL
# That the others are refused, and with which words, is tested in test_keras_save.
WRITTEN_NETS = [name for name in ALL if name not in REFUSED_NETS]
WRITTEN = [case for case in CASES if case.name not in REFUSED_LAYERS]


def again(net: Network, folder: Path, golden: Any = ()) -> tuple[Network, list]:
    """The network, written and read."""
    (path,) = keras_save.save(net, folder / "net.keras", golden)
    return keras.load(path)


def arrays(net: Network) -> list[bytes]:
    """The bits of every array, in any order; the constants of `affine` as arrays."""
    constants = [
        np.asarray(number, net.dtype)
        for layer in net.layers.values()
        if isinstance(layer, L.Activation) and layer.name == "affine"
        for number in layer.constants
    ]
    leaves = [*jax.tree.leaves(net.layers), *constants]
    return sorted(np.asarray(leaf).tobytes() for leaf in leaves)


def assert_same(net: Network, found: Network, records: list) -> None:
    assert arrays(found) == arrays(net)
    assert found.outputs == net.outputs and found.inputs == net.inputs
    assert found.dtype == net.dtype
    for record in records:
        assert self_test(found, record).ok


@pytest.mark.parametrize("name", WRITTEN_NETS)
def test_a_network(name, rng, tmp_path):
    net = ALL[name](rng)
    found, records = again(net, tmp_path)
    assert records
    assert_same(net, found, records)
    xs = sequences(net, rng, 2, STEPS[0])
    for one, other in zip(answers(found, xs)[0], answers(net, xs)[0], strict=True):
        assert off(one, other) < TOLERANCE


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.name)
def test_a_layer(case, tmp_path):
    net = network(case)
    xs: Any = examples(case, 1)[0]
    given = xs if len(xs) > 1 else xs[0]
    y = np.asarray(predict(net, given))
    # What the oracle is given may be all that the layer takes.
    found, records = again(net, tmp_path, [Golden(xs, (y,))] if case.data else ())
    assert_same(net, found, records)
    assert off(predict(found, given), y) < TOLERANCE


# --- inputs ---------------------------------------------------------------------------


def statistics(rng, size: int = 400) -> dict[str, Any]:
    low, high = -np.exp(normal(rng, size)), np.exp(normal(rng, size)) / 1000
    return {"minimum": low, "maximum": high}


@pytest.mark.parametrize("target", [None, (-1.0, 1.0), (-0.7, 0.1), (0.0, 3.0)])
def test_a_range_keeps_both_of_its_ends(target, rng, tmp_path):
    kind = "rescale-symmetric" if target is None else "rescale-zero-one"
    layer: Any = L.Input((400,), normalization=kind, target=target, **statistics(rng))
    net = Network.build({"x": layer, "fc": dense(rng, 400)})
    # The difference alone would not tell the end.
    assert np.any(layer.minimum + (layer.maximum - layer.minimum) != layer.maximum)
    found, _ = again(net, tmp_path)
    other: Any = found.layers["x"]
    assert arrays(found) == arrays(net) and list(found.layers) == ["x", "fc"]
    assert np.allclose(other.target or TARGETS[other.normalization],
                       target or (-1, 1), 1e-15, 1e-15)  # fmt: skip


def test_a_range_that_keras_saved_again(rng, tmp_path):
    """Keras drops what it does not know: the same numbers, as a mean and a spread."""
    layer = L.Input((400,), normalization="rescale-symmetric", **statistics(rng))
    net = Network.build({"x": layer, "fc": dense(rng, 400)})
    (path,) = keras_save.save(net, tmp_path / "net.keras")
    model: Any = Keras.saving.load_model(path)
    model.save(tmp_path / "again.keras")
    found, records = keras.load(tmp_path / "again.keras")
    assert not records
    (x,) = sequences(net, rng, 1, 4)
    assert off(predict(found, x[0]), predict(net, x[0])) < TOLERANCE
    assert found.layers["x"].describe() == "zscore"


def test_a_normalisation_that_is_not_all_that_takes_the_input(tmp_path):
    x = Keras.Input((None, 3))
    y = Keras.layers.Normalization(mean=[1, 2, 3], variance=[4, 0.5, 2])(x)
    for number, model in enumerate(
        (Keras.Model(x, [y, Keras.layers.Dense(2)(x)]), Keras.Model(x, y))
    ):
        model.save(tmp_path / "net.keras")
        found, _ = keras.load(tmp_path / "net.keras")
        layer: Any = found.layers[found.inputs[0]]
        assert layer.normalization == ("none", "zscore")[number]
        given = np.random.default_rng(0).normal(size=(5, 3)).astype("f4")
        answer = predict(found, given)
        wanted = model(given[None])
        if number == 0:
            answer, wanted = answer[0], wanted[0]
        assert off(answer, wanted[0].detach().numpy()) < TOLERANCE


def test_spreads_of_one_and_none(rng, tmp_path):
    forms: Any = (
        {"normalization": "zerocenter"},
        {"normalization": "zscore", "std": np.ones(3, "f4")},
    )
    for form in forms:
        layer = L.Input((3,), mean=normal(rng, 3), **form)
        found, _ = again(Network.build({"x": layer}), tmp_path)
        assert found.layers["x"].describe() == layer.describe()
        assert arrays(found) == arrays(Network.build({"x": layer}))


def test_a_single_index_and_a_vector_as_long_as_its_steps(rng, tmp_path):
    one = L.Input((1,), time=False)
    for net in (
        Network.build({"x": one, "table": L.Embedding(normal(rng, 6, 4))}),
        Network.build({"x": one, "rec": lstm(rng, 1)}),
        Network.build({"x": L.Input((4,), time=False), "cut": L.UnflattenTime(4)}),
    ):
        found, records = again(net, tmp_path)
        assert_same(net, found, records)


def test_several_lengths_that_make_one_vector(rng, tmp_path):
    layers = {
        "x": L.Input((3,)), "pool": L.Pooling1D("max", 2, 2),
        "flat": L.FlattenTime(3), "fc": dense(rng, 9),
    }  # fmt: skip
    net = Network.build(layers)
    (x,) = sequences(net, rng, 1, 6)
    record = Golden((x[0],), (np.asarray(predict(net, x[0])),))
    found, records = again(net, tmp_path, [record])
    assert_same(net, found, records)
    for steps in (6, 7):
        (x,) = sequences(net, rng, 1, steps)
        assert off(predict(found, x[0]), predict(net, x[0])) < TOLERANCE


# --- masks ----------------------------------------------------------------------------


def counted(rng, both: Any, name: str = "both.counted") -> Network:
    """Masking, a masked layer, and zeros at its masked steps, as the reader has it."""
    layers: dict[str, Any] = {
        "x": L.Input((3,)), "masking": L.Masking(-1.0), "x.mask": L.Mask(-1.0),
        "both": both, name: L.Multiplication(), "fc": dense(rng, both.output_size),
        "last": lstm(rng, OUT, 4, masked=True, output_mode="last"),
    }  # fmt: skip
    graph = [
        Node("x", ()), Node("masking", ("x",)), Node("x.mask", ("x",)),
        Node("both", ("masking", "x.mask")), Node(name, ("both", "x.mask")),
        Node("fc", (name,)), Node("last", ("fc", "x.mask")),
    ]  # fmt: skip
    return Network.build(layers, graph, outputs=(name, "last"))


def held(make: Any, rng: Any) -> Any:
    return Bidirectional(make(rng), gru(rng), masked=True)


@pytest.mark.parametrize("name", ["both.counted", "zeros"])
@pytest.mark.parametrize("kind", ["two", "one"])
def test_masked_steps_are_zeros_in_both_directions(kind, name, rng, tmp_path):
    layer = held(lstm, rng) if kind == "two" else lstm(rng, masked=True)
    net = counted(rng, layer, name)
    found, records = again(net, tmp_path)
    assert_same(net, found, records)
    x = normal(rng, 4, 7, 3, scale=1.0)
    x[0, :2], x[1, 2:4], x[2, 5:], x[3, [0, 3, 6]] = -1.0, -1.0, -1.0, -1.0
    model: Any = Keras.saving.load_model(tmp_path / "net.keras")
    wanted = model(x)
    for given in (net, found):
        for one, other in zip(answers(given, [x])[0], wanted, strict=True):
            assert off(one, other.detach().numpy()) < TOLERANCE
    assert not answers(found, [x])[0][0][0, :2].any()


def test_a_masked_sequence_that_is_also_taken_unmultiplied(rng, tmp_path):
    net = counted(rng, held(lstm, rng))
    net = net.replace(outputs=("both", "last"))
    with pytest.raises(Unsupported, match=r"layer 'both'(?s:.*)puts out zeros"):
        keras_save.encoded(net, [])
