"""Rounds, contestants that break, and the command, with processes that are made up."""

from __future__ import annotations

import json
import os
import signal
from typing import ClassVar

import pytest
from networks import small
from test_bench_results import made_up

from jlstm import bench, formats
from jlstm.bench import children, measuring
from jlstm.bench.children import Child, Gone, environment
from jlstm.bench.contestants import CONTESTANTS, MACHINE, Contestant
from jlstm.cli import main
from jlstm.errors import InputError

ROW = bench.Workload("t", "inference", 3, ("lstm 4", "fc 1"), 2, 5)


class Actor:
    """A child that plays its part: what it says to each request, by contestant."""

    parts: ClassVar[dict] = {}
    asked: ClassVar[list] = []

    def __init__(self, contestant, allocator, double, folder):
        self.name = contestant.name
        self.turns = 0

    def ready(self, limit):
        if self.parts.get(self.name) == "never comes up":
            raise Gone("ended with 1: ImportError: broken")
        return 0.5

    def ask(self, limit, do, **what):
        part = self.parts.get(self.name)
        if do == "prepare":
            if part == "refuses":
                return {"refused": "the format does not hold it"}
            error = {"wrong": 2e-4, "nan": float("nan")}.get(part, 1e-7)
            return {
                "name": "a way", "firsts": {"a way": 1.5}, "versions": {"numpy": "2"},
                "error": None if self.name in MACHINE else error,
                "ways": {"a way": 1e-3}, "problems": [],
            }  # fmt: skip
        self.turns += 1
        self.asked.append(self.name)
        if part == "dies" and self.turns == 2:
            raise Gone("ended with -11: Segmentation fault")
        return {"seconds": len(self.name) * 1e-3 * self.turns, "calls": 3}

    def close(self):
        pass


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(measuring, "Child", Actor)
    monkeypatch.setattr(measuring, "PAUSE", 0.0)
    monkeypatch.setattr(Actor, "parts", {})
    monkeypatch.setattr(Actor, "asked", [])
    missing = property(lambda self: ["flax"] if self.name == "Flax" else [])
    monkeypatch.setattr(Contestant, "missing", missing)
    return Actor


def test_everybody_is_asked_once_a_round_in_changing_order(stage):
    told = []
    found = bench.measure([ROW], rounds=6, progress=lambda *what: told.append(what))
    row = found.rows[0]
    everybody = {*row.scores, *MACHINE}
    rounds = [
        stage.asked[k : k + len(everybody)] for k in range(0, 6 * len(everybody), 9)
    ]
    assert len(stage.asked) == 6 * len(everybody) == 54
    assert all(set(some) == everybody for some in rounds)
    assert len({tuple(some) for some in rounds}) > 1
    torch = row.scores["torch"]
    assert torch.samples == pytest.approx([5e-3 * k for k in range(1, 7)])
    assert torch.seconds == pytest.approx(17.5e-3) and torch.first == 1.5
    assert row.peak == pytest.approx(1 / 8e-3)
    assert told[-1] == ("row t (1 of 1): rounds", 5, 6)
    again = bench.measure([ROW], rounds=6)
    assert again.rows == found.rows


def test_who_is_missing_refuses_dies_or_is_wrong_is_named_and_the_rest_goes_on(stage):
    stage.parts.update({
        "Equinox": "refuses", "torch": "dies", "onnxruntime": "wrong", "Keras": "nan",
        "torch compiled": "never comes up",
    })  # fmt: skip
    row = bench.measure([ROW], rounds=3).rows[0]
    assert list(row.scores) == ["jlstm cpu", "jlstm xla"]
    assert row.skipped == {
        "Flax": "not installed: flax", "Equinox": "the format does not hold it",
    }  # fmt: skip
    assert row.failed["torch"] == "ended with -11: Segmentation fault"
    assert row.failed["torch compiled"] == "ended with 1: ImportError: broken"
    assert row.failed["onnxruntime"] == "wrong: error 2.0e-04 (a way)"
    assert row.failed["Keras"].startswith("wrong: error nan")
    assert len(row.scores["jlstm cpu"].samples) == 3


def test_peers_are_chosen_by_name(stage):
    row = bench.measure([ROW], peers=["TORCH"], rounds=1).rows[0]
    assert set(row.scores) == {"jlstm cpu", "jlstm xla", "torch"}
    row = bench.measure([ROW], peers=[], rounds=1).rows[0]
    assert set(row.scores) == {"jlstm cpu", "jlstm xla"}
    with pytest.raises(InputError, match="no such peer"):
        bench.measure([ROW], peers=["theano"])


@pytest.mark.parametrize(
    ("kind", "out"), [("streaming", ["torch compiled"]), ("training", ["onnxruntime"])]
)
def test_kinds_that_a_contestant_does_not_do(stage, kind, out):
    row = bench.Workload("t", kind, 3, ("lstm 4", "fc 1"), 1, 5)
    found = bench.measure([row], rounds=1).rows[0]
    assert {name for name in found.skipped if name != "Flax"} == set(out)
    assert found.skipped[out[0]] == f"does no {kind}"


