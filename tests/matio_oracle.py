"""MAT files as mat-io reads and writes them, and whether jlstm agrees with it.

mat-io (https://pypi.org/project/mat-io) shares no code with jlstm. Two of its habits
are corrected here: the elements of an array of objects get their own class instead of
the array's, and arrays of objects inside objects can be written.
"""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse

from jlstm.formats.matfile import Cell, MatObject

with warnings.catch_warnings():
    # It sets an option that pandas has deprecated.
    warnings.simplefilter("ignore")
    import matio
    from matio.subsystem import MatSubsystem
    from matio.utils.matclass import (
        EmptyMatStruct,
        MatlabCanonicalEmpty,
        MatlabFunction,
        MatlabObject,
        MatlabOpaque,
        MatlabOpaqueArray,
        MatlabOpaqueProperty,
        OpaqueType,
    )
    from matio.v5.matreader5 import MatFile5Reader
    from matio.v7.matwriter7 import MatWrite7

TITLE = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970"
V73 = (TITLE + b" HDF5 schema 1.00 .").ljust(116) + bytes(8) + b"\x00\x02IM"


def read(path: Path) -> dict[str, Any]:
    """All variables, objects with the classes they are of."""
    load = MatSubsystem.load_mcos_object

    def load_with_classes(self, metadata, type_system=OpaqueType.MCOS):
        found = load(self, metadata, type_system)
        numbers = np.atleast_2d(metadata)
        for number in numbers[2 + int(numbers[1, 0]) : -1, 0]:
            if number and number in self.mcos_object_cache:
                class_id = self.get_object_metadata(number)[0]
                self.mcos_object_cache[number].classname = self.get_classname(class_id)
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MatSubsystem.load_mcos_object = load_with_classes
        try:
            return matio.load_from_mat(str(path), raw_data=True, spmatrix=False)
        finally:
            MatSubsystem.load_mcos_object = load


