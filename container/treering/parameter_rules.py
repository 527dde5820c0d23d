"""What hyperparameters demand of each other. A rule's docstring is its line in the documentation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from treering import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from treering.hyperparameters import Hyperparameters

_LINEAR_UPDATERS = ("shotgun", "coord_descent")
_GROWERS = ("grow_quantile_histmaker", "grow_histmaker", "grow_colmaker", "grow_gpu_hist", "grow_gpu_approx")
_MODIFIERS = ("refresh", "prune")
_SHOTGUN_SELECTORS = ("cyclic", "shuffle")


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A broken rule: the hyperparameters it is about, and the sentence to report."""

    about: tuple[str, ...]
    sentence: str


type Rule = Callable[[Hyperparameters], Iterator[Problem]]


def classes(hp: Hyperparameters) -> Iterator[Problem]:
    """`objective=multi:*` needs `num_class`, and `num_class` needs `objective=multi:*`."""
    multi = hp.objective.startswith("multi:")
    if multi and hp.num_class is None:
        yield Problem(("objective", "num_class"), f"objective {hp.objective} needs num_class")
    if not multi and hp.num_class is not None:
        yield Problem(
            ("objective", "num_class"),
            f"num_class needs objective multi:softmax or multi:softprob, not {hp.objective}",
        )


def levels(hp: Hyperparameters) -> Iterator[Problem]:
    """`objective=reg:quantileerror` and metric `quantile` need `quantile_alpha`; likewise for expectiles."""
    for kind, given in (("quantile", hp.quantile_alpha), ("expectile", hp.expectile_alpha)):
        wanted = hp.objective == f"reg:{kind}error" or kind in hp.eval_metrics
        if wanted and given is None:
            user = f"objective {hp.objective}" if kind in hp.objective else f"eval_metric {kind}"
            yield Problem(
                ("objective", "eval_metric", f"{kind}_alpha"),
                f"{user} needs {kind}_alpha, such as 0.5 or [0.1, 0.9]",
            )


def base_score(hp: Hyperparameters) -> Iterator[Problem]:
    """`base_score` is a probability for logistic objectives and positive for those with a log link; a list has one value for each class or quantile."""
    about = ("base_score", "objective", "num_class", "quantile_alpha", "expectile_alpha")
    if hp.base_score is None:
        return
    values = hp.base_score if isinstance(hp.base_score, tuple) else (hp.base_score,)
    link = tasks.OBJECTIVES[hp.objective].link
    allowed = {"logit": "from 0 to 1", "log": "above 0"}.get(link)
    outside = [each for each in values if not (0 <= each <= 1 if link == "logit" else each > 0)]
    if allowed and outside:
        yield Problem(
            about, f"base_score has to be {allowed} for objective {hp.objective}, not {outside[0]:.9g}"
        )
    if len(values) not in {1, hp.outputs}:
        yield Problem(about, f"base_score has {len(values)} values, but the model has {hp.outputs} outputs")


def metrics(hp: Hyperparameters) -> Iterator[Problem]:
    """Every metric has to be able to score the objective: `auc` needs classes or relevances, `merror` and `mlogloss` need multi:*, which takes no metric of single numbers, `aft-nloglik` and `interval-regression-accuracy` need survival:aft, and several quantiles take only `quantile`."""
    for metric in hp.eval_metrics:
        why = tasks.metric_problem(metric, hp.objective, outputs=1 if hp.num_class else hp.outputs)
        if why:
            about = (
                "eval_metric",
                "_tuning_objective_metric",
                "objective",
                "quantile_alpha",
                "expectile_alpha",
            )
            yield Problem(about, f"eval_metric {metric} cannot score objective {hp.objective}: it {why}")


