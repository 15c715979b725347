"""Every kind of file gives the sequences that were written into it, to the bit."""

import os

import h5netcdf
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat
from shard_cases import FEATURES, LENGTHS, NAMES, OUTPUTS, sequences, want, write_table

from jlstm.dataset import blocks
from jlstm.errors import Ambiguous, InputError, JlstmError
from jlstm.shards import sources
from jlstm.shards.kinds import Ask

TABLE = Ask(("a", "b", "c"), ("u", "v"), "id")


@pytest.fixture
def given(rng):
    return sequences(rng)


def read(path, ask, **kind):
    return list(sources.read(path, want(**kind), ask))


def same(found, given, names=None):
    assert len(found) == len(given)
    for item, (x, y) in zip(found, given, strict=True):
        assert item.x.dtype == np.float32
        np.testing.assert_array_equal(item.x, x)
        if y is None:
            assert item.y is None
        else:
            np.testing.assert_array_equal(item.y, y)
    if names is not None:
        assert [item.name for item in found] == list(names)


def table(given, names=NAMES):
    """Columns a b c u v and id, of all sequences one after the other."""
    x, y = (np.concatenate(parts) for parts in zip(*given, strict=True))
    ids = np.repeat(
        np.array([str(n) for n in names], object), [len(x) for x, _ in given]
    )
    columns = {"id": pa.array(ids, "string")}
    columns |= {n: x[:, k] for k, n in enumerate("abc")}
    return columns | {n: y[:, k] for k, n in enumerate("uv")}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_text(tmp_path, given, suffix):
    path = tmp_path / f"run{suffix}"
    write_table(path, zip(NAMES, given, strict=True))
    mark = {".csv": ",", ".tsv": "\t", ".txt": ";"}[suffix]
    path.write_text(path.read_text().replace(",", mark))
    same(read(path, TABLE), given, NAMES)
    bare = TABLE._replace(targets=())
    same(read(path, bare), [(x, None) for x, _ in given])


@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_parquet_in_blocks(tmp_path, given, rows, monkeypatch):
    path = tmp_path / "run.parquet"
    pq.write_table(pa.table(table(given)), path, row_group_size=6)
    monkeypatch.setattr(
        blocks.read_blocks, "__defaults__", (rows,)
    )  # sequences begin and end anywhere in a block
    same(read(path, TABLE), given, NAMES)


def test_parquet_ids_are_numbers_or_categories(tmp_path, given):
    columns = table(given, (4, 3, 2, 1))
    for kind in (pa.int64(), pa.dictionary(pa.int32(), pa.string())):
        path = tmp_path / "run.parquet"
        ids = columns["id"].cast(pa.int64()) if kind == pa.int64() else columns["id"]
        pq.write_table(pa.table(columns | {"id": ids.cast(kind)}), path)
        same(read(path, TABLE), given, "4321")


def test_columns_of_one_name_are_refused(tmp_path, given):
    columns = table(given)
    other = np.full(sum(LENGTHS), 9.0)
    path = tmp_path / "run.parquet"
    arrays = list(map(pa.array, [other, *columns.values()]))
    pq.write_table(pa.Table.from_arrays(arrays, ["a", *columns]), path)
    with pytest.raises(InputError, match="2 columns are called 'a'"):
        read(path, TABLE)


def test_columns_of_one_name_that_nobody_asks_for(tmp_path, given):
    columns = table(given)
    other = np.full(sum(LENGTHS), 9.0)
    path = tmp_path / "run.parquet"
    arrays = list(map(pa.array, [other, other, *columns.values()]))
    pq.write_table(pa.Table.from_arrays(arrays, ["q", "q", *columns]), path)
    same(read(path, TABLE), given, NAMES)
    with pytest.raises(InputError, match="2 columns are called 'q'"):
        read(path, Ask((), ("u", "v"), "id"), features=5)


def test_a_file_is_one_sequence_without_a_column_for_it(tmp_path, given):
    path = tmp_path / "run.csv"
    x, _ = given[0]
    np.savetxt(path, x, delimiter=",", header="a,b,c", comments="", fmt="%.9g")
    same(read(path, Ask()), [(x, None)], ["run.csv"])


