"""The report of an evaluation: every figure on the page, whatever the data."""

from __future__ import annotations

import base64
import json
import math
import re
import sys

import numpy as np
import pytest
from finetuned import kept_figures
from test_report import Page

from jlstm import metrics as M
from jlstm.errors import InputError
from jlstm.report.evaluation import write_report
from jlstm.report.words import number
from jlstm.tally import Tally, Worst, tallied

OUTLINE = {
    "title": "Evaluation of a <b>.mat",
    "networks": [{"file": "nets/a <b>.mat", "sha256": "12ab"}],
    "data": "folder/data",
    "options": {"batch_size": "auto", "padding": None, "quantiles": [0.05, 0.95]},
    "versions": {"jlstm": "0.1.0"},
    "seconds": 7.5,
    "shards": 40,
    "set_aside": [{"shard": "<bad>.csv", "reason": "line 3: 'x' is no number"}],
    "table": "sequences.parquet",
}


def evaluated(rng, outputs=2, count=30, steps=(5, 60), classes=False, spoil=None):
    y, t, x = [], [], []
    for k in range(count):
        n = int(rng.integers(*steps))
        if classes:
            y.append(rng.dirichlet(np.ones(outputs), size=n))
            t.append(np.eye(outputs)[rng.integers(outputs, size=n)])
        else:
            t.append(rng.normal(size=(n, outputs)) + 3)
            y.append(t[-1] + rng.normal(size=(n, outputs)) * rng.exponential(0.3))
        if spoil:
            spoil(k, y[-1], t[-1])
        x.append(rng.normal(size=(max(n, 9), 3)))
    names = [f"part/{k:02}&<i>" for k in range(count)]
    tally, rows = tallied(names, y, t, classes)
    worst = Worst()
    for row, *data in zip(rows, x, y, t, strict=True):
        worst.add(row, *data)
    return y, t, tally, worst, rows


def written(folder, tally, worst=None, rows=(), **outline):
    write_report(folder, OUTLINE | outline, tally, worst, rows)
    text = (folder / "report.html").read_text("utf-8")

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    metrics = json.loads(
        (folder / "metrics.json").read_text("utf-8"), parse_constant=refuse
    )
    return Page(text), text, metrics


