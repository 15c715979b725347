"""Operators without state, against onnxruntime: several to a model, one output each."""

import json

import jax
import numpy as np
import onnx_cases as cases
import pytest
from onnx import TensorProto, helper
from onnx_cases import computed, load, model, node, original

import jlstm as jl
from jlstm.errors import DamagedFile, InputError, Unsupported
from jlstm.formats import onnx_read

T, C = 9, 4
SEQUENCE = ("x", ["batch", "time", C])


def x_of(*shape, seed=1):
    return cases.rng(seed).normal(size=shape).astype(np.float32)


def several(
    tmp_path,
    nodes,
    weights=None,
    *,
    dims=SEQUENCE,
    shape=(1, T, C),
    bound=1e-6,
    opset=cases.LATEST,
    positive=False,
    layers=None,
    turn=None,
):
    """Compare all outputs `y*` of the nodes; the batch is the first axis."""
    ends = [o for n in nodes for o in n.output if o.startswith("y")]
    made = model(nodes, [dims], [(o, None) for o in ends], weights, opset=opset)
    net = load(tmp_path, made, layers)
    x = np.abs(x_of(*shape)) + 0.1 if positive else x_of(*shape)
    given = x[0] if turn is None else turn(x[0])
    found = computed(net, given.reshape(_taken(net, given)))
    for end, y, want in zip(ends, found, original(made, {"x": x}), strict=True):
        want = want.reshape(want.shape[1:])
        if y.shape != want.shape:  # channels come last
            want = want.T if y.shape == want.T.shape else want.reshape(y.shape)
        assert y.dtype == np.float32, end
        cases.assert_close(y, want, bound)
    return net


def _taken(net, x):
    layer = net.layers[net.inputs[0]]
    return (*x.shape[:1], *layer.size) if layer.time else tuple(layer.size)


UNARY = [
    ("Relu", {}), ("LeakyRelu", {}), ("LeakyRelu", {"alpha": 0.3}), ("Elu", {}),
    ("Elu", {"alpha": 0.7}), ("Celu", {"alpha": 1.4}), ("Selu", {}), ("Sigmoid", {}),
    ("HardSigmoid", {}), ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.4}), ("Tanh", {}),
    ("Softplus", {}), ("Softsign", {}), ("ThresholdedRelu", {}), ("Neg", {}),
    ("ThresholdedRelu", {"alpha": 0.4}), ("HardSwish", {}), ("Abs", {}), ("Exp", {}),
    ("Gelu", {}), ("Gelu", {"approximate": "tanh"}), ("Erf", {}), ("Mish", {}),
    ("Identity", {}),
]  # fmt: skip


def test_functions_of_every_value(tmp_path):
    nodes = [node(op, "x", f"y{k}", **a) for k, (op, a) in enumerate(UNARY)]
    several(tmp_path, nodes)


def test_functions_of_positive_values(tmp_path):
    nodes = [node(op, "x", f"y{op}") for op in ("Sqrt", "Log", "Reciprocal")]
    several(tmp_path, nodes, positive=True)


def test_bounds(tmp_path):
    weights = {"low": np.float32(-0.4), "high": np.float32(0.7), "zero": np.float32(0)}
    several(tmp_path, [
        node("Clip", "x low high", "y1"), node("Clip", "x low", "y2"),
        node("Clip", "x - high", "y3"), node("Clip", "x zero high", "y4"),
        node("Max", "x low", "y5"), node("Min", "high x", "y6"),
        node("Max", "x zero", "y7"), node("Clip", "x", "y8"),
    ], weights)  # fmt: skip
    several(tmp_path, [node("Clip", "x", "y", min=-0.5, max=0.25)], opset=7)


def test_arithmetic_with_constants(tmp_path):
    random = cases.rng(3)
    weights = {
        "v": cases.trained(random, C) + 2, "s": np.float32(1.7),
        "w": cases.trained(random, 1, 1, C), "one": np.ones(C, np.float32),
        "two": np.float32(2), "half": np.float32(0.5), "three": np.float32(3),
    }  # fmt: skip
    several(tmp_path, [
        node("Add", "x v", "y1"), node("Add", "s x", "y2"), node("Sub", "x w", "y3"),
        node("Sub", "v x", "y4"), node("Mul", "x v", "y5"), node("Mul", "w x", "y6"),
        node("Div", "x v", "y7"), node("Mul", "x one", "y8"),
        node("Pow", "x two", "y9"), node("Pow", "x three", "y10"),
        node("Sum", "x v x", "y11"),
    ], weights)  # fmt: skip
    several(tmp_path, [
        node("Pow", "x half", "y1"), node("Div", "v x", "y2"),
    ], weights, positive=True)  # fmt: skip


