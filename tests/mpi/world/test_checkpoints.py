"""`treering.training` with checkpoints over real ranks: interrupted runs end with the uninterrupted model."""

from __future__ import annotations

import dataclasses
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from treering import preparation, run_identity, training
from treering.checkpoint_folder import CheckpointFolder
from treering.checkpoints import Checkpoints
from treering.collective import communicator
from treering.features import Features
from treering.hyperparameters import Hyperparameters
from treering.identity import Piece, Pieces
from treering.progress import Progress
from treering.readers.batch import Columns
from treering.report import STATUS_VARIABLE, Reporter
from treering.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from treering.training import Trained
    from treering.world import World

_ROUNDS = 4
_ROWS = 400


@pytest.fixture
def folder(world: World) -> Iterator[CheckpointFolder]:
    """An empty folder, the same one for all ranks; not pytest's, which sessions tidy up under each other."""
    with tempfile.TemporaryDirectory() as mine:
        yield CheckpointFolder(Path(world.broadcast(mine)))
        world.barrier()  # nobody looks at it any more


class _Job:
    """A job on random rows, divided over the ranks."""

    def __init__(self, world: World, random: np.random.Generator, **more: object) -> None:
        given = {"num_round": _ROUNDS, "max_depth": 3, "max_bin": 16, **more}
        self.world = world
        self.chosen = Hyperparameters.parse({name: str(value) for name, value in given.items()})
        features = random.standard_normal((_ROWS, 5)).astype(np.float32)
        features[random.random(features.shape) < 0.1] = np.nan
        label = np.nan_to_num(features[:, 0] - features[:, 1]) + random.standard_normal(_ROWS)
        if self.chosen.num_class:
            label = np.digitize(label, [-0.5, 0.5])
        self.shards = {
            name: self._shard(features[rows], label[rows].astype(np.float32))
            for name, rows in {"train": slice(300), "validation": slice(300, None)}.items()
        }

    def _shard(self, features: Any, label: Any) -> Shard:
        ends = np.linspace(0, len(label), self.world.size + 1).astype(int)
        mine = slice(*ends[self.world.rank : self.world.rank + 2])
        pieces = Pieces.of([Piece(0, mine.start, mine.stop - mine.start)])
        return Shard(Columns(5), Features.of(features[mine]), label[mine], None, None, pieces, len(label))

    def train(self, folder: CheckpointFolder | None, *, stop: bool = False) -> Trained:
        """Train to the end, or where this rank is asked to `stop` for a round."""
        rows = run_identity.describe_rows(self.world, self.chosen, self.shards)
        prepared = preparation.prepare(self.world, self.shards, self.chosen, 1, None)
        kept = None
        if folder is not None:
            identity = run_identity.describe(self.chosen, prepared, rows)
            kept = Checkpoints(self.world, folder, self.chosen, identity, lambda booster: booster)
        ours, its = socket.socketpair()
        with ours, communicator(self.world, "127.0.0.1"):
            progress = Progress(Reporter({STATUS_VARIABLE: str(os.dup(its.fileno()))}))
            its.close()
            if stop:
                ours.sendall(b"stop\n")
            trained = training.train(self.world, self.chosen, prepared, progress, kept)
        self.world.barrier()
        return trained


def _raw(trained: Trained) -> bytes:
    return bytes(trained.booster.save_raw("ubj"))


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"subsample": 0.6, "colsample_bynode": 0.5, "seed": 3},
        {"objective": "multi:softprob", "num_class": 3, "colsample_bytree": 0.6},
        {"booster": "dart", "rate_drop": 0.5, "subsample": 0.7},
        {"objective": "reg:absoluteerror", "subsample": 0.6},  # XGBoost's own gradients and rows
        {"objective": "multi:softprob", "num_class": 3, "reproducible": "false"},  # and base scores
        {"objective": "reg:quantileerror", "quantile_alpha": "[0.3, 0.7]"},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
