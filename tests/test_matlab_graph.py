"""What a network keeps beside its wires: precision and states; what it refuses."""

from __future__ import annotations

from typing import Any

import jax
import matlab_structs as m
import numpy as np
import pytest
from agreement import as_matlab, assert_agree, assert_file_agrees, both, inputs
from matlab_files import (
    EMPTY,
    dag,
    dl_array,
    dlnetwork,
    flag,
    gpu_array,
    layer_array,
    number,
    series,
    string,
    write,
)

from jlstm.errors import Unsupported
from jlstm.formats import matlab
from jlstm.inspection import saved_state
from jlstm.network import predict

C, H, K = 3, 5, 4


def stack(rng, *layers):
    return [m.sequence_input("in", C), *layers, m.regression("out")]


def struct_of(layer):
    return layer.properties["any"]


def replace_arrays(layers, change):
    """Put every learnable array through a function."""
    for layer in layers:
        for value in struct_of(layer).values():
            if isinstance(value, dict) and "Value" in value and "L2Factor" in value:
                value["Value"] = change(value["Value"])
    return layers


# --- precision ------------------------------------------------------------------------


def in_double(rng, layers):
    return replace_arrays(layers, lambda a: a + 1e-9 * rng.normal(size=a.shape))


@pytest.mark.parametrize("container", [series, dag, layer_array, dlnetwork])
def test_precision_of_weights_in_double(tmp_path, rng, container):
    layers = in_double(rng, stack(rng, m.lstm(rng, "lstm", C, H)))
    path = write(tmp_path / "net.mat", net=container(layers))
    net: Any = matlab.load(path)
    if container is dlnetwork:
        _, judge = both(path)
        assert net.dtype == np.float64 and net.origin.notices == ()
        assert_agree(net, judge, inputs(net, rng), single=None)
    else:
        # MATLAB computes these kinds of networks in single whatever they store.
        assert net.dtype == np.float32
        assert any("double precision" in text for text in net.origin.notices)


def test_a_dlnetwork_of_both_precisions_computes_in_single(tmp_path, rng):
    layers = stack(rng, m.lstm(rng, "lstm", C, H), m.dense(rng, "fc", H, K))
    in_double(rng, layers[:2])
    net: Any = matlab.load(write(tmp_path / "net.mat", net=dlnetwork(layers)))
    assert net.dtype == np.float32


def test_weights_in_double_that_are_single_numbers_need_no_word(tmp_path, rng):
    layers = stack(rng, m.lstm(rng, "lstm", C, H))
    replace_arrays(layers, lambda a: a.astype(float))
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(layers)))
    assert net.dtype == np.float32 and net.origin.notices == ()


def test_statistics_in_double_do_not_decide(tmp_path, rng):
    case = m.statistics("zscore", (C,), Mean=rng.normal(size=(C, 1)), Std=number(2))
    layers = [
        m.sequence_input("in", C, normalization=case), m.dense(rng, "fc", C, K)
    ]  # fmt: skip
    net: Any = matlab.load(write(tmp_path / "net.mat", net=dlnetwork(layers)))
    assert net.dtype == np.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(net)} == {np.dtype("float32")}


# --- states ---------------------------------------------------------------------------


def state_of(rng, width, count=1):
    return m.normal(rng, width, count, scale=0.5)


def with_states(rng, layer, initial=None, current=None):
    struct = struct_of(layer)
    for part in ("HiddenState", "CellState"):
        if part in struct:
            width = struct[part]["Value"].shape[0]
            if initial:
                struct[f"Initial{part}"] = state_of(rng, width)
            if current:
                struct[part]["Value"] = state_of(rng, width, current)
    return layer


@pytest.mark.parametrize("start", ["initial", "saved"])
def test_states_of_every_recurrent_layer(tmp_path, rng, start):
    layers = stack(
        rng,
        with_states(rng, m.lstm(rng, "lstm", C, H, 2),
                    initial=True, current=1),
        with_states(rng, m.bilstm(rng, "bilstm", H, K), initial=True, current=1),
        with_states(rng, m.gru(rng, "gru", 2 * K, 2), initial=True, current=1),
    )  # fmt: skip
    net, judge = both(write(tmp_path / "net.mat", net=series(layers)))
    xs = inputs(net, rng)
    wanted = judge.forward(as_matlab(net, xs), start)
    with jax.enable_x64(True):
        double = net.astype("float64")
        state = double.initial if start == "initial" else double.saved
        y = np.asarray(predict(double, xs[0], state=state))
    assert np.abs(y.T - wanted).max() <= 1e-12
    (notice,) = saved_state(net)
    assert "lstm, bilstm, gru" in notice and "initial" in notice


def test_states_of_the_first_version_are_objects(tmp_path, rng):
    layer = m.lstm(rng, "lstm", C, H, 1)
    struct = struct_of(layer)
    h, c = state_of(rng, H), state_of(rng, H)
    struct["OutputState"].properties["Value"] = h
    struct["CellState"].properties["Value"] = c
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(stack(rng, layer))))
    assert np.array_equal(net.saved["lstm"].h, h[:, 0])
    assert np.array_equal(net.saved["lstm"].c, c[:, 0])
    assert not np.any(net.initial["lstm"].h)