def test_arithmetic_of_two_signals(tmp_path):
    weights = {"k": np.array([2], np.int64)}
    several(tmp_path, [
        node("Relu", "x", "a"), node("Sigmoid", "x", "b"),
        node("ReduceMean", "x", "mean", axes=[2], keepdims=1),
        node("ReduceMean", "x", "still", axes=[1], keepdims=1),
        *(node(op, "a b", f"y{op}")
          for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
        node("Sub", "x mean", "y_centred"), node("Mul", "still x", "y_still"),
        node("Sum", "a b x", "y_sum"),
    ], opset=17)  # fmt: skip
    del weights


def test_constants_that_widen_a_signal(tmp_path):
    several(
        tmp_path,
        [node("Mul", "x v", "y")],
        {"v": cases.trained(cases.rng(), 5)},
        dims=("x", ["batch", "time", 1]),
        shape=(1, T, 1),
    )


@pytest.mark.parametrize(
    "name, array",
    [
        ("time", x_of(1, T, 1)),
        ("outer", x_of(1, 3, 1, 1)),
    ],
)
def test_constants_that_depend_on_time_are_refused(tmp_path, name, array):
    made = model(
        [node("Add", "x v", "y", "sum")],
        [SEQUENCE],
        [("y", None)],
        {"v": array},
    )
    with pytest.raises(Unsupported, match="node 'sum'"):
        load(tmp_path, made)


def test_constants_that_differ_from_step_to_step_are_refused(tmp_path):
    """A recurrence says that the axis is time; its length fits the constant."""
    weights = cases.cell("LSTM", inputs=C)
    for constant, fits in ((x_of(T, 1, 1), False), (np.full((T, 1, 1), 0.3), True)):
        weights["v"] = constant.astype(np.float32)
        nodes = [
            node("Add", "x v", "z", "sum"),
            node("LSTM", "z W R B", "y", "lstm", hidden_size=5),
        ]
        made = model(nodes, [("x", [T, 1, C])], [("y", None)], weights)
        if not fits:
            told = {"axes": {"x": ["time", "batch", "channels"]}}
            with pytest.raises(Unsupported, match="node 'sum'"):
                load(tmp_path, made, told)
            with pytest.raises(Unsupported):
                load(tmp_path, made)
            continue
        (y,) = computed(load(tmp_path, made), x_of(T, C))
        want = original(made, {"x": x_of(T, C)[:, None]})[0]
        cases.assert_close(y, want[:, 0, 0])


def test_signals_that_meet_crosswise_are_refused(tmp_path):
    """(1, T, C) and (T, 1, C): every step of one with every step of the other."""
    nodes = [
        node("Transpose", "x", "z", perm=[1, 0, 2]),
        node("Add", "x z", "y", "sum"),
    ]
    made = model(nodes, [("x", [1, "time", C])], [("y", None)])
    with pytest.raises(Unsupported, match="node 'sum'"):
        load(tmp_path, made)


def dense(seed=0, out=5, into=C):
    random = cases.rng(seed)
    return {"w": cases.trained(random, into, out), "b": cases.trained(random, out)}


def test_a_product_and_its_bias_are_one_layer(tmp_path):
    nodes = [node("MatMul", "x w", "p", "fc_MatMul"), node("Add", "p b", "y", "fc_Add")]
    net = several(tmp_path, nodes, dense())
    assert list(net.layers) == ["x", "fc"]
    np.testing.assert_array_equal(net.layers["fc"].weights, dense()["w"].T)
    np.testing.assert_array_equal(net.layers["fc"].bias, dense()["b"])


def test_a_product_that_others_use_keeps_apart_from_the_bias(tmp_path):
    several(tmp_path, [
        node("MatMul", "x w", "p"), node("Add", "p b", "y1"), node("Tanh", "p", "y2"),
    ], dense())  # fmt: skip
    several(tmp_path, [
        node("MatMul", "x w", "p"), node("Identity", "p", "q"),
        node("Tanh", "q", "y2"), node("Add", "q b", "y1"),
    ], dense())  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alpha": 0.7, "beta": 1.3},
        {"transB": 1},
        {"transA": 1},
    ],
)
def test_gemm(tmp_path, settings):
    weights = dense()
    if settings.get("transB"):
        weights["w"] = np.ascontiguousarray(weights["w"].T)
    nodes = [node("Gemm", "z w b", "y", **settings)]
    nodes.insert(
        0,
        node("Transpose", "x", "z", perm=[1, 0])
        if "transA" in settings
        else node("Identity", "x", "z"),
    )
    several(tmp_path, nodes, weights, dims=("x", ["batch", C]), shape=(1, C))


