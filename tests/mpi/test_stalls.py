"""`treering.stalls` and `treering.vitals` on running jobs: what hangs ends and is named, what works goes on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from rank_programs import FOREVER, MEET, PATIENT, announce, program, rank_pid, until

if TYPE_CHECKING:
    from conftest import Ring

_QUICK = PATIENT | {"TREERING_STALL_TIMEOUT": "2"}
_PROGRESS = (
    "import os, time; from treering.report import Reporter; from treering.progress import Progress; "
    "progress = Progress(Reporter(os.environ)); "
)


def _first_lines(ring: Ring) -> set[str]:
    return {host.failure.splitlines()[0] for host in ring.hosts.values()}


@pytest.mark.parametrize("culprit", [0, 1])
def test_the_rank_that_did_not_arrive_is_named(ring: Ring, culprit: int) -> None:
    """Two ranks wait in MPI for the third, which sleeps a round behind them: every host says which one."""
    text = (
        _PROGRESS
        + MEET
        + "progress.phase('loading'); progress.phase('training', 5, 'rounds')\n"
        + "for done in range(5):\n"
        + "    progress.advance(done)\n"
        + f"    if done == 3 and world.rank == {culprit}: time.sleep(1000)\n"
        + "    if done < 4: continue\n"
        + "    world.barrier()"
    )
    ring.start(3, program(text), _QUICK)
    assert set(ring.wait().values()) == {1}, ring.logs()
    assert len(_first_lines(ring)) == 1
    line = _first_lines(ring).pop()
    assert line.startswith(f"algo-{culprit + 1}: rank {culprit} (pid "), line
    assert "has made no progress for " in line
    assert "it is in training, 3 of 5 rounds; " in line
    for other in {0, 1, 2} - {culprit}:
        assert f"rank {other} (algo-{other + 1}, in training, 4 of 5 rounds)" in line


@pytest.mark.parametrize("culprit", [0, 2])
def test_of_ranks_that_came_equally_far_the_one_that_the_others_wait_for_is_named(
    ring: Ring, culprit: int
) -> None:
    """All have reported the same place; one sleeps in it, and the others are already where ranks meet."""
    text = (
        _PROGRESS
        + "from treering.world import World; world = World(on_wait=progress.wait); world.barrier()\n"
        + "progress.phase('training', 5, 'rounds')\n"
        + "progress.advance(3)\n"
        + f"if world.rank == {culprit}: time.sleep(1000)\n"
        + "world.barrier()"
    )
    ring.start(3, program(text), _QUICK | {"TREERING_STALL_TIMEOUT": "4"})
    assert set(ring.wait().values()) == {1}, ring.logs()
    line = _first_lines(ring).pop()
    assert line.startswith(f"algo-{culprit + 1}: rank {culprit} (pid "), line
    others = " and ".join(f"rank {rank} (algo-{rank + 1})" for rank in range(3) if rank != culprit)
    assert f"it is in training, 3 of 5 rounds; {others} wait for it. See" in line


def test_a_job_that_hangs_before_any_report_is_ended(ring: Ring) -> None:
    """A program that never says where it is hangs when it neither computes nor reads."""
    ring.start(2, program(MEET + FOREVER), _QUICK)
    assert set(ring.wait().values()) == {1}, ring.logs()
    line = _first_lines(ring).pop()
    assert line.startswith("algo-1: rank 0 (pid "), line
    assert "and so is rank 1 (algo-2): they may wait for each other" in line


@pytest.mark.parametrize(
    "work",
    [
        "end = time.process_time() + 2.5\nwhile time.process_time() < end: pass\n",
        "for _ in range(50): open('/proc/self/stat').read(); time.sleep(0.1)\n",
        "for _ in range(50): print('alive', flush=True); time.sleep(0.1)\n",
        "import subprocess as s; s.run([os.sys.executable, '-c', 'import time\\nwhile time.process_time() < 2.5: 0'])\n",
        "for done in range(25): progress.advance(done); time.sleep(0.2)\n",
    ],
    ids=["computes", "reads", "writes", "has a child that computes", "reports"],
)
def test_a_long_but_living_phase_is_no_stall(ring: Ring, work: str) -> None:
    """One rank works for more than the allowed time, in any way; the other one waits for it in MPI."""
    text = (
        _PROGRESS
        + MEET
        + f"progress.phase('loading')\nif world.rank == 1:\n    {work.replace(chr(10), chr(10) + '    ')}\nworld.leave()"
    )
    ring.start(2, program(text), _QUICK | {"TREERING_STALL_TIMEOUT": "1.5"})
    assert set(ring.wait().values()) == {0}, ring.logs()


def test_an_endless_loop_is_a_stall_in_the_end(ring: Ring) -> None:
    """A rank that reported once, then only computes for six times as long, is named as such."""
    text = (
        _PROGRESS
        + MEET
        + "progress.phase('cuts')\nif world.rank == 1:\n    while True: pass\nworld.barrier()"
    )
    ring.start(2, program(text), _QUICK | {"TREERING_STALL_TIMEOUT": "0.8"})
    assert set(ring.wait().values()) == {1}, ring.logs()
    line = _first_lines(ring).pop()
    assert line.startswith("algo-2: rank 1 (pid "), line
    assert "without reporting any progress: it is in cuts, and so is rank 0 (algo-1). " in line


def test_zero_waits_for_ever(ring: Ring) -> None:
    """With stall_timeout=0 nothing is a stall; the job ends when its ranks do."""
    text = _PROGRESS + MEET + "progress.phase('loading'); time.sleep(4); world.leave()"
    ring.start(2, program(text), _QUICK | {"TREERING_STALL_TIMEOUT": "0"})
    assert set(ring.wait().values()) == {0}, ring.logs()


@pytest.mark.parametrize("victim", ["algo-1", "algo-2"])
def test_a_stopped_rank_is_named(ring: Ring, victim: str) -> None:
    """SIGSTOP on a rank is seen by its supervisor at once, long before anything else is missed."""
    ring.start(2, program(MEET + announce("ready") + FOREVER), PATIENT)
    pids = {name: rank_pid(ring, name, "ready") for name in ring.hosts}
    os.kill(pids[victim], signal.SIGSTOP)
    assert set(ring.wait().values()) == {1}, ring.logs()
    number = int(victim[-1]) - 1
    for line in _first_lines(ring):
        assert line.startswith(f"{victim}: rank {number} (pid {pids[victim]}) is held by SIGSTOP "), line
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def test_a_rank_that_goes_on_after_a_moment_is_left_alone(ring: Ring) -> None:
    """A stop that is over before the next look harms nobody."""
    gate = ring.folder / "gate"
    text = (
        MEET
        + announce("ready")
        + f"import time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\nworld.leave()"
    )
    ring.start(1, program(text), PATIENT | {"TREERING_HEARTBEAT_INTERVAL": "5"})
    pid = rank_pid(ring, "algo-1", "ready")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the rank is stopped")
    os.kill(pid, signal.SIGCONT)
    gate.touch()
    assert ring.wait() == {"algo-1": 0}, ring.logs()


def test_a_rank_that_hangs_shows_its_stack(ring: Ring) -> None:
    """Before the built-in kind of rank is ended for a stall, it prints where it hangs."""
    text = (
        "import time; from treering.worker import run_rank\n"
        "def hang_here(*_):\n    time.sleep(1000)\n"
        "run_rank(hang_here)"
    )
    ring.start(1, program(text), _QUICK | {"RANKS_REPORT_DONE": "1"})
    assert ring.wait() == {"algo-1": 1}
    assert "in hang_here" in ring.hosts["algo-1"].log
