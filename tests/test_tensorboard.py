"""Events for TensorBoard, read back byte by byte: records, checksums, messages."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from eventfiles import crc32c, events
from finetuned import tuned

from jlstm import tensorboard
from jlstm.config import as_config
from jlstm.errors import JlstmError

CONFIG = as_config(
    {
        "initial_learn_rate": 0.02,
        "learn_rate_schedule": "piecewise",
        "learn_rate_drop_factor": 0.5,
        "learn_rate_drop_period": 2,
        "max_epochs": 6,
    }
)


def history(epochs: int):
    rows = [{"epoch": 0, "steps": 0, "validation_loss": 1.5}]
    for k in range(1, epochs + 1):
        rows.append({"epoch": k, "steps": 3 * k, "training_loss": 1 / k, "seconds": 2})
        if k % 2:
            rows[-1]["validation_loss"] = 1 / (k + 1)
    return rows


def wanted(epochs: int):
    found = [(0, {"loss/validation": 1.5})]
    for k in range(1, epochs + 1):
        values = {"loss/training": 1 / k}
        if k % 2:
            values["loss/validation"] = 1 / (k + 1)
        # Two epochs at each rate, then half of it.
        values["learning_rate"] = 0.02 * 0.5 ** ((k - 1) // 2)
        found.append((k, values))
    return found


def assert_same(found, want):
    assert [step for step, _ in found] == [step for step, _ in want]
    for (_, a), (_, b) in zip(found, want, strict=True):
        assert set(a) == set(b)
        for tag in b:
            np.testing.assert_allclose(a[tag], b[tag], rtol=1e-6)


def test_checksum_of_this_test():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4


def test_epochs_appear_one_by_one_while_training_goes_on(tmp_path):
    file, before = tmp_path / tensorboard.FILE, b""
    for epochs in range(7):
        tensorboard.append(tmp_path, history(epochs), CONFIG)
        content = file.read_bytes()
        # What TensorBoard has read stays where it is.
        assert content.startswith(before) and len(content) > len(before)
        before = content
    assert_same(events(file), wanted(6))
    tensorboard.append(tmp_path, history(6), CONFIG)
    assert file.read_bytes() == before


def test_a_kill_at_any_byte_repeats_no_epoch_and_loses_none(tmp_path):
    file = tmp_path / tensorboard.FILE
    tensorboard.append(tmp_path, history(3), CONFIG)
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        tensorboard.append(tmp_path, history(3), CONFIG)
        assert len(file.read_bytes()) == len(whole)
    assert_same(events(file), wanted(3))
    # Zeros, as a file system may leave them after a power cut, are no records.
    file.write_bytes(whole + bytes(4096))
    tensorboard.append(tmp_path, history(4), CONFIG)
    assert_same(events(file), wanted(4))


def test_the_log_may_be_an_epoch_ahead_of_the_checkpoint(tmp_path):
    tensorboard.append(tmp_path, history(4), CONFIG)
    tensorboard.append(tmp_path, history(3), CONFIG)  # resumed, epoch 4 comes again
    tensorboard.append(tmp_path, history(5), CONFIG)
    assert_same(events(tmp_path / tensorboard.FILE), wanted(5))


def test_numbers_that_are_none_and_a_solver_without_a_rate(tmp_path):
    rows = [
        {"epoch": 0, "steps": 0, "loss_of_training_data": 2.0},
        {"epoch": 1, "steps": 1, "training_loss": math.inf},
        {"epoch": 2, "steps": 2, "training_loss": math.nan},
    ]
    tensorboard.append(tmp_path, rows, as_config({"solver": "lbfgs"}))
    (_, first), (_, second), (_, third) = events(tmp_path / tensorboard.FILE)
    assert first == {"loss/training_scored": 2.0}
    # An epoch whose only mini-batch was discarded makes no step, but has a rate.
    tensorboard.append(tmp_path / "none", [rows[0], rows[1] | {"steps": 0}], CONFIG)
    ((_, _), (_, values)) = events(tmp_path / "none" / tensorboard.FILE)
    np.testing.assert_allclose(values["learning_rate"], 0.02, rtol=1e-6)
    assert second == {"loss/training": math.inf}
    assert list(third) == ["loss/training"] and math.isnan(third["loss/training"])


def test_metrics_of_both_networks_are_two_runs(tmp_path, rng):
    result = tuned(rng)
    for _ in range(2):  # a run that goes on is finished twice
        tensorboard.scores(tmp_path, result)
    for name, found, epoch in (
        ("before", result.before, 0),
        ("after", result.after, 2),
    ):
        ((step, scalars),) = events(tmp_path / name / tensorboard.FILE)
        assert step == epoch
        want = {
            f"metrics/{part}/{key}": value
            for part, scores in found.items()
            for key, value in scores.items()
        }
        assert set(scalars) == set(want) and len(want) == 21
        for tag, value in want.items():
            np.testing.assert_allclose(scalars[tag], value, rtol=1e-6)


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    assert tensorboard.available()
    monkeypatch.setitem(sys.modules, "tensorboardX.proto.event_pb2", None)
    assert not tensorboard.available()
    with pytest.raises(JlstmError, match="need tensorboardX") as found:
        tensorboard.append(tmp_path, history(1), CONFIG)
    assert "jlstm[tensorboard]" in str(found.value)
    assert not list(tmp_path.iterdir())