def test_a_matrix_from_the_left(tmp_path):
    nodes = [node("Transpose", "x", "z", perm=[0, 2, 1]), node("MatMul", "w z", "y")]
    several(tmp_path, nodes, {"w": dense()["w"].T.copy()})


def test_steps_folded_into_the_batch(tmp_path):
    """What exporters of TimeDistributed write: reshape, product, reshape back."""
    weights = dense() | {
        "flat": np.array([-1, C], np.int64), "five": np.array([5], np.int64),
        "zero": np.array([0], np.int64), "two": np.array([2], np.int64),
    }  # fmt: skip
    several(tmp_path, [
        node("Reshape", "x flat", "z"), node("Gemm", "z w b", "p"),
        node("Shape", "x", "dims"), node("Slice", "dims zero two", "lead"),
        node("Concat", "lead five", "back", axis=0), node("Reshape", "p back", "y"),
    ], weights)  # fmt: skip


@pytest.mark.parametrize("opset, axis", [(22, -1), (22, 2), (12, 2), (11, -1)])
def test_softmax(tmp_path, opset, axis):
    several(
        tmp_path,
        [
            node("Softmax", "x", "y1", axis=axis),
            node("LogSoftmax", "x", "y2", axis=axis),
        ],
        opset=opset,
    )


@pytest.mark.parametrize("opset, axis", [(22, 1), (12, 1), (12, None)])
def test_softmax_over_time_is_refused(tmp_path, opset, axis):
    settings = {} if axis is None else {"axis": axis}
    made = model(
        [node("Softmax", "x", "y", "soft", **settings)],
        [SEQUENCE],
        [("y", None)],
        opset=opset,
    )
    with pytest.raises(Unsupported, match="node 'soft' \\(Softmax\\)"):
        load(tmp_path, made)


def test_normalisations(tmp_path):
    random = cases.rng(2)
    weights = {k: cases.trained(random, C) for k in ("s", "o", "m")}
    weights["v"] = np.abs(cases.trained(random, C)) + 0.1
    net = several(tmp_path, [
        node("Transpose", "x", "z", perm=[0, 2, 1]),
        node("BatchNormalization", "z s o m v", "y1", epsilon=1e-3),
        node("LayerNormalization", "x s o", "y2", epsilon=1e-3),
        node("LayerNormalization", "x s", "y3"),
        node("InstanceNormalization", "z s o", "y4", epsilon=1e-2),
    ], weights)  # fmt: skip
    assert {type(layer).__name__ for layer in net.layers.values()} == {
        "Input", "BatchNormalization", "LayerNormalization", "InstanceNormalization",
    }  # fmt: skip


CONVOLUTIONS = [
    dict(kernel_shape=[3]), dict(pads=[2, 1]), dict(strides=[2], pads=[1, 1]),
    dict(dilations=[2], pads=[4, 0]), dict(group=2), dict(auto_pad="VALID"),
    dict(auto_pad="SAME_UPPER"), dict(auto_pad="SAME_LOWER"),
    dict(auto_pad="SAME_UPPER", strides=[2]),
]  # fmt: skip


def test_convolutions_over_time(tmp_path):
    random = cases.rng(4)
    weights = {
        "w": cases.trained(random, 6, C, 3), "w2": cases.trained(random, 6, 2, 3),
        "w4": cases.trained(random, 6, C, 4), "b": cases.trained(random, 6),
    }  # fmt: skip
    nodes = [node("Transpose", "x", "z", perm=[0, 2, 1])]
    for k, settings in enumerate(CONVOLUTIONS):
        name = "w2" if "group" in settings else "w4" if "auto_pad" in settings else "w"
        nodes.append(node("Conv", f"z {name} b", f"c{k}", **settings))
        nodes.append(node("Transpose", f"c{k}", f"y{k}", perm=[0, 2, 1]))
    nodes.append(node("Conv", "z w", "y"))
    several(tmp_path, nodes, weights, shape=(1, 10, C))