def test_text_that_pyarrow_does_not_read_is_read_all_the_same(
    tmp_path, given, monkeypatch
):
    monkeypatch.setattr(blocks, "BYTES", 256)  # several of pyarrow's blocks
    path = tmp_path / "run.csv"
    write_table(path, zip(NAMES, given, strict=True))
    lines = path.read_text().splitlines()
    first = lines[-1].split(",")
    # A number as Python writes it and pyarrow does not read it, late in the file.
    lines[-1] = ",".join([first[0], "+" + first[1].lstrip("-"), *first[2:]])
    path.write_text("\n".join(lines))
    given[-1][0][-1, 0] = abs(given[-1][0][-1, 0])
    same(read(path, TABLE), given, NAMES)


def test_what_is_missing_in_text_is_missing(tmp_path, given):
    path = tmp_path / "run.csv"
    write_table(path, zip(NAMES, given, strict=True))
    lines = path.read_text().splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:4], "NA", ""])
    path.write_text("\ufeff" + "\r\n".join(lines))
    given[0][1][2] = np.nan
    same(read(path, TABLE), given, NAMES)


def test_a_sequence_that_comes_back_is_refused(tmp_path, given):
    path = tmp_path / "run.csv"
    write_table(path, zip(("b", "a", "b", "7"), given, strict=True))
    with pytest.raises(InputError, match="row 9, column 'id': a sequence comes back"):
        read(path, TABLE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((4, 1, "x1"), "line 5, column 'a': text in a column"),
        ((4, 1, ""), "sequence 'b', row 4, column 'a': an input that is not a finite"),
        ((4, 0, ""), "row 4, column 'id': a row that is of no sequence"),
        ((4, 1, "2020-01-01"), "a date in a column"),
        ((9, 5, "1,1"), "lines differ in their number of cells"),
    ],
)
def test_what_is_wrong_in_text_has_its_place(tmp_path, given, change, words):
    path = tmp_path / "run.csv"
    write_table(path, zip(NAMES, given, strict=True))
    lines = [line.split(",") for line in path.read_text().splitlines()]
    row, column, cell = change
    lines[row][column] = cell
    path.write_text("\n".join(map(",".join, lines)))
    with pytest.raises(InputError, match=words) as refused:
        read(path, TABLE)
    assert refused.value.file == str(path)


def test_columns_that_leave_it_open_are_refused(tmp_path, given):
    path = tmp_path / "run.csv"
    write_table(path, zip(NAMES, given, strict=True))
    for ask, words in (
        (Ask(sequence="id"), "do not fit the network"),
        (Ask(("a", "b"), (), "id"), "do not fit the network"),
        (Ask(("a", "b", "c"), ("u",), "id"), "3 inputs and 2 targets"),
        (Ask(("a", "b", "x"), (), "id"), "no column 'x'"),
        (Ask(("a", "b", "c"), ("c", "u"), "id"), "a column twice"),
    ):
        with pytest.raises(InputError) as refused:
            read(path, ask)
        assert words in str(refused.value)


def test_a_class_may_be_called_none(tmp_path, given):
    path = tmp_path / "run.parquet"
    labels = np.repeat(["yes", "none", "7", ""], LENGTHS)
    pq.write_table(pa.table(table(given) | {"kind": labels}), path)
    ask = Ask(("a", "b", "c"), ("kind",), "id")
    found = read(path, ask, once=True, classes=("none", "yes", "7"))
    expected = [*np.eye(3)[[1, 0, 2]], [np.nan] * 3]
    np.testing.assert_array_equal([item.y for item in found], expected)


def test_labels_and_one_answer_for_each_sequence(tmp_path, given):
    classes = ("no", "yes", "7")
    path = tmp_path / "run.parquet"
    labels = np.repeat(["yes", "no", "7", "yes"], LENGTHS)
    pq.write_table(pa.table(table(given) | {"kind": labels}), path)
    ask = Ask(("a", "b", "c"), ("kind",), "id")
    once = read(path, ask, once=True, classes=classes)
    steps = read(path, ask, classes=classes)
    expected = np.eye(3)[[1, 0, 2, 1]]
    for item, over_time, row in zip(once, steps, expected, strict=True):
        np.testing.assert_array_equal(item.y, row)
        np.testing.assert_array_equal(over_time.y, np.tile(row, (len(item.x), 1)))
    labels[2] = "no"
    pq.write_table(pa.table(table(given) | {"kind": labels}), path)
    with pytest.raises(InputError, match="sequence 'b', row 3, column 'kind'"):
        read(path, ask, once=True, classes=classes)


