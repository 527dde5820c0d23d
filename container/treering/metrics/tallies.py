"""Metrics of predicted classes, from the weights of three groups of rows for each class.

Source: scikit-learn's `accuracy_score`, `balanced_accuracy_score`, `precision_score`, `recall_score` and
`f1_score`, with their own defaults where AWS's image gives none: f1 is f1_macro there; precision and recall
are those of class 1, and of several classes (where scikit-learn refuses) the macro average. A class of
which there is neither a label nor a prediction is left out of averages; what would divide by 0 is 0.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from treering.metrics.predictions import Block
    from treering.metrics.rows import Data, Floats

    type Weights = NDArray[np.float64]

_TWO: Final = 2  # classes: 0 and 1


@dataclasses.dataclass(frozen=True, slots=True)
class Tally:
    """Weights of all ranks' rows, each of shape (classes,).

    Parameters
    ----------
    hit
        Of rows that are of the class and predicted so.
    predicted
        Of rows predicted to be of the class.
    actual
        Of rows of the class.
    """

    hit: Weights
    predicted: Weights
    actual: Weights

    @property
    def precision(self) -> Weights:
        """Of each class."""
        return _ratio(self.hit, self.predicted)

    @property
    def recall(self) -> Weights:
        """Of each class."""
        return _ratio(self.hit, self.actual)

    @property
    def f1(self) -> Weights:
        """Of each class: the harmonic mean of precision and recall."""
        return _ratio(2 * self.hit, self.predicted + self.actual)

    def macro(self, scores: Weights) -> float:
        """Mean over the classes that there are."""
        there = (self.predicted > 0) | (self.actual > 0)
        return float(scores[there].mean()) if there.any() else 0.0

    def plain(self, scores: Weights) -> float:
        """The score of class 1 of two, the mean of several."""
        return float(scores[1]) if scores.size == _TWO else self.macro(scores)


def count(block: Block, classes: int) -> Weights:
    """`Tally.hit` and `Tally.predicted` of a block, shape (2, classes); sums of weights on a grid are exact."""
    if not classes:
        return np.empty((2, 0))
    if classes == _TWO:
        right = block.positive == (block.label == 1)
        right &= (block.label == 0) | (block.label == 1)
        masks = right & ~block.positive, right & block.positive, ~block.positive, block.positive
        return np.array([_weight(mask, block.weight) for mask in masks]).reshape(2, 2)
    right = block.classes == block.label
    weight = block.weight
    hit = np.bincount(block.classes[right], None if weight is None else weight[right], classes)
    return np.array([hit, np.bincount(block.classes, weight, classes)], np.float64)


def _weight(mask: NDArray[np.bool_], weight: Floats | None) -> float:
    """Of the rows of a mask; on a grid, so that no order matters."""
    if weight is None:
        return float(np.count_nonzero(mask))
    return float((weight * mask).sum(dtype=np.float64))


def actual(data: Data, classes: int) -> Weights:
    """`Tally.actual`; collective. Rows with any other label are of no class."""
    label, weight = data.rows.label, data.rows.weight
    known = (label >= 0) & (label < classes) & (label == np.floor(label))
    found = np.bincount(label[known].astype(np.intp), None if weight is None else weight[known], classes)
    return data.world.allreduce(found.astype(np.float64))


def _balanced(tally: Tally) -> float:
    there = tally.actual > 0
    return float(tally.recall[there].mean()) if there.any() else 0.0


# Of a tally and the weight of all rows; micro averages over all classes are the accuracy.
SCORES: Final[dict[str, Callable[[Tally, float], float]]] = {
    "accuracy": lambda tally, weight: float(tally.hit.sum()) / weight,
    "balanced_accuracy": lambda tally, _: _balanced(tally),
    "f1": lambda tally, _: tally.macro(tally.f1),
    "f1_macro": lambda tally, _: tally.macro(tally.f1),
    "f1_binary": lambda tally, _: float(tally.f1[1]),
    "precision": lambda tally, _: tally.plain(tally.precision),
    "precision_macro": lambda tally, _: tally.macro(tally.precision),
    "precision_micro": lambda tally, weight: float(tally.hit.sum()) / weight,
    "recall": lambda tally, _: tally.plain(tally.recall),
    "recall_macro": lambda tally, _: tally.macro(tally.recall),
    "recall_micro": lambda tally, weight: float(tally.hit.sum()) / weight,
}


def _ratio(part: Weights, whole: Weights) -> Weights:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
