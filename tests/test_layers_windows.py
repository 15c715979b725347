"""Windows against onnxruntime: the "same" rule, and how many windows fit."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from jlstm import layers as L
from jlstm.errors import InputError, Unsupported
from jlstm.layers.windows import Window

GRID = list(itertools.product((5, 6, 7), (1, 2, 3, 4), (1, 2, 3)))


def run(node: onnx.NodeProto, x: np.ndarray, **constants: np.ndarray) -> np.ndarray:
    """One ONNX node on `x (length, channels)`."""
    unknown = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    given = helper.make_tensor_value_info(
        "x", onnx.TensorProto.FLOAT, (1, x.shape[1], x.shape[0])
    )
    weights = [onnx.numpy_helper.from_array(a, name) for name, a in constants.items()]
    graph = helper.make_graph([node], "one", [given], [unknown], weights)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(session.run(None, {"x": x.T[None]})[0])[0].T


@pytest.mark.parametrize(("length", "size", "stride"), GRID)
def test_same_padding_of_average_pooling(length: int, size: int, stride: int) -> None:
    """The average over what a window holds of the signal tells where it lies."""
    x = np.arange(1, length + 1, dtype=np.float32)[:, None] ** 2
    node = helper.make_node(
        "AveragePool", ["x"], ["y"],
        kernel_shape=[size], strides=[stride], auto_pad="SAME_UPPER",
    )  # fmt: skip
    layer = L.Pooling1D("average", size, stride, "same", "mean")
    expected = run(node, x)
    assert Window(size, stride, padding="same").count(length) == len(expected)
    y = np.asarray(jax.jit(layer)(x))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize(("length", "size", "dilation"), GRID)
def test_same_padding_of_dilated_convolution(
    length: int, size: int, dilation: int
) -> None:
    rng = np.random.default_rng(length)
    x = rng.normal(size=(length, 2)).astype(np.float32)
    weights = rng.normal(size=(size, 2, 3)).astype(np.float32)
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], dilations=[dilation], auto_pad="SAME_UPPER"
    )
    zero = np.zeros(3, np.float32)
    layer = L.Convolution1D(weights, zero, dilation=dilation, padding="same")
    expected = run(node, x, w=np.ascontiguousarray(weights.transpose(2, 1, 0)))
    y = np.asarray(jax.jit(layer)(x))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("length", "size", "stride"), GRID)
def test_number_of_windows_by_counting(length: int, size: int, stride: int) -> None:
    for dilation, padding in itertools.product((1, 2), ((0, 0), (2, 1), (0, 3))):
        window = Window(size, stride, dilation, padding)
        padded = np.arange(sum(padding) + length)
        taps = np.arange(size) * dilation
        starts = [
            s for s in range(0, len(padded), stride) if s + taps[-1] < len(padded)
        ]
        if starts:
            assert window.count(length) == len(starts)
        else:
            with pytest.raises(InputError, match="shorter than the window"):
                window.count(length)


def test_causal_convolution_does_not_look_ahead() -> None:
    """A change at step t changes nothing before t, and something at t."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(11, 2)).astype(np.float32)
    weights = rng.normal(size=(3, 2, 4)).astype(np.float32)
    layer = L.Convolution1D(
        weights, np.zeros(4, np.float32), dilation=2, padding="causal"
    )
    apply = jax.jit(layer)
    changed = x.copy()
    changed[6] += 1.0
    different = np.any(np.asarray(apply(x)) != np.asarray(apply(changed)), axis=1)
    assert different.nonzero()[0].tolist() == [6, 8, 10]


@pytest.mark.parametrize(
    "padding", [(-1, 0), (1, 2, 3)], ids=["negative", "three numbers"]
)
def test_refuses_padding_that_is_no_padding(padding: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="padding is two numbers"):
        Window(3, padding=padding).check()  # pyright: ignore[reportArgumentType]


def test_refuses_unknown_rules() -> None:
    with pytest.raises(Unsupported, match="unknown padding"):
        Window(3, padding="valid").check(("same", "causal"))
    with pytest.raises(Unsupported, match="unknown padding"):
        Window(3, padding="causal").check()
    with pytest.raises(InputError, match="positive"):
        Window(0).check()
