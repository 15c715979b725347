"""Ratios, quartiles, tables and JSON of a benchmark, from samples that are made up."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from jlstm.bench import report
from jlstm.bench.accuracy import error
from jlstm.bench.results import Benchmark, Row, Score, spread

MACHINE = {"processor": "An Example", "cores": 2, "versions": {"jax": "0.10.2"}}
SETTINGS = {"rounds": 5, "quick": False, "allocator": "plain", "seed": 0}


def score(way, *samples, error=1e-7):
    return Score(way, list(samples), {way: 0.25}, 1.0, error)


def made_up():
    """A row that jlstm wins and one that it loses, with all that can go wrong."""
    batch = Row(
        "c", "inference, B=64", "inference", {"batch": 64}, 8_000_000, None,
        {
            "jlstm cpu": score("jl.predict", 4e-3, 2e-3, 3e-3, 1e-3, 100e-3),
            "onnxruntime": score("file, 2 threads", 6e-3, 6e-3, 6e-3, 6e-3, 6e-3),
            "torch": score("time first", 9e-3, 7e-3, 9e-3, 30e-3, 9e-3, error=3e-7),
        },
        {"Keras": "wrong: error 2.0e-01 (stateless call, jit)"},
        {"Flax": "not installed: flax"},
        peak=8e9, bandwidth=1e10,
    )  # fmt: skip
    single = Row(
        "a", "streaming", "streaming", {"batch": 1}, 4_000, 8_000,
        {
            "jlstm cpu": score("jl.Stream", 4e-6, 4e-6),
            "torch": score("cells, 1 thread", 2e-6, 2e-6),
        },
        {"onnxruntime": "ended with -9: Killed"},
        {"Flax": "not installed: flax", "torch compiled": "does no streaming"},
        peak=8e9, bandwidth=1e10,
    )  # fmt: skip
    return Benchmark([batch, single], MACHINE, SETTINGS, ["the machine was not idle"])


def test_quartiles_lie_between_samples():
    # Sorted 1 2 3 4 100: positions 1, 2 and 3 of 0 to 4.
    assert spread([4.0, 2.0, 3.0, 1.0, 100.0]) == (2.0, 3.0, 4.0)
    # Positions 0.75, 1.5 and 2.25 of 1 2 4 8.
    assert spread([8.0, 1.0, 4.0, 2.0]) == (1.75, 3.0, 5.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_ratios_are_of_medians_and_the_smallest_is_one():
    batch, single = made_up().rows
    assert batch.fastest == "jlstm cpu"
    assert batch.ratios == pytest.approx(
        {"jlstm cpu": 1, "onnxruntime": 2, "torch": 3}, rel=1e-12
    )
    assert single.fastest == "torch"
    assert single.ratios == pytest.approx({"jlstm cpu": 2, "torch": 1}, rel=1e-12)


def test_the_lead_is_that_of_the_best_engine_over_the_best_peer():
    batch, single = made_up().rows
    assert batch.lead({"jlstm cpu"}) == pytest.approx(2)
    assert single.lead({"jlstm cpu"}) == pytest.approx(0.5)
    assert single.lead({"jlstm cpu", "torch"}) is None  # nobody to be compared with


def test_rates_and_shares_of_the_machine():
    batch, single = made_up().rows
    # 8 million operations in 3 ms, of 8 thousand million a second.
    assert batch.rate("jlstm cpu") == pytest.approx(8e6 / 3e-3)
    assert batch.share("jlstm cpu") == pytest.approx(1 / 3)
    # 8,000 bytes in 2 us, of 10,000 million a second.
    assert single.share("torch") == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.9e-8, "19 ns"), (1.234e-5, "12.3 us"), (0.0999, "99.9 ms"), (1.5, "1.5 s"),
        (0.9996, "1000 ms"), (75.0, "75 s"), (1234.0, "1234 s"),
    ],
)  # fmt: skip
def test_durations_have_three_digits(seconds, words):
    assert report.duration(seconds) == words


def test_the_table_has_the_time_of_the_fastest_and_ratios():
    table = report.comparison(made_up())
    assert table.head[1:4] == ["jlstm cpu", "onnxruntime", "torch"]
    batch, single = table.body
    assert batch == [
        "c: inference, B=64", "3 ms", "2.00", "3.00",
        "2.67 GFLOP/s, 33 % of the peak", "2.00",
    ]  # fmt: skip
    # Who broke is named as such; who was left out is a dash.
    assert single[1:] == [
        "2.00", "failed", "2 us", "2 GFLOP/s, 40 % of the reading speed", "0.50",
    ]  # fmt: skip


def test_every_score_has_a_line_with_its_error():
    body = report.details(made_up()).body
    assert len(body) == 5
    assert body[0] == [
        "c", "jlstm cpu", "jl.predict", "3 ms", "2 ms to 4 ms", "2.67", "250 ms",
        "1.0e-07",
    ]  # fmt: skip
    assert body[2][-1] == "3.0e-07"


def test_text_and_markdown_name_who_is_missing_and_what_failed():
    for text in (str(made_up()), report.as_markdown(made_up())):
        assert "skipped Flax: not installed: flax" in text
        assert "skipped a: torch compiled: does no streaming" in text
        assert "FAILED c: Keras: wrong: error 2.0e-01" in text
        assert "FAILED a: onnxruntime: ended with -9: Killed" in text
        assert "the machine was not idle" in text and "An Example, 2 cores" in text


def test_json_holds_all_samples_and_comes_back():
    found = made_up()
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["machine"] == MACHINE and told["settings"] == SETTINGS
    row = told["rows"][0]
    assert row["fastest"] == "jlstm cpu" and row["ratios"]["torch"] == pytest.approx(3)
    torch = row["scores"]["torch"]
    assert torch["samples"] == [9e-3, 7e-3, 9e-3, 30e-3, 9e-3]
    assert (torch["low"], torch["middle"], torch["high"]) == (9e-3, 9e-3, 9e-3)
    assert torch["share"] == pytest.approx(1 / 9)
    assert Benchmark.from_dict(told) == found


def test_who_is_wrong_counts_and_a_peer_that_breaks_does_not():
    batch, single = made_up().rows

    def disagrees(row):
        return Benchmark([row], MACHINE, SETTINGS).disagrees

    assert disagrees(batch) and not disagrees(single)
    single.failed["jlstm xla"] = "no answer within 300 s"
    assert disagrees(single)


def test_errors_are_absolute_for_answers_and_relative_for_gradients():
    exact = {"0.W": np.array([[2.0, -4.0]]), "0.b": np.array([0.5])}
    found = {"0.W": np.array([[2.0, -4.2]]), "0.b": np.array([0.45])}
    assert error("inference", found, exact) == pytest.approx(0.2)
    assert error("training", found, exact) == pytest.approx(0.1)  # 0.05 of 0.5
    assert error("training", {"0.W": found["0.W"]}, exact) == np.inf
    assert error("inference", found | {"0.b": np.zeros(2)}, exact) == np.inf
    assert error("inference", found | {"0.b": np.array([np.nan])}, exact) == np.inf


@pytest.fixture
def experiment():
    path = Path(__file__).resolve().parent.parent / "experiments/06_benchmark/run.py"
    spec = importlib.util.spec_from_file_location("run_06", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_are_put_between_their_markers(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
    report.put(page, "table", "new")
    report.put(page, "random", "r")
    expected = (
        "before\n<!-- table -->\n\nnew\n\n<!-- end of table -->\nafter\n\n"
        "<!-- random -->\n\nr\n\n<!-- end of random -->\n"
    )
    assert page.read_text() == expected
    report.put(page, "table", "new")
    assert page.read_text() == expected


def test_cost_against_size_is_gathered_and_fitted(experiment):
    # Time as the square of every size, and a contestant that is not always there.
    rows = []
    for _, row in experiment.points():
        seconds = 1e-6 * float(row.name.split()[1]) ** 2
        scores = {"jlstm cpu": score("w", seconds), "torch": score("w", 2 * seconds)}
        if row.name == "batch 4":
            del scores["torch"]
        rows.append(Row(row.name, row.words, row.kind, {}, None, None, scores))
    found = Benchmark(rows, MACHINE, SETTINGS)
    panels = experiment.curves(found)
    assert [set(curves) for _, curves in panels.values()] == [
        {"jlstm cpu", "torch"}, {"jlstm cpu"}, {"jlstm cpu", "torch"},
    ]  # fmt: skip
    lines = experiment.exponents(panels, found).splitlines()
    assert lines[0] == "| time grows as a power of | jlstm cpu | torch |"
    assert [line.split("|")[2:4] for line in lines[2:5]] == [
        [" 2.00 ", " 2.00 "], [" 2.00 ", " - "], [" 2.00 ", " 2.00 "],
    ]  # fmt: skip
    sizes = {(r.batch, r.length, r.layers) for _, r in experiment.points()}
    assert (64, 100, ("lstm 128",)) in sizes and (32, 100, ("lstm 512",)) in sizes
