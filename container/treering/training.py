"""The boosting rounds: gradients, one tree (or one a class) from allreduced histograms, metrics, progress."""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
from typing import TYPE_CHECKING

import xgboost as xgb

from treering.errors import PeerLostError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from treering.hyperparameters import Hyperparameters
    from treering.objectives import Objective
    from treering.sampling import Sampler
    from treering.world import World

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Gradients:
    """Where exact gradients come from: an objective, and the rows that each round draws (all, if None)."""

    objective: Objective
    sampler: Sampler | None

    def at(
        self, margin: NDArray[np.float32], iteration: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Gradient and hessian of one round; collective."""
        drawn = self.sampler.rows(iteration) if self.sampler else None
        return self.objective.gradient(margin, drawn)


@dataclasses.dataclass(frozen=True, slots=True)
class Trained:
    """The result, equal on all ranks.

    Parameters
    ----------
    booster
        The model; with early stopping, cut back to its best round.
    rounds
        Boosting rounds in `booster`.
    scores
        Metrics of the last of them, such as ``{"validation-rmse": 2.2}``, in the order of the log line.
    """

    booster: xgb.Booster
    rounds: int
    scores: Mapping[str, float]


def train(
    world: World,
    chosen: Hyperparameters,
    parameters: Mapping[str, object],
    boosted: xgb.DMatrix,
    evaluated: Mapping[str, xgb.DMatrix],
    gradients: Gradients | None,
) -> Trained:
    """Boost ``chosen.num_round`` rounds; collective, inside XGBoost's communicator.

    Parameters
    ----------
    world
        All ranks; rank 0 prints the metrics.
    chosen
        Rounds, metrics and early stopping.
    parameters
        XGBoost's own, complete.
    boosted
        The training rows of this rank, or one that stands in for none.
    evaluated
        ``train`` and further channels, in the order of the log line.
    gradients
        None leaves them to XGBoost.

    Raises
    ------
    PeerLostError
        When XGBoost fails in a world of several: it never says whether another rank is gone.
    """
    booster = xgb.Booster(dict(parameters), [boosted, *evaluated.values()])
    stopping = _EarlyStopping.of(chosen, evaluated)
    # XGBoost prints some metrics under another name (error@0.5 as error): they are told apart by place.
    names = [f"{channel}-{metric}" for channel in evaluated for metric in chosen.eval_metrics]
    scores: dict[str, float] = {}
    rounds = 0
    for rounds in range(1, chosen.num_round + 1):
        try:
            _boost(booster, boosted, rounds - 1, gradients)
            said = booster.eval_set([(matrix, name) for name, matrix in evaluated.items()], rounds - 1)
        except xgb.core.XGBoostError as error:
            if world.size == 1:
                raise
            raise PeerLostError(f"round {rounds - 1} failed in XGBoost: {_last_line(error)}") from error
        scores = dict(zip(names, _read_values(said), strict=True))
        if world.rank == 0:
            _print_scores(rounds - 1, scores)
        if stopping is not None and stopping.is_over(rounds, scores):
            log.info(
                "stopped early: %s did not improve on round %d", stopping.metric, stopping.best_round - 1
            )
            return Trained(booster[: stopping.best_round], stopping.best_round, stopping.best_scores)
    return Trained(booster, rounds, scores)


def _boost(booster: xgb.Booster, matrix: xgb.DMatrix, iteration: int, gradients: Gradients | None) -> None:
    if gradients is None:
        booster.update(matrix, iteration)
        return
    # XGBoost keeps the training margins itself: this reads them, it predicts nothing anew.
    margin = booster.predict(matrix, output_margin=True, training=True)
    grad, hess = gradients.at(margin, iteration)
    booster.boost(matrix, iteration, grad=grad, hess=hess)


def _read_values(line: str) -> list[float]:
    r"""The numbers in XGBoost's ``[3]\ttrain-rmse:1.5\tvalidation-rmse:2.5``."""
    return [float(field.rpartition(":")[2]) for field in line.split("\t")[1:]]


def _print_scores(iteration: int, scores: Mapping[str, float]) -> None:
    """The line that AWS's metric definitions match; bare, as their regular expressions expect it."""
    fields = "\t".join(f"{name}:{value:.5f}" for name, value in scores.items())
    sys.stdout.write(f"[{iteration}]\t{fields}\n")
    sys.stdout.flush()


def _last_line(error: Exception) -> str:
    """What went wrong, without XGBoost's stack of addresses."""
    said = [line for line in str(error).splitlines() if line.strip()]
    return next(
        (line.split("] ", 1)[-1] for line in said if "Error" in line or "Check failed" in line), said[0]
    )


@dataclasses.dataclass(slots=True)
class _EarlyStopping:
    """Decides alike on every rank, since every rank has the same scores."""

    metric: str
    maximize: bool
    patience: int
    best_round: int = 0
    best_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, chosen: Hyperparameters, evaluated: Mapping[str, xgb.DMatrix]) -> _EarlyStopping | None:
        if chosen.early_stopping_rounds is None:
            return None
        channel, metric = list(evaluated)[-1], str(chosen.early_stopping_metric)
        return cls(
            f"{channel}-{chosen.xgboost_metric(metric)}",
            chosen.maximize(metric),
            chosen.early_stopping_rounds,
        )

    def is_over(self, rounds: int, scores: Mapping[str, float]) -> bool:
        """Note the scores of a round; True when the best one lies `patience` rounds back."""
        value, best = scores[self.metric], self.best_scores.get(self.metric)
        if math.isnan(value):
            raise UserError(
                f"early stopping follows {self.metric}, which is not a number in round {rounds - 1}: some host has "
                "no rows, or rows of one class only, of that channel; choose another metric, or fewer hosts"
            )
        if best is None or (value > best if self.maximize else value < best):
            self.best_round, self.best_scores = rounds, scores
        return rounds - self.best_round >= self.patience
