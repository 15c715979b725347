"""Windows against onnxruntime and torch: the "same" rule, and how many windows fit."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from jlstm import layers as L
from jlstm.errors import InputError, Unsupported
from jlstm.layers.windows import Window

GRID = list(itertools.product((5, 6, 7), (1, 2, 3, 4), (1, 2, 3)))


def random(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(node: onnx.NodeProto, x: np.ndarray) -> np.ndarray:
    """One ONNX node on `x (length, channels)`."""
    unknown = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    given = helper.make_tensor_value_info(
        "x", onnx.TensorProto.FLOAT, (1, x.shape[1], x.shape[0])
    )
    graph = helper.make_graph([node], "one", [given], [unknown])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(session.run(None, {"x": x.T[None]})[0])[0].T


@pytest.mark.parametrize(
    ("length", "size", "stride"), [g for g in GRID if g[1] >= g[2]]
)
def test_same_padding_of_average_pooling(length: int, size: int, stride: int) -> None:
    """The average over what a window holds of the signal tells where it lies."""
    x: Any = np.arange(1, length + 1, dtype=np.float32)[:, None] ** 2
    node = helper.make_node(
        "AveragePool", ["x"], ["y"],
        kernel_shape=[size], strides=[stride], auto_pad="SAME_UPPER",
    )  # fmt: skip
    layer = L.Pooling1D("average", size, stride, "same", "mean")
    expected = run(node, x)
    assert Window(size, stride, padding="same").count(length) == len(expected)
    y = np.asarray(jax.jit(layer)(x))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_same_padding_of_windows_that_skip_values() -> None:
    """A stride longer than the window leaves values out: nothing needs padding."""
    window = Window(2, 3, padding="same")
    assert [window.widths(length) for length in (6, 7, 8)] == [(0, 0), (0, 1), (0, 0)]
    assert [window.count(length) for length in (6, 7, 8)] == [2, 3, 3]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("length", "size", "dilation"), GRID)
def test_same_padding_of_dilated_convolution(
    length: int, size: int, dilation: int
) -> None:
    x, weights, zero = random(0, length, 2), random(1, size, 2, 3), random(2, 3)
    y = torch.nn.functional.conv1d(
        torch.from_numpy(x.T[None].copy()).double(),
        torch.from_numpy(weights.transpose(2, 1, 0).copy()).double(),
        torch.from_numpy(zero).double(),
        dilation=dilation,
        padding="same",
    )
    expected = y[0].numpy().T
    layer = L.Convolution1D(weights, zero, dilation=dilation, padding="same")
    error = np.abs(np.asarray(jax.jit(layer)(x)) - expected).max()
    assert error <= 1e-6 * np.abs(expected).max()


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
    x = random(0, 11, 2)
    layer = L.Convolution1D(
        random(1, 3, 2, 4), random(2, 4), dilation=2, padding="causal"
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


@pytest.mark.parametrize(
    ("layer", "phrase"),
    [
        (L.Pooling1D("max", 3), "max over time, 3"),
        (
            L.Pooling1D("average", 4, 3, "same", "mean"),
            "average over time, 4, stride 3, same, of mean",
        ),
        (
            L.Pooling2D("max", (2, 3), (2, 1), ((1, 1), (0, 2))),
            "max, 2 x 3, stride 2 x 1, padding 1+1 x 0+2",
        ),
        (
            L.Convolution1D(
                random(0, 3, 2, 6), random(1, 6), dilation=2, padding="causal", groups=2
            ),
            "over time, 3, dilation 2, causal, 2 groups",
        ),
        (
            L.Convolution2D(
                random(0, 3, 4, 2, 6),
                random(1, 6),
                padding=((1, 1), (0, 0)),
                padding_value="replicate",
            ),
            "3 x 4, padding 1+1 x 0+0, of replicate",
        ),
    ],
)
def test_description_has_every_setting(layer: L.Layer, phrase: str) -> None:
    assert layer.describe() == phrase
