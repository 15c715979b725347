"""The report: read back as HTML, its numbers computed again from the predictions."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import re
import sys
from html.parser import HTMLParser

import numpy as np
from finetuned import CLASSES, moved, network, recording, tuned

from jlstm import layers as L
from jlstm import report
from jlstm.plots_training import Picture
from jlstm.training.loop import PATIENCE
from jlstm.training.parameters import parameters

RUN = {
    "file": "/data/a <b>&\"'.mat",
    "sha256": {"/data/a <b>&\"'.mat": "12ab", "/data/<script>.csv": "34cd"},
    "versions": {"jlstm": "0.1.0", "jax": "0.10.2"},
}


class Page(HTMLParser):
    """Elements in order, tables as lists of rows, all text."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.headings: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append((tag, ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] == "style":
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1] = (self.open[-1], self.headings[-1][1] + data)

    def table(self, *head):
        (found,) = [t for t in self.tables if t[0] == list(head)]
        return {row[0]: row[1:] for row in found[1:]}


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAA"
    "SUVORK5CYII="
)
PICTURES = [
    Picture(name, f"Title <i>{name}</i>", f'seen "{name}" <b>', PNG + name.encode())
    for name in ("loss", "prediction", "error", "gates")
]


def written(tmp_path, result, pictures=(), run=None):
    path = tmp_path / "report.html"
    report.write(path, result, pictures=pictures, run=run)
    text = path.read_text("utf-8")
    return text, Page(text)


