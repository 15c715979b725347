"""`jlstm forecast`, its table and its pictures, against forecasts in Python."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from finetuned import kept_figures
from networks import lstm, normal

from jlstm import formats
from jlstm import layers as L
from jlstm.cli import main
from jlstm.closedloop.forecast import errors_ahead
from jlstm.forecasting import forecast
from jlstm.network import Network

TIME, STEPS = 40, 5
NAMES = "rain,level,wind"
RULE = {1: 1, 2: 0}
"""level=y2,wind=y1"""


def net_of(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    dense = L.FullyConnected(normal(rng, 2, 4) / 3, normal(rng, 2))
    return Network.build({"in": L.Input((3,)), "lstm": lstm(rng, 4, 3), "fc": dense})


@pytest.fixture
def x(rng):
    return rng.normal(size=(TIME, 3)).astype("f4").astype(float)


@pytest.fixture
def u(rng):
    return rng.normal(size=(STEPS, 1)).astype("f4").astype(float)


@pytest.fixture
def folder(tmp_path, x, u):
    """Networks 0 and 1 in nets/, the history and the rain to come as tables."""
    (tmp_path / "nets").mkdir()
    for k in range(2):
        formats.save(net_of(k), tmp_path / "nets" / f"{k}.safetensors")
    (tmp_path / "nets" / "notes.md").write_text("no network")
    write(tmp_path / "x.csv", NAMES, x)
    write(tmp_path / "u.csv", "hour,rain", np.c_[np.arange(STEPS), u])
    write(tmp_path / "bare.csv", "", x)
    return tmp_path


def write(path, heading, rows):
    np.savetxt(path, rows, "%.9g", ",", header=heading, comments="")


def run(capsys, *arguments):
    code = main(["forecast", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def read(text):
    rows = list(csv.reader(io.StringIO(text)))
    columns = np.array(rows[1:], float).T
    return dict(zip(rows[0], columns, strict=True))


def wired(folder, *more):
    return (
        "--history", folder / "x.csv", "--steps", STEPS,
        "--feedback", "level=y2,wind=y1", *more,
    )  # fmt: skip


def test_a_table_a_line_a_step(capsys, folder, x, u):
    code, out, _ = run(
        capsys, folder / "nets/0.safetensors",
        *wired(folder, "--exogenous", folder / "u.csv"),
    )  # fmt: skip
    found = read(out)
    expected = forecast(net_of(0), x, STEPS, feedback=RULE, exogenous=u)
    assert code == 0 and list(found) == ["ahead", "level", "wind", "y1", "y2"]
    np.testing.assert_array_equal(found["ahead"], np.arange(1, STEPS + 1))
    for name, values in (
        ("level", expected.inputs[0, :, 1]), ("wind", expected.inputs[0, :, 2]),
        ("y1", expected.mean[:, 0]), ("y2", expected.mean[:, 1]),
    ):  # fmt: skip
        np.testing.assert_allclose(found[name], values, rtol=1e-6)
    # Without a heading the order of the features counts.
    write(folder / "bare_u.csv", "", u)
    code, other, _ = run(
        capsys, folder / "nets/0.safetensors", "--history", folder / "bare.csv",
        "--steps", STEPS, "--feedback", "x2=y2,x3=y1",
        "--exogenous", folder / "bare_u.csv",
    )  # fmt: skip
    assert code == 0 and other == out.replace("level", "x2").replace("wind", "x3")
    # Columns by name.
    code, other, _ = run(
        capsys, folder / "nets/0.safetensors", *wired(folder),
        "--inputs", "rain,level,wind", "--exogenous", folder / "u.csv",
    )  # fmt: skip
    assert code == 0 and other == out


def test_a_folder_is_an_ensemble(capsys, folder, x, u):
    target = folder / "f.npz"
    code, out, _ = run(
        capsys, folder / "nets", *wired(folder, "--exogenous", folder / "u.csv"),
        "--output", target, "--scale", 0.5, "--offset", 0.25,
    )  # fmt: skip
    expected = forecast(
        [net_of(0), net_of(1)], x, STEPS, feedback=RULE, exogenous=u,
        scale=0.5, offset=0.25,
    )  # fmt: skip
    assert code == 0 and "2 networks" in out and "times scale, plus offset" in out
    with np.load(target) as found:
        for name in ("mean", "std", "quantiles", "members", "inputs"):
            np.testing.assert_allclose(
                found[name], getattr(expected, name), rtol=1e-5, atol=1e-7
            )
        assert found["origins"] == [TIME]
    code, _, _ = run(
        capsys, folder / "nets", *wired(folder, "--exogenous", folder / "u.csv"),
        "--output", folder / "f.csv", "--scale", 0.5, "--offset", 0.25,
    )  # fmt: skip
    table = read((folder / "f.csv").read_text())
    assert list(table)[-5:] == ["y2", "y2_std", "y2_q05", "y2_q50", "y2_q95"]
    np.testing.assert_allclose(table["y2_q95"], expected.quantiles[2, :, 1], rtol=1e-6)
    np.testing.assert_allclose(table["y1_std"], expected.std[:, 0], rtol=1e-5)


def test_starts_and_their_errors(capsys, folder, x):
    target = folder / "f.csv"
    code, out, _ = run(
        capsys, folder / "nets", *wired(folder, "--starts", 7), "--output", target
    )
    found = read(target.read_text())
    expected = forecast([net_of(0), net_of(1)], x, STEPS, feedback=RULE, starts=7)
    assert code == 0 and expected.origins == (7, 14, 21, 28, 35)
    np.testing.assert_array_equal(found["start"], np.repeat(expected.origins, STEPS))
    np.testing.assert_allclose(found["y1"], np.ravel(expected.mean[..., 0]), rtol=1e-5)
    # The errors once more, one forecast after the other.
    fed = np.asarray(expected.inputs, float).mean(axis=1)
    squares, held = [], []
    for k, begin in enumerate(expected.origins):
        recorded = x[begin : begin + STEPS]
        squares.append((fed[k] - recorded)[:, [1, 2]] ** 2)
        held.append((x[begin - 1] - recorded)[:, [1, 2]] ** 2)
    ours, holding = errors_ahead(expected, x)
    np.testing.assert_allclose(ours, np.sqrt(np.mean(squares, axis=0)), rtol=1e-6)
    np.testing.assert_allclose(holding, np.sqrt(np.mean(held, axis=0)), rtol=1e-12)
    (line,) = [line for line in out.splitlines() if line.startswith("  level")]
    np.testing.assert_allclose(
        [float(v) for v in line.split()[1:]], ours[[0, 1, 3, 4], 0], rtol=1e-3
    )


def test_what_was_recorded_beside_a_forecast(x):
    found = forecast(net_of(0), x, 4, feedback=RULE, starts=range(34, 37, 2))
    both = found.beside(x[:, :2])
    np.testing.assert_array_equal(both[1], x[36:40, :2])
    short = found.beside(x[:38, 0])
    np.testing.assert_array_equal(short[1], [*x[36:38, 0], np.nan, np.nan])
    one = forecast(net_of(0), x[:30], 4, feedback=RULE, exogenous=x[30:34, :1])
    np.testing.assert_array_equal(one.beside(x), x[30:34])
    np.testing.assert_array_equal(one.beside(x[:30]), np.full((4, 3), np.nan))


def test_pictures(capsys, folder, monkeypatch, x, u):
    drawn = kept_figures(monkeypatch)
    members = forecast(
        [net_of(0), net_of(1)], x, STEPS, feedback=RULE, exogenous=u
    ).inputs
    code, _, _ = run(
        capsys, folder / "nets", *wired(folder, "--exogenous", folder / "u.csv"),
        "--plot", folder / "a.png",
    )  # fmt: skip
    assert code == 0 and (folder / "a.png").stat().st_size > 1000
    for axes, k, name in zip(drawn[0].axes, (1, 2), ("level", "wind"), strict=True):
        history, _, mean = (line.get_xydata() for line in axes.lines)
        np.testing.assert_allclose(history[:, 1], x[-30:, k], rtol=1e-6)
        assert history[-1, 0] == TIME - 1 == mean[0, 0]
        np.testing.assert_allclose(mean[0, 1], x[-1, k], rtol=1e-6)
        expected = np.mean(members[..., k], axis=0)
        np.testing.assert_allclose(mean[1:, 1], expected, rtol=1e-5)
        (band,) = axes.collections
        low = np.quantile(members[..., k], 0.05, axis=0)
        np.testing.assert_allclose(
            band.get_paths()[0].vertices[1, 1], low[0], rtol=1e-5
        )
        assert axes.get_ylabel() == name
    run(
        capsys, folder / "nets/0.safetensors", *wired(folder, "--starts", 7),
        "--plot", folder / "b.svg",
    )  # fmt: skip
    level, _, errors = drawn[1].axes
    found = forecast(net_of(0), x, STEPS, feedback=RULE, starts=7)
    curve = level.lines[3].get_xydata()
    np.testing.assert_array_equal(curve[:, 0], np.arange(20, 26))
    np.testing.assert_allclose(curve[1:, 1], found.inputs[2, 0, :, 1], rtol=1e-5)
    ours = errors_ahead(found, x)[0][:, 1] / x[:, 2].std()
    np.testing.assert_allclose(errors.lines[2].get_ydata(), ours, rtol=1e-5)


REFUSED = [
    (("--feedback", "lvel=y1"), "rain, level, wind"),
    (("--feedback", "level=y3"), "outputs y1, y2"),
    (("--feedback", "level=y1,level=y2"), "each input once"),
    (("--inputs", "rain,level"), "3 features"),
    (("--inputs", "rain,level,snow"), "snow"),
    (("--output", "f.xlsx"), ".npz"),
    (("--plot", "f.xlsx"), "no kind of picture"),
    (("--steps", 0), "whole number"),
    (("--exogenous", "x.csv"), "needed for every step"),
    (("--exogenous", "wind.csv"), "rain"),
]


@pytest.mark.parametrize("change, words", REFUSED)
def test_refused(capsys, folder, monkeypatch, change, words):
    monkeypatch.chdir(folder)
    write("wind.csv", "wind,level", np.ones((STEPS, 2)))
    given = {"--feedback": "level=y2,wind=y1", "--steps": STEPS}
    given |= {"--history": "x.csv", "--exogenous": "u.csv", change[0]: change[1]}
    flat = [part for pair in given.items() for part in pair]
    code, out, err = run(capsys, "nets/0.safetensors", *flat)
    assert code == 2 and not out and words in err
    assert not list(folder.glob("f.*"))


def test_without_wires_it_asks(capsys, folder):
    code, _, err = run(
        capsys, folder / "nets", "--history", folder / "x.csv", "--steps", 2
    )
    assert code == 2 and "which output is fed back as which input?" in err


def test_a_folder_without_networks(capsys, tmp_path):
    write(tmp_path / "x.csv", "", np.ones((3, 3)))
    code, _, err = run(capsys, tmp_path, "--history", tmp_path / "x.csv", "--steps", 2)
    assert code == 2 and "no networks in it" in err