def test_a_state_that_equals_the_initial_one_needs_no_word(tmp_path, rng):
    layer = with_states(rng, m.lstm(rng, "lstm", C, H), initial=True)
    struct = struct_of(layer)
    for part in ("HiddenState", "CellState"):
        struct[part]["Value"] = struct[f"Initial{part}"]
    path = write(tmp_path / "net.mat", net=series(stack(rng, layer)))
    net = assert_file_agrees(path, rng)
    assert net.saved is None and net.origin.notices == ()
    assert np.any(net.initial["lstm"].h)


def test_the_state_of_several_sequences_is_left_out(tmp_path, rng):
    layer = with_states(rng, m.lstm(rng, "lstm", C, H), current=6)
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(stack(rng, layer))))
    assert net.saved is None
    (notice,) = net.origin.notices
    assert notice.startswith("lstm: its saved state belongs to 6 sequences")


def test_states_may_be_bare_arrays(tmp_path, rng):
    for wrap in (dl_array, gpu_array, lambda array: array):
        column = state_of(rng, H)
        layer = m.gru(rng, "gru", C, H, HiddenState=wrap(column))
        net: Any = matlab.load(
            write(tmp_path / "net.mat", net=series(stack(rng, layer)))
        )
        assert np.array_equal(net.saved["gru"].h, column[:, 0])


def test_the_same_state_for_several_sequences_is_one(tmp_path, rng):
    layer = with_states(rng, m.gru(rng, "gru", C, H), current=1)
    state = struct_of(layer)["HiddenState"]
    column = state["Value"]
    state["Value"] = np.repeat(column, 6, axis=1)
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(stack(rng, layer))))
    assert np.array_equal(net.saved["gru"].h, column[:, 0])


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("ports", [
    [("past/hidden", "now/hidden"), ("past/cell", "now/cell")], [],
    [("past/hidden", "now/hidden")],
], ids=["bidirectional", "none", "one of two"])  # fmt: skip
def test_state_inputs_without_a_state(tmp_path, rng, ports):
    both_ways = bool(len(ports) == 2)
    make = m.bilstm if both_ways else m.lstm
    layers = [
        m.sequence_input("in", C),
        make(rng, "past", C, H, state_outputs=True),
        make(rng, "now", C, H, state_inputs=True),
    ]
    wires = [("in", "past"), ("in", "now/in"), *ports]
    path = write(tmp_path / "net.mat", net=dlnetwork(layers, wires))
    with pytest.raises(Unsupported) as caught:
        matlab.load(path)
    assert str(caught.value.place).startswith("net.Layers('now')")


def test_state_of_a_bidirectional_layer_as_output(tmp_path, rng):
    layers = [m.sequence_input("in", C), m.bilstm(rng, "b", C, H, state_outputs=True)]
    net = dlnetwork(layers, outputs=["b", "b/hidden"])
    with pytest.raises(Unsupported, match="output that jlstm does not compute"):
        matlab.load(write(tmp_path / "net.mat", net=net))


def test_a_state_wired_into_a_layer_without_state_inputs(tmp_path, rng):
    layers = [
        m.sequence_input("in", C),
        m.gru(rng, "past", C, H, state_outputs=True),
        m.gru(rng, "now", C, H),
    ]
    wires = [("in", "past"), ("in", "now/in"), ("past/hidden", "now/hidden")]
    path = write(tmp_path / "net.mat", net=dlnetwork(layers, wires))
    with pytest.raises(Unsupported) as caught:
        matlab.load(path)
    assert caught.value.place == "net.Layers('now').HasStateInputs"


@pytest.mark.parametrize("kind", ["lstm", "group"])
def test_layers_over_time_between_folding_and_unfolding(tmp_path, rng, kind):
    layer = {
        "lstm": m.lstm(rng, "x", 6, H),
        "group": m.normalization(rng, "Group", "x", 2, NumGroups=number(1)),
    }[kind]
    layers = [
        m.sequence_input("in", 3, 1, 2),
        m.layer("SequenceFoldingLayer", "fold"),
        layer,
        m.layer("SequenceUnfoldingLayer", "unfold"),
        m.layer("FlattenLayer", "flatten"),
        m.regression("out"),
    ]
    with pytest.raises(Unsupported, match="sees single steps") as caught:
        matlab.load(write(tmp_path / "net.mat", net=series(layers)))
    assert caught.value.place == "net.Layers('x')"


def test_names_that_jlstm_gives_are_free(tmp_path, rng):
    layers = [
        m.sequence_input("in", 2, 3, 1),
        m.layer("ReLULayer", "lstm_flatten"),
        m.lstm(rng, "lstm", 6, H),
        m.regression("out"),
    ]
    net = assert_file_agrees(write(tmp_path / "net.mat", net=series(layers)), rng)
    assert [n.name for n in net.graph] == [
        "in", "lstm_flatten", "lstm_flatten_1", "lstm", "out"
    ]  # fmt: skip


def test_what_was_ignored_is_listed(tmp_path, rng):
    layer = m.layer("ReLULayer", "relu", Comment="", Later=EMPTY, More=string(""))
    layer.properties["any"]["More"] = np.empty((0, 0), object)
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(stack(rng, layer))))
    for name in ("Comment", "Later", "More"):
        assert f"net.Layers('relu').{name}" in net.origin.ignored
    layer.properties["any"]["Flag"] = flag(True)
    with pytest.raises(Unsupported, match="unknown property"):
        matlab.load(write(tmp_path / "net.mat", net=series(stack(rng, layer))))
