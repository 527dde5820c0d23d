"""Parquet: columns by name, the first one the label unless another is named.

Nulls are missing. Text and dictionaries are categories; what else is no float becomes one as `treering.readers.arrow_values` says.
"""

from __future__ import annotations

import bisect
import logging
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from treering.errors import UserError
from treering.readers import arrow_values
from treering.readers.batch import Batch, Columns
from treering.readers.encoding import Encoder
from treering.readers.groups import groups_of
from treering.readers.parquet_layout import Layout, layout_of, opened_parquet
from treering.readers.roles import Roles
from treering.readers.rules import GROUP, INTERVAL, bounds, inverted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from treering.readers.batch import File, Span, Unit

logger = logging.getLogger(__name__)

BATCH = 16 << 20
"""Bytes of float32 in one batch."""

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
        Bytes of float32 per batch.
    """

    unit: ClassVar[Unit] = "rows"

    def __init__(self, *, roles: Roles | None = None, batch_size: int = BATCH) -> None:
        self._roles = roles or Roles()
        self._batch_size = batch_size
        self._layouts: dict[File, Layout] = {}
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
        layout = self._layout(span.file)
        first = span.start
        for table in self._batches(span, layout):
            yield self._convert(table, layout, span.file, first)
            first += table.num_rows
        if first != span.stop:
            raise UserError(f"{span.file.name} is damaged: it ends at row {first:,} of {layout.edges[-1]:,}")

    def _layout(self, file: File) -> Layout:
        if file not in self._layouts:
            self._layouts[file] = layout_of(file, self._roles)
        return self._layouts[file]

    def _batches(self, span: Span, layout: Layout) -> Iterator[pa.RecordBatch]:
        """Cut the span's rows out of the row groups that hold them."""
        if span.start == span.stop:
            return
        groups = range(
            bisect.bisect_right(layout.edges, span.start) - 1, bisect.bisect_left(layout.edges, span.stop)
        )
        row = layout.edges[groups.start]
        with opened_parquet(span.file) as source:
            batches = source.iter_batches(
                batch_size=max(1, self._batch_size // (4 * len(layout.names))),
                row_groups=list(groups),
                columns=list(layout.names),
            )
            for batch in batches:
                start, stop = max(span.start - row, 0), min(span.stop - row, batch.num_rows)
                row += batch.num_rows
                if start < stop:
                    yield batch.slice(start, stop - start)

    def _convert(self, batch: pa.RecordBatch, layout: Layout, file: File, first: int) -> Batch:
        """Batch of a span's rows, of which the first is the file's row `first`, from 0."""
        parts = layout.parts

        def refuse(broken: NDArray[np.bool_], place: int, sentence: str) -> None:
            if broken.any():
                row = first + int(np.argmax(broken)) + 1
                raise UserError(f"{file.name}, row {row:,}, column {layout.names[place]!r}: {sentence}")

        def floats(place: int) -> NDArray[np.float32]:
            values = self._floats(batch, layout.names[place], file)
            rule = parts.rule(place)
            refuse(rule.broken(values), place, rule.sentence)
            return values

        features = np.empty((batch.num_rows, len(parts.features)), np.float32, order="F")
        for column, place in enumerate(parts.features):
            if column in layout.columns.categorical:
                encoder = self._encoders.setdefault(column, Encoder())
                features[:, column] = encoder.encode(batch.column(layout.names[place]))
            else:
                features[:, column] = floats(place)
        label = floats(parts.label)
        weight = None if parts.weight is None else floats(parts.weight)
        upper = group = None
        if parts.label_upper is not None:
            upper = bounds(floats(parts.label_upper))
            refuse(inverted(label, upper), parts.label_upper, INTERVAL)
        if parts.group is not None:
            group, missing = groups_of(batch.column(layout.names[parts.group]))
            refuse(missing, parts.group, GROUP)
        margins = [floats(place) for place in parts.base_margin]
        base_margin = np.column_stack(margins) if len(margins) > 1 else next(iter(margins), None)
        return Batch(features, label, weight, group, upper, base_margin)

    def _floats(self, batch: pa.RecordBatch, name: str, file: File) -> NDArray[np.float32]:
        values = batch.column(name)
        if not self._rounded and not arrow_values.survives(values):
            self._rounded = True
            logger.warning(
                "%s, column %r: integers beyond 2**24 are rounded to float32 (said once, others may follow)",
                file.name,
                name,
            )
        return arrow_values.to_float32(values)


def _snap(target: int, edges: tuple[int, ...], tolerance: float) -> int:
    """The edge nearest to `target` if it is within `tolerance` rows, else `target`."""
    above = bisect.bisect_left(edges, target)
    nearest = min(edges[max(above - 1, 0) : above + 1], key=lambda edge: abs(edge - target))
    return nearest if abs(nearest - target) <= tolerance else target
