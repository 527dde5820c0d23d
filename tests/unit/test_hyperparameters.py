"""Every hyperparameter takes what it should, refuses what it should, and reaches XGBoost as meant."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost as xgb
from pydantic import ValidationError

from treering import parameter_docs, parameter_rules, tasks
from treering.errors import UserError
from treering.hyperparameters import (
    ALIASES,
    ENGINE_NAMES,
    FIELDS,
    NOT_YET,
    Hyperparameters,
    allowed_values,
    extra,
)
from treering.parameter_groups import Legacy
from treering.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
RANK = {"objective": "rank:ndcg"}
CLASSES = {"objective": "multi:softprob"}
FLAG_BAD = ("2", "yes", "0.5", "x", "[1]", "-1")


@dataclasses.dataclass
class Case:
    """What to try with one hyperparameter.

    Parameters
    ----------
    good
        The value that each text means.
    bad
        Texts to be refused.
    context
        Other hyperparameters that it needs in order to have a meaning.
    """

    good: Mapping[str, object]
    bad: tuple[str, ...] = ()
    context: dict[str, str] = dataclasses.field(default_factory=dict)


def _flag(**context: str) -> Case:
    good: dict[str, object] = {
        "true": True,
        "True": True,
        "1": True,
        '"true"': True,
        "false": False,
        "False": False,
        "0": False,
    }
    return Case(good, FLAG_BAD, context)


def _integer(low: int, high: int | None = None, **context: str) -> Case:
    good: dict[str, object] = {str(low): low, str(low + 1): low + 1, f'"{low}"': low, f"{low}.0": low}
    bad = [str(low - 1), f"{low}.5", "x", "true", "[1]", "nan", "", "99999999999999999999"]
    if high is not None:
        good, bad = good | {str(high): high}, [*bad, str(high + 1)]
    return Case(good, tuple(bad), context)


def _number(good: str, bad: str = "", **context: str) -> Case:
    bads = (*bad.split(), "x", "true", "[1]", "nan", "inf", "1e999", "")
    return Case({text: float(text) for text in good.split()}, bads, context)


def _choice(*values: str, **context: str) -> Case:
    good = {text: value for value in values for text in (value, f'"{value}"')}
    return Case(good, ("nonsense", values[0].upper(), "1", "", "[]"), context)


def _column(**context: str) -> Case:
    good: dict[str, object] = {"age": "age", '"age"': "age", "3": "3", " the age ": "the age"}
    return Case(good, ("-1", "1.5", "", "[1]"), context)


CASES = {
    "num_round": _integer(1),
    "early_stopping_rounds": _integer(1),
    "eval_metric": Case(
        {
            "rmse": ("rmse",),
            "rmse,mae": ("rmse", "mae"),
            " rmse , mae,": ("rmse", "mae"),
            "['rmse', 'mae']": ("rmse", "mae"),
            '["rmse", "mae"]': ("rmse", "mae"),
            '"rmse,mae"': ("rmse", "mae"),
            "[rmse, mae]": ("rmse", "mae"),
            "rmse,rmse": ("rmse",),
            "error@0.3,ndcg@5-": ("error@0.3", "ndcg@5-"),
        },
        ("rmes", "1", "", ",", "[]", "[1]", "rmse@2", "<function f at 0x7f>", "true"),
    ),
    "_tuning_objective_metric": Case(
        {text: text for text in ("validation:rmse", "train:rmse", "rmse", "validation:ndcg@5")},
        ("validation:rmes", "test:rmse", "1", "", "validation:", "validation:rmse,mae"),
    ),
    "disable_default_eval_metric": _flag(),
    "csv_weights": _flag(),
    "label_column": _column(),
    "label_upper_column": _column(objective="survival:aft"),
    "weight_column": _column(),
    "group_column": _column(objective="rank:ndcg"),
    "base_margin_column": Case(
        {"m": ("m",), "2": ("2",), "m0,m1": ("m0", "m1"), '["a", 5]': ("a", "5"), "3,4": ("3", "4")},
        ("", "[]", "-1", "1.5", "[[1]]", "true"),
    ),
    "feature_weights": Case(
        {
            "1,2,0.5": (1, 2, 0.5),
            "[1, 0]": (1, 0),
            "(3)": (3,),
            '{"age": 2}': {"age": 2},
            "{'age': 0, 'size': 1.5}": {"age": 0, "size": 1.5},
        },
        ("", "[]", "{}", "-1", "0", "x", '{"age": -1}', '{"age": "x"}', "true"),
    ),
    "save_model_on_termination": _flag(),
    "checkpoint_interval": _integer(1),
    "booster": _choice("gbtree", "dart", "gblinear"),
    "device": Case(
        {name: name for name in ("cpu", "cuda", "gpu", "cuda:0", "gpu:12")},
        ("cpu:0", "tpu", "cuda:", "cuda:x", "0"),
    ),
    "eta": _number("0 0.3 1 1e-3 .5", "-0.1 1.1"),
    "lambda": _number("0 0.5 1000", "-1"),
    "alpha": _number("0 0.5 1000", "-1"),
    "seed": Case(
        {text: int(text) for text in ("0", "-1", "2147483648", str(2**63 - 1), str(-(2**63)))},
        ("x", "1.5", "true", "", str(2**63)),
    ),
    "seed_per_iteration": _flag(),
    "nthread": _integer(-1),
    "verbosity": _integer(0, 3),
    "validate_parameters": _flag(),
    "fail_on_invalid_gpu_id": _flag(),
    "tree_method": _choice("hist", "auto", "exact", "approx", "gpu_hist"),
    "max_depth": _integer(0),
    "max_leaves": _integer(0),
    "grow_policy": _choice("depthwise", "lossguide"),
    "max_bin": _integer(2),
    "gamma": _number("0 0.5 1000", "-1"),
    "min_child_weight": _number("0 0.5 1000", "-1"),
    "max_delta_step": _number("0 0.5 1000", "-1"),
    "subsample": _number("1 0.5 1e-3", "0 1.1 -1"),
    "sampling_method": _choice("uniform", "gradient_based"),
    "colsample_bytree": _number("1 0.5", "0 1.1 -1"),
    "colsample_bylevel": _number("1 0.5", "0 1.1 -1"),
    "colsample_bynode": _number("1 0.5", "0 1.1 -1"),
    "num_parallel_tree": _integer(1),
    "monotone_constraints": Case(
        {
            "(1,0,-1)": (1, 0, -1),
            "(1, 0, -1)": (1, 0, -1),
            "[1, 0, -1]": (1, 0, -1),
            "1,0,-1": (1, 0, -1),
            '"(1,0,-1)"': (1, 0, -1),
            "(1)": (1,),
            "{'a': 1, 'b': -1}": {"a": 1, "b": -1},
            '{"a": 1}': {"a": 1},
            "{0: 1}": {"0": 1},
        },
        ("(2,0,0)", "(1.5,)", "x", "()", "{}", "{'a': 2}", "(True,)", "((1,),)", "1,x", "", "1,"),
    ),
    "interaction_constraints": Case(
        {
            "[[0, 1], [2]]": ((0, 1), (2,)),
            "[[1,2],[3]]": ((1, 2), (3,)),
            "((0, 1), (2,))": ((0, 1), (2,)),
            "[['a', 'b'], [2]]": (("a", "b"), (2,)),
            '"[[0, 1]]"': ((0, 1),),
        },
        ("[]", "[[]]", "[0, 1]", "[[0.5]]", "[[-1]]", "[[True]]", "x", "1", "", "[[0, 1]"),
    ),
    "max_cat_to_onehot": _integer(1),
    "max_cat_threshold": _integer(1),
    "multi_strategy": _choice("one_output_per_tree", "multi_output_tree"),
    "process_type": _choice("default", "update"),
    "updater": Case(
        {
            "grow_colmaker": ("grow_colmaker",),
            "grow_colmaker,prune": ("grow_colmaker", "prune"),
            "grow_colmaker, refresh, prune": ("grow_colmaker", "refresh", "prune"),
            "['grow_histmaker', 'prune']": ("grow_histmaker", "prune"),
            "grow_quantile_histmaker": ("grow_quantile_histmaker",),
            "grow_histmaker,sync": ("grow_histmaker", "sync"),
        },
        ("distcol", "prune", "prune,grow_colmaker", "grow_histmaker,grow_colmaker", "shotgun", "x", "1", ""),
    ),
    "refresh_leaf": _flag(),
    "max_cached_hist_node": _integer(1),
    "debug_synchronize": _flag(),
    "rate_drop": _number("0 0.5 1", "-0.1 1.1"),
    "skip_drop": _number("0 0.5 1", "-0.1 1.1"),
    "one_drop": _flag(),
    "sample_type": _choice("uniform", "weighted"),
    "normalize_type": _choice("tree", "forest"),
    "feature_selector": _choice(
        "cyclic", "shuffle", "random", "greedy", "thrifty", booster="gblinear", updater="coord_descent"
    ),
    "top_k": _integer(0, booster="gblinear", updater="coord_descent"),
    "tolerance": _number("0 0.1", "-1", booster="gblinear"),
    "objective": Case(
        {
            name: name
            for name in tasks.OBJECTIVES
            if not name.startswith(("multi:", "reg:quantile", "reg:expectile"))
        }
        | {"reg:linear": "reg:squarederror"},
        ("binary:logistik", "logistic", "1", "", "aft_loss_distribution"),
    ),
    "num_class": _integer(2, None, **CLASSES),
    "base_score": Case(
        {"0.5": 0.5, "0": 0.0, "-3": -3.0, "[0.5]": 0.5},
        ("x", "true", "[]", "['a']", "nan", "", "[0.1, 0.2]"),
    ),
    "scale_pos_weight": _number("0.5 100", "0 -1", objective="binary:logistic"),
    "tweedie_variance_power": _number("1.1 1.9", "1 2 0.5", objective="reg:tweedie"),
    "huber_slope": _number("0.5 2", "0 -1", objective="reg:pseudohubererror"),
    "quantile_alpha": Case(
        {
            "0.5": (0.5,),
            "[0.1, 0.9]": (0.1, 0.9),
            "(0.1,0.9)": (0.1, 0.9),
            "0.1,0.9": (0.1, 0.9),
            "0": (0,),
            "1": (1,),
        },
        ("1.5", "-0.1", "[0.9, 0.1]", "[0.5, 0.5]", "[]", "x", "true", ""),
        {"objective": "reg:quantileerror"},
    ),
    "expectile_alpha": Case(
        {"0.5": (0.5,), "[0.1, 0.9]": (0.1, 0.9)},
        ("1.5", "-0.1", "[0.9, 0.1]", "x", "true", ""),
        {"objective": "reg:expectileerror"},
    ),
    "aft_loss_distribution": _choice("normal", "logistic", "extreme", objective="survival:aft"),
    "aft_loss_distribution_scale": _number("0.5 2", "0 -1", objective="survival:aft"),
    "lambdarank_pair_method": _choice("topk", "mean", **RANK),
    "lambdarank_num_pair_per_sample": Case({"1": 1, "32": 32}, ("0", "1.5", "x", "true", ""), RANK),
    "lambdarank_normalization": _flag(**RANK),
    "lambdarank_score_normalization": _flag(**RANK),
    "lambdarank_unbiased": _flag(**RANK),
    "lambdarank_bias_norm": _number("0 1 2", "-1", **RANK),
    "ndcg_exp_gain": _flag(**RANK),
    "reproducible": Case(
        {"auto": "auto", "true": "true", "True": "true", "false": "false", "0": "false"}, ("yes", "2", "")
    ),
    "external_memory": Case(
        {"auto": "auto", "true": "true", "True": "true", "false": "false", "0": "false"}, ("yes", "2", "")
    ),
    "scratch_folder": Case({"/scratch": "/scratch"}, ()),
    "strategy": _choice("allreduce", "ensemble", "parameter_server"),
    "sync_rounds": _integer(1, strategy="parameter_server"),
    "rendezvous_timeout": _number("900 0.5", "0 -1"),
    "stall_timeout": _number("600 0 0.5", "-1"),
    "stop_grace": _number("100 0.5", "0 -1"),
    "heartbeat_interval": _number("2 0.5", "0 -1"),
    "lost_timeout": _number("15 4", "0 -1"),
    "ranks_per_host": _integer(1),
    "threads_per_host": _integer(0),
    "provider": _choice("tcp", "efa"),
    "port": _integer(1, 65535),
    "predictor": _choice("auto", "cpu_predictor", "gpu_predictor"),
    "dsplit": _choice("row", "col"),
    "sketch_eps": _number("0.03", "0 1"),
    "deterministic_histogram": _flag(),
    "prob_buffer_row": _integer(2),
    "use_dask_gpu_training": _flag(),
    "lambda_bias": _number("0 0.5 1", "-0.1 1.1"),
    "single_precision_histogram": _flag(),
    "sparse_threshold": _number("0 0.5 1", "-0.1 1.1"),
    "max_row_perbatch": _integer(1),
    "enable_categorical": _flag(),
}
# What a value itself demands beside its case's context.
COMPANIONS = {
    ("process_type", "update"): {"updater": "prune"},
}


def _parse(**raw: object) -> Hyperparameters:
    return Hyperparameters.parse({"num_round": "3"} | raw)


def _given(name: str, text: str) -> dict[str, str]:
    """A job with one value of one hyperparameter and what it needs to be valid."""
    raw: dict[str, str] = (
        {"num_round": "3"} | CASES[name].context | COMPANIONS.get((name, text.strip('"')), {})
    )
    if raw.get("objective", "").startswith("multi:"):
        raw["num_class"] = "2"
    return raw | {name: text}


GOOD = [(name, text) for name, case in CASES.items() for text in case.good]
BAD = [(name, text) for name, case in CASES.items() for text in case.bad]


def _problem(raw: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        Hyperparameters.parse(raw)
    return str(caught.value)


def test_every_hyperparameter_has_cases() -> None:
    """A hyperparameter cannot be added without values to try."""
    assert CASES.keys() == FIELDS.keys()


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_good_values(name: str, text: str) -> None:
    """A valid text is read as the value that it means, and counts as given."""
    parsed = Hyperparameters.parse(_given(name, text))
    assert getattr(parsed, FIELDS[name]) == CASES[name].good[text]
    assert parsed.given[name] == CASES[name].good[text]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_bad_values(name: str, text: str) -> None:
    """An invalid text is refused in one sentence that names the hyperparameter and no other."""
    said = _problem(dict(_given(name, text)))
    assert said.startswith((f"Hyperparameter {name}: ", f"{name} ", "updater "))
    assert "problems" not in said
    assert "\n" not in said


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_every_sdk(name: str, text: str) -> None:
    """The value means the same in the encoding of every SDK, and as a JSON value."""
    value = CASES[name].good[text]
    plain = json.loads(json.dumps(value))
    expected = Hyperparameters.parse(_given(name, text))
    bare = value if isinstance(value, str) else json.dumps(plain)
    for encoded in (str(value), json.dumps(plain), str(bare), plain):
        assert Hyperparameters.parse(_given(name, text) | {name: encoded}) == expected


@pytest.mark.parametrize("name", set(FIELDS) - {"num_round"})
@pytest.mark.parametrize("nothing", ["None", "null", '"None"', None])
def test_nothing_is_not_given(name: str, nothing: str | None) -> None:
    """None and null leave a hyperparameter as if it were absent."""
    assert _parse(**{name: nothing}) == _parse()
    assert name not in _parse(**{name: nothing}).given


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "Hyperparameter num_round: required, but not given (allowed: integer, 1 or more)"),
        ({"num_round": "None"}, "Hyperparameter num_round: required, but not given (allowed: integer, 1 or more)"),
        ({"num_round": "x"}, "Hyperparameter num_round: could not parse value 'x' (allowed: integer, 1 or more)"),
        ({"num_round": "0"}, "Hyperparameter num_round: value '0' is out of range (allowed: integer, 1 or more)"),
        ({"n_estimators": "0"}, "Hyperparameter n_estimators: value '0' is out of range (allowed: integer, 1 or more)"),
        ({"num_round": "1", "max_dept": "3"}, "Extraneous hyperparameter found: max_dept (did you mean max_depth?)"),
        ({"num_round": "1", "learning-rate": "3"}, "Extraneous hyperparameter found: learning-rate (did you mean learning_rate?)"),
        ({"num_round": "1", "lambda_": "3"}, "Extraneous hyperparameter found: lambda_ (did you mean lambda?)"),
        ({"num_round": "1", "silent": "1"}, "Extraneous hyperparameter found: silent (did you mean verbosity?)"),
        ({"num_round": "1", "qqqqqq": "1"}, "Extraneous hyperparameter found: qqqqqq"),
        ({"num_round": "1", "_kfold": "5"}, "Hyperparameter _kfold: k-fold cross-validation is not implemented yet"),
        ({"num_round": "1", "eta": "1.5"}, "Hyperparameter eta: value '1.5' is out of range (allowed: number from 0 to 1)"),
        ({"num_round": "1", "subsample": "0"}, "Hyperparameter subsample: value '0' is out of range (allowed: number above 0 up to 1)"),
        ({"num_round": "1", "tweedie_variance_power": "2"}, "Hyperparameter tweedie_variance_power: value '2' is out of range (allowed: number above 1 and below 2)"),
        ({"num_round": "1", "tree_method": "fast"}, "Hyperparameter tree_method: could not parse value 'fast' (allowed: auto, exact, approx, hist, gpu_hist)"),
        ({"num_round": "1", "one_drop": "2"}, "Hyperparameter one_drop: could not parse value '2' (allowed: true, false, 1, 0)"),
        ({"num_round": "1", "objective": "binary:logistik"}, "Hyperparameter objective: unknown objective 'binary:logistik' (did you mean binary:logistic?)"),
        ({"num_round": "1", "objective": "zzz"}, "Hyperparameter objective: unknown objective 'zzz' (docs/hyperparameters.md lists them)"),
        ({"num_round": "1", "objective": "1"}, "Hyperparameter objective: could not parse value '1' (allowed: a name from the table of objectives in docs/hyperparameters.md)"),
        ({"num_round": "1", "eval_metric": "rmes"}, "Hyperparameter eval_metric: unknown metric 'rmes' (did you mean rmse?)"),
        ({"num_round": "1", "eval_metric": "rmse,zzz"}, "Hyperparameter eval_metric: unknown metric 'zzz' (docs/hyperparameters.md lists them)"),
        ({"num_round": "1", "_tuning_objective_metric": "train:zzz"}, "Hyperparameter _tuning_objective_metric: unknown metric 'zzz' (docs/hyperparameters.md lists them)"),
        ({"num_round": "1", "eval_metric": "auc@2"}, "Hyperparameter eval_metric: unknown metric 'auc@2' (auc takes nothing after its name)"),
        ({"num_round": "1", "max_depth": "y" * 500}, "Hyperparameter max_depth: could not parse value '" + "y" * 79 + "... (allowed: integer, 0 or more)"),
        ({"num_round": "1", "eta": "0.1", "learning_rate": "0.2"}, "Hyperparameters eta and learning_rate are one and the same, but differ: '0.1' and '0.2'"),
    ],
)  # fmt: skip
def test_sentences(raw: dict[str, object], said: str) -> None:
    """Each kind of mistake has its exact sentence: what is wrong, and what is allowed or meant."""
    assert _problem(raw) == said


def test_all_problems_at_once() -> None:
    """Unknown names, bad values, a missing round and broken rules are reported together, each once."""
    said = _problem(
        {
            "max_dept": "3",
            "eta": "2",
            "alpha": "x",
            "objective": "multi:softmax",
            "eval_metric": "rmse",
            "lost_timeout": "1",
        }
    )
    assert said.startswith("7 problems with the hyperparameters: ")
    for piece in (
        "Extraneous hyperparameter found: max_dept (did you mean max_depth?)",
        "Hyperparameter eta: value '2' is out of range",
        "Hyperparameter alpha: could not parse value 'x'",
        "Hyperparameter num_round: required",
        "objective multi:softmax needs num_class",
        "eval_metric rmse cannot score objective multi:softmax",
        "lost_timeout (1 s) has to be at least twice heartbeat_interval (2 s)",
    ):
        assert said.count(piece) == 1, said


def test_no_consequential_problems() -> None:
    """A value that is wrong by itself is not reported again as missing or unsuitable."""
    said = _problem(
        {"num_round": "3", "objective": "multi:softmax", "num_class": "x", "eval_metric": "merror"}
    )
    assert said.startswith("Hyperparameter num_class: could not parse")
    said = _problem({"num_round": "3", "objective": "binary:logistik", "eval_metric": "auc"})
    assert said.startswith("Hyperparameter objective: unknown objective")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"objective": "multi:softmax"}, "objective multi:softmax needs num_class"),
        ({"objective": "reg:gamma", "num_class": "3"}, "num_class needs objective multi:softmax or multi:softprob, not reg:gamma"),
        ({"objective": "reg:quantileerror"}, "objective reg:quantileerror needs quantile_alpha, such as 0.5 or [0.1, 0.9]"),
        ({"objective": "reg:expectileerror"}, "objective reg:expectileerror needs expectile_alpha, such as 0.5 or [0.1, 0.9]"),
        ({"eval_metric": "quantile"}, "eval_metric quantile needs quantile_alpha, such as 0.5 or [0.1, 0.9]"),
        ({"objective": "binary:logistic", "base_score": "1.5"}, "base_score has to be from 0 to 1 for objective binary:logistic, not 1.5"),
        ({"objective": "reg:gamma", "base_score": "0"}, "base_score has to be above 0 for objective reg:gamma, not 0"),
        ({"objective": "multi:softprob", "num_class": "3", "base_score": "[0.1,0.2]"}, "base_score has 2 values, but the model has 3 outputs"),
        ({"eval_metric": "auc"}, "eval_metric auc cannot score objective reg:squarederror: it needs classes or relevances (binary:*, multi:*, rank:*, reg:logistic)"),
        ({"_tuning_objective_metric": "validation:merror"}, "eval_metric merror cannot score objective reg:squarederror: it needs objective multi:softmax or multi:softprob"),
        ({"eval_metric": "aft-nloglik"}, "eval_metric aft-nloglik cannot score objective reg:squarederror: it needs objective survival:aft"),
        ({"objective": "reg:quantileerror", "quantile_alpha": "[0.1,0.9]", "eval_metric": "rmse"}, "eval_metric rmse cannot score objective reg:quantileerror: it takes one prediction a row, not 2"),
        ({"early_stopping_rounds": "3", "disable_default_eval_metric": "1"}, "early_stopping_rounds needs a metric: give eval_metric, or leave out disable_default_eval_metric"),
        ({"updater": "prune"}, "updater prune: trees take one of grow_quantile_histmaker, grow_histmaker, grow_colmaker, grow_gpu_hist, grow_gpu_approx, then possibly refresh or prune"),
        ({"process_type": "update"}, "updater is missing: process_type=update takes refresh and prune, and at least one of them"),
        ({"process_type": "update", "updater": "grow_colmaker"}, "updater grow_colmaker: process_type=update takes refresh and prune, and at least one of them"),
        ({"booster": "gblinear", "updater": "grow_colmaker"}, "updater grow_colmaker: booster=gblinear takes one of shotgun, coord_descent"),
        ({"booster": "gblinear", "monotone_constraints": "(1,)"}, "monotone_constraints has no meaning with booster=gblinear"),
        ({"process_type": "update", "updater": "prune", "interaction_constraints": "[[0]]"}, "interaction_constraints has no meaning with process_type=update"),
        ({"tree_method": "exact", "max_depth": "0"}, "tree_method=exact needs a max_depth above 0"),
        ({"updater": "grow_colmaker", "max_depth": "0"}, "tree_method=exact needs a max_depth above 0"),
        ({"tree_method": "exact", "sampling_method": "gradient_based"}, "sampling_method=gradient_based needs tree_method hist or approx, not exact"),
        ({"tree_method": "approx", "multi_strategy": "multi_output_tree"}, "multi_strategy=multi_output_tree needs tree_method=hist, not approx"),
        ({"tree_method": "gpu_hist", "device": "cpu"}, "tree_method=gpu_hist and device=cpu exclude each other"),
        ({"booster": "gblinear", "feature_selector": "greedy"}, "feature_selector=greedy needs updater=coord_descent"),
        ({"label_column": "y", "weight_column": "y"}, "label_column and weight_column both name column 'y'"),
        ({"label_column": "1", "base_margin_column": "2,1"}, "label_column and base_margin_column both name column '1'"),
        ({"csv_weights": "1", "weight_column": "w"},
         "csv_weights takes the weights from column 1, but weight_column is 'w'; give one"),
        ({"group_column": "q"},
         "group_column is for ranking, but the objective is reg:squarederror, and eval_metric has none of map, ndcg, pre"),
        ({"sync_rounds": "5"}, "sync_rounds needs strategy=parameter_server, not strategy=allreduce"),
        ({"strategy": "ensemble", "sync_rounds": "5"}, "sync_rounds needs strategy=parameter_server, not strategy=ensemble"),
        ({"strategy": "ensemble", "booster": "gblinear"},
         "strategy=ensemble averages trees grown with tree_method=hist, so booster=gblinear is not for it; use strategy=allreduce"),
        ({"strategy": "parameter_server", "process_type": "update", "updater": "refresh"},
         "strategy=parameter_server averages trees grown with tree_method=hist, so process_type=update is not for it; use strategy=allreduce"),
        ({"strategy": "ensemble", "tree_method": "approx"},
         "strategy=ensemble averages trees grown with tree_method=hist, so tree_method=approx is not for it; use strategy=allreduce"),
        ({"strategy": "ensemble", "booster": "dart"},
         "strategy=ensemble cannot average trees that booster=dart weighs anew; use booster=gbtree, or strategy=allreduce"),
        ({"strategy": "parameter_server", "reproducible": "true"},
         "reproducible=true, but with strategy=parameter_server the model depends on which rows each rank has; use strategy=allreduce"),
        ({"strategy": "parameter_server", "objective": "rank:ndcg", "lambdarank_unbiased": "true"},
         "lambdarank_unbiased learns position biases over all rounds, but strategy=parameter_server begins anew after each average; use strategy=allreduce"),
        ({"heartbeat_interval": "8"}, "lost_timeout (15 s) has to be at least twice heartbeat_interval (8 s)"),
    ],
)  # fmt: skip
def test_rules(raw: dict[str, object], said: str) -> None:
    """Each rule is enforced with its exact sentence."""
    assert _problem({"num_round": "3"} | raw) == said


@pytest.mark.parametrize(
    "raw",
    [
        {"objective": "binary:logistic", "eval_metric": "auc,aucpr,error@0.3,accuracy,f1,logloss"},
        {
            "objective": "multi:softprob",
            "num_class": "3",
            "eval_metric": "auc,merror,mlogloss,accuracy,f1_macro",
        },
        {"objective": "rank:ndcg", "eval_metric": "ndcg@5,map,auc"},
        {"objective": "reg:squarederror", "eval_metric": "ndcg,aucpr,r2,mse"},
        {"objective": "survival:aft", "eval_metric": "aft-nloglik,interval-regression-accuracy"},
        {"monotone_constraints": "(1,0)", "interaction_constraints": "[[0,1]]"},
        {"tree_method": "auto", "updater": "grow_colmaker,prune"},
        {"early_stopping_rounds": "5"},
        {"group_column": "q", "eval_metric": "rmse,ndcg@3-"},
        {"group_column": "q", "objective": "binary:logistic", "_tuning_objective_metric": "validation:map@5"},
        {"objective": "multi:softprob", "num_class": "3", "base_score": "[0.1,0.2,0.7]"},
        {"booster": "gblinear", "updater": "shotgun", "max_depth": "3"},
        {"lost_timeout": "4", "heartbeat_interval": "2"},
        {"eta": "0.1", "learning_rate": "0.10"},
        {"strategy": "ensemble", "objective": "rank:ndcg", "lambdarank_unbiased": "true"},
        {"strategy": "parameter_server", "sync_rounds": "20", "rate_drop": "0.1", "reproducible": "false"},
    ],
)
def test_what_is_allowed(raw: dict[str, object]) -> None:
    """The rules leave alone what AWS's image or XGBoost can do."""
    assert _parse(**raw).num_round == 3


