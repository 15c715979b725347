"""`jlstm evaluate`: the folder it leaves, killed or not, and what it refuses."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import loadmat

import jlstm as jl
from jlstm.cli import main
from jlstm.demo import load_demo
from jlstm.shards import claims, conducting

DEMO = files("jlstm") / "data"
COLUMNS = ["--inputs", "a,b,c", "--sequence", "id"]
SHARDS, LENGTHS = 5, (40, 3, 17)


@pytest.fixture
def data(tmp_path, rng):
    folder = tmp_path / "data"
    folder.mkdir()
    for k in range(SHARDS):
        lengths = np.array(LENGTHS) + k
        x = rng.normal(size=(lengths.sum(), 3)).astype("f4")
        ids = np.repeat([f"{k}-{n}" for n in range(len(lengths))], lengths)
        columns = {"id": ids} | dict(zip("abc", x.T, strict=True))
        columns |= {"u": x[:, 0] ** 2, "v": x[:, 1]}
        pq.write_table(pa.table(columns), folder / f"part{k}.parquet")
    (folder / "notes.md").write_text("no data")
    return folder


def arguments(data, out, *more, net=DEMO / "demo.mat"):
    layers = ["--layers", DEMO / "demo.toml"] if net == DEMO / "demo.mat" else []
    every = ["evaluate", net, data, *layers, *COLUMNS, "--out", out, *more]
    return [str(a) for a in every]


def run(capsys, *given, **net):
    code = main(arguments(*given, **net))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def hashes(out):
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in (out / "predictions").iterdir()
    }


def numpy_demo(x):
    """The demo network in double precision, from its equations."""
    weights = loadmat(DEMO / "demo.mat")
    net, _ = load_demo()
    entry = net.layers["input"]
    signal = (x.astype(float) - np.asarray(entry.mean)) / np.asarray(entry.std)
    for k in (1, 2):
        w, r, b = (
            next(
                v.astype(float)
                for n, v in weights.items()
                if n.lower() == f"lstm_{part}{k}".lower()
            )
            for part in ("W", "R", "b")
        )
        h = c = np.zeros(r.shape[1])
        rows = []
        for x_t in signal:
            i, f, g, o = np.split(w @ x_t + r @ h + b.ravel(), 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            rows.append(np.maximum(h, 0))
        signal = np.array(rows)
    fc = net.layers["fc"]
    return signal @ np.asarray(fc.weights, float).T + np.asarray(fc.bias, float)


def test_a_folder_in_a_folder_out(capsys, tmp_path, data):
    out = tmp_path / "out"
    code, words, _ = run(capsys, data, out, "--targets", "u,v", "--worst", "1")
    assert code == 0 and "5 of 5 shards, 15 sequences" in words
    assert {p.name for p in out.iterdir()} >= {
        "evaluation.json", "metrics.json", "predictions", "records", "report.html",
        "scores", "summary.json",
    }  # fmt: skip
    assert not (out / "claims").exists() and not (out / "failed").exists()
    squared = []
    for k in range(SHARDS):
        given = pq.read_table(data / f"part{k}.parquet")
        found = pq.read_table(out / "predictions" / f"part{k}.parquet.parquet")
        assert found["sequence"] == given["id"].cast("string")
        x = np.stack([given[n].to_numpy() for n in "abc"], 1)
        y = np.stack([found[n].to_numpy() for n in ("y1", "y2")], 1)
        target = np.stack([given[n].to_numpy() for n in "uv"], 1)
        ids = given["id"].to_numpy()
        for name in dict.fromkeys(ids):
            exact = numpy_demo(x[ids == name])
            np.testing.assert_allclose(y[ids == name], exact, rtol=1e-5, atol=3e-5)
        squared.append((y.astype(float) - target).ravel() ** 2)
    summary = json.loads((out / "summary.json").read_text())
    rmse = np.sqrt(np.concatenate(squared).mean())
    assert summary["metrics"]["rmse"] == pytest.approx(rmse, rel=1e-9)
    assert summary["passed_over"] == 1


def test_an_ensemble_is_a_folder_of_networks(capsys, tmp_path, data):
    nets = tmp_path / "nets"
    nets.mkdir()
    net, _ = load_demo()
    for k in range(2):
        fc = net.layers["fc"]
        changed = fc.__class__(np.asarray(fc.weights) * (1 + k), np.asarray(fc.bias))
        jl.save(
            net.replace(layers=net.layers | {"fc": changed}), nets / f"{k}.safetensors"
        )
    out = tmp_path / "out"
    code, *_ = run(capsys, data, out, "--quantiles", "0,1", net=nets)
    assert code == 0
    found = pq.read_table(out / "predictions" / "part0.parquet.parquet").to_pydict()
    low, high = (np.array(found[f"y1_{q}"]) for q in ("q00", "q100"))
    np.testing.assert_allclose(found["y1"], (low + high) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found["y1_std"], (high - low) / np.sqrt(2), rtol=1e-4, atol=1e-6
    )


def test_a_bad_shard_is_set_aside_and_tried_again(capsys, tmp_path, data):
    whole = (data / "part1.parquet").read_bytes()
    (data / "part1.parquet").write_bytes(whole[:-100])
    (data / "part3.parquet").write_bytes(b"")
    out = tmp_path / "out"
    code, words, errors = run(capsys, data, out, "--json")
    assert code == 1
    assert errors.count("jlstm: set aside:") == 2 and "part1.parquet" in errors
    assert [one["shard"] for one in json.loads(words)["set_aside"]] == [
        "part1.parquet", "part3.parquet",
    ]  # fmt: skip
    assert len(hashes(out)) == 3
    code, _, errors = run(capsys, data, out, "--resume")
    assert code == 1 and errors.count("set aside") == 2
    (data / "part1.parquet").write_bytes(whole)
    code, _, errors = run(capsys, data, out, "--resume")
    assert code == 2 and "data, part1.parquet: this has changed" in errors


def test_a_run_that_has_ended_is_looked_at_again(capsys, tmp_path, data):
    out = tmp_path / "out"
    run(capsys, data, out)
    first = hashes(out)
    assert run(capsys, data, out, "--resume")[0] == 0 and hashes(out) == first
    results = sorted((out / "predictions").iterdir())
    results[0].write_bytes(results[0].read_bytes() + b"x")
    results[1].unlink()
    code, _, errors = run(capsys, data, out, "--resume")
    assert code == 0 and hashes(out) == first
    assert errors.count("is computed again") == 2


def test_resume_refuses_what_has_changed(capsys, tmp_path, data):
    out = tmp_path / "out"
    run(capsys, data, out)
    net = tmp_path / "net.safetensors"
    jl.save(load_demo()[0], net)
    shutil.copytree(data, tmp_path / "more")
    shutil.copy(data / "part0.parquet", tmp_path / "more" / "part9.parquet")
    for given, changed, words in (
        ((data, out, "--engine", "xla"), {}, "options.engine"),
        ((data, out, "--targets", "u,v"), {}, "options.targets"),
        ((data, out), {"net": net}, "network 1, sha256"),
        ((tmp_path / "more", out), {}, "part9.parquet"),
    ):
        code, _, errors = run(capsys, *given, "--resume", **changed)
        assert code == 2 and words in errors
    code, _, errors = run(capsys, data, out)
    assert code == 2 and "there is an evaluation in this folder already" in errors
    code, _, errors = run(capsys, data, data)
    assert code == 2 and "has to be new or empty" in errors


def test_two_do_not_conduct_one_run(capsys, tmp_path, data, monkeypatch):
    monkeypatch.setattr(conducting, "PATIENCE", 0.0)
    out = tmp_path / "out"
    run(capsys, data, out)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claim = {"host": claims.host(), "pid": process.pid}
    (out / "claims").mkdir()
    for name in ("run", "part0.parquet"):
        path = out / "claims" / f"{name}.json"
        path.write_text(json.dumps(claim | {"started": claims.started(process.pid)}))
        code, _, errors = run(capsys, data, out, "--resume")
        assert code == 2 and "is being computed" in errors and path.exists()
        path.unlink()
    process.communicate(b"\n")


def test_a_run_may_end_while_another_process_waits_for_it(
    capsys, tmp_path, data, monkeypatch
):
    out = tmp_path / "out"
    held = []
    end = conducting.Folder.end

    def ended(folder):
        held.append((folder.claims / "run.json").exists())
        end(folder)

    monkeypatch.setattr(conducting.Folder, "end", ended)
    assert run(capsys, data, out)[0] == 0 and held == [True]
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claim = {"host": claims.host(), "pid": process.pid}
    (out / "claims").mkdir()
    (out / "claims" / "run.json").write_text(
        json.dumps(claim | {"started": claims.started(process.pid)})
    )
    monkeypatch.setattr(
        conducting.time, "sleep", lambda seconds: shutil.rmtree(out / "claims")
    )
    assert run(capsys, data, out, "--resume")[0] == 0
    assert not (out / "claims").exists()
    process.communicate(b"\n")


def test_what_does_not_fit_is_refused_before_anything_is_written(
    capsys, tmp_path, data
):
    out = tmp_path / "out"
    for more, words in (
        (["--engine", "gpu"], "does not run this LSTM"),
        (["--engine", "gpu", "--dry-run"], "does not run this LSTM"),
        (["--engine", "gpu", "--processes", "2"], "does not run this LSTM"),
        (["--targets", "u,q"], "no column 'q'"),
        (["--resume", "--targets", "u"], "the columns do not fit the network"),
    ):
        code, _, errors = run(capsys, data, out, *more)
        assert code == 2 and words in errors and not out.exists()


def test_quantiles_of_one_name_are_refused(capsys, tmp_path, data):
    nets = tmp_path / "nets"
    nets.mkdir()
    jl.save(load_demo()[0], nets / "a.safetensors")
    given = data, tmp_path / "out", "--quantiles", "0.05,0.05"
    code, _, errors = run(capsys, *given, net=nets)
    assert code == 2 and "quantiles of one name" in errors
    assert not (tmp_path / "out").exists()


def test_measures_that_are_not_defined_are_null(capsys, tmp_path, data):
    for path in data.glob("*.parquet"):
        held = pq.read_table(path)
        for name in "uv":
            held = held.set_column(
                held.column_names.index(name), name, pa.array([2.0] * len(held))
            )
        pq.write_table(held, path)
    out = tmp_path / "out"
    code, words, _ = run(capsys, data, out, "--targets", "u,v", "--json", "--worst=0")
    found = json.loads(words)["metrics"]
    assert code == 0 and found["nse"] is None and found["rmse"] > 0
    assert json.loads((out / "summary.json").read_text())["metrics"] == found


def test_networks_and_data_may_be_moved(capsys, tmp_path, data):
    net = tmp_path / "net.safetensors"
    jl.save(load_demo()[0], net)
    out = tmp_path / "out"
    assert run(capsys, data, out, net=net)[0] == 0
    first = hashes(out)
    (out / "predictions" / "part2.parquet.parquet").unlink()
    moved = data.rename(tmp_path / "elsewhere"), net.rename(tmp_path / "n.safetensors")
    given = moved[0], out, "--resume", "--processes", "2"
    code, _, errors = run(capsys, *given, net=moved[1])
    assert code == 0 and hashes(out) == first, errors


def test_a_dry_run_refuses_what_a_run_would(capsys, tmp_path, data):
    out = tmp_path / "out"
    run(capsys, data, out)
    code, _, errors = run(capsys, data, out, "--dry-run")
    assert code == 2 and "there is an evaluation in this folder already" in errors
    code, words, _ = run(capsys, data, out, "--dry-run", "--resume")
    assert code == 0 and "15 sequences; 0 shards are left" in words
    code, _, errors = run(capsys, data, out, "--dry-run", "--resume", "--precision",
                          "double")  # fmt: skip
    assert code == 2 and "options.precision" in errors


def test_dry_run_says_all_and_writes_nothing(capsys, tmp_path, data):
    out = tmp_path / "out"
    code, words, _ = run(capsys, data, out, "--dry-run", "--targets", "u,v")
    assert code == 0 and not out.exists()
    for part in (
        "5 .parquet", "1 files passed over", "a, b, c", "u, v", "lstm_2 by",
        "sequence, step, y1, y2", "5 shards are left", "0-0, 40 steps",
    ):  # fmt: skip
        assert part in words
    code, words, _ = run(capsys, data, out, "--dry-run", "--json")
    assert json.loads(words)["write"]["columns"] == ["sequence", "step", "y1", "y2"]
    code, _, errors = run(capsys, data, out, "--dry-run", "--targets", "w,v")
    assert code == 2 and "no column 'w'" in errors


def test_matlab_batches_do_not_end_where_windows_do(
    capsys, tmp_path, data, monkeypatch
):
    from jlstm.shards import ahead

    given = [data, tmp_path / "one", "--padding", "matlab", "--mini-batch-size", "2",
             "--padding-direction", "left"]  # fmt: skip
    assert run(capsys, *given)[0] == 0
    monkeypatch.setattr(ahead.windows, "__defaults__", (1, 1, 1))
    given[1] = tmp_path / "two"
    assert run(capsys, *given)[0] == 0
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


# --- processes ------------------------------------------------------------------------


def started(data, out, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "jlstm", *arguments(data, out, *more)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_again_and_again_it_ends_with_the_same_files(
    capsys, tmp_path, data, rng
):
    run(capsys, data, tmp_path / "whole")
    out = tmp_path / "out"
    for k in range(4):
        process = started(data, out, "--processes", "2", "--resume")
        if k < 3:
            deadline = time.monotonic() + 60
            # At different stages: begun, some finished.
            while process.poll() is None and time.monotonic() < deadline:
                if len(list(out.glob("claims/*.json"))) > k:
                    break
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
            process.kill()
        _, words = process.communicate(timeout=120)
    assert process.returncode == 0, words
    assert hashes(out) == hashes(tmp_path / "whole")
    left = {p.name for p in out.rglob("*")}
    assert left == {p.name for p in (tmp_path / "whole").rglob("*")}


def test_sigterm_ends_all_processes(tmp_path, data):
    out = tmp_path / "out"
    process = started(data, out, "--processes", "2")
    deadline = time.monotonic() + 60
    while not list(out.glob("claims/worker-1.log")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    # Or it was too late.
    assert process.returncode in (143, 0)
