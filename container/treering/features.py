"""The feature values of a rank's rows, in chunks of rows as they were read, in memory or on disk.

Nobody needs all of them in one array: cuts are found column by column, and XGBoost takes rows in pieces.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from treering.storage import Storage, fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from treering.storage import Stored

    type Floats = NDArray[np.float32]

type Array = NDArray[np.float32] | sparse.csr_array
"""Rows: float32, shape (rows, columns): dense in Fortran order with NaN for missing, or CSR."""

_CHUNK: Final = 1 << 20  # cells of a chunk where rows come in one array: it is turned around in the cache


@dataclasses.dataclass(frozen=True, slots=True)
class Dense:
    """A chunk whose columns lie one behind the other; `missing` of its values were NaN when it was stored."""

    values: Stored
    rows: int
    missing: int

    @property
    def count(self) -> int:
        """Values that are there."""
        return self.values.nbytes // 4 - self.missing

    @property
    def nbytes(self) -> int:
        """Bytes in memory or on disk."""
        return self.values.nbytes

    def load(self, width: int) -> Floats:
        """All of it, shape (rows, width)."""
        return self.values.read().reshape((self.rows, width), order="F")

    def columns(self, start: int, stop: int) -> Floats:
        """The columns ``[start, stop)``."""
        found = self.values.read(start * self.rows, stop * self.rows)
        return found.reshape((self.rows, stop - start), order="F")

    def moved_out(self, storage: Storage) -> Dense:
        """The same chunk on disk."""
        return Dense(storage.move_out(self.values), self.rows, self.missing)


@dataclasses.dataclass(frozen=True, slots=True)
class Sparse:
    """A chunk of CSR rows."""

    values: Stored
    indices: Stored
    starts: Stored
    rows: int

    @property
    def count(self) -> int:
        """Values that are there."""
        return self.values.nbytes // 4

    @property
    def nbytes(self) -> int:
        """Bytes in memory or on disk."""
        return self.values.nbytes + self.indices.nbytes + self.starts.nbytes

    def load(self, width: int) -> sparse.csr_array:
        """All of it, `width` columns wide."""
        parts = (self.values.read(), self.indices.read(), self.starts.read())
        return sparse.csr_array(parts, shape=(self.rows, width))

    def moved_out(self, storage: Storage) -> Sparse:
        """The same chunk on disk."""
        values, indices, starts = map(storage.move_out, (self.values, self.indices, self.starts))
        return Sparse(values, indices, starts, self.rows)


def store(features: Array, storage: Storage) -> Dense | Sparse:
    """A chunk with a copy of `features`."""
    if isinstance(features, np.ndarray):
        dense = np.asfortranarray(features, np.float32)
        missing = sum(int(np.count_nonzero(np.isnan(column))) for column in dense.T)
        return Dense(storage.put(dense), features.shape[0], missing)
    parts = (
        features.data.astype(np.float32, copy=False),
        features.indices.astype(np.int32, copy=False),
        features.indptr,
    )
    values, indices, starts = map(storage.put, parts)
    return Sparse(values, indices, starts, features.shape[0])


class Features:
    """All chunks of a rank, in the order of its rows.

    Parameters
    ----------
    chunks
        All dense or all sparse.
    width
        Columns.
    is_sparse
        Which of the two, also where there is no chunk.
    storage
        What keeps them, and whatever takes their place.
    """

    def __init__(
        self, chunks: Sequence[Dense | Sparse], width: int, *, is_sparse: bool, storage: Storage
    ) -> None:
        self._chunks = [chunk for chunk in chunks if chunk.rows]
        self._width = width
        self.is_sparse = is_sparse
        self.storage = storage

    @classmethod
    def of(cls, features: Features | Array) -> Features:
        """Rows that are there as one array."""
        if isinstance(features, Features):
            return features
        storage = Storage()
        is_sparse = not isinstance(features, np.ndarray)
        rows, width = features.shape
        size = max(_CHUNK // max(width, 1), 1)
        chunks = [store(features[start : start + size], storage) for start in range(0, rows, size)]
        return cls(chunks, width, is_sparse=is_sparse, storage=storage)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return sum(chunk.rows for chunk in self._chunks), self._width

    @property
    def nbytes(self) -> int:
        """Bytes in memory or on disk."""
        return sum(chunk.nbytes for chunk in self._chunks)

    @property
    def count(self) -> int:
        """Values that are there, the missing ones left out."""
        return sum(chunk.count for chunk in self._chunks)

    @property
    def has_gaps(self) -> bool:
        """Whether some values are not there, or rows are sparse."""
        return self.is_sparse or self.count < self.shape[0] * self._width

    def __iter__(self) -> Iterator[Array]:
        """The rows, chunk by chunk; not to be written to."""
        return (chunk.load(self._width) for chunk in self._chunks)

    def row_blocks(self, rows: int) -> Iterator[Array]:
        """All rows, at most `rows` at a time; dense ones in C order, which is how rows are gone through fastest."""
        for chunk in self:
            for start in range(0, chunk.shape[0], rows):
                block = chunk[start : start + rows]
                yield np.ascontiguousarray(block) if isinstance(block, np.ndarray) else block

    def pieces(self, size: int) -> Iterator[list[Array]]:
        """All rows, as many chunks at a time as have about `size` bytes; one at least."""
        group: list[Dense | Sparse] = []
        together = 0
        for chunk in self._chunks:
            more = chunk.nbytes
            if group and together + more > size:
                yield [each.load(self._width) for each in group]
                group, together = [], 0
            group.append(chunk)
            together += more
        if group:
            yield [each.load(self._width) for each in group]

    @property
    def chunk_rows(self) -> list[int]:
        """Rows of each chunk."""
        return [chunk.rows for chunk in self._chunks]

    def column_block(self, start: int, stop: int) -> Floats:
        """The dense columns ``[start, stop)`` of all rows, in Fortran order."""
        block = fresh((self.shape[0], stop - start))
        row = 0
        for chunk in self._chunks:
            assert isinstance(chunk, Dense)  # noqa: S101  # the caller asked `is_sparse`
            block[row : row + chunk.rows] = chunk.columns(start, stop)
            row += chunk.rows
        return block

    def stacked(self) -> Array:
        """All rows in one array."""
        if self.is_sparse:
            return stack_sparse(list(self), self._width)
        return self.column_block(0, self._width)

    def take(self, rows: NDArray[np.intp]) -> Array:
        """Some rows, ascending or not, in this order, in one array."""
        order = np.argsort(rows, kind="stable")
        edges = np.searchsorted(rows[order], list(itertools.accumulate(self.chunk_rows, initial=0)))
        first = itertools.accumulate(self.chunk_rows, initial=0)
        found = [
            chunk.load(self._width)[rows[order[start:stop]] - before]
            for chunk, before, (start, stop) in zip(
                self._chunks, first, itertools.pairwise(edges), strict=False
            )
            if stop > start
        ]
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        if self.is_sparse:
            return stack_sparse(found, self._width)[back]
        none = np.empty((0, self._width), np.float32)
        return np.asfortranarray(np.concatenate([none, *found])[back])

    def widened(self, width: int) -> Features:
        """The same rows with as many columns as `width`."""
        return Features(self._chunks, width, is_sparse=self.is_sparse, storage=self.storage)

    def change_columns(self, columns: Iterable[int], change: Callable[[int, Floats], Floats]) -> None:
        """Replace dense columns by what `change` makes of each and its values, chunk by chunk."""
        for chunk in self._chunks:
            loaded = np.array(chunk.load(self._width), order="F")
            for column in columns:
                loaded[:, column] = change(column, loaded[:, column])
            assert isinstance(chunk, Dense)  # noqa: S101  # only dense rows have anything to change
            chunk.values.write(loaded)

    def move_out(self) -> None:
        """Bring to disk what is in memory."""
        for number, chunk in enumerate(self._chunks):
            self._chunks[number] = chunk.moved_out(self.storage)

    def release(self) -> None:
        """Let all values go; none can be read from here on."""
        self._chunks.clear()


def stack_sparse(parts: Sequence[Any], width: int) -> sparse.csr_array:
    """CSR arrays one below the other, `width` columns wide."""
    counts = [np.diff(part.indptr) for part in parts]
    entries = sum(part.nnz for part in parts)
    dtype = np.int32 if entries <= np.iinfo(np.int32).max else np.int64
    starts = np.zeros(1 + sum(count.size for count in counts), dtype)
    np.cumsum(_join(counts, np.int64), out=starts[1:])
    values = _join([part.data for part in parts], np.float32)
    indices = _join([part.indices for part in parts], np.int32)
    return sparse.csr_array((values, indices, starts), shape=(starts.size - 1, width))


def _join(parts: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
