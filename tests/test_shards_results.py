"""What is written for a shard: the right numbers, the same bytes however it was cut."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from shard_cases import (
    NAMES,
    OUTPUTS,
    answers,
    begun,
    job,
    sequences,
    write_table,
)

from jlstm.errors import InputError
from jlstm.shards import ahead, results, working
from jlstm.shards.ahead import windows
from jlstm.shards.kinds import Item
from jlstm.shards.results import Layout, writing_results

FLOAT = np.dtype("float32")
PLAIN = Layout(("y1", "y2"), (), True, None, FLOAT)
ASK = {"inputs": ("a", "b", "c"), "sequence": "id"}


@pytest.fixture
def given(rng):
    return sequences(rng)


def written(path, layout, answers, names=NAMES):
    with writing_results(path, layout) as file:
        rows, counts = layout.rows(answers)
        file.add(names, rows, counts)
        digest = file.close()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    return pq.read_table(path).to_pydict()


def test_a_row_a_step(tmp_path, given):
    found = written(tmp_path / "y.parquet", PLAIN, [answers(x) for x, _ in given])
    lengths = [len(x) for x, _ in given]
    assert found["sequence"] == np.repeat(np.array(NAMES, object), lengths).tolist()
    assert found["step"] == [k for n in lengths for k in range(n)]
    whole = np.concatenate([answers(x) for x, _ in given])
    np.testing.assert_array_equal(np.stack([found["y1"], found["y2"]], 1), whole)


def test_scores_of_classes_have_their_names_and_a_label(tmp_path):
    layout = Layout(("no", "yes"), ("no", "yes"), False, None, FLOAT)
    scores = [np.array(row, "f4") for row in ([0.75, 0.25], [0.125, 0.875])]
    found = written(tmp_path / "y.parquet", layout, scores, ["p", "q"])
    assert found == {
        "sequence": ["p", "q"],
        "no": [0.75, 0.125],
        "yes": [0.25, 0.875],
        "label": ["no", "yes"],
    }


@pytest.mark.parametrize("over_time", [True, False])
def test_an_ensemble_has_mean_spread_and_quantiles(tmp_path, rng, over_time):
    layout = Layout(("y1", "y2"), (), over_time, (0.05, 0.5, 0.975), FLOAT)
    shapes = [(4, n, OUTPUTS) if over_time else (4, OUTPUTS) for n in (3, 1, 5)]
    members = [rng.normal(size=shape).astype("f4") for shape in shapes]
    found = written(tmp_path / "y.parquet", layout, members, "abc")
    every = np.concatenate([m.reshape(4, -1, OUTPUTS) for m in members], 1)
    every = every.astype(float)
    expected = {
        "": every.mean(0),
        "_std": every.std(0, ddof=1),
        "_q05": np.quantile(every, 0.05, axis=0),
        "_q50": np.quantile(every, 0.5, axis=0),
        "_q97.5": np.quantile(every, 0.975, axis=0),
    }
    own = {"sequence", "step"} if over_time else {"sequence"}
    assert set(found) == own | {f"y{k}{kind}" for k in (1, 2) for kind in expected}
    for kind, values in expected.items():
        for k in range(OUTPUTS):
            np.testing.assert_allclose(
                found[f"y{k + 1}{kind}"], values[:, k], rtol=1e-6, atol=1e-7
            )


def test_bytes_do_not_depend_on_how_they_came(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(results, "GROUP", 10)
    lengths = rng.integers(0, 9, 40)
    ys = [rng.normal(size=(n, 2)).astype("f4") for n in lengths]
    names = [f"s{k}" for k in range(40)]
    digests = set()
    for sizes in ([40], [1] * 40, [7, 3, 29, 1]):
        with writing_results(tmp_path / "y.parquet", PLAIN) as file:
            start = 0
            for size in sizes:
                some = slice(start, start + size)
                file.add(names[some], *PLAIN.rows(ys[some]))
                start += size
            digests.add(file.close())
    assert len(digests) == 1
    meta = pq.read_metadata(tmp_path / "y.parquet")
    rows = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
    assert set(rows[:-1]) == {10} and sum(rows) == lengths.sum()
    found = pq.read_table(tmp_path / "y.parquet").to_pydict()
    assert found["sequence"] == np.repeat(np.array(names, object), lengths).tolist()
    assert found["step"] == [k for n in lengths for k in range(n)]
    np.testing.assert_array_equal(found["y1"], np.concatenate(ys)[:, 0])


def test_what_fails_half_way_leaves_nothing(tmp_path, given):
    with (
        pytest.raises(RuntimeError),
        writing_results(tmp_path / "y.parquet", PLAIN) as file,
    ):
        file.add(NAMES[:1], *PLAIN.rows([answers(given[0][0])]))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


# --- windows --------------------------------------------------------------------------


def item(size, y=None):
    return Item("s", np.zeros((size, 1), "f4"), y)


def test_windows_hold_so_much_and_no_more():
    sizes = [3, 3, 3, 50, 1, 1, 1, 1, 1, 1, 8]
    found = [[len(i.x) for i in w] for w in windows(map(item, sizes), 1, 9, 4)]
    assert found == [[3, 3, 3], [50], [1, 1, 1, 1], [1, 1], [8]]
    batches = [[len(i.x) for i in w] for w in windows(map(item, sizes), 3, 4, 99)]
    assert batches == [[3, 3, 3], [50, 1, 1], [1, 1, 1, 1, 8]]


def test_a_thread_reads_one_window_ahead_and_no_further():
    alive, most = [0], [0]

    class Counted:
        def __init__(self):
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    for thing in ahead.ahead(Counted() for _ in range(200)):
        del thing
    # One is used, one waits, one is being made.
    assert most[0] <= 3 and alive[0] == 0


def test_what_the_thread_raises_is_raised_and_closing_ends_it():
    def broken():
        yield 1
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        list(ahead.ahead(broken()))
    ended = []

    def endless():
        try:
            while True:
                yield 0
        finally:
            ended.append(True)

    source = endless()
    running = ahead.ahead(source)
    next(running)
    running.close()
    source.close()
    assert ended


# --- a shard --------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_sequences(tmp_path, rng, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    named = [(f"s{k}", pair) for k, pair in enumerate(sequences(rng, [4] * 300))]
    write_table(data / "many.csv", named)
    monkeypatch.setattr(
        working, "windows", lambda items, unit: windows(items, unit, 60)
    )
    held = []

    def run(xs):
        held.append(len(xs))
        return [answers(x) for x in xs]

    with begun(tmp_path / "out", data, **ASK) as (folder, evaluation, options):
        working.work(folder, evaluation, job(options, run=run))
        record = next(folder.records(evaluation))
        table = pq.read_table(folder.result("many.csv")).to_pydict()
    assert max(held) == 5 and sum(held) == 300
    assert (record["sequences"], record["steps"]) == (300, 1200)
    expected = np.concatenate([answers(x) for _, (x, _) in named])
    np.testing.assert_array_equal(table["y2"], expected[:, 1])


def test_targets_are_scored_sequence_by_sequence(tmp_path, given):
    data = tmp_path / "data"
    data.mkdir()
    write_table(data / "a.csv", zip(NAMES, given, strict=True))
    with begun(tmp_path / "out", data, **ASK, targets=("u", "v")) as begin:
        folder, evaluation, options = begin
        working.work(folder, evaluation, job(options))
        rows = pq.read_table(folder.score("a.csv", ".parquet")).to_pylist()
        (record,) = folder.records(evaluation)
    errors = [answers(x).astype(float) - y for x, y in given]
    assert [row["sequence"] for row in rows] == list(NAMES)
    np.testing.assert_allclose(
        [row["rmse"] for row in rows], [np.sqrt((e**2).mean()) for e in errors]
    )
    assert record["tally"]["sequences"] == 4


def test_a_disk_that_is_full_is_no_fault_of_the_shard(tmp_path, given, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    write_table(data / "a.csv", zip(NAMES, given, strict=True))

    def full(*_):
        raise InputError("cannot be written")

    monkeypatch.setattr(results.Results, "add", full)
    with begun(tmp_path / "out", data, **ASK) as (folder, evaluation, options):
        with pytest.raises(InputError, match="cannot be written"):
            working.work(folder, evaluation, job(options))
        assert folder.left(evaluation) == ["a.csv"]
        assert not list((tmp_path / "out" / "predictions").iterdir())
