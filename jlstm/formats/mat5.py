"""MAT files of version 5 to 7: the file, its variables, their checksums.

A header of 128 bytes, then one element of 8-byte tag and data a variable
(https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf). A compressed element
is a zlib stream with a checksum, and it is checked before anything is decoded. Opening
a file reads the first bytes of every variable; the rest is read when it is asked for.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DamagedFile
from .mat5arrays import Arrays
from .mat5layout import MATRIX, Layout
from .matobjects import ObjectTables, TablesOnce
from .matvalues import Budget

HEADER = 128
COMPRESSED = 15
PEEK = 4096
"""Bytes that hold the header of any variable: flags, dimensions, name, class name."""
BEST_RATIO = 1100
"""zlib cannot compress better than 1032 to 1; some room for the tag."""
SYNC_FLUSH = b"\x00\x00\xff\xff"
NO_OFFSET = (0, 0x2020202020202020)


@dataclass(frozen=True)
class Element:
    """Where a variable lies in the file, and its size there."""

    at: int
    kind: int
    size: int


class Mat5:
    """The variables of a MAT file of version 5 to 7.

    Attributes:
        names: the variables, each with its class: "double", "cell", "opaque", ...
        created: the date in the header.
    """

    def __init__(self, path: Path, head: bytes, budget: Budget):
        self.path = path
        self.order = "<" if head[126:128] == b"IM" else ">"
        text = head[:116].decode("latin-1")
        self.created = text.partition("Created on:")[2].strip(" \0")
        self.names: dict[str, str] = {}
        self._budget = budget
        self._elements: dict[str, Element] = {}
        self._unnamed: dict[int, Element] = {}
        self._check_version(head)
        with path.open("rb") as file:
            self._find_variables(file)
        self._subsystem = self._find_subsystem(head)
        self._tables = TablesOnce(self._read_tables)

    def read(self, name: str) -> Any:
        """Decode one variable.

        Raises:
            DamagedFile: its checksum is wrong, or its parts do not fit each other.
            CannotDecode: the bytes are sound, but what they say is unknown.
        """
        data = self._load(self._elements[name])
        return Arrays(data, self.order, self._budget, self._tables).variable()

    def _read_tables(self) -> ObjectTables | None:
        """The tables of the file's objects; None where there are none."""
        if self._subsystem is None:
            return None
        stream = Layout(self._load(self._subsystem), self.order).bytes_of_variable()
        if stream[2:4] not in (b"IM", b"MI"):
            raise DamagedFile("the tables of its objects are damaged")
        order = "<" if stream[2:4] == b"IM" else ">"
        inner = Arrays(stream[8:], order, self._budget, self._tables, True)
        cells = inner.object_cells()
        return None if cells is None else ObjectTables(cells, order, self._budget)

    def _check_version(self, head: bytes) -> None:
        version = struct.unpack(self.order + "H", head[124:126])[0]
        if version != 0x0100:
            raise DamagedFile(
                "unknown version of the MAT format",
                place="header, byte 124",
                found=f"{version:#06x}",
                expected="0x0100",
            )

    def _find_variables(self, file: BinaryIO) -> None:
        end = file.seek(0, 2)
        at = HEADER
        while at < end:
            file.seek(at)
            tag = file.read(8)
            if len(tag) < 8:
                raise _truncated(f"element at byte {at}", len(tag), 8)
            kind, size = struct.unpack(self.order + "II", tag)
            if at + 8 + size > end:
                raise _truncated(f"element at byte {at}", end - at - 8, size)
            try:
                self._add(Element(at, kind, size), file)
            except DamagedFile as error:
                raise error.within(place=f"element at byte {at}") from None
            at += 8 + size

    def _add(self, element: Element, file: BinaryIO) -> None:
        """Note a variable, from the first bytes of its element."""
        if element.kind == COMPRESSED:
            start = _inflate(file.read(min(element.size, PEEK)), PEEK).data
            _check_tag(start, self.order, element.size)
        elif element.kind == MATRIX:
            start = struct.pack(self.order + "II", element.kind, element.size)
            start += file.read(min(element.size, PEEK))
        else:
            raise DamagedFile(
                "this is no variable",
                found=f"element of type {element.kind}",
                expected=f"a matrix ({MATRIX}) or a compressed matrix ({COMPRESSED})",
            )
        header = Layout(start, self.order).header()
        if not header.name:
            self._unnamed[element.at] = element
            return
        if header.name in self._elements:
            raise DamagedFile("two variables of the same name", found=header.name)
        self._elements[header.name] = element
        self.names[header.name] = header.class_name

    def _find_subsystem(self, head: bytes) -> Element | None:
        """The header points at the element without a name that holds the objects."""
        at = struct.unpack(self.order + "Q", head[116:124])[0]
        if at in NO_OFFSET:
            return None
        if at not in self._unnamed:
            raise DamagedFile(
                "the header points at objects that are not there",
                place="header, byte 116",
                found=f"offset {at}",
                expected=", ".join(map(str, self._unnamed))
                or "0: the file holds no objects",
            )
        return self._unnamed[at]

    def _load(self, element: Element) -> bytes:
        """The bytes of a variable from its tag on, decompressed and checked."""
        start = element.at if element.kind == MATRIX else element.at + 8
        end = element.at + 8 + element.size
        with self.path.open("rb") as file:
            file.seek(start)
            body = file.read(end - start)
        if len(body) < end - start:
            raise _truncated(None, len(body), end - start)
        if element.kind == MATRIX:
            return body
        tag = _inflate(body, 8).data
        size = _check_tag(tag, self.order, len(body))
        self._budget.check_bytes(size)
        inflated = _inflate(body, 8 + size)
        inflated.check(8 + size)
        return inflated.data


