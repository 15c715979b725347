"""One step of training equals torch's, on ragged batches, in double precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from networks import gates, lstm, normal

from jlstm import layers as L
from jlstm.config import as_config
from jlstm.dataset import Batch
from jlstm.errors import InputError
from jlstm.network import Network
from jlstm.recurrent import GRU, Bidirectional
from jlstm.training.parameters import parameters
from jlstm.training.task import Task, init, initial_carry, loss, network, step

C, H, O = 3, 5, 2  # noqa: E741
LENGTHS = (9, 6, 9, 4)


def recurrent(kind: str, rng: np.random.Generator, mode: str):
    if kind == "lstm":
        return lstm(rng, H, C, output_mode=mode)
    if kind == "both":
        return Bidirectional(lstm(rng, H, C), lstm(rng, H, C), output_mode=mode)
    biased = [
        gate.__class__(gate.input_weights, gate.recurrent_weights, gate.bias,
                       normal(rng, H))
        for gate in gates(rng, 3, H, C)
    ]  # fmt: skip
    third = "recurrent-bias-after-multiplication"
    return GRU(*biased, reset_mode=third, output_mode=mode)


def built(kind: str, mode: str) -> Network:
    rng = np.random.default_rng(7)
    layer = recurrent(kind, rng, mode)
    width = 2 * H if kind == "both" else H
    net = Network.build(
        {
            "in": L.Input((C,)),
            "one": layer,
            "fc": L.FullyConnected(normal(rng, O, width), normal(rng, O)),
        }
    )
    return net.astype("f8")


class Theirs(torch.nn.Module):
    """The same network in torch, on packed sequences."""

    def __init__(self, net: Network, kind: str, mode: str):
        super().__init__()
        one = net.layers["one"]
        make = torch.nn.GRU if kind == "gru" else torch.nn.LSTM
        self.kind, self.mode = kind, mode
        self.one = make(C, H, batch_first=True, bidirectional=kind == "both").double()
        self.fc = torch.nn.Linear(2 * H if kind == "both" else H, O).double()
        ways = [("", one)]
        if kind == "both":
            ways = [("", one.forward), ("_reverse", one.backward)]
        with torch.no_grad():
            for suffix, layer in ways:
                every = [getattr(layer, gate) for gate in layer.gates]
                for name, field in (
                    ("weight_ih", "input_weights"),
                    ("weight_hh", "recurrent_weights"),
                    ("bias_ih", "bias"),
                    ("bias_hh", "recurrent_bias"),
                ):
                    mine = getattr(self.one, f"{name}_l0{suffix}")
                    if getattr(every[0], field) is None:
                        mine.zero_()
                        mine.requires_grad_(False)
                    else:
                        parts = [np.asarray(getattr(g, field)) for g in every]
                        mine.copy_(torch.tensor(np.concatenate(parts)))
            self.fc.weight.copy_(torch.tensor(np.asarray(net.layers["fc"].weights)))
            self.fc.bias.copy_(torch.tensor(np.asarray(net.layers["fc"].bias)))

    def forward(self, x, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        y, state = self.one(packed)
        if self.mode == "last":
            h = state[0] if isinstance(state, tuple) else state
            return self.fc(torch.cat(list(h), -1))
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return self.fc(y)

    def loss(self, batch):
        x, y, w, lengths = (torch.tensor(np.asarray(a)) for a in batch)
        gap = (self(x, lengths) - y) ** 2 * w
        if self.mode == "last":
            return (gap.sum(1) / 2).mean()
        return (gap.sum((1, 2)) / (2 * lengths)).mean()

    def named(self, net: Network) -> dict[str, np.ndarray]:
        """Arrays of torch under the names of jlstm."""
        found = {
            ".layers['fc'].weights": self.fc.weight,
            ".layers['fc'].bias": self.fc.bias,
        }
        ways = [("", "", net.layers["one"])]
        if self.kind == "both":
            ways = [("", ".forward", net.layers["one"].forward),
                    ("_reverse", ".backward", net.layers["one"].backward)]  # fmt: skip
        for suffix, way, layer in ways:
            for name, field in (
                ("weight_ih", "input_weights"),
                ("weight_hh", "recurrent_weights"),
                ("bias_ih", "bias"),
                ("bias_hh", "recurrent_bias"),
            ):
                if field == "recurrent_bias" and self.kind != "gru":
                    continue
                parts = getattr(self.one, f"{name}_l0{suffix}").split(H)
                for gate, part in zip(layer.gates, parts, strict=True):
                    found[f".layers['one']{way}.{gate}.{field}"] = part
        return found


def batch(mode: str, lengths: tuple[int, ...] = LENGTHS) -> Batch:
    rng = np.random.default_rng(3)
    steps = max(lengths)
    x = rng.normal(size=(len(lengths), steps, C))
    y = rng.normal(size=(len(lengths), O) if mode == "last" else (*x.shape[:2], O))
    weights = np.ones_like(y)
    if mode == "sequence":
        behind = np.arange(steps)[None] >= np.array(lengths)[:, None]
        weights[behind] = 0
    return Batch(x, y, weights, np.array(lengths, np.int32))


KINDS = [
    (kind, mode) for kind in ("lstm", "both", "gru") for mode in ("sequence", "last")
]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_steps_equal_those_of_torch(kind, mode, double):
    net = built(kind, mode)
    config = as_config({"solver": "sgdm", "momentum": 0.8, "initial_learn_rate": 0.05})
    task = Task.of(net, config, steps_per_epoch=1, ragged=True)
    state, one = init(task), batch(mode)
    theirs = Theirs(net, kind, mode)
    optimiser = torch.optim.SGD(
        [p for p in theirs.parameters() if p.requires_grad], 0.05, momentum=0.8
    )
    for _ in range(20):
        value = theirs.loss(one)
        optimiser.zero_grad()
        value.backward()
        state, mine, _ = step(task, state, one)
        assert abs(float(mine) - float(value.detach())) < 1e-12
        optimiser.step()
    after = parameters(network(task, state.parameters))
    named = theirs.named(net)
    assert named.keys() == after.keys()
    before = parameters(net)
    for path, array in after.items():
        want = named[path].detach().numpy()
        np.testing.assert_allclose(array, want, rtol=0, atol=1e-11, err_msg=path)
        assert abs(want - before[path]).max() > 1e-4, path


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_slopes_are_those_of_differences(kind, mode, double):
    net = built(kind, mode)
    config = as_config({"anchor": 0.3})
    task = Task.of(net, config, steps_per_epoch=1, ragged=True)
    rng = np.random.default_rng(2)
    # Away from the start, or the anchor would have no slope.
    trained = {k: a + 0.1 * rng.normal(size=a.shape) for k, a in task.start.items()}
    one, carry = batch(mode), initial_carry(task, len(LENGTHS))

    def value(p):
        return loss(task, task.net, p, one, carry, None)[0]

    run = jax.jit(jax.value_and_grad(value))
    slopes = run(trained)[1]
    for path in trained:
        way = rng.normal(size=trained[path].shape)
        near = [
            float(run(trained | {path: trained[path] + e * way})[0])
            for e in (1e-5, -1e-5)
        ]
        want = (near[0] - near[1]) / 2e-5
        assert abs(float(jnp.sum(slopes[path] * way)) - want) < 1e-7 * max(1, abs(want))


def test_a_filled_up_batch_is_the_batch(double):
    """A sequence without weights changes neither loss nor step."""
    net = built("lstm", "sequence")
    task = Task.of(net, as_config({}), steps_per_epoch=1, ragged=True)
    one = batch("sequence")
    more = Batch(*(np.concatenate([a, a[:1] * 0 + 1]) for a in one))
    more.weights[-1] = 0
    short, a, _ = step(task, init(task), one)
    long, b, _ = step(task, init(task), more)
    assert abs(float(a) - float(b)) < 1e-15
    for path, array in short.parameters.items():
        np.testing.assert_allclose(array, long.parameters[path], rtol=0, atol=1e-14)


def test_frozen_parameters_stay_bit_for_bit():
    net = built("gru", "sequence").astype("f4")
    config = as_config({"only": ["layers['fc'].*"], "freeze": ["*.bias"]})
    task = Task.of(net, config, steps_per_epoch=1, ragged=True)
    one = Batch(*(np.float32(a) if a.dtype == "f8" else a for a in batch("sequence")))
    state, _, _ = step(task, init(task), one)
    before, after = parameters(net), parameters(network(task, state.parameters))
    for path, array in after.items():
        same = np.array_equal(array, before[path])
        assert same == (path != ".layers['fc'].weights"), path


def test_low_rank_training_moves_w_and_r_by_that_rank(double):
    net = built("lstm", "sequence")
    task = Task.of(net, as_config({"lora_rank": 1}), steps_per_epoch=1, ragged=True)
    state = init(task)
    for _ in range(3):
        state, _, _ = step(task, state, batch("sequence"))
    tuned = network(task, state.parameters)
    for field in ("input_weights", "recurrent_weights"):
        change = np.concatenate(
            [getattr(getattr(tuned.layers["one"], g), field)
             - getattr(getattr(net.layers["one"], g), field) for g in "ifgo"]
        )  # fmt: skip
        values = np.linalg.svd(change, compute_uv=False)
        assert values[0] > 1e-6 and values[1] < 1e-12 * values[0] + 1e-15


def test_states_are_carried_from_cut_to_cut(double):
    """Two cuts with the state carried give the outputs of the whole."""
    net = built("lstm", "sequence")
    config = as_config({"solver": "sgdm", "initial_learn_rate": 1e-30})
    task = Task.of(net, config, steps_per_epoch=1)
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 8, C)), rng.normal(size=(2, 8, O))
    ones = np.ones_like(y)
    whole = Batch(x, y, ones, np.full(2, 8, np.int32))
    _, all_, _ = step(task, init(task), whole)
    state, carry, parts = init(task), None, []
    for k in (0, 4):
        cut = Batch(
            x[:, k : k + 4], y[:, k : k + 4], ones[:, :4], np.full(2, 4, np.int32)
        )
        state, value, carry = step(task, state, cut, carry)
        parts.append(float(value))
    assert abs(np.mean(parts) - float(all_)) < 1e-14
    _, fresh, _ = step(task, init(task), cut)
    assert abs(float(fresh) - parts[1]) > 1e-3


def test_what_cannot_be_trained_is_refused():
    rng = np.random.default_rng(0)
    net = built("lstm", "sequence").astype("f4")
    norm = L.LayerNormalization(normal(rng, O), normal(rng, O), over="time-channels")
    names = ("in", "one", "fc")
    whole = Network.build({n: net.layers[n] for n in names} | {"norm": norm})
    with pytest.raises(InputError, match="looks at all steps"):
        Task.of(whole, as_config({}), steps_per_epoch=1, ragged=True)
    with pytest.raises(InputError, match="every parameter is frozen"):
        Task.of(net, as_config({"freeze": ["*"]}), steps_per_epoch=1)
    ones = np.ones(O, "f4")
    batch = L.BatchNormalization(ones, 0 * ones, 0 * ones, ones)
    whole = Network.build({n: net.layers[n] for n in names} | {"batch": batch})
    with pytest.raises(InputError, match="statistics of each mini-batch"):
        Task.of(whole, as_config({"semantics": "matlab"}), steps_per_epoch=1)
    # Its scale and offset are trained otherwise, its statistics stay.
    task = Task.of(whole, as_config({}), steps_per_epoch=1)
    here = [path for path in task.trained if "batch" in path]
    assert here == [".layers['batch'].scale", ".layers['batch'].offset"]
