"""From shards to what the rounds work on: matrices, gradients, and XGBoost's parameters to go with them."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np
import xgboost as xgb

from treering import cuts, matrix, objectives, queries, schema
from treering.errors import UserError
from treering.memory_plan import Limits
from treering.metrics import Evaluator, Rows
from treering.sampling import Sampler
from treering.scoring import Scored
from treering.training import Gradients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.cuts import Cuts
    from treering.hyperparameters import Hyperparameters
    from treering.shard import Shard
    from treering.warm_start import WarmStart
    from treering.world import World

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What one rank boosts.

    Parameters
    ----------
    boosted
        The training rows of this rank, or one row that stands in for none.
    scored
        The channels to score, train first.
    gradients
        None leaves them to XGBoost.
    parameters
        XGBoost's own, complete.
    initial
        The model whose trees XGBoost itself goes on from, or updates.
    """

    boosted: xgb.DMatrix
    scored: Mapping[str, Scored]
    gradients: Gradients | None
    parameters: dict[str, object]
    initial: xgb.Booster | None = None

    @property
    def uses_histograms(self) -> bool:
        """Whether ranks add up histograms of bins."""
        return isinstance(self.boosted, xgb.QuantileDMatrix | xgb.ExtMemQuantileDMatrix)

    @property
    def matrices(self) -> list[xgb.DMatrix]:
        """All rows that XGBoost is to keep margins of."""
        return [self.boosted, *(each.matrix for each in self.scored.values())]


@dataclasses.dataclass(frozen=True, slots=True)
class Binned:
    """What is binned already, so that it can be used again.

    Parameters
    ----------
    edges
        The cuts of the training rows.
    matrices
        Channels' rows as they stand in their shards, without weights of columns.
    """

    edges: Cuts
    matrices: Mapping[str, xgb.DMatrix]


def prepare(
    world: World,
    shards: Mapping[str, Shard],
    chosen: Hyperparameters,
    threads: int,
    start: WarmStart | None,
    binned: Binned | None = None,
    limits: Limits | None = None,
) -> Prepared:
    """Build the matrices of all channels; collective, before XGBoost's ring exists.

    Parameters
    ----------
    world
        All ranks.
    shards
        This rank's rows by channel, train first; where there is a model to go on from, its margins are in
        ``base_margin`` already, unless ``chosen.one_host_only``.
    chosen, threads
        The job, and the cores of this rank.
    start
        The model to go on from.
    binned
        Used where it has the bins that the job asks for.
    limits
        On memory.

    Raises
    ------
    UserError
        When the data does not suit the objective, or ``reproducible=true`` cannot be had.
    """
    train = shards["train"]
    boostable = shards
    if not chosen.objective.startswith("rank:"):  # only our metrics look at queries: XGBoost would weigh them
        boostable = {name: dataclasses.replace(each, group=None) for name, each in shards.items()}
    parameters = chosen.xgboost_params() | {"max_bin": chosen.max_bin, "nthread": threads}
    parameters |= chosen.constraint_params(train.columns.count, train.columns.names)
    if chosen.one_host_only:
        _log_obstacle(world, chosen, f"{chosen.one_host_only} is XGBoost's own")
        plain = _plain(boostable, chosen, threads)
        scored = _scored(world, shards, chosen, threads, parameters, plain)
        return Prepared(plain["train"], scored, None, parameters, start.booster if start else None)
    gradients = _gradients(world, train, chosen, threads, parameters, start)
    boosted, built = _bin(
        world, boostable, chosen, threads, binned, limits or Limits(), exact=gradients is not None
    )
    return Prepared(
        boosted, _scored(world, shards, chosen, threads, parameters, built), gradients, parameters
    )


def _scored(
    world: World,
    shards: Mapping[str, Shard],
    chosen: Hyperparameters,
    threads: int,
    parameters: Mapping[str, object],
    built: Mapping[str, xgb.DMatrix],
) -> dict[str, Scored]:
    """The channels with their metrics; `built` are their matrices."""
    scored = {}
    for name, shard in shards.items():
        rows = Rows(shard.label, shard.weight, shard.group, shard.label_upper)
        evaluator = Evaluator.of(world, chosen.eval_metrics, chosen.objective, parameters, rows, threads)
        scored[name] = Scored(built[name], evaluator, shard.rows, chosen.outputs)
    return scored


def _plain(shards: Mapping[str, Shard], chosen: Hyperparameters, threads: int) -> dict[str, xgb.DMatrix]:
    """All rows in one process, as they are: for what XGBoost does without histograms."""
    train = shards["train"]
    if train.columns.categorical and chosen.algorithm in {"exact", "linear"}:
        column = train.columns.name(train.columns.categorical[0])
        raise UserError(f"{chosen.one_host_only} takes numbers only, but column {column} holds categories")
    weights = chosen.column_weights(train.columns.count, train.columns.names)
    return {name: matrix.plain(shard, threads, weights) for name, shard in shards.items()}


