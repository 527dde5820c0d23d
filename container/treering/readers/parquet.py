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
from treering.readers.parquet_layout import Layout, layout_of, opened_parquet
from treering.readers.rules import FEATURE, LABEL, WEIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from treering.readers.batch import File, Span, Unit
    from treering.readers.rules import Rule

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
    label
        Name of the label's column; the first column if None.
    weight
        Name of the weight's column, if there is one.
    batch_size
        Bytes of float32 per batch.
    """

    unit: ClassVar[Unit] = "rows"

    def __init__(
        self, *, label: str | None = None, weight: str | None = None, batch_size: int = BATCH
    ) -> None:
        self._label = label
        self._weight = weight
        self._batch_size = batch_size
        self._layouts: dict[File, Layout] = {}
        self._encoders: dict[int, Encoder] = {}
        self._rounded = False

    def extent(self, file: File) -> int:
        """Rows of `file`."""
        return self._layout(file).edges[-1]

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
            self._layouts[file] = layout_of(file, self._label, self._weight)
        return self._layouts[file]

    def _batches(self, span: Span, layout: Layout) -> Iterator[pa.RecordBatch]:
        """Cut the span's rows out of the row groups that hold them."""
        if span.start == span.stop:
            return
        groups = range(
            bisect.bisect_right(layout.edges, span.start) - 1, bisect.bisect_left(layout.edges, span.stop)
        )
        wanted = [layout.label, *layout.features, *([layout.weight] if layout.weight else [])]
        row = layout.edges[groups.start]
        with opened_parquet(span.file) as source:
            batches = source.iter_batches(
                batch_size=max(1, self._batch_size // (4 * len(wanted))),
                row_groups=list(groups),
                columns=wanted,
            )
            for batch in batches:
                start, stop = max(span.start - row, 0), min(span.stop - row, batch.num_rows)
                row += batch.num_rows
                if start < stop:
                    yield batch.slice(start, stop - start)

    def _convert(self, batch: pa.RecordBatch, layout: Layout, file: File, first: int) -> Batch:
        """Batch of a span's rows, of which the first is the file's row `first`, from 0."""

        def floats(name: str, rule: Rule) -> NDArray[np.float32]:
            values = self._floats(batch, name, file)
            broken = rule.broken(values)
            if broken.any():
                row = first + int(np.argmax(broken)) + 1
                raise UserError(f"{file.name}, row {row:,}, column {name!r}: {rule.sentence}")
            return values

        features = np.empty((batch.num_rows, len(layout.features)), np.float32, order="F")
        for column, name in enumerate(layout.features):
            if column in layout.columns.categorical:
                encoder = self._encoders.setdefault(column, Encoder())
                features[:, column] = encoder.encode(batch.column(name))
            else:
                features[:, column] = floats(name, FEATURE)
        weight = floats(layout.weight, WEIGHT) if layout.weight is not None else None
        return Batch(features, floats(layout.label, LABEL), weight)

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
