"""Fine-tuning: what it returns, how it stops, and that a killed run goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from networks import gru, lstm, normal

import jlstm as jl
from jlstm import layers as L
from jlstm.config import FineTuneConfig
from jlstm.errors import DamagedFile, InputError
from jlstm.finetuning import CHECKPOINT, finetune
from jlstm.network import Factors, Network, Node
from jlstm.recurrent import Bidirectional
from jlstm.training.loop import CALLED, DIVERGED, MAX_EPOCHS, PATIENCE
from jlstm.training.parameters import parameters, with_parameters

pytestmark = pytest.mark.usefixtures("quick_steps")

DATA = {"window": 20, "validation": 0.25}
ONE = {"max_epochs": 1, "data": DATA}


@pytest.fixture(scope="module")
def net() -> Network:
    rng = np.random.default_rng(3)
    return Network.build(
        {
            "in": L.Input((2,)),
            "one": lstm(rng, 6, 2),
            "drop": L.Dropout(0.2),
            "two": gru(rng, 5, 6),
            "fc": L.FullyConnected(normal(rng, 1, 5), normal(rng, 1)),
        }
    )


@pytest.fixture(scope="module")
def recording(net) -> tuple[np.ndarray, np.ndarray]:
    """What another network of the same structure makes of random input."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 2))
    moved = {p: a + 0.3 * rng.normal(size=a.shape) for p, a in parameters(net).items()}
    other = with_parameters(net, {p: np.float32(a) for p, a in moved.items()})
    return x, np.asarray(jl.predict(other, x))


def same(a: Network, b: Network) -> bool:
    x, y = jax.tree.leaves(a.layers), jax.tree.leaves(b.layers)
    return all(np.array_equal(p, q) for p, q in zip(x, y, strict=True))


def test_the_error_on_data_held_out_falls(net, recording):
    config = {"max_epochs": 40, "mini_batch_size": 5, "initial_learn_rate": 0.01}
    config |= {"data": {**DATA, "test": 0.2}}
    found = finetune(net, recording, config)
    assert found.reason == MAX_EPOCHS and len(found.history) == 41
    assert 0 < found.best_epoch <= 40
    for part in ("train", "validation", "test"):
        assert found.after[part]["rmse"] < 0.8 * found.before[part]["rmse"], found
    # Metrics are those of the network that is returned, from predictions of its own.
    x, y = recording
    here = slice(320, 400)
    want = np.sqrt(np.mean((np.asarray(jl.predict(found.net, x[here])) - y[here]) ** 2))
    assert abs(found.after["test"]["rmse"] - want) < 1e-6 * want
    best = min(row["validation_loss"] for row in found.history)
    assert found.history[found.best_epoch]["validation_loss"] == best
    json.dumps(found.to_dict())
    assert "before" in str(found)


@pytest.mark.parametrize("solver", ["adam", "rmsprop", "sgdm", "lbfgs"])
@pytest.mark.parametrize("semantics", ["exact", "matlab"])
def test_every_solver_learns(net, recording, solver, semantics):
    """Also that no two pieces of a state share memory, which a step gives away."""
    config = {"solver": solver, "semantics": semantics, "max_epochs": 15}
    if solver != "lbfgs":
        config |= {"mini_batch_size": 5, "initial_learn_rate": 3e-3}
    found = finetune(net, recording, config | {"data": DATA})
    first, last = found.history[1], found.history[-1]
    assert last["training_loss"] < 0.95 * first["training_loss"], found.history


def test_the_loss_is_that_of_the_predictions(net, recording):
    """Row 0 is the imported network: half the mean squared error of its windows."""
    found = finetune(net, recording, {"max_epochs": 1, "data": DATA})
    x, y = recording
    halves = [
        np.mean((np.asarray(jl.predict(net, x[k : k + 20])) - y[k : k + 20]) ** 2) / 2
        for k in range(300, 400, 20)
    ]
    assert abs(found.history[0]["validation_loss"] - np.mean(halves)) < 1e-6


