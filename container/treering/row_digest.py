"""One number for the rows of a channel: the same whoever holds them, in whatever order, changed by any value.

Each row becomes a 64-bit word, a weighted sum of the bits of its values, stirred so that values cannot be
exchanged between rows unnoticed. The words of all rows are added modulo 2^64, so order cannot matter. It
notices changes; it is no protection against somebody who wants to deceive it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from treering.features import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from treering.features import Array
    from treering.world import World

    type Words = NDArray[np.uint64]

_BLOCK: Final = 1 << 15  # rows at a time: their words stay in the cache


def row_digest(world: World, features: Features | Array, beside: Sequence[NDArray[Any]]) -> int:
    """Digest of the rows of all ranks; collective.

    Parameters
    ----------
    world
        All ranks.
    features
        float32, shape (rows, columns): dense with NaN for missing, or CSR; the two agree on equal rows.
    beside
        Labels, weights and the like: float32 or int64, shape (rows,) or (rows, k), the same ones in the same
        order on all ranks.

    Returns
    -------
    int
        In [0, 2^64), equal on all ranks. Missing values and absent ones are alike, and so are 0.0 and -0.0.
    """
    columns = features.shape[1]
    flat = [column for values in beside for column in np.atleast_2d(values.T)]
    factors = _factors(1 + columns + len(flat))
    total, before = np.zeros(1, np.uint64), 0
    for chunk in Features.of(features):
        rows = chunk.shape[0]
        for start in range(0, rows, _BLOCK):
            block = slice(start, min(start + _BLOCK, rows))
            words = _words(chunk, block, factors[1:])
            for values, factor in zip(flat, factors[1 + columns :], strict=True):
                words += _bits(values[before + block.start : before + block.stop]) * factor
            words ^= words >> np.uint64(31)
            words *= factors[0]
            words ^= words >> np.uint64(29)
            total += words.sum(dtype=np.uint64)
        before += rows
    return int(world.allreduce(total)[0])


def _factors(count: int) -> Words:
    """An odd number for each column; odd, so that no bit of a value can fall out of the product."""
    drawn = np.random.Generator(np.random.PCG64(0)).bytes(8 * count)
    return np.frombuffer(drawn, np.dtype("<u8")) | np.uint64(1)


def _words(features: Array, rows: slice, factors: Words) -> Words:
    """The weighted sum of the features' bits in each of `rows`."""
    words = np.zeros(rows.stop - rows.start, np.uint64)
    if not isinstance(features, np.ndarray):
        ends = features.indptr[rows.start : rows.stop + 1]
        stored = slice(int(ends[0]), int(ends[-1]))
        parts = _bits(features.data[stored]) * factors[features.indices[stored]]
        sums = np.concatenate([words[:1], np.cumsum(parts, dtype=np.uint64)])
        return np.asarray(np.diff(sums[ends - ends[0]]), np.uint64)
    for column in range(features.shape[1]):
        words += _bits(features[rows, column]) * factors[column]
    return words


def _bits(values: NDArray[Any]) -> Words:
    """The bits of each value plus 1, and 0 where it is missing."""
    if values.dtype != np.float32:
        return values.astype(np.uint64) + np.uint64(1)
    positive_zero = values + np.float32(0)
    bits = positive_zero.view(np.uint32).astype(np.uint64)
    bits += np.uint64(1)
    bits[np.isnan(values)] = 0
    return bits
