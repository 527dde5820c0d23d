"""The built-in algorithm on one rank: shards, agreement, cuts, matrices, rounds, model."""

from __future__ import annotations

import contextlib
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
    model_file,
    preparation,
    run_identity,
    schema,
    support,
    training,
    warm_start,
)
from treering.budget import Budget
from treering.cluster import Cluster
from treering.progress import RING, Progress
from treering.report import ADDRESS_VARIABLE, THREADS_VARIABLE
from treering.scratch import Scratch
from treering.shard import Place
from treering.strategies import alone, averaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import xgboost as xgb

    from treering.categories import Categories
    from treering.checkpoint_folder import CheckpointFolder
    from treering.hyperparameters import Hyperparameters
    from treering.job import JobConfig, Resources
    from treering.memory_plan import Limits
    from treering.paths import Paths
    from treering.preparation import Binned
    from treering.shard import Shard
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
    pa.set_cpu_count(threads(chosen))
    pa.set_io_thread_count(threads(chosen))
    place = place_of(world, config.resources, threads(chosen))
    folder = checkpoints.open_folder(world, paths)
    schema.agree_settings(world, place.host, settings(chosen))
    agreed = schema.agree_channels(world, place.host, config.channels)
    given = agreed.pop("model", None)
    support.check(world, chosen, agreed, given)
    averaged.check(chosen, given)
    start = None
    if given is not None:
        start = warm_start.read(world, given, paths.channel(given.name))
        start.check_task(chosen)
    progress.phase("loading")
    with contextlib.ExitStack() as stack:
        budget = Budget(place, chosen, stack.enter_context(Scratch(chosen.scratch_folder)))
        place = budget.foresee(agreed, paths)
        stack.enter_context(contextlib.closing(place.storage))
        shards = inputs.load(world, place, agreed, chosen, paths, start, progress)
        limits = budget.settle(shards, progress)
        trained, model = stack.enter_context(
            boosted(world, shards, chosen, progress, start=start, folder=folder, limits=limits)
        )
        progress.phase("saving")
        is_saved = chosen.save_model_on_termination or not trained.interrupted
        if world.rank == 0 and is_saved:
            scores = ", ".join(f"{name} {value:.5f}" for name, value in trained.scores.items())
            log.info("%d rounds, %s", trained.rounds, scores)
            write(model, paths.model / artifacts.MODEL_NAME)
        world.barrier()  # nobody leaves before the model is on disk
    if trained.interrupted:
        progress.stopped(trained.what_is_kept(model=is_saved), saved_model=is_saved)


@contextlib.contextmanager
def boosted(  # noqa: PLR0913  # each is one side of the job
    world: World,
    shards: Mapping[str, Shard],
    chosen: Hyperparameters,
    progress: Progress,
    *,
    start: WarmStart | None = None,
    folder: CheckpointFolder | None = None,
    binned: Binned | None = None,
    limits: Limits | None = None,
) -> Iterator[tuple[Trained, xgb.Booster]]:
    """Train on rows that are loaded; what comes of it, and as a model to save, is there within XGBoost's ring.

    Parameters
    ----------
    world
        All ranks.
    shards
        This rank's rows by channel, train first, as `inputs.suited` leaves them.
    chosen, progress
        The job.
    start
        The model to go on from.
    folder
        Where checkpoints go; None keeps none.
    binned
        What is binned of the shards already.
    limits
        On memory.

    Raises
    ------
    UserError
        When the data does not suit the objective, or a checkpoint is another run's.
    PlatformError
        When a checkpoint cannot be written.
    """
    progress.phase("matrix")
    rows = run_identity.describe_rows(world, chosen, shards) if folder is not None else {}
    prepared = preparation.prepare(world, shards, chosen, threads(chosen), start, binned, limits)
    if world.rank == 0:
        named = ", ".join(f"{name}={value}" for name, value in prepared.parameters.items())
        log.info("parameters: %s", named)
    on_margins = start if prepared.initial is None else None  # elsewhere XGBoost itself keeps the given trees
    as_model = functools.partial(_as_model, start=on_margins, names=shards["train"].categories)
    address = os.environ.get(ADDRESS_VARIABLE, "127.0.0.1")
    weights = alone.weights(world, shards["train"]) if averaged.applies(world, chosen) else None
    kept = None
    if folder is not None:
        identity = dict(run_identity.describe(chosen, prepared, rows))
        if weights is not None:
            identity["settings"] = {**identity["settings"], **averaged.describe(chosen, weights)}
        kept = checkpoints.Checkpoints(world, folder, chosen, identity, as_model)
    if weights is not None:
        prepared = alone.prepare(world, prepared, shards["train"], address)
        trained = averaged.train(world, chosen, prepared, weights, progress, kept)
        yield trained, as_model(trained.booster)
        return
    progress.phase(RING)
    with collective.communicator(world, address):
        trained = training.train(world, chosen, prepared, progress, kept)
        yield trained, as_model(trained.booster)


def threads(chosen: Hyperparameters) -> int:
    """Cores that this rank may keep busy: its share of the host's, unless the job says how many."""
    return chosen.threads(int(os.environ.get(THREADS_VARIABLE, "1")))


def settings(chosen: Hyperparameters) -> dict[str, object]:
    """What all hosts must have alike, besides versions."""
    settings = chosen.model_dump()
    if chosen.reproducible != "false":
        settings["the processor's exp and log (reproducible=false trains on a mix)"] = losses.fingerprint()
    return settings


def place_of(world: World, resources: Resources, threads: int) -> Place:
    """Where this rank stands among the hosts, and how many cores it has."""
    cluster = Cluster.of(resources.hosts, resources.current_host, resources.interface, {})
    return Place(cluster.hosts, cluster.me, world.size // len(cluster.hosts), threads)


def _as_model(booster: xgb.Booster, start: WarmStart | None, names: Categories) -> xgb.Booster:
    """What is written of a booster: after the trees it went on from, and with all that who predicts has to know."""
    booster = start.extended(booster) if start is not None else model_file.with_weighed_leaves(booster)
    if names:  # XGBoost knows only codes
        booster.set_attr(categories=json.dumps(names))
    return booster


def write(model: xgb.Booster, path: Path) -> None:
    """Write a model durably; raises PlatformError when it cannot be."""
    content = bytes(model.save_raw("ubj"))
    artifacts.write(path, content)
    log.info("%s: %d bytes, sha256 %s", path, len(content), hashlib.sha256(content).hexdigest())
