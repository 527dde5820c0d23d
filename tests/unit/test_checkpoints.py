"""`treering.checkpoints` and `treering.run_identity`: when one is due, and who may go on from one."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost as xgb

from treering import objectives, run_identity
from treering.checkpoint_folder import CheckpointFolder
from treering.checkpoints import Checkpoints, interval, open_folder
from treering.errors import PlatformError, UserError
from treering.features import Features
from treering.hyperparameters import Hyperparameters
from treering.identity import Pieces
from treering.paths import Paths
from treering.preparation import Prepared
from treering.readers.batch import Columns
from treering.shard import Shard
from treering.training import Gradients

if TYPE_CHECKING:
    from pathlib import Path

    from unit.conftest import Ranks

    from treering.run_identity import Identity
    from treering.world import World

_FEATURES = np.arange(12, dtype=np.float32).reshape(6, 2)
_SCORES = {"train-rmse": 0.5}


def _chosen(**more: object) -> Hyperparameters:
    given = {"num_round": 100, **more}
    return Hyperparameters.parse({name: str(value) for name, value in given.items()})


def _shard(rows: slice = slice(None), **more: Any) -> Shard:
    """Some rows of a channel that has six."""
    features = _FEATURES[rows]
    shard = Shard(Columns(2), Features.of(features), features[:, 0], None, None, Pieces.of([]), 6)
    return dataclasses.replace(shard, **more)


def _prepared(**more: Any) -> Prepared:
    matrix = xgb.DMatrix(_FEATURES, _FEATURES[:, 0])
    parameters = {"objective": "reg:squarederror", "nthread": 1, "eval_metric": ["rmse"], "max_bin": 256}
    fixed: dict[str, Any] = {"boosted": matrix, "scored": {}, "gradients": None}
    initial = more.pop("initial", None)
    return Prepared(**fixed, parameters=parameters | more, initial=initial)


def _describe(
    ranks: Ranks, chosen: Hyperparameters, prepared: Prepared, shards: dict[str, Shard]
) -> Identity:
    return ranks(1, lambda world: _described(world, chosen, prepared, shards))[0]


def _described(
    world: World, chosen: Hyperparameters, prepared: Prepared, shards: dict[str, Shard]
) -> Identity:
    rows = run_identity.describe_rows(world, chosen, shards)
    return run_identity.describe(chosen, prepared, rows)


def _booster(rounds: int) -> xgb.Booster:
    return xgb.train({"nthread": 1}, xgb.DMatrix(_FEATURES, _FEATURES[:, 0]), rounds)


@pytest.mark.parametrize(
    ("rounds", "asked", "expected"),
    [
        (1, None, 10),
        (30, None, 10),
        (200, None, 10),
        (201, None, 11),
        (1000, None, 50),
        (1000, 3, 3),
        (9, 1, 1),
    ],
)
def test_the_interval_follows_from_the_rounds_alone(rounds: int, asked: int | None, expected: int) -> None:
    """What was asked for; else a twentieth of the run, but not below 10 rounds."""
    more = {} if asked is None else {"checkpoint_interval": asked}
    chosen = _chosen(num_round=rounds, **more)
    assert interval(chosen) == expected


def test_all_ranks_know_whether_there_is_a_folder(ranks: Ranks, tmp_path: Path) -> None:
    """Only rank 0's config file counts: hosts are told the same, but each has a folder of its own."""
    folders = [tmp_path / str(rank) for rank in range(3)]

    def opened(world: World) -> CheckpointFolder | None:
        return open_folder(world, Paths(folders[world.rank]))

    assert ranks(3, opened) == [None, None, None]
    for folder in folders[1:]:
        Paths(folder).config.mkdir(parents=True)
        Paths(folder).checkpoint_config.write_text("broken")
    assert ranks(3, opened) == [None, None, None]
    Paths(folders[0]).config.mkdir(parents=True)
    Paths(folders[0]).checkpoint_config.write_text("{}")
    found = ranks(3, opened)
    assert [each.path for each in found if each is not None] == [folders[0] / "checkpoints"] * 3
    assert (folders[0] / "checkpoints").is_dir()
    Paths(folders[0]).checkpoint_config.write_text("broken")
    with pytest.raises(PlatformError, match="cannot be read"):
        ranks(3, opened)


