"""`treering.metrics` on dealt rows against XGBoost on all of them, for each metric that XGBoost has."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from metric_cases import draw

from treering import tasks

if TYPE_CHECKING:
    from metric_cases import Case
    from unit.metrics.conftest import Evaluate

# What names need that take a number; several are tried of those that may.
_VARIANTS = {
    "ams": ["ams@0", "ams@1"],  # of a share, XGBoost takes tied rows in whatever order they come
    "error": ["error", "error@0.7", "error@.25"],
    "tweedie-nloglik": ["tweedie-nloglik@1.3", "tweedie-nloglik@1.5"],
    "ndcg": ["ndcg", "ndcg@3", "ndcg@1000", "ndcg-", "ndcg@2-"],
    "map": ["map", "map@3", "map@1000", "map-", "map@2-"],
    "pre": ["pre", "pre@3", "pre@1000"],
}
# Where the definition is another one on purpose; each has a test of its own.
_OTHERWISE = {("logloss", "binary:logitraw")}


def _metrics(objective: str) -> list[str]:
    """All that XGBoost can evaluate for an objective, in all variants."""
    several = 4 if objective in {"reg:quantileerror", "reg:expectileerror"} else 1
    odd = (
        {"cox-nloglik", "poisson-nloglik", "aucpr"} if objective.startswith("survival:") else {"cox-nloglik"}
    )
    names = [
        name
        for name in sorted(tasks.METRICS)
        if tasks.known_to_xgboost(name)
        and tasks.metric_problem(name, objective, outputs=several) is None
        and (name, objective) not in _OTHERWISE
        and name not in odd
    ]
    ranked = {"ndcg", "map", "pre"}
    if not objective.startswith("rank:"):
        names = [name for name in names if name not in ranked]  # all rows are one query: see test_ranking
    if objective in {"rank:ndcg", "rank:pairwise"}:
        names = [name for name in names if name not in {"map", "pre", "aucpr"}]  # 0 and 1 only
    if "quantile" not in objective and "expectile" not in objective:
        names = [name for name in names if name not in {"quantile", "expectile"}]  # need levels
    return [variant for name in names for variant in _VARIANTS.get(name, [name])]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_xgboosts_own_metrics(
    random: np.random.Generator, evaluate: Evaluate, objective: str, weighted: bool
) -> None:
    """On any layout the numbers are XGBoost's of the gathered rows, but for float32's rounding."""
    for _ in range(3):
        case = draw(random, objective, weighted=weighted)
        metrics = _metrics(objective)
        if weighted and objective.startswith("rank:"):
            of_queries = {
                "ndcg",
                "map",
                "pre",
                "auc",
                "aucpr",
            }  # XGBoost has no others of queries with weights
            case = _with_gain(case)
            metrics = [name for name in metrics if tasks.base_name(name) in of_queries]
        expected = dict(zip(metrics, case.xgboost(*metrics), strict=True))
        found = dict(zip(metrics, evaluate(case, metrics), strict=True))
        assert found == pytest.approx(expected, rel=3e-5, abs=1e-6, nan_ok=True)


def _with_gain(case: Case) -> Case:
    """The same with a relevant row in each query: what others weigh in ndcg has a test of its own."""
    label = case.rows.label.copy()
    label[np.unique(np.asarray(case.rows.group), return_index=True)[1]] = 1
    return dataclasses.replace(case, rows=dataclasses.replace(case.rows, label=label))


def test_parameters_of_metrics(random: np.random.Generator, evaluate: Evaluate) -> None:
    """Slope, levels, power and distribution are those that were given."""
    case = draw(random, "reg:squarederror")
    given = {"huber_slope": 1.7, "quantile_alpha": 0.3, "expectile_alpha": [0.2]}
    case = dataclasses.replace(case, parameters=given)
    names = ["mphe", "quantile", "expectile"]
    assert evaluate(case, names) == pytest.approx(case.xgboost(*names), rel=1e-5)
    for distribution in ("normal", "logistic", "extreme"):
        given = {"aft_loss_distribution": distribution, "aft_loss_distribution_scale": 1.3}
        case = dataclasses.replace(draw(random, "survival:aft"), parameters=given)
        found = evaluate(case, ["aft-nloglik"])
        assert found == pytest.approx(case.xgboost("aft-nloglik"), rel=1e-5), distribution
    for exponential in ("false", "true", False, True):
        case = dataclasses.replace(draw(random, "rank:ndcg"), parameters={"ndcg_exp_gain": exponential})
        found = evaluate(case, ["ndcg@7"])
        assert found == pytest.approx(case.xgboost("ndcg@7"), rel=1e-6)
    case = dataclasses.replace(draw(random, "reg:tweedie"), parameters={"tweedie_variance_power": 1.2})
    found = evaluate(case, ["tweedie-nloglik"])  # XGBoost cannot do without a number here
    assert found == pytest.approx(case.xgboost("tweedie-nloglik@1.2"), rel=1e-5)


def test_ams_of_a_share(random: np.random.Generator, evaluate: Evaluate) -> None:
    """Of scores without ties XGBoost takes the same rows."""
    case = draw(random, "binary:logistic", weighted=True)
    margin = (random.permutation(case.rows.label.size) / 1000 - 1).astype(np.float32)
    case = dataclasses.replace(case, margin=margin)
    for share in (0.1, 0.5, 0.93):
        found = evaluate(case, [f"ams@{share}"])
        assert found == pytest.approx(case.xgboost(f"ams@{share}"), rel=1e-5)


def test_queries_without_gain_keep_their_weight(random: np.random.Generator, evaluate: Evaluate) -> None:
    """In ndcg they have weight 1 in XGBoost; without weights both are the same."""
    case = draw(random, "rank:map", weighted=True)
    label = np.where(case.rows.group < 20, 0, case.rows.label).astype(np.float32)  # type: ignore[operator]  # has queries
    case = dataclasses.replace(case, rows=dataclasses.replace(case.rows, label=label))
    alike = dataclasses.replace(case, rows=dataclasses.replace(case.rows, weight=np.full_like(label, 3)))
    plain = dataclasses.replace(case, rows=dataclasses.replace(case.rows, weight=None))
    (expected,) = plain.xgboost("ndcg@5")
    assert evaluate(plain, ["ndcg@5"]) == pytest.approx([expected], rel=1e-6)
    assert evaluate(alike, ["ndcg@5"]) == pytest.approx([expected], rel=1e-6)
    assert alike.xgboost("ndcg@5") != pytest.approx([expected])
    assert evaluate(case, ["map@5", "ndcg@5-"]) == pytest.approx(case.xgboost("map@5", "ndcg@5-"), rel=1e-6)
