"""Who would do what: the whole job resolved to a value that can be printed, before anything starts."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from treering import budget, channels, dealing, inputs, job, memory
from treering.cluster import Cluster
from treering.errors import UserError
from treering.hyperparameters import Hyperparameters
from treering.launch import Launch
from treering.readers import formats
from treering.scratch import Scratch
from treering.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.job import Channel
    from treering.paths import Paths

_SHOWN_SPANS = 5  # per rank and channel in the text; JSON has all


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedSpan:
    """The half-open part ``[start, stop)`` of one file, in the channel's unit."""

    file: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedChannel:
    """One channel: what is known of it on this host, and who reads what.

    Parameters
    ----------
    name, content_type, distribution
        As configured.
    files, size
        Number and bytes of the data files that this host sees.
    unit
        What spans count: ``bytes`` or ``rows``.
    spans
        By rank; of a sharded channel only this host's ranks are known here.
    """

    name: str
    content_type: str | None
    distribution: str
    files: int
    size: int
    unit: str
    spans: Mapping[int, tuple[PlannedSpan, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedRank:
    """One rank and where it runs."""

    rank: int
    host: str


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The job as this host would take part in it."""

    job: str
    hosts: tuple[str, ...]
    current_host: str
    threads_per_rank: int
    ranks: tuple[PlannedRank, ...]
    channels: tuple[PlannedChannel, ...]
    num_round: int
    eval_metrics: tuple[str, ...]
    parameters: Mapping[str, object]
    memory: str


def resolve(paths: Paths, environ: Mapping[str, str]) -> Plan:
    """Resolve the job that `paths` describes; looks at files' names, sizes and footers, starts nothing.

    Raises
    ------
    UserError, PlatformError
        For what the job itself would refuse of this host's files and settings.
    """
    config = job.read(paths, environ)
    chosen = Hyperparameters.parse(config.hyperparameters)
    resources = config.resources
    cluster = Cluster.of(resources.hosts, resources.current_host, resources.interface, environ)
    launch = Launch(config.name, cluster, Settings.read(paths, environ), paths, ())
    per_host = launch.settings.ranks_per_host
    return Plan(
        config.name,
        cluster.hosts,
        cluster.me,
        launch.threads_per_rank,
        tuple(PlannedRank(rank, cluster.hosts[rank // per_host]) for rank in range(launch.world_size)),
        tuple(_resolve_channel(channel, launch, chosen) for channel in config.channels.values()),
        chosen.num_round,
        chosen.eval_metrics,
        chosen.xgboost_params(),
        _resolve_memory(config.channels, launch, chosen, environ),
    )


def _resolve_memory(
    given: Mapping[str, Channel], launch: Launch, chosen: Hyperparameters, environ: Mapping[str, str]
) -> str:
    """Where the rows of a rank of this host would go."""
    per_host, hosts = launch.settings.ranks_per_host, len(launch.cluster.hosts)
    room = memory.room(environ).shared(per_host)
    rows = {name: channel for name, channel in given.items() if name != "model"}
    shares = {name: budget.share(channel, hosts, per_host) for name, channel in rows.items()}
    free = Scratch(chosen.scratch_folder).free // per_host
    asked = budget.demand(chosen, launch.world_size, chosen.threads(launch.threads_per_rank))
    listed = {name: budget.Listed.of(channel, launch.paths) for name, channel in rows.items()}
    try:
        plan = budget.foreseen(room, listed, shares, chosen, free, asked)
        return budget.describe(plan, room)
    except UserError as error:  # the job may be planned on a smaller machine than it is for
        return f"not on a host like this one: {error}"


def _resolve_channel(channel: Channel, launch: Launch, chosen: Hyperparameters) -> PlannedChannel:
    cluster, folder = launch.cluster, launch.paths.channel(channel.name)
    listing = channels.list_files(folder)
    alone = channel.distribution == "ShardedByS3Key"
    listings = [listing if host == cluster.me or not alone else [] for host in cluster.hosts]
    groups = channels.group_ranks(channel, folder, cluster.hosts, listings, launch.settings.ranks_per_host)
    names = [name for name, _ in listing]
    if not alone:
        channels.require_files(channel.name, folder, groups)
    reader = formats.reader_for(
        channel.content_type, names, csv_weights=chosen.csv_weights, roles=inputs.roles(chosen)
    )
    spans = dealing.divide(groups, reader, dealing.run_alone, lambda _: True)
    return PlannedChannel(
        channel.name,
        channel.content_type,
        channel.distribution,
        len(listing),
        sum(size for _, size in listing),
        reader.unit,
        {
            rank: tuple(PlannedSpan(span.file.name, span.start, span.stop) for span in of_rank)
            for rank, of_rank in sorted(spans.items())
        },
    )


def as_json(plan: Plan) -> str:
    """The plan as an indented JSON object."""
    return json.dumps(dataclasses.asdict(plan), indent=2, default=str) + "\n"


def as_text(plan: Plan) -> str:
    """The plan for people: aligned, with units."""
    rows = [
        ("job", plan.job),
        ("hosts", ", ".join(f"{host}{' (this one)' * (host == plan.current_host)}" for host in plan.hosts)),
        ("ranks", f"{len(plan.ranks)}, {plan.threads_per_rank} thread(s) each"),
        ("rounds", str(plan.num_round)),
        ("metrics", ", ".join(plan.eval_metrics)),
        ("memory", plan.memory),
        *((f"parameter {name}", str(value)) for name, value in plan.parameters.items()),
    ]
    for channel in plan.channels:
        kind = f"{channel.content_type or 'no content type'}, {channel.distribution}"
        rows.append((f"channel {channel.name}", f"{channel.files} file(s), {channel.size:,} bytes ({kind})"))
        rows += [(f"  rank {rank.rank}", _describe(channel, rank.rank)) for rank in plan.ranks]
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows)


def _describe(channel: PlannedChannel, rank: int) -> str:
    if rank not in channel.spans:
        return "known on its own host" if channel.distribution == "ShardedByS3Key" else "nothing"
    spans = channel.spans[rank]
    total = sum(span.stop - span.start for span in spans)
    shown = ", ".join(f"{span.file}[{span.start}:{span.stop}]" for span in spans[:_SHOWN_SPANS])
    more = f", and {len(spans) - _SHOWN_SPANS} more" if len(spans) > _SHOWN_SPANS else ""
    return f"{total:,} {channel.unit}: {shown or 'nothing'}{more}"
