"""Is this file what it says? Checks made before a MAT file is decoded.

MAT v5 to v7 (https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf): a
header of 128 bytes, then elements of 8-byte tag and data. Compressed elements are zlib
streams with a checksum; inside, every element must fit into its parent, and cells and
structs must hold as many elements as their dimensions say. MAT v7.3 is HDF5: declared
sizes are held against stored sizes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..errors import DamagedFile

HEADER = 128
COMPRESSED, MATRIX = 15, 14
SCALAR_TYPES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8,
                16: 1, 17: 2, 18: 4}  # fmt: skip
CELL, STRUCT, OBJECT, OPAQUE = 1, 2, 3, 17
MAX_NESTING = 200
DEFLATE_RATIO = 1100
"""zlib cannot compress better than 1032 to 1; some room for headers."""

SIGNATURES = {
    b"PK\x03\x04": "a zip archive (a .keras model, perhaps)",
    b"\x89HDF": "a plain HDF5 file, without MATLAB's header",
    b"\x1f\x8b": "a gzip file",
    b"\x93NUM": "a NumPy .npy file",
    b"\x80\x02": "a Python pickle (a PyTorch checkpoint, perhaps)",
    b"%PDF": "a PDF document",
    b"<?xml": "an XML document",
    b"<htm": "a web page",
    b"<!DO": "a web page (the download went wrong?)",
    b"vers": "a Git LFS pointer: the real file was not fetched",
}


@dataclass
class Opened:
    """A MAT file that passed its checks."""

    path: Path
    kind: str
    created: str = ""
    byte_order: str = "<"
    names: dict[str, int] = field(default_factory=dict)
    elements: dict[int, bytes] = field(default_factory=dict)
    subsystem_at: int = 0

    def element(self, name: str) -> bytes:
        """A file image that holds this one variable, uncompressed."""
        return bytes(HEADER) + self.elements[self.names[name]]

    def subsystem(self) -> bytes | None:
        """The stream of the objects' tables: version, padding, one element."""
        if not self.subsystem_at:
            return None
        walk = _Walk(self.elements[self.subsystem_at], self.byte_order, self.path)
        return walk.payload()