def test_threads_that_are_tried():
    assert [measuring.threads(k) for k in (1, 2, 6, 8)] == [
        [1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8],
    ]  # fmt: skip


# --- real processes -------------------------------------------------------------------


def test_a_process_answers_hangs_and_dies(tmp_path):
    from jlstm.bench import job

    job.write(ROW, tmp_path, [1])
    child = Child(MACHINE["reads"], "plain", False, tmp_path)
    try:
        assert child.ready(60) > 0
        told = child.ask(60, do="prepare", folder=str(tmp_path), tries=1, seconds=0.0)
        assert told["name"] == "NumPy" and told["error"] is None
        assert 0 < child.ask(60, do="turn", seconds=0.0)["seconds"] < 1e-8
        with pytest.raises(Gone, match="KeyError"):
            child.ask(60, do="nonsense")
        os.kill(child._process.pid, signal.SIGKILL)
        with pytest.raises(Gone, match="ended with -9"):
            child.ask(60, do="turn", seconds=0.0)
    finally:
        child.close()
    child = Child(MACHINE["reads"], "plain", False, tmp_path)
    with pytest.raises(Gone, match="no answer within 0 s"):
        child.ready(0.001)
    assert child._process.returncode == -signal.SIGKILL


def test_all_contestants_get_the_same_allocator(tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    keras = CONTESTANTS["Keras"]
    plain = environment(keras, "plain", False, tmp_path)
    assert not [name for name in plain if name.startswith("MALLOC_")]
    assert plain["KERAS_BACKEND"] == "jax" and plain["JAX_PLATFORMS"] == "cpu"
    kept = [environment(one, "keep", True, tmp_path) for one in CONTESTANTS.values()]
    assert {e["MALLOC_MMAP_MAX_"] for e in kept} == {"0"}
    assert {e["JAX_ENABLE_X64"] for e in kept} == {"1"}


# --- the command ----------------------------------------------------------------------


@pytest.fixture
def called(monkeypatch):
    calls = []

    def measure(rows, **settings):
        calls.append((rows, settings))
        return made_up()

    monkeypatch.setattr(bench, "measure", measure)
    return calls


def test_the_command_measures_what_it_is_told(called, capsys):
    assert main(["bench", "--rows", "a,e", "--peers", "torch, Flax", "--quick"]) == 1
    rows, settings = called[0]
    assert [row.name for row in rows] == ["a", "e-inference", "e-training"]
    assert settings["peers"] == ["torch", "Flax"] and settings["rounds"] == 5
    out = capsys.readouterr().out
    assert "c: inference, B=64" in out and "skipped Flax: not installed: flax" in out
    main(["bench", "--peers", "none", "--random", "3", "--seed", "5", "--rounds", "7"])
    rows, settings = called[1]
    assert rows == bench.drawn(3, 5)
    assert settings["peers"] == [] and settings["rounds"] == 7


def test_the_command_measures_a_network_of_ones_own(called, capsys, rng, tmp_path):
    path = tmp_path / "pump.safetensors"
    formats.save(small(rng), path)
    main(["bench", str(path), "--batch", "3", "--length", "9", "--kind", "training"])
    (row,), settings = called[0]
    assert row.words == "training, pump.safetensors, B=3, T=9"
    assert settings["peers"] is None


def test_json_and_exit_codes(called, capsys, monkeypatch):
    assert main(["bench", "--rows", "c", "--json"]) == 1  # Keras was wrong
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1
    assert told["rows"][0]["scores"]["torch"]["samples"][3] == 30e-3
    good = made_up()
    good.rows[0].failed.clear()
    monkeypatch.setattr(bench, "measure", lambda rows, **settings: good)
    assert main(["bench", "--rows", "c"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "z"], "no such row"),
        (["--rows", "a", "--random", "2"], "one of FILE, --rows and --random"),
        (["--rounds", "0", "--rows", "a"], "nothing to measure"),
        (["--peers", "theano"], "no such peer"),
        (["--rows", "a", "--plot", "a.gifx"], "no kind of picture"),
    ],
)
def test_what_is_refused(arguments, words, capsys):
    assert main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_picture_of_the_ratios(called, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from jlstm.bench.pictures import slope

    path = tmp_path / "ratios.png"
    main(["bench", "--rows", "c", "--plot", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG")
    assert slope([1, 10, 100], [3e-3, 0.3, 30.0]) == pytest.approx(2)


def test_allocator_settings_are_known_by_name():
    assert set(children.ALLOCATORS) == {"plain", "keep"}
    with pytest.raises(InputError, match="no such allocator"):
        bench.measure([ROW], allocator="fast")
