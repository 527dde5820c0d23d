"""A host's connection to the first host: found, joined, kept alive, and missed when it is gone."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, NoReturn

from treering.errors import Failure, Kind, RingError
from treering.frames import LIMIT, Connection, FrameError
from treering.rendezvous import PROTOCOL, read_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from treering.launch import Launch

_ATTEMPT = 5.0  # seconds for one attempt
_LONGEST_PAUSE = 1.0  # seconds between attempts


async def dial(launch: Launch, deadline: float) -> Connection:
    """Connect to the first host, which may not run yet, or have no name in DNS yet.

    Raises
    ------
    RingError
        When it could not be reached before `deadline` (monotonic seconds).
    """
    cluster, port = launch.cluster, launch.settings.port
    pause, trouble = 0.02, "no attempt was made"
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(_ATTEMPT):
                address = await cluster.resolve(cluster.first)
                return Connection(*await asyncio.open_connection(address, port, limit=LIMIT))
        except socket.gaierror as error:
            trouble = f"its name does not resolve: {error.strerror}"
        except TimeoutError:
            trouble = f"no answer on port {port}"
        except OSError as error:
            trouble = str(error)
        await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)
    waited = launch.settings.rendezvous_timeout
    raise RingError(f"{cluster.me} could not reach this host within {waited:g} s ({trouble})", cluster.first)


class Link:
    """The words this host exchanges with the coordinator on the first host; see `treering.rendezvous`."""

    def __init__(self, connection: Connection, launch: Launch) -> None:
        self._connection = connection
        self._cluster = launch.cluster
        self._settings = launch.settings
        self._heard = time.monotonic()  # seconds of the first host's last message
        self._fence: asyncio.Future[dict[str, str]] | None = None
        connection.send(
            "join",
            protocol=PROTOCOL,
            job=launch.job,
            host=launch.cluster.me,
            ranks=launch.settings.ranks_per_host,
            provider=launch.settings.provider,
        )

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
                    case {"type": "verdict", "failure": failure}:
                        return read_failure(failure)
                    case {"type": "finish"}:
                        return None
                    case {"type": "refused", "reason": str(reason)}:
                        sentence = f"{self._cluster.first} refused this host: {reason}"
                        return Failure(Kind.RING, self._cluster.me, sentence)
        except FrameError as error:
            ending = str(error)
        raise self._lost(ending)

    async def keep_alive(self) -> NoReturn:
        """Send heartbeats for ever; raises RingError once the first host has been silent for too long."""
        interval, allowed = self._settings.heartbeat_interval, self._settings.lost_timeout
        while (silent := time.monotonic() - self._heard) <= allowed:
            self._connection.send("beat")
            asked = time.monotonic()
            await asyncio.sleep(interval)
            # If this process was itself stopped, its own deafness is no silence of the other side.
            self._heard += max(0.0, time.monotonic() - asked - interval)
        raise self._lost(f"silent for {silent:.0f} s")

    def _lost(self, how: str) -> RingError:
        first = self._cluster.first
        return RingError(f"lost contact with {first} ({how}): one of the two was stopped, killed or cut off")

    async def exchange(self, pairs: Mapping[str, str]) -> Mapping[str, str]:
        """One PMI fence over all hosts."""
        self._fence = asyncio.get_running_loop().create_future()
        self._connection.send("fence", pairs=dict(pairs))
        return await self._fence

    def failed(self, failure: Failure) -> None:
        """Tell what failed on this host."""
        self._connection.send("failed", failure=failure.to_json())

    def done(self) -> None:
        """Tell that the ranks of this host are through."""
        self._connection.send("done")

    async def close(self) -> None:
        """Leave, once all is sent."""
        await self._connection.close()
