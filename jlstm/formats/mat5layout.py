"""How an array lies in a MAT file of version 5 to 7, checked before it is decoded.

An array is a sequence of sub-elements in a fixed order: flags, dimensions, name, and
what its class needs (https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf).
Every sub-element must lie inside its parent, sizes must be what the dimensions say, and
nothing may follow the last one.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np

from ..errors import DamagedFile
from .matvalues import MAX_AXES, MAX_FIELDS, CannotDecode

INT8, INT32, UINT32, UTF8, UTF32, MATRIX = 1, 5, 6, 16, 18, 14
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8",
          12: "i8", 13: "u8"}  # fmt: skip
"""Types of numbers in the file."""
CHARACTERS = {1: "u1", 2: "u1", 4: "u2", 16: "u1", 17: "u2", 18: "u4"}
"""Types of text in the file; of these UTF-8 may need several units a character."""
CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double",
           7: "single", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32",
           13: "uint32", 14: "int64", 15: "uint64", 16: "function_handle",
           17: "opaque"}  # fmt: skip
NUMBERS = {"double": "f8", "single": "f4", "int8": "i1", "uint8": "u1", "int16": "i2",
           "uint16": "u2", "int32": "i4", "uint32": "u4", "int64": "i8",
           "uint64": "u8"}  # fmt: skip


class Tag(NamedTuple):
    """The type of a sub-element, its data, and where the next one starts."""

    kind: int
    start: int
    size: int
    following: int


@dataclass(frozen=True)
class Header:
    """What comes first in every array; `at` is where the rest starts.

    `class_name` is the class of the array, `object_class` that of an object in it.
    """

    name: str
    class_name: str
    shape: tuple[int, ...]
    at: int
    object_class: str = ""
    system: str = ""
    is_logical: bool = False
    is_complex: bool = False

    @property
    def count(self) -> int:
        """Number of elements that the shape declares."""
        return math.prod(self.shape)


class Layout:
    """The sub-elements of the arrays in one run of bytes.

    Arguments:
        data: an element from its tag on, uncompressed.
        order: "<" or ">".
    """

    def __init__(self, data: bytes, order: str):
        self._data, self._order = data, order
        self._words = struct.Struct(order + "II")

    def header(self) -> Header:
        """The header of a variable of which only the first bytes are here."""
        kind, size = self._words.unpack_from(self._data)
        if kind != MATRIX or size < 16:
            self._fail(f"type {kind}, {size} bytes", "a matrix")
        header = self._header(8, 8 + size)
        if header.class_name in NUMBERS or header.class_name == "char":
            # Nobody decodes these to look for networks. That they are plain numbers or
            # text follows from their sizes, whatever happened to the class.
            self._numbers_tag(header, 8 + size)
        return header

    def bytes_of_variable(self) -> bytes:
        """The data of a variable of bytes."""
        tag = self._matrix(0, len(self._data))
        header = self._header(tag.start, tag.start + tag.size)
        if header.class_name != "uint8":
            self._fail(f"class {header.class_name}", "uint8")
        return self._bytes(self._numbers_tag(header, tag.start + tag.size))

    def _tag(self, at: int, end: int) -> Tag:
        if at + 8 > min(end, len(self._data)):
            self._fail(f"{end - at} bytes", "a sub-element of at least 8")
        kind, size = self._words.unpack_from(self._data, at)
        if kind >> 16:
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                self._fail(f"{size} bytes in a small sub-element", "at most 4")
            return Tag(kind, at + 4, size, at + 8)
        if size > end - at - 8:
            self._fail(f"a sub-element of {size} bytes", f"at most {end - at - 8}")
        following = at + 8 + size
        if kind != MATRIX:
            following = min(end, following + -size % 8)
        return Tag(kind, at + 8, size, following)

    def _bytes(self, tag: Tag) -> bytes:
        """The data of a sub-element; of a variable's start, not all may be here."""
        data = self._data[tag.start : tag.start + tag.size]
        if len(data) < tag.size:
            self._fail(f"{len(data)} bytes", f"{tag.size} bytes of type {tag.kind}")
        return data

    def _matrix(self, at: int, end: int) -> Tag:
        tag = self._tag(at, end)
        if tag.kind != MATRIX or tag.start != at + 8:
            self._fail(f"a sub-element of type {tag.kind}", "an array")
        return tag

    def _header(self, at: int, end: int) -> Header:
        flags = self._tag(at, end)
        if flags.kind != UINT32 or flags.size != 8:
            self._fail("an array without flags", "two 32-bit numbers")
        bits = self._words.unpack(self._bytes(flags))[0]
        class_name = CLASSES.get(bits & 0xFF, f"class {bits & 0xFF}")
        at = flags.following
        if class_name == "opaque":
            (name, system, object_class), at = self._texts(at, end, 3)
            return Header(name, class_name, (1, 1), at, object_class, system)
        shape, at = self._shape(at, end)
        (name, *rest), at = self._texts(at, end, 2 if class_name == "object" else 1)
        is_logical, is_complex = bool(bits & 0x200), bool(bits & 0x800)
        return Header(
            name, class_name, shape, at, *rest,
            is_logical=is_logical, is_complex=is_complex,
        )  # fmt: skip

    def _shape(self, at: int, end: int) -> tuple[tuple[int, ...], int]:
        tag = self._tag(at, end)
        axes = tag.size // 4
        # Some writers say that they are unsigned.
        known = tag.kind in (INT32, UINT32)
        if not known or tag.size % 4 or not 2 <= axes <= MAX_AXES:
            self._fail(
                f"dimensions of type {tag.kind} in {tag.size} bytes",
                f"2 to {MAX_AXES} 32-bit numbers",
            )
        shape = struct.unpack(f"{self._order}{axes}i", self._bytes(tag))
        if min(shape) < 0:
            self._fail(f"a dimension of {min(shape)}", "0 or more")
        return shape, tag.following

    def _texts(self, at: int, end: int, count: int) -> tuple[list[str], int]:
        """Names: of the variable, of a class."""
        found = []
        for _ in range(count):
            tag = self._tag(at, end)
            if tag.kind not in (INT8, UTF8):
                self._fail(f"a name of type {tag.kind}", f"type {INT8}")
            found.append(_name(self._bytes(tag)))
            at = tag.following
        return found, at

    def _numbers_tag(self, header: Header, end: int) -> Tag:
        """The (real) numbers or the text of an array, seen to be all it consists of."""
        tag = self._tag(header.at, end)
        is_text = header.class_name == "char"
        unit = (CHARACTERS if is_text else STORED).get(tag.kind)
        if unit is None:
            self._fail(f"data of type {tag.kind}", header.class_name)
        declared = header.count * np.dtype(unit).itemsize
        fits = tag.size == declared
        if is_text:
            # Text without data is met with any shape; UTF-8 has bytes to spare.
            fits |= tag.size == 0 or (tag.kind == UTF8 and tag.size > declared)
        if not fits:
            self._fail(
                f"{tag.size} bytes for a {header.class_name} array {header.shape}",
                f"{declared} bytes",
            )
        if (tag.following != end) != header.is_complex:
            self._fail(f"{end - tag.following} bytes after the data", "no more")
        return tag

    def _field_names(self, header: Header, end: int) -> tuple[list[str], int]:
        width_tag = self._tag(header.at, end)
        if width_tag.kind != INT32 or width_tag.size != 4:
            self._fail("a struct without the width of its field names", "a number")
        width = struct.unpack(self._order + "i", self._bytes(width_tag))[0]
        tag = self._tag(width_tag.following, end)
        if tag.kind not in (INT8, UTF8) or width <= 0 or tag.size % width:
            self._fail(
                f"field names of width {width} in {tag.size} bytes", "a multiple"
            )
        if tag.size // width > MAX_FIELDS:
            raise CannotDecode(f"a struct of {tag.size // width} fields")
        data = self._bytes(tag)
        names: list[str] = []
        met: Counter[str] = Counter()
        for k in range(0, tag.size, width):
            name = _name(data[k : k + width])
            # MATLAB has no fields of the same name; files of other writers may.
            names.append(f"_{met[name]}_{name}" if name in met else name)
            met[name] += 1
        return names, tag.following

    def _finish(self, at: int, end: int) -> None:
        if at != end:
            self._fail(f"{end - at} bytes after the last element", "none")

    def _fail(self, found: object, expected: object) -> NoReturn:
        raise DamagedFile("a variable is damaged", found=found, expected=expected)


def _name(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")
