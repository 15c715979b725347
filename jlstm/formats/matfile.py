"""MAT files as plain Python values: structs, cells, strings, arrays, objects.

Every byte that has a checksum is checked before it is decoded, and every declared size
is held against the bytes that are really there, so that a damaged or hostile file is an
error and never a crash, a flood of memory or a slightly different network. Nothing is
decoded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DamagedFile, Unsupported
from . import matvet
from .matvalues import CannotDecode, Cell, MatObject, Undecodable

__all__ = ["Cell", "MatFile", "MatObject", "Undecodable", "need"]

PLAIN = frozenset(
    {"double", "single", "logical", "char", "sparse", "function_handle"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


class MatFile:
    """The variables of a MAT file, v4 to v7.3, each decoded when it is asked for.

    Raises:
        DamagedFile: not a MAT file, truncated, or altered.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._cache: dict[str, Any] = {}
        self._source = matvet.open_source(self.path)

    @property
    def names(self) -> list[str]:
        """Names of the variables, in the order of the file."""
        return list(self._source.names)

    @property
    def created(self) -> str:
        """The date in the header; it says nothing about the release."""
        return self._source.created

    def is_plain(self, name: str) -> bool:
        """Whether a variable is of numbers or text, known without decoding it."""
        return self._source.names[name] in PLAIN

    def __contains__(self, name: str) -> bool:
        return name in self._source.names

    def __getitem__(self, name: str) -> Any:
        """Decode one variable; what cannot be decoded comes back as `Undecodable`.

        Raises:
            DamagedFile: the bytes of the variable are not what was saved.
        """
        if name not in self._cache:
            self._cache[name] = self._decode(name)
        return self._cache[name]

    def items(self) -> Iterator[tuple[str, Any]]:
        """All variables, decoded."""
        return ((name, self[name]) for name in self.names)

    def _decode(self, name: str) -> Any:
        try:
            return self._source.read(name)
        except DamagedFile as error:
            raise error.within(file=self.path, place=name) from None
        except CannotDecode as reason:
            return Undecodable(str(reason))
        except RecursionError:
            return Undecodable("nested too deeply")
        except MemoryError:
            return Undecodable("more data than memory holds")
        except OSError as error:
            raise DamagedFile(
                "cannot be read", file=self.path, place=name, found=error.strerror
            ) from None


def need(file: MatFile, name: str) -> Any:
    """A variable by name.

    Raises:
        Unsupported: it is not there, or it cannot be decoded.
    """
    if name not in file:
        raise Unsupported(
            f"no variable '{name}'",
            file=file.path,
            expected=f"one of {', '.join(file.names) or '(the file is empty)'}",
        )
    value = file[name]
    if isinstance(value, Undecodable):
        raise Unsupported(
            "this variable cannot be decoded",
            file=file.path,
            place=name,
            found=value.reason,
            do="save it alone in MATLAB, or use jlstm_export.m there",
        )
    return value
