"""An ONNX graph for one job only: fixed sizes, states as plain inputs and outputs.

The file that jlstm writes takes any number of steps and of examples, and states that
are left out; what that costs is not onnxruntime's fault.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from ..series import Part, Series

OPSET, IR_VERSION = 17, 8
ORDERS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""ONNX's gates, i o f g and z r n, by their place in the rows of a series."""
POINTWISE = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def encoded(parts: Series, batch: int, steps: int, streaming: bool) -> bytes:
    """The model: "x" `(steps, batch, C)` to "y"; states "s0_0" to "s0_n", and so on."""
    graph = _Graph(batch, streaming)
    value = "x"
    for part in parts:
        value = graph.add(part, value)
    return graph.model(parts, value, steps)


class _Graph:
    def __init__(self, batch: int, streaming: bool) -> None:
        self.batch, self.streaming = batch, streaming
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.states: list[int] = []
        """Widths of the states."""

    def call(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        node = onnx.helper.make_node(op, inputs, names, **attributes)
        self.nodes.append(node)
        return names[0]

    def array(self, values: np.ndarray) -> str:
        name = f"a{len(self.arrays)}"
        self.arrays.append(onnx.numpy_helper.from_array(values, name))
        return name

    def add(self, part: Part, x: str) -> str:
        a = part.arrays
        if part.kind == "fc":
            product = self.call("MatMul", x, self.array(a["W"].T.copy()))
            return self.call("Add", product, self.array(a["b"]))
        if part.kind == "centre":
            centred = self.call("Sub", x, self.array(a["m"]))
            return self.call("Mul", centred, self.array(a["s"]))
        if part.kind in POINTWISE:
            return self.call(POINTWISE[part.kind], x)
        return self.recurrent(part, x)

    def recurrent(self, part: Part, x: str) -> str:
        both = part.kind == "bilstm"
        kind = "gru" if part.kind == "gru" else "lstm"
        sides = [_packed(part, kind, side) for side in ("fb" if both else [""])]
        arrays = [self.array(np.stack(some)) for some in zip(*sides, strict=True)]
        count = 1 if kind == "gru" else 2
        names = [f"s{len(self.states) + k}" for k in range(count)]
        starts = [f"{name}_0" for name in names if self.streaming]
        ends = [f"{name}_n" for name in names]
        self.states += [part.hidden] * count
        settings: dict[str, Any] = {"linear_before_reset": 1} if kind == "gru" else {}
        y = f"y{len(self.nodes)}"
        self.nodes.append(
            onnx.helper.make_node(
                kind.upper(), [x, *arrays, *([""] * bool(starts)), *starts], [y, *ends],
                hidden_size=part.hidden,
                direction="bidirectional" if both else "forward", **settings,
            )
        )  # fmt: skip
        if part.last and not self.streaming:
            y = ends[0]  # (directions, batch, H)
            if both:
                y = self.call("Transpose", y, perm=[1, 0, 2])
                return self.reshape(y, 0, 2 * part.hidden)
            return self.call("Squeeze", y, self.array(np.array([0])))
        if both:  # (time, directions, batch, H)
            y = self.call("Transpose", y, perm=[0, 2, 1, 3])
            return self.reshape(y, 0, 0, 2 * part.hidden)
        return self.call("Squeeze", y, self.array(np.array([1])))

    def reshape(self, x: str, *sizes: int) -> str:
        return self.call("Reshape", x, self.array(np.array(sizes)))

    def model(self, parts: Series, value: str, steps: int) -> bytes:
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT

        def info(name: str, sizes: list[int] | None) -> Any:
            return helper.make_tensor_value_info(name, kind, sizes)

        self.nodes.append(helper.make_node("Identity", [value], ["y"]))
        given = [info("x", [steps, self.batch, features(parts)])]
        result = [info("y", None)]
        for k, width in enumerate(self.states if self.streaming else ()):
            given.append(info(f"s{k}_0", [1, self.batch, width]))
            result.append(info(f"s{k}_n", [1, self.batch, width]))
        graph = helper.make_graph(self.nodes, "network", given, result, self.arrays)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        return onnx.shape_inference.infer_shapes(model).SerializeToString()


def _packed(part: Part, kind: str, side: str) -> list[np.ndarray]:
    """W, R and B of one direction, in ONNX's order of gates."""
    a = {name: part.arrays[f"{side}{name}"] for name in "WRb"}
    order = ORDERS[kind]

    def ordered(array: np.ndarray) -> np.ndarray:
        blocks = np.split(array, len(order))
        return np.concatenate([blocks[k] for k in order])

    recurrent = np.zeros_like(a["b"])
    if kind == "gru":
        recurrent[-part.hidden :] = part.arrays["bn"]
    bias = np.concatenate([ordered(a["b"]), recurrent])
    return [ordered(a["W"]), ordered(a["R"]), bias]


def features(parts: Series) -> int:
    """C, the inputs of a step."""
    for part in parts:
        for name in ("m", "W", "fW"):
            if name in part.arrays:
                return part.arrays[name].shape[-1]
    raise ValueError("a series without arrays")
