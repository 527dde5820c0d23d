"""LIBSVM text: ``label[:weight] [qid:group] index:value … # comment``; absent values are missing.

Indices count from 0 and are taken as they are. They may stand in any order, as XGBoost's own parser allows,
but only once in a row: that parser keeps both values, which no tree can use.

A block is decoded in bulk, by turning it into CSV of two columns (index and value) that pyarrow parses. Whatever does not fit that form gets a second, careful look (`treering.readers.libsvm_careful`).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from treering.readers import compression, libsvm_careful, lines, small_files
from treering.readers.batch import Batch, Columns, Span
from treering.readers.libsvm_rows import LARGEST_INDEX, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from treering.readers.batch import File, Unit

logger = logging.getLogger(__name__)

_COMMENT = re.compile(rb"#[^\n]*")
_HEAVY_LABEL = re.compile(rb"^([^\s:]+):", re.MULTILINE)
_INDENT = re.compile(rb"^[ \t]+", re.MULTILINE)
_PLAIN = b"0123456789+-.eE: \t\r\nnaifNAIFqd"  # numbers, inf, nan, qid; a comma would forge a column
_TO_CSV = bytes.maketrans(b" \t\r:", b"\n\n\n,")
# What stands in the place of an index where there is none.
_LABEL, _WEIGHT, _GROUP = 2**62, 2**62 + 1, 2**62 + 2
_MARKS = b"46116860184273879"  # how they all begin


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """Where a file's text begins and ends, and the form of its first row, in which others are expected."""

    look: lines.Look
    weighted: bool = False
    grouped: bool = False


class LibsvmReader:
    """Reads LIBSVM files; its unit is bytes. Any spacing, comments, blank lines and compression are fine.

    Parameters
    ----------
    block_size
        Bytes of text per batch.
    """

    unit: ClassVar[Unit] = "bytes"

    def __init__(self, *, block_size: int = lines.BLOCK) -> None:
        self._block_size = block_size
        self._forms: dict[File, _Form] = {}
        self._slow: set[File] = set()

    def extent(self, file: File) -> int:
        """Bytes of `file`, be they text or an archive."""
        return file.size

    def divisible(self, file: File) -> bool:
        """Whether the name of `file` does not say that it is compressed."""
        return not compression.has_suffix(file.name)

    def columns(self, file: File) -> Columns:  # noqa: ARG002  # every file has the same answer
        """Unknown before all rows are read; each batch is as wide as its own largest index asks for."""
        return Columns(0)

    def categories(self) -> Mapping[int, tuple[str, ...]]:
        """None: all columns are numbers."""
        return {}

    def working_memory(self, file: File) -> int:  # noqa: ARG002  # every file has the same answer
        """The bytes of a block in several spellings, and each of its numbers with an index and a row."""
        return 12 * self._block_size

    def present(self, file: File, head: bytes) -> float:  # noqa: ARG002  # every file has the same answer
        """All: what is not there is no cell."""
        return 1

    def survey(self, file: File, start: int, stop: int) -> int:  # noqa: ARG002  # nothing to count
        """Nothing: every newline ends a row."""
        return 0

    def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:  # noqa: ARG002  # as above
        """For each target the first row start at or after it; an archive stays whole."""
        if self._form(file).look.compressed:
            return compression.never_cut(file, targets)
        return [lines.row_start(file, target, quotes=None) for target in targets]

    def read(self, span: Span) -> Iterator[Batch]:
        """Yield the rows that start in `span`; raises UserError with file and line."""
        return (batch for task in self.tasks(span) if (batch := task()).rows)

    def cut(self, span: Span) -> list[Span]:
        """The span itself: its bytes are read in order, and parsed side by side."""
        return [span]

    def tasks(self, span: Span) -> Iterator[Callable[[], Batch]]:
        """One for each block of text."""
        lines.require_row_start(span)
        form = self._form(span.file)
        blocks = lines.blocks(form.look.within(span), self._block_size, quoted=False)
        return (functools.partial(self._batch, block, form) for block in blocks)

    def together(self, spans: Sequence[Span]) -> tuple[Batch, list[int]] | None:
        """All rows of several whole files, if their rows are of one form and plainly right."""
        forms = [self._form(span.file) for span in spans]
        kinds = {(form.look.compressed, form.weighted, form.grouped) for form in forms}
        if len(kinds) > 1 or forms[0].look.compressed:
            return None
        texts = [
            small_files.text(span.file, form.look.start) for span, form in zip(spans, forms, strict=True)
        ]
        joined = small_files.join(texts, plain=b"#")
        rows = None if joined is None else _parse(joined.data, forms[0])
        batch = rows.to_batch() if rows is not None and rows.usable() else None
        return None if joined is None or batch is None else joined.checked(batch)

    def _form(self, file: File) -> _Form:
        if file not in self._forms:
            self._forms[file] = _form_of(file)
        return self._forms[file]

    def _batch(self, block: lines.Block, form: _Form) -> Batch:
        rows = _parse(block.data, form)
        batch = rows.to_batch() if rows is not None and rows.usable() else None
        if batch is None:
            batch = libsvm_careful.parse(block, grouped=form.grouped).to_batch()
            if batch is None:
                raise RuntimeError(f"{block.place(0)}: rows were found valid that make no matrix")
            if block.file not in self._slow:
                self._slow.add(block.file)
                logger.warning(
                    "%s is read slowly, row by row: it is valid, but has unusual blanks or weights near byte %d",
                    block.file.name,
                    block.start,
                )
        return dataclasses.replace(batch, source_bytes=block.source_bytes)


