"""What the readers of MAT files make of MATLAB values, and how much of it.

Numbers become arrays of MATLAB's shape, text `str` or a list of `str` (one a row),
structs `dict`; everything else has a class here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_NESTING = 60
"""Levels of cells, structs and objects inside each other; real networks have 15."""
MAX_ARRAYS = 1_000_000
"""Arrays, cells and structs that are decoded in one file."""
MAX_BYTES = 1 << 28
MAX_RATIO = 100
"""A file is expanded to no more than 256 MB, or a hundred times its size."""
MAX_AXES = 32
MAX_FIELDS = 100_000


@dataclass(eq=False)
class MatObject:
    """A MATLAB object: its class and what was saved of it.

    `values` holds what `saveobj` returned where the class has one, else its properties.
    A handle to an object that is not in the file has `lost` set.
    """

    class_name: str
    values: Any = field(default_factory=dict)
    lost: bool = False


@dataclass(frozen=True, eq=False)
class Undecodable:
    """A value that could not be decoded, and why. It does not stop its neighbours."""

    reason: str


class Cell(list):
    """A cell array or an array of objects or structs, flattened in column-major order.

    `shape` is the MATLAB shape, `class_name` the class of an object array.
    """

    def __init__(
        self, items: Iterable[Any], shape: tuple[int, ...], class_name: str = "cell"
    ):
        super().__init__(items)
        self.shape = shape
        self.class_name = class_name


class CannotDecode(Exception):
    """The bytes may be sound, but this value is not decoded; the reason in words."""


class Budget:
    """How much may still be decoded, so that a small file cannot fill memory.

    Arguments:
        size: bytes of the file.
    """

    def __init__(self, size: int):
        self.arrays = MAX_ARRAYS
        self.bytes = max(MAX_BYTES, MAX_RATIO * size)

    def spend(self, arrays: int, depth: int) -> None:
        """Pay for arrays that are about to be decoded at some depth of nesting.

        Raises:
            CannotDecode: too many, or too deep.
        """
        self.check(arrays)
        if depth > MAX_NESTING:
            raise CannotDecode(f"nested more than {MAX_NESTING} deep")
        self.arrays -= arrays

    def check(self, arrays: int) -> None:
        """Raise CannotDecode where there are more arrays than may be decoded."""
        if arrays > self.arrays:
            raise CannotDecode(f"more than {MAX_ARRAYS} arrays in one file")

    def spend_bytes(self, count: int) -> None:
        """Pay for numbers that are about to be decoded; raises like `check_bytes`."""
        self.check_bytes(count)
        self.bytes -= count

    def check_bytes(self, count: int) -> None:
        """Raise CannotDecode where data expand to more than may be decoded."""
        if count > self.bytes:
            raise CannotDecode(f"{count} bytes of data in a file too small for them")


def text_rows(units: np.ndarray) -> str | list[str]:
    """The rows of a char array `(rows, columns, ...)` of UTF-16 code units."""
    if not units.size:
        return ""
    rows = np.moveaxis(units, 1, -1).reshape(-1, units.shape[1])
    text = [row.astype("<u2").tobytes().decode("utf-16-le", "replace") for row in rows]
    return text[0] if len(text) == 1 else text


def join_complex(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    """Complex numbers of their parts; 1j * inf would be nan + inf j."""
    found = np.empty(real.shape, np.result_type(real, np.complex64), order="F")
    found.real, found.imag = real, imaginary
    return found


def empty_array(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array without elements.

    Raises:
        CannotDecode: a shape that has elements, or that numpy cannot hold.
    """
    if 0 not in shape or any(length < 0 for length in shape):
        raise CannotDecode(f"an empty array of shape {shape}")
    try:
        return np.zeros(shape, dtype)
    except ValueError:
        raise CannotDecode(f"an array of shape {shape}") from None
