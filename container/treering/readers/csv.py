"""CSV text: the label first, then (on request) the weight, then the features; all of them numbers.

pyarrow parses blocks of whole rows with all cores. It reads float32 at once, so a value that was written
from a float32 comes back bit for bit. What pyarrow or a check refuses gets a second, careful look
(`treering.readers.csv_careful`), which either names file, line and column or finds the block readable.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from treering.readers import cells, csv_careful, lines
from treering.readers.batch import Batch, Columns, Span
from treering.readers.csv_careful import DOUBLE_QUOTE
from treering.readers.csv_layout import Layout, layout_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from treering.readers.batch import File, Unit

logger = logging.getLogger(__name__)

_PIECE = 1 << 20  # bytes that one thread parses at once
_MISSING = [*cells.MISSING, *(" " + cell for cell in cells.MISSING)]  # pyarrow compares before it trims


class CsvReader:
    """Reads CSV files; its unit is bytes.

    The delimiter is detected per file. An empty cell and the usual spellings of a missing value become
    NaN; blanks around numbers, scientific notation, quotes, newlines in quotes, CRLF, a byte order mark
    and blank lines are fine.

    Parameters
    ----------
    weights
        Whether column 1 is the row's weight.
    header
        Whether the first row of each file names its columns.
    block_size
        Bytes of text per batch.
    """

    unit: ClassVar[Unit] = "bytes"

    def __init__(self, *, weights: bool = False, header: bool = False, block_size: int = lines.BLOCK) -> None:
        self._weights = weights
        self._header = header
        self._block_size = block_size
        self._layouts: dict[File, Layout] = {}
        self._slow: set[File] = set()

    def extent(self, file: File) -> int:
        """Bytes of `file`."""
        return file.size

    def columns(self, file: File) -> Columns:
        """Feature columns of `file`, told by its first rows; none if it has no rows."""
        layout = self._layout(file)
        first = layout.first_feature
        names = None if layout.names is None else layout.names[first:]
        return Columns(max(0, layout.columns - first), names)

    def categories(self) -> Mapping[int, tuple[str, ...]]:
        """None: all columns are numbers."""
        return {}

    def survey(self, file: File, start: int, stop: int) -> int:
        """Number of quote characters in ``[start, stop)``."""
        return lines.count(file, start, stop, DOUBLE_QUOTE)

    def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:
        """For each target the first row start at or after it; the header goes with the first row."""
        start = self._layout(file).start
        places, quotes = [], 0
        for target, more in zip(targets, surveys, strict=True):
            quotes += more
            places.append(lines.row_start(file, target, quotes=quotes) if target > start else 0)
        return places

    def read(self, span: Span) -> Iterator[Batch]:
        """Yield the rows that start in `span`; raises UserError with file, line and column."""
        lines.require_row_start(span)
        layout = self._layout(span.file)
        start = max(span.start, layout.start)
        if layout.columns == 0 or start >= span.stop:
            return
        for block in lines.blocks(Span(span.file, start, span.stop), self._block_size, quoted=True):
            batch = self._batch(block, layout)
            if batch.rows:
                yield batch

    def _layout(self, file: File) -> Layout:
        if file not in self._layouts:
            self._layouts[file] = layout_of(file, header=self._header, weights=self._weights)
        return self._layouts[file]

    def _batch(self, block: lines.Block, layout: Layout) -> Batch:
        numbers = _parse(block.data, layout)
        if numbers is None or not layout.fits(numbers):
            numbers = csv_careful.parse(block, layout)
            if block.file not in self._slow:
                self._slow.add(block.file)
                logger.warning(
                    "%s is read slowly, row by row: it is valid, but has unusual blanks or quotes near byte %d",
                    block.file.name,
                    block.start,
                )
        weight = None if layout.weight is None else numbers[:, layout.weight]
        return Batch(numbers[:, layout.first_feature :], numbers[:, layout.label], weight)


def _parse(data: bytes, layout: Layout) -> NDArray[np.float32] | None:
    """All cells as float32 in Fortran order, or None if this takes a careful look."""
    quoted = DOUBLE_QUOTE in data
    if data.count(DOUBLE_QUOTE) % 2 or data.startswith(lines.BOM):  # pyarrow overlooks both
        return None
    row = data.find(b"\n") + 1 or len(data)
    names = [str(column) for column in range(layout.columns)]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=max(_PIECE, 4 * row)),
            parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=quoted),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float32()), null_values=_MISSING
            ),
        )
    except pa.ArrowInvalid:
        return None
    numbers = np.empty((table.num_rows, layout.columns), np.float32, order="F")
    for column in range(layout.columns):
        start = 0
        for chunk in table.column(column).chunks:
            numbers[start : start + len(chunk), column] = chunk.to_numpy(zero_copy_only=False)
            start += len(chunk)
    return numbers