@pytest.fixture
def blind(monkeypatch):
    """Without matplotlib, as pages are written in a hundredth of the time."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_every_figure_is_on_the_page(rng, tmp_path, blind):
    y, t, tally, worst, rows = evaluated(rng)
    page, text, metrics = written(tmp_path, tally, worst, rows, outputs=["p <u>", "q"])
    head = ("output", "values", "RMSE", "MAE", "NSE", "KGE", "R2", "NRMSE", "fit")
    table = page.table(*head)
    for name, k in (("p <u>", [0]), ("q", [1]), ("over all", [0, 1])):
        y_k, t_k = ([a[:, k] for a in some] for some in (y, t))
        assert table[name][0] == f"{sum(a.size for a in t_k):,}"
        for key, cell in zip(
            ("rmse", "mae", "nse", "kge"), table[name][1:], strict=False
        ):
            assert cell == number(key, getattr(M, key)(y_k, t_k))
    assert page.headings[0][1] == OUTLINE["title"]
    assert f"NSE {number('nse', M.nse(y, t))} over all, 30 sequences" in page.text
    each = np.array([row["nse"] for row in rows])
    found = re.search(
        r"median sequence has (\S+), one in twenty is worse than (.+?)\. ", page.text
    )
    for words, share in zip(found.groups(), (0.5, 0.05), strict=True):
        distance = 1 - np.quantile(each, share, method="lower")
        assert 1 - float(words) == pytest.approx(distance, rel=0.011, abs=1e-3)
    assert "1 of 40 files could not be evaluated and was set aside." in page.text
    assert page.table("file", "why") == {"<bad>.csv": ["line 3: 'x' is no number"]}
    assert page.table("network", "SHA-256") == {"nets/a <b>.mat": ["12ab"]}
    run = page.table("what", "value")
    assert run["sequences"] == ["30"] and run["sequences a second"] == ["4"]
    assert run["steps"] == [f"{sum(map(len, y)):,}"] and run["time"] == ["7.5 s"]
    assert page.table("option", "value")["quantiles"] == ["[0.05, 0.95]"]
    ordered = sorted(rows, key=lambda row: row["nse"])[:10]
    table = page.table("", "sequence", "steps", "scores")
    for k, row in enumerate(ordered, 1):
        scores = f"NSE {row['nse']:.4g}, RMSE {row['rmse']:.4g}"
        assert table[str(k)] == [row["sequence"], str(row["steps"]), scores]
    listed = page.table("sequence", "steps", "scored", "RMSE", "NSE", "KGE")
    assert len(listed) == 30 and listed[rows[3]["sequence"]][3] == number(
        "nse", rows[3]["nse"]
    )
    heads = ("lowest", "5 %", "25 %", "median", "75 %", "95 %", "highest", "undefined")
    spread = page.table("measure", *heads)["NSE"]
    assert spread[0] == number("nse", min(row["nse"] for row in rows))
    assert not {"script", "b", "i", "u"} & {tag for tag, _ in page.elements}
    assert "pip install 'jlstm[plot]'" in text
    assert metrics["all"]["nse"] == pytest.approx(M.nse(y, t), rel=1e-12)
    assert metrics["worst"][0] == ordered[0] and metrics["shards"] == 40
    assert [one["name"] for one in metrics["outputs"]] == ["p <u>", "q"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "report.html"]


def test_classes(rng, tmp_path, blind):
    y, t, tally, worst, _ = evaluated(rng, 3, classes=True)
    names = ["on", "off", "<s>"]
    page, _, metrics = written(tmp_path, tally, worst, outputs=names)
    true, taken = (np.concatenate(some).argmax(1) for some in (t, y))
    right = number("accuracy", np.mean(true == taken))
    assert f"{right} of {len(true):,} answers are right, in 30 sequences" in page.text
    assert page.table("", "all steps")["accuracy"] == [right]
    table = page.table("true \\ predicted", *names)
    found = page.table(
        "class", "how many", "found (recall)", "right where said (precision)"
    )
    for i, name in enumerate(names):
        row = [int(np.sum((true == i) & (taken == j))) for j in range(3)]
        assert table[name] == [str(v) for v in row] and metrics["confusion"][i] == row
        recall = number("accuracy", np.mean(taken[true == i] == i))
        assert found[name][:2] == [str(np.sum(true == i)), recall]


def nothing(k, y, t):
    t[:] = np.nan


def broken(k, y, t):
    if k == 4:
        y[-1] = np.nan
    if k == 5:
        t[:] = 2.0


CASES = {
    "one sequence": dict(count=1),
    "one output": dict(outputs=1),
    "single steps": dict(steps=(1, 2)),
    "nothing scored": dict(spoil=nothing),
    "not finite": dict(spoil=broken),
    "classes, nothing scored": dict(outputs=3, classes=True, spoil=nothing),
    "classes, single steps": dict(outputs=3, classes=True, steps=(1, 2)),
    "classes, not finite": dict(outputs=3, classes=True, spoil=broken),
}


@pytest.mark.parametrize("case", CASES)
def test_whatever_the_data(rng, tmp_path, blind, case):
    _, _, tally, worst, rows = evaluated(rng, **CASES[case])
    page, _, metrics = written(tmp_path, tally, worst, rows)
    verdict = page.text.partition("Evaluation of")[2]
    assert "nan" not in verdict and "not a number over all" not in verdict
    if "nothing" in case:
        assert "Nothing is scored: none of 30 sequences has a target" in page.text
        assert not metrics["worst"] and metrics["sequences_scored"] == 0
    if case == "not finite":
        assert "over all there is no NSE; the median sequence has" in page.text
        assert "1 sequence has predictions that are no numbers" in page.text
        assert metrics["all"]["nse"] is None
        assert metrics["sequences_all"]["nse"]["undefined"] == 2
    if "single steps" in case:
        assert metrics["steps"] == 30
        assert all(math.isfinite(value) for value in metrics["all"].values())


def test_without_targets(tmp_path, blind):
    page, _, metrics = written(tmp_path, None, sequences=1200, set_aside=[])
    assert "1,200 sequences predicted; no targets to compare." in page.text
    assert page.table("what", "value")["sequences a second"] == ["160"]
    assert metrics["set_aside"] == []
    assert [text for tag, text in page.headings if tag == "h2"] == [
        "Sequences",
        "What was run",
    ]


def test_names_that_do_not_fit_are_refused(rng, tmp_path, blind):
    _, _, tally, worst, _ = evaluated(rng)
    with pytest.raises(InputError, match="as many names as outputs"):
        written(tmp_path, tally, worst, outputs=["a", "b", "c"])
    assert not list(tmp_path.iterdir())


def test_a_row_from_a_table_has_none_for_nan(rng, tmp_path, blind):
    _, _, tally, _, rows = evaluated(rng, spoil=broken)
    empty = [{k: None if v != v else v for k, v in row.items()} for row in rows]
    page, _, _ = written(tmp_path, tally, None, empty)
    listed = page.table("sequence", "steps", "scored", "RMSE", "NSE", "KGE")
    assert listed[rows[4]["sequence"]][2:] == ["-", "-", "-"]


def bars(axes):
    return [patch.get_height() for patch in axes.patches]


def test_pictures_hold_what_was_given(rng, tmp_path, monkeypatch):
    y, t, tally, _, rows = evaluated(rng, 2, count=12, spoil=broken)
    drawn = kept_figures(monkeypatch)
    band = Worst(1)
    band.add(rows[4], None, y[4], t[4], (y[4] - 1, y[4] + 2))
    page, text, _ = written(tmp_path, tally, band, rows, outputs=["a$_b", "long " * 40])
    spread, density, worst_one = drawn
    assert [sum(bars(axes)) for axes in spread.axes] == [10, 11]
    known = sum(int(one.counts.sum()) for one in tally.density)
    cells = [axes.collections[0] for axes in density.axes[:2]]
    shown = sum(float(np.nansum(np.ma.filled(c.get_array(), np.nan))) for c in cells)
    assert 0.9 * known < shown <= known
    for k, axes in enumerate(worst_one.axes):
        target, predicted = (line.get_ydata() for line in axes.lines)
        np.testing.assert_array_equal(target, t[4][:, k])
        np.testing.assert_array_equal(predicted, y[4][:, k])
    files = {p.name for p in tmp_path.iterdir()}
    assert files == {
        "metrics.json",
        "report.html",
        "scores.png",
        "density.png",
        "worst_01.png",
    }
    images = [a["src"] for tag, a in page.elements if tag == "img"]
    assert len(images) == 3 and "could not be drawn" not in text
    inside = base64.b64decode(images[0].partition(",")[2])
    assert inside == (tmp_path / "scores.png").read_bytes()
    assert not re.search(r"https?://|@import|url\(", text)


@pytest.mark.parametrize("once", [False, True])
def test_pictures_of_classes(rng, tmp_path, monkeypatch, once):
    steps = (1, 2) if once else (5, 60)
    y, t, tally, _, rows = evaluated(rng, 3, 6, steps, classes=True, spoil=broken)
    drawn = kept_figures(monkeypatch)
    one = Worst(1)
    one.add(rows[2], np.ones((9, 2)), y[2], t[2])
    _, text, _ = written(tmp_path, tally, one, rows)
    _, confusion, worst_one = drawn
    numbers = [int(words.get_text()) for words in confusion.axes[0].texts]
    assert sum(numbers) == tally.sums.scored and "could not be drawn" not in text
    if once:
        assert bars(worst_one.axes[0]) == [*t[2][0], *y[2][0]]
    else:
        score = worst_one.axes[1].lines[0].get_ydata()
        np.testing.assert_array_equal(score, y[2][t[2] > 0])


def test_many_outputs_and_a_picture_that_fails(rng, tmp_path, monkeypatch):
    _, _, tally, _, rows = evaluated(rng, 13, 3)
    drawn = kept_figures(monkeypatch)
    monkeypatch.setattr("jlstm.report.evaluation.scores", lambda _: 1 / 0)
    page, text, _ = written(tmp_path, tally, None, rows)
    assert sum(axes.get_visible() for axes in drawn[0].axes) == 12
    assert "the first 12 of 13 outputs" in page.text
    assert "could not be drawn: ZeroDivisionError" in text
    assert not (tmp_path / "scores.png").exists()


def test_an_unknown_key_does_no_harm_and_a_tally_survives_its_file(
    rng, tmp_path, blind
):
    _, _, tally, worst, _ = evaluated(rng)
    (tmp_path / "b").mkdir()
    for name, one in (("a", tally), ("b", Tally.from_dict(tally.to_dict()))):
        written(tmp_path / name, one, worst, other=3)
    pages = [(tmp_path / name / "report.html").read_bytes() for name in "ab"]
    assert pages[0] == pages[1]
