"""Whole jobs inside real ranks: every task and booster is learnt as plain XGBoost learns it from all rows."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost as xgb

from treering import algorithm, support, tasks
from treering.errors import UserError
from treering.hyperparameters import Hyperparameters
from treering.job import Channel, JobConfig, Resources
from treering.paths import Paths
from treering.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from treering.world import World

    type Floats = NDArray[np.float32]

_ROUNDS = 5
# Their leaves are fitted anew from the rows of each rank, and then averaged.
_AVERAGED = {"reg:absoluteerror", "reg:quantileerror"}
_NEEDS = {
    "multi:softmax": {"num_class": "3"},
    "multi:softprob": {"num_class": "3"},
    "reg:quantileerror": {"quantile_alpha": "[0.2, 0.8]"},
    "reg:expectileerror": {"expectile_alpha": "0.7"},
    "survival:aft": {"label_upper_column": "1"},
}
_GROUPS = {"group_column": "1"}


@dataclasses.dataclass(frozen=True)
class Rows:
    """A data set as its CSV columns: label, one further column of some role or none, features."""

    label: Floats
    features: Floats
    further: Floats | None = None

    def csv(self, rows: slice) -> str:
        """Some rows as text."""
        columns = [
            self.label[:, None],
            *([] if self.further is None else [self.further[:, None]]),
            self.features,
        ]
        table = np.concatenate([each[rows] for each in columns], axis=1)
        return "".join(
            ",".join("" if np.isnan(cell) else f"{cell:.9g}" for cell in row) + "\n" for row in table
        )


class Jobs:
    """Runs jobs in the ranks of this test."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self._numbers = itertools.count()
        self.channels: dict[str, Mapping[str, str | bytes]] = {}

    def train(self, content_type: str = "text/csv", **hyperparameters: str) -> xgb.Booster:
        """The model of a job with `channels`, as rank 0 saved it, on every rank."""
        paths = Paths(self._folder / str(next(self._numbers)))
        for name, files in self.channels.items():
            paths.channel(name).mkdir(parents=True)
            for file, content in files.items():
                kept = content.encode() if isinstance(content, str) else content
                (paths.channel(name) / file).write_bytes(kept)
        hosts = tuple(f"algo-{rank + 1}" for rank in range(self._world.size))
        channels = {name: Channel(name, None if name == "model" else content_type) for name in self.channels}
        config = JobConfig("test", Resources(hosts, hosts[self._world.rank], None), channels, hyperparameters)
        chosen = Hyperparameters.parse({"num_round": str(_ROUNDS), "max_depth": "3"} | hyperparameters)
        algorithm.run(self._world, config, chosen, paths, Progress())
        model = paths.model / "xgboost-model"
        content = model.read_bytes() if self._world.rank == 0 else b""
        sent = self._world.allgather_arrays(np.frombuffer(content, np.uint8))[0]
        return xgb.Booster(model_file=bytearray(sent.tobytes()))


@pytest.fixture
def jobs(world: World, tmp_path: Path) -> Jobs:
    """Jobs with files of their own on every rank, equal on all: replicated data."""
    return Jobs(world, tmp_path)


