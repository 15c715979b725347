"""Two arrays compared, by hand."""

from __future__ import annotations

import numpy as np

from jlstm.comparison import compare


def test_compare():
    """By hand: 4 steps of 2 columns."""
    ours = np.array([[1.0, 2], [1, 2], [1, 2], [1, 2]] * 2)
    recorded = ours.copy()
    recorded[3, 1] = 2.5
    recorded[6, 0] = 1.25
    limit = np.full(ours.shape, 0.1)
    limit[6, 0] = 0.01
    levels = {"single": limit, "half": limit * 100}
    found = compare("y", ours, recorded, limit, levels)
    assert (found.max_abs, found.max_rel) == (0.5, 0.2)
    assert (found.step, found.excess, found.tolerance) == (6, 25, 0.01)
    assert found.first_bad_step == 3 and not found.ok
    assert found.level is None  # above half a percent of the signal
    assert found.growth == np.inf
    assert compare("y", ours, recorded, limit * 25, levels).ok
    same = compare("y", ours, ours, limit, levels)
    assert same.ok and same.level == "single" and same.growth == 1
    small = compare("y", ours, ours + 0.009, limit / 20, {"single": limit / 20,
                                                           "half": limit})  # fmt: skip
    assert not small.ok and small.level == "half"
    nothing = compare("y", ours * 0, ours * 0, limit, levels)
    assert nothing.max_rel == 0 and nothing.ok
    off = compare("y", ours, ours * 0, limit, levels)
    assert off.max_rel == np.inf
