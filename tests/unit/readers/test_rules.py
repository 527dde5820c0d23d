"""The rules for numbers are XGBoost's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from treering.readers.rules import FEATURE, LABEL, WEIGHT, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES = [0.0, -0.0, 1.5, -1.5, np.nan, np.inf, -np.inf, np.finfo(np.float32).max]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(("part", "rule"), [("data", FEATURE), ("label", LABEL), ("weight", WEIGHT)])
def test_xgboost_refuses_what_breaks_a_rule(part: str, rule: Rule, value: float) -> None:
    """If a version of XGBoost begins to accept or refuse something else, this tells."""
    parts: dict[str, NDArray[Any]] = {
        "data": np.ones((2, 1), np.float32),
        "label": np.ones(2, np.float32),
        "weight": np.ones(2),
    }
    parts[part][1] = value
    broken = bool(rule.broken(np.array([value], np.float32))[0])
    try:
        xgboost.DMatrix(**parts)
    except xgboost.core.XGBoostError:
        assert broken
    else:
        assert not broken
