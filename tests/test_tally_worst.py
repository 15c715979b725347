"""The worst sequences: against a full sort of all of them."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from jlstm.errors import DamagedFile, InputError
from jlstm.tally import Worst, sequence_row
from jlstm.tally.worst import MOST_STEPS, Signal


def predicted(rng, count=80, steps=12, outputs=2):
    """Sequences of random quality; some constant, some not finite, some unscored."""
    found = []
    for k in range(count):
        t = rng.normal(size=(steps, outputs))
        y = t + rng.normal(size=t.shape) * rng.exponential()
        if k % 7 == 0:
            t[:] = 1.0
        if k % 19 == 0:
            y[3, 1] = np.nan
        if k % 11 == 0:
            t[:] = np.nan
        found.append((f"s{k:03}", rng.normal(size=(steps, 3)), y, t))
    return found


def shown(some, classes=False, count=10):
    worst = Worst(count)
    for name, x, y, t in some:
        worst.add(sequence_row(name, y, t, classes), x, y, t)
    return worst


def names(worst):
    return [entry.row["sequence"] for entry in worst.entries]


def expected_order(some):
    """Not finite first, then by NSE, then the constant ones by error."""

    def place(one):
        name, _, y, t = one
        error = np.sqrt(np.mean((y - t) ** 2))
        if not math.isfinite(error):
            return 0, 0, name
        if np.ptp(t) == 0:
            return 2, -error, name
        nse = 1 - ((y - t) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)
        return 1, nse.mean(), name

    return [
        o[0] for o in sorted((o for o in some if not np.isnan(o[3]).all()), key=place)
    ]


@pytest.mark.parametrize("count", [1, 10, 200])
def test_they_are_those_of_a_full_sort_however_they_are_merged(rng, count):
    some = predicted(rng)
    expected = expected_order(some)[:count]
    assert names(shown(some, count=count)) == expected
    for _ in range(3):
        order = rng.permutation(len(some))
        parts = [
            shown([some[k] for k in part], count=count)
            for part in np.array_split(order, 9)
        ]
        found = functools.reduce(Worst.merge, parts)
        assert names(found) == expected
        assert len(found.entries) == min(count, len(expected))


def test_ties_are_broken_by_name(rng):
    _, x, y, t = predicted(rng)[1]
    some = [(f"n{k:02}", x, y, t) for k in rng.permutation(30)]
    expected = [f"n{k:02}" for k in range(10)]
    assert names(shown(some)) == expected
    assert names(shown(some[:15]).merge(shown(some[15:]))) == expected


def test_single_answers_are_ordered_by_their_error(rng):
    some = [
        (f"{k}", rng.normal(size=(5, 1)), rng.normal(size=2), np.zeros(2))
        for k in range(40)
    ]
    errors = {name: -np.linalg.norm(y) for name, _, y, _ in some}
    assert names(shown(some)) == sorted(errors, key=lambda name: errors[name])[:10]


def test_classes_are_ordered_by_cross_entropy(rng):
    some = []
    for k in range(40):
        y, label = rng.dirichlet(np.ones(3), size=8), rng.integers(3, size=8)
        some.append((f"{k:02}", None, y, np.eye(3)[label]))
    entropy = {name: -np.sum(t * np.log(y)) for name, _, y, t in some}
    expected = sorted(entropy, key=lambda name: -entropy[name])[:10]
    worst = shown(some, classes=True)
    assert names(worst) == expected
    _, _, y, t = some[int(expected[0])]
    signals = worst.entries[0].signals
    np.testing.assert_array_equal(signals["target"].values[:, 0], t.argmax(1))
    np.testing.assert_array_equal(signals["y"].values[:, 0], y.argmax(1))
    np.testing.assert_array_equal(signals["y"].values[:, 1], y[t > 0])


def test_a_file_and_back(rng, tmp_path):
    some = predicted(rng)
    worst = Worst(4)
    for name, x, y, t in some:
        band = (y - 1, y + 1)
        worst.add(sequence_row(name, y, t), (x, {"no": "curve"}, x[:, 0]), y, t, band)
    worst.save(tmp_path / "w.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]
    back = Worst.load(tmp_path / "w.npz")
    assert back.count == 4 and len(back.entries) == 4
    for mine, theirs in zip(worst.entries, back.entries, strict=True):
        assert repr(mine.row) == repr(theirs.row)
        assert list(theirs.signals) == ["y", "target", "low", "high", "x1"]
        for name in mine.signals:
            for a, b in zip(mine.signals[name], theirs.signals[name], strict=True):
                np.testing.assert_array_equal(a, b)
    worst.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "w.npz").read_bytes()


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    with pytest.raises(InputError, match="cannot be read"):
        Worst.load(path)
    Worst().save(path)
    assert Worst.load(path).entries == ()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    for data in (whole[:-30], b"", b"no archive", bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(DamagedFile):
            Worst.load(path)
    np.savez(path, about=np.array('{"count": 1}'))
    with pytest.raises(DamagedFile):
        Worst.load(path)


class TestThinning:
    def test_short_ones_stay_as_they_are(self, rng):
        values = rng.normal(size=(MOST_STEPS, 2))
        steps, found = Signal.of(values)
        np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(steps, np.arange(MOST_STEPS))

    @pytest.mark.parametrize("steps", [MOST_STEPS + 1, 3333, 50_000])
    def test_extremes_of_every_bin_are_kept_in_their_order(self, rng, steps):
        values = rng.normal(size=(steps, 2))
        values[700], values[1500, 0] = 99, -99
        values[100:400, 1] = np.nan
        found = Signal.of(values)
        assert found.values.shape == (MOST_STEPS, 2) and np.all(
            np.diff(found.steps) > 0
        )
        edges = [*found.steps[::2], steps]
        assert edges[0] == 0
        for k in range(0, MOST_STEPS // 2, 7):
            part, kept = (
                values[edges[k] : edges[k + 1]],
                found.values[2 * k : 2 * k + 2],
            )
            for column in (0, 1):
                inside = part[:, column][~np.isnan(part[:, column])]
                if not inside.size:
                    assert np.isnan(kept[:, column]).all()
                    continue
                assert (kept[:, column].min(), kept[:, column].max()) == (
                    inside.min(), inside.max(),
                )  # fmt: skip
        assert np.nanmax(found.values) == 99 and np.nanmin(found.values) == -99
        up = Signal.of(np.arange(5000.0)[:, None]).values[:, 0]
        assert np.all(np.diff(up) >= 0) and up[-1] == 4999
        down = Signal.of(-np.arange(5000.0)[:, None]).values[:, 0]
        assert np.all(np.diff(down) <= 0)

    def test_what_is_kept_is_bounded(self, rng):
        t = rng.normal(size=(30_000, 1))
        worst = shown([(f"{k}", np.ones((30_000, 40)), t + k, t) for k in range(12)])
        sizes = [
            sum(part.size for signal in entry.signals.values() for part in signal)
            for entry in worst.entries
        ]
        assert len(sizes) == 10 and max(sizes) < 9 * MOST_STEPS + 1

    def test_no_batch_is_kept_alive(self, rng):
        batch = rng.normal(size=(50, 20, 2))
        entry = shown([("a", batch[0], batch[1], batch[2])]).entries[0]
        for signal in entry.signals.values():
            assert not np.shares_memory(signal.values, batch)
