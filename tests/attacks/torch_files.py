"""Files of torch whose sizes, places and containers lie, and small ones that swell."""

from __future__ import annotations

import struct

from .pickles import (
    BIAS,
    LAYERS,
    NUMBERS,
    TOUCH,
    WEIGHT,
    call,
    entries,
    name,
    refused,
    several,
    state,
    storage,
    tensor,
    text,
    torch_zip,
)  # fmt: skip
from .table import attack, sound
from .zips import DEFLATED, ENCRYPTED, Member, archive, expanded, zeros

# --- tensors --------------------------------------------------------------------------

LIES = {
    "beyond_the_storage": (tensor(0, (6, 2), (2, 1)), "storage"),
    "offset_beyond": (tensor(9, (3, 2), (2, 1)), "storage"),
    "offset_negative": (tensor(-6, (3, 2), (2, 1)), "a size or stride that is none"),
    "stride_negative": (tensor(5, (3, 2), (-2, 1)), "a size or stride that is none"),
    "stride_huge": (tensor(0, (3, 2), (2**60, 1)), "a size that no tensor has"),
    "stride_zero": (tensor(0, (10**9, 2), (0, 1)), "storage"),
    "size_negative": (tensor(0, (-3, 2), (2, 1)), "a size or stride that is none"),
    "size_huge": (tensor(0, (2**60, 2), (2, 1)), "a size that no tensor has"),
    "size_of_nothing": (tensor(0, (0, 2**45, 2**45), (1, 1, 1)), "tensor"),
    "sizes_and_strides": (tensor(0, (3, 2), (2, 1, 1)), "as many strides as sizes"),
    "axes": (tensor(0, (1,) * 40, (1,) * 40), "tensor"),
    "storage_huge": (tensor(0, (3, 2), (2, 1), storage(2**62)), "storage"),
    "storage_negative": (tensor(0, (3, 2), (2, 1), storage(-1)), "storage"),
    "storage_longer": (tensor(0, (3, 2), (2, 1), storage(10)), "storage"),
    "storage_elsewhere": (
        tensor(0, (3, 2), (2, 1), storage(9, text("../../../etc/passwd"))),
        "a storage is missing",
    ),
    "storage_of_another_kind": (
        tensor(0, (3, 2), (2, 1), storage(9, kind="torch.QInt8Storage")),
        "QInt8Storage",
    ),
    "storage_of_objects": (
        tensor(0, (3, 2), (2, 1), storage(9, kind="builtins.object")),
        "builtins.object",
    ),
    "storage_key_a_number": (
        tensor(0, (3, 2), (2, 1), storage(9, b"K\0")), "no storage",
    ),
    "reference_a_number": (tensor(0, (3, 2), (2, 1), b"K\x01Q"), "no storage"),
    "reference_a_text": (tensor(0, (3, 2), (2, 1), text("0") + b"Q"), "no storage"),
    "reference_of_nothing": (
        tensor(0, (3, 2), (2, 1), several(text("storage"), *[b"N"] * 4) + b"Q"),
        "no storage",
    ),
    "tensor_of_nothing": (call("torch._utils._rebuild_tensor_v2"), "tensor"),
    "tensor_within_numbers": (
        call("torch._utils._rebuild_tensor_v2", *[b"K\x01"] * 6), "tensor",
    ),
}  # fmt: skip
for _file, (_weight, _words) in LIES.items():
    refused(_file, state(weight=_weight), _words)

# --- little that expands to much ------------------------------------------------------


def doubled(times: int, close: bytes) -> bytes:
    """A value that holds twice what holds twice what ..."""
    body = b"K\x01q\x00"
    for k in range(times):
        pair = b"h" + bytes([k]) + b"h" + bytes([k])
        body += b"0" + (pair + close if close != b"e" else b"](" + pair + b"e")
        body += b"q" + bytes([k + 1])
    return body


