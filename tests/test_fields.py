"""Fields crossed off one by one; numbers and words out of every wrapping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jlstm.errors import Unsupported
from jlstm.formats.fields import Fields, numeric, strings
from jlstm.formats.matfile import Cell, MatObject, Undecodable


def cell(*items, class_name="cell"):
    return Cell(items, (len(items), 1), class_name)


def test_what_is_left_is_refused():
    fields = Fields({"a": "x", "b": np.ones((1, 2)), "c": np.zeros((0, 0))}, "net.x")
    assert fields.text("a") == "x"
    assert fields.left == ["b"]
    with pytest.raises(Unsupported, match="unknown property") as caught:
        fields.finish()
    assert caught.value.place == "net.x.b" and caught.value.found == "[[1.0, 1.0]]"
    fields.ignore("b")
    fields.finish()
    assert fields.ignored == ["c"]


def test_properties_of_a_base_class_are_no_ones_business():
    fields = Fields(
        {
            "nnet.layer.Layer.PrivateInputs": cell("in"),
            "nnet.cnn.layer.mixin.Learnable.LearnRateFactor": {"Alpha": 1},
            "nnet.layer.Layer.Name": "inherited",
            "Name": "own",
            "my.Class.Alpha": np.full((1, 1), 3.0),
        },
        "net.x",
    )  # fmt: skip
    assert fields.text("Name") == "own"
    assert fields.take("LearnRateFactor")["Alpha"] == 1
    assert fields.left == ["Alpha"]  # qualified, but by no base class
    assert fields.number("Alpha") == 3
    fields.finish()


def test_the_first_name_that_has_content():
    fields = Fields({"old": np.full((1, 1), 2.0), "new": np.zeros((0, 0))}, "x")
    assert fields.number("new", "old") == 2
    assert fields.number("nothing", default=7.5) == 7.5
    with pytest.raises(Unsupported, match="a property is missing") as caught:
        fields.take("nothing", "new")
    assert (
        caught.value.expected == "nothing or new" and caught.value.found == "old, new"
    )


def test_kinds_of_values():
    fields = Fields(
        {
            "flag": np.array([[True]]), "number": np.array([[2.5]]),
            "sizes": np.array([[3.0, 4.0]]), "names": cell("a", "b"),
            "word": MatObject("string", {"any": encoded("hello")}),
            "matrix": np.arange(6.0).reshape(2, 3),
        },
        "x",
    )  # fmt: skip
    assert fields.flag("flag") is True
    assert fields.integers("sizes") == (3, 4)
    assert fields.texts("names") == ("a", "b") and fields.text("word") == "hello"
    assert fields.numbers("matrix").tolist() == [0, 3, 1, 4, 2, 5]
    for call, name in ((fields.integers, "number"), (fields.number, "sizes"),
                       (fields.text, "flag"), (fields.number, "word"),
                       (fields.texts, "matrix")):  # fmt: skip
        with pytest.raises(Unsupported) as caught:
            call(name)
        assert caught.value.place == f"x.{name}"


# --- numbers --------------------------------------------------------------------------


def gpu(value):
    return MatObject("gpuArray", cell(np.ones((1, 1)), value))


def test_numbers_in_wrappings():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for value in (
        array,
        gpu(array),
        MatObject("dlarray", {"format": "CB", "data": array}),
        MatObject("dlarray", {"format": "CB", "data": gpu(array)}),
        MatObject("gpuArray", array),
    ):
        assert numeric(value, "x") is array
    # A flag beside the data, whole numbers, is none of them.
    beside = MatObject("dlarray", {"n": np.ones((1, 1), int), "data": array})
    assert numeric(beside, "x") is array


def test_numbers_come_in_the_byte_order_of_here():
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    found = numeric(array, "x")
    assert found.dtype == np.dtype("=f4") and np.array_equal(found, array)
    assert found.dtype.byteorder in ("=", "<")


@pytest.mark.parametrize(("value", "words"), [
    (MatObject("gpuArray", lost=True), "not in the file"),
    (MatObject("dlarray", {"a": MatObject("nnet.cnn", lost=True)}), "not in the file"),
    (MatObject("dlarray", {"a": np.ones((1, 1)), "b": np.ones((1, 1))}),
     "an object where numbers are expected"),
    (MatObject("table", {}), "an object where numbers are expected"),
    (Undecodable("too deep"), "cannot be decoded"),
    (MatObject("gpuArray", Undecodable("too deep")), "cannot be decoded"),
    (np.ones((1, 1)) * 1j, "not an array of real numbers"),
    ("text", "not an array of real numbers"),
    (cell(np.ones((1, 1))), "not an array of real numbers"),
    (None, "not an array of real numbers"),
])  # fmt: skip
def test_no_numbers(value, words):
    with pytest.raises(Unsupported, match=words) as caught:
        numeric(value, "net.x")
    assert caught.value.place == "net.x"


# --- words ----------------------------------------------------------------------------


def encoded(*words, axes=None):
    """A string array as MATLAB saves it."""
    sizes = axes or (len(words), 1)
    text = "".join(words).encode("utf-16-le")
    text += bytes(-len(text) % 8)
    head = [1, len(sizes), *sizes, *(len(word) for word in words)]
    return np.concatenate(
        [np.array(head, np.uint64), np.frombuffer(text, "<u8").astype(np.uint64)]
    )[None]


def categorical(names, codes, dtype: Any = np.uint8):
    return MatObject(
        "categorical",
        {"categoryNames": cell(*names), "codes": np.array(codes, dtype)[:, None]},
    )


def test_words():
    assert strings("one") == ("one",)
    assert strings(["rows", "of text"]) == ("rows", "of text")
    assert strings(cell("a", "b c")) == ("a", "b c")
    for saved in (encoded("ab", "", "çde"), {"any": encoded("ab", "", "çde")}):
        assert strings(MatObject("string", saved)) == ("ab", "", "çde")
    assert strings(cell(MatObject("string", encoded("x")))) == ("x",)
    found = strings(categorical(["a", "b", "c"], [3, 1, 0, 2]))
    assert found == ("c", "a", "<undefined>", "b")


@pytest.mark.parametrize("value", [
    None,
    np.ones((1, 1)),
    {"a": "b"},
    cell("a", np.ones((1, 1))),
    cell(["two", "rows"]),
    categorical(["a"], [2]),
    categorical(["a"], [-1], np.int8),
    categorical(["a"], [1.5], float),
    MatObject("categorical", Undecodable("x")),
    MatObject("categorical", {"codes": np.ones((1, 1), np.uint8)}),
    MatObject("string", encoded("hello")[:, :-1]),
    MatObject("string", encoded("hello", axes=(2, 1))),
    MatObject("string", encoded("hello")[:, :1]),
    MatObject("string", encoded("hello").astype(float)),
    MatObject("datetime", {"data": np.ones((1, 1))}),
])  # fmt: skip
def test_no_words(value):
    assert strings(value) is None
