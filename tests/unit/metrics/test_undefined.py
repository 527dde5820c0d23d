"""What `treering.metrics` says where a definition says nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from metric_cases import Case, draw

from treering import tasks
from treering.metrics import Rows

if TYPE_CHECKING:
    from unit.metrics.conftest import Evaluate


def _relabelled(case: Case, label: object) -> Case:
    column = np.broadcast_to(np.asarray(label, np.float32), case.rows.label.shape).copy()
    return dataclasses.replace(case, rows=dataclasses.replace(case.rows, label=column))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only(random: np.random.Generator, evaluate: Evaluate, label: int) -> None:
    """Areas under curves are NaN, in XGBoost too; all other metrics of classes are numbers."""
    case = _relabelled(draw(random, "binary:logistic", 100), label)
    assert np.isnan([*evaluate(case, ["auc", "aucpr"]), *case.xgboost("auc", "aucpr")]).all()
    others = ["accuracy", "balanced_accuracy", "f1", "f1_binary", "precision", "recall", "logloss", "error"]
    assert np.isfinite(evaluate(case, others)).all()


def test_classes_that_no_row_has(random: np.random.Generator, evaluate: Evaluate) -> None:
    """They are left out of areas; with a single class left, there is no area."""
    case = draw(random, "multi:softprob")
    case = _relabelled(case, np.where(case.rows.label == 1, 2, case.rows.label))
    assert np.isnan(case.xgboost("auc")).all()
    found = evaluate(case, ["auc", "aucpr"])
    assert all(0 < area < 1 for area in found)
    assert np.isnan(evaluate(_relabelled(case, 3), ["auc", "aucpr"])).all()


def test_labels_that_are_no_probabilities(random: np.random.Generator, evaluate: Evaluate) -> None:
    """The area aucpr of labels outside 0 to 1 means nothing."""
    case = _relabelled(draw(random, "reg:squarederror", 100), random.choice([0, 2], 100))
    assert math.isnan(evaluate(case, ["aucpr"])[0])


def test_no_weight(random: np.random.Generator, evaluate: Evaluate) -> None:
    """Rows that all weigh nothing have no mean."""
    case = draw(random, "binary:logistic", 50)
    case = dataclasses.replace(case, rows=dataclasses.replace(case.rows, weight=np.zeros(50, np.float32)))
    assert np.isnan(evaluate(case, ["rmse", "logloss", "accuracy", "f1", "auc", "aucpr"])).all()


def test_no_variance(random: np.random.Generator, evaluate: Evaluate) -> None:
    """r2 of labels that are all alike is 1 or 0, and of a single row NaN, as in scikit-learn."""
    case = _relabelled(draw(random, "reg:squarederror", 20), 3)
    assert evaluate(dataclasses.replace(case, margin=np.full(20, 3, np.float32)), ["r2"]) == [1]
    assert evaluate(dataclasses.replace(case, margin=np.full(20, 2, np.float32)), ["r2"]) == [0]
    assert math.isnan(evaluate(case.take(np.arange(1)), ["r2"])[0])


@pytest.mark.parametrize(("worst", "expected"), [(np.inf, np.inf), (1e30, np.inf), (np.nan, np.nan)])
def test_values_beyond_float32(
    random: np.random.Generator, evaluate: Evaluate, worst: float, expected: float
) -> None:
    """A single row without a finite loss makes the mean infinite or NaN, on all ranks."""
    case = draw(random, "reg:squarederror", 100)
    margin = case.margin.copy()
    margin[random.integers(100)] = worst
    found = evaluate(dataclasses.replace(case, margin=margin), ["rmse", "mse"])
    np.testing.assert_array_equal(found, [expected] * 2)


def test_nan_scores(random: np.random.Generator, evaluate: Evaluate) -> None:
    """Scores that cannot be ordered have no area."""
    case = draw(random, "binary:logistic", 100)
    margin = case.margin.copy()
    margin[random.integers(100)] = np.nan
    found = evaluate(dataclasses.replace(case, margin=margin), ["auc", "aucpr", "ams@0.5", "logloss"])
    assert np.isnan(found).all()


def test_queries_that_count_for_nothing(random: np.random.Generator, evaluate: Evaluate) -> None:
    """Those with weight 0 are as if they were not there; without any other the mean is NaN."""
    metrics = ["ndcg", "map", "pre", "auc", "aucpr"]
    case = draw(random, "rank:map")
    group = case.rows.group
    assert group is not None
    weight = (group % 3 == 0).astype(np.float32)
    weighted = dataclasses.replace(case, rows=dataclasses.replace(case.rows, weight=weight))
    assert evaluate(weighted, metrics) == pytest.approx(evaluate(case.take(weight > 0), metrics), rel=1e-12)
    none = dataclasses.replace(case, rows=dataclasses.replace(case.rows, weight=np.zeros_like(weight)))
    assert np.isnan(evaluate(none, metrics)).all()


def test_no_events(random: np.random.Generator, evaluate: Evaluate) -> None:
    """cox-nloglik is a mean over events."""
    case = _relabelled(draw(random, "survival:cox", 50), -2)
    assert math.isnan(evaluate(case, ["cox-nloglik"])[0])


def test_every_metric_is_known(evaluate: Evaluate) -> None:
    """No name that hyperparameters accept is missing."""
    rows = 12
    column = np.arange(rows, dtype=np.float32) % 2
    for objective in tasks.OBJECTIVES:
        several = objective.startswith("multi:")
        margin = np.linspace(-1, 1, rows * (2 if several else 1), dtype=np.float32)
        case = Case(
            objective,
            margin.reshape(rows, 2) if several else margin,
            Rows(column, None, np.arange(rows) // 4 if objective.startswith("rank:") else None, column + 1),
            {"num_class": 2 if several else None, "quantile_alpha": 0.5, "expectile_alpha": (0.5,)},
        )
        names = [name for name in tasks.METRICS if tasks.metric_problem(name, objective) is None]
        values = evaluate(case, [f"{name}@0.5" if name == "ams" else name for name in names])
        assert len(values) == len(names)
        assert all(isinstance(value, float) for value in values), objective
