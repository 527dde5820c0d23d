"""`treering.metrics.sums`: correct sums with the same bits in any order, on any number of ranks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering.metrics import sums
from treering.metrics.blocks import ROWS, Blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.conftest import Ranks

    from treering.world import World


def _totals(ranks: Ranks, size: int, arrays: list[NDArray[np.float32]]) -> list[float]:
    """All ranks' sums, which have to be alike, of arrays dealt in neighbouring parts."""

    def work(world: World) -> list[float]:
        mine = [np.array_split(array, size)[world.rank] for array in arrays]
        return sums.totals(world, Blocks(2), mine)

    everybody = ranks(size, work)
    np.testing.assert_array_equal(everybody, [everybody[0]] * size)
    return everybody[0]


def test_sums_do_not_depend_on_order(random: np.random.Generator, ranks: Ranks) -> None:
    """Shuffled, dealt to other numbers of ranks and beside other arrays, every sum keeps its bits."""
    rows = ROWS * 3 + 17
    wide = (random.standard_normal(rows) * np.exp(10 * random.standard_normal(rows))).astype(np.float32)
    narrow = random.random(rows).astype(np.float32)
    expected = _totals(ranks, 1, [wide, narrow])
    for found, values in zip(expected, (wide, narrow), strict=True):
        largest = 2.0 ** np.frexp(np.abs(values).max())[1]
        # Six standard deviations of what rounding to the grid may come to; of their sum, which may be near 0, any part.
        assert abs(found - math.fsum(values.tolist())) < 6 * math.sqrt(rows / 3) * 2.0**-46 * largest
    for size in (1, 2, 3, 5):
        again = _totals(ranks, size, [random.permutation(narrow), random.permutation(wide)])
        assert again[::-1] == expected


@pytest.mark.parametrize("values", [[], [0.0], [1e-45], [3.4e38] * 7, [-1.5, 1.5], [2.0**40, 2.0**-40]])
def test_odd_values(ranks: Ranks, values: list[float]) -> None:
    """None, zero, the smallest, the largest, opposites, and far apart: all are exact."""
    array = np.array(values, np.float32)
    assert _totals(ranks, 2, [array]) == [math.fsum(array.tolist())]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, np.inf], np.inf),
        ([-np.inf, 1], -np.inf),
        ([np.inf, -np.inf], np.nan),
        ([np.nan, 1], np.nan),
        ([np.nan, np.inf], np.nan),
    ],
)
def test_values_that_are_not_finite(ranks: Ranks, values: list[float], expected: float) -> None:
    """They show in the sum, on ranks that have none of them too; the other sums stay."""
    arrays = [np.array([*values, 0, 0, 0, 0], np.float32), np.arange(6, dtype=np.float32)]
    found = _totals(ranks, 3, arrays)
    np.testing.assert_array_equal(found, [expected, 15])


@pytest.mark.parametrize("count", [0, 2])
def test_exact_numbers_ride_along(ranks: Ranks, count: int) -> None:
    """Sums of weights need no grid, and come back with and without sums beside them, from ranks without rows too."""

    def work(world: World) -> tuple[list[float], list[float]]:
        rows = [0, ROWS + 1, 3][world.rank]

        def of_block(block: slice) -> tuple[list[NDArray[np.float32]], NDArray[np.float64]]:
            size = block.stop - block.start
            return [np.ones(size, np.float32)] * count, np.array([[size, size / 2]])

        found, exact = sums.Sums(world, Blocks(1), count).totals(of_block, rows)
        return found, exact.tolist()

    rows = ROWS + 4
    assert ranks(3, work) == [([rows] * count, [rows, rows / 2])] * 3


def test_sums_do_not_depend_on_those_before(random: np.random.Generator, ranks: Ranks) -> None:
    """Whatever grid the time before left, larger, smaller or none, the sums are those of a first time."""
    scales = [1.0, 1.0, 2.0**30, 1.0, 2.0**-30, np.inf, 1.0, np.nan, 0.0, 1.0]
    values = random.standard_normal(ROWS // 8).astype(np.float32)

    def work(world: World) -> tuple[list[float], list[float]]:
        mine, again = np.array_split(values, world.size)[world.rank], sums.Sums(world, Blocks(2), 1)
        with np.errstate(invalid="ignore"):
            scaled = [mine * np.float32(scale) for scale in scales]
        first = [sums.totals(world, Blocks(2), [array])[0] for array in scaled]
        later = [
            again.totals(lambda rows, array=array: ([array[rows]], np.empty(0)), array.size)[0][0]  # type: ignore[misc]  # mypy gives no type to a lambda with defaults
            for array in scaled
        ]
        return first, later

    for first, later in ranks(3, work):
        np.testing.assert_array_equal(later, first)
