"""From one format into another, with proof by the program that the file is for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from foreign_nets import NETS, dense, lstm, normal, sequences

import jlstm as jl
from jlstm import cli, formats, runtimes
from jlstm import layers as L
from jlstm.demo import load_demo
from jlstm.errors import InputError, JlstmError, Unsupported
from jlstm.golden import Golden
from jlstm.network import Network

RUNTIMES = {
    ".onnx": "onnxruntime 1",
    ".keras": "Keras 3",
    ".pt": "torch 2",
    ".jaxexport": "jax 0",
    ".c": "cc",
    ".mat": "jlstm's reader",
    ".safetensors": "jlstm's reader",
}


def weights(net: Network) -> Counter:
    """Every array that is trained or a state, by its bits."""
    trees = [net.initial]
    for layer in net.layers.values():
        fields = {**vars(layer)}
        for name in layer.statistics:
            fields.pop(name)
        trees.append(fields)
    leaves = [leaf for leaf in jax.tree.leaves(trees) if hasattr(leaf, "dtype")]
    return Counter((str(a.dtype), a.shape, np.asarray(a).tobytes()) for a in leaves)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo network in the native format, with its golden vectors."""
    net, golden = load_demo()
    path = tmp_path_factory.mktemp("source") / "demo.safetensors"
    formats.save(net, path, golden)
    return path


@pytest.mark.parametrize("suffix", RUNTIMES)
def test_the_program_that_a_file_is_for_proves_it(
    source: Path, tmp_path: Path, suffix: str
) -> None:
    done = jl.convert(source, tmp_path / f"net{suffix}")
    assert done.runtime.startswith(RUNTIMES[suffix])
    assert 0 < done.off <= done.accepted == 1e-5
    assert (done.golden, done.kept) == (1, 1)
    assert done.missing == ""
    assert set(done.files) == set(tmp_path.iterdir())  # nothing else is left behind
    assert done.files[0] == tmp_path / f"net{suffix}"
    assert all(str(file) in str(done) for file in done.files)


