"""`treering.metrics.survival`: the definition of Cox's partial likelihood, summed row by row."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from metric_cases import draw
from scipy.special import logsumexp

if TYPE_CHECKING:
    from metric_cases import Case
    from unit.metrics.conftest import Evaluate


def _cox(case: Case) -> float:
    margin, time = case.margin.astype(np.float64), np.abs(case.rows.label)
    events = np.flatnonzero(case.rows.label > 0)
    return float(np.mean([logsumexp(margin[time >= time[event]]) - margin[event] for event in events]))


@pytest.mark.parametrize("scale", [1, 300])
def test_cox(random: np.random.Generator, evaluate: Evaluate, scale: float) -> None:
    """Tied times, censored rows and hazards of any size are as defined; XGBoost agrees on moderate ones."""
    for rows in (3, 400):
        case = draw(random, "survival:cox", rows)
        case = dataclasses.replace(case, margin=scale * random.standard_normal(rows, np.float32))
        label = np.abs(case.rows.label) * np.where(np.arange(rows) == 1, 1, np.sign(case.rows.label))
        case = dataclasses.replace(case, rows=dataclasses.replace(case.rows, label=label.astype(np.float32)))
        found = evaluate(case, ["cox-nloglik"])
        assert found == pytest.approx([_cox(case)], rel=1e-9)
        if scale == 1:
            assert found == pytest.approx(case.xgboost("cox-nloglik"), rel=1e-5, abs=1e-6)  # its float32


def test_without_upper_bounds_times_are_exact(random: np.random.Generator, evaluate: Evaluate) -> None:
    """The label is the time then."""
    case = draw(random, "survival:aft", 200)
    exact = dataclasses.replace(case.rows, label_upper=case.rows.label)
    names = ["aft-nloglik", "interval-regression-accuracy"]
    expected = evaluate(dataclasses.replace(case, rows=exact), names)
    assert (
        evaluate(dataclasses.replace(case, rows=dataclasses.replace(exact, label_upper=None)), names)
        == expected
    )
