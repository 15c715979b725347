"""Pickles read without running them: opcodes in, plain values and opaque records out.

A pickle is a program for a small stack machine. This machine has its own list of what
may be called, `Calls`, of functions that jlstm wrote; it imports nothing and calls
nothing else. An instance of a class that it does not know becomes a `Record`: the name
of the class and the attributes, as data. Whatever else a pickle asks for is refused by
name.

Every length that the bytes declare is held against the bytes that are there, and the
number of opcodes is bounded, so that memory is.

Source: the comments in Python's `pickletools`.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from ..errors import DamagedFile, Unsupported

MOST_OPCODES = 1_000_000
LONGEST_INTEGER = 16
"""Bytes of an integer; a torch file has one of ten, its magic number."""
LARGEST_KEY = 2**61 - 2
"""Greater integers share hash values, by which a dict could be made to crawl."""

INERT = frozenset(
    {
        "argparse.Namespace", "builtins.bytearray", "builtins.complex",
        "builtins.frozenset", "builtins.range", "builtins.set", "builtins.slice",
        "builtins.xrange", "collections.deque", "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime", "datetime.timedelta", "datetime.timezone",
        "decimal.Decimal", "fractions.Fraction", "functools.partial",
        "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
        "numpy.dtype", "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath", "pathlib.WindowsPath", "types.SimpleNamespace",
        # Since Python 3.13.
        "pathlib._local.Path", "pathlib._local.PosixPath",
        "pathlib._local.PurePosixPath", "pathlib._local.PureWindowsPath",
        "pathlib._local.WindowsPath",
        "torch.device", "torch.serialization._get_layout", "uuid.UUID",
    }
)  # fmt: skip
"""Functions and classes whose calls are kept as records: settings, paths and dates that
stand beside the weights. They are not called either."""

HARMLESS = frozenset(
    {
        "builtins.bool", "builtins.bytes", "builtins.dict", "builtins.float",
        "builtins.int", "builtins.list", "builtins.long", "builtins.object",
        "builtins.str", "builtins.tuple", "builtins.unicode", "collections.Counter",
        "collections.OrderedDict", "collections.defaultdict", "typing.Any",
    }
)  # fmt: skip
"""Names of the standard library that a pickle may mention."""
PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
LIBRARY = sys.stdlib_module_names | {"__builtin__", "copy_reg", "nt", "posix"}


class Name(NamedTuple):
    """A function or a class that a pickle mentions; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Record:
    """An object of a class that is not known here: its name and what it holds.

    Attributes:
        kind: the name of its class, or of the function that would have made it.
        arguments: what that would have been given.
        state: its attributes, usually a dict.
        entries: the items of a subclass of dict.
        items: the items of a subclass of list.
    """

    __slots__ = ("arguments", "entries", "items", "kind", "state")

    def __init__(self, kind: Name, arguments: tuple = ()):
        self.kind = kind
        self.arguments = arguments
        self.state: Any = None
        self.entries: dict[Any, Any] = {}
        self.items: list[Any] = []

    def __repr__(self) -> str:
        return f"<{self.kind}>"


class Key:
    """A dict key that is no plain value, by identity: hashing it may never end."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __repr__(self) -> str:
        return f"<key of type {type(self.value).__name__}>"


Calls = Mapping[str, Callable[..., Any]]


def read(
    data: bytes,
    start: int,
    calls: Calls,
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Read one pickle.

    Arguments:
        data: the bytes.
        start: where it begins in them.
        calls: what stands in for the functions that a pickle may call, by their full
            name; given the arguments as they are in the file, unchecked.
        persistent: what stands in for the objects that are kept outside.

    Returns:
        the value, and where the pickle ended.

    Raises:
        DamagedFile: cut off, or no pickle.
        Unsupported: it calls or mentions what is on none of the lists.
    """
    machine = _Machine(data, start, calls, persistent)
    try:
        return machine.run(), machine.position
    except (DamagedFile, Unsupported) as error:
        raise error.within(place=f"pickle, byte {machine.last}") from None


