"""Small HDF5 files that ask for too much, or contradict themselves, on purpose.

Decoding their variable x must come to the words that stand beside each.
"""

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from matbytes import MARK
from matio_oracle import with_v73_header

FILES: dict[str, tuple[Callable[[Path], object], str]] = {}
"""By name: what writes the file, and what decoding it comes to."""


def v73(expected: str) -> Callable:
    def register(make: Callable) -> Callable:
        def write(path: Path) -> None:
            with h5py.File(path, "w", userblock_size=512) as file:
                make(file)
            with_v73_header(path)

        FILES[make.__name__.replace("_", " ")] = (write, expected)
        return make

    return register


def of_class(item, name: str, **attributes: int):
    item.attrs.create("MATLAB_class", np.bytes_(name))
    for key, value in attributes.items():
        item.attrs.create(f"MATLAB_{key}", np.int32(value))
    return item


def cell(file, name: str, references):
    data = np.empty((len(references), 1), h5py.ref_dtype)
    for k, reference in enumerate(references):
        data[k, 0] = reference
    return of_class(file.create_dataset(name, data=data, dtype=h5py.ref_dtype), "cell")


@v73("too small for them")
def two_to_the_50_numbers_and_no_data(file):
    of_class(file.create_dataset("x", (2**25, 2**25), "f8"), "double")


@v73("bytes declared and 0 stored")
def a_large_chunk_and_no_data(file):
    size = (2**14, 2**14)
    item = file.create_dataset(
        "x", (2, 2), "u1", maxshape=size, chunks=size, compression=1
    )
    of_class(item, "uint8")


@v73("too small for them")
def a_gigabyte_of_zeros(file):
    size, step = 2**30, 2**26
    item = file.create_dataset("x", (size, 1), "u1", chunks=(step, 1), compression=9)
    for k in range(0, size, step):
        item[k : k + step] = np.zeros((step, 1), "u1")
    of_class(item, "uint8")


@v73("too small for them")
def a_hundred_times_ten_megabytes_of_zeros(file):
    chunk, items = zlib.compress(bytes(10 << 20), 9), []
    for k in range(100):
        size = (10 << 20, 1)
        item = file.create_dataset(
            f"#refs#/{k}", size, "u1", chunks=size, compression=9
        )
        item.id.write_direct_chunk((0, 0), chunk)
        items.append(of_class(item, "uint8").ref)
    cell(file, "x", items)


@v73("nested more than 60 deep")
def a_cell_in_itself(file):
    item = cell(file, "x", [file.ref])
    item[0, 0] = item.ref


@v73("nested more than 60 deep")
def a_struct_in_itself(file):
    of_class(file.create_group("x"), "struct")
    file["x/y"] = file["x"]


@v73("value")
def ten_to_the_power_of_30_cells(file):
    item = of_class(file.create_dataset("#refs#/a", data=np.ones((1, 1))), "double")
    for k in range(30):
        item = cell(file, f"#refs#/{k}", [item.ref] * 10)
    cell(file, "x", [item.ref])


@v73("value")
def a_megabyte_a_hundred_thousand_times(file):
    data = np.zeros((2**17, 1))
    item = of_class(file.create_dataset("#refs#/a", data=data), "double")
    cell(file, "x", [item.ref] * 100_000)


@v73("a link that may lead out of the file")
def a_link_to_another_file(file):
    file["x"] = h5py.ExternalLink("/etc/passwd", "/x")


@v73("data stored in another way")
def data_in_another_file(file):
    item = file.create_dataset("x", (4, 1), "u1", external=[("/etc/passwd", 0, 4)])
    of_class(item, "uint8")


@v73("data stored in another way (filters [32000])")
def an_unknown_filter(file):
    item = file.create_dataset("x", data=np.ones((999, 1)), compression="lzf")
    of_class(item, "double")


@v73("MATLAB_class is no text")
def a_class_of_variable_length(file):
    file.create_dataset("x", data=np.ones((1, 1))).attrs["MATLAB_class"] = "double"


@v73("a type of numbers that MATLAB does not write")
def numbers_of_variable_length(file):
    kind = h5py.vlen_dtype(np.float64)
    of_class(file.create_dataset("x", (1, 1), kind), "double")


@v73("a value of no class")
def a_named_type(file):
    file["x"] = np.dtype("f8")


@v73("an empty array of shape (1099511627776, 1048576)")
def an_empty_array_that_is_large(file):
    item = file.create_dataset("x", data=np.array([2**40, 2**20], np.uint64))
    of_class(item, "double", empty=1)


@v73("numbers where a struct is expected")
def a_struct_of_numbers(file):
    of_class(file.create_dataset("x", data=np.ones((2, 2))), "struct")


@v73("a group where numbers are expected")
def numbers_that_are_a_group(file):
    of_class(file.create_group("x"), "double")


@v73("a reference to nothing")
def a_cell_of_nothing(file):
    cell(file, "x", [h5py.Reference()])


@v73("a dataset without any data")
def a_dataset_without_data(file):
    of_class(file.create_dataset("x", data=h5py.Empty("f8")), "double")


@v73("float32 in an array of class double")
def another_class(file):
    of_class(file.create_dataset("x", data=np.ones((2, 2), "f4")), "double")


@v73("the file has no tables of objects")
def an_object_without_tables(file):
    words = np.array([[MARK, 2, 1, 1, 1, 1]], np.uint32)
    of_class(file.create_dataset("x", data=words), "Thing", object_decode=3)
