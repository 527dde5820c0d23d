"""Every hyperparameter: its name, type, range, default and meaning, in groups.

This is the one place where a hyperparameter is described: validation, the JSON schema and
``docs/hyperparameters.md`` are read off these classes. Ranges are AWS's where its image has the
hyperparameter, and XGBoost 3.4.1's elsewhere. None means "not given": XGBoost's default then holds.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from treering.constraints import FeatureWeights, Interaction, Monotone
from treering.parameter_values import (
    AutoOrFlag,
    Column,
    ColumnNames,
    Flag,
    Integer,
    Levels,
    Metrics,
    Names,
    ObjectiveName,
    OneOrMore,
    TuningMetric,
)

LIST_OF_COLUMNS = "list of lists of column numbers (from 0) or names, like [[0, 2], [1]]"
RANKING = ("rank:", "ndcg", "map", "pre")
COLUMN = "column name or number from 0"
LEVELS = "number or ascending list of numbers from 0 to 1"


def option(
    meaning: str,
    *,
    default: str = "",
    allowed: str = "",
    aliases: tuple[str, ...] = (),
    only_with: tuple[str, ...] = (),
    name: str | None = None,
    value: object = None,
    **limits: Any,
) -> Any:
    """A hyperparameter that need not be given.

    Parameters
    ----------
    meaning
        What it does, for the documentation.
    default
        What holds when it is not given, in words; `value` itself where that is not None.
    allowed
        Which values it takes, where the type and `limits` cannot say.
    aliases
        Other names that mean the same.
    only_with
        What it has an effect with, where not with everything: beginnings of objectives (they have a
        colon) and metrics.
    name
        The hyperparameter, where it cannot be a Python name.
    value
        The field's value when it is not given.
    limits
        Pydantic's: ge, gt, le, lt, pattern.
    """
    extra: dict[str, Any] = {
        "default_text": default or ("" if value is None else str(value).lower()),
        "allowed": allowed,
        "aliases": list(aliases),
        "only_with": list(only_with),
    }
    extra = {key: entry for key, entry in extra.items() if entry}
    return Field(value, alias=name, description=meaning, json_schema_extra=extra, **limits)


class Group(BaseModel):
    """What all groups have in common."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True,
        defer_build=True,
    )  # fmt: skip


class Job(Group):
    """The job: how long it trains, and what becomes of the result."""

    num_round: Integer = Field(
        ge=1,
        description="Number of boosting rounds. The only hyperparameter that has to be given.",
        json_schema_extra={"aliases": ["n_estimators", "num_boost_round"]},
    )
    early_stopping_rounds: Integer | None = option(
        "Stop when the metric of early stopping has not improved on the validation channel for so many rounds. "
        "That metric is `_tuning_objective_metric`'s, else the last of `eval_metric`, else the objective's own. "
        "Without that channel the last one of the log line is followed, and one log line says so.",
        default="never",
        ge=1,
    )
    eval_metric: Metrics | None = option(
        "Metrics to compute after each round.",
        default="the objective's own",
        allowed="names from the table of metrics in docs/hyperparameters.md, separated by commas",
    )
    tuning_objective_metric: TuningMetric | None = option(
        "What a tuning job optimises; its metric is added to `eval_metric`, and its channel has to be there. "
        "SageMaker sets it.",
        name="_tuning_objective_metric",
        allowed="validation: or train: and a metric, like validation:auc",
    )
    disable_default_eval_metric: Flag = option(
        "Compute no metric when `eval_metric` names none.", value=False
    )
    save_model_on_termination: Flag = option(
        "When the job is stopped early, keep the model of the rounds so far and end well.", value=False
    )
    checkpoint_interval: Integer | None = option(
        "Rounds between two checkpoints, when the job has a checkpoint folder.",
        default="10, or a twentieth of num_round if that is more",
        ge=1,
    )


class Data(Group):
    """The data: which column is what. A column is given by its name, or by its number from 0."""

    csv_weights: Flag = option(
        "Column 1 of CSV files holds the rows' weights, as `weight_column=1` says.", value=False
    )
    label_column: Column | None = option(
        "Labels; for survival:aft the lower bounds of time.",
        default="0",
        allowed=COLUMN,
    )
    label_upper_column: Column | None = option(
        "Upper bounds of time; missing or infinite where an end is not known.",
        allowed=COLUMN,
        only_with=("survival:aft",),
    )
    weight_column: Column | None = option("Weights of the rows.", default="none", allowed=COLUMN)
    group_column: Column | None = option(
        "Query of each row; LIBSVM has `qid:` instead.", default="none", allowed=COLUMN
    )
    base_margin_column: ColumnNames | None = option(
        "Margin to start each row from; several columns for several classes or quantiles.",
        default="none",
        allowed="column name or number, or several separated by commas",
    )
    feature_weights: FeatureWeights | None = option(
        "How likely column sampling takes each column.",
        default="all alike",
        allowed='list of numbers 0 or more like [1, 2, 0.5], or a mapping of names like {"age": 2}, which leaves '
        "the others at 1",
    )


