"""What XGBoost can learn and how the result is scored: the names of objectives and metrics.

Read off XGBoost 3.4.1 by training every objective and evaluating every metric on every objective;
``tests/unit/test_tasks.py`` does it again, so that another version of XGBoost shows where it differs.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Final, Literal

type Family = Literal["regression", "binary", "multiclass", "ranking", "survival"]
type Link = Literal["identity", "logit", "log"]


@dataclasses.dataclass(frozen=True, slots=True)
class Objective:
    """What is known about one learning objective.

    Parameters
    ----------
    family
        The kind of task.
    metric
        The metric that XGBoost takes when none is asked for (see also `default_metric`).
    link
        How a prediction's scale follows from the margin; says what ``base_score`` may be.
    """

    family: Family
    metric: str
    link: Link = "identity"


OBJECTIVES: Final = {
    "reg:squarederror": Objective("regression", "rmse"),
    "reg:squaredlogerror": Objective("regression", "rmsle"),
    "reg:logistic": Objective("regression", "rmse", "logit"),
    "reg:pseudohubererror": Objective("regression", "mphe"),
    "reg:absoluteerror": Objective("regression", "mae"),
    "reg:quantileerror": Objective("regression", "quantile"),
    "reg:expectileerror": Objective("regression", "expectile"),
    "reg:gamma": Objective("regression", "gamma-deviance", "log"),
    "reg:tweedie": Objective("regression", "tweedie-nloglik", "log"),
    "count:poisson": Objective("regression", "poisson-nloglik", "log"),
    "binary:logistic": Objective("binary", "logloss", "logit"),
    "binary:logitraw": Objective("binary", "logloss"),
    "binary:hinge": Objective("binary", "error"),
    "multi:softmax": Objective("multiclass", "mlogloss"),
    "multi:softprob": Objective("multiclass", "mlogloss"),
    "rank:ndcg": Objective("ranking", "ndcg"),
    "rank:map": Objective("ranking", "map"),
    "rank:pairwise": Objective("ranking", "ndcg"),
    "survival:cox": Objective("survival", "cox-nloglik", "log"),
    "survival:aft": Objective("survival", "aft-nloglik", "log"),
}
RENAMED_OBJECTIVES: Final = {"reg:linear": "reg:squarederror"}

# From AWS's image, which XGBoost itself does not have.
_AWS_MAXIMIZED: Final = frozenset(
    [
        "accuracy",
        "balanced_accuracy",
        "f1",
        "f1_binary",
        "f1_macro",
        "precision",
        "precision_macro",
        "precision_micro",
        "r2",
        "recall",
        "recall_macro",
        "recall_micro",
    ]
)
_AWS_MINIMIZED: Final = frozenset({"mse"})

CLASS_METRICS: Final = _AWS_MAXIMIZED - {"r2"}
RANKING_METRICS: Final = frozenset({"map", "ndcg", "pre"})

# Fractions of intervals hit are better when larger, whatever AWS's image and XGBoost's callback assume.
_MAXIMIZED: Final = _AWS_MAXIMIZED | {
    "ams",
    "auc",
    "aucpr",
    "interval-regression-accuracy",
    *RANKING_METRICS,
}
_MINIMIZED: Final = _AWS_MINIMIZED | frozenset(
    [
        "aft-nloglik",
        "cox-nloglik",
        "error",
        "expectile",
        "gamma-deviance",
        "gamma-nloglik",
        "logloss",
        "mae",
        "mape",
        "merror",
        "mlogloss",
        "mphe",
        "poisson-nloglik",
        "quantile",
        "rmse",
        "rmsle",
        "tweedie-nloglik",
    ]
)
METRICS: Final = _MAXIMIZED | _MINIMIZED

MULTICLASS_METRICS: Final = frozenset({"auc", "aucpr", "merror", "mlogloss"}) | _AWS_MAXIMIZED - {
    "f1_binary",
    "r2",
}
AUC_OBJECTIVES: Final = ("binary:", "rank:", "multi:", "reg:logistic")

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
# The part that may follow a metric's name; all other metrics take none.
_SUFFIXES: Final = {
    "error": re.compile(rf"(?:@{_NUMBER})?"),
    "tweedie-nloglik": re.compile(r"(?:@1(?:\.[0-9]*)?)?"),
    "ams": re.compile(rf"@{_NUMBER}"),
    "ndcg": re.compile(r"(?:@[1-9][0-9]*)?-?"),
    "map": re.compile(r"(?:@[1-9][0-9]*)?-?"),
    "pre": re.compile(r"(?:@[1-9][0-9]*)?-?"),
}
SUFFIX_TEXTS: Final = {
    "error": "`error@t`: threshold t instead of 0.5",
    "ndcg": "`ndcg@n`: the first n of each group; `ndcg-`, `ndcg@n-`: a group without positives scores 0",
    "map": "as `ndcg`",
    "pre": "as `ndcg`",
    "ams": "always `ams@t`",
    "tweedie-nloglik": "`tweedie-nloglik@p` with 1 <= p < 2; without it, `tweedie_variance_power`",
}


def base_name(metric: str) -> str:
    """A metric's name without threshold, cut-off or trailing minus: ``ndcg`` of ``ndcg@5-``."""
    return metric.partition("@")[0].removesuffix("-")


def is_metric(metric: str) -> bool:
    """Whether `metric` is a known name with a suffix that it may take."""
    name = base_name(metric)
    suffix = metric[len(name) :]
    if name not in METRICS:
        return False
    return bool(_SUFFIXES[name].fullmatch(suffix)) if name in _SUFFIXES else not suffix


def maximize(metric: str) -> bool:
    """Whether a larger value of `metric` is better; raises KeyError for an unknown name."""
    name = base_name(metric)
    if name not in METRICS:
        raise KeyError(metric)
    return name in _MAXIMIZED


def known_to_xgboost(metric: str) -> bool:
    """Whether XGBoost computes `metric`; the others come from AWS's image."""
    return base_name(metric) not in _AWS_MAXIMIZED | _AWS_MINIMIZED


def metric_problem(metric: str, objective: str, *, outputs: int = 1) -> str | None:
    """Why `metric` cannot score `objective`, or None.

    Only what XGBoost refuses or answers with nonsense counts as a problem.

    Parameters
    ----------
    metric
        A name that `is_metric` knows.
    objective
        One of `OBJECTIVES`.
    outputs
        Number of quantiles or expectiles learnt at once; 1 for every other objective.
    """
    name, family = base_name(metric), OBJECTIVES[objective].family
    if family == "multiclass" and name not in MULTICLASS_METRICS:
        return "takes one prediction a row, not one a class"
    if family != "multiclass" and name in {"merror", "mlogloss"}:
        return "needs objective multi:softmax or multi:softprob"
    if name == "auc" and not objective.startswith(AUC_OBJECTIVES):
        return "needs classes or relevances (binary:*, multi:*, rank:*, reg:logistic)"
    if name in {"aft-nloglik", "interval-regression-accuracy"} and objective != "survival:aft":
        return "needs objective survival:aft"
    if outputs > 1 and name != OBJECTIVES[objective].metric:
        return f"takes one prediction a row, not {outputs}"
    return None
