"""Many sequences at once: the same answers as each alone, or as MATLAB's mini-batches.

What is right is computed here in NumPy, in double precision, sequence by sequence.
"""

from __future__ import annotations

import dataclasses
import pickle

import jax
import numpy as np
import oracles
import pytest
import torch
from jax.sharding import Mesh
from networks import normal
from oracles import Cell

import jlstm as jl
from jlstm import layers as L
from jlstm.config import Data
from jlstm.dataset import recordings
from jlstm.errors import InputError, Unsupported
from jlstm.evaluating import slots, whole
from jlstm.evaluation import Evaluator, MatlabPadding, Spread, evaluate, spread
from jlstm.formats import matlab
from jlstm.formats.matfile import MatFile
from jlstm.kernels import engines
from jlstm.network import Network, Node
from jlstm.recurrent import GRU, LSTM, Bidirectional, Gate

C, H, OUT = 3, 5, 2
LENGTHS = (7, 1, 40, 23, 2, 40, 16, 17, 33, 15, 5)
LSTM_CELL, GRU_CELL = Cell("lstm"), Cell("gru", mode=oracles.AFTER)


class Case:
    """A network, and what it answers, in NumPy."""

    def __init__(self, kind: str, seed: int = 0) -> None:
        self.kind, self.rng = kind, np.random.default_rng(seed)
        self.cell = GRU_CELL if "gru" in kind else LSTM_CELL
        both = "both" in kind
        self.ws = [oracles.draw(self.rng, self.cell, C, H) for _ in range(1 + both)]
        self.dense = normal(self.rng, OUT, H * (1 + both)), normal(self.rng, OUT)
        self.once = "last" in kind
        self.filter = normal(self.rng, 3, C, C) if "window" in kind else None

    @property
    def net(self) -> Network:
        one, *other = [self._layer(w) for w in self.ws]
        layers = {"in": L.Input((C,))}
        if self.filter is not None:
            bias = np.zeros(C, np.float32)
            layers["window"] = L.Convolution1D(self.filter, bias, padding="same")
        if other:
            mode = "last" if self.once else "sequence"
            layers["both"] = Bidirectional(one, other[0], output_mode=mode)
        else:
            layers["cell"] = one
        return Network.build(layers | {"fc": L.FullyConnected(*self.dense)})

    def _layer(self, w):
        gates = [
            Gate(*(w[f"{k}.{part}"].astype(np.float32) for part in "WRb"))
            for k in self.cell.gates
        ]
        mode = "last" if self.once and len(self.ws) == 1 else "sequence"
        if self.cell.kind == "gru":
            return GRU(*gates, reset_mode=self.cell.mode, output_mode=mode)
        return LSTM(*gates, output_mode=mode)

    def answer(self, x, states=None):
        """`(y, states)` of one sequence."""
        x = np.asarray(x, float)
        if self.filter is not None:
            padded = np.concatenate([np.zeros((1, C)), x, np.zeros((1, C))])
            x = sum(
                padded[k : k + len(x)] @ self.filter[k].astype(float) for k in range(3)
            )
        states = states or [(np.zeros(H), np.zeros(H)) for _ in self.ws]
        hs, after = [], []
        for k, (w, (h, c)) in enumerate(zip(self.ws, states, strict=True)):
            run = oracles.loop(self.cell, w, x[:: -1 if k else 1], h, c)
            after.append((run["h"][-1], run.get("c", run["h"])[-1]))
            last = run["h"][-1]
            hs.append(last if self.once else run["h"][:: -1 if k else 1])
        h = np.concatenate(hs, axis=-1)
        return h @ self.dense[0].T.astype(float) + self.dense[1], after

    def sequences(self, lengths=LENGTHS):
        return [normal(self.rng, n, C) for n in lengths]


KINDS = ("lstm", "gru", "lstm last", "lstm both", "gru both last", "lstm window")


