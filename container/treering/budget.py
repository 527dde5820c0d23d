"""The memory of one rank while a job runs: foreseen before its rows are read, settled when they are there."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from treering import channels, inputs, memory, memory_plan, sizing
from treering.memory_plan import Demand, Limits, Plan, Way
from treering.sizing import Extent
from treering.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from treering.channels import Found
    from treering.hyperparameters import Hyperparameters
    from treering.job import Channel
    from treering.memory import Room
    from treering.paths import Paths
    from treering.progress import Progress
    from treering.scratch import Scratch
    from treering.shard import Place, Shard

log = logging.getLogger(__name__)

_DEPTH: Final = 6  # XGBoost's own
_MOST_NODES: Final = 1 << 16  # whose histograms XGBoost keeps


def demand(chosen: Hyperparameters, ranks: int, threads: int) -> Demand:
    """What a job of so many ranks, with so many threads in each, asks for besides its rows."""
    depth = _DEPTH if chosen.max_depth is None else chosen.max_depth
    nodes = 5 << depth >> 2 if depth else _MOST_NODES
    if chosen.max_leaves:
        nodes = min(nodes, 2 * chosen.max_leaves)
    return Demand(
        chosen.max_bin,
        chosen.outputs,
        min(nodes, _MOST_NODES),
        {"true": True, "false": False}.get(chosen.external_memory),
        chosen.one_host_only is not None,
        ranks,
        threads,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """A channel, and what lies in its folder on this host."""

    channel: Channel
    folder: Path
    files: Sequence[Found]

    @classmethod
    def of(cls, channel: Channel, paths: Paths) -> Listed:
        """As it is now."""
        folder = paths.channel(channel.name)
        return cls(channel, folder, channels.look(folder))


def foreseen(
    room: Room,
    given: Mapping[str, Listed],
    shares: Mapping[str, float],
    chosen: Hyperparameters,
    free_disk: int,
    asked: Demand,
) -> Plan:
    """The plan of a rank whose rows are not read yet; see `treering.memory_plan.decide`.

    Parameters
    ----------
    room, free_disk
        For this rank.
    given, shares
        The channels with rows, and what part of the files on this host the rank reads of each.
    chosen
        The job.
    asked
        By the job, besides its rows.
    """
    extents = []
    for name, listed in given.items():
        listing = [(each.name, each.size) for each in listed.files]
        reader = inputs.reader(listed.channel, chosen)([each.name for each in listed.files])
        extents.append(sizing.expect(reader, listed.folder, listing, shares[name]))
    return memory_plan.decide(room, extents, asked, free_disk, is_known=False)


def share(channel: Channel, hosts: int, ranks_per_host: int) -> float:
    """What part of the files that a host sees one of its ranks reads."""
    return 1 / (ranks_per_host * (1 if channel.distribution == "ShardedByS3Key" else hosts))


def describe(plan: Plan, room: Room) -> str:
    """A plan for people."""
    said = f"about {memory.gib(plan.peak)} of the {memory.gib(room.size)} that a rank has ({room.why})"
    if plan.way is Way.MEMORY:
        return f"rows in memory, {said}"
    what = "columns" if plan.way is Way.COLUMNS_ON_DISK else "columns and bins"
    return f"{what} on disk where they have to be, up to {memory.gib(plan.disk)} there, {said}"


class Budget:
    """Decides for one rank, and says what.

    Parameters
    ----------
    place
        This rank among the hosts.
    chosen
        The job.
    scratch
        For what memory has no room for.
    """

    def __init__(self, place: Place, chosen: Hyperparameters, scratch: Scratch) -> None:
        self._place = place
        self._chosen = chosen
        self._scratch = scratch
        self._storage = Storage()
        self._way = Way.MEMORY
        self._foreseen: Room | None = None
        self._rows = 0
        self._lock = threading.Lock()

    def foresee(self, given: Mapping[str, Channel], paths: Paths) -> Place:
        """The place of this rank, with what is to keep the rows of these channels, and what it found in their folders.

        Raises UserError when the rows fit nowhere by far, and errors as `channels.look`.
        """
        ranks, hosts = self._place.ranks_per_host, len(self._place.hosts)
        room = self._room()
        shares = {name: share(channel, hosts, ranks) for name, channel in given.items()}
        listed = {name: Listed.of(channel, paths) for name, channel in given.items()}
        plan = foreseen(room, listed, shares, self._chosen, self._free_disk(), self._demand())
        self._tell("expected", plan, room)
        self._storage = Storage(plan.kept, self._scratch, plan.reading)
        self._foreseen = room
        found = {each.channel.name: each.files for each in listed.values()}
        return dataclasses.replace(self._place, storage=self._storage, found=found, note=self.note)

    def note(self, rows: int, size: int) -> None:
        """Hear of rows that were read, and of the bytes that belong to them besides features; by any thread.

        Files may hold any number of times as much as was foreseen, so that only disk has room for it. Raises
        UserError once there are more rows than can ever be trained on.
        """
        self._storage.give_way(size)
        with self._lock:
            self._rows += rows
            total = self._rows
        if self._foreseen is not None:
            memory_plan.require_room_for_rows(self._foreseen, total, self._demand())

    def settle(self, shards: Mapping[str, Shard], progress: Progress) -> Limits:
        """How to bin rows that were read, and who hears of it; raises UserError when there is no way that they fit."""
        pa.default_memory_pool().release_unused()  # what readers used, and keep in case they need it again
        room = self._room()
        extents = [Extent.of(shard) for shard in shards.values()]
        plan = memory_plan.decide(room, extents, self._demand(), self._free_disk(), is_known=True)
        if plan.way is not self._way:
            self._tell("as read", plan, room)
        if self._storage.kept > plan.kept:
            for shard in shards.values():
                shard.features.move_out()
        pages = self._scratch.folder if plan.way is Way.EXTERNAL else None
        unbinned = plan.way is Way.MEMORY
        return Limits(
            plan.values_at_once, plan.piece, pages, lets_go=True, unbinned=unbinned, progress=progress
        )

    def _demand(self) -> Demand:
        return demand(self._chosen, self._place.ranks, self._place.threads)

    def _room(self) -> Room:
        """For this rank, what it keeps already included."""
        left = memory.room(os.environ).shared(self._place.ranks_per_host)
        return memory.Room(left.size + self._storage.kept, left.why)

    def _free_disk(self) -> int:
        return self._scratch.free // self._place.ranks_per_host + self._storage.spooled

    def _tell(self, when: str, plan: Plan, room: Room) -> None:
        self._way = plan.way
        if plan.way is not Way.MEMORY or self._place.host == self._place.hosts[0]:
            log.info("memory, %s: %s", when, describe(plan, room))
