"""Learnable parameters in every wrapping, their bits, and their training factors."""

from __future__ import annotations

from typing import Any

import jax
import matlab_structs as m
import numpy as np
import pytest
from matlab_files import (
    dl_array,
    dlnetwork,
    gpu_array,
    layer_array,
    lost_gpu_array,
    number,
    series,
    thing,
    write,
)

from jlstm.errors import Unsupported
from jlstm.formats import matlab, matlab_arrays
from jlstm.network import Factors

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


# --- arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [
    gpu_array, dl_array, lambda a: dl_array(gpu_array(a)),
], ids=["gpuArray", "dlarray", "both"])  # fmt: skip
def test_wrapped_arrays(tmp_path, rng, wrap):
    layers = stack(rng, m.lstm(rng, "lstm", C, H), m.dense(rng, "fc", H, K))
    plain = write(tmp_path / "plain.mat", net=series(layers))
    state = struct_of(layers[1])
    state["HiddenState"]["Value"] = wrap(state["HiddenState"]["Value"])
    wrapped = write(tmp_path / "net.mat", net=series(replace_arrays(layers, wrap)))
    a, b = matlab.load(plain), matlab.load(wrapped)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.array_equal(x, y)


@pytest.mark.parametrize("lost", [lost_gpu_array, lambda: dl_array(lost_gpu_array())])
def test_arrays_that_stayed_on_a_gpu(tmp_path, rng, lost):
    layers = stack(rng, m.lstm(rng, "lstm", C, H))
    layers = replace_arrays(layers, lambda _: lost())
    for net in (series(layers), layer_array(layers), dlnetwork(layers)):
        with pytest.raises(Unsupported, match="not in the file") as caught:
            matlab.load(write(tmp_path / "net.mat", net=net))
        assert caught.value.place == "net.Layers('lstm').InputWeights"
        assert "gather" in str(caught.value.do)


def test_learnable_parameters_as_objects(tmp_path, rng):
    """R2017b kept the parameters as objects in places."""
    layers = stack(rng, m.lstm(rng, "lstm", C, H, 2))
    kind = "nnet.internal.cnn.layer.learnable.PredictionLearnableParameter"
    struct = struct_of(layers[1])
    plain = write(tmp_path / "plain.mat", net=series(layers))
    for name in ("InputWeights", "RecurrentWeights", "Bias"):
        struct[name] = thing(kind, struct[name])
    path = write(tmp_path / "net.mat", net=series(layers))
    for x, y in zip(*(jax.tree.leaves(matlab.load(p)) for p in (plain, path)),
                    strict=True):  # fmt: skip
        assert np.array_equal(x, y)


def flat(layer):
    """The same layer as one without `saveobj`: properties one by one, arrays bare."""
    properties = {}
    for name, value in struct_of(layer).items():
        held = value.get("Value") if isinstance(value, dict) else None
        properties[name] = value if held is None else held
    properties.pop("Name")
    return m.custom(layer.classname, struct_of(layer)["Name"], **properties)


def test_layers_without_a_struct(tmp_path, rng):
    """Which layers are custom layers inside is known for few of them."""
    layers = [
        m.sequence_input("in", C),
        m.lstm(rng, "lstm", C, H),
        m.projected(rng, "LSTMProjectedLayer", "small", H, 6, (2, 3)),
        m.projected(rng, "GRUProjectedLayer", "smaller", 6, H, (2, 3)),
        m.convolution1(rng, "conv", 3, H, 4),
        m.batch_normalization(rng, "batch", 4),
        m.normalization(rng, "Layer", "norm", 4, OperationDimension="auto"),
        m.normalization(rng, "Group", "group", 4, NumGroups=number(2)),
        m.self_attention(rng, "attention", 4, 2, 4, 4, 4),
        m.dense(rng, "fc", 4, K),
    ]
    nets = [
        matlab.load(write(tmp_path / "net.mat", net=dlnetwork(given)))
        for given in (layers, [flat(layer) for layer in layers])
    ]
    assert nets[0].graph == nets[1].graph
    for a, b in zip(*(jax.tree.leaves(net) for net in nets), strict=True):
        assert np.array_equal(a, b)


def test_weights_keep_their_bits(tmp_path, rng):
    """Denormals, signed zeros and the split into gates: nothing is computed."""
    layers = stack(
        rng,
        m.lstm(rng, "lstm", C, H),
        m.bilstm(rng, "bilstm", H, K),
        m.gru(rng, "gru", 2 * K, 2, mode="recurrent-bias-after-multiplication"),
        m.projected(rng, "LSTMProjectedLayer", "projected", 2, 7, (2, 3)),
    )

    def spoil(array):
        array = array.copy()
        array.flat[::3] *= np.float32(1e-42)
        array.flat[1] = -0.0
        return array

    replace_arrays(layers, spoil)
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(layers)))
    for layer in layers[1:-1]:
        struct = struct_of(layer)
        found = matlab_arrays(net.layers[struct["Name"]])
        assert len(found) == (5 if "InputProjector" in struct else 3)
        for name, array in found.items():
            wanted = struct[name]["Value"]
            assert np.any(np.abs(wanted[wanted != 0]) < 1e-40)
            assert array.dtype == np.float32 and array.shape == wanted.shape
            assert array.tobytes() == wanted.tobytes()