def check(path: Path) -> Opened:
    """Find out what kind of MAT file this is and check all of it.

    Raises:
        DamagedFile: it is no MAT file, or not whole.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEADER)
    except OSError as error:
        raise DamagedFile(
            "cannot be opened", file=path, found=error.strerror or str(error)
        ) from None
    if not head:
        raise DamagedFile("the file is empty", file=path, expected="a MAT file")
    if head[:8] == b"\x89HDF\r\n\x1a\n" or head[124:128] == b"\x00\x02IM":
        return _check_hdf5(path, head)
    if len(head) == HEADER and head[126:128] in (b"IM", b"MI"):
        return _check_v5(path, head)
    if 0 in head[:4]:
        return _check_v4(path, size)
    what = next((w for s, w in SIGNATURES.items() if head.startswith(s)), None)
    raise DamagedFile(
        "not a MAT file",
        file=path,
        found=what or f"a file that starts with {head[:8]!r}",
        expected="a file saved by MATLAB, v4 to v7.3",
        do="keras, torch and onnx models are read by their own extensions"
        if what
        else None,
    )


def byte_order_of(mark: bytes) -> str:
    """Byte order from the two bytes after a version: 'IM' is little-endian."""
    return "<" if mark[2:4] == b"IM" else ">"


# --- v5 to v7 -------------------------------------------------------------------------


def _check_v5(path: Path, head: bytes) -> Opened:
    order = byte_order_of(head[124:128])
    version = struct.unpack(order + "H", head[124:126])[0]
    if version != 0x0100:
        raise DamagedFile(
            "unknown version of the MAT format",
            file=path,
            place="header, byte 124",
            found=f"{version:#06x}",
            expected="0x0100",
        )
    opened = Opened(path, "v5", _date(head), order)
    data = memoryview(path.read_bytes())
    at = HEADER
    while at < len(data):
        place = f"element at byte {at}"
        if at + 8 > len(data):
            _truncated(path, place)
        kind, size = struct.unpack_from(order + "II", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            _truncated(path, place, len(body), size)
        if kind == COMPRESSED:
            element = _inflate(body, order, path, place)
        elif kind == MATRIX:
            element = bytes(data[at : at + 8 + size])
        else:
            raise DamagedFile(
                "this is no variable",
                file=path,
                place=place,
                found=f"element of type {kind}",
                expected="a matrix (14) or a compressed matrix (15)",
            )
        name = _Walk(element, order, path, place).variable()
        if name in opened.names and name:
            raise DamagedFile(f"two variables are called '{name}'", file=path)
        if name:
            opened.names[name] = at
        opened.elements[at] = element
        at += 8 + size
    _find_subsystem(opened, head)
    return opened


def _find_subsystem(opened: Opened, head: bytes) -> None:
    """The header points at the element without a name that holds the objects."""
    at = struct.unpack(opened.byte_order + "Q", head[116:124])[0]
    if at in (0, 0x2020202020202020):
        return
    named = set(opened.names.values())
    if at not in opened.elements or at in named:
        raise DamagedFile(
            "the header points at objects that are not there",
            file=opened.path,
            place="header, byte 116",
            found=f"offset {at}",
            expected=", ".join(str(k) for k in opened.elements if k not in named)
            or "0: the file holds no objects",
        )
    opened.subsystem_at = at
    stream = opened.subsystem() or b""
    if len(stream) < 16 or stream[2:4] not in (b"IM", b"MI"):
        raise DamagedFile("the objects' tables are damaged", file=opened.path)
    _Walk(stream[8:], byte_order_of(stream[:4]), opened.path, "objects").variable()


def _inflate(body: memoryview, order: str, path: Path, place: str) -> bytes:
    """Decompress one element, no further than it says it goes; check the checksum."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, 8)
        if len(data) < 8:
            _truncated(path, place)
        kind, size = struct.unpack(order + "II", data)
        if kind != MATRIX or size > DEFLATE_RATIO * len(body):
            raise DamagedFile(
                "a compressed element is not what it says",
                file=path,
                place=place,
                found=f"type {kind}, {size} bytes from {len(body)}",
            )
        parts = [data]
        left = size
        tail = inflater.unconsumed_tail
        while left > 0 and (part := inflater.decompress(tail, min(left, 1 << 24))):
            parts.append(part)
            left -= len(part)
            tail = inflater.unconsumed_tail
        # Nothing may follow, and only reading on past the data verifies the checksum.
        rest = inflater.decompress(tail, 1)
    except zlib.error as error:
        raise DamagedFile(
            "a compressed variable is damaged",
            file=path,
            place=place,
            found=str(error),
            do="copy or download the file again",
        ) from None
    if left > 0 or rest or inflater.unused_data.strip(b"\0"):
        _truncated(path, place, size - left, size)
    # MATLAB itself leaves the end mark and the checksum out of some streams; then all
    # the declared data have come and the input is used up, which is all there is to know.
    return b"".join(parts)


