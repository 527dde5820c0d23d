"""`treering.memory`: a kill for memory is told from any other, in both versions of cgroups."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import psutil
import pytest

from treering.memory import LIMIT_VARIABLE, MemoryWatch, Room, room

if TYPE_CHECKING:
    from pathlib import Path

_PID = 4711
_GIB = 2**30


@dataclasses.dataclass
class _Machine:
    """The files of one cgroup as the kernel shows them; `version` is 1 or 2."""

    root: Path
    version: int
    path: str = "/"  # of the group, as /proc says it
    seen_as: str = "/"  # where it is mounted, for the one who looks

    def __post_init__(self) -> None:
        proc = self.root / "proc" / str(_PID)
        proc.mkdir(parents=True)
        self.move(self.path)
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        return self.root / "cgroup" / ("memory" if self.version == 1 else "") / self.seen_as.lstrip("/")

    def move(self, path: str) -> None:
        v1 = f"12:cpuset:/\n4:memory:{path}\n1:name=systemd:/else\n0::/\n"
        (self.root / "proc" / str(_PID) / "cgroup").write_text(v1 if self.version == 1 else f"0::{path}\n")

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"memory.{name.replace('__', '.')}").write_text(text)

    def account(self, kills: int, hits: int, limit: int | None, peak: int) -> None:
        if self.version == 1:
            self.write(
                usage_in_bytes=f"{peak}\n",
                oom_control=f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n",
                failcnt=f"{hits}\n",
                max_usage_in_bytes=f"{peak}\n",
                stat=f"cache 0\nrss {peak}\nhierarchical_memory_limit {limit or 9223372036854771712}\n",
                limit_in_bytes="9223372036854771712\n",
            )
        else:
            self.write(
                events=f"low 0\nhigh 0\nmax {hits}\noom {kills}\noom_kill {kills}\noom_group_kill 0\n",
                max=f"{limit or 'max'}\n",
                peak=f"{peak}\n",
            )

    def room(self, **environ: str) -> Room:
        """Asked by the process itself."""
        (self.root / "proc" / "self").symlink_to(self.root / "proc" / str(_PID))
        return room(environ, self.root / "proc", self.root / "cgroup")

    def watch(self) -> MemoryWatch:
        return MemoryWatch(_PID, self.root / "proc", self.root / "cgroup")


_VERSIONS = pytest.mark.parametrize("version", [1, 2])
_PLACES = pytest.mark.parametrize(
    ("path", "seen_as"),
    [("/", "/"), ("/docker/0123abc", "/"), ("/user.slice/job", "/user.slice/job")],
    ids=["own namespace", "the machine's path, the container's mount", "no container"],
)


@_VERSIONS
@_PLACES
def test_a_kill_for_memory_is_told_with_limit_and_peak(
    tmp_path: Path, version: int, path: str, seen_as: str
) -> None:
    """In a container with a namespace of its own, in one without, and outside of any."""
    machine = _Machine(tmp_path, version, path, seen_as)
    machine.account(kills=3, hits=10, limit=2 * _GIB, peak=_GIB)
    watch = machine.watch()
    assert watch.can_tell()
    assert watch.ran_out() is None
    machine.account(kills=4, hits=99, limit=2 * _GIB, peak=2 * _GIB - 4096)
    assert watch.ran_out() == (
        "was killed by the kernel because memory ran out: this container's limit is 2.0 GiB, of which up to "
        "2.0 GiB were in use. Use an instance type with more memory, or more hosts, which share the rows"
    )


@_VERSIONS
def test_a_machine_that_ran_out_is_told_as_such(tmp_path: Path, version: int) -> None:
    """Without a limit, or far below it, it was the whole machine's memory."""
    total = f"the machine has {psutil.virtual_memory().total / _GIB:.1f} GiB"
    for folder, limit in (("none", None), ("far", 8 * psutil.virtual_memory().total), ("below", 3 * _GIB)):
        machine = _Machine(tmp_path / folder, version)
        machine.account(0, 0, limit, 300 * 2**20)
        watch = machine.watch()
        machine.account(1, 0, limit, 300 * 2**20)
        told = watch.ran_out()
        assert told is not None
        assert f"memory ran out: {total}, of which this container used up to 300 MiB. " in told


@_VERSIONS
def test_a_kill_by_hand_is_none_for_memory(tmp_path: Path, version: int) -> None:
    """Even at the limit, which a page cache reaches every day: only the kernel's count of kills counts."""
    machine = _Machine(tmp_path, version)
    machine.account(2, 10, _GIB, _GIB)
    watch = machine.watch()
    machine.account(2, 5000, _GIB, _GIB)
    assert watch.ran_out() is None
    assert watch.can_tell()


