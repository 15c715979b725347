"""Real networks, trained by others and saved by MATLAB R2018a to R2025a."""

from __future__ import annotations

import json
import zlib
from typing import Any

import jax
import numpy as np
import onnxruntime
import pytest
import reference
from agreement import SINGLE, as_matlab, assert_agree, both, inputs

from jlstm.errors import Unsupported
from jlstm.formats import matlab, matlab_arrays
from jlstm.formats.fields import strings
from jlstm.formats.matfile import MatFile
from jlstm.inspection import saved_state
from jlstm.network import predict
from jlstm.recurrent import Recurrent

NETS = {
    "fenn/LSTM.mat": "net",
    "fenn/Hepatitis_B.mat": "net",
    "fenn/Varicella-Region.mat": "net",
    "story/net_story.mat": "net",
    "compressor/TrainedModel.mat": "airCompNet",
    "eeg/LSTM0.1.2.mat": "net",
    "ph/gru_training_data_simple.mat": "pH_net_simple",
    "ph/lstm3_net.mat": "pH_net_simple",
    "har/BILSTM.mat": "trainedNetwork",
    "har/trainedLSTMNetwork.mat": "net",
    "tracking/relu_x2.mat": "net",
    "tracking/tanh_x2.mat": "net",
    "tracking/gru_x1.mat": "net",
    "jv/LSTM.mat": "net",
    "jv/biLSTM.mat": "net",
    "ecg/net.mat": "net",
    "pipe/LSTM.mat": "net",
    "traffic/trainedNetwork_v73.mat": "trainedNetwork",
}
REFUSED = {
    "untrained/layers_1.mat": ("layers_1", "not trained: this array is empty"),
    "dangling/gpu_handles_lost.mat": ("net", "gpuArray"),
}

every_net = pytest.mark.parametrize("file", NETS)


def listed(nets) -> dict[str, Any]:
    text = (nets / "manifest.json").read_text("utf-8")
    return {entry["file"]: entry for entry in json.loads(text)["files"]}


def test_the_list_is_complete(nets):
    entries = listed(nets)
    files = {file for file, e in entries.items() if file.endswith(".mat") and
             "variable" in e}  # fmt: skip
    assert files == set(NETS) | set(REFUSED)
    for file, variable in NETS.items():
        assert entries[file]["variable"] == variable
    for file, (variable, _) in REFUSED.items():
        assert entries[file]["variable"] == variable and "expect" in entries[file]


# --- what MATLAB recorded -------------------------------------------------------------


def error_of(nets, file, case=0) -> float:
    """What a plain NumPy forward in float64 reaches."""
    return listed(nets)[file]["cases"][case]["err"]


def assert_recorded(net, x, wanted, error, finish=lambda y: y):
    """Double precision within 1.5 times the floor, single within 4 times."""
    for dtype, factor in (("float64", 1.5), ("float32", 4)):
        with jax.enable_x64(dtype == "float64"):
            y = np.asarray(predict(net.astype(dtype), x), np.float64)
        found = finish(y)
        assert found.shape == wanted.shape and np.ptp(wanted) > 1e-3
        assert np.abs(found - wanted).max() <= factor * error, dtype


@pytest.mark.parametrize(("case", "given", "expected"), [
    (0, "dataTrainStandardized", "Ytrain"), (1, "inputdataStandardized", "YPred"),
])  # fmt: skip
def test_fenn_lstm(nets, case, given, expected):
    file = MatFile(nets / "fenn/LSTM.mat")
    wanted = file[expected].T
    assert_recorded(
        matlab.load(nets / "fenn/LSTM.mat"), file[given].T, wanted,
        error_of(nets, "fenn/LSTM.mat", case),
        lambda y: (y * file["sig"] + file["mu"])[: len(wanted)],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["fenn/Hepatitis_B.mat", "fenn/Varicella-Region.mat"])
def test_fenn_residual_networks(nets, name):
    file = MatFile(nets / name)
    assert_recorded(
        matlab.load(nets / name), file["dataTrainStandardized"].T, file["Ytrainres"],
        error_of(nets, name),
    )  # fmt: skip


def test_story(nets):
    """Its saved state is the one after the recorded run, which began at zero."""
    name = "story/net_story.mat"
    file, net = MatFile(nets / name), matlab.load(nets / name)
    wanted = file["YPred"].T
    assert_recorded(net, file["X"].T, wanted, error_of(nets, name))
    stale = predict(net, file["X"].T, state=net.saved)
    assert np.abs(stale - wanted).max() == pytest.approx(0.0147, abs=1e-4)
    assert "state in lstm" in saved_state(net)[0]


def test_compressor(nets):
    """All 176 labels that MATLAB's classify gave."""
    net = matlab.load(nets / "compressor/TrainedModel.mat")
    features = MatFile(nets / "compressor/ValidationFeatures.mat")["validationFeatures"]
    results = MatFile(nets / "compressor/ValidationResults.mat")["validationResults"]
    x = np.stack([sequence.T for sequence in features]).astype(np.float32)
    scores = jax.vmap(lambda sequence: predict(net, sequence))(x)
    said = tuple(net.classes[k] for k in np.argmax(scores, axis=1))
    assert len(said) == 176 and said == strings(results)