def early_stopping(hp: Hyperparameters) -> Iterator[Problem]:
    """`early_stopping_rounds` needs a metric; the objective's own counts, unless `disable_default_eval_metric` is true."""
    if hp.early_stopping_rounds is not None and not hp.eval_metrics:
        yield Problem(
            (
                "early_stopping_rounds",
                "eval_metric",
                "_tuning_objective_metric",
                "disable_default_eval_metric",
            ),
            "early_stopping_rounds needs a metric: give eval_metric, or leave out disable_default_eval_metric",
        )


def updaters(hp: Hyperparameters) -> Iterator[Problem]:
    """`updater` names one way to grow trees, then `prune` or `refresh`; only these with `process_type=update`, which needs one of them; one of `shotgun` and `coord_descent` with `booster=gblinear`."""
    names, why = hp.updaters, ""
    if hp.algorithm == "linear":
        if names and (len(names) > 1 or names[0] not in _LINEAR_UPDATERS):
            why = f"booster=gblinear takes one of {', '.join(_LINEAR_UPDATERS)}"
    elif hp.algorithm == "update":
        if not names or not set(names) <= set(_MODIFIERS):
            why = f"process_type=update takes {' and '.join(_MODIFIERS)}, and at least one of them"
    elif names and (names[0] not in _GROWERS or not set(names[1:]) <= set(_MODIFIERS)):
        why = f"trees take one of {', '.join(_GROWERS)}, then possibly {' or '.join(_MODIFIERS)}"
    if why:
        yield Problem(
            ("updater", "booster", "process_type"), f"updater {','.join(names) or 'is missing'}: {why}"
        )


def constraints(hp: Hyperparameters) -> Iterator[Problem]:
    """`monotone_constraints` and `interaction_constraints` need trees that are grown: `tree_method` hist, approx or exact, not `booster=gblinear` or `process_type=update`."""
    for name in ("monotone_constraints", "interaction_constraints"):
        if getattr(hp, name) is not None and hp.algorithm in {"linear", "update"}:
            cause = "booster=gblinear" if hp.algorithm == "linear" else "process_type=update"
            yield Problem((name, "booster", "process_type"), f"{name} has no meaning with {cause}")


def exact(hp: Hyperparameters) -> Iterator[Problem]:
    """`tree_method=exact` needs a `max_depth` above 0 and `sampling_method=uniform`."""
    if hp.algorithm != "exact":
        return
    about = ("tree_method", "updater")
    if hp.max_depth == 0:
        yield Problem((*about, "max_depth"), "tree_method=exact needs a max_depth above 0")
    if hp.sampling_method == "gradient_based":
        yield Problem(
            (*about, "sampling_method"),
            "sampling_method=gradient_based needs tree_method hist or approx, not exact",
        )


def vector_leaves(hp: Hyperparameters) -> Iterator[Problem]:
    """`multi_strategy=multi_output_tree` needs `tree_method=hist`."""
    if hp.multi_strategy == "multi_output_tree" and hp.algorithm != "hist":
        yield Problem(
            ("multi_strategy", "tree_method", "updater", "booster", "process_type"),
            f"multi_strategy=multi_output_tree needs tree_method=hist, not {hp.algorithm}",
        )


def gpu(hp: Hyperparameters) -> Iterator[Problem]:
    """`tree_method=gpu_hist` and `device=cpu` exclude each other."""
    if hp.tree_method == "gpu_hist" and hp.device == "cpu":
        yield Problem(("tree_method", "device"), "tree_method=gpu_hist and device=cpu exclude each other")


def selectors(hp: Hyperparameters) -> Iterator[Problem]:
    """`feature_selector` other than cyclic and shuffle needs `updater=coord_descent`."""
    if hp.algorithm != "linear" or hp.feature_selector in {None, *_SHOTGUN_SELECTORS}:
        return
    if "coord_descent" not in hp.updaters:
        yield Problem(
            ("feature_selector", "updater", "booster"),
            f"feature_selector={hp.feature_selector} needs updater=coord_descent",
        )


