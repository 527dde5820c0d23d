"""The built-in algorithm on one rank: shards, agreement, cuts, matrices, rounds, model."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
from typing import TYPE_CHECKING

import pyarrow as pa
import xgboost as xgb
from scipy import sparse

from treering import artifacts, collective, cuts, losses, matrix, objectives, schema, shard, training
from treering.cluster import Cluster
from treering.errors import UserError
from treering.readers import formats
from treering.report import ADDRESS_VARIABLE, THREADS_VARIABLE
from treering.sampling import Sampler
from treering.shard import Place, Shard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.categories import Categories
    from treering.hyperparameters import Hyperparameters
    from treering.job import JobConfig
    from treering.paths import Paths
    from treering.training import Trained
    from treering.world import World

DEFAULT_MAX_BIN = 256  # XGBoost's

log = logging.getLogger(__name__)


def run(world: World, config: JobConfig, chosen: Hyperparameters, paths: Paths) -> None:
    """Train on all ranks of `world`; when it returns anywhere, rank 0 has the model on disk.

    Raises
    ------
    UserError
        When the data does not fit the job, or the hosts' data does not fit together.
    PlatformError
        When files or folders are not as they should be.
    """
    threads = chosen.nthread or int(os.environ.get(THREADS_VARIABLE, "1"))
    pa.set_cpu_count(threads)
    place = _place(world, config)
    if world.rank == 0 and paths.checkpoint_config.exists():
        log.info("checkpointconfig.json is given, but this version writes no checkpoints yet")
    schema.agree_settings(world, place.host, settings(chosen))
    _refuse_unsupported(world, chosen)
    shards = _load(world, place, config, chosen, paths)
    gradients, parameters = _gradients(world, shards["train"], chosen, threads)
    boosted, evaluated = _bin(world, shards, chosen, threads, exact=gradients is not None)
    if world.rank == 0:
        log.info("parameters: %s", ", ".join(f"{name}={value}" for name, value in parameters.items()))
    with collective.communicator(world, os.environ.get(ADDRESS_VARIABLE, "127.0.0.1")):
        trained = training.train(world, chosen, parameters, boosted, evaluated, gradients)
        if world.rank == 0:
            _save(trained, shards["train"].categories, paths)
        world.barrier()  # nobody leaves before the model is on disk


def _refuse_unsupported(world: World, chosen: Hyperparameters) -> None:
    """Raise UserError for what is accepted by name but cannot be trained here, before anything is read."""
    if chosen.one_host_only is not None:
        raise UserError(f"{chosen.one_host_only} is not supported; treering trains with tree_method=hist")
    if chosen.objective.startswith(("rank:", "survival:aft")):
        raise UserError(f"objective={chosen.objective} is not supported yet")
    if world.size > 1 and "cox" in {chosen.objective[-3:], *(name[:3] for name in chosen.eval_metrics)}:
        raise UserError("survival:cox and cox-nloglik need all rows on one host; use instance_count=1")
    if str(chosen.device or "cpu").startswith("cuda") and not xgb.build_info()["USE_CUDA"]:
        raise UserError(f"device={chosen.device}, but this image has XGBoost for the CPU; use the GPU image")
    for metric in chosen.eval_metrics:
        if chosen.xgboost_metric(metric) is None:
            raise UserError(f"eval_metric {metric} is not supported yet")
    if world.rank == 0:
        for note in chosen.notes:
            log.info("%s", note)


def settings(chosen: Hyperparameters) -> dict[str, object]:
    """What all hosts must have alike, besides versions."""
    settings = chosen.model_dump()
    if chosen.reproducible != "false":
        settings["the processor's exp and log (reproducible=false trains on a mix)"] = losses.fingerprint()
    return settings


def _place(world: World, config: JobConfig) -> Place:
    resources = config.resources
    cluster = Cluster.of(resources.hosts, resources.current_host, resources.interface, {})
    return Place(cluster.hosts, cluster.me, world.size // len(cluster.hosts))


def _load(
    world: World, place: Place, config: JobConfig, chosen: Hyperparameters, paths: Paths
) -> Mapping[str, Shard]:
    """The shards of all channels, train first, checked against each other and the objective."""
    shards: dict[str, Shard] = {}
    for name, channel in agreed.items():
        loaded = shard.load(
            world,
            place,
            channel,
            paths.channel(channel.name),
            functools.partial(formats.reader_for, channel.content_type, csv_weights=chosen.csv_weights),
            shards["train"].categories if shards else None,
        )
        labels = schema.agree_labels(world, loaded.label)
        schema.check_labels(labels, chosen, name)
        if shards:
            loaded = _aligned(shards["train"], loaded, name)
        shards[name] = loaded
        if world.rank == 0:
            size = f" and {loaded.columns.count} columns" if name == "train" else ""
            log.info("%s matrix has %d rows%s", name.capitalize(), loaded.total_rows, size)
    return shards


def _aligned(train: Shard, other: Shard, name: str) -> Shard:
    """Another channel with the training columns; sparse rows may use fewer of them."""
    features = other.features
    columns = schema.same_columns(train.columns, other.columns, name, sparse=sparse.issparse(features))
    if sparse.issparse(features):
        narrow = sparse.csr_array(features)
        shape = (other.rows, columns.count)
        features = sparse.csr_array((narrow.data, narrow.indices, narrow.indptr), shape=shape)
    return dataclasses.replace(other, columns=columns, features=features)


def _bin(
    world: World, shards: Mapping[str, Shard], chosen: Hyperparameters, threads: int, *, exact: bool
) -> tuple[xgb.QuantileDMatrix, Mapping[str, xgb.QuantileDMatrix]]:
    """What to boost and what to evaluate, all against the exact cuts of the training rows of all ranks.

    The two differ only on a rank without training rows whose gradients come from outside (`exact`).
    """
    train = shards["train"]
    sizes = {column: len(names) for column, names in train.categories.items()}
    max_bin = chosen.max_bin or DEFAULT_MAX_BIN
    edges = cuts.global_cuts(world, train.features, max_bin, categories=sizes, threads=threads)
    bins = matrix.reference(edges, train.columns, threads)
    evaluated = {name: matrix.build(each, bins, threads) for name, each in shards.items()}
    lowest = schema.agree_labels(world, train.label).minimum
    boosted = evaluated["train"]
    if exact and train.rows == 0:
        boosted = matrix.stand_in(train, bins, threads, lowest)
    for each in (boosted, *evaluated.values()):
        cuts.verify(edges, each)
    return boosted, evaluated


def _gradients(
    world: World, train: Shard, chosen: Hyperparameters, threads: int
) -> tuple[training.Gradients | None, dict[str, object]]:
    """Where the gradients come from, and XGBoost's parameters to go with that."""
    parameters = chosen.xgboost_params() | {
        "max_bin": chosen.max_bin or DEFAULT_MAX_BIN,
        "nthread": threads,
        "eval_metric": [chosen.xgboost_metric(metric) for metric in chosen.eval_metrics],
    }
    parameters |= chosen.constraint_params(train.columns.count, train.columns.names)
    obstacle = objectives.obstacle(chosen.objective, parameters)
    if chosen.reproducible == "false":
        obstacle = "reproducible=false"
    if obstacle is not None:
        if chosen.reproducible == "true":
            raise UserError(f"reproducible=true, but {obstacle}; use reproducible=auto to train all the same")
        if world.rank == 0:
            log.info("the model may depend on the number of hosts: %s", obstacle)
        _require_rows_everywhere(world, train, obstacle)
        return None, parameters
    objective = objectives.make(
        chosen.objective, parameters, world, train.label, train.weight, threads=threads
    )
    if "base_score" not in parameters:
        parameters["base_score"] = objective.base_score()
    # Rows are drawn by their identity, in the objective: XGBoost would draw them by their place on the rank.
    fraction = float(str(parameters.pop("subsample", 1.0)))
    sampler = Sampler(int(str(parameters.get("seed", 0))), fraction, train.pieces) if fraction < 1 else None
    return training.Gradients(objective, sampler), parameters


def _require_rows_everywhere(world: World, train: Shard, why: str) -> None:
    """XGBoost's own gradients and leaf values end in NaN or in a failed check on a rank without rows."""
    without = [rank for rank, rows in enumerate(world.allgather(train.rows)) if not rows]
    if without:
        raise UserError(
            f"rank(s) {', '.join(map(str, without))} have no training rows, and XGBoost cannot train without some on "
            f"each ({why}); use fewer hosts, or FullyReplicated data, which is split evenly"
        )


def _save(trained: Trained, names: Categories, paths: Paths) -> None:
    if names:  # XGBoost knows only codes: whoever predicts has to know what they stand for
        trained.booster.set_attr(categories=json.dumps(names))
    content = bytes(trained.booster.save_raw("ubj"))
    path = paths.model / artifacts.MODEL_NAME
    artifacts.write(path, content)
    scores = ", ".join(f"{name} {value:.5f}" for name, value in trained.scores.items())
    digest = hashlib.sha256(content).hexdigest()
    log.info("%d rounds, %s; %s: %d bytes, sha256 %s", trained.rounds, scores, path, len(content), digest)
