"""One rank of this host, seen from its supervisor: started, listened to, watched, and its end told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING

from treering import pmi
from treering.errors import Failure, Kind
from treering.frames import LIMIT, Connection
from treering.launch import rank_environment
from treering.member import Kept, read, read_failure
from treering.memory import MemoryWatch
from treering.processes import describe_exit
from treering.progress import Position
from treering.report import STACK_SIGNAL, STATUS_VARIABLE
from treering.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Callable

    from treering.cluster import Interface
    from treering.launch import Launch
    from treering.processes import Children
    from treering.vitals import Signs

_LAST_REQUEST = 1.0  # seconds to hear a rank's MPI library out after the rank has ended well
_CRASHES = frozenset({signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV})

log = logging.getLogger(__name__)


class Rank:
    """One rank process, from its start to its end.

    Parameters
    ----------
    number
        Its rank.
    launch
        What it runs.
    fail
        Called with each failure of it, at once.
    news
        Called when it enters another phase.
    """

    def __init__(
        self, number: int, launch: Launch, fail: Callable[[Failure], None], news: Callable[[], None]
    ) -> None:
        self._number = number
        self._launch = launch
        self._host = launch.cluster.me
        self._fail = fail
        self._news = news
        self._pid = 0
        self._line: Connection | None = None
        self._vitals: Vitals | None = None  # while it runs
        self._memory: MemoryWatch | None = None
        self._has_failed = self._done = False
        self.kept: Kept | None = None  # its word, when it ended early as it was asked to

    async def run(self, children: Children, interface: Interface, space: pmi.KeyValues) -> bool:
        """Start it and see it through; True when it ended well."""
        status, wires, ended = self._start(children, interface)
        session = pmi.Session(space)
        loop = asyncio.get_running_loop()
        listening = loop.create_task(self._listen(status))
        serving = loop.create_task(_serve_pmi(wires, session))
        code = await ended
        self._vitals = None
        with contextlib.suppress(OSError):
            # Its last words are in the socket; a helper that holds it adds none.
            status.shutdown(socket.SHUT_RD)
        await listening
        if code == 0:  # its last request may still be on the way
            await asyncio.wait({serving}, timeout=_LAST_REQUEST)
        serving.cancel()  # a rank that died inside a fence would have it wait for ever
        finished = self._done if self._launch.reports_done else not session.is_inside
        if not self._has_failed and (code != 0 or not finished):
            self._take_failure(self._end_without_a_word(code))
        return not self._has_failed

    def look(self, elapsed: float, interval: float) -> None:
        """Take the signs of life; `elapsed` seconds after the last look, `interval` is what was meant."""
        if self._vitals is None or self._memory is None:
            return
        self._memory.look()
        self._vitals.look(elapsed, interval)
        if self._vitals.is_stopped() and self._launch.settings.stall_timeout:
            sentence = (
                f"{self._name} is held by SIGSTOP or by a debugger; let nothing on its host stop it, or set "
                "stall_timeout=0 to debug it"
            )
            self._fail(Failure(Kind.STALLED, self._host, sentence))

    def signs(self) -> Signs | None:
        """Its signs of life; None when it is not running."""
        return None if self._vitals is None else self._vitals.signs()

    def stop(self) -> None:
        """Ask it to finish its round and end."""
        if self._line is not None:
            self._line.send("stop")

    def show_stack(self) -> None:
        """Have it print where it is, if it is a program that says so."""
        if self._vitals is not None and self._launch.reports_done:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, STACK_SIGNAL)

    @property
    def _name(self) -> str:
        return f"rank {self._number} (pid {self._pid})"

    def _start(
        self, children: Children, interface: Interface
    ) -> tuple[socket.socket, socket.socket, asyncio.Future[int]]:
        """Our ends of the two sockets, and the exit code to come."""
        status, its_status = socket.socketpair()
        wires, its_wires = socket.socketpair()
        environ = rank_environment(self._launch, self._number, interface, os.environ)
        environ |= {"PMI_FD": str(its_wires.fileno()), STATUS_VARIABLE: str(its_status.fileno())}
        with its_status, its_wires:
            self._pid, ended = children.start(
                self._launch.command, environ, (its_wires.fileno(), its_status.fileno()), gives_way=True
            )
        self._vitals = Vitals(self._number, self._pid)
        self._memory = MemoryWatch(self._pid)
        return status, wires, ended

    async def _listen(self, status: socket.socket) -> None:
        """Take in what the rank says, to its end; a failure is passed on at once."""
        line = self._line = Connection(*await asyncio.open_connection(sock=status, limit=LIMIT))
        while (message := await line.receive()) is not None:
            match message:
                case {"type": "at", "position": position}:
                    at = read(Position.from_json, position)
                    if self._vitals is not None and self._vitals.heard(at):
                        self._news()
                case {"type": "failed", "failure": reported}:
                    self._take_failure(read_failure(reported))
                case {"type": "stopped", **kept}:
                    self.kept = read(Kept.from_json, kept)
                case {"type": "done"}:
                    self._done = True
        await line.close()

    def _take_failure(self, failure: Failure) -> None:
        self._has_failed = True
        self._fail(failure)

    def _end_without_a_word(self, code: int) -> Failure:
        """What is known of an end that the rank did not announce."""
        kind, ending, hint = Kind.DIED, f"{describe_exit(code)} without a word", ""
        if code == 0:
            ending = "ended with exit code 0 before its work was done"
            hint = ": something in it called exit"
        elif -code in _CRASHES:
            kind = Kind.CRASHED
        elif code == -signal.SIGKILL and self._memory is not None:
            if ran_out := self._memory.ran_out():
                return Failure(Kind.PLATFORM, self._host, f"{self._name} {ran_out}")
            hint = (
                ", and not for lack of memory: by a person or a program on its host"
                if self._memory.can_tell()
                else "; the kernel does so when memory runs out, but no counter here tells"
            )
        return Failure(
            kind, self._host, f"{self._name} {ending}{hint}; see the last lines of {self._host}'s log"
        )


async def _serve_pmi(wires: socket.socket, session: pmi.Session) -> None:
    """Answer a rank's MPI library until the rank ends."""
    reader, writer = await asyncio.open_connection(sock=wires, limit=LIMIT)
    try:
        await session.serve(reader, writer)
    except (pmi.PmiError, ConnectionError) as error:
        log.warning("a rank's MPI library gave up: %s", error)  # its exit code ends the job
    finally:
        writer.close()
