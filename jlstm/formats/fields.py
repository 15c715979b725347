"""Reading the fields of one saved object so that none goes unnoticed.

A reader takes the fields that it understands and names those that it ignores on
purpose; `finish` refuses whatever is left and says something.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ..errors import Unsupported
from .matfile import Cell, MatObject, Undecodable

REQUIRED: Any = object()

BASE_CLASSES = ("nnet.layer.", "nnet.cnn.layer.mixin.")
"""Where a custom layer has its ports and its bookkeeping from."""


class Fields:
    """The fields of one object, crossed off as they are read.

    Attributes:
        ignored: what `finish` left out: inert fields that nobody asked for.
        notices: what was not understood and has no part in a prediction.
    """

    def __init__(self, values: dict[str, Any], place: str, class_name: str = ""):
        self.place = place
        self.class_name = class_name
        # Properties of a base class come qualified: nnet.layer.Layer.PrivateInputs.
        short = {name: name.rpartition(".")[2] for name in values}
        inherited = {short[name] for name in values if name.startswith(BASE_CLASSES)}
        self._values = {short[name]: values[name] for name in sorted(values, key=_own)}
        self._left = {name: None for name in short.values() if name not in inherited}
        self.ignored: list[str] = []
        self.notices: list[str] = []

    @property
    def names(self) -> list[str]:
        """All fields, read or not."""
        return list(self._values)

    @property
    def left(self) -> list[str]:
        """Fields that were neither taken nor ignored, and are not empty."""
        return [name for name in self._left if name in self]

    def __contains__(self, name: str) -> bool:
        return name in self._values and not _is_empty(self._values[name])

    def take(self, *names: str, default: Any = REQUIRED) -> Any:
        """The first of these fields that is there, raw."""
        for name in names:
            self._left.pop(name, None)
        for name in names:
            if name in self:
                return self._values[name]
        if default is REQUIRED:
            raise Unsupported(
                "a property is missing",
                place=f"{self.place}.{names[0]}",
                found=", ".join(self._values),
                expected=" or ".join(names),
            )
        return default

    def text(self, *names: str, default: Any = REQUIRED) -> Any:
        """A character vector or string."""
        value = self.take(*names, default=default)
        return value if value is default else self._expect(names, value, str)

    def flag(self, *names: str, default: Any = REQUIRED) -> Any:
        """A logical scalar."""
        value = self.numbers(*names, default=default)
        return value if value is default else bool(value[0])

    def number(self, *names: str, default: Any = REQUIRED) -> Any:
        """A real scalar."""
        value = self.numbers(*names, default=default)
        if value is default:
            return value
        if value.size != 1:
            self.refuse(names[0], value.tolist(), "one number")
        return float(value[0])

    def integers(self, *names: str, default: Any = REQUIRED) -> Any:
        """A tuple of whole numbers."""
        value = self.numbers(*names, default=default)
        if value is default:
            return value
        if not np.all(np.mod(value, 1) == 0):
            self.refuse(names[0], value.tolist(), "whole numbers")
        return tuple(int(v) for v in value)

    def numbers(self, *names: str, default: Any = REQUIRED) -> Any:
        """A flat array of numbers."""
        value = self.take(*names, default=default)
        if value is default:
            return value
        return numeric(value, f"{self.place}.{names[0]}").ravel(order="F")

    def array(self, *names: str, default: Any = REQUIRED) -> Any:
        """An array of numbers, in MATLAB's shape."""
        value = self.take(*names, default=default)
        if value is default:
            return value
        return numeric(value, f"{self.place}.{names[0]}")

    def texts(self, *names: str, default: Any = REQUIRED) -> Any:
        """A tuple of strings, from a cell, a string array or a categorical."""
        value = self.take(*names, default=default)
        if value is default:
            return value
        found = strings(value)
        if found is None:
            self.refuse(names[0], type(value).__name__, "text")
        return found

    def ignore(self, *names: str) -> None:
        """Cross off fields that have no part in a prediction."""
        for name in names:
            self._left.pop(name, None)

    def finish(self) -> None:
        """Refuse what nobody asked for, unless it is empty."""
        for name in self.left:
            self.refuse(name, _show(self._values[name]), None, unknown=True)
        self.ignored += list(self._left)

    def refuse(
        self, name: str, found: Any, expected: Any, *, unknown: bool = False
    ) -> NoReturn:
        """Raise for the value of one field."""
        raise Unsupported(
            "an unknown property that may change the answer"
            if unknown
            else "a value that jlstm does not compute",
            place=f"{self.place}.{name}",
            found=found,
            expected=expected,
            do="export the network with jlstm_export.m and report this file"
            if unknown
            else None,
        )

    def _expect(self, names: tuple[str, ...], value: Any, kind: type) -> Any:
        if isinstance(value, MatObject) and (found := strings(value)) is not None:
            value = found[0] if len(found) == 1 else value
        if not isinstance(value, kind):
            self.refuse(names[0], _show(value), kind.__name__)
        return value


