"""MAT files of version 5 put together by hand, right or wrong on purpose.

Written from the format's description, apart from everything that reads files:
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf and, for objects,
https://github.com/foreverallama/matio/tree/main/docs.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

MARK = 0xDD000000
CELL, STRUCT, OBJECT, CHAR, SPARSE, DOUBLE, UINT8, UINT32 = 1, 2, 3, 4, 5, 6, 9, 13
FUNCTION, OPAQUE = 16, 17
LOGICAL, COMPLEX = 0x200, 0x800
TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9,
         "i8": 12, "u8": 13}  # fmt: skip
CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13,
           "i8": 14, "u8": 15}  # fmt: skip


def sub(kind: int, data: bytes, size: int | None = None) -> bytes:
    """A sub-element: tag, data, padding."""
    tag = struct.pack("<II", kind, len(data) if size is None else size)
    return tag + data + bytes(-len(data) % 8)


def matrix(*parts: bytes, size: int | None = None) -> bytes:
    data = b"".join(parts)
    return struct.pack("<II", 14, len(data) if size is None else size) + data


def array(kind: int, shape, *parts: bytes, name: str = "", flags: int = 0) -> bytes:
    """An array of any class: flags, dimensions, name, and the rest as it is given."""
    return matrix(
        sub(6, struct.pack("<II", kind | flags, 0)),
        sub(5, struct.pack(f"<{len(shape)}i", *shape)),
        sub(1, name.encode()),
        *parts,
    )


def numbers(value, name: str = "", shape=None) -> bytes:
    value = np.atleast_2d(value)
    code = value.dtype.str[1:]
    data = sub(TYPES[code], value.tobytes(order="F"))
    return array(CLASSES[code], shape or value.shape, data, name=name)


def text(value: str, name: str = "") -> bytes:
    data = sub(4, value.encode("utf-16-le"))
    return array(CHAR, (1, len(value)), data, name=name)


def cell(*items: bytes, name: str = "", shape=None) -> bytes:
    return array(CELL, shape or (1, len(items)), *items, name=name)


def struct_(fields: dict[str, bytes], name: str = "", shape=(1, 1)) -> bytes:
    names = b"".join(field.encode().ljust(32, b"\0") for field in fields)
    width = sub(5, struct.pack("<i", 32))
    return array(STRUCT, shape, width, sub(1, names), *fields.values(), name=name)


def opaque(class_name: str, saved: bytes, name: str = "", system="MCOS") -> bytes:
    flags = sub(6, struct.pack("<II", OPAQUE, 0))
    texts = (name, system, class_name)
    return matrix(flags, *(sub(1, t.encode()) for t in texts), saved)


def refer(ids, class_id: int = 1, shape=None) -> bytes:
    """The numbers that stand for objects."""
    shape = shape or (len(ids), 1)
    words = [MARK, len(shape), *shape, *ids, class_id]
    return numbers(np.array(words, np.uint32).reshape(-1, 1))


def tables(
    names=("Thing", "any"),
    classes=((0, 1),),
    objects=((1, 1),),
    properties=(((2, 1, 0),),),
    values: tuple[bytes, ...] = (),
    defaults: tuple[bytes, ...] | None = None,
    offsets=None,
) -> bytes:
    """The element that holds the objects of a file.

    Arguments:
        names: names of classes and properties, numbered from 1.
        classes: (package, name) of each class, numbered from 1.
        objects: (class, properties) of each object, numbered from 1.
        properties: for each record, (name, kind, value) of its properties.
        values: what the values of kind 1 stand for.
        offsets: put in the place of the right ones.
    """
    records = [0, 0]
    for record in properties:
        records += [len(record), *(n for triple in record for n in triple)]
        records += [0] * (len(records) % 2)
    regions = [
        b"".join(name.encode() + b"\0" for name in names),
        _words(0, 0, 0, 0, *(n for pair in classes for n in (*pair, 0, 0))),
        b"",
        _words(*[0] * 6, *(n for c, p in objects for n in (c, 0, 0, 0, p, 0))),
        _words(*records),
        _words(*[0] * 2 * (1 + len(objects))),
        b"",
        bytes(8),
    ]
    regions[0] += bytes(-len(regions[0]) % 8)
    ends = np.cumsum([40 + len(regions[0]), *map(len, regions[1:])]).tolist()
    head = _words(4, len(names), *(offsets or ends)) + b"".join(regions)
    if defaults is None:
        defaults = (struct_({}),) * (1 + len(classes))
    cells = cell(
        numbers(np.frombuffer(head, np.uint8).reshape(-1, 1)),
        matrix(),
        *values,
        cell(*defaults),
        numbers(np.zeros((1 + len(classes), 1), np.int32)),
        cell(*defaults),
        shape=(5 + len(values), 1),
    )
    return subsystem(struct_({"MCOS": opaque("FileWrapper__", cells)}))


def subsystem(inner: bytes) -> bytes:
    """The stream inside the element without a name."""
    stream = b"\x00\x01IM" + bytes(4) + inner
    return numbers(np.frombuffer(stream, np.uint8).reshape(1, -1))


def compressed(element: bytes) -> bytes:
    data = zlib.compress(element)
    return struct.pack("<II", 15, len(data)) + data


def compress_zeros(start: bytes, megabytes: int) -> bytes:
    """A compressed element that goes on for so many zeros, made without them."""
    packer = zlib.compressobj(9, wbits=-15)
    parts = [packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)]
    # After a full flush a megabyte is always the same few bytes.
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    parts += [block] * megabytes
    checksum = zlib.adler32(start)
    low, high = checksum & 0xFFFF, checksum >> 16
    high = (high + low * (megabytes << 20)) % 65521
    end = packer.flush() + struct.pack(">HH", high, low)
    data = b"\x78\x9c" + b"".join(parts) + end
    return struct.pack("<II", 15, len(data)) + data


def header(objects_at: int = 0) -> bytes:
    text = (
        b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970"
    )
    return text.ljust(116) + struct.pack("<Q", objects_at) + b"\x00\x01IM"


def write(path: Path, *variables: bytes, objects: bytes = b"") -> Path:
    """A file of these variables, and of an element that holds the objects."""
    body = b"".join(variables)
    at = 128 + len(body) if objects else 0
    path.write_bytes(header(at) + body + objects)
    return path


def insert(data: bytes, *variables: bytes) -> bytes:
    """A file with more variables, put before those that it has."""
    more = b"".join(variables)
    at = struct.unpack("<Q", data[116:124])[0]
    moved = struct.pack("<Q", at + len(more)) if at else data[116:124]
    return data[:116] + moved + data[124:128] + more + data[128:]


def elements(data: bytes) -> list[tuple[int, int, bytes]]:
    """Place, type and data of every element of a file."""
    found, at = [], 128
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        found.append((at, kind, data[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


def uncompressed(data: bytes) -> bytes:
    """The same file as `save -v6` would write it, without any checksum."""
    objects_at = struct.unpack("<Q", data[116:124])[0]
    parts, moved, at = [], 0, 128
    for place, kind, body in elements(data):
        moved = at if place == objects_at else moved
        element = zlib.decompressobj().decompress(body) if kind == 15 else None
        parts.append(element or struct.pack("<II", kind, len(body)) + body)
        at += len(parts[-1])
    return data[:116] + struct.pack("<Q", moved) + data[124:128] + b"".join(parts)


def _words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *(int(v) & 0xFFFFFFFF for v in values))