def _draw(random: np.random.Generator, objective: str, rows: int = 240) -> Rows:
    """Rows with few distinct values a column, so that plain XGBoost finds the same cuts."""
    features = random.integers(0, 12, (rows, 4)).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    signal = np.nan_to_num(features[:, 0] - features[:, 1]) / 4 + random.standard_normal(rows)
    further: NDArray[Any] | None = None
    label: NDArray[Any]
    match tasks.OBJECTIVES[objective].family:
        case "binary":
            label = signal > 0
        case "multiclass":
            label = np.digitize(signal, [-1, 1])
        case "ranking":
            label = np.digitize(signal, [0]) if objective == "rank:map" else np.digitize(signal, [-1, 0, 1])
            further = np.sort(random.integers(0, rows // 8, rows))
        case "survival":
            label = np.exp(signal)
            censored = random.random(rows) < 0.3
            if objective == "survival:aft":
                further = np.where(censored, np.inf, label)
            else:
                label = np.where(censored, -label, label)
        case _ if objective in {"reg:gamma", "reg:tweedie", "reg:squaredlogerror", "count:poisson"}:
            label = np.rint(np.exp(signal)) + (objective == "reg:gamma")
        case _ if objective == "reg:logistic":
            label = 1 / (1 + np.exp(-signal))
        case _:
            label = signal
    as_floats = [None if each is None else np.asarray(each, np.float32) for each in (label, further)]
    assert as_floats[0] is not None
    return Rows(as_floats[0], features, as_floats[1])


def _plain(
    rows: Rows, kind: type[xgb.DMatrix] = xgb.QuantileDMatrix, *, ranking: bool = False
) -> xgb.DMatrix:
    """All rows as plain XGBoost takes them."""
    described: dict[str, Any] = {}
    if ranking:
        described["qid"] = rows.further
    elif rows.further is not None:
        described = {"label_lower_bound": rows.label, "label_upper_bound": rows.further}
    return kind(rows.features, rows.label, **described)


def _settings(objective: str) -> dict[str, Any]:
    needs = {name: json.loads(value) for name, value in _NEEDS.get(objective, {}).items()}
    needs.pop("label_upper_column", None)
    return {"objective": objective, "max_depth": 3, "verbosity": 0, **needs}


@pytest.mark.parametrize("objective", tasks.OBJECTIVES)
def test_every_objective_is_learnt_as_plain_xgboost_learns_it(
    world: World, jobs: Jobs, random: np.random.Generator, objective: str
) -> None:
    """Predictions agree with those of one process that has all rows, or the loss where leaves are averaged."""
    rows = _draw(random, objective)
    cut = int(random.integers(20, 220))
    ranking = objective.startswith("rank:")
    jobs.channels = {"train": {"a.csv": rows.csv(slice(cut)), "b.csv": rows.csv(slice(cut, None))}}
    needs = _NEEDS.get(objective, {}) | (_GROUPS if ranking else {})
    if objective == "survival:cox" and world.size > 1:
        with pytest.raises(UserError, match="objective=survival:cox needs all rows in one process"):
            jobs.train(objective=objective, **needs)
        return
    booster = jobs.train(objective=objective, **needs)
    own = xgb.train(_settings(objective), _plain(rows, ranking=ranking), _ROUNDS)
    everything = xgb.DMatrix(rows.features, rows.label)
    ours, theirs = (model.predict(everything, output_margin=True) for model in (booster, own))
    if objective in _AVERAGED and world.size > 1:
        name = tasks.OBJECTIVES[objective].metric
        losses = [float(each.eval(everything).rpartition(":")[2]) for each in (booster, own)]
        assert losses[0] < 1.25 * losses[1], name
        return
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ({"tree_method": "approx"}, {"tree_method": "approx"}),
        ({"tree_method": "exact"}, {"tree_method": "exact"}),
        ({"updater": "grow_colmaker,prune"}, {"updater": "grow_colmaker,prune"}),
        (
            {"booster": "gblinear", "updater": "coord_descent"},
            {"booster": "gblinear", "updater": "coord_descent"},
        ),
    ],
)
def test_what_needs_all_rows_runs_on_one_host_and_is_refused_on_several(
    world: World, jobs: Jobs, random: np.random.Generator, given: dict[str, str], parameters: dict[str, str]
) -> None:
    """Two ranks of gblinear would train two models without a word."""
    rows = _draw(random, "reg:squarederror")
    jobs.channels = {"train": {"a.csv": rows.csv(slice(None))}}
    if world.size > 1:
        with pytest.raises(UserError, match="needs all rows in one process, but this job has"):
            jobs.train(**given)
        return
    booster = jobs.train(**given)
    own = xgb.train(_settings("reg:squarederror") | parameters, _plain(rows, xgb.DMatrix), _ROUNDS)
    everything = xgb.DMatrix(rows.features)
    np.testing.assert_allclose(booster.predict(everything), own.predict(everything), rtol=1e-4, atol=1e-4)


