"""Every contestant computes the same numbers; the truth is torch's in double."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from jlstm import bench
from jlstm.bench import job as jobs
from jlstm.bench import series
from jlstm.bench.contestants import CONTESTANTS
from jlstm.bench.job import Job
from jlstm.bench.truth import exact
from jlstm.errors import Unsupported
from jlstm.kernels import engines

ALL = ("lstm 5", "relu", "gru 4", "bilstm 3", "fc 2")
ROWS = {
    "inference": bench.Workload("t", "inference", 3, ALL, 4, 7),
    "streaming": bench.Workload(
        "t", "streaming", 3, ("lstm 5", "relu", "gru 4", "fc 2"), 1, 7
    ),
    "training": bench.Workload("t", "training", 3, ALL, 4, 7),
}
PEERS = ("jlstm xla", "onnxruntime", "torch", "Flax", "Equinox")
"""Those that are quick; Keras is on another backend in this process."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for kind, row in ROWS.items():
        found[kind] = tmp_path_factory.mktemp(kind)
        jobs.write(row, found[kind], [1])
    return found


def ways(name, folder):
    one = CONTESTANTS[name]
    for package in one.packages:
        pytest.importorskip(package)
    module = import_module(f"jlstm.bench.contestants.{one.module}")
    return module.variants(Job(folder), one.option)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("name", PEERS)
def test_every_way_gives_the_same_answers(folders, name, kind):
    if kind not in CONTESTANTS[name].kinds:
        pytest.skip(f"{name} does no {kind}")
    job, names = Job(folders[kind]), []
    for way in ways(name, folders[kind]):
        names.append(way.name)
        assert way.answers is not None
        off = job.error(way.answers())
        assert 0 < off < (5e-6 if kind == "training" else 1e-6), way.name
        assert way.amount == (7 if kind == "streaming" else 1)
    assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize("name", ["jlstm cpu", "jlstm xla"])
def test_one_sequence_goes_as_many_steps_as_well(tmp_path, name):
    if name == "jlstm cpu" and (why := engines.missing()) is not None:
        pytest.skip(why)
    layers = ("lstm 5", "relu", "gru 4", "fc 2")
    jobs.write(bench.Workload("t", "inference", 3, layers, 1, 31), tmp_path, [1])
    job, found = Job(tmp_path), {way.name: way for way in ways(name, tmp_path)}
    far = found["jl.Stream.step_many"]
    for _ in range(2):  # from the initial state each time
        assert far.answers is not None
        assert 0 < job.error(far.answers()) < 1e-6
        far.run()


@pytest.mark.parametrize("name", ["jlstm xla", "onnxruntime", "torch"])
def test_a_stream_that_ran_answers_from_the_start_again(folders, name):
    way = next(iter(ways(name, folders["streaming"])))
    way.run()
    way.run()
    assert Job(folders["streaming"]).error(way.answers()) < 1e-6


def test_training_moves_the_weights_and_not_the_gradient_that_is_compared(folders):
    way = next(iter(ways("torch", folders["training"])))
    first = way.answers()
    for _ in range(3):
        way.run()
    assert all(np.array_equal(a, first[name]) for name, a in way.answers().items())


def test_the_truth_is_what_torch_computes_in_double_precision():
    torch = pytest.importorskip("torch")
    from jlstm.bench.contestants.torch_modules import Net

    row = ROWS["training"]
    x, target = row.data()
    net = Net(series.weights(row.network().astype(np.float64)))
    y = net(torch.from_numpy(x).double().transpose(0, 1)).transpose(0, 1)
    ((y - torch.from_numpy(target).double()) ** 2).sum(-1).mean().backward()
    slopes = exact(row.network(), "training", x, target)
    assert set(slopes) == set(net.slopes())
    for name, found in net.slopes().items():
        assert np.abs(found - slopes[name]).max() < 1e-14, name
    answer = exact(row.network(), "inference", x, target)["y"]
    assert np.abs(answer - y.detach().numpy()).max() < 1e-14


def test_a_series_goes_through_a_file(tmp_path):
    parts = series.weights(ROWS["training"].network())
    assert [part.kind for part in parts] == ["lstm", "relu", "gru", "bilstm", "fc"]
    series.save(tmp_path / "series.npz", parts)
    for part, again in zip(parts, series.load(tmp_path / "series.npz"), strict=True):
        assert (part.kind, part.last) == (again.kind, again.last)
        assert part.arrays.keys() == again.arrays.keys()
        assert all(np.array_equal(part.arrays[k], again.arrays[k]) for k in part.arrays)


def test_double_precision_is_refused_by_those_who_have_none(tmp_path):
    row = bench.Workload("t", "inference", 3, ("lstm 4", "fc 1"), 2, 5, "float64")
    jobs.write(row, tmp_path, [1])
    with pytest.raises(Unsupported, match="single precision only"):
        next(iter(ways("onnxruntime", tmp_path)))
    off = [Job(tmp_path).error(way.answers()) for way in ways("torch", tmp_path)]
    assert max(off) < 1e-14


def test_what_is_no_series_is_refused_by_who_builds_one(tmp_path):
    pytest.importorskip("equinox")
    from jlstm.demo import load_demo

    net = load_demo()[0]
    row = bench.own(net, batch=2, length=5)
    jobs.write(row, tmp_path, [1])
    # The demo network has a normalised input, which is known; without it there is none.
    assert Job(tmp_path).series[0].kind == "centre"
    (tmp_path / "series.npz").unlink()
    with pytest.raises(Unsupported, match="built here only from"):
        next(iter(ways("Equinox", tmp_path)))
