"""The configuration: every wrong key and value is named, and nothing is passed over."""

import math
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import tomli_w

from jlstm.config import Data, FineTuneConfig, as_config, read_config
from jlstm.errors import InputError

CONFIGS = Path(__file__).parent.parent / "configs" / "finetune"
TOML = """
solver = "sgdm"
initial_learn_rate = 0.05
max_epochs = 7
freeze = ["*.bias", "layers['fc'].*"]
seed = 3

[data]
inputs = ["rain", "T air"]
window = 100
overlap = 99
washout = 10
validation = 0.25
"""
"""Of every kind of value one, as somebody writes it."""


def refused(given, place="config"):
    with pytest.raises(InputError) as caught:
        as_config(given, place)
    return caught.value


# --- what is said, and what is not ----------------------------------------------------


def test_nothing_said_is_every_default():
    assert as_config({}) == as_config(None) == FineTuneConfig()
    # Those that `trainingOptions` of MATLAB has, by its reference page.
    config = FineTuneConfig()
    assert (config.max_epochs, config.mini_batch_size) == (30, 128)
    assert (config.learn_rate_drop_factor, config.learn_rate_drop_period) == (0.1, 10)
    assert (config.gradient_decay_factor, config.momentum) == (0.9, 0.9)
    assert (config.epsilon, config.gradient_threshold) == (1e-8, None)
    assert config.gradient_threshold_method == "l2norm"
    assert config.sequence_padding_direction == "right"
    assert config.sequence_padding_value == 0
    # And those that are no option of it.
    assert (config.semantics, config.loss, config.seed) == ("exact", "auto", 0)
    assert (config.only, config.freeze, config.lora_rank) == ((), (), 0)
    assert config.data == Data(window=0, overlap=0, washout=0, validation=0.2, test=0)
    assert (config.data.split_by, config.data.nan) == ("time", "mask")


def test_what_is_said_is_taken_and_the_rest_stays():
    config = as_config({"solver": "lbfgs", "data": {"targets": ["q"], "test": 0.1}})
    assert config == FineTuneConfig(solver="lbfgs", data=Data(targets=("q",), test=0.1))
    assert as_config(config) == config


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        as_config({}).seed = 1
    with pytest.raises(AttributeError):
        as_config({}).data.window = 1


# --- what cannot be -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "key", "inside"),
    [
        ({"learn_rate": 0.1}, "learn_rate", ""),
        ({"MaxEpochs": 3}, "MaxEpochs", ""),
        ({"data": {"input": ["a"]}}, "input", "$.data"),
        ({"window": 4}, "window", ""),
    ],
)
def test_an_unknown_key(given, key, inside):
    error = refused(given)
    assert error.summary == "not a configuration" and error.place == "config"
    assert f"`{key}`" in error.found and inside in error.found
    assert "jlstm finetune --help" in error.do


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("solver", "Adam"),
        ("semantics", "MATLAB"),
        ("loss", "crossentropy"),
        ("initial_learn_rate", 0),
        ("initial_learn_rate", "0.1"),
        ("initial_learn_rate", math.nan),
        ("gradient_decay_factor", 1),
        ("gradient_threshold", -1.0),
        ("l2_regularization", -1e-4),
        ("epsilon", 0.0),
        ("max_epochs", 0),
        ("max_epochs", 2.5),
        ("mini_batch_size", 0),
        ("score_padding", 1),
        ("validation_patience", -1),
        ("lora_rank", -1),
        ("seed", -1),
        ("seed", 1.5),
        ("freeze", "*.bias"),
        ("data", []),
        ("data.window", -1),
        ("data.overlap", -1),
        ("data.washout", -1),
        ("data.validation", 1),
        ("data.test", -0.1),
        ("data.split_by", "row"),
        ("data.nan", "zero"),
        ("data.inputs", [1]),
    ],
)
def test_a_value_that_is_not_possible(key, value):
    *outer, name = key.split(".")
    given = {name: value}
    for group in outer:
        given = {group: given}
    error = refused(given, "run.toml")
    assert error.summary == "not a configuration" and error.place == "run.toml"
    assert f"$.{key}" in error.found


def test_what_is_no_dictionary():
    for given in ("adam", 3, ["seed"]):
        assert refused(given).summary == "not a configuration"


@pytest.mark.parametrize("name", ["overlap", "washout"])
def test_what_is_as_long_as_the_window(name):
    for length in (8, 9):
        error = refused({"data": {"window": 8, name: length}})
        assert error.summary == f"{name} is as long as the window"
        assert error.found == f"{name} {length}, window 8"
    data = as_config({"data": {"window": 8, name: 7}}).data
    assert (data.window, getattr(data, name)) == (8, 7)


def test_an_overlap_needs_windows_and_a_washout_does_not():
    error = refused({"data": {"overlap": 1}})
    assert error.summary == "an overlap of no windows"
    assert error.found == "overlap 1, window 0" and "data.window" in error.do
    assert as_config({"data": {"washout": 5}}).data.washout == 5


def test_something_is_left_to_train_on():
    for validation, test in ((0.5, 0.5), (0.3, 0.8)):
        error = refused({"data": {"validation": validation, "test": test}}, "here")
        assert error.summary == "nothing is left to train on"
        assert error.place == "here"
        assert error.found == f"validation {validation}, test {test}"
    data = as_config({"data": {"validation": 0.5, "test": 0.49}}).data
    assert data.test == 0.49


# --- TOML -----------------------------------------------------------------------------


def test_a_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    expected = FineTuneConfig(
        solver="sgdm",
        initial_learn_rate=0.05,
        max_epochs=7,
        freeze=("*.bias", "layers['fc'].*"),
        seed=3,
        data=Data(
            inputs=("rain", "T air"),
            window=100,
            overlap=99,
            washout=10,
            validation=0.25,
        ),
    )
    assert read_config(path) == expected
    # A whole number is a rate as well.
    path.write_text("initial_learn_rate = 1")
    assert read_config(path).initial_learn_rate == 1.0
    path.write_text("")
    assert read_config(path) == FineTuneConfig()


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "run.toml"
    config = as_config({"only": ["*.W"], "anchor": 0.5, "data": {"window": 9}})
    values = msgspec.to_builtins(config)
    given = {key: value for key, value in values.items() if value is not None}
    path.write_text(tomli_w.dumps(given))
    assert read_config(path) == config


@pytest.mark.parametrize(
    "content",
    [b"seed = ", b"seed = 1\nseed = 2", b"[data\n", b'solver = "\xff"', b"\xff\xfe"],
)
def test_a_broken_file(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_config(path)
    assert caught.value.place == str(path) and caught.value.found


def test_no_file(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_config(path)
        assert caught.value.place == str(path)


def test_an_error_in_a_file_says_which(tmp_path):
    path = tmp_path / "run.toml"
    for text, summary in (
        ("epochs = 3", "not a configuration"),
        ("[data]\noverlap = 4\nwindow = 4", "overlap is as long as the window"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=summary) as caught:
            read_config(path)
        assert caught.value.place == str(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_the_examples_are_configurations_with_a_comment_above_every_key(path):
    read_config(path)
    lines = path.read_text("utf-8").splitlines()
    for above, line in pairwise(lines):
        if line and not line.startswith("#"):
            # A comment may stand above a few keys that belong together.
            assert above.startswith("#") or "=" in above or line.startswith("["), line