@pytest.mark.parametrize("rule", parameter_rules.RULES)
def test_rules_are_documented(rule: parameter_rules.Rule) -> None:
    """Every rule has the sentence that the documentation shows."""
    assert str(rule.__doc__) in (ROOT / "docs" / "hyperparameters.md").read_text()


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases(alias: str, name: str) -> None:
    """An alias is the hyperparameter itself, and xgboost_params knows only the latter."""
    text = next(iter(CASES[name].good))
    by_alias = Hyperparameters.parse(
        {"num_round": "3", alias: text} if name != "num_round" else {alias: text}
    )
    assert by_alias == Hyperparameters.parse(_given(name, text))
    assert alias not in by_alias.xgboost_params()


def test_aliases_of_the_contract() -> None:
    """AWS's four aliases, and XGBoost's for rounds, threads and seed."""
    assert ALIASES == {
        "learning_rate": "eta",
        "min_split_loss": "gamma",
        "reg_lambda": "lambda",
        "reg_alpha": "alpha",
        "n_jobs": "nthread",
        "random_state": "seed",
        "n_estimators": "num_round",
        "num_boost_round": "num_round",
    }


def test_sagemakers_own_names() -> None:
    """What the SDK adds is no hyperparameter and no mistake."""
    names = ("sagemaker_program", "sagemaker_submit_directory", "sagemaker_job_name", "sagemaker_region",
             "sagemaker_container_log_level", "sagemaker_anything")  # fmt: skip
    assert _parse(**dict.fromkeys(names, '"x"')) == _parse()