# --- training factors -----------------------------------------------------------------


def test_factors_of_gates(tmp_path, rng):
    """One number, one a gate, or one a row, as MATLAB keeps those of gates."""
    layers = stack(
        rng, m.lstm(rng, "lstm", C, H), m.bilstm(rng, "both", H, K),
        m.gru(rng, "gru", 2 * K, 2), m.dense(rng, "fc", 2, K),
    )  # fmt: skip
    lstm, both_ways, gru, dense = (struct_of(layer) for layer in layers[1:-1])
    lstm["InputWeights"]["LearnRateFactor"] = number(1, 2, 3, 1)
    lstm["Bias"]["L2Factor"] = number(0.5)
    lstm["RecurrentWeights"]["L2Factor"] = np.repeat([4.0, 1, 1, 7], H)[:, None]
    both_ways["Bias"]["LearnRateFactor"] = number(*[1] * 5, 6, 1, 8)
    gru["RecurrentWeights"]["LearnRateFactor"] = np.array([[0, 1, 2]], np.float32)
    dense["Weights"] |= {"LearnRateFactor": number(0), "L2Factor": number(0)}
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(layers)))
    assert set(net.factors) == {
        Factors(".layers['lstm'].f.input_weights", 2, 1),
        Factors(".layers['lstm'].g.input_weights", 3, 1),
        Factors(".layers['lstm'].i.recurrent_weights", 1, 4),
        Factors(".layers['lstm'].o.recurrent_weights", 1, 7),
        *(Factors(f".layers['lstm'].{g}.bias", 1, 0.5) for g in "ifgo"),
        Factors(".layers['both'].backward.f.bias", 6, 0),
        Factors(".layers['both'].backward.o.bias", 8, 0),
        Factors(".layers['gru'].r.recurrent_weights", 0, 1),
        Factors(".layers['gru'].n.recurrent_weights", 2, 1),
        Factors(".layers['fc'].weights", 0, 0),
    }


def test_paths_of_factors_lead_to_arrays(tmp_path, rng):
    """Every kind of parameter, all with a factor of 3."""
    layers = [
        m.sequence_input("in", 6, C),
        m.convolution1(rng, "conv", 2, C, 4),
        m.batch_normalization(rng, "batch", 4),
        m.normalization(rng, "Layer", "layer", 4),
        m.normalization(rng, "Group", "group", 4, NumGroups=number(2)),
        m.layer("PReLULayer", "prelu", Alpha=m.learnable(m.normal(rng, 4, 1))),
        m.layer("FlattenLayer", "flatten"),
        m.self_attention(rng, "attention", 20, 1, 2, 2, 20),
        m.projected(rng, "GRUProjectedLayer", "projected", 20, H, (2, 3)),
        m.dense(rng, "fc", H, 1),
        m.word_embedding(rng, "words", K, 7),
        m.regression("out"),
    ]
    for layer in layers:
        for value in struct_of(layer).values():
            if isinstance(value, dict) and "L2Factor" in value:
                value["LearnRateFactor"] = number(3)
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(layers)))
    paths = {
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(net)
    }
    found = {factor.path for factor in net.factors}
    assert found <= paths
    statistics = {".layers['batch'].mean", ".layers['batch'].variance"}
    learnable = {path for path in paths if path.startswith(".layers")}
    assert found == learnable - statistics
    assert {factor.learn_rate for factor in net.factors} == {3.0}


def test_paths_of_layers_with_quotes(tmp_path, rng):
    layer = m.dense(rng, "it's", C, K)
    struct_of(layer)["Bias"]["LearnRateFactor"] = number(0)
    net: Any = matlab.load(write(tmp_path / "n.mat", net=series(stack(rng, layer))))
    paths = {
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(net)
    }
    assert {factor.path for factor in net.factors} < paths


def test_factors_of_custom_layers_are_kept_in_one_struct(tmp_path, rng):
    mixin = "nnet.cnn.layer.mixin.Learnable"
    layer = m.custom("PReLULayer", "prelu", Alpha=m.normal(rng, C, 1))
    layer.properties[f"{mixin}.LearnRateFactor"] = {"Alpha": number(4)}
    layer.properties[f"{mixin}.L2Factor"] = {"Alpha": number(0)}
    net: Any = matlab.load(write(tmp_path / "net.mat", net=series(stack(rng, layer))))
    assert net.factors == (Factors(".layers['prelu'].alpha", 4, 0),)
