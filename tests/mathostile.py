"""Small files that ask for too much, or contradict themselves, on purpose.

Decoding their variable x must come to the words that stand beside each: a part of the
error, a part of the reason why it is undecodable, or "value".
"""

import struct
from collections.abc import Callable
from pathlib import Path

import matbytes as mb
import numpy as np

MANY = 2**31 - 1
FILES: dict[str, tuple[Callable[[Path], object], str]] = {}
"""By name: what writes the file, and what decoding it comes to."""


def v5(name: str, expected: str, variable: bytes, objects: bytes = b"") -> None:
    FILES[name] = (lambda path: mb.write(path, variable, objects=objects), expected)


def with_objects(
    name: str, expected: str, variable: bytes | None = None, **tables
) -> None:
    tables = {"values": (mb.numbers(5.0),)} | tables
    v5(name, expected, variable or thing([1]), mb.tables(**tables))


def array(kind: int, shape, *parts: bytes) -> bytes:
    return mb.array(kind, shape, *parts, name="x")


def thing(ids, **options) -> bytes:
    return mb.opaque("Thing", mb.refer(ids, **options), "x")


def raw(words) -> bytes:
    return mb.opaque("Thing", mb.numbers(np.array([[mb.MARK, *words]], "u4").T), "x")


# --- sizes that are not there ---------------------------------------------------------

EIGHT = mb.sub(9, bytes(8))
v5("more numbers than bytes", "8 bytes for a double", array(6, (MANY, MANY), EIGHT))
v5("no numbers", "0 bytes", array(6, (0, MANY, MANY)))
NOTHING = array(6, (0, MANY, MANY, MANY), mb.sub(9, b""))
v5("too large a shape of nothing", "an array of shape (0, ", NOTHING)
v5("negative size", "a dimension of -1", array(6, (-1, 3), EIGHT))
v5("forty axes", "dimensions of type 5 in 160 bytes", array(6, [1] * 40, EIGHT))
v5("more cells than bytes", "2147483647 arrays in 0 bytes", array(1, (MANY, 1)))
STRUCTS = mb.struct_({"a": mb.numbers(1.0)}, "x", (MANY, 1))
v5("more structs than bytes", "arrays in 64 bytes", STRUCTS)
v5("many structs of nothing", "value", mb.struct_({}, "x", (MANY, 1)))
v5("blanks left out", "more than 1000000 arrays", array(4, (MANY, 1), mb.sub(4, b"")))
v5("text of no width", "value", array(4, (MANY, 0), mb.sub(4, b"")))
v5(
    "more text than bytes",
    "2 bytes for a char array",
    array(4, (1, MANY), mb.sub(4, b"ab")),
)
LESS = mb.struct_({"a": EIGHT}, "x", (0, 1))
LARGER = array(1, (1, 1), mb.matrix(bytes(80), size=800))
v5("a cell for one more", "1 arrays in 0 bytes", array(1, (1, 1)))
v5("a cell for one less", "bytes after the last element", array(1, (1, 0), EIGHT))
v5("a struct for one less", "after the last element", LESS)
v5("a child larger than its cell", "a sub-element of 800 bytes", LARGER)
for width in (MANY, 0, 3):
    names = mb.sub(5, struct.pack("<i", width)) + mb.sub(1, b"a" * 8)
    v5(f"fields of {width}", f"names of width {width}", array(2, (1, 1), names))
v5("sparse of any size", "value", array(5, (MANY, MANY), EIGHT))
v5("unknown class", "an array of unknown class 99", array(99, (1, 1)))
v5("unknown numbers", "data of type 99", array(6, (1, 1), mb.sub(99, bytes(8))))
v5("matrix for numbers", "data of type 14", array(6, (1, 1), mb.matrix(bytes(8))))
v5("numbers for a matrix", "sub-element of type 9", array(1, (1, 1), EIGHT))
v5("numbers after the end", "8 bytes after the data", array(6, (1, 1), EIGHT, bytes(8)))
v5("floats in integers", "float64 in a int32 array", array(12, (1, 1), EIGHT))
OPAQUE = mb.sub(6, struct.pack("<II", 17, 0))
v5("no type of object", "a name of type 9", mb.matrix(OPAQUE, mb.sub(1, b"x"), EIGHT))
JAVA = mb.opaque("java.util.Map", mb.numbers(1.0), "x", "java")
v5("another type system", "an object of the java type system", JAVA)


