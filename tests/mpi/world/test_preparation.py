"""`treering.preparation` over real ranks: nothing is trained on bins that are not the exact ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering import matrix, preparation
from treering.errors import TreeringError
from treering.features import Features
from treering.hyperparameters import Hyperparameters
from treering.identity import Piece, Pieces
from treering.readers.batch import Columns
from treering.shard import Shard

if TYPE_CHECKING:
    import xgboost as xgb

    from treering.cuts import Cuts
    from treering.world import World

_ROWS = 200


def _shard(world: World, random: np.random.Generator) -> Shard:
    """Rows of this rank."""
    features, label = random.standard_normal((_ROWS, 3)), random.random(_ROWS)
    pieces = Pieces.of([Piece(world.rank, 0, _ROWS)])
    return Shard(
        Columns(3),
        Features.of(features.astype(np.float32)),
        label.astype(np.float32),
        None,
        None,
        pieces,
        _ROWS * world.size,
    )


def test_bins_that_are_not_the_exact_ones_end_the_job(
    world: World, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every rank, before the first round: here the matrix that carries the cuts is damaged on its way."""
    chosen = Hyperparameters.parse({"num_round": "1", "max_bin": "16"})
    rows = {"train": _shard(world, random), "validation": _shard(world, random)}
    assert preparation.prepare(world, rows, chosen, 1, None).uses_histograms
    reference = matrix.reference

    def damaged(edges: Cuts, columns: Columns, threads: int) -> xgb.QuantileDMatrix:
        moved = [values + np.float32(0.25) for values in edges.anchors]
        return reference(type(edges)(edges.max_bin, tuple(moved)), columns, threads)

    monkeypatch.setattr(matrix, "reference", damaged)
    with pytest.raises(TreeringError, match="did not take over the cuts of feature column 0"):
        preparation.prepare(world, rows, chosen, 1, None)
