"""MAT files of version 7.3: HDF5 with attributes that say which class a value is of.

Axes are in the opposite order. Cells and struct arrays are datasets of references to
their elements, which lie in the group `#refs#`; the tables of the objects are in
`#subsystem#` (https://www.mathworks.com/help/matlab/import_export/mat-file-versions.html).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DamagedFile, JlstmError
from . import hdf5items
from .hdf5items import member, member_names, number_attribute, text_attribute
from .matobjects import (
    LazyCells,
    ObjectTables,
    TablesOnce,
    is_enumeration,
    is_reference,
)
from .matvalues import (
    MAX_AXES,
    Budget,
    CannotDecode,
    Cell,
    MatObject,
    Undecodable,
    empty_array,
    join_complex,
    text_rows,
)

SUBSYSTEM, OBJECT_CELLS = b"#subsystem#", b"MCOS"
CLASS, DECODE, INTEGERS = b"MATLAB_class", b"MATLAB_object_decode", b"MATLAB_int_decode"
EMPTY, SPARSE = b"MATLAB_empty", b"MATLAB_sparse"
FUNCTION, OLD_OBJECT, OPAQUE = 1, 2, 3
"""Values of MATLAB_object_decode."""
LOGICAL = 1
"""A value of MATLAB_int_decode."""
NUMBERS = {"double": "f8", "single": "f4", "logical": "?", "int8": "i1", "uint8": "u1",
           "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "int64": "i8",
           "uint64": "u8"}  # fmt: skip


class MatHdf5:
    """The variables of a MAT file of version 7.3.

    Attributes:
        names: the variables, each with its class.
        created: the date in the header.
    """

    def __init__(self, path: Path, head: bytes, budget: Budget):
        self.path = path
        text = head[:116].decode("latin-1")
        self.created = (
            text.partition("Created on:")[2].partition("HDF5")[0].strip(" \0")
        )
        self._budget = budget
        self._file: Any = None
        self._referred: dict[tuple[int, bool], Any] = {}
        self._tables = TablesOnce(self._read_tables)
        with self._opened() as root:
            self.names = {
                name.decode("utf-8", "replace"): _class_of_member(root, name)
                for name in member_names(root)
                if not name.startswith(b"#")
            }

    def read(self, name: str) -> Any:
        """Decode one variable.

        Raises:
            DamagedFile: the HDF5 library finds the file damaged.
            CannotDecode: what the file says is unknown.
        """
        with self._opened() as root:
            return self._value(member(root, name.encode()), 0)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The root of the file; errors of the library become DamagedFile."""
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                self._file = file.id
                yield h5py.h5g.open(file.id, b"/")
        except (JlstmError, CannotDecode, MemoryError, RecursionError):
            raise
        except Exception as error:
            # h5py raises whatever the library's error stack is mapped to.
            raise DamagedFile(
                "the HDF5 structure is damaged", found=str(error).partition("\n")[0]
            ) from None
        finally:
            self._file = None

    def _read_tables(self) -> ObjectTables | None:
        root = h5py.h5g.open(self._file, b"/")
        if SUBSYSTEM not in root or OBJECT_CELLS not in member(root, SUBSYSTEM):
            return None
        cells = self._lazy_cells(member(member(root, SUBSYSTEM), OBJECT_CELLS))
        return ObjectTables(cells, "<", self._budget)

    def _lazy_cells(self, item: Any) -> LazyCells:
        found, _ = hdf5items.references(item, self._budget)
        return LazyCells(
            len(found),
            lambda k, depth: self._follow(found[k], depth, True),
            lambda k: self._lazy_cells(hdf5items.follow(found[k][1], self._file)),
        )

    def _follow(self, where: tuple[int, Any], depth: int, in_tables: bool) -> Any:
        """Decode what a reference refers to, once however many there are."""
        address, reference = where
        if (address, in_tables) not in self._referred:
            item = hdf5items.follow(reference, self._file)
            self._referred[address, in_tables] = self._value(item, depth, in_tables)
        return self._referred[address, in_tables]

    # --- values -----------------------------------------------------------------------

    def _value(self, item: Any, depth: int, in_tables: bool = False) -> Any:
        """Decode a dataset or a group.

        Arguments:
            in_tables: whether this is a part of the tables of objects, where plain
                numbers refer to objects.
        """
        self._budget.spend(1, depth)
        name = text_attribute(item, CLASS)
        decode = number_attribute(item, DECODE, 0)
        if number_attribute(item, SPARSE, -1) >= 0:
            return MatObject("sparse")
        if decode == FUNCTION or name == "function_handle":
            return MatObject("function_handle")
        if decode == OPAQUE:
            return self._opaque(item, name, depth)
        if number_attribute(item, EMPTY, 0):
            return self._empty(item, name)
        if decode == OLD_OBJECT:
            found = self._struct(item, depth, in_tables)
            return MatObject(name, list(found) if isinstance(found, Cell) else found)
        if name == "struct":
            return self._struct(item, depth, in_tables)
        if name == "cell":
            found, shape = hdf5items.references(item, self._budget)
            return Cell([self._follow(r, depth + 1, in_tables) for r in found], shape)
        if name == "char":
            return self._char(item)
        if name in NUMBERS:
            value = self._numeric(item, name)
            tables = self._tables() if in_tables and is_reference(value) else None
            return value if tables is None else tables.refer(value, depth)
        raise CannotDecode(
            f"a value of class {name}" if name else "a value of no class"
        )

    def _empty(self, item: Any, name: str) -> Any:
        """A value without elements: its shape is stored instead."""
        words = hdf5items.numbers(item, self._budget).ravel()
        if words.dtype.kind not in "iu" or words.size > MAX_AXES:
            raise CannotDecode("an empty array without a shape")
        shape = tuple(words.tolist())
        if name == "struct":
            return {} if math.prod(shape) == 1 else Cell([], shape, "struct")
        if name == "canonical empty":
            return np.zeros((0, 0))
        if name == "char":
            return ""
        value = empty_array(shape, NUMBERS.get(name, "f8"))
        return Cell([], shape) if name == "cell" else value

    def _numeric(self, item: Any, name: str) -> np.ndarray:
        value = hdf5items.numbers(item, self._budget).T
        if value.dtype.names:
            return join_complex(value["real"], value["imag"])
        is_logical = number_attribute(item, INTEGERS, 0) == LOGICAL
        dtype = np.dtype(bool if is_logical else NUMBERS[name])
        if dtype.kind != "b" and value.dtype != dtype:
            raise CannotDecode(f"{value.dtype} in an array of class {name}")
        return value.astype(dtype, copy=False)

    def _char(self, item: Any) -> Any:
        units = hdf5items.numbers(item, self._budget).T
        if units.dtype.kind != "u" or units.ndim < 2:
            raise CannotDecode(f"text made of {units.dtype}")
        self._budget.spend(units.size // max(1, units.shape[1]), 0)
        return text_rows(units)

    def _struct(self, item: Any, depth: int, in_tables: bool) -> Any:
        """A group: of the fields of one struct, or of references to many."""
        fields = {
            name.decode("utf-8", "replace"): member(item, name)
            for name in member_names(item)
        }
        if fields and all(map(_is_field_of_many, fields.values())):
            return self._structs(fields, depth, in_tables)
        found = {
            name: self._value(value, depth + 1, in_tables)
            for name, value in fields.items()
        }
        if in_tables and is_enumeration(found) and (tables := self._tables()):
            return tables.enumeration(found)
        return found

    def _structs(self, fields: dict[str, Any], depth: int, in_tables: bool) -> Cell:
        columns, shapes = {}, set()
        for name, item in fields.items():
            found, shape = hdf5items.references(item, self._budget)
            columns[name] = [self._follow(r, depth + 1, in_tables) for r in found]
            shapes.add(shape)
        if len(shapes) != 1:
            raise CannotDecode("a struct array with fields of different sizes")
        rows = zip(*columns.values(), strict=True)
        structs = [dict(zip(columns, row, strict=True)) for row in rows]
        return Cell(structs, shapes.pop(), "struct")

    def _opaque(self, item: Any, name: str, depth: int) -> Any:
        if name.startswith(("java.", "com.", "COM.")):
            return MatObject(name, Undecodable("an object of another type system"))
        if hdf5items.is_group(item):
            saved = self._struct(item, depth, False)
        else:
            saved = hdf5items.numbers(item, self._budget).T
        return ObjectTables.find(self._tables, saved, name, depth)


def _is_field_of_many(item: Any) -> bool:
    """Whether this is one field of a struct array; a cell has a class of its own."""
    return hdf5items.has_references(item) and not text_attribute(item, CLASS)


def _class_of_member(group: Any, name: bytes) -> str:
    try:
        return text_attribute(member(group, name), CLASS)
    except CannotDecode:
        return "unknown"  # reading it says why
