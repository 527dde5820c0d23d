"""Rows of one row group, decoded little by little.

Whole row groups may not fit into memory beside what is made of them. A small one is decoded some columns at a
time, which costs nothing, since columns lie one behind the other. A large one is decoded some rows at a time,
which costs a page of every column.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from pyarrow import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    from pyarrow import parquet

_DECODED = 16 << 20  # bytes of decoded columns held at once
_WIDEST = 8  # bytes a value, before it is a float32


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
