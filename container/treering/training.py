"""The boosting rounds: gradients, one tree (or one a class) from allreduced histograms, metrics, progress."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import xgboost as xgb

from treering import booster_state, scoring
from treering.early_stopping import EarlyStopping
from treering.errors import PeerLostError
from treering.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from treering.checkpoint_folder import Checkpoint
    from treering.checkpoints import Checkpoints
    from treering.hyperparameters import Hyperparameters
    from treering.objectives import Objective
    from treering.preparation import Prepared
    from treering.progress import Progress
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
        Rounds of boosting that it has from this job.
    scores
        Metrics of the last of them, such as ``{"validation-rmse": 2.2}``, in the order of the log line.
    interrupted
        Whether some host was asked to stop before the work was done; `booster` is then what there is so far.
    checkpoint
        The newest checkpoint written, a file of rank 0; None where none was.
    """

    booster: xgb.Booster
    rounds: int
    scores: Mapping[str, float]
    interrupted: bool = False
    checkpoint: Path | None = None

    def what_is_kept(self, *, model: bool) -> str:
        """For whoever stopped the run: where it ended, and what there is of it, the `model` among it or not."""
        kept = [f"the model of {self.rounds} rounds was saved"] if model else []
        kept += [f"{self.checkpoint} is there to go on from"] if self.checkpoint else []
        nothing = "nothing of it is kept: checkpoints or save_model_on_termination=true would have kept it"
        return f"training ended after round {self.rounds - 1}; {' and '.join(kept) or nothing}"


def train(
    world: World,
    chosen: Hyperparameters,
    prepared: Prepared,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> Trained:
    """Boost up to ``chosen.num_round`` rounds, from the newest checkpoint on; collective, in XGBoost's ring.

    Parameters
    ----------
    world
        All ranks; rank 0 prints the metrics and writes the checkpoints.
    chosen
        Rounds, metrics and early stopping.
    prepared
        What to boost, and how.
    progress
        Hears of each round; asked whether to stop after each.
    checkpoints
        None keeps none.

    Raises
    ------
    UserError
        When the checkpoint to go on from is another run's, or a metric that early stopping follows is not a
        number.
    PlatformError
        On rank 0 when a checkpoint cannot be written.
    PeerLostError
        When XGBoost fails in a world of several: it never says whether another rank is gone.
    """
    # It advises to give dropout without booster=dart, which here means none, as in XGBoost before 3.4.
    warnings.filterwarnings("ignore", r"(?s).*`booster=dart` is deprecated")
    restorable = _is_restorable(world, prepared, checkpoints)
    begun = checkpoints.newest() if restorable and checkpoints is not None else None
    booster = _first_booster(prepared, begun)
    history: list[Mapping[str, float]] = list(begun.history) if begun is not None else []
    progress.phase("training", chosen.num_round, "rounds", done=len(history))
    stopping = EarlyStopping.of(chosen, prepared.scored, history)
    forecast = Forecast.of(world, prepared, chosen) if prepared.uses_histograms else None
    written, interrupted = None, False
    while not (interrupted or stopping.is_over or len(history) >= chosen.num_round):
        iteration = len(history)
        with _told_as_lost_peer(world, iteration):
            boost(booster, prepared, iteration)
            history.append(scoring.scores(booster, prepared.scored, chosen.eval_metrics))
        if world.rank == 0:
            scoring.print_line(iteration, history[-1])
        if forecast is not None and (said := forecast.round_over()) and world.rank == 0:
            log.info("%s", said)
        stopping.note(history[-1])
        progress.advance(len(history))
        done = stopping.is_over or len(history) == chosen.num_round
        interrupted = not done and any_host_is_to_stop(world, progress)
        is_due = done or interrupted or (checkpoints is not None and checkpoints.is_due(len(history)))
        if checkpoints is not None and restorable and is_due:
            written = checkpoints.save(booster, history)
    return _result(booster, prepared, history, stopping, interrupted=interrupted, checkpoint=written)


def _is_restorable(world: World, prepared: Prepared, checkpoints: Checkpoints | None) -> bool:
    obstacle = booster_state.obstacle(prepared.parameters)
    if obstacle is not None and checkpoints is not None and world.rank == 0:
        log.info("no checkpoints are kept: XGBoost cannot go on from one with %s", obstacle)
    return obstacle is None


def _first_booster(prepared: Prepared, begun: Checkpoint | None) -> xgb.Booster:
    """The booster to start with: one without rounds, the one of a given model, or that of a checkpoint."""
    if begun is not None:
        earlier = booster_state.load(begun.state)
        return booster_state.renewed(earlier, prepared.parameters, prepared.matrices)
    return xgb.Booster(dict(prepared.parameters), prepared.matrices, model_file=prepared.initial)


def _result(
    booster: xgb.Booster,
    prepared: Prepared,
    history: Sequence[Mapping[str, float]],
    stopping: EarlyStopping,
    *,
    interrupted: bool,
    checkpoint: Path | None,
) -> Trained:
    rounds = len(history)
    if stopping.is_over:
        log.info("stopped early: %s did not improve on round %d", stopping.metric, stopping.best_round - 1)
        if prepared.parameters.get("booster") == "gblinear":
            log.info("all %d rounds are kept: XGBoost cannot take any out of a linear model", rounds)
        else:
            given = booster.num_boosted_rounds() - rounds  # of a model that this job went on from
            rounds = stopping.best_round
            booster = booster[: given + rounds]
    return Trained(booster, rounds, history[rounds - 1], interrupted, checkpoint)


def any_host_is_to_stop(world: World, progress: Progress) -> bool:
    """Whether any rank was asked to stop, which may reach hosts at different times; collective."""
    return bool(world.allreduce(np.array([progress.stop_requested()], np.int64), "max")[0])


@contextlib.contextmanager
def _told_as_lost_peer(world: World, iteration: int) -> Iterator[None]:
    try:
        yield
    except xgb.core.XGBoostError as error:
        if world.size == 1:
            raise
        raise PeerLostError(f"round {iteration} failed in XGBoost: {_last_line(error)}") from error


def boost(booster: xgb.Booster, prepared: Prepared, iteration: int) -> None:
    """Add one round, on the margins that XGBoost keeps; collective where the gradients or XGBoost's ring are."""
    if prepared.gradients is None:
        booster.update(prepared.boosted, iteration)
        return
    # XGBoost keeps the training margins itself: this reads them, it predicts nothing anew.
    margin = booster.predict(prepared.boosted, output_margin=True, training=True)
    grad, hess = prepared.gradients.at(margin, iteration)
    booster.boost(prepared.boosted, iteration, grad=grad, hess=hess)


def _last_line(error: Exception) -> str:
    """What went wrong, without XGBoost's stack of addresses."""
    said = [line for line in str(error).splitlines() if line.strip()]
    return next(
        (line.split("] ", 1)[-1] for line in said if "Error" in line or "Check failed" in line), said[0]
    )
