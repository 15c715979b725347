"""The tensors of a torch file: which numbers of which storage, checked, not yet read.

A storage is a row of numbers, a tensor a view into one: an offset, sizes and strides.
Source: `torch._utils._rebuild_tensor_v2` and `torch.storage`, as public documentation
and files show them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DamagedFile, Unsupported
from .pytorch_pickle import Name, Record

MOST_AXES = 32
LARGEST = 2**48
MOST_SHARED = 16
"""How often, on average, tensors may use the numbers of their storages."""
SMALL = 4096

STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
"""What the numbers of a storage are, by the name of its class."""
STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
DTYPES = {
    name: np.dtype("uint16" if name == "bfloat16" else name)
    for name in (*STORAGES.values(), "uint16", "uint32", "uint64")
}
"""How the numbers lie in the file, by the name of a torch dtype."""
SYNONYMS = {"float": "float32", "double": "float64", "half": "float16", "long": "int64"}


class Storage:
    """A row of numbers in a torch file.

    Attributes:
        key: its name in the file.
        dtype: the torch dtype of its numbers.
        count: how many there are.
        location: the device that it was on.
    """

    def __init__(self, key: str, dtype: str, count: int, location: str):
        self.key, self.dtype, self.count, self.location = key, dtype, count, location
        self.uses = 0
        self.contents: Callable[[], tuple[bytes, str]] | None = None
        self._read: dict[str, np.ndarray] = {}

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * DTYPES[self.dtype].itemsize

    def numbers(self, dtype: str) -> np.ndarray:
        """All of its numbers; those of bfloat16 widened to float32, which is exact."""
        if dtype not in self._read:
            if self.contents is None:
                raise DamagedFile("a storage without numbers", place=self.key)
            data, order = self.contents()
            if len(data) != self.size:
                raise DamagedFile(
                    "a storage of another length than its tensors say",
                    place=f"storage {self.key}",
                    found=f"{len(data)} bytes",
                    expected=f"{self.size}: {self.count} of {self.dtype}",
                )
            kind = DTYPES[dtype]
            found = np.frombuffer(data, kind)
            if order != sys.byteorder:
                found = found.byteswap()
            if dtype == "bfloat16":
                found = (found.astype(np.uint32) << 16).view(np.float32)
            self._read[dtype] = found
        return self._read[dtype]


class Tensor:
    """A view into a storage: sizes and strides in numbers, not in bytes."""

    def __init__(
        self,
        storage: Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: str,
    ):
        self.storage, self.offset = storage, offset
        self.shape, self.strides, self.dtype = shape, strides, dtype

    def __repr__(self) -> str:
        return f"<tensor {self.shape} of {self.dtype}>"

    def numpy(self) -> np.ndarray:
        """Its numbers, as an array in row-major order.

        Raises:
            DamagedFile: the file does not hold what it says.
        """
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32)
        numbers = self.storage.numbers(self.dtype)
        view = np.lib.stride_tricks.as_strided(
            numbers[self.offset :],
            self.shape,
            [stride * numbers.itemsize for stride in self.strides],
            writeable=False,
        )
        return np.ascontiguousarray(view).reshape(self.shape)


def storage(pid: Any, storages: dict[str, Storage]) -> Any:
    """What a reference to something outside of the pickle stands for.

    Arguments:
        pid: `("storage", class, key, location, count)` or, in old files, with the view
            of a storage behind it; `("module", class, file, source)` in old files.
        storages: those met so far, by key.
    """
    if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module":
        return pid[1]
    match pid:
        case ("storage", Name() as kind, str(key), location, int(count), *views):
            pass
        case _:
            raise DamagedFile("a reference to something that is no storage")
    if any(view is not None for view in views):
        raise Unsupported(
            "a storage that is a part of another one",
            place=f"storage {key[:80]!r}",
            do="save the file again with a torch of today",
        )
    dtype = STORAGES.get(kind.name)
    if dtype is None or kind.module not in STORAGE_MODULES:
        raise Unsupported(
            "a kind of numbers that is not read",
            found=f"{str(kind)[:80]!r}",
            expected=", ".join(STORAGES),
            do="of a quantised model, load the one that it was made from"
            if kind.name.startswith("Q")
            else None,
        )
    if isinstance(count, bool) or count < 0:
        raise DamagedFile("the size of a storage", found=count)
    found = Storage(key, dtype, count, str(location)[:80])
    known = storages.setdefault(key, found)
    if (known.dtype, known.count) != (dtype, count):
        raise DamagedFile("two storages of one name", place=f"storage {key[:80]!r}")
    return known


def rebuild(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> Tensor:
    """A tensor of the dtype of its storage; `more` concerns training."""
    return view(storage, offset, size, stride, getattr(storage, "dtype", ""))


def rebuild_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any,
    dtype: Any, *more: Any,
) -> Tensor:  # fmt: skip
    """A tensor in a storage of bytes."""
    name = dtype.name if isinstance(dtype, Name) and dtype.module == "torch" else ""
    name = SYNONYMS.get(name, name)
    if name not in DTYPES:
        raise Unsupported("tensors of this dtype are not read", found=dtype)
    return view(storage, offset, size, stride, name)


def view(storage: Any, offset: Any, size: Any, stride: Any, dtype: str) -> Tensor:
    """A tensor, every index of which lies in its storage.

    Raises:
        DamagedFile: it would reach beyond, or use the same numbers over and over.
    """
    if not isinstance(storage, Storage):
        raise DamagedFile("a tensor without a storage")
    shape, strides = _lengths(size), _lengths(stride)
    if len(shape) != len(strides):
        raise DamagedFile("as many strides as sizes", found=f"{shape}, {strides}")
    available = storage.size // DTYPES[dtype].itemsize
    (start,) = _lengths((offset,))
    count = math.prod(shape)
    steps = zip(shape, strides, strict=True)
    last = start + sum((length - 1) * step for length, step in steps) if count else 0
    if last >= available and count:
        raise DamagedFile(
            "a tensor reaches beyond its storage",
            place=f"storage {storage.key[:80]!r}",
            found=f"offset {start}, sizes {shape}, strides {strides}",
            expected=f"within {available} numbers",
        )
    if not count and math.prod(length or 1 for length in shape) > LARGEST:
        raise DamagedFile("the size of an empty tensor")
    storage.uses += count
    if storage.uses > MOST_SHARED * available + SMALL:
        raise Unsupported(
            "tensors use the same numbers too often",
            place=f"storage {storage.key[:80]!r}",
            found=f"{storage.uses} values from {available}",
            expected=f"at most {MOST_SHARED} times as many",
        )
    # The stride of an axis of length one is never gone.
    moved = zip(shape, strides, strict=True)
    strides = tuple(step if length > 1 else 0 for length, step in moved)
    return Tensor(storage, start if count else 0, shape, strides, dtype)


def contiguous(
    key: str, dtype: str, shape: tuple[int, ...], contents: Callable
) -> Tensor:
    """A tensor that is all of its storage, row by row; `contents` gives the bytes."""
    strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    whole = Storage(key, dtype, math.prod(shape), "cpu")
    whole.contents = contents
    return view(whole, 0, tuple(shape), tuple(strides), dtype)


def _lengths(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > MOST_AXES:
        raise DamagedFile("the sizes of a tensor are no list of numbers")
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise DamagedFile(
                "a size or stride that is none", found=type(value).__name__
            )
        if value > LARGEST:
            raise DamagedFile("a size that no tensor has", expected=f"to {LARGEST}")
    return tuple(values)


def parameter(data: Any, *more: Any) -> Any:
    """A parameter is its tensor; whether it is trained, and hooks, do not matter."""
    return data


def rebuild_from_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes, or of a subclass: the tensor."""
    action = TENSORS.get(str(function))
    if action is None or not isinstance(arguments, tuple):
        return Record(Name("torch._tensor", "_rebuild_from_type_v2"), (function, kind))
    return action(*arguments)


TENSORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": rebuild,
    "torch._utils._rebuild_tensor_v2": rebuild,
    "torch._utils._rebuild_tensor_v3": rebuild_v3,
    "torch._utils._rebuild_parameter": parameter,
    "torch._utils._rebuild_parameter_with_state": parameter,
}
"""The functions that make tensors, and what stands in for them."""
