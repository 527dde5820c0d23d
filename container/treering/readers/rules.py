"""Which numbers may stand where: the same in every format, and what XGBoost would accept.

XGBoost refuses infinite features and labels, missing labels, and weights that are negative, infinite or
missing, without saying where they stand.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What holds for a column.

    Parameters
    ----------
    sentence
        The rule, and what to do about a value that breaks it.
    broken
        Tells for each float32 value whether it breaks the rule; the result has the argument's shape.
    """

    sentence: str
    broken: Callable[[NDArray[np.float32]], NDArray[np.bool_]]


LABEL = Rule(
    "the label has to be a finite number; correct it or remove the row",
    lambda values: ~np.isfinite(values),
)
WEIGHT = Rule(
    "a weight has to be a finite number that is not negative; correct it or remove the row",
    lambda values: ~(np.isfinite(values) & (values >= 0)),
)
UPPER = Rule(
    "the upper bound of a label cannot be -inf; write inf, or nothing, where there is no bound",
    np.isneginf,
)
MARGIN = Rule(
    "a base margin has to be a finite number; correct it or remove the row",
    lambda values: ~np.isfinite(values),
)
FEATURE = Rule(
    "a feature has to be finite and within float32's range of ±3.4e38, or missing; correct it or leave it out",
    np.isinf,
)

INTERVAL = (
    "the upper bound of a label has to be no less than the label itself; correct them or remove the row"
)
"""What holds for two columns together: see `inverted`."""

GROUP = "the query group has to be given; fill it in or remove the row"
"""What holds for the column of query groups, which are no numbers to compute with."""


def inverted(label: NDArray[np.float32], upper: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which intervals end before they begin."""
    return upper < label


def bounds(upper: NDArray[np.float32]) -> NDArray[np.float32]:
    """Upper bounds as read, with +inf where there is none."""
    return np.where(np.isnan(upper), np.float32(np.inf), upper)