def heartbeats(hp: Hyperparameters) -> Iterator[Problem]:
    """`lost_timeout` is at least twice `heartbeat_interval`, or a living host could be taken for lost."""
    if hp.lost_timeout < 2 * hp.heartbeat_interval:
        yield Problem(
            ("lost_timeout", "heartbeat_interval"),
            f"lost_timeout ({hp.lost_timeout:g} s) has to be at least twice heartbeat_interval "
            f"({hp.heartbeat_interval:g} s)",
        )


def roles(hp: Hyperparameters) -> Iterator[Problem]:
    """A column has one role only; `csv_weights` and another `weight_column` exclude each other; `group_column` needs `objective=rank:*`, or one of the metrics ndcg, map and pre."""
    columns = {
        "label_column": hp.label_column,
        "label_upper_column": hp.label_upper_column,
        "weight_column": hp.weight_column,
        "group_column": hp.group_column,
    }
    taken: dict[str, str] = {}
    given = [(name, column) for name, column in columns.items() if column is not None]
    for name, column in (*given, *(("base_margin_column", each) for each in hp.base_margin_column or ())):
        other = taken.setdefault(column, name)
        if other is not name:
            yield Problem((name, other), f"{other} and {name} both name column {column!r}")
    if hp.csv_weights and hp.weight_column not in {None, "1"}:
        yield Problem(
            ("csv_weights", "weight_column"),
            f"csv_weights takes the weights from column 1, but weight_column is {hp.weight_column!r}; give one",
        )
    ranked = hp.objective.startswith("rank:") or tasks.RANKING_METRICS.intersection(
        map(tasks.base_name, hp.eval_metrics)
    )
    if hp.group_column is not None and not ranked:
        yield Problem(
            ("group_column", "objective", "eval_metric", "_tuning_objective_metric"),
            f"group_column is for ranking, but the objective is {hp.objective}, and eval_metric has none of "
            f"{', '.join(sorted(tasks.RANKING_METRICS))}",
        )


def strategy(hp: Hyperparameters) -> Iterator[Problem]:
    """`strategy=ensemble` and `strategy=parameter_server` average trees grown with `tree_method=hist` and `booster=gbtree`, and make another model of each layout, which `reproducible=true` forbids; `sync_rounds` needs `strategy=parameter_server`, which excludes `lambdarank_unbiased`."""
    chosen = f"strategy={hp.strategy}"
    if "sync_rounds" in hp.given and hp.strategy != "parameter_server":
        yield Problem(
            ("sync_rounds", "strategy"), f"sync_rounds needs strategy=parameter_server, not {chosen}"
        )
    if hp.strategy == "allreduce":
        return
    if hp.one_host_only:
        yield Problem(
            ("strategy", "booster", "process_type", "tree_method", "updater"),
            f"{chosen} averages trees grown with tree_method=hist, so {hp.one_host_only} is not for it; use "
            "strategy=allreduce",
        )
    if hp.booster == "dart":
        yield Problem(
            ("strategy", "booster"),
            f"{chosen} cannot average trees that booster=dart weighs anew; use booster=gbtree, or strategy=allreduce",
        )
    if hp.reproducible == "true":
        yield Problem(
            ("strategy", "reproducible"),
            f"reproducible=true, but with {chosen} the model depends on which rows each rank has; use "
            "strategy=allreduce",
        )
    if hp.strategy == "parameter_server" and hp.lambdarank_unbiased:
        yield Problem(
            ("strategy", "lambdarank_unbiased"),
            f"lambdarank_unbiased learns position biases over all rounds, but {chosen} begins anew after each "
            "average; use strategy=allreduce",
        )


RULES: tuple[Rule, ...] = (
    classes,
    levels,
    base_score,
    metrics,
    early_stopping,
    updaters,
    constraints,
    exact,
    vector_leaves,
    gpu,
    selectors,
    heartbeats,
    roles,
    strategy,
)


def broken(hp: Hyperparameters) -> Iterator[Problem]:
    """Every rule that `hp` breaks."""
    for rule in RULES:
        yield from rule(hp)
