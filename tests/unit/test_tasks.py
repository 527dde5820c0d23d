"""What is said about objectives and metrics is what the installed XGBoost does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost as xgb

from treering import tasks

ROWS = 60
# Refused here though XGBoost prints some number for it.
NONSENSE = {"ams", "auc", "cox-nloglik", "mphe"}


def _data(objective: str) -> xgb.DMatrix:
    """Random rows with labels from 0 and 1 (2 for classes, 1 for gamma) that suit every metric."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")  # shown when the test fails
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3 if objective.startswith("multi:") else 2, ROWS).astype(np.float32)
    if objective == "reg:gamma":
        label[:] = 1
    qid = np.arange(ROWS) // 10 if objective.startswith("rank:") else None
    data = xgb.DMatrix(rng.random((ROWS, 2)), label=label, qid=qid)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", label)
        data.set_float_info("label_upper_bound", label + 1)
    return data


def _params(objective: str, outputs: int = 1) -> dict[str, object]:
    params: dict[str, object] = {"objective": objective, "verbosity": 0}
    params |= {"num_class": 3} if objective.startswith("multi:") else {}
    levels = [0.2, 0.5][:outputs]
    # The metrics of these names ask for the levels, whatever the objective.
    return params | {"quantile_alpha": levels, "expectile_alpha": levels}


def _scores(objective: str, metrics: list[str], outputs: int = 1) -> list[str]:
    """Names of the metrics that XGBoost evaluates; raises XGBoostError where it cannot."""
    data, scores = _data(objective), dict[str, dict[str, list[float]]]()
    params = _params(objective, outputs) | ({"eval_metric": metrics} if metrics else {})
    xgb.train(params, data, 1, evals=[(data, "train")], evals_result=scores, verbose_eval=False)
    return list(scores["train"])


def _variant(metric: str) -> str:
    """How XGBoost has to be asked for `metric`."""
    return {"ams": "ams@0.15", "tweedie-nloglik": "tweedie-nloglik@1.5"}.get(metric, metric)


XGBOOST_METRICS = sorted(filter(tasks.known_to_xgboost, tasks.METRICS))


@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_default_metric(objective: str) -> None:
    """Without a metric XGBoost evaluates the one in the table (cut off at 32 when it ranks the top)."""
    (found,) = _scores(objective, [])
    assert tasks.base_name(found) == tasks.OBJECTIVES[objective].metric


@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_allowed_metrics_work(objective: str) -> None:
    """XGBoost evaluates every metric of its own against which nothing is said."""
    allowed = [_variant(name) for name in XGBOOST_METRICS if tasks.metric_problem(name, objective) is None]
    assert len(_scores(objective, allowed)) == len(allowed)


@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_refused_metrics_do_not_work(objective: str) -> None:
    """What is refused fails in XGBoost too, or is known for its meaningless number."""
    refused = [name for name in XGBOOST_METRICS if tasks.metric_problem(name, objective) is not None]
    for name in set(refused) - NONSENSE:
        with pytest.raises(xgb.core.XGBoostError):
            _scores(objective, [_variant(name)])


def test_several_quantiles() -> None:
    """With two quantiles only their own metric is left, in XGBoost as here."""
    objective = "reg:quantileerror"
    assert tasks.metric_problem("quantile", objective, outputs=2) is None
    assert _scores(objective, ["quantile"], outputs=2) == ["quantile"]
    assert tasks.metric_problem("rmse", objective, outputs=2) is not None
    with pytest.raises(xgb.core.XGBoostError):
        _scores(objective, ["rmse"], outputs=2)


@pytest.mark.parametrize(
    "metric",
    ["rmse", "error@0.3", "error@.3", "error@1e-1", "ndcg@5", "ndcg-", "ndcg@5-", "map@2", "map@2-", "pre@3",
     "ams@0.15", "tweedie-nloglik@1.3", "tweedie-nloglik@1", "interval-regression-accuracy"],
)  # fmt: skip
def test_variants(metric: str) -> None:
    """A threshold, cut-off or minus that XGBoost understands is understood."""
    assert tasks.is_metric(metric)
    objective = "survival:aft" if tasks.base_name(metric).startswith("interval") else "rank:ndcg"
    assert len(_scores(objective, [metric])) == 1


@pytest.mark.parametrize(
    "metric",
    ["rmes", "error@x", "error@", "ams", "ndcg@0", "tweedie-nloglik@2", "tweedie-nloglik@3", "f2", ""],
)
def test_bad_variants(metric: str) -> None:
    """What XGBoost cannot parse is no metric."""
    assert not tasks.is_metric(metric)
    with pytest.raises(xgb.core.XGBoostError):
        _scores("rank:ndcg", [metric])


@pytest.mark.parametrize("metric", ["auc@2", "rmse@2", "mae-", "merror@0.5", "accuracy@0.5"])
def test_pointless_variants(metric: str) -> None:
    """A suffix that XGBoost would drop in silence is refused."""
    assert not tasks.is_metric(metric)


def test_direction() -> None:
    """Every metric's direction follows its base name; an unknown one has none."""
    assert [name for name in ("auc", "ndcg@5-", "map", "interval-regression-accuracy", "f1", "r2", "pre@3")
            if not tasks.maximize(name)] == []  # fmt: skip
    assert [
        name for name in ("mape", "error@0.3", "mse", "aft-nloglik", "quantile") if tasks.maximize(name)
    ] == []
    with pytest.raises(KeyError):
        tasks.maximize("rmes")


def test_direction_is_as_xgboost_says() -> None:
    """XGBoost's own early stopping agrees, but for metrics that it takes for losses by their name."""
    for name in XGBOOST_METRICS:
        if name in {"ams", "interval-regression-accuracy"}:
            continue
        stopping = xgb.callback.EarlyStopping(rounds=1)
        stopping._update_rounds(  # noqa: SLF001  # the only place where it decides
            score=0.0, name="train", metric=name, model=xgb.Booster(), epoch=0
        )
        assert stopping.maximize == tasks.maximize(name), name


def test_aws_metrics_are_foreign_to_xgboost() -> None:
    """Those said to come from AWS's image are really unknown to XGBoost."""
    for name in tasks.METRICS - set(XGBOOST_METRICS):
        with pytest.raises(xgb.core.XGBoostError, match="Unknown metric"):
            _scores("reg:squarederror", [name])


def test_links() -> None:
    """A base score outside the link's domain is refused by XGBoost, or leaves predictions that are no numbers."""
    for objective, known in tasks.OBJECTIVES.items():
        if known.link == "identity":
            continue
        data = _data(objective)
        try:
            booster = xgb.train(_params(objective) | {"base_score": -1.0}, data, 1)
        except xgb.core.XGBoostError:
            continue
        assert not np.isfinite(booster.predict(data)).all(), objective


def test_renamed() -> None:
    """An old name trains the objective that it is said to mean."""
    for old, new in tasks.RENAMED_OBJECTIVES.items():
        booster = xgb.train({"objective": old, "verbosity": 0}, _data(new), 1)
        assert json.loads(booster.save_config())["learner"]["objective"]["name"] == new
