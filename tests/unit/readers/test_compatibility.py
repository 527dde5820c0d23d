"""What AWS's XGBoost image accepts as data, and where it goes wrong: every content type by every kind of file.

Each line of the tables is a file as users have them, and the numbers that it has to become.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from treering.errors import UserError
from treering.readers.formats import reader_for
from treering.readers.roles import Roles

if TYPE_CHECKING:
    from unit.readers.conftest import ReadAll, Write

_NAN = float("nan")
_CSV = ("csv", "text/csv", "TEXT/CSV", "text/csv; label_size=1", "Text/Csv;charset=utf-8")
_LIBSVM = (None, "", "libsvm", "text/libsvm", "text/x-libsvm", "TEXT/LIBSVM")
_PARQUET = ("parquet", "application/x-parquet", "Application/X-Parquet")


@dataclasses.dataclass(frozen=True)
class Expected:
    """Rows in order; NaN is missing."""

    label: list[float]
    features: list[list[float]]
    weight: list[float] | None = None
    group: list[int] | None = None
    names: tuple[str, ...] | None = None


def _parquet(columns: dict[str, Any], **options: Any) -> bytes:
    made = io.BytesIO()
    parquet.write_table(pa.table(columns), made, **options)
    return made.getvalue()


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


_PLAIN = Expected([1, 0], [[2, 3], [4, 5]])
_GAPS = Expected([1, 0], [[_NAN, 3], [4, _NAN]])
_CSV_FILES: dict[str, tuple[bytes, Expected]] = {
    "plain": (b"1,2,3\n0,4,5\n", _PLAIN),
    "without a last newline": (b"1,2,3\n0,4,5", _PLAIN),
    "Windows line ends": (b"1,2,3\r\n0,4,5\r\n", _PLAIN),
    "byte order mark": (b"\xef\xbb\xbf1,2,3\n0,4,5\n", _PLAIN),
    "blank lines": (b"\n1,2,3\n\n  \n0,4,5\n\n", _PLAIN),
    "spaces": (b"1, 2, 3\n0, 4 ,5 \n", _PLAIN),
    "quoted numbers": (b'"1","2","3"\n"0",4,"5"\n', _PLAIN),
    "newline in quotes": (b'1,"2\n",3\n0,4,5\n', _PLAIN),
    "scientific notation": (b"1e0,2.0E+0,.3e1\n0,4.,5e-0\n", _PLAIN),
    "semicolons": (b"1;2;3\n0;4;5\n", _PLAIN),
    "tabs": (b"1\t2\t3\n0\t4\t5\n", _PLAIN),
    "bars": (b"1|2|3\n0|4|5\n", _PLAIN),
    "blanks between": (b"1 2 3\n0 4 5\n", _PLAIN),
    "gzip": (gzip.compress(b"1,2,3\n0,4,5\n"), _PLAIN),
    "gzip of two members": (gzip.compress(b"1,2,3\n0") + gzip.compress(b",4,5\n"), _PLAIN),
    "Zstandard": (_zstd(b"1,2,3\n0,4,5\n"), _PLAIN),
    "empty cells": (b"1,,3\n0,4,\n", _GAPS),
    "quoted empty cells": (b'1,"",3\n0,4,""\n', _GAPS),
    "spelled missing": (b"1,NA,3\n0,4,nan\n", _GAPS),
    "null and question mark": (b"1,null,3\n0,4,?\n", _GAPS),
    "one row": (b"1,2,3\n", Expected([1], [[2, 3]])),
    "one feature": (b"1,2\n0,4\n", Expected([1, 0], [[2], [4]])),
    "zeros are values": (b"0,0,0\n0,0,0\n", Expected([0, 0], [[0, 0], [0, 0]])),
    "no byte": (b"", Expected([], [])),
    "blank lines alone": (b"\n\r\n \n", Expected([], [])),
}
_LIBSVM_PLAIN = Expected([1, 0], [[_NAN, 2, 3], [_NAN, 4, 5]])
_LIBSVM_FILES: dict[str, tuple[bytes, Expected]] = {
    "plain": (b"1 1:2 2:3\n0 1:4 2:5\n", _LIBSVM_PLAIN),
    "from 0": (b"1 0:2 1:3\n0 0:4 1:5\n", _PLAIN),
    "trailing spaces": (b"1 1:2 2:3 \n0 1:4 2:5  \n", _LIBSVM_PLAIN),
    "double spaces": (b"1  1:2  2:3\n0   1:4 2:5\n", _LIBSVM_PLAIN),
    "tabs": (b"1\t1:2\t2:3\n0\t1:4\t2:5\n", _LIBSVM_PLAIN),
    "leading spaces": (b"  1 1:2 2:3\n\t0 1:4 2:5\n", _LIBSVM_PLAIN),
    "comments": (b"# made by hand\n1 1:2 2:3 # first\n0 1:4 2:5#second\n", _LIBSVM_PLAIN),
    "Windows line ends": (b"1 1:2 2:3\r\n0 1:4 2:5\r\n", _LIBSVM_PLAIN),
    "byte order mark": (b"\xef\xbb\xbf1 1:2 2:3\n0 1:4 2:5\n", _LIBSVM_PLAIN),
    "blank lines": (b"\n1 1:2 2:3\n\n0 1:4 2:5\n\n", _LIBSVM_PLAIN),
    "without a last newline": (b"1 1:2 2:3\n0 1:4 2:5", _LIBSVM_PLAIN),
    "any order of indices": (b"1 2:3 1:2\n0 1:4 2:5\n", _LIBSVM_PLAIN),
    "plus signs": (b"+1 1:+2 2:3e0\n-0 1:4 2:5\n", _LIBSVM_PLAIN),
    "gzip": (gzip.compress(b"1 1:2 2:3\n0 1:4 2:5\n"), _LIBSVM_PLAIN),
    "Zstandard": (_zstd(b"1 1:2 2:3\n0 1:4 2:5\n"), _LIBSVM_PLAIN),
    "weights": (
        b"1:0.5 0:2 1:3\n0:2 0:4 1:5\n",
        Expected([1, 0], [[2, 3], [4, 5]], weight=[0.5, 2]),
    ),
    "queries": (
        b"1 qid:3 0:2 1:3\n0 qid:9223372036854775807 0:4 1:5\n",
        Expected([1, 0], [[2, 3], [4, 5]], group=[3, 2**63 - 1]),
    ),
    "weights and queries": (
        b"1:2  qid:3\t0:2 1:3 # a\r\n0:1 qid:3 0:4 1:5\n",
        Expected([1, 0], [[2, 3], [4, 5]], weight=[2, 1], group=[3, 3]),
    ),
    "a row without values": (b"1\n0 1:5\n", Expected([1, 0], [[_NAN, _NAN], [_NAN, 5]])),
    "zeros are values": (b"1 0:0\n0 0:4\n", Expected([1, 0], [[0], [4]])),
    "no byte": (b"", Expected([], [])),
    "comments alone": (b"# nothing\n\n#\n", Expected([], [])),
}
_COLUMNS = {"y": [1.0, 0.0], "a": [2.0, 4.0], "b": [3.0, 5.0]}
_PARQUET_PLAIN = dataclasses.replace(_PLAIN, names=("a", "b"))
_PARQUET_FILES: dict[str, tuple[bytes, Expected]] = {
    "plain": (_parquet(_COLUMNS), _PARQUET_PLAIN),
    "row groups": (_parquet(_COLUMNS, row_group_size=1), _PARQUET_PLAIN),
    "gzip inside": (_parquet(_COLUMNS, compression="gzip"), _PARQUET_PLAIN),
    "zstd inside": (_parquet(_COLUMNS, compression="zstd"), _PARQUET_PLAIN),
    "integers": (_parquet({name: pa.array(map(int, v)) for name, v in _COLUMNS.items()}), _PARQUET_PLAIN),
    "nulls": (
        _parquet({"y": [1, 0], "a": [None, 4.0], "b": [3.0, None]}),
        dataclasses.replace(_GAPS, names=("a", "b")),
    ),
    "booleans": (
        _parquet({"y": [True, False], "a": [2.0, 4.0], "b": [3.0, 5.0]}),
        _PARQUET_PLAIN,
    ),
    "categories": (
        _parquet({"y": [1, 0], "kind": ["v", "u"]}),
        Expected([1, 0], [[0], [1]], names=("kind",)),
    ),
    "no row": (
        _parquet({"y": pa.array([], pa.float64()), "a": pa.array([], pa.float64())}),
        Expected([], []),
    ),
    "no byte": (b"", Expected([], [])),
}
_TABLE = [
    pytest.param(content_type, data, expected, id=f"{content_type}-{kind}")
    for types, files in ((_CSV, _CSV_FILES), (_LIBSVM, _LIBSVM_FILES), (_PARQUET, _PARQUET_FILES))
    for content_type in types
    for kind, (data, expected) in files.items()
]


@pytest.mark.parametrize(("content_type", "data", "expected"), _TABLE)
def test_every_file_becomes_the_expected_rows(
    write: Write, read_all: ReadAll, content_type: str | None, data: bytes, expected: Expected
) -> None:
    """Shape, values, weights, queries and names, cut or not."""
    file = write(data)
    for targets in ([], [1]) if len(data) > 1 else ([],):
        reader = reader_for(content_type, [file.name])
        got = read_all(reader, file, [target for target in targets if target < reader.extent(file)])
        rows = len(expected.label)
        assert got.features.shape == (rows, len(expected.features[0]) if rows else got.features.shape[1])
        np.testing.assert_array_equal(got.label, np.array(expected.label, np.float32))
        if rows:
            np.testing.assert_array_equal(got.features, np.array(expected.features, np.float32))
            assert reader.columns(file).names == expected.names
        assert _listed(got.weight) == expected.weight
        assert _listed(got.group) == expected.group


def _listed(values: Any) -> list[Any] | None:
    return None if values is None else values.tolist()


@pytest.mark.parametrize(
    ("content_type", "options", "data", "expected"),
    [
        pytest.param(
            "text/csv",
            {"csv_weights": True},
            b"1,0.5,2,3\n0,2,4,5\n",
            dataclasses.replace(_PLAIN, weight=[0.5, 2]),
            id="csv_weights",
        ),
        pytest.param(
            "text/csv;header=true",
            {},
            b"y,a,b\n1,2,3\n0,4,5\n",
            dataclasses.replace(_PLAIN, names=("a", "b")),
            id="header",
        ),
        pytest.param(
            "text/csv;header=true",
            {"csv_weights": True},
            gzip.compress(b"y,w,a,b\r\n1,0.5,2,3\r\n0,2,4,5"),
            dataclasses.replace(_PLAIN, weight=[0.5, 2], names=("a", "b")),
            id="header and weights in gzip",
        ),
        pytest.param(
            "text/csv;header=true",
            {"roles": Roles(label="y", weight="w", group="q")},
            b"a,q,y,w,b\n2,8,1,0.5,3\n4,8,0,2,5\n",
            dataclasses.replace(_PLAIN, weight=[0.5, 2], group=[8, 8], names=("a", "b")),
            id="columns by name in CSV",
        ),
        pytest.param(
            "text/csv",
            {"roles": Roles(label="2", weight="3", group="1")},
            b"2,8,1,0.5,3\n4,8,0,2,5\n",
            dataclasses.replace(_PLAIN, weight=[0.5, 2], group=[8, 8]),
            id="columns by number in CSV",
        ),
        pytest.param(
            "application/x-parquet",
            {"roles": Roles(label="y", weight="w", group="q")},
            _parquet({"a": [2.0, 4.0], "w": [0.5, 2], "q": [8, 9], "b": [3, 5], "y": [1, 0]}),
            dataclasses.replace(_PLAIN, weight=[0.5, 2], group=[8, 9], names=("a", "b")),
            id="columns by name in Parquet",
        ),
    ],
)
def test_options_say_what_columns_are(
    write: Write,
    read_all: ReadAll,
    content_type: str,
    options: dict[str, Any],
    data: bytes,
    expected: Expected,
) -> None:
    """Weights, headers and columns by role."""
    file = write(data)
    reader = reader_for(content_type, [file.name], **options)
    got = read_all(reader, file)
    np.testing.assert_array_equal(got.label, np.array(expected.label, np.float32))
    np.testing.assert_array_equal(got.features, np.array(expected.features, np.float32))
    assert (_listed(got.weight), _listed(got.group)) == (expected.weight, expected.group)
    assert reader.columns(file).names == expected.names


@pytest.mark.parametrize(
    ("content_type", "data", "saying"),
    [
        ("text/csv", b"age,income,kind\n1,2,3\n0,4,5\n", "train, line 1: this looks like a header"),
        ("text/csv", b"1,2,red\n0,4,blue\n", "train, line 1, column 3: 'red' is not a number"),
        ("text/csv", b"1,2,3\n0,4\n", "train, line 2: 2 columns where the file's first row has 3"),
        ("text/csv", b"1,2,3\n,4,5\n", "train, line 2, column 1: the label has to be a finite number"),
        ("text/csv", b"1 1:2 2:3\n0 1:4 2:5\n", "train, line 1: this looks like LIBSVM"),
        ("text/csv", _parquet(_COLUMNS), "train is a Parquet file; set the channel's content type"),
        ("text/csv", "1,2,3\n".encode("utf-16"), "train is not a text file"),
        ("text/csv;header=true", b"y,a,a\n1,2,3\n", "train, line 1: the name 'a' stands 2 times"),
        ("libsvm", b"1,2,3\n0,4,5\n", "train, line 1: '1,2,3' looks like CSV, not LIBSVM"),
        ("libsvm", b"1 1:2 1:3\n", "train, line 1: index 1 stands twice in this row"),
        ("libsvm", b"1 a:2\n", "train, line 1: 'a:2' has no valid index"),
        ("libsvm", b"1 1:two\n", "train, line 1: a feature has to be finite"),
        ("libsvm", b"1 qid:1 1:2\n0 1:4\n", "train, line 2: this row has no qid"),
        ("libsvm", b"1:-1 1:2\n", "train, line 1: a weight has to be"),
        ("libsvm", _parquet(_COLUMNS), "train is a Parquet file; set the channel's content type"),
        ("parquet", b"1,2,3\n", "train is no valid Parquet file"),
        ("parquet", _parquet({"y": [1], "a": [[1, 2]]}), "train, column 'a' is nested"),
        ("parquet", _parquet({"y": ["spam", "ham"], "a": [1, 2]}), "train, column 'y' holds categories"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(
    write: Write, read_all: ReadAll, content_type: str, data: bytes, saying: str
) -> None:
    """Never a row of missing values, never a traceback."""
    file = write(data)
    with pytest.raises(UserError) as caught:
        read_all(reader_for(content_type, [file.name]), file)
    assert str(caught.value).startswith(saying)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "data"),
    [
        (["a.csv", "deep/b.csv.gz", "c.CSV.zst"], b"1,2,3\n"),
        (["a.tsv.gz"], b"1\t2\t3\n"),
        (["part-0", "abalone.train_0"], b"1 0:2 1:3\n"),
        (["a.svm.gz", "b.libsvm"], b"1 0:2 1:3\n"),
        (["a.gz"], b"1 0:2 1:3\n"),
        (["a.snappy.parquet", "b.pq"], _parquet({"y": [1], "a": [2], "b": [3]})),
    ],
)
def test_without_a_content_type_names_decide(
    write: Write, read_all: ReadAll, names: list[str], data: bytes
) -> None:
    """Also when they end with how the file is compressed; without a telling name it is LIBSVM, as in AWS's image."""
    got = read_all(reader_for(None, names), write(data))
    assert got.features.tolist() == [[2, 3]]


@pytest.mark.parametrize("content_type", ["recordio-protobuf", "application/x-recordio-protobuf"])
def test_recordio_is_told_apart_from_a_misspelt_type(content_type: str) -> None:
    """What AWS's image takes and this one does not yet has a sentence of its own."""
    with pytest.raises(UserError, match=r"is not supported yet; convert the data to Parquet"):
        reader_for(content_type, ["a"])