class _Machine:
    def __init__(self, data: bytes, start: int, calls: Calls, persistent: Any):
        self.data = data
        self.position = self.last = start
        self.calls = calls
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_OPCODES):
            self.last = self.position
            code = self.take(1)[0]
            if code == STOP:
                return self.pop()
            action = ACTIONS.get(code)
            if action is None:
                raise Unsupported(
                    "an opcode that is not read",
                    found=f"{bytes([code])!r}",
                    expected="a pickle of protocol 2 to 5, as torch.save writes it",
                )
            action(self)
        raise Unsupported(
            "the pickle is too long", expected=f"at most {MOST_OPCODES:,} opcodes"
        )

    # --- bytes ---

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise DamagedFile(
                "the file ends within a pickle",
                found=f"{len(self.data) - self.position} bytes",
                expected=f"{count} more",
                do="copy or save it again",
            )
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, length: int, encoding: str = "utf-8") -> str:
        try:
            return str(self.take(length), encoding, "surrogatepass")
        except UnicodeDecodeError:
            raise DamagedFile("a text that is no text") from None

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 1000)
        if end < 0:
            raise DamagedFile("a line without an end")
        text = self.text(end - self.position)
        self.position = end + 1
        return text

    # --- the stack ---

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise DamagedFile("a value is missing")
        return self.stack.pop()

    def top(self) -> Any:
        self.push(value := self.pop())
        return value

    def group(self) -> list[Any]:
        """The values since the last mark."""
        if not self.marks:
            raise DamagedFile("a mark is missing")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise DamagedFile("a value that was never stored", found=index)
        self.push(self.memo[index])

    # --- containers ---

    def put_items(self, pairs: list[Any]) -> None:
        target = self.top()
        entries = target.entries if isinstance(target, Record) else target
        if not isinstance(entries, dict) or len(pairs) % 2:
            raise DamagedFile("entries of something that has none")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            entries[as_key(key)] = value

    def append(self, values: list[Any]) -> None:
        target = self.top()
        items = target.items if isinstance(target, Record) else target
        if not isinstance(items, list):
            raise DamagedFile("items of something that has none")
        items.extend(values)

    def add_to_set(self) -> None:
        values = self.group()
        target = self.top()
        if not isinstance(target, set):
            raise DamagedFile("members of something that has none")
        target.update(map(as_key, values))

    # --- names and what would be called ---

    def mention(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedFile("a name that is no text")
        found = Name(PYTHON_2.get(module, module), name)
        known = (self.calls, INERT, HARMLESS)
        inside = found.module.partition(".")[0] in LIBRARY
        if inside and not any(str(found) in names for names in known):
            refuse(found)
        self.push(found)

    def stack_global(self) -> None:
        name = self.pop()
        self.mention(self.pop(), name)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise DamagedFile("a call without arguments")
        if not isinstance(function, Name):
            raise Unsupported(
                "the pickle calls something that is no function",
                found=type(function).__name__,
            )
        action = self.calls.get(str(function))
        if action is not None:
            self.push(called(function, action, arguments))
        elif str(function) == "copyreg._reconstructor":
            self.push(self.record(arguments[0] if arguments else None, ()))
        elif str(function) in INERT:
            self.push(Record(function, arguments))
        else:
            refuse(function)

    def record(self, kind: Any, arguments: Any) -> Record:
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise DamagedFile("an object without a class")
        return Record(kind, arguments)

    def new_object(self) -> None:
        arguments = self.pop()
        self.push(self.record(self.pop(), arguments))

    def new_object_with_keywords(self) -> None:
        keywords, arguments = self.pop(), self.pop()
        record = self.record(self.pop(), arguments)
        record.state = keywords
        self.push(record)

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):
            raise Unsupported(
                "the pickle sets attributes of a plain value",
                found=type(target).__name__,
            )
        # The attributes of an OrderedDict: `_metadata`, the versions of its modules.

    def outside(self) -> None:
        if self.persistent is None:
            raise Unsupported("a pickle that refers to something outside of it")
        self.push(self.persistent(self.pop()))

    def protocol(self) -> None:
        version = self.number("B")
        if version > 5:
            raise Unsupported(
                "a newer pickle protocol", found=version, expected="2 to 5"
            )

    def integer(self, length: int) -> None:
        if not 0 <= length <= LONGEST_INTEGER:
            raise Unsupported(
                "an integer that is too long",
                found=f"{length} bytes",
                expected=f"at most {LONGEST_INTEGER}",
            )
        self.push(int.from_bytes(self.take(length), "little", signed=True))


def called(function: Name, action: Callable[..., Any], arguments: tuple) -> Any:
    """What stands in for a call, given what the file says."""
    try:
        return action(*arguments)
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedFile(
            f"{function} was not given what it takes", found=str(error)[:200]
        ) from None


