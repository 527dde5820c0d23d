"""`treering.metrics` on dealt rows against scikit-learn on all of them."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from metric_cases import draw
from sklearn import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from metric_cases import Case
    from numpy.typing import NDArray
    from unit.metrics.conftest import Evaluate

    type Score = Callable[..., Any]

# As AWS's image calls them; plain precision and recall of several classes it cannot compute.
_OF_CLASSES: dict[str, Score] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": lambda *rows, **more: metrics.f1_score(*rows, average="macro", **more),
    "f1_macro": lambda *rows, **more: metrics.f1_score(*rows, average="macro", **more),
    "precision_macro": lambda *rows, **more: metrics.precision_score(*rows, average="macro", **more),
    "precision_micro": lambda *rows, **more: metrics.precision_score(*rows, average="micro", **more),
    "recall_macro": lambda *rows, **more: metrics.recall_score(*rows, average="macro", **more),
    "recall_micro": lambda *rows, **more: metrics.recall_score(*rows, average="micro", **more),
}
_OF_TWO: dict[str, Score] = {
    "f1_binary": metrics.f1_score,
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
}


def _expected(case: Case, scores: dict[str, Score], predicted: NDArray[Any]) -> list[float]:
    with warnings.catch_warnings(action="ignore"):  # of what is undefined: the values are what counts
        rows = case.rows
        return [float(score(rows.label, predicted, sample_weight=rows.weight)) for score in scores.values()]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", ["binary:logistic", "binary:logitraw", "binary:hinge"])
def test_two_classes(random: np.random.Generator, evaluate: Evaluate, objective: str, weighted: bool) -> None:
    """Class 1 is predicted where its probability is above 1/2, whatever scale the objective predicts on."""
    for _ in range(4):
        case = draw(random, objective, weighted=weighted)
        scores = _OF_CLASSES | _OF_TWO
        expected = _expected(case, scores, (case.margin > 0).astype(np.float32))
        assert evaluate(case, list(scores)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_several_classes(random: np.random.Generator, evaluate: Evaluate, weighted: bool) -> None:
    """Of equally probable classes the first counts; plain precision and recall are their macro averages."""
    for _ in range(4):
        case = draw(random, "multi:softprob", weighted=weighted)
        scores = _OF_CLASSES | {
            "precision": _OF_CLASSES["precision_macro"],
            "recall": _OF_CLASSES["recall_macro"],
        }
        expected = _expected(case, scores, case.margin.argmax(axis=1))
        assert evaluate(case, list(scores)) == pytest.approx(expected, rel=1e-9)


def test_classes_that_are_missing(random: np.random.Generator, evaluate: Evaluate) -> None:
    """A class without labels, without predictions, or without both counts as in scikit-learn."""
    for absent in (0, 3):
        case = draw(random, "multi:softmax", 200)
        label = np.where(case.rows.label == absent, 1, case.rows.label).astype(np.float32)
        margin = case.margin.copy()
        margin[:, 2] = -9
        margin[:, absent] -= random.choice([0, 99])
        case = dataclasses.replace(case, margin=margin, rows=dataclasses.replace(case.rows, label=label))
        expected = _expected(case, _OF_CLASSES, margin.argmax(axis=1))
        assert evaluate(case, list(_OF_CLASSES)) == pytest.approx(expected, rel=1e-9)
    nobody = dataclasses.replace(draw(random, "binary:logistic", 50), margin=np.full(50, -1, np.float32))
    scores = _OF_CLASSES | _OF_TWO
    assert evaluate(nobody, list(scores)) == pytest.approx(_expected(nobody, scores, np.zeros(50)), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_regression(random: np.random.Generator, evaluate: Evaluate, weighted: bool) -> None:
    """Errors of values are scikit-learn's but for float32's rounding of single rows."""
    for _ in range(4):
        case = draw(random, "reg:squarederror", weighted=weighted)
        scores: dict[str, Score] = {
            "mse": metrics.mean_squared_error,
            "rmse": metrics.root_mean_squared_error,
            "mae": metrics.mean_absolute_error,
            "r2": metrics.r2_score,
            "mape": metrics.mean_absolute_percentage_error,
        }
        expected = _expected(case, scores, case.margin)
        assert evaluate(case, list(scores)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_probabilities(random: np.random.Generator, evaluate: Evaluate, weighted: bool) -> None:
    """Area and logloss are scikit-learn's, with tied, constant and extreme scores."""
    for _ in range(6):
        case = draw(random, "binary:logitraw", weighted=weighted)
        rows = case.rows
        auc = metrics.roc_auc_score(rows.label, case.margin, sample_weight=rows.weight)
        assert evaluate(case, ["auc"]) == pytest.approx([auc], rel=1e-12)
        probability = 1 / (1 + np.exp(-case.margin.astype(np.float64)))
        logloss = metrics.log_loss(rows.label, probability, sample_weight=rows.weight)
        assert evaluate(case, ["logloss"]) == pytest.approx([logloss], rel=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_auc_of_several_classes(random: np.random.Generator, evaluate: Evaluate, weighted: bool) -> None:
    """Each class against the rest, weighted by how much of it there is."""
    case = draw(random, "multi:softprob", weighted=weighted)
    # Without ties, which would be others in float32 and float64.
    case = dataclasses.replace(case, margin=random.standard_normal(case.margin.shape, np.float32))
    probability = np.exp(case.margin - case.margin.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    expected = metrics.roc_auc_score(
        case.rows.label, probability, sample_weight=case.rows.weight, multi_class="ovr", average="weighted"
    )
    assert evaluate(case, ["auc"]) == pytest.approx([expected], rel=1e-5)