@pytest.mark.parametrize(
    ("raw", "metrics", "stopping"),
    [
        ({}, ("rmse",), "rmse"),
        ({"eval_metric": "mae,rmse"}, ("mae", "rmse"), "rmse"),
        ({"_tuning_objective_metric": "validation:mae"}, ("mae",), "mae"),
        ({"eval_metric": "mae,rmse", "_tuning_objective_metric": "validation:mae"}, ("mae", "rmse"), "mae"),
        ({"eval_metric": "rmse", "_tuning_objective_metric": "validation:mae"}, ("rmse", "mae"), "mae"),
        ({"objective": "binary:logistic"}, ("logloss",), "logloss"),
        ({"objective": "binary:hinge"}, ("error",), "error"),
        ({"objective": "multi:softmax", "num_class": "3"}, ("mlogloss",), "mlogloss"),
        ({"num_class": "3"}, ("mlogloss",), "mlogloss"),
        ({"objective": "reg:tweedie", "tweedie_variance_power": "1.3"}, ("tweedie-nloglik@1.3",), "tweedie-nloglik@1.3"),
        ({"objective": "reg:tweedie", "eval_metric": "tweedie-nloglik"}, ("tweedie-nloglik",), "tweedie-nloglik"),
        ({"objective": "rank:pairwise"}, ("ndcg@32",), "ndcg@32"),
        ({"objective": "rank:map", "lambdarank_num_pair_per_sample": "7"}, ("map@7",), "map@7"),
        ({"objective": "rank:ndcg", "lambdarank_pair_method": "mean"}, ("ndcg",), "ndcg"),
        ({"disable_default_eval_metric": "true"}, (), None),
        ({"disable_default_eval_metric": "true", "eval_metric": "mae"}, ("mae",), "mae"),
    ],
)  # fmt: skip
def test_metrics(raw: dict[str, object], metrics: tuple[str, ...], stopping: str | None) -> None:
    """The user's metrics in their order, the tuning job's last, else the objective's; early stopping follows."""
    parsed = _parse(**raw)
    assert parsed.eval_metrics == metrics
    assert parsed.early_stopping_metric == stopping


