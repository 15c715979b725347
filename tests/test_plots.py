"""Pictures: that they hold what was given, read back from the figure's own data."""

import sys

import numpy as np
import pytest
from finetuned import kept_figures

from jlstm import plots
from jlstm.errors import InputError, JlstmError


@pytest.fixture
def drawn(monkeypatch):
    return kept_figures(monkeypatch)


def test_curves_and_their_difference(tmp_path, drawn, rng):
    expected = rng.normal(size=(30, 2))
    predicted = expected + 1e-6
    other = expected + 0.5
    plots.comparison(
        tmp_path / "a.png", predicted, expected, others={"wrong": other}, tolerance=1e-5
    )
    (figure,) = drawn
    first, second, below = figure.axes
    for k, axes in enumerate((first, second)):
        curves = [line.get_ydata() for line in axes.lines]
        for found, given in zip(curves, (expected, predicted, other), strict=True):
            np.testing.assert_array_equal(found, given[:, k])
    error, wrong, limit = (line.get_ydata() for line in below.lines)
    np.testing.assert_allclose(error, 1e-6, rtol=1e-6)
    np.testing.assert_allclose(wrong, 0.5)
    assert set(limit) == {1e-5} and below.get_yscale() == "log"


def test_a_single_vector_becomes_bars(tmp_path, drawn, rng):
    scores = rng.random(5)
    plots.comparison(tmp_path / "a.svg", scores, scores)
    heights = [bar.get_height() for bar in drawn[0].axes[0].patches]
    np.testing.assert_array_equal(heights, np.r_[scores, scores])


def test_outputs_without_a_panel_are_said_to_have_none(tmp_path, drawn, rng):
    many = rng.normal(size=(9, 6))
    plots.comparison(tmp_path / "a.png", many, many + 1, title="a.mat")
    plots.comparison(tmp_path / "b.png", many[:, :4], many[:, :4] + 1, title="a.mat")
    titles = [figure.axes[0].get_title() for figure in drawn]
    assert titles == ["a.mat (the first 4 of 6 outputs)", "a.mat"]
    assert [len(figure.axes) for figure in drawn] == [5, 5]


def test_a_file_name_is_no_formula(tmp_path, drawn):
    title = "a$_b$c {.mat: \\frac"
    plots.comparison(tmp_path / "a.png", np.ones((3, 1)), np.ones((3, 1)), title=title)
    assert drawn[0].axes[0].get_title().replace(r"\$", "$") == title
    plots.comparison(tmp_path / "b.png", np.ones(3), np.ones(3), title="压力")


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(JlstmError, match="need matplotlib") as found:
        plots.comparison(tmp_path / "a.png", np.ones(3), np.ones(3))
    assert "jlstm[plot]" in str(found.value)


def test_unknown_kind_of_picture(tmp_path):
    with pytest.raises(InputError, match="no kind of picture"):
        plots.comparison(tmp_path / "a.xyz", np.ones(3), np.ones(3))
    assert not list(tmp_path.iterdir())
