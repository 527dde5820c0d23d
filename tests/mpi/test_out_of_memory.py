"""A rank that the kernel kills for memory: told as such, with the limit, and never the supervisor instead."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rank_programs import FOREVER, MEET, PATIENT, announce, program, rank_pid, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Ring

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_LIMIT = 256 * 2**20


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory cgroup of this test's own with a limit; skips where none can be made."""
    first = (_V1 if (_V1 / "memory.limit_in_bytes").exists() else _V2) / f"treering-{uuid.uuid4().hex[:8]}"
    try:
        first.mkdir()
        name = "memory.limit_in_bytes" if first.parent == _V1 else "memory.max"
        (first / name).write_text(str(_LIMIT))
    except OSError as error:
        if first.is_dir():
            first.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield first
    until(lambda: not (first / "cgroup.procs").read_text(), "the cgroup is empty")
    first.rmdir()


@contextlib.contextmanager
def _inside(group: Path) -> Iterator[None]:
    """What is started here starts in `group`."""
    (before,) = [
        path
        for _, controllers, path in (
            line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()
        )
        if controllers == ("memory" if group.parent == _V1 else "")
    ]
    (group / "cgroup.procs").write_text(str(os.getpid()))
    yield
    (group.parent / before.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))


def test_a_rank_killed_for_memory_is_told(ring: Ring, group: Path) -> None:
    """The kernel picks the rank, and every host learns the limit, the peak and what to change."""
    text = (
        MEET
        + announce("ready")
        + "import time\nwhile not p.with_name('go').exists(): time.sleep(0.01)\n"
        + "if world.rank == 1:\n"
        + "    kept = [bytearray(os.urandom(1)) * 2**24 for _ in range(64)]\n"
        + FOREVER
    )
    names = ["algo-1", "algo-2"]
    ring.start_host("algo-1", names, program(text), PATIENT)
    with _inside(group):
        ring.start_host("algo-2", names, program(text), PATIENT)
    pids = {name: rank_pid(ring, name, "ready") for name in names}
    for host in ring.hosts.values():
        (host.base / "go").touch()
    assert ring.wait() == {"algo-1": 1, "algo-2": 1}, ring.logs()
    for host in ring.hosts.values():
        line = host.failure.splitlines()[0]
        assert line.startswith(
            f"algo-2: rank 1 (pid {pids['algo-2']}) was killed by the kernel because memory ran out: "
            "this container's limit is 256 MiB, of which up to 25"
        ), line
        assert "Use an instance type with more memory, or more hosts" in line


def test_a_rank_killed_by_hand_is_not_told_as_out_of_memory(ring: Ring, group: Path) -> None:
    """SIGKILL with counters that did not move is a kill by somebody."""
    with _inside(group):
        ring.start(1, program(MEET + announce("ready") + FOREVER), PATIENT)
    pid = rank_pid(ring, "algo-1", "ready")
    os.kill(pid, signal.SIGKILL)
    assert ring.wait() == {"algo-1": 1}
    assert ring.hosts["algo-1"].failure.startswith(
        f"algo-1: rank 0 (pid {pid}) was killed by SIGKILL without a word, and not for lack of memory: "
    )


def test_the_kernel_would_take_the_rank_first(ring: Ring) -> None:
    """A rank and what it starts are preferred victims; its supervisor is none."""
    ring.start(
        1, program("import subprocess; " + MEET + announce("ready") + "subprocess.run(['sleep', '1000'])")
    )
    pid = rank_pid(ring, "algo-1", "ready")

    def score(of: int | str) -> int:
        return int(Path(f"/proc/{of}/oom_score_adj").read_text())

    assert score(pid) >= 500
    assert score(ring.hosts["algo-1"].process.pid) == score("self")
    ring.hosts["algo-1"].process.send_signal(signal.SIGTERM)
    ring.wait()
