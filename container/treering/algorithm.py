"""The built-in algorithm on one rank: shards, agreement, cuts, matrices, rounds, model."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from typing import TYPE_CHECKING

import pyarrow as pa

from treering import (
    artifacts,
    checkpoints,
    collective,
    inputs,
    losses,
    preparation,
    run_identity,
    schema,
    support,
    training,
    warm_start,
)
from treering.cluster import Cluster
from treering.progress import Progress
from treering.report import ADDRESS_VARIABLE, THREADS_VARIABLE
from treering.shard import Place

if TYPE_CHECKING:
    import xgboost as xgb

    from treering.categories import Categories
    from treering.hyperparameters import Hyperparameters
    from treering.job import JobConfig
    from treering.paths import Paths
    from treering.training import Trained
    from treering.warm_start import WarmStart
    from treering.world import World

log = logging.getLogger(__name__)


def run(
    world: World, config: JobConfig, chosen: Hyperparameters, paths: Paths, progress: Progress | None = None
) -> None:
    """Train on all ranks of `world`; when it returns anywhere, rank 0 has the model on disk.

    Raises
    ------
    UserError
        When the data does not fit the job, or the hosts' data does not fit together.
    PlatformError
        When files or folders are not as they should be.
    """
    progress = progress or Progress()
    threads = chosen.nthread or int(os.environ.get(THREADS_VARIABLE, "1"))
    pa.set_cpu_count(threads)
    place = _place(world, config)
    folder = checkpoints.open_folder(world, paths)
    schema.agree_settings(world, place.host, settings(chosen))
    agreed = schema.agree_channels(world, place.host, config.channels)
    given = agreed.pop("model", None)
    support.check(world, chosen, given)
    start = None
    if given is not None:
        start = warm_start.read(world, given, paths.channel(given.name))
        start.check_task(chosen)
    progress.phase("loading")
    shards = inputs.load(world, place, agreed, chosen, paths, start, progress)
    progress.phase("matrix")
    prepared = preparation.prepare(world, shards, chosen, threads, start)
    if world.rank == 0:
        named = ", ".join(f"{name}={value}" for name, value in prepared.parameters.items())
        log.info("parameters: %s", named)
    on_margins = start if prepared.initial is None else None  # elsewhere XGBoost itself keeps the given trees
    as_model = functools.partial(_as_model, start=on_margins, names=shards["train"].categories)
    kept = None
    if folder is not None:
        identity = run_identity.describe(world, chosen, prepared, shards)
        kept = checkpoints.Checkpoints(world, folder, chosen, identity, as_model)
    with collective.communicator(world, os.environ.get(ADDRESS_VARIABLE, "127.0.0.1")):
        trained = training.train(world, chosen, prepared, progress, kept)
        progress.phase("saving")
        is_saved = chosen.save_model_on_termination or not trained.interrupted
        if world.rank == 0 and is_saved:
            _save(trained, as_model(trained.booster), paths)
        world.barrier()  # nobody leaves before the model is on disk
    if trained.interrupted:
        progress.stopped(trained.what_is_kept(model=is_saved), saved_model=is_saved)


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


def _as_model(booster: xgb.Booster, start: WarmStart | None, names: Categories) -> xgb.Booster:
    """What is written of a booster: after the trees it went on from, and with all that who predicts has to know."""
    if start is not None:
        booster = start.extended(booster)
    if names:  # XGBoost knows only codes
        booster.set_attr(categories=json.dumps(names))
    return booster


def _save(trained: Trained, model: xgb.Booster, paths: Paths) -> None:
    content = bytes(model.save_raw("ubj"))
    path = paths.model / artifacts.MODEL_NAME
    artifacts.write(path, content)
    scores = ", ".join(f"{name} {value:.5f}" for name, value in trained.scores.items())
    digest = hashlib.sha256(content).hexdigest()
    log.info("%d rounds, %s; %s: %d bytes, sha256 %s", trained.rounds, scores, path, len(content), digest)
