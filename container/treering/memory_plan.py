"""Where a rank's rows go so that they fit: memory, or a folder on disk, or nowhere and the job ends with advice.

What takes memory, in bytes, as measured with XGBoost 3.4.1 (``hist`` on the CPU):

- the features as float32, until they are binned: 4 for each cell, or 8 for each value of sparse rows;
- the bins: 2.4 for each cell where no value is missing, else 4 for each value and 1.2 for each cell, or 13 for
  each value of sparse rows; twice the part of the cells beyond 256 bins or categories of a column, four times that
  beyond 65,536;
- the rounds: 80 and 24 for each output a row, and 16 for each bin of each node of a tree, each category being one;
- a few pieces of the data on the way from one to the next: blocks and row groups while they are read, in each
  thread that reads, and what is binned at once.

Three ways, the first that fits is taken. *memory*: both stay there. *columns on disk*: features beyond what
is left go to a file, and come back column by column to be sorted and piece by piece to be binned. *external
memory*: bins as well lie on disk, and are read again in each round. All give the same model.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Final

from treering.errors import UserError
from treering.memory import gib
from treering.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from treering.memory import Room
    from treering.sizing import Extent

PIECE: Final = 16 << 20
"""Bytes of float32 that are binned at once where there is room, and lie on one page of external memory.