def test_direction() -> None:
    """Early stopping knows which way a metric gets better, cut-offs and all."""
    assert _parse().maximize("ndcg@5")
    assert not _parse().maximize("rmse")


@pytest.mark.parametrize(
    ("raw", "params"),
    [
        ({}, {"objective": "reg:squarederror", "tree_method": "hist"}),
        ({"tree_method": "auto"}, {"objective": "reg:squarederror", "tree_method": "hist"}),
        ({"tree_method": "gpu_hist"}, {"objective": "reg:squarederror", "tree_method": "hist", "device": "cuda"}),
        ({"tree_method": "gpu_hist", "device": "cuda:1"},
         {"objective": "reg:squarederror", "tree_method": "hist", "device": "cuda:1"}),
        ({"learning_rate": "0.1", "reg_lambda": "2", "max_depth": "4", "one_drop": "1"},
         {"objective": "reg:squarederror", "tree_method": "hist", "eta": 0.1, "lambda": 2, "max_depth": 4}),
        ({"booster": "dart", "one_drop": "1"},
         {"objective": "reg:squarederror", "tree_method": "hist", "booster": "dart", "one_drop": True}),
        ({"updater": "grow_colmaker,sync,prune", "tree_method": "hist"},
         {"objective": "reg:squarederror", "updater": "grow_colmaker,prune"}),
        ({"updater": "sync"}, {"objective": "reg:squarederror", "tree_method": "hist"}),
        ({"booster": "gblinear", "max_depth": "3", "rate_drop": "0.5", "updater": "shotgun", "eta": "0.5"},
         {"objective": "reg:squarederror", "booster": "gblinear", "updater": "shotgun", "eta": 0.5}),
        ({"top_k": "3", "huber_slope": "2", "predictor": "auto", "csv_weights": "1", "eval_metric": "mae",
          "reproducible": "false", "early_stopping_rounds": "3", "save_model_on_termination": "true"},
         {"objective": "reg:squarederror", "tree_method": "hist"}),
        ({"huber_slope": "2", "eval_metric": "mphe"},
         {"objective": "reg:squarederror", "tree_method": "hist", "huber_slope": 2}),
        ({"num_class": "3"}, {"objective": "multi:softmax", "num_class": 3, "tree_method": "hist"}),
        ({"objective": "reg:linear", "base_score": "[0.5]"},
         {"objective": "reg:squarederror", "tree_method": "hist", "base_score": 0.5}),
        ({"objective": "multi:softprob", "num_class": "3", "base_score": "0.5"},
         {"objective": "multi:softprob", "num_class": 3, "tree_method": "hist", "base_score": [0.5, 0.5, 0.5]}),
        ({"objective": "multi:softprob", "num_class": "2", "base_score": "[0.5, 0.25]"},
         {"objective": "multi:softprob", "num_class": 2, "tree_method": "hist", "base_score": [0.5, 0.25]}),
        ({"objective": "reg:quantileerror", "quantile_alpha": "[0.2, 0.8]", "base_score": "3"},
         {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8], "tree_method": "hist", "base_score": [3, 3]}),
        ({"process_type": "update", "updater": "refresh", "tree_method": "hist"},
         {"objective": "reg:squarederror", "process_type": "update", "updater": "refresh"}),
    ],
)  # fmt: skip
def test_xgboost_params(raw: dict[str, object], params: dict[str, object]) -> None:
    """XGBoost is told what was given and used, under its own names, the objective and the tree method."""
    assert _parse(**raw).xgboost_params() == params


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({}, None),
        ({"tree_method": "gpu_hist"}, None),
        ({"booster": "dart"}, None),
        ({"updater": "grow_quantile_histmaker,prune"}, None),
        ({"updater": "grow_quantile_histmaker,refresh"}, "updater=grow_quantile_histmaker,refresh"),
        ({"updater": "grow_colmaker"}, "updater=grow_colmaker"),
        ({"tree_method": "exact"}, "tree_method=exact"),
        ({"tree_method": "approx"}, "tree_method=approx"),
        ({"booster": "gblinear"}, "booster=gblinear"),
        ({"process_type": "update", "updater": "prune"}, "process_type=update"),
    ],
)
def test_one_host_only(raw: dict[str, object], reason: str | None) -> None:
    """What needs all rows in one plain matrix is named by the setting that asks for it."""
    assert _parse(**raw).one_host_only == reason


