"""Parquet: roles by name, spans that tile rows, and types with a meaning."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from treering.errors import UserError
from treering.readers.batch import Span
from treering.readers.csv import CsvReader
from treering.readers.parquet import ParquetReader
from treering.readers.roles import Roles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from unit.readers.conftest import ReadAll, Write

    from treering.readers.batch import File


@pytest.fixture
def save(write: Write, tmp_path: Path) -> Any:
    """Write a table (or columns) as Parquet, with row groups of `size` rows."""

    def make(columns: dict[str, Any] | pa.Table, size: int = 1000, **options: Any) -> File:
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        parquet.write_table(table, tmp_path / "made", row_group_size=size, **options)
        return write((tmp_path / "made").read_bytes(), "train.parquet")

    return make


def _random(rng: np.random.Generator, rows: int) -> tuple[NDArray[np.float32], pa.Table]:
    """Four columns of float32 with missing values, the first (the label) without."""
    matrix = (rng.normal(size=(rows, 4)) * 10.0 ** rng.integers(-30, 30, size=(rows, 4))).astype(np.float32)
    matrix[:, 0] = rng.normal(size=rows)
    missing = rng.random((rows, 4)) < 0.3
    missing[:, 0] = False
    table = pa.table({name: pa.array(matrix[:, i], mask=missing[:, i]) for i, name in enumerate("yabc")})
    return np.where(missing, np.nan, matrix), table


@pytest.mark.parametrize("batch_size", [1, 100, 1 << 20])
def test_reads_every_row_once_wherever_it_is_cut(
    rng: np.random.Generator, save: Any, read_all: ReadAll, batch_size: int
) -> None:
    """Whatever the row groups, the cuts and the batches, the rows come back in order, bit for bit."""
    matrix, table = _random(rng, rows=100)
    file = save(table, size=int(rng.integers(1, 120)))
    targets = rng.integers(0, 101, size=7).tolist()
    batch = read_all(ParquetReader(batch_size=batch_size, whole=batch_size), file, targets)
    np.testing.assert_array_equal(batch.label, matrix[:, 0])
    np.testing.assert_array_equal(batch.features, matrix[:, 1:])


def test_every_single_cut_gives_the_same_rows(rng: np.random.Generator, save: Any, read_all: ReadAll) -> None:
    """There is no row at which a cut would lose or double one, row groups without rows included."""
    matrix, table = _random(rng, rows=20)
    empty = table.slice(0, 0)
    with pa.BufferOutputStream() as sink:
        with parquet.ParquetWriter(sink, table.schema) as writer:
            for part in (empty, table.slice(0, 7), empty, table.slice(7, 1), table.slice(8), empty):
                writer.write_table(part)
        file = save(table)
        file.path.write_bytes(sink.getvalue())
    file = type(file)(file.path, file.name, 0, file.path.stat().st_size)
    for target in range(21):
        batch = read_all(ParquetReader(), file, [target])
        np.testing.assert_array_equal(batch.features, matrix[:, 1:])


def test_csv_and_parquet_give_the_same_bits(
    rng: np.random.Generator, save: Any, write: Write, read_all: ReadAll
) -> None:
    """The same float32 data trains the same model from either format."""
    _, table = _random(rng, rows=500)
    sink = pa.BufferOutputStream()
    arrow_csv.write_csv(table, sink, arrow_csv.WriteOptions(include_header=False))
    text = write(sink.getvalue().to_pybytes(), "train.csv")
    ours, theirs = read_all(ParquetReader(), save(table)), read_all(CsvReader(), text)
    np.testing.assert_array_equal(ours.label, theirs.label)
    np.testing.assert_array_equal(ours.features.view(np.int32), theirs.features.view(np.int32))


def test_boundaries_move_to_an_edge_only_if_it_is_near(save: Any) -> None:
    """Half a percent of a span's rows: less costs no rank a round's time, more would."""
    file = save({"y": np.zeros(4000), "a": np.zeros(4000)}, size=1000)
    reader = ParquetReader()
    assert reader.boundaries(file, [1005, 1990, 3011], [0, 0, 0]) == [1005, 1990, 3011]
    assert reader.boundaries(file, [996, 2004, 3003], [0, 0, 0]) == [1000, 2000, 3000]
    assert reader.boundaries(file, [0, 0, 4000], [0, 0, 0]) == [0, 0, 4000]


def test_boundaries_ascend(rng: np.random.Generator, save: Any) -> None:
    """Any ascending targets, equal ones among them, give ascending places within the file."""
    file = save({"y": np.zeros(500), "a": np.zeros(500)}, size=int(rng.integers(1, 500)))
    targets = sorted(rng.integers(0, 501, size=40).tolist())
    places = ParquetReader().boundaries(file, targets, [0] * 40)
    assert places == sorted(places)
    assert all(abs(place - target) <= 2 for place, target in zip(places, targets, strict=True))


def test_only_overlapping_row_groups_are_read(save: Any) -> None:
    """Bytes of other row groups are not touched: they may even be damaged."""
    values = np.arange(3000, dtype=np.float64)
    file = save({"y": values, "a": values}, size=1000)
    spans = parquet.ParquetFile(file.path).metadata
    bytes_ = bytearray(file.path.read_bytes())
    start = spans.row_group(0).column(0).dictionary_page_offset or 4
    stop = spans.row_group(1).column(0).dictionary_page_offset
    bytes_[start:stop] = b"\xff" * (stop - start)
    file.path.write_bytes(bytes_)
    rows = [batch.label for batch in ParquetReader().read(Span(file, 1000, 3000))]
    np.testing.assert_array_equal(np.concatenate(rows), values[1000:])
    with pytest.raises(UserError, match=r"^train\.parquet is no valid Parquet file, or is damaged"):
        list(ParquetReader().read(Span(file, 999, 3000)))


def test_batches_are_bounded(save: Any) -> None:
    """A row group larger than a batch is cut; dense columns are contiguous."""
    file = save({name: np.zeros(1000, np.float32) for name in "yab"})
    batches = list(ParquetReader(batch_size=1200, whole=1200).read(Span(file, 50, 950)))
    assert sum(batch.rows for batch in batches) == 900
    assert max(batch.rows for batch in batches) == 100
    assert all(
        batch.features.flags.f_contiguous for batch in batches if isinstance(batch.features, np.ndarray)
    )


def test_columns_have_roles_by_name(save: Any, read_all: ReadAll) -> None:
    """The first column is the label unless another is named; names of features keep the file's order."""
    file = save({"a": [1, 2], "w.x": [0.5, 2], "w": [7, 8], "y": [0, 1]})
    reader = ParquetReader(roles=Roles(label="y", weight="w.x"))
    assert reader.columns(file).names == ("a", "w")
    batch = read_all(reader, file)
    np.testing.assert_array_equal(batch.label, [0, 1])
    np.testing.assert_array_equal(batch.weight, [0.5, 2])
    np.testing.assert_array_equal(batch.features, [[1, 7], [2, 8]])
    assert ParquetReader().columns(file).names == ("w.x", "w", "y")
    assert ParquetReader(roles=Roles(weight="a")).columns(file).names == ("w", "y")


