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
FEATURE = Rule(
    "a feature has to be finite and within float32's range of ±3.4e38, or missing; correct it or leave it out",
    np.isinf,
)