@pytest.mark.parametrize(
    ("raw", "notes"),
    [
        ({"eta": "0.1", "booster": "dart", "rate_drop": "0.1"}, []),
        ({"predictor": "auto"}, ["Hyperparameter predictor has no effect: XGBoost now decides by `device`"]),
        ({"sketch_eps": "0.1"}, ["Hyperparameter sketch_eps has no effect: `max_bin` took its place"]),
        ({"save_model_on_termination": "true"}, []),
        ({"label_upper_column": "1"},
         ["Hyperparameter label_upper_column has no effect with objective=reg:squarederror"]),
        ({"tweedie_variance_power": "1.5"},
         ["Hyperparameter tweedie_variance_power has no effect with objective=reg:squarederror"]),
        ({"ndcg_exp_gain": "false", "eval_metric": "mape"},
         ["Hyperparameter ndcg_exp_gain has no effect with objective=reg:squarederror"]),
        ({"max_depth": "3", "booster": "gblinear"}, ["Hyperparameter max_depth has no effect with booster=gblinear"]),
        ({"top_k": "3"}, ["Hyperparameter top_k has no effect with booster=gbtree"]),
        ({"updater": "grow_histmaker,sync", "tree_method": "hist"},
         ["Updater sync has no effect: all hosts grow the same trees",
          "Hyperparameter tree_method has no effect with updater=grow_histmaker"]),
        ({"rate_drop": "0.1", "one_drop": "1"},
         ["No trees are dropped out: rate_drop, one_drop has an effect with booster=dart only"]),
    ],
)  # fmt: skip
def test_notes(raw: dict[str, object], notes: list[str]) -> None:
    """Whatever is accepted without its usual effect is told in one line each, and nothing else is."""
    assert list(_parse(**raw).notes) == notes


