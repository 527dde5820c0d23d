"""`treering.strategies` over real ranks: averages are what plain XGBoost makes of the same rows, shard by shard."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost as xgb
from mpi4py import MPI

from treering import losses, model_file, preparation, training
from treering.checkpoint_folder import CheckpointFolder
from treering.checkpoints import Checkpoints
from treering.errors import UserError
from treering.features import Features
from treering.hyperparameters import Hyperparameters
from treering.identity import Piece, Pieces
from treering.job import Channel
from treering.progress import Progress
from treering.readers.batch import Columns
from treering.report import STATUS_VARIABLE, Reporter
from treering.shard import Shard
from treering.strategies import alone, averaged
from treering.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from treering.preparation import Prepared
    from treering.training import Trained

_ROWS = 360
_ROUNDS = 6
_QUERY = 10  # rows
_CLASSES = {"objective": "multi:softprob", "num_class": 3}
_TASKS: dict[str, dict[str, Any]] = {
    "squared error": {"objective": "reg:squarederror"},
    "logistic": {"objective": "binary:logistic"},
    "classes": _CLASSES,
    "vector leaves": _CLASSES | {"multi_strategy": "multi_output_tree"},
    "own leaves": {"objective": "reg:absoluteerror"},
    "quantiles": {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]},
}


@pytest.fixture
def folder(world: World) -> Iterator[CheckpointFolder]:
    """An empty folder, the same one for all ranks; not pytest's, which sessions tidy up under each other."""
    with tempfile.TemporaryDirectory() as mine:
        yield CheckpointFolder(Path(world.broadcast(mine)))
        world.barrier()  # nobody looks at it any more