def test_weights_keep_their_bits_on_the_way_round(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    net = NETS["stacked"](rng)
    first = tmp_path / "first.mat"
    (x,) = sequences(net, rng, 1, 8)
    y = np.asarray(jl.predict(net, x[0]))
    jl.save(net, first, Golden((x[0],), (y,), note="by hand"))
    before = weights(jl.load(first))
    path = first
    for name in ("a.safetensors", "b.onnx", "c.safetensors", "d.keras",
                 "e.safetensors", "f.pt", "g.safetensors"):  # fmt: skip
        done = jl.convert(path, tmp_path / name)
        assert done.kept == done.golden == 1
        path = tmp_path / name
        assert weights(jl.load(path)) == before, name
    np.testing.assert_allclose(jl.predict(jl.load(path), x[0]), y, rtol=0, atol=1e-7)


def test_real_networks_keep_their_bits(nets: Path, tmp_path: Path) -> None:
    for name in ("fenn/LSTM.mat", "eeg/LSTM0.1.2.mat"):
        net = jl.load(nets / name, "net")
        before, path = weights(net), tmp_path / "a.safetensors"
        jl.save(net, path)
        for target in ("b.onnx", "c.safetensors", "d.keras", "e.pt", "f.safetensors"):
            formats.save(formats.read(path)[0], tmp_path / target)
            path = tmp_path / target
            assert weights(jl.load(path)) == before, (name, target)


# --- what is not as it should be ------------------------------------------------------


def test_a_program_that_is_missing_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    done = jl.convert(source, tmp_path / "net.onnx")
    assert (done.runtime, done.missing) == ("jlstm's reader", "onnxruntime")
    assert "onnxruntime is not installed" in str(done)


def test_no_compiler_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = jl.convert(source, tmp_path / "net.c")
    assert (done.runtime, done.missing) == ("", "a C compiler")
    assert "not run; a C compiler is not installed" in str(done)


def test_what_is_not_proven_is_not_put_in_place(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "net.onnx"
    target.write_bytes(b"what was here before")

    def wrong(path: Path, net: Network, records: Any) -> Any:
        return "onnxruntime 9", [(1.0001 * record.outputs[0],) for record in records]

    monkeypatch.setattr(runtimes, "rerun", wrong)
    with pytest.raises(JlstmError, match="onnxruntime 9 computes something else") as e:
        jl.convert(source, target)
    assert e.value.file == str(target)
    assert target.read_bytes() == b"what was here before"
    assert [*tmp_path.iterdir()] == [target]


def test_the_last_words_of_a_program_are_passed_on(
    source: Path, tmp_path: Path
) -> None:
    net, golden = formats.read(source)
    file = tmp_path / "net.onnx"
    file.write_bytes(b"no graph")
    with pytest.raises(JlstmError, match="onnxruntime does not run") as caught:
        runtimes.rerun(file, net, golden)
    assert "no graph" in str(caught.value) or "Protobuf" in str(caught.value)


def test_refusals_name_the_target_and_leave_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    first = tmp_path / "first.safetensors"
    jl.save(NETS["bilstm"](rng), first)
    with pytest.raises(Unsupported) as caught:
        jl.convert(first, tmp_path / "net.json")
    assert caught.value.file == str(tmp_path / "net.json")
    with pytest.raises(InputError, match="the folder is not there"):
        jl.convert(first, tmp_path / "none" / "net.onnx")
    with pytest.raises(Unsupported, match="does not write this format"):
        jl.convert(first, tmp_path / "net.tflite")
    assert [*tmp_path.iterdir()] == [first]


def test_double_precision_goes_through_jax(tmp_path: Path) -> None:
    net = NETS["lstm"](np.random.default_rng(3)).astype(np.float64)
    jl.save(net, tmp_path / "a.safetensors")
    for name in ("b.jaxexport", "c.pt", "d.c"):
        done = jl.convert(tmp_path / "a.safetensors", tmp_path / name)
        assert done.off <= done.accepted < 1e-11, name


# --- the command ----------------------------------------------------------------------


def test_the_command_speaks_json(source: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["convert", str(source), str(tmp_path / "n.mat"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runtime"] == "jlstm's reader" and found["changed"] == []
    assert found["files"][1].endswith("rebuild_n.m")


def test_what_changes_is_named(tmp_path: Path, source: Path, monkeypatch) -> None:
    read = formats.read

    def altered(path: Any, **others: Any) -> Any:
        net, golden = read(path, **others)
        if Path(path).name == "net.onnx":
            fc: Any = net.layers["fc"]
            fc = type(fc)(fc.weights, normal(np.random.default_rng(1), 2))
            net = net.replace(layers=net.layers | {"fc": fc})
        return net, golden

    monkeypatch.setattr(formats, "read", altered)
    done = jl.convert(source, tmp_path / "net.onnx")
    assert ".layers['fc'].bias" in (done.changed or ())
    assert "written in another form: " in str(done)


# --- what is there already ------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "beside", "words"),
    [
        ("net.pt", "net_module.py", "import this\n"),
        ("net.c", "net.h", "#define PINS 4\n"),
        ("net.mat", "rebuild_net.m", "function net = rebuild_net()\n"),
        ("net.mat", "net.mat", "of MATLAB"),
    ],
)
def test_files_of_somebody_else_stay(
    source: Path, tmp_path: Path, target: str, beside: str, words: str
) -> None:
    theirs = tmp_path / beside
    theirs.write_text(words)
    for write in (jl.convert, lambda file, to: jl.save(jl.load(file), to)):
        with pytest.raises(InputError, match=r"(somebody|something) else") as caught:
            write(source, tmp_path / target)
        assert caught.value.file == str(tmp_path / target)
    assert theirs.read_text() == words and [*tmp_path.iterdir()] == [theirs]
    theirs.unlink()
    for _ in range(2):  # its own it replaces
        jl.convert(source, tmp_path / target)


def test_modules_in_the_current_folder_are_not_run(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "random"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert jl.convert(source, "net.onnx").runtime.startswith("onnxruntime ")


# --- states and precisions ------------------------------------------------------------


def two_states(folder: Path) -> tuple[Any, Path]:
    net, golden = load_demo()
    saved = jax.tree.map(lambda a: np.full_like(a, 0.3), net.initial)
    net = net.replace(saved=saved)
    path = folder / "two.safetensors"
    formats.save(net, path, golden)
    return net, path


@pytest.mark.parametrize("state", ["initial", "saved"])
def test_one_of_two_states_goes_along(tmp_path: Path, state: Any, capsys) -> None:
    net, path = two_states(tmp_path)
    target = tmp_path / "net.onnx"
    with pytest.raises(Unsupported, match="--state initial"):
        jl.convert(path, target)
    assert cli.main(["convert", str(path), str(target), "--state", state]) == 0
    assert "onnxruntime" in capsys.readouterr().out
    again, records = formats.read(target)
    assert again.saved is None
    wanted = net.saved if state == "saved" else net.initial
    for mine, theirs in zip(
        *map(jax.tree.leaves, (wanted, again.initial)), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    # What was recorded from another state does not go along.
    noted = records[0].note.startswith("computed by jlstm")
    assert len(records) == 1 and noted == (state == "saved")


def test_double_becomes_single_where_it_is_asked_for(tmp_path: Path) -> None:
    net = NETS["lstm"](np.random.default_rng(3)).astype(np.float64)
    jl.save(net, tmp_path / "a.safetensors")
    with pytest.raises(Unsupported, match="--precision single"):
        jl.convert(tmp_path / "a.safetensors", tmp_path / "a.onnx")
    done = jl.convert(
        tmp_path / "a.safetensors", tmp_path / "a.onnx", precision="single"
    )
    assert done.changed == () and done.off <= 1e-5
    words: list[Any] = [{"precision": "half"}, {"state": "last"}]
    for word in words:
        with pytest.raises(InputError, match="no such"):
            jl.convert(tmp_path / "a.safetensors", tmp_path / "a.onnx", **word)


def test_identities_are_left_out_for_matlab_and_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    layers = {
        "in": L.Input((3,)),
        "rec": lstm(rng, output_mode="last"),
        "flatten": L.Identity("flatten"),
        "same": L.Identity("identity"),
        "fc": dense(rng, 5),
        "end": L.Identity(),
    }
    net = Network.build(layers, outputs=("end",))
    jl.save(net, tmp_path / "a.safetensors")
    done = jl.convert(tmp_path / "a.safetensors", tmp_path / "net.mat")
    assert str(done).count("note: layer 'flatten' computes nothing") == 1
    assert len(done.notices) == 2 and done.changed == ()
    again = jl.load(tmp_path / "net.mat")
    names = [node.name for node in again.graph]
    assert names == ["in", "rec", "same", "fc"] and again.outputs == ("fc",)
    x = normal(rng, 6, 3)
    np.testing.assert_array_equal(jl.predict(again, x), jl.predict(net, x))
    text = (tmp_path / "rebuild_net.m").read_text()
    assert "Layers that compute nothing are left out: flatten, end." in text
    # Where two outputs would become one, a layer of MATLAB keeps them apart.
    net = Network.build(layers, outputs=("end", "fc"))
    jl.save(net, tmp_path / "two.mat")
    again = jl.load(tmp_path / "two.mat")
    assert again.outputs == ("end", "fc")
