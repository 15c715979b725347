"""The figures that the READMEs of experiments 01 and 02 claim."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


def script(folder: str):
    """The experiment's run.py as a module; its neighbours are imported by name."""
    path = EXPERIMENTS / folder
    sys.path.insert(0, str(path))
    try:
        spec = importlib.util.spec_from_file_location(f"run_{folder}", path / "run.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path))
    return module


@pytest.fixture(scope="module")
def mismatch():
    return script("01_formula_mismatch")


@pytest.fixture(scope="module")
def order():
    return script("02_weight_order")


def test_the_loop_of_the_question_is_diagnosed_and_mended(mismatch):
    figures, asked, right = mismatch.embedded()
    errors = figures["errors"]
    assert errors["lstm_1"][0] == 0
    assert errors["lstm_2"][0] == pytest.approx(0.13, abs=0.005)
    assert errors["fc"].max() == pytest.approx(13.2, abs=0.1)
    assert figures["spread"] == pytest.approx(3.72, abs=0.005)
    found = figures["diagnosis"]
    assert found.verdict == "explained"
    (mistake,) = found.findings[0].mistakes
    assert (mistake.name, set(mistake.layers)) == ("shared-state", {"lstm_1", "lstm_2"})
    assert found.findings[0].max_abs < 1e-6 < 10 < found.max_abs
    assert figures["mended - recorded"] < 1e-13
    assert figures["mended - layers"] < 1e-7
    assert figures["mended - predict"] < 1e-5
    assert right["fc"].shape == asked["fc"].shape == (240, 2)


def test_neither_gate_order_nor_precision_explains_it(mismatch):
    figures = mismatch.suspicions()
    assert min(figures["asked"].values()) > 8
    others = [e for gates, e in figures["mended"].items() if gates != "ifgo"]
    assert len(others) == 23 and min(others) > 7.9
    assert figures["mended"]["ifgo"] == figures["mended, double"] < 1e-13
    assert figures["asked, single - double"] < 1e-5
    assert figures["mended, single"] < 1e-5


def test_layers_of_unequal_size_stop_the_loop(mismatch, nets):
    net = mismatch.jl.load(nets / "tracking/relu_x2.mat")
    p, x = mismatch.extract(net), mismatch.table(mismatch.signal())
    for units in (128, 81, 45):
        with pytest.raises(ValueError, match="dimensions do not agree"):
            mismatch.as_asked(p, x, units)
    right = mismatch.mended(p, x)["fc"]
    np.testing.assert_allclose(right, mismatch.jl.predict(net, x[:, 1:]), atol=5e-7)


@pytest.mark.parametrize(
    ("name", "reset"), [("fenn/LSTM.mat", 0.26), ("story/net_story.mat", 0.026)]
)
def test_matlab_carries_the_state(mismatch, nets, name, reset):
    carried, zero = mismatch.regression_errors(nets, name)
    assert carried < 1e-6
    assert zero == pytest.approx(reset, rel=0.02)


def test_labels(mismatch, nets):
    figures = mismatch.labels_kept(nets)
    assert figures["sequences"] == figures["carried"] == 176
    assert (figures["carried, single"], figures["reset"]) == (176, 43)


def test_one_reading_of_the_rows_gives_what_matlab_recorded(order, nets):
    errors = order.errors(order.recorded(nets, "fenn/LSTM.mat"))
    assert len(errors) == 96
    assert errors.pop(order.MATLAB) < 1e-6
    nearest = min(errors, key=errors.__getitem__)
    assert (str(nearest), errors[nearest]) == (
        "o f g i, grouped",
        pytest.approx(0.13, abs=0.005),
    )


def test_the_readings_are_what_they_are_called(order):
    rows = {
        grouped: [
            sys.modules["readings"]
            .rows_of(order.Reading("ifgo", grouped, False), gate, 3)
            .tolist()
            for gate in "ifgo"
        ]
        for grouped in (True, False)
    }
    assert rows[True] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert rows[False] == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
