"""What is scored: the rows of one channel, and what holds for all ranks' rows together."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from treering import grid
from treering.metrics import sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treering.metrics.blocks import Blocks
    from treering.world import World

    type Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one channel on this rank; possibly none.

    Parameters
    ----------
    label
        float32, finite, shape (rows,).
    weight
        float32, 0 or more, shape (rows,); None for 1 each.
    group
        Query of each row for ranking, shape (rows,). Rows of a query are neighbours, and all on one rank.
    label_upper
        Upper bounds of time for survival:aft, possibly infinite; `label` has the lower ones.
    """

    label: Floats
    weight: Floats | None = None
    group: NDArray[np.int64] | None = None
    label_upper: Floats | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """Rows with what all ranks agree on.

    Parameters
    ----------
    world, blocks
        All ranks, and this one's threads.
    rows
        As given, with weights on a grid: any sum of them is exact.
    unit
        The largest power of two that all weights are whole multiples of; 1 without weights.
    count
        Rows on all ranks.
    weight
        Sum of all their weights.
    grouped
        Whether any rank's rows have queries.
    """

    world: World
    blocks: Blocks
    rows: Rows
    unit: float
    count: int
    weight: float
    grouped: bool

    @classmethod
    def of(cls, world: World, blocks: Blocks, rows: Rows) -> Data:
        """Agree; collective. A rank without rows need not know whether others have weights or queries."""
        weighted, grouped = world.allreduce(
            np.array([rows.weight is not None, rows.group is not None], np.int64)
        )
        count = int(world.allreduce(np.array([rows.label.size], np.int64))[0])
        if not weighted:
            return cls(world, blocks, rows, 1.0, count, float(count), bool(grouped))
        weight = np.ones_like(rows.label) if rows.weight is None else rows.weight.copy()
        largest = float(world.allreduce(np.array([weight.max(initial=0)], np.float32), "max")[0])
        step = grid.step(count, largest)
        grid.snap(weight, step)
        total = float(world.allreduce(np.array([weight.sum(dtype=np.float64)]))[0])
        rows = dataclasses.replace(rows, weight=weight)
        return cls(world, blocks, rows, _unit(world, weight, float(step)), count, total, bool(grouped))

    def any(self, flags: NDArray[np.bool_]) -> bool:
        """Whether any flag on any rank is set; collective."""
        return bool(self.world.allreduce(np.array([flags.any()], np.int64), "max")[0])

    def largest(self, values: Floats) -> float:
        """The largest of all ranks' values, none of them below 0; collective."""
        return float(self.world.allreduce(np.array([values.max(initial=0)], np.float32), "max")[0])

    def sum(self, values: NDArray[np.float64]) -> float:
        """Exact sum of a column over all ranks, without weights; collective."""
        (found,) = sums.totals(self.world, self.blocks, [values])
        return found

    def mean(self, values: NDArray[np.float64]) -> float:
        """Weighted mean of a column over all ranks; NaN without weight; collective."""
        with np.errstate(invalid="ignore"):  # 0 times infinity is no number, and the result shows it
            total = self.sum(values if self.rows.weight is None else values * self.rows.weight)
        return total / self.weight if self.weight else math.nan


def _unit(world: World, weight: Floats, step: float) -> float:
    """The largest power of two that divides all ranks' weights, which are multiples of `step`; collective."""
    bits = int(np.bitwise_or.reduce((weight / np.float64(step)).astype(np.int64)))
    lowest = np.array([bits & -bits or np.iinfo(np.int64).max], np.int64)
    return step * float(world.allreduce(lowest, "min")[0])
