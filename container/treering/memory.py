"""How much memory there is, and whether the kernel killed a rank because it ran out: read off its cgroup.

A process killed for memory dies by SIGKILL without a word, exactly as one that somebody killed by hand;
only the cgroup's counters tell the two apart. Both versions of cgroups count the kills (``oom_kill``) in
the group of the victim, whether its own limit or the whole machine's memory was exhausted. Older kernels
count only how often the limit was hit (``failcnt``, version 1).
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_VARIABLE = "TREERING_MEMORY_PER_HOST"
"""MiB that a host may use, where nothing else says it."""

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_FULL = 0.95  # of the limit: the kernel kills before the very last page
_GIB = 2**30


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """A cgroup's memory, in bytes; None for what its files do not tell.

    Parameters
    ----------
    kills
        Processes of this group killed for memory.
    refusals
        How often the limit was hit.
    limit, peak
        The limit, that of an outer group included where the kernel says it, and the most ever used.
    """

    kills: int | None = None
    refusals: int | None = None
    limit: int | None = None
    peak: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether the limit was reached."""
        return self.limit is not None and self.peak is not None and self.peak >= _FULL * self.limit


class MemoryWatch:
    """The memory of one rank, noted while it lives and asked about when it is gone.

    Parameters
    ----------
    pid
        The rank's.
    proc, cgroups
        Where the two file systems are mounted.
    """

    def __init__(self, pid: int, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._pid = pid
        self._proc = proc
        self._cgroups = cgroups
        self._before: dict[Path, Account] = {}
        self.look()

    def look(self) -> None:
        """Note in which group the rank is; the kernel shows one that is about to end in the root's."""
        folder = _folder(self._proc / str(self._pid) / "cgroup", self._cgroups)
        if folder is not None and folder not in self._before:
            self._before[folder] = _read(folder)

    def can_tell(self) -> bool:
        """Whether there are counters that tell a kill for memory from another one."""
        return any(
            before.kills is not None or before.refusals is not None for before in self._before.values()
        )

    def ran_out(self) -> str | None:
        """What happened, when a process of the rank's group was killed for memory since it started."""
        for folder, before in self._before.items():
            now = _read(folder)
            if now.kills is not None:
                killed = now.kills > (before.kills or 0)
            else:
                killed = now.is_full and (now.refusals or 0) > (before.refusals or 0)
            if killed:
                return _sentence(now)
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """Memory that is left: bytes, and why it is no more."""

    size: int
    why: str

    def shared(self, ranks: int) -> Room:
        """What each of several ranks may take."""
        return dataclasses.replace(self, size=self.size // ranks)


def room(environ: Mapping[str, str], proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Room:
    """What this process may still take: the least of what its cgroup, the machine and `LIMIT_VARIABLE` leave.

    Parameters
    ----------
    environ
        May say how many MiB the host has, as of several hosts on one machine.
    proc, cgroups
        Where the two file systems are mounted.
    """
    machine = psutil.virtual_memory()
    rooms = [Room(machine.available, f"the machine has {gib(machine.total)}")]
    folder = _folder(proc / "self" / "cgroup", cgroups)
    limit = _read(folder).limit if folder is not None else None
    if folder is not None and limit is not None:
        rooms.append(Room(max(limit - _used(folder), 0), f"this container's limit is {gib(limit)}"))
    with contextlib.suppress(ValueError):
        given = int(float(environ.get(LIMIT_VARIABLE, "")) * 2**20)
        used = psutil.Process().memory_info().rss
        rooms.append(Room(max(given - used, 0), f"this host's part is {gib(given)}"))
    return min(rooms, key=lambda each: each.size)


def _used(folder: Path) -> int:
    """What a group uses and would not give back: of files that were read, only what is mapped, such as libraries."""
    stat = _pairs(folder / "memory.stat")
    first = _number(folder / "memory.current") is None  # version 1, which has a group's own and total numbers
    names = (
        ("total_inactive_file", "total_active_file", "total_mapped_file")
        if first
        else ("inactive_file", "active_file", "file_mapped")
    )
    inactive, active, mapped = (stat.get(name, 0) for name in names)
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
    return used - max(inactive + active - mapped, 0)


def _sentence(account: Account) -> str:
    if account.limit is not None and (account.is_full or account.peak is None):
        peak = "" if account.peak is None else f", of which up to {gib(account.peak)} were in use"
        which = f"this container's limit is {gib(account.limit)}{peak}"
    else:
        used = "" if account.peak is None else f", of which this container used up to {gib(account.peak)}"
        which = f"the machine has {gib(psutil.virtual_memory().total)}{used}"
    return (
        f"was killed by the kernel because memory ran out: {which}. Use an instance type with more memory, "
        "or more hosts, which share the rows"
    )


def gib(size: float) -> str:
    """Bytes for people."""
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / 2**20:.0f} MiB"


def _folder(listing: Path, cgroups: Path) -> Path | None:
    """Folder with the memory counters of the process whose ``/proc/PID/cgroup`` is `listing`.

    A container sees its own group as the root of the mount, while the listing may name it by its path on
    the machine; then that path does not exist, and the root is the right one.
    """
    try:
        lines = [line.split(":", 2) for line in listing.read_text().splitlines()]
    except OSError:
        return None
    for _, controllers, path in (line for line in lines if len(line) == 3):  # noqa: PLR2004  # number:controllers:path
        if "memory" in controllers.split(","):
            mount, sign = cgroups / "memory", "memory.usage_in_bytes"
        elif not controllers:
            mount, sign = cgroups, "memory.events"
        else:
            continue
        for folder in (mount / path.lstrip("/"), mount):
            if (folder / sign).exists():
                return folder
    return None


def _read(folder: Path) -> Account:
    """The account of one group, of version 1 or 2."""
    if (folder / "memory.events").exists():
        events = _pairs(folder / "memory.events.local") or _pairs(folder / "memory.events")
        return Account(
            events.get("oom_kill"),
            events.get("max"),
            _true_limit(_limit_v2(folder)),
            _number(folder / "memory.peak"),
        )
    limit = _pairs(folder / "memory.stat").get("hierarchical_memory_limit")
    return Account(
        _pairs(folder / "memory.oom_control").get("oom_kill"),
        _number(folder / "memory.failcnt"),
        _true_limit(_number(folder / "memory.limit_in_bytes") if limit is None else limit),
        _number(folder / "memory.max_usage_in_bytes"),
    )


def _limit_v2(folder: Path) -> int | None:
    """The smallest limit of this group and those around it, as far as they can be seen."""
    limits = []
    while (folder / "memory.max").exists():
        limits.append(_number(folder / "memory.max"))
        folder = folder.parent
    return min((limit for limit in limits if limit is not None), default=None)


def _true_limit(limit: int | None) -> int | None:
    """A limit beyond the machine is none; version 1 says "no limit" with a number near 2^63."""
    return limit if limit is not None and limit < psutil.virtual_memory().total else None


def _number(path: Path) -> int | None:
    """The number in a file; None for ``max``, and where there is no such file."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _pairs(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    try:
        return {name: int(value) for name, value in map(str.split, path.read_text().splitlines())}
    except (OSError, ValueError):
        return {}
