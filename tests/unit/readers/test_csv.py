"""CSV: numbers of all spellings, rows cut anywhere, and mistakes named by line and column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering.errors import UserError
from treering.readers import csv, csv_careful
from treering.readers.batch import Span
from treering.readers.csv import CsvReader
from treering.readers.csv_layout import DELIMITERS, layout_of
from treering.readers.lines import Block
from treering.readers.roles import Roles

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.readers.conftest import ReadAll, Write


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """float32 of any size, some missing; the first column (a label) is always there."""
    values = rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-30, 30, size=(rows, columns))
    matrix = values.astype(np.float32)
    matrix[rng.random((rows, columns)) < 0.3] = np.nan
    matrix[:, 0] = rng.normal(size=rows)
    return matrix


def _cell(rng: np.random.Generator, value: np.float32, *, odd: bool) -> str:
    """One of the ways to write a value; `odd` ones need a careful look."""
    if np.isnan(value):
        text = str(rng.choice(["", "NA", "nan", "NULL", "?", "None"]))
    else:
        text = str(rng.choice([str(value), f"{value:.8e}", f"{value:+.8E}"]))
    match rng.integers(6):
        case 0:
            return f'"{text}"'
        case 1 if text:
            return f" {text}"
        case 2 if odd:
            return f'"{text}\n"'
        case 3 if odd:
            return f"  {text} "
        case _:
            return text


def _text(rng: np.random.Generator, matrix: NDArray[np.float32], delimiter: str = ",", *, odd: bool) -> str:
    """The matrix as CSV with line ends of both kinds, blank lines, and maybe no newline at the end."""
    rows = [delimiter.join(_cell(rng, value, odd=odd) for value in row) for row in matrix]
    ends = rng.choice(["\n", "\r\n", "\n\n", "\n \n" if odd else "\n\r\n"], size=len(rows)).tolist()
    ends[-1] = str(rng.choice(["", "\n"]))
    return "".join(row + end for row, end in zip(rows, ends, strict=True))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("block_size", [1, 150, 1 << 20])
def test_reads_every_row_once_wherever_it_is_cut(
    rng: np.random.Generator, write: Write, read_all: ReadAll, *, odd: bool, block_size: int
) -> None:
    """Whatever the spelling, the cuts and the blocks, the rows come back in order, bit for bit."""
    matrix = _matrix(rng, rows=60, columns=5)
    bom = str(rng.choice(["", "\ufeff"]))
    file = write(bom + _text(rng, matrix, odd=odd))
    targets = rng.integers(0, file.size + 1, size=9).tolist()
    batch = read_all(CsvReader(block_size=block_size), file, targets)
    np.testing.assert_array_equal(batch.label, matrix[:, 0])
    np.testing.assert_array_equal(batch.features, matrix[:, 1:])


def test_every_single_cut_gives_the_same_rows(
    rng: np.random.Generator, write: Write, read_all: ReadAll
) -> None:
    """There is no byte at which a cut would lose or double a row, inside quotes and CRLF included."""
    matrix = _matrix(rng, rows=12, columns=3)
    file = write(_text(rng, matrix, odd=True))
    for target in range(file.size + 1):
        batch = read_all(CsvReader(), file, [target])
        np.testing.assert_array_equal(np.column_stack([batch.label, batch.features]), matrix)


def test_the_fast_path_agrees_with_the_careful_one(rng: np.random.Generator, write: Write) -> None:
    """Ordinary spellings take no careful look, and that look would find the same bits."""
    matrix = _matrix(rng, rows=200, columns=6)
    file = write(_text(rng, matrix, odd=False))
    block = Block(file, 0, file.path.read_bytes())
    layout = layout_of(file, Roles(), header=False)
    fast = csv._parse(block.data, layout)  # noqa: SLF001  # the two halves of the reader
    assert fast is not None
    np.testing.assert_array_equal(fast.numbers, csv_careful.parse(block, layout).numbers)


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_the_delimiter_is_detected(
    rng: np.random.Generator, write: Write, read_all: ReadAll, delimiter: str
) -> None:
    """Any of the delimiters may separate cells, with missing cells among them."""
    matrix = _matrix(rng, rows=30, columns=4)
    rows = [delimiter.join("" if np.isnan(cell) else str(cell) for cell in row) for row in matrix]
    batch = read_all(CsvReader(), write("\n".join(rows)))
    np.testing.assert_array_equal(batch.features, matrix[:, 1:])


def test_a_comma_with_blanks_is_no_blank_delimiter(write: Write, read_all: ReadAll) -> None:
    """Blanks delimit only where nothing else does."""
    batch = read_all(CsvReader(), write("1, 2, 3\n4, 5, 6\n"))
    np.testing.assert_array_equal(batch.features, [[2, 3], [5, 6]])


def test_the_weight_is_column_one(write: Write, read_all: ReadAll) -> None:
    """With weights the features begin in column 2."""
    reader, file = CsvReader(weights=True), write("1,0.5,7,8\n0,0,9,\n")
    batch = read_all(reader, file)
    np.testing.assert_array_equal(batch.weight, np.array([0.5, 0], np.float32))
    np.testing.assert_array_equal(batch.features, [[7, 8], [9, np.nan]])
    assert reader.columns(file).count == 2


def test_the_header_gives_the_names(rng: np.random.Generator, write: Write, read_all: ReadAll) -> None:
    """An announced header is no row wherever the file is cut, and names all features, even on two lines."""
    file = write('\ufeff\n"the label",w,"two\nlines", plain\r\n1,1,2,3\n4,1,"5",6\n')
    reader = CsvReader(header=True, weights=True)
    assert reader.columns(file).names == ("two\nlines", "plain")
    for target in range(file.size + 1):
        batch = read_all(reader, file, [target, int(rng.integers(file.size))])
        np.testing.assert_array_equal(batch.label, [1, 4])
        np.testing.assert_array_equal(batch.features, [[2, 3], [5, 6]])


def test_a_header_of_numbers_is_reported(
    write: Write, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    """An announced header that could be a row is used, but not in silence."""
    batch = read_all(CsvReader(header=True), write("0,1,2\n5,6,7\n"))
    assert batch.rows == 1
    assert "train, line 1: the header consists of numbers alone" in caplog.text


@pytest.mark.parametrize("text", ["", "\n", "\r\n \n", "\ufeff"])
def test_a_file_without_rows_is_no_mistake(write: Write, read_all: ReadAll, text: str) -> None:
    """Files of no bytes or of blank lines have no columns and no rows."""
    file = write(text)
    for header in (False, True):
        reader = CsvReader(header=header)
        assert reader.columns(file).count == 0
        assert read_all(reader, file, [file.size // 2]).rows == 0


def test_a_file_of_a_header_alone_has_no_rows(write: Write, read_all: ReadAll) -> None:
    """Its columns are known all the same."""
    for text in ("y,a,b", "y,a,b\n"):
        file, reader = write(text), CsvReader(header=True)
        assert reader.columns(file).names == ("a", "b")
        assert read_all(reader, file, [3]).rows == 0


def test_a_row_longer_than_a_block_is_read(
    write: Write, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    """Blocks and pyarrow's pieces grow with the row, so that it takes no slow path."""
    row = ",".join(f"{value}.{'0' * 100_000}" for value in range(40))
    file = write(f"{row}\n{row}\n{row}")
    batch = read_all(CsvReader(block_size=1 << 16), file, [file.size // 2])
    np.testing.assert_array_equal(batch.features, np.tile(np.arange(1, 40), (3, 1)))
    assert not caplog.records


def test_slow_reading_is_said_once(write: Write, read_all: ReadAll, caplog: pytest.LogCaptureFixture) -> None:
    """A valid file that needs the careful parser gets one line in the log, not one a block."""
    read_all(CsvReader(block_size=8), write("1,  NA \n" * 20))
    assert len(caplog.records) == 1
    assert "train is read slowly" in caplog.text


GOOD = "1,2,3\n" * 40  # enough to fill several blocks before the mistake


@pytest.mark.parametrize(
    ("text", "place", "saying"),
    [
        ("label,a,b\n1,2,3\n", "train, line 1:", "text/csv;header=true"),
        ("\n\nlabel,,b\n1,2,3\n", "train, line 3:", "looks like a header"),
        ("label,a,b\n", "train, line 1:", "looks like a header"),
        (GOOD + "1,two,3\n", "train, line 41, column 2:", "'two' is not a number"),
        (
            GOOD + '1,"2\n2",3\n',
            "train, line 41, column 2:",
            r"'2\n2' is not a number; a quote in this row is closed on",
        ),
        (
            GOOD + '1,"2,3\n' + GOOD,
            "train, line 41:",
            "2 columns where the file's first row has 3; a quote in this row",
        ),
        (
            GOOD + ('1,"2,3\n' + GOOD) * 2,
            "train, line 41, column 2:",
            "a quote in this row is closed on another line",
        ),
        (
            GOOD + '1,"2,5",3\n',
            "train, line 41, column 2:",
            "'2,5' is not a number; write numbers with a decimal point",
        ),
        (
            "1;2,5;3,5\n0;1,5;2,5\n",
            "train, line 1, column 1:",
            "'1;2' is not a number; write numbers with a decimal",
        ),
        (
            "1,5\t2,5\n0,5\t1,5\n",
            "train, line 1, column 2:",
            r"'5\t2' is not a number; write numbers with a decimal",
        ),
        ("1;2;3\n" * 40 + "1;2;-3,5e1\n", "train, line 41, column 3:", "write numbers with a decimal point"),
        (GOOD + '1,"2\n",3\n1,2,0x10\n', "train, line 43, column 3:", "'0x10'"),
        (GOOD + "1,2," + "x" * 90, "train, line 41, column 3:", "x…' is not a number"),
        (
            "cat,2,3\ndog,3,4\n",
            "train, line 1, column 1:",
            "'cat' is not a number; number the classes from 0",
        ),
        (GOOD + "1,two,3\n", "train, line 41, column 2:", "turn text into numbers, and leave the cell empty"),
        (GOOD + "1, True,3\n", "train, line 41, column 2:", "True' is not a number; write 1 and 0 instead"),
        ("a,b,c\nd,e,f\n", "train, line 1, column 1:", "'a' is not a number"),
        (GOOD + "1,2\n", "train, line 41:", "2 columns where the file's first row has 3"),
        (GOOD + "1,2,3,4\n" + GOOD, "train, line 41:", "4 columns where the file's first row has 3"),
        ("1,2,3\n1,2\n1,2,3\n", "train, line 2:", "2 columns where the file's first row has 3"),
        (GOOD + ",2,3\n", "train, line 41, column 1:", "the label has to be a finite number"),
        (GOOD + "NaN,2,3\n", "train, line 41, column 1:", "found 'NaN'"),
        (GOOD + "-inf,2,3\n", "train, line 41, column 1:", "found '-inf'"),
        (GOOD + "1,2,Infinity\n", "train, line 41, column 3:", "a feature has to be finite"),
        (GOOD + "1,1e39,2\n", "train, line 41, column 2:", "found '1e39'"),
        (GOOD + '1,2,"3\n', "train, line 41:", "a quote is opened and never closed"),
        (GOOD + '1,2,"3', "train, line 41:", "a quote is opened and never closed"),
        (GOOD + '1,2",3\n' + GOOD, "train, line 41, column 2:", "is not a number"),
        (GOOD + '1,"2,3\n' + GOOD, "train, line 41:", "2 columns where"),
        ('1,"' + GOOD * 1000, "train, line 1:", "a quote that is never closed"),
        (GOOD + '1,"' + GOOD * 1000, "train, line 4", "a quote that is never closed"),
        (GOOD + "\ufeff1,2,3\n", "train, line 41, column 1:", "is not a number"),
        ("1\n2\n", "train, line 1:", "found 1 of at least 2 columns (label, features) in '1'; separate"),
        ('""\n""\n', "train, line 1:", "no cells can be told apart"),
        ("3 0:1 4:2\n1 1:2 2:3\n", "train, line 1:", "text/libsvm"),
        ("1,2\r3,4\r", "train ends its lines", "carriage return"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\3abc", "train is no valid gzip archive", "cut short"),
        ("1,2\n".encode("utf-16"), "train is not a text file", "UTF-16"),
    ],
)
def test_a_mistake_is_named_by_its_place(
    rng: np.random.Generator, write: Write, read_all: ReadAll, text: str | bytes, place: str, saying: str
) -> None:
    """The message begins with file, line and column, wherever blocks and spans begin."""
    file = write(text)
    target = int(rng.integers(file.size))
    with pytest.raises(UserError) as caught:
        read_all(CsvReader(block_size=64), file, [target])
    assert str(caught.value).startswith(place)
    assert saying in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place", "saying"),
    [
        ("1,-1,3\n", "train, line 1, column 2:", "a weight has to be"),
        ("1,1,3\n1,,3\n", "train, line 2, column 2:", "a weight has to be"),
        ("1,2\n1,2\n", "train, line 1:", "found 2 of at least 3 columns (label, weight, features)"),
    ],
)
def test_a_mistake_with_weights_is_named(
    write: Write, read_all: ReadAll, text: str, place: str, saying: str
) -> None:
    """Weights are finite and not negative, as XGBoost asks."""
    with pytest.raises(UserError) as caught:
        read_all(CsvReader(weights=True), write(text))
    assert str(caught.value).startswith(place)
    assert saying in str(caught.value)


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("y,a,a\n1,2,3\n", "train, line 1: the name 'a' stands 2 times"),
        ("\ny,a,\n1,2,3\n", "train, line 2, column 3: this column has no name"),
        ("a,b\n1,2,3\n2,3,4\n", "train, line 1: the header has 2 names, but the first row has 3 columns"),
        ('y,"a,b\n1,2,3\n', "train, line 1:"),
        ("y,5'6\",b\n1,2,3\n1,2,3\n", "train, line 1: the header has a quote that is never closed"),
    ],
)
def test_a_header_that_cannot_name_columns_is_refused(write: Write, text: str, saying: str) -> None:
    """Each feature has one name of its own, and no row is taken for a part of the header."""
    with pytest.raises(UserError) as caught:
        CsvReader(header=True).columns(write(text))
    assert str(caught.value).startswith(saying)


