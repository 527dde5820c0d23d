"""A machine whose cores are all busy: slow, but not lost."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
from rank_programs import MEET, announce, program, rank_pid

if TYPE_CHECKING:
    from conftest import Ring

_SHORT = {"TREERING_HEARTBEAT_INTERVAL": "0.2", "TREERING_LOST_TIMEOUT": "2", "TREERING_STALL_TIMEOUT": "30"}


def test_a_busy_host_is_not_lost(ring: Ring) -> None:
    """Ranks that keep every core busy several times over let their supervisors answer in time."""
    busy = 4 * (os.cpu_count() or 1)
    text = (
        MEET
        + "\nimport os, time\n"
        + f"for _ in range({busy}):\n"
        + "    if os.fork() == 0:\n"
        + "        while True: pass\n"
        + "end = time.monotonic() + 8\n"
        + "while time.monotonic() < end: pass\n"
        + "world.leave()"
    )
    ring.start(2, program(text), _SHORT)
    assert set(ring.wait().values()) == {0}, ring.logs()
    assert "silent" not in ring.logs()


def test_ranks_give_way_to_their_supervisor(ring: Ring) -> None:
    """The kernel gives a supervisor that wants to run more of the processor than its ranks."""
    ring.start(1, program(MEET + announce("ready") + "import signal; signal.pause()"))
    rank = psutil.Process(rank_pid(ring, "algo-1", "ready"))
    supervisor = psutil.Process(ring.hosts["algo-1"].process.pid)
    assert rank.nice() > supervisor.nice() == psutil.Process().nice()
    supervisor.send_signal(signal.SIGTERM)
    ring.wait()