XGBoost's threads wait for each other after each piece, so small ones cost time.
"""

_FIXED: Final = 64 << 20  # what grows in a process besides
_PIECES: Final = 3  # on the way to XGBoost at once, itself included
_PAGES: Final = 4  # of external memory at once
_COLUMNS_AT_ONCE: Final = 32 << 20  # bytes sorted at once, where there is room for it
_FEWEST_COLUMNS: Final = 1 << 24
_BLOCKS: Final = 64  # of columns, about; ranks exchange some dozens of messages for each
_SMALLEST_PIECE: Final = 4 << 20
_BIN: Final = 16  # bytes: two float64 sums
_NARROW: Final = 256  # bins that a byte can tell apart
_WHILE_READING: Final = 4  # the part of the room that threads which read side by side may take
_MARGIN: Final = (
    1.5  # by how much an estimate has to be beyond all room to end the job before it is known better
)


class Way(enum.StrEnum):
    """Where features and bins lie."""

    MEMORY = "memory"
    COLUMNS_ON_DISK = "columns on disk"
    EXTERNAL = "external memory"


@dataclasses.dataclass(frozen=True, slots=True)
class Demand:
    """What a job asks for besides its rows.

    Parameters
    ----------
    max_bin, outputs
        Bins of a column, and numbers predicted for each row.
    nodes
        Of a tree at most, whose histograms are there at the same time.
    external
        Of the hyperparameter `external_memory`: None to decide, else whether bins lie on disk.
    as_they_are
        Whether XGBoost takes the rows unbinned, which nothing but memory holds.
    ranks
        That share the rows, about alike.
    threads
        Of this rank, which may all read at once.
    """

    max_bin: int
    outputs: int
    nodes: int
    external: bool | None = None
    as_they_are: bool = False
    ranks: int = 1
    threads: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What comes of it.

    Parameters
    ----------
    way
        Where the rows go.
    peak
        Bytes of memory that are expected on top of what is used now.
    disk
        Bytes that go to disk.
    kept
        Bytes of features that may stay in memory; the rest goes to disk.
    values_at_once
        Values to sort at once.
    piece
        Bytes of features to bin at once.
    reading
        Bytes that all threads together may take while they read, besides what is kept.
    """

    way: Way
    peak: int
    disk: int
    kept: int
    values_at_once: int
    piece: int
    reading: int


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How a rank turns rows into bins.

    Parameters
    ----------
    values_at_once
        Values to sort at once.
    piece
        Bytes of features to bin at once.
    pages
        Folder for the bins; None keeps them in memory.
    lets_go
        Whether features may be let go once they are binned.
    unbinned
        Whether rows that are only scored may stay as they are, which takes more memory and less time.
    progress
        Hears how far it is.
    """

    values_at_once: int = 1 << 23
    piece: int = PIECE
    pages: Path | None = None
    lets_go: bool = False
    unbinned: bool = True
    progress: Progress = dataclasses.field(default_factory=Progress)


def decide(room: Room, extents: Sequence[Extent], demand: Demand, free_disk: int, *, is_known: bool) -> Plan:
    """Choose the first way that fits.

    Parameters
    ----------
    room
        For this rank.
    extents
        The rows of its channels; those to train on first.
    demand
        The job.
    free_disk
        Bytes that the folder for the rest has.
    is_known
        Whether the extents are those of rows that were read; else they are an estimate, and the job goes on
        where it might be wrong.

    Raises
    ------
    UserError
        When no way fits, or there is no room to read the largest file.
    """
    reading = _reading(room, extents, demand)
    features, bins = sum(each.features for each in extents), sum(_bins(each, demand) for each in extents)
    scored = extents[1:]
    unbinned = sum(_unbinned(each, demand) for each in scored)  # beyond the bins that they would have else
    # They are put in one piece when the training rows are gone.
    together = max((each.features for each in scored), default=0) - sum(each.features for each in extents[:1])
    rounds = _rounds(extents, demand)
    piece = min(max(_SMALLEST_PIECE, room.size // 16), PIECE)
    moving, pages = _PIECES * min(piece, features), min(_PAGES * _page(extents, demand, piece), bins)
    # Beside the features while those are there, and without them.
    binning = {
        Way.MEMORY: bins + unbinned + max(moving, together),
        Way.COLUMNS_ON_DISK: bins + moving,
        Way.EXTERNAL: pages + moving,
    }
    sorting = {way: _sorting(room, extents, demand, binning[way]) for way in Way}
    beside = {way: max(reading, sorting[way], binning[way]) for way in Way}
    after = {
        Way.MEMORY: bins + unbinned + rounds,
        Way.COLUMNS_ON_DISK: bins + rounds,
        Way.EXTERNAL: pages + rounds,
    }
    peaks = {way: _FIXED + max(beside[way] + features * (way is Way.MEMORY), after[way]) for way in Way}
    disks = {Way.MEMORY: 0, Way.COLUMNS_ON_DISK: features, Way.EXTERNAL: features + bins}
    ways = _ways(demand)
    slack = 1.0 if is_known else _MARGIN
    for way in ways:
        is_last = way is ways[-1]
        if peaks[way] <= room.size * (slack if is_last else 1.0) and disks[way] <= free_disk * slack:
            kept = room.size - _FIXED - (max(reading, sorting[way]) if way is Way.MEMORY else beside[way])
            return Plan(way, peaks[way], disks[way], max(kept, 0), sorting[way] // 8, piece, reading)
    histograms = max((_histograms(each, demand) for each in extents), default=0)
    raise _refusal(room, ways, peaks, disks, free_disk, histograms)


def _reading(room: Room, extents: Sequence[Extent], demand: Demand) -> int:
    """What all threads take while they read: as many as a part of the room is enough for, and one at least."""
    largest = max(extents, key=lambda each: each.working, default=None)
    if largest is None or not largest.working:
        return 0
    require_room_to_read(largest.largest, largest.working, room.size - _FIXED, room.why)
    return largest.working * min(max(room.size // _WHILE_READING // largest.working, 1), demand.threads)


def require_room_for_rows(room: Room, rows: int, demand: Demand) -> None:
    """Raise UserError where the rows that were read so far can never be trained on, however many are to come."""
    needed = _FIXED + _round(demand) * rows
    if needed > _MARGIN * room.size:
        raise UserError(
            f"memory: {rows:,} rows are more than a rank can train on, and they are not all: their rounds take about "
            f"{gib(needed)}, and {gib(room.size)} are left ({room.why}); look for a compressed file that holds more than it "
            "should, or use an instance type with more memory, or more hosts, which share the rows"
        )


def require_room_to_read(file: str, needed: int, left: int, why: str) -> None:
    """Raise UserError for a file that cannot be read in pieces that are small enough: a Parquet file, that is."""
    if needed <= max(left, _FIXED):  # blocks of text are no more than what grows in a process anyway
        return
    raise UserError(
        f"memory: reading {file} takes about {gib(needed)} at once, since a row group of Parquet has to be unpacked with "
        f"all of its columns, and {gib(max(left, 0))} are left for it ({why}); write it with fewer rows in "
        "each row group, or use an instance type with more memory"
    )


def _ways(demand: Demand) -> list[Way]:
    if demand.as_they_are:
        return [Way.MEMORY]
    if demand.external:
        return [Way.EXTERNAL]
    return list(Way) if demand.external is None else [Way.MEMORY, Way.COLUMNS_ON_DISK]


def _refusal(
    room: Room,
    ways: Sequence[Way],
    peaks: dict[Way, int],
    disks: dict[Way, int],
    free_disk: int,
    histograms: int,
) -> UserError:
    least = min(ways, key=peaks.__getitem__)
    if peaks[least] > room.size:
        where = {
            Way.MEMORY: "all of its rows",
            Way.COLUMNS_ON_DISK: "its rows, binned,",
            Way.EXTERNAL: "parts of its rows",
        }
        advice = "use an instance type with more memory, or more hosts, which share the rows"
        if 2 * histograms > peaks[least]:
            advice = (
                f"histograms alone take {gib(histograms)}: lower max_depth or max_bin, leave out columns with many "
                "categories, or use an instance type with more memory"
            )
        return UserError(
            f"memory: a rank needs about {gib(peaks[least])} for {where[least]} and its histograms, and "
            f"{gib(room.size)} are left for it ({room.why}); {advice}"
        )
    return UserError(
        f"disk: the rows of this rank do not fit into memory ({gib(peaks[ways[0]])} needed, {gib(room.size)} left: "
        f"{room.why}), and on disk they need about {gib(disks[least])}, of which {gib(free_disk)} are free; give the "
        "job a larger volume, or name a folder with more room (hyperparameter scratch_folder)"
    )


def _bins(extent: Extent, demand: Demand) -> int:
    cells, wide = extent.rows * extent.columns, _width(max(demand.max_bin, extent.widest))
    if demand.as_they_are:
        return 8 * extent.values + extent.features
    if extent.is_sparse:
        return 13 * extent.values + 8 * extent.rows
    if extent.values == cells:
        return 12 * cells * wide // 5
    return 4 * extent.values + 6 * cells * wide // 5 + 8 * extent.rows


def _unbinned(extent: Extent, demand: Demand) -> int:
    """What rows that are only scored take beyond their bins, where they stay as they are: see `treering.matrix.scored`."""
    if demand.as_they_are or (extent.values == extent.rows * extent.columns and not extent.is_sparse):
        return 0
    return max(8 * (extent.values + extent.rows) - _bins(extent, demand), 0)


def _width(bins: int) -> int:
    """Bytes that tell so many bins of a column apart."""
    return next(width for width in (1, 2, 4) if bins <= _NARROW**width)


def _rounds(extents: Sequence[Extent], demand: Demand) -> int:
    rows = sum(extent.rows for extent in extents)
    histograms = max((_histograms(extent, demand) for extent in extents), default=0)
    return _round(demand) * rows + histograms


def _round(demand: Demand) -> int:
    """Bytes of each row while rounds are trained."""
    return 80 + 24 * demand.outputs


def _histograms(extent: Extent, demand: Demand) -> int:
    """Of all nodes: no column has more bins than values, but one for each category, and no node is without rows."""
    bins = min(demand.max_bin * extent.columns, extent.columns + demand.ranks * extent.values)
    bins += extent.categories
    return _BIN * bins * min(demand.nodes, 2 * demand.ranks * extent.rows)


def _sorting(room: Room, extents: Sequence[Extent], demand: Demand, binning: int) -> int:
    """Bytes of sorted columns, those at work and the next: no more than binning takes afterwards, but two at least."""
    longest = 4 * max((extent.rows for extent in extents), default=0)
    features = sum(extent.features for extent in extents)
    wanted = max(_COLUMNS_AT_ONCE, longest * demand.threads, features // _BLOCKS)
    at_once = max(min(wanted, room.size // 8, binning // 2), _FEWEST_COLUMNS, longest)
    return 2 * min(at_once, features)


def _page(extents: Sequence[Extent], demand: Demand, piece: int) -> int:
    """Bytes of the bins of one piece."""
    pieces = [_bins(each, demand) * piece // each.features for each in extents if each.features]
    return max(pieces, default=0)
