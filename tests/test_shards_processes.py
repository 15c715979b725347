"""Which part of a machine, or of a cluster, a process takes."""

import os

import pytest

from jlstm.errors import InputError
from jlstm.shards import cluster, processes, worker


def test_cores_are_shared_out(monkeypatch):
    taken = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5, 6, 8}, False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, c: taken.append(c), False)
    for count in (1, 2, 7):
        taken.clear()
        for k in range(count):
            worker.take_cores(k, count)
        assert set().union(*taken) == {3, 4, 5, 6, 8} and all(taken)
        assert count > 5 or sum(map(len, taken)) == 5


def test_a_process_has_a_gpu_for_itself(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    seen = [processes.environment(k, 2)["CUDA_VISIBLE_DEVICES"] for k in range(2)]
    assert seen == ["4,7", "5"]
    with pytest.raises(InputError, match="a process takes a GPU for itself"):
        processes.environment(0, 4)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert processes.environment(0, 4)["CUDA_VISIBLE_DEVICES"] == "4,5,7"


def test_who_is_who(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert cluster.identity("slurm", None, None) == (3, 8)
    assert cluster.identity("host:1", 0, 2) == (0, 2)
    for given in (("host:1", None, None), ("host:1", 2, 2), ("slurm", 8, None)):
        with pytest.raises(InputError, match="which process is this"):
            cluster.identity(*given)


def test_options_that_mean_nothing_together_are_refused(capsys, tmp_path):
    from jlstm.cli import main

    for given, words in (
        (["--mini-batch-size", "4"], "--padding matlab"),
        (["--padding", "matlab", "--padding-value", "nan"], "not a finite number"),
        (["--targets", "u", "--padding", "matlab", "--sequence-length", "shortest"],
         "cannot be compared"),
        (["--worst", "-1"], "--worst: not a number of sequences"),
        ([], "where to?"),
    ):  # fmt: skip
        assert main(["evaluate", "net.mat", str(tmp_path), *given]) == 2
        assert words in capsys.readouterr().err