class _Walk:
    """A walk over the elements of one variable, checking that each fits its parent."""

    def __init__(self, data: bytes, order: str, path: Path, place: str = ""):
        self.data, self.path, self.place = data, path, place
        self.tag = struct.Struct(order + "II")
        self.order = order

    def variable(self) -> str:
        """Check a whole variable; returns its name."""
        kind, start, size, _ = self._tag(0, len(self.data))
        if kind != MATRIX:
            self._fail(f"type {kind}", "a matrix")
        return self._matrix(start, start + size, 0)

    def payload(self) -> bytes:
        """The numbers of a plain numeric variable."""
        _, start, size, _ = self._tag(0, len(self.data))
        at, end, last = start, start + size, (0, 0)
        while at < end:
            _, begin, length, at = self._tag(at, end)
            last = (begin, length)
        return self.data[last[0] : last[0] + last[1]]

    def _tag(self, at: int, end: int) -> tuple[int, int, int, int]:
        """`(type, start of data, bytes of data, start of the next element)`."""
        if at + 8 > end:
            self._fail("an element without a tag", "8 bytes")
        kind, size = self.tag.unpack_from(self.data, at)
        if kind >> 16:
            kind, size, start, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                self._fail(f"{size} bytes in a small element", "at most 4")
        else:
            start = at + 8
            following = start + size
            if kind != MATRIX:
                following += -size % 8
        if start + size > end:
            self._fail(f"an element of {size} bytes", f"at most {end - start}")
        if kind not in SCALAR_TYPES and kind != MATRIX:
            self._fail(f"element of type {kind}", "a type of the MAT format")
        return kind, start, size, min(following, end)

    def _matrix(self, at: int, end: int, depth: int) -> str:
        """Check one array element; returns its name."""
        if at == end:
            return ""
        if depth > MAX_NESTING:
            self._fail("arrays nested too deeply", f"at most {MAX_NESTING}")
        kind, start, size, at = self._tag(at, end)
        if kind != 6 or size != 8:
            self._fail("an array without flags", "two 32-bit numbers")
        flags = self.tag.unpack_from(self.data, start)[0] & 0xFF
        parts: list[tuple[int, int, int]] = []
        children = 0
        while at < end:
            kind, start, size, at = self._tag(at, end)
            if kind == MATRIX:
                self._matrix(start, start + size, depth + 1)
                children += 1
            else:
                parts.append((kind, start, size))
        if flags == OPAQUE:
            return self._text(parts[0]) if parts else ""
        if len(parts) < 2:
            self._fail("an array without dimensions or name", "both")
        self._dimensions(flags, parts, children)
        return self._text(parts[1])

    def _dimensions(
        self, flags: int, parts: list[tuple[int, int, int]], children: int
    ) -> None:
        """Hold the declared dimensions against what follows."""
        kind, start, size = parts[0]
        if kind != 5 or size % 4 or not 8 <= size <= 4 * 32:
            self._fail("dimensions that are no list of 32-bit numbers", "at least two")
        dims = struct.unpack_from(f"{self.order}{size // 4}i", self.data, start)
        count = 1
        for length in dims:
            if length < 0:
                self._fail(f"a dimension of {length}", "0 or more")
            count *= length
        if flags == CELL and children != count:
            self._fail(f"{children} elements in a cell of {dims}", str(count))
        if flags in (STRUCT, OBJECT):
            self._struct(flags, parts, children, count, dims)
        if 6 <= flags <= 15:
            for kind, _, size in parts[2:]:
                if size != count * SCALAR_TYPES[kind]:
                    self._fail(f"{size} bytes of numbers in an array of {dims}", count)

    def _struct(
        self,
        flags: int,
        parts: list[tuple[int, int, int]],
        children: int,
        count: int,
        dims: tuple[int, ...],
    ) -> None:
        # After dims and name: (class name of an object,) width of names, names.
        tail = parts[3:] if flags == OBJECT else parts[2:]
        if len(tail) < 2:
            self._fail("a struct without field names", "their width and the names")
        width = struct.unpack_from(self.order + "i", self.data, tail[0][1])[0]
        if width <= 0 or tail[1][2] % width:
            self._fail(f"field names of width {width}", "a divisor of their bytes")
        fields = tail[1][2] // width
        if children != count * fields:
            self._fail(
                f"{children} values in a struct {dims} of {fields} fields",
                count * fields,
            )

    def _text(self, part: tuple[int, int, int]) -> str:
        _, start, size = part
        return self.data[start : start + size].split(b"\0")[0].decode("latin-1")

    def _fail(self, found: object, expected: object) -> NoReturn:
        raise DamagedFile(
            "a variable is damaged",
            file=self.path,
            place=self.place or None,
            found=found,
            expected=expected,
        )


