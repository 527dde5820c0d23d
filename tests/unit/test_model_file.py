"""`treering.model_file`: models taken apart and put together are what XGBoost itself would have made."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from treering import model_file
from treering.errors import UserError


def _trained(random: np.random.Generator, **parameters: object) -> tuple[xgb.Booster, xgb.DMatrix]:
    features = random.integers(0, 20, (300, 4)).astype(np.float32)
    label = (features[:, 0] + features[:, 1] > random.integers(0, 40, 300)).astype(np.float32)
    matrix = xgb.DMatrix(features, label)
    given = {"objective": "binary:logistic", "max_depth": 3, "verbosity": 0, **parameters}
    return xgb.train(given, matrix, 3), matrix


def _same(one: xgb.Booster, other: xgb.Booster) -> bool:
    return bytes(one.save_raw()) == bytes(other.save_raw())


@pytest.mark.parametrize(
    "parameters",
    [{}, {"num_parallel_tree": 2}, {"objective": "multi:softprob", "num_class": 2}, {"booster": "gblinear"}],
)
def test_taking_apart_loses_nothing(random: np.random.Generator, parameters: dict[str, object]) -> None:
    """A document put together again is the model, byte for byte, attributes included."""
    booster, _ = _trained(random, **parameters)
    booster.set_attr(note="kept")
    again = model_file.put_together(model_file.take_apart(booster))
    assert _same(again, booster)
    assert again.attr("note") == "kept"


@pytest.mark.parametrize(
    "parameters", [{}, {"num_parallel_tree": 2}, {"objective": "multi:softprob", "num_class": 2}]
)
def test_appended_rounds_are_xgboosts_own_continuation(
    random: np.random.Generator, parameters: dict[str, object]
) -> None:
    """Trees trained on a model's margins and appended to it make the bytes that ``xgb_model=`` makes."""
    first, matrix = _trained(random, **parameters)
    given = {"objective": "binary:logistic", "max_depth": 3, "verbosity": 0, **parameters}
    label = matrix.get_label()
    features = matrix.get_data().toarray().astype(np.float32)
    on_margins = xgb.DMatrix(features, label, base_margin=first.predict(matrix, output_margin=True))
    own = xgb.train(given, xgb.DMatrix(features, label), 4, xgb_model=first)
    second = xgb.train(given | {"base_score": 0.5}, on_margins, 4)
    whole = model_file.append(first, second)
    assert _same(whole, own)
    assert whole.num_boosted_rounds() == 7


def test_forests_of_two_sizes_do_not_mix(random: np.random.Generator) -> None:
    """XGBoost could not tell rounds apart in such a model."""
    first, _ = _trained(random)
    second, _ = _trained(random, num_parallel_tree=2)
    with pytest.raises(UserError, match="num_parallel_tree is 2, but the model to train on has 1"):
        model_file.append(first, second)


def test_dropout_cannot_be_appended_to(random: np.random.Generator) -> None:
    """Dropout would have weighed the first trees anew."""
    first, _ = _trained(random)
    second, _ = _trained(random, rate_drop=0.5, one_drop=1)
    with pytest.raises(UserError, match="dropout"):
        model_file.append(first, second)


@pytest.mark.parametrize("content", [b"", b"binf\x00\x01", b"\x80\x04pickle", b'{"learner": 1}', b"{"])
def test_what_is_no_model_is_refused_by_its_name(content: bytes) -> None:
    """XGBoost's own words name neither file nor format."""
    with pytest.raises(UserError, match=r"^old\.bin is no model that XGBoost .* can load"):
        model_file.read(content, "old.bin")


def test_a_models_kind(random: np.random.Generator) -> None:
    """What has to be equal when training goes on."""
    booster, _ = _trained(random, objective="multi:softprob", num_class=2)
    assert model_file.kind(booster) == {
        "objective": "multi:softprob",
        "booster": "gbtree",
        "num_class": "2",
        "outputs": "2",
        "num_parallel_tree": "1",
    }


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob", "multi_output_tree"])
def test_weights_of_dropout_move_into_the_leaves(random: np.random.Generator, objective: str) -> None:
    """Predictions are the same bit for bit, and no weight is left that an older XGBoost would overlook."""
    parameters: dict[str, object] = {"rate_drop": 0.5, "one_drop": 1, "objective": objective}
    if objective != "binary:logistic":
        parameters |= {"objective": "multi:softprob", "num_class": 2}
    if objective == "multi_output_tree":
        parameters["multi_strategy"] = objective
    booster, matrix = _trained(random, **parameters)
    weighed = model_file.with_weighed_leaves(booster)
    trees = model_file.take_apart(weighed)["learner"]["gradient_booster"]["model"]
    assert "weight_drop" not in trees or set(trees["weight_drop"]) == {1.0}
    ours, own = (each.predict(matrix, output_margin=True) for each in (weighed, booster))
    np.testing.assert_array_equal(ours, own)
    assert _same(model_file.with_weighed_leaves(weighed), weighed)


@pytest.mark.parametrize("parameters", [{}, {"booster": "gblinear"}])
def test_without_dropout_nothing_is_weighed(
    random: np.random.Generator, parameters: dict[str, object]
) -> None:
    """The model itself comes back."""
    booster, _ = _trained(random, **parameters)
    assert model_file.with_weighed_leaves(booster) is booster