def test_convolutions_with_an_axis_of_length_one(tmp_path):
    """TensorFlow's exporters write a convolution over time as one over images."""
    random = cases.rng(4)
    weights = {
        "w": cases.trained(random, 6, C, 1, 3),
        "b": cases.trained(random, 6),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
    }
    several(tmp_path, [
        node("Unsqueeze", "x one", "u"),
        node("Transpose", "u", "z", perm=[0, 3, 1, 2]),
        node("Conv", "z w b", "c", kernel_shape=[1, 3], strides=[1, 1]),
        node("MaxPool", "c", "p", kernel_shape=[1, 2], strides=[1, 2]),
        node("Squeeze", "p two", "s"), node("Transpose", "s", "y", perm=[0, 2, 1]),
    ], weights)  # fmt: skip


def test_pooling_over_time(tmp_path):
    two = dict(kernel_shape=[3], strides=[2], pads=[1, 1])
    several(tmp_path, [
        node("Transpose", "x", "z", perm=[0, 2, 1]),
        node("MaxPool", "z", "m", **two), node("AveragePool", "z", "a", **two),
        node("AveragePool", "z", "c", count_include_pad=1, **two),
        *(node("Transpose", n, f"y{n}", perm=[0, 2, 1]) for n in "mac"),
        node("GlobalAveragePool", "z", "y1"), node("GlobalMaxPool", "z", "y2"),
        node("ReduceMean", "x", "y3", axes=[1], keepdims=0),
        node("ReduceMax", "x", "y4", axes=[1], keepdims=1),
        node("ReduceMean", "x", "y5", axes=[-1], keepdims=0),
        node("ReduceSum", "x two", "y6"), node("ReduceL2", "x", "y7", axes=[2]),
    ], {"two": np.array([2], np.int64)}, opset=17)  # fmt: skip


def test_padding_of_time(tmp_path):
    weights = {
        "widths": np.array([0, 3, 0, 0, 2, 0], np.int64),
        "value": np.float32(0.7),
    }
    several(tmp_path, [
        node("Pad", "x widths value", "y1"),
        node("Pad", "x widths", "y2", mode="reflect"),
        node("Pad", "x widths", "y3", mode="edge"), node("Pad", "x widths", "y4"),
    ], weights)  # fmt: skip
    several(
        tmp_path, [node("Pad", "x", "y", pads=[0, 1, 0, 0, 2, 0], value=0.5)], opset=7
    )


def test_parts_of_time_and_channels(tmp_path):
    weights = {
        "last": np.array(-1, np.int64), "first": np.array(0, np.int64),
        "third": np.array(2, np.int64), "order": np.array([3, 1, 2], np.int64),
        "some": np.array([0, 2], np.int64),
        "a": np.array([1], np.int64), "b": np.array([3], np.int64),
        "minus": np.array([-2], np.int64), "end": np.array([2**63 - 1], np.int64),
        "time": np.array([1], np.int64), "chan": np.array([2], np.int64),
        "step": np.array([2], np.int64), "back": np.array([-1], np.int64),
        "none": np.array([-(2**63)], np.int64), "parts": np.array([1, 3], np.int64),
    }  # fmt: skip
    several(tmp_path, [
        node("Gather", "x last", "y1", axis=1), node("Gather", "x first", "y2", axis=1),
        node("Gather", "x third", "y3", axis=1),
        node("Gather", "x third", "y4", axis=2),
        node("Gather", "x order", "y5", axis=2),
        node("Gather", "x some", "y6", axis=2),
        node("Slice", "x a b time", "y7"), node("Slice", "x a end time step", "y8"),
        node("Slice", "x minus end time", "y9"), node("Slice", "x a b chan", "y10"),
        node("Slice", "x back none time back", "y11"),
        node("Split", "x parts", "y12 y13", axis=2), node("Split", "x", "y14 y15",
                                                          axis=2, num_outputs=2),
    ], weights)  # fmt: skip


def test_the_last_step_found_by_arithmetic(tmp_path):
    """`x[:, x.shape[1] - 1]`, as old exporters write `x[:, -1]`."""
    weights = {"one": np.array(1, np.int64)}
    net = several(tmp_path, [
        node("Shape", "x", "dims"), node("Gather", "dims one", "steps"),
        node("Sub", "steps one", "place"), node("Gather", "x place", "y", axis=1),
    ], weights)  # fmt: skip
    assert net.layers[net.outputs[0]].position == "last"


