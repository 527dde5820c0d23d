"""A host's connection to the first host: found, joined, kept alive, and missed when it is gone."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from typing import TYPE_CHECKING, NoReturn

from treering.door import PROTOCOL
from treering.errors import Failure, Kind, RingError
from treering.frames import LIMIT, Connection, FrameError
from treering.member import read_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from treering.launch import Launch
    from treering.member import Kept
    from treering.vitals import Signs

_ATTEMPT = 5.0  # seconds for one attempt to connect
_LONGEST_PAUSE = 1.0  # seconds between attempts
_OTHER_JOB = 20.0  # seconds of asking until "another job" is believed: a name may lead to both in turn


class _RefusedError(Exception):
    """Raised when the first host does not let this one in; `final` where asking again is no use."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


async def dial(launch: Launch, deadline: float) -> Connection:
    """Join the first host, which may not run yet, have no name in DNS yet, or share it with another job's.

    Raises
    ------
    RingError
        When it refused this host, or was not reached before `deadline` (monotonic seconds).
    """
    cluster, port = launch.cluster, launch.settings.port
    pause, trouble, refused = 0.02, "no attempt was made", False
    believed = time.monotonic() + _OTHER_JOB
    for turn in itertools.count():
        if time.monotonic() >= deadline:
            break
        try:
            return await _attempt(launch, turn)
        except _RefusedError as error:
            refused, trouble = True, str(error)
            if error.final or time.monotonic() > believed:
                break
        except socket.gaierror as error:
            refused, trouble = False, f"its name does not resolve: {error.strerror}"
        except TimeoutError:
            refused, trouble = False, f"no answer on port {port}"
        except (OSError, FrameError) as error:
            refused, trouble = False, str(error)
        await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)
    if refused:
        raise RingError(f"{cluster.first} refused this host: {trouble}", cluster.me)
    waited = launch.settings.rendezvous_timeout
    raise RingError(
        f"{cluster.me} could not reach this host within {waited:g} s ({trouble}); see its log, and let the job's "
        "security group allow traffic between its own hosts",
        cluster.first,
    )


async def _attempt(launch: Launch, turn: int) -> Connection:
    async with asyncio.timeout(_ATTEMPT):
        address = await launch.cluster.resolve(launch.cluster.first, turn)
        streams = await asyncio.open_connection(address, launch.settings.port, limit=LIMIT)
    connection = Connection(*streams)
    try:
        await join(connection, launch)
    except BaseException:
        connection.abort()
        raise
    return connection


async def join(connection: Connection, launch: Launch) -> None:
    """Say who this host is and return once it is welcome; the error says why it is not."""
    connection.send(
        "join",
        protocol=PROTOCOL,
        job=launch.job,
        host=launch.cluster.me,
        ranks=launch.settings.ranks_per_host,
        provider=launch.settings.provider,
    )
    async with asyncio.timeout(max(_ATTEMPT, launch.settings.lost_timeout)):
        answer = await connection.receive()
    match answer:
        case None:
            raise OSError("it closed the connection")
        case {"type": "welcome"}:
            return
        case {"type": "refused", "reason": str(reason), "final": bool(final)}:
            raise _RefusedError(reason, final=final)
    raise FrameError(f"port {launch.settings.port} is answered by something else")


class Link:
    """The words this host exchanges with the coordinator on the first host; see `treering.rendezvous`.

    Parameters
    ----------
    connection
        Welcomed there.
    launch
        Who this host is, and the clocks.
    signs
        The signs of life of this host's ranks, asked for at each heartbeat.
    stop
        Called when all hosts are asked to stop.
    """

    def __init__(
        self,
        connection: Connection,
        launch: Launch,
        signs: Callable[[], Sequence[Signs]],
        stop: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._cluster = launch.cluster
        self._settings = launch.settings
        self._signs = signs
        self._stop = stop
        self._heard = time.monotonic()  # seconds of the first host's last message
        self._fence: asyncio.Future[dict[str, str]] | None = None

    async def outcome(self) -> Failure | None:
        """The coordinator's last word: None when all hosts are done, else what the job failed of.

        Raises RingError when the connection ends without one.
        """
        ending = "its connection closed"
        try:
            while (message := await self._connection.receive()) is not None:
                self._heard = time.monotonic()
                match message:
                    case {"type": "fence", "pairs": dict(pairs)} if self._fence is not None:
                        self._fence.set_result(pairs)
                        self._fence = None  # whoever says it twice is not heard
                    case {"type": "stop"}:
                        self._stop()
                    case {"type": "verdict", "failure": failure}:
                        verdict = read_failure(failure)
                        if verdict.kind is Kind.LOST and verdict.host == self._cluster.me:
                            raise self._lost("which no longer hears this host")
                        return verdict
                    case {"type": "finish"}:
                        return None
        except FrameError as error:
            ending = str(error)
        raise self._lost(ending)

    async def keep_alive(self) -> NoReturn:
        """Send heartbeats for ever; raises RingError once the first host has been silent for too long."""
        interval, allowed = self._settings.heartbeat_interval, self._settings.lost_timeout
        while (silent := time.monotonic() - self._heard) <= allowed:
            self.beat()
            asked = time.monotonic()
            await asyncio.sleep(interval)
            # If this process was itself stopped, its own deafness is no silence of the other side.
            self._heard += max(0.0, time.monotonic() - asked - interval)
        lost = self._lost(f"silent for {silent:.0f} s")
        # It may hear us all the same, where the network is cut in one direction only.
        self.failed(Failure(Kind.RING, self._cluster.me, str(lost)))
        raise lost

    def _lost(self, how: str) -> RingError:
        first = self._cluster.first
        return RingError(
            f"lost contact with {first} ({how}): one of the two was stopped, killed or cut off from the network; see "
            f"the end of {first}'s log"
        )

    async def exchange(self, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """One PMI fence over all hosts."""
        ended: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._fence = ended
        self._connection.send("fence", pairs=dict(pairs))
        return await ended

    def beat(self) -> None:
        """Tell that this host is alive, and how its ranks are."""
        ranks = [each.to_json() for each in self._signs()]
        self._connection.send("beat", at=time.monotonic(), ranks=ranks)

    def failed(self, failure: Failure) -> None:
        """Tell what failed on this host."""
        self._connection.send("failed", at=time.monotonic(), failure=failure.cut().to_json())

    def stop(self, failure: Failure) -> None:
        """Tell that this host was asked to stop."""
        self._connection.send("stop", failure=failure.to_json())

    def done(self, kept: Kept | None) -> None:
        """Tell that the ranks of this host are through, and what they kept if they stopped early."""
        self._connection.send("done", kept=None if kept is None else kept.to_json())

    async def close(self) -> None:
        """Leave, once all is sent."""
        await self._connection.close()
