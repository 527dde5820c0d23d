"""Child processes of a supervisor, which may be PID 1: started, told apart, reaped, never orphaned."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_NICENESS: Final = 10  # a ninth of the processor time where all want some: see docs/supervision.md
_POLL = 0.02  # seconds between looks at processes that have been killed
_OOM_SCORE: Final = "500"  # of 1000: as if half of the machine's memory more were used


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, however it ends (Linux; elsewhere nothing).

    `parent` is the pid the caller expects: one that died before this call is noticed too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def give_way() -> None:
    """Let the kernel prefer others to this process and its children: for the processor, and to be kept alive.

    A supervisor has to answer while its ranks keep all cores busy, and to tell of them when memory ran out.
    """
    os.nice(_NICENESS)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it: then the largest process is chosen
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, as PID 1 is anyway (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def describe_exit(code: int) -> str:
    """How a process ended, from `Popen`-style codes (negative for signals)."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


def _prepare(parent: int, *, gives_way: bool) -> None:
    """What a child does before its program starts."""
    die_with_parent(parent)
    if gives_way:
        give_way()


class Children:
    """All child processes inside one asyncio loop.

    Every orphan among the descendants comes here, in whatever session it is, so children are reaped as
    they come, known or not; for that reason nothing else in the process may wait for children.
    """

    def __init__(self) -> None:
        self._running: dict[int, asyncio.Future[int]] = {}
        self._others = set(
            psutil.Process().children()
        )  # of whoever calls `treering.local` in a process of its own
        _adopt_orphans()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        stdout: int | None = None,
        *,
        gives_way: bool = False,
    ) -> tuple[int, asyncio.Future[int]]:
        """Start `command` as the leader of a session of its own; its pid and its future exit code.

        A session of its own keeps a terminal's Ctrl-C away: ending a rank is the supervisor's decision. The
        kernel kills the process when this one ends, however it ends. See `give_way` for `gives_way`.
        """
        process = subprocess.Popen(
            command,
            env=environ,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=functools.partial(_prepare, os.getpid(), gives_way=gives_way),  # noqa: PLW1509  # no lock is taken there
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=None if stdout is None else subprocess.STDOUT,
        )
        process.returncode = 0  # reaped here, never by Popen
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._running[process.pid] = ended
        self._reap()  # it may have ended before it was known
        return process.pid, ended

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to every child itself."""
        for pid in self._running:
            os.kill(pid, number)

    def kill_all(self) -> None:
        """SIGKILL every child with the rest of its session's process group, stopped ones as well."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    async def end_descendants(self, seconds: float) -> bool:
        """SIGKILL what is left below this process since it has children here; False if some outlives it."""
        deadline = time.monotonic() + seconds
        while left := self._descendants():
            if time.monotonic() > deadline:
                return False
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            await asyncio.sleep(_POLL)
            self._reap()
        return True

    def _descendants(self) -> list[psutil.Process]:
        """In sessions of their own too; orphans have become children."""
        found = []
        for child in set(psutil.Process().children()) - self._others:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [child, *child.children(recursive=True)]
        return found

    async def all_ended(self, seconds: float) -> bool:
        """Wait for every child; False when some are left after `seconds`."""
        if not self._running:
            return True
        _, left = await asyncio.wait(list(self._running.values()), timeout=seconds)
        return not left

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._running.pop(pid, None)
            if ended is None:
                continue
            with contextlib.suppress(ProcessLookupError):  # what it started ends with it
                os.killpg(pid, signal.SIGKILL)
            if not ended.done():
                ended.set_result(os.waitstatus_to_exitcode(status))
