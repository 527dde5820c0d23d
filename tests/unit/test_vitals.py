"""`treering.vitals`: what counts as movement of a rank, on real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from rank_programs import until

from treering.progress import Position
from treering.vitals import BUSY, Vitals

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLEEP = "import time; print('ready', flush=True); time.sleep(1000)"


@contextlib.contextmanager
def _running(text: str) -> Iterator[int]:
    """Pid of a process of `text` that has said it is ready, and is about to sleep or to work."""
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        until(
            lambda: psutil.Process(process.pid).status() != psutil.STATUS_RUNNING or "sleep" not in text,
            "it sleeps",
        )
        try:
            yield process.pid
        finally:
            process.kill()


def _quiet(vitals: Vitals, looks: int = 3, elapsed: float = 2.0) -> None:
    """Look until nothing moves, then `looks` times more."""
    until(lambda: _look(vitals, elapsed) > 0, "nothing moves any more")
    for _ in range(looks):
        _look(vitals, elapsed)


def _look(vitals: Vitals, elapsed: float = 2.0) -> float:
    vitals.look(elapsed, elapsed)
    return vitals.signs().still


def test_who_sleeps_is_still() -> None:
    """Looks without movement add up, by the time between them."""
    with _running(_SLEEP) as pid:
        vitals = Vitals(3, pid)
        _quiet(vitals, looks=4, elapsed=5.0)
        signs = vitals.signs()
    assert (signs.rank, signs.pid, signs.state, signs.reports) == (3, pid, "sleeping", False)
    assert signs.still == signs.silent == 25.0


def _compute(pid: int, seconds: float) -> None:
    """Wait until the process has used so much more processor time."""

    def used() -> float:
        return sum(psutil.Process(pid).cpu_times()[:2])

    goal = used() + seconds
    until(lambda: used() > goal, "it computes")


def test_who_computes_moves_but_is_silent() -> None:
    """Processor time is movement, and nothing that anybody has heard of."""
    with _running("print('ready', flush=True)\nwhile True: pass") as pid:
        vitals = Vitals(0, pid)
        for _ in range(4):
            _compute(pid, 0.1)
            vitals.look(0.1 / BUSY, 2.0)
        assert vitals.signs().still == 0.0
        assert vitals.signs().silent > 0.0


@pytest.mark.parametrize(
    "work",
    ["open('/proc/self/stat').read()", "os.write(2, b'')or open('/dev/null', 'w').write('x')"],
    ids=["reads", "writes"],
)
def test_bytes_are_movement(work: str) -> None:
    """Read or written, also by a process that the rank has started and that computes next to nothing."""
    text = f"import os, time; print('ready', flush=True)\nwhile True: {work}; time.sleep(0.05)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {text!r}])"
    for program in (text, child):
        with _running(program) as pid:
            vitals = Vitals(0, pid)
            for _ in range(3):
                until(lambda: _look(vitals, 0.5) == 0.0, "it moves")  # noqa: B023  # asked within the loop
            assert vitals.signs().silent == 0.0
            for each in psutil.Process(pid).children():
                each.kill()


def test_a_report_is_movement_if_it_says_something_new() -> None:
    """The same position again moves nothing; a new phase is news to be passed on."""
    with _running(_SLEEP) as pid:
        vitals = Vitals(0, pid)
        _quiet(vitals)
        assert vitals.heard(Position(1, "loading"))
        assert _look(vitals) == 0.0
        assert not vitals.heard(Position(1, "loading", 5))
        assert _look(vitals) == 0.0
        assert not vitals.heard(Position(1, "loading", 5))
        assert _look(vitals) == 2.0
        assert vitals.signs().reports
        assert vitals.signs().position == Position(1, "loading", 5)


def test_a_supervisor_that_slept_has_seen_nothing() -> None:
    """A look after a long pause counts for little: nobody knows what happened meanwhile."""
    with _running(_SLEEP) as pid:
        vitals = Vitals(0, pid)
        _quiet(vitals, looks=0)
        before = vitals.signs().still
        vitals.look(3600.0, 2.0)
        assert vitals.signs().still == before + 4.0


def test_a_stop_is_seen_at_two_looks() -> None:
    """One look may fall into a short stop; after it goes on, it is none any more."""
    with _running(_SLEEP) as pid:
        vitals = Vitals(0, pid)
        _quiet(vitals)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "it is stopped")
        found = []
        for _ in range(3):
            _look(vitals)
            found.append(vitals.is_stopped())
        os.kill(pid, signal.SIGCONT)
        until(lambda: psutil.Process(pid).status() != psutil.STATUS_STOPPED, "it goes on")
        _look(vitals)
        assert [*found, vitals.is_stopped()] == [False, True, True, False]


def test_a_process_that_is_gone_is_still() -> None:
    """Its end is told by its exit code; until then nothing fails."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert _look(Vitals(0, process.pid)) == 2.0