def test_an_update_refreshes_the_given_model(world: World, jobs: Jobs, random: np.random.Generator) -> None:
    """``process_type=update`` keeps the trees and renews their leaves, as plain XGBoost does."""
    rows, others = _draw(random, "reg:squarederror"), _draw(random, "reg:squarederror")
    old = xgb.train(_settings("reg:squarederror"), _plain(others, xgb.DMatrix), _ROUNDS)
    update = {"process_type": "update", "updater": "refresh"}
    jobs.channels = {"train": {"a.csv": rows.csv(slice(None))}}
    if world.size == 1:
        with pytest.raises(UserError, match="process_type=update needs the model to update"):
            jobs.train(**update)
    jobs.channels["model"] = {"xgboost-model": bytes(old.save_raw())}
    if world.size > 1:
        with pytest.raises(UserError, match="process_type=update needs all rows in one process"):
            jobs.train(**update)
        return
    booster = jobs.train(**update)
    own = xgb.train(_settings("reg:squarederror") | update, _plain(rows, xgb.DMatrix), _ROUNDS, xgb_model=old)
    everything = xgb.DMatrix(rows.features)
    np.testing.assert_allclose(booster.predict(everything), own.predict(everything), rtol=1e-5, atol=1e-5)
    assert booster.num_boosted_rounds() == _ROUNDS
    with pytest.raises(UserError, match="num_round=6, but xgboost-model in channel model has only 5 rounds"):
        jobs.train(**update, num_round="6")


@pytest.mark.parametrize(
    "objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "reg:absoluteerror"]
)
def test_training_goes_on_from_a_model_as_xgboost_does(
    world: World, jobs: Jobs, random: np.random.Generator, objective: str
) -> None:
    """The given trees stay, and those after them are what ``xgb_model=`` adds on the same rows."""
    rows, others = _draw(random, objective), _draw(random, objective)
    old = xgb.train(_settings(objective), _plain(others, xgb.DMatrix), 3)
    # One rank without rows would be refused where leaves are fitted anew.
    jobs.channels = {
        "train": {"a.csv": rows.csv(slice(None))},
        "validation": {"v.csv": others.csv(slice(50))},
        "model": {"xgboost-model": bytes(old.save_raw())},
    }
    booster = jobs.train(objective=objective, **_NEEDS.get(objective, {}))
    assert booster.num_boosted_rounds() == 3 + _ROUNDS
    assert bytes(booster[:3].save_raw()) == bytes(old.save_raw())
    own = xgb.train(_settings(objective), _plain(rows, xgb.DMatrix), _ROUNDS, xgb_model=old)
    if objective in _AVERAGED and world.size > 1:
        return
    everything = xgb.DMatrix(rows.features)
    ours, theirs = (model.predict(everything, output_margin=True) for model in (booster, own))
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


