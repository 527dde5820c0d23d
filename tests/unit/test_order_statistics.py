"""`treering.order_statistics`: the values that sorting everything in one place would give."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from treering.order_statistics import order_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.conftest import Ranks

    from treering.world import World

    type Floats = NDArray[np.float32]


def _column(random: np.random.Generator, rows: int) -> Floats:
    """Any finite float32 bits, or a few values with zeros of both signs, or all in ascending order."""
    kinds = [
        random.integers(0, 2**32, rows, np.uint32).view(np.float32),
        random.choice(np.array([-2, -0.0, 0.0, 1e-45, 3e38], np.float32), rows),
        np.sort(random.standard_normal(rows, np.float32)),
    ]
    values = kinds[random.integers(len(kinds))]
    return np.where(np.isfinite(values), values, np.float32(0))


def _search(world: World, parts: list[list[Floats]], counts: NDArray[np.int64], max_bin: int) -> Floats:
    return order_statistics(world, parts[world.rank], counts, max_bin)


def test_any_values_on_any_ranks(ranks: Ranks, random: np.random.Generator) -> None:
    """Exact for every column, bits included (no -0.0), when some ranks have none of its values."""
    for size in (1, 2, 3, 6):
        columns = [_column(random, int(random.integers(1, 500))) for _ in range(8)]
        max_bin = int(random.integers(2, 100))
        owners = [
            random.choice(size, column.size, p=random.dirichlet(np.ones(size) / 2)) for column in columns
        ]
        parts = [
            [np.sort(column[owner == rank]) for column, owner in zip(columns, owners, strict=True)]
            for rank in range(size)
        ]
        counts = np.array([column.size for column in columns])
        expected = [
            np.sort(column)[np.arange(1, max_bin) * column.size // max_bin] + np.float32(0)
            for column in columns
        ]
        search = functools.partial(_search, parts=parts, counts=counts, max_bin=max_bin)
        for found in ranks(size, search):
            np.testing.assert_array_equal(found.view(np.uint32), np.array(expected).view(np.uint32))


def test_no_columns(ranks: Ranks) -> None:
    """Nothing to search for is found at once."""
    nothing = np.empty(0, np.int64)
    for found in ranks(2, lambda world: order_statistics(world, [], nothing, 8)):
        assert found.shape == (0, 7)