class Boosting(Group):
    """Boosting: what both trees and linear models take."""

    booster: Literal["gbtree", "gblinear", "dart"] | None = option(
        "Trees, linear models (one host only), or trees with dropout.", default="gbtree"
    )
    device: str | None = option(
        "Where XGBoost computes.",
        default="cpu",
        pattern=r"^(cpu|(cuda|gpu)(:[0-9]+)?)$",
        allowed="cpu, cuda, gpu, or cuda:N, gpu:N for the N-th GPU",
    )
    eta: float | None = option(
        "Step size: how much of each round's correction is kept.",
        default="0.3 (0.5 with gblinear)",
        aliases=("learning_rate",),
        ge=0,
        le=1,
    )
    lambda_: float | None = option(
        "L2 penalty on weights.",
        name="lambda",
        default="1 (0 with gblinear)",
        aliases=("reg_lambda",),
        ge=0,
    )
    alpha: float | None = option("L1 penalty on weights.", default="0", aliases=("reg_alpha",), ge=0)
    seed: int | None = option(
        "Seed of every random choice.",
        default="0",
        aliases=("random_state",),
        ge=-(2**63),
        le=2**63 - 1,
    )
    seed_per_iteration: Flag | None = option("Seed anew from the number of each round.", default="false")
    nthread: Integer | None = option(
        "Threads of each rank; 0 or -1 for its share of the host's cores.",
        default="all cores",
        aliases=("n_jobs",),
        ge=-1,
    )
    verbosity: Integer | None = option(
        "How much XGBoost itself says: nothing, warnings, information, everything.", default="1", ge=0, le=3
    )
    validate_parameters: Flag | None = option(
        "XGBoost warns of parameters that it does not use.", default="true"
    )
    fail_on_invalid_gpu_id: Flag | None = option(
        "Fail when `device` names a GPU that is not there.", default="false"
    )


class Trees(Group):
    """Trees (`booster=gbtree` and `booster=dart`)."""

    tree_method: Literal["auto", "exact", "approx", "hist", "gpu_hist"] | None = option(
        "How splits are found. `auto` is `hist`; `gpu_hist` is `hist` with `device=cuda`; `exact` and `approx` run "
        "on one host only.",
        default="hist",
    )
    max_depth: Integer | None = option("Deepest level of a tree; 0 for no limit.", default="6", ge=0)
    max_leaves: Integer | None = option("Most leaves of a tree; 0 for no limit.", default="0", ge=0)
    grow_policy: Literal["depthwise", "lossguide"] | None = option(
        "Which node is split next: the nearest to the root, or the one that gains most.", default="depthwise"
    )
    # In AWS's image from 0, but XGBoost takes no fewer than two.
    max_bin: Integer = option("Most bins of a column's histogram.", value=256, ge=2)
    gamma: float | None = option(
        "Least gain for which a node is split.", default="0", aliases=("min_split_loss",), ge=0
    )
    min_child_weight: float | None = option("Least sum of hessians in a child.", default="1", ge=0)
    max_delta_step: float | None = option(
        "Largest step of a leaf; 0 for no limit.", default="0 (0.7 with count:poisson)", ge=0
    )
    subsample: float | None = option("Share of the rows that each tree sees.", default="1", gt=0, le=1)
    sampling_method: Literal["uniform", "gradient_based"] | None = option(
        "Whether rows with larger gradients are sampled more often.", default="uniform"
    )
    colsample_bytree: float | None = option(
        "Share of the columns that each tree sees.", default="1", gt=0, le=1
    )
    colsample_bylevel: float | None = option("Share of those that each level sees.", default="1", gt=0, le=1)
    colsample_bynode: float | None = option("Share of those that each split sees.", default="1", gt=0, le=1)
    num_parallel_tree: Integer | None = option("Trees grown in each round.", default="1", ge=1)
    monotone_constraints: Monotone | None = option(
        "Columns with which the prediction may only rise (1) or fall (-1).",
        default="none",
        allowed='list of -1, 0 and 1 like (1,0,-1), or a mapping of names like {"age": 1}',
    )
    interaction_constraints: Interaction | None = option(
        "Groups of columns that may follow each other in a branch.", default="none", allowed=LIST_OF_COLUMNS
    )
    max_cat_to_onehot: Integer | None = option(
        "Columns with fewer categories are split one category against the rest.", default="4", ge=1
    )
    max_cat_threshold: Integer | None = option(
        "Most categories considered for one split.", default="64", ge=1
    )
    multi_strategy: Literal["one_output_per_tree", "multi_output_tree"] | None = option(
        "One tree for each class or quantile, or one for all.", default="one_output_per_tree"
    )
    process_type: Literal["default", "update"] | None = option(
        "Grow new trees, or update those of a given model (one host only).", default="default"
    )
    updater: Names | None = option(
        "The steps of tree building, in place of `tree_method`; or the algorithm of `booster=gblinear`.",
        default="as tree_method says (shotgun with gblinear)",
        allowed="one of grow_quantile_histmaker, grow_histmaker, grow_colmaker, grow_gpu_hist, grow_gpu_approx, "
        "then prune or refresh, separated by commas; with gblinear: shotgun or coord_descent",
    )
    refresh_leaf: Flag | None = option("The updater `refresh` also renews the leaves.", default="1")
    max_cached_hist_node: Integer | None = option(
        "Most histograms kept in memory; changes speed and memory alone.", default="no limit", ge=1
    )
    debug_synchronize: Flag | None = option(
        "XGBoost checks that all hosts grew the same tree; slow.", default="false"
    )


