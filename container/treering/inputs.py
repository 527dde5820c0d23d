"""The rows of all channels on one rank, checked against each other, the objective and a model to go on from."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import TYPE_CHECKING

import numpy as np

from treering import queries, schema, shard, tasks
from treering.errors import UserError
from treering.readers import formats
from treering.readers.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from treering.hyperparameters import Hyperparameters
    from treering.job import Channel
    from treering.labels import Fault
    from treering.paths import Paths
    from treering.progress import Progress
    from treering.readers.batch import Reader
    from treering.shard import Place, Shard
    from treering.warm_start import WarmStart
    from treering.world import World

log = logging.getLogger(__name__)


def roles(chosen: Hyperparameters) -> Roles:
    """Which columns the job names, and for what."""
    margins = chosen.base_margin_column
    return Roles(
        label=chosen.label_column,
        label_upper=chosen.label_upper_column,
        weight=chosen.weight_column,
        group=chosen.group_column,
        base_margin=None if margins is None else ",".join(margins),
    )


def reader(channel: Channel, chosen: Hyperparameters) -> Callable[[Sequence[str]], Reader]:
    """What gives the reader for a channel with these file names."""
    return functools.partial(
        formats.reader_for, channel.content_type, csv_weights=chosen.csv_weights, roles=roles(chosen)
    )


def load(
    world: World,
    place: Place,
    channels: Mapping[str, Channel],
    chosen: Hyperparameters,
    paths: Paths,
    start: WarmStart | None,
    progress: Progress,
) -> Mapping[str, Shard]:
    """Read this rank's rows of all channels, by what they are for; collective.

    Parameters
    ----------
    world, place
        All ranks, and this one among them.
    channels
        Train first, as `schema.agree_channels` gives them.
    chosen, paths
        The job, and where its files lie.
    start
        The model to go on from: its margins become base margins, but where XGBoost itself goes on.
    progress
        Hears of rows as they are read.

    Raises
    ------
    UserError
        When rows cannot be read, or do not suit the objective, the other channels or the model.
    PlatformError
        When hosts that should see the same files do not.
    """
    shards: dict[str, Shard] = {}
    for name, channel in channels.items():
        known = start.categories if start and not shards else None
        loaded = shard.load(
            world,
            place,
            channel,
            paths.channel(channel.name),
            reader(channel, chosen),
            shards["train"].categories if shards else known,
            progress,
            is_train=not shards,
        )
        loaded = suited(world, loaded, chosen, channel.name)
        if shards:
            loaded = aligned(shards["train"], loaded, channel.name)
        elif start is not None:
            start.check_columns(loaded.columns)
        if start is not None and not chosen.one_host_only:
            loaded = dataclasses.replace(loaded, base_margin=start.margins(loaded))
        shards[name] = loaded
        tell_size(world, name, loaded)
    return shards


def tell_size(world: World, name: str, loaded: Shard) -> None:
    """Print the line of AWS's image, once a job."""
    if world.rank == 0:
        size = f" and {loaded.columns.count} columns" if name == "train" else ""
        log.info("%s matrix has %d rows%s", name.capitalize(), loaded.total_rows, size)


def suited(world: World, loaded: Shard, chosen: Hyperparameters, channel: str) -> Shard:
    """The rows as the objective and the metrics take them: `loaded` itself where that is so; collective.

    Raises UserError when labels, queries, weights or margins do not suit them.
    """
    fault = schema.label_fault(schema.agree_labels(world, loaded.label), chosen)
    if fault is not None:
        raise UserError(f"channel {channel}: {_first_stray(world, loaded, fault)}")
    _check_margins(loaded, chosen, channel)
    is_ranking = chosen.objective.startswith("rank:")
    ranked = sorted(tasks.RANKING_METRICS.intersection(map(tasks.base_name, chosen.eval_metrics)))
    if loaded.group is None:
        if is_ranking:
            raise UserError(
                f"channel {channel}: objective={chosen.objective} needs the query of each row: qid: in LIBSVM, "
                "group_column in CSV and Parquet"
            )
        if ranked and world.rank == 0:
            log.info(
                "channel %s: its rows name no query, so all of them are one to %s", channel, ", ".join(ranked)
            )
    elif ranked or is_ranking:
        loaded = queries.gather(world, loaded, channel)
        queries.check_weights(world, loaded, channel)
    else:
        loaded = dataclasses.replace(loaded, group=None)
    upper = None
    if chosen.objective == "survival:aft":  # without upper bounds, every end is known
        upper = loaded.label if loaded.label_upper is None else loaded.label_upper
    return loaded if loaded.label_upper is upper else dataclasses.replace(loaded, label_upper=upper)


def _check_margins(loaded: Shard, chosen: Hyperparameters, channel: str) -> None:
    """Raise UserError when columns hold fewer or more margins than there are outputs; alike on all ranks."""
    margin = loaded.base_margin
    if margin is None:
        return
    columns = 1 if margin.ndim == 1 else margin.shape[1]
    if columns != chosen.outputs:
        raise UserError(
            f"channel {channel}: base_margin_column names {columns} column(s), but the model of "
            f"objective={chosen.objective} has {chosen.outputs} output(s); name one column for each output"
        )


def _first_stray(world: World, loaded: Shard, fault: Fault) -> str:
    """The sentence about the first row, in the order of files, that makes the fault; collective."""
    strays = np.flatnonzero(fault.allowed.strays(loaded.label))
    file, row = (each[strays] for each in loaded.pieces.expand())
    first = np.lexsort((row, file))[:1]
    mine = [[int(file[i]), int(row[i]), float(loaded.label[strays[i]]), loaded.host] for i in first]
    of_file, in_file, label, host = min(each for of_rank in world.allgather(mine) for each in of_rank)
    return fault.sentence(label, f"{loaded.named(of_file, in_file)} on {host}")


def aligned(train: Shard, other: Shard, channel: str) -> Shard:
    """Another channel with the training columns, of which sparse rows may use fewer; else raises UserError."""
    columns = schema.same_columns(train.columns, other.columns, channel, sparse=other.features.is_sparse)
    return dataclasses.replace(other, columns=columns, features=other.features.widened(columns.count))
