"""Reading the fields of one saved object so that none goes unnoticed.

A reader takes the fields that it understands and names those that it ignores on purpose;
`finish` refuses whatever is left and says something.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import Unsupported
from .matfile import Cell, MatObject, Undecodable

REQUIRED: Any = object()


class Fields:
    """The fields of one object, crossed off as they are read.

    Attributes:
        ignored: what `finish` left out: inert fields that nobody asked for.
    """

    def __init__(self, values: dict[str, Any], place: str, class_name: str = ""):
        self.place = place
        self.class_name = class_name
        # Properties of a base class come qualified: nnet.layer.Layer.PrivateInputs.
        self._values = {name.rpartition(".")[2]: item for name, item in values.items()}
        self._left = dict.fromkeys(self._values)
        self.ignored: list[str] = []

    @property
    def names(self) -> list[str]:
        """All fields, read or not."""
        return list(self._values)

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
        for name in self._left:
            if not _is_empty(self._values[name]):
                self.refuse(name, _show(self._values[name]), None, unknown=True)
        self.ignored += list(self._left)

    def refuse(
        self, name: str, found: Any, expected: Any, *, unknown: bool = False
    ) -> Any:
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


def numeric(value: Any, place: str) -> np.ndarray:
    """The numbers in an array, a dlarray or a gpuArray.

    Raises:
        Unsupported: there are none, or their data is not in the file.
    """
    if isinstance(value, MatObject):
        if value.lost:
            raise Unsupported(
                "the data of this array is not in the file",
                place=place,
                found="a handle to data that was not saved (a gpuArray, most likely)",
                do="in MATLAB, on a machine with the GPU: gather the weights and save "
                "again",
            )
        arrays = _arrays_in(value)
        if len(arrays) == 1:
            return arrays[0]
        raise Unsupported(
            "an object where numbers are expected",
            place=place,
            found=f"{value.class_name} with {len(arrays)} arrays in it",
            expected="numbers, a dlarray or a gpuArray",
        )
    if isinstance(value, Undecodable):
        raise Unsupported("cannot be decoded", place=place, found=value.reason)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        raise Unsupported(
            "not an array of real numbers", place=place, found=_show(value)
        )
    return value


def _arrays_in(value: Any) -> list[np.ndarray]:
    """The floating-point arrays that an array-like object wraps."""
    if isinstance(value, MatObject):
        return _arrays_in(value.values)
    if isinstance(value, dict):
        return [found for item in value.values() for found in _arrays_in(item)]
    if isinstance(value, Cell):
        return [found for item in value for found in _arrays_in(item)]
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
        return [value]
    return []


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
        names = strings(value.values.get("categoryNames"))
        codes = np.asarray(value.values.get("codes")).ravel(order="F").astype(int)
        if names is None or (codes.size and codes.max() > len(names)):
            return None
        return tuple(names[c - 1] if c else "<undefined>" for c in codes)
    if isinstance(value, MatObject) and value.class_name == "string":
        return _decode_strings(value.values)
    return None


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
