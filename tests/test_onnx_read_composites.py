"""Several nodes that are one layer, constants that a layer takes in; onnxruntime."""

import math

import numpy as np
import onnx_cases as cases
import pytest
from onnx_cases import assert_close, computed, model, node, original, trained

from jlstm import layers as L
from jlstm.errors import Unsupported

T, C = 6, 4
AXES = ["T", "N", C]
SQUARES = {"Mul": "Mul d d", "Pow": "Pow d two"}


def both(tmp_path, nodes, weights, opset=17):
    """The kinds of layers, after the answers are compared with onnxruntime's."""
    made = model(
        nodes, [("x", AXES)], [("y", [None, None, None])], weights, opset=opset
    )
    x = cases.rng(3).normal(size=(T, 1, C)).astype(np.float32)
    net = cases.load(tmp_path, made)
    assert_close(
        computed(net, x[:, 0])[0], np.asarray(original(made, {"x": x})[0])[:, 0]
    )
    return [layer for layer in net.layers.values() if not isinstance(layer, L.Input)]


def numbers(**values):
    return {name: np.array(value, np.float32) for name, value in values.items()}


def vectors(*names):
    random = cases.rng(4)
    return {name: trained(random, C) for name in names}


def standardised(axes, square="Mul", last="z"):
    op, a, b = SQUARES[square].split()
    # onnxruntime loses an epsilon that comes first where it sees a Pow.
    raised = "epsilon v" if square == "Mul" else "v epsilon"
    return [
        node("ReduceMean", "x", "m", axes=axes),
        node("Sub", "x m", "d"),
        node(op, f"{a} {b}", "q"),
        node("ReduceMean", "q", "v", axes=axes),
        node("Add", raised, "w"),
        node("Sqrt", "w", "s"),
        node("Div", "d s", last),
    ]


SMALL = numbers(epsilon=1e-3, two=2)


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize(
    "axes, kind", [([-1], L.LayerNormalization), ([0], L.InstanceNormalization)]
)
def test_normalisation_by_its_own_statistics(tmp_path, square, axes, kind):
    nodes = [
        *standardised(axes, square),
        node("Mul", "z a", "u"),
        node("Add", "u b", "y"),
    ]
    (layer,) = both(tmp_path, nodes, {**SMALL, **vectors("a", "b")})
    assert isinstance(layer, kind)
    assert isinstance(layer, L.LayerNormalization | L.InstanceNormalization)
    np.testing.assert_array_equal(layer.scale, vectors("a", "b")["a"])
    np.testing.assert_array_equal(layer.offset, vectors("a", "b")["b"])


def test_offset_before_the_scale_is_scaled_too(tmp_path):
    nodes = [
        *standardised([-1]),
        node("Add", "z b", "u"),
        node("Mul", "u a", "y"),
    ]
    found = both(tmp_path, nodes, {**SMALL, **vectors("a", "b")})
    assert [type(layer) for layer in found] == [L.LayerNormalization, L.Scaling]


def test_offsets_add_up(tmp_path):
    nodes = [
        node("Mul", "x a", "u"), node("Add", "u b", "v"), node("Add", "v c", "y"),
    ]  # fmt: skip
    assert len(both(tmp_path, nodes, vectors("a", "b", "c"))) == 2


def test_scale_that_others_see_stays_apart(tmp_path):
    nodes = [
        *standardised([-1]), node("Mul", "z a", "u"), node("Add", "u z", "y"),
    ]  # fmt: skip
    both(tmp_path, nodes, {**SMALL, **vectors("a")})


def test_different_axes_are_no_normalisation(tmp_path):
    """The variance over time about the mean over channels: read piece by piece."""
    nodes = standardised([-1], last="y")
    nodes[3].attribute[0].ints[:] = [0]
    found = both(tmp_path, nodes, SMALL)
    assert not any(isinstance(layer, L.LayerNormalization) for layer in found)