def apart(found, wanted) -> float:
    assert [a.shape for a in found] == [np.shape(a) for a in wanted]
    return max(np.abs(a - b).max() for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_that_of_the_sequence_alone(kind):
    case = Case(kind)
    xs = case.sequences()
    wanted = [case.answer(x)[0] for x in xs]
    assert apart(evaluate(case.net, xs), wanted) < 1e-6
    assert apart(evaluate(case.net, xs, engine="xla", batch_size=16), wanted) < 1e-6
    # Several sequences share a slot, one after the other.
    few = evaluate(case.net, xs, batch_size=2, mesh=one_device())
    assert apart(few, wanted) < 1e-6


def test_ragged_sequences_of_torch():
    """torch's packed sequences, over a network whose layers are stacked."""
    case, other = Case("lstm"), oracles.draw(np.random.default_rng(9), LSTM_CELL, H, H)
    second = [
        Gate(*(other[f"{k}.{part}"].astype(np.float32) for part in "WRb"))
        for k in "ifgo"
    ]
    cell = dataclasses.replace(case.net.layers["cell"])
    net = Network.build({"in": L.Input((C,)), "one": cell, "two": LSTM(*second)})
    peers = []
    for w, size in ((case.ws[0], C), (other, H)):
        peer = torch.nn.LSTM(size, H, batch_first=True, dtype=torch.float64)
        zero = np.zeros(4 * H)
        for name, kind in (
            ("weight_ih_l0", "W"),
            ("weight_hh_l0", "R"),
            ("bias_ih_l0", "b"),
        ):
            peer.get_parameter(name).data = torch.tensor(
                oracles.stack(w, "ifgo", kind, H)
            )
        peer.get_parameter("bias_hh_l0").data = torch.tensor(zero)
        peers.append(peer)
    xs = case.sequences()
    packed = torch.nn.utils.rnn.pack_sequence(
        [torch.tensor(x.astype(float)) for x in xs], enforce_sorted=False
    )
    with torch.no_grad():
        for peer in peers:
            packed, _ = peer(packed)
    wanted = [a.numpy() for a in torch.nn.utils.rnn.unpack_sequence(packed)]
    assert apart(evaluate(net, xs), wanted) < 1e-6


@pytest.mark.parametrize("kind", ["lstm", "lstm last", "gru both"])
@pytest.mark.parametrize("engine", ["cpu", "xla"])
def test_batch_mates_change_no_bit(kind, engine):
    """Other company, another order, another number of them: the same bits."""
    if engine == "cpu" and engines.missing():
        pytest.skip(engines.missing())
    case = Case(kind)
    evaluator = Evaluator(case.net, engine=engine, batch_size=16, mesh=one_device())
    xs = case.sequences()
    alone = [evaluator([x])[0] for x in xs]
    order = np.random.default_rng(1).permutation(len(xs))
    mixed = evaluator([xs[k] for k in order] + case.sequences((60, 3, 90)))
    for k, y in zip(order, mixed, strict=False):
        # A batch of another shape may be added up in another order by XLA.
        assert np.abs(y - alone[k]).max() <= (0 if engine == "cpu" else 1e-6)
    again = evaluator([xs[k] for k in order] + case.sequences((60, 3, 90)))
    assert all(
        np.array_equal(a, b) for a, b in zip(mixed[:11], again[:11], strict=True)
    )


def one_device():
    return Mesh(np.array(jax.devices()[:1]), ("any",))


@pytest.mark.parametrize("kind", ["lstm", "lstm last", "lstm both"])
def test_eight_devices_are_one_device(kind):
    case = Case(kind)
    xs = case.sequences((*LENGTHS, 3, 60))
    wanted = [case.answer(x)[0] for x in xs]
    assert len(jax.devices()) == 8
    every = Evaluator(case.net, batch_size=64)
    one = Evaluator(case.net, batch_size=8, mesh=one_device())
    for found in (every(xs), one(xs)):
        assert apart(found, wanted) < 1e-6
    # Eight a device in both: the same shapes, so the same bits.
    assert all(np.array_equal(a, b) for a, b in zip(every(xs), one(xs), strict=True))


def test_programs_are_few_whatever_the_lengths():
    case = Case("lstm")
    evaluator = Evaluator(case.net, batch_size=16)
    rng = np.random.default_rng(3)
    for _ in range(4):
        evaluator(case.sequences(rng.integers(60, 90, 40)))
    assert evaluator.compilations == 1
    ahead = Case("lstm both")
    looking = Evaluator(ahead.net, batch_size=16, mesh=one_device())
    for _ in range(3):
        looking(ahead.sequences(rng.integers(30, 60, 60)))
    # One for each rung between, and batch.
    rungs = {whole._rung(n) for n in range(30, 60)}
    assert looking.compilations <= len(rungs)


def test_sequences_lie_in_slots_without_a_gap():
    counts = np.array([3, 1, 1, 9, 2, 1, 4])
    places = slots._places(counts, 3)
    assert [place.last - place.first + 1 for place in places] == counts.tolist()
    taken = [
        (place.slot, call)
        for place in places
        for call in range(place.first, place.last + 1)
    ]
    assert len(set(taken)) == len(taken) == counts.sum()
    ends = {slot: max(call for s, call in taken if s == slot) + 1 for slot in range(3)}
    assert sum(ends.values()) == counts.sum() and max(ends.values()) == 9


def test_compressor_is_predict_one_by_one(nets):
    net = matlab.load(nets / "compressor/TrainedModel.mat")
    features = MatFile(nets / "compressor/ValidationFeatures.mat")["validationFeatures"]
    xs = [np.ascontiguousarray(x.T, np.float32) for x in features]
    # Ragged, so that something could go wrong.
    xs = [x[: len(x) - 3 * (k % 9)] for k, x in enumerate(xs)]
    wanted = [np.asarray(jl.predict(net, x)) for x in xs]
    assert apart(evaluate(net, xs), wanted) < 1e-6


def test_what_is_said_at_the_end_is_heard_at_every_step():
    """y_t = h_t + H_T: a vector of one layer is added to the steps of another."""
    case = Case("lstm")
    cell = case.net.layers["cell"]
    layers = {
        "in": L.Input((C,)), "steps": cell,
        "end": dataclasses.replace(cell, output_mode="last"), "sum": L.Addition(),
    }  # fmt: skip
    graph = [
        Node("in", ()), Node("steps", ("in",)), Node("end", ("in",)),
        Node("sum", ("steps", "end")),
    ]  # fmt: skip
    zero, xs = np.zeros(H), case.sequences((40, 7, 33))
    hs = [oracles.loop(LSTM_CELL, case.ws[0], x, zero, zero)["h"] for x in xs]
    found = evaluate(Network.build(layers, graph), xs)
    assert apart(found, [h + h[-1] for h in hs]) < 1e-6


def test_outputs_of_another_length_than_the_sequence():
    """More steps come out than go in, or steps where none went in."""
    padded = Network.build({"in": L.Input((C,)), "pad": L.Padding1D(2, 1, 0.5)})
    xs = Case("lstm").sequences((4, 9, 4))
    wanted = [np.pad(x, ((2, 1), (0, 0)), constant_values=0.5) for x in xs]
    assert apart(evaluate(padded, xs), wanted) == 0
    with pytest.raises(InputError, match="which steps of the output"):
        evaluate(padded, xs, padding=MatlabPadding(3))
    # Nothing is filled in where all are as long.
    found = evaluate(padded, xs[::2], padding=MatlabPadding(3))
    assert apart(found, wanted[::2]) == 0
    vector = L.Input((C,), time=False)
    repeated = Network.build({"in": vector, "repeat": L.Repeat(6)})
    wanted = [np.tile(x[0], (6, 1)) for x in xs]
    assert apart(evaluate(repeated, [x[0] for x in xs]), wanted) == 0


@pytest.mark.parametrize("kind", ["lstm", "lstm last"])
def test_long_sequences_are_laid_out_a_few_calls_at_a_time(kind, monkeypatch):
    case = Case(kind)
    xs = case.sequences((190, *LENGTHS, 100))
    wanted = [case.answer(x)[0] for x in xs]
    evaluator = Evaluator(case.net, mesh=one_device())
    whole_ = evaluator(xs)
    assert apart(whole_, wanted) < 1e-6
    laid_out = []
    inner = slots._laid_out
    monkeypatch.setattr(
        slots, "_laid_out", lambda *a: laid_out.append(a[-1]) or inner(*a)
    )
    monkeypatch.setattr(slots, "ROOM", 2000)
    found = evaluator(xs)
    assert len(laid_out) > 3 and max(map(np.prod, laid_out)) * (C + OUT) <= 2000
    assert all(np.array_equal(a, b) for a, b in zip(found, whole_, strict=True))


def test_networks_without_parameters():
    net = Network.build({"in": L.Input((C,)), "relu": L.Activation("relu")})
    xs = Case("lstm").sequences((4, 9))
    assert apart(evaluate(net, xs), [np.maximum(x, 0) for x in xs]) == 0


@pytest.mark.parametrize("kind", ["lstm", "lstm both"])
def test_answers_are_the_callers(kind):
    case = Case(kind)
    (y,) = evaluate(case.net, case.sequences((7,)))
    y -= 1


def test_an_evaluator_goes_to_another_process():
    case = Case("lstm")
    xs = case.sequences((4, 9))
    evaluator = Evaluator([case.net], padding=MatlabPadding(2, "left"), batch_size=8)
    other = pickle.loads(pickle.dumps(evaluator))
    wanted, found = evaluator(xs), other(xs)
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    with pytest.raises(InputError, match="devices"):
        pickle.dumps(Evaluator(case.net, mesh=one_device()))


# --- MATLAB's padding -----------------------------------------------------------------


def matlab_rule(case, xs, size, direction, value, length):
    """Mini-batches made equally long, run as they are, outputs cut back."""
    found = []
    for start in range(0, len(xs), size):
        some = xs[start : start + size]
        steps = [len(x) for x in some]
        room = min(steps) if length == "shortest" else max(steps)
        for x in some:
            missing = room - len(x)
            if missing < 0:
                x = x[:room] if direction == "right" else x[-room:]
            filled = np.full((max(missing, 0), C), value)
            parts = [x, filled] if direction == "right" else [filled, x]
            y, states = [], None
            padded = np.concatenate(parts)
            piece = length if isinstance(length, int) else room
            for begin in range(0, room, piece):
                part, states = case.answer(padded[begin : begin + piece], states)
                y.append(part)
            if case.once:
                found.append(y[-1])
                continue
            whole_y = np.concatenate(y)
            own = min(len(x), room)
            found.append(
                whole_y[:own] if direction == "right" else whole_y[room - own :]
            )
    return found


@pytest.mark.parametrize("kind", ["lstm", "lstm last", "lstm both", "gru both last"])
@pytest.mark.parametrize("direction", ["right", "left"])
@pytest.mark.parametrize("length", ["longest", "shortest", 10])
def test_matlab_padding(kind, direction, length):
    case = Case(kind)
    xs = case.sequences()
    padding = MatlabPadding(4, direction, 0.5, length)
    wanted = matlab_rule(case, xs, 4, direction, 0.5, length)
    found = evaluate(case.net, xs, padding=padding)
    assert apart(found, wanted) < 1e-6
    if length == "longest" and (kind != "lstm" or direction == "left"):
        # The rule matters: exact answers are others.
        exact = evaluate(case.net, xs)
        assert (
            max(np.abs(a - b).max() for a, b in zip(exact, found, strict=True)) > 1e-3
        )


def test_matlab_pads_to_whole_pieces():
    case = Case("lstm last")
    xs = case.sequences((7, 12, 3))
    padding = MatlabPadding(3, "right", 0.25, 5, whole_pieces=True)
    filled = [np.concatenate([x, np.full((15 - len(x), C), 0.25)]) for x in xs]
    wanted = [case.answer(x)[0] for x in filled]
    assert apart(evaluate(case.net, xs, padding=padding), wanted) < 1e-6
    without = evaluate(case.net, xs, padding=MatlabPadding(3, "right", 0.25, 5))
    assert apart(without, wanted) > 1e-3


@pytest.mark.parametrize("settings", [
    {"mini_batch_size": 0}, {"direction": "both"}, {"sequence_length": "middle"},
    {"sequence_length": 0}, {"whole_pieces": True}, {"mini_batch_size": True},
])  # fmt: skip
def test_impossible_padding_is_refused(settings):
    with pytest.raises(InputError, match="MATLAB pads otherwise"):
        MatlabPadding(**settings)


# --- ensembles ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "lstm both last"])
def test_an_ensemble_is_its_members(kind):
    cases = [Case(kind, seed) for seed in range(4)]
    xs = cases[0].sequences()
    wanted = [np.stack([case.answer(x)[0] for case in cases]) for x in xs]
    found = evaluate([case.net for case in cases], xs, quantiles=(0.25, 0.9))
    assert all(isinstance(one, Spread) for one in found)
    assert apart([one.members for one in found], wanted) < 1e-6
    assert apart([one.mean for one in found], [w.mean(0) for w in wanted]) < 1e-6
    assert apart([one.std for one in found], [w.std(0, ddof=1) for w in wanted]) < 1e-6
    between = [np.quantile(w, (0.25, 0.9), axis=0) for w in wanted]
    assert apart([one.quantiles for one in found], between) < 1e-6


def test_spread_of_one_and_of_large_numbers():
    alone = spread(np.ones((1, 4, 2), np.float32))
    assert not alone.std.any() and alone.quantiles.shape == (3, 4, 2)
    far = np.float32(1e6) + np.arange(5, dtype=np.float32)[:, None]
    assert spread(far).std == pytest.approx(np.std(np.arange(5.0), ddof=1), rel=1e-6)
    with pytest.raises(InputError, match="quantile"):
        evaluate([Case("lstm").net], [np.zeros((3, C))], quantiles=(0.5, 5))
    with pytest.raises(InputError, match="quantile"):
        evaluate([Case("lstm").net], [np.zeros((3, C))], quantiles=("half",))
    assert spread(far, 0.5).quantiles.shape == (1, 1)


def test_the_order_of_layers_is_no_part_of_an_architecture():
    net = Case("lstm").net
    sorted_ = jax.tree.map(np.array, net)
    assert list(sorted_.layers) != list(net.layers)
    (one,) = evaluate([net, sorted_], [np.ones((3, C))])
    assert not one.std.any()


def test_networks_that_differ_are_no_ensemble():
    one, gru = Case("lstm").net, Case("gru").net
    with pytest.raises(InputError, match="network 2"):
        evaluate([one, gru], [])
    with pytest.raises(InputError, match="no networks"):
        evaluate([], [])
    with pytest.raises(InputError, match="no networks"):
        evaluate([one, "net.mat"], [])


# --- what goes in ---------------------------------------------------------------------


def test_several_inputs_and_outputs(rng):
    """Two inputs over time, two outputs, one of them once; and tuples or dicts."""
    case = Case("lstm")
    cell = case.net.layers["cell"]
    layers = {
        "a": L.Input((C,)), "b": L.Input((C,)), "sum": L.Addition(), "cell": cell,
        "end": LSTM(*[getattr(cell, k) for k in "ifgo"], output_mode="last"),
    }  # fmt: skip
    graph = [
        Node("a", ()), Node("b", ()), Node("sum", ("a", "b")),
        Node("cell", ("sum",)), Node("end", ("sum",)),
    ]  # fmt: skip
    net = Network.build(layers, graph, outputs=("cell", "end"))
    pairs = [(normal(rng, n, C), normal(rng, n, C)) for n in (4, 19, 11)]
    zero = np.zeros(H)
    runs = [
        oracles.loop(LSTM_CELL, case.ws[0], a + b, zero, zero)["h"] for a, b in pairs
    ]
    for given in (pairs, [{"b": b, "a": a} for a, b in pairs]):
        found = evaluate(net, given)
        assert apart([one[0] for one in found], runs) < 1e-6
        assert apart([one[1] for one in found], [h[-1] for h in runs]) < 1e-6
    with pytest.raises(InputError, match="sequence 2"):
        evaluate(net, [pairs[0], (pairs[1][0], pairs[1][1][:-1])])


def test_recordings(rng):
    case = Case("lstm")
    pairs = [(normal(rng, n, C), normal(rng, n, OUT)) for n in (12, 5)]
    found = evaluate(case.net, recordings(pairs, case.net, Data()))
    assert apart(found, [case.answer(x)[0] for x, _ in pairs]) < 1e-6


def test_an_array_of_sequences_gives_an_array():
    case = Case("lstm")
    batch = np.stack(case.sequences((9,) * 6))
    found = evaluate(case.net, batch)
    assert isinstance(found, np.ndarray) and found.shape == (6, 9, OUT)
    assert apart(list(found), [case.answer(x)[0] for x in batch]) < 1e-6
    assert evaluate(case.net, []) == []


@pytest.mark.parametrize(("given", "words"), [
    ([np.zeros((4, C)), np.zeros((C, 4))], "sequence 2"),
    ([np.zeros((0, C))], "sequence 1"),
    ([np.zeros((4, C)), "x"], "sequence 2"),
    ([np.zeros((4, C)) + 1j], "sequence 1"),
    ("data.csv", "not sequences"),
    (5, "not sequences"),
    (np.zeros((4, C)), "sequence 1"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_by_number(given, words):
    with pytest.raises(InputError, match=words):
        evaluate(Case("lstm").net, given)


def test_other_refusals():
    net, xs = Case("lstm").net, [np.zeros((4, C))]
    with pytest.raises(InputError, match="batch size"):
        evaluate(net, xs, batch_size=0)
    with pytest.raises(InputError, match="engine"):
        evaluate(net, xs, engine="fast")
    with pytest.raises(InputError, match="not a mesh"):
        evaluate(net, xs, mesh=jax.devices())
    with pytest.raises(InputError, match="one axis"):
        evaluate(net, xs, mesh=jax.make_mesh((2, 4), ("a", "b")))
    with pytest.raises(Unsupported):
        evaluate(net, xs, engine="gpu")
    with pytest.raises(InputError, match="no time"):
        dense = Network.build({"in": L.Input((C,), time=False)})
        evaluate(dense, [np.zeros(C)], padding=MatlabPadding())


def test_whole_numbers_and_progress():
    case = Case("lstm")
    xs = [np.arange(3 * n).reshape(n, C) % 5 for n in (4, 12)]
    seen = []
    found = evaluate(
        case.net, xs, callback=lambda done, every: seen.append((done, every))
    )
    assert apart(found, [case.answer(x)[0] for x in xs]) < 1e-6
    assert seen[-1] == (2, 2)


def test_double_precision(double):
    case = Case("lstm both")
    xs = [x.astype(float) for x in case.sequences((5, 30, 12))]
    found = evaluate(case.net.astype(np.float64), xs)
    assert apart(found, [case.answer(x)[0] for x in xs]) < 1e-13
