"""The part of a channel that one rank holds: its rows as numbers, and which rows they are."""

from __future__ import annotations

import dataclasses
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from treering import categories, channels, dealing, joining, loading, schema
from treering.errors import UserError
from treering.features import Features, store
from treering.identity import Pieces
from treering.joining import Beside, Form
from treering.progress import Progress
from treering.readers.encoding import TOO_MANY
from treering.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from treering.categories import Categories
    from treering.channels import Found
    from treering.features import Dense, Sparse
    from treering.job import Channel
    from treering.loading import Loaded
    from treering.readers.batch import Columns, Reader, Span
    from treering.world import World

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where this rank stands in the job: what loading has to know besides the channel.

    Parameters
    ----------
    hosts, host, ranks_per_host
        All hosts in rank order, this one, and ranks on each.
    threads
        How many of this rank read.
    storage
        What keeps the features of all channels.
    found
        The files of channels that were listed already: for many files, that takes long.
    note
        Is told each time how many rows were read, and the bytes that belong to them besides features; may raise
        what ends the job.
    """

    hosts: tuple[str, ...]
    host: str
    ranks_per_host: int
    threads: int = 1
    storage: Storage = dataclasses.field(default_factory=Storage, compare=False)
    found: Mapping[str, Sequence[Found]] = dataclasses.field(default_factory=dict, compare=False)
    note: Callable[[int, int], None] = dataclasses.field(default=lambda _rows, _size: None, compare=False)

    @property
    def ranks(self) -> int:
        """Of all hosts."""
        return len(self.hosts) * self.ranks_per_host


@dataclasses.dataclass(slots=True)
class Shard:
    """The rows of one channel on one rank, in the order of `pieces`.

    What is None is None on all ranks, whether they have rows or not.

    Parameters
    ----------
    columns
        Equal on all ranks.
    features
        float32, shape (rows, columns): dense with NaN for missing, or CSR.
    label
        float32, shape (rows,).
    weight
        float32, shape (rows,), or None: all rows weigh 1.
    group
        Query groups: int64, shape (rows,), or None. Straight from `load`, a query may lie on several
        ranks: see `treering.queries`.
    pieces
        Identity of the rows.
    total_rows
        Of all ranks.
    categories
        What the codes in categorical columns stand for; equal on all ranks.
    label_upper
        Upper bounds of time for survival:aft, possibly infinite, of which `label` has the lower ones;
        float32, shape (rows,), or None.
    base_margin
        Margins to start from: float32, shape (rows,) or for several outputs (rows, outputs), or None.
    host
        The host of this rank.
    files
        The names of all files of the channel, whose positions `pieces` has.
    """

    columns: Columns
    features: Features
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    group: NDArray[np.int64] | None
    pieces: Pieces
    total_rows: int
    categories: Categories = dataclasses.field(default_factory=dict)
    label_upper: NDArray[np.float32] | None = None
    base_margin: NDArray[np.float32] | None = None
    host: str = "this host"
    files: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of this rank."""
        return int(self.label.shape[0])

    def named(self, file: int, row: int) -> str:
        """A row as a user finds it; a header and blank lines do not count."""
        name = self.files[file] if file < len(self.files) else f"file {file + 1}"
        return f"row {row + 1:,} of {name}"