ROOT = math.sqrt(2)
GELU = numbers(root=ROOT, inverse=1 / ROOT, one=1, half=0.5)
GELUS = {
    "torch": ["Div x root e", "Erf e f", "Add f one g", "Mul x g h", "Mul h half y"],
    "dynamo": [
        "Mul half x h",
        "Mul x inverse e",
        "Erf e f",
        "Add one f g",
        "Mul h g y",
    ],
    "inner": ["Div x root e", "Erf e f", "Add f one g", "Mul g half h", "Mul x h y"],
}


def chain(lines):
    words = [line.split() for line in lines]
    return [node(op, " ".join(given), last) for op, *given, last in words]


@pytest.mark.parametrize("how", GELUS)
def test_gelu(tmp_path, how):
    (layer,) = both(tmp_path, chain(GELUS[how]), GELU)
    assert isinstance(layer, L.Activation) and layer.name == "gelu"


@pytest.mark.parametrize("wrong", ["root", "one", "half"])
def test_gelu_of_other_numbers_is_none(tmp_path, wrong):
    weights = {**GELU, wrong: GELU[wrong] * np.float32(1.01)}
    assert len(both(tmp_path, chain(GELUS["torch"]), weights)) > 1


@pytest.mark.parametrize(
    "name, lines",
    {
        "swish": ["Sigmoid x s", "Mul x s y"],
        "mish": ["Softplus x s", "Tanh s t", "Mul t x y"],
        "log-sigmoid": ["Neg x s", "Softplus s t", "Neg t y"],
    }.items(),
)
def test_functions_of_several_nodes(tmp_path, name, lines):
    (layer,) = both(tmp_path, chain(lines), {})
    assert isinstance(layer, L.Activation) and layer.name == name


def test_softplus_as_torch_writes_it(tmp_path):
    lines = ["Softplus x s", "Greater x twenty b", "Where b x s y"]
    (layer,) = both(tmp_path, chain(lines), numbers(twenty=20))
    assert isinstance(layer, L.Activation) and layer.name == "softplus"
    with pytest.raises(Unsupported, match="Greater"):
        both(tmp_path, chain(lines), numbers(twenty=0))


def test_product_with_the_sigmoid_of_something_else(tmp_path):
    lines = ["Tanh x t", "Sigmoid t s", "Mul x s y"]
    assert len(both(tmp_path, chain(lines), {})) == 3


def test_group_normalization(tmp_path):
    turned = [node("Transpose", "x", "c", perm=[1, 2, 0])]
    turned.append(node("GroupNormalization", "c a b", "g", num_groups=2, epsilon=1e-3))
    turned.append(node("Transpose", "g", "y", perm=[2, 0, 1]))
    (layer,) = both(tmp_path, turned, vectors("a", "b"), opset=21)
    assert isinstance(layer, L.GroupNormalization) and layer.groups == 2


def test_normalised_input_that_others_take_too_is_left_alone(tmp_path):
    """`x - mean` beside `x` itself: the input may not change."""
    nodes = [node("Sub", "x mean", "d"), node("Mul", "d x", "y")]
    assert len(both(tmp_path, nodes, vectors("mean"))) == 2


@pytest.mark.parametrize(
    "lines, normalization",
    [
        (["Sub x a y"], "zerocenter"),
        (["Sub x a d", "Div d b y"], "zscore"),
        (["Sub b a r", "Sub x a d", "Div d r y"], "rescale-zero-one"),
        (["Sub b c r", "Sub x a d", "Div d r y"], "zscore"),
    ],
)
def test_normalisation_of_the_input(tmp_path, lines, normalization):
    weights = vectors("a", "b", "c")
    assert both(tmp_path, chain(lines), weights) == []
    made = model(chain(lines), [("x", AXES)], [("y", [None] * 3)], weights, opset=17)
    (layer,) = cases.load(tmp_path, made).layers.values()
    assert isinstance(layer, L.Input) and layer.normalization == normalization
    first = layer.minimum if layer.mean is None else layer.mean
    np.testing.assert_array_equal(first, weights["a"])


def test_operator_that_no_file_holds(tmp_path):
    made = model(
        [node("standardise", "x", "y", axes=[-1], epsilon=1e-3, domain="jlstm")],
        [("x", AXES)], [("y", AXES)], opset=17,
    )  # fmt: skip
    with pytest.raises(Unsupported, match="outside of the standard"):
        cases.load(tmp_path, made)
