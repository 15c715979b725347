"""`.keras` archives, opened and run by Keras."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import jax
import keras
import numpy as np
import pytest
from foreign_nets import (
    BEFORE,
    KERAS_3,
    NETS,
    SPECIAL,
    STEPS,
    answers,
    dense,
    gru,
    lstm,
    masked,
    normal,
    off,
    rnn,
    sequences,
    started,
)
from layer_cases import CASES
from layer_nets import examples, network, wanted

from jlstm import layers as L
from jlstm import predict
from jlstm.errors import InputError, Unsupported
from jlstm.formats import golden_json, keras_save
from jlstm.network import Network, Node
from jlstm.recurrent import Bidirectional

TOLERANCE = 1e-6
ZEROS = "pads with zeros"
NO_NAME = "no name for this function"
REFUSED_LAYERS = {
    "activation hard-sigmoid ()": NO_NAME,
    "activation gelu-tanh ()": NO_NAME,
    "activation celu (1.3,)": NO_NAME,
    "activation scaled-tanh (1.7, 0.6)": NO_NAME,
    "activation square ()": NO_NAME,
    "activation abs ()": NO_NAME,
    "activation log": NO_NAME,
    "activation sqrt": NO_NAME,
    "activation reciprocal": NO_NAME,
    "layer normalisation over images": "every place in space",
    "layer normalisation over time": "no axis of any length",
    "layer normalisation over time and images": "no axis of any length",
    "conv1d stride dilation padding": ZEROS,
    "conv1d replicate": ZEROS,
    "conv1d symmetric-include-edge": ZEROS,
    "conv1d symmetric-exclude-edge": ZEROS,
    "conv2d stride dilation padding": ZEROS,
    "conv2d replicate": ZEROS,
    "max pool 1d": "by 'same' alone",
    "max pool 1d over space": "by 'same' alone",
    "max pool 2d": "by 'same' alone",
    "average pool 1d, another padding value": ZEROS,
    "average pool 1d without its padding": "depends on its backend",
    "average pool 2d without its padding": "by 'same' alone",
    "average pool 2d same, one image": "depends on its backend",
    "multiplication by one weight a channel, kept as vectors": "over space",
    "addition of one vector to lines over time": "over space",
    "division": "has none for it",
    "a number before": ZEROS,
    "reflection in space": ZEROS,
    "replication in time": ZEROS,
    "embedding, unknown words to the last row": "not in the vocabulary",
    "position embedding": "has none for it",
    "mask": "put out a mask",
    "every second channel, backwards": "cuts backwards",
} | {case.name: "has none for it" for case in CASES if "attention" in case.name}
REFUSED_NETS = {
    "lstm hard-sigmoid 0.2": "no name(?s:.*)0.2 x",
    "lstm peephole": "no peephole",
    "lstm clip": "no bounds",
    "lstm peephole clip": "no peephole",
    "lstm cell clip": "no bound of the cell",
    "lstm coupled": "gates are apart",
    "lstm another output": "one function",
    "lstm projection": "no projections",
    "lstm projectors": "no projectors",
    "gru clip": "no bounds",
    "gru before clip": "no bounds",
    "gru softsign hard-sigmoid": NO_NAME,
    "rnn clip": "no bounds",
    "bilstm two functions": NO_NAME,
    "bilstm peephole": "no peephole",
    "two widths": "as wide as",
    "sliced": "cuts backwards",
}
ALL = NETS | SPECIAL


def opened(data: bytes, folder: Path) -> Any:
    """The model, as Keras loads it in safe mode."""
    path = folder / "net.keras"
    path.write_bytes(data)
    return keras.saving.load_model(path)


def run(model: Any, xs: list[np.ndarray]) -> list[np.ndarray]:
    found = model(xs if len(xs) > 1 else xs[0])
    many = found if isinstance(found, list | tuple) else [found]
    return [value.detach().numpy() for value in many]


def agrees(net: Network, xs: list[np.ndarray], folder: Path) -> bool:
    found = run(opened(keras_save.encoded(net, []), folder), xs)
    outputs, _ = answers(net, xs)
    pairs = zip(found, outputs, strict=True)
    return all(off(one, other) < TOLERANCE for one, other in pairs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_layer(case, tmp_path):
    net = network(case)
    if case.name in REFUSED_LAYERS:
        with pytest.raises(Unsupported, match=REFUSED_LAYERS[case.name]) as refusal:
            keras_save.encoded(net, [])
        assert "'layer'" in refusal.value.place
        return
    model = opened(keras_save.encoded(net, []), tmp_path)
    given = examples(case, 3)
    xs = [np.stack(column) for column in zip(*given, strict=True)]
    if isinstance(net.layers[net.outputs[0]], L.Embedding) and case.shapes[0].time:
        xs = [x[..., 0] for x in xs]
    (found,) = run(model, xs)
    assert off(found, wanted(case, given)) < TOLERANCE


@pytest.mark.parametrize("name", ALL)
def test_a_network(name, rng, tmp_path):
    net = ALL[name](rng)
    if name in REFUSED_NETS:
        with pytest.raises(Unsupported, match=REFUSED_NETS[name]) as refusal:
            keras_save.encoded(net, [])
        assert refusal.value.place.startswith("layer '")
        return
    xs = sequences(net, rng, 3, STEPS[0])
    if name == "masked":
        xs[0][:, 2:4] = -1.0
    assert agrees(net, xs, tmp_path)


# Keras on torch hands torch objects of its own to NumPy.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["stacked", "residual", "bilstm last"])
def test_another_number_of_steps(name, rng, tmp_path):
    net = NETS[name](rng)
    model = opened(keras_save.encoded(net, []), tmp_path)
    for batch in (1, 2):
        xs = sequences(net, rng, batch, STEPS[1])
        found = model.predict(xs[0], verbose=0)
        found = found if isinstance(found, list) else [found]
        for one, other in zip(found, answers(net, xs)[0], strict=True):
            assert off(one, other) < TOLERANCE


def test_double_precision(rng, tmp_path, double):
    net = jax.tree.map(
        lambda a: a + 1e-12 * rng.normal(size=a.shape),
        NETS["rnn"](rng).astype("float64"),
    )
    net = net.replace(initial=jax.tree.map(np.zeros_like, net.initial))
    data = keras_save.encoded(net, [])
    kernel = arrays_of(data)["layers/simple_rnn/cell/vars/0"]
    assert kernel.T.tobytes() == net.layers["rec"].n.input_weights.tobytes()
    xs = [x.astype("float64") for x in sequences(net, rng, 2, STEPS[0])]
    (found,) = run(opened(data, tmp_path), xs)
    # On torch Keras multiplies matrices in single precision whatever they are in.
    assert found.dtype == np.float64
    assert off(found, answers(net, xs)[0][0]) < TOLERANCE


# --- the order of the weights ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_any_graph_finds_its_weights(seed, tmp_path):
    """Keras numbers layers by their distance from the outputs, not by their names."""
    rng = np.random.default_rng(seed)
    layers: dict[str, Any] = {"x": L.Input((4,))}
    graph = [Node("x", ())]
    for k in range(9):
        names = list(layers)
        count = min(int(rng.integers(1, 4)), len(names))
        chosen = tuple(str(n) for n in rng.permutation(names)[:count])
        name = f"{'zyxwvutsr'[k]}_layer"
        if count > 1:
            layers[name] = L.Addition()
        else:
            layers[name] = dense(rng, 4, 4)
        graph.append(Node(name, chosen))
    used = {ref for node in graph for ref in node.inputs}
    ends = [name for name in layers if name not in used]
    ends = [str(name) for name in rng.permutation(ends)]
    net = Network.build(layers, graph, outputs=ends)
    assert agrees(net, sequences(net, rng, 2, 3), tmp_path)


def test_a_deep_series_needs_no_deep_stack(rng):
    layers: dict[str, Any] = {"x": L.Input((2,))}
    layers |= {f"fc_{k}": dense(rng, 2, 2) for k in range(sys.getrecursionlimit())}
    model = keras_save.written(Network.build(layers))
    (last,) = (model.tensors[name] for name in layers if name == [*layers][-1])
    ordered = keras_save.in_keras_order(model.entries, [last])
    assert [entry.name for entry in ordered] == list(layers)


def test_a_layer_that_leads_nowhere(rng):
    layers = {"x": L.Input((3,)), "fc": dense(rng, 3), "unused": dense(rng, 3)}
    graph = [Node("x", ()), Node("fc", ("x",)), Node("unused", ("x",))]
    net = Network.build(layers, graph, outputs=("fc",))
    with pytest.raises(Unsupported, match=r"'unused'(?s:.*)no output depends"):
        keras_save.encoded(net, [])


# --- what stands in the file ----------------------------------------------------------


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def arrays_of(data: bytes) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(io.BytesIO(members(data)["model.weights.h5"])) as store:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = item[()]

        store.visititems(visit)
    return found


def odd(tree: Any) -> Any:
    """Denormals, negative zeros and the largest numbers among the weights."""
    bits = np.array([1, 0x80000000, 0x7F7FFFFF, 0x807FFFFF], np.uint32)

    def change(leaf: Any) -> Any:
        leaf = np.array(leaf)
        if leaf.size >= 4:
            leaf.ravel()[:4] = bits.view(np.float32)
        return leaf

    return jax.tree.map(change, tree)


def test_weights_keep_every_bit_in_the_order_of_keras(rng):
    net = NETS["lstm"](rng)
    net = net.replace(layers=odd(net.layers))
    layer, found = net.layers["rec"], arrays_of(keras_save.encoded(net, []))
    cell = "layers/lstm/cell/vars"
    for place, field in (("0", "input_weights"), ("1", "recurrent_weights")):
        rows = np.concatenate([getattr(getattr(layer, gate), field) for gate in "ifgo"])
        assert found[f"{cell}/{place}"].T.tobytes() == rows.tobytes()
    biases = np.concatenate([getattr(layer, gate).bias for gate in "ifgo"])
    assert found[f"{cell}/2"].tobytes() == biases.tobytes()
    kernel = net.layers["fc"].weights
    assert found["layers/dense/vars/0"].T.tobytes() == kernel.tobytes()


def test_a_gru_has_the_order_z_r_h_and_two_biases(rng):
    for name, count in (("gru biased", 2), ("gru after", 2), ("gru before", 1)):
        net = NETS[name](rng)
        layer, found = net.layers["rec"], arrays_of(keras_save.encoded(net, []))
        rows = np.concatenate(
            [getattr(layer, gate).recurrent_weights for gate in "zrn"]
        )
        assert np.array_equal(found["layers/gru/cell/vars/1"].T, rows)
        bias = found["layers/gru/cell/vars/2"]
        assert bias.shape == ((2, 15) if count == 2 else (15,))


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0, 1e12])
def test_a_spread_keeps_every_bit_as_a_variance(scale, rng):
    std = np.exp(rng.normal(size=2000)).astype("f4") * np.float32(scale)
    mean = odd(normal(rng, 2000))
    layer = L.Input((2000,), normalization="zscore", mean=mean, std=std)
    found = arrays_of(keras_save.encoded(Network.build({"x": layer}), []))
    assert found["layers/normalization/vars/0"].tobytes() == mean.tobytes()
    assert np.sqrt(found["layers/normalization/vars/1"]).tobytes() == std.tobytes()


@pytest.mark.parametrize("bad", [0.0, 5e-8, -1.0, 1e-30, 1e30, np.nan])
def test_a_spread_that_keras_would_change(bad, rng):
    std = np.array([1, bad], "f4")
    layer = L.Input((2,), normalization="zscore", mean=normal(rng, 2), std=std)
    with pytest.raises(Unsupported, match=r"layer 'x'(?s:.*)divides by"):
        keras_save.encoded(Network.build({"x": layer}), [])


def test_a_series_is_sequential_and_a_graph_functional(rng):
    for name, kind in (
        ("stacked", "Sequential"),
        ("bilstm", "Sequential"),
        ("residual", "Functional"),
        ("encoder decoder", "Functional"),
    ):
        config = json.loads(
            members(keras_save.encoded(NETS[name](rng), []))["config.json"]
        )
        assert config["class_name"] == kind, name


def test_names_that_keras_cannot_have(rng, tmp_path):
    layers = {"x 1": L.Input((3,)), "a.b": dense(rng, 3, 4), "a_b": dense(rng, 4, 2)}
    net = Network.build(layers)
    model = opened(keras_save.encoded(net, []), tmp_path)
    assert [layer.name for layer in model.layers] == ["a_b", "a_b_2"] or [
        layer.name for layer in model.layers
    ] == ["a_b_2", "a_b"]
    assert agrees(net, sequences(net, rng, 2, 3), tmp_path)


def test_the_file_proves_itself_and_needs_no_keras(tmp_path, rng, monkeypatch):
    net = NETS["residual"](rng)
    with monkeypatch.context() as patch:
        for name in [n for n in sys.modules if n.partition(".")[0] == "keras"]:
            patch.setitem(sys.modules, name, None)
        (path,) = keras_save.save(net, tmp_path / "net.keras")
    inside = members(path.read_bytes())
    assert json.loads(inside["metadata.json"])["keras_version"].startswith("3.")
    records = golden_json.loads(inside["jlstm.json"])
    model = keras.saving.load_model(path)
    assert records
    for record in records:
        found = run(model, [x[None] for x in record.inputs])
        for one, other in zip(found, record.outputs, strict=True):
            assert off(one[0], other) < TOLERANCE
    assert keras_save.encoded(net, records) == path.read_bytes()


# --- masks ----------------------------------------------------------------------------


def spoilt(rng, features: int = 3) -> np.ndarray:
    """Sequences with masked steps inside, at the start and at the end."""
    x = normal(rng, 4, 7, features, scale=1.0)
    x[0, 2:4], x[1, :2], x[2, 5:], x[3, :] = -1.0, -1.0, -1.0, -1.0
    x[0, 5, 0] = -1.0  # not the whole step
    return x


def chain(rng, *more: tuple[str, Any], **settings: Any) -> Network:
    """Masking, then layers, the recurrent ones among them masked."""
    layers: dict[str, Any] = {"x": L.Input((3,)), "masking": L.Masking(-1.0)}
    layers["mask"] = L.Mask(-1.0)
    graph = [Node("x", ()), Node("masking", ("x",)), Node("mask", ("x",))]
    last = "masking"
    for name, layer in more:
        layers[name] = layer
        has = getattr(layer, "masked", False)
        graph.append(Node(name, (last, "mask") if has else (last,)))
        last = name
    return Network.build(layers, graph, **settings)


def test_a_mask_goes_through_to_the_recurrent_layers(rng, tmp_path):
    net = chain(
        rng,
        ("fc", dense(rng, 3, 4)),
        ("one", gru(rng, 4, 5, masked=True, reset_mode=BEFORE)),
        ("tanh", L.Activation("tanh")),
        ("softmax", L.Softmax()),
        ("two", lstm(rng, 5, 2, masked=True)),
        ("drop", L.Dropout(0.2)),
        ("out", dense(rng, 2, 3)),
    )
    assert agrees(net, [spoilt(rng)], tmp_path)


def test_the_last_step_that_counts(rng, tmp_path):
    half = [lstm(rng, 3, 2, masked=False) for _ in range(2)]
    both = Bidirectional(*half, masked=True, output_mode="last")
    assert agrees(chain(rng, ("both", both)), [spoilt(rng)], tmp_path)


def test_indices_of_zero_are_masked(rng, tmp_path):
    layers: dict[str, Any] = {
        "x": L.Input((1,)),
        "mask": L.Mask(0.0),
        "words": L.Embedding(normal(rng, 6, 4), 0),
        "rec": lstm(rng, 4, 3, masked=True, output_mode="last"),
    }
    graph = [
        Node("x", ()), Node("mask", ("x",)), Node("words", ("x",)),
        Node("rec", ("words", "mask")),
    ]  # fmt: skip
    net = Network.build(layers, graph)
    x = np.array([[3, 0, 5, 0, 0], [0, 1, 2, 3, 4]], np.float32)
    (found,) = run(opened(keras_save.encoded(net, []), tmp_path), [x])
    alone = [np.asarray(predict(net, row[:, None])) for row in x]
    assert off(found, np.stack(alone)) < TOLERANCE


def test_masks_that_keras_would_place_otherwise(rng):
    plain = lstm(rng, 3, 2)
    held = lstm(rng, 3, 2, masked=True)
    both = Bidirectional(plain, plain, masked=True)
    pool = L.GlobalPooling1D("average")
    for net, word in (
        (chain(rng, ("rec", plain)), "hands on"),
        (chain(rng, ("pool", pool)), "after a mask"),
        (chain(rng, ("both", both)), "puts out zeros"),
        (chain(rng, ("flat", L.Scaling(*normal(rng, 2, 3))), ("out", plain)), "hands"),
    ):
        with pytest.raises(Unsupported, match=word):
            keras_save.encoded(net, [])
    unmasked = masked(rng)
    graph = [
        Node("rec", ("x", "mask")) if node.name == "rec" else node
        for node in unmasked.graph
    ]
    net = Network.build(unmasked.layers, graph, outputs=("fc", "masking"))
    with pytest.raises(Unsupported, match="hands on"):
        keras_save.encoded(net, [])
    layers = {"x": L.Input((3,)), "mask": L.Mask(), "rec": held, "twice": L.Addition()}
    graph = [
        Node("x", ()), Node("mask", ("x",)), Node("rec", ("x", "mask")),
        Node("twice", ("mask", "mask")),
    ]  # fmt: skip
    with pytest.raises(Unsupported, match=r"hands on|no value"):
        keras_save.encoded(Network.build(layers, graph), [])


# --- refusals -------------------------------------------------------------------------


def test_what_no_file_can_hold(tmp_path, rng):
    net = NETS["lstm"](rng)
    moved = started(net, rng)
    for bad, word in (
        (moved, "initial state that is not zero"),
        (net.replace(saved=moved.initial), "room for one state"),
        (net.replace(outputs=("fc", "fc")), "same output twice"),
        (net.astype("float16"), "precision"),
    ):
        with pytest.raises(Unsupported, match=word):
            keras_save.encoded(bad, [])
    with pytest.raises(Unsupported, match=r"net\.keras: layer 'rec'"):
        keras_save.save(SPECIAL["lstm peephole"](rng), tmp_path / "net.keras")
    with pytest.raises(InputError, match="written"):
        keras_save.save(net, tmp_path / "nowhere" / "net.keras")
    assert not [*tmp_path.iterdir()]


def test_states_from_another_layer_replace_the_stored_one(rng, tmp_path):
    net = NETS["encoder decoder"](rng)
    moved = started(net, rng).initial
    net = net.replace(initial=net.initial | {"decoder": moved["decoder"]})
    assert agrees(net, sequences(net, rng, 2, 4), tmp_path)


def test_constants_that_went_through_single_precision(rng, tmp_path):
    spec = f"hard-sigmoid({float(np.float32(1 / 6))!r}, 0.5)"
    assert spec != KERAS_3
    layers = {"x": L.Input((3,)), "rec": lstm(rng, gate_activation=spec)}
    net = Network.build(layers)
    assert agrees(net, sequences(net, rng, 2, 4), tmp_path)


@pytest.mark.parametrize(
    "spec",
    ["leaky-relu(0.2)", "clipped-relu(6.0)", "elu", "elu(1.0)", "selu", "celu", "gelu",
     "swish", "hard-swish", "mish", "log-sigmoid", "softplus", "identity"],
)  # fmt: skip
def test_functions_inside_recurrent_layers(spec, rng, tmp_path):
    layers = {"x": L.Input((3,)), "rec": rnn(rng, state_activation=spec)}
    net = Network.build(layers)
    assert agrees(net, [3 * x for x in sequences(net, rng, 2, 3)], tmp_path)


@pytest.mark.parametrize("spec", ["leaky-relu", "leaky-relu(0.01)", "clipped-relu(5)"])
def test_constants_that_no_word_stands_for(spec, rng):
    net = Network.build({"x": L.Input((3,)), "rec": rnn(rng, state_activation=spec)})
    with pytest.raises(Unsupported, match=NO_NAME):
        keras_save.encoded(net, [])