def test_what_depends_on_the_length_is_refused(tmp_path):
    weights = {"one": np.array(1, np.int64), "two": np.array(2, np.int64)}
    made = model([
        node("Shape", "x", "dims"), node("Gather", "dims one", "steps"),
        node("Div", "steps two", "place"), node("Gather", "x place", "y", axis=1),
    ], [SEQUENCE], [("y", None)], weights)  # fmt: skip
    with pytest.raises(Unsupported, match="depends on the length"):
        load(tmp_path, made)


def test_joined_and_stacked(tmp_path):
    weights = {"one": np.array([1], np.int64), "zero": np.array(0, np.int64)}
    several(tmp_path, [
        node("Relu", "x", "a"), node("Tanh", "x", "b"),
        node("Concat", "a x b", "y1", axis=2),
        node("Unsqueeze", "a one", "a1"), node("Unsqueeze", "b one", "b1"),
        node("Concat", "a1 b1", "stack", axis=1), node("Gather", "stack zero", "y2",
                                                       axis=1),
    ], weights)  # fmt: skip


def test_joined_along_time_is_refused(tmp_path):
    made = model(
        [node("Concat", "x x", "y", "both", axis=1)], [SEQUENCE], [("y", None)]
    )
    with pytest.raises(Unsupported, match="node 'both'"):
        load(tmp_path, made)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 2, 1]])
@pytest.mark.parametrize("how", ["Flatten", "Reshape"])
def test_a_whole_sequence_as_a_vector(tmp_path, order, how):
    """Time slowest, or channels slowest as after a convolution of torch."""
    weights = dense(into=T * C) | {"flat": np.array([0, -1], np.int64)}
    flat = (
        node("Flatten", "z", "f")
        if how == "Flatten"
        else (node("Reshape", "z flat", "f"))
    )
    several(tmp_path, [
        node("Transpose", "x", "z", perm=order), flat, node("Gemm", "f w b", "y"),
    ], weights, dims=("x", ["batch", T, C]))  # fmt: skip


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [0, 2, 3, 1]])
def test_an_image_as_a_vector(tmp_path, order):
    """Channels first as torch flattens them, or last as Keras does."""
    random = cases.rng()
    weights = dense(into=6 * 3 * 2) | {"k": cases.trained(random, 6, 2, 3, 2)}
    made = model([
        node("Conv", "x k", "c", pads=[0, 1, 0, 0], strides=[2, 2]),
        node("Relu", "c", "r"), node("Transpose", "r", "t", perm=order),
        node("Flatten", "t", "f"), node("Gemm", "f w b", "y"),
    ], [("x", ["batch", 2, 7, 4])], [("y", None)], weights)  # fmt: skip
    net = load(tmp_path, made)
    x = x_of(1, 2, 7, 4)
    assert net.layers["x"].size == (7, 4, 2) and not net.layers["x"].time
    (y,) = computed(net, x[0].transpose(1, 2, 0))
    cases.assert_close(y, original(made, {"x": x})[0][0])


def test_convolutions_over_space(tmp_path):
    """A sequence of short signals: windows, padding, parts of space, dense layers."""
    random = cases.rng(4)
    weights = {
        "w": cases.trained(random, 6, 2, 3), "m": cases.trained(random, 6, 5),
        "widths": np.array([0, 0, 2, 0, 0, 1], np.int64),
        "one": np.array([1], np.int64),
        "end": np.array([2**63 - 1], np.int64), "two": np.array([2], np.int64),
        "frames": np.array([-1, 2, 8], np.int64),
    }  # fmt: skip
    nodes = [
        node("Reshape", "x frames", "f"), node("Pad", "f widths", "p", mode="reflect"),
        node("Conv", "p w", "c", strides=[2]), node("Slice", "c one end two", "s"),
        node("Transpose", "s", "t", perm=[0, 2, 1]), node("MatMul", "t m", "d"),
        node("ReduceMean", "d", "r", axes=[1], keepdims=0), node("Tanh", "r", "y"),
    ]  # fmt: skip
    made = model(
        nodes, [("x", ["batch", "time", 2, 8])], [("y", None)], weights, opset=17
    )
    net = load(tmp_path, made)
    x = x_of(1, T, 2, 8)
    (y,) = computed(
        net,
        x[0].reshape(T, *net.layers["x"].size)
        if net.layers["x"].size == (2, 8)
        else x[0].transpose(0, 2, 1),
    )
    cases.assert_close(y, original(made, {"x": x})[0])


