"""Modules saved whole, scripted modules, safetensors: read, never executed."""

from __future__ import annotations

import sys
import types
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn
from torch_cases import INPUTS, Case, Parts, answer, inputs, randomised, stack

import jlstm as jl
from jlstm.errors import Ambiguous, DamagedFile, InputError, Unsupported
from jlstm.formats import pytorch


def whole(module, path, **options):
    torch.save(module, path, **options)
    return path


def check(path, case, layers=None):
    net, _ = pytorch.load(path, layers)
    x = inputs(case)
    np.testing.assert_allclose(
        jl.predict(net, x), answer(case, x), rtol=1e-11, atol=1e-12
    )
    return net


@pytest.mark.filterwarnings("ignore:.*source.*")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_sequential_tells_all_about_itself(legacy, tmp_path, double):
    module = nn.Sequential(
        nn.Linear(INPUTS, 6, bias=False),
        nn.LayerNorm(6, eps=0.1),
        nn.Sequential(nn.LeakyReLU(0.3), nn.Dropout(0.2), nn.Linear(6, 4)),
        nn.ELU(0.7),
        nn.Hardtanh(0, 1.5),
        nn.GELU("tanh"),
        nn.PReLU(4),
        nn.GRU(4, 5, num_layers=2, bidirectional=True, batch_first=True, dropout=0.1),
    )
    # nn.PReLU itself takes the second axis, so that it needs one slope here.
    module[6] = nn.PReLU()
    case = Case(randomised(module), [], lambda m, x: m(x)[0])
    options = {"_use_new_zipfile_serialization": not legacy}
    net = check(whole(module, tmp_path / "net.pt", **options), case)
    assert net.origin.kind == "module torch.nn.modules.container.Sequential"
    assert net.layers["2.1"].probability == 0.2
    assert [type(layer).__name__ for layer in net.layers.values()][
        -1
    ] == "Bidirectional"


def test_a_sequential_of_convolutions(tmp_path, double):
    module = nn.Sequential(
        nn.Conv1d(INPUTS, 4, 3, padding=2, dilation=2),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.MaxPool1d(2, 1),
        nn.AvgPool1d(2, 1, 1, count_include_pad=False),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
        nn.Softmax(1),
    )
    case = Case(randomised(module), [], lambda m, x: m(x.transpose(1, 2)))
    check(whole(module, tmp_path / "net.pt"), case)


def test_a_recurrent_layer_alone(tmp_path, double):
    module = randomised(nn.LSTM(INPUTS, 5, 2, proj_size=4, batch_first=True))
    case = Case(module, [], lambda m, x: m(x)[0])
    check(whole(module, tmp_path / "net.pt"), case)
    module = randomised(nn.RNN(INPUTS, 5, nonlinearity="relu", batch_first=True))
    check(whole(module, tmp_path / "net.pt"), Case(module, [], lambda m, x: m(x)[0]))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([nn.Conv1d(3, 4, 2), nn.Linear(6, 2)], "acts along time"),
        ([nn.Linear(3, 4), nn.Conv1d(4, 4, 2)], "after layers that mix features"),
        ([nn.LSTM(3, 4), nn.Linear(4, 2)], "a tuple"),
        ([nn.Embedding(3, 4, max_norm=1.0)], "max_norm"),
        ([nn.Linear(3, 4), nn.Softmax(0)], "dim"),
        ([nn.Linear(3, 4), nn.Hardtanh()], "min_val"),
        ([nn.Linear(3, 4), nn.Softplus(beta=2.0)], "beta"),
        ([nn.BatchNorm1d(3, track_running_stats=False)], "running_mean"),
        ([nn.Conv1d(3, 4, 2, padding_mode="circular", padding=1)], "padding_mode"),
        ([nn.MaxPool1d(2, ceil_mode=True)], "ceil_mode"),
    ],
)
def test_a_sequential_that_is_refused(parts, words, tmp_path):
    module = nn.Sequential(*parts)
    with pytest.raises((Unsupported, InputError)) as caught:
        pytorch.load(whole(module, tmp_path / "net.pt"))
    assert words in str(caught.value)


def test_hooks_are_refused(tmp_path):
    module = nn.Sequential(nn.Linear(3, 4))
    module[0].register_forward_hook(torch.nn.functional.relu)
    with pytest.raises(Unsupported, match="hooks") as caught:
        pytorch.load(whole(module, tmp_path / "net.pt"))
    assert "_forward_hooks" in str(caught.value)


