"""Who may join: newcomers say who they are, and strangers can neither stay nor crowd hosts out.

Anybody in the network may connect, say nothing, or say anything. So a newcomer has a few seconds and one
short line, few may wait at a time, and the one that has waited longest makes room for the next: a host
says its line at once, and comes again if it was shut out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from treering.frames import FrameError, Message

if TYPE_CHECKING:
    from collections.abc import Container

    from treering.cluster import Cluster
    from treering.frames import Connection

PROTOCOL = 2
_HANDSHAKE = 5.0  # seconds a newcomer has to say who it is
_ROOM = 64  # newcomers beyond one a host that may wait at a time
_LOGGED = 50  # strangers that get a log line

log = logging.getLogger(__name__)


class Door:
    """Lets hosts of one job in.

    Parameters
    ----------
    job
        Name that a joining host has to carry, so that another job on the same network is refused.
    cluster
        Whom to expect.
    """

    def __init__(self, job: str, cluster: Cluster) -> None:
        self._job = job
        self._cluster = cluster
        self._waiting: dict[Connection, None] = {}  # in the order in which they came
        self._strangers = 0

    async def greet(self, connection: Connection, joined: Container[object]) -> Message | None:
        """What a newcomer says who may come in; None for all others, who are told why.

        Parameters
        ----------
        connection
            Just accepted.
        joined
            Hosts that are in already.
        """
        if len(self._waiting) >= _ROOM + len(self._cluster.hosts):
            next(iter(self._waiting)).abort()
        self._waiting[connection] = None
        message, reason, final = None, "it did not say which host it is", False
        try:
            message = await asyncio.wait_for(connection.receive(), _HANDSHAKE)
        except TimeoutError:
            reason = f"it said nothing for {_HANDSHAKE:g} s"
        except FrameError as error:
            reason = str(error)
        finally:
            del self._waiting[connection]
        if message is not None and message["type"] == "join":
            final = message.get("job") == self._job
            reason = self._objection(message, joined)
        if not reason:
            return message
        self._log(connection, reason)
        connection.send("refused", reason=reason, final=final)
        return None

    def _objection(self, message: Message, joined: Container[object]) -> str:
        """Why this newcomer is none of ours; empty for a host of this job."""
        if message.get("job") != self._job:
            return f"it belongs to job {_short(message.get('job'))}, not to {self._job!r}"
        if message.get("protocol") != PROTOCOL:
            theirs = _short(message.get("protocol"))
            return f"it speaks protocol {theirs}, this host {PROTOCOL}: use one image on all hosts"
        host = message.get("host")
        if host not in self._cluster.hosts:
            return f"host {_short(host)} is not in resourceconfig.json"
        return f"host {host!r} has joined already" if host in joined else ""

    def _log(self, connection: Connection, reason: str) -> None:
        self._strangers += 1
        if self._strangers <= _LOGGED:
            log.warning("refused a connection from %s: %s", connection.peer, reason)
        if self._strangers == _LOGGED:
            log.warning("%d connections were refused; more are not logged", _LOGGED)


def _short(value: object) -> str:
    """What a stranger sent, for a log line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004  # a line's length
