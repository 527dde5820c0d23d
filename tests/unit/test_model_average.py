"""`treering.model_average`: one plain model is the weighted average of several, in any number of rounds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treering import model_file
from treering.errors import UserError
from treering.model_average import average

_ROUNDS = 4
_KINDS: dict[str, dict[str, Any]] = {
    "squared error": {"objective": "reg:squarederror"},
    "logistic": {"objective": "binary:logistic"},
    "counts": {"objective": "count:poisson"},
    "classes": {"objective": "multi:softprob", "num_class": 3},
    "vector leaves": {"objective": "multi:softprob", "num_class": 3, "multi_strategy": "multi_output_tree"},
    "forests": {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5},
    "forests of classes": {
        "objective": "multi:softprob",
        "num_class": 3,
        "num_parallel_tree": 2,
        "subsample": 0.5,
    },
    "quantiles": {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
    "pruned": {"objective": "reg:squarederror", "updater": "grow_quantile_histmaker,prune", "gamma": 5},
    "ranking": {"objective": "rank:pairwise"},
}


def _rows(random: np.random.Generator, parameters: dict[str, Any]) -> xgb.DMatrix:
    features = random.integers(0, 20, (300, 4)).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    features[:, 3] = random.integers(0, 6, 300)
    codes = np.nan_to_num(features[:, 0] + features[:, 1]) + random.integers(0, 20, 300)
    label = np.digitize(codes, [15, 30]) if "num_class" in parameters else codes > 20
    kinds = ["q", "q", "q", "c"]
    matrix = xgb.DMatrix(features, label.astype(float), feature_types=kinds, enable_categorical=True)
    if parameters["objective"] == "rank:pairwise":
        matrix.set_group(np.full(30, 10))
    return matrix


def _train(random: np.random.Generator, rounds: int = _ROUNDS, **parameters: Any) -> xgb.Booster:
    given = {"max_depth": 3, "verbosity": 0, "seed": int(random.integers(1000)), **parameters}
    return xgb.train(given, _rows(random, given), rounds)


def _boosters(random: np.random.Generator, number: int = 3, **parameters: Any) -> list[xgb.Booster]:
    """Models of other rows each, so their base scores differ."""
    return [_train(random, **parameters) for _ in range(number)]


@pytest.mark.parametrize("kind", _KINDS)
def test_margins_are_the_weighted_average_after_any_round(random: np.random.Generator, kind: str) -> None:
    """To 1e-6 of the margins, whatever the boosters' base scores."""
    boosters = _boosters(random, **_KINDS[kind])
    weights = random.integers(1, 1000, 3).tolist()
    merged = average(boosters, weights)
    assert merged.num_boosted_rounds() == _ROUNDS
    matrix = _rows(random, _KINDS[kind])
    for rounds in range(1, _ROUNDS + 1):
        parts = [each[:rounds].predict(matrix, output_margin=True).astype(np.float64) for each in boosters]
        expected = np.average(parts, axis=0, weights=weights)
        for found in (
            merged[:rounds].predict(matrix, output_margin=True),
            merged.predict(matrix, output_margin=True, iteration_range=(0, rounds)),
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", _KINDS)
def test_plain_xgboost_loads_what_is_saved(random: np.random.Generator, kind: str) -> None:
    """The model survives its file, and transforms margins as its objective says."""
    merged = average(_boosters(random, **_KINDS[kind]), [3, 1, 2])
    again = xgb.Booster(model_file=merged.save_raw("ubj"))
    matrix = _rows(random, _KINDS[kind])
    np.testing.assert_array_equal(again.predict(matrix), merged.predict(matrix))
    assert bytes(again.save_raw()) == bytes(merged.save_raw())
    config = json.loads(again.save_config())["learner"]
    assert config["objective"]["name"] == _KINDS[kind]["objective"]
    trees = config["gradient_booster"]["gbtree_model_param"]
    assert int(trees["num_parallel_tree"]) == 3 * int(str(_KINDS[kind].get("num_parallel_tree", 1)))


def test_weight_zero_counts_nothing(random: np.random.Generator) -> None:
    """Not even where the booster is of another kind, as of a rank without rows."""
    boosters = _boosters(random, objective="binary:logistic")
    other = _train(random, objective="reg:squarederror")
    mixed = average([other, *boosters, other], [0, 3, 1, 2, 0])
    assert bytes(mixed.save_raw()) == bytes(average(boosters, [3, 1, 2]).save_raw())


def test_one_booster_is_its_own_average(random: np.random.Generator) -> None:
    """Byte for byte, attributes included: a share of 1 changes no leaf."""
    for parameters in _KINDS.values():
        booster = _train(random, **parameters)
        booster.set_attr(note="kept")
        assert bytes(average([booster], [17.5]).save_raw()) == bytes(booster.save_raw())


def test_a_leaf_that_says_nothing_keeps_its_sign() -> None:
    """Gradients that cancel out make a leaf of -0.0, which stays that."""
    matrix = xgb.DMatrix(np.zeros((4, 1), np.float32), np.array([0, 1, 0, 1]))
    booster = xgb.train({"base_score": 0.5, "verbosity": 0}, matrix, 1)
    leaves = model_file.trees(model_file.take_apart(booster))["trees"][0]["base_weights"]
    assert np.signbit(leaves).all()
    assert bytes(average([booster], [1]).save_raw()) == bytes(booster.save_raw())


def test_shap_values_add_up(random: np.random.Generator) -> None:
    """Contributions of features sum to the margin, as in any model."""
    merged = average(_boosters(random, objective="binary:logistic"), [3, 1, 2])
    matrix = _rows(random, {"objective": "binary:logistic"})
    contributions = merged.predict(matrix, pred_contribs=True)
    margin = merged.predict(matrix, output_margin=True)
    np.testing.assert_allclose(contributions.sum(axis=1), margin, rtol=1e-4, atol=1e-4)


def test_averaged_parts_follow_each_other(random: np.random.Generator) -> None:
    """Rounds that were averaged in two steps predict what both parts predict together."""
    boosters = _boosters(random, objective="multi:softprob", num_class=3, base_score=0.5)
    parts = [average([each[part] for each in boosters], [3, 1, 2]) for part in (slice(1), slice(1, None))]
    whole = model_file.concatenate(parts)
    assert bytes(whole.save_raw()) == bytes(average(boosters, [3, 1, 2]).save_raw())


@pytest.mark.parametrize(
    ("parameters", "rounds", "said"),
    [
        (
            {"objective": "reg:squarederror"},
            4,
            "model 2 has objective reg:squarederror, but model 1 has binary:",
        ),
        ({"num_parallel_tree": 2}, 4, "model 2 has num_parallel_tree 2, but model 1 has 1; train all on the"),
        ({}, 3, "model 2 has rounds 3, but model 1 has 4"),
        ({"scale_pos_weight": 2}, 4, "model 2 has parameters of the objective"),
        ({"rate_drop": 0.5}, 4, "model 2 has dropout; train trees without dropout"),
        ({}, 0, "model 2 has no rounds; train one at least"),
    ],
)
def test_boosters_of_several_kinds_are_refused(
    random: np.random.Generator, parameters: dict[str, Any], rounds: int, said: str
) -> None:
    """With which, and what is different."""
    logistic = {"objective": "binary:logistic"}
    boosters = [*_boosters(random, 2, **logistic), _train(random, rounds, **(logistic | parameters))]
    with pytest.raises(UserError, match=f"^models cannot be averaged: {said}"):
        average(boosters, [0, 1, 1])


@pytest.mark.filterwarnings("ignore:.*gblinear:UserWarning")
def test_linear_models_are_refused(random: np.random.Generator) -> None:
    """They have no trees."""
    matrix = xgb.DMatrix(random.standard_normal((50, 3)), random.standard_normal(50))
    linear = xgb.train({"booster": "gblinear"}, matrix, 1)
    with pytest.raises(UserError, match="model 0 has booster=gblinear; train trees without"):
        average([linear, linear], [1, 1])


def test_boosters_of_other_columns_are_refused(random: np.random.Generator) -> None:
    """Their number, or their names."""
    features, label = random.standard_normal((50, 3)), random.standard_normal(50)
    matrices = [xgb.DMatrix(features[:, :count], label) for count in (3, 2, 3)]
    matrices[2].feature_names = ["a", "b", "c"]
    first, narrow, named = (xgb.train({}, matrix, 1) for matrix in matrices)
    with pytest.raises(UserError, match="model 1 has num_feature 2, but model 0 has 3"):
        average([first, narrow], [1, 1])
    with pytest.raises(UserError, match="model 1 has feature_names"):
        average([first, named], [1, 1])


def test_no_weight_at_all_is_refused(random: np.random.Generator) -> None:
    """There is no average of nothing."""
    with pytest.raises(UserError, match="all models to be averaged have weight 0"):
        average(_boosters(random, 2, objective="reg:squarederror"), [0, 0])
