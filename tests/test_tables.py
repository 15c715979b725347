"""Tables by column name: written by pandas, by hand and by others, read by jlstm."""

import datetime
import sys

import h5netcdf
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from jlstm.dataset.files import read_table
from jlstm.dataset.tables import (
    choose,
    from_frame,
    is_frame,
    is_missing,
    numbers,
    words,
)
from jlstm.errors import Ambiguous, InputError


@pytest.fixture
def frame(rng):
    return pd.DataFrame(rng.normal(size=(6, 4)), columns=["rain", "T air", "x,y", "q"])


def column(table, name):
    return numbers(table, table.names.index(name))


@pytest.mark.parametrize(
    ("suffix", "mark"), [(".csv", ","), (".csv", ";"), (".tsv", "\t"), (".txt", "\t")]
)
def test_columns_of_text_are_those_that_pandas_wrote(tmp_path, frame, suffix, mark):
    path = tmp_path / f"table{suffix}"
    frame.to_csv(path, sep=mark, index=False)
    table = read_table(path)
    assert table.names == tuple(frame.columns)
    for name in frame:
        assert np.array_equal(column(table, name), frame[name].to_numpy())


def test_separators_in_quotes_separate_nothing(tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('"level; m","flow, l/s"\n1,2\n')
    assert read_table(path).names == ("level; m", "flow, l/s")


def test_blanks_separate_where_nothing_else_does(tmp_path, frame):
    path = tmp_path / "table.txt"
    frame.columns = ["a", "b", "c", "d"]
    path.write_text(frame.to_string(index=False, float_format=lambda v: repr(float(v))))
    table = read_table(path)
    assert np.array_equal(column(table, "c"), frame["c"].to_numpy())


def test_missing_cells_keep_their_steps(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("\ufeffa,b\n1,2\n\n,NA\n3, null \n,\nnan,4\n", "utf-8")
    table = read_table(path)
    np.testing.assert_array_equal(column(table, "a"), [1, np.nan, 3, np.nan, np.nan])
    np.testing.assert_array_equal(column(table, "b"), [2, np.nan, np.nan, np.nan, 4])
    # Line 3 is blank and no step.
    assert table.place(1, 0) == "line 4, column 'a'"
    assert table.place(4, 1) == "line 7, column 'b'"


def test_one_column(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("y\n1\n2\n")
    assert np.array_equal(column(read_table(path), "y"), [1, 2])


def test_without_a_heading_columns_go_by_number(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("0.5,2,up\n3,4,down\n")
    table = read_table(path)
    assert table.names == ("1", "2", "3") and not table.headed
    assert np.array_equal(column(table, "2"), [2, 4])
    assert words(table, 2).tolist() == ["up", "down"]
    assert choose(table, ["2"], ["1"], 1, [1]) == ([1], [0])
    assert table.place(0, 1) == "line 1, column '2'"
    with pytest.raises(InputError, match="no column '4'") as caught:
        choose(table, ["4"], ["1"], 1, [1])
    assert caught.value.do is None


def test_with_a_heading_columns_do_not_go_by_number(tmp_path):
    path = tmp_path / "headed.csv"
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(InputError, match="no column '2'") as caught:
        choose(read_table(path), ["2"], ["c"], 1, [1])
    assert "without a heading" in caught.value.do
    assert caught.value.found == "a, b, c"


@pytest.mark.parametrize("line", ["0,1,2", "1,2,3"])
def test_numbers_of_columns_are_not_taken_for_numbers(tmp_path, line):
    path = tmp_path / "counted.csv"
    path.write_text(f"{line}\n5,6,7\n")
    with pytest.raises(Ambiguous, match="first line"):
        read_table(path)
    path.write_text("0,1\n5,6\n")
    assert np.array_equal(column(read_table(path), "1"), [0, 5])


@pytest.mark.parametrize(
    ("cell", "summary", "do"),
    [
        ("high", "text", "data.inputs"),
        ("2024-02-29", "a date", "data.inputs"),
        ("12:30", "a date", "data.inputs"),
        ("1_000", "text", "data.inputs"),
        ('"1,5"', "text", "decimal points"),
    ],
)
def test_text_and_dates_are_refused_by_name(tmp_path, cell, summary, do):
    path = tmp_path / "words.csv"
    path.write_text(f"a,b\n1,2\n3,{cell}\n")
    table = read_table(path)
    assert np.array_equal(column(table, "a"), [1, 3])
    with pytest.raises(InputError, match=f"{summary} in a column") as caught:
        column(table, "b")
    assert caught.value.file == str(path)
    assert caught.value.place == "line 3, column 'b'"
    assert cell.strip('"') in caught.value.found and do in caught.value.do


def test_a_heading_with_a_number_in_it_is_none(tmp_path):
    path = tmp_path / "half.csv"
    path.write_text("time,1\n3,4\n")
    table = read_table(path)
    with pytest.raises(InputError, match="text") as caught:
        column(table, "1")
    assert "heading" in caught.value.do


def test_lines_of_other_lengths_are_refused(tmp_path):
    path = tmp_path / "ragged.csv"
    path.write_text("a,b\n1,2\n\n3\n")
    with pytest.raises(InputError, match="not a table") as caught:
        read_table(path)
    assert caught.value.place == "line 4"
    for text, message in (("", "empty"), ("a,b\n", "only a heading")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_table(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text table"):
        read_table(path)
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no kind of table"):
        read_table(tmp_path / "image.png")


# --- which columns --------------------------------------------------------------------


def test_the_last_columns_are_the_targets(frame):
    table = from_frame(frame, "table")
    assert choose(table, [], [], 3, [1]) == ([0, 1, 2], [3])
    assert choose(table, [], [], 1, [3]) == ([0], [1, 2, 3])
    assert choose(table, [], [], 3, [2, 1]) == ([0, 1, 2], [3])


def test_named_columns_are_in_the_order_named(frame):
    table = from_frame(frame, "table")
    assert choose(table, ["x,y", "rain"], ["T air"], 2, [1]) == ([2, 0], [1])
    # The rest, in the order of the table, where one kind is not named.
    assert choose(table, [], ["T air"], 3, [1]) == ([0, 2, 3], [1])
    assert choose(table, ["q", "rain"], [], 2, [2]) == ([3, 0], [1, 2])
    # The same column may be both where it is said so: an autoencoder.
    assert choose(table, ["q"], ["q"], 1, [1]) == ([3], [3])


@pytest.mark.parametrize(
    ("inputs", "targets", "width", "count"),
    [
        ([], [], 2, 1),  # a column too many
        ([], [], 4, 1),  # one too few
        ([], [], 4, 4),  # all of them twice
        ([], ["q"], 2, 1),
        (["q"], [], 1, 2),
        (["q", "rain"], ["x,y"], 1, 1),
        (["q"], ["rain", "x,y"], 1, 1),
    ],
)
def test_columns_are_not_guessed(frame, inputs, targets, width, count):
    with pytest.raises(InputError, match="do not fit the network") as caught:
        choose(from_frame(frame, "table"), inputs, targets, width, [count])
    assert caught.value.found == "4 columns: rain, T air, x,y, q"
    assert caught.value.expected == f"{width} inputs and {count} targets"
    assert "data.inputs and data.targets" in caught.value.do


def test_names_must_be_of_one_column(frame):
    table = from_frame(frame, "table")
    with pytest.raises(InputError, match="no column 'Rain'"):
        choose(table, ["Rain"], ["q"], 1, [1])
    with pytest.raises(InputError, match="a column twice"):
        choose(table, ["q", "q"], ["rain"], 2, [1])
    with pytest.raises(InputError, match="2 columns are called 'q'"):
        choose(table._replace(names=("q", "a", "b", "q")), ["q"], ["a"], 1, [1])


def test_many_columns_are_listed_in_part():
    table = from_frame(pd.DataFrame(np.zeros((1, 40))), "wide")
    assert table.listed().endswith(", 28, 29 and 10 more")


# --- data frames ----------------------------------------------------------------------


def test_frames_of_several_dtypes():
    frame = pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "real": np.array([0.5, np.nan, 2], "f4"),
            "flag": [True, False, True],
            "nullable": pd.array([1, None, 3], "Int64"),
            "kind": pd.Categorical(["a", "b", None]),
            "when": pd.date_range("2024-01-01", periods=3),
        },
        index=[7, 8, 9],
    )
    assert is_frame(frame) and not is_frame(np.zeros(3))
    table = from_frame(frame, "table 1")
    for name, expected in (
        ("whole", [1, 2, 3]),
        ("real", [0.5, np.nan, 2]),
        ("flag", [1, 0, 1]),
        ("nullable", [1, np.nan, 3]),
    ):
        np.testing.assert_array_equal(column(table, name), expected)
    assert words(table, 4).tolist()[:2] == ["a", "b"] and is_missing(words(table, 4)[2])
    for name, found in (("kind", "'a'"), ("when", "2024-01-01")):
        with pytest.raises(InputError, match="a column that should") as caught:
            column(table, name)
        assert caught.value.place == f"row 1, column '{name}'"
        assert found in caught.value.found


def test_a_frame_of_dates_alone():
    frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=3)})
    for read in (numbers, words):
        with pytest.raises(InputError, match="a column of dates"):
            read(from_frame(frame, "table 1"), 0)


def test_anything_with_columns_and_numbers_is_a_frame(rng):
    values = rng.normal(size=(5, 2))

    class Frame:
        columns = ("u", "y")

        def to_numpy(self):
            return values

    table = from_frame(Frame(), "table")
    assert np.array_equal(column(table, "y"), values[:, 1])
    with pytest.raises(InputError, match="a list in a column"):
        odd = np.array([[1, None]], object)
        odd[0, 1] = [3]
        values = odd
        column(from_frame(Frame(), "table"), "y")


# --- Parquet and netCDF ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "library", "extra"),
    [(".parquet", "pyarrow", "parquet"), (".nc", "h5netcdf", "netcdf")],
)
def test_what_to_install(tmp_path, monkeypatch, suffix, library, extra):
    path = tmp_path / f"table{suffix}"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"needs {library}") as caught:
        read_table(path)
    assert f"jlstm[{extra}]" in caught.value.do