@dataclass(frozen=True)
class _Inflated:
    """The start of a decompressed stream, and how its end was."""

    data: bytes
    complete: bool
    rest: bytes

    def check(self, size: int) -> None:
        """Raise DamagedFile unless these are all the data and the checksum is right."""
        if len(self.data) < size:
            raise _truncated(None, len(self.data), size)
        if self.rest or not self.complete:
            raise DamagedFile(
                "a compressed variable is damaged",
                found=f"more than the {size} bytes that it declares, or no checksum",
            )


def _inflate(body: bytes, size: int) -> _Inflated:
    """Decompress a stream no further than `size` bytes."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, size)
        # Only reading on past the data verifies the checksum.
        rest = inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise DamagedFile(
            "a compressed variable is damaged",
            found=str(error),
            do="copy or download the file again",
        ) from None
    # MATLAB itself leaves the end mark and the checksum out where the data end together
    # with one of its buffers; such a stream stops at a flush.
    flushed = body.endswith(SYNC_FLUSH) and not inflater.unconsumed_tail
    rest += inflater.unused_data.strip(b"\0")
    return _Inflated(data, inflater.eof or flushed, rest)


def _check_tag(start: bytes, order: str, compressed: int) -> int:
    """Bytes that the tag of a decompressed variable declares."""
    if len(start) < 8:
        raise _truncated(None, len(start), 8)
    kind, size = struct.unpack(order + "II", start[:8])
    if kind != MATRIX or size > BEST_RATIO * compressed:
        raise DamagedFile(
            "a compressed variable is not what it says",
            found=f"type {kind}, {size} bytes made of {compressed}",
            expected=f"type {MATRIX}, at most {BEST_RATIO * compressed} bytes",
        )
    return size


def _truncated(place: str | None, found: int, expected: int) -> DamagedFile:
    return DamagedFile(
        "the file ends too early",
        place=place,
        found=f"{found} bytes",
        expected=f"{expected} bytes",
        do="copy or download the file again",
    )