def load(  # noqa: PLR0913  # each is one side of the job
    world: World,
    place: Place,
    channel: Channel,
    folder: Path,
    make_reader: Callable[[Sequence[str]], Reader],
    known: Categories | None = None,
    progress: Progress | None = None,
    *,
    is_train: bool | None = None,
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
        Categories that keep their codes: those of a model to go on from, for the training channel, which may
        add others; those of the training channel for another one, where all others count as missing.
    progress
        Is told the bytes and rows after each batch, as a phase of this channel.
    is_train
        Whether this is the training channel; when None, it is if no categories are known.

    Raises
    ------
    UserError
        When the data is empty, unreadable, or unlike on different hosts.
    PlatformError
        When hosts that should see the same files do not.
    """
    is_train = known is None if is_train is None else is_train
    found = place.found.get(channel.name)
    found = channels.look(folder) if found is None else found
    listings = world.allgather([(each.name, each.size) for each in found])[:: place.ranks_per_host]
    listings = [[(name, size) for name, size in listing] for listing in listings]
    modified = {each.name: each.modified for each in found}
    groups = channels.group_ranks(channel, folder, place.hosts, listings, place.ranks_per_host, modified)
    channels.require_files(channel.name, folder, groups)
    warning = channels.repeated(channel, place.hosts, listings)
    if warning and world.rank == 0:
        log.warning("%s", warning)
    names = {file.position: file.name for group in groups for file in group.files}
    files = tuple(names[position] for position in sorted(names))
    reader = make_reader(sorted(set(files)))
    with ThreadPoolExecutor(place.threads, "look") as pool:
        spans = dealing.divide(groups, reader, _Dealt(world, pool), lambda group: world.rank in group.ranks)
        mine = spans.get(world.rank, [])
        read = list({span.file.position: span.file for span in mine}.values())
        seen = list(zip(read, pool.map(reader.columns, read), strict=True))
    agreed = schema.agree_columns(world, channel.name, place.host, seen, 0)
    progress = progress or Progress()
    size = sum(_bytes(reader, span) for span in mine)
    progress.phase(f"loading {channel.name}", size, "bytes")
    rows = _Rows(mine, progress, place)
    loading.read(reader, mine, loading.threads_at_once(reader, mine, place.threads, place.storage), rows.take)
    progress.advance(size, rows=sum(rows.of_span))  # headers are in no batch
    pieces = _identify(world, mine, rows.of_span)
    loaded = _assemble(world, channel.name, agreed, rows, pieces, is_train=is_train)
    _tell_rows(world, place, channel.name, loaded)
    local = reader.categories()
    loaded.host, loaded.files = place.host, files
    try:
        agreed_on = categories.agree(world, local, known or {}) if is_train else known or {}
    except OverflowError as error:
        column = loaded.columns.name(error.args[0])
        raise UserError(f"channel {channel.name}, column {column}, all hosts together: {TOO_MANY}") from error
    return _with_categories(world, channel.name, loaded, local, agreed_on)


def _bytes(reader: Reader, span: Span) -> int:
    """What there is to read of a file for a span, as it lies on disk."""
    size, extent = span.file.size, max(1, reader.extent(span.file))
    return size * span.stop // extent - size * span.start // extent


class _Rows:
    """What is read, as it comes, in any order."""

    def __init__(self, spans: Sequence[Span], progress: Progress, place: Place) -> None:
        self.storage = place.storage
        self._note = place.note
        self._spans = spans
        self.of_span = [0] * len(spans)
        self._found: list[tuple[tuple[int, int], Dense | Sparse, Beside]] = []
        self._progress = progress
        self._rows = self._bytes = 0
        self._lock = threading.Lock()

    def take(self, loaded: Loaded) -> None:
        """Keep a batch; any thread may call."""
        if not loaded.batch.rows:
            return
        chunk = store(loaded.batch.features, self.storage)
        first = next(span for span, rows in loaded.rows if rows)
        beside = Beside.of(loaded.batch, self._spans[first].file.name)
        self._note(beside.rows, beside.nbytes)
        with self._lock:
            self._found.append((loaded.place, chunk, beside))
            for span, rows in loaded.rows:
                self.of_span[span] += rows
            self._rows += loaded.batch.rows
            self._bytes += loaded.batch.source_bytes
            self._progress.advance(self._bytes, rows=self._rows)

    def in_order(self) -> tuple[list[Dense | Sparse], list[Beside]]:
        """Features, and what else belongs to the rows; to be asked once."""
        self._found.sort(key=lambda found: found[0])
        chunks, beside = [found[1] for found in self._found], [found[2] for found in self._found]
        self._found.clear()
        return chunks, beside


def _assemble(
    world: World, channel: str, agreed: Columns, rows: _Rows, pieces: Pieces, *, is_train: bool
) -> Shard:
    """All rows of this rank, in order; empties `rows`."""
    chunks, batches = rows.in_order()
    form = Form.agree(world, batches)
    columns = agreed if agreed.count else dataclasses.replace(agreed, count=form.width)
    if form.is_sparse and form.width and not form.uses_zero and is_train and world.rank == 0:
        log.info(
            "channel %s: no row has an index 0; indices count from 0, so feature 0 is always missing, as in "
            "AWS's image (no harm, if all channels are numbered alike)",
            channel,
        )
    label, weight = joining.labels(batches), joining.weights(batches, form)
    group, upper = joining.groups(batches, form, channel), joining.uppers(batches, form)
    margin = joining.margins(batches, form)
    features = Features(chunks, columns.count, is_sparse=form.is_sparse, storage=rows.storage)
    total = int(world.allreduce(np.array([label.size], np.int64))[0])
    if not total:
        raise UserError(f"channel {channel} has files but no rows; check that they are not empty")
    return Shard(
        columns, features, label, weight, group, pieces, total, label_upper=upper, base_margin=margin
    )


def _tell_rows(world: World, place: Place, channel: str, loaded: Shard) -> None:
    per_rank = world.allgather(loaded.rows)
    if world.rank == 0:
        of_ranks = ", ".join(
            f"{place.hosts[r // place.ranks_per_host]} {n:,}" for r, n in enumerate(per_rank)
        )
        log.info(
            "channel %s: %s rows of %d features (%s)",
            channel,
            f"{loaded.total_rows:,}",
            loaded.columns.count,
            of_ranks,
        )


def _identify(world: World, spans: Sequence[Span], rows: list[int]) -> Pieces:
    """Number the rows of each span within its file, knowing how many rows the spans before it have."""
    mine = np.array(
        [(span.file.position, span.start, count) for span, count in zip(spans, rows, strict=True)], np.int64
    ).reshape(-1, 3)
    known = np.concatenate(world.allgather_arrays(mine.reshape(-1))).reshape(-1, 3)
    file, start, count = known[np.lexsort((known[:, 1], known[:, 0]))].T
    before = np.cumsum(count) - count
    first_of_file = np.searchsorted(file, file)
    first_row = {
        (int(f), int(s)): int(n) for f, s, n in zip(file, start, before - before[first_of_file], strict=True)
    }
    table = [(f, first_row[f, s], n) for f, s, n in mine.tolist()]
    return Pieces(np.array(table, np.int64).reshape(-1, 3))


def _with_categories(
    world: World, channel: str, loaded: Shard, local: Categories, agreed: Categories
) -> Shard:
    """The shard with the codes of all hosts in place of the reader's own."""
    loaded.categories = agreed
    lost: dict[int, int] = {}

    def recode(column: int, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        recoded, unknown = categories.recoded(codes, tables[column])
        lost[column] = lost.get(column, 0) + unknown
        return recoded

    tables = categories.tables(local, agreed)
    if tables:
        loaded.features.change_columns(tables, recode)
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
    """`dealing.Shared` over MPI: the ranks that may run a task take turns, each with all its threads."""

    def __init__(self, world: World, pool: ThreadPoolExecutor) -> None:
        self._world = world
        self._pool = pool

    def __call__(self, tasks: Sequence[tuple[tuple[int, ...], Callable[[], int]]]) -> list[int]:
        results = np.zeros(len(tasks), np.int64)
        mine = [
            number
            for number, (ranks, _) in enumerate(tasks)
            if ranks[number % len(ranks)] == self._world.rank
        ]
        results[mine] = list(self._pool.map(lambda number: tasks[number][1](), mine))
        return [int(result) for result in self._world.allreduce(results)]
