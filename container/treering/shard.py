"""The part of a channel that one rank holds: its rows as numbers, and which rows they are."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from treering import categories, channels, schema
from treering.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from treering.categories import Categories
    from treering.job import Channel
    from treering.readers.batch import Batch, Columns, Reader, Span
    from treering.world import World

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where this rank stands in the job: what loading has to know besides the channel."""

    hosts: tuple[str, ...]
    host: str
    ranks_per_host: int


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one file: ``[first_row, first_row + rows)``."""

    file: int
    first_row: int
    rows: int


@dataclasses.dataclass(slots=True)
class Shard:
    """The rows of one channel on one rank, in the order of `pieces`.

    Parameters
    ----------
    columns
        Equal on all ranks.
    features
        float32, shape (rows, columns): dense in Fortran order with NaN for missing, or CSR.
    label, weight, group
        float32, float32 or None, int64 or None; shape (rows,). Weight and group are present on all
        ranks or on none.
    pieces
        Identity of the rows.
    total_rows
        Of all ranks.
    categories
        What the codes in categorical columns stand for; equal on all ranks.
    """

    columns: Columns
    features: NDArray[np.float32] | sparse.csr_array
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    group: NDArray[np.int64] | None
    pieces: tuple[Piece, ...]
    total_rows: int
    categories: Categories = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of this rank."""
        return int(self.label.shape[0])


def load(
    world: World,
    place: Place,
    channel: Channel,
    folder: Path,
    make_reader: Callable[[Sequence[str]], Reader],
    known: Categories | None = None,
) -> Shard:
    """Read this rank's rows of a channel.

    Parameters
    ----------
    world, place
        All ranks, and this one among them.
    channel, folder
        What to read, and where it lies on this host.
    make_reader
        Gives the reader for a channel with these file names.
    known
        The training channel's categories, for another channel: what is not among them counts as missing.

    Raises
    ------
    UserError
        When the data is empty, unreadable, or unlike on different hosts.
    PlatformError
        When hosts that should see the same files do not.
    """
    listings = world.allgather(channels.list_files(folder))[:: place.ranks_per_host]
    listings = [[(name, size) for name, size in listing] for listing in listings]
    groups = channels.group_ranks(channel, folder, place.hosts, listings, place.ranks_per_host)
    channels.require_files(channel.name, folder, groups)
    reader = make_reader(sorted({file.name for group in groups for file in group.files}))
    spans = channels.divide(groups, reader, _Dealt(world), lambda group: world.rank in group.ranks)
    mine = spans.get(world.rank, [])
    seen = [
        (file, reader.columns(file)) for file in {span.file.position: span.file for span in mine}.values()
    ]
    agreed = schema.agree_columns(world, channel.name, place.host, seen, 0)
    batches = [list(reader.read(span)) for span in mine]
    loaded = _assemble(world, place, channel.name, agreed, mine, batches)
    return _with_categories(world, channel.name, loaded, reader.categories(), known)


def _with_categories(
    world: World, channel: str, loaded: Shard, local: Categories, known: Categories | None
) -> Shard:
    """The shard with the codes of all hosts in place of the reader's own."""
    loaded.categories = categories.agree(world, local) if known is None else known
    lost = categories.recode(np.asarray(loaded.features), local, loaded.categories) if local else {}
    for column in loaded.columns.categorical:
        rows = int(world.allreduce(np.array([lost.get(column, 0)], np.int64))[0])
        if rows and world.rank == 0:
            log.info(
                "channel %s: %d row(s) have a category of %s that training has not; it counts as missing",
                channel,
                rows,
                loaded.columns.name(column),
            )
    return loaded