def test_every_type_has_one_meaning(save: Any, read_all: ReadAll) -> None:
    """Types become float32 as documented, and null is missing in each."""
    moment = dt.datetime(1970, 1, 2, 12, tzinfo=dt.UTC)
    cases: list[tuple[str, pa.DataType, Any, float]] = [
        ("boolean", pa.bool_(), True, 1),
        *(("integer", kind, 7, 7) for kind in (pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64())),
        *(("float", kind, 1.5, 1.5) for kind in (pa.float16(), pa.float32(), pa.float64())),
        *(
            ("decimal", kind, decimal.Decimal("0.10"), 0.1)
            for kind in (pa.decimal128(9, 2), pa.decimal256(50, 2))
        ),
        *(("date", kind, dt.date(1969, 12, 31), -1) for kind in (pa.date32(), pa.date64())),
        *(
            ("date", pa.timestamp(unit, tz), moment if tz else moment.replace(tzinfo=None), 1.5)
            for unit in ("s", "ms", "us", "ns")
            for tz in (None, "UTC", "Asia/Tokyo")
        ),
        ("float", pa.null(), None, np.nan),
    ]
    columns = {f"{i} {kind}": pa.array([value, None], kind) for i, (_, kind, value, _) in enumerate(cases)}
    file = save({"y": [0, 1], **columns})
    assert ParquetReader().columns(file).types == tuple(name for name, *_ in cases)
    batch = read_all(ParquetReader(), file)
    np.testing.assert_array_equal(batch.features[0], np.array([case[-1] for case in cases], np.float32))
    assert np.isnan(batch.features[1]).all()


