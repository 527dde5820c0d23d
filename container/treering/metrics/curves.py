"""Areas under curves, and the approximate median significance, from all rows in the order of their scores.

Sources: XGBoost 3.4.1, ``src/metric/auc.cc``, ``auc.h`` and ``rank_metric.cc``; auc is scikit-learn's
`roc_auc_score` too, aucpr is not its `average_precision_score`.

auc
    Probability that a positive row scores higher than a negative one, ties counting half. The exact
    fraction, rounded once. Of several classes each against the rest, weighted by the class's weight.
aucpr
    Area under precision over recall, interpolated between scores as by Davis and Goadrich. Of several
    classes each against the rest, all alike.
ams@t
    Largest sqrt(2 ((s + b + 10) log(1 + s / (b + 10)) - s)) over all cuts below the first rows, s and b
    being the weights of positive and negative rows above; for 0 < t < 1 that of the first t of the rows,
    rows tied there taken in part.

A class without rows is left out (XGBoost then has NaN). Labels between 0 and 1 count in part as positive, in part as negative. Without positive or negative rows
all but ams are NaN: they mean nothing then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numexpr
import numpy as np

from treering import grid
from treering.metrics.ordered import Packing, order

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from treering.metrics.ordered import Integers, Ordered, Packed, Piece
    from treering.metrics.predictions import Transform
    from treering.metrics.rows import Data, Floats
    from treering.metrics.sums import Sums

    type Doubles = NDArray[np.float64]
    type Weights = Integers | Doubles
    type Area = Callable[[Scores, Ordered], float]

_BACKGROUND: Final = 10.0  # added to b


def _recall_area() -> str:
    """Davis and Goadrich's area of one score, as numexpr has it."""
    slope = "((wrong_after - wrong) / (after - before))"
    a, b = f"(1 + {slope})", f"((wrong - {slope} * before) / total)"
    low, high = "(before / total)", "(after / total)"
    bent = f"where({b} != 0, {b} / {a} * log(({a} * {high} + {b}) / ({a} * {low} + {b})), 0)"
    return f"where(after > before, ({high} - {low} - {bent}) / {a}, 0)"


_RECALL_AREA: Final = _recall_area()


class Target(NamedTuple):
    """Which rows are positive, with what weight.

    Rows whose label is between 0 and 1 are there twice, as the positive and the negative part of their
    weight; all arrays have shape (rows,) or (2 rows,).
    """

    positive: NDArray[np.bool_]
    weight: Floats | None
    unit: float
    twice: bool = False

    @classmethod
    def of(cls, data: Data) -> Target:
        """By label; collective."""
        label, weight = data.rows.label, data.rows.weight
        positive = label == 1
        if not data.any((label > 0) & (label < 1)):
            return cls(positive, weight, data.unit)
        whole = np.ones_like(label) if weight is None else weight
        halves = np.concatenate([whole * label, whole * (np.float32(1) - label)])
        unit = grid.step(2 * data.count, data.largest(halves))
        grid.snap(halves, unit)
        return cls(np.repeat([True, False], label.size), halves, float(unit), twice=True)

    @classmethod
    def above(cls, data: Data, threshold: float) -> Target:
        """Rows with labels above a threshold."""
        return cls(data.rows.label > np.float32(threshold), data.rows.weight, data.unit)

    @classmethod
    def of_class(cls, data: Data, number: int) -> Target:
        """One class against the rest."""
        return cls(data.rows.label == number, data.rows.weight, data.unit)


class Scores:
    """One evaluation's scores, ordered once for all metrics that need it.

    Parameters
    ----------
    data
        Rows of all ranks.
    transform
        From margins to predictions.
    narrow
        Whether predictions are probabilities.
    margin
        Of this rank's rows: shape (rows,) or (rows, classes).
    """

    def __init__(self, data: Data, transform: Transform, margin: Floats, *, narrow: bool) -> None:
        self.data = data
        self._narrow = narrow
        self._prediction = np.empty(margin.T.shape, np.float32)
        self._ordered: dict[object, Ordered] = {}

        def fill(rows: slice) -> bool:
            found = transform(np.ascontiguousarray(margin[rows].T))
            self._prediction[..., rows] = found
            return bool(np.isnan(found).any())

        columns = 1 if margin.ndim == 1 else margin.shape[1]
        self.undefined = data.any(np.array(data.blocks.map(fill, data.rows.label.size, columns), np.bool_))

    def ordered(self, name: object, target: Target, of_class: int | None = None) -> Ordered:
        """By the only prediction, or that for a class; the same `name` means the same; collective."""
        if name not in self._ordered:
            prediction = self._prediction if of_class is None else self._prediction[of_class]
            self._ordered[name] = self._order(target, prediction)
        return self._ordered[name]

    def _order(self, target: Target, prediction: Floats) -> Ordered:
        packing = Packing(target.weight is not None, target.unit, narrow=self._narrow)
        blocks, rows = self.data.blocks, prediction.size

        def pack(part: slice) -> Packed:
            weight = None if target.weight is None else target.weight[part]
            return packing.pack(prediction[part], target.positive[part], weight)

        def pack_twice(part: slice) -> Packed:
            again = slice(part.start + rows, part.stop + rows)
            halves = (
                packing.pack(prediction[part], target.positive[which], cast("Floats", target.weight)[which])
                for which in (part, again)
            )
            return np.concatenate(list(halves))

        parts = blocks.each(pack_twice if target.twice else pack, blocks.parts(rows))
        return order(self.data.world, blocks, packing, parts)


