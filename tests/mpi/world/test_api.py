"""`treering.load`, `train`, `allreduce` and `save` inside real ranks: what a script gets is what the job gets."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost as xgb

import treering
from treering import algorithm, session
from treering.errors import UserError
from treering.hyperparameters import Hyperparameters
from treering.job import Channel, JobConfig, Resources
from treering.paths import Paths
from treering.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from treering.session import Session
    from treering.world import World

_PARAMETERS: dict[str, object] = {"objective": "reg:squarederror", "max_depth": 3, "eta": 0.3}
_ROUNDS = 6


@dataclasses.dataclass
class Script:
    """A job's files, and the session that a script in it would have."""

    world: World
    paths: Paths
    channels: dict[str, Channel] = dataclasses.field(default_factory=dict)

    def channel(self, name: str, table: NDArray[np.float32], content_type: str | None = "text/csv") -> None:
        """Add a channel of the rows of `table`, label first, in two files that every host has."""
        folder = self.paths.channel(name)
        folder.mkdir(parents=True)
        for file, rows in zip(("a.csv", "b.csv"), np.array_split(table, [len(table) // 3]), strict=True):
            (folder / file).write_text(
                "".join(",".join(f"{cell:.9g}" for cell in row) + "\n" for row in rows)
            )
        self.channels[name] = Channel(name, content_type)

    def config(self, hyperparameters: Mapping[str, object]) -> JobConfig:
        """The job as its platform describes it."""
        hosts = tuple(f"algo-{rank + 1}" for rank in range(self.world.size))
        resources = Resources(hosts, hosts[self.world.rank], None)
        return JobConfig("test", resources, self.channels, hyperparameters)

    def begin(self, **hyperparameters: object) -> Session:
        """Start as a script does."""
        return session.begin(self.paths, self.config(hyperparameters), Progress())

    def checkpoint_to(self, folder: Path) -> None:
        """Give the job a folder for checkpoints, rank 0's."""
        self.paths.config.mkdir(parents=True, exist_ok=True)
        self.paths.checkpoint_config.write_text(f'{{"LocalPath": "{folder}"}}')


@pytest.fixture
def script(world: World, tmp_path: Path) -> Script:
    """A job without channels."""
    return Script(world, Paths(tmp_path / "ml"))


def _table(random: np.random.Generator, rows: int = 200) -> NDArray[np.float32]:
    features = random.standard_normal((rows, 4)).astype(np.float32)
    label = features[:, 0] - 2 * features[:, 1] + random.standard_normal(rows)
    return np.column_stack([label, features]).astype(np.float32)


def _sha256(booster: xgb.Booster) -> str:
    return hashlib.sha256(bytes(booster.save_raw("ubj"))).hexdigest()


def test_a_script_trains_the_model_of_the_built_in_job(
    world: World, script: Script, random: np.random.Generator
) -> None:
    """Byte for byte, by two calls, whatever else the job has among its hyperparameters."""
    script.channel("training", _table(random))
    script.channel("validation", _table(random, 50))
    given = {name: str(value) for name, value in _PARAMETERS.items()} | {"num_round": str(_ROUNDS)}
    algorithm.run(world, script.config(given), Hyperparameters.parse(given), script.paths)
    script.begin(epochs="5")
    rows, held_out = treering.load("train"), treering.load("validation")
    model = treering.train(_PARAMETERS, rows, _ROUNDS, {"validation": held_out})
    written = script.paths.model / "xgboost-model"
    if world.rank == 0:
        assert hashlib.sha256(written.read_bytes()).hexdigest() == _sha256(model)
        written.unlink()
    treering.save(model)
    assert written.exists() == (world.rank == 0)
    again = treering.train(_PARAMETERS | {"num_round": _ROUNDS}, rows)
    assert _sha256(again) == _sha256(model)


def test_a_matrix_is_xgboosts_own_with_the_cuts_of_all_ranks(
    world: World, script: Script, random: np.random.Generator
) -> None:
    """Each rank has its rows; bins are those that one process makes of all of them; predictions are per row."""
    table = _table(random, 90)
    script.channel("train", table)
    script.begin()
    rows = treering.load("train", max_bin=16)
    assert isinstance(rows, xgb.QuantileDMatrix)
    assert rows.total_rows == 90
    assert treering.allreduce(rows.num_row()) == 90
    np.testing.assert_array_equal(rows.get_label(), rows.shard.label)
    labels = np.concatenate(world.allgather_arrays(rows.shard.label))
    np.testing.assert_array_equal(np.sort(labels), np.sort(table[:, 0]))
    script.begin()
    cuts = [int(each) for each in rows.get_quantile_cut()[0]]
    assert world.allgather(cuts) == [cuts] * world.size
    model = treering.train({"max_depth": 2}, rows, 2)
    assert model.predict(rows).shape == (rows.num_row(),)
    assert '"max_bin":"16"' in model.save_config().replace(" ", "")


def test_other_objectives_take_what_was_loaded(script: Script, random: np.random.Generator) -> None:
    """Labels are checked against the objective, and queries are told apart, in train and not before."""
    table = _table(random, 60)
    table[:, 0] = np.digitize(table[:, 0], [-1, 1])
    table[:, 1] = np.repeat(np.arange(12), 5)
    script.channel("train", table)
    script.begin(group_column="1")
    rows = treering.load("train")
    ranked = treering.train({"objective": "rank:ndcg"}, rows, 2)
    assert ranked.num_boosted_rounds() == 2
    classes = treering.train({"objective": "multi:softprob", "num_class": 3}, rows, 2)
    assert classes.num_boosted_rounds() == 2
    with pytest.raises(UserError, match="channel train: "):
        treering.train({"objective": "binary:logistic"}, rows, 2)


def test_a_rank_without_rows_takes_part(world: World, script: Script, random: np.random.Generator) -> None:
    """One row a channel is enough; ranks without any predict nothing."""
    table = _table(random, 1)
    script.channel("train", table)
    script.channel("validation", table)
    script.begin()
    rows = treering.load("train")
    model = treering.train(_PARAMETERS, rows, 2, {"validation": treering.load("validation")})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Empty dataset")  # XGBoost's own word on a rank without rows
        predicted = model.predict(rows)
    assert predicted.size == rows.num_row()
    assert treering.allreduce(predicted.size) == 1
    assert world.size == 1 or treering.allreduce(rows.num_row(), "min") == 0


def test_checkpoints_of_several_trainings_stay_apart(
    world: World, script: Script, random: np.random.Generator, tmp_path: Path
) -> None:
    """A script that is run again goes on from its own checkpoints, call by call."""
    script.channel("train", _table(random))
    kept = tmp_path / "checkpoints"
    script.checkpoint_to(kept)
    models: list[str] = []
    for _ in range(2):
        script.begin()
        rows = treering.load("train")
        trained = [treering.train(_PARAMETERS | {"max_depth": depth}, rows, _ROUNDS) for depth in (2, 4)]
        models += map(_sha256, trained)
    assert models[:2] == models[2:]
    assert models[0] != models[1]
    if world.rank == 0:
        for folder in (kept, kept / "train-2"):
            assert f"xgboost-checkpoint.{_ROUNDS - 1}" in {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("op", ["sum", "max", "min"])
def test_allreduce_keeps_shape_and_type(world: World, script: Script, op: str) -> None:
    """Numbers, lists and arrays; booleans are counted."""
    script.begin()
    mine = np.full((2, 3), world.rank, np.float32)
    expected = {"sum": sum(range(world.size)), "max": world.size - 1, "min": 0}[op]
    combined = treering.allreduce(mine, op)  # type: ignore[arg-type]  # one of the three
    assert combined.dtype == np.float32
    np.testing.assert_array_equal(combined, np.full((2, 3), expected))
    assert treering.allreduce(world.rank, op) == expected  # type: ignore[arg-type]  # as above
    assert treering.allreduce([True, world.rank == 0]).tolist() == [world.size, 1]
    assert treering.allreduce(np.empty((0, 4))).shape == (0, 4)


def test_arrays_that_do_not_fit_together_are_told(world: World, script: Script) -> None:
    """MPI itself would hang, or add up what does not belong together."""
    script.begin()
    with pytest.raises(UserError, match=r"takes numbers of 32 or 64 bits, not <U1"):
        treering.allreduce(["a"])
    with pytest.raises(UserError, match="takes numbers of 32 or 64 bits, not float16"):
        treering.allreduce(np.zeros(2, np.float16))
    if world.size > 1:
        with pytest.raises(
            UserError, match=r"sum of int64 of shape \(\d,\), but rank \d sum of int64 of shape"
        ):
            treering.allreduce(np.zeros(1 + (world.rank > 0), np.int64))


@pytest.mark.parametrize(
    ("channel", "options", "told"),
    [
        ("validation", {}, "load train before validation"),
        (
            "train",
            {"label": 1},
            "treering.load does not know label; it takes base_margin_column, csv_weights",
        ),
        ("train", {"max_bin": 1}, "Hyperparameter max_bin: value 1 is out of range"),
    ],
)
def test_what_cannot_be_loaded_is_told(
    script: Script, random: np.random.Generator, channel: str, options: dict[str, object], told: str
) -> None:
    """In one sentence, on every rank."""
    script.channel("train", _table(random, 9))
    script.channel("validation", _table(random, 9))
    script.begin()
    with pytest.raises(UserError, match=told):
        treering.load(channel, **options)  # type: ignore[arg-type]  # any option


def test_channels_that_are_not_there_are_told(script: Script, random: np.random.Generator) -> None:
    """With those that are; any name will do for a channel beside train."""
    script.channel("mine", _table(random, 9))
    script.begin()
    with pytest.raises(UserError, match=r"there is no channel train \(channels of this job: mine\)"):
        treering.load("train")
    script.channel("training", _table(random, 9))
    script.begin()
    treering.load("train")
    with pytest.raises(UserError, match="there is no channel test"):
        treering.load("test")
    assert treering.load("mine").total_rows == 9


def test_what_cannot_be_trained_is_told(script: Script, random: np.random.Generator) -> None:
    """The same sentences as for the job's hyperparameters, and those about arguments."""
    table = _table(random, 9)
    table[:, 0] = np.rint(np.abs(table[:, 0]))
    script.channel("train", table)
    script.begin()
    rows = treering.load("train")
    for params, told in (
        ({"max_dept": 3}, "max_depth"),
        ({}, "num_round: required"),
        ({"num_round": 0}, "num_round"),
        ({"num_round": 2, "objective": "rank:ndcg"}, "needs the query of each row"),
    ):
        with pytest.raises(UserError, match=told):
            treering.train(params, rows)
    with pytest.raises(UserError, match=r"takes what treering[.]load gives, not DMatrix"):
        treering.train({}, xgb.DMatrix(np.zeros((1, 2))), 1)  # type: ignore[arg-type]  # a user's mistake
    with pytest.raises(UserError, match="give other rows another name"):
        treering.train({}, rows, 1, {"train": rows})
    with pytest.raises(UserError, match="evals takes names and rows, such as"):
        treering.train({}, rows, 1, [(rows, "validation")])  # type: ignore[arg-type]  # as XGBoost's own train has it
    with pytest.raises(UserError, match="takes a model of XGBoost's, not dict"):
        treering.save({})  # type: ignore[arg-type]  # as above


def test_models_are_saved_below_their_folder_alone(
    world: World, script: Script, random: np.random.Generator
) -> None:
    """By any name that leads nowhere else."""
    script.channel("train", _table(random, 30))
    script.begin()
    model = treering.train({}, treering.load("train"), 1)
    treering.save(model, "fold-1/model.ubj")
    assert (script.paths.model / "fold-1" / "model.ubj").exists() == (world.rank == 0)
    for name in ("", ".", "../model", "a/../../b", str(script.paths.base / "model")):
        with pytest.raises(UserError, match="is no name of a file below the model folder"):
            treering.save(model, name)


def test_numbers_of_numpy_are_numbers(script: Script, random: np.random.Generator) -> None:
    """A search over parameters draws them from numpy."""
    script.channel("train", _table(random, 30))
    script.begin()
    rows = treering.load("train", max_bin=np.int64(32))
    params = {"max_depth": np.int64(3), "eta": np.float32(0.25)}
    model = treering.train(params, rows, num_round=np.int32(2))  # type: ignore[arg-type]  # nearly an int
    assert model.num_boosted_rounds() == 2