def test_all_ranks_go_on_from_the_same(ranks: Ranks, tmp_path: Path) -> None:
    """Rank 0 alone writes and reads; state and history reach every rank unchanged."""
    chosen, booster = _chosen(), _booster(4)
    identity: Identity = {"settings": {"eta": "0.3"}, "train": {"rows": "6"}}

    def work(world: World) -> Any:
        folder = CheckpointFolder(tmp_path if world.rank == 0 else tmp_path / "none of rank 0's business")
        checkpoints = Checkpoints(world, folder, chosen, identity, lambda booster: booster)
        nothing = checkpoints.newest()
        written = checkpoints.save(booster, [_SCORES] * 4)
        world.barrier()
        return nothing, written.name, checkpoints.newest()

    results = ranks(3, work)
    state = booster.__getstate__()["handle"]
    for nothing, written, found in results:
        assert nothing is None
        assert written == "xgboost-checkpoint.3"
        assert (found.number, found.state, found.identity) == (3, bytes(state), identity)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["treering-state.3", "xgboost-checkpoint.3"]
    assert (tmp_path / "xgboost-checkpoint.3").read_bytes() == bytes(booster.save_raw("ubj"))


def test_the_model_file_is_what_the_job_would_save(ranks: Ranks, tmp_path: Path) -> None:
    """Attributes that the job's own model gets are in the checkpoint's model as well."""

    def as_model(booster: xgb.Booster) -> xgb.Booster:
        booster.set_attr(categories="{}")
        return booster

    def work(world: World) -> Path:
        return Checkpoints(world, CheckpointFolder(tmp_path), _chosen(), {}, as_model).save(
            _booster(2), [_SCORES] * 2
        )

    (path,) = ranks(1, work)
    assert xgb.Booster(model_file=bytearray(path.read_bytes())).attributes() == {"categories": "{}"}


def test_a_run_is_the_same_in_every_layout(ranks: Ranks) -> None:
    """Ranks, threads, metrics: none of them makes it another run."""
    whole = _describe(ranks, _chosen(), _prepared(), {"train": _shard()})
    divided = ranks(
        3,
        lambda world: _described(
            world,
            _chosen(eval_metric="mae"),
            _prepared(nthread=7, eval_metric=["mae"]),
            {"train": _shard(slice(world.rank, None, 3))},
        ),
    )
    assert divided == [whole] * 3


_START = _booster(1)
_CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "objective": ({}, {"objective": "reg:gamma"}, {}, "objective is reg:gamma, but was reg:squarederror"),
    "bins": ({}, {"max_bin": 64}, {}, "max_bin is 64, but was 256"),
    "more": ({}, {"seed": 5}, {}, "seed is 5, but was not given"),
    "sampling": ({"subsample": 0.5}, {}, {}, "subsample is 0.5, but was 1.0"),
    "start": ({}, {"initial": _START}, {}, "model to start from is "),
    "label": ({}, {}, {"label": _FEATURES[:, 1]}, "values of train is "),
    "weight": ({}, {}, {"weight": np.ones(6, np.float32)}, "values of train is "),
    "margin": ({}, {}, {"base_margin": np.ones(6, np.float32)}, "values of train is "),
    "feature": ({}, {}, {"features": Features.of(_FEATURES + 1)}, "values of train is "),
    "rows": ({}, {}, {"total_rows": 7}, "rows of train is 7, but was 6"),
    "names": ({}, {}, {"columns": Columns(2, ("a", "b"))}, "names of train is "),
    "categories": ({}, {}, {"categories": {0: ("x",)}}, "names of train is "),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_another_run_is_refused_with_a_diff(ranks: Ranks, tmp_path: Path, change: str) -> None:
    """What would make nonsense of going on ends the job, with both values; the same run goes on."""
    chosen, parameters, fields, sentence = _CHANGES[change]
    before = _describe(ranks, _chosen(), _prepared(), {"train": _shard()})
    after = _describe(ranks, _chosen(**chosen), _prepared(**parameters), {"train": _shard(**fields)})
    with pytest.raises(UserError) as raised:
        _go_on(ranks, tmp_path, before, after, _chosen(**chosen))
    said = str(raised.value)
    assert said.startswith(f"{tmp_path}/xgboost-checkpoint.0 was made by another run: {sentence}")
    assert said.endswith("; use what it was made with, or another checkpoint folder")
    _go_on(ranks, tmp_path, before, before, _chosen())


