"""Sums of numbers on all ranks that do not depend on their order, many at once.

Numbers of size up to M are rounded to whole multiples of M 2^-46, M being raised to a power of two, and
those are added as integers: exactly. Adding 3/2 of 2^52 steps to a float64 leaves the multiple in its last
bits, so the rounding costs one addition. What it leaves of a number is at most 2^-47 M, far below what
float32 leaves of M. All sums of a call share two reductions.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.metrics.blocks import Blocks
    from treering.world import World

    type Numbers = NDArray[np.float32] | NDArray[np.float64]

_MANTISSA: Final = 52  # bits of a float64 below its first
_BITS: Final = 46  # of a multiple: 2^16 of them, more than a block has, fit in 63
_LIMB: Final = (
    40  # bits of a sum that are added apart from the higher ones: so no number of ranks is too many
)


def totals(
    world: World, blocks: Blocks, arrays: Sequence[Numbers], exact: NDArray[np.float64] | None = None
) -> tuple[list[float], NDArray[np.float64]]:
    """Sum each array over all its elements on all ranks; collective.

    Parameters
    ----------
    world, blocks
        All ranks, and this one's threads.
    arrays
        One-dimensional, as many on each rank; lengths may differ.
    exact
        Numbers whose sums over the ranks are exact anyway, such as sums of weights on a grid.

    Returns
    -------
    sums, exact
        A sum of each array; infinite or NaN as the sum of its elements in some order would be. And `exact`,
        summed over the ranks.
    """
    exact = np.empty(0) if exact is None else exact
    if not arrays:
        return [], world.allreduce(exact)
    bounds = world.allreduce(np.array([_bounds(blocks, array) for array in arrays]), "max")
    steps = [_step(float(bound.max())) for bound in bounds]
    multiples = [
        0 if step is None else _multiples(blocks, array, step)
        for array, step in zip(arrays, steps, strict=True)
    ]
    # Limbs are integers below 2^53, hence exact among floats, whose sums over the ranks are as well.
    limbs = [float(limb) for total in multiples for limb in (total >> _LIMB, total & ((1 << _LIMB) - 1))]
    summed = world.allreduce(np.concatenate([limbs, exact]))
    sums = [
        _limit(*bound.tolist()) if step is None else math.ldexp((int(high) << _LIMB) + int(low), step)
        for bound, step, (high, low) in zip(bounds, steps, summed[: len(limbs)].reshape(-1, 2), strict=True)
    ]
    return sums, summed[len(limbs) :]


def _bounds(blocks: Blocks, array: Numbers) -> tuple[float, float, float]:
    """Largest element, largest negated element, and infinity where one is NaN: a maximum over ranks is undefined for it."""
    found = blocks.map(lambda rows: (array[rows].max(), -array[rows].min()), array.size)
    high, low = np.array(found, np.float64).reshape(-1, 2).max(axis=0, initial=0)
    return (0.0, 0.0, math.inf) if math.isnan(high) else (high, low, 0.0)


def _step(largest: float) -> int | None:
    """Exponent of the step for numbers of such size; None when it is not finite."""
    if not math.isfinite(largest):
        return None
    return max(math.frexp(largest)[1] - _BITS, sys.float_info.min_exp)


def _multiples(blocks: Blocks, array: Numbers, step: int) -> int:
    """The sum of an array's elements, in steps of 2^step."""
    anchor = np.float64(math.ldexp(1.5, step + _MANTISSA))
    bits = int(anchor.view(np.int64))

    def of_block(rows: slice) -> int:
        shifted = array[rows] + anchor
        shifted = shifted.view(np.int64)
        shifted -= bits
        return int(shifted.sum())

    return sum(blocks.map(of_block, array.size))


def _limit(high: float, low: float, nan: float) -> float:
    """What a sum comes to that is not finite."""
    if nan or (math.isinf(high) and math.isinf(low)):
        return math.nan
    return math.inf if math.isinf(high) else -math.inf