def test_the_columns_are_told_without_the_rows(write: Write) -> None:
    """The feature count comes from the first rows; without a header there are no names."""
    columns = CsvReader().columns(write("1,2,3\n4,5,6\n"))
    assert (columns.count, columns.names, columns.types) == (2, None, None)


def test_a_span_inside_a_row_is_refused(write: Write) -> None:
    """Spans that do not begin behind a line end are a bug that would lose a row: they stop the job."""
    with pytest.raises(RuntimeError, match="does not start after a line end"):
        list(CsvReader().read(Span(write("1,2\n3,4\n"), 2, 8)))


def test_a_byte_order_mark_inside_a_file_is_text(write: Write, read_all: ReadAll) -> None:
    """Files that were put together stay unreadable where a span happens to begin at the second one."""
    for target in (0, 8):
        with pytest.raises(UserError, match=r"^train, line 3, column 1: '\\ufeff5' is not a number"):
            read_all(CsvReader(), write("1,2\n3,4\n\ufeff5,6\n"), [target])


def test_no_column_is_copied_twice(write: Write) -> None:
    """Label, weight and features are views of one block of memory."""
    file = write("1,2,3\n4,5,6\n")
    (batch,) = CsvReader(weights=True).read(Span(file, 0, file.size))
    assert batch.weight is not None
    assert isinstance(batch.features, np.ndarray)
    assert batch.features.base is batch.label.base is batch.weight.base