def test_rounded_integers_are_said_once(
    save: Any, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    """A value that float32 cannot hold is rounded and reported; those that it can hold are not."""
    exact = [0, 2**24, -(2**24), 2**25, 2**62]
    read_all(ParquetReader(), save({"y": exact, "a": pa.array(exact, pa.uint64(), mask=np.array(exact) < 0)}))
    assert not caplog.records
    beyond = pa.array([2**24 + 1, 2**63 - 1, None, 3, 2**63], pa.uint64())
    batch = read_all(ParquetReader(batch_size=8), save({"y": exact, "a": beyond, "b": beyond}))
    np.testing.assert_array_equal(
        batch.features[:, 0], np.array([2**24, 2**63, np.nan, 3, 2**63], np.float32)
    )
    assert len(caplog.records) == 1
    assert "train.parquet, column 'a': integers beyond 2**24 are rounded" in caplog.text


def test_the_index_of_pandas_is_no_feature(
    save: Any, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    """What pandas takes for a row index when it reads the file is left out, and that is logged."""
    caplog.set_level("INFO")
    note = b'{"index_columns": ["__index_level_0__"], "columns": []}'
    table = pa.table({"y": [1], "a": [2], "__index_level_0__": [3]}).replace_schema_metadata({"pandas": note})
    file = save(table)
    assert read_all(ParquetReader(), file).features.tolist() == [[2]]
    assert "the pandas index (__index_level_0__) is not used as a feature" in caplog.text
    assert ParquetReader(roles=Roles(label="__index_level_0__")).columns(file).names == ("y", "a")


def test_files_without_rows_are_no_mistake(save: Any, write: Write, read_all: ReadAll) -> None:
    """A file of no bytes and one of no rows give no batches."""
    none = write(b"", "empty.parquet")
    assert (ParquetReader().extent(none), ParquetReader().columns(none).count) == (0, 0)
    assert read_all(ParquetReader(), none, [0]).rows == 0
    file = save(pa.table({"y": [1.0], "a": [1.0]}).slice(0, 0))
    assert (ParquetReader().extent(file), ParquetReader().columns(file).count) == (0, 1)
    assert read_all(ParquetReader(), file, [0]).rows == 0


@pytest.mark.parametrize(
    ("values", "saying"),
    [
        (pa.array([b"x", b"y"]), "holds values that are no numbers and no categories (binary)"),
        (pa.array([[1], [2]]), "is nested (list<"),
        (pa.array([{"b": 1}, {"b": 2}]), "is nested (struct<"),
        (pa.array([dt.time(1), None]), "holds times without a date (time64"),
    ],
)
def test_a_column_without_a_number_is_refused_by_name(save: Any, values: pa.Array, saying: str) -> None:
    """As a feature and as the label: file, column and type are named before any row is read."""
    for columns, label in (({"y": [0, 1], "a b": values}, None), ({"y": [0, 1], "a b": values}, "a b")):
        with pytest.raises(UserError) as caught:
            ParquetReader(roles=Roles(label=label)).extent(save(columns))
        assert str(caught.value).startswith("train.parquet, column 'a b' " + saying)


@pytest.mark.parametrize("role", ["label", "weight"])
def test_a_label_or_weight_of_categories_is_refused(save: Any, role: str) -> None:
    """Text may be a feature, but nothing that has to be a number."""
    file = save({"a": ["x", "y"], "b": [1, 2], "c": [3, 4]})
    with pytest.raises(UserError, match=f"column 'a' holds categories, but the {role} has to be a number"):
        ParquetReader(roles=Roles(**({"label": "b"} | {role: "a"}))).columns(file)


def test_text_and_dictionaries_are_read_as_categories(save: Any, read_all: ReadAll) -> None:
    """Codes refer to the reader's own lists, which go on over files; null is missing."""
    reader = ParquetReader()
    first = save({"y": [0, 1, 2], "a": [1, 2, 3], "t": ["u", None, "v"]})
    assert reader.columns(first).types == ("integer", "category")
    assert reader.columns(first).categorical == (1,)
    codes = read_all(reader, first).features[:, 1]
    assert reader.categories() == {1: ("u", "v")}
    np.testing.assert_array_equal(codes, np.array([0, np.nan, 1], np.float32))
    other = pa.table({"y": [0], "a": [1], "t": pa.array(["w"]).dictionary_encode()})
    assert read_all(reader, save(other)).features.tolist() == [[1, 2]]
    assert reader.categories() == {1: ("u", "v", "w")}


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e39])
def test_an_infinite_feature_is_named(save: Any, read_all: ReadAll, bad: float) -> None:
    """XGBoost refuses infinite values without saying where they stand."""
    values = np.zeros(500)
    values[300] = bad
    file = save({"y": np.zeros(500), "a": np.zeros(500), "b": values}, size=70)
    with pytest.raises(UserError, match=r"^train\.parquet, row 301, column 'b': a feature has to be finite"):
        read_all(ParquetReader(batch_size=400, whole=400), file, [123])


