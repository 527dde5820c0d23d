"""CSV text: the label first, unless another column is named, and the features; all of them numbers.

pyarrow parses blocks of whole rows, several at a time. It reads float32 at once, so a value that was written
from a float32 comes back bit for bit. What pyarrow or a check refuses gets a second, careful look
(`treering.readers.csv_careful`), which either names file, line and column or finds the block readable.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from treering.readers import cells, compression, csv_careful, lines, small_files
from treering.readers.batch import NEARLY_ALL, Batch, Columns, Span
from treering.readers.csv_careful import DOUBLE_QUOTE
from treering.readers.csv_layout import Layout, layout_of
from treering.readers.csv_table import Table, clean
from treering.readers.groups import groups_of
from treering.readers.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from treering.readers.batch import File, Unit

logger = logging.getLogger(__name__)

_PIECE = 1 << 20  # bytes that one of pyarrow's own threads parses at once
_FEWEST_ROWS = (
    64  # of the first row's length in one batch: each column costs a microsecond, however few its values
)
_MISSING = [*cells.MISSING, *(" " + cell for cell in cells.MISSING)]  # pyarrow compares before it trims


class CsvReader:
    """Reads CSV files; its unit is bytes.

    The delimiter is detected per file. An empty cell and the usual spellings of a missing value become
    NaN; blanks around numbers, scientific notation, quotes, newlines in quotes, CRLF, a byte order mark
    and blank lines are fine. So are files compressed with gzip or Zstandard, which are never cut.

    Parameters
    ----------
    weights
        Whether column 1 is the row's weight, should `roles` name none.
    header
        Whether the first row of each file names its columns.
    roles
        Columns that are no features; the query group may be text.
    block_size
        Bytes of text per batch.
    """

    unit: ClassVar[Unit] = "bytes"

    def __init__(
        self,
        *,
        weights: bool = False,
        header: bool = False,
        roles: Roles | None = None,
        block_size: int = lines.BLOCK,
    ) -> None:
        roles = roles or Roles()
        self._roles = dataclasses.replace(roles, weight=1) if weights and roles.weight is None else roles
        self._header = header
        self._block_size = block_size
        self._layouts: dict[File, Layout] = {}
        self._latest: Layout | None = None
        self._slow: set[File] = set()

    def extent(self, file: File) -> int:
        """Bytes of `file`, be they text or an archive."""
        return file.size

    def divisible(self, file: File) -> bool:
        """Whether the name of `file` does not say that it is compressed."""
        return not compression.has_suffix(file.name)

    def columns(self, file: File) -> Columns:
        """Feature columns of `file`, told by its first rows; none if it has no rows."""
        layout = self._layout(file)
        features = layout.parts.features
        names = None if layout.names is None else tuple(layout.names[column] for column in features)
        return Columns(len(features), names)

    def categories(self) -> Mapping[int, tuple[str, ...]]:
        """None: all columns are numbers."""
        return {}

    def working_memory(self, file: File) -> int:
        """The bytes of a block, twice where rows are carried over, and the numbers in it, which are checked in copies."""
        return 4 * self._at_once(self._layout(file))

    def present(self, file: File, head: bytes) -> float:
        """As its first rows have it, if they are plain ones."""
        layout = self._layout(file)
        table = _parse(head[layout.start : head.rfind(b"\n") + 1], layout) if layout.columns else None
        if table is None or not table.numbers.size:
            return NEARLY_ALL
        missing = sum(int(np.isnan(table.numbers[:, column]).sum()) for column in layout.parts.features)
        return 1 - missing / (len(table.numbers) * len(layout.parts.features))

    def survey(self, file: File, start: int, stop: int) -> int:
        """Number of quote characters in ``[start, stop)``; of none in an archive, which is not cut."""
        if self._layout(file).look.compressed:
            return 0
        return lines.count(file, start, stop, DOUBLE_QUOTE)

    def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:
        """For each target the first row start at or after it; the header goes with the first row."""
        layout = self._layout(file)
        if layout.look.compressed:
            return compression.never_cut(file, targets)
        places, quotes = [], 0
        for target, more in zip(targets, surveys, strict=True):
            quotes += more
            places.append(lines.row_start(file, target, quotes=quotes) if target > layout.start else 0)
        return places

    def read(self, span: Span) -> Iterator[Batch]:
        """Yield the rows that start in `span`; raises UserError with file, line and column."""
        layout = self._layout(span.file)
        for block in self._blocks(span):
            batch = self._batch(block, layout, threads=True)
            if batch.rows:
                yield batch

    def cut(self, span: Span) -> list[Span]:
        """The span itself: its bytes are read in order, and parsed side by side."""
        return [span]

    def tasks(self, span: Span) -> Iterator[Callable[[], Batch]]:
        """One for each block of text."""
        layout = self._layout(span.file)
        return (functools.partial(self._batch, block, layout) for block in self._blocks(span))

    def together(self, spans: Sequence[Span]) -> tuple[Batch, list[int]] | None:
        """All rows of several whole files, if they are laid out alike and plainly right."""
        layout = self._layout(spans[0].file)
        texts = []
        for span in spans:
            other = self._layout(span.file)
            if not other.is_like(layout):
                return None
            texts.append(small_files.text(span.file, other.start))
        joined = small_files.join(texts, plain=DOUBLE_QUOTE)
        table = None if joined is None else _parse(joined.data, layout)
        if joined is None or table is None or not table.fits(layout.parts):
            return None
        return joined.checked(table.to_batch(layout.parts))

    def _blocks(self, span: Span) -> Iterator[lines.Block]:
        lines.require_row_start(span)
        layout = self._layout(span.file)
        return lines.blocks(layout.rows_of(span), self._at_once(layout), quoted=True)

    def _at_once(self, layout: Layout) -> int:
        """Bytes of text in a block."""
        return max(self._block_size, min(lines.LARGE_BLOCK, _FEWEST_ROWS * layout.row_bytes))

    def _layout(self, file: File) -> Layout:
        if file not in self._layouts:
            self._layouts[file] = layout_of(file, self._roles, header=self._header, like=self._latest)
            self._latest = self._layouts[file]
        return self._layouts[file]

    def _batch(self, block: lines.Block, layout: Layout, *, threads: bool = False) -> Batch:
        table = _parse(block.data, layout, threads=threads)
        if table is None or not table.fits(layout.parts):
            table = csv_careful.parse(block, layout)
            if block.file not in self._slow:
                self._slow.add(block.file)
                logger.warning(
                    "%s is read slowly, row by row: it is valid, but has unusual blanks or quotes near byte %d",
                    block.file.name,
                    block.start,
                )
        return dataclasses.replace(table.to_batch(layout.parts), source_bytes=block.source_bytes)


def _parse(data: bytes, layout: Layout, *, threads: bool = False) -> Table | None:
    """All cells of `data`, or None if this takes a careful look."""
    quoted = DOUBLE_QUOTE in data  # bytes are found ten times as fast as they are counted
    if (quoted and data.count(DOUBLE_QUOTE) % 2) or data.startswith(lines.BOM):  # pyarrow overlooks both
        return None
    try:
        table = _read(data, layout, threads=threads)
    except pa.ArrowInvalid:
        return None
    group, at = None, layout.parts.group
    if at is not None:
        found = [groups_of(chunk, clean) for chunk in table.column(at).chunks]
        if any(missing.any() for _, missing in found):
            return None
        group = np.concatenate([np.zeros(0, np.int64), *(ids for ids, _ in found)])
    numbers = np.empty((table.num_rows, layout.columns), np.float32, order="F")
    for column in range(layout.columns):
        start = 0
        for chunk in table.column(column).chunks if column != at else ():
            numbers[start : start + len(chunk), column] = chunk.to_numpy(zero_copy_only=False)
            start += len(chunk)
    return Table(numbers, group)


def _read(data: bytes, layout: Layout, *, threads: bool) -> pa.Table:
    """The columns of `data`: numbers, but for a column of query groups."""
    row = data.find(b"\n") + 1 or len(data)
    piece = max(_PIECE, 4 * row) if threads else len(data) + 1
    names = [str(column) for column in range(layout.columns)]
    kinds = dict.fromkeys(names, pa.float32())
    if layout.parts.group is not None:
        kinds[str(layout.parts.group)] = pa.dictionary(pa.int32(), pa.string())
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        read_options=arrow_csv.ReadOptions(column_names=names, block_size=piece, use_threads=threads),
        parse_options=arrow_csv.ParseOptions(
            delimiter=layout.delimiter, newlines_in_values=DOUBLE_QUOTE in data
        ),
        convert_options=arrow_csv.ConvertOptions(column_types=kinds, null_values=_MISSING),
    )
