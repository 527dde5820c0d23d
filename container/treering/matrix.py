"""From a shard and the global cuts to XGBoost's matrix, where each value has become its histogram bin."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import xgboost as xgb

if TYPE_CHECKING:
    from treering.cuts import Cuts
    from treering.readers.batch import Columns
    from treering.shard import Shard


@dataclasses.dataclass(frozen=True, slots=True)
class Matrix:
    """XGBoost's matrix of one channel on this rank.

    Parameters
    ----------
    data
        The binned rows, labels and weights.
    stand_in
        Whether its only row stands in for none: XGBoost refuses a rank without gradients, so a rank
        without rows carries one that misses every value and weighs nothing.
    """

    data: xgb.QuantileDMatrix
    stand_in: bool


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
    shard: Shard, bins: xgb.QuantileDMatrix, max_bin: int, threads: int, stand_in_label: float
) -> Matrix:
    """Bin the rows of a shard.

    Parameters
    ----------
    shard
        This rank's rows.
    bins
        From `reference`: nothing is sketched, and every rank bins alike.
    max_bin
        Equal for the reference, every matrix and the training parameters.
    threads
        For XGBoost.
    stand_in_label
        Label of a stand-in row; any that the objective allows.
    """
    empty = shard.rows == 0
    features, label, weight = shard.features, shard.label, shard.weight
    if empty:
        features = np.full((1, shard.columns.count), np.nan, np.float32)
        label, weight = np.array([stand_in_label], np.float32), np.zeros(1, np.float32)
    data = xgb.QuantileDMatrix(
        features,
        label=label,
        weight=weight,
        feature_names=shard.columns.names,
        feature_types=_feature_types(shard.columns),
        enable_categorical=True,
        max_bin=max_bin,
        ref=bins,
        nthread=threads,
    )
    return Matrix(data, empty)