@pytest.mark.parametrize("bad", [np.inf, np.nan, None])
def test_a_label_that_is_no_number_is_named(save: Any, read_all: ReadAll, bad: float | None) -> None:
    """Missing, NaN and infinite labels cannot be trained on."""
    file = save({"y": [1.0] * 50 + [bad], "a": [1.0] * 51}, size=7)
    with pytest.raises(UserError, match=r"^train\.parquet, row 51, column 'y': the label has to be a finite"):
        read_all(ParquetReader(), file, [20, 40])


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, None])
def test_a_weight_that_is_none_is_named(save: Any, read_all: ReadAll, bad: float | None) -> None:
    """Weights are finite and not negative, as XGBoost asks."""
    file = save({"y": [1.0, 2], "a": [1.0, 2], "w": [0, bad]})
    with pytest.raises(UserError, match=r"^train\.parquet, row 2, column 'w': a weight has to be"):
        read_all(ParquetReader(roles=Roles(weight="w")), file)


def test_a_file_that_is_cut_short_is_named(rng: np.random.Generator, save: Any, write: Write) -> None:
    """Wherever the file was cut, its name and the reason stand in one sentence."""
    _, table = _random(rng, rows=50)
    whole = save(table).path.read_bytes()
    for length in rng.integers(1, len(whole), size=20).tolist():
        file = write(whole[:length], "cut.parquet")
        with pytest.raises(
            UserError, match=r"^cut\.parquet is no valid Parquet file, or is damaged or cut short"
        ):
            ParquetReader().extent(file)


def test_text_is_no_parquet_file(write: Write) -> None:
    """The wrong content type is a mistake of the user's, not a traceback."""
    with pytest.raises(UserError, match=r"^train is no valid Parquet file"):
        ParquetReader().columns(write("1,2,3\n" * 100))


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        ({"label": "z"}, "train.parquet has no column 'z' for the label; its columns are y, a"),
        ({"weight": "z"}, "train.parquet has no column 'z' for the weight; its columns are y, a"),
        ({"weight": "a"}, "train.parquet has no feature column"),
    ],
)
def test_a_role_without_column_is_refused(save: Any, options: dict[str, Any], saying: str) -> None:
    """The message names what was asked for and what there is."""
    with pytest.raises(UserError) as caught:
        ParquetReader(roles=Roles(**options)).extent(save({"y": [1], "a": [2]}))
    assert str(caught.value).startswith(saying)


def test_equal_names_are_refused(save: Any) -> None:
    """A name has to mean one column."""
    table = pa.table([[1], [2], [3]], names=["y", "a", "a"])
    with pytest.raises(UserError, match=r"^train\.parquet has several columns named 'a'"):
        ParquetReader().columns(save(table))