class Dropout(Group):
    """Dropout (`booster=dart`): without it these are ignored with one log line; XGBoost 3.4 would drop trees."""

    rate_drop: float | None = option("Share of the trees dropped in a round.", default="0", ge=0, le=1)
    skip_drop: float | None = option("Probability that a round drops none.", default="0", ge=0, le=1)
    one_drop: Flag | None = option("Drop at least one tree.", default="0")
    sample_type: Literal["uniform", "weighted"] | None = option(
        "Drop all trees alike, or by their weight.", default="uniform"
    )
    normalize_type: Literal["tree", "forest"] | None = option(
        "New trees weigh as much as each dropped one, or as their sum.", default="tree"
    )


class Linear(Group):
    """Linear models (`booster=gblinear`, one host only)."""

    feature_selector: Literal["cyclic", "shuffle", "random", "greedy", "thrifty"] | None = option(
        "Order in which coefficients are updated; `random`, `greedy` and `thrifty` need `updater=coord_descent`.",
        default="cyclic",
    )
    top_k: Integer | None = option(
        "How many columns `greedy` and `thrifty` select; 0 for all.", default="0", ge=0
    )
    tolerance: float | None = option("Stop when no weight moves further than this.", default="0", ge=0)


class Task(Group):
    """The task: what is learnt, and the parameters of single objectives."""

    objective: ObjectiveName = option(
        "What is learnt. With `num_class` and without `objective`, XGBoost and treering take multi:softmax.",
        value="reg:squarederror",
        allowed="a name from the table of objectives in docs/hyperparameters.md",
    )
    num_class: Integer | None = option("Number of classes.", only_with=("multi:",), ge=2)
    base_score: OneOrMore | None = option(
        "Prediction before the first tree: a number, or one for each class or quantile.",
        default="estimated from the labels",
        allowed="number, or list of numbers",
    )
    scale_pos_weight: float | None = option(
        "Weight of the rows with label 1.",
        default="1",
        only_with=("binary:logistic", "binary:logitraw", "reg:logistic", "reg:squarederror"),
        gt=0,
    )
    tweedie_variance_power: float | None = option(
        "Variance grows with the mean to this power: near 1 like Poisson, near 2 like gamma.",
        default="1.5",
        only_with=("reg:tweedie", "tweedie-nloglik"),
        gt=1,
        lt=2,
    )
    huber_slope: float | None = option(
        "Where the loss turns from square to straight.",
        default="1",
        only_with=("reg:pseudohubererror", "mphe"),
        gt=0,
    )
    quantile_alpha: Levels | None = option(
        "The quantile or quantiles to learn.",
        only_with=("reg:quantileerror", "quantile"),
        allowed=LEVELS,
    )
    expectile_alpha: Levels | None = option(
        "The expectile or expectiles to learn.",
        only_with=("reg:expectileerror", "expectile"),
        allowed=LEVELS,
    )
    aft_loss_distribution: Literal["normal", "logistic", "extreme"] | None = option(
        "Distribution of the logarithm of time.", default="normal", only_with=("survival:aft",)
    )
    # In AWS's image from 0, but the loss divides by it.
    aft_loss_distribution_scale: float | None = option(
        "Its scale.", default="1", only_with=("survival:aft",), gt=0
    )
    lambdarank_pair_method: Literal["topk", "mean"] | None = option(
        "How pairs are formed: from the first documents, or drawn for each.",
        default="topk",
        only_with=RANKING,
    )
    lambdarank_num_pair_per_sample: int | None = option(
        "Length of the top list, or pairs for each document.",
        default="32 with topk, 1 with mean",
        only_with=RANKING,
        ge=1,
        le=2**32 - 1,
    )
    lambdarank_normalization: Flag | None = option(
        "Normalise the gradients of each group.",
        default="true",
        only_with=RANKING,
    )
    lambdarank_score_normalization: Flag | None = option(
        "Normalise gains by the difference of scores.",
        default="true",
        only_with=RANKING,
    )
    lambdarank_unbiased: Flag | None = option(
        "Correct for the position at which documents were clicked.",
        default="false",
        only_with=RANKING,
    )
    lambdarank_bias_norm: float | None = option(
        "Norm of that correction.", default="1", only_with=RANKING, ge=0
    )
    ndcg_exp_gain: Flag | None = option(
        "A relevance r counts 2^r - 1, or r itself.",
        default="true",
        only_with=RANKING,
    )


