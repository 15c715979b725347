"""Networks written for PyTorch: torch opens them, and the module answers the same.

The module that is written beside is run by torch alone; what it answers is compared
with what jlstm answers, in double precision.
"""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import zipfile
from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch import nn

import jlstm as jl
from jlstm import layers as L
from jlstm.activations import ACTIVATIONS
from jlstm.errors import DamagedFile, InputError, JlstmError, Unsupported
from jlstm.formats import pytorch
from jlstm.formats.pytorch_module import TAKEN, attributes
from jlstm.golden import Golden
from jlstm.graph import Node
from jlstm.network import Network
from jlstm.recurrent import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    BidirectionalState,
    Gate,
    GRUState,
    LSTMState,
    Peephole,
)

C, H, STEPS = 3, 4, 6


class Maker:
    """Random arrays and layers of trained scale."""

    def __init__(self, dtype: Any = np.float64):
        self.rng = np.random.default_rng(5)
        self.dtype = dtype

    def __call__(self, *shape: int) -> np.ndarray:
        return self.rng.normal(0, 0.5, shape).astype(self.dtype)

    def gates(self, names: str, hidden: int, inputs: int, width: int, biased: bool):
        return {
            name: Gate(
                self(hidden, inputs),
                self(hidden, width),
                self(hidden),
                self(hidden) if biased else None,
            )
            for name in names
        }

    def lstm(self, hidden: int = H, inputs: int = C, width: int = 0, **settings: Any):
        gates = self.gates("ifgo", hidden, inputs, width or hidden, False)
        return LSTM(**gates, **settings)

    def gru(self, hidden: int = H, inputs: int = C, **settings: Any):
        mode = settings.get("reset_mode", "after-multiplication")
        biased = mode.startswith("recurrent")
        return GRU(**self.gates("rzn", hidden, inputs, hidden, biased), **settings)

    def rnn(self, hidden: int = H, inputs: int = C, **settings: Any):
        return RNN(**self.gates("n", hidden, inputs, hidden, False), **settings)

    def fc(self, outputs: int, inputs: int):
        return L.FullyConnected(self(outputs, inputs), self(outputs))

    def conv(self, taps: int, inputs: int, outputs: int, **settings: Any):
        groups = settings.get("groups", 1)
        weights = self(taps, inputs // groups, outputs)
        return L.Convolution1D(weights, self(outputs), **settings)


def series(*layers: Any, **first: Any) -> Network:
    entries = {"in": L.Input((C,), **first)}
    entries |= {f"l{k}": layer for k, layer in enumerate(layers)}
    return Network.build(entries)


def recurrent(m: Maker) -> dict[str, Network]:
    """One network for every form of a recurrent layer."""
    softsign = {"state_activation": "softsign", "gate_activation": "hard-sigmoid"}
    peephole = Peephole(m(H), m(H), m(H))
    last = {"output_mode": "last"}
    own = [
        m.lstm(),
        m.lstm(5, H, **last),
        m.fc(2, 5),
    ]
    start = LSTMState(m(H), m(H))
    both = Bidirectional(m.gru(), m.gru(), output_mode="sequence")
    uneven = Bidirectional(m.lstm(), m.gru(5), **last)
    steps = BidirectionalState(GRUState(m(H)), GRUState(m(H)))
    other = BidirectionalState(LSTMState(m(H), m(H)), GRUState(m(5)))
    projected = m.lstm(H, C, 2, projection=m(2, H))
    nets = {
        "own": series(*own),
        "own, starting elsewhere": series(*own[:1]).replace(initial={"l0": start}),
        "gru": series(m.gru(), m.gru(3, H, reset_mode="before-multiplication")),
        "gru, torch's": series(m.gru(reset_mode="recurrent-bias-after-multiplication")),
        "gru, biased, softsign": series(
            m.gru(reset_mode="recurrent-bias-after-multiplication", **softsign)
        ),
        "rnn": series(m.rnn(state_activation="relu"), m.rnn(5, H)),
        "rnn, elu": series(m.rnn(state_activation="elu(0.5)", clip=0.7)),
        "peephole": series(m.lstm(peephole=peephole)),
        "functions": series(m.lstm(**softsign, output_activation="leaky-relu(0.2)")),
        "clips": series(m.lstm(clip=0.4, cell_clip=0.3, coupled=True)),
        "gru clip": series(m.gru(clip=0.4)),
        "projection": series(projected, m.fc(2, 2)),
        "projection, softsign": series(m.lstm(H, C, 2, projection=m(2, H), **softsign)),
        "projectors": series(
            m.lstm(H, 2, 3, input_projector=m(C, 2), output_projector=m(H, 3))
        ),
        "both": series(both, Bidirectional(m.rnn(2, 8), m.rnn(2, 8), **last)),
        "both, starting elsewhere": series(both).replace(initial={"l0": steps}),
        "both, projected": series(
            Bidirectional(projected, m.lstm(H, C, 2, projection=m(2, H)), **last)
        ),
        "uneven": series(uneven).replace(initial={"l0": other}),
    }
    for merge in ("sum", "mul", "ave"):
        for mode in ("sequence", "last"):
            layer = Bidirectional(m.lstm(), m.lstm(), output_mode=mode, merge=merge)
            nets[f"{merge}, {mode}"] = series(layer)
    return nets


def others(m: Maker) -> dict[str, Network]:
    """Layers without state."""
    activations = {
        "log": (), "sqrt": (), "reciprocal": (), "leaky-relu": (0.3,), "elu": (0.7,),
        "clipped-relu": (0.8,), "celu": (0.4,), "affine": (1.5, -0.5),
        "scaled-tanh": (1.7, 0.6), "thresholded-relu": (0.4,),
        "hard-sigmoid": (0.25, 0.4),
    }  # fmt: skip
    layers: dict[str, Any] = {"in": L.Input((C,)), "abs": L.Activation("abs")}
    graph = [Node("in", ()), Node("abs", ("in",))]
    for name in ACTIVATIONS:
        layers[f"a {name}"] = L.Activation(name, activations.get(name, ()))
        positive = name in ("log", "sqrt", "reciprocal")
        graph.append(Node(f"a {name}", ("abs" if positive else "in",)))
    every = tuple(node.name for node in graph[2:])
    layers["all"], layers["fc"] = L.Concatenation(), m.fc(2, C * len(every))
    graph += [Node("all", every), Node("fc", ("all",))]

    def scaled(**statistics: Any) -> Network:
        return series(L.Identity("x"), **statistics)

    low, high = -1 - m(C) ** 2, 1 + m(C) ** 2
    ends = {"minimum": low, "maximum": high}
    norm = L.BatchNormalization(m(H), m(H), m(H), m(H) ** 2 + 0.1, 1e-3)
    width = m.conv(3, C, H, padding="same", dilation=2)
    nets = {
        "functions": Network.build(layers, graph, outputs=("all", "fc")),
        "zerocenter": scaled(normalization="zerocenter", mean=m(C)),
        "zscore": scaled(normalization="zscore", mean=m(C), std=m(C) + 2),
        "symmetric": scaled(normalization="rescale-symmetric", **ends),
        "to a range": scaled(
            normalization="rescale-zero-one", target=(0.2, 0.7), **ends
        ),
        "norms": series(
            width, norm, L.PReLU(m(H)), L.LayerNormalization(m(H), m(H), 1e-2)
        ),
        "convolutions": series(
            m.conv(2, C, 6, padding="causal", groups=3, padding_value=0.5),
            m.conv(3, 6, 2, padding=(1, 2), stride=2, padding_value="replicate"),
            m.conv(2, 2, 2, padding=(1, 1), padding_value="symmetric-exclude-edge"),
        ),
        "pooling": series(
            m.fc(C, C),
            L.Pooling1D("max", 2, 1, (1, 0)),
            L.Pooling1D("average", 3, 2, (1, 1), 0.5),
            L.Pooling1D("average", 2, padding_value="mean"),
            L.GlobalPooling1D("average"),
            L.Softmax(True),
            L.Classification(("a", "b", "c")),
        ),
        "maximum": series(L.GlobalPooling1D("max"), norm_of(m, C), L.Softmax()),
        "rearranged": series(
            L.Flip(),
            L.Slice("time", 1, -1, 2),
            L.Slice("channels", 1, None),
            L.FlattenTime(2),
            L.Repeat(3),
            L.Scaling(m(4), m(4)),
            L.Indexing1D("first"),
            L.Dropout(0.3),
            L.Regression(),
        ),
        "vectors": Network.build(
            {"in": L.Input((C,), time=False), "fc": m.fc(2, C), "rnn": m.gru(H, 2)}
        ),
        'it\'s "{x}" {0} 1': Network.build(
            {"in": L.Input((C,)), "train": m.fc(2, C), 'it\'s {x} """': m.fc(2, 2)}
        ),
        "graph": branches(m),
        "states": encoder(m),
    }
    table = L.Embedding(m(5, 2), first_index=0, out_of_vocabulary="map-to-last")
    nets["table"] = Network.build({"in": L.Input((1,)), "e": table})
    table = L.Embedding(m(5, 2), first_index=1)
    nets["table from 1"] = Network.build({"in": L.Input((1,)), "e": table})
    return nets


def norm_of(m: Maker, size: int) -> Any:
    return L.BatchNormalization(m(size), m(size), m(size), m(size) ** 2 + 0.1)


def branches(m: Maker) -> Network:
    """Two inputs, every way to combine, two outputs."""
    layers = {
        "a": L.Input((C,)), "b": L.Input((C,)), "last": L.Indexing1D("last"),
        "add": L.Addition(), "sub": L.Subtraction(), "mul": L.Multiplication(),
        "div": L.Division(), "max": L.Maximum(), "min": L.Minimum(), "fc": m.fc(2, C),
    }  # fmt: skip
    graph = [
        Node("a", ()), Node("b", ()), Node("last", ("b",)),
        Node("add", ("a", "b", "last")), Node("sub", ("add", "last", "b")),
        Node("mul", ("sub", "a")), Node("div", ("mul", "last")),
        Node("max", ("div", "a")), Node("min", ("max", "b", "last")),
        Node("fc", ("min",)),
    ]  # fmt: skip
    return Network.build(layers, graph, outputs=("fc", "last"))


def encoder(m: Maker) -> Network:
    """A layer that starts from where another one ended, and a state as output."""
    layers = {"in": L.Input((C,)), "e": m.lstm(), "d": m.lstm(), "g": m.gru()}
    graph = [
        Node("in", ()), Node("e", ("in",)), Node("d", ("in", "e/hidden", "e/cell")),
        Node("g", ("in", "d/hidden")),
    ]  # fmt: skip
    return Network.build(layers, graph, outputs=("g", "e/cell"))


RECURRENT, OTHERS = recurrent(Maker()), others(Maker())
NETS = {**RECURRENT, **{f"{name} (plain)": net for name, net in OTHERS.items()}}


def signals(net: Network, seed: int = 3, odd: bool = False) -> Any:
    rng = np.random.default_rng(seed)
    arrays = []
    for name in net.inputs:
        layer: Any = net.layers[name]
        shape = (STEPS, *layer.size) if layer.time else layer.size
        values = rng.normal(size=shape)
        if name == "in" and "e" in net.layers and layer.size == (1,):
            values = rng.integers(1, 5, shape).astype(float)
            if odd:  # numbers that are no row: a fraction, and one too large
                values[0], values[1] = 1.5, 9
        arrays.append(values)
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def golden(net: Network) -> list[Golden]:
    """What jlstm answers; no part of these tests depends on it being right."""
    x = signals(net, 9)
    y = jl.predict(net, x)
    many = y if isinstance(y, tuple) else (y,)
    given = x if isinstance(x, tuple) else (x,)
    return [Golden(tuple(given), tuple(np.asarray(value) for value in many))]


def imported(path: Any) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bits(net: Network) -> list[Any]:
    leaves = jax.tree_util.tree_leaves_with_path((net.layers, net.initial))
    return [
        (jax.tree_util.keystr(path), np.asarray(leaf).dtype, np.asarray(leaf).tobytes())
        for path, leaf in leaves
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: Any) -> Any:
    """A network by name, written once: its file and its module."""
    folder = tmp_path_factory.mktemp("written")
    done: dict[str, Any] = {}

    def write(name: str) -> Any:
        if name not in done:
            path = folder / f"net{len(done)}.pt"
            net = NETS[name]
            with jax.enable_x64(True):
                found = pytorch.save(net, path, golden(net))
            assert found == (path, path.with_name(f"{path.stem}_module.py"))
            done[name] = net, path, imported(found[1])
        return done[name]

    return write


@pytest.mark.parametrize("name", NETS)
def test_torch_answers_what_jlstm_answers(name, written, double):
    net, _, module = written(name)
    ready = module.load()
    x = signals(net, odd=True)
    y, after = jl.predict(net, x, return_state=True)
    many = x if isinstance(x, tuple) else (x,)
    given = [torch.from_numpy(value) for value in many]
    with torch.no_grad():
        found, state = ready(given if len(given) > 1 else given[0])
        batch = [torch.stack([value, value + 1]) for value in given]
        double_, _ = ready(batch if len(batch) > 1 else batch[0])
    for mine, theirs, twice in zip(*map(listed, (y, found, double_)), strict=True):
        assert mine.shape == tuple(theirs.shape)
        np.testing.assert_allclose(theirs, mine, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(twice[0], mine, rtol=1e-11, atol=1e-12)
    assert set(state) == set(after)
    for layer, parts in after.items():
        mine = np.concatenate([np.ravel(part) for part in jax.tree.leaves(parts)])
        theirs = np.sort(np.concatenate(flat(state[layer])))
        np.testing.assert_allclose(np.sort(mine), theirs, rtol=1e-11, atol=1e-12)


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def flat(state: Any) -> list[np.ndarray]:
    if isinstance(state, tuple):
        return [array for part in state for array in flat(part)]
    return [state.numpy().ravel()]


@pytest.mark.parametrize("name", NETS)
def test_every_weight_comes_back_bit_for_bit(name, written):
    net, path, _ = written(name)
    again, records = pytorch.load(path)
    assert bits(again) == bits(net)
    assert again.graph == net.graph and again.outputs == net.outputs
    assert len(records) == 1
    for mine, theirs in zip(records[0].inputs, golden_inputs(net), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    state = torch.load(path, weights_only=True)
    assert all(tensor.dtype == torch.float64 for tensor in state.values())


def golden_inputs(net: Network) -> tuple:
    x = signals(net, 9)
    return x if isinstance(x, tuple) else (x,)


def test_the_state_dict_is_the_one_that_torch_layers_take(written):
    net, path, _ = written("own")
    state = torch.load(path, weights_only=True)
    layer = nn.LSTM(C, H, batch_first=True).double()
    layer.load_state_dict(
        {k.removeprefix("l0."): v for k, v in state.items() if k.startswith("l0.")}
    )
    i: Any = net.layers["l0"]
    np.testing.assert_array_equal(layer.bias_ih_l0[:H].detach(), i.i.bias)
    assert not layer.bias_hh_l0.any()
    rows = layer.weight_ih_l0[H : 2 * H].detach()
    np.testing.assert_array_equal(rows, i.f.input_weights)


def test_a_state_goes_on_where_it_stood(written, double):
    net, _, module = written("own")
    ready = module.load()
    x = signals(net)
    with torch.no_grad():
        _, state = ready(torch.from_numpy(x[:2]))
        y, _ = ready(torch.from_numpy(x[2:]), state)
    expected = jl.predict(net, x)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)


def test_run_as_a_script_the_module_proves_itself(tmp_path):
    m = Maker(np.float32)
    net = series(m.lstm(), m.gru(5, H, reset_mode="before-multiplication"), m.fc(2, 5))
    path = tmp_path / "my net.pt"
    _, module = pytorch.save(net, path)
    run = [sys.executable, str(module)]
    found = subprocess.run(run, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("largest difference ")
    assert float(found.stdout.split()[2].rstrip(",")) < 1e-6
    state = torch.load(path, weights_only=True)
    # With another weight the same module says so.
    other = {**state, "l2.bias": state["l2.bias"] + 1e-3}
    torch.save(other, tmp_path / "other.pt")
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(tmp_path / "other.pt") as new:
        golden_text = file.read("archive/golden.json")
        members = {n.replace("other/", "archive/"): new.read(n) for n in new.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
        file.writestr("archive/golden.json", golden_text)
    assert subprocess.run(run, capture_output=True).returncode == 1


def test_without_torch_the_same_files_are_written(tmp_path):
    net = series(Maker(np.float32).lstm())
    pytorch.save(net, tmp_path / "a.pt")
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from jlstm.formats import pytorch\n"
        "net, golden = pytorch.load(sys.argv[1])\n"
        "pytorch.save(net.replace(origin=type(net.origin)()), sys.argv[2], golden)\n"
        "assert not any(name.split('.')[0] == 'torch' and module\n"
        "               for name, module in sys.modules.items())\n"
    )
    paths = [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    subprocess.run([sys.executable, "-c", script, *paths], check=True)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_numbers_begin_where_torch_can_map_them(written):
    _, path, _ = written("own")
    torch.load(path, mmap=True, weights_only=True)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        starts = [info.header_offset for info in file.infolist()]
    for start in starts:
        name, extra = struct.unpack_from("<HH", data, start + 26)
        assert (start + 30 + name + extra) % 64 == 0


def test_names_that_torch_has_taken():
    public = {name for name in dir(nn.Module()) if not name.startswith("_")}
    assert public <= TAKEN
    m = Maker()
    layers = {"in": L.Input((C,))}
    for name in ("a b", "a_b", "train", "1", "class", "_x", "ü"):
        layers[name] = m.fc(C, C)
    names = attributes(Network.build(layers))
    assert list(names.values()) == [
        "layer_in", "a_b", "a_b_2", "layer_train", "layer_1", "layer_class", "layer_x",
        "layer_",
    ]  # fmt: skip


# --- what is refused ------------------------------------------------------------------


def masked() -> Network:
    layers = {"in": L.Input((C,)), "mask": L.Mask(), "rnn": Maker().lstm(masked=True)}
    graph = [Node("in", ()), Node("mask", ("in",)), Node("rnn", ("in", "mask"))]
    return Network.build(layers, graph)


def mixed() -> Network:
    net = series(Maker().fc(2, C), Maker(np.float32).fc(2, 2))
    return net


def two_states() -> Network:
    m = Maker()
    layers = {"in": L.Input((C,)), "rnn": m.gru()}
    return Network.build(layers, saved={"rnn": GRUState(m(H))})


REFUSED = {
    "it takes a mask": masked,
    "no networks of this precision": mixed,
    "room for one state": two_states,
    "torch has no such padding": lambda: series(
        Maker().conv(3, C, 2, padding=(1, 1), padding_value="symmetric-include-edge")
    ),
    "its averages leave the padding out": lambda: series(
        L.Pooling1D("average", 3, 1, (1, 1), "mean")
    ),
    "does not count backwards": lambda: series(L.Slice("time", step=-1)),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_written_is_refused_by_name(words, tmp_path):
    with pytest.raises(Unsupported) as caught:
        pytorch.save(REFUSED[words](), tmp_path / "net.pt")
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_somebody_else_is_in_the_way(tmp_path):
    net = series(Maker(np.float32).fc(2, C))
    (tmp_path / "net_module.py").write_text("import this\n")
    with pytest.raises(InputError, match="somebody else"):
        pytorch.save(net, tmp_path / "net.pt")
    assert not (tmp_path / "net.pt").exists()
    (tmp_path / "net_module.py").unlink()
    pytorch.save(net, tmp_path / "net.pt")
    pytorch.save(net, tmp_path / "net.pt")


def test_golden_vectors_of_another_network_are_refused(tmp_path):
    net = series(Maker(np.float32).fc(2, C))
    x, y = np.ones((3, C), "f4"), np.ones((3, 2), "f4")
    with pytest.raises(InputError, match="not of this network"):
        pytorch.save(net, tmp_path / "net.pt", [Golden((x,), (y,))])


# --- the structure in the file --------------------------------------------------------


def altered(path: Any, change: Any) -> Any:
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    document = json.loads(members["archive/jlstm.json"])
    change(document)
    members["archive/jlstm.json"] = json.dumps(document).encode()
    target = path.with_name("altered.pt")
    with zipfile.ZipFile(target, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return target


def first(document: Any) -> Any:
    return next(iter(document["arrays"].values()))


CHANGES: dict[str, Any] = {
    "a newer version": lambda d: d.update(format_version=2),
    "no structure": lambda d: d.pop("structure"),
    "another class": lambda d: d["structure"].update({"class": "Golden"}),
    "rows beyond": lambda d: first(d).__setitem__(2, 99),
    "rows backwards": lambda d: first(d).__setitem__(1, 3),
    "rows twice": lambda d: first(d).__setitem__(2, 8),
    "one gate for two": lambda d: d["arrays"].update(
        {".layers['l0'].f.bias": d["arrays"][".layers['l0'].i.bias"]}
    ),
    "no rows": lambda d: first(d).__setitem__(2, 0),
    "another tensor": lambda d: first(d).__setitem__(0, "l1.weight_ih_l0"),
    "no tensor": lambda d: first(d).__setitem__(0, "nobody"),
    "not rows": lambda d: d["arrays"].update(x=[1]),
    "an array that nothing uses": lambda d: d["arrays"].update(
        x=d["arrays"].pop(next(iter(d["arrays"])))
    ),
    "zeros that are none": lambda d: d["zeros"].append("l2.bias"),
    "no zeros": lambda d: d["zeros"].clear(),
    "zeros of nobody": lambda d: d["zeros"].append("nobody"),
    "zeros that are no names": lambda d: d["zeros"].append([]),
    "axes reversed": lambda d: first(d).__setitem__(3, True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_structure_that_does_not_fit_its_tensors(name, written):
    _, path, _ = written("own")
    with pytest.raises((DamagedFile, Unsupported)) as caught:
        pytorch.load(altered(path, CHANGES[name]))
    assert "altered.pt" in str(caught.value)


def test_a_structure_nested_without_end(written, tmp_path):
    _, path, _ = written("own")
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    deep = b'{"tuple":[' * 100_000 + b"]}" * 100_000
    for text in (deep, b"", b"[]", b"\xff"):
        with zipfile.ZipFile(tmp_path / "net.pt", "w") as file:
            for name, data in members.items():
                file.writestr(name, text if name.endswith("jlstm.json") else data)
        with pytest.raises(JlstmError):
            pytorch.load(tmp_path / "net.pt")


def test_a_description_goes_before_the_structure(written, double):
    net, path, _ = written("own")
    layers = [
        {"type": "lstm", "name": "l0", "output_mode": "sequence"},
        {"type": "lstm", "name": "l1", "output_mode": "last"},
        {"type": "linear", "name": "l2"},
    ]
    again, records = pytorch.load(path, layers)
    assert records == []
    x = signals(net)
    np.testing.assert_array_equal(jl.predict(again, x), jl.predict(net, x))
