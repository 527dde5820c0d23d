"""Where hosts meet: the first host's coordinator, and the words it exchanges with every host.

One connection a host carries all that supervisors say to each other:

========== ============================================ =======================================
from host  meaning                                      answer
========== ============================================ =======================================
join       protocol, job, host, ranks, provider         welcome, or refused with a reason
beat       still alive; the signs of life of its ranks  beat
fence      MPI addresses of this host's ranks           fence: those of all, once all have come
failed     a failure of this host                       verdict: the failure, to every host
stop       this host was asked to stop                  stop, to every host; or the verdict
done       this host's ranks are through                finish, or the verdict, once all are
========== ============================================ =======================================

The job has failed when one host says so, goes silent or goes away, and it has ended well only when all
are done. The first cause wins, and an effect never hides its cause: see `treering.verdict`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import time
from typing import TYPE_CHECKING

from treering import stalls, verdict
from treering.door import Door
from treering.errors import Failure, Kind
from treering.frames import HOST_LIMIT, LIMIT, Connection, FrameError, Message
from treering.member import Kept, Member, read, read_failure
from treering.verdict import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from treering.cluster import Cluster
    from treering.settings import Settings

_GATHER = 10.0  # seconds in which hosts that are still starting can learn of a failure
_LEAVE = 5.0  # seconds a host has to end its ranks after the verdict
log = logging.getLogger(__name__)


class Coordinator:
    """The first host's side of the rendezvous; lives in its supervisor's event loop.

    Parameters
    ----------
    job
        The job's name; see `treering.door`.
    cluster
        Whom to expect.
    settings
        The clocks and the port.
    """

    def __init__(self, job: str, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._door = Door(job, cluster)
        self._server: asyncio.Server | None = None
        self._members: dict[str, Member] = {}
        self._causes: list[Cause] = []
        self._decide_at: asyncio.TimerHandle | None = None
        self._stop: Failure | None = None
        self._verdict: Failure | None = None
        self._finished = False
        self._running: set[tuple[str, int]] = set()  # each rank's pid, and when they were last seen to change
        self._moved = 0.0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ---

    async def listen(self, address: str) -> None:
        """Accept hosts on the job's own interface only; raises OSError when the port is taken."""
        self._server = await asyncio.start_server(
            self._accept,
            address,
            self._settings.port,
            limit=HOST_LIMIT,
            backlog=len(self._cluster.hosts) + 100,
        )

    async def local_link(self) -> Connection:
        """A connection for the first host itself, without any network."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=LIMIT)
        self._spawn(self._accept(reader, writer))
        return Connection(*await asyncio.open_connection(sock=theirs, limit=LIMIT))

    def watch(self) -> None:
        """Start the clocks: the deadline for joining, the heartbeats, and the search for stalls."""
        self._spawn(self._expect_everyone())
        self._spawn(self._check_signs())

    async def drain(self) -> None:
        """Return once every host has heard the outcome and left, or has had the time to."""
        if self._verdict and self._verdict.kind is not Kind.RING:
            # Who asks for a stop may soon kill what is left.
            seconds = _LEAVE if self._verdict.kind is Kind.STOPPED else _GATHER
            await self._until(lambda: not self._missing(), seconds)
        # Nobody waits a second time for a host that was silent for so long.
        others = [
            member
            for host, member in self._members.items()
            if host != self._cluster.me and _silence(member) <= self._settings.lost_timeout
        ]
        await self._until(lambda: all(member.gone for member in others), _LEAVE)
        for task in list(self._tasks):
            task.cancel()

    # --- one host ---

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one newcomer until it goes; whatever it sends, nothing here can fail the job's loop."""
        connection = Connection(reader, writer)
        try:
            message = await self._door.greet(connection, self._members)
            if message is not None:
                host = str(message["host"])
                await self._converse(host, self._welcome(host, connection, message))
        finally:
            await connection.close()

    def _welcome(self, host: str, connection: Connection, message: Message) -> Member:
        member = self._members[host] = Member(connection)
        connection.send("welcome")
        self._compare(host, message)
        if self._verdict:
            connection.send("verdict", failure=self._verdict.to_json())
        if not self._missing() and self._server is not None:
            log.info("all %d hosts have joined: %s", len(self._members), ", ".join(self._cluster.hosts))
            self._server.close()  # nobody else has any business here
        self._changed.set()
        return member

    def _compare(self, host: str, message: Message) -> None:
        """Blame a host that would start other ranks, or have them talk over something else, than this one."""
        settings, first = self._settings, self._cluster.me
        for name, theirs, ours in (
            ("ranks_per_host", message.get("ranks"), settings.ranks_per_host),
            ("provider", message.get("provider"), settings.provider),
        ):
            if theirs != ours:
                sentence = f"{name} is {theirs} on {host} and {ours} on {first}; give all hosts the same"
                self.blame(Failure(Kind.PLATFORM, host, sentence))

    async def _converse(self, host: str, member: Member) -> None:
        """Listen to a host that has joined, to its end; one that ends too soon or talks garbage fails the job."""
        ending = (
            "its supervisor ended without a word: it, its container or its machine was killed, by a person, for lack of "
            f"memory, or because a spot instance was taken back; see the end of {host}'s log"
        )
        try:
            while (message := await member.connection.receive()) is not None:
                member.heard = time.monotonic()
                self._handle(host, member, message)
        except FrameError as error:
            ending = f"its supervisor sent what is no message ({error}); use one image on all hosts"
        member.gone = True
        self._changed.set()
        if not self._finished and not self._verdict:
            self.blame(Failure(Kind.DIED, host, ending))

    def _handle(self, host: str, member: Member, message: Message) -> None:
        match message:
            case {"type": "beat", "at": float(at), "ranks": list(ranks)}:
                member.take_beat(at, ranks)
                member.connection.send("beat")
            case {"type": "fence", "pairs": dict(pairs)}:
                member.pairs = pairs
                self._pass_fence()
            case {"type": "failed", "at": float(at), "failure": failure}:
                self.blame(read_failure(failure), member.time_of(at))
            case {"type": "stop", "failure": failure}:
                self._ask_to_stop(read_failure(failure))
            case {"type": "done", "kept": kept}:
                member.done, member.signs = True, []
                member.kept = read(Kept.from_json, kept)
                self._finish()
            case _:
                raise FrameError(f"host {host} sent an unknown message {message['type']!r}")

    # --- all hosts ---

    def _missing(self) -> list[str]:
        return [host for host in self._cluster.hosts if host not in self._members]

    def _tell_all(self, kind: str, **fields: object) -> None:
        for member in self._members.values():
            member.connection.send(kind, **fields)

    def _pass_fence(self) -> None:
        """Give everybody's pairs to everybody once the last host has come."""
        members = self._members.values()
        if self._missing() or any(member.pairs is None for member in members):
            return
        pairs = {key: value for member in members for key, value in (member.pairs or {}).items()}
        for member in members:
            member.pairs = None
        self._tell_all("fence", pairs=pairs)

    def _ask_to_stop(self, stop: Failure) -> None:
        """Let all ranks finish their round where that saves something; else end at once."""
        if self._stop is not None or self._verdict or self._finished:
            return
        self._stop = stop
        if self._missing() or not all(member.can_save for member in self._members.values()):
            self.blame(stop)
            return
        log.info("%s; all ranks finish their round, within %g s", stop.headline, self._settings.stop_grace)
        self._tell_all("stop")
        asyncio.get_running_loop().call_later(self._settings.stop_grace, self._end_grace, stop)

    def _end_grace(self, stop: Failure) -> None:
        late = [signs for member in self._members.values() for signs in member.signs]
        where = min(late, key=lambda signs: signs.position.order, default=None)
        what = f"rank {where.rank} was still in {where.position}" if where else "not all hosts had ended"
        sentence = f"{stop.sentence}, and after stop_grace={self._settings.stop_grace:g} s {what}"
        self.blame(dataclasses.replace(stop, sentence=sentence))

    def _finish(self) -> None:
        if self._missing() or self._causes or not all(member.done for member in self._members.values()):
            return
        told = (self._members[host].kept for host in self._cluster.hosts)
        kept = [each for each in told if each is not None]
        if kept and not any(each.saved_model for each in kept):
            stop = self._stop or Failure(Kind.STOPPED, self._cluster.me, "the job ended early")
            self.blame(dataclasses.replace(stop, sentence=f"{stop.sentence}; {kept[0].sentence}"))
            return
        self._finished = True
        self._tell_all("finish")

    def blame(self, failure: Failure, at: float | None = None) -> None:
        """Take in one cause; the verdict follows shortly, when nearer causes have had their chance."""
        if self._verdict or self._finished:
            return
        self._causes.append(Cause(failure, time.monotonic() if at is None else at))
        wait = verdict.patience(failure, self._causes, self._cluster.hosts, self._settings)
        loop = asyncio.get_running_loop()
        if self._decide_at is None or loop.time() + wait < self._decide_at.when():
            if self._decide_at is not None:
                self._decide_at.cancel()
            self._decide_at = loop.call_later(wait, self._decide)

    def _decide(self) -> None:
        self._verdict = verdict.choose(self._causes, self._stop)
        self._tell_all("verdict", failure=self._verdict.to_json())
        self._changed.set()

    # --- clocks ---

    async def _expect_everyone(self) -> None:
        seconds = self._settings.rendezvous_timeout
        if not await self._until(lambda: not self._missing(), seconds):
            missing = self._missing()
            came = [host for host in self._cluster.hosts if host in self._members]
            self.blame(
                Failure(
                    Kind.RING,
                    missing[0],
                    f"found {len(came)} of {len(self._cluster.hosts)} hosts within {seconds:g} s; "
                    f"here: {', '.join(came)}; missing: {', '.join(missing)}. See the logs of those that are "
                    "missing, and let the job's security group allow traffic between its own hosts",
                )
            )

    async def _check_signs(self) -> None:
        interval = self._settings.heartbeat_interval
        while True:
            asked = time.monotonic()
            await asyncio.sleep(interval)
            # A coordinator that was itself stopped heard nobody: give the others their time anew.
            overslept = time.monotonic() - asked - interval
            if overslept > 1.0:
                for member in self._members.values():
                    member.heard += overslept
            silences = {host: _silence(each) for host, each in self._members.items() if not each.gone}
            for failure in verdict.lost(silences, self._cluster.me, self._settings.lost_timeout):
                self.blame(failure)
            self._check_stall()

    def _check_stall(self) -> None:
        timeout = self._settings.stall_timeout
        signs = {host: member.signs for host, member in self._members.items()}
        running = {(host, each.pid) for host, those in signs.items() for each in those}
        if running != self._running:  # a rank that starts or ends is movement, too
            self._running, self._moved = running, time.monotonic()
        waits = any(not member.signs and not member.done for member in self._members.values())
        if not timeout or waits or self._missing() or time.monotonic() - self._moved <= timeout:
            return
        stall = stalls.find(signs, timeout)
        if stall is not None:
            self.blame(stall)

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something has changed so that `holds`; False when the time is over first."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _silence(member: Member) -> float:
    """Seconds since a host's last message."""
    return time.monotonic() - member.heard