def test_spans_of_threads_do_not_disturb_each_other(rng: np.random.Generator, save: Any) -> None:
    """One reader may read several spans at once: it keeps no open files."""
    matrix, table = _random(rng, rows=90)
    file, reader = save(table, size=20), ParquetReader(batch_size=64, whole=64)
    streams = [reader.read(Span(file, start, start + 30)) for start in (0, 30, 60)]
    rows: list[list[Any]] = [[], [], []]
    for turn in itertools.zip_longest(*streams):
        for place, batch in enumerate(turn):
            rows[place] += [] if batch is None else [batch.label]
    np.testing.assert_array_equal(np.concatenate(list(itertools.chain(*rows))), matrix[:, 0])


_WIDE, _TALL = (40_000, 60), (300_000, 5)  # rows and columns
_MEASURE = """
import pathlib, sys, pyarrow
pyarrow.set_cpu_count(2)
from treering.readers.batch import File, Span
from treering.readers.parquet import ParquetReader
path, whole = pathlib.Path(sys.argv[1]), int(sys.argv[2])
reader, file = ParquetReader(batch_size=1 << 20, whole=whole), File(path, path.name, 0, path.stat().st_size)
sizes = [batch.features.nbytes for batch in reader.read(Span(file, 0, reader.extent(file)))]
print(max(sizes), pyarrow.default_memory_pool().max_memory())
"""


def _taken(file: File, whole: int) -> tuple[int, int]:
    """Bytes of the largest batch, and the most that Arrow ever had, in a process of its own."""
    command = [sys.executable, "-c", _MEASURE, str(file.path), str(whole)]
    largest, arrow = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(largest), int(arrow)


@pytest.mark.parametrize("kind", ["noise", "plain noise", "few", "texts", "ids"])
@pytest.mark.parametrize(
    ("shape", "whole"),
    [(_WIDE, 1 << 18), (_WIDE, 1 << 40), (_TALL, 1 << 18)],
    ids=["by rows", "by columns", "tall"],
)
def test_what_reading_takes_is_foreseen(
    rng: np.random.Generator, save: Any, kind: str, shape: tuple[int, int], whole: int
) -> None:
    """Arrow's memory and the batch stay below what a thread is said to take, and of numbers it is no more than thrice."""
    rows, columns = shape
    names = [f"{'long' * 50} {number}" for number in range(20)]
    match kind:
        case "few":
            values = rng.integers(0, 100, rows).astype(float)
        case "texts":
            values = pa.array(names).take(pa.array(rng.integers(0, 20, rows)))
        case "ids":
            values = pa.array([f"user-{number}" for number in rng.permutation(rows).tolist()])
        case _:
            values = rng.standard_normal(rows)
    table = pa.table({"y": np.zeros(rows)} | {str(number): values for number in range(columns)})
    plain = {"use_dictionary": False, "max_rows_per_page": 1 << 30} if kind == "plain noise" else {}
    file = save(table, rows, **plain)
    said = ParquetReader(batch_size=1 << 20, whole=whole).working_memory(file)
    taken = sum(_taken(file, whole))
    assert taken <= said
    if kind not in {"texts", "ids"}:
        assert said <= 3 * taken


def test_an_id_is_no_category(save: Any) -> None:
    """It is named with its column, and what to do about it."""
    rows = 1_000_001
    file = save({"y": np.zeros(rows), "id": pa.array(np.arange(rows)).cast(pa.string())}, rows)
    with pytest.raises(
        UserError,
        match=r"^train\.parquet, column 'id': there are more than 1,000,000 categories, .+; leave the column out, or put",
    ):
        list(ParquetReader().read(Span(file, 0, rows)))


def test_categories_are_not_copied_for_each_row(save: Any) -> None:
    """A small file of long texts that repeat stays small in memory, and its codes are right."""
    rows = 100_000
    texts = pa.array(["x" * 1000, "y"]).take(pa.array(np.arange(rows) % 2))
    file = save({"y": np.zeros(rows), "a": texts}, rows)
    (batch,) = ParquetReader().read(Span(file, 0, rows))
    assert isinstance(batch.features, np.ndarray)
    np.testing.assert_array_equal(batch.features[:, 0], np.arange(rows) % 2)
    assert _taken(file, 1 << 40)[1] < 1000 * rows // 10
