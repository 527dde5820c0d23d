"""From a shard to XGBoost's matrices: with the global cuts to one of histogram bins, or to one of the values themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xgboost as xgb

from treering import queries
from treering.features import Features, stack_sparse
from treering.memory_plan import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from treering.cuts import Cuts
    from treering.features import Array
    from treering.readers.batch import Columns
    from treering.shard import Shard


def reference(cuts: Cuts, columns: Columns, threads: int) -> xgb.QuantileDMatrix:
    """The small matrix from which all others take their cuts, bit for bit."""
    return xgb.QuantileDMatrix(
        cuts.reference(),
        feature_types=_feature_types(columns),
        enable_categorical=True,
        max_bin=cuts.max_bin,
        nthread=threads,
    )


def _feature_types(columns: Columns) -> list[str] | None:
    """XGBoost's letters; None where all columns are plain numbers."""
    if not columns.categorical:
        return None
    return ["c" if column in columns.categorical else "float" for column in range(columns.count)]


def build(
    shard: Shard,
    bins: xgb.QuantileDMatrix,
    threads: int,
    column_weights: Sequence[float] | None = None,
    limits: Limits | None = None,
    channel: str = "rows",
) -> xgb.DMatrix:
    """Bin the rows of a shard, possibly none.

    Parameters
    ----------
    shard
        This rank's rows.
    bins
        From `reference`: nothing is sketched, and every rank bins alike.
    threads
        For XGBoost.
    column_weights
        How likely column sampling takes each column; all alike when None.
    limits, channel
        On memory; and what to call the files of the binned rows, where those go to disk.
    """
    chunks = _Chunks(shard, limits or Limits(), channel)
    kind = xgb.ExtMemQuantileDMatrix if chunks.on_disk else xgb.QuantileDMatrix
    return _binned(kind, shard, chunks, bins, threads, column_weights)


def scored(
    shard: Shard, bins: xgb.QuantileDMatrix, threads: int, limits: Limits, channel: str
) -> xgb.DMatrix:
    """Rows that are scored after each round and never boosted; parameters as in `build`.

    Bins are enough for that, and less memory. But where some values are missing, XGBoost 3.4.1 searches the bins of a row
    for each of its columns: with gaps that takes 3 times as long as boosting as many rows, with sparse rows 20 times.
    So such rows stay as they are where there is memory for them. Both give the same margins.
    """
    if limits.unbinned and shard.rows and shard.features.has_gaps:
        return plain(shard, threads)
    return build(shard, bins, threads, None, limits, channel)


def of_rows[M: xgb.QuantileDMatrix](
    kind: type[M], shard: Shard, bins: xgb.QuantileDMatrix, threads: int
) -> M:
    """A matrix of this class, in memory; parameters as in `build`."""
    return _binned(kind, shard, _Chunks(shard, Limits(), ""), bins, threads, None)


def _binned[M: xgb.DMatrix](
    kind: type[M],
    shard: Shard,
    chunks: _Chunks,
    bins: xgb.QuantileDMatrix,
    threads: int,
    column_weights: Sequence[float] | None,
) -> M:
    found = kind(chunks, max_bin=bins.max_bin, ref=bins, enable_categorical=True, nthread=threads)
    found.set_info(**described(shard, column_weights))
    found.feature_names = shard.columns.names  # in place of those that tables have to have
    found.feature_types = _feature_types(shard.columns)
    return found


class _Chunks(xgb.DataIter):
    """Hands the rows of a shard to XGBoost, which goes through them several times."""

    def __init__(self, shard: Shard, limits: Limits, name: str) -> None:
        self.on_disk = limits.pages is not None and shard.rows > 0
        prefix = str(limits.pages / name) if limits.pages is not None and self.on_disk else None
        super().__init__(release_data=True, cache_prefix=prefix)
        self._features = shard.features
        self._piece = limits.piece
        self._types = _feature_types(shard.columns)
        self._width = shard.columns.count
        self._progress = limits.progress
        self._passes = 2 if self.on_disk else 3
        self._handed = 0
        self.reset()

    def reset(self) -> None:
        """Begin again."""
        self._left: Iterator[list[Array]] = self._features.pieces(self._piece)
        if not self._features.shape[0]:
            self._left = iter([[np.empty((0, self._width), np.float32)]])

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand over one piece; False if there is none left."""
        piece = next(self._left, None)
        if piece is not None:
            input_data(data=_together(piece, self._width), feature_types=self._types)
            self._handed += sum(chunk.shape[0] for chunk in piece)
            self._progress.advance(self._handed // self._passes)
        return piece is not None


def _together(chunks: Sequence[Array], width: int) -> Array | pa.Table:
    """The rows of all chunks in the form that XGBoost bins fastest: dense ones column by column.

    Nothing dense is copied here: XGBoost makes one array of each column.
    """
    first = chunks[0]
    if not isinstance(first, np.ndarray):
        return stack_sparse(chunks, width)
    if not first.size:
        return first
    columns = [pa.chunked_array([chunk[:, column] for chunk in chunks]) for column in range(width)]
    return pa.table(columns, [str(column) for column in range(width)])


def plain(shard: Shard, threads: int, column_weights: Sequence[float] | None = None) -> xgb.DMatrix:
    """The rows of a shard as they are, for what XGBoost does without histograms; parameters as in `build`."""
    found = xgb.DMatrix(
        shard.features.stacked(), enable_categorical=True, nthread=threads, **_names(shard.columns)
    )
    found.set_info(**described(shard, column_weights))
    return found


def stand_in(
    shard: Shard,
    bins: xgb.QuantileDMatrix,
    threads: int,
    label: float,
    column_weights: Sequence[float] | None = None,
) -> xgb.DMatrix:
    """One row that misses every value, for a rank without any.

    XGBoost refuses empty gradients from outside. The row is boosted with gradients of zero and is never
    evaluated, so it counts nowhere; its `label` may be any that the objective allows.
    """
    margin = shard.base_margin
    row = dataclasses.replace(
        shard,
        features=Features.of(np.full((1, shard.columns.count), np.nan, np.float32)),
        label=np.array([label], np.float32),
        weight=None,
        group=None,
        label_upper=None,
        base_margin=None if margin is None else np.zeros((1, *margin.shape[1:]), np.float32),
    )
    return build(row, bins, threads, column_weights)


def _names(columns: Columns) -> dict[str, Any]:
    return {"feature_names": columns.names, "feature_types": _feature_types(columns)}


def described(shard: Shard, column_weights: Sequence[float] | None) -> dict[str, Any]:
    """What any matrix of a shard is told besides the features."""
    described: dict[str, Any] = {
        "label": shard.label,
        "weight": shard.weight,
        "base_margin": shard.base_margin,
        "feature_weights": column_weights,
    }
    if shard.label_upper is not None:
        described |= {"label_lower_bound": shard.label, "label_upper_bound": shard.label_upper}
    if shard.group is not None:
        sizes = queries.sizes(shard.group)
        described["group"] = sizes
        if shard.weight is not None:  # XGBoost weighs queries, not rows
            described["weight"] = shard.weight[np.cumsum(sizes) - sizes]
    return described
