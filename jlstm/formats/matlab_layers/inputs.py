"""Input layers and their normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import layers as L
from ...pytree import Shape
from ..fields import Fields
from ..matfile import Cell, MatObject
from .registry import Built, reader

RANGES = {(0.0, 1.0): "rescale-zero-one", (-1.0, 1.0): "rescale-symmetric"}
STATISTICS = ("Mean", "AverageImage", "StandardDeviation", "Std", "Min", "Max")


@reader("SequenceInputLayer", "FeatureInputLayer", "ImageInputLayer")
def _input(f: Fields, inputs: list[Shape]) -> Built:
    size = f.integers("InputSize")
    timed = "SequenceInput" in f.class_name
    if not 1 <= len(size) <= 4:
        f.refuse("InputSize", size, "one to four numbers")
    if f.flag("SplitComplexInputs", default=False):
        f.refuse("SplitComplexInputs", True, "false: complex inputs are not supported")
    f.ignore("Augmentations", "DataAugmentation")
    min_length = f.integers("MinLength", default=(1,))[0]
    kind, statistics, target = _normalization(f, size)
    layer = L.Input(
        **statistics,
        size=size,
        time=timed,
        normalization=kind,
        target=target,
        min_length=min_length,
    )
    return Built(layer)


@reader("InputLayer")
def _formatted_input(f: Fields, inputs: list[Shape]) -> Built:
    """An input of any format: sizes in the order of letters such as "CBT"."""
    letters = f.text("InputFormat").upper()
    sizes = f.numbers("InputSize")
    spatial = letters.count("S")
    if len(letters) != len(sizes) or set(letters) - set("SCBT") or "C" not in letters:
        f.refuse("InputFormat", letters, "a letter of S, C, B, T for each size")
    axes = [k for letter in "SC" for k, at in enumerate(letters) if at == letter]
    size = sizes[axes]
    if not np.all(np.isfinite(size)) or len(size) != spatial + 1:
        f.refuse("InputSize", sizes.tolist(), "known sizes of space and channels")
    return Built(L.Input(tuple(int(n) for n in size), time="T" in letters))


def _normalization(f: Fields, size: tuple[int, ...]) -> Any:
    """`(name, statistics, target range)` from a transform or public properties."""
    saved = f.take("Normalization", default=None)
    if isinstance(saved, Cell) and len(saved) == 1:
        saved = saved[0]
    if _is_function(saved):
        f.refuse("Normalization", "a function of your own", "a named normalisation")
    if isinstance(saved, dict):
        inner = Fields(saved, f"{f.place}.Normalization")
        inner.ignore("Version", "ImageSize")
        result = _transform(inner, inner.text("Type"), size)
        inner.finish()
        return result
    if saved is None or (isinstance(saved, str) and saved == "none"):
        f.ignore(*STATISTICS)
        return "none", {}, None
    if not isinstance(saved, str):
        f.refuse("Normalization", type(saved).__name__, "a single named normalisation")
    return _transform(f, saved, size)


def _is_function(saved: Any) -> bool:
    """A function handle, in a saved transform or as jlstm_export.m writes it."""
    if isinstance(saved, dict):
        return "Function" in saved or "function_handle" in saved
    return isinstance(saved, MatObject) and saved.class_name == "function_handle"


def _transform(f: Fields, kind: str, size: tuple[int, ...]) -> Any:
    f.ignore(*STATISTICS)
    if kind in ("zerocenter", "zscore"):
        found = {"mean": _statistic(f, ("Mean", "AverageImage"), size)}
        if kind == "zscore":
            found["std"] = _statistic(f, ("StandardDeviation", "Std"), size)
        return kind, found, None
    if kind not in ("rescale", "rescale-zero-one", "rescale-symmetric"):
        f.refuse("Type", kind, "none, zerocenter, zscore or rescale")
    low, high = (-1.0, 1.0) if kind == "rescale-symmetric" else (0.0, 1.0)
    target = f.number("TargetMin", default=low), f.number("TargetMax", default=high)
    limits = {
        "minimum": _statistic(f, ("Min",), size),
        "maximum": _statistic(f, ("Max",), size),
    }
    name = RANGES.get(target)
    return name or "rescale-zero-one", limits, None if name else target


def _statistic(f: Fields, names: tuple[str, ...], size: tuple[int, ...]) -> np.ndarray:
    """A statistic of the training data, broadcastable against `(*space, channels)`."""
    value = f.array(*names)
    if value.dtype.kind in "iu":
        value = value.astype(np.float32)
    if value.dtype.kind != "f":
        f.refuse(names[0], f"an array of {value.dtype}", "numbers")
    if value.size == 1:
        return value.reshape(1).copy()
    if value.size == size[-1]:
        return value.reshape(-1).copy()
    # MATLAB drops trailing axes of length one.
    if value.shape + (1,) * (len(size) - value.ndim) == size:
        return value.reshape(size).copy()
    f.refuse(names[0], f"shape {value.shape}", f"1, {size[-1]} or {size} values")