HASHES = b"".join(
    b"\x8a\x0f" + (k * (2**61 - 1)).to_bytes(15, "little") + b"N"
    for k in range(1, 400)
)  # fmt: skip
BOMBS = {
    "laughs": (doubled(200, b"e"), "no weights"),
    "laughing_tuples": (doubled(200, b"\x86"), "no weights"),
    "laughing_key": (b"}" + doubled(200, b"\x86") + b"Ns", "no weights"),
    "laughing_set": (b"\x8f(" + doubled(200, b"\x86") + b"\x90", "no weights"),
    "list_in_itself": (b"]q\x00h\x00a", "no weights"),
    "dict_in_itself": (b"}q\x00" + text("a") + b"h\x00s", "no weights"),
    "deep_lists": (b"]" * 4_000 + b"a" * 3_999, "no weights"),
    "deep_tuples": (b")" + b"\x85" * 8_000, "no weights"),
    "deep_dicts": ((b"}" + text("a")) * 1_000 + b"N" + b"s" * 1_000, "no weights"),
    "long4": (b"\x8b\xff\xff\xff\x7f", "an integer that is too long"),
    "long4_negative": (b"\x8b\xff\xff\xff\xff", "an integer that is too long"),
    "long1": (b"\x8a\xff" + b"\x01" * 255, "an integer that is too long"),
    "text_of_4_gigabytes": (b"X\xff\xff\xff\xff", "pickle"),
    "bytes_of_2_to_63": (b"\x8e" + b"\xff" * 7 + b"\x7f", "pickle"),
    "bytearray_of_2_to_40": (b"\x96" + (2**40).to_bytes(8, "little"), "pickle"),
    "memo_far_away": (b"]" + b"r\xff\xff\xff\xff" * 1_000, "no weights"),
    "memo_empty": (b"j\xff\xff\xff\x7f", "pickle"),
    "frames": (b"\x95" + b"\xff" * 8 + b"N", "no weights"),
    "hashes": (b"}(" + HASHES + b"u", "no weights"),
    "stack_empty": (b"0", "pickle"),
    "marks": (b"(" * 3_000 + b"t" * 2_000, "no weights"),
    "module_of_itself": (
        name("net.Net") + b")\x81q\x00"
        + entries(_parameters=b"}", _modules=entries(a=b"h\x00")) + b"b",
        "modules",
    ),
}  # fmt: skip
for _file, (_value, _words) in BOMBS.items():
    refused(_file, b"\x80\x02" + _value + b".", _words)

# --- archives -------------------------------------------------------------------------

MAIN, DATA = Member("net/data.pkl", state()), Member("net/data/0", NUMBERS)


def zipped(file: str, words: str, *members: Member, entries: int | None = None) -> None:
    data = archive(*members, entries=entries)
    attack(f"pytorch/zip_{file}.pt", data, words, layers=LAYERS)


zipped("twice", "two members of one name", MAIN, DATA, MAIN)
zipped(
    "overlapping", "overlap", MAIN, DATA, DATA._replace(name="net/data/1", offset=60)
)
zipped("all_at_one_place", "overlap", MAIN, DATA._replace(offset=0))
zipped("wrong_checksum", "CRC", MAIN, DATA._replace(crc=1))
zipped("wrong_checksum_of_the_pickle", "CRC", MAIN._replace(crc=1), DATA)
zipped("encrypted", "encrypted", MAIN, DATA._replace(flags=ENCRYPTED))
FAR = DATA._replace(size=2**31, packed_size=2**31)
zipped("beyond_the_file", "beyond the file", MAIN, FAR)
zipped("offset_beyond", "beyond the file", MAIN, DATA._replace(offset=2**31))
zipped("method", "compressed", MAIN, DATA._replace(method=99))
SHRUNK = Member("net/data/0", zeros(20_000), DEFLATED, size=expanded(20_000))
zipped("bomb", "compressed", MAIN, SHRUNK)
zipped("bomb_of_the_pickle", "compressed", SHRUNK._replace(name="net/data.pkl"))
SIZE = struct.pack("<HHQQ", 1, 16, 2**62, 2**62)
LONG = DATA._replace(size=2**32 - 1, packed_size=2**32 - 1, extra=SIZE)
zipped("zip64", "beyond the file", MAIN, LONG)
CUT = DATA._replace(size=2**32 - 1, packed_size=2**32 - 1, extra=SIZE[:12])
zipped("zip64_cut", "zip archive", MAIN, CUT)
zipped("absolute", "net", MAIN, Member("/etc/passwd", b"x"))
zipped("upwards", "net", MAIN, Member("net/../../../escaped", b"x"))
zipped("roots", "one member", MAIN, DATA, Member("other/data.pkl", state()))
zipped("no_storage", "missing", MAIN)
zipped("order", "order of bytes", MAIN, DATA, Member("net/byteorder", b"middle"))

