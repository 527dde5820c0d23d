"""`treering.objectives`: XGBoost's own gradients, but on a grid and alike for every layout of the rows."""

from __future__ import annotations

import functools
import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost as xgb

from treering import objectives
from treering.errors import UserError
from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from unit.conftest import Ranks

    type Floats = NDArray[np.float32]
    type Parameters = Mapping[str, Any]

_CLASSES = 4
_CASES: list[tuple[str, dict[str, float]]] = [
    ("reg:squarederror", {}),
    ("reg:squarederror", {"scale_pos_weight": 2.5}),
    ("reg:squaredlogerror", {}),
    ("reg:pseudohubererror", {}),
    ("reg:pseudohubererror", {"huber_slope": 2.5}),
    ("reg:logistic", {}),
    ("reg:logistic", {"scale_pos_weight": 2.5}),
    ("binary:logistic", {}),
    ("binary:logistic", {"scale_pos_weight": 2.5}),
    ("binary:logitraw", {}),
    ("binary:logitraw", {"scale_pos_weight": 2.5}),
    ("binary:hinge", {}),
    ("count:poisson", {}),
    ("count:poisson", {"max_delta_step": 1.5}),
    ("reg:gamma", {}),
    ("reg:tweedie", {}),
    ("reg:tweedie", {"tweedie_variance_power": 1.2}),
    ("multi:softmax", {"num_class": _CLASSES}),
    ("multi:softprob", {"num_class": _CLASSES}),
]


def _labels(objective: str, signal: NDArray[np.float64], random: np.random.Generator) -> Floats:
    """Labels in the objective's domain that follow `signal`, which is around 0."""
    noisy = signal + 0.5 * random.standard_normal(signal.size)
    match objective:
        case "binary:logistic" | "binary:logitraw" | "binary:hinge":
            labels: NDArray[Any] = noisy > 0
        case "reg:logistic":
            labels = np.round(1 / (1 + np.exp(-noisy)), 1)  # some of them exactly 0 or 1
        case "count:poisson":
            labels = random.poisson(np.exp(signal / 2))
        case "reg:tweedie":
            labels = np.where(noisy < 0, 0, noisy)
        case "reg:gamma" | "reg:squaredlogerror":
            labels = np.exp(noisy / 2)
        case "multi:softmax" | "multi:softprob":
            labels = np.digitize(noisy, [-1, 0, 1])
        case _:
            labels = np.round(noisy)  # ones among them, for scale_pos_weight
    return np.asarray(labels, np.float32)


def _margin(objective: str, rows: int, random: np.random.Generator) -> Floats:
    """Random margins in XGBoost's shape."""
    shape = (rows, _CLASSES) if objective.startswith("multi:") else (rows,)
    return random.standard_normal(shape, np.float32)


def _xgboost_derivatives(
    objective: str, parameters: Parameters, margin: Floats, label: np.float32, weight: np.float32
) -> tuple[list[float], list[float]]:
    """Gradients and hessians of one row, told from the only leaf of the tree that XGBoost grows for it."""
    data = xgb.QuantileDMatrix(
        np.zeros((1, 1), np.float32), label=[label], weight=[weight], base_margin=margin.reshape(1, -1)
    )
    penalty = 1000.0
    model = {"objective": objective, "reg_lambda": penalty, "eta": 1, "min_child_weight": 0, **parameters}
    trained = json.loads(xgb.train(model, data, 1).save_raw("json"))
    trees = trained["learner"]["gradient_booster"]["model"]["trees"]
    hessians = [tree["sum_hessian"][0] for tree in trees]
    weights = [tree["base_weights"][0] for tree in trees]
    return [-w * (h + penalty) for w, h in zip(weights, hessians, strict=True)], hessians


