"""Text readers: whatever bytes a file has, it gives rows or a UserError that names the file, and never hangs."""

from __future__ import annotations

import gzip
import itertools
import logging
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from treering.errors import UserError
from treering.readers.batch import File, Span
from treering.readers.csv import CsvReader
from treering.readers.libsvm import LibsvmReader

from .budget import FUZZ

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from treering.readers.batch import Batch, Reader

    type Row = tuple[float, float, tuple[tuple[int, float], ...]]
    type Make = Callable[[], Reader]

_CELLS = [
    "1",
    "-2.5",
    "1e3",
    ".5",
    "+7",
    "nan",
    "NA",
    "inf",
    "1e999",
    "0x1p3",
    "1_0",
    "",
    " ",
    '"3"',
    '"a""b"',
    "x",
]
_CSV_PIECES = [*_CELLS, *",;\t|\"'\n", "\r\n", "\r", "\0", "\ufeff", "é", "٣", "a,b\n", "1,2\n1,2\n"]
_SVM_PIECES = [
    *_CELLS,
    *":# \t\n",
    "\r\n",
    "\0",
    "\ufeff",
    "qid:3",
    "qid:",
    "1:2",
    "2:.5",
    "1 1:2 3:4\n",
    "2147483647:1",
]


def _texts(pieces: list[str]) -> st.SearchStrategy[bytes]:
    """Mostly what looks like rows, at times any bytes."""
    likely = st.lists(st.sampled_from(pieces), max_size=40).map(lambda found: "".join(found).encode())
    return likely | st.binary(max_size=200)


def _csv() -> Reader:
    return CsvReader(block_size=16)


def _csv_header() -> Reader:
    return CsvReader(header=True, block_size=64)


def _csv_weights() -> Reader:
    return CsvReader(weights=True)


def _libsvm() -> Reader:
    return LibsvmReader(block_size=16)


_READERS = [_csv, _csv_header, _csv_weights, _libsvm]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The readers' notes about odd files would be millions."""
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("make", _READERS)
@FUZZ
@given(data=st.data())
def test_any_text_gives_rows_or_one_sentence(make: Make, data: st.DataObject, tmp_path: Path) -> None:
    """And read in parts, cut anywhere, it gives the same rows."""
    text = data.draw(_texts(_SVM_PIECES if make is _libsvm else _CSV_PIECES))
    file = _write(tmp_path, "some.file", text)
    whole = _rows(make(), file, [])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    parts = _rows(make(), file, cuts)
    assert parts == whole


@pytest.mark.parametrize("make", _READERS)
@pytest.mark.parametrize(
    "compress", [gzip.compress, lambda text: pa.compress(text, codec="zstd", asbytes=True)]
)
@FUZZ
@given(data=st.data())
def test_damaged_archives_are_told(
    make: Make, compress: Callable[[bytes], bytes], data: st.DataObject, tmp_path: Path
) -> None:
    """A compressed file of which bytes are missing or other ones gives rows or a UserError as well."""
    packed = bytearray(compress(data.draw(_texts(_CSV_PIECES))))
    for _ in range(data.draw(st.integers(0, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    file = _write(tmp_path, "some.file.gz", bytes(packed[: data.draw(st.integers(1, len(packed)))]))
    _rows(make(), file, [])


def _write(folder: Path, name: str, content: bytes) -> File:
    path = folder / name
    path.write_bytes(content)
    return File(path, name, 0, len(content))


def _rows(reader: Reader, file: File, cuts: list[int]) -> list[Row] | None:
    """All rows of a file read in parts, or None when it was refused as it should be."""
    try:
        reader.columns(file)
        surveys = [reader.survey(file, start, stop) for start, stop in itertools.pairwise([0, *cuts])]
        edges = [0, *reader.boundaries(file, cuts, surveys), reader.extent(file)]
        assert edges == sorted(edges), "parts have to tile the file"
        spans = [Span(file, start, stop) for start, stop in itertools.pairwise(edges)]
        return [row for span in spans for batch in reader.read(span) for row in _rows_of(batch)]
    except UserError as error:
        sentence = str(error)
        assert file.name in sentence
        assert "\n" not in sentence
        return None


def _rows_of(batch: Batch) -> list[Row]:
    """Label, weight and the features that are present, so that sparse rows of other widths compare."""
    weights = np.ones(batch.rows, np.float32) if batch.weight is None else batch.weight
    entries: list[list[tuple[int, float]]] = [[] for _ in range(batch.rows)]
    if isinstance(batch.features, csr_array):
        sparse = batch.features.tocoo()
        cells = zip(sparse.row.tolist(), sparse.col.tolist(), sparse.data.tolist(), strict=True)
    else:
        rows, columns = np.nonzero(~np.isnan(batch.features))
        cells = zip(rows.tolist(), columns.tolist(), batch.features[rows, columns].tolist(), strict=True)
    for row, column, value in cells:
        entries[row].append((column, value))
    return [
        (label, weight, tuple(found))
        for label, weight, found in zip(batch.label.tolist(), weights.tolist(), entries, strict=True)
    ]
