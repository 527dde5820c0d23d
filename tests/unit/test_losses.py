"""`treering.losses`: the same bits for a value wherever it stands, and XGBoost's own base scores."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numexpr
import numpy as np
import pytest
import xgboost as xgb

from treering import algorithm, losses
from treering.errors import UserError
from treering.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]

_NAMES = sorted({*losses.FORMULAS, *losses.SOFTMAX})


def _labels(random: np.random.Generator, objective: str, rows: int) -> Floats:
    """Labels in the objective's domain; of classes only 0 to 3."""
    match objective:
        case "binary:logistic" | "binary:logitraw" | "binary:hinge":
            labels: NDArray[Any] = random.random(rows) < random.uniform(0.2, 0.8)
        case "reg:logistic":
            labels = random.random(rows)
        case "count:poisson":
            labels = random.poisson(2, rows)
        case "reg:gamma" | "reg:tweedie" | "reg:squaredlogerror":
            labels = random.exponential(2, rows) + 0.01
        case "multi:softmax" | "multi:softprob":
            labels = random.integers(0, 4, rows)
        case _:
            labels = random.standard_normal(rows) + 3
    return np.asarray(labels, np.float32)


def _derive(loss: losses.Loss, margin: Floats, label: Floats) -> Floats:
    """Both derivatives, shape (2, outputs, rows)."""
    derivatives = np.empty((2, *margin.shape), np.float32)
    loss.derive(margin, label, *derivatives)
    return derivatives


@pytest.mark.parametrize("objective", _NAMES)
def test_bits_do_not_depend_on_place_or_threads(random: np.random.Generator, objective: str) -> None:
    """Each of a few rows gives the same bits at any place of any array, computed by any threads."""
    classes = 11  # enough for numpy to sum in another order where it might
    loss = losses.make(objective, {"num_class": classes})
    margin = (3 * random.standard_normal((loss.outputs, 40))).astype(np.float32)
    label = _labels(random, objective, 40)
    alone = np.concatenate([_derive(loss, margin[:, i : i + 1], label[i : i + 1]) for i in range(40)], axis=2)
    threads = numexpr.get_num_threads()
    try:
        for count in (1, 2, 3):
            numexpr.set_num_threads(count)
            for rows in (2, 3, 17, 1000, 4097, int(random.integers(20_000, 150_000))):
                chosen = random.integers(0, 40, rows)
                found = _derive(loss, margin[:, chosen], label[chosen])
                np.testing.assert_array_equal(found.view(np.uint32), alone[..., chosen].view(np.uint32))
    finally:
        numexpr.set_num_threads(threads)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("objective", "parameters"),
    [
        *((name, {"num_class": 5} if name in losses.SOFTMAX else {}) for name in _NAMES),
        ("reg:squarederror", {"scale_pos_weight": 3.0}),
        ("reg:logistic", {"scale_pos_weight": 3.0}),
        ("binary:logistic", {"scale_pos_weight": 0.2}),
        ("binary:logitraw", {"scale_pos_weight": 3.0}),
        ("reg:pseudohubererror", {"huber_slope": 2.5}),
    ],
)
def test_base_score_is_what_xgboost_estimates(
    random: np.random.Generator, objective: str, parameters: Mapping[str, Any], *, weighted: bool
) -> None:
    """XGBoost, left to itself with the same labels and weights, comes to the same base score."""
    rows = int(random.integers(50, 2000))
    label = _labels(random, objective, rows)
    if "scale_pos_weight" in parameters:
        label[:20] = 1
    weight = random.exponential(1, rows).astype(np.float32) if weighted else np.ones(rows, np.float32)
    data = xgb.QuantileDMatrix(np.zeros((rows, 1), np.float32), label=label, weight=weight)
    booster = xgb.train({"objective": objective, **parameters}, data, 1)
    model = json.loads(booster.save_raw("json"))
    expected = json.loads(model["learner"]["learner_model_param"]["base_score"])

    loss = losses.make(objective, parameters)
    scaled = weight * np.where(label == 1, np.float32(loss.positive_weight), np.float32(1))
    found = loss.base_score(label, scaled, math.fsum)
    np.testing.assert_allclose(np.atleast_1d(found), expected, rtol=2e-5, atol=2e-6)
    assert np.array_equal(found, np.asarray(found, np.float32))


@pytest.mark.parametrize("objective", ["count:poisson", "reg:tweedie"])
def test_labels_that_are_all_zero(objective: str) -> None:
    """XGBoost would start from minus infinity and learn nothing; here a sentence says so."""
    label, weight = np.zeros((1, 5), np.float32)[0], np.ones(5, np.float32)
    with pytest.raises(UserError, match=rf"{objective} cannot start from labels that are all 0"):
        losses.make(objective, {}).base_score(label, weight, math.fsum)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_only(label: float) -> None:
    """A single class is its own base score, which XGBoost keeps away from an infinite margin."""
    labels = np.full(5, label, np.float32)
    assert losses.make("binary:logistic", {}).base_score(labels, np.ones(5, np.float32), math.fsum) == label
    data = xgb.QuantileDMatrix(np.zeros((5, 1), np.float32), label=labels)
    booster = xgb.train({"objective": "binary:logistic", "base_score": label}, data, 0)
    assert abs(booster.predict(data, output_margin=True)[0]) == pytest.approx(13.8, abs=0.1)


def test_unknown_objective() -> None:
    """There is no loss for what XGBoost alone can compute."""
    with pytest.raises(KeyError):
        losses.make("rank:ndcg", {})


def test_the_fingerprint_is_the_machine_s_own_and_stable() -> None:
    """The same processor says the same twice, whatever number of threads computes it."""
    before = numexpr.set_num_threads(1)
    try:
        alone = losses.fingerprint()
        numexpr.set_num_threads(2)
        assert losses.fingerprint() == alone
    finally:
        numexpr.set_num_threads(before)
    assert re.fullmatch("[0-9a-f]{16}", alone)


def test_hosts_compare_their_fingerprints() -> None:
    """The digest is among what hosts must have alike, unless the job asks for no reproducibility."""
    strict = Hyperparameters.parse({"num_round": "1"})
    assert losses.fingerprint() in algorithm.settings(strict).values()
    loose = Hyperparameters.parse({"num_round": "1", "reproducible": "false"})
    assert losses.fingerprint() not in algorithm.settings(loose).values()