# --- little that expands to much ------------------------------------------------------


def zeros(path: Path, megabytes: int, *outer: bytes, kind: int = 9) -> None:
    """A compressed variable of so many zeros, inside of other arrays."""
    count = megabytes << 20
    inner = array(
        6, (1, count // (8 if kind == 9 else 1)), struct.pack("<II", kind, count)
    )
    start = struct.pack("<II", 14, len(inner) - 8 + count) + inner[8:]
    for head in outer:
        size = len(head) - 8 + len(start) + count
        start = struct.pack("<II", 14, size) + head[8:] + start
    mb.write(path, mb.compress_zeros(start, megabytes))


def empties(path: Path, count: int = 3_000_000) -> None:
    head = array(1, (count, 1))[8:]
    tag = struct.pack("<II", 14, len(head) + 8 * count)
    mb.write(path, mb.compressed(tag + head + struct.pack("<II", 14, 0) * count))


def nested(path: Path, depth: int = 100_000) -> None:
    head, named = mb.array(1, (1, 1))[8:], array(1, (1, 1))[8:]
    step = len(head) + 8
    inner = b"".join(
        struct.pack("<II", 14, (depth - k) * step - 8) + head for k in range(depth)
    )
    mb.write(path, struct.pack("<II", 14, len(named) + len(inner)) + named + inner)


TOO_MUCH = "bytes of data in a file too small"
CELL = array(1, (1, 1))
FILES["a gigabyte of numbers"] = (lambda p: zeros(p, 1024), TOO_MUCH)
FILES["a gigabyte in a cell"] = (lambda p: zeros(p, 1024, CELL), TOO_MUCH)
FILES["doubles kept in a byte each"] = (lambda p: zeros(p, 100, kind=2), TOO_MUCH)
FILES["a fifth of it in a cell"] = (lambda p: zeros(p, 200, CELL), "value")
FILES["three million empty arrays"] = (empties, "more than 1000000 arrays")
FILES["a hundred thousand nested cells"] = (nested, "nested more than 60 deep")


# --- objects --------------------------------------------------------------------------

with_objects("an object of itself", "value", values=(mb.refer([1]),))
with_objects("an object outside", "object 77 of 1", thing([77]))
v5("no tables", "the file has no tables", thing([1]))
with_objects(
    "more objects than numbers", "objects in 4 numbers", raw([2, MANY, MANY, 1, 1])
)
with_objects("more axes than numbers", "2147483648 axes", raw([2**31, 1, 1, 1, 1]))
with_objects("axes without end", "600000 axes", raw([600_000, *[MANY] * 600_000, 1]))
with_objects("a class outside", "class 99 of 1", thing([1], class_id=99))
with_objects("a name before the first", "name -1 of 2", classes=((-1, -1),))
with_objects(
    "a value before the first", "kind 1, value -5", properties=(((2, 1, -5),),)
)
with_objects(
    "a value after the last", "kind 1, value 2147", properties=(((2, 1, MANY),),)
)
with_objects("a record outside", "properties 2147483647 of 2", objects=((1, MANY),))
with_objects("a record before the first", "properties -7 of 2", objects=((1, -7),))
BACKWARDS = [64, 56, 48, 40, 40, 40, 0, 0]
for number, ends in enumerate(([MANY] * 8, [-8] * 8, [0] * 8, BACKWARDS)):
    with_objects(f"offsets {number}", "tables of its objects are damaged", offsets=ends)
with_objects("fewer names than declared", "1 names instead of 2", offsets=[40] * 8)
with_objects("a million objects", "more than 1000000 arrays", thing([1] * 1_000_001))
with_objects(
    "a chain of objects",
    "value",
    objects=[(1, k + 1) for k in range(5000)],
    properties=[((2, 1, k),) for k in range(5000)],
    values=tuple(mb.refer([k + 2]) for k in range(5000)),
)
with_objects(
    "objects that share a cell",
    "value",
    thing(range(1, 2001)),
    objects=[(1, k + 1) for k in range(2000)],
    properties=[((2, 1, 0),)] * 2000,
    values=(mb.cell(*[mb.numbers(5.0)] * 2000),),
)
with_objects(
    "ten to the power of 30 objects",
    "value",
    objects=[(1, k + 1) for k in range(30)],
    properties=[((2, 1, k),) for k in range(30)],
    values=tuple(mb.cell(*[mb.refer([k + 2])] * 10) for k in range(30)),
)