def save(path: Path, values: dict[str, Any], version: str) -> Path:
    """Write variables as "v7" or "v7.3"."""
    serialize = MatSubsystem.serialize_nested_props

    def serialize_arrays_too(self, prop_value):
        if isinstance(prop_value, MatlabOpaqueArray):
            return self.set_object_metadata(prop_value)
        return serialize(self, prop_value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MatSubsystem.serialize_nested_props = serialize_arrays_too
        try:
            matio.save_to_mat(str(path), values, version=version)
        finally:
            MatSubsystem.serialize_nested_props = serialize
    return path


class _Verbatim:
    """Takes the place of the object tables and leaves what refers to them as it is."""

    def load_opaque_object(self, metadata, type_system, class_name):
        return MatlabOpaque(metadata, class_name, type_system)


class _Writer(MatWrite7):
    def write_opaque_object(self, parent, var_name, data):
        if data.classname == "FileWrapper__":
            item = self.write_cell_array(parent, var_name, data.properties)
        else:
            item = parent.create_dataset(var_name, data=data.properties.T)
        item.attrs.create("MATLAB_class", np.bytes_(data.classname))
        item.attrs.create("MATLAB_object_decode", np.int32(3))
        return item


def to_v73(source: Path, target: Path) -> Path:
    """Rewrite a v7 file as v7.3, the tables of its objects word for word."""
    data = source.read_bytes()
    stream = io.BytesIO(data)
    variables = MatFile5Reader(stream, "<", _Verbatim()).get_variables()
    with h5py.File(target, "w", userblock_size=512) as file:
        writer = _Writer(file)
        for name, value in variables.items():
            if not name.startswith("__"):
                writer.write_variable(name, value)
        at = struct.unpack("<Q", data[116:124])[0]
        inner = io.BytesIO(_only(stream, at).tobytes())
        tables = _only(inner, 8)
        tables[0, 0]["MCOS"] = MatlabOpaque(tables[0, 0]["MCOS"], "FileWrapper__")
        writer.write_struct_array(file, "#subsystem#", tables)
    return with_v73_header(target)


def with_v73_header(path: Path) -> Path:
    """Give an HDF5 file with a user block the header that MATLAB writes."""
    with path.open("r+b") as file:
        file.write(V73)
    return path


def _only(stream: io.BytesIO, at: int) -> Any:
    """The one variable at some place of a stream."""
    reader = MatFile5Reader(stream, "<")
    stream.seek(at)
    reader.initialize_read()
    return reader.read_var_array(reader.read_var_header()[0], False)


def agrees(ours: Any, theirs: Any, met: set | None = None) -> bool:
    """Whether jlstm decoded what mat-io decoded."""
    met = set() if met is None else met
    if (id(ours), id(theirs)) in met:
        return True
    if isinstance(theirs, MatlabOpaque | np.ndarray) and not isinstance(ours, str):
        met.add((id(ours), id(theirs)))
    if scipy.sparse.issparse(theirs):
        return isinstance(ours, MatObject) and ours.class_name == "sparse"
    if isinstance(theirs, MatlabFunction):
        return isinstance(ours, MatObject) and ours.class_name == "function_handle"
    if isinstance(theirs, MatlabCanonicalEmpty):
        return isinstance(ours, np.ndarray) and ours.shape == (0, 0)
    if isinstance(theirs, MatlabOpaque):
        return _object_agrees(ours, theirs, met)
    if isinstance(theirs, EmptyMatStruct):
        return ours == {} or (isinstance(ours, Cell) and not ours)
    if isinstance(theirs, MatlabObject):
        if not isinstance(ours, MatObject) or ours.class_name != theirs.classname:
            return False
        return _fields_agree(ours.values, theirs.ravel()[0], met)
    return _array_agrees(ours, np.asarray(theirs), theirs, met)


def _object_agrees(ours: Any, theirs: MatlabOpaque, met: set) -> bool:
    saved = theirs.properties
    if isinstance(saved, tuple):
        return isinstance(ours, Cell) and ours.shape == saved and not ours
    if not isinstance(ours, MatObject):
        return False
    if saved is None:
        return ours.lost
    if ours.class_name != theirs.classname or ours.lost:
        return False
    if "any" in saved:
        return agrees(ours.values, saved["any"], met)
    names = {name for name in saved if not name.startswith("__dynamic_property__")}
    return set(ours.values) == names and all(
        agrees(ours.values[name], saved[name], met) for name in names
    )


def _fields_agree(ours: Any, theirs: Any, met: set) -> bool:
    names = theirs.dtype.names
    return set(ours) == set(names) and all(
        agrees(ours[name], theirs[name], met) for name in names
    )


def _array_agrees(ours: Any, array: np.ndarray, theirs: Any, met: set) -> bool:
    if array.dtype.names:
        if array.size == 1:
            return isinstance(ours, dict) and _fields_agree(ours, array.ravel()[0], met)
        return (
            isinstance(ours, Cell)
            and (ours.shape, len(ours)) == (array.shape, array.size)
            and all(map(_fields_agree, ours, array.ravel(order="F"), [met] * len(ours)))
        )
    if array.dtype.hasobject:
        class_name = getattr(theirs, "classname", None) or "cell"
        return (
            isinstance(ours, Cell)
            and (ours.shape, ours.class_name) == (array.shape, class_name)
            and len(ours) == array.size
            and all(map(agrees, ours, array.ravel(order="F"), [met] * len(ours)))
        )
    if array.dtype.kind == "U":
        rows = [str(row) for row in array.ravel(order="F")]
        found = [ours] if isinstance(ours, str) else ours
        return [row.rstrip("\0") for row in found] == (rows or [""])
    if isinstance(theirs, MatlabOpaqueProperty):
        return isinstance(ours, np.ndarray) and ours.tolist() == [[array.item()]]
    same_kind = isinstance(ours, np.ndarray) and ours.dtype == array.dtype
    return same_kind and np.array_equal(ours, array, equal_nan=ours.dtype.kind in "fc")