def _own(name: str) -> bool:
    """Sort key that puts a class's own properties last, where they prevail."""
    return "." not in name


def numeric(value: Any, place: str) -> np.ndarray:
    """The numbers in an array, a dlarray or a gpuArray, in the byte order of here.

    Raises:
        Unsupported: there are none, or their data is not in the file.
    """
    if isinstance(value, MatObject):
        return numeric(_wrapped(value, place), place)
    if isinstance(value, Undecodable):
        raise Unsupported("cannot be decoded", place=place, found=value.reason)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        raise Unsupported(
            "not an array of real numbers", place=place, found=_show(value)
        )
    return value.astype(value.dtype.newbyteorder("="), copy=False)


def _wrapped(value: MatObject, place: str) -> Any:
    """What a dlarray or gpuArray wraps: the only array in it, or another wrapper.

    A gpuArray is saved as a cell whose second element is the array.
    """
    inside = value.values
    if value.lost or inside is None:
        raise Unsupported(
            "the data of this array is not in the file",
            place=place,
            found="a handle to data that was not saved (a gpuArray, most likely)",
            do="in MATLAB, on a machine with the GPU: gather the weights, save again",
        )
    if isinstance(inside, np.ndarray | Undecodable):
        return inside
    if isinstance(inside, Cell) and value.class_name == "gpuArray" and len(inside) > 1:
        return inside[1]
    items = inside.values() if isinstance(inside, dict) else inside
    found = [item for item in items if _may_be_data(item)] if items else []
    if len(found) != 1:
        raise Unsupported(
            "an object where numbers are expected",
            place=place,
            found=f"{value.class_name} with {len(found)} arrays in it",
            expected="numbers, a dlarray or a gpuArray",
        )
    return found[0]


def _may_be_data(value: Any) -> bool:
    if isinstance(value, MatObject):
        return value.class_name in ("gpuArray", "dlarray") or value.lost
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def strings(value: Any) -> tuple[str, ...] | None:
    """The strings in a char array, a cell, a string array or a categorical, or None."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if isinstance(value, Cell):
        found = [strings(item) for item in value]
        if any(f is None or len(f) != 1 for f in found):
            return None
        return tuple(f[0] for f in found if f)
    if isinstance(value, MatObject) and value.class_name == "categorical":
        return _decode_categorical(value.values)
    if isinstance(value, MatObject) and value.class_name == "string":
        return _decode_strings(value.values)
    return None


def _decode_categorical(saved: Any) -> tuple[str, ...] | None:
    """The elements of a categorical array: names, and codes that count from 1."""
    if not isinstance(saved, dict):
        return None
    names, codes = strings(saved.get("categoryNames")), saved.get("codes")
    if (
        names is None
        or not isinstance(codes, np.ndarray)
        or codes.dtype.kind not in "ui"
    ):
        return None
    codes = codes.ravel(order="F").astype(int)
    if np.any((codes < 0) | (codes > len(names))):
        return None
    return tuple(names[c - 1] if c else "<undefined>" for c in codes)


def _decode_strings(words: Any) -> tuple[str, ...] | None:
    """A string array: version, number of axes, sizes, lengths, then UTF-16 text."""
    if isinstance(words, dict):
        words = words.get("any")
    if not isinstance(words, np.ndarray) or words.dtype != np.uint64:
        return None
    words = words.ravel(order="F")
    if words.size < 2 or words[0] != 1:
        return None
    axes = int(words[1])
    if not 0 < axes < 32 or words.size < 2 + axes:
        return None
    count = 1
    for length in words[2 : 2 + axes]:
        count *= int(length)
    lengths = [int(n) for n in words[2 + axes : 2 + axes + count]]
    text = words[2 + axes + count :].astype("<u8").tobytes()
    if len(lengths) != count or 2 * sum(lengths) > len(text):
        return None
    found, at = [], 0
    for length in lengths:
        found.append(text[at : at + 2 * length].decode("utf-16-le", "replace"))
        at += 2 * length
    return tuple(found)


def _is_empty(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size == 0
    if isinstance(value, str | list | dict):
        return len(value) == 0
    return value is None


def _show(value: Any) -> str:
    if isinstance(value, MatObject):
        return f"an object of class {value.class_name}"
    if isinstance(value, Undecodable):
        return f"undecodable: {value.reason}"
    if isinstance(value, np.ndarray):
        return f"{value.tolist()}" if value.size <= 4 else f"an array {value.shape}"
    if isinstance(value, dict):
        return f"a struct of {', '.join(value)}"
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."