class _Dealt:
    """`channels.Shared` over MPI: the ranks that may run a task take turns."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, tasks: Sequence[tuple[tuple[int, ...], Callable[[], int]]]) -> list[int]:
        results = np.zeros(len(tasks), np.int64)
        for number, (ranks, task) in enumerate(tasks):
            if ranks[number % len(ranks)] == self._world.rank:
                results[number] = task()
        return [int(result) for result in self._world.allreduce(results)]


def _assemble(
    world: World, place: Place, channel: str, agreed: Columns, spans: list[Span], batches: list[list[Batch]]
) -> Shard:
    rows = [sum(batch.rows for batch in of_span) for of_span in batches]
    pieces = _identify(world, spans, rows)
    flat = [batch for of_span in batches for batch in of_span if batch.rows]
    batches.clear()
    width = int(
        world.allreduce(np.array([max((b.features.shape[1] for b in flat), default=0)], np.int64), "max")[0]
    )
    kinds = world.allreduce(
        np.array(
            [bool(flat) and sparse.issparse(flat[0].features), _has(flat, "weight"), _has(flat, "group")]
        ).astype(np.int64),
        "max",
    )
    columns = agreed if agreed.count else dataclasses.replace(agreed, count=width)
    label = _join([batch.label for batch in flat], np.float32)
    weight = _join([_or_ones(batch) for batch in flat], np.float32) if kinds[1] else None
    group = _join([_require_group(batch, channel) for batch in flat], np.int64) if kinds[2] else None
    features = _stack(flat, columns.count, is_sparse=bool(kinds[0]))
    per_rank = world.allgather(int(label.size))
    if world.rank == 0:
        of_ranks = ", ".join(
            f"{place.hosts[r // place.ranks_per_host]} {n:,}" for r, n in enumerate(per_rank)
        )
        log.info(
            "channel %s: %s rows of %d features (%s)", channel, f"{sum(per_rank):,}", columns.count, of_ranks
        )
    if not sum(per_rank):
        raise UserError(f"channel {channel} has files but no rows; check that they are not empty")
    return Shard(columns, features, label, weight, group, pieces, sum(per_rank))


def _identify(world: World, spans: list[Span], rows: list[int]) -> tuple[Piece, ...]:
    """Number the rows of each span within its file, knowing how many rows the spans before it have."""
    mine = np.array(
        [(span.file.position, span.start, count) for span, count in zip(spans, rows, strict=True)], np.int64
    )
    known = np.concatenate(world.allgather_arrays(mine.reshape(-1))).reshape(-1, 3)
    pieces = []
    for span, count in zip(spans, rows, strict=True):
        before = known[(known[:, 0] == span.file.position) & (known[:, 1] < span.start), 2]
        pieces.append(Piece(span.file.position, int(before.sum()), count))
    return tuple(pieces)


def _has(batches: list[Batch], field: str) -> bool:
    return any(getattr(batch, field) is not None for batch in batches)


def _or_ones(batch: Batch) -> NDArray[np.float32]:
    return np.ones(batch.rows, np.float32) if batch.weight is None else batch.weight


def _require_group(batch: Batch, channel: str) -> NDArray[np.int64]:
    if batch.group is None:
        raise UserError(
            f"channel {channel}: some rows have a query id (qid) and some have none; give all or none"
        )
    return batch.group


def _join[T: np.generic](parts: list[NDArray[T]], dtype: type[T]) -> NDArray[T]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _stack(batches: list[Batch], width: int, *, is_sparse: bool) -> NDArray[np.float32] | sparse.csr_array:
    """One array of all batches, each let go as soon as it is copied."""
    if is_sparse:
        parts = [_widened(sparse.csr_array(batch.features), width) for batch in batches]
        return sparse.vstack(parts, "csr") if parts else sparse.csr_array((0, width), dtype=np.float32)
    stop = sum(batch.rows for batch in batches)
    features = np.empty((stop, width), np.float32, order="F")
    while batches:
        batch = batches.pop()
        features[stop - batch.rows : stop] = np.asarray(batch.features)
        stop -= batch.rows
    return features


def _widened(part: sparse.csr_array, width: int) -> sparse.csr_array:
    return sparse.csr_array((part.data, part.indices, part.indptr), shape=(part.shape[0], width))
