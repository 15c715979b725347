"""What `inspect` says about a network, against what was put into it."""

import numpy as np
import pytest

from jlstm import layers
from jlstm.inspection import layer_table, notices, parameter_count
from jlstm.network import Network, Node
from jlstm.recurrent import LSTM, Bidirectional, Gate, LSTMState

C, H = 3, 5


def gate(rng, inputs=C, hidden=H):
    shapes = (hidden, inputs), (hidden, hidden), (hidden,)
    return Gate(*(rng.normal(size=s).astype(np.float32) for s in shapes))


def lstm(rng, **changes):
    gates = {name: gate(rng) for name in "ifgo"} | changes
    return LSTM(**gates)


def network(rng, recurrent, **kwargs):
    return Network.build(
        {
            "in": layers.Input(size=(C,)),
            "lstm": recurrent,
            "fc": layers.FullyConnected(
                rng.normal(size=(2, recurrent.output_size)).astype(np.float32),
                np.zeros(2, np.float32),
            ),
        },
        **kwargs,
    )


def test_table_counts_parameters(rng):
    rows = layer_table(network(rng, lstm(rng)))
    assert [row["name"] for row in rows] == ["in", "lstm", "fc"]
    assert rows[1]["parameters"] == 4 * H * (C + H + 1)
    assert rows[2]["parameters"] == 2 * H + 2
    assert rows[2]["output"] == "(time, 2)"


def test_statistics_are_no_parameters(rng):
    ones = np.ones(4, np.float32)
    assert parameter_count(layers.BatchNormalization(ones, ones, ones, ones)) == 8
    entry = layers.Input(size=(4,), normalization="zscore", mean=ones, std=ones)
    assert parameter_count(entry) == 0


def test_text_names_every_layer_and_the_state(rng):
    text = str(network(rng, lstm(rng)))
    for word in ("lstm", "tanh, sigmoid, sequence", "(time, 2)", "float32"):
        assert word in text
    assert "initial state: zero; the saved state is the same" in text


def test_a_graph_shows_its_wires(rng):
    net = Network.build(
        {"in": layers.Input(size=(C,)), "a": layers.Activation("relu"),
         "sum": layers.Addition()},
        [Node("in", ()), Node("a", ("in",)), Node("sum", ("in", "a"))],
    )  # fmt: skip
    assert "inputs" in str(net) and "in, a" in str(net)


def test_an_ordinary_network_has_no_notices(rng):
    assert notices(network(rng, lstm(rng))) == []


def test_saved_state_is_named(rng):
    moved = {"lstm": LSTMState(*rng.normal(size=(2, H)).astype(np.float32))}
    (notice,) = notices(network(rng, lstm(rng), saved=moved))
    assert "not its initial one" in notice


def test_recurrence_that_was_never_learned(rng):
    tiny = {
        name: Gate(
            gate(rng).input_weights,
            np.full((H, H), 4e-9, np.float32),
            np.ones(H, np.float32) if name == "f" else gate(rng).bias,
        )
        for name in "ifgo"
    }
    (notice,) = notices(network(rng, lstm(rng, **tiny)))
    assert notice.startswith("lstm: never learned recurrence")
    # A forget bias of one alone is only how MATLAB initialises.
    f = gate(rng)
    started = lstm(rng, f=Gate(f.input_weights, f.recurrent_weights, np.ones(H, "f4")))
    assert notices(network(rng, started)) == []


def test_dead_units_unused_inputs_and_denormals(rng):
    gates = {name: gate(rng) for name in "ifgo"}
    for one in gates.values():
        one.input_weights[2] = one.recurrent_weights[2] = 0
        one.input_weights[:, 1] = 1e-42
    found = notices(network(rng, LSTM(**gates)))
    assert any(
        "1 of 5 units are dead" in text and "indices 2" in text for text in found
    )
    assert any("1 of 3 inputs have no effect" in text for text in found)
    # 4 gates x 5 units in that column, less the zeroed row set before it: all 20.
    assert any(text.startswith("20 weights are denormal") for text in found)


def test_both_directions_are_looked_at(rng):
    gates = {name: gate(rng) for name in "ifgo"}
    for one in gates.values():
        one.input_weights[:, 0] = 0
    layer = Bidirectional(lstm(rng), LSTM(**gates))
    (notice,) = notices(network(rng, layer))
    assert notice.startswith("lstm backward: 1 of 3 inputs have no effect")


def test_constant_features(rng):
    std = np.array([1, 0, 2], np.float32)
    entry = layers.Input(
        size=(C,), normalization="zscore", mean=np.zeros(C, np.float32), std=std
    )
    net = network(rng, lstm(rng))
    net = Network.build({**net.layers, "in": entry}, net.graph)
    (notice,) = notices(net)
    assert "1 of 3 features were constant" in notice


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(rng, value):
    f = gate(rng)
    f.bias[1] = value
    (notice,) = notices(network(rng, lstm(rng, f=f)))
    assert "1 weights are NaN or infinite" in notice
