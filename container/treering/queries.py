"""Queries for ranking: all rows of one on one rank, side by side.

Shards are cut without a look at queries, and a query's rows may be scattered over files and hosts. Rows
with one id in one channel are one query, wherever they stand.

A query goes to the rank that holds one of its rows drawn by its id: so every rank ends with about as many
rows as it had, and most rows of a query that is cut once stay where they are. Which rank that is shows in
no result; on its rank a query's rows stand in the order of their identity, in any layout alike.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np

from treering import exchange
from treering.errors import UserError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from treering.shard import Shard
    from treering.world import World

log = logging.getLogger(__name__)


def sizes(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of rows of the queries whose rows stand side by side in `group`, shape (rows,)."""
    return np.diff(_starts(group), append=group.size)


def gather(world: World, shard: Shard, channel: str) -> Shard:
    """Bring each query to one rank; collective.

    Parameters
    ----------
    world, shard
        All ranks, and the rows of this one.
    channel
        Its name, for log lines.

    Returns
    -------
    Shard
        Rows of whole queries, in the order of identity (a query's first row counts for its place); `shard`
        itself where there are no groups, or nothing has to move.
    """
    if shard.group is None:
        return shard
    found = _Found.of(shard.group)
    owner = _owners(world, found)[found.query_of_run]
    away = int(found.lengths[owner != world.rank].sum())
    split = found.ids.size < found.lengths.size
    moved, unsorted = world.allreduce(np.array([away, split], np.int64))
    if moved or unsorted:
        shard = exchange.move(world, shard, np.repeat(owner, found.lengths), _by_query)
    _tell(world, shard, channel, int(moved))
    return shard


def check_weights(world: World, shard: Shard, channel: str) -> None:
    """Refuse weights that differ within a query, on all ranks alike: XGBoost weighs queries, not rows.

    Raises UserError. The rows of a query stand side by side, as after `gather`.
    """
    weight = np.empty(0, np.float32) if shard.weight is None else shard.weight
    odd = np.empty(0, np.int64)
    if shard.group is not None and shard.weight is not None:
        odd = np.flatnonzero((shard.group[1:] == shard.group[:-1]) & (weight[1:] != weight[:-1])) + 1
    count = int(world.allreduce(np.array([odd.size], np.int64))[0])
    if not count:
        return
    file, row = shard.pieces.expand()
    first = odd[np.lexsort((row[odd], file[odd]))[:1]]
    mine = [[[int(file[at]), int(row[at]), float(weight[at])] for at in (i, i - 1)] for i in first.tolist()]
    pair = min(each for of_rank in world.allgather(mine) for each in of_rank)
    told = [
        (shard.named(in_file, at), np.format_float_positional(np.float32(weighs), trim="-"))
        for in_file, at, weighs in pair
    ]
    raise UserError(
        f"channel {channel}: {told[0][0]} weighs {told[0][1]}, but {told[1][0]}, of the same query, weighs "
        f"{told[1][1]} ({count} row(s) differ so); ranking weighs whole queries, so give all rows of a query one weight"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """The queries among the rows of one rank, and the runs of neighbouring rows that they come in.

    Parameters
    ----------
    ids, counts
        Of each query: its id, ascending, and how many rows it has here.
    lengths, query_of_run
        Of each run: its rows, and the position of its query in `ids`.
    """

    ids: NDArray[np.int64]
    counts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    query_of_run: NDArray[np.intp]

    @classmethod
    def of(cls, group: NDArray[np.int64]) -> _Found:
        ids, query_of_run = np.unique(group[_starts(group)], return_inverse=True)
        lengths = sizes(group)
        counts = np.zeros(ids.size, np.int64)
        np.add.at(counts, query_of_run, lengths)
        return cls(ids, counts, lengths, query_of_run)


def _starts(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where runs of equal ids begin."""
    changes = np.flatnonzero(group[1:] != group[:-1]) + 1
    return np.concatenate([np.zeros(min(1, group.size), np.int64), changes])


def _owners(world: World, found: _Found) -> NDArray[np.int64]:
    """The rank of each query in ``found.ids``, told by the rank that keeps account of it."""
    drawn = _stirred(found.ids)
    account = (drawn % np.uint64(world.size)).astype(np.int64)
    asked = [np.flatnonzero(account == rank) for rank in range(world.size)]
    ids = world.alltoall_arrays([found.ids[queries] for queries in asked])
    counts = world.alltoall_arrays([found.counts[queries] for queries in asked])
    answers = world.alltoall_arrays(_draw_owners(ids, counts))
    owners = np.empty(found.ids.size, np.int64)
    for queries, answer in zip(asked, answers, strict=True):
        owners[queries] = answer
    return owners


def _draw_owners(ids: list[NDArray[np.int64]], counts: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """For each rank's ids the rank that holds the row which the id draws among all rows of its query."""
    rank = np.repeat(np.arange(len(ids)), [part.size for part in ids])
    every, rows = np.concatenate(ids), np.concatenate(counts)
    order = np.lexsort((rank, every))
    every, rows, rank = every[order], rows[order], rank[order]
    starts = _starts(every)
    query = np.repeat(np.arange(starts.size), np.diff(starts, append=every.size))
    before = np.cumsum(rows) - rows  # rows of all queries before, and of this one on lower ranks
    total = np.add.reduceat(rows, starts) if starts.size else rows
    drawn = (_stirred(_stirred(every[starts])) % total.astype(np.uint64)).astype(np.int64)
    wanted = (before[starts] + drawn)[query]
    hit = (before <= wanted) & (wanted < before + rows)
    owners = np.empty(every.size, np.int64)
    owners[order] = rank[hit][query]
    return np.split(owners, np.cumsum([part.size for part in ids])[:-1])


def _stirred(ids: NDArray[Any]) -> NDArray[np.uint64]:
    """Numbers that look random; neighbouring ids have nothing in common (SplitMix64's output function)."""
    words = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _by_query(file: NDArray[np.int64], row: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.intp]:
    """Rows by the first row of their query, then by their own identity."""
    by_identity = np.lexsort((row, file))
    _, first, query = np.unique(group[by_identity], return_index=True, return_inverse=True)
    return by_identity[np.argsort(first[query], kind="stable")]


def _tell(world: World, shard: Shard, channel: str, moved: int) -> None:
    """One line on the queries; a warning where one is scattered, which may be a mistake in the ids."""
    assert shard.group is not None  # noqa: S101  # checked by `gather`
    file, row = shard.pieces.expand()
    together = shard.group[1:] == shard.group[:-1]
    next_file = (file[1:] == file[:-1] + 1) & (row[1:] == 0)
    apart = together & ~((file[1:] == file[:-1]) & (row[1:] == row[:-1] + 1)) & ~next_file
    places = np.flatnonzero(apart)
    scattered = np.unique(shard.group[1:][apart]).size
    queries, broken = world.allreduce(np.array([sizes(shard.group).size, scattered], np.int64))
    example = [[int(file[i]), int(row[i]), int(file[i + 1]), int(row[i + 1])] for i in places[:1]]
    examples = [each for of_rank in world.allgather(example) for each in of_rank]
    if world.rank:
        return
    log.info(
        "channel %s: %s queries; %s row(s) moved to the rest of theirs", channel, f"{queries:,}", f"{moved:,}"
    )
    if broken:
        file_, row_, other, other_row = min(examples)
        log.warning(
            "channel %s: %s of its queries have rows in places that are no neighbours, such as %s and %s; rows with "
            "one id are one query, so if files number their queries anew, make the ids unique",
            channel,
            f"{broken:,}",
            shard.named(file_, row_),
            shard.named(other, other_row),
        )