def _form_of(file: File) -> _Form:
    look = lines.look(file, quoted=False)
    head, look = look.head, look.forget_head()
    if head:
        rest = Span(file, head.start + len(head.data), look.stop)
        for block in itertools.chain([head], lines.blocks(rest, lines.HEAD, quoted=False)):
            for line in block.data.split(b"\n"):
                if found := libsvm_careful.tokens(line):
                    return _Form(look, ":" in found[0], any(token.startswith("qid:") for token in found))
    return _Form(look)


def _parse(data: bytes, form: _Form) -> Rows | None:
    """The rows of `data`, or None if this takes a careful look."""
    if b"#" in data:
        data = _COMMENT.sub(b"", data)
    if data.translate(None, _PLAIN) or _MARKS in data:
        return None
    if data.startswith((b" ", b"\t")) or b"\n " in data or b"\n\t" in data:
        data = _INDENT.sub(b"", data)
    if form.weighted:
        data = _HEAVY_LABEL.sub(rb"\1 %d:" % _WEIGHT, data)
    if form.grouped:
        data = data.replace(b"qid:", b"%d:" % _GROUP)
    try:
        return _to_rows(data, form)
    except pa.ArrowInvalid:
        return None


def _to_rows(data: bytes, form: _Form) -> Rows | None:
    """Read lines that consist of a label and of ``index:value``; None if they are not like that."""
    table = _to_table(data, pa.string() if form.grouped else pa.float32())
    value = table["value"]
    index = table["index"].fill_null(_LABEL).to_numpy()
    filled = value.is_valid().to_numpy()
    heads, weights, groups = index == _LABEL, index == _WEIGHT, index == _GROUP
    entries = (index >= 0) & (index <= LARGEST_INDEX)
    if (
        np.count_nonzero(heads) != data.count(b"\n") + 1  # an index is missing
        or not (heads | filled).all()  # a value is missing
        or not (heads | weights | groups | entries).all()  # an index is out of range
    ):
        return None
    labels = heads & filled  # a head without a label is a blank line
    row = np.cumsum(labels) - 1
    rows = np.count_nonzero(labels)
    if form.grouped and not np.array_equal(row[groups], np.arange(rows)):
        return None  # each row has to be in one group
    weight = None
    if weights.any():
        weight = np.ones(rows, np.float32)
        weight[row[weights]] = _numbers(value, weights, pa.float32())
    return Rows(
        _numbers(value, labels, pa.float32()),
        weight,
        _numbers(value, groups, pa.int64()) if form.grouped else None,
        row[entries],
        index[entries],
        _numbers(value, entries, pa.float32()),
    )


def _to_table(data: bytes, value_type: pa.DataType) -> pa.Table:
    """Columns ``index`` and ``value`` of all tokens; a line's start, hence its label, has no index."""
    text = b"," + data.replace(b"\n", b"\n,").translate(_TO_CSV)
    size = len(text) + 1
    return arrow_csv.read_csv(
        pa.BufferReader(text),
        read_options=arrow_csv.ReadOptions(
            column_names=["index", "value"], block_size=size, use_threads=False
        ),
        parse_options=arrow_csv.ParseOptions(quote_char=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types={"index": pa.int64(), "value": value_type},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _numbers(value: pa.ChunkedArray, which: NDArray[np.bool_], kind: pa.DataType) -> NDArray[Any]:
    """The chosen values as numbers; groups come as text, since float32 would not hold a large one."""
    numbers: NDArray[Any] = value.filter(pa.array(which)).cast(kind).to_numpy()
    return numbers