def test_the_page_stands_by_itself_and_is_put_together_well(rng, tmp_path):
    text, page = written(tmp_path, tuned(rng), PICTURES, RUN)
    tags = [tag for tag, _ in page.elements]
    assert tags[:2] == ["html", "head"] and tags.count("h1") == 1
    assert not {"script", "link", "iframe", "object", "b", "i"} & set(tags)
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "href" for name in attributes)
        assert attributes.get("src", "data:").startswith("data:image/png;base64,") or (
            "src" not in attributes
        )
    assert not re.search(r"https?://|@import|url\(", text)
    policy = next(a for t, a in page.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy["content"]
    images = [a for t, a in page.elements if t == "img"]
    for image, picture in zip(images, PICTURES, strict=True):
        assert image["alt"] == picture.alt
        assert base64.b64decode(image["src"].partition(",")[2]) == picture.png
    levels = [int(tag[1]) for tag, _ in page.headings]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert page.headings[0][1] == "Fine-tuning of a <b>&\"'.mat"
    assert {"Before and after", "Predictions", "Gate activations"} <= {
        heading for _, heading in page.headings
    }


def test_names_are_text_wherever_they_come_from(rng, tmp_path):
    """Files, columns, layers, classes, values of options: no element, all readable."""
    bad = "<img src=x onerror=alert('&amp;')>"
    net = network(rng)
    layers = {f"{bad}{k}": layer for k, layer in enumerate(net.layers.values())}
    net = type(net).build(layers)
    one = recording(rng, net, bad, 30)
    result = tuned(
        rng, net, moved(rng, net), {"train": [one], "test": [one]},
        {"max_epochs": 3, "freeze": [bad], "data": {"targets": [bad, "b & 'c'"]}},
        reason=bad, trained=tuple(parameters(net))[:3],
    )  # fmt: skip
    path = tmp_path / "report.html"
    report.write(
        path, result, run={"file": bad, "sha256": {bad: bad}, "versions": {bad: bad}}
    )
    text = path.read_text("utf-8")
    page = Page(text)
    assert "<img src=x" not in text
    assert page.text.count(bad) > 15
    assert sum(tag == "img" for tag, _ in page.elements) == 4
    assert any(bad in a["alt"] for t, a in page.elements if t == "img")


def test_metrics_of_every_part_and_of_every_output(rng, tmp_path):
    result = tuned(
        rng, config={"max_epochs": 3, "data": {"targets": ["level", "flow"]}}
    )
    _, page = written(tmp_path, result)
    tables = [t for t in page.tables if t[0] == ["", "before", "after", "change"]]
    for part, table in zip(("test", "validation", "train"), tables, strict=True):
        rows = {row[0]: row[1:] for row in table[1:]}
        for which, cell in (("before", 0), ("after", 1)):
            error = np.concatenate(
                [
                    (getattr(o, which) - o.target).ravel()
                    for o in result.predictions[part]
                ]
            )
            rmse = np.sqrt(np.nanmean(error.astype(float) ** 2))
            assert rows["RMSE"][cell] == f"{rmse:.4g}"
    each = page.table("output", "RMSE before", "after", "change", "fit before", "after")
    assert list(each) == ["level", "flow"]
    for k, row in enumerate(each.values()):
        pairs = [(o.after[:, k], o.target[:, k]) for o in result.predictions["test"]]
        y, t = (np.concatenate(c).astype(float) for c in zip(*pairs, strict=True))
        y = y[~np.isnan(t)]
        t = t[~np.isnan(t)]
        assert row[1] == f"{np.sqrt(np.mean((y - t) ** 2)):.4g}"
        fit = 100 * (1 - np.linalg.norm(t - y) / np.linalg.norm(t - t.mean()))
        assert row[4] == f"{fit:.4g}"


def test_classes_are_scored_one_by_one(rng, tmp_path):
    net = network(rng, 3, classes=CLASSES)
    result = tuned(rng, net, moved(rng, net))
    first, *rest = result.predictions["test"]
    broken = np.where(np.arange(30)[:, None] % 3, first.after, np.nan)  # wrong, all
    result.predictions["test"] = (first._replace(after=broken), *rest)
    _, page = written(tmp_path, result)
    found = page.table("class", "how many", "right before", "right after", "change")
    assert list(found) == list(CLASSES)
    for k, row in enumerate(found.values()):
        right = [[], []]
        for one in result.predictions["test"]:
            for target, *scores in zip(one.target, one.before, one.after, strict=True):
                if not np.isnan(target).any() and target[k] == 1:
                    for where, score in zip(right, scores, strict=True):
                        right_class = score.argmax() == k and not np.isnan(score).any()
                        where.append(right_class)
        assert row[0] == str(len(right[0]))
        assert row[1:3] == [f"{100 * np.mean(r):.4g} %" for r in right]


def test_what_was_trained_and_how_far_it_moved(rng, tmp_path):
    result = tuned(rng)
    _, page = written(tmp_path, result)
    found = page.table("array", "shape", "", "moved")
    old, new = parameters(result.imported), parameters(result.net)
    assert list(found) == list(old)
    numbers = 0
    for path, (shape, how, moved_by) in found.items():
        a, b = (np.asarray(p[path], float) for p in (old, new))
        assert shape.split() == " x ".join(map(str, a.shape)).split()
        if path in result.trained:
            numbers += a.size
            relative = 100 * np.sqrt(((b - a) ** 2).sum() / (a**2).sum())
            assert how == "trained" and moved_by == f"{relative:.2g} %"
        else:
            assert (how, moved_by) == ("frozen", "0")
    total = sum(a.size for a in old.values())
    assert f"9 of 23 arrays were trained: {numbers:,} numbers of {total:,}" in page.text


def test_corrections_of_low_rank_are_counted_as_what_they_are(rng, tmp_path):
    result = tuned(rng, config={"max_epochs": 3, "lora_rank": 2})
    _, page = written(tmp_path, result)
    found = page.table("array", "shape", "", "moved")
    how = {path: row[1] for path, row in found.items() if "'second'" in path}
    assert {h for p, h in how.items() if "weights" in p} == {"trained, rank 2"}
    assert {h for p, h in how.items() if "bias" in p} == {"trained"}
    # Three gates of 5 units: 15 biases, and 2 (15 + 4) + 2 (15 + 5) for both matrices.
    assert f"9 of 23 arrays were trained: {15 + 38 + 40} numbers" in page.text


def test_configuration_history_and_origin(rng, tmp_path):
    config = {"max_epochs": 3, "solver": "sgdm", "data": {"washout": 4}}
    result = tuned(rng, config=config)
    _, page = written(tmp_path, result, run=RUN)
    set_, every = [t for t in page.tables if t[0] == ["key", "value"]]
    assert set_[1:] == [
        ["solver", '"sgdm"'],
        ["max_epochs", "3"],
        ["data.washout", "4"],
    ]
    every = dict(every[1:])
    assert every["initial_learn_rate"] == "0.01" and every["loss"] == "half-mse".join(
        '""'
    )
    assert every["gradient_threshold"] == "not set" and every["data.nan"] == '"mask"'
    losses = page.table("epoch", "training", "validation", "learning rate")
    assert losses["0"] == ["", "0.8", ""] and losses["2"] == ["0.6", "0.5", "0.001"]
    assert page.table("file", "SHA-256")["/data/<script>.csv"] == ["34cd"]
    assert page.table("package", "version")["jax"] == ["0.10.2"]
    head = ("part", "recordings", "how many", "steps", "numbers in the errors")
    data = page.table(*head)
    assert "The losses lack the first data.washout steps of every window" in page.text
    test = result.predictions["test"]
    scored = sum(int((~np.isnan(one.target)).sum()) for one in test)
    assert data["test"][1:] == ["5", str(sum(len(o.target) for o in test)), str(scored)]
    assert f"jlstm inspect {tmp_path}/net.safetensors" in page.text
    # Without a folder there is nothing to say of files.
    _, page = written(tmp_path, result)
    assert "SHA-256" not in page.text and "jlstm inspect" not in page.text


def test_only_a_run_that_can_go_on_is_said_to(rng, tmp_path):
    advice = "--resume"
    _, page = written(tmp_path, tuned(rng), run=RUN)
    assert advice in page.text and "with more max_epochs" in page.text
    cosine = {"max_epochs": 3, "learn_rate_schedule": "cosine"}
    for result in (tuned(rng, config=cosine), tuned(rng, reason=PATIENCE)):
        _, page = written(tmp_path, result, run=RUN)
        assert advice not in page.text and "jlstm inspect" in page.text


def test_answers_of_a_classifier_are_counted_not_scores(rng, tmp_path):
    result = tuned(rng, network(rng, 3, classes=CLASSES), config={"max_epochs": 3})
    _, page = written(tmp_path, result)
    head = ("part", "recordings", "how many", "steps", "answers in the errors")
    steps = sum(len(o.target) for o in result.predictions["test"])
    assert page.table(*head)["test"][1:] == ["5", str(steps), str(steps - 10)]
    assert "data.washout steps" not in page.text


def test_new_statistics_are_listed(rng, tmp_path):
    """They are no parameters: neither trained nor counted, but they changed."""
    net = network(rng)
    mean, std = rng.normal(size=(2, 3)).astype("f4") + 5
    zscore = L.Input((3,), normalization="zscore", mean=mean, std=std)
    net = net.replace(layers=net.layers | {"in": zscore})
    again = dataclasses.replace(zscore, mean=2 * mean)
    new = net.replace(layers=net.layers | {"in": again})
    _, page = written(tmp_path, tuned(rng, net, new))
    found = page.table("array", "shape", "", "moved")
    assert found.pop(".layers['in'].mean") == ["3", "from the new data", "1e+02 %"]
    assert list(found) == list(parameters(net))
    assert "9 of 23 arrays were trained" in page.text


def test_a_picture_that_fails_costs_no_other_and_no_report(rng, tmp_path, monkeypatch):
    def broken(tuned):
        raise ValueError("expected <2>, got 0")

    monkeypatch.setitem(report.PICTURES, "error", broken)
    result = tuned(rng)
    drawn = {picture.name: picture for picture in report.draw(result)}
    assert list(drawn) == ["loss", "prediction", "error", "gates"]
    assert [name for name, one in drawn.items() if one.failure] == ["error"]
    _, page = written(tmp_path, result, list(drawn.values()))
    assert sum(tag == "img" for tag, _ in page.elements) == 3
    said = "This picture could not be drawn: ValueError: expected <2>, got 0"
    assert said in page.text and ("h2", "Error over time") in page.headings


def test_the_report_of_an_output_that_was_never_measured(rng, tmp_path):
    net = network(rng)
    some = [recording(rng, net, "a", 30)]
    some[0].y[:, 1], some[0].weights[:, 1] = np.nan, 0
    result = tuned(rng, net, parts={"train": some, "test": some})
    drawn = report.draw(result)
    assert [p.name for p in drawn] == ["loss", "prediction", "error", "gates"]
    assert not any(picture.failure for picture in drawn)
    _, page = written(tmp_path, result, drawn)
    head = ("output", "RMSE before", "after", "change", "fit before", "after")
    assert list(page.table(*head)) == ["output 1"]
    head = ("part", "recordings", "how many", "steps", "numbers in the errors")
    assert page.table(*head)["test"][-1] == "26"


def test_a_long_history_is_thinned_but_keeps_its_ends_and_its_best(rng, tmp_path):
    rows = [{"epoch": 0, "steps": 0, "validation_loss": 9.0}]
    rows += [
        {"epoch": k, "steps": k, "training_loss": 1.0, "validation_loss": 2.0}
        for k in range(1, 1001)
    ]
    _, page = written(
        tmp_path, tuned(rng, history=rows, best_epoch=777, learn_rates=(0.1,) * 1000)
    )
    found = page.table("epoch", "training", "validation", "learning rate")
    assert {"0", "777", "1000"} <= set(found) and len(found) < 70


def test_without_matplotlib_there_are_the_tables(rng, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = tuned(rng)
    assert report.draw(result) == []
    path = tmp_path / "report.html"
    report.write(path, result)
    page = Page(path.read_text("utf-8"))
    assert not any(tag == "img" for tag, _ in page.elements)
    assert "pip install 'jlstm[plot]'" in page.text
    assert len(page.tables) >= 7


def test_a_network_that_answers_once_has_the_pictures_that_make_sense(rng):
    net = network(rng, once=True)
    some = [recording(rng, net, str(k), 6) for k in range(3)]
    result = tuned(
        rng, net, parts={"train": some, "test": some}, config={"max_epochs": 3}
    )
    names = [picture.name for picture in report.draw(result)]
    assert names == ["loss", "prediction", "gates"]
    assert [p.name for p in report.draw(tuned(rng))] == [
        "loss", "prediction", "error", "gates",
    ]  # fmt: skip