@pytest.mark.parametrize(("objective", "parameters"), _CASES)
def test_derivatives_are_xgboosts(
    random: np.random.Generator, objective: str, parameters: Parameters
) -> None:
    """Row by row, gradient and hessian agree with XGBoost's for random margins, labels and weights.

    Each row by itself, since a row's grid is as coarse as the largest value of all rows asks for.
    """
    label = _labels(objective, random.standard_normal(12), random)
    weight = random.exponential(1, 12).astype(np.float32)
    margin = 5 * _margin(objective, 12, random)
    for row in range(12):
        made = objectives.make(objective, parameters, World(), label[row : row + 1], weight[row : row + 1])
        found = [part.ravel() for part in made.gradient(margin[row : row + 1])]
        expected = _xgboost_derivatives(objective, parameters, margin[row], label[row], weight[row])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def _train(
    objective: objectives.Objective | None, parameters: Parameters, data: xgb.DMatrix, rounds: int
) -> xgb.Booster:
    """A booster after a few rounds, of XGBoost's own objective or of ours."""
    if objective is None:
        return xgb.train(dict(parameters), data, rounds)
    booster = xgb.Booster({**parameters, "base_score": objective.base_score()}, [data])
    for iteration in range(rounds):
        margin = booster.predict(data, output_margin=True, training=True)
        gradient, hessian = objective.gradient(margin)
        booster.boost(data, iteration, grad=gradient, hess=hessian)
    return booster


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("objective", "parameters"), _CASES)
def test_models_are_xgboosts(
    random: np.random.Generator, objective: str, parameters: Parameters, *, weighted: bool
) -> None:
    """Three rounds with our gradients and base score predict what three of XGBoost's do.

    Not compared: deep trees, where two splits can be so nearly equal that the last bit decides.
    """
    features = random.standard_normal((4000, 4), np.float32)
    label = _labels(objective, features @ [1, -1, 0.5, 0], random)
    weight = random.exponential(1, 4000).astype(np.float32) if weighted else None
    data = xgb.QuantileDMatrix(features, label=label, weight=weight, max_bin=16)
    model = {"objective": objective, "max_depth": 2, "max_bin": 16, **parameters}
    ours = _train(objectives.make(objective, parameters, World(), label, weight), model, data, 3)
    theirs = _train(None, model, data, 3)
    for raw in (True, False):
        np.testing.assert_allclose(
            ours.predict(data, output_margin=raw),
            theirs.predict(data, output_margin=raw),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize(
    "options",
    [
        {"rate_drop": 0.5, "one_drop": 1},
        {"colsample_bytree": 0.5, "colsample_bynode": 0.5},
        {"num_parallel_tree": 3, "colsample_bytree": 0.5},
    ],
)
def test_options_act_as_in_xgboost(random: np.random.Generator, options: Parameters) -> None:
    """Dropped trees, drawn columns and forests come out as if XGBoost had computed the gradients."""
    features = random.standard_normal((4000, 4), np.float32)
    label = _labels("reg:squarederror", features @ [1, -1, 0.5, 0.2], random)
    data = xgb.QuantileDMatrix(features, label=label, max_bin=16)
    model = {"max_depth": 2, "max_bin": 16, "seed": int(random.integers(1000)), **options}
    made = objectives.make("reg:squarederror", model, World(), label)
    ours, theirs = (_train(objective, model, data, 10).predict(data) for objective in (made, None))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    plain = _train(made, {"max_depth": 2, "max_bin": 16}, data, 10).predict(data)
    assert not np.allclose(ours, plain, rtol=1e-5, atol=1e-5)


def test_model_file_knows_its_objective(random: np.random.Generator, tmp_path: Any) -> None:
    """A saved and loaded model predicts probabilities, as one trained by XGBoost alone does."""
    features = random.standard_normal((500, 3), np.float32)
    label = (features[:, 0] > 0).astype(np.float32)
    data = xgb.QuantileDMatrix(features, label=label)
    made = objectives.make("binary:logistic", {}, World(), label)
    _train(made, {"objective": "binary:logistic"}, data, 3).save_model(tmp_path / "model.json")
    loaded = xgb.Booster(model_file=tmp_path / "model.json")
    margin = loaded.predict(data, output_margin=True)
    np.testing.assert_allclose(loaded.predict(data), 1 / (1 + np.exp(-margin)), rtol=1e-6)
    learner = json.loads((tmp_path / "model.json").read_text())["learner"]
    assert learner["objective"]["name"] == "binary:logistic"
    assert json.loads(learner["learner_model_param"]["base_score"]) == pytest.approx([made.base_score()])


@pytest.mark.parametrize(("objective", "parameters"), _CASES)
def test_no_layout_changes_a_bit(
    ranks: Ranks, random: np.random.Generator, objective: str, parameters: Parameters
) -> None:
    """Gradients, hessians and base score are the same on one rank and on several, one without rows."""
    rows = 3000
    label = _labels(objective, 3 * random.standard_t(1.5, rows).clip(-20, 20), random)
    weight = random.exponential(1, rows).astype(np.float32)
    margin = _margin(objective, rows, random)
    drawn = random.random(rows) < 0.7
    alone = objectives.make(objective, parameters, World(), label, weight)
    expected = [part.copy() for part in alone.gradient(margin, drawn)]
    ends = [0, *sorted([0, *random.integers(0, rows, 1)]), rows]
    parts = [slice(start, stop) for start, stop in itertools.pairwise(ends)]

    def program(world: World) -> tuple[list[Floats], float | list[float]]:
        mine = parts[world.rank]
        if mine.start == mine.stop:  # one row stands in for none; its values must not matter
            made = objectives.make(objective, parameters, world, label[:1], weight[:1] * 1e9, stand_in=True)
            found = made.gradient(margin[:1] + 1e9, np.ones(1, np.bool_))
            assert not any(part.any() for part in found)
            return [part[:0] for part in found], made.base_score()
        made = objectives.make(objective, parameters, world, label[mine], weight[mine])
        found = made.gradient(margin[mine], drawn[mine])
        return [part.copy() for part in found], made.base_score()

    results = ranks(3, program)
    for number in (0, 1):
        together = np.concatenate([found[number] for found, _ in results])
        np.testing.assert_array_equal(together.view(np.uint32), expected[number].view(np.uint32))
    assert [score for _, score in results] == [alone.base_score()] * 3


@pytest.mark.parametrize("sign", [-1, 1])
def test_gradients_sum_exactly(random: np.random.Generator, sign: int) -> None:
    """Heavy-tailed squared errors of one sign sum to the same float64 in any order; softmax by class too."""
    rows = 50_000
    tails = (sign * np.exp(5 * random.standard_normal(rows))).astype(np.float32)
    squared = objectives.make("reg:squarederror", {}, World(), tails, random.random(rows, np.float32))
    classes = random.integers(0, _CLASSES, rows).astype(np.float32)
    softmax = objectives.make("multi:softprob", {"num_class": _CLASSES}, World(), classes)
    found = [
        *squared.gradient(np.zeros(rows, np.float32)),
        *np.concatenate(softmax.gradient(5 * _margin("multi:", rows, random)), axis=1).T,
    ]
    assert len(found) == 2 + 2 * _CLASSES
    for values in found:
        shuffled = values[random.permutation(rows)].astype(np.float64)
        assert np.cumsum(shuffled)[-1] == values.astype(np.float64).sum() == math.fsum(values)


def test_rows_not_drawn_count_nowhere(random: np.random.Generator) -> None:
    """A row left out has zeros; the others have what they would have, on a grid as fine or finer."""
    label = random.standard_normal(1000).astype(np.float32)
    margin = random.standard_normal(1000, np.float32)
    drawn = random.random(1000) < 0.5
    made = objectives.make("reg:squarederror", {}, World(), label)
    whole = [part.copy() for part in made.gradient(margin)]
    for part, all_of_it in zip(made.gradient(margin, drawn), whole, strict=True):
        assert not part[~drawn].any()
        np.testing.assert_allclose(part[drawn], all_of_it[drawn], rtol=0, atol=1e-6)


@pytest.mark.parametrize("margin", [np.float32(200), np.float32(np.nan)])
def test_divergence_ends_all_ranks(ranks: Ranks, margin: np.float32) -> None:
    """One value that is not finite raises the same sentence on every rank, whatever value it is."""

    def program(world: World) -> None:
        made = objectives.make("count:poisson", {}, world, np.ones(3, np.float32))
        own = np.full(3, margin if world.rank == 1 else 0, np.float32)
        with pytest.raises(UserError, match="count:poisson diverged: a gradient is no longer finite"):
            made.gradient(own)

    ranks(3, program)


@pytest.mark.parametrize(
    ("of_ranks", "sentence"),
    [
        ([[1, 1], [1, -1]], "1 rows have a weight that is negative"),
        ([[1, np.nan], [np.inf, 1]], "2 rows have a weight that is negative or not finite"),
        ([[0, 0], [0, 0]], "all rows have weight 0"),
    ],
)
def test_weights_without_meaning(ranks: Ranks, of_ranks: Sequence[Sequence[float]], sentence: str) -> None:
    """Negative, missing and infinite weights, or only zeros, are refused on all ranks."""
    weights = np.array(of_ranks, np.float32)
    label = np.ones(2, np.float32)

    def program(world: World) -> None:
        with pytest.raises(UserError, match=sentence):
            objectives.make("reg:squarederror", {}, world, label, weights[world.rank])

    ranks(2, program)


def test_rows_of_weight_zero_count_nowhere(ranks: Ranks, random: np.random.Generator) -> None:
    """Weight 0 is legal, on all of one rank's rows as well, and like leaving the row out."""
    label = random.standard_normal(100).astype(np.float32)
    expected = objectives.make("reg:squarederror", {}, World(), label[:50]).base_score()
    weight = np.repeat(np.array([1, 0], np.float32), 50)
    program = functools.partial(_base_score_of_half, label=label, weight=weight)
    assert ranks(2, program) == [expected, expected]


def _base_score_of_half(world: World, label: Floats, weight: Floats) -> float | list[float]:
    mine = slice(world.rank * 50, world.rank * 50 + 50)
    return objectives.make("reg:squarederror", {}, world, label[mine], weight[mine]).base_score()


@pytest.mark.parametrize(
    ("objective", "parameters", "reason"),
    [
        ("reg:squarederror", {}, None),
        ("multi:softprob", {"num_class": 3, "booster": "dart", "tree_method": "hist"}, None),
        ("binary:logistic", {"subsample": 0.5, "colsample_bytree": 0.5}, None),
        ("binary:logistic", {"num_parallel_tree": 3, "subsample": 1}, None),
        ("rank:ndcg", {}, "objective rank:ndcg"),
        ("reg:absoluteerror", {}, "objective reg:absoluteerror"),
        ("reg:squarederror", {"booster": "gblinear"}, "booster gblinear"),
        ("reg:squarederror", {"tree_method": "approx"}, "tree_method approx"),
        ("reg:squarederror", {"process_type": "update"}, "process_type update"),
        ("reg:squarederror", {"updater": "grow_colmaker"}, "updater"),
        ("reg:squarederror", {"device": "cuda:0"}, "GPUs"),
        ("reg:squarederror", {"device": "cpu"}, None),
        ("reg:squarederror", {"subsample": 0.5, "num_parallel_tree": 3}, "num_parallel_tree"),
        ("reg:squarederror", {"subsample": 0.5, "sampling_method": "gradient_based"}, "gradient_based"),
    ],
)
def test_obstacles(objective: str, parameters: Parameters, reason: str | None) -> None:
    """What cannot be exact is told by name; what can has no obstacle."""
    found = objectives.obstacle(objective, parameters)
    assert (found is None) == (reason is None)
    assert (reason or "") in (found or "")