def test_parquet(tmp_path, rng):
    path = tmp_path / "table.parquet"
    x = rng.normal(size=5)
    day = datetime.date(2024, 2, 29)
    columns = {
        "u": pa.array(x),
        "n": pa.array([1, None, 3, 4, 5]),
        "s": pa.array(["a", "b", "a", None, "b"]).dictionary_encode(),
        "d": pa.array([day] * 5),
        "__index_level_0__": pa.array(range(5)),
    }
    parquet.write_table(pa.table(columns), path)
    table = read_table(path)
    assert table.names == ("u", "n", "s", "d")
    assert np.array_equal(column(table, "u"), x)
    np.testing.assert_array_equal(column(table, "n"), [1, np.nan, 3, 4, 5])
    assert words(table, 2).tolist() == ["a", "b", "a", None, "b"]
    with pytest.raises(InputError, match="dates"):
        column(table, "d")
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_table(path)


def test_netcdf(tmp_path, rng):
    path = tmp_path / "table.nc"
    x = rng.normal(size=6)
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"time": 6, "gauge": 2}
        file.create_variable("time", ("time",), data=np.arange(6))
        file.create_variable("area", ("gauge",), data=np.ones(2))
        file.create_variable("map", ("time", "gauge"), data=np.ones((6, 2)))
        file.create_variable("u", ("time",), data=x)
        raw = np.array([10, 20, -9, 40, 50, 60], "i2")
        packed = file.create_variable("q", ("time",), data=raw, fillvalue=-9)
        packed.attrs["scale_factor"], packed.attrs["add_offset"] = 0.5, 1.0
        gap = x.astype("f4")
        gap[3] = 9.969209968386869e36
        file.create_variable("gap", ("time",), data=gap)
        when = file.create_variable("when", ("time",), data=np.arange(6.0))
        when.attrs["units"] = "days since 2000-01-01"
    table = read_table(path)
    assert set(table.names) == {"u", "q", "gap", "when"}
    assert np.array_equal(column(table, "u"), x)
    np.testing.assert_array_equal(column(table, "q"), [6, 11, np.nan, 21, 26, 31])
    assert np.flatnonzero(np.isnan(column(table, "gap"))).tolist() == [3]
    with pytest.raises(InputError, match="dates"):
        column(table, "when")
    path.write_bytes(b"CDF\x01")
    with pytest.raises(InputError, match="not a netCDF-4 file"):
        read_table(path)
