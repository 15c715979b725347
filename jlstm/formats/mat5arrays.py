"""The arrays inside an element of a MAT file of version 5 to 7.

An array is a sequence of sub-elements in a fixed order: flags, dimensions, name, and
what its class needs (https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf).
Every sub-element must lie inside its parent, sizes must be what the dimensions say, and
nothing may follow the last one; only then is anything decoded.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..errors import DamagedFile
from .matobjects import LazyCells, ObjectTables, is_enumeration, is_reference
from .matvalues import (
    MAX_AXES,
    Budget,
    CannotDecode,
    Cell,
    MatObject,
    Undecodable,
    text_rows,
)

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
OBJECT_TABLES = "FileWrapper__"


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


class Arrays:
    """Decodes the arrays in one run of bytes.

    Arguments:
        data: an element from its tag on, uncompressed.
        order: "<" or ">".
        budget: how many arrays may be decoded.
        tables: finds the tables of the file's objects.
        in_tables: whether this is a part of those tables, where objects are referred to
            by plain numbers.
    """

    def __init__(
        self,
        data: bytes,
        order: str,
        budget: Budget,
        tables: Callable[[], ObjectTables | None] = lambda: None,
        in_tables: bool = False,
    ):
        self._data, self._order, self._budget = data, order, budget
        self._tables, self._in_tables = tables, in_tables
        self._words = struct.Struct(order + "II")

    def variable(self) -> Any:
        """Decode the one variable that this is."""
        tag = self._matrix(0, len(self._data))
        return self.array(tag.start, tag.start + tag.size, 0)

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
        data = self._numbers_tag(header, tag.start + tag.size)
        return self._data[data.start : data.start + data.size]

    def object_cells(self) -> LazyCells | None:
        """The tables of the objects: a struct with a field MCOS, an opaque cell."""
        tag = self._matrix(0, len(self._data))
        header = self._header(tag.start, tag.start + tag.size)
        if header.class_name != "struct" or header.count != 1:
            self._fail(
                f"class {header.class_name}", "a struct with the objects' tables"
            )
        names, at = self._field_names(header, tag.start + tag.size)
        for name in names:
            child = self._matrix(at, tag.start + tag.size)
            end = child.start + child.size
            if name == "MCOS":
                opaque = self._header(child.start, end)
                if opaque.object_class != OBJECT_TABLES:
                    self._fail(f"class {opaque.object_class}", OBJECT_TABLES)
                inner = self._matrix(opaque.at, end)
                return self._lazy_cells(inner.start, inner.start + inner.size)
            at = child.following
        return None

    def _lazy_cells(self, at: int, end: int) -> LazyCells:
        """The elements of a cell array, each decoded when it is asked for."""
        header = self._header(at, end)
        if header.class_name != "cell":
            self._fail(f"class {header.class_name}", "a cell")
        self._budget.check(header.count)
        spans = []
        at = header.at
        for _ in range(header.count):
            tag = self._matrix(at, end)
            spans.append((tag.start, tag.start + tag.size))
            at = tag.following
        return LazyCells(
            len(spans),
            lambda k, depth: self.array(*spans[k], depth),
            lambda k: self._lazy_cells(*spans[k]),
        )

    # --- tags and headers -------------------------------------------------------------

    def _tag(self, at: int, end: int) -> Tag:
        if at + 8 > end:
            self._fail(f"{end - at} bytes", "a sub-element of at least 8")
        if at + 8 > len(self._data):
            self._fail("a header of more than 4 kB", "a short one")
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

    def _matrix(self, at: int, end: int) -> Tag:
        tag = self._tag(at, end)
        if tag.kind != MATRIX or tag.start != at + 8:
            self._fail(f"a sub-element of type {tag.kind}", "an array")
        return tag

    def _header(self, at: int, end: int) -> Header:
        flags = self._tag(at, end)
        if flags.kind != UINT32 or flags.size != 8:
            self._fail("an array without flags", "two 32-bit numbers")
        bits = self._words.unpack_from(self._data, flags.start)[0]
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
        if tag.kind != INT32 or tag.size % 4 or not 2 <= axes <= MAX_AXES:
            self._fail(
                f"dimensions of type {tag.kind} in {tag.size} bytes",
                f"2 to {MAX_AXES} 32-bit numbers",
            )
        shape = struct.unpack_from(f"{self._order}{axes}i", self._data, tag.start)
        if min(shape) < 0:
            self._fail(f"a dimension of {min(shape)}", "0 or more")
        return shape, tag.following

    def _texts(self, at: int, end: int, count: int) -> tuple[list[str], int]:
        """Names: of the variable, of a class."""
        found = []
        for _ in range(count):
            tag = self._tag(at, end)
            if tag.kind not in (INT8, UTF8) or tag.start + tag.size > len(self._data):
                self._fail(f"a name of type {tag.kind} in {tag.size} bytes", "a name")
            found.append(_name(self._data[tag.start : tag.start + tag.size]))
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

    # --- values -----------------------------------------------------------------------

    def array(self, at: int, end: int, depth: int) -> Any:
        """Decode the array between two places.

        Raises:
            DamagedFile: its parts do not fit each other.
            CannotDecode: it is of an unknown class, too large, too deep.
        """
        self._budget.spend(1, depth)
        if at == end:
            return np.zeros((0, 0))
        header = self._header(at, end)
        name = header.class_name
        if name in NUMBERS:
            return self._numeric(header, end, depth)
        if name == "char":
            return self._char(header, end)
        if name == "cell":
            items, at = self._children(header.at, end, header.count, depth)
            self._finish(at, end)
            return Cell(items, header.shape)
        if name in ("struct", "object"):
            return self._struct(header, end, depth)
        if name == "opaque":
            return self._opaque(header, end, depth)
        if name in ("function_handle", "sparse"):
            return MatObject(name)
        raise CannotDecode(f"an array of unknown {name}")

    def _numeric(self, header: Header, end: int, depth: int) -> Any:
        dtype = np.dtype(bool if header.is_logical else NUMBERS[header.class_name])
        tag = self._numbers_tag(header, end)
        value = self._numbers(tag, header, dtype)
        if header.is_complex:
            tag = self._tag(tag.following, end)
            if tag.following != end or STORED.get(tag.kind) is None:
                self._fail("no imaginary part", "a second run of numbers")
            value = value + 1j * self._numbers(tag, header, dtype)
        if self._in_tables and is_reference(value):
            tables = self._tables()
            return value if tables is None else tables.refer(value, depth)
        return value

    def _numbers(self, tag: Tag, header: Header, dtype: np.dtype) -> np.ndarray:
        stored = np.dtype(self._order + STORED[tag.kind])
        if tag.size != header.count * stored.itemsize:
            self._fail(f"{tag.size} bytes", f"{header.count} numbers")
        if stored.kind == "f" and (
            dtype.kind != "f" or stored.itemsize > dtype.itemsize
        ):
            self._fail(f"{stored.name} in a {header.class_name} array", dtype.name)
        self._budget.spend_bytes(header.count * dtype.itemsize)
        flat = np.frombuffer(self._data, stored, header.count, tag.start)
        try:
            return flat.astype(dtype).reshape(header.shape, order="F")
        except ValueError:
            raise CannotDecode(f"an array of shape {header.shape}") from None

    def _char(self, header: Header, end: int) -> Any:
        tag = self._numbers_tag(header, end)
        data = self._data[tag.start : tag.start + tag.size]
        if not data:
            return ""
        unit = np.dtype(self._order + CHARACTERS[tag.kind])
        if tag.kind in (UTF8, UTF32):
            codec = "utf-8" if tag.kind == UTF8 else f"utf-32-{_suffix(self._order)}"
            data = data.decode(codec, "replace").encode("utf-16-le")
            unit = np.dtype("<u2")
        units = np.frombuffer(data, unit)
        if units.size != header.count:
            raise CannotDecode(f"{units.size} characters in shape {header.shape}")
        self._budget.spend(units.size // max(1, header.shape[1]), 0)
        self._budget.spend_bytes(4 * units.size)
        return text_rows(units.reshape(header.shape, order="F"))

    def _children(
        self, at: int, end: int, count: int, depth: int
    ) -> tuple[list[Any], int]:
        """Decode so many arrays in a row."""
        if count * 8 > end - at:
            self._fail(f"{count} arrays in {end - at} bytes", "at least 8 bytes each")
        self._budget.check(count)
        values = []
        for _ in range(count):
            tag = self._matrix(at, end)
            values.append(self.array(tag.start, tag.start + tag.size, depth + 1))
            at = tag.following
        return values, at

    def _field_names(self, header: Header, end: int) -> tuple[list[str], int]:
        width_tag = self._tag(header.at, end)
        if width_tag.kind != INT32 or width_tag.size != 4:
            self._fail("a struct without the width of its field names", "a number")
        width = struct.unpack_from(self._order + "i", self._data, width_tag.start)[0]
        tag = self._tag(width_tag.following, end)
        if tag.kind not in (INT8, UTF8) or width <= 0 or tag.size % width:
            self._fail(
                f"field names of width {width} in {tag.size} bytes", "a multiple"
            )
        data = self._data[tag.start : tag.start + tag.size]
        names = [_name(data[k : k + width]) for k in range(0, tag.size, width)]
        if len(set(names)) < len(names):
            self._fail("two fields of the same name", "different names")
        return names, tag.following

    def _struct(self, header: Header, end: int, depth: int) -> Any:
        names, at = self._field_names(header, end)
        values, at = self._children(at, end, header.count * len(names), depth)
        self._finish(at, end)
        rows = []
        if names or header.count == 1:
            for k in range(header.count):
                row = values[k * len(names) : (k + 1) * len(names)]
                rows.append(dict(zip(names, row, strict=True)))
        if header.object_class:
            return MatObject(header.object_class, rows[0] if len(rows) == 1 else rows)
        if header.count != 1:
            return Cell(rows, header.shape, "struct")
        if self._in_tables and is_enumeration(rows[0]):
            tables = self._tables()
            return rows[0] if tables is None else tables.enumeration(rows[0])
        return rows[0]

    def _opaque(self, header: Header, end: int, depth: int) -> Any:
        if header.system != "MCOS":
            reason = f"an object of the {header.system} type system"
            return MatObject(header.object_class, Undecodable(reason))
        tag = self._matrix(header.at, end)
        self._finish(tag.following, end)
        saved = self.array(tag.start, tag.start + tag.size, depth + 1)
        return ObjectTables.find(self._tables, saved, header.object_class, depth)

    def _finish(self, at: int, end: int) -> None:
        if at != end:
            self._fail(f"{end - at} bytes after the last element", "none")

    def _fail(self, found: object, expected: object) -> NoReturn:
        raise DamagedFile("a variable is damaged", found=found, expected=expected)


def _name(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _suffix(order: str) -> str:
    return "le" if order == "<" else "be"
