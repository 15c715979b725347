"""Cells of LSTM and GRU written out as products and functions, against onnxruntime."""

import numpy as np
import onnx_cases as cases
import pytest
from onnx import helper
from onnx_cases import assert_close, computed, model, node, original, trained

from jlstm.recurrent import GRU, LSTM

T, C, H = 5, 3, 4
HALVES = np.array([1, 1], np.int64)


def weights(gates, width=C, prefix=""):
    random = cases.rng(6)
    shapes = {
        "W": (gates * H, width), "R": (gates * H, H), "b": gates * H, "c": gates * H
    }  # fmt: skip
    return {
        prefix + name: trained(random, *np.atleast_1d(shape))
        for name, shape in shapes.items()
    }


def products(opset, gates, w, r):
    """Both products, and `gates` parts of each or of their sum, as torch has them."""
    total = [node("Add", "p q", "s")]
    parts = " ".join("ifgo"[:gates])
    count = {"num_outputs": gates} if opset >= 18 else {}
    cut = [node("Split", "s", parts, axis=1, **count)]
    return [
        node("Gemm", f"h {r} c", "q", transB=1),
        node("Gemm", f"x {w} b", "p", transB=1),
        *total,
        *cut,
    ]


def lstm(opset=18, w="W", r="R"):
    return [
        *products(opset, 4, w, r),
        node("Sigmoid", "i", "si"), node("Sigmoid", "f", "sf"), node("Tanh", "g", "tg"),
        node("Sigmoid", "o", "so"), node("Mul", "sf cell", "m"),
        node("Mul", "si tg", "n"), node("Add", "m n", "cell2"),
        node("Tanh", "cell2", "tc"), node("Mul", "so tc", "h2"),
    ]  # fmt: skip


def gru(form="torch"):
    ends = {
        "torch": [node("Sub", "h n", "d"), node("Mul", "d sz", "e"),
                  node("Add", "e n", "h2")],
        "equation": [node("Sub", "one sz", "d"), node("Mul", "d n", "e"),
                     node("Mul", "sz h", "k"), node("Add", "e k", "h2")],
    }  # fmt: skip
    return [
        node("Gemm", "x W b", "p", transB=1), node("Gemm", "h R c", "q", transB=1),
        node("Split", "p", "xr xz xn", axis=1, num_outputs=3),
        node("Split", "q", "hr hz hn", axis=-1, num_outputs=3),
        node("Add", "hr xr", "r"), node("Sigmoid", "r", "sr"),
        node("Add", "hz xz", "z"), node("Sigmoid", "z", "sz"),
        node("Mul", "hn sr", "m"), node("Add", "xn m", "a"), node("Tanh", "a", "n"),
        *ends[form],
    ]  # fmt: skip


def check(tmp_path, made, kind, width=C):
    """Step after step in onnxruntime, the state handed on; at once here."""
    net = cases.load(tmp_path, made)
    assert net.inputs == ("x",)
    assert sum(isinstance(layer, kind) for layer in net.layers.values()) == 1
    xs = cases.rng(7).normal(size=(T, width)).astype(np.float32)
    state = {
        i.name: np.zeros([d.dim_value or 1 for d in i.type.tensor_type.shape.dim], "f4")
        for i in made.graph.input
        if i.name != "x"
    }
    wanted = []
    for x in xs:
        y, *after = original(made, {"x": x[None], **state})
        state = dict(zip(state, after, strict=True))
        wanted.append(np.ravel(y))
    assert_close(computed(net, xs)[0], np.array(wanted))


@pytest.mark.parametrize("opset", [11, 18])
def test_lstm_cell(opset, tmp_path):
    nodes = [*lstm(opset), node("Tanh", "h2", "y")]
    made = model(
        nodes, [("x", ["N", C]), ("h", ["N", H]), ("cell", ["N", H])],
        [("y", None), ("h2", None), ("cell2", None)], weights(4), opset=opset,
    )  # fmt: skip
    check(tmp_path, made, LSTM)


@pytest.mark.parametrize("form", ["torch", "equation"])
def test_gru_cell(form, tmp_path):
    made = model(
        [*gru(form), node("Tanh", "h2", "y")], [("x", ["N", C]), ("h", ["N", H])],
        [("y", None), ("h2", None)], weights(3) | {"one": np.float32(1)},
    )  # fmt: skip
    check(tmp_path, made, GRU)


def test_state_in_one_input_and_a_branch(tmp_path):
    inner = helper.make_graph(
        [
            node("Gather", "state first", "h", axis=0),
            node("Gather", "state second", "cell", axis=0),
            *lstm(),
            node("Tanh", "h2", "y1"),
            node("Unsqueeze", "h2 axis", "hh"),
            node("Unsqueeze", "cell2 axis", "cc"),
            node("Concat", "hh cc", "after1", axis=0),
        ],
        "then",
        [],
        [cases.value("y1", None), cases.value("after1", None)],
    )
    other = helper.make_graph(
        [node("Identity", "x", "y2"), node("Identity", "state", "after2")],
        "else",
        [],
        [cases.value("y2", None), cases.value("after2", None)],
    )
    numbers = {
        "first": np.int64(0), "second": np.int64(1), "axis": np.array([0]),
        "yes": np.array(True),
    }  # fmt: skip
    made = model(
        [node("If", "yes", "y after", then_branch=inner, else_branch=other)],
        # As wide as the state: only where it comes from tells which is which.
        [("x", ["N", H]), ("state", [2, 1, H])], [("y", None), ("after", None)],
        weights(4, H) | numbers,
    )  # fmt: skip
    check(tmp_path, made, LSTM, width=H)


def test_names_of_weights_tell_what_nothing_else_does(tmp_path):
    def made(w, r):
        named = weights(4, H)
        named = {w: named.pop("W"), r: named.pop("R")} | named
        return model(
            [*lstm(18, w, r), node("Tanh", "h2", "y")],
            [("x", ["N", H]), ("h", ["N", H]), ("cell", ["N", H])],
            [("y", None), ("h2", None), ("cell2", None)], named,
        )  # fmt: skip

    check(tmp_path, made("rnn.weight_ih", "rnn.weight_hh"), LSTM, width=H)
    # Otherwise nothing is guessed: a network that takes all three.
    assert cases.load(tmp_path, made("A", "B")).inputs == ("x", "h", "cell")
