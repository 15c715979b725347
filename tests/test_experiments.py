"""The figures that READMEs of experiments claim, and that their instruments see."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from networks import small

import jlstm as jl
from jlstm.bench import contestants

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


def script(folder: str):
    """The experiment's run.py as a module; its neighbours are imported by name."""
    path = EXPERIMENTS / folder
    sys.path.insert(0, str(path))
    try:
        spec = importlib.util.spec_from_file_location(f"run_{folder}", path / "run.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path))
    return module


@pytest.fixture(scope="module")
def mismatch():
    return script("01_formula_mismatch")


@pytest.fixture(scope="module")
def order():
    return script("02_weight_order")


def test_the_loop_of_the_question_is_diagnosed_and_mended(mismatch):
    figures, asked, right = mismatch.embedded()
    errors = figures["errors"]
    assert errors["lstm_1"][0] == 0
    assert errors["lstm_2"][0] == pytest.approx(0.13, abs=0.005)
    assert errors["fc"].max() == pytest.approx(13.2, abs=0.1)
    assert figures["spread"] == pytest.approx(3.72, abs=0.005)
    found = figures["diagnosis"]
    assert found.verdict == "explained"
    (mistake,) = found.findings[0].mistakes
    assert (mistake.name, set(mistake.layers)) == ("shared-state", {"lstm_1", "lstm_2"})
    assert found.findings[0].max_abs < 1e-6 < 10 < found.max_abs
    assert figures["mended - recorded"] < 1e-13
    assert figures["mended - layers"] < 1e-7
    assert figures["mended - predict"] < 1e-5
    assert right["fc"].shape == asked["fc"].shape == (240, 2)


def test_neither_gate_order_nor_precision_explains_it(mismatch):
    figures = mismatch.suspicions()
    assert min(figures["asked"].values()) > 8
    others = [e for gates, e in figures["mended"].items() if gates != "ifgo"]
    assert len(others) == 23 and min(others) > 7.9
    assert figures["mended"]["ifgo"] == figures["mended, double"] < 1e-13
    assert figures["asked, single - double"] < 1e-5
    assert figures["mended, single"] < 1e-5


def test_layers_of_unequal_size_stop_the_loop(mismatch, nets):
    net = mismatch.jl.load(nets / "tracking/relu_x2.mat")
    p, x = mismatch.extract(net), mismatch.table(mismatch.signal())
    for units in (128, 81, 45):
        with pytest.raises(ValueError, match="dimensions do not agree"):
            mismatch.as_asked(p, x, units)
    right = mismatch.mended(p, x)["fc"]
    np.testing.assert_allclose(right, mismatch.jl.predict(net, x[:, 1:]), atol=5e-7)


@pytest.mark.parametrize(
    ("name", "reset"), [("fenn/LSTM.mat", 0.26), ("story/net_story.mat", 0.026)]
)
def test_matlab_carries_the_state(mismatch, nets, name, reset):
    carried, zero = mismatch.regression_errors(nets, name)
    assert carried < 1e-6
    assert zero == pytest.approx(reset, rel=0.02)


def test_labels(mismatch, nets):
    figures = mismatch.labels_kept(nets)
    assert figures["sequences"] == figures["carried"] == 176
    assert (figures["carried, single"], figures["reset"]) == (176, 43)


def test_one_reading_of_the_rows_gives_what_matlab_recorded(order, nets):
    errors = order.errors(order.recorded(nets, "fenn/LSTM.mat"))
    assert len(errors) == 96
    assert errors.pop(order.MATLAB) < 1e-6
    nearest = min(errors, key=errors.__getitem__)
    assert (str(nearest), errors[nearest]) == (
        "o f g i, grouped",
        pytest.approx(0.13, abs=0.005),
    )


def test_the_readings_are_what_they_are_called(order):
    rows = {
        grouped: [
            sys.modules["readings"]
            .rows_of(order.Reading("ifgo", grouped, False), gate, 3)
            .tolist()
            for gate in "ifgo"
        ]
        for grouped in (True, False)
    }
    assert rows[True] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert rows[False] == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


# --- 11: what is seen in the folder of a run ------------------------------------------


@pytest.fixture
def folders():
    pytest.importorskip("resource")  # of POSIX
    script("11_kill_and_resume")
    return sys.modules["folders"]


def made(out: Path, seconds: float = 0.1) -> Path:
    """The folder of a run of one epoch, written by hand."""
    out.mkdir()
    rows = [{"epoch": 0}, {"epoch": 1, "seconds": seconds}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (out / "log.jsonl").write_text(text)
    (out / "run.json").write_text(json.dumps({"sha256": {}}))
    (out / "config.toml").write_text("max_epochs = 1\n")
    jl.save(small(np.random.default_rng(0)), out / "net.safetensors")
    notes = {"progress": json.dumps({"epoch": 1, "history": rows}), "fingerprint": "f"}
    arrays = {"state": np.arange(3, dtype=np.float32)}
    safetensors.numpy.save_file(arrays, out / "checkpoint.safetensors", notes)
    return out


def test_a_whole_folder_is_whole_and_equal_but_for_seconds(folders, tmp_path):
    one, other = made(tmp_path / "one"), made(tmp_path / "other", seconds=0.2)
    part = one / ".0123456789abcdef.tmp"
    part.write_bytes((one / "checkpoint.safetensors").read_bytes()[:150])
    found = folders.look(one)
    assert not found.damaged and (found.log, found.checkpoint) == (1, 1)
    assert list(found.parts) == [part.name]
    part.unlink()
    assert folders.differences(one, other) == []
    assert folders.look(tmp_path / "none").files == {}


@pytest.mark.parametrize(
    "name", ["log.jsonl", "run.json", "net.safetensors", "checkpoint.safetensors"]
)
def test_half_a_file_and_another_bit_are_seen(folders, tmp_path, name):
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    whole = (one / name).read_bytes()
    (one / name).write_bytes(whole[: len(whole) // 2])
    assert list(folders.look(one).damaged) == [name]
    # The last bit of the last number, or one more entry.
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    if name.startswith(("log", "run")):
        changed = whole.replace(b'{"', b'{"more": 1, "', 1)
    (one / name).write_bytes(changed)
    assert folders.differences(one, other) == [name]
    (one / name).unlink()
    assert folders.differences(one, other) == [name]


def test_a_file_of_an_unknown_kind_is_not_passed_over(folders, tmp_path):
    one = made(tmp_path / "one")
    (one / "notes.xyz").write_bytes(b"?")
    assert list(folders.look(one).damaged) == ["notes.xyz"]


# --- 07: what runs on a GPU -----------------------------------------------------------


def test_without_a_gpu_nothing_is_measured(capsys):
    assert script("07_gpu").main(["--quick"]) == 2
    said = capsys.readouterr().out
    assert "missing: a GPU" in said and "nothing was measured" in said


def test_the_comparison_on_a_gpu_is_rehearsed(tmp_path, monkeypatch):
    """Check, child, table and README, the kernel interpreted, one contestant alone."""
    for name in set(contestants.GPU) - {"jlstm fused"}:
        monkeypatch.delitem(contestants.GPU, name)
    monkeypatch.delitem(contestants.GPU_MACHINE, "GPU products")
    run = script("07_gpu")
    few = ["--quick", "--rows", "i", "--peers", "none", "--rounds", "1"]
    assert run.main([*few, "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "table.json").read_text("utf-8"))
    (row,) = told["rows"]
    assert set(row["scores"]) == {"jlstm fused"} and not row["failed"]
    assert row["scores"]["jlstm fused"]["error"] < 1e-6
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| fused | gru float32 | 5 | 3 |" in page and "WRONG" not in page
    assert "rehearsal on" in page and (tmp_path / "table.png").is_file()
