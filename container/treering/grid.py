"""A power-of-two grid on which floating-point sums are exact, and therefore independent of their order.

Why it works. Let all of N numbers be whole multiples of one step q, a power of two, and none larger than
2^53 q / N in size. Then any sum of any of them, each taken at most once, is itself some k q with
``|k| <= 2^53``, and float64 holds every such number exactly. So no partial sum is ever rounded, in
whatever order rows, threads, hosts or the subtraction of a sibling's histogram combine them.

The step for N numbers of size at most M is

    q = 2^(ceil(log2 N) + ceil(log2 M) - 53)

With both factors rounded up to powers of two, the bound 2^53 q / N is at least M rounded up to a power of
two, and that is on the grid: rounding cannot lift a number over the bound, however large N is.

What it costs. A float32 has 24 significant bits, so all numbers of at least 2^-28 N M in size are on the
grid already and stay as they are. The smaller ones move by at most q / 2. For 16 million rows this is
2^-29 M or less, a sixteenth of float32's own rounding of M. If 2^-28 N M is below the smallest number,
nothing changes at all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treering.world import World

_BITS = 53  # of float64, in which XGBoost sums
_SMALLEST = -126  # exponent of float32's smallest normal number: its inverse is still a float32


def step(rows: int, largest: float) -> np.float32:
    """The grid's step for `rows` float32 numbers of size at most `largest`; a power of two.

    Never below 2^-126: what is smaller than half of that becomes zero.

    Raises
    ------
    OverflowError
        When `largest` is infinite or NaN.
    """
    if not math.isfinite(largest):
        raise OverflowError("no grid holds numbers that are not finite")
    return np.float32(math.ldexp(1.0, max(_exponent(rows) + _exponent(largest) - _BITS, _SMALLEST)))


def snap(values: NDArray[np.float32], step: np.float32) -> None:
    """Round finite float32 `values` of any shape, in place, to whole multiples of `step`, ties to even.

    Exact but for the rounding itself: scaling by a power of two changes no bit of the mantissa, and a
    float32 rounded to fewer bits is a float32.
    """
    values *= np.float32(1) / step
    np.rint(values, out=values)
    values *= step


def exact_sum(world: World, values: NDArray[np.float64]) -> float:
    """Sum of all ranks' finite float64 `values`, shape (rows,), to the same last bit for any layout; collective.

    Each value is split into a part on the grid and a rest on a grid 2^53 / N times finer; both sums are
    exact, and adding the two rounds once. What both grids leave of a value is 2^-105 N^2 M at most, with N
    values of size up to M.
    """
    largest = float(world.allreduce(np.array([np.abs(values).max(initial=0.0)]), "max")[0])
    rows = int(world.allreduce(np.array([values.size]))[0])
    exponent = _exponent(rows) + _exponent(largest) - _BITS
    finer = _exponent(rows) + exponent - _BITS
    sums = []
    for spacing in (math.ldexp(1.0, exponent), math.ldexp(1.0, finer)):
        on_grid = np.rint(values / spacing) * spacing
        sums.append(on_grid.sum())
        values = values - on_grid
    coarse, fine = world.allreduce(np.array(sums))
    return float(coarse + fine)


def _exponent(value: float) -> int:
    """Smallest e with ``value <= 2^e``; 0 for 0, which fits on any grid."""
    mantissa, exponent = math.frexp(value)
    return exponent - (mantissa == 0.5)  # noqa: PLR2004  # frexp's smallest mantissa: a power of two itself
