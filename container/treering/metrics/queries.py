"""Queries of a ranking task, and their documents in the order of scores."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treering.metrics.rows import Floats

    type Integers = NDArray[np.int64]
    type Doubles = NDArray[np.float64]

_SIGN: Final = np.uint32(1 << 31)
_WORD: Final = 64
_KEY: Final = np.uint64(32)


@dataclasses.dataclass(frozen=True, slots=True)
class Queries:
    """Where the queries of this rank's rows begin.

    Parameters
    ----------
    starts
        First row of each query, then the number of rows; shape (queries + 1,).
    label
        Relevance of each row, shape (rows,).
    """

    starts: Integers
    label: Floats

    @classmethod
    def of(cls, label: Floats, group: NDArray[np.int64] | None) -> Queries:
        """From the query of each row; None only without rows."""
        if group is None or not group.size:
            return cls(np.zeros(1, np.int64), label)
        return cls(np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [group.size]]), label)

    @property
    def count(self) -> int:
        """How many."""
        return self.starts.size - 1

    @property
    def sizes(self) -> Integers:
        """Documents of each, shape (queries,)."""
        return np.diff(self.starts)

    def spread(self, values: Integers) -> Integers:
        """A value of each query for each of its rows."""
        return np.repeat(values, self.sizes)

    @property
    def positions(self) -> Integers:
        """Place of each row in its query, from 0."""
        return np.arange(self.label.size) - self.spread(self.starts[:-1])

    def sum(self, values: Doubles) -> Doubles:
        """Of each query, shape (queries,): always added in the same order."""
        return np.add.reduceat(values, self.starts[:-1]) if self.count else np.empty(0)

    def order(self, score: Floats) -> Integers:
        """Rows query by query, the highest score first, ties as they stand; shape (rows,)."""
        bits = (score + np.float32(0)).view(np.uint32)  # adding turns -0.0 into 0.0
        falling = np.where(bits & _SIGN, bits, ~(bits | _SIGN)).astype(np.uint64)
        width = int(self.sizes.max(initial=1)).bit_length()
        query = self.spread(np.arange(self.count))
        if self.count.bit_length() + width + int(_KEY) > _WORD:
            return np.lexsort((falling, query))
        packed = query.astype(np.uint64) << np.uint64(width + int(_KEY))
        packed |= falling << np.uint64(width)
        packed |= self.positions.astype(np.uint64)
        packed.sort()
        return self.spread(self.starts[:-1]) + (packed & np.uint64((1 << width) - 1)).astype(np.int64)
