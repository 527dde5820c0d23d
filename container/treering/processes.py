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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, however it ends (Linux; elsewhere nothing).

    `parent` is the pid the caller expects: one that died before this call is noticed too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def describe_exit(code: int) -> str:
    """How a process ended, from `Popen`-style codes (negative for signals)."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


class Children:
    """All child processes inside one asyncio loop.

    PID 1 inherits every orphan of its container, so children are reaped as they come, known or not;
    for that reason nothing else in the process may wait for children.
    """

    def __init__(self) -> None:
        self._running: dict[int, asyncio.Future[int]] = {}
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        stdout: int | None = None,
    ) -> tuple[int, asyncio.Future[int]]:
        """Start `command` as the leader of a session of its own; its pid and its future exit code.

        A session of its own keeps a terminal's Ctrl-C away: ending a rank is the supervisor's decision. The
        kernel kills the process when this one ends, however it ends.
        """
        process = subprocess.Popen(
            command,
            env=environ,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),  # noqa: PLW1509  # no lock is taken there
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
