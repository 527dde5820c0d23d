"""Order statistics of columns whose values lie on several ranks, exact and the same for any layout.

All columns are bisected together, over the 2^32 float32 numbers taken as unsigned integers of the same
order: a step costs one allreduce of counts. Since only integers are added, and the true values are found,
nothing can depend on how the values lie. The search starts between the smallest and the largest of the
ranks' own order statistics: a single rank needs no step, shards that are alike need about 15, and no data
needs more than 32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.world import World

    type Floats = NDArray[np.float32]
    type Keys = NDArray[np.uint32]
    type Counts = NDArray[np.int64]

_SIGN: Final = np.uint32(1 << 31)


def order_statistics(world: World, parts: Sequence[Floats], counts: Counts, max_bin: int) -> Floats:
    """Of each column the values of rank floor(i n / max_bin), 0 < i < max_bin, counted from 0; collective.

    Parameters
    ----------
    world
        All ranks.
    parts
        Of each column this rank's values, ascending; float32, finite, possibly none.
    counts
        n: how many values each column has on all ranks together; above 0, below 3e9. Shape (columns,).
    max_bin
        In how many parts to divide each column.

    Returns
    -------
    float32, shape (columns, max_bin - 1), ascending in each row; never -0.0.
    """
    wanted = np.arange(1, max_bin) * counts[:, np.newaxis] // max_bin
    low, high = _bracket(world, parts, counts, wanted)
    while (apart := low < high).any():
        middle = low + (high - low) // 2
        probes = _values(middle)
        up_to = [np.searchsorted(part, probe, "right") for part, probe in zip(parts, probes, strict=True)]
        enough = world.allreduce(np.array(up_to, np.int64)[apart]) > wanted[apart]
        high[apart] = np.where(enough, middle[apart], high[apart])
        low[apart] = np.where(enough, low[apart], middle[apart] + 1)
    return _values(low) + np.float32(0)  # adding turns -0.0 into 0.0


def _bracket(world: World, parts: Sequence[Floats], counts: Counts, wanted: Counts) -> tuple[Keys, Keys]:
    """Keys between which the values of rank `wanted` lie.

    With t of n values before the wanted one, each rank looks at its own value of rank floor(t m / n) among
    its m. At the largest of these every rank counts more than t m / n values, which makes more than t;
    below the smallest every rank counts at most that many, which makes t at most.
    """
    low = np.full(wanted.shape, np.iinfo(np.uint32).max, np.uint32)
    high = np.zeros(wanted.shape, np.uint32)
    for i, part in enumerate(parts):
        if part.size:
            low[i] = high[i] = _keys(part[wanted[i] * part.size // counts[i]])
    return world.allreduce(low, "min"), world.allreduce(high, "max")


def _keys(values: Floats) -> Keys:
    """Unsigned integers in the order of the values: sign bit flipped, negative ones inverted."""
    bits = values.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _values(keys: Keys) -> Floats:
    """The values of `_keys`."""
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float32)
