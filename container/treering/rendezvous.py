"""Where hosts meet: the first host's coordinator, and the words it exchanges with every host.

One connection a host carries all that supervisors say to each other:

========== ============================================ =======================================
from host  meaning                                      answer
========== ============================================ =======================================
join       protocol, job, host, ranks, provider         welcome, or refused with a reason
beat       still alive                                  beat
fence      MPI addresses of this host's ranks           fence: those of all, once all have come
failed     a failure of this host                       verdict: the failure, to every host
done       this host's ranks are through                finish, once all are
========== ============================================ =======================================

The job has failed when one host says so, goes silent or goes away, and it has ended well only when all
are done. The first cause wins, and an effect never hides its cause.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import time
from typing import TYPE_CHECKING

from treering.errors import Failure, Kind
from treering.frames import LIMIT, Connection, FrameError, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from treering.cluster import Cluster
    from treering.settings import Settings

PROTOCOL = 1
_HANDSHAKE = 5.0  # seconds a newcomer has to say who it is
_SETTLE = 0.3  # seconds in which a nearer cause may still overtake the first one heard of
_GATHER = 10.0  # seconds in which hosts that are still starting can learn of a failure
_LEAVE = 5.0  # seconds a host has to end its ranks after the verdict

log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class _Member:
    """A host that has joined."""

    connection: Connection
    heard: float  # monotonic seconds of its last message
    done: bool = False
    gone: bool = False
    pairs: dict[str, str] | None = None  # what it brought to the current fence


def read_failure(value: object) -> Failure:
    """A failure out of a message; raises FrameError when it is none."""
    try:
        return Failure.from_json(value)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"no failure: {error!r}") from error


class Coordinator:
    """The first host's side of the rendezvous; lives in its supervisor's event loop.

    Parameters
    ----------
    job
        Name that a joining host has to carry, so that another job on the same network is refused.
    cluster
        Whom to expect.
    settings
        The clocks and the port.
    """

    def __init__(self, job: str, cluster: Cluster, settings: Settings) -> None:
        self._job = job
        self._cluster = cluster
        self._settings = settings
        self._members: dict[str, _Member] = {}
        self._causes: list[Failure] = []
        self._decide_at: asyncio.TimerHandle | None = None
        self._verdict: Failure | None = None
        self._finished = False
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life ---

    async def listen(self, address: str) -> asyncio.Server:
        """Accept hosts on the job's own interface only; raises OSError when the port is taken."""
        return await asyncio.start_server(self._accept, address, self._settings.port, limit=LIMIT)

    async def local_link(self) -> Connection:
        """A connection for the first host itself, without any network."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=LIMIT)
        self._spawn(self._accept(reader, writer))
        return Connection(*await asyncio.open_connection(sock=theirs, limit=LIMIT))

    def watch(self) -> None:
        """Start the clocks: the deadline for joining, and the heartbeats."""
        self._spawn(self._expect_everyone())
        self._spawn(self._check_heartbeats())

    async def drain(self) -> None:
        """Return once every host has heard the outcome and left, or has had the time to."""
        if self._verdict and self._verdict.kind not in {Kind.RING, Kind.STOPPED}:
            await self._until(lambda: not self._missing(), _GATHER)
        others = [member for host, member in self._members.items() if host != self._cluster.me]
        await self._until(lambda: all(member.gone for member in others), _LEAVE)
        for task in list(self._tasks):
            task.cancel()

    # --- one host ---

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one newcomer until it goes; whatever it sends, nothing here can fail the job's loop."""
        connection = Connection(reader, writer)
        try:
            host = await self._handshake(connection)
            if host is not None:
                await self._converse(host, self._members[host])
        except FrameError as error:
            log.warning("closed a connection from %s: %s", connection.peer, error)
        finally:
            await connection.close()

    async def _handshake(self, connection: Connection) -> str | None:
        """The name of the host that joins here, or None for a stranger."""
        try:
            message = await asyncio.wait_for(connection.receive(), _HANDSHAKE)
        except TimeoutError:
            message = None
        reason = self._objection(message)
        if reason is not None:
            log.warning("refused a connection from %s: %s", connection.peer, reason)
            connection.send("refused", reason=reason)
            return None
        host = str((message or {})["host"])
        self._members[host] = _Member(connection, time.monotonic())
        connection.send("welcome")
        self._compare(host, message or {})
        if self._verdict:
            connection.send("verdict", failure=self._verdict.to_json())
        if not self._missing() and len(self._cluster.hosts) > 1:
            log.info("all %d hosts have joined: %s", len(self._members), ", ".join(self._cluster.hosts))
        self._changed.set()
        return host

    def _objection(self, message: Message | None) -> str | None:
        """Why this newcomer is none of ours; None for a host of this job."""
        if message is None or message["type"] != "join":
            return "it did not say which host it is"
        if message.get("protocol") != PROTOCOL:
            return f"it speaks protocol {message.get('protocol')!r}, this host {PROTOCOL}: use one image"
        if message.get("job") != self._job:
            return f"it belongs to job {message.get('job')!r}, not to {self._job!r}"
        host = message.get("host")
        if host not in self._cluster.hosts:
            return f"host {host!r} is not in resourceconfig.json"
        if host in self._members:
            return f"host {host!r} has joined already"
        return None

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

    async def _converse(self, host: str, member: _Member) -> None:
        """Listen to a host that has joined, to its end; one that ends too soon or talks garbage fails the job."""
        ending = "its supervisor ended without a word (was it killed?)"
        try:
            while (message := await member.connection.receive()) is not None:
                member.heard = time.monotonic()
                self._handle(host, member, message)
        except FrameError as error:
            ending = f"its supervisor sent what is no message ({error})"
        member.gone = True
        self._changed.set()
        if not self._finished and not self._verdict:
            self.blame(Failure(Kind.DIED, host, ending))

    def _handle(self, host: str, member: _Member, message: Message) -> None:
        match message:
            case {"type": "beat"}:
                member.connection.send("beat")
            case {"type": "fence", "pairs": dict(pairs)}:
                member.pairs = pairs
                self._pass_fence()
            case {"type": "failed", "failure": failure}:
                self.blame(read_failure(failure))
            case {"type": "done"}:
                member.done = True
                self._finish()
            case _:
                raise FrameError(f"host {host} sent an unknown message {message['type']!r}")

    # --- all hosts ---

    def _missing(self) -> list[str]:
        return [host for host in self._cluster.hosts if host not in self._members]

    def _pass_fence(self) -> None:
        """Give everybody's pairs to everybody once the last host has come."""
        members = self._members.values()
        if self._missing() or any(member.pairs is None for member in members):
            return
        pairs = {key: value for member in members for key, value in (member.pairs or {}).items()}
        for member in members:
            member.pairs = None
            member.connection.send("fence", pairs=pairs)

    def _finish(self) -> None:
        if not self._missing() and all(member.done for member in self._members.values()) and not self._causes:
            self._finished = True
            for member in self._members.values():
                member.connection.send("finish")

    def blame(self, failure: Failure) -> None:
        """Take in one cause; the verdict follows shortly, when nearer causes have had their chance.

        An echo ("MPI lost contact") says that somebody is gone, not who: it waits until silence would
        have betrayed the culprit, unless every host has spoken and nobody can be silent.
        """
        if self._verdict or self._finished:
            return
        self._causes.append(failure)
        wait = _SETTLE
        if failure.kind is Kind.PEER and {cause.host for cause in self._causes} < set(self._cluster.hosts):
            wait += self._settings.lost_timeout + self._settings.heartbeat_interval
        loop = asyncio.get_running_loop()
        if self._decide_at is None or loop.time() + wait < self._decide_at.when():
            if self._decide_at is not None:
                self._decide_at.cancel()
            self._decide_at = loop.call_later(wait, self._decide)

    def _decide(self) -> None:
        self._verdict = min(self._causes, key=lambda cause: cause.kind.rank_order)
        for member in self._members.values():
            member.connection.send("verdict", failure=self._verdict.to_json())
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
                    f"here: {', '.join(came)}; missing: {', '.join(missing)}. See their logs, and let the "
                    "job's security group allow traffic between its own hosts",
                )
            )

    async def _check_heartbeats(self) -> None:
        allowed = self._settings.lost_timeout
        while True:
            asked = time.monotonic()
            await asyncio.sleep(self._settings.heartbeat_interval)
            # A coordinator that was itself stopped heard nobody: give the others their time anew.
            overslept = time.monotonic() - asked - self._settings.heartbeat_interval
            for host, member in self._members.items():
                if overslept > 1.0:
                    member.heard += overslept
                silent = time.monotonic() - member.heard
                if silent > allowed and not member.gone:
                    sentence = f"has been silent for {silent:.0f} s (stopped, overloaded or cut off)"
                    self.blame(Failure(Kind.LOST, host, sentence))

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