def test_a_vector_repeated(tmp_path):
    weights = {"one": np.array([1], np.int64), "six": np.array([1, 6, 1], np.int64)}
    several(tmp_path, [
        node("Unsqueeze", "x one", "u"), node("Tile", "u six", "y1"),
        node("Expand", "u six", "y2"),
    ], weights, dims=("x", ["batch", C]), shape=(1, C))  # fmt: skip


def test_embedding(tmp_path):
    table = cases.trained(cases.rng(), 11, 3)
    for kind, numbers in (
        (TensorProto.INT64, np.int64),
        (TensorProto.FLOAT, "float32"),
    ):
        made = model([
            node("Cast", "x", "k", to=TensorProto.INT32),
            node("Gather", "table k", "y"),
        ], [cases.value("x", ["batch", "time"], kind)], [("y", None)],
            {"table": table})  # fmt: skip
        net = load(tmp_path, made)
        x = cases.rng(1).integers(0, 11, (1, T)).astype(numbers)
        (y,) = computed(net, x[0][:, None])
        cases.assert_close(y, original(made, {"x": x})[0][0])


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMean"])
def test_what_is_left_of_time_is_reduced(op, tmp_path):
    """Of five steps two windows leave one, and the reduction takes its axis away."""
    nodes = [
        node("AveragePool", "x", "a", kernel_shape=[2], strides=[2]),
        node("MaxPool", "a", "b", kernel_shape=[2], strides=[2]),
        node(op, "b", "y", axes=[2], keepdims=0),
    ]
    made = model(nodes, [("x", ["N", 3, 5])], [("y", ["N", 3])], opset=13)
    x = cases.rng(2).normal(size=(1, 3, 5)).astype(np.float32)
    net = cases.load(tmp_path, made, {"axes": {"x": ["batch", 3, "time"]}})
    cases.assert_close(computed(net, x[0].T)[0], original(made, {"x": x})[0][0])


def test_a_mean_over_the_examples_is_refused(tmp_path):
    """Also where they have been through additions and reshapes."""
    weights = {"shape": np.array([0, 0, -1], np.int64)}
    nodes = [
        node("Tanh", "x", "a"),
        node("Add", "a x", "b"),
        node("Reshape", "b shape", "c"),
        node("ReduceMean", "c", "y", "mean", axes=[0]),
    ]
    made = model(nodes, [SEQUENCE], [("y", None)], weights, opset=17)
    told = {"axes": {"x": ["batch", "time", "channels"]}}
    with pytest.raises(Unsupported, match=r"node 'mean'.*over the examples"):
        load(tmp_path, made, told)


def test_slopes_of_a_rectifier(tmp_path):
    several(
        tmp_path,
        [node("PRelu", "x a", "y1"), node("PRelu", "x b", "y2")],
        {"a": cases.trained(cases.rng(), C), "b": np.float32([0.3])},
    )


def test_dropout_and_casts(tmp_path):
    weights = {"ratio": np.float32(0.3)}
    net = several(tmp_path, [
        node("Dropout", "x ratio", "d", "drop"), node("Cast", "d", "y", to=1),
    ], weights)  # fmt: skip
    assert abs(net.layers["drop"].probability - 0.3) < 1e-7
    several(tmp_path, [node("Dropout", "x", "y", ratio=0.3)], opset=7)


def test_a_branch_with_a_known_condition(tmp_path):
    yes = helper.make_graph(
        [node("Tanh", "x", "t")], "yes", [], [cases.value("t", None)]
    )
    no = helper.make_graph([node("Sin", "x", "e")], "no", [], [cases.value("e", None)])
    weights = {
        "k": np.array(1, np.int64),
        "four": np.array(C, np.int64),
        "two": np.array(2, np.int64),
    }
    several(tmp_path, [
        node("Shape", "x", "dims"), node("Gather", "dims two", "width"),
        node("Equal", "width four", "same"),
        node("If", "same", "y", then_branch=yes, else_branch=no),
    ], weights)  # fmt: skip