def _bin(
    world: World,
    shards: Mapping[str, Shard],
    chosen: Hyperparameters,
    threads: int,
    binned: Binned | None,
    limits: Limits,
    *,
    exact: bool,
) -> tuple[xgb.DMatrix, Mapping[str, xgb.DMatrix]]:
    """What to boost and what to evaluate, all against the exact cuts of the training rows of all ranks.

    The two differ only on a rank without training rows whose gradients come from outside (`exact`).
    """
    train = shards["train"]
    if binned is None or binned.edges.max_bin != chosen.max_bin:
        binned = Binned(edges_of(world, train, chosen.max_bin, threads, limits), {})
    edges = binned.edges
    weights = chosen.column_weights(train.columns.count, train.columns.names)
    bins = matrix.reference(edges, train.columns, threads)
    known = {} if weights else binned.matrices
    evaluated = {}
    for name, each in shards.items():
        limits.progress.phase(f"binning {name}", each.rows, "rows")
        if name in known:
            evaluated[name] = known[name]
        elif each is train:
            evaluated[name] = matrix.build(each, bins, threads, weights, limits, name)
        else:
            evaluated[name] = matrix.scored(each, bins, threads, limits, name)
        if limits.lets_go:
            each.features.release()
    lowest = schema.agree_labels(world, train.label).minimum
    boosted: xgb.DMatrix = evaluated["train"]
    if exact and train.rows == 0:
        boosted = matrix.stand_in(train, bins, threads, lowest, weights)
    for built in (boosted, *evaluated.values()):
        if isinstance(built, xgb.QuantileDMatrix | xgb.ExtMemQuantileDMatrix):
            cuts.verify(edges, built)
    return boosted, evaluated


def edges_of(world: World, train: Shard, max_bin: int, threads: int, limits: Limits | None = None) -> Cuts:
    """The exact cuts of the training rows of all ranks; collective."""
    limits = limits or Limits()
    limits.progress.phase("cuts", train.columns.count, "columns")
    sizes = {column: len(names) for column, names in train.categories.items()}
    return cuts.global_cuts(
        world,
        train.features,
        max_bin,
        categories=sizes,
        threads=threads,
        values_at_once=limits.values_at_once,
        told=limits.progress.advance,
    )


def _gradients(
    world: World,
    train: Shard,
    chosen: Hyperparameters,
    threads: int,
    parameters: dict[str, object],
    start: WarmStart | None,
) -> Gradients | None:
    """Where the gradients come from; completes `parameters` for them."""
    obstacle = objectives.obstacle(chosen.objective, parameters)
    if chosen.reproducible == "false":
        obstacle = "reproducible=false"
    if obstacle is not None:
        _log_obstacle(world, chosen, obstacle)
        _require_rows_everywhere(world, train, obstacle)
        return None
    objective = objectives.make(
        chosen.objective, parameters, world, train.label, train.weight, threads=threads
    )
    if "base_score" not in parameters:
        # With margins to start from it counts only for who asks the new trees alone.
        parameters["base_score"] = objective.base_score() if start is None else start.base_score
    # Rows are drawn by their identity, in the objective: XGBoost would draw them by their place on the rank.
    fraction = float(str(parameters.pop("subsample", 1.0)))
    sampler = Sampler(int(str(parameters.get("seed", 0))), fraction, train.pieces) if fraction < 1 else None
    return Gradients(objective, sampler)


def _log_obstacle(world: World, chosen: Hyperparameters, obstacle: str) -> None:
    if chosen.reproducible == "true":
        raise UserError(f"reproducible=true, but {obstacle}; use reproducible=auto to train all the same")
    if world.rank == 0:
        log.info("the model may depend on the number of hosts: %s", obstacle)


def _require_rows_everywhere(world: World, train: Shard, why: str) -> None:
    """XGBoost's own gradients and leaf values end in NaN or in a failed check on a rank without rows."""
    found = world.allgather([train.rows, train.host])
    without = [f"{rank} ({host})" for rank, (rows, host) in enumerate(found) if not rows]
    if not without:
        return
    raise UserError(
        f"rank(s) {', '.join(without)} have no training rows, and XGBoost cannot train without some on each ({why}); "
        + _more_rows(world, train)
    )


def _more_rows(world: World, train: Shard) -> str:
    """What helps a rank that has no rows; collective."""
    if train.total_rows < world.size:
        return f"there are fewer rows ({train.total_rows}) than ranks, so use fewer hosts"
    mine = np.array([0 if train.group is None else queries.sizes(train.group).size], np.int64)
    count = int(world.allreduce(mine)[0])
    if 0 < count < world.size:
        return (
            f"there are fewer queries ({count}) than ranks, and each stays whole on one, so use fewer hosts"
        )
    whole = ", but for queries, which stay whole" if count else ""
    return f"use fewer hosts, or FullyReplicated data, which is split evenly{whole}"