# --- TorchScript ----------------------------------------------------------------------

CODE = (
    "class Net(Module):\n  def __init__(self):\n"
    f"    __import__('os').system('{TOUCH}')\n"
    f"__import__('os').system('{TOUCH}')\n"
).encode()
SCRIPTED = torch_zip(
    b"\x80\x02" + name("os.system") + b").",
    Member("net/constants.pkl", b"\x80\x02)."),
    Member("net/code/__torch__/net.py", CODE),
)
attack("pytorch/script.pt", SCRIPTED, "os.system", layers=LAYERS)
CONSTANTS = call("os.system", text(TOUCH)) + b"."
SCRIPTED = torch_zip(
    b"\x80\x02" + name("__torch__.net.Net") + b")\x81}b.",
    Member("net/constants.pkl", CONSTANTS),
    Member("net/code/__torch__/net.py", CODE),
)
attack(
    "pytorch/script_without_weights.pt",
    SCRIPTED,
    "no weights in this file",
    layers=LAYERS,
)

# --- before torch 1.6 -----------------------------------------------------------------

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
VERSION = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02" + entries(little_endian=b"\x88") + b"."
KEYS = b"\x80\x02](" + text("0") + b"e."
COUNT = (9).to_bytes(8, "little")
OLD = storage().removesuffix(b"tQ") + b"NtQ"
OLD_STATE = (
    b"\x80\x02}" + text("fc.weight") + WEIGHT + b"s" + text("fc.bias") + BIAS + b"s."
).replace(storage(), OLD)
LEGACY = [MAGIC, VERSION, SYSTEM, OLD_STATE, KEYS, COUNT, NUMBERS]
sound("legacy.pt", b"".join(LEGACY), LAYERS)


def legacy(file: str, place: int, part: bytes, *words: str) -> None:
    parts = [*LEGACY[:place], part, *LEGACY[place + 1 :]]
    attack(f"pytorch/legacy_{file}.pt", b"".join(parts), *words, layers=LAYERS)


CALLING = b"\x80\x02" + call("os.system", text(TOUCH)) + b"."
legacy("version", 1, CALLING, "os.system", "nothing was executed")
legacy("system", 2, CALLING, "os.system", "nothing was executed")
legacy("state", 3, CALLING, "os.system", "nothing was executed")
legacy("keys", 4, CALLING, "os.system", "nothing was executed")
legacy("other_keys", 4, b"\x80\x02](" + text("1") + b"e.", "other storages")
legacy("no_keys", 4, b"\x80\x02N.", "other storages")
legacy("longer", 5, (2**62).to_bytes(8, "little"), "storage")
legacy("shorter", 6, NUMBERS[:-1], "storage")
legacy("more", 6, NUMBERS + b"\0", "bytes after the end")
PART = OLD.removesuffix(b"NtQ") + several(text("1"), b"K\0", b"K\x09") + b"tQ"
legacy("view", 3, OLD_STATE.replace(OLD, PART), "a part of another")
SOURCE = several(text("module"), name("net.Net"), text("net.py"), text(CODE.decode()))
legacy("module", 3, b"\x80\x02" + SOURCE + b"Q.", "storages")
attack("pytorch/plain_pickle.pt", CALLING, "MATLAB", layers=None)
