"""`treering.early_stopping`: the same decision from the scores, however often a run was interrupted."""

from __future__ import annotations

import numpy as np
import pytest

from treering.early_stopping import EarlyStopping
from treering.errors import UserError
from treering.hyperparameters import Hyperparameters

_CHANNELS = ("train", "validation")


def _chosen(**more: object) -> Hyperparameters:
    given = {"num_round": 100, "early_stopping_rounds": 3, "eval_metric": "rmse,mae", **more}
    return Hyperparameters.parse({name: str(value) for name, value in given.items()})


def _scores(values: list[float], name: str = "validation-mae") -> list[dict[str, float]]:
    return [{"train-rmse": -number, name: value} for number, value in enumerate(values)]


def _after(values: list[float], **more: object) -> EarlyStopping:
    return EarlyStopping.of(_chosen(**more), _CHANNELS, _scores(values))


def test_it_follows_the_last_metric_on_the_last_channel() -> None:
    """Over as soon as the best round lies as many rounds back as were asked for, and not before."""
    assert _after([5, 4, 3, 3, 3.5]).is_over is False
    stopping = _after([5, 4, 3, 3, 3.5, 3])
    assert stopping.is_over
    assert (stopping.metric, stopping.best_round, stopping.best) == ("validation-mae", 3, 3)


@pytest.mark.parametrize(
    ("channels", "followed"),
    [
        (["train"], "train"),
        (["train", "test"], "test"),
        (["train", "validation", "test"], "validation"),
        (["train", "validation", "mine"], "validation"),
    ],
)
def test_it_follows_the_validation_channel_where_there_is_one(channels: list[str], followed: str) -> None:
    """Rows that are only tested on have no say in the model beside rows to validate on."""
    assert EarlyStopping.of(_chosen(), channels, []).metric == f"{followed}-mae"


def test_larger_is_better_where_it_is() -> None:
    """The direction is the metric's own."""
    values = [0.5, 0.6, 0.7, 0.6, 0.6, 0.6]
    more = {"objective": "binary:logistic", "eval_metric": "logloss,auc"}
    stopping = EarlyStopping.of(_chosen(**more), _CHANNELS, _scores(values, "validation-auc"))
    assert stopping.is_over
    assert stopping.best_round == 3


def test_without_early_stopping_it_is_never_over() -> None:
    """Whatever the scores, not-a-numbers included."""
    chosen = Hyperparameters.parse({"num_round": "9"})
    stopping = EarlyStopping.of(chosen, _CHANNELS, _scores([1, 2, 3, float("nan")]))
    assert not stopping.is_over


def test_a_run_that_goes_on_decides_as_the_uninterrupted_one() -> None:
    """From the scores up to any round on, the rest leads to the same best round and the same last one."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed={seed}")
    values = np.random.default_rng(seed).integers(0, 20, 60).tolist()
    whole = EarlyStopping.of(_chosen(), _CHANNELS, [])
    for scores in _scores(values):
        whole.note(scores)
    for done in range(len(values)):
        resumed = EarlyStopping.of(_chosen(), _CHANNELS, _scores(values[:done]))
        for scores in _scores(values)[done:]:
            resumed.note(scores)
        assert resumed == whole


def test_rounds_after_the_last_one_change_nothing() -> None:
    """Switched on for a run that has gone past its best round, it keeps what it would have kept."""
    stopping = _after([5, 3, 4, 4, 4, 1, 0])
    assert stopping.is_over
    assert stopping.best_round == 2


def test_a_metric_that_earlier_rounds_have_not_starts_anew() -> None:
    """A checkpoint from before the metric was asked for has no say."""
    earlier: list[dict[str, float]] = [{"validation-rmse": 0.0}] * 9
    stopping = EarlyStopping.of(_chosen(), _CHANNELS, [*earlier, *_scores([3, 2])])
    assert not stopping.is_over
    assert (stopping.rounds, stopping.best_round) == (11, 11)


def test_a_metric_that_is_no_number_is_told() -> None:
    """Which metric, in which round: it could never improve."""
    with pytest.raises(UserError, match=r"follows validation-mae, which is not a number in round 2: "):
        _after([3, 2, float("nan")])
