"""Rows of LIBSVM text as flat arrays, and how they become a batch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from treering.readers.batch import Batch
from treering.readers.rules import FEATURE, LABEL, WEIGHT

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_INDEX = 2**22 - 1
"""The largest index that is believed.

One index in one row makes that many columns, and each of them costs every rank about a kilobyte (its cuts, at
`max_bin` 256) and up to 70 microseconds, values or none: 2^22 columns take 5 GB and some minutes, and widely used
data hashed into 2^20 or a little more stays possible. Beyond, an identifier has been taken for an index.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a block, flat. Values may still be NaN (missing), indices stand in any order.

    Parameters
    ----------
    label
        float32, shape (rows,).
    weight
        float32, shape (rows,), 1 where a row names none; None if no row names one.
    group
        int64, shape (rows,), or None if rows have no ``qid``.
    row
        Row of each entry, ascending; shape (entries,).
    index
        Column of each entry, from 0; int64, shape (entries,).
    value
        float32, shape (entries,).
    """

    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    group: NDArray[np.int64] | None
    row: NDArray[np.int64]
    index: NDArray[np.int64]
    value: NDArray[np.float32]

    def usable(self) -> bool:
        """Whether labels, weights and values keep their rules."""
        weight = () if self.weight is None else ((WEIGHT, self.weight),)
        return not any(
            rule.broken(values).any()
            for rule, values in ((LABEL, self.label), (FEATURE, self.value), *weight)
        )

    def to_batch(self) -> Batch | None:
        """The rows as a CSR batch, indices ascending, NaN left out; None if an index stands twice in a row."""
        row, index, value = self.row, self.index, self.value
        if (_steps(row, index) <= 0).any():
            order = np.lexsort((index, row))
            row, index, value = row[order], index[order], value[order]
            if (_steps(row, index) == 0).any():
                return None
        present = ~np.isnan(value)
        if not present.all():
            row, index, value = row[present], index[present], value[present]
        rows = self.label.size
        starts = np.zeros(rows + 1, np.int32)
        np.cumsum(np.bincount(row, minlength=rows), out=starts[1:])
        width = int(index.max()) + 1 if index.size else 0
        features = csr_array((value, index.astype(np.int32), starts), shape=(rows, width))
        return Batch(features, self.label, self.weight, self.group)


def _steps(row: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """From each index to the next in the same row; 1 where the next is in another row."""
    return np.where(np.diff(row) == 0, np.diff(index), 1)
