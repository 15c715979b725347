"""Functions of tensors in a functional model: slices, arithmetic, masks.

Keras 3 saves each as an operation of its own class, Keras 2 as a layer `TFOpLambda` or
`SlicingOpLambda` that names a function of TensorFlow. What is not known becomes a
refusal only where something needs it: Keras 3 also saves how it computed masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import layers as L
from ...activations import parse
from ...errors import Unsupported
from . import functions
from .joining import concatenated, elementwise
from .shaping import cut_space, cut_time, reshaped
from .wiring import Call, Mask, Tensor

Operation = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {}
"""By class in Keras 3; each takes a call, then the arguments of the function."""

TENSORFLOW = {
    "__operators__.add": "Add", "math.add": "Add", "add": "Add",
    "math.subtract": "Subtract", "subtract": "Subtract",
    "__operators__.sub": "Subtract",
    "math.multiply": "Multiply", "multiply": "Multiply",
    "__operators__.mul": "Multiply", "math.truediv": "Divide", "math.divide": "Divide",
    "__operators__.truediv": "Divide", "__operators__.getitem": "GetItem",
    "concat": "Concatenate", "expand_dims": "ExpandDims", "squeeze": "Squeeze",
    "compat.v1.squeeze": "Squeeze", "cast": "Cast", "identity": "Cast",
    "stop_gradient": "Cast", "convert_to_tensor": "Cast", "reshape": "Reshape",
    "math.reduce_mean": "Mean", "math.reduce_max": "Max", "nn.relu": "Relu",
    "math.sigmoid": "Sigmoid", "sigmoid": "Sigmoid", "nn.sigmoid": "Sigmoid",
    "math.tanh": "Tanh", "tanh": "Tanh", "nn.tanh": "Tanh", "nn.softmax": "Softmax",
    "math.softplus": "Softplus", "nn.softplus": "Softplus", "math.exp": "Exp",
    "math.square": "Square", "math.sqrt": "Sqrt", "math.abs": "Absolute",
    "math.negative": "Negative", "reverse": "Flip", "math.maximum": "Maximum",
    "math.minimum": "Minimum", "clip_by_value": "Clip",
    "math.erf": "Erf", "math.not_equal": "NotEqual",
    "math.reduce_any": "Any",
}  # fmt: skip
"""Functions of TensorFlow by the name that Keras 2 gives them."""

FUNCTIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus",
    "Softsign": "softsign", "Silu": "swish", "Exp": "exponential", "Square": "square",
    "Sqrt": "sqrt", "Absolute": "abs", "Abs": "abs", "Selu": "selu", "Mish": "mish",
    "Relu6": "clipped-relu(6.0)", "HardSigmoid": functions.HARD_SIGMOID[3],
    "HardSilu": "hard-swish", "LogSigmoid": "log-sigmoid",
    "Reciprocal": "reciprocal", "Log": "log", "Negative": "affine(-1.0)",
}  # fmt: skip

FULL = slice(None)


def operation(*names: str) -> Callable[[Operation], Operation]:
    """Register what an operation computes."""

    def register(function: Operation) -> Operation:
        for name in names:
            OPERATIONS[name] = function
        return function

    return register


def _plain(value: Any) -> Tensor:
    """A tensor that is not part of how a mask is computed."""
    if isinstance(value, Tensor) and value.pending is None:
        return value._replace(mask=None)
    what = getattr(value, "pending", None) or type(value).__name__
    raise Unsupported("not a tensor of the network", found=what)


def _on(call: Call, x: Any) -> Call:
    return call.called(call.name, call.as_vector(_plain(x)))


# --- arithmetic -----------------------------------------------------------------------


def _constant(call: Call, value: Any) -> np.ndarray:
    """A number, or numbers that broadcast against one step."""
    if isinstance(value, dict):
        value = value.get("config", {}).get("value")
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        call.settings.refuse("arguments", value, "a tensor or numbers")
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array.astype(call.dtype)


LAYERS = {"Add": L.Addition, "Subtract": L.Subtraction, "Multiply": L.Multiplication,
          "Divide": L.Division, "Maximum": L.Maximum, "Minimum": L.Minimum}  # fmt: skip
AFFINE: dict[str, Callable[[np.ndarray], tuple[Any, Any]]] = {
    "Add": lambda c: (1, c),
    "Subtract": lambda c: (1, -c),
    "Multiply": lambda c: (c, 0),
    "Divide": lambda c: (1 / c, 0),
}
"""Scale and offset of `x (operation) c`."""
REVERSED: dict[str, Callable[[np.ndarray], tuple[Any, Any]]] = {
    "Add": AFFINE["Add"],
    "Multiply": AFFINE["Multiply"],
    "Subtract": lambda c: (-1, c),
}
"""Scale and offset of `c (operation) x`."""


BOUNDS = {"Maximum": "low", "Minimum": "high"}
"""Which bound a constant is."""


def _arithmetic(call: Call, name: str, a: Any, b: Any) -> Tensor:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        pair = [_plain(a), _plain(b)]
        if pair[0].flat != pair[1].flat:
            pair = [call.as_vector(x) for x in pair]
        return elementwise(call.called(call.name, *pair), LAYERS[name]())
    forms = AFFINE if isinstance(a, Tensor) else REVERSED
    x, c = (a, b) if isinstance(a, Tensor) else (b, a)
    if name in BOUNDS:
        ends = dict.fromkeys(("low", "high")) | {BOUNDS[name]: c}
        return _bounded(call, x, **ends)
    if name not in forms:
        call.settings.refuse("arguments", f"{name} of a tensor and a constant", None)
    scale, offset = forms[name](_constant(call, c).astype(np.float64))
    layer = L.Scaling(*(np.asarray(v, call.dtype) for v in (scale, offset)))
    return call.called(call.name, _plain(x)).then(layer)


for _name in LAYERS:
    # The arguments are x1 and x2 in Keras 3, x and y in TensorFlow.
    operation(_name)(
        lambda call, x1=None, x2=None, x=None, y=None, name=_name: _arithmetic(
            call, name, x if x1 is None else x1, y if x2 is None else x2
        )
    )
OPERATIONS["TrueDivide"] = OPERATIONS["Divide"]


def _function(call: Call, x: Any, spec: str) -> Tensor:
    return call.called(call.name, _plain(x)).then(L.Activation(*parse(spec)))


for _name, _spec in FUNCTIONS.items():
    operation(_name)(lambda call, x, spec=_spec: _function(call, x, spec))


@operation("Clip")
def _clip(call: Call, x: Any = None, x_min: Any = None, x_max: Any = None,
          t: Any = None, clip_value_min: Any = None, clip_value_max: Any = None,
          ) -> Tensor:  # fmt: skip
    low = x_min if clip_value_min is None else clip_value_min
    high = x_max if clip_value_max is None else clip_value_max
    return _bounded(call, t if x is None else x, low, high)


def _bounded(call: Call, x: Any, low: Any, high: Any) -> Tensor:
    """Values between two numbers, of which one may be missing."""
    ends = []
    for bound in (low, high):
        array = None if bound is None else _constant(call, bound)
        if array is not None and array.size != 1:
            call.settings.refuse("arguments", f"{array.size} bounds", "one number")
        ends.append(None if array is None else float(array.item()))
    return call.called(call.name, _plain(x)).then(L.Clip(*ends))


@operation("Erf")
def _error_function(call: Call, x: Any) -> Tensor:
    return call.called(call.name, _plain(x)).then(L.ErrorFunction())


@operation("Softmax")
def _softmax(call: Call, x: Any, axis: int = -1) -> Tensor:
    call = _on(call, x)
    if axis not in (-1, call.rank):
        call.settings.refuse("axis", axis, "the last axis")
    return call.then(L.Softmax())


@operation("Cast", "StopGradient", "ConvertToTensor", "Copy")
def _same(call: Call, x: Any, dtype: Any = None, **_: Any) -> Any:
    # A mask stays a mask, whatever its numbers are called.
    if not isinstance(x, Tensor):
        return x
    if not str(dtype or "float32").startswith(("float", "bfloat")):
        call.settings.refuse("dtype", dtype, "floating point")
    return x


# --- shapes ---------------------------------------------------------------------------


@operation("Concatenate")
def _concatenate(call: Call, xs: Any = None, axis: int = -1, values: Any = None) -> Any:
    xs = values if xs is None else xs
    if all(isinstance(x, Spread) for x in xs):
        return _beside_masks(call, xs, axis)
    inputs = [call.as_vector(_plain(x)) for x in xs]
    return concatenated(call.called(call.name, *inputs), axis)


@operation("Reshape")
def _reshape(call: Call, x: Any = None, newshape: Any = None, tensor: Any = None,
             shape: Any = None) -> Any:  # fmt: skip
    target = newshape if shape is None else shape
    if not isinstance(target, list | tuple) or target[0] not in (-1, None):
        call.settings.refuse("newshape", target, "the batch first, then numbers")
    x = _plain(tensor if x is None else x)
    return reshaped(call.called(call.name, x), tuple(target[1:]))


@operation("ExpandDims")
def _expand(call: Call, x: Any = None, axis: Any = None, input: Any = None) -> Any:
    x = input if x is None else x
    if type(x) is Mask and axis in (-1, 2):
        return Spread(*x)
    x = _plain(x)
    if x.rank == 1 and axis in (-1, 2):
        return call.as_sequence(x)
    if x.rank == 1 and axis == 1:
        x = call.as_vector(x)
        return call.called(call.name, x).then(L.Repeat(1), steps=1)
    call.settings.refuse("axis", axis, "an axis beside a vector")


@operation("Squeeze")
def _squeeze(call: Call, x: Any = None, axis: Any = None, input: Any = None) -> Any:
    x = _plain(input if x is None else x)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if x.rank == 2 and axis in (-1, 2) and x.shape.channels == 1:
        return x._replace(flat=True)
    if x.rank == 2 and axis == 1 and x.steps == 1:
        return call.called(call.name, x).then(L.FlattenTime(1), steps=None)
    call.settings.refuse("axis", axis, "an axis of length one")


@operation("Flip")
def _flip(call: Call, x: Any = None, axis: Any = None, tensor: Any = None) -> Tensor:
    x = _plain(tensor if x is None else x)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if not x.shape.time or x.flat or list(axes) != [1]:
        call.settings.refuse("axis", axis, "the time axis, 1")
    return call.called(call.name, x).then(L.Flip())


def _over_time(call: Call, x: Any, axis: Any, keepdims: bool, kind: str) -> Tensor:
    x = _plain(x)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if x.rank != 2 or list(axes) != [1]:
        call.settings.refuse("axis", axis, "the time axis, 1")
    y = call.called(call.name, x).then(L.GlobalPooling1D(kind), steps=None)
    return call.called(call.name, y).then(L.Repeat(1), steps=1) if keepdims else y


for _name, _kind in (("Mean", "average"), ("Max", "max")):
    operation(_name)(
        lambda call, x=None, axis=None, keepdims=False, input_tensor=None, initial=None,
               kind=_kind:
        _over_time(call, input_tensor if x is None else x, axis, keepdims, kind)
    )  # fmt: skip


@operation("GetItem")
def _get_item(
    call: Call, x: Any = None, key: Any = None, slice_spec: Any = None
) -> Any:
    x = _plain(x)
    key = slice_spec if key is None else key
    keys = [_index(call, k) for k in (key if isinstance(key, list | tuple) else [key])]
    if None in keys:
        return _new_axis(call, x, keys)
    if ... in keys:
        at = keys.index(...)
        keys[at : at + 1] = [FULL] * (x.rank + 2 - len(keys))
    keys += [FULL] * (x.rank + 1 - len(keys))
    if keys[0] != FULL or len(keys) != x.rank + 1:
        call.settings.refuse("key", key, "slices and numbers behind the batch")
    if x.rank == 1:
        if not isinstance(keys[1], slice):
            call.settings.refuse("key", key, "a slice: a single number is no vector")
        x = call.as_vector(x)
        return _cut(call, x, "channels", keys[1])
    if x.shape.space:
        return _pick_in_space(call, x, keys[1:])
    return _pick(call, x, keys[1], keys[2])


def _pick_in_space(call: Call, x: Tensor, keys: list[Any]) -> Tensor:
    """A part of one axis of a line or of images."""
    cut = [k for k, key in enumerate(keys) if key != FULL]
    if not cut:
        return x
    at, key = cut[0], keys[cut[0]]
    call = call.called(call.name, x)
    if len(cut) > 1:
        call.settings.refuse("key", keys, "a part of one axis")
    if isinstance(key, slice) and at == len(keys) - 1:
        return _cut(call, x, "channels", key)
    if isinstance(key, slice) and at == 0 and x.shape.time:
        return cut_time(call, x, key)
    if isinstance(key, slice):
        return cut_space(call, key)
    if len(x.shape.space) == 1 and at == len(keys) - 2 and key in (0, -1):
        return call.then(L.Indexing1D("first" if key == 0 else "last", "space"))
    call.settings.refuse("key", keys, "the first or last place of a line, or slices")


def _new_axis(call: Call, x: Tensor, keys: list[Any]) -> Tensor:
    """`x[:, None, :]` and `x[:, :, None]` of a vector."""
    if keys == [FULL, None] or keys == [FULL, None, FULL]:
        return _expand(call, x, 1)
    if keys in ([FULL, FULL, None], [..., None]):
        return _expand(call, x, -1)
    call.settings.refuse("key", keys, "a new axis beside a vector")


def _pick(call: Call, x: Tensor, time: Any, channels: Any) -> Tensor:
    flat = not isinstance(channels, slice)
    if flat:
        channels = _single(channels)
    if not isinstance(time, slice) and flat:
        call.settings.refuse("key", "a single number", "a vector")
    x = _cut(call, x, "channels", channels, "channels")._replace(flat=flat)
    if isinstance(time, slice):
        return _cut(call, x, "time", time)
    if time not in (0, -1):
        x, time = _cut(call, x, "time", _single(time), "step"), 0
    layer = L.Indexing1D("first" if time == 0 else "last")
    return call.called(call.name, x).then(layer, steps=None)


def _single(index: int) -> slice:
    """The slice of one element."""
    return slice(index, index + 1 or None)


def _cut(call: Call, x: Tensor, axis: str, part: slice, name: str = "") -> Tensor:
    if part == FULL and name:
        return x
    layer = L.Slice(axis, part.start, part.stop, part.step)
    steps = x.steps
    if axis == "time" and steps is not None:
        steps = len(range(steps)[part])
    ref = call.add(layer, x.ref, part=name)
    return call.tensor(ref, x, steps=steps)


def _index(call: Call, value: Any) -> Any:
    """One part of an index as Python has it."""
    if isinstance(value, dict):
        if value.get("class_name") == "__ellipsis__":
            return ...
        config = value.get("config", value)
        numbers = [config.get(name) for name in ("start", "stop", "step")]
        if all(n is None or isinstance(n, int) for n in numbers):
            return slice(*numbers)
    elif value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    call.settings.refuse("key", value, "numbers and slices")


# --- masks ----------------------------------------------------------------------------


class Differs(Mask):
    """Where every single number differs from a value: not yet a mask of steps."""


class Spread(Mask):
    """A mask of steps, written out for every channel."""


NOWHERE = Spread("", problem="no step")


@operation("NotEqual")
def _not_equal(call: Call, x1: Any = None, x2: Any = None, x: Any = None,
               y: Any = None) -> Any:  # fmt: skip
    source = _plain(x if x1 is None else x1)
    value = _constant(call, y if x2 is None else x2)
    if value.size != 1:
        call.settings.refuse("arguments", f"{value.size} values", "one value")
    if source.rank == 1:
        return Mask(call.as_sequence(source).ref, float(value))
    return Differs(source.ref, float(value))


@operation("Any")
def _any(call: Call, x: Any = None, axis: Any = None, keepdims: bool = False,
         input_tensor: Any = None) -> Any:  # fmt: skip
    x = input_tensor if x is None else x
    if (
        not isinstance(x, Differs | Spread)
        or axis not in (-1, 2, [-1], [2])
        or keepdims
    ):
        call.settings.refuse("arguments", "any of something else", "of a mask")
    return Mask(*x)


@operation("ZerosLike")
def _zeros(call: Call, x: Any, dtype: Any = None) -> Spread:
    return NOWHERE


def _beside_masks(call: Call, masks: list[Spread], axis: int) -> Spread:
    """The masks of tensors that are put side by side."""
    if axis not in (-1, 2) or len(set(masks)) != 1:
        call.settings.refuse("arguments", "different masks together", "equal masks")
    return masks[0]


@operation("LogicalOr")
def _logical_or(call: Call, x1: Any, x2: Any) -> Any:
    if x2 is NOWHERE and type(x1) is Spread:
        return x1
    if type(x1) is not Mask or x1 != x2:
        call.settings.refuse("arguments", "different masks together", "equal masks")
    return x1
