"""Which labels an objective can learn from, and a metric can score.

XGBoost checks most of this itself, on whichever rank meets the label first and in words that name
neither the value nor the hyperparameter. The ranges are those XGBoost 3.4.1 refuses to leave, found by
training on every objective (``tests/unit/test_labels.py`` repeats that), and three that it leaves in
silence: ``binary:hinge`` turns a label y into 2y - 1 and so expects [0, 1], ``survival:aft`` takes the
logarithm of a time, and relevances below zero mean nothing without the exponential gain.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from treering.tasks import CLASS_METRICS, base_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_LARGEST_EXPONENTIAL_RELEVANCE = 31  # 2^31 - 1 is the largest gain that XGBoost computes


@dataclasses.dataclass(frozen=True, slots=True)
class LabelRange:
    """The labels from `minimum` to `maximum`.

    Parameters
    ----------
    minimum, maximum
        Both included, unless `above` excludes the minimum.
    above
        Whether the minimum itself is not allowed.
    integer
        Whether only whole numbers are.
    """

    minimum: float = -math.inf
    maximum: float = math.inf
    above: bool = False
    integer: bool = False

    def __str__(self) -> str:
        """In words: ``whole numbers from 0 to 2``."""
        kind = "whole numbers" if self.integer else "numbers"
        if self.minimum == -math.inf:
            return f"any {kind}"
        if self.maximum < math.inf:
            return f"{kind} from {self.minimum:g} to {self.maximum:g}"
        return f"{kind} above {self.minimum:g}" if self.above else f"{kind}, {self.minimum:g} or more"

    def strays(self, label: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of some labels lie outside."""
        outside = (label < self.minimum) | (label > self.maximum)
        if self.above:
            outside |= label == self.minimum
        return outside | (label != np.rint(label)) if self.integer else outside

    def stray(self, minimum: float, maximum: float) -> float | None:
        """Whichever end of the labels lies outside, or None."""
        if minimum < self.minimum or (self.above and minimum == self.minimum):
            return minimum
        return maximum if maximum > self.maximum else None


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the labels of the whole data.

    Parameters
    ----------
    user
        The objective or the metric that cannot take them.
    allowed
        What it takes.
    hint
        The usual way to get there.
    """

    user: str
    allowed: LabelRange
    hint: str = ""

    def sentence(self, label: float, where: str) -> str:
        """What is wrong with one of them, in a place such as ``row 3 of train.csv``."""
        shown = np.format_float_positional(np.float32(label), trim="-")
        if label == round(label) or not self.allowed.integer:
            problem = f"is outside what {self.user} takes: {self.allowed}"
        else:
            problem = f"is no whole number, but {self.user} takes {self.allowed}"
        return f"label {shown} in {where} {problem}{self.hint}"


_ANY = LabelRange()
_WHOLE = LabelRange(integer=True)
_UNIT = LabelRange(0, 1)
_BINARY = LabelRange(0, 1, integer=True)
_NOT_NEGATIVE = LabelRange(0)
_RANGES = {
    "binary:hinge": _UNIT,
    "binary:logistic": _UNIT,
    "binary:logitraw": _UNIT,
    "reg:logistic": _UNIT,
    "reg:gamma": LabelRange(0, above=True),
    "reg:squaredlogerror": LabelRange(-1, above=True),
    "reg:tweedie": _NOT_NEGATIVE,
    "count:poisson": _NOT_NEGATIVE,
    "rank:map": _BINARY,
    "rank:pairwise": _ANY,
    "survival:aft": _NOT_NEGATIVE,
}


def label_range(objective: str, num_class: int | None = None, *, exponential_gain: bool = True) -> LabelRange:
    """The labels that `objective` accepts.

    Parameters
    ----------
    objective
        One of `treering.tasks.OBJECTIVES`.
    num_class
        For multi:* only.
    exponential_gain
        The hyperparameter ``ndcg_exp_gain``, for rank:ndcg only.
    """
    if objective.startswith("multi:"):
        if num_class is None:
            raise ValueError(f"{objective} needs num_class")
        return LabelRange(0, num_class - 1, integer=True)
    if objective == "rank:ndcg":
        return _relevance(exponential_gain=exponential_gain)
    return _RANGES.get(objective, _ANY)


def metric_label_range(metric: str, objective: str, *, exponential_gain: bool = True) -> LabelRange:
    """The labels that `metric` accepts beyond what its objective demands."""
    match base_name(metric):
        case "ndcg":
            return _relevance(exponential_gain=exponential_gain)
        case "map" | "pre":
            return _BINARY
        case "aucpr" if objective.startswith("rank:"):
            return _UNIT
        case "f1_binary" | "precision" | "recall" if not objective.startswith("multi:"):
            return _BINARY
        case name if name in CLASS_METRICS:
            return _WHOLE
        case _:
            return _ANY


def _relevance(*, exponential_gain: bool) -> LabelRange:
    return LabelRange(0, _LARGEST_EXPONENTIAL_RELEVANCE, integer=True) if exponential_gain else _NOT_NEGATIVE


def find_fault(
    objective: str,
    num_class: int | None,
    minimum: float,
    maximum: float,
    *,
    all_integer: bool,
    metrics: Iterable[str] = (),
    exponential_gain: bool = True,
) -> Fault | None:
    """What is wrong with the labels of the whole data, or None.

    Parameters
    ----------
    objective, num_class, exponential_gain
        As for `label_range`.
    minimum, maximum
        Smallest and largest label over all ranks.
    all_integer
        Whether every label is a whole number.
    metrics
        What is evaluated on these labels.
    """
    ranges = [
        (f"objective {objective}", label_range(objective, num_class, exponential_gain=exponential_gain))
    ]
    ranges += [
        (f"eval_metric {metric}", metric_label_range(metric, objective, exponential_gain=exponential_gain))
        for metric in metrics
    ]
    for who, allowed in ranges:
        if allowed.stray(minimum, maximum) is not None:
            return Fault(who, allowed, _hint(objective, num_class, minimum, maximum))
        if allowed.integer and not all_integer:
            return Fault(who, allowed)
    return None


def _hint(objective: str, num_class: int | None, minimum: float, maximum: float) -> str:
    """The usual ways to miss a range."""
    if objective.startswith("multi:"):
        if minimum == 1 and maximum == num_class:
            return " (the classes seem to be numbered from 1: subtract 1)"
        return f" (num_class is {num_class})"
    if objective.startswith("binary:") and minimum == -1 and maximum == 1:
        return " (write -1 as 0)"
    if objective.startswith("binary:") and maximum > 1:
        return " (for more than two classes use multi:softmax or multi:softprob)"
    return ""