def test_a_given_model_sees_the_values_themselves(jobs: Jobs, random: np.random.Generator) -> None:
    """Its margins are not those of the new rows' bins, whose cuts are not its own: it would say something else."""
    others, rows = _draw(random, "reg:squarederror"), _draw(random, "reg:squarederror")
    below = np.where(others.features[:, 0] < 3, np.float32(5), np.float32(-5))
    old = xgb.train(_settings("reg:squarederror"), xgb.DMatrix(others.features, below), 3)
    # None of the new values is below 3, but the bin of the lowest has no lower end.
    features = np.maximum(rows.features, np.float32(3))
    jobs.channels = {
        "train": {"a.csv": dataclasses.replace(rows, features=features).csv(slice(None))},
        "model": {"xgboost-model": bytes(old.save_raw())},
    }
    booster = jobs.train()
    margin = old.predict(xgb.DMatrix(features), output_margin=True)
    binned = xgb.QuantileDMatrix(features, rows.label, base_margin=margin)
    of_bins = old.predict(xgb.QuantileDMatrix(features), output_margin=True)
    assert np.abs(of_bins - margin).max() > 1
    own = xgb.train(_settings("reg:squarederror"), binned, _ROUNDS)
    ours = booster.predict(xgb.DMatrix(features), output_margin=True)
    theirs = own.predict(xgb.DMatrix(features, base_margin=margin), output_margin=True)
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"objective": "binary:logistic"},
            "has objective=reg:squarederror, but the hyperparameters say objective=",
        ),
        ({"booster": "dart", "rate_drop": "0.5"}, "dropout would weigh the trees of the given model anew"),
        (
            {"num_parallel_tree": "3"},
            "has num_parallel_tree=1, but the hyperparameters say num_parallel_tree=3",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    jobs: Jobs, random: np.random.Generator, given: dict[str, str], told: str
) -> None:
    """On every rank, with what differs."""
    rows = _draw(random, "binary:logistic")
    old = xgb.train(_settings("reg:squarederror"), _plain(rows, xgb.DMatrix), 2)
    jobs.channels = {
        "train": {"a.csv": rows.csv(slice(None))},
        "model": {"xgboost-model": bytes(old.save_raw())},
    }
    with pytest.raises(UserError, match=told):
        jobs.train(**given)


@pytest.mark.parametrize("objective", ["quantile", "expectile"])
def test_a_model_of_fewer_levels_is_refused(jobs: Jobs, random: np.random.Generator, objective: str) -> None:
    """Its margins are one for each of its levels; both numbers are told."""
    rows = _draw(random, "reg:squarederror")
    settings = {"objective": f"reg:{objective}error", f"{objective}_alpha": [0.2, 0.8]}
    old = xgb.train(settings, xgb.DMatrix(rows.features, rows.label), 2)
    jobs.channels = {
        "train": {"a.csv": rows.csv(slice(None))},
        "model": {"xgboost-model": bytes(old.save_raw())},
    }
    with pytest.raises(
        UserError, match=r"has 2 output\(s\), but the hyperparameters ask for 3; a model can only"
    ):
        jobs.train(**{"objective": f"reg:{objective}error", f"{objective}_alpha": "[0.2, 0.5, 0.8]"})


def test_a_model_of_other_columns_is_refused(jobs: Jobs, random: np.random.Generator) -> None:
    """Both numbers are told."""
    rows = _draw(random, "reg:squarederror")
    old = xgb.train(_settings("reg:squarederror"), xgb.DMatrix(rows.features[:, :3], rows.label), 2)
    jobs.channels = {
        "train": {"a.csv": rows.csv(slice(None))},
        "model": {"xgboost-model": bytes(old.save_raw())},
    }
    with pytest.raises(UserError, match="has 3 columns, but the training data has 4"):
        jobs.train()


def test_columns_of_weight_zero_are_never_drawn(jobs: Jobs, random: np.random.Generator) -> None:
    """`feature_weights` reaches the column sampling of every rank."""
    rows = _draw(random, "reg:squarederror")
    jobs.channels = {"train": {"a.csv": rows.csv(slice(None))}}
    booster = jobs.train(feature_weights="[0, 0, 1, 1]", colsample_bynode="0.5")
    assert set(booster.get_score()) <= {"f2", "f3"}
    with pytest.raises(UserError, match="feature_weights has 2 entries, but the data has 4 columns"):
        jobs.train(feature_weights="[1, 1]", colsample_bynode="0.5")


def test_a_device_that_is_not_there_is_refused(world: World) -> None:
    """Before anything is read, on every rank."""
    chosen = Hyperparameters.parse({"num_round": "1", "device": "cuda"})
    with pytest.raises(UserError, match="device=cuda, but this image has XGBoost for the CPU"):
        support.check(world, chosen, ["train"], None)
