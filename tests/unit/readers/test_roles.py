"""Columns by role: the same in CSV with and without a header and in Parquet, and told where they are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from treering.errors import UserError
from treering.readers.batch import Span
from treering.readers.csv import CsvReader
from treering.readers.formats import reader_for
from treering.readers.groups import group_of
from treering.readers.parquet import ParquetReader
from treering.readers.roles import Parts, Roles, assign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from unit.readers.conftest import ReadAll, Write

    from treering.readers.batch import Batch, File, Reader

_NAMES = ("f0", "y", "q", "w", "f1", "up", "m0", "f2", "m1")
_BY_NAME = Roles(label="y", label_upper="up", weight="w", group="q", base_margin="m0, m1")
_BY_NUMBER = Roles(label=1, label_upper="5", weight=3, group="2", base_margin="6,8")


def _table(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """One column for each of `_NAMES`; groups and bounds are what they have to be."""
    table = rng.normal(size=(rows, len(_NAMES))).astype(np.float32).astype(np.float64)
    table[:, 2] = np.sort(rng.integers(0, 4, rows))
    table[:, 3] = np.abs(table[:, 3])
    table[:, 5] = np.where(rng.random(rows) < 0.3, np.inf, table[:, 1] + np.abs(table[:, 5]))
    return table.astype(np.float32).astype(np.float64)


def _write_csv(write: Write, table: NDArray[np.float64], ids: list[str], *, header: bool) -> File:
    lines = [",".join(_NAMES)] * header
    for row, group in zip(table.tolist(), ids, strict=True):
        cells = [repr(value) for value in row]
        cells[2] = group
        lines.append(",".join(cells))
    return write("\n".join(lines) + "\n", "train.csv")


def _write_parquet(write: Write, folder: Path, table: NDArray[np.float64], ids: list[str]) -> File:
    columns: dict[str, Any] = {name: table[:, place] for place, name in enumerate(_NAMES)}
    parquet.write_table(pa.table(columns | {"q": ids}), folder / "made", row_group_size=7)
    return write((folder / "made").read_bytes(), "train.parquet")


@pytest.mark.parametrize("ids", ["7", "text"])
@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("text/csv", _BY_NUMBER),
        ("text/csv;header=true", _BY_NAME),
        ("text/csv;header=true", _BY_NUMBER),
        ("parquet", _BY_NAME),
        ("parquet", _BY_NUMBER),
    ],
)
def test_every_role_is_read(
    rng: np.random.Generator, write: Write, tmp_path: Path, kind: str, roles: Roles, ids: str
) -> None:
    """Label, bounds, weight, query and margins come from their columns, the features from the others in order."""
    table = _table(rng, 40)
    texts = [f"{'q' * (ids == 'text')}{int(group)}" for group in table[:, 2]]
    file = (
        _write_parquet(write, tmp_path, table, texts)
        if kind == "parquet"
        else _write_csv(write, table, texts, header="header" in kind)
    )
    reader = reader_for(kind, [file.name], roles=roles)
    assert reader.columns(file).count == 3
    assert reader.columns(file).names in (None, ("f0", "f1", "f2"))
    batches = list(reader.read(_all(reader, file)))
    exact = table.astype(np.float32)

    def joined(field: str) -> NDArray[Any]:
        return np.concatenate([getattr(batch, field) for batch in batches])

    np.testing.assert_array_equal(joined("features"), exact[:, [0, 4, 7]])
    np.testing.assert_array_equal(joined("label"), exact[:, 1])
    np.testing.assert_array_equal(joined("label_upper"), exact[:, 5])
    np.testing.assert_array_equal(joined("weight"), exact[:, 3])
    np.testing.assert_array_equal(joined("base_margin"), exact[:, [6, 8]])
    assert joined("group").tolist() == [group_of(text) for text in texts]
    for batch in batches:
        assert isinstance(batch.features, np.ndarray)
        assert batch.features.flags.f_contiguous


def _all(reader: Reader, file: File) -> Span:
    return Span(file, 0, reader.extent(file))


def _one(reader: Reader, file: File) -> Batch:
    (batch,) = reader.read(_all(reader, file))
    return batch


def test_one_margin_is_one_dimensional(write: Write) -> None:
    """As XGBoost expects it for a single output."""
    batch = _one(CsvReader(roles=Roles(base_margin=2)), write("1,2,3\n4,5,6\n"))
    assert batch.base_margin is not None
    assert batch.base_margin.tolist() == [3, 6]


@pytest.mark.parametrize("text", ["inf", "Infinity", "", "NA"])
def test_a_bound_that_is_not_known_is_infinite(write: Write, text: str) -> None:
    """Right-censored rows have a label and no end, however that is written."""
    batch = _one(CsvReader(roles=Roles(label_upper=1)), write(f"1,2,5\n3,{text},6\n"))
    assert batch.label_upper is not None
    assert batch.label_upper.tolist() == [2, np.inf]


def test_without_roles_there_is_only_a_label(write: Write) -> None:
    """The first column; nothing else is anything but a feature."""
    batch = _one(CsvReader(), write("1,2,3\n"))
    others = (batch.weight, batch.group, batch.label_upper, batch.base_margin)
    assert (batch.label.tolist(), others) == ([1], (None, None, None, None))


def test_the_label_is_the_first_column_that_is_free() -> None:
    """Naming another column for the weight moves the label only if it has to."""
    assert assign(Roles(weight=2), 4, None, "f").label == 0
    assert assign(Roles(weight=0), 4, None, "f") == Parts(1, (2, 3), weight=0)


def test_a_number_that_is_a_name_is_the_name() -> None:
    """A header may consist of numbers; an integer stays a position."""
    names = ("2", "1", "0")
    assert assign(Roles(label="0"), 3, names, "f").label == 2
    assert assign(Roles(label=0), 3, names, "f").label == 0
    assert assign(Roles(base_margin="a,b"), 3, ("y", "a,b", "x"), "f").base_margin == (1,)


def test_csv_weights_and_a_weight_column_go_together_or_not(write: Write) -> None:
    """csv_weights=1 is column 1 beside any other role, and contradicts another column for the weight."""
    reader = reader_for("csv", ["a"], csv_weights=True, roles=Roles(label="2"))
    batch = _one(reader, write("5,1,3,7\n"))
    assert batch.weight is not None
    assert (batch.label.tolist(), batch.weight.tolist()) == ([3], [1])
    np.testing.assert_array_equal(batch.features, np.array([[5, 7]], np.float32))
    reader_for("csv", ["a"], csv_weights=True, roles=Roles(weight="1"))
    with pytest.raises(
        UserError, match=r"^csv_weights=1 takes the weight from column 1, but weight_column=w "
    ):
        reader_for("csv", ["a"], csv_weights=True, roles=Roles(weight="w"))


def test_libsvm_has_no_columns_to_name() -> None:
    """Its rows say what is what, so asking for a column is a mistake that is told."""
    with pytest.raises(UserError, match=r"^label_column, group_column cannot be used with LIBSVM"):
        reader_for("text/libsvm", ["a"], roles=Roles(label=1, group="q"))


@pytest.mark.parametrize(
    ("roles", "names", "saying"),
    [
        (Roles(label="w"), None, "f has no header, so column 'w' for the label cannot be found"),
        (Roles(weight=3), None, "f has no column 3 for the weight; its 3 columns are numbered from 0"),
        (Roles(group="9"), ("a", "b", "c"), "f has no column 9 for the query group; its 3 columns"),
        (
            Roles(label="pric"),
            ("id", "price", "area"),
            "f has no column 'pric' for the label (did you mean price?); its columns are id, price, area",
        ),
        (
            Roles(label_upper="hi"),
            ("a", "b", "c"),
            "f has no column 'hi' for the label's upper bound; its columns are a, b, c",
        ),
        (
            Roles(label=1, weight="b"),
            ("a", "b", "c"),
            "f: column 'b' cannot be the label and the weight; correct label_column or weight_column",
        ),
        (
            Roles(label=0, base_margin="1,1"),
            None,
            "f: column 1 cannot be the base margin and the base margin",
        ),
        (Roles(base_margin="a, x"), ("y", "a", "z"), "f has no column 'x' for the base margin"),
        (Roles(weight="a"), ("a", "a", "b"), "f: several columns are named 'a'"),
        (Roles(label=0, weight=1, group=2), None, "f has no feature column"),
    ],
)
def test_a_column_that_cannot_play_its_part_is_told(
    roles: Roles, names: tuple[str, ...] | None, saying: str
) -> None:
    """One sentence with the file, the role, and what there is."""
    with pytest.raises(UserError) as caught:
        assign(roles, 3, names, "f")
    assert str(caught.value).startswith(saying)


_BAD = [
    ("y", "inf", "the label has to be a finite number"),
    ("up", "-inf", "the upper bound of a label cannot be -inf"),
    ("up", "-99", "the upper bound of a label has to be no less than the label itself"),
    ("w", "-1", "a weight has to be a finite number"),
    ("m1", "", "a base margin has to be a finite number"),
    ("m0", "inf", "a base margin has to be a finite number"),
    ("q", "", "the query group has to be given"),
    ("f1", "inf", "a feature has to be finite"),
]


@pytest.mark.parametrize(("column", "value", "saying"), _BAD)
@pytest.mark.parametrize("header", [False, True])
def test_a_value_against_its_role_is_named_in_csv(
    rng: np.random.Generator,
    write: Write,
    read_all: ReadAll,
    column: str,
    value: str,
    saying: str,
    *,
    header: bool,
) -> None:
    """File, line and column, the latter by its name if it has one."""
    table = _table(rng, 30)
    file = _write_csv(write, table, ["q"] * 30, header=header)
    lines = file.path.read_text().splitlines()
    cells = lines[20 + header].split(",")
    place = _NAMES.index(column)
    cells[place] = value
    lines[20 + header] = ",".join(cells)
    bad = write("\n".join(lines), "bad.csv")
    reader = CsvReader(header=header, roles=_BY_NUMBER)
    named = f"column {place + 1} ('{column}')" if header else f"column {place + 1}"
    with pytest.raises(UserError) as caught:
        read_all(reader, bad, [int(rng.integers(bad.size))])
    assert str(caught.value).startswith(f"bad.csv, line {21 + header}, {named}: {saying}")


@pytest.mark.parametrize(("column", "value", "saying"), _BAD)
def test_a_value_against_its_role_is_named_in_parquet(
    rng: np.random.Generator,
    write: Write,
    read_all: ReadAll,
    tmp_path: Path,
    column: str,
    value: str,
    saying: str,
) -> None:
    """File, row and column."""
    table = _table(rng, 30)
    columns: dict[str, Any] = {name: table[:, place] for place, name in enumerate(_NAMES)}
    bad = [None if value == "" else float(value)]
    columns[column] = [*columns[column][:20].tolist(), *bad, *columns[column][21:].tolist()]
    parquet.write_table(pa.table(columns), tmp_path / "made", row_group_size=7)
    file = write((tmp_path / "made").read_bytes(), "bad.parquet")
    with pytest.raises(UserError) as caught:
        read_all(ParquetReader(roles=_BY_NAME), file, [int(rng.integers(30))])
    assert str(caught.value).startswith(f"bad.parquet, row 21, column {column!r}: {saying}")


@pytest.mark.parametrize("role", ["label_upper", "base_margin"])
def test_categories_where_a_number_has_to_be_are_refused(write: Write, tmp_path: Path, role: str) -> None:
    """Only features and query groups may be text."""
    parquet.write_table(pa.table({"y": [1.0], "a": [2.0], "t": ["x"]}), tmp_path / "made")
    file = write((tmp_path / "made").read_bytes(), "train.parquet")
    roles: dict[str, Any] = {role: "t"}
    with pytest.raises(
        UserError, match=r"column 't' holds categories, but the .* has to be a number; write "
    ):
        ParquetReader(roles=Roles(**roles)).columns(file)


def test_the_careful_look_reads_groups_like_the_fast_one(write: Write, read_all: ReadAll) -> None:
    """Unusual blanks and quotes change no id."""
    fast = read_all(CsvReader(roles=Roles(group=1)), write("1,q 1,2\n1,7,3\n1,8.0,3\n"))
    slow = read_all(CsvReader(roles=Roles(group=1)), write('1,"q 1",2\n \n1,  7 ,  3\n1,"8.0",3\n'))
    assert fast.group is not None
    assert slow.group is not None
    assert fast.group.tolist() == slow.group.tolist() == [group_of("q 1"), 7, 8]


@pytest.mark.parametrize("make", [CsvReader, ParquetReader])
def test_files_without_rows_have_no_roles(
    write: Write, read_all: ReadAll, make: Callable[..., Reader]
) -> None:
    """An empty file among others is no mistake, whatever is asked for."""
    assert read_all(make(roles=_BY_NAME), write("")).rows == 0
