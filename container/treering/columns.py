"""The values of this rank's rows, column by column and sorted, as exact cuts need them.

Only a few columns at a time are in one piece: `treering.features` keeps rows as they were read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from treering.features import stack_sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from treering.features import Features
    from treering.storage import Stored

    type Floats = NDArray[np.float32]
    type Counts = NDArray[np.int64]

_ENTRIES_A_COLUMN: Final = 8  # that are worth remembering where a column begins


class Columns(Protocol):
    """All columns of a rank."""

    def sizes(self) -> Counts:
        """How many values to sort, a dense array's missing ones among them; shape (columns,)."""

    def sorted_values(self, start: int, stop: int) -> list[Floats]:
        """Of each of the columns ``[start, stop)`` the values that are not missing, ascending."""


def columns_of(features: Features) -> Columns:
    """The columns of `features`."""
    return _Sparse(features) if features.is_sparse else _Dense(features)


class _Dense:
    def __init__(self, features: Features) -> None:
        self._features = features

    def sizes(self) -> Counts:
        rows, columns = self._features.shape
        return np.full(columns, rows, np.int64)

    def sorted_values(self, start: int, stop: int) -> list[Floats]:
        block = self._features.column_block(start, stop)
        block.sort(axis=0)
        # NaN sorts last
        return [column[: np.searchsorted(column, np.float32(np.nan))] for column in block.T]


class _Sparse:
    """Parts of the rows turned around: the values of a column lie together, without their rows."""

    def __init__(self, features: Features) -> None:
        self._columns = features.shape[1]
        self._parts: list[tuple[Stored, NDArray[np.int64]]] = []
        for rows in _large_parts(features):
            turned = rows.tocsc()
            self._parts.append((features.storage.put(turned.data), turned.indptr.astype(np.int64)))

    def sizes(self) -> Counts:
        return sum((np.diff(starts) for _, starts in self._parts), np.zeros(self._columns, np.int64))

    def sorted_values(self, start: int, stop: int) -> list[Floats]:
        found: list[list[Floats]] = [[] for _ in range(start, stop)]
        for stored, starts in self._parts:
            edges = starts[start : stop + 1]
            values = stored.read(int(edges[0]), int(edges[-1]))
            for column, part in enumerate(np.split(values, edges[1:-1] - edges[0])):
                found[column].append(part)
        return [np.sort(np.concatenate([np.empty(0, np.float32), *parts])) for parts in found]


def _large_parts(features: Features) -> Iterator[csr_array]:
    """The rows in parts with many entries for each column."""
    width = features.shape[1]
    waiting: list[csr_array] = []
    for chunk in features:
        assert not isinstance(chunk, np.ndarray)  # noqa: S101  # `columns_of` asked
        waiting.append(chunk)
        if sum(part.nnz for part in waiting) >= _ENTRIES_A_COLUMN * width:
            yield stack_sparse(waiting, width)
            waiting.clear()
    if waiting:
        yield stack_sparse(waiting, width)