def _go_on(ranks: Ranks, folder: Path, before: Identity, after: Identity, chosen: Hyperparameters) -> None:
    def work(world: World) -> None:
        ready = CheckpointFolder(folder)
        Checkpoints(world, ready, chosen, before, lambda booster: booster).save(_booster(1), [_SCORES])
        assert Checkpoints(world, ready, chosen, after, lambda booster: booster).newest() is not None

    ranks(1, work)


def test_only_the_first_differences_are_listed(ranks: Ranks, tmp_path: Path) -> None:
    """Long values and long lists do not bury the sentence."""
    before: Identity = {"settings": {f"p{number}": "x" * 500 for number in range(9)}}
    after: Identity = {"settings": dict.fromkeys(before["settings"], "y" * 500)}
    with pytest.raises(UserError) as raised:
        _go_on(ranks, tmp_path, before, after, _chosen())
    assert "; and 3 more; use" in str(raised.value)
    assert len(str(raised.value)) < 1500


def test_validation_rows_count_where_early_stopping_follows_them(ranks: Ranks, tmp_path: Path) -> None:
    """Other rows have other scores; without early stopping, or without it before, they bear on nothing."""
    stopping = _chosen(early_stopping_rounds=3)
    shards = {"train": _shard(), "validation": _shard()}
    others = shards | {"validation": _shard(label=_FEATURES[:, 1])}
    plain = _describe(ranks, _chosen(), _prepared(), shards)
    assert _describe(ranks, _chosen(), _prepared(), others) == plain
    before = _describe(ranks, stopping, _prepared(), shards)
    after = _describe(ranks, stopping, _prepared(), others)
    with pytest.raises(UserError, match="values of validation is"):
        _go_on(ranks, tmp_path, before, after, stopping)
    _go_on(ranks, tmp_path, plain, after, stopping)
    _go_on(ranks, tmp_path, before, plain, _chosen())


@pytest.mark.parametrize("reproducible", ["auto", "true"])
def test_another_processor_is_told_or_refused(
    ranks: Ranks, tmp_path: Path, caplog: pytest.LogCaptureFixture, reproducible: str
) -> None:
    """Its last bits may differ: worth a line, and an end only where the same model was demanded."""
    caplog.set_level(logging.INFO)
    chosen = _chosen(reproducible=reproducible)
    before = _describe(ranks, chosen, _prepared(), {"train": _shard()})
    after = {**before, run_identity.PROCESSOR: {"its exp and log": "other bits"}}
    if reproducible == "true":
        with pytest.raises(UserError, match="its exp and log of the processor is other bits, but was"):
            _go_on(ranks, tmp_path, before, after, chosen)
    else:
        _go_on(ranks, tmp_path, before, after, chosen)
        assert sum("another kind of processor" in record.getMessage() for record in caplog.records) == 1


def test_the_prepared_gradients_are_part_of_the_run(ranks: Ranks) -> None:
    """Exact gradients and XGBoost's own make different models."""
    own = _prepared()
    objective = ranks(1, lambda world: objectives.make("reg:squarederror", {}, world, _FEATURES[:, 0]))[0]
    exact = dataclasses.replace(own, gradients=Gradients(objective, None))
    found = [_describe(ranks, _chosen(), each, {"train": _shard()})["settings"] for each in (own, exact)]
    assert [each["gradients"] for each in found] == ["XGBoost's own", "exact"]
