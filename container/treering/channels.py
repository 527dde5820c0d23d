"""From a channel's folder to the row ranges of each rank: every row on exactly one rank.

Hosts that see the same files (FullyReplicated) split them; a host with files of its own
(ShardedByS3Key) keeps them for its own ranks. Either way the ranks that share files get near-equal parts
of their total size, cut inside files where the format allows it.

A row's identity is the position of its file in the sorted list of all files of the channel, and its
number in that file. Neither depends on which rank reads it.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from treering.errors import PlatformError, UserError
from treering.readers.batch import File, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from treering.job import Channel
    from treering.readers.batch import Reader

log = logging.getLogger(__name__)

type Names = list[tuple[str, int]]  # (name below the channel's folder, bytes) of each file, sorted by name


def list_files(folder: Path) -> Names:
    """The data files of one channel on this host, in folders of any depth.

    Names that begin with ``.`` or ``_`` (``_SUCCESS``, ``.crc``, editors' droppings) are no data: they
    are skipped, folders of that kind with all they hold, and told in one log line. A missing folder is
    an empty one. Raises PlatformError when a folder or file cannot be looked at.
    """
    found: Names = []
    skipped: list[str] = []

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or Path(error.filename) != folder:
            raise PlatformError(f"cannot list {error.filename}: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        hidden = {name for name in (*folders, *names) if name.startswith((".", "_"))}
        skipped += hidden
        folders[:] = [name for name in folders if name not in hidden]
        for name in names:
            path = Path(parent, name)
            if name not in hidden:
                try:
                    status = path.stat()
                except OSError as error:
                    raise PlatformError(f"cannot read {path}: {error.strerror}") from error
                if not stat.S_ISREG(status.st_mode):
                    raise PlatformError(f"{path} is no regular file but a pipe, socket or device; remove it")
                found.append((path.relative_to(folder).as_posix(), status.st_size))
    if skipped:
        examples = ", ".join(sorted(skipped)[:3])
        log.info(
            "channel %s: skipped %d hidden file(s) or folder(s): %s", folder.name, len(skipped), examples
        )
    return sorted(found)


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Ranks that see the same files and split them among themselves."""

    ranks: tuple[int, ...]
    files: tuple[File, ...]


def group_ranks(
    channel: Channel, folder: Path, hosts: Sequence[str], listings: Sequence[Names], ranks_per_host: int
) -> list[Group]:
    """Decide which ranks share which files.

    Parameters
    ----------
    channel
        Its name and distribution.
    folder
        Where this host's files of the channel lie.
    hosts, listings
        All hosts in rank order, and what each found by `list_files`.
    ranks_per_host
        Rank ``r`` lives on host ``r // ranks_per_host``.

    Raises
    ------
    PlatformError
        When hosts that should see the same files do not.
    """
    holders = [number for number, listing in enumerate(listings) if listing]
    if channel.distribution == "FullyReplicated":
        for number in holders[1:]:
            _require_equal(
                channel.name, hosts[holders[0]], listings[holders[0]], hosts[number], listings[number]
            )
        shares = [(holders, holders[0])] if holders else []
    else:
        shares = [([number], number) for number in holders]
    # Sharded files have distinct names on real S3; should two hosts hold equal names, the host decides.
    order = sorted((name, holder) for _, holder in shares for name, _ in listings[holder])
    positions = {key: position for position, key in enumerate(order)}
    return [
        Group(
            tuple(host * ranks_per_host + i for host in members for i in range(ranks_per_host)),
            tuple(
                File(folder / name, name, positions[name, holder], size) for name, size in listings[holder]
            ),
        )
        for members, holder in shares
    ]


def _require_equal(channel: str, one: str, ones: Names, other: str, others: Names) -> None:
    if ones == others:
        return
    difference = sorted(set(ones) ^ set(others))
    name, size = difference[0]
    where = one if difference[0] in ones else other
    raise PlatformError(
        f"channel {channel} is FullyReplicated, but {one} has {len(ones)} file(s) and {other} {len(others)}: "
        f"{name} ({size} bytes) is only on {where}; use ShardedByS3Key, or wait until the data is complete"
    )


class Shared(Protocol):
    """Runs each task on one rank that can see its file, and tells every rank all results."""

    def __call__(self, tasks: Sequence[tuple[tuple[int, ...], Callable[[], int]]]) -> list[int]:
        """Results in the order of `tasks`; each task names the ranks that may run it."""


def run_alone(tasks: Sequence[tuple[tuple[int, ...], Callable[[], int]]]) -> list[int]:
    """`Shared` for a single process that sees all files."""
    return [task() for _, task in tasks]


def divide(
    groups: Sequence[Group], reader: Reader, shared: Shared, mine: Callable[[Group], bool]
) -> dict[int, list[Span]]:
    """The spans of each rank of the groups that are `mine`, in the order of files.

    Parameters
    ----------
    groups
        From `group_ranks`.
    reader
        The channel's format.
    shared
        How measuring is dealt out; collective where it talks to other ranks.
    mine
        Whether this host can look into a group's files.

    Notes
    -----
    Cost: one look at each file that has to be measured (Parquet), and one pass over those few CSV files
    that are cut, to tell line ends inside quotes from those that end a row.
    """
    extents = shared([(group.ranks, _extent(reader, file)) for group in groups for file in group.files])
    sizes = _regroup(extents, [len(group.files) for group in groups])
    targets = [_targets(size, len(group.ranks)) for group, size in zip(groups, sizes, strict=True)]
    surveys = shared(
        [
            (group.ranks, _survey(reader, file, start, stop))
            for group, of_files in zip(groups, targets, strict=True)
            for file, edges in zip(group.files, of_files, strict=True)
            for start, stop in itertools.pairwise([0, *edges])
        ]
    )
    counted = iter(surveys)
    spans: dict[int, list[Span]] = {}
    for group, of_files, size in zip(groups, targets, sizes, strict=True):
        surveyed = [[next(counted) for _ in edges] for edges in of_files]
        if mine(group):
            edges = [
                reader.boundaries(file, wanted, known) if wanted else []
                for file, wanted, known in zip(group.files, of_files, surveyed, strict=True)
            ]
            spans |= _deal(group, size, of_files, edges)
    return spans


def _extent(reader: Reader, file: File) -> Callable[[], int]:
    return lambda: reader.extent(file)


def _survey(reader: Reader, file: File, start: int, stop: int) -> Callable[[], int]:
    return lambda: reader.survey(file, start, stop)


def _regroup(values: list[int], counts: list[int]) -> list[list[int]]:
    remaining = iter(values)
    return [list(itertools.islice(remaining, count)) for count in counts]


def _targets(extents: list[int], parts: int) -> list[list[int]]:
    """Where each file of a group would have to be cut for exactly equal parts; strictly inside the file."""
    *starts, total = itertools.accumulate(extents, initial=0)
    ideal = [total * part // parts for part in range(1, parts)]
    return [
        sorted({cut - start for cut in ideal if start < cut < start + extent})
        for start, extent in zip(starts, extents, strict=True)
    ]


def _deal(
    group: Group, extents: list[int], targets: list[list[int]], edges: list[list[int]]
) -> dict[int, list[Span]]:
    """Give the pieces between actual edges to the ranks whose ideal parts they are."""
    parts, total = len(group.ranks), sum(extents)
    spans: dict[int, list[Span]] = {rank: [] for rank in group.ranks}
    before = 0
    for file, extent, wanted, actual in zip(group.files, extents, targets, edges, strict=True):
        if len(actual) != len(wanted) or [0, *actual, extent] != sorted([0, *actual, extent]):
            raise RuntimeError(
                f"{file.name}: the places {actual} to cut at do not tile its {extent} bytes or rows"
            )
        ideal_starts = [0, *wanted]
        for ideal, (start, stop) in zip(ideal_starts, itertools.pairwise([0, *actual, extent]), strict=True):
            if stop > start:
                part = _part_of(before + ideal, total, parts)
                spans[group.ranks[part]].append(Span(file, start, stop))
        before += extent
    return spans


def _part_of(offset: int, total: int, parts: int) -> int:
    """Index of the ideal part ``[total·i//parts, total·(i+1)//parts)`` that holds `offset`."""
    part = min(parts - 1, offset * parts // total)
    while part + 1 < parts and total * (part + 1) // parts <= offset:
        part += 1
    return part


def require_files(channel: str, folder: Path, groups: Sequence[Group]) -> None:
    """Raise UserError when no host has a file of this channel."""
    if not groups:
        raise UserError(
            f"channel {channel} has no data files in {folder} on any host; check its S3 prefix (names that "
            "begin with . or _ do not count)"
        )
