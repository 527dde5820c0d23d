"""Rows of one row group, decoded little by little.

Whole row groups may not fit into memory beside what is made of them. A small one is decoded some columns at a
time, which costs nothing, since columns lie one behind the other. A large one is decoded some rows at a time,
which costs a page of every column.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from typing import IO, TYPE_CHECKING, Any, Final

from pyarrow import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from pyarrow import parquet

_DECODED: Final = 16 << 20  # bytes of decoded columns held at once
_WIDEST: Final = 8  # bytes a value, before it is a float32
_AHEAD: Final = 64 << 20  # bytes read ahead of all columns together, in pieces of 1 MiB at most
_HEADER: Final = 64  # bytes, of which a page's two sizes are among the first
_PAGE: Final = 1 << 20  # bytes up to which writers let a dictionary grow
_CODE: Final = 3  # bytes of a number in a dictionary, at most
_I32: Final = 0x15  # how Thrift's compact protocol says: the next field, a number of 32 bits


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """The rows ``[start, stop)`` of a row group."""

    group: int
    start: int
    stop: int


type Column = Callable[[str], pa.Array]
"""From a column's name to its values, of each column once, best in the order of the file."""


def by_columns(source: parquet.ParquetFile, part: Part, names: Sequence[str]) -> Column:
    """All rows of `part`; `source` has to stay open."""
    rows = source.metadata.row_group(part.group).num_rows
    at_once = max(1, _DECODED // (_WIDEST * max(1, rows)))
    loaded: dict[str, pa.Array] = {}

    def column(name: str) -> pa.Array:
        if name not in loaded:
            at = names.index(name)
            some = list(names[at : at + at_once])
            table = source.read_row_group(part.group, columns=some)
            loaded.update((each, _one(table.column(each))) for each in some)
        return loaded.pop(name).slice(part.start, part.stop - part.start)

    return column


def by_rows(
    source: parquet.ParquetFile, part: Part, names: Sequence[str], rows: int
) -> Iterator[tuple[int, int, Column]]:
    """`rows` rows of `part` at a time: the first one's number in the row group, how many, and their columns."""
    at = 0
    for batch in source.iter_batches(batch_size=rows, row_groups=[part.group], columns=list(names)):
        start, stop = max(part.start - at, 0), min(part.stop - at, batch.num_rows)
        if start < stop:
            yield at + start, stop - start, functools.partial(_sliced, batch, start, stop)
        at += batch.num_rows


def _sliced(batch: pa.RecordBatch, start: int, stop: int, name: str) -> pa.Array:
    return batch.column(name).slice(start, stop - start)


def _one(column: pa.ChunkedArray) -> Any:
    """A column's chunks as one array."""
    if types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def read_ahead(columns: int) -> int:
    """Bytes to read ahead of each of so many columns, all of which are read side by side."""
    return min(max(_AHEAD // max(1, columns), 1 << 14), 1 << 20)


def memory_by_columns(group: parquet.RowGroupMetaData) -> int:
    """Bytes that `by_columns` takes of a row group at most, as measured, and the float32 that are made of it."""
    rows, columns = int(group.num_rows), int(group.num_columns)
    texts = [_texts(group.column(number), rows) for number in range(columns)]
    at_once = max(1, _DECODED // (_WIDEST * max(1, rows)))
    text = max((sum(some) for some in itertools.batched(texts, min(at_once, max(columns, 1)))), default=0)
    return 4 * rows * columns + 3 * _WIDEST * rows * min(at_once, columns) + text


def memory_by_rows(group: parquet.RowGroupMetaData, stream: IO[bytes], rows: int) -> int:
    """Bytes that `by_rows` takes of a row group at most, as measured, and the float32 that are made of one step.

    A page of each column is there at once, as it lies in the file and unpacked, and so is its dictionary. How
    large they are stands in front of the first ones: a writer makes all alike.

    Parameters
    ----------
    group
        From the footer.
    stream
        The file.
    rows
        Of one step, at most as many as there are.
    """
    columns = int(group.num_columns)
    total = (3 * _WIDEST + 4) * rows * columns
    for number in range(columns):
        chunk = group.column(number)
        packed, unpacked = int(chunk.total_compressed_size), int(chunk.total_uncompressed_size)
        held = min(_page(stream, chunk.data_page_offset), packed + unpacked)
        if chunk.has_dictionary_page:
            held += 2 * min(_page(stream, chunk.dictionary_page_offset), packed + unpacked)
        texts = _texts(chunk, group.num_rows)
        if not is_coded(chunk, group.num_rows):
            texts = texts * rows // group.num_rows
        total += held + min(read_ahead(columns), packed) + texts
    return total + total // 8


def is_coded(chunk: parquet.ColumnChunkMetaData, rows: int) -> bool:
    """Whether a column of texts has each of them once, in a dictionary, and in `rows` rows only its number."""
    return chunk.physical_type == "BYTE_ARRAY" and int(chunk.total_uncompressed_size) <= _PAGE + _CODE * rows


def _texts(chunk: parquet.ColumnChunkMetaData, rows: int) -> int:
    """Bytes of a column's texts, and of the tables by which those are found again: short ones are the smallest part."""
    if chunk.physical_type != "BYTE_ARRAY":
        return 0
    return (8 if is_coded(chunk, rows) else 3) * int(chunk.total_uncompressed_size)


def _page(stream: IO[bytes], offset: int) -> int:
    """Bytes of a page, packed and unpacked, as its header says; beyond all others where it cannot be read."""
    stream.seek(offset)
    header, at, numbers = stream.read(_HEADER), 0, []
    for _ in range(3):  # its type, and the two sizes
        if header[at : at + 1] != bytes([_I32]):
            return sys.maxsize
        value, shift, more = 0, 0, True
        while more and at + 1 < len(header):
            at += 1
            value, shift, more = value | (header[at] & 0x7F) << shift, shift + 7, header[at] >= 0x80  # noqa: PLR2004  # a varint
        numbers.append(value >> 1)  # zigzag; sizes are not negative
        at += 1
    return numbers[1] + numbers[2]