@pytest.mark.parametrize("name", Legacy.model_fields)
def test_legacy(name: str) -> None:
    """A hyperparameter of older days costs a log line, and never reaches XGBoost."""
    parsed = Hyperparameters.parse(_given(name, next(iter(CASES[name].good))))
    assert [note for note in parsed.notes if f" {name} has no effect" in note]
    assert name not in parsed.xgboost_params()


def test_constraints_reach_xgboost() -> None:
    """Named constraints become positions once the columns are known; without any there is nothing to add."""
    parsed = _parse(monotone_constraints='{"b": -1}', interaction_constraints='[["a", 1]]')
    assert parsed.constraint_params(2, ["a", "b"]) == {
        "monotone_constraints": "(0,-1)",
        "interaction_constraints": "[[0, 1]]",
    }
    assert _parse().constraint_params(2, ["a", "b"]) == {}
    with pytest.raises(UserError, match="no such column"):
        parsed.constraint_params(1, ["x"])


def test_frozen() -> None:
    """Parsed hyperparameters do not change."""
    with pytest.raises(ValidationError, match="frozen"):
        _parse().num_round = 4


def test_json_values() -> None:
    """JSON numbers, booleans and nulls are tolerated beside strings."""
    parsed = Hyperparameters.parse(
        {"num_round": 3, "eta": 0.5, "one_drop": True, "max_depth": 4, "gamma": None}
    )
    assert (parsed.eta, parsed.one_drop, parsed.max_depth, parsed.gamma) == (0.5, True, 4, None)


