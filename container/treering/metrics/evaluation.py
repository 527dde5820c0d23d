"""What the metrics of one round share: sums over rows, ordered scores, ranked documents."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from treering.metrics import tallies
from treering.metrics.curves import Scores
from treering.metrics.predictions import Block

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from treering.metrics.losses import Loss
    from treering.metrics.predictions import Transform
    from treering.metrics.ranking import Documents, Ranked
    from treering.metrics.rows import Data, Floats
    from treering.metrics.sums import Numbers, Sums

    type Metric = Callable[[Evaluation], float]
    # Computed for all rows at once, by functions that are no numpy of one thread; without weights.
    type Column = Callable[[Data, Floats], NDArray[np.float64]]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to add up over rows in one go.

    Parameters
    ----------
    data
        Rows of all ranks.
    transform
        From margins to predictions.
    raw
        Whether predictions are margins of probabilities.
    narrow
        Whether predictions are between 0 and 1.
    losses, columns
        Each once.
    actual
        Weight of each class, shape (classes,); empty when no classes are tallied.
    sums
        For losses and columns.
    """

    data: Data
    transform: Transform
    raw: bool
    narrow: bool
    losses: tuple[Loss, ...]
    columns: tuple[Column, ...]
    actual: NDArray[np.float64]
    sums: Sums


class Evaluation:
    """One round's margins, shape (rows,) or (rows, outputs), and what follows from them; collective."""

    def __init__(self, plan: Plan, margin: Floats) -> None:
        self.margin = margin
        self._plan = plan
        self._ranked: Ranked | None = None
        found, tallied = self._added_up()
        self._sums = dict(zip((*plan.losses, *plan.columns), found, strict=True))
        hit, predicted = tallied.reshape(2, -1)
        self.tally = tallies.Tally(hit, predicted, plan.actual)

    def mean(self, loss: Loss | Column) -> float:
        """Weighted mean of a loss or a column over all rows; NaN without weight."""
        weight = self._plan.data.weight
        return self._sums[loss] / weight if weight else math.nan

    @functools.cached_property
    def scores(self) -> Scores:
        """Predictions, to be ordered; collective."""
        plan = self._plan
        return Scores(plan.data, plan.transform, self.margin, narrow=plan.narrow)

    @property
    def log_prediction(self) -> Floats:
        """Logarithms of the predictions, shape (rows,): margins where those are its exponentials."""
        transform = self._plan.transform
        if transform is np.exp:
            return self.margin
        with np.errstate(all="ignore"):  # what has none is NaN
            return np.asarray(np.log(transform(self.margin)))

    def ranked(self, documents: Documents) -> Ranked:
        """The documents of the channel by these margins."""
        if self._ranked is None:
            self._ranked = documents.ranked(self.margin)
        return self._ranked

    def _added_up(self) -> tuple[list[float], NDArray[np.float64]]:
        """Sums of all losses and columns, and all ranks' tally of shape (2 classes,); collective."""
        plan, rows = self._plan, self._plan.data.rows
        columns = [column(plan.data, self.margin) for column in plan.columns]

        def work(part: slice) -> tuple[list[Numbers], NDArray[np.float64]]:
            block = Block(plan.transform, rows, self.margin, part, raw=plan.raw)
            values: list[Numbers] = [
                *(loss(block) for loss in plan.losses),
                *(column[part] for column in columns),
            ]
            if block.weight is not None:
                values = [each * block.weight for each in values]
            return values, tallies.count(block, plan.actual.size)

        return plan.sums.totals(work, rows.label.size, math.prod(self.margin.shape[1:]))
