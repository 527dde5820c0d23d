"""`treering.booster_state`, and what XGBoost does to a booster on its way through a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost as xgb

from treering import booster_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    type Floats = NDArray[np.float32]
    type Renew = Callable[[xgb.Booster, dict[str, Any], xgb.DMatrix], xgb.Booster]

_ROUNDS = 12
_BASE: dict[str, Any] = {"max_depth": 4, "nthread": 2, "seed": 3, "objective": "reg:squarederror"}
_COLUMNS = {"colsample_bytree": 0.7, "colsample_bylevel": 0.7, "colsample_bynode": 0.7}
_DROPOUT = {"rate_drop": 0.4, "skip_drop": 0.2}
_SOFTPROB = {"objective": "multi:softprob", "num_class": 3, "base_score": [0.2, 0.3, 0.5]}


class _Task:
    """Rows, and gradients from outside as in treering, or none."""

    def __init__(self, parameters: dict[str, Any], *, exact: bool = True) -> None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
        print(f"seed={seed}")
        random = np.random.default_rng(seed)
        self.features = random.standard_normal((800, 6)).astype(np.float32)
        self.features[:, 5] = random.integers(0, 7, 800)
        self.features[random.random(self.features.shape) < 0.1] = np.nan
        noise = random.standard_normal(800).astype(np.float32)
        self.label = np.nan_to_num(self.features[:, 0] - 2 * self.features[:, 1]) + noise
        if "num_class" in parameters or "rank" in str(parameters.get("objective")):
            self.label = np.digitize(self.label, [-1, 1]).astype(np.float32)
        self.margin = random.standard_normal((800, parameters.get("num_class", 1))).astype(np.float32)
        self.parameters = _BASE | parameters
        self.exact = exact

    def matrix(self) -> xgb.QuantileDMatrix:
        """A new one: nothing that XGBoost keeps beside it is left."""
        ranking = "rank" in str(self.parameters["objective"])
        return xgb.QuantileDMatrix(
            self.features,
            self.label,
            base_margin=None if ranking else self.margin,
            qid=np.repeat(np.arange(40), 20) if ranking else None,
            feature_types=["float"] * 5 + ["c"],
            feature_names=list("abcdef"),
            enable_categorical=True,
        )

    def boost(self, booster: xgb.Booster, matrix: xgb.DMatrix, iteration: int) -> None:
        """One round."""
        if not self.exact:
            booster.update(matrix, iteration)
            return
        margin = booster.predict(matrix, output_margin=True, training=True)
        if margin.ndim == 1:
            grad, hess = margin - self.label, np.ones_like(margin)
        else:
            odds = np.exp(margin - margin.max(axis=1, keepdims=True))
            share = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
            grad = share - np.eye(3, dtype=np.float32)[self.label.astype(int)]
            hess = 2 * share * (1 - share)
        booster.boost(matrix, iteration, grad=grad, hess=hess)

    def run(self, renew_at: int | None, renew: Renew) -> tuple[bytes, list[Floats]]:
        """Model and margins of all rounds, renewed and put on new rows after one of them, or never."""
        matrix = self.matrix()
        booster, margins = xgb.Booster(self.parameters, [matrix]), []
        for iteration in range(_ROUNDS):
            self.boost(booster, matrix, iteration)
            if iteration == renew_at:
                matrix = self.matrix()
                booster = renew(booster, self.parameters, matrix)
            margins.append(booster.predict(matrix, output_margin=True))
        return bytes(booster.save_raw("ubj")), margins


def _from_state(booster: xgb.Booster, parameters: dict[str, Any], matrix: xgb.DMatrix) -> xgb.Booster:
    restored = booster_state.load(booster_state.dump(booster))
    return booster_state.renewed(restored, parameters | {"nthread": 1}, [matrix])


def _from_model(booster: xgb.Booster, parameters: dict[str, Any], matrix: xgb.DMatrix) -> xgb.Booster:
    return xgb.Booster(parameters, [matrix], model_file=booster.save_raw("ubj"))


_EXACT: dict[str, dict[str, Any]] = {
    "columns": _COLUMNS,
    "seed of each round": _COLUMNS | {"seed_per_iteration": True},
    "leaves": _COLUMNS | {"grow_policy": "lossguide", "max_leaves": 9},
    "forest": _COLUMNS | {"num_parallel_tree": 3},
    "constraints": {"monotone_constraints": "(1,-1,0,0,0,0)", "interaction_constraints": "[[0,1],[2,3,4,5]]"},
    "dropout": _DROPOUT | _COLUMNS | {"sample_type": "weighted", "normalize_type": "forest"},
    "softprob": _SOFTPROB | _COLUMNS,
    "softprob with dropout": _SOFTPROB | _DROPOUT,
    "vector leaves": _SOFTPROB | _COLUMNS | {"multi_strategy": "multi_output_tree"},
}
_STOCK: dict[str, dict[str, Any]] = {
    "rows": {"subsample": 0.6},
    "rows of a forest": {"subsample": 0.6, "num_parallel_tree": 2},
    "rows by gradient": {"subsample": 0.6, "sampling_method": "gradient_based"},
    "absolute": {"objective": "reg:absoluteerror", "subsample": 0.6},
    "quantile": {"objective": "reg:quantileerror", "quantile_alpha": 0.3},
    "ndcg": {"objective": "rank:ndcg", "lambdarank_pair_method": "mean"},
}


@pytest.mark.parametrize("renew_at", [0, 4, _ROUNDS - 1])
@pytest.mark.parametrize("name", [*_EXACT, *_STOCK])
def test_training_goes_on_as_if_nothing_had_happened(name: str, renew_at: int) -> None:
    """With another number of threads and new matrices: model and all margins are equal bit by bit."""
    task = _Task(_EXACT.get(name) or _STOCK[name], exact=name in _EXACT)
    model, margins = task.run(None, _from_state)
    again, margins_again = task.run(renew_at, _from_state)
    for one, other in zip(margins, margins_again, strict=True):
        np.testing.assert_array_equal(one.view(np.uint32), other.view(np.uint32))
    assert again == model


def test_a_saved_model_is_not_enough() -> None:
    """It forgets the random generator: this is why checkpoints keep the whole state."""
    task = _Task(_COLUMNS)
    assert task.run(4, _from_model)[0] != task.run(None, _from_model)[0]


@pytest.mark.parametrize(("base_score", "is_equal"), [(0.5, False), ([0.5, 0.5, 0.5], True)])
def test_a_single_base_score_of_several_outputs_is_saved_otherwise(
    base_score: float | list[float], is_equal: bool
) -> None:
    """The reason for which jobs give XGBoost one for each: with these, a booster that was renewed has the same bytes."""
    parameters = {**_BASE, "objective": "multi:softprob", "num_class": 3, "base_score": base_score}
    task = _Task(parameters)
    matrix = task.matrix()
    booster = xgb.Booster(parameters, [matrix])
    task.boost(booster, matrix, 0)
    renewed = booster_state.renewed(booster, parameters, [matrix])
    assert (bytes(renewed.save_raw("ubj")) == bytes(booster.save_raw("ubj"))) is is_equal


@pytest.mark.parametrize("obstacle", ["lambdarank_unbiased", "process_type=update"])
@pytest.mark.filterwarnings("ignore:.*updater. parameter:UserWarning")  # that is what updating trees takes
def test_obstacles_are_real(obstacle: str) -> None:
    """XGBoost fails soon after its booster was renewed, and not without that: so it must not be."""
    task = _Task(
        {"objective": "rank:ndcg", "lambdarank_pair_method": "mean", "lambdarank_unbiased": True}
        if obstacle == "lambdarank_unbiased"
        else {},
        exact=False,
    )
    matrix: xgb.DMatrix = task.matrix()
    before = None
    if obstacle == "process_type=update":
        matrix = xgb.DMatrix(task.features, task.label)
        before = xgb.train(task.parameters, matrix, 5)
        task.parameters |= {"process_type": "update", "updater": "refresh"}
    assert booster_state.obstacle(task.parameters) == obstacle

    def some_rounds(renewed: bool) -> None:
        booster = xgb.Booster(task.parameters, [matrix], model_file=before)
        for iteration in range(4):
            booster.update(matrix, iteration)
            if renewed and iteration == 0:
                booster = booster_state.renewed(booster, task.parameters, [matrix])

    some_rounds(renewed=False)
    with pytest.raises(xgb.core.XGBoostError, match="Check failed"):
        some_rounds(renewed=True)


@pytest.mark.parametrize("parameters", [{}, _SOFTPROB, _DROPOUT, {"lambdarank_unbiased": False}])
def test_most_jobs_have_no_obstacle(parameters: dict[str, Any]) -> None:
    """What the tests above go on from is not refused."""
    assert booster_state.obstacle(_BASE | parameters) is None
