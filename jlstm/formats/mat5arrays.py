"""The arrays inside an element of a MAT file of version 5 to 7, decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .mat5layout import CHARACTERS, NUMBERS, STORED, UTF8, UTF32, Header, Layout, Tag
from .matobjects import LazyCells, ObjectTables, is_enumeration, is_reference
from .matvalues import (
    Budget,
    CannotDecode,
    Cell,
    MatObject,
    Undecodable,
    join_complex,
    text_rows,
)

OBJECT_TABLES = "FileWrapper__"


class Arrays(Layout):
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
        super().__init__(data, order)
        self._budget, self._tables, self._in_tables = budget, tables, in_tables

    def variable(self) -> Any:
        """Decode the one variable that this is."""
        tag = self._matrix(0, len(self._data))
        return self.array(tag.start, tag.start + tag.size, 0)

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
            lambda k, depth: self.array(spans[k][0], spans[k][1], depth),
            lambda k: self._lazy_cells(*spans[k]),
        )

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
            value = join_complex(value, self._numbers(tag, header, dtype))
        if self._in_tables and is_reference(value):
            tables = self._tables()
            return value if tables is None else tables.refer(value, depth)
        return value

    def _numbers(self, tag: Tag, header: Header, dtype: np.dtype) -> np.ndarray:
        stored = np.dtype(self._order + STORED[tag.kind])
        if tag.size != header.count * stored.itemsize:
            self._fail(f"{tag.size} bytes", f"{header.count} numbers")
        is_cut = not header.is_logical and not np.can_cast(stored, dtype)
        if stored.kind == "f" and is_cut:
            self._fail(f"{stored.name} in a {header.class_name} array", dtype.name)
        self._budget.spend_bytes(header.count * dtype.itemsize)
        flat = np.frombuffer(self._data, stored, header.count, tag.start)
        try:
            return flat.astype(dtype).reshape(header.shape, order="F")
        except ValueError:
            raise CannotDecode(f"an array of shape {header.shape}") from None

    def _char(self, header: Header, end: int) -> Any:
        tag = self._numbers_tag(header, end)
        data = self._bytes(tag)
        if not header.count:
            return ""
        self._budget.spend(header.count // header.shape[1], 0)
        self._budget.spend_bytes(4 * max(len(data), header.count))
        if not data:
            # Some writers leave blanks out.
            return text_rows(np.full(header.shape, ord(" "), np.uint16))
        unit = np.dtype(self._order + CHARACTERS[tag.kind])
        if tag.kind in (UTF8, UTF32):
            codec = "utf-8" if tag.kind == UTF8 else f"utf-32-{_suffix(self._order)}"
            text = data.decode(codec, "replace")
            if header.count == header.shape[1]:
                return text  # one row, whichever way its characters were counted
            data, unit = text.encode("utf-16-le"), np.dtype("<u2")
        units = np.frombuffer(data, unit)
        if units.size != header.count:
            raise CannotDecode(f"{units.size} characters in shape {header.shape}")
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
        if isinstance(saved, MatObject | Cell):
            return saved  # inside the tables, where the numbers alone are enough
        return ObjectTables.find(self._tables, saved, header.object_class, depth)


def _suffix(order: str) -> str:
    return "le" if order == "<" else "be"