def test_eeg(nets, rng):
    """MATLAB's own export of the same weights to ONNX."""
    session = onnxruntime.InferenceSession(nets / "eeg/lstm_model.onnx")
    x = rng.normal(size=(57, 1, 20)).astype(np.float32)
    (wanted,) = session.run(None, {"sequenceinput": x})
    name = "eeg/LSTM0.1.2.mat"
    net = matlab.load(nets / name)
    assert_recorded(net, x[:, 0], np.ravel(np.asarray(wanted)), error_of(nets, name))


@pytest.mark.parametrize(("data", "error"), [("train_dataset", 0.27),
                                             ("test_dataset", 0.49)])  # fmt: skip
def test_ph_gru_follows_its_targets(nets, data, error):
    path = nets / "ph/gru_training_data_simple.mat"
    recorded = reference.plain(reference.read(path)[data].properties["Data"])
    u = recorded["u"]["signals"]["values"][:-1]
    wanted = recorded["x"]["signals"][2]["values"][1:]
    y = predict(matlab.load(path), u)
    assert np.sqrt(np.mean((y - wanted) ** 2)) == pytest.approx(error, abs=0.005)


# --- what the judge computes ----------------------------------------------------------


@every_net
def test_own_weights(nets, rng, file):
    net, judge = both(nets / file, variable=NETS[file])
    assert_agree(net, judge, inputs(net, rng, steps_of(net)))


def steps_of(net) -> int:
    return max(40, *(getattr(net.layers[name], "min_length", 1) for name in net.inputs))


def randomise(layers) -> None:
    """Random numbers of trained scale in place of every learnable array."""
    for fields in layers:
        for name, value in fields.items():
            array = value.get("Value") if isinstance(value, dict) else None
            if isinstance(array, np.ndarray) and "L2Factor" in value:
                # The two readers have the fields in different orders.
                seed = zlib.crc32(f"{fields['Name']} {name}".encode())
                rng = np.random.default_rng(seed)
                scale = 1.2 / np.sqrt(max(array.shape[-1], 4))
                drawn = rng.normal(size=array.shape) * (
                    0.5 if name == "Bias" else scale
                )
                value["Value"] = drawn.astype(np.float32)


@every_net
def test_random_weights(nets, rng, file):
    """A trained network may hide a mistake in weights that hardly matter."""
    opened = MatFile(nets / file)
    chosen = matlab.choose(opened, NETS[file])
    saved = [layer.values for layer in matlab.parse(chosen).layers]
    judge = reference.load(nets / file, NETS[file])
    for layers in (saved, [layer.fields for layer in judge.layers]):
        randomise(layers)
    net = matlab.build(chosen, opened)
    assert_agree(net, judge, inputs(net, rng, steps_of(net)), SINGLE)


@every_net
def test_weights_are_those_of_the_file_bit_for_bit(nets, file):
    net, judge = both(nets / file, variable=NETS[file])
    compared = 0
    for layer in judge.layers:
        found = net.layers[layer.name]
        if isinstance(found, Recurrent):
            arrays = matlab_arrays(found)
        else:
            arrays = {
                name: getattr(found, name.lower())
                for name in ("Weights", "Bias", "Scale", "Offset")
                if name in layer.fields
            }
        for name, array in arrays.items():
            wanted = layer.fields[name]["Value"]
            assert array.dtype == wanted.dtype == np.float32
            assert np.array_equal(
                np.ravel(array).view(np.uint32), np.ravel(wanted).view(np.uint32)
            )
            compared += 1
    assert compared >= 5


def test_denormal_weights_are_among_them(nets):
    """Remains of weights that L2 regularisation erased."""
    count = sum(
        int(np.sum((leaf != 0) & (np.abs(leaf) < np.finfo(np.float32).tiny)))
        for file in NETS
        for leaf in jax.tree.leaves(matlab.load(nets / file, NETS[file]))
    )
    assert count > 100


def test_ph_lstm_equals_the_gates_extracted_by_hand(nets):
    net = matlab.load(nets / "ph/lstm3_net.mat")
    by_hand = MatFile(nets / "ph/lstm3_extracted_parameters.mat")
    compared = 0
    for k, name in enumerate(net.recurrent):
        for letter, gate in (("i", "i"), ("f", "f"), ("c", "g"), ("o", "o")):
            found = getattr(net.layers[name], gate)
            for key, array in (
                ("W", found.input_weights),
                ("U", found.recurrent_weights),
                ("b", found.bias),
            ):
                wanted = by_hand[f"{key}{letter}_all"][k]
                assert array.tobytes() == np.ascontiguousarray(wanted).tobytes()
                compared += 1
    assert compared == 36


@pytest.mark.parametrize("file", REFUSED)
def test_refusals_say_why(nets, file):
    variable, reason = REFUSED[file]
    for choice in (None, variable):
        with pytest.raises(Unsupported) as caught:
            matlab.load(nets / file, choice)
        assert reason in str(caught.value)
        assert str(caught.value.place).startswith(f"{variable}.Layers('lstm')")


def test_the_state_belongs_to_what_a_run_continues(nets):
    """The judge again, now from the saved state of a network that was left moving."""
    net, judge = both(nets / "story/net_story.mat", variable="net")
    x = MatFile(nets / "story/net_story.mat")["X"].T[:20]
    wanted = judge.forward(as_matlab(net, (x,)), "saved")
    with jax.enable_x64(True):
        double = net.astype("float64")
        y = np.asarray(predict(double, x, state=double.saved))
    assert np.abs(y.T - wanted).max() <= 1e-12