def test_random_numbers_keep_to_their_range() -> None:
    """Numbers drawn anew are taken exactly when they lie within the limits of the JSON schema."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    rng = np.random.default_rng(seed)
    for name, schema in Hyperparameters.model_json_schema()["properties"].items():
        kind = next((one for one in schema.get("anyOf", [schema]) if one.get("type") == "number"), None)
        if kind is None or "allowed" in schema:
            continue
        context = CASES[name].context | ({"heartbeat_interval": "1e-9"} if name == "lost_timeout" else {})
        context |= {"lost_timeout": "1e9"} if name == "heartbeat_interval" else {}
        for value in rng.normal(scale=2, size=20):
            inside = kind.get("minimum", -math.inf) <= value <= kind.get("maximum", math.inf) and kind.get(
                "exclusiveMinimum", -math.inf
            ) < value < kind.get("exclusiveMaximum", math.inf)
            raw = {"num_round": "3"} | context | {name: repr(float(value))}
            if inside:
                assert getattr(Hyperparameters.parse(raw), FIELDS[name]) == value
            else:
                assert f"Hyperparameter {name}: value" in _problem(dict(raw))


def _matrix(objective: str) -> xgb.DMatrix:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 40).astype(np.float32) + (objective == "reg:gamma")
    qid = np.arange(40) // 10 if objective.startswith("rank:") else None
    data = xgb.DMatrix(rng.random((40, 4)), label=label, qid=qid)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", label)
        data.set_float_info("label_upper_bound", label + 1)
    return data


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, text in GOOD if name in ENGINE_NAMES and text.strip('"') != "update"],
)
def test_xgboost_takes_good_values(name: str, text: str) -> None:
    """XGBoost trains with every valid value, uses every parameter that it is told, and has nothing to add."""
    parsed = Hyperparameters.parse(_given(name, text))
    params: dict[str, Any] = parsed.xgboost_params() | parsed.constraint_params(4, ["a", "b", "c", "d"])
    params = {"verbosity": 1} | params | {"nthread": 1}
    if name == "verbosity":
        params["verbosity"] = min(1, params["verbosity"])  # more than warnings goes to stderr
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        xgb.train(params, _matrix(parsed.objective), 2)
    said = " ".join(str(one.message) for one in caught)
    assert "not used" not in said
    assert not [one for one in said.split("WARNING: ")[1:] if not _expected(one)]


def _expected(warning: str) -> bool:
    """What XGBoost says of things that the user asked for."""
    return any(
        text in warning
        for text in ("is deprecated", "couldn't find any available GPU", "specified the `updater`")
    )


def test_every_parameter_of_xgboost_is_known() -> None:
    """Each parameter in the configuration of each booster and objective is a hyperparameter, or left out on purpose."""
    ours = {
        "boost_from_average",
        "num_feature",
        "num_target",
        "num_trees",
        "rng_state",
        "updater_seq",
    }  # set by XGBoost
    configs = [
        ({"booster": booster, "objective": objective, "num_class": 0}, _matrix(objective))
        for booster, objective in [
            ("gbtree", "reg:squarederror"), ("gbtree", "reg:tweedie"), ("gbtree", "reg:pseudohubererror"),
            ("gbtree", "reg:quantileerror"), ("gbtree", "reg:expectileerror"), ("gbtree", "survival:aft"),
            ("gbtree", "rank:ndcg"), ("gbtree", "count:poisson"), ("gblinear", "reg:squarederror"),
        ]
    ]  # fmt: skip
    found: set[str] = set()
    for params, data in configs:
        levels = {"quantile_alpha": 0.5} if "quantile" in str(params["objective"]) else {}
        levels |= {"expectile_alpha": 0.5} if "expectile" in str(params["objective"]) else {}
        booster = xgb.train(params | levels | {"verbosity": 0}, data, 1)
        found |= _leaves(json.loads(booster.save_config())["learner"])
    assert len(found) > 50
    assert found - FIELDS.keys() - ALIASES.keys() == ours


def _leaves(config: Any) -> set[str]:
    """Names of all parameters in XGBoost's configuration: keys of blocks whose name ends in ``param``."""
    leaves: set[str] = set()
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if isinstance(value, dict) and str(key).endswith("_param"):
            leaves |= value.keys()
        elif isinstance(value, dict | list):
            leaves |= _leaves(value)
    return leaves


