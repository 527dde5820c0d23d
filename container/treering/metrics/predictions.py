"""From margins to what metrics score, as XGBoost 3.4.1 does before it evaluates (``EvalTransform``).

All in float32, as there. numpy's float32 exponential and logarithm have the same bits wherever a value
stands, and on every x86 processor with AVX2 (of newer ones with AVX-512 too).
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Final

import numpy as np

from treering.tasks import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from treering.metrics.rows import Floats, Rows

    type Transform = Callable[[Floats], Floats]

_ONE: Final = np.float32(1)


def logistic(margin: Floats) -> Floats:
    """1 / (1 + exp(-margin))."""
    result = np.asarray(-margin)
    np.exp(result, out=result)  # beyond float32 it is infinite, and its inverse 0
    result += _ONE
    np.divide(_ONE, result, out=result)
    return result


def softmax(margin: Floats) -> Floats:
    """Probabilities of shape (classes, rows) from margins of the same shape."""
    result: Floats = margin - np.maximum.reduce(margin)
    np.exp(result, out=result)
    total = result[0].astype(np.float64)
    for of_class in result[1:]:
        total += of_class  # one by one: numpy's own sum changes its order with the shape
    result /= total.astype(np.float32)
    return result


def not_crossing(margin: Floats) -> Floats:
    """Quantiles of shape (levels, rows) sorted for each row; a single one of shape (rows,) as it is."""
    return margin if margin.ndim == 1 else np.sort(margin, axis=0)


def rising(margin: Floats) -> Floats:
    """Expectiles of shape (levels, rows), each higher by log(1 + exp(margin)); the first, or a single one, as it is."""
    if margin.ndim == 1:
        return margin
    result = margin.copy()
    for lower, own in itertools.pairwise(result):
        np.add(np.maximum(own, 0) + log1p(np.exp(-np.abs(own))), lower, out=own)
    return result


def log1p(values: Floats) -> Floats:
    """log(1 + x), also for small x (Kahan's way): numpy's own has other bits on other processors."""
    shifted = _ONE + values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(shifted == _ONE, values, np.log(shifted) * (values / (shifted - _ONE))))


def transform(objective: str) -> Transform:
    """The function from margins to predictions: probabilities, classes 0 and 1, means, or the margins."""
    special: dict[str, Transform] = {
        "multi:softmax": softmax,
        "multi:softprob": softmax,
        "binary:hinge": lambda margin: (margin > 0).astype(np.float32),
        "reg:quantileerror": not_crossing,
        "reg:expectileerror": rising,
        "survival:aft": _same,  # its metrics take the logarithm of time
    }
    links: dict[str, Transform] = {"identity": _same, "logit": logistic, "log": np.exp}
    return special.get(objective) or links[OBJECTIVES[objective].link]


def _same(margin: Floats) -> Floats:
    return margin


class Block:
    """Some neighbouring rows of one evaluation, and what follows from their margins.

    Parameters
    ----------
    transform
        The objective's.
    rows
        This rank's.
    margin
        Of all its rows: shape (rows,) or (rows, outputs).
    part
        Which rows.
    raw
        Whether predictions are margins of probabilities, as those of binary:logitraw.
    """

    def __init__(self, transform: Transform, rows: Rows, margin: Floats, part: slice, *, raw: bool) -> None:
        self._raw = raw
        self._transform = transform
        self.margin = margin[part]
        self.label = rows.label[part]
        self.weight = None if rows.weight is None else rows.weight[part]

    @functools.cached_property
    def prediction(self) -> Floats:
        """What XGBoost scores: shape (rows,) or (outputs, rows)."""
        return self._transform(np.ascontiguousarray(self.margin.T))

    @functools.cached_property
    def probability(self) -> Floats:
        """Of class 1, shape (rows,)."""
        return logistic(self.margin) if self._raw else self.prediction

    @functools.cached_property
    def positive(self) -> NDArray[np.bool_]:
        """Whether class 1 is predicted: with a probability above 1/2, or as one of several classes."""
        return self.probability > np.float32(0.5) if self.prediction.ndim == 1 else self.classes == 1

    @functools.cached_property
    def classes(self) -> NDArray[np.uint32]:
        """The first of the most probable classes of each row, shape (rows,)."""
        best, found = self.prediction[0].copy(), np.zeros(self.label.size, np.uint32)
        for number, probability in enumerate(self.prediction[1:], 1):
            np.maximum(found, (probability > best) * np.uint32(number), out=found)  # numbers rise
            np.maximum(best, probability, out=best)
        return found
