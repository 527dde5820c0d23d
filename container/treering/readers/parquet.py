"""Parquet: columns by name, the first one the label unless another is named.

Nulls are missing. Text and dictionaries are categories; what else is no float becomes one as `treering.readers.arrow_values` says.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import logging
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from treering.errors import UserError
from treering.readers import arrow_values, parquet_group
from treering.readers.batch import NEARLY_ALL, Batch, Columns, Span
from treering.readers.encoding import TOO_MANY, Encoder
from treering.readers.groups import groups_of
from treering.readers.parquet_group import Part
from treering.readers.parquet_layout import Layout, layout_of, opened_parquet
from treering.readers.roles import Roles
from treering.readers.rules import GROUP, INTERVAL, bounds, inverted
from treering.readers.source import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from pyarrow import parquet

    from treering.readers.batch import File, Unit
    from treering.readers.parquet_group import Column

logger = logging.getLogger(__name__)

BATCH = 16 << 20
"""Bytes of float32 in one batch of a row group that is too large to be one."""

WHOLE = 64 << 20
"""Bytes of float32 up to which a row group becomes one batch."""

_FOOTERS = 16  # kept: a large one takes longer to parse than a row group to decode

NEAR = 0.005
"""Part of a span's rows that a boundary may move to meet the edge of a row group.

