"""Metrics of survival times.

Sources: XGBoost 3.4.1, ``src/metric/survival_metric.cu``, ``src/common/survival_util.h``,
``probability_distribution.h`` and ``src/metric/rank_metric.cc``. With margin m:

aft-nloglik
    -log of the density at the time, or of the probability of the interval it lies in, at least 1e-12, when
    (log time - m) / scale has the chosen distribution.
interval-regression-accuracy
    Weight of the rows whose exp(m) lies in their interval, both ends included.
cox-nloglik
    Mean over events of log(sum of exp(m_j) over all rows j not earlier) - m, with the logarithm of the
    prediction for m where that is not exp(m). A label below 0 is a row censored at its absolute value. Ties
    as by Breslow. Weights do not count, as in XGBoost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numexpr
import numpy as np
from scipy import special

from treering.metrics import sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from treering.metrics.rows import Data, Floats

    type Doubles = NDArray[np.float64]
    type Distribution = Callable[[Doubles], Doubles]

_LEAST: Final = 1e-12


def interval_hit(data: Data, margin: Floats) -> Doubles:
    """Whether each row's time is met, shape (rows,)."""
    time = _evaluate("exp(x)", x=margin.astype(np.float64))
    upper = data.rows.label if data.rows.label_upper is None else data.rows.label_upper
    return ((time >= data.rows.label) & (time <= upper)).astype(np.float64)


def aft(distribution: str, scale: float) -> Callable[[Data, Floats], Doubles]:
    """The loss of each row, shape (rows,)."""
    density, cumulative = _DISTRIBUTIONS[distribution]

    def loss(data: Data, margin: Floats) -> Doubles:
        lower = data.rows.label.astype(np.float64)
        upper = lower if data.rows.label_upper is None else data.rows.label_upper.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # where() takes the other
            below = (_evaluate("log(x)", x=lower) - margin) / scale
            above = (_evaluate("log(x)", x=upper) - margin) / scale
            exact = density(below) / (scale * lower)
            within = np.where(np.isinf(upper), 1, cumulative(above)) - np.where(
                lower <= 0, 0, cumulative(below)
            )
        return -_evaluate("log(x)", x=np.fmax(np.where(lower == upper, exact, within), _LEAST))

    return loss


def _evaluate(expression: str, **names: Doubles) -> Doubles:
    """By the C library, whose bits depend neither on place nor on threads."""
    return (
        np.asarray(numexpr.evaluate(expression, names, {}))
        if next(iter(names.values())).size
        else np.empty(0)
    )


def _normal_density(z: Doubles) -> Doubles:
    return _evaluate("exp(-z * z / 2)", z=z) / math.sqrt(2 * math.pi)


def _logistic_density(z: Doubles) -> Doubles:
    w = _evaluate("exp(-abs(z))", z=z)  # symmetric: no overflow this way
    return w / ((1 + w) * (1 + w))


def _extreme_density(z: Doubles) -> Doubles:
    return np.nan_to_num(_evaluate("exp(z) * exp(-exp(z))", z=z))


_DISTRIBUTIONS: Final[dict[str, tuple[Distribution, Distribution]]] = {
    "normal": (_normal_density, lambda z: 0.5 * (1 + special.erf(z / math.sqrt(2)))),
    "logistic": (_logistic_density, lambda z: 1 / (1 + _evaluate("exp(-z)", z=z))),
    "extreme": (_extreme_density, lambda z: 1 - _evaluate("exp(-exp(z))", z=z)),
}


class Cox:
    """cox-nloglik of one channel, prepared once: each rank has the rows of a span of time.

    Margins travel to the rank that has their time. The sums over all later rows are kept as logarithms and
    grow row by row in one order for all layouts: by time, then by margin. So each rank starts from what
    the ranks with later times have found. Rows of one time are all on one rank.
    """

    def __init__(self, data: Data) -> None:
        """Deal the rows by time; collective."""
        self._data = data
        world, label = data.world, data.rows.label
        time = np.abs(label)
        sample = np.sort(np.concatenate(world.allgather_arrays(self._sample(time))))
        edges = sample[np.arange(1, world.size) * sample.size // world.size] if sample.size else sample
        owner = np.searchsorted(edges, time, "right")
        self._order = np.argsort(owner, kind="stable")
        self._ends = np.searchsorted(owner[self._order], np.arange(1, world.size))
        theirs = np.concatenate(world.alltoall_arrays(self._deal(label)))
        # The latest time first: the order in which sums grow.
        times, self._place = np.unique(-np.abs(theirs), return_inverse=True)
        self._events = np.bincount(self._place[theirs > 0], minlength=times.size).astype(np.float64)
        self._event = label > 0
        self._count = data.sum(self._event.astype(np.float64))

    def value(self, margin: Floats) -> float:
        """Of this rank's logarithms of hazards, shape (rows,); NaN without events; collective."""
        data = self._data
        if not self._count:
            return math.nan
        received = np.concatenate(data.world.alltoall_arrays(self._deal(margin)))
        order = np.lexsort((received, self._place))
        place, logarithms = self._place[order], received[order].astype(np.float64)
        grown = self._grow(logarithms)
        last = np.flatnonzero(
            np.concatenate([place[1:] != place[:-1], np.ones(min(place.size, 1), np.bool_)])
        )
        terms = [self._events * grown[last], -margin[self._event].astype(np.float64)]
        found = sums.totals(data.world, data.blocks, terms)
        return sum(found) / self._count

    def _grow(self, logarithms: Doubles) -> Doubles:
        """Logarithms of the sums up to each row, starting after the ranks with later times."""
        world, carry = self._data.world, -math.inf
        grown = np.empty(0)
        for rank in reversed(range(world.size)):
            if world.rank == rank:
                with np.errstate(invalid="ignore"):  # no hazard, no number
                    grown = np.logaddexp.accumulate(np.concatenate([[carry], logarithms]))
            carry = float(world.broadcast(float(grown[-1]) if world.rank == rank else None, root=rank))
        return grown[1:]

    def _sample(self, time: Floats) -> Floats:
        """Evenly spaced times of this rank, in proportion to its rows."""
        step = max(self._data.count // (64 * self._data.world.size), 1)
        return np.sort(time)[step // 2 :: step]

    def _deal(self, column: Floats) -> list[Floats]:
        """A column's values for each rank."""
        return np.split(column[self._order], self._ends)