def auc(scores: Scores, ordered: Ordered) -> float:
    """Of positive against negative rows; collective."""
    positive, negative, _ = ordered.total
    if scores.undefined or not positive or not negative:
        return math.nan
    areas = scores.data.blocks.each(_double_area, list(ordered.pieces))
    return sum(scores.data.world.allgather(sum(areas))) / (2 * positive * negative)


def _double_area(piece: Piece) -> int:
    """Twice the weight of the pairs in which a row of this piece is the negative one and scores lower."""
    return _dot(piece.positive[1:] + piece.positive[:-1], np.diff(piece.negative))


def _dot(left: Integers, right: Integers) -> int:
    """The exact sum of products of numbers that are not negative; those on the right sum to 2^53 at most."""
    room, bits = 63 - int(right.sum()).bit_length(), int(left.max(initial=0)).bit_length()
    if bits <= room:
        return int(left @ right)
    return sum(int(((left >> shift) & ((1 << room) - 1)) @ right) << shift for shift in range(0, bits, room))


def aucpr(sums: Sums) -> Area:
    """Of positive against negative rows, added up by these sums, of which there is one; collective."""

    def area(scores: Scores, ordered: Ordered) -> float:
        positive, negative, _ = ordered.total
        if scores.undefined or not positive or not negative:
            return math.nan
        areas = np.concatenate(
            [
                recall_area(right[:-1], right[1:], wrong[:-1], wrong[1:], float(positive))
                for right, wrong, _ in ordered.pieces
            ]
        )
        (total,), _ = sums.totals(lambda rows: ([areas[rows]], np.empty(0)), areas.size)
        return total

    return area


def recall_area(
    before: Weights, after: Weights, wrong: Weights, wrong_after: Weights, total: Doubles | float
) -> Doubles:
    """Area that each score adds under precision over recall; all of shape (scores,).

    Parameters
    ----------
    before, wrong
        Weight of positive and of negative rows with higher scores.
    after, wrong_after
        The same with those that have the score.
    total
        Weight of all positive rows.
    """
    if not before.size:
        return np.empty(0)
    weights = {"before": before, "after": after, "wrong": wrong, "wrong_after": wrong_after, "total": total}
    return np.asarray(numexpr.evaluate(_RECALL_AREA, weights, {}, truediv=True))


def one_against_rest(scores: Scores, area: Area, classes: int) -> float:
    """The mean area of all classes that there are: of auc by their weight, of aucpr plain; collective."""
    weighted, weights = 0.0, 0
    for number in range(classes):
        ordered = scores.ordered(number, Target.of_class(scores.data, number), number)
        if ordered.total[0]:
            weight = ordered.total[0] if area is auc else 1
            weighted += area(scores, ordered) * weight
            weights += weight
    return weighted / weights if weights else math.nan


def ams(scores: Scores, ordered: Ordered, share: float, unit: float) -> float:
    """Of the first `share` of the rows, or the best of all; collective."""
    if scores.undefined:
        return math.nan
    first = int(np.float32(share) * np.float32(ordered.total[2])) if 0 < share < 1 else 0
    best = 0.0
    for piece in ordered.pieces:
        signal, noise, rows = (_floats(sums) for sums in piece)
        if first:
            at = int(np.searchsorted(piece.rows, first))
            if not 0 < at < rows.size:
                continue
            part = (first - rows[at - 1]) / (rows[at] - rows[at - 1])
            signal, noise = (
                each[at - 1 : at] + part * np.diff(each)[at - 1 : at] for each in (signal, noise)
            )
        else:
            inside = (piece.rows > 0) & (piece.rows < ordered.total[2])
            signal, noise = signal[inside], noise[inside]
        best = max(best, float(_significance(signal * unit, noise * unit).max(initial=0)))
    return float(scores.data.world.allreduce(np.array([best]), "max")[0])


def _significance(signal: Doubles, noise: Doubles) -> Doubles:
    names = {"s": signal, "b": noise + _BACKGROUND}
    return np.asarray(numexpr.evaluate("sqrt(2 * ((s + b) * log1p(s / b) - s))", names, {}))


def _floats(integers: Integers) -> Doubles:
    return integers.astype(np.float64)