def check_object_tables(tables: Any, path: Path, order: str) -> None:
    """Check the offsets and counts in the objects' tables, which mat-io trusts.

    The first cell holds: version, number of names, eight offsets, the names, then five
    regions of 32-bit numbers; in three of them records of a count and that many values.
    """
    if tables.dtype.names is None or "MCOS" not in tables.dtype.names:
        return
    cells = tables[0, 0]["MCOS"]
    head = np.asarray(cells[0, 0]).view(np.uint8).ravel()

    def fail(found: str) -> NoReturn:
        raise DamagedFile(
            "the tables of its objects are damaged", file=path, found=found
        )

    if head.size < 40:
        fail(f"{head.size} bytes")
    offsets = np.frombuffer(head[8:40].tobytes(), order + "i4").astype(int)
    regions = [o for o in offsets if o > 0]
    if regions != sorted(regions) or len(regions) < 6 or regions[-1] > head.size:
        fail(f"offsets {offsets.tolist()} in {head.size} bytes")
    for number, width in ((1, 3), (3, 3), (4, 1)):
        begin, end = offsets[number], offsets[number + 1]
        region = np.frombuffer(head[begin:end].tobytes(), order + "i4").astype(int)
        at = 0
        while at < region.size:
            if region[at] < 0 or at + 1 + width * region[at] > region.size:
                fail(f"a record of {region[at]} values in region {number}")
            at += 1 + width * region[at]
            at += at % 2


# --- v4 and v7.3 ----------------------------------------------------------------------


def _check_v4(path: Path, size: int) -> Opened:
    opened = Opened(path, "v4")
    data = path.read_bytes()
    at = 0
    while at < size:
        place = f"variable at byte {at}"
        if at + 20 > size:
            _truncated(path, place)
        head = struct.unpack_from("<5i", data, at)
        if not 0 <= head[0] <= 5000:
            head = struct.unpack_from(">5i", data, at)
        mopt, rows, columns, imaginary, length = head
        width = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}.get(mopt // 10 % 10)
        sane = 0 <= mopt <= 4052 and imaginary in (0, 1) and 0 < length <= 256
        if width is None or not sane or rows < 0 or columns < 0:
            raise DamagedFile(
                "not a MAT file",
                file=path,
                place=place,
                found=f"header {head}",
                expected="a file saved by MATLAB, v4 to v7.3",
            )
        name = data[at + 20 : at + 20 + length].split(b"\0")[0].decode("latin-1")
        end = at + 20 + length + rows * columns * width * (1 + imaginary)
        if end > size:
            _truncated(path, place, size - at, end - at)
        opened.names[name] = at
        at = end
    return opened


def _check_hdf5(path: Path, head: bytes) -> Opened:
    import h5py

    if not head.startswith(b"MATLAB 7.3 MAT-file"):
        raise DamagedFile(
            "an HDF5 file, but not one that MATLAB saved",
            file=path,
            found=repr(head[:19]),
            expected="a header 'MATLAB 7.3 MAT-file'",
            do="Keras .h5 models are read by that extension",
        )
    opened = Opened(path, "v7.3", _date(head))
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, item: _check_dataset(path, name, item))
            opened.names = {n: 0 for n in file if not n.startswith("#")}
    except DamagedFile:
        raise
    except Exception as error:
        raise DamagedFile(
            "the HDF5 structure is damaged", file=path, found=str(error)
        ) from None
    return opened


def _check_dataset(path: Path, name: str, item: Any) -> None:
    import h5py

    if isinstance(item, h5py.Dataset):
        stored = item.id.get_storage_size()
        if item.nbytes > DEFLATE_RATIO * stored + 4096:
            raise DamagedFile(
                "declares more data than it stores",
                file=path,
                place=name,
                found=f"{item.nbytes} bytes from {stored}",
            )


def _date(head: bytes) -> str:
    text = head[:116].decode("latin-1")
    return text.partition("Created on:")[2].partition("HDF5")[0].strip(" \0")


def _truncated(
    path: Path, place: str, found: int | None = None, expected: int | None = None
) -> NoReturn:
    raise DamagedFile(
        "the file ends too early",
        file=path,
        place=place,
        found=None if found is None else f"{found} bytes",
        expected=None if expected is None else f"{expected} bytes",
        do="copy or download the file again",
    )
