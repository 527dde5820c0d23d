"""Sums of numbers on all ranks that do not depend on their order, many at once.

As in `treering.grid`, every number is split into a part on a grid so coarse that no sum of parts is ever
rounded, and a rest on a second, finer grid of the same kind. With N numbers of size up to M, what both
leave of a number is at most 2^-105 N^2 M. All sums of a call share two reductions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.metrics.blocks import Blocks
    from treering.world import World

    type Numbers = NDArray[np.float32] | NDArray[np.float64]

_BITS: Final = 53  # of float64
_FEWEST: Final = 2  # as an exponent: so many numbers leave room for the rounding constant
_SMALLEST: Final = -1022  # exponent of float64's smallest normal number


def totals(
    world: World, blocks: Blocks, arrays: Sequence[Numbers], count: int, exact: NDArray[np.float64]
) -> tuple[list[float], NDArray[np.float64]]:
    """Sum each array over all its elements on all ranks; collective.

    Parameters
    ----------
    world, blocks
        All ranks, and this one's threads.
    arrays
        One-dimensional, as many on each rank; lengths may differ.
    count
        At least the number of elements that any of them has on all ranks together.
    exact
        Numbers whose sums over the ranks are exact anyway, such as sums of weights on a grid.

    Returns
    -------
    sums, exact
        A sum of each array, correct to about the last bit: infinite or NaN as the sum of its elements in
        some order would be. And `exact`, summed over the ranks.
    """
    if not arrays:
        return [], world.allreduce(exact)
    bounds = world.allreduce(np.array([_bounds(blocks, array) for array in arrays]), "max")
    parts = [
        _parts(blocks, array, count, float(max(high, low))) if math.isfinite(max(high, low, nan)) else (0, 0)
        for array, (high, low, nan) in zip(arrays, bounds, strict=True)
    ]
    summed = world.allreduce(np.concatenate([np.array(parts, np.float64).ravel(), exact]))
    pairs = summed[: 2 * len(arrays)].reshape(-1, 2)
    sums = [_sum(*map(float, (*bound, *pair))) for bound, pair in zip(bounds, pairs, strict=True)]
    return sums, summed[2 * len(arrays) :]


def _bounds(blocks: Blocks, array: Numbers) -> tuple[float, float, float]:
    """Largest element, largest negated element, and infinity where one is NaN: a maximum over ranks is undefined for it."""
    found = blocks.map(lambda rows: (array[rows].max(), -array[rows].min()), array.size)
    high, low = np.array(found, np.float64).reshape(-1, 2).max(axis=0, initial=0)
    return (0.0, 0.0, math.inf) if math.isnan(high) else (high, low, 0.0)


def _parts(blocks: Blocks, array: Numbers, count: int, largest: float) -> tuple[float, float]:
    """Sums of this rank's elements on both grids, for elements of size up to `largest`."""
    bits = max(_exponent(count), _FEWEST)
    step = bits + _exponent(largest) - _BITS
    finer = bits + step - 1 - _BITS
    coarse, fine = (_rounder(max(each, _SMALLEST)) for each in (step, finer))

    def both(rows: slice) -> tuple[float, float]:
        values = array[rows]
        on_grid = values + coarse
        on_grid -= coarse
        rest = values - on_grid
        rest += fine
        rest -= fine
        return float(on_grid.sum()), float(rest.sum())

    found = np.array(blocks.map(both, array.size)).reshape(-1, 2)
    return float(found[:, 0].sum()), float(found[:, 1].sum())


def _exponent(value: float) -> int:
    """Smallest e with ``value <= 2^e``."""
    mantissa, exponent = math.frexp(value)
    return exponent - (mantissa == 0.5)  # noqa: PLR2004  # frexp's smallest mantissa: a power of two itself


def _rounder(step: int) -> np.float64:
    """A number that, added and taken away again, rounds smaller ones to multiples of 2^step."""
    return np.float64(math.ldexp(1.5, step + _BITS - 1))


def _sum(high: float, low: float, nan: float, coarse: float, fine: float) -> float:
    if nan or (math.isinf(high) and math.isinf(low)):
        return math.nan
    if math.isinf(high):
        return math.inf
    return -math.inf if math.isinf(low) else coarse + fine
