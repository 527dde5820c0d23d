"""All cells of a block of CSV as numbers, and what they become: a batch, or a reason to look again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from treering.readers import cells
from treering.readers.batch import Batch
from treering.readers.rules import bounds, inverted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treering.readers.roles import Parts


def clean(cell: str) -> str | None:
    """A query group as it is meant: without blanks around it, or None where there is none."""
    return None if cells.is_missing(cell) else cell.strip(cells.BLANKS)


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Whole rows.

    Parameters
    ----------
    numbers
        float32, shape (rows, columns of the file), in Fortran order; missing is NaN, and what stands in
        the place of query groups means nothing.
    group
        int64, shape (rows,), or None if there is no column for it.
    """

    numbers: NDArray[np.float32]
    group: NDArray[np.int64] | None

    def fits(self, parts: Parts) -> bool:
        """Whether every column keeps its rule."""
        numbers = self.numbers
        if (
            parts.label_upper is not None
            and inverted(numbers[:, parts.label], numbers[:, parts.label_upper]).any()
        ):
            return False
        columns = (column for column in range(numbers.shape[1]) if column != parts.group)
        return not any(parts.rule(column).broken(numbers[:, column]).any() for column in columns)

    def to_batch(self, parts: Parts) -> Batch:
        """The columns by their parts, views of one block of memory where features stand side by side."""
        return Batch(
            self._columns(parts.features),
            self.numbers[:, parts.label],
            None if parts.weight is None else self.numbers[:, parts.weight],
            self.group,
            None if parts.label_upper is None else bounds(self.numbers[:, parts.label_upper]),
            _margins(self.numbers, parts.base_margin),
        )

    def _columns(self, places: tuple[int, ...]) -> NDArray[np.float32]:
        first, last = places[0], places[-1]
        if last - first + 1 == len(places):
            return self.numbers[:, first : last + 1]
        return np.asfortranarray(self.numbers[:, list(places)])


def _margins(numbers: NDArray[np.float32], places: tuple[int, ...]) -> NDArray[np.float32] | None:
    if not places:
        return None
    return numbers[:, places[0]] if len(places) == 1 else np.asfortranarray(numbers[:, list(places)])
