"""MAT files as plain Python values: structs, cells, strings, arrays, objects.

Every byte that has a checksum is checked before anything is decoded, and every declared
size is held against the bytes that are really there, so that a damaged or hostile file
is an error and never a crash, a flood of memory or a slightly different network.

The decoding itself is mat-io's (https://pypi.org/project/mat-io): objects saved by
MATLAB live in an undocumented subsystem of the file. This is the only module that knows
that package. Two of its habits are corrected here: the elements of a heterogeneous
object array get their own class instead of the array's, and what `saveobj` returned
comes alone, without the class defaults that would shadow it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedFile, JlstmError, Unsupported
from . import matvet

MAX_DEPTH = 100


@dataclass(eq=False)
class MatObject:
    """A MATLAB object: its class and what was saved of it.

    `values` holds what `saveobj` returned where the class has one, else its properties.
    A handle to an object that is not in the file has `lost` set.
    """

    class_name: str
    values: Any = field(default_factory=dict)
    lost: bool = False


@dataclass(frozen=True, eq=False)
class Undecodable:
    """A value that could not be decoded, and why. It does not stop its neighbours."""

    reason: str


class Cell(list):
    """A cell array or an array of objects or structs, flattened in column-major order.

    `shape` is the MATLAB shape, `class_name` the class of an object array.
    """

    def __init__(self, items: Any, shape: tuple[int, ...], class_name: str = "cell"):
        super().__init__(items)
        self.shape = shape
        self.class_name = class_name


class MatFile:
    """The variables of a MAT file, v4 to v7.3, each decoded when it is asked for.

    Raises:
        DamagedFile: not a MAT file, truncated, or altered.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._cache: dict[str, Any] = {}
        self._open = matvet.check(self.path)

    @property
    def names(self) -> list[str]:
        """Names of the variables, in the order of the file."""
        return list(self._open.names)

    @property
    def created(self) -> str:
        """The date in the header; it says nothing about the release."""
        return self._open.created

    def __contains__(self, name: str) -> bool:
        return name in self._open.names

    def __getitem__(self, name: str) -> Any:
        """Decode one variable; what cannot be decoded comes back as `Undecodable`."""
        if name not in self._cache:
            self._cache[name] = self._decode(name)
        return self._cache[name]

    def items(self) -> Iterator[tuple[str, Any]]:
        """All variables, decoded."""
        return ((name, self[name]) for name in self.names)

    def _decode(self, name: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return plain(self._raw(name))
            except JlstmError:
                raise
            except MemoryError:
                raise DamagedFile(
                    "a variable declares more data than memory holds",
                    file=self.path,
                    place=name,
                ) from None
            except Exception as error:
                # mat-io raises whatever numpy or h5py raise; the variable is lost, not
                # the file. What was asked for by name turns this into an error later.
                return Undecodable(f"{type(error).__name__}: {error}")

    def _raw(self, name: str) -> Any:
        kind = self._open.kind
        if kind == "v4":
            from scipy.io import loadmat

            return loadmat(self.path, variable_names=[name])[name]
        if kind == "v5":
            from matio.v5.matreader5 import MatFile5Reader

            image = BytesIO(self._open.element(name))
            reader = MatFile5Reader(image, self._open.byte_order, self._subsystem())
            return reader.get_variables()[name]
        import h5py
        from matio.v7.matreader7 import MatRead7

        with h5py.File(self.path, "r") as file:
            return MatRead7(file, self._subsystem(file)).read_h5_data(file[name])

    def _subsystem(self, hdf5: Any = None) -> Any:
        if "" not in self._cache:
            self._cache[""] = _load_subsystem(self._open, hdf5)
        return self._cache[""]


def _load_subsystem(opened: matvet.Opened, hdf5: Any) -> Any:
    """The object tables of the file, or None where it has none."""
    from matio.subsystem import MatSubsystem
    from matio.v5.matreader5 import MatFile5Reader
    from matio.v7.matreader7 import MatRead7

    class Subsystem(MatSubsystem):
        """mat-io's tables, with true classes and without class defaults."""

        def load_mcos_object(self, metadata: Any, type_system: Any = "MCOS") -> Any:
            loaded = super().load_mcos_object(metadata, type_system)
            metadata = np.atleast_2d(metadata)
            ndims = int(metadata[1, 0])
            ids = metadata[2 + ndims : -1, 0]
            for object_id in ids:
                cached = self.mcos_object_cache.get(object_id)
                if cached is not None and object_id != 0:
                    class_id = self.get_object_metadata(object_id)[0]
                    cached.classname = self.get_classname(class_id)
            return loaded

        def get_properties(self, object_id: int) -> Any:
            if object_id == 0:
                return None
            try:
                class_id, saveobj, normal, _ = self.get_object_metadata(object_id)
                saved = self.get_saved_properties(saveobj or normal, saveobj != 0)
                if saveobj != 0 and "any" in saved:
                    return saved
                return self.get_default_properties(class_id) | saved
            except RecursionError:
                raise
            except Exception as error:
                # One object that cannot be decoded, a figure for instance, must not
                # take its neighbours along.
                return Undecodable(f"{type(error).__name__}: {error}")

    if opened.kind == "v5":
        image = opened.subsystem()
        if image is None:
            return None
        order = matvet.byte_order_of(image[:4])
        stream = MatFile5Reader(BytesIO(image), order)
        stream.mat_stream.seek(8)
        stream.initialize_read()
        header, _ = stream.read_var_header()
        tables = stream.read_var_array(header, False)
    else:
        if "#subsystem#" not in hdf5:
            return None
        order = "<"
        tables = MatRead7(hdf5, None).read_struct(hdf5["#subsystem#"])
    subsystem = Subsystem(order, raw_data=True)
    matvet.check_object_tables(tables, opened.path, order)
    subsystem.load_subsystem(tables)
    if subsystem.version is None:
        raise DamagedFile(
            "the tables of its MATLAB objects cannot be read",
            file=opened.path,
            do="save the file again in MATLAB, or use jlstm_export.m there",
        )
    return subsystem


def plain(value: Any) -> Any:
    """Turn what mat-io returns into dict, Cell, str, list of str, array or MatObject."""
    return _plain(value, {}, 0)


def _plain(value: Any, seen: dict[int, Any], depth: int) -> Any:
    from matio.utils.matclass import EmptyMatStruct, MatlabFunction, MatlabOpaque

    if depth > MAX_DEPTH:
        return Undecodable("nested too deeply")
    if isinstance(value, MatlabOpaque):
        if id(value) not in seen:
            # Entered before its contents, since objects may refer to each other.
            result = seen[id(value)] = MatObject(str(value.classname))
            _fill(result, value, seen, depth)
        return seen[id(value)]
    if isinstance(value, MatlabFunction):
        return MatObject("function_handle")
    if isinstance(value, EmptyMatStruct):
        return Cell([], value.shape, "struct")
    if isinstance(value, np.ndarray):
        return _plain_array(value, seen, depth)
    if isinstance(value, Undecodable | str | bytes | int | float | bool | type(None)):
        return value
    return MatObject(type(value).__name__)


def _fill(result: MatObject, raw: Any, seen: dict[int, Any], depth: int) -> None:
    saved = raw.properties
    if saved is None:
        result.lost = True
    elif isinstance(saved, dict):
        if "any" in saved:
            result.values = _plain(saved["any"], seen, depth + 1)
        else:
            result.values = {
                key: _plain(item, seen, depth + 1) for key, item in saved.items()
            }
    elif isinstance(saved, Undecodable):
        result.values = saved
    else:
        result.values = _plain(saved, seen, depth + 1)


def _plain_array(value: np.ndarray, seen: dict[int, Any], depth: int) -> Any:
    class_name = getattr(value, "classname", None)
    if value.dtype.names:
        rows = [
            {name: _plain(row[name], seen, depth + 1) for name in value.dtype.names}
            for row in value.ravel(order="F")
        ]
        if class_name is not None:
            return MatObject(str(class_name), rows[0] if len(rows) == 1 else rows)
        return rows[0] if len(rows) == 1 else Cell(rows, value.shape, "struct")
    if value.dtype.hasobject:
        items = [_plain(item, seen, depth + 1) for item in value.ravel(order="F")]
        return Cell(items, value.shape, str(class_name or "cell"))
    if value.dtype.kind == "U":
        text = [str(item) for item in value.ravel(order="F")]
        return text[0] if len(text) == 1 else text if text else ""
    return np.asarray(value)


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