def test_a_run_that_was_stopped_ends_with_the_same_bits(net, recording, tmp_path):
    config = {"max_epochs": 5, "mini_batch_size": 4, "data": DATA}
    whole = finetune(net, recording, config, out=tmp_path / "whole")

    class Killed(BaseException):
        pass

    def kill(progress):
        if progress.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        finetune(net, recording, config, out=tmp_path / "part", callback=kill)
    seen = []
    rest = finetune(
        net, recording, config, out=tmp_path / "part",
        callback=lambda p: seen.append(p.epoch),
    )  # fmt: skip
    assert seen == [2, 3, 4, 5]
    assert same(whole.net, rest.net) and same(whole.last, rest.last)
    assert not same(whole.last, net)
    for a, b in zip(whole.history, rest.history, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    # Once it has ended there is nothing to be done, unless it may be longer.
    finetune(net, recording, config, out=tmp_path / "part", callback=kill)
    longer = finetune(net, recording, config | {"max_epochs": 6}, out=tmp_path / "part")
    assert len(longer.history) == 7
    again = finetune(net, recording, config | {"max_epochs": 6})
    assert same(longer.last, again.last)


@pytest.fixture(scope="module")
def finished(net, recording, tmp_path_factory) -> Path:
    """The folder of a run of one epoch; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    finetune(net, recording, ONE, out=folder)
    return folder


@pytest.fixture
def out(finished, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.mark.parametrize(
    "change",
    [
        {"initial_learn_rate": 0.5},
        {"seed": 1},
        {"data": {**DATA, "window": 40}},
        {"max_epochs": 3, "learn_rate_schedule": "cosine"},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(net, recording, out, change):
    with pytest.raises(InputError, match="belongs to another run"):
        finetune(net, recording, ONE | change, out=out)


def test_a_damaged_checkpoint_is_refused_and_left_alone(net, recording, out):
    file = out / CHECKPOINT
    short = file.read_bytes()[:-40]
    file.write_bytes(short)
    with pytest.raises(DamagedFile, match="not a checkpoint"):
        finetune(net, recording, ONE, out=out)
    assert file.read_bytes() == short


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_diverged_run_keeps_its_best_network(net, recording):
    config = {"solver": "sgdm", "initial_learn_rate": 1e12, "max_epochs": 9}
    found = finetune(net, recording, config | {"data": DATA})
    assert found.reason == DIVERGED and len(found.history) < 9
    assert found.best_epoch == 0 and same(found.net, net) and same(found.last, net)


def test_patience_and_callback_stop(net, recording):
    config = {"initial_learn_rate": 1e-12, "validation_patience": 2, "max_epochs": 50}
    found = finetune(net, recording, config | {"data": DATA})
    assert found.reason == PATIENCE and len(found.history) < 50
    found = finetune(net, recording, {"data": DATA}, callback=lambda p: p.epoch == 2)
    assert found.reason == CALLED and len(found.history) == 3


def test_nothing_is_compiled_after_the_first_epoch(net, recording, monkeypatch):
    from jlstm.training import loop

    tasks = set()
    original = loop.step
    monkeypatch.setattr(
        loop, "step", lambda task, *rest: (tasks.add(task), original(task, *rest))[1]
    )
    sizes = []

    def look(progress):
        for task in tasks:
            sizes.append((task.compiled._cache_size(), task.scored._cache_size()))

    config = {"max_epochs": 4, "mini_batch_size": 4, "data": {**DATA, "window": 17}}
    finetune(net, recording, config, callback=look)
    assert len(sizes) == 4 and sizes[0] == sizes[-1] and sizes[0][0] >= 1


def test_statistics_are_kept_or_computed_anew(recording):
    rng = np.random.default_rng(1)
    ones = np.ones(2, np.float32)
    start = L.Input((2,), normalization="zscore", mean=5 * ones, std=3 * ones)
    net = Network.build(
        {
            "in": start,
            "one": lstm(rng, 4, 2),
            "fc": L.FullyConnected(normal(rng, 1, 4), normal(rng, 1)),
        }
    )
    config = {"max_epochs": 1, "output_network": "last", "data": DATA}
    kept = finetune(net, recording, config).net
    np.testing.assert_array_equal(kept.layers["in"].mean, start.mean)
    new = finetune(net, recording, config | {"normalization": "recompute"}).net
    x = recording[0][:300]
    np.testing.assert_allclose(new.layers["in"].mean, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(new.layers["in"].std, x.std(0, ddof=1), rtol=1e-6)
    # A spread of 0 would make NaN of everything; one number cannot stand for two.
    flat = (recording[0] * [1, 0], recording[1])
    with pytest.raises(InputError, match="feature 2 is constant"):
        finetune(net, flat, config | {"normalization": "recompute"})
    joint = dataclasses.replace(start, mean=ones[:1], std=ones[:1])
    with pytest.raises(InputError, match="cannot be computed anew"):
        finetune(
            net.replace(layers=net.layers | {"in": joint}),
            recording,
            config | {"normalization": "recompute"},
        )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"solvr": "adam"}, "unknown field `solvr`"),
        ({"initial_learn_rate": -1.0}, "> 0"),
        ({"data": {"validation": 0.6, "test": 0.5}}, "nothing is left to train on"),
        ({"data": {"window": 10, "overlap": 10}}, "overlap is as long"),
        ({"freeze": ["*"]}, "every parameter is frozen"),
        ({"loss": "cross-entropy"}, "softmax"),
        ({"normalization": "recompute"}, "does not normalise"),
        ({"solver": "adamw", "semantics": "matlab"}, "adamw"),
    ],
)
def test_wrong_configurations_stop_early(net, recording, config, words):
    with pytest.raises(InputError, match=words):
        finetune(net, recording, config)


def test_data_that_do_not_fit_stop_early(net, recording):
    x, y = recording
    with pytest.raises(InputError):
        finetune(net, (x[:, :1], y), {"data": DATA})
    with pytest.raises(InputError, match="no target in the train part"):
        finetune(net, (x, np.full_like(y, np.nan)), {"data": DATA})


def test_targets_that_are_missing_are_not_learned_from(net, recording):
    x, y = recording
    holes = y.copy()
    holes[7::11] = np.nan
    junk = y.copy()
    junk[7::11] = 1e6
    config = {"max_epochs": 2, "data": DATA}
    found = finetune(net, (x, holes), config)
    assert np.isfinite(found.history[-1]["training_loss"])
    assert found.history[-1]["training_loss"] < 10
    other = finetune(net, (x, junk), config)
    assert other.history[-1]["training_loss"] > 1e6


def test_without_data_kept_aside_the_training_data_decide(net, recording):
    """Of all training data, after the step: not the mean over an epoch's batches."""
    config = {
        "solver": "sgdm", "initial_learn_rate": 1e-3, "learn_rate_drop_factor": 1e4,
        "learn_rate_schedule": "piecewise", "learn_rate_drop_period": 3,
        "max_epochs": 4, "data": {"window": 20, "validation": 0},
    }  # fmt: skip
    found = finetune(net, recording, config)
    assert found.best_epoch < 4
    assert found.after["train"]["rmse"] <= 1.05 * found.before["train"]["rmse"]


def test_cuts_without_a_scored_step_are_no_steps(net, recording):
    config = {
        "split_length": 10, "initial_learn_rate": 1e-9, "max_epochs": 1,
        "mini_batch_size": 4, "data": {"window": 40, "washout": 20, "validation": 0.2},
    }  # fmt: skip
    plain = Network.build({n: net.layers[n] for n in ("in", "one", "two", "fc")})
    found = finetune(plain, recording, config)
    # 320 steps: 8 windows, 2 batches of 4 cuts, of which 2 are scored.
    assert found.history[-1]["steps"] == 4
    whole = finetune(plain, recording, config | {"split_length": 0})
    ratio = found.history[1]["training_loss"] / whole.history[1]["training_loss"]
    assert abs(ratio - 1) < 1e-4


def test_cuts_that_would_change_the_answer_are_refused(recording):
    rng = np.random.default_rng(1)
    dense = L.FullyConnected(normal(rng, 1, 4), normal(rng, 1))
    once = lstm(rng, 4, 2, output_mode="last")
    last = Network.build({"in": L.Input((2,)), "one": once, "fc": dense})
    pairs = [(recording[0][k : k + 20], recording[1][k]) for k in range(0, 200, 20)]
    with pytest.raises(InputError, match="takes it whole"):
        finetune(last, pairs, {"split_length": 5})
    both = Bidirectional(lstm(rng, 2, 2), lstm(rng, 2, 2))
    ways = Network.build({"in": L.Input((2,)), "one": both, "fc": dense})
    brought = Network.build(
        {"in": L.Input((2,)), "a": lstm(rng, 4, 2), "b": lstm(rng, 4, 2), "fc": dense},
        [
            Node("in", ()), Node("a", ("in",)), Node("b", ("in", "a/hidden", "a/cell")),
            Node("fc", ("b",)),
        ],
    )  # fmt: skip
    for across in (ways, brought):
        with pytest.raises(InputError, match="does not see across a cut"):
            finetune(across, recording, {"split_length": 5, "data": DATA})


def test_a_finished_run_keeps_its_reason(net, recording, tmp_path):
    config = {"max_epochs": 1, "data": DATA}
    first = finetune(net, recording, config, out=tmp_path)
    again = finetune(net, recording, config, out=tmp_path)
    assert first.reason == again.reason == MAX_EPOCHS


def test_a_checkpoint_belongs_to_one_structure(net, recording, out):
    one = dataclasses.replace(net.layers["one"], state_activation="softsign")
    other = net.replace(layers=net.layers | {"one": one})
    with pytest.raises(InputError, match="belongs to another run"):
        finetune(other, recording, ONE, out=out)


def test_what_the_file_freezes_stays_frozen(net, recording):
    path = ".layers['one'].i.input_weights"
    fixed = net.replace(factors=(Factors(path, 0.0, 1.0),))
    found = finetune(fixed, recording, {"max_epochs": 1, "lora_rank": 1, "data": DATA})
    assert path not in found.trained and found.frozen == 1
    np.testing.assert_array_equal(parameters(found.last)[path], parameters(net)[path])


def test_a_struct_made_in_python_is_checked(net, recording):
    for wrong in ({"semantics": "Matlab"}, {"mini_batch_size": 0}):
        with pytest.raises(InputError, match="not a configuration"):
            finetune(net, recording, FineTuneConfig(**wrong))
    with pytest.raises(InputError, match="never be looked at"):
        finetune(net, recording, {"validation_period": 50, "max_epochs": 5})
    with pytest.raises(InputError, match="not a finite number"):
        finetune(net, recording, {"initial_learn_rate": float("inf")})


def test_the_scale_of_nse_is_that_of_the_targets_that_are_there(net, recording):
    x, y = recording
    y = y.copy()
    y[5] = np.nan
    config = {"max_epochs": 1, "loss": "nse", "data": {"validation": 0.25}}
    found = finetune(net, (x, y), config)
    spread = np.nanstd(y[:300])
    error = np.asarray(jl.predict(net, x[300:])) - y[300:]
    want = np.mean((error / (spread + 0.1)) ** 2)
    np.testing.assert_allclose(found.history[0]["validation_loss"], want, rtol=1e-5)


def test_new_statistics_are_no_part_of_the_imported_network(recording):
    """What was right before must not be called better after it was spoilt."""
    rng = np.random.default_rng(1)
    ones = np.ones(2, np.float32)
    net = Network.build(
        {
            "in": L.Input((2,), normalization="zscore", mean=0 * ones, std=ones),
            "one": lstm(rng, 4, 2),
            "fc": L.FullyConnected(normal(rng, 1, 4), normal(rng, 1)),
        }
    )
    x = 5 * recording[0] + 3
    y = np.asarray(jl.predict(net, x))
    config = {"max_epochs": 1, "normalization": "recompute", "data": DATA}
    config |= {"initial_learn_rate": 1e-9}
    found = finetune(net, (x, y), config)
    assert found.before["train"]["rmse"] < 1e-6 < 1e-2 < found.after["train"]["rmse"]
    assert same(found.imported, net)