@pytest.mark.parametrize(("hits", "peak", "told"), [(1, _GIB, True), (0, _GIB, False), (1, _GIB // 2, False)])
def test_an_old_kernel_only_counts_how_often_the_limit_was_hit(
    tmp_path: Path,
    hits: int,
    peak: int,
    told: bool,  # a parameter
) -> None:
    """Without a count of kills, hits since the start and a peak at the limit have to do."""
    machine = _Machine(tmp_path, 1)
    machine.account(0, 0, _GIB, 0)
    machine.write(oom_control="oom_kill_disable 0\nunder_oom 0\n")
    watch = machine.watch()
    machine.account(0, hits, _GIB, peak)
    machine.write(oom_control="oom_kill_disable 0\nunder_oom 0\n")
    assert (watch.ran_out() is not None) == told


def test_version_2_counts_the_groups_own_kills_and_the_limits_around_it(tmp_path: Path) -> None:
    """Kills in a group below are another's, and a limit further out is this one's too."""
    machine = _Machine(tmp_path, 2, "/outer/inner", "/outer/inner")
    machine.account(0, 0, 4 * _GIB, _GIB)
    (machine.folder.parent / "memory.max").write_text(f"{_GIB}\n")
    machine.write(events__local="oom_kill 0\n")
    watch = machine.watch()
    machine.account(7, 0, 4 * _GIB, _GIB)
    assert watch.ran_out() is None
    machine.write(events__local="oom_kill 1\n")
    told = watch.ran_out()
    assert told is not None
    assert "this container's limit is 1.0 GiB, of which up to 1.0 GiB" in told


def test_without_a_peak_the_limit_is_told_alone(tmp_path: Path) -> None:
    """Kernels before 5.19 do not keep the peak in version 2."""
    machine = _Machine(tmp_path, 2)
    machine.account(0, 0, _GIB, 0)
    (machine.folder / "memory.peak").unlink()
    watch = machine.watch()
    machine.account(1, 1, _GIB, 0)
    (machine.folder / "memory.peak").unlink()
    told = watch.ran_out()
    assert told is not None
    assert "this container's limit is 1.0 GiB. Use" in told


@_VERSIONS
def test_every_group_that_the_rank_was_in_counts(tmp_path: Path, version: int) -> None:
    """A rank that was moved, and one that is about to end, which the kernel shows in the root group."""
    machine = _Machine(tmp_path, version, "/job", "/job")
    machine.account(0, 0, _GIB, 0)
    root = _Machine(tmp_path / "other", version)
    root.root, root.seen_as = tmp_path, "/"
    root.account(5, 0, None, 0)
    watch = machine.watch()
    machine.move("/")
    watch.look()
    machine.account(1, 1, _GIB, _GIB)
    assert watch.ran_out() is not None


def test_where_nothing_can_be_read_nothing_is_told(tmp_path: Path) -> None:
    """No cgroups, a process that is gone, or files of another kind: no answer, and no error."""
    assert not MemoryWatch(_PID, tmp_path / "proc", tmp_path / "cgroup").can_tell()
    assert MemoryWatch(_PID, tmp_path / "proc", tmp_path / "cgroup").ran_out() is None
    machine = _Machine(tmp_path, 1)
    machine.write(usage_in_bytes="much\n", oom_control="\0\n", failcnt="max\n", stat="a b c\n")
    assert not machine.watch().can_tell()
    assert machine.watch().ran_out() is None


def test_the_files_of_this_machine_are_understood() -> None:
    """Whatever there is, this process was not killed for memory."""
    assert MemoryWatch(os.getpid()).ran_out() is None


@_VERSIONS
@_PLACES
def test_room_is_what_the_limit_leaves(tmp_path: Path, version: int, path: str, seen_as: str) -> None:
    """The limit less what is used, without files that were read, which the kernel drops unless they are mapped."""
    machine = _Machine(tmp_path, version, path, seen_as)
    machine.account(0, 0, _GIB, 3 * _GIB // 4)
    if version == 1:
        machine.write(
            stat=f"hierarchical_memory_limit {_GIB}\ntotal_inactive_file {_GIB // 4}\n"
            f"total_active_file {_GIB // 8}\ntotal_mapped_file {_GIB // 8}\n"
        )
        machine.write(usage_in_bytes=f"{3 * _GIB // 4}\n")
    else:
        files = f"inactive_file {_GIB // 4}\nactive_file {_GIB // 8}\nfile_mapped {_GIB // 8}\n"
        machine.write(current=f"{3 * _GIB // 4}\n", stat=f"anon {_GIB // 2}\n{files}")
    assert machine.room() == Room(_GIB // 2, "this container's limit is 1.0 GiB")


@_VERSIONS
def test_without_a_limit_the_machine_is_one(tmp_path: Path, version: int) -> None:
    """What is free there; ranks of a host share it."""
    machine = _Machine(tmp_path, version)
    machine.account(0, 0, None, 0)
    found = machine.room()
    assert 0 < found.size <= psutil.virtual_memory().total
    assert found.why.startswith("the machine has ")
    assert found.shared(2).size == found.size // 2


def test_several_hosts_of_one_machine_have_their_parts(tmp_path: Path) -> None:
    """What the environment gives a host, less what this process has taken of it; what is no number gives nothing."""
    machine = _Machine(tmp_path, 2)
    machine.account(0, 0, None, 0)
    used = psutil.Process().memory_info().rss
    found = machine.room(**{LIMIT_VARIABLE: str((used + 2**24) / 2**20)})
    assert 0 < found.size < 2**26
    assert found.why.startswith("this host's part is ")
    assert room({LIMIT_VARIABLE: "much"}).why != found.why
