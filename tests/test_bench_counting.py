"""Operations and bytes of the rows, against numbers counted by hand."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from networks import normal, small

from jlstm import bench
from jlstm import layers as L
from jlstm.bench.counting import Work, work
from jlstm.errors import InputError
from jlstm.network import Network


def counted(kind, *layers, features=3, batch=1, length=7, **more):
    row = bench.Workload("t", kind, features, layers, batch, length, **more)
    return work(row, row.network())


def test_an_lstm_a_gru_and_two_directions():
    # Four gates of 5 units on 3 inputs and 5 states; in seven steps of two sequences.
    assert counted("inference", "lstm 5", batch=2) == Work(2 * 2 * 7 * 4 * 5 * 8, None)
    assert counted("inference", "gru 5", batch=2) == Work(2 * 2 * 7 * 3 * 5 * 8, None)
    both = 2 * 4 * 5 * (3 + 5)
    dense = 2 * 10
    found = counted("inference", "bilstm 5", "fc 2", batch=2)
    assert found == Work(2 * 2 * 7 * (both + dense), None)


def test_one_sequence_reads_its_recurrent_weights_every_step():
    # 4 bytes of each recurrent weight, seven times.
    found = counted("inference", "lstm 5", "relu", "fc 2")
    assert found == Work(2 * 7 * (160 + 10), 4 * 7 * 100)
    double = counted("inference", "lstm 5", "fc 2", dtype="float64")
    assert double is not None and double.read == 8 * 7 * 100


def test_a_step_of_a_stream_reads_all_weights():
    assert counted("streaming", "lstm 5", "relu", "fc 2") == Work(2 * 170, 4 * 170)


def test_training_is_three_times_the_products_but_for_the_input():
    first, second, dense = (4 * 5 * 3, 4 * 5 * 5), (4 * 6 * 5, 4 * 6 * 6), 6 * 2
    forward = sum(first) + sum(second) + dense
    expected = 2 * 4 * 7 * (3 * forward - first[0])
    found = counted("training", "lstm 5", "relu", "lstm 6", "fc 2", batch=4)
    assert found == Work(expected, None)


def test_what_comes_after_the_last_step_is_counted_once(rng):
    net = small(rng)
    lstm = dataclasses.replace(net.layers["lstm"], output_mode="last")
    net = Network.build({**net.layers, "lstm": lstm})
    found = work(bench.own(net, batch=2, length=7), net)
    assert found == Work(2 * 2 * (7 * 4 * 3 * (2 + 3) + 2 * 3), None)


def test_layers_that_are_not_counted_say_so(rng):
    net = small(rng)
    scale = L.Scaling(normal(rng, 2), normal(rng, 2))
    net = Network.build({**net.layers, "scale": scale})
    assert work(bench.own(net), net) is None


def test_the_seed_net_of_the_table():
    row = bench.ROWS["c"]
    each = 4 * 128 * (4 + 128) + 4 * 128 * (128 + 128) + 128
    assert work(row, row.network()) == Work(2 * 64 * 500 * each, None)
    wide = work(bench.ROWS["e-inference"], bench.ROWS["e-inference"].network())
    assert wide == Work(2 * 32 * 256 * 4 * 512 * (64 + 512), None)


def test_rows_are_chosen_by_name_or_letter():
    assert [row.name for row in bench.chosen("a, c")] == ["a", "c"]
    assert [row.name for row in bench.chosen("e")] == ["e-inference", "e-training"]
    assert [row.name for row in bench.chosen("f2,e-training")] == ["f2", "e-training"]
    assert len(bench.chosen()) == len(bench.ROWS) == 11
    with pytest.raises(InputError, match="no such row"):
        bench.chosen("a,z")


def test_random_rows_are_reproducible_and_of_other_sizes():
    first, again, other = bench.drawn(20, 3), bench.drawn(20, 3), bench.drawn(20, 4)
    assert first == again != other
    assert {row.kind for row in first} == {"inference", "streaming", "training"}
    assert {len(row.layers) for row in first} == {2, 3}  # with the dense layer
    assert all(row.batch == 1 for row in first if row.kind == "streaming")


def test_networks_and_data_are_the_same_each_time():
    row = bench.Workload("t", "training", 3, ("gru 4", "bilstm 5", "fc 2"), 6, 7)
    for a, b in zip(*(jax.tree.leaves(row.network()) for _ in "ab"), strict=True):
        assert a.dtype == np.float32 and np.array_equal(a, b)
    x, target = row.data()
    assert (x.shape, target.shape) == ((6, 7, 3), (6, 7, 2))
    assert np.array_equal(x, row.data()[0]) and len(np.unique(x)) > 100


def test_a_network_of_ones_own_must_be_measurable(rng):
    net = small(rng)
    row = bench.own(net, "training", batch=3, length=9, title="pump.mat")
    assert row.words == "training, pump.mat, B=3, T=9"
    with pytest.raises(InputError, match="streaming, batch 2"):
        bench.own(net, "streaming", batch=2)
    with pytest.raises(InputError, match="length 0"):
        bench.own(net, length=0)
    both = bench.Workload("t", "inference", layers=("bilstm 3",)).network()
    with pytest.raises(InputError, match="needs the whole sequence"):
        bench.own(both, "streaming")
    vectors = Network.build({"in": L.Input((2,), time=False)})
    with pytest.raises(InputError, match="only networks of sequences"):
        bench.own(vectors)
