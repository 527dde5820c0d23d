"""LIBSVM: any spacing, rows cut anywhere, and mistakes named by line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_svmlight_file

from treering.errors import UserError
from treering.readers import libsvm, libsvm_careful
from treering.readers.batch import File, Span
from treering.readers.libsvm import LibsvmReader
from treering.readers.libsvm_rows import LARGEST_INDEX
from treering.readers.lines import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.readers.conftest import ReadAll, Write

ABALONE = Path(__file__).parents[3] / "examples" / "abalone" / "train"
BIG = 2**53 + 1  # a group that neither float32 nor float64 can hold


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """float32 of any size, most missing, some zero, and the last column always there."""
    values = rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-30, 30, size=(rows, columns))
    matrix = values.astype(np.float32)
    matrix[rng.random((rows, columns)) < 0.6] = np.nan
    matrix[rng.random((rows, columns)) < 0.1] = 0
    matrix[rng.integers(rows), -1] = 1
    return matrix


def _line(
    rng: np.random.Generator, values: NDArray[np.float32], head: str, group: int | None, *, odd: bool
) -> str:
    """One row in a random order and spacing; `odd` ones need a careful look."""
    tokens = [f"{index}:{value!s}" for index, value in enumerate(values) if not np.isnan(value)]
    tokens += [f"{index}:nan" for index, value in enumerate(values) if np.isnan(value) and rng.random() < 0.1]
    if rng.random() < 0.3:
        rng.shuffle(tokens)
    if group is not None:
        tokens.insert(0, f"qid:{group}")
    if odd and tokens and rng.random() < 0.3:
        tokens[-1] = tokens[-1].replace(":", " : ")
    blank = str(rng.choice([" ", "  ", "\t"]))
    comment = str(rng.choice(["", "", " ", "# 5:6 'é\"", " #"]))
    return str(rng.choice(["", "", " ", "\t "])) + blank.join([head, *tokens]) + comment


def _text(
    rng: np.random.Generator,
    matrix: NDArray[np.float32],
    label: NDArray[np.float32],
    *,
    weight: NDArray[np.float32] | None = None,
    group: NDArray[np.int64] | None = None,
    odd: bool = False,
) -> str:
    """The rows as LIBSVM with line ends of both kinds, blank lines, comments, and maybe no last newline."""
    heads = [str(value) for value in label]
    if weight is not None:
        heads = [f"{head}:{value!s}" for head, value in zip(heads, weight, strict=True)]
    groups = [None] * len(heads) if group is None else group.tolist()
    rows = [
        _line(rng, values, head, number, odd=odd)
        for values, head, number in zip(matrix, heads, groups, strict=True)
    ]
    ends = rng.choice(["\n", "\r\n", "\n\n", "\n \r\n", "\n# note\n"], size=len(rows)).tolist()
    ends[-1] = str(rng.choice(["", "\n"]))
    return "".join(row + end for row, end in zip(rows, ends, strict=True))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("block_size", [1, 200, 1 << 20])
def test_reads_every_row_once_wherever_it_is_cut(
    rng: np.random.Generator,
    write: Write,
    read_all: ReadAll,
    *,
    odd: bool,
    weighted: bool,
    grouped: bool,
    block_size: int,
) -> None:
    """Whatever the spelling, the cuts and the blocks, the rows come back in order, bit for bit."""
    matrix = _matrix(rng, rows=50, columns=6)
    label = rng.normal(size=50).astype(np.float32)
    weight = rng.random(50).astype(np.float32) if weighted else None
    group = np.sort(rng.integers(BIG, BIG + 10, size=50)) if grouped else None
    file = write(_text(rng, matrix, label, weight=weight, group=group, odd=odd))
    targets = rng.integers(0, file.size + 1, size=9).tolist()
    batch = read_all(LibsvmReader(block_size=block_size), file, targets)
    np.testing.assert_array_equal(batch.label, label)
    np.testing.assert_array_equal(batch.features, matrix)
    np.testing.assert_array_equal(batch.weight, weight)
    np.testing.assert_array_equal(batch.group, group)


def test_every_single_cut_gives_the_same_rows(
    rng: np.random.Generator, write: Write, read_all: ReadAll
) -> None:
    """There is no byte at which a cut would lose or double a row."""
    matrix, label = _matrix(rng, rows=10, columns=4), np.arange(10, dtype=np.float32)
    file = write(_text(rng, matrix, label))
    for target in range(file.size + 1):
        batch = read_all(LibsvmReader(), file, [target])
        np.testing.assert_array_equal(batch.features, matrix)


def test_the_fast_path_agrees_with_the_careful_one(rng: np.random.Generator, write: Write) -> None:
    """Spacing, comments, weights and groups take no careful look, and that look would find the same."""
    matrix, label = _matrix(rng, rows=200, columns=5), rng.normal(size=200).astype(np.float32)
    weight, group = rng.random(200).astype(np.float32), rng.integers(0, BIG, size=200)
    file = write(_text(rng, matrix, label, weight=weight, group=group))
    block = Block(file, 0, file.path.read_bytes())
    fast = libsvm._parse(block.data, libsvm._form_of(file))  # noqa: SLF001  # the two halves of the reader
    assert fast is not None
    careful = libsvm_careful.parse(block, grouped=True)
    for name in ("label", "weight", "group", "row", "index", "value"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(careful, name), err_msg=name)


def test_agrees_with_scikit_learn(rng: np.random.Generator, write: Write, read_all: ReadAll) -> None:
    """Another reader of the format finds the same numbers (it refuses unsorted indices and qids)."""
    matrix, label = _matrix(rng, rows=40, columns=5), rng.normal(size=40).astype(np.float32)
    rows = [
        " ".join([str(mark), *(f"{index}:{value}" for index, value in enumerate(row) if not np.isnan(value))])
        for mark, row in zip(label, matrix, strict=True)
    ]
    text = "\n".join(rows) + "\n"
    theirs, their_label = load_svmlight_file(io.BytesIO(text.encode()), n_features=5, zero_based=True)
    batch = read_all(LibsvmReader(), write(text))
    np.testing.assert_array_equal(batch.label, their_label.astype(np.float32))
    np.testing.assert_array_equal(np.nan_to_num(batch.features), theirs.toarray().astype(np.float32))


def test_abalone_has_nine_columns(read_all: ReadAll) -> None:
    """Indices are taken as they are: those from 1 to 8 leave column 0 empty, as in AWS's image."""
    path = ABALONE / "abalone.train_0"
    file = File(path, path.name, 0, path.stat().st_size)
    batch = read_all(LibsvmReader(), file, [file.size // 3])
    assert batch.features.shape == (1461, 9)
    assert np.isnan(batch.features[:, 0]).all()
    assert not np.isnan(batch.features[:, 1:]).any()


def test_the_largest_index_that_is_believed(write: Write) -> None:
    """As the last one below the limit; leading zeros do not make a number larger."""
    file = write(f"1 {LARGEST_INDEX}:2\n0 {'0' * 5000}7:1\n")
    assert [batch.features.shape[1] for batch in LibsvmReader().read(Span(file, 0, file.size))] == [
        LARGEST_INDEX + 1
    ]


def test_a_batch_is_as_wide_as_its_largest_index(write: Write) -> None:
    """The width of all rows is agreed elsewhere; the file's own is not known before it is read."""
    file = write("1 2:3\n0\n")
    (batch,) = LibsvmReader().read(Span(file, 0, file.size))
    assert isinstance(batch.features, csr_array)
    assert batch.features.shape == (2, 3)
    assert batch.features.dtype == np.float32
    assert LibsvmReader().columns(file).count == 0


def test_zeros_are_values_and_nan_is_missing(write: Write) -> None:
    """A zero that is written is kept, unlike a NaN; rows without values are rows."""
    file = write("1 0:0 1:nan 2:-0\n2\n3 1:NA\n")
    (batch,) = LibsvmReader().read(Span(file, 0, file.size))
    assert isinstance(batch.features, csr_array)
    np.testing.assert_array_equal(batch.features.indptr, [0, 2, 2, 2])
    np.testing.assert_array_equal(batch.features.indices, [0, 2])


def test_a_row_without_weight_weighs_one(write: Write, read_all: ReadAll) -> None:
    """Rows with and without a weight may be mixed, in either order."""
    for text, expected in (("1:2 0:1\n1 0:1\n", [2, 1]), ("1 0:1\n1:2 0:1\n", [1, 2])):
        np.testing.assert_array_equal(read_all(LibsvmReader(), write(text)).weight, expected)


def test_signs_and_exponents(write: Write, read_all: ReadAll) -> None:
    """Labels are often written +1 and -1."""
    batch = read_all(LibsvmReader(), write("+1 0:+1e+2\n-1 0:-.5E-1\n"))
    np.testing.assert_array_equal(batch.label, [1, -1])
    np.testing.assert_array_equal(batch.features, np.array([[100], [-0.05]], np.float32))


@pytest.mark.parametrize("text", ["", "\n \r\n", "# nothing\n#\n", "\ufeff"])
def test_a_file_without_rows_is_no_mistake(write: Write, read_all: ReadAll, text: str) -> None:
    """Files of no bytes, blank lines or comments have no rows."""
    file = write(text)
    assert read_all(LibsvmReader(), file, [file.size // 2]).rows == 0


def test_a_byte_order_mark_is_no_part_of_the_label(write: Write, read_all: ReadAll) -> None:
    """Files from Windows may begin with one."""
    file = write("\ufeff1 0:2\n3 0:4\n")
    for target in range(file.size + 1):
        np.testing.assert_array_equal(read_all(LibsvmReader(), file, [target]).label, [1, 3])


def test_the_last_line_may_be_long(write: Write, read_all: ReadAll) -> None:
    """A row longer than a block is one row."""
    tokens = " ".join(f"{index}:1" for index in range(1000))
    batch = read_all(LibsvmReader(block_size=100), write(f"1 {tokens}\n0 {tokens}"))
    assert batch.features.shape == (2, 1000)


GOOD = "1 0:1 3:2\n" * 40


@pytest.mark.parametrize(
    ("text", "place", "saying"),
    [
        (GOOD + "one 0:1\n", "train, line 41:", "the label has to be a finite number"),
        (GOOD + "nan 0:1\n", "train, line 41:", "found 'nan'"),
        (GOOD + "-inf 0:1\n", "train, line 41:", "found '-inf'"),
        (GOOD + "1 0:1 2\n", "train, line 41:", "'2' is not of the form index:value"),
        (GOOD + "1 2 0:1\n", "train, line 41:", "'2' is not of the form index:value"),
        (GOOD + "1 -1:1\n", "train, line 41:", "'-1:1' has no valid index"),
        (GOOD + "1 1.5:1\n", "train, line 41:", "'1.5:1' has no valid index"),
        (GOOD + "1 0x1:1\n", "train, line 41:", "'0x1:1' has no valid index"),
        (GOOD + "1 0:1 :2\n", "train, line 41:", "found '0:1:2'"),
        (GOOD + "1 4194304:1\n", "train, line 41:", "the index of '4194304:1' is above 4,194,303"),
        (
            GOOD + "1 2000000000:1\n",
            "train, line 41:",
            "is above 4,194,303; all columns up to the largest index",
        ),
        (GOOD + f"1 {2**62}:1\n", "train, line 41:", "is above 4,194,303"),
        (GOOD + f"1 {2**62 + 1}:1\n", "train, line 41:", "is above 4,194,303"),
        (GOOD + f"1 {'9' * 5000}:1\n", "train, line 41:", "9…' is above 4,194,303"),
        (GOOD + "1 3:1 2:5 3:1\n", "train, line 41:", "index 3 stands twice"),
        (GOOD + "1 3:nan 3:1\n", "train, line 41:", "index 3 stands twice"),
        (GOOD + "1 0:1:2\n", "train, line 41:", "a feature has to be finite"),
        (GOOD + "1 0:2,5\n", "train, line 41:", "'0:2,5' has a comma; write numbers with a decimal point"),
        (GOOD + "1 0:x\n", "train, line 41:", "found '0:x'"),
        (GOOD + "1 0:\n", "train, line 41:", "found '0:'"),
        (GOOD + "1 0:1e39\n", "train, line 41:", "found '0:1e39'"),
        (GOOD + "1 0:inf\n", "train, line 41:", "found '0:inf'"),
        (GOOD + "1 3,4\n", "train, line 41:", "'3,4' is not of the form index:value"),
        (GOOD + "1:-1 0:1\n", "train, line 41:", "a weight has to be"),
        (GOOD + "1:w 0:1\n", "train, line 41:", "a weight has to be"),
        (GOOD + "1 qid:3 0:1\n", "train, line 41:", "this row has a qid, but the file's first row has none"),
        ("1 qid:3 0:1\n" * 40 + "1 0:1\n", "train, line 41:", "this row has no qid"),
        ("1 qid:3 0:1\n" * 40 + "1 qid:3 qid:4 0:1\n", "train, line 41:", "qid stands twice"),
        ("1 qid:3 0:1\n" * 40 + "1 qid:x 0:1\n", "train, line 41:", "qid 'x' is not a whole number"),
        ("1 qid:3 0:1\n" * 40 + f"1 qid:{'9' * 5000} 0:1\n", "train, line 41:", "is not a whole number"),
        ("1 qid:3 0:1\n" * 40 + f"1 qid:{2**63} 0:1\n", "train, line 41:", "is not a whole number"),
        ("1:2 0:1\n" * 40 + "1:nan 0:1\n", "train, line 41:", "found 'nan'"),
        ("1,2,3\n" * 40, "train, line 1:", "text/csv"),
        ("label,a,b\n" * 40, "train, line 1:", "text/csv"),
        ("1\t2\t3\n" * 40, "train, line 1:", "text/csv"),
        ("1 0:1\r2 0:1\r", "train ends its lines", "carriage return"),
        (b"PAR1\0\0\0", "train is not a text file", "content type"),
    ],
)
def test_a_mistake_is_named_by_its_place(
    rng: np.random.Generator, write: Write, read_all: ReadAll, text: str | bytes, place: str, saying: str
) -> None:
    """The message begins with file and line, wherever blocks and spans begin."""
    file = write(text)
    target = int(rng.integers(file.size))
    with pytest.raises(UserError) as caught:
        read_all(LibsvmReader(block_size=64), file, [target])
    assert str(caught.value).startswith(place)
    assert saying in str(caught.value)


def test_a_span_inside_a_row_is_refused(write: Write) -> None:
    """Spans that do not begin behind a line end are a bug that would lose a row: they stop the job."""
    with pytest.raises(RuntimeError, match="does not start after a line end"):
        list(LibsvmReader().read(Span(write("1 0:1\n2 0:1\n"), 2, 12)))