def refuse(function: Name) -> NoReturn:
    """Raise because of a function that a pickle must not call."""
    raise Unsupported(
        "the pickle calls or mentions a function that is not read",
        found=f"{str(function)[:120]!r}",
        expected="tensors, numbers, texts, and containers of them",
        do="nothing was executed. If you trust the file, save the weights alone, in "
        "the program it comes from: torch.save(model.state_dict(), 'net.pt')",
    )


def as_key(value: Any) -> Any:
    """`value` as a dict key whose hash is quick and unlike those of others."""
    if isinstance(value, str | bytes | bool | Name) or value is None:
        return value
    if isinstance(value, float):
        return value if value == value else Key(value)
    if isinstance(value, int) and abs(value) <= LARGEST_KEY:
        return value
    if type(value) is tuple and len(value) < 9:
        parts = [as_key(part) for part in value if not isinstance(part, tuple)]
        if len(parts) == len(value) and not any(isinstance(p, Key) for p in parts):
            return value
    return Key(value)


STOP = ord(".")

_M = _Machine
ACTIONS: dict[int, Callable[[_Machine], Any]] = {
    ord(code) if isinstance(code, str) else code: action
    for code, action in {
        0x80: _M.protocol,
        0x95: lambda m: m.number("<Q"),  # a frame: how much may be read ahead
        "(": lambda m: m.marks.append(len(m.stack)),
        "0": lambda m: m.pop(),
        "1": lambda m: m.group(),
        "2": lambda m: m.push(m.top()),
        # values
        "N": lambda m: m.push(None),
        0x88: lambda m: m.push(True),
        0x89: lambda m: m.push(False),
        "J": lambda m: m.push(m.number("<i")),
        "K": lambda m: m.push(m.number("B")),
        "M": lambda m: m.push(m.number("<H")),
        0x8A: lambda m: m.integer(m.number("B")),
        0x8B: lambda m: m.integer(m.number("<i")),
        "G": lambda m: m.push(m.number(">d")),
        "X": lambda m: m.push(m.text(m.number("<I"))),
        0x8C: lambda m: m.push(m.text(m.number("B"))),
        0x8D: lambda m: m.push(m.text(m.number("<Q"))),
        "B": lambda m: m.push(m.take(m.number("<I"))),
        "C": lambda m: m.push(m.take(m.number("B"))),
        0x8E: lambda m: m.push(m.take(m.number("<Q"))),
        0x96: lambda m: m.push(m.take(m.number("<Q"))),
        # the strings of Python 2
        "T": lambda m: m.push(m.text(m.number("<I"), "latin-1")),
        "U": lambda m: m.push(m.text(m.number("B"), "latin-1")),
        # containers
        ")": lambda m: m.push(()),
        0x85: lambda m: m.push((m.pop(),)),
        0x86: lambda m: m.push((m.pop(), m.pop())[::-1]),
        0x87: lambda m: m.push((m.pop(), m.pop(), m.pop())[::-1]),
        "t": lambda m: m.push(tuple(m.group())),
        "]": lambda m: m.push([]),
        "l": lambda m: m.push(m.group()),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.group()),
        "}": lambda m: m.push({}),
        "d": lambda m: (lambda pairs: (m.push({}), m.put_items(pairs)))(m.group()),
        "s": lambda m: m.put_items([m.pop(), m.pop()][::-1]),
        "u": lambda m: m.put_items(m.group()),
        0x8F: lambda m: m.push(set()),
        0x90: _M.add_to_set,
        0x91: lambda m: m.push(frozenset(map(as_key, m.group()))),
        # the memo
        "q": lambda m: m.memo.__setitem__(m.number("B"), m.top()),
        "r": lambda m: m.memo.__setitem__(m.number("<I"), m.top()),
        0x94: lambda m: m.memo.__setitem__(len(m.memo), m.top()),
        "h": lambda m: m.recall(m.number("B")),
        "j": lambda m: m.recall(m.number("<I")),
        # names, calls, objects
        "c": lambda m: m.mention(m.line(), m.line()),
        0x93: _M.stack_global,
        "R": _M.reduce,
        0x81: _M.new_object,
        0x92: _M.new_object_with_keywords,
        "b": _M.build,
        "Q": _M.outside,
    }.items()
}
