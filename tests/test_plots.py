"""Pictures: that they hold what was given, read back from the figure's own data."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from jlstm import plots
from jlstm.errors import InputError


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are written."""
    kept = []
    original = Figure.savefig

    def savefig(self, *args, **kwargs):
        kept.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept


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


def test_unknown_kind_of_picture(tmp_path):
    with pytest.raises(InputError, match="no kind of picture"):
        plots.comparison(tmp_path / "a.xyz", np.ones(3), np.ones(3))
    assert not list(tmp_path.iterdir())
