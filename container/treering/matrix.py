"""From a shard and the global cuts to XGBoost's matrix, where each value has become its histogram bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xgboost as xgb

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

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


def build(shard: Shard, bins: xgb.QuantileDMatrix, threads: int) -> xgb.QuantileDMatrix:
    """Bin the rows of a shard, possibly none.

    Parameters
    ----------
    shard
        This rank's rows.
    bins
        From `reference`: nothing is sketched, and every rank bins alike.
    threads
        For XGBoost.
    """
    return _bin(shard.columns, shard.features, shard.label, shard.weight, bins, threads)


def stand_in(shard: Shard, bins: xgb.QuantileDMatrix, threads: int, label: float) -> xgb.QuantileDMatrix:
    """One row that misses every value, for a rank without any.

    XGBoost refuses empty gradients from outside. The row is boosted with gradients of zero and is never
    evaluated, so it counts nowhere; its `label` may be any that the objective allows.
    """
    features = np.full((1, shard.columns.count), np.nan, np.float32)
    return _bin(shard.columns, features, np.array([label], np.float32), None, bins, threads)


def _bin(
    columns: Columns,
    features: NDArray[np.float32] | sparse.csr_array,
    label: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    bins: xgb.QuantileDMatrix,
    threads: int,
) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        features,
        label=label,
        weight=weight,
        feature_names=columns.names,
        feature_types=_feature_types(columns),
        enable_categorical=True,
        max_bin=bins.max_bin,
        ref=bins,
        nthread=threads,
    )
