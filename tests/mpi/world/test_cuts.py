"""`treering.cuts` over real ranks: what sorting all rows in one place gives, on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering import cuts
from treering.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treering.world import World


def _columns(random: np.random.Generator, rows: int) -> NDArray[np.float32]:
    normal = random.standard_normal(rows)
    few, half = random.integers(0, 9, rows), np.where(normal < 0, -0.0, normal)
    matrix = np.array([normal, np.exp(9 * normal), few, half, np.sort(normal), 0 * normal], np.float32).T
    matrix[random.random(matrix.shape) < 0.2] = np.nan
    return matrix


def _expected(column: NDArray[np.float32], max_bin: int) -> NDArray[np.float32]:
    values = np.sort(column[~np.isnan(column)])
    different = np.unique(values)
    if different.size > max_bin:
        inner = [values[i * values.size // max_bin] for i in range(1, max_bin)]
        different = np.unique([values[0], *inner, values[-1]])
    return different + np.float32(0)


def _own_rows(world: World, random: np.random.Generator, rows: int) -> slice:
    """A random division; the last rank may well have no row."""
    ends = [0, *sorted(random.choice([rows // 3, rows], world.size - 1).tolist()), rows]
    return slice(ends[world.rank], ends[world.rank + 1])


@pytest.mark.parametrize("max_bin", [2, 16, 256])
def test_cuts_are_those_of_all_rows(world: World, random: np.random.Generator, max_bin: int) -> None:
    """However the rows are divided, every rank has the definition's values, bit for bit."""
    for rows in (5, 300, 20_000):
        whole = _columns(random, rows)
        found = cuts.global_cuts(world, whole[_own_rows(world, random, rows)], max_bin)
        for got, column in zip(found.anchors, whole.T, strict=True):
            np.testing.assert_array_equal(got.view(np.uint32), _expected(column, max_bin).view(np.uint32))


def test_infinity_on_one_rank_ends_all(world: World) -> None:
    """No rank waits for the one that has the bad value."""
    features = np.ones((3, 2), np.float32)
    if world.rank == world.size - 1:
        features[1, 1] = np.inf
    with pytest.raises(UserError, match="feature column 1 "):
        cuts.global_cuts(world, features, 16)