@pytest.mark.filterwarnings("ignore:.*dart:UserWarning")  # deprecated in favour of rate_drop alone
def test_a_run_stopped_after_each_round_ends_with_the_same_model(
    world: World, random: np.random.Generator, folder: CheckpointFolder, hyperparameters: dict[str, object]
) -> None:
    """Any one rank may be the one that was asked to stop: all end after the same round, with a checkpoint."""
    job = _Job(world, random, **hyperparameters)
    whole = job.train(None)
    assert (whole.rounds, whole.interrupted, whole.checkpoint) == (_ROUNDS, False, None)
    for done in range(1, _ROUNDS):
        part = job.train(folder, stop=bool(random.integers(world.size) == world.rank))
        assert (part.rounds, part.interrupted) == (done, True)
        assert part.checkpoint == folder.model(done - 1)
    last = job.train(folder, stop=True)  # too late: the work is done
    assert (last.rounds, last.interrupted, last.checkpoint) == (_ROUNDS, False, folder.model(_ROUNDS - 1))
    assert last.scores == whole.scores
    assert _raw(last) == _raw(whole)
    again = job.train(folder)  # nothing is left to do but to write the model
    assert (_raw(again), again.scores, again.checkpoint) == (_raw(whole), whole.scores, None)


def test_early_stopping_goes_on_where_it_was(
    world: World, random: np.random.Generator, folder: CheckpointFolder
) -> None:
    """Its best round is remembered, and a run that had stopped early is not trained on."""
    job = _Job(world, random, num_round=60, early_stopping_rounds=2, eta=0.9, max_depth=6)
    whole = job.train(None)
    assert whole.rounds < 58  # noise is learnt soon, so it stops
    trained = job.train(folder, stop=True)
    for _ in range(60):
        if not trained.interrupted:
            break
        trained = job.train(folder, stop=True)
    for each in (trained, job.train(folder)):
        assert (each.rounds, each.scores) == (whole.rounds, whole.scores)
        assert _raw(each) == _raw(whole)


def test_more_rounds_than_before_are_added(
    world: World, random: np.random.Generator, folder: CheckpointFolder
) -> None:
    """num_round is the total: a larger one goes on from the end, a smaller one from what is not beyond it."""
    job = _Job(world, random, colsample_bytree=0.6, checkpoint_interval=2)
    whole = job.train(None)
    job.chosen = job.chosen.model_copy(update={"num_round": 3})
    shorter = job.train(folder)
    job.chosen = job.chosen.model_copy(update={"num_round": _ROUNDS})
    assert _raw(job.train(folder)) == _raw(whole)
    if world.rank == 0:
        names = sorted(path.name for path in folder.path.glob("xgboost*"))
        assert names == [f"xgboost-checkpoint.{number}" for number in (1, 2, 3)]
    job.chosen = job.chosen.model_copy(update={"num_round": 3})
    assert _raw(job.train(folder)) == _raw(shorter)


@pytest.mark.filterwarnings("ignore:.*updater. parameter:UserWarning")
def test_what_cannot_go_on_has_no_checkpoints(
    world: World, random: np.random.Generator, folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A position bias is not in XGBoost's state: the job trains all the same, and says so once."""
    caplog.set_level("INFO")
    job = _Job(world, random)
    for name, shard in job.shards.items():
        starts = np.arange(shard.rows) // 10 + 1000 * world.rank
        label = np.clip(np.rint(shard.label + 2), 0, 4).astype(np.float32)
        job.shards[name] = dataclasses.replace(shard, label=label, group=starts)
    more = {
        "num_round": 3,
        "objective": "rank:ndcg",
        "lambdarank_unbiased": True,
        "lambdarank_pair_method": "mean",
    }
    job.chosen = Hyperparameters.parse({name: str(value) for name, value in more.items()})
    trained = job.train(folder)
    assert (trained.rounds, trained.checkpoint) == (3, None)
    said = [each.getMessage() for each in caplog.records if "cannot go on" in each.getMessage()]
    assert len(said) == (world.rank == 0)
    assert not list(folder.path.iterdir())
