"""Which rows these are: a row's identity is the position of its file in the channel, and its number in it.

Neither depends on the rank that holds it, so whatever is drawn, sorted or compared by identity comes out
the same on any number of hosts.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


class Piece(NamedTuple):
    """Consecutive rows of one file: ``[first_row, first_row + rows)``."""

    file: int
    first_row: int
    rows: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The identities of rows in some order, runs of neighbours together.

    Parameters
    ----------
    table
        int64, shape (pieces, 3): file, first row and number of rows of each piece.
    """

    table: NDArray[np.int64]

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> Pieces:
        """Pieces that are known one by one."""
        return cls(np.array([tuple(piece) for piece in pieces], np.int64).reshape(-1, 3))

    @classmethod
    def of_rows(cls, file: NDArray[np.int64], row: NDArray[np.int64]) -> Pieces:
        """The fewest pieces for rows whose file and number, shape (rows,) each, are given."""
        follows = (file[1:] == file[:-1]) & (row[1:] == row[:-1] + 1)
        starts = np.concatenate([np.zeros(min(1, file.size), np.int64), np.flatnonzero(~follows) + 1])
        return cls(np.column_stack([file[starts], row[starts], np.diff(starts, append=file.size)]))

    @property
    def rows(self) -> int:
        """Rows of all pieces."""
        return int(self.table[:, 2].sum())

    def expand(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """File and number of each row; shape (rows,) each."""
        file, first, rows = self.table.T
        starts = np.cumsum(rows) - rows
        return np.repeat(file, rows), np.repeat(first - starts, rows) + np.arange(self.rows)

    def __iter__(self) -> Iterator[Piece]:
        return (Piece(*row) for row in self.table.tolist())

    def __len__(self) -> int:
        return len(self.table)