def test_operators_that_the_file_defines(tmp_path):
    body = [node("MatMul", "a w", "p"), node("LeakyRelu", "p", "q")]
    reference = body[1].attribute.add(name="alpha", ref_attr_name="slope")
    reference.type = 1
    function = helper.make_function(
        "own",
        "Layer",
        ["a", "w"],
        ["q"],
        body,
        [helper.make_opsetid("", 22)],
        ["slope"],
    )
    made = model(
        [helper.make_node("Layer", ["x", "w"], ["y"], domain="own", slope=0.2)],
        [SEQUENCE],
        [("y", None)],
        dense(),
    )
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    x = x_of(1, T, C)
    (y,) = computed(load(tmp_path, made), x[0])
    cases.assert_close(y, original(made, {"x": x})[0][0])
    again = helper.make_node("Layer", ["a", "w"], ["q"], domain="own")
    made.functions[0].node.append(again)
    made.functions[0].node[-1].output[0] = "r"
    made.functions[0].output[0] = "r"
    with pytest.raises((DamagedFile, Unsupported)):
        load(tmp_path, made)


def test_double_precision(tmp_path):
    weights = {k: v.astype(np.float64) for k, v in dense().items()}
    made = model(
        [node("MatMul", "x w", "p"), node("Add", "p b", "q"), node("Tanh", "q", "y")],
        [cases.value("x", ["batch", "time", C], TensorProto.DOUBLE)],
        [cases.value("y", None, TensorProto.DOUBLE)],
        weights,
    )
    x = cases.rng(2).normal(size=(1, T, C))
    with jax.enable_x64(True):
        (y,) = computed(load(tmp_path, made), x[0])
    assert y.dtype == np.float64
    cases.assert_close(y, original(made, {"x": x})[0][0], 1e-14)


def test_half_precision_is_widened(tmp_path):
    weights = {k: v.astype(np.float16) for k, v in dense().items()}
    made = model(
        [node("MatMul", "x w", "y")],
        [cases.value("x", ["batch", "time", C], TensorProto.FLOAT16)],
        [cases.value("y", None, TensorProto.FLOAT16)],
        weights,
    )
    net = load(tmp_path, made)
    assert any("half precision" in n for n in net.origin.notices)
    np.testing.assert_array_equal(
        net.layers["MatMul"].weights
        if "MatMul" in net.layers
        else net.layers[net.outputs[0]].weights,
        weights["w"].T.astype(np.float32),
    )


def test_several_inputs_and_outputs_keep_their_order(tmp_path):
    made = model(
        [node("MatMul", "d w", "p", "left"), node("Add", "p a", "s", "sum"),
         node("Tanh", "s", "y", "squash")],
        [("a", ["batch", "time", 5]), ("d", ["batch", "time", C])],
        [("y", None), ("p", None)], dense(),
    )  # fmt: skip
    net = load(tmp_path, made)
    assert net.inputs == ("a", "d") and net.outputs == ("squash", "left")
    a, b = x_of(1, T, 5), x_of(1, T, C, seed=2)
    for y, want in zip(
        computed(net, a[0], b[0]), original(made, {"a": a, "d": b}), strict=True
    ):
        cases.assert_close(y, want[0])


def test_initializers_that_are_inputs_too(tmp_path):
    """Before version 4 of the format every initializer was declared as an input."""
    weights = dense()
    made = model(
        [node("MatMul", "x w", "p"), node("Add", "p b", "y")],
        [SEQUENCE, ("w", [C, 5]), ("b", [5])],
        [("y", None)],
        weights,
        opset=7,
        ir=3,
    )
    net = load(tmp_path, made)
    assert net.inputs == ("x",)
    (y,) = computed(net, x_of(T, C))
    cases.assert_close(y, original(made, {"x": x_of(T, C)[None]})[0][0])


def test_unused_weights_are_told(tmp_path):
    made = model(
        [node("Tanh", "x", "y")],
        [SEQUENCE],
        [("y", None)],
        {"left_over": np.ones(3, np.float32)},
    )
    assert "initializer left_over" in load(tmp_path, made).origin.ignored[0]


def test_a_fixed_batch_is_told(tmp_path):
    weights = cases.cell("LSTM", inputs=C)
    made = cases.recurrent("LSTM", "Y", weights=weights, dims=("T", 3, C))
    notices = load(tmp_path, made).origin.notices
    assert any("batches of 3 examples" in notice for notice in notices)


