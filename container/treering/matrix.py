"""From a shard and the global cuts to XGBoost's matrix, where each value has become its histogram bin."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost as xgb

from treering import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from treering.cuts import Cuts
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
    shard: Shard, bins: xgb.QuantileDMatrix, threads: int, column_weights: Sequence[float] | None = None
) -> xgb.QuantileDMatrix:
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
    """
    return xgb.QuantileDMatrix(
        shard.features, max_bin=bins.max_bin, ref=bins, **described(shard, threads, column_weights)
    )


def plain(shard: Shard, threads: int, column_weights: Sequence[float] | None = None) -> xgb.DMatrix:
    """The rows of a shard as they are, for what XGBoost does without histograms; parameters as in `build`."""
    return xgb.DMatrix(shard.features, **described(shard, threads, column_weights))


def stand_in(
    shard: Shard,
    bins: xgb.QuantileDMatrix,
    threads: int,
    label: float,
    column_weights: Sequence[float] | None = None,
) -> xgb.QuantileDMatrix:
    """One row that misses every value, for a rank without any.

    XGBoost refuses empty gradients from outside. The row is boosted with gradients of zero and is never
    evaluated, so it counts nowhere; its `label` may be any that the objective allows.
    """
    margin = shard.base_margin
    row = dataclasses.replace(
        shard,
        features=np.full((1, shard.columns.count), np.nan, np.float32),
        label=np.array([label], np.float32),
        weight=None,
        group=None,
        label_upper=None,
        base_margin=None if margin is None else np.zeros((1, *margin.shape[1:]), np.float32),
    )
    return build(row, bins, threads, column_weights)


def described(shard: Shard, threads: int, column_weights: Sequence[float] | None) -> dict[str, Any]:
    """What any matrix of a shard is told besides the features."""
    described: dict[str, Any] = {
        "label": shard.label,
        "weight": shard.weight,
        "base_margin": shard.base_margin,
        "feature_weights": column_weights,
        "feature_names": shard.columns.names,
        "feature_types": _feature_types(shard.columns),
        "enable_categorical": True,
        "nthread": threads,
    }
    if shard.label_upper is not None:
        described |= {"label_lower_bound": shard.label, "label_upper_bound": shard.label_upper}
    if shard.group is not None:
        sizes = queries.sizes(shard.group)
        described["group"] = sizes
        if shard.weight is not None:  # XGBoost weighs queries, not rows
            described["weight"] = shard.weight[np.cumsum(sizes) - sizes]
    return described
