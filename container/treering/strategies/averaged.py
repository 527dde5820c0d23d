"""The rounds of both looser strategies: ranks boost alone for a while, are averaged, and so on."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from treering import booster_state, scoring, training
from treering.early_stopping import EarlyStopping
from treering.errors import UserError
from treering.strategies import alone
from treering.strategies.margins import Margins
from treering.strategies.server import Server
from treering.training import Trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xgboost as xgb

    from treering.checkpoint_folder import Checkpoint
    from treering.checkpoints import Checkpoints
    from treering.hyperparameters import Hyperparameters
    from treering.job import Channel
    from treering.preparation import Prepared
    from treering.progress import Progress
    from treering.world import World

log = logging.getLogger(__name__)


def applies(world: World, chosen: Hyperparameters) -> bool:
    """Whether ranks are averaged; one rank is its own average, and trains as always."""
    return chosen.strategy != "allreduce" and world.size > 1


def check(chosen: Hyperparameters, model: Channel | None) -> None:
    """Raise UserError where there is a `model` to go on from, whose rounds are no averages."""
    if model is not None and chosen.strategy != "allreduce":
        raise UserError(
            f"strategy={chosen.strategy} cannot go on from the model in channel {model.name}; use strategy=allreduce, "
            "or leave the channel out"
        )


def describe(chosen: Hyperparameters, weights: Sequence[float]) -> dict[str, str]:
    """What the model depends on besides settings and rows, for checkpoints."""
    rows = ", ".join(f"{weight:.15g}" for weight in weights)
    return {
        "strategy": chosen.strategy,
        "sync_rounds": str(chosen.sync_rounds),
        "rows of each rank": rows,
    }


def train(
    world: World,
    chosen: Hyperparameters,
    prepared: Prepared,
    weights: Sequence[float],
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> Trained:
    """Boost up to ``chosen.num_round`` rounds, from the newest checkpoint on; collective.

    Parameters
    ----------
    world
        All ranks; rank 0 averages, prints the metrics and writes the checkpoints.
    chosen
        Strategy, rounds, metrics and early stopping.
    prepared
        By `alone.prepare`.
    weights
        By `alone.weights`.
    progress
        Hears of each round; asked whether to stop after each (ensemble) or at each average (parameter_server).
    checkpoints
        None keeps none; an ensemble, which has no model before the end, keeps none either.

    Raises
    ------
    UserError
        When the checkpoint to go on from is another run's, a metric that early stopping follows is not a
        number, or a rank's gradients are no longer finite.
    PlatformError
        On rank 0 when a checkpoint cannot be written.
    """
    if chosen.strategy == "ensemble":
        if checkpoints is not None and world.rank == 0:
            log.info("no checkpoints are kept: strategy=ensemble has no model before its end")
        checkpoints = None
    if world.rank == 0:
        _tell(chosen, weights)
    begun = checkpoints.newest() if checkpoints is not None else None
    progress.phase("training", chosen.num_round, "rounds", done=0 if begun is None else len(begun.history))
    with contextlib.ExitStack() as stack:
        run = _Run(world, chosen, prepared, weights, progress, begun)
        for margins in run.margins.values():
            stack.enter_context(margins)
        written, interrupted = None, False
        while not (interrupted or run.is_done):
            before = len(run.history)
            run.step()
            interrupted = not run.is_done and training.any_host_is_to_stop(world, progress)
            new = range(before + 1, len(run.history) + 1)
            if checkpoints is not None and (run.is_done or interrupted or any(map(checkpoints.is_due, new))):
                written = checkpoints.save(run.server.model(len(run.history)), run.history)
        rounds = len(run.history)
        if run.stopping.is_over:
            rounds = run.stopping.best_round
            log.info("stopped early: %s did not improve on round %d", run.stopping.metric, rounds - 1)
        return Trained(run.server.model(rounds), rounds, run.history[rounds - 1], interrupted, written)


def _tell(chosen: Hyperparameters, weights: Sequence[float]) -> None:
    every = f"every {chosen.sync_rounds} rounds" if chosen.strategy == "parameter_server" else "at the end"
    shares = ", ".join(f"{weight / sum(weights):.3f}" for weight in weights)
    log.info(
        "the model depends on which rows each rank has: strategy=%s averages what they boost alone, %s; shares: %s",
        chosen.strategy,
        every,
        shares,
    )


class _Run:
    """One training: the average so far, what it says of all rows, and how good that is."""

    def __init__(  # each is one side of the training
        self,
        world: World,
        chosen: Hyperparameters,
        prepared: Prepared,
        weights: Sequence[float],
        progress: Progress,
        begun: Checkpoint | None,
    ) -> None:
        self._world = world
        self._chosen = chosen
        self._prepared = prepared
        self._grows = weights[world.rank] > 0
        self._progress = progress
        given = None if begun is None else booster_state.load(begun.state)
        self.server = Server(world, weights, given)
        self.history: list[Mapping[str, float]] = [] if begun is None else list(begun.history)
        self.stopping = EarlyStopping.of(chosen, prepared.scored, self.history)
        needed = prepared.scored if chosen.eval_metrics else ("train",)
        self.margins = {name: Margins(prepared.scored[name], prepared.parameters) for name in needed}
        if given is not None:
            for margins in self.margins.values():
                margins.add(given)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to train."""
        return self.stopping.is_over or len(self.history) >= self._chosen.num_round

    def step(self) -> None:
        """Go on to the next average, and score each of its rounds; collective."""
        grown = self._grow() if self._grows else None
        if self._chosen.strategy == "ensemble":
            self._progress.phase("scoring", self._chosen.num_round, "rounds")
        trees = self.server.average(grown)
        for number in range(trees.num_boosted_rounds()):
            self._score(trees, number)
            if self.stopping.is_over:
                return

    def _grow(self) -> xgb.Booster:
        first, last = len(self.history), self._chosen.num_round
        if self._chosen.strategy == "parameter_server":
            last = min(last, first + self._chosen.sync_rounds - first % self._chosen.sync_rounds)
        return alone.grow(self._prepared, self.margins["train"].values, range(first, last), self._goes_on)

    def _goes_on(self, iteration: int) -> bool:
        self._progress.advance(iteration + 1)
        # Only an ensemble may be averaged at any moment; a server's rounds would be others after a restart.
        return self._chosen.strategy != "ensemble" or not self._progress.stop_requested()

    def _score(self, trees: xgb.Booster, number: int) -> None:
        found: dict[str, float] = {}
        for channel, margins in self.margins.items():
            margins.add(trees, (number, number + 1))
            if self._chosen.eval_metrics:
                names = (f"{channel}-{metric}" for metric in self._chosen.eval_metrics)
                found |= zip(names, margins.metrics(), strict=True)
        if self._world.rank == 0:
            scoring.print_line(len(self.history), found)
        self.history.append(found)
        self.stopping.note(found)
        if self._chosen.strategy == "ensemble" or not self._grows:  # else it has told of this round already
            self._progress.advance(len(self.history))