A boundary inside a row group makes two ranks decode it, once, while loading. Uneven ranks wait for each
other in every round. So the boundary moves only where that makes no span more than 1% larger.
"""


class ParquetReader:
    """Reads Parquet files; its unit is rows.

    Parameters
    ----------
    roles
        Columns that are no features; by default the first one is the label.
    batch_size
        Bytes of float32 in a batch of a large row group.
    whole
        Bytes of float32 up to which a row group is no large one.
    """

    unit: ClassVar[Unit] = "rows"

    def __init__(self, *, roles: Roles | None = None, batch_size: int = BATCH, whole: int = WHOLE) -> None:
        self._roles = roles or Roles()
        self._batch_size = batch_size
        self._whole = whole
        self._footers: dict[File, parquet.FileMetaData] = {}
        self._layouts: dict[File, Layout] = {}
        self._by_rows: dict[tuple[str, ...], int] = {}  # bytes, by the names of a file's columns
        self._encoders: dict[int, Encoder] = {}
        self._rounded = False

    def extent(self, file: File) -> int:
        """Rows of `file`."""
        return self._layout(file).edges[-1]

    def divisible(self, file: File) -> bool:  # noqa: ARG002  # every file has the same answer
        """Any file: rows are numbered, however they are compressed."""
        return True

    def columns(self, file: File) -> Columns:
        """Names and types of the feature columns; raises UserError for a type that is no number."""
        return self._layout(file).columns

    def categories(self) -> Mapping[int, tuple[str, ...]]:
        """Of each categorical column what its codes stand for, as far as this reader has read."""
        return {column: encoder.categories for column, encoder in self._encoders.items()}

    def working_memory(self, file: File) -> int:
        """What the largest row group takes, in the way in which it is going to be read.

        Of files with the same columns whose row groups are large, one is looked into: a writer makes all alike.
        """
        layout = self._layout(file)
        before, after = [*layout.edges, 0][layout.largest : layout.largest + 2]
        if self._is_small(after - before, layout):
            return layout.whole
        if layout.names not in self._by_rows:
            with self._opened(file) as source, opened(file) as stream:
                group = source.metadata.row_group(layout.largest)
                rows = min(self._at_once(layout), group.num_rows)
                self._by_rows[layout.names] = parquet_group.memory_by_rows(group, stream, rows)
        return self._by_rows[layout.names]

    def present(self, file: File, head: bytes) -> float:  # noqa: ARG002  # it is no text
        """As the footer counts the nulls of the largest row group; NaN it does not count."""
        layout = self._layout(file)
        if not layout.edges[-1]:
            return NEARLY_ALL
        features = {layout.names[place] for place in layout.parts.features}
        with self._opened(file) as source:
            group = source.metadata.row_group(layout.largest)
            columns = [group.column(i) for i in range(group.num_columns)]
        counted = [chunk.statistics for chunk in columns if chunk.path_in_schema in features]
        if len(counted) < len(features):
            return NEARLY_ALL
        nulls: int = 0
        for statistics in counted:
            if statistics is None or not statistics.has_null_count:
                return NEARLY_ALL
            nulls += statistics.null_count
        return 1 - nulls / float(group.num_rows * len(features))

    def survey(self, file: File, start: int, stop: int) -> int:  # noqa: ARG002  # nothing to count
        """Nothing: rows are numbered."""
        return 0

    def boundaries(self, file: File, targets: list[int], surveys: list[int]) -> list[int]:  # noqa: ARG002  # as above
        """The targets themselves, moved to the edge of a row group where one is near."""
        edges = self._layout(file).edges
        places = [0, *targets, edges[-1]]
        return [
            _snap(target, edges, NEAR * min(target - before, after - target))
            for before, target, after in zip(places, targets, places[2:], strict=False)
        ]

    def read(self, span: Span) -> Iterator[Batch]:
        """Yield the rows of `span`; raises UserError with file, row and column."""
        return (task() for part in self.cut(span) for task in self.tasks(part))

    def cut(self, span: Span) -> list[Span]:
        """One span for each row group."""
        edges = self._layout(span.file).edges
        inside = sorted({edge for edge in edges if span.start < edge < span.stop})  # some groups are empty
        places = [span.start, *inside, span.stop] if span.start < span.stop else []
        return [Span(span.file, start, stop) for start, stop in itertools.pairwise(places)]

    def tasks(self, span: Span) -> Iterator[Callable[[], Batch]]:
        """Decode a small row group in one task; of a large one, tasks convert what drawing them decodes."""
        layout = self._layout(span.file)
        for each in self.cut(span):
            group = bisect.bisect_right(layout.edges, each.start) - 1
            before, after = layout.edges[group : group + 2]
            part = Part(group, each.start - before, each.stop - before)
            if self._is_small(after - before, layout):
                yield functools.partial(self._decode, each, part, layout)
            else:
                yield from self._decode_some(each, part, layout)

    def together(self, spans: Sequence[Span]) -> None:  # noqa: ARG002  # whatever the files are
        """Nothing: files cannot stand one behind the other."""
        return

    def _layout(self, file: File) -> Layout:
        if file not in self._layouts:
            self._layouts[file] = layout_of(file, self._roles)
        return self._layouts[file]

    def _is_small(self, rows: int, layout: Layout) -> bool:
        """Whether a row group of so many rows becomes one batch."""
        return 4 * rows * len(layout.names) <= self._whole

    def _at_once(self, layout: Layout) -> int:
        """Rows of one batch of a large row group."""
        return max(1, self._batch_size // (4 * len(layout.names)))

    @contextlib.contextmanager
    def _opened(self, file: File) -> Iterator[parquet.ParquetFile]:
        with opened_parquet(file, self._footers.get(file), self._layout(file)) as source:
            if file not in self._footers:
                self._footers[file] = source.metadata
                for old in list(self._footers)[:-_FOOTERS]:
                    self._footers.pop(old, None)
            yield source

    def _decode(self, span: Span, part: Part, layout: Layout) -> Batch:
        with self._opened(span.file) as source:
            column = parquet_group.by_columns(source, part, layout.names)
            return self._convert(column, span, layout)

    def _decode_some(self, span: Span, part: Part, layout: Layout) -> Iterator[Callable[[], Batch]]:
        at_once, row = self._at_once(layout), span.start
        with self._opened(span.file) as source:
            for start, rows, column in parquet_group.by_rows(source, part, layout.names, at_once):
                row = span.start - part.start + start
                yield functools.partial(self._convert, column, Span(span.file, row, row + rows), layout)
                row += rows
        if row != span.stop:
            raise UserError(f"{span.file.name} is damaged: it ends at row {row:,} of {layout.edges[-1]:,}")

    def _convert(self, column: Column, span: Span, layout: Layout) -> Batch:
        """Batch of all rows of `span`, whose columns `column` gives."""
        parts, rows = layout.parts, span.stop - span.start
        place_of = {place: number for number, place in enumerate(parts.features)}
        categorical = frozenset(layout.columns.categorical)
        features = np.empty((rows, len(place_of)), np.float32, order="F")
        found: dict[int, NDArray[np.float32]] = {}
        group = None

        def refuse(broken: NDArray[np.bool_], place: int, sentence: str) -> None:
            if broken.any():
                row = span.start + int(np.argmax(broken)) + 1
                raise UserError(f"{span.file.name}, row {row:,}, column {layout.names[place]!r}: {sentence}")

        for place, name in enumerate(layout.names):
            values = column(name)
            if len(values) != rows:
                raise UserError(
                    f"{span.file.name} is damaged: column {name!r} lacks rows of {span.start:,} to {span.stop:,}"
                )
            number = place_of.get(place)
            if number in categorical:
                features[:, number] = self._codes(values, number, f"{span.file.name}, column {name!r}")
            elif place == parts.group:
                group, missing = groups_of(values)
                refuse(missing, place, GROUP)
            else:
                floats, rule = self._floats(values, name, span.file), parts.rule(place)
                refuse(rule.broken(floats), place, rule.sentence)
                if number is None:
                    found[place] = floats
                else:
                    features[:, number] = floats
        upper = None
        if parts.label_upper is not None:
            upper = bounds(found[parts.label_upper])
            refuse(inverted(found[parts.label], upper), parts.label_upper, INTERVAL)
        margins = [found[place] for place in parts.base_margin]
        return Batch(
            features,
            found[parts.label],
            None if parts.weight is None else found[parts.weight],
            group,
            upper,
            np.column_stack(margins) if len(margins) > 1 else next(iter(margins), None),
            _share(span, layout.edges[-1]),
        )

    def _codes(self, values: pa.Array, number: int, where: str) -> NDArray[np.float32]:
        try:
            return self._encoders.setdefault(number, Encoder()).encode(values)
        except OverflowError as error:
            raise UserError(f"{where}: {TOO_MANY}") from error

    def _floats(self, values: pa.Array, name: str, file: File) -> NDArray[np.float32]:
        if not self._rounded and not arrow_values.survives(values):
            self._rounded = True
            logger.warning(
                "%s, column %r: integers beyond 2**24 are rounded to float32 (said once, others may follow)",
                file.name,
                name,
            )
        return arrow_values.to_float32(values)


def _share(span: Span, rows: int) -> int:
    """The bytes of a file of so many rows that are a span's; those of all spans add up to its size."""
    return span.file.size * span.stop // rows - span.file.size * span.start // rows


def _snap(target: int, edges: tuple[int, ...], tolerance: float) -> int:
    """The edge nearest to `target` if it is within `tolerance` rows, else `target`."""
    above = bisect.bisect_left(edges, target)
    nearest = min(edges[max(above - 1, 0) : above + 1], key=lambda edge: abs(edge - target))
    return nearest if abs(nearest - target) <= tolerance else target
