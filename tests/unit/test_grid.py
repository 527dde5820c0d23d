"""`treering.grid`: sums on the grid are exact, and rounding to it is as fine as promised."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from treering import grid
from treering.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from unit.conftest import Ranks


def _heavy_tailed(random: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Of either sign, over ten powers of ten or more."""
    values: NDArray[np.float32] = np.exp(5 * random.standard_normal(rows)).astype(np.float32)
    return values * random.choice(np.array([-1, 1], np.float32), rows)


def _on_grid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    snapped = values.copy()
    grid.snap(snapped, grid.step(values.size, float(np.abs(values).max())))
    return snapped


def _sums(random: np.random.Generator, values: NDArray[np.float32]) -> set[float]:
    """float64 sums of the same values: one after the other and in pairs, in several orders, in parts."""
    found = set()
    for _ in range(5):
        shuffled = values[random.permutation(values.size)].astype(np.float64)
        parts = np.split(shuffled, sorted(random.integers(0, values.size, 3)))
        found |= {float(shuffled.sum()), float(np.cumsum(shuffled)[-1]), float(sum(p.sum() for p in parts))}
    return found


def test_sums_do_not_depend_on_the_order(random: np.random.Generator) -> None:
    """On the grid every order gives the true sum; off it the same data gives several sums."""
    for rows in (1, 2, 3, 1000, int(random.integers(10_000, 300_000))):
        values = _on_grid(_heavy_tailed(random, rows))
        assert _sums(random, values) == {math.fsum(values)}
    assert len(_sums(random, _heavy_tailed(random, 100_000))) > 1


def test_parts_of_sums_are_exact(random: np.random.Generator) -> None:
    """A sibling's sum may be had by subtraction, as histograms are."""
    values = _on_grid(_heavy_tailed(random, 50_000)).astype(np.float64)
    left = random.random(values.size) < random.random()
    assert values.sum() - values[left].sum() == math.fsum(values[~left])


def test_bound_holds_for_any_number_of_rows(random: np.random.Generator) -> None:
    """No sum of N snapped numbers of the largest size takes more than 53 bits, for N up to 2^52."""
    for exponent in range(52):
        for rows in (2**exponent, 2**exponent + 1, int(random.integers(2**exponent, 2 ** (exponent + 1)))):
            largest = np.array([random.uniform(0.5, 1.5), 1, 1 + 2.0**-23], np.float32)
            for value in np.split(largest, 3):
                step = grid.step(rows, float(value[0]))
                grid.snap(value, step)
                assert rows * Fraction(float(value[0])) / Fraction(float(step)) <= 2**53


def test_rounding_is_to_the_nearest_multiple(random: np.random.Generator) -> None:
    """Each value becomes a multiple of the step, half a step away at most; large ones stay as they are."""
    rows = int(random.integers(2**16, 2**24))
    values = np.float32(10.0 ** random.uniform(-12, 3)) * _heavy_tailed(random, 10_000)
    largest = float(np.abs(values).max())
    step = grid.step(rows, largest)
    snapped = values.copy()
    grid.snap(snapped, step)
    multiples = snapped.astype(np.float64) / float(step)
    np.testing.assert_array_equal(multiples, np.rint(multiples))
    assert np.abs(snapped.astype(np.float64) - values).max() <= float(step) / 2
    large = np.abs(values) >= largest * rows * 2.0**-28
    np.testing.assert_array_equal(snapped[large], values[large])


def test_step_is_the_documented_one() -> None:
    """2^(ceil(log2 N) + ceil(log2 M) - 53), powers of two themselves not rounded up further."""
    assert grid.step(1024, 1.0) == 2.0**-43
    assert grid.step(1025, 1.0) == 2.0**-42
    assert grid.step(1024, 1.25) == 2.0**-42
    assert grid.step(1, 0.5) == 2.0**-54


def test_few_rows_change_nothing(random: np.random.Generator) -> None:
    """Where the step is finer than every value's last bit, values keep all their bits."""
    values = random.uniform(0.5, 2, 1000).astype(np.float32)
    np.testing.assert_array_equal(_on_grid(values), values)


@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e38, float(np.finfo(np.float32).max)])
def test_extreme_sizes(random: np.random.Generator, size: float) -> None:
    """The smallest and largest float32 numbers sum exactly as well; what is below 2^-127 may vanish."""
    values = (random.uniform(-1, 1, 5000) * size).astype(np.float32)
    snapped = _on_grid(values)
    assert _sums(random, snapped) == {math.fsum(snapped)}
    assert np.isfinite(snapped).all()
    np.testing.assert_allclose(snapped, values, rtol=0, atol=max(size * 1e-7, 2.0**-127))


def test_zeros_stay_zeros() -> None:
    """All gradients 0 is a case like any other."""
    values = np.zeros(5, np.float32)
    grid.snap(values, grid.step(5, 0.0))
    np.testing.assert_array_equal(values, np.zeros(5))


@pytest.mark.parametrize("largest", [math.inf, math.nan])
def test_infinite_sizes_have_no_grid(largest: float) -> None:
    """There is no step for what is not finite."""
    with pytest.raises(OverflowError):
        grid.step(5, largest)


def test_exact_sum_is_the_same_for_any_layout(ranks: Ranks, random: np.random.Generator) -> None:
    """Any order and division gives one float64, within rounding of the true sum."""
    values = _heavy_tailed(random, 20_000).astype(np.float64) * random.random(20_000)
    true = math.fsum(values)
    found = {grid.exact_sum(World(), values)}
    for size in (2, 3, 4):
        shuffled = values[random.permutation(values.size)]
        parts = np.split(shuffled, sorted(random.choice([0, *random.integers(0, 20_000, 4)], size - 1)))
        found |= set(ranks(size, functools.partial(_sum_of, parts=parts)))
    assert len(found) == 1
    assert found.pop() == pytest.approx(true, rel=1e-15, abs=1e-12)


def _sum_of(world: World, parts: list[NDArray[np.float64]]) -> float:
    return grid.exact_sum(world, parts[world.rank])


def test_exact_sum_of_nothing(ranks: Ranks) -> None:
    """No values at all sum to 0."""
    assert ranks(2, lambda world: grid.exact_sum(world, np.empty(0))) == [0.0, 0.0]
