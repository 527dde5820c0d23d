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

from treering.tasks import base_name

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def stray(self, minimum: float, maximum: float) -> float | None:
        """Whichever end of the labels lies outside, or None."""
        if minimum < self.minimum or (self.above and minimum == self.minimum):
            return minimum
        return maximum if maximum > self.maximum else None


_ANY = LabelRange()
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
        case _:
            return _ANY


def _relevance(*, exponential_gain: bool) -> LabelRange:
    return LabelRange(0, _LARGEST_EXPONENTIAL_RELEVANCE, integer=True) if exponential_gain else _NOT_NEGATIVE


def check_labels(
    objective: str,
    num_class: int | None,
    minimum: float,
    maximum: float,
    *,
    all_integer: bool,
    metrics: Iterable[str] = (),
    exponential_gain: bool = True,
) -> str | None:
    """What is wrong with the labels of the whole data, in one sentence, or None.

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
        stray = allowed.stray(minimum, maximum)
        if stray is not None:
            hint = _hint(objective, num_class, minimum, maximum)
            return f"label {stray:g} is outside what {who} takes: {allowed}{hint}"
        if allowed.integer and not all_integer:
            return f"some labels are no whole numbers, but {who} takes {allowed}"
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
