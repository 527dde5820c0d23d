"""`treering.training` in a world of one; with several ranks and checkpoints, see ``tests/mpi``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost as xgb

from treering import preparation, training
from treering.errors import UserError
from treering.features import Features
from treering.hyperparameters import Hyperparameters
from treering.identity import Piece, Pieces
from treering.progress import Progress
from treering.readers.batch import Columns
from treering.shard import Shard
from treering.training import Trained

if TYPE_CHECKING:
    from unit.conftest import Ranks

_ROWS = 200


class _Job:
    """A job whose validation labels are the opposite of the training labels: each round makes it worse."""

    def __init__(self, ranks: Ranks, **more: object) -> None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
        print(f"seed={seed}")
        self.features = np.random.default_rng(seed).standard_normal((_ROWS, 4)).astype(np.float32)
        self.label = self.features[:, 0] + self.features[:, 1]
        self.chosen = Hyperparameters.parse(
            {name: str(value) for name, value in {"num_round": 9, "max_depth": 3, **more}.items()}
        )
        self.ranks = ranks

    def shard(self, label: Any) -> Shard:
        """All rows, with these labels."""
        pieces = Pieces.of([Piece(0, 0, _ROWS)])
        return Shard(Columns(4), Features.of(self.features), label, None, None, pieces, _ROWS)

    def train(self, initial: xgb.Booster | None = None) -> Trained:
        """Train on one rank."""
        shards = {"train": self.shard(self.label), "validation": self.shard(-self.label)}

        def work(world: Any) -> Trained:
            prepared = preparation.prepare(world, shards, self.chosen, 1, None)
            if initial is not None:
                prepared = preparation.Prepared(
                    prepared.boosted, prepared.scored, None, prepared.parameters, initial
                )
            return training.train(world, self.chosen, prepared, Progress())

        return self.ranks(1, work)[0]


def test_metrics_are_those_of_the_model(ranks: Ranks, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line has what the returned model predicts, for each channel in order, and so has the result."""
    job = _Job(ranks, eval_metric="mae,rmse")
    trained = job.train()
    assert list(trained.scores) == ["train-mae", "train-rmse", "validation-mae", "validation-rmse"]
    predicted = trained.booster.predict(xgb.DMatrix(job.features))
    for channel, label in (("train", job.label), ("validation", -job.label)):
        assert trained.scores[f"{channel}-mae"] == pytest.approx(np.abs(predicted - label).mean())
    lines = capsys.readouterr().out.splitlines()[-9:]
    assert [line.split("\t")[0] for line in lines] == [f"[{number}]" for number in range(9)]
    fields = "\t".join(f"{name}:{value:.5f}" for name, value in trained.scores.items())
    assert lines[-1] == f"[8]\t{fields}"


def test_no_metrics_are_no_obstacle(ranks: Ranks) -> None:
    """A job may ask for none."""
    trained = _Job(ranks, disable_default_eval_metric="true").train()
    assert (trained.rounds, dict(trained.scores)) == (9, {})


def test_early_stopping_goes_back_to_the_best_round(ranks: Ranks) -> None:
    """Only as many rounds are left as were best, and the scores are theirs."""
    job = _Job(ranks, early_stopping_rounds=3)
    trained = job.train()
    assert trained.rounds == trained.booster.num_boosted_rounds() == 1
    predicted = trained.booster.predict(xgb.DMatrix(job.features))
    error = np.sqrt(np.mean((predicted + job.label) ** 2))
    assert trained.scores["validation-rmse"] == pytest.approx(error)


def test_early_stopping_keeps_a_model_that_was_given(ranks: Ranks) -> None:
    """Its rounds are not among those that are taken out."""
    job = _Job(ranks, early_stopping_rounds=3, tree_method="exact")
    given = xgb.train({"max_depth": 2}, xgb.DMatrix(job.features, job.label), 4)
    trained = job.train(given)
    assert trained.rounds == 1
    assert trained.booster.num_boosted_rounds() == 5
    assert trained.booster[:4].get_dump() == given.get_dump()


def test_a_linear_model_keeps_all_rounds(ranks: Ranks, caplog: pytest.LogCaptureFixture) -> None:
    """XGBoost cannot take any out: training stops all the same, and the log says what is kept."""
    caplog.set_level("INFO")
    trained = _Job(ranks, early_stopping_rounds=3, booster="gblinear").train()
    assert trained.rounds == 4
    assert "all 4 rounds are kept" in caplog.text


def test_early_stopping_by_a_metric_that_is_no_number_is_told(ranks: Ranks) -> None:
    """One class only has no AUC; which metric, which round, and what to do."""
    job = _Job(ranks, objective="binary:logistic", eval_metric="auc", early_stopping_rounds=3)
    job.label = np.zeros(_ROWS, np.float32)
    with pytest.raises(
        UserError, match="early stopping follows validation-auc, which is not a number in round 0"
    ):
        job.train()


def test_what_is_kept_of_an_interrupted_run_is_told() -> None:
    """The round, the model and the checkpoint, or that there is nothing."""
    trained = Trained(xgb.Booster(), 8, {}, interrupted=True, checkpoint=Path("/c/xgboost-checkpoint.7"))
    assert trained.what_is_kept(model=True) == (
        "training ended after round 7; the model of 8 rounds was saved and /c/xgboost-checkpoint.7 is there to go on from"
    )
    without = Trained(xgb.Booster(), 8, {}, interrupted=True)
    assert without.what_is_kept(model=False) == (
        "training ended after round 7; nothing of it is kept: checkpoints or save_model_on_termination=true would "
        "have kept it"
    )