class Own(nn.Module):
    """A module of somebody's own; its code must not be needed."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(INPUTS, 5, nonlinearity="relu", batch_first=True)
        self.norm = nn.LayerNorm(5, eps=0.1)
        self.act = nn.LeakyReLU(0.3)
        self.fc = nn.Linear(5, 2)
        self.register_buffer("spare", torch.ones(2))
        self.steps = 7

    def forward(self, x):
        return self.fc(self.act(self.norm(self.rnn(x)[0][:, -1])))


def saved_by_somebody(path):
    """A pickle whose module cannot be imported any more."""
    gone = types.ModuleType("gone_away")
    sys.modules["gone_away"] = gone
    name, Own.__module__ = Own.__module__, "gone_away"
    gone.Own = Own  # pyright: ignore[reportAttributeAccessIssue]
    try:
        module = randomised(Own())
        torch.save({"model": module, "epoch": 1}, path)
    finally:
        Own.__module__ = name
        del sys.modules["gone_away"]
    return module


TOLD = [
    {"type": "rnn", "name": "rnn", "output_mode": "last"},
    {"type": "layernorm", "name": "norm"},
    {"type": "leakyrelu", "name": "act"},
    {"type": "linear", "name": "fc"},
    {"type": "unused", "name": "spare"},
]


def test_a_module_of_somebodys_own_gives_its_settings(tmp_path, double):
    path = tmp_path / "net.pt"
    case = Case(saved_by_somebody(path), [], lambda m, x: m(x))
    with pytest.raises(Ambiguous) as caught:
        pytorch.load(path)
    text = str(caught.value)
    for part in ('type = "rnn"', 'name = "norm"', 'type = "leakyrelu"', "output_mode"):
        assert part in text
    assert "nonlinearity" not in text and "eps" not in text
    net = check(path, case, TOLD)
    assert net.origin.kind == "module gone_away.Own"
    assert net.origin.ignored == ("epoch", "spare")


def test_a_description_that_contradicts_a_saved_module(tmp_path):
    path = tmp_path / "net.pt"
    saved_by_somebody(path)
    for place, change, words in (
        (0, {"nonlinearity": "tanh"}, "'relu', as the module was saved"),
        (1, {"eps": 1e-5}, "0.1, as the module was saved"),
        (2, {"type": "elu"}, "LeakyReLU"),
    ):
        layers = [dict(entry) for entry in TOLD]
        layers[place] |= change
        with pytest.raises(InputError, match="contradicts the file") as caught:
            pytorch.load(path, layers)
        assert words in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_scripted_module(tmp_path, double):
    case = stack("lstm", 2, True)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = case.module.body, case.module.head

        def forward(self, x):
            y, _ = self.body(x)
            return self.head(y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Net()), tmp_path / "net.pt")
    with pytest.raises(Ambiguous) as caught:
        pytorch.load(tmp_path / "net.pt")
    assert 'type = "lstm"' in str(caught.value)
    net = check(tmp_path / "net.pt", case, case.layers)
    assert net.origin.kind == "TorchScript"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_safetensors_of_torch(dtype, tmp_path):
    case = stack("lstm", 1, False)
    path = tmp_path / "net.safetensors"
    tensors = {k: v.to(dtype) for k, v in case.module.state_dict().items()}
    save_file(tensors, path, {"format": "pt"})
    assert pytorch.recognises(path)
    net, _ = pytorch.load(path, case.layers)
    assert net.dtype == (np.float64 if dtype is torch.float64 else np.float32)
    found = net.layers["head"]
    expected = tensors["head.weight"].to(torch.float64).numpy()
    np.testing.assert_array_equal(found.weights, expected)
    with pytest.raises(Ambiguous, match="does not tell"):
        pytorch.load(path)
    with pytest.raises(Unsupported, match="no variables"):
        pytorch.load(path, case.layers, "model")
    data = path.read_bytes()
    for end in (7, 20, 200, len(data) - 1):
        path.write_bytes(data[:end])
        if pytorch.recognises(path):  # by its beginning
            with pytest.raises(DamagedFile, match="not a complete"):
                pytorch.load(path, case.layers)
        else:
            assert end <= 20
    path.write_bytes(data[:8] + data[8:].replace(b'"F64"', b'"F63"'))
    if dtype is torch.float64:
        with pytest.raises((DamagedFile, Unsupported)):
            pytorch.load(path, case.layers)


def test_native_files_are_not_taken_for_torchs(tmp_path):
    case = stack("lstm", 1, False)
    torch.save(case.module.float().state_dict(), tmp_path / "net.pt")
    net, _ = pytorch.load(tmp_path / "net.pt", case.layers)
    jl.save(net, tmp_path / "net.safetensors")
    assert not pytorch.recognises(tmp_path / "net.safetensors")


def test_parts_of_a_module_keep_their_settings(tmp_path, double):
    module = randomised(
        Parts(conv=nn.Conv1d(INPUTS, 4, 3, stride=2, groups=1), head=nn.Linear(4, 2))
    )
    case = Case(
        module, [], lambda m, x: m.head(m.conv(x.transpose(1, 2)).transpose(1, 2))
    )
    layers = [{"type": "conv1d", "name": "conv"}, {"type": "linear", "name": "head"}]
    check(whole(module, tmp_path / "net.pt"), case, layers)


# --- checkpoints of other people ------------------------------------------------------

NORMS = {
    "old": torch.nn.utils.weight_norm,
    "new": torch.nn.utils.parametrizations.weight_norm,
}


class Normed(nn.Module):
    """A convolution and a recurrent layer with weight normalisation."""

    def __init__(self, norm, dim):
        super().__init__()
        self.conv = norm(nn.Conv1d(INPUTS, 4, 2), dim=dim)
        self.rnn = norm(nn.LSTM(4, 5, batch_first=True), "weight_hh_l0")
        norm(self.rnn, "weight_ih_l0", dim=1)

    def forward(self, x):
        return self.rnn(self.conv(x.mT).mT)[0]


NORMED = [
    {"type": "conv1d", "name": "conv", "stride": 1, "padding": 0, "dilation": 1,
     "groups": 1},
    {"type": "lstm", "name": "rnn", "output_mode": "sequence"},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("norm, dim", [("old", 0), ("old", None), ("new", 1)])
def test_weight_normalisation(norm, dim, tmp_path, double):
    net = randomised(Normed(NORMS[norm], dim))
    case = Case(net, NORMED, lambda m, x: m(x))
    path = tmp_path / "net.pt"
    torch.save(net.state_dict(), path)
    read, _ = pytorch.load(path, NORMED)
    x = inputs(case)
    np.testing.assert_allclose(
        np.asarray(jl.predict(read, x)), answer(case, x), rtol=1e-11, atol=1e-12
    )
    assert any("conv.weight" in notice for notice in read.origin.notices)


def test_other_parametrizations_are_refused_by_name(tmp_path):
    layer = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(INPUTS, 2))
    torch.save(layer.state_dict(), tmp_path / "net.pt")
    with pytest.raises(InputError, match="remove_parametrizations"):
        pytorch.load(tmp_path / "net.pt", [{"type": "linear"}])


def test_losses_and_functions_beside_the_weights_are_no_networks(tmp_path, double):
    case = stack("gru", 1, False)
    found = {
        "net": case.module.state_dict(),
        "criterion": nn.CrossEntropyLoss(weight=torch.ones(2)),
        "hyper_parameters": {"activation": nn.ReLU()},
    }
    torch.save(found, tmp_path / "net.pt")
    read, _ = pytorch.load(tmp_path / "net.pt", case.layers)
    x = inputs(case)
    np.testing.assert_allclose(
        np.asarray(jl.predict(read, x)), answer(case, x), rtol=1e-11, atol=1e-12
    )


def test_weights_in_a_tuple(tmp_path):
    case = stack("gru", 1, False)
    optimiser = torch.optim.Adam(case.module.parameters())
    found = (case.module.state_dict(), optimiser.state_dict())
    torch.save(found, tmp_path / "net.pt")
    read, _ = pytorch.load(tmp_path / "net.pt", case.layers)
    assert read.origin.variable == "0"


def test_shared_tensors_of_safetensors(tmp_path):
    net = nn.ModuleDict({"a": nn.Linear(INPUTS, INPUTS), "b": nn.Linear(3, 3)})
    net["b"].weight = net["a"].weight
    save_model(net, str(tmp_path / "net.safetensors"))
    layers = [{"type": "linear", "name": "a"}, {"type": "linear", "name": "b"}]
    read, _ = pytorch.load(tmp_path / "net.safetensors", layers)
    for name in "ab":
        np.testing.assert_array_equal(
            read.layers[name].weights, net["a"].weight.detach().numpy()
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_frozen_scripts_are_refused_by_name(tmp_path):
    frozen = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Linear(3, 2)).eval()))
    frozen.save(str(tmp_path / "net.pt"))
    with pytest.raises(Unsupported, match=r"torch\.jit\.freeze"):
        pytorch.load(tmp_path / "net.pt", [{"type": "linear", "name": "0"}])
