"""From a channel's folder to the ranks that see its files.

Hosts that see the same files (FullyReplicated) split them; a host with files of its own
(ShardedByS3Key) keeps them for its own ranks. `treering.dealing` says which rank reads what of them.

A row's identity is the position of its file in the sorted list of all files of the channel, and its
number in that file. Neither depends on which rank reads it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from treering.errors import PlatformError, UserError
from treering.readers.batch import File

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from treering.job import Channel

log = logging.getLogger(__name__)

type Names = list[tuple[str, int]]  # (name below the channel's folder, bytes) of each file, sorted by name

_SECOND = 10**9  # nanoseconds
_COARSE = 10**7  # of a kernel's own clock at most


class Found(NamedTuple):
    """A file of a channel's folder: its name below it, its bytes, and `File.modified`."""

    name: str
    size: int
    modified: int | None


def list_files(folder: Path) -> Names:
    """What `look` finds, as far as hosts that see the same files agree on it."""
    return [(each.name, each.size) for each in look(folder)]


def look(folder: Path) -> list[Found]:
    """The data files of one channel on this host, in folders of any depth, sorted by name.

    Names that begin with ``.`` or ``_`` (``_SUCCESS``, ``.crc``, editors' droppings) are no data: they
    are skipped, folders of that kind with all they hold, and told in one log line. A missing folder is
    an empty one. Raises PlatformError when a folder or file cannot be looked at.
    """
    found: list[Found] = []
    skipped: list[str] = []
    began = time.time_ns()

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or Path(error.filename) != folder:
            raise PlatformError(f"cannot list {error.filename}: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        hidden = {name for name in (*folders, *names) if name.startswith((".", "_"))}
        skipped += hidden
        folders[:] = [name for name in folders if name not in hidden]
        below = parent.removeprefix(str(folder)).lstrip("/")
        for name in names:
            path = f"{parent}/{name}"
            if name not in hidden:
                try:
                    status = os.stat(path)  # noqa: PTH116  # making a Path takes longer, and there may be many files
                except OSError as error:
                    raise PlatformError(f"cannot read {path}: {error.strerror}") from error
                if not stat.S_ISREG(status.st_mode):
                    raise PlatformError(f"{path} is no regular file but a pipe, socket or device; remove it")
                name_below = f"{below}/{name}" if below else name
                found.append(Found(name_below, status.st_size, _modified(status.st_mtime_ns, began)))
    if skipped:
        examples = ", ".join(sorted(skipped)[:3])
        log.info(
            "channel %s: skipped %d hidden file(s) or folder(s): %s", folder.name, len(skipped), examples
        )
    return sorted(found, key=lambda each: each.name)


def _modified(told: int, now: int) -> int | None:
    """The time at which a file was written, unless its mount may just say now whenever it is asked."""
    resolution = _COARSE if told % _SECOND else _SECOND
    return told if told + resolution <= now else None


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Ranks that see the same files and split them among themselves."""

    ranks: tuple[int, ...]
    files: tuple[File, ...]


def group_ranks(
    channel: Channel,
    folder: Path,
    hosts: Sequence[str],
    listings: Sequence[Names],
    ranks_per_host: int,
    modified: Mapping[str, int | None] | None = None,
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
    modified
        `File.modified` of this host's files by name, which other hosts know nothing of.

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
    times = modified or {}
    return [
        Group(
            tuple(host * ranks_per_host + i for host in members for i in range(ranks_per_host)),
            tuple(
                File(folder / name, name, positions[name, holder], size, times.get(name))
                for name, size in listings[holder]
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


def repeated(channel: Channel, hosts: Sequence[str], listings: Sequence[Names]) -> str | None:
    """What to warn of where hosts of a sharded channel seem to have the same files; else None."""
    if channel.distribution != "ShardedByS3Key":
        return None
    holders: dict[tuple[str, int], list[str]] = {}
    for host, listing in zip(hosts, listings, strict=True):
        for name, size in listing:
            if size:
                holders.setdefault((name, size), []).append(host)
    shared = {name: names for (name, _), names in holders.items() if len(names) > 1}
    if not shared:
        return None
    name, names = min(shared.items())
    return (
        f"channel {channel.name} is ShardedByS3Key, but {len(shared)} file(s) lie on several hosts with the same name "
        f"and size ({name} on {', '.join(names)}): if they are the same, their rows are read more than once; use "
        "FullyReplicated where all hosts see the same files"
    )


def require_files(channel: str, folder: Path, groups: Sequence[Group]) -> None:
    """Raise UserError when no host has a file of this channel."""
    if not groups:
        raise UserError(
            f"channel {channel} has no data files in {folder} on any host; check its S3 prefix (names that "
            "begin with . or _ do not count)"
        )