REFUSED = [
    ("Loop", {}, "Loop"), ("Scan", {}, "Scan"), ("TopK", {}, "TopK"),
    ("QuantizeLinear", {}, "quantisation"),
    ("Einsum", {"equation": "abc->ab"}, "Einsum"),
    ("Sin", {}, "does not read the operator Sin"),
    ("MaxPool", {"kernel_shape": [2], "ceil_mode": 1}, "beyond the end"),
    ("Tanh", {"wild": 1}, "wild"), ("LpPool", {"kernel_shape": [2]}, "LpPool"),
]  # fmt: skip


@pytest.mark.parametrize("op, settings, words", REFUSED)
def test_operators_that_are_refused_by_name(tmp_path, op, settings, words):
    made = model(
        [
            node("Transpose", "x", "z", perm=[0, 2, 1]),
            node(op, "z", "y", "culprit", **settings),
        ],
        [SEQUENCE],
        [("y", None)],
    )
    with pytest.raises(Unsupported) as caught:
        load(tmp_path, made)
    assert f"node 'culprit' ({op})" in str(caught.value)
    assert words in str(caught.value)


def test_other_domains_are_refused(tmp_path):
    made = model(
        [
            helper.make_node(
                "DynamicQuantizeLSTM", ["x"], ["y"], name="q", domain="com.microsoft"
            )
        ],
        [SEQUENCE],
        [("y", None)],
    )
    with pytest.raises(Unsupported, match=r"(?s)node 'q'.*com.microsoft.*quantisation"):
        load(tmp_path, made)


@pytest.mark.parametrize("opset", [6, 99])
def test_unknown_versions_are_refused(tmp_path, opset):
    made = model([node("Tanh", "x", "y")], [SEQUENCE], [("y", None)], opset=opset)
    with pytest.raises(Unsupported, match="opset_import"):
        load(tmp_path, made)


def test_axes_can_be_told(tmp_path):
    made = model(
        [node("ReduceMean", "x", "y", axes=[1], keepdims=0)],
        [("x", ["a", "b", C])],
        [("y", None)],
        opset=17,
    )
    net = load(tmp_path, made, {"axes": {"x": ["batch", 6, "channels"]}})
    x = x_of(1, 6, C)
    (y,) = computed(net, x[0])
    cases.assert_close(y.reshape(-1), original(made, {"x": x})[0][0])
    path = tmp_path / "told.toml"
    path.write_text('[axes]\nx = ["batch", "time", "channels"]\n')
    assert load(tmp_path, made, path).layers["x"].time


@pytest.mark.parametrize(
    "told",
    [
        {"axes": {"z": ["batch"]}},
        {"axes": {"x": ["batch", "time"]}},
        {"axis": {}},
        {"axes": {"x": ["batch", "time", 5]}},
        {"axes": {"x": ["batch", "time", "width"]}},
        {"constants": {"x": "text"}},
        {"constants": {"w": 1}},
        {"axes": {"x": "batch"}},
        [],
    ],
)
def test_descriptions_that_do_not_fit(tmp_path, told):
    made = model([node("Tanh", "x", "y")], [SEQUENCE], [("y", None)])
    with pytest.raises(InputError):
        load(tmp_path, made, told)


def test_an_input_without_axes(tmp_path):
    made = model([node("Tanh", "x", "y")], [cases.value("x", None)], [("y", None)])
    with pytest.raises(Unsupported, match="layers="):
        load(tmp_path, made)
    net = load(tmp_path, made, {"axes": {"x": ["batch", "time", 3]}})
    assert net.layers["x"].size == (3,)


def test_golden_vectors(tmp_path):
    made = model([node("Tanh", "x", "y")], [SEQUENCE], [("y", None)])
    from jlstm.formats import golden_json
    from jlstm.golden import Golden

    x = x_of(T, C)
    net = load(tmp_path, made)
    text = golden_json.dumps([Golden((x,), (np.tanh(x),), note="by hand")])
    made.metadata_props.add(key="jlstm.golden", value=text)
    net, records = onnx_read.load(cases.written(tmp_path, made))
    assert records[0].note == "by hand"
    np.testing.assert_array_equal(records[0].inputs[0], x)
    made.metadata_props[0].value = json.dumps({"records": 3})
    with pytest.raises(DamagedFile, match=r"jlstm\.golden"):
        onnx_read.load(cases.written(tmp_path, made))
    assert jl.predict(net, x).shape == (T, C)
