"""How one Parquet file is laid out: which column plays which part, and where its row groups begin."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import logging
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from treering.errors import UserError
from treering.readers import arrow_values
from treering.readers.batch import Columns
from treering.readers.parquet_group import is_coded, memory_by_columns, read_ahead
from treering.readers.roles import Parts, assign
from treering.readers.source import opened, require_unchanged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from treering.readers.batch import ColumnType, File
    from treering.readers.roles import Roles

logger = logging.getLogger(__name__)

_SMALL = 64 << 10  # bytes of a file that is read in one go, rather than opened by Arrow once more


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Columns by the part they play, and the rows at which row groups begin and end.

    Parameters
    ----------
    names
        Of all columns but a pandas index.
    parts
        What each of them is for.
    columns
        The features.
    edges
        0 first, the number of rows last.
    largest
        The row group with the most rows.
    whole
        Bytes of memory that it takes to read that as one batch.
    coded
        Features whose texts lie in dictionaries there: each row is given its number rather than a copy.
    """

    names: tuple[str, ...]
    parts: Parts
    columns: Columns
    edges: tuple[int, ...]
    largest: int = 0
    whole: int = 0
    coded: tuple[str, ...] = ()


def layout_of(file: File, roles: Roles) -> Layout:
    """Find the roles of the columns and the edges of the row groups; raises UserError if that fails."""
    if file.size == 0:
        return Layout((), Parts(0, ()), Columns(0), (0,))
    with opened_parquet(file) as source:
        schema, groups = source.schema_arrow, source.metadata
        sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        largest = sizes.index(max(sizes)) if sizes else 0
        texts = _coded(groups.row_group(largest)) if sizes else frozenset()
        whole = memory_by_columns(groups.row_group(largest)) if sizes else 0
    names = _data_columns(schema, file, roles)
    parts = assign(roles, len(names), names, file.name)
    kinds = [_kind(schema, name, file) for name in names]
    for place, kind in enumerate(kinds):
        if kind == "category" and place not in {*parts.features, parts.group}:
            role = parts.role(place)
            raise UserError(
                f"{file.name}, column {names[place]!r} holds categories, but the {role} has to be a number; "
                f"{'number the classes from 0' if place == parts.label else 'write numbers'}, or name another column"
            )
    columns = Columns(
        len(parts.features),
        tuple(names[place] for place in parts.features),
        tuple(kinds[place] for place in parts.features),
    )
    coded = [names[place] for place in parts.features if kinds[place] == "category" and names[place] in texts]
    edges = tuple(itertools.accumulate(sizes, initial=0))
    return Layout(tuple(names), parts, columns, edges, largest, whole, tuple(coded))


def _coded(group: parquet.RowGroupMetaData) -> frozenset[str]:
    chunks = map(group.column, range(group.num_columns))
    return frozenset(chunk.path_in_schema for chunk in chunks if is_coded(chunk, group.num_rows))


def _data_columns(schema: pa.Schema, file: File, roles: Roles) -> list[str]:
    """Names of all columns but the row index that pandas leaves in a file and takes out again."""
    twice = [name for name, times in collections.Counter(schema.names).items() if times > 1]
    if twice:
        raise UserError(f"{file.name} has several columns named {twice[0]!r}; make column names unique")
    asked = set(map(str, dataclasses.astuple(roles)))
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    skipped = [name for name in schema.names if name in index and name not in asked]
    if skipped:
        logger.info("%s: the pandas index (%s) is not used as a feature", file.name, ", ".join(skipped))
    return [name for name in schema.names if name not in skipped]


def _kind(schema: pa.Schema, name: str, file: File) -> ColumnType:
    column = schema.field(name).type
    kind = arrow_values.kind_of(column)
    if kind is None:
        raise UserError(f"{file.name}, column {name!r} {arrow_values.why_not(column)}")
    return kind


@contextlib.contextmanager
def opened_parquet(
    file: File, footer: parquet.FileMetaData | None = None, layout: Layout | None = None
) -> Iterator[parquet.ParquetFile]:
    """Open `file`; whatever Arrow cannot make sense of, now or while reading, is a damaged file.

    Parameters
    ----------
    file
        To read from.
    footer, layout
        Those of the file, where it has been opened before.
    """
    ahead = read_ahead(1 if layout is None else len(layout.names))
    with opened(file) as stream:
        try:
            with parquet.ParquetFile(
                pa.BufferReader(stream.read()) if file.size <= _SMALL else file.path,
                metadata=footer,
                buffer_size=ahead,
                read_dictionary=None if layout is None else layout.coded,
                page_checksum_verification=True,
            ) as source:
                require_unchanged(file, file.path.stat())  # Arrow opened whatever has that name by now
                yield source
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            if getattr(error, "errno", None):
                raise
            said = str(error).partition("\n")[0].rstrip(".")
            raise UserError(
                f"{file.name} is no valid Parquet file, or is damaged or cut short ({said}); write it again"
            ) from error
