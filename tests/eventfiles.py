"""Files of TensorBoard events, byte by byte: records, checksums, messages."""

from __future__ import annotations

import struct
from pathlib import Path


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(message: bytes):
    """Number and content of every field of a protocol buffer."""

    def varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value, at

    at = 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == 0:
            content, at = varint(at)
        else:
            size = {1: 8, 5: 4}.get(key & 7)
            if size is None:
                size, at = varint(at)
            content, at = message[at : at + size], at + size
        yield key >> 3, content


def events(file: Path):
    """Step and scalars by tag of every event; every byte is accounted for."""
    content = file.read_bytes()
    at, found = 0, []
    while at < len(content):
        length, mark = struct.unpack_from("<QI", content, at)
        assert mark == masked(content[at : at + 8])
        data = content[at + 12 : at + 12 + length]
        (mark,) = struct.unpack_from("<I", content, at + 12 + length)
        assert mark == masked(data)
        at += 16 + length
        event = dict(fields(data))
        assert struct.unpack("<d", event[1])[0] > 1.6e9  # wall time in seconds
        if 3 in event:
            assert event[3] == b"brain.Event:2" and not found
            continue
        scalars = {}
        for number, value in fields(event[5]):
            assert number == 1
            value = dict(fields(value))
            scalars[value[1].decode()] = struct.unpack("<f", value[2])[0]
        found.append((event.get(2, 0), scalars))
    return found
