"""What `audit` says about networks of which the truth is known.

The phenomena are made, not imitated: torch trains on sequences of one step, with L2
regularisation inside Adam or SGD as MATLAB has it, and on whole sequences beside it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from jlstm import layers as L
from jlstm.auditing import Audit, audit
from jlstm.errors import InputError
from jlstm.formats import read
from jlstm.formats.matfile import MatFile
from jlstm.inspection import notices
from jlstm.network import Factors, Network
from jlstm.recurrent import GRU, LSTM, Bidirectional, Gate, LSTMState

C, H = 3, 5


def kinds(found: Audit) -> list[str]:
    return [remark.kind for remark in found.remarks]


def only(found: Audit, kind: str) -> Any:
    (remark,) = [r for r in found.remarks if r.kind == kind]
    return remark


def orthogonal(rng, rows: int, columns: int = H) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(rows, columns)))[0].astype("f4")


def glorot(rng, *shape: int) -> np.ndarray:
    limit = np.sqrt(6 / sum(shape))
    return rng.uniform(-limit, limit, shape).astype("f4")


def initial(rng, cell: Any = LSTM, features: int = C, hidden: int = H) -> Any:
    """A layer as MATLAB and Keras initialise it: glorot, orthogonal, forget bias 1."""
    count = len(cell.gates)
    w = glorot(rng, count * hidden, features)
    r = orthogonal(rng, count * hidden, hidden)
    b = np.zeros((count, hidden), "f4")
    if cell is LSTM:
        b[1] = 1
    return cell(*map(Gate, np.split(w, count), np.split(r, count), b))


def moved(rng, layer: Any, size: float = 0.1) -> Any:
    """The same layer after something that changed every weight."""
    return type(layer)(
        *(
            Gate(
                *(
                    a + size * rng.normal(size=a.shape).astype("f4")
                    for a in (gate.input_weights, gate.recurrent_weights, gate.bias)
                )
            )
            for gate in (getattr(layer, name) for name in layer.gates)
        )
    )


def changed(layer: Any, gate: str, **arrays: Any) -> Any:
    """A copy of a layer with other arrays in one gate."""
    new = dataclasses.replace(getattr(layer, gate), **arrays)
    return dataclasses.replace(layer, **{gate: new})


def network(rng, *recurrent: Any, entry: L.Input | None = None, **kwargs: Any):
    named = {f"rnn_{k}": layer for k, layer in enumerate(recurrent, 1)}
    fc = L.FullyConnected(
        glorot(rng, 2, recurrent[-1].output_size), kwargs.pop("bias", np.ones(2, "f4"))
    )
    layers = {"in": entry or L.Input((recurrent[0].input_size,)), **named, "fc": fc}
    return Network.build(layers, **kwargs)


def train(
    rng, cell: Any, steps: int, length: int, optimiser: Any, **options: Any
) -> tuple[Network, torch.nn.Module]:
    """A network that torch trains to remember and to add, on `length` steps."""
    start = initial(rng, cell)
    torch.manual_seed(7)
    rnn = (torch.nn.LSTM if cell is LSTM else torch.nn.GRU)(C, H, batch_first=True)
    fc = torch.nn.Linear(H, 1)
    gates = [getattr(start, name) for name in start.gates]
    with torch.no_grad():
        for name, field in (
            ("weight_ih_l0", "input_weights"),
            ("weight_hh_l0", "recurrent_weights"),
            ("bias_ih_l0", "bias"),
        ):
            stacked = np.concatenate([getattr(gate, field) for gate in gates])
            getattr(rnn, name).copy_(torch.from_numpy(stacked))
        rnn.bias_hh_l0.zero_().requires_grad_(False)
    weights = [rnn.weight_ih_l0, rnn.weight_hh_l0, fc.weight]
    decay = options.pop("decay")
    solver = optimiser(
        [
            {"params": weights, "weight_decay": decay},
            {"params": [rnn.bias_ih_l0, fc.bias], "weight_decay": 0.0},
        ],
        **options,
    )
    x = torch.from_numpy(rng.normal(size=(40, length, C)).astype("f4"))
    target = torch.tanh(x.cumsum(dim=1)[..., :1]) + 0.5 * x[..., 1:2] * x[..., 2:]
    for _ in range(steps):
        solver.zero_grad()
        loss = ((fc(rnn(x)[0]) - target) ** 2).mean()
        loss.backward()
        solver.step()
    count = len(gates)
    arrays = [
        np.split(a.detach().numpy().copy(), count)
        for a in (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0)
    ]
    layer = cell(*map(Gate, *arrays))
    dense = L.FullyConnected(fc.weight.detach().numpy(), fc.bias.detach().numpy())
    return Network.build({"in": L.Input((C,)), "rnn": layer, "fc": dense}), rnn


ADAM: dict[str, Any] = dict(optimiser=torch.optim.Adam, lr=1e-3, decay=1e-4)
SGD: dict[str, Any] = dict(optimiser=torch.optim.SGD, lr=1e-2, decay=1e-2)


# --- what was learned -----------------------------------------------------------------


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_one_step_under_adam_erases_the_recurrence(rng, cell):
    net, _ = train(rng, cell, 2500, 1, **ADAM)
    remark = audit(net).remarks[0]
    assert remark.kind == "unlearned-recurrence" and remark.layer == "rnn"
    assert remark.figures["idle_bias"] == (1 if cell is LSTM else 0)
    assert remark.figures["largest_recurrent_weight"] < 1e-4
    assert "sequences of one step" in remark.words
    assert "sequences of one step" in str(net)


@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_one_step_under_sgd_leaves_the_recurrence_orthogonal(rng, cell, decay):
    net, _ = train(rng, cell, 300, 1, **SGD | {"decay": decay})
    remark = only(audit(net), "unlearned-recurrence")
    # What gets no gradient is multiplied by 1 - lr * decay at every step.
    scale = (1 - 1e-2 * decay) ** 300
    assert remark.figures["orthogonal_scale"] == pytest.approx(scale, rel=1e-4)


@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("setting", [ADAM, SGD], ids=["adam", "sgd"])
def test_a_network_trained_on_sequences_gets_no_remark(rng, cell, setting):
    net, _ = train(rng, cell, 200, 12, **setting)
    found = audit(net)
    assert found and found.ok and found.remarks == ()
    assert audit(net, rng.normal(size=(50, C)))


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_networks_as_torch_initialises_them_get_no_remark(rng, cell):
    for _ in range(20):
        count = len(cell.gates)
        hidden, features = (int(n) for n in rng.integers(2, 40, 2))
        limit = hidden**-0.5
        shapes = (hidden, features), (hidden, hidden), (hidden,)
        gates = [
            Gate(*(rng.uniform(-limit, limit, s).astype("f4") for s in shapes))
            for _ in range(count)
        ]
        assert kinds(audit(network(rng, cell(*gates)))) == []


def test_frozen_recurrent_weights_are_no_sign(rng):
    start = initial(rng)
    layer = moved(rng, start)
    for gate in LSTM.gates:
        kept = getattr(start, gate).recurrent_weights
        layer = changed(layer, gate, recurrent_weights=kept)
    assert kinds(audit(network(rng, layer))) == ["unlearned-recurrence"]
    factors = [
        Factors(f".layers['rnn_1'].{gate}.recurrent_weights", 0.0, 0.0)
        for gate in LSTM.gates
    ]
    assert audit(network(rng, layer, factors=factors))


@pytest.mark.parametrize("size", [0, 1e-9])
def test_weights_that_are_zero_are_no_recurrence(rng, size):
    layer = moved(rng, initial(rng))
    for gate in LSTM.gates:
        layer = changed(layer, gate, recurrent_weights=np.full((H, H), size, "f4"))
    assert kinds(audit(network(rng, layer))) == ["no-recurrence"]


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_a_network_that_was_never_trained(rng, cell):
    net = network(rng, initial(rng, cell), bias=np.zeros(2, "f4"))
    (remark,) = audit(net).remarks
    assert remark.kind == "untrained"
    assert remark.figures["scale"] == pytest.approx(1, abs=1e-5)


def test_a_layer_that_was_not_loaded(rng):
    first = moved(rng, initial(rng))
    second = initial(rng, features=H, hidden=4)
    (remark,) = audit(network(rng, first, second)).remarks
    assert (remark.kind, remark.layer) == ("partly-loaded", "rnn_2")
    assert remark.figures["trained"] == ["rnn_1", "fc"]
    factors = [
        Factors(f".layers['rnn_2'].{gate}.bias", 0.0, 0.0) for gate in LSTM.gates
    ]
    assert audit(network(rng, first, second, factors=factors))


def test_a_single_unit_is_orthogonal_to_nothing(rng):
    layer = initial(rng, hidden=1)
    for gate in LSTM.gates:
        weight = getattr(layer, gate).recurrent_weights
        layer = changed(layer, gate, recurrent_weights=2 * weight)
    assert audit(network(rng, layer))


def test_a_direction_loaded_twice(rng):
    one = moved(rng, initial(rng))
    other = moved(rng, initial(rng))
    assert audit(network(rng, Bidirectional(one, other)))
    (remark,) = audit(network(rng, Bidirectional(one, one))).remarks
    assert (remark.kind, remark.layer) == ("copied-weights", "rnn_1 backward")
    assert remark.figures == {"of": "rnn_1 forward"}


# --- gates and units ------------------------------------------------------------------


def extremes(layer: Any, gate: str, rng, size: float) -> tuple[np.ndarray, ...]:
    """The least and largest value of a sigmoid gate in double precision, by unit."""
    h, c = np.zeros((2, H))
    seen = []
    for x in size * rng.normal(size=(3000, C)):
        z = {
            k: (g := getattr(layer, k)).input_weights @ x
            + g.recurrent_weights @ h
            + g.bias
            for k in LSTM.gates
        }
        i, f, o = (1 / (1 + np.exp(-z[k])) for k in "ifo")
        c = f * c + i * np.tanh(z["g"])
        h = o * np.tanh(c)
        seen.append(dict(i=i, f=f, o=o)[gate])
    return np.min(seen, axis=0), np.max(seen, axis=0)


def scaled_input() -> L.Input:
    ones = np.ones(C, "f4")
    return L.Input((C,), normalization="zscore", mean=0 * ones, std=ones)


def test_pinned_gates(rng):
    layer = moved(rng, initial(rng))
    layer = changed(layer, "i", bias=np.array([20, 0, 0, -20, 0], "f4"))
    layer = changed(layer, "o", bias=np.array([0, 0, 20, 0, 0], "f4"))
    low, high = extremes(layer, "i", rng, 1.0)
    assert list(low > 0.99) == [1, 0, 0, 0, 0] and list(high < 0.01) == [0, 0, 0, 1, 0]
    (remark,) = audit(network(rng, layer, entry=scaled_input())).remarks
    assert remark.kind == "pinned-gates"
    assert remark.figures["i"] == {"open": [0], "closed": [3]}
    assert remark.figures["o"] == {"open": [2], "closed": []}
    assert "input gates (1 at 1, 1 at 0), output gates (1 at 1)" in remark.words


def test_a_bias_that_the_weights_can_overcome_is_no_pin(rng):
    layer = moved(rng, initial(rng))
    wide = 8 * layer.i.input_weights
    layer = changed(layer, "i", input_weights=wide, bias=np.full(H, 9, "f4"))
    assert np.all(extremes(layer, "i", rng, 1.0)[0] < 0.9)
    assert audit(network(rng, layer, entry=scaled_input()))


def test_inputs_that_nothing_scales_are_taken_for_larger(rng):
    layer = moved(rng, initial(rng))
    layer = changed(layer, "i", bias=np.full(H, 12, "f4"))
    assert kinds(audit(network(rng, layer, entry=scaled_input()))) == ["pinned-gates"]
    assert kinds(audit(network(rng, layer))) == []


def test_what_a_recurrent_layer_passes_on_is_bounded(rng):
    # Within 1 out of tanh; out of relu it may be of any size.
    first = moved(rng, initial(rng))
    second = moved(rng, initial(rng, features=H))
    second = changed(second, "i", bias=np.full(H, 8, "f4"))
    found = audit(network(rng, first, second))
    assert [(r.kind, r.layer) for r in found.remarks] == [("pinned-gates", "rnn_2")]
    loose = dataclasses.replace(first, state_activation="relu")
    assert audit(network(rng, loose, second))


def test_memories_without_end_and_without_any(rng):
    layer = moved(rng, initial(rng))
    layer = changed(layer, "f", bias=np.array([1, 25, 1, -25, 1], "f4"))
    found = audit(network(rng, layer, entry=scaled_input()))
    assert kinds(found) == ["never-forgets", "no-memory"]
    endless, none = found.remarks
    assert endless.figures["units"] == [1] and none.figures["units"] == [3]
    low, high = extremes(layer, "f", rng, 1.0)
    # The memory told is a lower bound, and not a loose one.
    assert 1 - low[1] < 1 / endless.figures["steps"] < 1e-5
    assert high[3] < 0.01


@pytest.mark.parametrize("kind", ["sigmoid", "hard-sigmoid"])
def test_update_gates_of_a_gru_that_stay_open(rng, kind):
    layer = dataclasses.replace(moved(rng, initial(rng, GRU)), gate_activation=kind)
    layer = changed(layer, "z", bias=np.array([0, 0, 30, 0, -30], "f4"))
    found = audit(network(rng, layer, entry=scaled_input()))
    assert kinds(found) == ["never-forgets", "no-memory"]
    assert [r.figures["units"] for r in found.remarks] == [[2], [4]]
    assert found.remarks[0].figures["steps"] > 1e6


def test_dead_units_and_unused_inputs(rng):
    layer = moved(rng, initial(rng))
    for gate in LSTM.gates:
        getattr(layer, gate).input_weights[2] = 0
        getattr(layer, gate).recurrent_weights[2] = 1e-20
        getattr(layer, gate).input_weights[:, 1] = 0
        # One that only hears the others is alive.
        getattr(layer, gate).input_weights[4] = 0
    # That a dead unit is also pinned goes without saying.
    layer.i.bias[2] = layer.f.bias[2] = 50
    found = audit(network(rng, layer))
    assert kinds(found) == ["dead-units", "unused-inputs"]
    assert found.remarks[0].figures == {"units": [2], "of": H}
    assert found.remarks[1].figures == {"inputs": [1], "of": C}


def test_projectors_count_as_weights(rng):
    layer = initial(rng)
    projector = rng.normal(size=(4, C)).astype("f4")
    projector[1] = 0
    layer = dataclasses.replace(moved(rng, layer), input_projector=projector)
    (remark,) = audit(network(rng, layer)).remarks
    assert remark.figures == {"inputs": [1], "of": 4}


# --- numbers and what was saved with them ---------------------------------------------


def test_denormal_weights_are_counted_where_they_are(rng):
    layer = moved(rng, initial(rng))
    layer.g.recurrent_weights[0, :3] = 1e-42
    layer.o.bias[1] = -1e-41
    (remark,) = audit(network(rng, layer)).remarks
    assert remark.kind == "denormal-weights"
    assert remark.figures["arrays"] == {
        ".layers['rnn_1'].g.recurrent_weights": 3,
        ".layers['rnn_1'].o.bias": 1,
    }
    # In double precision the same numbers are ordinary ones.
    assert audit(network(rng, layer).astype(np.float64))


def test_broken_weights_end_the_search(rng):
    layer = moved(rng, initial(rng))
    layer.f.bias[:] = np.inf
    net = network(rng, layer)
    (remark,) = audit(net).remarks
    assert remark.kind == "broken-weights" and remark.figures["count"] == H
    assert notices(net) == [str(remark)]


def test_state_and_class_names(rng):
    state = LSTMState(*rng.normal(size=(2, H)).astype("f4"))
    net = network(rng, moved(rng, initial(rng)), saved={"rnn_1": state})
    net = Network.build(
        {**net.layers, "out": L.Classification(())}, saved={"rnn_1": state}
    )
    found = audit(net)
    assert kinds(found) == ["saved-state", "missing-classes"]
    largest = max(np.abs(part).max() for part in state)
    assert found.remarks[0].figures == {
        "layers": ["rnn_1"], "largest": pytest.approx(largest)
    }  # fmt: skip


# --- the input ------------------------------------------------------------------------

MEAN = np.array([300.0, 5.0, -40.0], "f4")
STD = np.array([12.0, 0.5, 9.0], "f4")


def entries() -> dict[str, L.Input]:
    return {
        "zscore": L.Input((C,), normalization="zscore", mean=MEAN, std=STD),
        "rescale-zero-one": L.Input(
            (C,), normalization="rescale-zero-one", minimum=MEAN - 3 * STD,
            maximum=MEAN + 3 * STD,
        ),
        "rescale-symmetric": L.Input(
            (C,), normalization="rescale-symmetric", minimum=MEAN - 3 * STD,
            maximum=MEAN + 3 * STD,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["zscore", "rescale-zero-one", "rescale-symmetric"])
def test_an_input_of_a_network_that_normalises(rng, kind):
    net = network(rng, moved(rng, initial(rng)), entry=entries()[kind])
    z = np.clip(rng.normal(size=(400, C)), -3, 3)
    raw = MEAN + STD * z
    scaled = {"zscore": z, "rescale-zero-one": (z + 3) / 6, "rescale-symmetric": z / 3}
    assert audit(net, raw) and audit(net).advice == ()
    (remark,) = audit(net, scaled[kind]).remarks
    assert (remark.kind, remark.layer) == ("input-normalised-twice", "in")
    assert remark.do == "give it the raw data"
    # Kelvin for Celsius in one feature, a thousand times the unit in another.
    (remark,) = audit(net, raw * [1, 1000, 1] - [273, 0, 0]).remarks
    assert remark.kind == "input-out-of-range"
    assert remark.figures["features"] == [0, 1]
    assert remark.figures["training_mean"] == pytest.approx(list(MEAN))


def saturation(layer: LSTM, x: np.ndarray) -> float:
    """Share of the gate values that are within 0.01 of an end without a recurrence."""
    count = 0
    for name in LSTM.gates:
        gate = getattr(layer, name)
        z = x @ gate.input_weights.T + gate.bias
        y = np.tanh(z) if name == "g" else np.tanh(z / 2)
        # A sigmoid is (1 + tanh(z/2)) / 2: within 0.01 of an end beyond 0.98.
        count += np.sum(np.abs(y) > (0.99 if name == "g" else 0.98))
    return float(count / (len(LSTM.gates) * H * len(x)))


def test_an_input_of_a_network_that_does_not_normalise(rng):
    net = network(rng, moved(rng, initial(rng)))
    z = rng.normal(size=(400, C))
    assert audit(net, z) and audit(net, [z[:9], 2 * z]) and audit(net, z + 1)
    # Larger than usual, and yet within what its gates take.
    assert audit(net, 4 * z) and saturation(net.layers["rnn_1"], 4 * z) > 0.05
    biased = changed(net.layers["rnn_1"], "f", bias=np.full(H, 4, "f4"))
    for layer, raw in ((net.layers["rnn_1"], MEAN + STD * z), (biased, 9 + 9 * z)):
        (remark,) = audit(network(rng, layer), raw).remarks
        assert (remark.kind, remark.layer) == ("input-saturates", "rnn_1")
        share = saturation(layer, raw)
        assert remark.figures["saturated"] == pytest.approx(share)
    assert remark.figures["mean"] == pytest.approx(list(raw.mean(axis=0)))


def test_the_advice_tells_where_a_network_saturates(rng):
    net = network(rng, moved(rng, initial(rng)))
    (advice,) = audit(net).advice
    limit = advice.figures["saturates_from"]
    layer = net.layers["rnn_1"]
    values = np.concatenate(
        [
            np.linalg.norm(getattr(layer, k).input_weights, axis=1) * limit / edge
            for k, edge in dict(i=4.595, f=4.595, g=2.647, o=4.595).items()
        ]
    )
    assert np.median(1 / values) == pytest.approx(1)
    assert "give it numbers as small as those it was trained on" in str(net)
    assert all("normalise" not in notice for notice in notices(net))
    small = layer
    for gate in LSTM.gates:
        weights = getattr(layer, gate).input_weights / 1000
        small = changed(small, gate, input_weights=weights)
    assert audit(network(rng, small)).advice == ()


def test_gaps_in_the_input(rng):
    net = network(rng, moved(rng, initial(rng)))
    x = rng.normal(size=(20, C))
    x[3, 1] = np.nan
    (remark,) = audit(net, x).remarks
    assert remark.kind == "input-broken" and remark.figures == {"count": 1, "of": 60}


def test_inputs_that_do_not_fit(rng):
    net = network(rng, moved(rng, initial(rng)))
    for x in (np.zeros((4, C + 1)), np.zeros(C), [], "no numbers", {"other": 1.0}):
        with pytest.raises(InputError):
            audit(net, x)


# --- as text and as JSON --------------------------------------------------------------


def test_one_screen_and_json(rng):
    layer = moved(rng, initial(rng))
    layer = changed(layer, "i", bias=np.full(H, 50, "f4"))
    layer = changed(layer, "f", bias=np.full(H, 50, "f4"))
    layer.g.bias[0] = 1e-42
    net = network(rng, *[Bidirectional(layer, moved(rng, layer))])
    found = audit(net, np.full((30, C), 1e4))
    text = str(found)
    assert not found and len(text.splitlines()) < 40
    assert max(map(len, text.splitlines())) <= 88
    assert text.startswith(f"{len(found.remarks)} remarks")
    for remark in found.remarks:
        assert remark.layer in text and remark.words and remark.consequence
        assert remark.do and hash(remark) is not None
    back = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [r["kind"] for r in back["remarks"]] == kinds(found)
    assert set(back["remarks"][0]) == {
        "kind", "layer", "words", "figures", "consequence", "do"
    }  # fmt: skip
    assert str(audit(network(rng, moved(rng, initial(rng))))).startswith("nothing")


# --- real networks --------------------------------------------------------------------

REAL = {
    "fenn/LSTM.mat": [],
    "fenn/Hepatitis_B.mat": [],
    "fenn/Varicella-Region.mat": [],
    "story/net_story.mat": ["saved-state"],
    "compressor/TrainedModel.mat": [],
    "eeg/LSTM0.1.2.mat": [],
    "ph/gru_training_data_simple.mat": [],
    "ph/lstm3_net.mat": ["denormal-weights"],
    "har/BILSTM.mat": [],
    "har/trainedLSTMNetwork.mat": [],
    "tracking/relu_x2.mat": [],
    "tracking/tanh_x2.mat": [],
    "tracking/gru_x1.mat": [],
    "traffic/trainedNetwork_v73.mat": [],
    # Both were trained on single columns; L2 erased what had no gradient.
    "ecg/net.mat": ["unlearned-recurrence", "pinned-gates"],
    "pipe/LSTM.mat": [
        "unlearned-recurrence", "dead-units", "pinned-gates", "denormal-weights",
    ],
    "jv/LSTM.mat": ["pinned-gates", "never-forgets", "denormal-weights"],
    "jv/biLSTM.mat": [
        "pinned-gates", "never-forgets", "pinned-gates", "never-forgets",
        "denormal-weights",
    ],
}  # fmt: skip


@pytest.mark.parametrize("file", REAL)
def test_real_networks(nets, file):
    listed = json.loads((nets / "manifest.json").read_text("utf-8"))["files"]
    (entry,) = [entry for entry in listed if entry["file"] == file]
    net = read(nets / file, variable=entry.get("variable"))[0]
    assert kinds(audit(net)) == REAL[file]


def test_real_inputs(nets):
    path = nets / "fenn/LSTM.mat"
    net = read(path, variable="net")[0]
    x = MatFile(path)["dataTrainStandardized"].T
    assert audit(net, x)
    # The same series before it was standardised, at the scale of its kind: cases.
    assert kinds(audit(net, 2000 + 1500 * x)) == ["input-saturates"]