# Defaults that are not in XGBoost's configuration as such: set by treering, by the data, or kept as "not set".
ELSEWHERE = {"objective", "base_score", "tree_method", "updater", "nthread", "validate_parameters",
             "lambdarank_num_pair_per_sample"}  # fmt: skip


def test_documented_defaults_are_xgboosts() -> None:
    """The default that the documentation states is the one in XGBoost's configuration."""
    stated: dict[str, str] = {}
    for objective in ("reg:squarederror", "reg:tweedie", "reg:pseudohubererror", "survival:aft", "rank:ndcg"):
        booster = xgb.train({"objective": objective, "verbosity": 0}, _matrix(objective), 1)
        stated |= _values(json.loads(booster.save_config())["learner"])
    checked = 0
    for name in ENGINE_NAMES & stated.keys():
        documented = extra(name).get("default_text", "").split(" (")[0]
        documented = {"true": "1", "false": "0"}.get(documented, documented)
        if name in ELSEWHERE or documented in {"", "none", "no limit"}:
            continue
        checked += 1
        try:
            assert float(stated[name]) == pytest.approx(float(documented)), name
        except ValueError:
            assert stated[name] == documented, name
    assert checked > 30


def _values(config: Any) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if isinstance(value, dict) and str(key).endswith("_param"):
            values |= value
        elif isinstance(value, dict | list):
            values |= _values(value)
    return values


def test_ring_settings_agree() -> None:
    """The supervisor reads the ring's settings by itself: same names, same defaults."""
    for field in dataclasses.fields(Settings):
        assert field.default == Hyperparameters.model_fields[field.name].default, field.name


def test_schema_describes_everything() -> None:
    """The JSON schema has every hyperparameter under the user's name, with its meaning and its values."""
    schema = json.loads(parameter_docs.json_schema())
    assert schema["properties"].keys() == FIELDS.keys()
    assert schema["required"] == ["num_round"]
    for name, entry in schema["properties"].items():
        assert entry["description"].endswith("."), name
        assert allowed_values(name), name


def test_docs_are_up_to_date() -> None:
    """docs/hyperparameters.md is what ``python -m treering.parameter_docs`` writes."""
    run = subprocess.run(
        [sys.executable, "-m", "treering.parameter_docs"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "hyperparameters.md").read_text() == run.stdout
    assert all(f"`{name}`" in run.stdout for name in (*FIELDS, *ALIASES, *NOT_YET))


def test_only_known_names_are_marked() -> None:
    """The lists of what is not there yet do not outlive their hyperparameters."""
    assert not NOT_YET.keys() & FIELDS.keys()


def test_imports_nothing_heavy() -> None:
    """Hyperparameters can be checked before XGBoost, numpy, Arrow or MPI are loaded."""
    code = (
        "import sys, treering.hyperparameters as h; h.Hyperparameters.parse({'num_round': '1'});"
        "print(sorted({'xgboost', 'numpy', 'pyarrow', 'mpi4py', 'scipy'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