# --- arrays ---------------------------------------------------------------------------


def ragged(given):
    x, y = (np.concatenate(parts) for parts in zip(*given, strict=True))
    return {"x": x, "y": y, "lengths": np.array(LENGTHS), "id": np.array(NAMES, "S3")}


def even(rng):
    return {
        "x": rng.normal(size=(5, 4, FEATURES)).astype("f4"),
        "y": np.ones((5, 4, 2)),
    }


def hold(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays(tmp_path, rng, given, suffix):
    path = tmp_path / f"run{suffix}"
    hold(path, ragged(given))
    named = read(path, Ask((), ("y",), "id"))
    same(named, given, NAMES)
    arrays = even(rng)
    hold(path, arrays)
    pairs = list(zip(arrays["x"], arrays["y"], strict=True))
    names = [f"run{suffix}[{k}]" for k in range(1, 6)]
    same(read(path, Ask((), ("y",))), pairs, names)
    hold(path, {"x": given[0][0]})
    same(read(path, Ask()), [(given[0][0], None)], [path.name])
    several = {name: x for name, (x, _) in zip("pqrs", given, strict=True)}
    hold(path, several)
    same(read(path, Ask()), [(x, None) for x, _ in given], "pqrs")


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_no_sequences_are_none(tmp_path, suffix):
    none = {"x": np.ones((0, FEATURES)), "lengths": np.zeros(0, int)}
    assert read(hold(tmp_path / f"run{suffix}", none), Ask()) == []


def test_one_answer_for_each_sequence_of_arrays(tmp_path, given):
    path = hold(tmp_path / "run.npz", ragged(given) | {"y": np.arange(8).reshape(4, 2)})
    found = read(path, Ask((), ("y",), "id"), once=True)
    same(found, [(x, [2 * k, 2 * k + 1]) for k, (x, _) in enumerate(given)], NAMES)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_names_of_steps_are_no_names_of_sequences(tmp_path, given, suffix):
    x = given[0][0]
    path = hold(tmp_path / f"run{suffix}", {"x": x, "id": np.arange(len(x)) // 4})
    with pytest.raises(InputError, match="not one name for each sequence"):
        read(path, Ask((), (), "id"))
    hold(path, {"x": x, "id": np.array("p", "S")})
    same(read(path, Ask((), (), "id")), [(x, None)], ["p"])


def test_groups_of_hdf5_are_sequences(tmp_path, given):
    path = tmp_path / "run.hdf5"
    with h5py.File(path, "w") as file:
        for name, (x, y) in zip("pqrs", given, strict=True):
            file[f"{name}/x"], file[f"{name}/y"] = x, y
    same(read(path, Ask((), ("y",))), given, "pqrs")
    with pytest.raises(InputError, match="no array 'p/u'"):
        read(path, Ask(("u",)))


def test_npy(tmp_path, rng):
    x = even(rng)["x"]
    np.save(tmp_path / "run.npy", x)
    same(read(tmp_path / "run.npy", Ask()), [(one, None) for one in x])


def test_mat(tmp_path, given):
    cells = np.empty(len(given), object)
    targets = np.empty(len(given), object)
    for k, (x, y) in enumerate(given):
        cells[k], targets[k] = x.T, y.T
    savemat(tmp_path / "run.mat", {"X": cells, "Y": targets})
    same(read(tmp_path / "run.mat", Ask(("X",), ("Y",))), given)
    same(read(tmp_path / "run.mat", Ask(("X",))), [(x, None) for x, _ in given])
    with pytest.raises(Ambiguous):
        read(tmp_path / "run.mat", Ask())


def netcdf(path, axes, variables):
    with h5netcdf.File(path, "w") as file:
        file.dimensions = axes
        for name, (dimensions, values) in variables.items():
            variable = file.create_variable(name, dimensions, values.dtype)
            variable[...] = values
    return path


def test_netcdf_over_time(tmp_path, given):
    x, y = given[2]
    columns = dict(zip("abcuv", np.concatenate([x, y], axis=1).T, strict=True))
    path = netcdf(
        tmp_path / "run.nc",
        {"time": len(x)},
        {n: (("time",), v) for n, v in columns.items()},
    )
    same(read(path, TABLE._replace(sequence=None)), [(x, y)], ["run.nc"])


def test_netcdf_over_sequences_and_time(tmp_path, given, monkeypatch):
    from jlstm.shards import slices

    monkeypatch.setattr(slices, "NUMBERS", 2 * 12 * 5)  # two sequences at once
    held = np.full((4, 12, FEATURES + OUTPUTS), np.nan, "f4")
    for k, (x, y) in enumerate(given):
        held[k, : len(x)] = np.concatenate([x, y], axis=1)
    variables = {n: (("basin", "time"), held[:, :, k]) for k, n in enumerate("abcuv")}
    lengths = {"lengths": (("basin",), np.array(LENGTHS))}
    axes = {"basin": 4, "time": 12}
    path = netcdf(tmp_path / "run.nc", axes, variables | lengths)
    same(read(path, TABLE._replace(sequence=None)), given)
    netcdf(path, axes, variables)
    with pytest.raises(InputError, match="sequence 1, step 8, variable 'a'"):
        read(path, TABLE._replace(sequence=None))


def test_whole_numbers_that_name_sequences_keep_their_digits(tmp_path, given):
    ids = [9007199254740993, 9007199254740992, 7, 8]
    x = np.stack([given[0][0]] * 4)
    variables = {n: (("basin", "time"), x[:, :, k]) for k, n in enumerate("abc")}
    variables["id"] = (("basin",), np.array(ids))
    path = netcdf(tmp_path / "run.nc", {"basin": 4, "time": 7}, variables)
    ask = Ask(("a", "b", "c"), (), "id")
    same(read(path, ask), [(one, None) for one in x], map(str, ids))
    columns = {n: (("time",), x[0, :, k]) for k, n in enumerate("abc")}
    columns["id"] = (("time",), np.repeat(ids[:2], (4, 3)))
    netcdf(path, {"time": 7}, columns)
    halves = [(part, None) for part in np.split(x[0], [4])]
    same(read(path, ask), halves, map(str, ids[:2]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lengths": np.array([7, 1, 12, 6])}, "does not add up"),
        ({"y": np.ones((24, 2))}, "not one target for each step"),
        ({"x": np.ones((25, 4))}, "does not fit the network"),
        ({"id": np.array(["a"])}, "not one name for each"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, given, changes, words):
    path = hold(tmp_path / "run.npz", ragged(given) | changes)
    with pytest.raises(InputError, match=words):
        read(path, Ask((), ("y",), "id"))


@pytest.mark.parametrize("suffix", sources.READERS)
def test_a_broken_file_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\x00\xff" * 9)
    with pytest.raises(JlstmError) as refused:
        read(path, Ask())
    assert "broken" in str(refused.value)


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    for name in ("b.csv", "a.npz", "c.PARQUET", "notes.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "sub.csv").mkdir()
    found = sources.Source.of(tmp_path)
    assert [p.name for p in found.files] == ["a.npz", "b.csv", "c.PARQUET"]
    assert found.passed_over == 1
    (tmp_path / "._a.csv").write_text("hidden")
    assert sources.Source.of(tmp_path) == (found.files, 2)
    with pytest.raises(InputError, match="no kind of data"):
        sources.Source.of(tmp_path / "notes.md")
    with pytest.raises(InputError, match="no data in it"):
        sources.Source.of(tmp_path / "sub.csv")


@pytest.mark.parametrize("name", [b"\xff.csv", b"x" * 245 + b".csv"])
def test_a_name_that_results_cannot_have_is_refused(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_text("a,b,c\n1,2,3\n")
    except OSError:
        pytest.skip("no file can be called so here")
    for given in (tmp_path, path):
        with pytest.raises(InputError, match="no file can be"):
            sources.Source.of(given)
