"""MATLAB's objects, looked up in the tables that a file keeps of them.

A variable that is an object holds numbers only: a mark, its shape, the numbers of the
objects and of their class. What they stand for is in the tables, a cell array that
every file with objects has one of. Its first element lists names, classes, objects and
their properties; the others hold the values of properties, the last one the defaults of
every class. The layout is documented by the authors of mat-io
(https://github.com/foreverallama/matio/tree/main/docs).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from ..errors import DamagedFile
from .matvalues import (
    MAX_AXES,
    Budget,
    CannotDecode,
    Cell,
    MatObject,
    Undecodable,
)

MARK = 0xDD000000
ENUMERATION = "EnumerationInstanceTag"
TRAILING_CELLS = {2: 1, 3: 2, 4: 3}
"""By version: how many elements follow the properties; the last holds defaults."""
NAME, VALUE, NUMBER = 0, 1, 2
"""What the third number of a property says: a name, a place in the cells, itself."""
MAX_TABLE_BYTES = 1 << 23


@dataclass(frozen=True)
class LazyCells:
    """The elements of a cell array that are decoded when they are asked for.

    Attributes:
        count: how many there are.
        decode: decodes one, at a depth of nesting.
        open: one that is a cell array itself, lazy as well.
    """

    count: int
    decode: Callable[[int, int], Any]
    open: Callable[[int], LazyCells]


class TablesOnce:
    """Makes the tables of a file when they are first asked for.

    Arguments:
        make: makes them; None where the file has none.

    Raises:
        DamagedFile, CannotDecode: what `make` raised, and the same every time.
    """

    def __init__(self, make: Callable[[], ObjectTables | None]):
        self._make: Callable[[], ObjectTables | None] | None = make
        self._made: ObjectTables | None = None
        self._error: DamagedFile | CannotDecode | None = None

    def __call__(self) -> ObjectTables | None:
        """The tables."""
        if self._make is not None:
            try:
                self._made = self._make()
            except (DamagedFile, CannotDecode) as error:
                self._error = error
            self._make = None
        if self._error is not None:
            # A copy, since whoever catches it adds the place to it.
            raise copy(self._error)
        return self._made


def is_reference(value: Any) -> bool:
    """Whether numbers in the tables stand for objects."""
    return (
        value.dtype == np.uint32
        and value.ndim == 2
        and value.shape[1] == 1
        and value.size >= 3
        and value[0, 0] == MARK
    )


def is_enumeration(fields: dict[str, Any]) -> bool:
    """Whether a struct in the tables stands for members of an enumeration."""
    tag = fields.get(ENUMERATION)
    return isinstance(tag, np.ndarray) and tag.size == 1 and tag.flat[0] == MARK


class ObjectTables:
    """The objects of a file by number.

    Arguments:
        cells: the cell array with the tables and the values.
        order: "<" or ">".
        budget: how many arrays may be decoded.

    Raises:
        DamagedFile: the tables contradict themselves.
    """

    def __init__(self, cells: LazyCells, order: str, budget: Budget):
        self._cells, self._budget = cells, budget
        self._objects: dict[int, MatObject] = {}
        self._decoded: dict[int, Any] = {}
        self._class_defaults: dict[int, dict[str, Any]] = {}
        head = cells.decode(0, 0) if cells.count else None
        if not isinstance(head, np.ndarray) or head.dtype != np.uint8:
            self._fail("no list of objects")
        if head.size > MAX_TABLE_BYTES:
            raise CannotDecode(f"a list of objects of {head.size} bytes")
        if head.size < 40:
            self._fail(f"a list of objects of {head.size} bytes")
        self._read_head(head.tobytes(order="F"), order + "i4")

    def _read_head(self, head: bytes, numbers: str) -> None:
        version, count, *offsets = np.frombuffer(head, numbers, 10).tolist()
        if version not in TRAILING_CELLS:
            raise CannotDecode(f"version {version} of MATLAB's tables of objects")
        if self._cells.count < 2 + TRAILING_CELLS[version]:
            self._fail(f"{self._cells.count} cells")
        self._values = self._cells.count - 2 - TRAILING_CELLS[version]
        marks = [40, *offsets[:6]]
        if marks != sorted(marks) or marks[-1] > len(head) or any(m % 4 for m in marks):
            self._fail(f"offsets {offsets} in {len(head)} bytes")
        self._names = head[40 : marks[1]].split(b"\0")[:count]
        if len(self._names) != count:
            self._fail(f"{len(self._names)} names instead of {count}")
        region = [
            np.frombuffer(head[begin:end], numbers).astype(int)
            for begin, end in pairwise(marks[1:])
        ]
        self._classes = region[0][: region[0].size // 4 * 4].reshape(-1, 4)
        self._rows = region[2][: region[2].size // 6 * 6].reshape(-1, 6)
        self._saved = self._records(region[1])
        self._normal = self._records(region[3])

    def _records(self, region: np.ndarray) -> list[np.ndarray]:
        """Records of a count and that many triples, padded to an even length."""
        records, at = [], 0
        while at < region.size:
            end = at + 1 + 3 * int(region[at])
            if not at < end <= region.size:
                self._fail(f"an object of {region[at]} properties")
            records.append(region[at + 1 : end].reshape(-1, 3))
            at = end + end % 2
        return records

    @staticmethod
    def find(
        tables: Callable[[], ObjectTables | None],
        saved: Any,
        class_name: str,
        depth: int,
    ) -> Any:
        """The objects that an opaque variable stands for; never raises CannotDecode."""
        try:
            found = tables()
            if found is None:
                raise CannotDecode("the file has no tables of objects")
            if isinstance(saved, dict) and is_enumeration(saved):
                return found.enumeration(saved)
            if isinstance(saved, np.ndarray) and is_reference(saved):
                return found.refer(saved, depth)
            raise CannotDecode("not saved as other objects are")
        except CannotDecode as reason:
            return MatObject(class_name, Undecodable(str(reason)))

    def refer(self, words: np.ndarray, depth: int) -> Any:
        """The object or the array of objects that numbers stand for.

        Raises:
            CannotDecode: they stand for nothing.
        """
        self._budget.check(words.size)
        _, axes, *rest = words.ravel().tolist()
        if not 2 <= axes <= min(MAX_AXES, len(rest) - 1):
            raise CannotDecode(f"objects along {axes} axes")
        shape = tuple(rest[:axes])
        count = math.prod(shape)
        if len(rest) < axes + count + 1:
            raise CannotDecode(f"{count} objects in {len(rest)} numbers")
        class_name = self._class_name(rest[-1])
        ids = rest[axes : axes + count]
        found = [self._object(number, class_name, depth) for number in ids]
        return found[0] if count == 1 else Cell(found, shape, class_name)

    def enumeration(self, fields: dict[str, Any]) -> MatObject:
        """Members of an enumeration: their names.

        Raises:
            CannotDecode: the struct is not laid out as known.
        """
        try:
            class_name = self._class_name(int(fields["ClassName"].flat[0]))
            names = [self._name(int(k)) for k in fields["ValueNames"].flat]
        except (KeyError, AttributeError, IndexError, TypeError, ValueError):
            raise CannotDecode("an enumeration of unknown layout") from None
        return MatObject(class_name, {"names": Cell(names, (len(names), 1))})

    def _object(self, number: int, class_name: str, depth: int) -> MatObject:
        if number == 0:
            return MatObject(class_name, lost=True)
        if number not in self._objects:
            # Entered before its contents, since objects may refer to each other.
            result = self._objects[number] = MatObject(class_name)
            try:
                self._budget.spend(1, depth)
                self._fill(result, number, depth + 1)
            except CannotDecode as reason:
                result.values = Undecodable(str(reason))
            except BaseException:
                # Half of an object must not be there for those who ask again.
                del self._objects[number]
                raise
        return self._objects[number]

    def _fill(self, result: MatObject, number: int, depth: int) -> None:
        if number >= len(self._rows):
            raise CannotDecode(f"object {number} of {len(self._rows) - 1}")
        class_id, _, _, saved, normal, _ = self._rows[number].tolist()
        # Elements of an array may be of any subclass; the array names a base class.
        result.class_name = self._class_name(class_id)
        records, record = (self._saved, saved) if saved else (self._normal, normal)
        if not 0 <= record < len(records):
            raise CannotDecode(f"properties {record} of {len(records)}")
        values = {
            self._name(name): self._property(kind, value, depth)
            for name, kind, value in records[record].tolist()
        }
        if "any" in values:
            # What saveobj returned. The class defaults have nothing to say beside it.
            result.values = values["any"]
        else:
            result.values = self._defaults(class_id, depth) | values

    def _property(self, kind: int, value: int, depth: int) -> Any:
        if kind == NAME:
            return self._name(value)
        if kind == NUMBER:
            return np.array([[value]], np.int32)
        if kind != VALUE or not 0 <= value < self._values:
            return Undecodable(f"a property of kind {kind}, value {value}")
        if value not in self._decoded:
            try:
                self._decoded[value] = self._cells.decode(2 + value, depth)
            except CannotDecode as reason:
                self._decoded[value] = Undecodable(str(reason))
        return self._decoded[value]

    def _defaults(self, class_id: int, depth: int) -> dict[str, Any]:
        if class_id not in self._class_defaults:
            cells = self._default_cells
            if not class_id < cells.count:
                raise CannotDecode(f"defaults {class_id} of {cells.count}")
            found = cells.decode(class_id, depth)
            self._class_defaults[class_id] = found if isinstance(found, dict) else {}
        return self._class_defaults[class_id]

    @cached_property
    def _default_cells(self) -> LazyCells:
        return self._cells.open(self._cells.count - 1)

    def _class_name(self, number: int) -> str:
        if not 0 < number < len(self._classes):
            raise CannotDecode(f"class {number} of {len(self._classes) - 1}")
        package, name = self._classes[number, :2].tolist()
        return (
            f"{self._name(package)}.{self._name(name)}" if package else self._name(name)
        )

    def _name(self, number: int) -> str:
        if not 0 < number <= len(self._names):
            raise CannotDecode(f"name {number} of {len(self._names)}")
        return self._names[number - 1].decode("utf-8", "replace")

    def _fail(self, found: str) -> NoReturn:
        raise DamagedFile("the tables of its objects are damaged", found=found)
