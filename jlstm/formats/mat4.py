"""MAT files of version 4: matrices of numbers and text, one after the other.

Each has a header of five 32-bit numbers: the type MOPT (byte order, 0, kind of numbers,
kind of matrix), rows, columns, whether it is complex, and the length of the name
(https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedFile
from .matvalues import Budget, CannotDecode, MatObject, join_complex, text_rows

NUMBERS = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
FULL, TEXT, SPARSE = 0, 1, 2
LITTLE, BIG = 0, 1
KINDS = {FULL: "double", TEXT: "char", SPARSE: "sparse"}
MAX_NAME = 256


@dataclass(frozen=True)
class Matrix:
    """Where a matrix lies in the file, and what it is."""

    at: int
    stored: np.dtype
    kind: int
    shape: tuple[int, int]
    parts: int

    @property
    def size(self) -> int:
        """Bytes of data."""
        return self.shape[0] * self.shape[1] * self.stored.itemsize * self.parts


class Mat4:
    """The variables of a MAT file of version 4.

    Attributes:
        names: the variables, each with its class.
        created: empty; these files have no date.
    """

    created = ""

    def __init__(self, path: Path, budget: Budget):
        self.path = path
        self._budget = budget
        self._found: dict[str, Matrix] = {}
        with path.open("rb") as file:
            end = file.seek(0, 2)
            at = 0
            while at < end:
                file.seek(at)
                name, matrix = _header(file.read(20 + MAX_NAME), at, end)
                self._found[name] = matrix
                at = matrix.at + matrix.size
        self.names = {name: KINDS[m.kind] for name, m in self._found.items()}

    def read(self, name: str) -> Any:
        """Decode one variable.

        Raises:
            DamagedFile: the file has become shorter.
        """
        matrix = self._found[name]
        if matrix.kind == SPARSE:
            return MatObject("sparse")
        self._budget.spend_bytes(matrix.size)
        with self.path.open("rb") as file:
            file.seek(matrix.at)
            data = file.read(matrix.size)
        if len(data) < matrix.size:
            raise _truncated(matrix.at, len(data), matrix.size)
        parts = np.frombuffer(data, matrix.stored).reshape(matrix.parts, -1)
        parts = parts.astype(matrix.stored.newbyteorder("="))
        value = parts[0] if matrix.parts == 1 else join_complex(*parts)
        value = value.reshape(matrix.shape, order="F")
        if matrix.kind == FULL:
            return value
        if np.iscomplexobj(value) or not np.all((value >= 0) & (value < 0x10000)):
            raise CannotDecode("text made of something else than characters")
        self._budget.spend(matrix.shape[0], 0)
        return text_rows(value.astype(np.uint16))


def _header(data: bytes, at: int, end: int) -> tuple[str, Matrix]:
    if len(data) < 20:
        raise _truncated(at, len(data), 20)
    mopt, order = struct.unpack_from("<i", data)[0], "<"
    if not 0 <= mopt < 5000:
        mopt, order = struct.unpack_from(">i", data)[0], ">"
    rows, columns, imaginary, length = struct.unpack_from(order + "4i", data, 4)
    machine, zero, numbers, kind = (mopt // 10**k % 10 for k in (3, 2, 1, 0))
    if (
        not 0 <= mopt < 5000
        or machine != (LITTLE if order == "<" else BIG)
        or zero
        or numbers not in NUMBERS
        or kind not in KINDS
        or min(rows, columns) < 0
        or imaginary not in (0, 1)
        or not 0 < length <= MAX_NAME
    ):
        raise DamagedFile(
            "not a MAT file",
            place=f"byte {at}",
            found=f"numbers {(mopt, rows, columns, imaginary, length)}",
            expected="a file saved by MATLAB, v4 to v7.3",
        )
    stored = np.dtype(order + NUMBERS[numbers])
    matrix = Matrix(at + 20 + length, stored, kind, (rows, columns), 1 + imaginary)
    if matrix.at + matrix.size > end:
        raise _truncated(at, end - at, matrix.at + matrix.size - at)
    name = data[20 : 20 + length].partition(b"\0")[0]
    return name.decode("latin-1"), matrix


def _truncated(at: int, found: int, expected: int) -> DamagedFile:
    return DamagedFile(
        "the file ends too early",
        place=f"variable at byte {at}",
        found=f"{found} bytes",
        expected=f"{expected} bytes",
        do="copy or download the file again",
    )