class _Job:
    """Rows with few values a column, so that plain XGBoost has the same bins; dealt unevenly to the ranks."""

    def __init__(self, world: World, random: np.random.Generator, **given: Any) -> None:
        texts = {"num_round": _ROUNDS, "max_depth": 3, "strategy": "parameter_server"} | given
        self.chosen = Hyperparameters.parse(
            {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in texts.items()
                if value is not None
            }
        )
        self.world = world
        self.features = random.integers(0, 12, (_ROWS, 4)).astype(np.float32)
        self.features[random.random(self.features.shape) < 0.1] = np.nan
        signal = np.nan_to_num(self.features[:, 0] - self.features[:, 1]) / 4 + random.standard_normal(_ROWS)
        if self.chosen.num_class:
            signal = np.digitize(signal, [-1, 1])
        elif self.chosen.objective == "binary:logistic":
            signal = signal > 0
        self.label = signal.astype(np.float32)
        self.weight: NDArray[np.float32] | None = None
        self.group: NDArray[np.int64] | None = None
        self.ends = np.sort(random.choice(np.arange(60, _ROWS - 120), world.size - 1, replace=False))
        self.ends = np.concatenate([[0], self.ends, [_ROWS - 60]]).astype(int)

    @property
    def parts(self) -> list[slice]:
        """The training rows of each rank; the last 60 rows are there to validate."""
        return [slice(*self.ends[rank : rank + 2]) for rank in range(self.world.size)]

    @property
    def shards(self) -> dict[str, Shard]:
        """Rows of this rank."""
        queries = np.arange(_ROWS - 60, _ROWS).reshape(-1, _QUERY)
        validation = np.array_split(queries, self.world.size)[self.world.rank].ravel()
        mine = {
            "train": np.arange(_ROWS)[self.parts[self.world.rank]],
            "validation": validation,
        }
        total = {"train": _ROWS - 60, "validation": 60}
        return {name: self._shard(rows, total[name]) for name, rows in mine.items()}

    def _shard(self, rows: NDArray[np.int64], total: int) -> Shard:
        pieces = Pieces.of([Piece(0, int(rows[0]), rows.size)] if rows.size else [])
        weight = None if self.weight is None else self.weight[rows]
        features = np.asfortranarray(self.features[rows])
        group = None if self.group is None else self.group[rows]
        return Shard(Columns(4), Features.of(features), self.label[rows], weight, group, pieces, total)

    def prepared(self) -> tuple[Prepared, list[float]]:
        """What this rank boosts alone, and the weights of all."""
        shards = self.shards
        prepared = preparation.prepare(self.world, shards, self.chosen, 1, None)
        weights = alone.weights(self.world, shards["train"])
        return alone.prepare(self.world, prepared, shards["train"], "127.0.0.1"), weights

    def checkpoints(self, folder: CheckpointFolder, weights: list[float]) -> Checkpoints:
        """Those of this job."""
        identity = {"settings": averaged.describe(self.chosen, weights)}
        return Checkpoints(self.world, folder, self.chosen, identity, lambda booster: booster)

    def train(self, folder: CheckpointFolder | None = None, *, stop: bool = False) -> Trained:
        """Train to the end, or where this rank is asked to `stop` for a round or an average."""
        prepared, weights = self.prepared()
        kept = None if folder is None else self.checkpoints(folder, weights)
        ours, its = socket.socketpair()
        with contextlib.closing(ours):
            progress = Progress(Reporter({STATUS_VARIABLE: str(os.dup(its.fileno()))}))
            its.close()
            if stop:
                ours.sendall(b"stop\n")
            trained = averaged.train(self.world, self.chosen, prepared, weights, progress, kept)
            self.world.barrier()
        return trained

    def plainly(self, every: int, base_score: list[float]) -> NDArray[np.float64]:
        """Margins of all rows, by plain XGBoost in one process and averages every so many rounds."""
        given = {"objective", "num_class", "multi_strategy", "quantile_alpha", "max_depth"}
        parameters = {name: each for name, each in self.chosen.given.items() if name in given}
        rows = slice(None, _ROWS - 60)
        bins = xgb.QuantileDMatrix(
            self.features[rows], self.label[rows], weight=None if self.weight is None else self.weight[rows]
        )
        if self.chosen.objective in {
            *losses.FORMULAS,
            *losses.SOFTMAX,
        }:  # XGBoost's ring only estimates quantiles
            estimated = model_file.base_score(xgb.train(parameters, bins, 1))
            np.testing.assert_allclose(base_score, estimated, rtol=1e-5, atol=1e-5)
        parameters |= {"base_score": base_score}
        everything = xgb.DMatrix(self.features, self.label)
        margin = xgb.Booster(parameters, [everything]).predict(everything, output_margin=True)
        parts = [part for part in self.parts if part.stop > part.start]
        weight = np.ones(_ROWS) if self.weight is None else self.weight
        for first in range(0, _ROUNDS, every):
            found = []
            everything.set_base_margin(margin)
            for part in parts:
                own = xgb.QuantileDMatrix(
                    self.features[part],
                    self.label[part],
                    weight=weight[part] if self.group is None else None,
                    base_margin=margin[part],
                    group=None if self.group is None else [_QUERY] * ((part.stop - part.start) // _QUERY),
                    ref=bins,
                )
                booster = xgb.train(parameters, own, min(every, _ROUNDS - first))
                found.append(booster.predict(everything, output_margin=True).astype(np.float64))
            margin = np.average(found, axis=0, weights=[weight[part].sum() for part in parts])
        return np.asarray(margin, np.float64)

    def margins(self, booster: xgb.Booster) -> NDArray[np.float32]:
        """Of all rows."""
        found: NDArray[np.float32] = booster.predict(xgb.DMatrix(self.features), output_margin=True)
        return found


def _raw(trained: Trained) -> bytes:
    return bytes(trained.booster.save_raw("ubj"))


def _trees(booster: xgb.Booster) -> Any:
    return model_file.trees(model_file.take_apart(booster))["trees"]


@pytest.mark.parametrize("every", [1, 4, _ROUNDS])
@pytest.mark.parametrize("task", _TASKS)
def test_averages_are_those_of_plain_xgboost(
    world: World, random: np.random.Generator, task: str, every: int
) -> None:
    """A server that averages every so many rounds; an ensemble is one that averages at the end."""
    server = _Job(world, random, **_TASKS[task], sync_rounds=every)
    trained = server.train()
    expected = server.plainly(every, model_file.base_score(trained.booster))
    np.testing.assert_allclose(server.margins(trained.booster), expected, rtol=2e-4, atol=2e-4)
    assert trained.booster.num_boosted_rounds() == trained.rounds == _ROUNDS
    if every == _ROUNDS:
        texts = {"strategy": "ensemble", "sync_rounds": 1}
        server.chosen = server.chosen.model_copy(update=texts)
        assert _raw(server.train()) == _raw(trained)


@pytest.mark.parametrize("task", _TASKS)
def test_an_ensemble_is_the_weighted_average_of_what_ranks_grew(
    world: World, random: np.random.Generator, task: str
) -> None:
    """To 1e-6, with sampled rows and columns, and weights of rows."""
    sampling = {"subsample": 0.7, "colsample_bynode": 0.5}
    job = _Job(world, random, **_TASKS[task], **sampling, strategy="ensemble")
    job.weight = random.uniform(0.5, 2, _ROWS).astype(np.float32)
    prepared, weights = job.prepared()
    np.testing.assert_allclose(weights, [job.weight[part].sum() for part in job.parts], rtol=1e-6)
    margin = xgb.Booster(prepared.parameters, [prepared.boosted]).predict(
        prepared.boosted, output_margin=True
    )
    grown = alone.grow(prepared, margin, range(_ROUNDS), lambda _: True)
    mine = np.frombuffer(job.margins(grown).tobytes(), np.float32)
    every = world.allgather_arrays(mine)
    expected = np.average(np.array(every, np.float64), axis=0, weights=weights)
    found = job.margins(job.train().booster)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("every", [2, _ROUNDS])
def test_ranking_averages_scores_within_queries(
    world: World, random: np.random.Generator, every: int
) -> None:
    """Each query lies on one rank, so pairs are formed as in one process that has only these queries."""
    job = _Job(world, random, objective="rank:pairwise", sync_rounds=every)
    job.label = np.digitize(job.label, [-1, 0, 1]).astype(np.float32)
    queries = (_ROWS - 60) // _QUERY  # at least one for each rank
    job.ends[1:-1] = _QUERY * np.sort(random.choice(np.arange(1, queries), world.size - 1, replace=False))
    job.group = np.arange(_ROWS) // _QUERY
    trained = job.train()
    expected = job.plainly(every, model_file.base_score(trained.booster))
    np.testing.assert_allclose(job.margins(trained.booster), expected, rtol=2e-4, atol=2e-4)
    assert 0 < trained.scores["validation-ndcg@32"] <= 1


@pytest.mark.parametrize("strategy", ["ensemble", "parameter_server"])
@pytest.mark.parametrize("weightless", [False, True])
def test_empty_ranks_count_nothing(
    world: World, random: np.random.Generator, strategy: str, weightless: bool
) -> None:
    """Where one rank has all rows, or all of their weight, the trees are those of plain training, bit for bit."""
    job = _Job(world, random, **_CLASSES, strategy=strategy)
    owner = int(random.integers(world.size))
    if weightless:
        job.weight = np.zeros(_ROWS, np.float32)
        job.weight[job.parts[owner]] = 1
        job.weight[_ROWS - 60 :] = 1
    else:
        job.ends = np.where(np.arange(world.size + 1) <= owner, 0, _ROWS - 60)
    found = job.train()
    if world.rank == owner:
        by_itself = _Job(World(MPI.COMM_SELF), random, **_CLASSES)
        by_itself.features, by_itself.label, by_itself.weight = job.features, job.label, job.weight
        prepared = preparation.prepare(by_itself.world, by_itself.shards, by_itself.chosen, 1, None)
        plain = training.train(by_itself.world, by_itself.chosen, prepared, Progress())
        assert _trees(found.booster) == _trees(plain.booster)
        if not weightless:
            assert found.scores == plain.scores
    world.barrier()


@pytest.mark.parametrize(("strategy", "every"), [("ensemble", None), ("parameter_server", 4)])
def test_metrics_are_those_of_the_average_on_all_rows(
    world: World,
    random: np.random.Generator,
    capsys: pytest.CaptureFixture[str],
    strategy: str,
    every: int | None,
) -> None:
    """One line a round, whatever was averaged when: plain XGBoost says the same of the model so far."""
    job = _Job(world, random, strategy=strategy, sync_rounds=every, eval_metric="rmse,mae")
    trained = job.train()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(lines) == (_ROUNDS if world.rank == 0 else 0)
    rows = {"train": slice(_ROWS - 60), "validation": slice(_ROWS - 60, None)}
    for number, line in enumerate(lines):
        head, *told = line.split("\t")
        assert head == f"[{number}]"
        error = job.margins(trained.booster[: number + 1]) - job.label
        expected: dict[str, float] = {}
        for channel, part in rows.items():
            expected |= {f"{channel}-rmse": np.sqrt(np.mean(error[part].astype(np.float64) ** 2))}
            expected |= {f"{channel}-mae": np.mean(np.abs(error[part].astype(np.float64)))}
        found = dict(each.split(":") for each in told)
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert float(found[name]) == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize(
    "given",
    [
        {"subsample": 0.6, "colsample_bynode": 0.5, "seed": 3, "sync_rounds": 2},
        _CLASSES | {"colsample_bytree": 0.6},
        _CLASSES | {"multi_strategy": "multi_output_tree", "sync_rounds": 4},
        {"objective": "reg:absoluteerror", "subsample": 0.6, "sync_rounds": 2},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_a_server_stopped_at_each_average_ends_with_the_same_model(
    world: World, random: np.random.Generator, folder: CheckpointFolder, given: dict[str, Any]
) -> None:
    """Any one rank may be asked to stop: all end at the next average, with a checkpoint, and go on as if nothing was."""
    job = _Job(world, random, **given)
    whole = job.train()
    assert (whole.rounds, whole.interrupted, whole.checkpoint) == (_ROUNDS, False, None)
    for done in range(job.chosen.sync_rounds, _ROUNDS, job.chosen.sync_rounds):
        part = job.train(folder, stop=bool(random.integers(world.size) == world.rank))
        assert (part.rounds, part.interrupted, part.checkpoint) == (done, True, folder.model(done - 1))
    last = job.train(folder, stop=True)  # too late: the work is done
    assert (last.rounds, last.interrupted, last.checkpoint) == (_ROUNDS, False, folder.model(_ROUNDS - 1))
    assert last.scores == whole.scores
    assert _raw(last) == _raw(whole)
    again = job.train(folder)  # nothing is left to do but to write the model
    assert (_raw(again), again.scores, again.checkpoint) == (_raw(whole), whole.scores, None)


def test_another_layout_does_not_go_on(
    world: World, random: np.random.Generator, folder: CheckpointFolder
) -> None:
    """The model depends on the rows of each rank, so a checkpoint does."""
    job = _Job(world, random)
    job.train(folder, stop=True)
    job.chosen = job.chosen.model_copy(update={"sync_rounds": 3})
    weights = [*job.prepared()[1], 7.0]
    if world.rank == 0:  # the only one that reads them
        with pytest.raises(
            UserError, match=r"rows of each rank is .*, 7, but was .*; sync_rounds is 3, but was 1"
        ):
            job.checkpoints(folder, weights).newest()
    world.barrier()


def test_checkpoints_come_at_averages(
    world: World, random: np.random.Generator, folder: CheckpointFolder
) -> None:
    """The first one at or after each interval, and the end."""
    _Job(world, random, sync_rounds=4, checkpoint_interval=3, num_round=13).train(folder)
    if world.rank == 0:
        names = {path.name for path in folder.path.glob("xgboost*")}
        assert names == {f"xgboost-checkpoint.{number}" for number in (3, 7, 11, 12)}


def test_an_ensemble_keeps_no_checkpoints(
    world: World, random: np.random.Generator, folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no model before its end, and says so once."""
    caplog.set_level("INFO")
    assert _Job(world, random, strategy="ensemble").train(folder).checkpoint is None
    said = [each for each in caplog.messages if "no checkpoints are kept" in each]
    assert len(said) == (world.rank == 0)
    assert not folder.path.exists() or not list(folder.path.iterdir())


def test_a_stopped_ensemble_is_the_average_of_the_rounds_that_all_have(
    world: World, random: np.random.Generator
) -> None:
    """The rank that hears of it first sets the number of rounds."""
    job = _Job(world, random, strategy="ensemble")
    part = job.train(stop=bool(random.integers(world.size) == world.rank))
    assert (part.rounds, part.interrupted) == (1, True)
    job.chosen = job.chosen.model_copy(update={"num_round": 1})
    assert _raw(job.train()) == _raw(part)


@pytest.mark.parametrize(("strategy", "every"), [("ensemble", None), ("parameter_server", 7)])
def test_early_stopping_cuts_back_to_the_best_round(
    world: World, random: np.random.Generator, strategy: str, every: int | None
) -> None:
    """Also where more rounds were boosted before anybody knew."""
    noisy = {"num_round": 60, "eta": 0.9, "max_depth": 6, "strategy": strategy, "sync_rounds": every}
    whole = _Job(world, random, **noisy, early_stopping_rounds=2)
    trained = whole.train()
    assert trained.rounds < 58  # noise is learnt soon, so it stops
    assert trained.booster.num_boosted_rounds() == trained.rounds
    error = (whole.margins(trained.booster) - whole.label)[_ROWS - 60 :].astype(np.float64)
    assert trained.scores["validation-rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), abs=1e-6)


class _Told(Progress):
    """Keeps how far each phase came, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: dict[str, list[int]] = {}

    def phase(self, name: str, total: int | None = None, unit: str = "", *, done: int = 0) -> None:
        assert (total, unit) == (_ROUNDS, "rounds")
        self._told = self.phases.setdefault(name, [done])

    def advance(self, done: int, *, rows: int = 0) -> None:
        assert rows == 0
        self._told.append(done)


@pytest.mark.parametrize(("strategy", "phases"), [("ensemble", 2), ("parameter_server", 1)])
def test_each_round_is_told_once(
    world: World, random: np.random.Generator, strategy: str, phases: int
) -> None:
    """As it is grown, or where there is nothing to grow, as it is scored; nobody seems to fall back."""
    job = _Job(world, random, strategy=strategy, sync_rounds=4 if phases == 1 else None)
    if world.size > 1:
        job.ends[:2] = 0  # no rows for rank 0
    prepared, weights = job.prepared()
    progress = _Told()
    averaged.train(world, job.chosen, prepared, weights, progress)
    whole = list(range(_ROUNDS + 1))
    grows_nothing = phases == 2 and weights[world.rank] == 0
    assert list(progress.phases.values()) == [[0] if grows_nothing else whole, whole][:phases]


def test_matrices_are_left_as_they_were(world: World, random: np.random.Generator) -> None:
    """A script may train on them again: with the base margins that they had, or none."""
    job = _Job(world, random)
    for given in (None, np.float32(2)):
        prepared, weights = job.prepared()
        for each in prepared.matrices if given is not None else ():
            each.set_base_margin(np.full(each.num_row(), given, np.float32))
        before = [each.get_base_margin() for each in prepared.matrices]
        averaged.train(world, job.chosen, prepared, weights, Progress())
        for matrix, margin in zip(prepared.matrices, before, strict=True):
            np.testing.assert_array_equal(matrix.get_base_margin(), margin)


def test_without_metrics_the_model_is_the_same(world: World, random: np.random.Generator) -> None:
    """Margins of rows that are not trained on are then nobody's business."""
    job = _Job(world, random)
    scored = job.train()
    job.chosen = job.chosen.model_copy(update={"disable_default_eval_metric": True})
    silent = job.train()
    assert (silent.scores, _raw(silent)) == ({}, _raw(scored))


def test_a_model_to_go_on_from_is_refused() -> None:
    """Its rounds are no averages."""
    given = Channel("model", None)
    for strategy in ("ensemble", "parameter_server"):
        chosen = Hyperparameters.parse({"num_round": "1", "strategy": strategy})
        averaged.check(chosen, None)
        with pytest.raises(UserError, match=f"strategy={strategy} cannot go on from the model in channel"):
            averaged.check(chosen, given)
    averaged.check(Hyperparameters.parse({"num_round": "1"}), given)
