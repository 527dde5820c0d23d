"""`treering.metrics.ordered`: what lies above each score, as if all rows were sorted in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering.metrics.blocks import Blocks
from treering.metrics.ordered import Packing, order

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.conftest import Ranks

    from treering.metrics.ordered import Ordered
    from treering.world import World

    type Floats = NDArray[np.float32]

_UNIT = 0.25


def _scores(random: np.random.Generator, rows: int, *, narrow: bool) -> Floats:
    """Spread out, tied, all alike, or mostly one value."""
    spread = (
        random.random(rows) if narrow else random.standard_normal(rows) * 10.0 ** random.integers(-20, 20)
    )
    shapes = [
        spread,
        np.round(spread, 1),
        np.full(rows, spread[0]),
        np.where(random.random(rows) < 0.8, 0.5, spread),
    ]
    scores = shapes[random.integers(4)].astype(np.float32)
    return scores if narrow else np.where(random.random(rows) < 0.01, -0.0, scores).astype(np.float32)


def _expected(scores: Floats, positive: NDArray[np.bool_], weight: NDArray[np.int64]) -> list[list[int]]:
    """Of each different score, highest first: weight of positive and negative rows, and rows, down to it."""
    found = []
    for score in np.unique(scores)[::-1]:
        above = scores >= score
        found.append(
            [int(weight[above & positive].sum()), int(weight[above & ~positive].sum()), int(above.sum())]
        )
    return found


@pytest.mark.parametrize("rows", [1, 2, 40, 700])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_order_of_all_rows(
    random: np.random.Generator, ranks: Ranks, weighted: bool, narrow: bool, rows: int
) -> None:
    """Pieces of all ranks, one after the other, are what sorting everything gives."""
    scores, positive = _scores(random, rows, narrow=narrow), random.random(rows) < 0.4
    units = random.integers(0, 9, rows) if weighted else np.ones(rows, np.int64)
    weight = (units * _UNIT).astype(np.float32)
    packing = Packing(weighted, _UNIT if weighted else 1.0, narrow=narrow)
    size = int(random.integers(1, 6))
    owner = random.integers(0, size, rows) if random.random() < 0.7 else np.zeros(rows, np.int64)
    threads = random.integers(1, 4, size)

    def work(world: World) -> Ordered:
        mine = np.array_split(np.flatnonzero(owner == world.rank), threads[world.rank])
        parts = [
            packing.pack(scores[part], positive[part], weight[part] if weighted else None) for part in mine
        ]
        return order(world, Blocks(2), packing, parts)

    found = [
        list(map(list, zip(*(sums[1:].tolist() for sums in piece), strict=True)))
        for ordered in ranks(size, work)
        for piece in ordered.pieces
    ]
    assert [row for piece in found for row in piece] == _expected(scores, positive, units)


def test_pieces_stay_small(random: np.random.Generator, ranks: Ranks) -> None:
    """Neither ties nor one rank with nearly all rows make another rank take many more than its share."""
    rows, size = 40_000, 4
    scores = np.where(random.random(rows) < 0.5, 0.25, random.random(rows)).astype(np.float32)
    owner = np.where(random.random(rows) < 0.95, 2, random.integers(0, size, rows))
    packing = Packing(weighted=False, narrow=True)

    def work(world: World) -> int:
        mine = scores[owner == world.rank]
        ordered = order(world, Blocks(1), packing, [packing.pack(mine, mine > 0, None)])
        return sum(piece.rows.size - 1 for piece in ordered.pieces)

    assert max(ranks(size, work)) < 1.2 * rows / size
