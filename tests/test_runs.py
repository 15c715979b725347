"""The folder of a run: what is written, and that no kill loses or changes anything."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from networks import lstm, normal

import jlstm as jl
from jlstm import layers as L
from jlstm.cli import main
from jlstm.network import Network

OPTIONS = ["--max-epochs", "40", "--mini-batch-size", "2", "--data.window", "10"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A network and a recording of what another one makes of the same input."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(8)

    def make() -> Network:
        return Network.build(
            {
                "in": L.Input((2,)),
                "one": lstm(rng, 5, 2),
                "drop": L.Dropout(0.1),
                "fc": L.FullyConnected(normal(rng, 1, 5), normal(rng, 1)),
            }
        )

    jl.save(make(), folder / "net.safetensors")
    x = rng.normal(size=(120, 2))
    rows = np.hstack([x, np.asarray(jl.predict(make(), x))])
    text = "\n".join(",".join(map(repr, map(float, row))) for row in rows)
    (folder / "train.csv").write_text("u1,u2,y\n" + text)
    return folder


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    files = [str(folder / "net.safetensors"), "--data", str(folder / "train.csv")]
    return ["finetune", *files, "--out", str(out), *OPTIONS, *more]


def weights(out: Path, name: str = "last") -> list[np.ndarray]:
    return jax.tree.leaves(jl.load(out / f"{name}.safetensors").layers)


@pytest.fixture(scope="module")
def whole(folder) -> Path:
    """A run that nobody disturbed."""
    assert main(arguments(folder, folder / "whole")) == 0
    return folder / "whole"


def test_the_folder_tells_what_went_in_and_what_came_out(folder, whole, capsys):
    run = json.loads((whole / "run.json").read_text())
    assert run["file"] == str(folder / "net.safetensors")
    assert set(run["versions"]) == {"jlstm", "jax", "jaxlib", "optax", "numpy"}
    lines = (whole / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(41))
    result = json.loads((whole / "result.json").read_text())
    best = min(row["validation_loss"] for row in result["history"])
    assert result["history"][result["best_epoch"]]["validation_loss"] == best
    # The configuration is whole: it gives the same run by itself.
    again = folder / "again"
    args = arguments(folder, again)[: -len(OPTIONS)]
    assert main([*args, "--config", str(whole / "config.toml")]) == 0
    for a, b in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(weights(whole, "net"), weights(again, "net"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_flags_go_before_the_file_and_that_before_the_defaults(folder, capsys):
    config = folder / "quick.toml"
    config.write_text('max_epochs = 3\nsolver = "sgdm"\n[data]\nwindow = 30\n')
    out = folder / "flags"
    args = arguments(folder, out)[: -len(OPTIONS)]
    assert main([*args, "--config", str(config), "--max-epochs", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["epoch"] for row in found["history"]] == [0, 1, 2]
    text = (out / "config.toml").read_text()
    assert 'solver = "sgdm"' in text and "window = 30" in text
    assert "max_epochs = 2" in text and "mini_batch_size = 128" in text


def test_a_killed_run_ends_like_one_that_nobody_disturbed(folder, whole):
    out = folder / "killed"
    command = [sys.executable, "-m", "jlstm"]
    rng = np.random.default_rng(6)
    kills = 0
    args = arguments(folder, out)
    for _ in range(30):
        process = subprocess.Popen(
            [*command, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        seen = (out / "log.jsonl").stat().st_mtime_ns if kills else 0
        deadline = time.monotonic() + 120
        # Killed at any moment after it has come further than the one before.
        while process.poll() is None and time.monotonic() < deadline and kills < 3:
            log = out / "log.jsonl"
            if log.exists() and log.stat().st_mtime_ns > seen:
                time.sleep(rng.uniform(0, 0.02))
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        _, complaint = process.communicate(timeout=120)
        for file in out.glob("*.safetensors"):  # whatever is visible is whole
            jl_or_checkpoint(file)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, complaint.decode()
        kills += 1
        args = ["finetune", "--resume", str(out)]
    assert kills == 3 and process.returncode == 0
    for name in ("last", "net"):
        for a, b in zip(weights(whole, name), weights(out, name), strict=True):
            np.testing.assert_array_equal(a, b)
    losses = [
        [json.loads(line)["validation_loss"] for line in
         (one / "log.jsonl").read_text().splitlines()]
        for one in (whole, out)
    ]  # fmt: skip
    assert losses[0] == losses[1]


def jl_or_checkpoint(file: Path) -> None:
    import safetensors.numpy

    safetensors.numpy.load_file(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f, o: arguments(f, f / "whole"), "there is a run in this folder"),
        (lambda f, o: ["finetune", "--resume", str(o)], "no run in this folder"),
        (lambda f, o: ["finetune", "--resume", str(f / "whole"), "--out", str(o)],
         "takes everything from the folder"),
        (lambda f, o: ["finetune"], "what is to be trained"),
        (lambda f, o: ["finetune", str(f / "net.safetensors")], "on what?"),
        (lambda f, o: arguments(f, o, "--config", str(f / "none")), "cannot be read"),
        (lambda f, o: arguments(f, o, "--freeze", "*"), "every parameter is frozen"),
        (lambda f, o: arguments(f, o, "--data.targets", "z"), "z"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(folder, whole, tmp_path, capsys, change, words):
    assert main(change(folder, tmp_path / "new")) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()  # so that the next try can have it


def test_data_that_changed_are_noticed(folder, tmp_path, capsys):
    data = tmp_path / "train.csv"
    data.write_bytes((folder / "train.csv").read_bytes())
    args = ["finetune", str(folder / "net.safetensors"), "--data", str(data)]
    out = str(tmp_path / "run")
    assert main([*args, "--out", out, "--max-epochs", "1"]) == 0
    data.write_text(data.read_text().replace("u1", "u9"))
    assert main(["finetune", "--resume", out]) == 2
    assert "has changed since the run began" in capsys.readouterr().err
