"""MAT files of version 7.3: HDF5 with attributes that say which class a value is of.

Only what MATLAB writes is opened: hard links, numbers, references, the built-in filters
(https://www.mathworks.com/help/matlab/import_export/mat-file-versions.html). Variable-
length data, links out of the file and other filters are left alone, and declared sizes
are held against stored ones, before the HDF5 library is asked to read anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedFile, JlstmError
from .matobjects import LazyCells, ObjectTables, is_enumeration, is_reference
from .matvalues import (
    MAX_AXES,
    Budget,
    CannotDecode,
    Cell,
    MatObject,
    Undecodable,
    empty_array,
    text_rows,
)

SUBSYSTEM, OBJECT_CELLS = b"#subsystem#", b"MCOS"
NUMBERS = {"double": "f8", "single": "f4", "logical": "?", "int8": "i1", "uint8": "u1",
           "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "int64": "i8",
           "uint64": "u8"}  # fmt: skip
FUNCTION, OLD_OBJECT, OPAQUE = 1, 2, 3
"""Values of the attribute MATLAB_object_decode."""
FILTERS = (1, 2, 3)
"""Deflate, shuffle, checksum: they come with the library."""
BEST_RATIO = 1100
SMALL = 1 << 16
MAX_MEMBERS = 100_000


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
        with self._opened() as file:
            self.names = {
                name.decode("utf-8", "replace"): _class_of_member(file, name)
                for name in _member_names(file)
                if not name.startswith(b"#")
            }

    def read(self, name: str) -> Any:
        """Decode one variable.

        Raises:
            DamagedFile: the HDF5 library finds the file damaged.
            CannotDecode: what the file says is unknown.
        """
        with self._opened() as file:
            return self._value(_open(file, name.encode()), 0)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The root of the file; errors of the library become DamagedFile."""
        import h5py

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

    @cached_property
    def _tables(self) -> ObjectTables | None:
        import h5py

        root = h5py.h5g.open(self._file, b"/")
        if SUBSYSTEM not in root or OBJECT_CELLS not in _open(root, SUBSYSTEM):
            return None
        cells = self._lazy_cells(_open(_open(root, SUBSYSTEM), OBJECT_CELLS))
        return ObjectTables(cells, "<", self._budget)

    def _lazy_cells(self, dataset: Any) -> LazyCells:
        references, _ = self._references(dataset)
        return LazyCells(
            len(references),
            lambda k, depth: self._value(self._follow(references[k]), depth, True),
            lambda k: self._lazy_cells(self._follow(references[k])),
        )

    def _follow(self, reference: Any) -> Any:
        import h5py

        return h5py.h5r.dereference(reference, self._file)

    # --- values -----------------------------------------------------------------------

    def _value(self, item: Any, depth: int, in_tables: bool = False) -> Any:
        """Decode a dataset or a group.

        Arguments:
            in_tables: whether this is a part of the tables of objects, where plain
                numbers refer to objects.
        """
        self._budget.spend(1, depth)
        name = _class_of(item)
        decode = _number(item, b"MATLAB_object_decode", 0)
        if _number(item, b"MATLAB_sparse", -1) >= 0:
            return MatObject("sparse")
        if decode == FUNCTION or name == "function_handle":
            return MatObject("function_handle")
        if decode == OPAQUE:
            return self._opaque(item, name, depth)
        if _number(item, b"MATLAB_empty", 0):
            return self._empty(item, name)
        if decode == OLD_OBJECT:
            found = self._struct(item, depth, in_tables)
            return MatObject(name, list(found) if isinstance(found, Cell) else found)
        if name == "struct":
            return self._struct(item, depth, in_tables)
        if name == "cell":
            references, shape = self._references(item)
            values = self._all(references, depth, in_tables)
            return Cell(values, shape)
        if name == "char":
            return self._char(item)
        if name in NUMBERS:
            value = self._numeric(item, name)
            tables = self._tables if in_tables and is_reference(value) else None
            return value if tables is None else tables.refer(value, depth)
        raise CannotDecode(f"a value of class {name or 'unknown'}")

    def _empty(self, item: Any, name: str) -> Any:
        """A value without elements: its shape is stored instead."""
        words = self._numbers(_dataset(item)).ravel()
        if words.dtype.kind not in "iu" or not words.size <= MAX_AXES:
            raise CannotDecode("an empty array without a shape")
        shape = tuple(words.tolist())
        if name == "struct":
            if shape == (1, 1):
                return {}
            self._budget.check(math.prod(shape))
            return Cell([], shape, "struct")
        if name == "canonical empty":
            return np.zeros((0, 0))
        if name == "char":
            return ""
        value = empty_array(shape, NUMBERS.get(name, "f8"))
        return Cell([], shape) if name == "cell" else value

    def _numeric(self, item: Any, name: str) -> np.ndarray:
        value = self._numbers(_dataset(item)).T
        if value.dtype.names:
            return value["real"] + 1j * value["imag"]
        is_logical = name == "logical" or _number(item, b"MATLAB_int_decode", 0) == 1
        dtype = np.dtype(bool if is_logical else NUMBERS[name])
        if dtype.kind != "b" and value.dtype != dtype:
            raise CannotDecode(f"{value.dtype} in an array of class {name}")
        return value.astype(dtype, copy=False)

    def _char(self, item: Any) -> Any:
        units = self._numbers(_dataset(item)).T
        if units.dtype.kind != "u" or units.ndim < 2:
            raise CannotDecode(f"text made of {units.dtype}")
        self._budget.spend(units.size // max(1, units.shape[1]), 0)
        return text_rows(units)

    def _struct(self, item: Any, depth: int, in_tables: bool) -> Any:
        """A group: of the fields of one struct, or of references to many."""
        fields = {
            name.decode("utf-8", "replace"): _open(item, name)
            for name in _member_names(_group(item))
        }
        if fields and all(_is_references(member) for member in fields.values()):
            return self._structs(fields, depth, in_tables)
        found = {
            name: self._value(member, depth + 1, in_tables)
            for name, member in fields.items()
        }
        if in_tables and is_enumeration(found) and (tables := self._tables):
            return tables.enumeration(found)
        return found

    def _structs(self, fields: dict[str, Any], depth: int, in_tables: bool) -> Cell:
        columns, shape = {}, ()
        for name, member in fields.items():
            references, shape = self._references(member)
            columns[name] = self._all(references, depth, in_tables)
        if len({len(column) for column in columns.values()}) != 1:
            raise CannotDecode("a struct array with fields of different sizes")
        rows = [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
        return Cell(rows, shape, "struct")

    def _all(self, references: list[Any], depth: int, in_tables: bool) -> list[Any]:
        return [self._value(self._follow(r), depth + 1, in_tables) for r in references]

    def _opaque(self, item: Any, name: str, depth: int) -> Any:
        import h5py

        if name.startswith(("java.", "com.", "COM.")):
            return MatObject(name, Undecodable(f"a {name} of another type system"))
        if isinstance(item, h5py.h5g.GroupID):
            saved = self._struct(item, depth, False)
        else:
            saved = self._numbers(_dataset(item)).T
        return ObjectTables.find(lambda: self._tables, saved, name, depth)

    # --- datasets ---------------------------------------------------------------------

    def _references(self, item: Any) -> tuple[list[Any], tuple[int, ...]]:
        """What a dataset refers to, in column-major order, and its MATLAB shape."""
        import h5py

        if not _is_references(item, strict=False):
            raise CannotDecode("a cell array that holds no references")
        shape = self._check_size(item, 8)
        self._budget.check(math.prod(shape))
        found = np.empty(shape, h5py.ref_dtype)
        item.read(h5py.h5s.ALL, h5py.h5s.ALL, found)
        return list(found.ravel()), shape[::-1]

    def _numbers(self, item: Any) -> np.ndarray:
        """The numbers in a dataset, in native byte order."""
        import h5py

        dtype = _number_type(item.get_type())
        shape = self._check_size(item, dtype.itemsize)
        self._budget.spend_bytes(math.prod(shape) * dtype.itemsize)
        found = np.empty(shape, dtype)
        item.read(h5py.h5s.ALL, h5py.h5s.ALL, found)
        return found

    def _check_size(self, item: Any, width: int) -> tuple[int, ...]:
        """The shape of a dataset whose data are in the file, as large as declared."""
        import h5py

        shape = item.shape
        declared = math.prod(shape) * width
        self._budget.check_bytes(declared)
        setup = item.get_create_plist()
        layouts = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)
        filters = [setup.get_filter(k)[0] for k in range(setup.get_nfilters())]
        if (
            len(shape) > MAX_AXES
            or setup.get_layout() not in layouts
            or setup.get_external_count()
            or not set(filters) <= set(FILTERS)
        ):
            raise CannotDecode(f"data stored in another way (filters {filters})")
        stored = item.get_storage_size()
        if setup.get_layout() == h5py.h5d.CHUNKED:
            declared = max(declared, math.prod(setup.get_chunk()) * width)
        if declared > (BEST_RATIO if filters else 1) * stored + SMALL:
            raise CannotDecode(f"{declared} bytes declared and {stored} stored")
        return shape


# --- the HDF5 library -----------------------------------------------------------------


def _open(group: Any, name: bytes) -> Any:
    """A member of a group that is in this file."""
    import h5py

    if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
        raise CannotDecode("a link that may lead out of the file")
    return h5py.h5o.open(group, name)


def _member_names(group: Any) -> list[bytes]:
    names: list[bytes] = []

    def note(name: bytes) -> Any:
        names.append(name)
        return True if len(names) > MAX_MEMBERS else None

    group.links.iterate(note)
    if len(names) > MAX_MEMBERS:
        raise CannotDecode(f"more than {MAX_MEMBERS} fields")
    return names


def _class_of_member(group: Any, name: bytes) -> str:
    try:
        return _class_of(_open(group, name))
    except CannotDecode:
        return "unknown"  # reading it says why


def _dataset(item: Any) -> Any:
    import h5py

    if not isinstance(item, h5py.h5d.DatasetID):
        raise CannotDecode("a group where numbers are expected")
    return item


def _group(item: Any) -> Any:
    import h5py

    if not isinstance(item, h5py.h5g.GroupID):
        raise CannotDecode("numbers where a struct is expected")
    return item


def _is_references(item: Any, strict: bool = True) -> bool:
    """Whether a dataset holds references; a field of many structs has no class."""
    import h5py

    if not isinstance(item, h5py.h5d.DatasetID) or (strict and _class_of(item)):
        return False
    kind = item.get_type()
    return kind.get_class() == h5py.h5t.REFERENCE and kind.equal(h5py.h5t.STD_REF_OBJ)


def _number_type(kind: Any) -> np.dtype:
    """The dtype of a dataset of numbers, real or complex."""
    import h5py

    if kind.get_class() == h5py.h5t.COMPOUND:
        names = [kind.get_member_name(k) for k in range(min(3, kind.get_nmembers()))]
        if names != [b"real", b"imag"]:
            raise CannotDecode(f"numbers with the parts {names}")
        parts = {_number_type(kind.get_member_type(k)) for k in (0, 1)}
        if len(parts) == 1 and (part := parts.pop()).names is None:
            return np.dtype([("real", part), ("imag", part)])
    elif kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        letter = "f"
        if kind.get_class() == h5py.h5t.INTEGER:
            letter = "u" if kind.get_sign() == h5py.h5t.SGN_NONE else "i"
        if kind.get_size() in ((4, 8) if letter == "f" else (1, 2, 4, 8)):
            return np.dtype(f"{letter}{kind.get_size()}")
    raise CannotDecode("a type of numbers that MATLAB does not write")


def _class_of(item: Any) -> str:
    """The attribute MATLAB_class; empty where there is none."""
    import h5py

    if not h5py.h5a.exists(item, b"MATLAB_class"):
        return ""
    attribute = h5py.h5a.open(item, b"MATLAB_class")
    kind = attribute.get_type()
    if (
        kind.get_class() != h5py.h5t.STRING
        or kind.is_variable_str()
        or not 0 < kind.get_size() <= 1024
        or attribute.get_space().get_simple_extent_npoints() != 1
    ):
        raise CannotDecode("a class that is not given as text")
    found = np.zeros(attribute.shape, f"S{kind.get_size()}")
    attribute.read(found)
    return found.item().decode("utf-8", "replace")


def _number(item: Any, name: bytes, default: int) -> int:
    """An attribute that is one whole number."""
    import h5py

    if not h5py.h5a.exists(item, name):
        return default
    attribute = h5py.h5a.open(item, name)
    if (
        attribute.get_type().get_class() != h5py.h5t.INTEGER
        or attribute.get_type().get_size() > 8
        or attribute.get_space().get_simple_extent_npoints() != 1
    ):
        raise CannotDecode(f"{name.decode()} is no whole number")
    found = np.zeros(attribute.shape, np.int64)
    attribute.read(found)
    return int(found.item())
