"""Sums of numbers on all ranks that do not depend on their order, many at once.

Numbers of size up to M are rounded to whole multiples of M 2^-45, M being raised to a power of two, and
those are added as integers: exactly. Adding 3/2 of 2^52 steps to a float64 leaves the multiple in its last
bits, so the rounding costs one addition. What it leaves of a number is at most 2^-46 M, far below what
float32 leaves of M. All sums of a call share two reductions.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from treering.metrics.blocks import Blocks
    from treering.world import World

    type Numbers = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.bool_]
    type Work = Callable[[slice], tuple[Sequence[Numbers], NDArray[np.float64]]]

_MANTISSA: Final = 52  # bits of a float64 below its first
_BITS: Final = 45  # of a multiple: less than 2^18 of them, as many as a block has, fit in 63
_LIMB: Final = (
    40  # bits of a sum that are added apart from the higher ones: so no number of ranks is too many
)
_LOW: Final = (1 << _LIMB) - 1
_SIGN: Final = 1 << 63


class Sums:
    """The same sums time and again, of numbers that are added up while they are in the processor's cache.

    The grid follows from the largest number of all, which is known only in the end. Until then that of the
    time before is taken, which mostly was the same; where it was not, the numbers are gone through again.

    Parameters
    ----------
    world, blocks
        All ranks, and this one's threads.
    count
        Sums.
    """

    def __init__(self, world: World, blocks: Blocks, count: int) -> None:
        self._world = world
        self._blocks = blocks
        self._steps: list[int | None] = [None] * count

    def totals(self, work: Work, rows: int, columns: int = 1) -> tuple[list[float], NDArray[np.float64]]:
        """Sum over all blocks of rows of all ranks; collective.

        Parameters
        ----------
        work
            Gives of a block of rows the numbers of each sum, one-dimensional; and what is exact in any order
            anyway, such as sums of weights on a grid, of the same shape for every block. Called once or twice
            a block, by any thread.
        rows, columns
            Of this rank; see `Blocks.map`.

        Returns
        -------
        sums, exact
            The sums; infinite or NaN as a sum of these numbers in some order would be. And what is exact,
            flat, summed over blocks and ranks.
        """
        parts, exact = self._measured(work, rows, columns)
        bounds = self._world.allreduce(np.array([part.bounds for part in parts]).reshape(-1, 3), "max")
        steps = [_step(float(bound.max())) for bound in bounds]
        if steps != self._steps:
            self._steps = steps
            parts, _ = self._measured(work, rows, columns)
        # Limbs are integers below 2^53, hence exact among floats, whose sums over the ranks are as well.
        limbs = [float(limb) for part in parts for limb in (part.multiples >> _LIMB, part.multiples & _LOW)]
        summed = self._world.allreduce(np.concatenate([limbs, exact]))
        sums = [
            _limit(*bound.tolist()) if step is None else math.ldexp((int(high) << _LIMB) + int(low), step)
            for bound, step, (high, low) in zip(
                bounds, steps, summed[: len(limbs)].reshape(-1, 2), strict=True
            )
        ]
        return sums, summed[len(limbs) :]

    def _measured(self, work: Work, rows: int, columns: int) -> tuple[list[_Part], NDArray[np.float64]]:
        """Of each sum this rank's part, and this rank's exact numbers."""

        def of_block(block: slice) -> tuple[list[_Part], NDArray[np.float64]]:
            arrays, exact = work(block)
            return [_part(array, step) for array, step in zip(arrays, self._steps, strict=True)], exact

        found = self._blocks.map(of_block, rows, columns) or [of_block(slice(0, 0))]
        parts = [_together(each) for each in zip(*(parts for parts, _ in found), strict=True)]
        return parts, np.sum([exact.ravel() for _, exact in found], axis=0)


def totals(world: World, blocks: Blocks, arrays: Sequence[Numbers]) -> list[float]:
    """Sum each array over all its elements on all ranks; collective.

    Parameters
    ----------
    world, blocks
        All ranks, and this one's threads.
    arrays
        One-dimensional, as many on each rank; lengths may differ.

    Returns
    -------
    list of float
        As of `Sums.totals`.
    """
    sums = Sums(world, blocks, len(arrays))
    longest = max((array.size for array in arrays), default=0)
    return sums.totals(lambda rows: ([array[rows] for array in arrays], np.empty(0)), longest)[0]


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """Of one sum, some numbers: their bounds as `_bounds` has them, and their sum in steps."""

    bounds: tuple[float, float, float]
    multiples: int


def _part(values: Numbers, step: int | None) -> _Part:
    if values.dtype == np.bool_:  # which counting adds up in no time
        count = int(np.count_nonzero(values))
        return _Part((float(count > 0), 0.0, 0.0), 0 if step is None else count << max(-step, 0))
    return _Part(_bounds(values), 0 if step is None else _multiples(values, step))


def _together(parts: Sequence[_Part]) -> _Part:
    high, low, nan = (max(bounds) for bounds in zip(*(part.bounds for part in parts), strict=True))
    return _Part((high, low, nan), sum(part.multiples for part in parts))


def _bounds(values: Numbers) -> tuple[float, float, float]:
    """Largest element, largest negated element, and infinity where one is NaN: a maximum over ranks is undefined for it."""
    high, low = float(values.max(initial=0)), -float(values.min(initial=0))
    return (0.0, 0.0, math.inf) if math.isnan(high) else (high, low, 0.0)


def _step(largest: float) -> int | None:
    """Exponent of the step for numbers of such size; None when it is not finite."""
    if not math.isfinite(largest):
        return None
    return max(math.frexp(largest)[1] - _BITS, sys.float_info.min_exp)


def _multiples(values: Numbers, step: int) -> int:
    """The sum of a block's numbers, in steps of 2^step; nothing of use where the step is too small for them."""
    anchor = np.float64(math.ldexp(1.5, step + _MANTISSA))
    shifted = values.astype(np.float64)  # numpy casts and adds in less time than it adds across types
    shifted += anchor
    # The anchor's own bits are taken off all at once; what overflows on the way comes back, modulo 2^64.
    total = int(shifted.view(np.int64).sum()) - values.size * int(anchor.view(np.int64))
    return (total + _SIGN) % (2 * _SIGN) - _SIGN


def _limit(high: float, low: float, nan: float) -> float:
    """What a sum comes to that is not finite."""
    if nan or (math.isinf(high) and math.isinf(low)):
        return math.nan
    return math.inf if math.isinf(high) else -math.inf