class Ring(Group):
    """The ring of hosts: these are treering's own."""

    reproducible: AutoOrFlag = option(
        "The same model on any number of hosts: `auto` wherever it can be had, `true` or else refuse the job, "
        "`false` never.",
        value="auto",
        allowed="auto, true, false",
    )
    strategy: Literal["allreduce", "ensemble", "parameter_server"] = option(
        "How ranks share the work: one tree of all rows at a time (`allreduce`), a model of each rank's rows, averaged "
        "at the end (`ensemble`), or averaged every `sync_rounds` rounds (`parameter_server`).",
        value="allreduce",
    )
    sync_rounds: Integer = option(
        "Rounds that ranks boost alone between two averages, with `strategy=parameter_server`.", value=1, ge=1
    )
    external_memory: AutoOrFlag = option(
        "Keep the binned rows on disk and read them in each round: `auto` where they do not fit into memory. Rows "
        "that are not binned yet go to disk whenever they have to.",
        value="auto",
        allowed="auto, true, false",
    )
    scratch_folder: str | None = option(
        "Folder of each host for what memory has no room for.",
        default="the system's folder for temporary files",
    )
    rendezvous_timeout: float = option("Seconds until every host has joined.", value=900, gt=0)
    heartbeat_interval: float = option("Seconds between two signs of life of a host.", value=2, gt=0)
    lost_timeout: float = option(
        "Seconds of silence after which a host is lost; at least twice `heartbeat_interval`.", value=15, gt=0
    )
    stall_timeout: float = option(
        "Seconds without any progress on any host after which the job ends; 0 for never.", value=600, ge=0
    )
    stop_grace: float = option(
        "Seconds that a job told to stop may take to finish its round.", value=100, gt=0
    )
    ranks_per_host: Integer = option("Training processes on each host.", value=1, ge=1)
    threads_per_host: Integer = option(
        "Threads of each host, shared by its ranks; 0 for all cores.", value=0, ge=0
    )
    provider: Literal["tcp", "efa"] = option("How MPI's bytes travel: libfabric's provider.", value="tcp")
    port: int = option("Where the first host listens.", value=7171, ge=1, le=65535)


class Legacy(Group):
    """Without effect: accepted because AWS's image or an older XGBoost accepts them, with one log line each."""

    predictor: Literal["auto", "cpu_predictor", "gpu_predictor"] | None = option(
        "XGBoost now decides by `device`."
    )
    dsplit: Literal["row", "col"] | None = option("Rows are always what is split over hosts.")
    sketch_eps: float | None = option("`max_bin` took its place.", gt=0, lt=1)
    deterministic_histogram: Flag | None = option("Histograms are deterministic.")
    prob_buffer_row: Integer | None = option("The updater that used it is gone.", gt=1)
    use_dask_gpu_training: Flag | None = option("GPUs need no Dask here; `device=cuda` says it all.")
    lambda_bias: float | None = option("XGBoost no longer penalises the bias.", ge=0, le=1)
    single_precision_histogram: Flag | None = option("Histograms are always summed in double precision.")
    sparse_threshold: float | None = option("How columns are stored is decided by the data.", ge=0, le=1)
    max_row_perbatch: Integer | None = option("XGBoost knows it and does nothing with it.", ge=1)
    enable_categorical: Flag | None = option("The data's own types decide.")
