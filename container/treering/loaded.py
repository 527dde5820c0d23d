"""A channel that a script has loaded: this rank's rows as a matrix of XGBoost's own, and as arrays."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import xgboost as xgb

from treering import cuts, matrix, preparation

if TYPE_CHECKING:
    from treering.cuts import Cuts
    from treering.shard import Shard
    from treering.world import World


class Matrix(xgb.QuantileDMatrix):
    """The rows of a channel on this rank, binned by the exact cuts of the training rows of all ranks.

    Whatever takes a `xgboost.QuantileDMatrix` takes it: ``booster.predict(matrix)`` gives predictions for the
    rows of this rank.

    Attributes
    ----------
    channel
        Its name.
    shard
        The same rows: ``label``, ``weight``, ``columns`` and more as arrays, and ``features``, of which
        ``features.stacked()`` makes one; see `treering.shard.Shard`.
    total_rows
        Of all ranks.
    """

    channel: str
    shard: Shard
    edges: Cuts

    @property
    def total_rows(self) -> int:
        """Rows of all ranks."""
        return self.shard.total_rows


def bin_rows(
    world: World, channel: str, shard: Shard, train: Matrix | None, max_bin: int, threads: int
) -> Matrix:
    """Bin a channel's rows; collective.

    Parameters
    ----------
    world
        All ranks.
    channel, shard
        Which, and its rows on this rank.
    train
        Whose cuts to use; None makes cuts of these rows themselves.
    max_bin, threads
        Bins of a column at most, and cores of this rank.
    """
    edges = train.edges if train is not None else preparation.edges_of(world, shard, max_bin, threads)
    # What only some objectives take is added when there is one.
    plain = dataclasses.replace(shard, group=None, label_upper=None)
    bins = matrix.reference(edges, shard.columns, threads)
    found = matrix.of_rows(Matrix, plain, bins, threads)
    cuts.verify(edges, found)
    found.channel, found.shard, found.edges = channel, shard, edges
    return found
